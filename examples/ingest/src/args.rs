//! The command line.

use std::{env, path::PathBuf, thread, time::Duration};

use clap::{
    Parser,
    builder::{PathBufValueParser, RangedU64ValueParser, TypedValueParser},
};

/// Rows the buffer holds at most.
pub const CAPACITY: usize = 100_000;
/// swaplane wants a batch to be at most three quarters of the capacity. Checked here as well so
/// that the message names the option, and comes before a database file is made.
const MAX_BATCH_SIZE: u64 = (CAPACITY - CAPACITY / 4) as u64;
/// Some ten seconds of work, for those who only want to see it run.
const DEFAULT_MAX_LINES: u64 = 5_000_000;

/// Writes every line of every text file under the PATHs to an SQLite database.
///
/// Many threads read, and push each line as a row into a swaplane queue; one sink writes each
/// batch as one transaction. Ctrl-C stops reading, writes what is buffered, and still prints the
/// table; a second Ctrl-C quits at once.
///
/// Exit status: 0 if all lines pushed are in the database (also after Ctrl-C), 1 if not, 2 for a
/// wrong argument.
#[derive(Parser)]
#[command(version)]
pub struct Args {
    /// Files and directories to read [default: the crate sources that cargo has unpacked, else
    /// the current directory]
    ///
    /// Symbolic links inside a directory are not followed. Files with a NUL byte near their start
    /// count as binary and are skipped.
    #[arg(value_name = "PATH", value_parser = PathBufValueParser::new().try_map(readable))]
    pub paths: Vec<PathBuf>,

    /// Add the rows to this database [default: a temporary one, deleted at the end]
    #[arg(long, value_name = "FILE")]
    pub db: Option<PathBuf>,

    /// Threads that read [default: one per CPU]
    #[arg(
        long,
        value_name = "N",
        default_value_t = cpus(),
        hide_default_value = true,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024)
    )]
    pub threads: usize,

    /// Rows per transaction at most
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=MAX_BATCH_SIZE)
    )]
    pub batch_size: usize,

    /// Milliseconds a row waits for its batch to fill at most; 0 sends whatever is there as soon
    /// as the sink is free
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 50,
        value_parser = clap::value_parser!(u64).range(..=3_600_000)
    )]
    max_delay: u64,

    /// Stop after this many lines [default: no limit with a PATH, 5000000 without]
    #[arg(long, value_name = "N")]
    max_lines: Option<u64>,
}

/// What to read.
pub struct Input {
    pub paths: Vec<PathBuf>,
    pub max_lines: Option<u64>,
    pub description: String,
}

impl Args {
    pub fn max_delay(&self) -> Duration {
        Duration::from_millis(self.max_delay)
    }

    pub fn input(&self) -> Input {
        if self.paths.is_empty() {
            let path = crate_sources().unwrap_or_else(|| PathBuf::from("."));
            return Input {
                max_lines: self.max_lines.or(Some(DEFAULT_MAX_LINES)),
                description: path.display().to_string(),
                paths: vec![path],
            };
        }
        let description = match &*self.paths {
            [path] => path.display().to_string(),
            [first, rest @ ..] => format!("{} and {} more", first.display(), rest.len()),
            [] => unreachable!("handled above"),
        };
        Input {
            paths: self.paths.clone(),
            max_lines: self.max_lines,
            description,
        }
    }
}

/// Text that is there wherever this program was built with cargo.
fn crate_sources() -> Option<PathBuf> {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")))?;
    Some(cargo_home.join("registry").join("src")).filter(|path| path.is_dir())
}

fn readable(path: PathBuf) -> Result<PathBuf, String> {
    match path.metadata() {
        Ok(data) if data.is_file() || data.is_dir() => Ok(path),
        Ok(_) => Err("neither a file nor a directory".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn cpus() -> usize {
    thread::available_parallelism().map_or(2, usize::from)
}
