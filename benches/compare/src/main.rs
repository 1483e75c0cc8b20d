//! Measures swaplane side by side with what else one would use, in one process.
//!
//! `cargo run --release -p compare -- [--quick] [--list] [--json FILE] [--svg DIR] [CASE…]`
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
mod ours;
mod pair;
mod peers;
mod row;
mod solo;
mod stats;
mod stores;
mod svg;
mod table;
mod tally;

use std::{error::Error, fs, process::ExitCode};

use clap::Parser;
use serde::Serialize;

use crate::{
    args::{Args, selects},
    machine::{Machine, Usage},
    pair::Plan,
    row::Row,
};

fn main() -> ExitCode {
    let args = Args::parse();
    let mut cases = cases::all();
    if !args.cases.is_empty() {
        cases.retain(|case| {
            args.cases
                .iter()
                .any(|pattern| selects(pattern, &case.name))
        });
    } else if args.quick {
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
    let machine = Machine::of_this_run();
    machine.print();
    let plan = Plan::new(args.quick);
    let mut report = Report {
        machine,
        quick: args.quick,
        rows: Vec::new(),
    };
    let count = cases.len();
    for (index, case) in cases.into_iter().enumerate() {
        eprintln!("{} of {count}: {}", index + 1, case.name);
        let before = Usage::now();
        let mut rows = (case.run)(&case.name, plan);
        let others = before.others_since();
        rows.iter_mut().for_each(|row| row.others = others);
        report.rows.append(&mut rows);
        // After each case, so that a run that is stopped leaves what it has.
        if let Err(error) = report.write(&args) {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    }
    table::print(&report.rows);
    ExitCode::SUCCESS
}

#[derive(Serialize)]
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
            svg::write(&self.rows, directory)
                .map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        Ok(())
    }
}
