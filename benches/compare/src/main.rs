//! Measures swaplane side by side with what else one would use, in one process.
//!
//! `cargo run --release -p compare -- [--quick] [--list] [--json FILE] [--svg DIR] [--markdown
//! FILE] [--from FILE] [CASE…]`
//!
//! Exit status: 0 if everything was measured, 1 if a file could not be written, 2 if nothing was
//! measured because an argument was wrong. Items that are lost or wrong end it with a panic.

mod alloc;
mod args;
mod cases;
mod crew;
mod item;
mod keys;
mod machine;
mod markdown;
mod ours;
mod pair;
mod peers;
mod reasons;
mod row;
mod solo;
mod stats;
mod stores;
mod svg;
mod table;
mod tally;

use std::{error::Error, fs, process::ExitCode};

use clap::Parser;
use serde::{Deserialize, Serialize};

use crate::{
    args::Args,
    cases::Case,
    machine::{Machine, Usage},
    pair::Plan,
    row::Row,
};

fn main() -> ExitCode {
    let args = Args::parse();
    let mut cases = cases::all();
    cases.retain(|case| args.selects(&case.name));
    if args.cases.is_empty() && args.quick {
        cases.retain(|case| case.quick);
    }
    if cases.is_empty() {
        eprintln!("error: no case has such a name; see --list");
        return ExitCode::from(2);
    }
    if args.list {
        cases.iter().for_each(|case| println!("{}", case.name));
        return ExitCode::SUCCESS;
    }
    match measure(&args, cases) {
        Ok(report) => {
            table::print(&report.rows);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args, cases: Vec<Case>) -> Result<Report, Box<dyn Error>> {
    if let Some(file) = &args.from {
        let text =
            fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let mut report: Report =
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        let selected = |row: &Row| args.selects(&row.case);
        report.rows.retain(selected);
        report.write(args)?;
        return Ok(report);
    }
    let mut report = Report {
        machine: Machine::of_this_run(),
        quick: args.quick,
        rows: Vec::new(),
    };
    report
        .machine
        .describe()
        .iter()
        .for_each(|line| println!("{line}"));
    let plan = Plan::new(args.quick);
    let count = cases.len();
    for (index, case) in cases.into_iter().enumerate() {
        eprintln!("{} of {count}: {}", index + 1, case.name);
        let before = Usage::now();
        let mut rows = (case.run)(&case.name, plan);
        let others = before.others_since();
        rows.iter_mut().for_each(|row| row.others = others);
        report.rows.append(&mut rows);
        // After each case, so that a run that is stopped leaves what it has.
        report.write(args)?;
    }
    Ok(report)
}

#[derive(Serialize, Deserialize)]
struct Report {
    machine: Machine,
    /// Fewer pairs: noisy.
    quick: bool,
    rows: Vec<Row>,
}

impl Report {
    fn write(&self, args: &Args) -> Result<(), Box<dyn Error>> {
        if let Some(file) = &args.json {
            fs::write(file, serde_json::to_string_pretty(self)?)
                .map_err(|error| format!("{}: {error}", file.display()))?;
        }
        if let Some(directory) = &args.svg {
            let main = |row: &&Row| !args.cases.is_empty() || svg::is_main(&row.case);
            svg::write(self.rows.iter().filter(main), directory)
                .map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        if let Some(file) = &args.markdown {
            fs::write(file, markdown::document(&self.machine, &self.rows))
                .map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(())
    }
}
