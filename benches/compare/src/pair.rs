//! The method: two sides take turns in short slices, and each pair of slices gives one ratio.

use std::time::{Duration, Instant};

use crate::{
    machine,
    stats::{Estimate, median},
};

/// A slice of one thread that was off its CPU for more than this part of it is thrown away.
const MOST_ABSENT: f64 = 0.03;
/// Slices before those that count: memory is touched, buffers have grown.
const WARM_UP: usize = 3;
/// Fewer pairs than this have no median worth the name.
const FEWEST: usize = 10;

/// Of one thread.
const SLICE: Duration = Duration::from_millis(5);

/// How much is measured for a row.
#[derive(Clone, Copy)]
pub struct Plan {
    pub pairs: usize,
    /// After this a row makes do with what it has.
    pub longest: Duration,
    /// How long a slice is to take, in the geometric mean of both sides.
    pub slice: Duration,
}

impl Plan {
    /// Longer slices for several threads, the longer the more have to take turns: in a short one
    /// each would be done before the next has begun.
    pub fn for_threads(self, threads: usize) -> Self {
        let slice = if threads > 4 { SLICE * 4 } else { SLICE * 2 };
        Self { slice, ..self }
    }

    pub fn new(quick: bool) -> Self {
        if quick {
            Self {
                pairs: 20,
                longest: Duration::from_secs(2),
                slice: SLICE,
            }
        } else {
            Self {
                pairs: 200,
                longest: Duration::from_secs(4),
                slice: SLICE,
            }
        }
    }
}

/// What a slice took.
#[derive(Clone, Copy)]
pub struct Slice {
    pub elapsed: Duration,
    /// Somebody else had the CPU for some of it.
    pub disturbed: bool,
}

impl Slice {
    /// Of something that the calling thread does alone; returns what is to count of it.
    pub fn of(f: impl FnOnce() -> Option<Duration>) -> Self {
        let (busy, started) = (machine::thread_time(), Instant::now());
        let counts = f();
        let elapsed = started.elapsed();
        let busy = machine::thread_time().saturating_sub(busy);
        Self {
            elapsed: counts.unwrap_or(elapsed),
            disturbed: busy.as_secs_f64() < elapsed.as_secs_f64() * (1.0 - MOST_ABSENT),
        }
    }

    /// From and until, by [`now`](crate::tally::now), with more threads than one: which of them
    /// wait for what cannot be told.
    pub fn between(from: u64, until: u64) -> Self {
        Self {
            elapsed: Duration::from_nanos(until.saturating_sub(from)),
            disturbed: false,
        }
    }
}

/// One side of a row.
pub trait Side {
    /// How it is used, where there is a choice.
    fn setting(&self) -> String {
        String::new()
    }

    /// About `n` items, from the first push to the last arrival; and how many they were.
    fn slice(&mut self, n: u64) -> (Slice, u64);

    /// Items of a slice at most, for the sake of memory.
    fn most(&self) -> u64 {
        1 << 22
    }

    fn per_item(&mut self, n: u64) -> (Slice, f64) {
        let (slice, n) = self.slice(n);
        (slice, slice.elapsed.as_nanos() as f64 / n as f64)
    }
}

pub type BoxSide = Box<dyn Side>;

pub struct Outcome {
    /// Peer to ours.
    pub ratio: Estimate,
    /// Nanoseconds per item.
    pub ours: f64,
    pub peer: f64,
    pub kept: usize,
    pub dropped: usize,
    /// There were too few undisturbed pairs, so that disturbed ones count too.
    pub disturbed: bool,
}

/// Compares two sides.
pub fn contest(plan: Plan, ours: &mut dyn Side, peer: &mut dyn Side) -> Outcome {
    let n = calibrate(plan.slice, ours, peer);
    for _ in 0..WARM_UP {
        ours.slice(n);
        peer.slice(n);
    }
    let mut pairs = Pairs::default();
    let started = Instant::now();
    while pairs.clean.len() < plan.pairs
        && (pairs.len() < FEWEST || started.elapsed() < plan.longest)
    {
        let stolen = machine::stolen();
        let (a, b);
        if fastrand::bool() {
            a = ours.per_item(n);
            b = peer.per_item(n);
        } else {
            b = peer.per_item(n);
            a = ours.per_item(n);
        }
        let stolen = machine::stolen() > stolen;
        pairs.add((a.1, b.1), stolen || a.0.disturbed || b.0.disturbed);
    }
    pairs.outcome()
}

/// Nanoseconds per item, ours first.
#[derive(Default)]
pub struct Pairs {
    clean: Vec<(f64, f64)>,
    disturbed: Vec<(f64, f64)>,
}

impl Pairs {
    pub fn add(&mut self, pair: (f64, f64), disturbed: bool) {
        if disturbed {
            self.disturbed.push(pair);
        } else {
            self.clean.push(pair);
        }
    }

    fn len(&self) -> usize {
        self.clean.len() + self.disturbed.len()
    }

    pub fn outcome(mut self) -> Outcome {
        let mut dropped = self.disturbed.len();
        let disturbed = self.clean.len() < FEWEST && dropped > 0;
        if disturbed {
            self.clean.append(&mut self.disturbed);
            dropped = 0;
        }
        let ratios: Vec<f64> = self.clean.iter().map(|(ours, peer)| peer / ours).collect();
        let (mut ours, mut peer): (Vec<f64>, Vec<f64>) = self.clean.iter().copied().unzip();
        Outcome {
            ratio: Estimate::of(&ratios),
            ours: median(&mut ours),
            peer: median(&mut peer),
            kept: ratios.len(),
            dropped,
            disturbed,
        }
    }
}

/// How many items make slices of about the right length.
fn calibrate(slice: Duration, ours: &mut dyn Side, peer: &mut dyn Side) -> u64 {
    let most = ours.most().min(peer.most());
    let mut n = most.min(1 << 10);
    loop {
        let nanos = |side: &mut dyn Side| side.slice(n).0.elapsed.as_nanos() as f64;
        let mean = (nanos(ours) * nanos(peer)).sqrt();
        let wanted = slice.as_nanos() as f64;
        if mean > wanted / 2.0 || n == most {
            return ((n as f64 * wanted / mean) as u64).clamp(1, most);
        }
        // A short slice tells little about a long one.
        let factor = (wanted / mean).clamp(2.0, 8.0);
        n = most.min((n as f64 * factor) as u64);
    }
}

/// The fastest of several ways to use the same thing, by some slices of each, in turn.
pub fn best(plan: Plan, mut ways: Vec<BoxSide>) -> BoxSide {
    const ROUNDS: usize = 9;
    if ways.len() == 1 {
        return ways.remove(0);
    }
    let sizes: Vec<u64> = ways
        .iter_mut()
        .map(|side| size_alone(plan.slice, &mut **side))
        .collect();
    let mut times = vec![Vec::new(); ways.len()];
    for _ in 0..ROUNDS {
        for (index, side) in ways.iter_mut().enumerate() {
            times[index].push(side.per_item(sizes[index]).1);
        }
    }
    let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
    let fastest = (0..ways.len()).min_by(|&a, &b| medians[a].total_cmp(&medians[b]));
    ways.swap_remove(fastest.expect("there is one"))
}

/// How many items make a slice of at least half of this length.
fn size_alone(slice: Duration, side: &mut dyn Side) -> u64 {
    let most = side.most();
    let mut n = most.min(1 << 12);
    while n < most && side.slice(n).0.elapsed < slice / 2 {
        n = most.min(n * 2);
    }
    n
}
