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
use swaplane::{Entry, ShutdownReport, Stats};

use crate::{
    baseline::Baseline, check::Differences, devices::State, producers::Tally, sink::Written,
};

pub struct Report {
    pub devices: u32,
    pub threads: usize,
    pub tally: Tally,
    pub shutdown: ShutdownReport<Entry<u32, State>>,
    pub stats: Stats,
    pub written: Written,
    pub batch_size: usize,
    /// Rows in the database, earlier ones included.
    pub rows: u64,
    pub differences: Differences,
    pub elapsed: Duration,
    pub per_update: Option<Baseline>,
    pub settings: String,
    pub place: String,
    pub stopped: Option<Why>,
}

impl Report {
    /// Whether the database says what is true, and all who have counted agree on how that came.
    pub fn is_good(&self) -> bool {
        self.problems().is_empty()
    }

    pub fn print(&self) {
        // A reader that has gone away, as `head` does, is no reason to panic.
        let _ = writeln!(io::stdout(), "{}", self.table());
        for problem in self.problems() {
            eprintln!("error: {problem}");
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(Why::SinkFailed(error)) = &self.stopped {
            problems.push(format!("the database refused a batch: {error}"));
        }
        if self.tally.refused > 0 {
            problems.push(format!(
                "{} updates were refused, because the map was closed",
                grouped(self.tally.refused)
            ));
        }
        if !self.shutdown.is_complete() {
            problems.push(self.incomplete());
        }
        if !self.differences.is_empty() {
            problems.push(format!(
                "the database differs from the true state: {}",
                self.differences
            ));
        }
        for (what, one, other) in self.disagreements() {
            problems.push(format!(
                "the counts disagree: {what} {} and {}",
                grouped(one),
                grouped(other)
            ));
        }
        problems
    }

    fn incomplete(&self) -> String {
        let ShutdownReport {
            lost,
            returned_to_other_callers,
            ref returned,
            ..
        } = self.shutdown;
        format!(
            "not all entries were written: {} returned, {} lost",
            grouped(returned.len() as u64 + returned_to_other_callers),
            grouped(lost),
        )
    }

    /// What was counted twice, independently, and came out differently.
    fn disagreements(&self) -> Vec<(&'static str, u64, u64)> {
        let shutdown = &self.shutdown;
        let outcomes = shutdown.delivered
            + shutdown.lost
            + shutdown.coalesced
            + shutdown.removed
            + shutdown.returned.len() as u64
            + shutdown.returned_to_other_callers;
        let mut pairs = vec![
            (
                "updates accepted, by the map and by its outcomes:",
                shutdown.accepted,
                outcomes,
            ),
            (
                "updates accepted, by the threads and by the map:",
                self.tally.accepted(),
                shutdown.accepted,
            ),
            (
                "updates coalesced, by the threads and by the map:",
                self.tally.replaced,
                shutdown.coalesced,
            ),
        ];
        // An attempt that came too late and one that came in its stead both count in the sink.
        if self.stats.attempts == self.stats.batches {
            pairs.push((
                "batches, by the map and by the sink:",
                self.stats.batches,
                self.written.transactions,
            ));
            pairs.push((
                "entries, by the map and by the sink:",
                shutdown.delivered,
                self.written.entries,
            ));
            pairs.push((
                "updates accepted, by the map and by its entries:",
                shutdown.accepted,
                self.written.updates,
            ));
        }
        pairs.retain(|(_, one, other)| one != other);
        pairs
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let mut row = |name: &str, value: String| {
            table.add_row([name.to_owned(), value]);
        };
        let Self {
            tally,
            shutdown,
            written,
            ..
        } = self;
        row(
            "Setting",
            format!(
                "{} devices, {} threads",
                grouped(self.devices.into()),
                grouped(self.threads as u64)
            ),
        );
        row("Updates offered", grouped(tally.offered()));
        row("Stale, refused by the map", grouped(tally.stale));
        row("Accepted", grouped(shutdown.accepted));
        row("Coalesced", grouped(shutdown.coalesced));
        row("Entries sent", grouped(shutdown.delivered));
        row(
            "Stale, refused by the database",
            grouped(written.entries - written.rows),
        );
        row("Rows written", grouped(written.rows));
        row("Updates per row written", self.updates_per_row());
        row("Batches", grouped(self.stats.batches));
        row(
            "Mean fill",
            mean_fill(&self.stats, self.batch_size, "entries"),
        );
        row("Attempts", grouped(self.stats.attempts));
        row("Transactions", grouped(written.transactions));
        row("Waits for room", grouped(tally.waits));
        row("Time", format!("{:.2} s", self.elapsed.as_secs_f64()));
        row(
            "Updates per second",
            grouped(self.per_second(tally.offered()) as u64),
        );
        row(
            "Rows per second",
            grouped(self.per_second(written.rows) as u64),
        );
        row("A transaction per update", self.per_update());
        row("That would have taken", self.would_have_taken());
        row("Database", self.place.clone());
        row("Both with", self.settings.clone());
        row("Rows in the database", grouped(self.rows));
        row("Rows that differ", grouped(self.differences.count));
        row("Updates ended", self.ended().to_owned());
        table
    }

    fn updates_per_row(&self) -> String {
        match self.written.rows {
            0 => "–".to_owned(),
            rows => format!("{:.1}", self.tally.offered() as f64 / rows as f64),
        }
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.elapsed.as_secs_f64()
    }

    fn per_update(&self) -> String {
        self.per_update.as_ref().map_or_else(
            || "not measured".to_owned(),
            |sample| {
                format!(
                    "{} per second, in a sample of {} over {:.1} s",
                    grouped(sample.updates_per_second() as u64),
                    grouped(sample.updates),
                    sample.elapsed.as_secs_f64(),
                )
            },
        )
    }

    fn would_have_taken(&self) -> String {
        self.per_update.as_ref().map_or_else(
            || "–".to_owned(),
            |sample| {
                let seconds = sample.seconds_for(self.tally.offered());
                format!(
                    "{} s, {} times as long, by that sample",
                    rough(seconds),
                    rough(seconds / self.elapsed.as_secs_f64())
                )
            },
        )
    }

    fn ended(&self) -> &'static str {
        match self.stopped {
            Some(Why::Interrupted) => "early, by Ctrl-C",
            Some(Why::SinkFailed(_)) => "early, the database failed",
            None => "when all were made",
        }
    }
}

/// An estimate, without digits that mean nothing.
fn rough(number: f64) -> String {
    if number < 10.0 {
        format!("{number:.1}")
    } else {
        grouped(number.round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::rough;

    #[test]
    fn estimates_are_rounded() {
        let cases = [
            (0.04, "0.0"),
            (9.44, "9.4"),
            (10.4, "10"),
            (1_234.5, "1,235"),
        ];
        for (number, text) in cases {
            assert_eq!(rough(number), text);
        }
    }
}
