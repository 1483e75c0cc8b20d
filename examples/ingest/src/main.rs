//! Reads text files with many threads and writes their lines to SQLite in batches.
//!
//! `cargo run --release -p ingest -- [PATH…] [--db FILE] [--threads N] [--batch-size N]
//! [--max-delay MS] [--max-lines N]`
//!
//! Exit status: 0 if every line that was pushed is in the database (also after Ctrl-C), 1 if not,
//! 2 if nothing was started because an argument was wrong.

mod args;
mod baseline;
mod producers;
mod progress;
mod reader;
mod report;
mod sink;
mod source;
mod store;

use std::{
    process::ExitCode,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Parser;
use common::{
    database::{self, Place},
    stop::{self, Stop},
};
use swaplane::Queue;

use crate::{
    args::Args, producers::Producers, report::Report, sink::SqliteSink, store::Row, store::Store,
};

/// How long the sink may take for what is still buffered at the end.
const DEADLINE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let args = Args::parse();
    let job = match prepare(&args) {
        Ok(job) => job,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(2);
        }
    };
    match run(&args, job) {
        Ok(report) => {
            report.print();
            ExitCode::from(u8::from(!report.adds_up()))
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// All that can fail because of what the user asked for.
struct Job {
    stop: Arc<Stop>,
    place: Place,
    store: Arc<Mutex<Store>>,
    queue: Queue<Row>,
}

fn prepare(args: &Args) -> Result<Job> {
    let stop = Arc::new(Stop::default());
    let place = Place::new(args.db.as_deref(), "ingest")?;
    let store = Store::open(place.database())
        .with_context(|| format!("cannot use {} as the database", place.database().display()))?;
    let store = Arc::new(Mutex::new(store));
    let queue = Queue::builder()
        .name("ingest")
        .capacity(args::CAPACITY)
        .max_batch_size(args.batch_size)
        .max_delay(args.max_delay())
        .attempt_timeout(sink::ATTEMPT_TIMEOUT)
        .retry(sink::retry())
        // This program has no tokio runtime of its own.
        .own_thread()
        .spawn(SqliteSink::new(Arc::clone(&store), Arc::clone(&stop)))?;
    stop::on_ctrl_c(Arc::clone(&stop))?;
    Ok(Job {
        stop,
        place,
        store,
        queue,
    })
}

fn run(args: &Args, job: Job) -> Result<Report> {
    let Job {
        stop,
        place,
        store,
        queue,
    } = job;
    let input = args.input();
    let found = source::find(&input.paths, &stop);
    let rows_before = database::lock(&store).count()?;
    let bar = progress::bar(found.bytes(), &queue);

    let started = Instant::now();
    let producers = Producers::start(
        &queue,
        found.files,
        args.threads,
        input.max_lines,
        &stop,
        &bar,
    );
    // The order matters: first the last push, then the shutdown.
    producers.wait(&stop);
    let shutdown = queue.shutdown_blocking(DEADLINE);
    let elapsed = started.elapsed();

    let mut tally = producers.join();
    tally.unreadable += found.unreadable;
    bar.finish_and_clear();

    let (rows, settings) = {
        let store = database::lock(&store);
        (
            store.count()?.saturating_sub(rows_before),
            store.settings()?,
        )
    };
    let sample = baseline::sample(&tally.read_first, &stop);
    let per_row = baseline::measure(&place, &sample, &stop)?;

    Ok(Report {
        input: input.description,
        tally,
        shutdown,
        stats: queue.stats(),
        batch_size: args.batch_size,
        rows,
        elapsed,
        per_row,
        settings,
        place: place.describe("--db"),
        stopped: stop.why(),
    })
}
