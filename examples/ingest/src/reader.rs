//! Splits a file into lines.

use std::io::{self, BufRead, Error, ErrorKind, Read};

/// A NUL byte this close to the start makes a file binary.
const HEAD: usize = 8 * 1024;
/// One "line" without an end must not fill the memory, nor exceed what SQLite takes.
const MAX_LINE: usize = 16 * 1024 * 1024;

#[derive(Debug, PartialEq)]
pub struct Line {
    /// From 1.
    pub number: u64,
    /// Without its line end, which may be LF or CR LF.
    pub text: String,
    /// Whether bytes that are not UTF-8 were replaced in `text`.
    pub lossy: bool,
}

pub struct Lines<R> {
    reader: R,
    number: u64,
    buffer: Vec<u8>,
    max_line: usize,
    done: bool,
}

/// The lines of `reader`, or `None` if its content is not text.
pub fn lines<R: BufRead>(mut reader: R) -> io::Result<Option<Lines<R>>> {
    let head = reader.fill_buf()?;
    if head[..head.len().min(HEAD)].contains(&0) {
        return Ok(None);
    }
    Ok(Some(Lines {
        reader,
        number: 0,
        buffer: Vec::new(),
        max_line: MAX_LINE,
        done: false,
    }))
}

impl<R: BufRead> Lines<R> {
    fn read(&mut self) -> io::Result<Option<Line>> {
        self.buffer.clear();
        // Two more bytes than the longest line: its end belongs to it.
        self.reader
            .by_ref()
            .take(self.max_line as u64 + 2)
            .read_until(b'\n', &mut self.buffer)?;
        if self.buffer.is_empty() {
            return Ok(None);
        }
        self.number += 1;

        let bytes = match self.buffer.strip_suffix(b"\n") {
            Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
            None => &self.buffer,
        };
        if bytes.len() > self.max_line {
            return Err(Error::new(
                ErrorKind::InvalidData,
                format!(
                    "line {} is longer than {} bytes",
                    self.number, self.max_line
                ),
            ));
        }
        let (text, lossy) = match str::from_utf8(bytes) {
            Ok(text) => (text.to_owned(), false),
            Err(_) => (String::from_utf8_lossy(bytes).into_owned(), true),
        };
        Ok(Some(Line {
            number: self.number,
            text,
            lossy,
        }))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.read().transpose();
        // A file that failed once is not tried again: the next line could start anywhere.
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(content: &[u8]) -> Vec<String> {
        lines(content)
            .unwrap()
            .expect("text")
            .map(|line| line.unwrap().text)
            .collect()
    }

    #[test]
    fn both_line_ends_are_removed_and_nothing_else() {
        assert_eq!(texts(b"a\r\nb\n\n c \t\n"), ["a", "b", "", " c \t"]);
        assert_eq!(texts(b"a\rb\r\r\n"), ["a\rb\r"]);
    }

    #[test]
    fn the_last_line_needs_no_end() {
        assert_eq!(texts(b"a\nb"), ["a", "b"]);
        assert_eq!(texts(b"a\nb\r"), ["a", "b\r"]);
        assert_eq!(texts(b"a\nb\n"), ["a", "b"]);
    }

    #[test]
    fn an_empty_file_has_no_lines() {
        assert!(texts(b"").is_empty());
        assert_eq!(texts(b"\n"), [""]);
    }

    #[test]
    fn lines_are_numbered_from_one_and_only_bad_ones_are_flagged() {
        let found: Vec<_> = lines(&b"ok\nb\xffd\n\xc3\xa4"[..])
            .unwrap()
            .unwrap()
            .map(Result::unwrap)
            .map(|line| (line.number, line.text, line.lossy))
            .collect();
        let expected = [(1, "ok", false), (2, "b\u{fffd}d", true), (3, "ä", false)];
        assert_eq!(found, expected.map(|(n, t, l)| (n, t.to_owned(), l)));
    }

    #[test]
    fn a_long_line_stays_whole() {
        let long = "x".repeat(3_000_000);
        assert_eq!(texts(format!("{long}\r\nb\n").as_bytes()), [&long, "b"]);
    }

    #[test]
    fn a_line_that_never_ends_is_an_error_and_the_last_item() {
        let with_limit = |content: &'static [u8]| {
            let mut lines = lines(content).unwrap().unwrap();
            lines.max_line = 4;
            lines.map(|line| line.is_ok()).collect::<Vec<_>>()
        };
        assert_eq!(with_limit(b"1234\r\n1234\n1234"), [true, true, true]);
        assert_eq!(with_limit(b"1\n12345\n1\n"), [true, false]);
        assert_eq!(with_limit(b"1\n1234567890"), [true, false]);
    }

    #[test]
    fn a_nul_byte_near_the_start_means_binary() {
        assert!(lines(&b"a\0b"[..]).unwrap().is_none());
        let mut late = vec![b'x'; HEAD];
        late.push(0);
        assert!(lines(&late[..]).unwrap().is_some());
    }
}
