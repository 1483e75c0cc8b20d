//! Which files there are to read.

use std::path::PathBuf;

use common::stop::Stop;
use walkdir::WalkDir;

pub struct File {
    pub path: PathBuf,
    /// As the directory said; only the progress bar relies on it.
    pub bytes: u64,
}

#[derive(Default)]
pub struct Found {
    pub files: Vec<File>,
    pub unreadable: u64,
}

impl Found {
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Walks the paths in order of name, so that a run with a limit reads the same files every time.
pub fn find(paths: &[PathBuf], stop: &Stop) -> Found {
    let mut found = Found::default();
    let entries = paths
        .iter()
        .flat_map(|path| WalkDir::new(path).sort_by_file_name());
    for entry in entries {
        if stop.is_set() {
            break;
        }
        let file = entry.and_then(|entry| {
            // A link to a file that was named itself is followed, so ask the path, not the entry.
            let is_file = match entry.depth() {
                0 => entry.path().is_file(),
                _ => entry.file_type().is_file(),
            };
            let bytes = entry.metadata()?.len();
            Ok(is_file.then(|| File {
                path: entry.into_path(),
                bytes,
            }))
        });
        match file {
            Ok(Some(file)) => found.files.push(file),
            Ok(None) => {}
            Err(error) => {
                eprintln!("cannot read the directory: {error}");
                found.unreadable += 1;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn finds_files_at_every_depth_and_files_that_are_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/deep"), "four").unwrap();
        fs::write(dir.path().join("top"), "three").unwrap();

        let found = find(&[dir.path().to_owned()], &Stop::default());
        assert_eq!((found.files.len(), found.bytes()), (2, 9));

        let found = find(&[dir.path().join("top")], &Stop::default());
        assert_eq!((found.files.len(), found.bytes()), (1, 5));
    }

    #[test]
    fn stops_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "text").unwrap();
        let stop = Stop::default();
        stop.interrupt();
        assert!(find(&[dir.path().to_owned()], &stop).files.is_empty());
    }
}
