//! Measures swaplane side by side with what else one would use, in one process.
//!
//! `cargo run --release -p compare -- [--quick] [--list] [--json FILE] [--svg DIR] [CASE…]`
//!
//! Exit status: 0 if everything was measured, 1 if a file could not be written, 2 if nothing was
//! measured because an argument was wrong. Items that are lost or wrong end it with a panic.

mod args;
mod cases;
mod crew;
mod item;
mod machine;
mod ours;
mod pair;
mod peers;
mod row;
mod solo;
mod stats;
mod table;
mod tally;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    args::{Args, selects},
    machine::Machine,
    pair::Plan,
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
    let mut rows = Vec::new();
    for case in cases {
        eprintln!("{}", case.name);
        rows.extend((case.run)(&case.name, plan));
    }
    table::print(&rows);
    ExitCode::SUCCESS
}
