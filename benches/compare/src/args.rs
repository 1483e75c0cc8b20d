//! The command line, and which cases it selects.

use std::path::PathBuf;

use clap::Parser;

/// Measures swaplane side by side with what else one would use.
///
/// Both sides of a row take turns in one process, in slices of some milliseconds and in random
/// order; the ratio is the median over all pairs of the peer's time to ours, so more than 1 means
/// that swaplane is faster. Every item is counted and summed where it arrives, and checked after
/// each slice.
#[derive(Parser)]
#[command(version)]
pub struct Args {
    /// Cases to run [default: all of them, which takes about an hour]: how their names begin; `*`
    /// stands for anything
    #[arg(value_name = "CASE")]
    pub cases: Vec<String>,

    /// Some 20 pairs rather than 200, and without CASE only the main cases: noisy
    #[arg(long)]
    pub quick: bool,

    /// Only list the cases
    #[arg(long)]
    pub list: bool,

    /// Write all rows to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write a chart of the ratios, ratios.svg, into this directory; without CASE of the main ones
    #[arg(long, value_name = "DIR")]
    pub svg: Option<PathBuf>,

    /// Write all rows as Markdown, with a reason for each that is lost
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,

    /// Measure nothing: take the rows from what --json has written
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
}

impl Args {
    /// Whether a case is asked for.
    pub fn selects(&self, name: &str) -> bool {
        let mut patterns = self.cases.iter();
        self.cases.is_empty() || patterns.any(|pattern| selects(pattern, name))
    }
}

/// Whether a pattern selects a name: as its beginning, with `*` for anything.
pub fn selects(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_beginning_with_gaps() {
        assert!(selects("", "push/alone"));
        assert!(selects("push/", "push/alone"));
        assert!(selects("e2e/*/8/*kanal", "e2e/16B/8/writer/kanal"));
        assert!(selects("*kanal", "e2e/16B/8/writer/kanal"));
        assert!(!selects("alone", "push/alone"));
        assert!(!selects("e2e/*flume", "e2e/16B/8/writer/kanal"));
    }
}
