//! The table at the end, and whether it adds up.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use comfy_table::{Table, presets};
use common::{
    figures::{grouped, mean_fill},
    stop::Why,
};
use swaplane::{ShutdownReport, Stats};

use crate::{baseline::Baseline, producers::Tally, store::Row};

pub struct Report {
    pub input: String,
    pub tally: Tally,
    pub shutdown: ShutdownReport<Row>,
    pub stats: Stats,
    pub batch_size: usize,
    pub rows: u64,
    pub elapsed: Duration,
    pub per_row: Option<Baseline>,
    pub settings: String,
    pub place: String,
    pub stopped: Option<Why>,
}

impl Report {
    /// Three independent counts: the readers', the queue's, and the database's.
    pub fn adds_up(&self) -> bool {
        self.tally.lines == self.rows
            && self.tally.lines == self.shutdown.accepted
            && self.shutdown.is_complete()
            && !matches!(self.stopped, Some(Why::SinkFailed(_)))
    }

    pub fn print(&self) {
        // A reader that has gone away, as `head` does, is no reason to panic.
        let _ = writeln!(io::stdout(), "{}", self.table());
        if let Some(Why::SinkFailed(error)) = &self.stopped {
            eprintln!("error: the database refused a batch: {error}");
        }
        let lost = self.shutdown.lost;
        let returned =
            self.shutdown.returned.len() as u64 + self.shutdown.returned_to_other_callers;
        if !self.shutdown.is_complete() {
            eprintln!(
                "error: not all rows were written: {} returned, {} lost",
                grouped(returned),
                grouped(lost),
            );
        }
        if self.tally.lines != self.rows {
            eprintln!(
                "error: {} lines were pushed, but the database has {} rows",
                grouped(self.tally.lines),
                grouped(self.rows),
            );
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let mut row = |name: &str, value: String| {
            table.add_row([name.to_owned(), value]);
        };
        let Tally {
            files,
            binary,
            unreadable,
            ..
        } = self.tally;
        row("Read", self.input.clone());
        row(
            "Files",
            format!(
                "{} with text, {} binary, {} unreadable",
                grouped(files),
                grouped(binary),
                grouped(unreadable),
            ),
        );
        row("Lines pushed", grouped(self.tally.lines));
        row("Rows in the database", grouped(self.rows));
        row("Lossy lines", grouped(self.tally.lossy));
        row("Batches", grouped(self.stats.batches));
        row("Mean fill", mean_fill(&self.stats, self.batch_size, "rows"));
        row("Attempts", grouped(self.stats.attempts));
        row("Time", format!("{:.2} s", self.elapsed.as_secs_f64()));
        row("Rows per second", grouped(self.rows_per_second() as u64));
        row("A transaction per row", self.per_row());
        row("Times faster", self.times_faster());
        row("Database", self.place.clone());
        row("Both with", self.settings.clone());
        row("Reading ended", self.ended().to_owned());
        table
    }

    fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.elapsed.as_secs_f64()
    }

    fn per_row(&self) -> String {
        self.per_row.as_ref().map_or_else(
            || "not measured".to_owned(),
            |per_row| {
                format!(
                    "{} rows per second, over {:.1} s",
                    grouped(per_row.rows_per_second() as u64),
                    per_row.elapsed.as_secs_f64(),
                )
            },
        )
    }

    fn times_faster(&self) -> String {
        self.per_row.as_ref().map_or_else(
            || "–".to_owned(),
            |per_row| format!("{:.1}", self.rows_per_second() / per_row.rows_per_second()),
        )
    }

    fn ended(&self) -> &'static str {
        match self.stopped {
            Some(Why::Interrupted) => "early, by Ctrl-C",
            Some(Why::SinkFailed(_)) => "early, the database failed",
            None if self.tally.capped => "early, at --max-lines",
            None => "at the end of the last file",
        }
    }
}
