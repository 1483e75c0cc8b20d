//! How long a push keeps its caller, in an open loop: a push is due every so often whether or not
//! the one before has returned, and its latency counts from when it was due. How long the call
//! itself took is told too: that is less wherever pushes have had to wait for each other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use swaplane::Queue;

use super::Case;
use crate::{
    item::{Item, Small},
    machine,
    ours::ENOUGH,
    pair::{Pairs, Plan, Slice},
    peers::{
        Pipe, Pull, Push,
        mutex::{OwnShard, ParkingLot},
    },
    row::Row,
    tally::{BATCH, SumSink, Tally},
};

type Item16 = Small;
type Mutexes = OwnShard<ParkingLot<Item16>>;

/// A million pushes per second.
const PERIOD: u64 = 1_000;
/// Ten seconds.
const LONGEST: u64 = 10_000_000_000;
/// Pushes of one round.
const ROUND: u64 = 50_000;

const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// What happens to what was pushed meanwhile.
#[derive(Clone, Copy, PartialEq)]
enum Flushing {
    Off,
    EveryMilli,
    BackToBack,
}

impl Flushing {
    const ALL: [Self; 3] = [Self::Off, Self::EveryMilli, Self::BackToBack];

    fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::EveryMilli => "1ms",
            Self::BackToBack => "back-to-back",
        }
    }
}

pub fn add(cases: &mut Vec<Case>) {
    for flushing in Flushing::ALL {
        for (short, name, way) in [
            (
                "writer",
                "Writer::push",
                writer as fn(Flushing) -> Box<dyn Pushed>,
            ),
            ("queue", "Queue::push", queue),
        ] {
            let case = format!("latency/{}/{short}/own-mutex-parking_lot", flushing.name());
            cases.push(Case::new(case, short == "writer", move |case, plan| {
                let (ours, peer) = (way(flushing), Box::new(Theirs::new(flushing)));
                measure(case, plan, (name, ours), ("own-mutex-parking_lot", peer))
            }));
        }
    }
    for flushing in [Flushing::EveryMilli, Flushing::BackToBack] {
        let case = format!("latency/{}/writer/flusher-off", flushing.name());
        cases.push(Case::new(case, true, move |case, plan| {
            let (ours, off) = (writer(flushing), writer(Flushing::Off));
            let name = "Writer::push";
            measure(
                case,
                plan,
                (name, ours),
                ("Writer::push with the flusher off", off),
            )
        }));
    }
}

trait Pushed {
    /// Pushes, and notes what that took.
    fn round(&mut self, times: &mut Times);
}

/// Of one round, in nanoseconds.
struct Times {
    /// From when a push was due.
    latency: Histogram<u64>,
    /// From when it was called.
    call: Histogram<u64>,
    /// The thread was kept from its CPU.
    disturbed: bool,
}

impl Times {
    fn of(side: &mut dyn Pushed) -> Self {
        let histogram = || Histogram::new_with_bounds(1, LONGEST, 3).expect("valid bounds");
        let mut times = Self {
            latency: histogram(),
            call: histogram(),
            disturbed: false,
        };
        side.round(&mut times);
        times
    }

    fn quantiles(&self) -> Vec<(&'static str, &'static str, f64)> {
        let kinds = [("latency", &self.latency), ("call", &self.call)];
        let of = |(kind, times): (_, &Histogram<u64>)| {
            QUANTILES.map(|(name, quantile)| (kind, name, times.value_at_quantile(quantile) as f64))
        };
        kinds.map(of).concat()
    }
}

fn measure(
    case: &str,
    plan: Plan,
    mut ours: (&str, Box<dyn Pushed>),
    mut peer: (&str, Box<dyn Pushed>),
) -> Vec<Row> {
    let mut pairs: Vec<Pairs> = Vec::new();
    let quantiles = Times::of(&mut *ours.1).quantiles();
    Times::of(&mut *peer.1);
    pairs.resize_with(quantiles.len(), Pairs::default);
    let started = Instant::now();
    for done in 0..plan.pairs {
        if done >= 10 && started.elapsed() > plan.longest {
            break;
        }
        let stolen = machine::stolen();
        let (a, b);
        if fastrand::bool() {
            a = Times::of(&mut *ours.1);
            b = Times::of(&mut *peer.1);
        } else {
            b = Times::of(&mut *peer.1);
            a = Times::of(&mut *ours.1);
        }
        let disturbed = machine::stolen() > stolen || a.disturbed || b.disturbed;
        let values = a.quantiles().into_iter().zip(b.quantiles());
        for (pairs, ((_, _, a), (_, _, b))) in pairs.iter_mut().zip(values) {
            // A clock that steps can show nothing at all.
            pairs.add((a.max(1.0), b.max(1.0)), disturbed);
        }
    }
    let (look, step) = clock();
    let note = format!("1 M/s, open loop; a look at the clock takes {look} ns, it steps by {step}");
    let rows = quantiles.iter().zip(pairs).map(|((kind, name, _), pairs)| {
        let case = format!("{case}/{kind}/{name}");
        let (ours, peer) = (ours.0.to_owned(), peer.0.to_owned());
        Row::of(&case, ours, peer, &note, pairs.outcome())
    });
    rows.collect()
}

