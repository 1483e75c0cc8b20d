//! What a buffer does while there is nothing to do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use super::Case;
use crate::{
    item::{Item, Small},
    machine::{Work, work_of},
    ours::ENOUGH,
    peers::{
        Pipe, Pull, Push,
        channels::Tokio,
        mutex::{OwnShard, ParkingLot},
    },
    row::Row,
    tally::{SumSink, Tally},
};

type Item16 = Small;
type Mutexes = OwnShard<ParkingLot<Item16>>;

/// Until what is done after the last item is done.
const CALM: Duration = Duration::from_secs(4);

pub fn add(cases: &mut Vec<Case>) {
    let delays = [Duration::ZERO, Duration::from_millis(50)];
    for delay in delays {
        let name = format!("idle/max_delay-{delay:?}");
        cases.push(Case::new(name, delay.is_zero(), move |case, plan| {
            let watch = Duration::from_secs(if plan.pairs < 100 { 2 } else { 10 });
            let ours = ours(delay, watch);
            let name = format!("swaplane (max_delay {delay:?})");
            let peers = [
                (
                    "own-mutex-parking_lot (polled every 1 ms)",
                    swept(Duration::from_millis(1), watch),
                ),
                (
                    "own-mutex-parking_lot (polled every 50 ms)",
                    swept(Duration::from_millis(50), watch),
                ),
                ("tokio-mpsc", received(watch)),
            ];
            let per_second = |work: Work| work.sleeps as f64 / watch.as_secs_f64();
            let micros = |work: Work| work.time.as_secs_f64() * 1e6 / watch.as_secs_f64();
            let rows = peers.map(|(peer, theirs)| {
                let row = |unit, values| Row::single(case, &name, peer, unit, values, "");
                [
                    row(
                        "wake-ups per second",
                        (per_second(ours), per_second(theirs)),
                    ),
                    row("CPU µs per second", (micros(ours), micros(theirs))),
                ]
            });
            rows.concat()
        }));
    }
}

/// What the threads of this name do in a while.
fn watched(name: &str, watch: Duration) -> Work {
    thread::sleep(CALM);
    let before = work_of(name);
    thread::sleep(watch);
    let after = work_of(name);
    Work {
        sleeps: after.sleeps - before.sleeps,
        time: after.time.saturating_sub(before.time),
    }
}

fn ours(delay: Duration, watch: Duration) -> Work {
    let queue = swaplane::Queue::builder()
        .own_thread()
        .capacity(ENOUGH)
        .max_delay(delay)
        .spawn(SumSink::default())
        .expect("valid");
    let mut writer = queue.writer();
    for number in 0..100_000 {
        assert!(writer.push(Item16::make(number)).is_ok(), "there is room");
    }
    queue.flush_blocking().expect("the sink never fails");
    watched("swaplane", watch)
}

/// A consumer that looks every so often.
fn swept(pause: Duration, watch: Duration) -> Work {
    let over = Arc::new(AtomicBool::new(false));
    let (mut txs, mut rx) = Mutexes::open(1);
    txs[0].push(Item16::make(0));
    let consumer = thread::Builder::new().name("consumer".to_owned()).spawn({
        let over = Arc::clone(&over);
        move || {
            let mut tally = Tally::default();
            while !over.load(Relaxed) {
                let started = Instant::now();
                rx.pull(&mut tally);
                thread::sleep(pause.saturating_sub(started.elapsed()));
            }
        }
    });
    let work = watched("consumer", watch);
    over.store(true, Relaxed);
    consumer.expect("a thread").join().expect("no panic");
    work
}

/// A consumer that waits.
fn received(watch: Duration) -> Work {
    let (mut txs, mut rx) = <Tokio as Pipe<Item16>>::open(1);
    txs[0].push(Item16::make(0));
    let consumer = thread::Builder::new().name("consumer".to_owned());
    let consumer = consumer.spawn(move || {
        let mut tally = Tally::default();
        while tally.count < 2 {
            rx.pull(&mut tally);
        }
    });
    let work = watched("consumer", watch);
    txs[0].push(Item16::make(1));
    consumer.expect("a thread").join().expect("no panic");
    work
}
