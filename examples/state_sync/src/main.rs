//! Keeps an SQLite table in step with devices that many threads update.
//!
//! `cargo run --release -p state_sync -- [--devices N] [--threads N] [--updates N]
//! [--late PERCENT] [--database FILE] [--capacity N] [--batch-size N] [--max-delay MS]
//! [--remember-versions N] [--seed N]`
//!
//! Exit status: 0 if the database says what is true of each device (also after Ctrl-C), 1 if not,
//! 2 if nothing was started because an argument was wrong.

mod args;
mod baseline;
mod check;
mod devices;
mod gateway;
mod producers;
mod progress;
mod random;
mod report;
mod sink;
mod store;

use std::{
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use common::{
    database::{self, Place},
    stop::{self, Stop},
};
use swaplane::Map;

use crate::{
    args::Args,
    devices::{Devices, Readings, State},
    gateway::Gateway,
    producers::Producers,
    random::Random,
    report::Report,
    sink::{Counters, SqliteSink},
    store::Store,
};

/// How long the sink may take for what is still buffered at the end.
const DEADLINE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let args = Args::get();
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
            ExitCode::from(u8::from(!report.is_good()))
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
    counters: Arc<Counters>,
    devices: Arc<Devices>,
    map: Map<u32, State>,
}

fn prepare(args: &Args) -> Result<Job> {
    let stop = Arc::new(Stop::default());
    let (place, store, before) =
        open(args.database.as_deref()).with_context(|| match &args.database {
            Some(file) => format!("cannot use --database {}", file.display()),
            None => "cannot make a temporary database".to_owned(),
        })?;
    let store = Arc::new(Mutex::new(store));
    let counters = Arc::new(Counters::default());
    let map = Map::builder()
        .name("state_sync")
        .capacity(args.capacity)
        .max_batch_size(args.batch_size())
        .max_delay(args.max_delay())
        .remember_versions(args.remember_versions)
        .attempt_timeout(sink::ATTEMPT_TIMEOUT)
        .retry(sink::retry())
        // This program has no tokio runtime of its own.
        .own_thread()
        .spawn(SqliteSink::new(
            Arc::clone(&store),
            Arc::clone(&counters),
            Arc::clone(&stop),
        ))?;
    stop::on_ctrl_c(Arc::clone(&stop))?;
    Ok(Job {
        stop,
        place,
        store,
        counters,
        devices: Arc::new(Devices::new(args.devices, args.seed, before)),
        map,
    })
}

fn open(database: Option<&Path>) -> Result<(Place, Store, Readings)> {
    let place = Place::new(database, "state_sync")?;
    let store = Store::open(place.database())?;
    let before = store.readings()?;
    Ok((place, store, before))
}

fn run(args: &Args, job: Job) -> Result<Report> {
    let Job {
        stop,
        place,
        store,
        counters,
        devices,
        map,
    } = job;
    let bar = progress::bar(args.updates, &map);

    let started = Instant::now();
    let gateways = gateways(args, &devices);
    let producers = Producers::start(gateways, &devices, &map, &stop, &bar);
    // The order matters: first the last update, then the shutdown.
    producers.wait(&stop);
    let shutdown = map.shutdown_blocking(DEADLINE);
    let elapsed = started.elapsed();

    let tally = producers.join();
    bar.finish_and_clear();

    let (database, settings) = {
        let store = database::lock(&store);
        (store.readings()?, store.settings()?)
    };
    let per_update = baseline::measure(&place, &sample(args), &stop)?;

    Ok(Report {
        devices: args.devices,
        threads: args.threads,
        tally,
        shutdown,
        stats: map.stats(),
        written: counters.read(),
        batch_size: args.batch_size(),
        rows: database.len() as u64,
        differences: check::compare(&database, &devices.truth()),
        elapsed,
        per_update,
        settings,
        place: place.describe("--database"),
        stopped: stop.why(),
    })
}

/// One for each thread, and the updates shared out among them.
fn gateways(args: &Args, devices: &Arc<Devices>) -> Vec<Gateway> {
    let threads = args.threads as u64;
    (0..threads)
        .map(|n| {
            let updates = args.updates / threads + u64::from(n < args.updates % threads);
            Gateway::new(devices, random(args, n), args.late, updates)
        })
        .collect()
}

/// What the first gateway would hear of devices that say all of it again.
fn sample(args: &Args) -> Vec<baseline::Update> {
    let devices = Arc::new(Devices::new(args.devices, args.seed, Readings::new()));
    let gateway = Gateway::new(&devices, random(args, 0), args.late, args.updates);
    baseline::sample(gateway, &devices)
}

fn random(args: &Args, gateway: u64) -> Random {
    Random::new(&[args.seed, gateway])
}