/// What it takes to look at the clock, and the least step that it makes, in nanoseconds.
fn clock() -> (u64, u64) {
    const LOOKS: u64 = 10_000;
    let started = Instant::now();
    let (mut last, mut step) = (0, u64::MAX);
    for _ in 0..LOOKS {
        let now = started.elapsed().as_nanos() as u64;
        if now > last {
            step = step.min(now - last);
        }
        last = now;
    }
    (last / LOOKS, step)
}

#[inline(always)]
fn open_loop(times: &mut Times, first: u64, mut push: impl FnMut(Item16)) {
    let slice = Slice::of(|| {
        let started = Instant::now();
        let now = || started.elapsed().as_nanos() as u64;
        for index in 0..ROUND {
            let due = (index + 1) * PERIOD;
            let mut called = now();
            // Late since the one before took so long: that is part of it.
            let late = called >= due;
            while called < due {
                std::hint::spin_loop();
                called = now();
            }
            push(Item16::make(first + index));
            let until = now();
            let from = if late { due } else { called };
            let fits = "within ten seconds";
            times.latency.record(until - from).expect(fits);
            times.call.record(until - called).expect(fits);
        }
        None
    });
    times.disturbed = slice.disturbed;
}

struct Ours<P> {
    queue: Queue<Item16>,
    sink: SumSink,
    first: u64,
    push: P,
}

fn spawned<P>(flushing: Flushing, push: impl FnOnce(&Queue<Item16>) -> P) -> Box<Ours<P>> {
    let delay = match flushing {
        Flushing::Off => Duration::from_secs(3600),
        Flushing::EveryMilli => Duration::from_millis(1),
        Flushing::BackToBack => Duration::ZERO,
    };
    let batch = match flushing {
        Flushing::Off => None,
        _ => Some(BATCH),
    };
    let sink = SumSink::default();
    let queue = Queue::builder()
        .own_thread()
        .capacity(ENOUGH)
        .max_batch_size(batch)
        .max_delay(delay)
        .spawn(sink.clone())
        .expect("valid");
    Box::new(Ours {
        push: push(&queue),
        queue,
        sink,
        first: 0,
    })
}

fn writer(flushing: Flushing) -> Box<dyn Pushed> {
    spawned(flushing, Queue::writer)
}

fn queue(flushing: Flushing) -> Box<dyn Pushed> {
    spawned(flushing, Queue::clone)
}

impl<P: Push<Item16>> Pushed for Ours<P> {
    fn round(&mut self, times: &mut Times) {
        let numbers = self.first..self.first + ROUND;
        self.first = numbers.end;
        self.sink.expect(ROUND);
        open_loop(times, numbers.start, |item| self.push.push(item));
        self.queue.flush_blocking().expect("the sink never fails");
        self.sink.tally().check::<Item16>(numbers, "swaplane");
    }
}

/// A consumer in a thread of its own, unless it is off: then the vector is emptied between rounds.
struct Theirs {
    tx: <Mutexes as Pipe<Item16>>::Tx,
    sink: SumSink,
    first: u64,
    rx: Option<<Mutexes as Pipe<Item16>>::Rx>,
    over: Arc<AtomicBool>,
    consumer: Option<JoinHandle<()>>,
}

impl Theirs {
    fn new(flushing: Flushing) -> Self {
        let (mut txs, mut rx) = Mutexes::open(1);
        let (sink, over) = (SumSink::default(), Arc::new(AtomicBool::new(false)));
        let mut theirs = Self {
            tx: txs.pop().expect("one was asked for"),
            sink: sink.clone(),
            first: 0,
            rx: None,
            over: Arc::clone(&over),
            consumer: None,
        };
        if flushing == Flushing::Off {
            theirs.rx = Some(rx);
            return theirs;
        }
        theirs.consumer = Some(thread::spawn(move || {
            while !over.load(Relaxed) {
                let mut tally = Tally::default();
                rx.pull(&mut tally);
                sink.add(tally);
                if flushing == Flushing::EveryMilli {
                    thread::sleep(Duration::from_millis(1));
                } else if tally.count == 0 {
                    thread::yield_now();
                }
            }
        }));
        theirs
    }
}

impl Pushed for Theirs {
    fn round(&mut self, times: &mut Times) {
        let numbers = self.first..self.first + ROUND;
        self.first = numbers.end;
        self.sink.expect(ROUND);
        open_loop(times, numbers.start, |item| self.tx.push(item));
        if let Some(rx) = &mut self.rx {
            let mut tally = Tally::default();
            rx.pull(&mut tally);
            self.sink.add(tally);
        }
        while self.sink.tally().count < ROUND {
            thread::yield_now();
        }
        self.sink
            .tally()
            .check::<Item16>(numbers, "own-mutex-parking_lot");
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        if let Some(consumer) = self.consumer.take() {
            consumer.join().expect("no panic");
        }
    }
}
