//! Updates of many keys by several threads, into our map and into others.

use std::{
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use swaplane::{Batch, Entry, Map, Sink, SinkError};

use super::Case;
use crate::{
    crew::Crew,
    keys::Spread,
    ours::ENOUGH,
    pair::{Side, Slice, contest},
    row::Row,
    stores::{Dash, DashFold, Papaya, Scc, Sharded, Store, Value, Versioned},
    tally::now,
};

const SIZES: [(&str, usize); 3] = [("1k", 1_000), ("100k", 100_000), ("1M", 1_000_000)];
/// Keys that are drawn, over and over; a power of two.
const DRAWN: usize = 1 << 20;
/// How often what is held is taken out, where that is part of it.
const SWEEP: Duration = Duration::from_millis(1);

/// What is timed.
#[derive(Clone, Copy, PartialEq)]
enum Timed {
    /// The puts; what they have put is taken out afterwards.
    Puts,
    /// The puts and the sweeps meanwhile, until everything is taken out.
    Sweeping,
}

#[derive(Clone, Copy)]
struct Setup {
    timed: Timed,
    distinct: usize,
    spread: Spread,
    threads: usize,
}

pub fn add(cases: &mut Vec<Case>) {
    values::<u64>(cases, "put");
    values::<Versioned>(cases, "put_newer");
}

fn values<V: Value>(cases: &mut Vec<Case>, method: &str) {
    for (timed_name, timed) in [("puts", Timed::Puts), ("sweeping", Timed::Sweeping)] {
        for (size, distinct) in SIZES {
            for spread in Spread::ALL {
                for threads in [1, 2, 8] {
                    let setup = Setup {
                        timed,
                        distinct,
                        spread,
                        threads,
                    };
                    let spread = spread.name();
                    let prefix = format!("map/{method}/{timed_name}/{size}/{spread}/{threads}");
                    one::<V, Dash<V>>(cases, &prefix, setup);
                    one::<V, DashFold<V>>(cases, &prefix, setup);
                    one::<V, Sharded<V>>(cases, &prefix, setup);
                    one::<V, Papaya<V>>(cases, &prefix, setup);
                    one::<V, Scc<V>>(cases, &prefix, setup);
                }
            }
        }
    }
}

fn one<V: Value, S: Store<V>>(cases: &mut Vec<Case>, prefix: &str, setup: Setup) {
    let quick = setup.distinct == 100_000
        && setup.spread == Spread::Uniform
        && (setup.threads == 1 || (setup.threads == 2 && setup.timed == Timed::Sweeping));
    let name = format!("{prefix}/{}", S::NAME);
    cases.push(Case::new(name, quick, move |case, plan| {
        let plan = if setup.threads > 2 {
            plan.for_threads(setup.threads)
        } else {
            plan
        };
        let keys: Arc<[u64]> = setup.spread.draw(setup.distinct, DRAWN).into();
        let mut ours = Updated::<V, Ours>::new(setup, Arc::clone(&keys));
        let mut peer = Updated::<V, Theirs<S>>::new(setup, keys);
        let outcome = contest(plan, &mut ours, &mut peer);
        let method = if V::NEWER {
            "Map::put_newer"
        } else {
            "Map::put"
        };
        let note = match setup.timed {
            Timed::Puts => "flusher idle",
            Timed::Sweeping => "swept every 1 ms, until all is out",
        };
        vec![Row::of(case, method.into(), S::NAME.into(), note, outcome)]
    }));
}

/// What has come out: the last value of each key, plus one.
#[derive(Clone)]
struct Seen(Arc<[AtomicU64]>);

impl Seen {
    fn note<V: Value>(&self, key: u64, value: u64) {
        let seen = &self.0[key as usize];
        if V::NEWER {
            seen.fetch_max(value + 1, Relaxed);
        } else {
            seen.store(value + 1, Relaxed);
        }
    }
}

/// The numbers of a slice: thread `t` of `n` puts the numbers `first + t`, `first + t + n`, …
#[derive(Clone, Copy)]
struct Numbers {
    first: u64,
    each: u64,
    threads: u64,
}

impl Numbers {
    fn of(self, thread: u64) -> impl Iterator<Item = u64> {
        (0..self.each).map(move |index| self.first + index * self.threads + thread)
    }
}

fn key_of(keys: &[u64], number: u64) -> u64 {
    keys[number as usize & (DRAWN - 1)]
}

/// Where the updates go.
trait Target<V: Value>: Sized + 'static {
    fn open(timed: Timed, seen: &Seen) -> Self;

    fn put(&self, entries: impl Iterator<Item = (u64, V)>);

    /// Gets out what is in there while the crew works, if it does not do so by itself.
    fn sweep(&self, crew: &Crew, seen: &Seen);

    /// Gets out what is in there, all of it.
    fn drain(&self, seen: &Seen);
}

#[derive(Clone)]
struct Ours(Map<u64, u64>);

struct SeenSink<V>(Seen, PhantomData<fn(V)>);

impl<V: Value> Sink<Entry<u64, u64>> for SeenSink<V> {
    async fn send(&self, batch: Batch<Entry<u64, u64>>) -> Result<(), SinkError> {
        for entry in batch.iter() {
            self.0.note::<V>(entry.key, entry.value);
        }
        Ok(())
    }
}

impl<V: Value> Target<V> for Ours {
    fn open(timed: Timed, seen: &Seen) -> Self {
        let delay = match timed {
            Timed::Puts => Duration::from_secs(3600),
            Timed::Sweeping => SWEEP,
        };
        let map = Map::builder()
            .own_thread()
            .capacity(ENOUGH)
            .max_batch_size(None)
            .max_delay(delay)
            .spawn(SeenSink::<V>(seen.clone(), PhantomData));
        Self(map.expect("valid"))
    }

    fn put(&self, entries: impl Iterator<Item = (u64, V)>) {
        for (key, value) in entries {
            let number = value.number();
            let put = if V::NEWER {
                self.0.put_newer(key, number, number).is_ok()
            } else {
                self.0.put(key, number).is_ok()
            };
            assert!(put, "there is room");
        }
    }

    /// The flusher does.
    fn sweep(&self, _: &Crew, _: &Seen) {}

    fn drain(&self, _: &Seen) {
        self.0.flush_blocking().expect("the sink never fails");
    }
}

struct Theirs<S>(S);

impl<V: Value, S: Store<V>> Target<V> for Theirs<S> {
    fn open(_: Timed, _: &Seen) -> Self {
        Self(S::open())
    }

    fn put(&self, entries: impl Iterator<Item = (u64, V)>) {
        self.0.put(entries);
    }

    fn sweep(&self, crew: &Crew, seen: &Seen) {
        while !crew.is_done() {
            thread::park_timeout(SWEEP);
            self.drain(seen);
        }
    }

    fn drain(&self, seen: &Seen) {
        self.0
            .drain(|key, value| seen.note::<V>(key, value.number()));
    }
}

struct Updated<V, T> {
    crew: Crew,
    target: Arc<T>,
    order: Arc<Order>,
    seen: Seen,
    keys: Arc<[u64]>,
    setup: Setup,
    value: PhantomData<V>,
}

/// The numbers of the slice, for the threads.
#[derive(Default)]
struct Order {
    first: AtomicU64,
    each: AtomicU64,
}

impl<V: Value, T: Target<V> + Send + Sync> Updated<V, T> {
    fn new(setup: Setup, keys: Arc<[u64]>) -> Self {
        let seen = Seen((0..setup.distinct).map(|_| AtomicU64::new(0)).collect());
        let target = Arc::new(T::open(setup.timed, &seen));
        let order = Arc::new(Order::default());
        let jobs = (0..setup.threads as u64).map(|thread| {
            let (target, order, keys) =
                (Arc::clone(&target), Arc::clone(&order), Arc::clone(&keys));
            move || {
                let numbers = Numbers {
                    first: order.first.load(Relaxed),
                    each: order.each.load(Relaxed),
                    threads: setup.threads as u64,
                };
                let entry = |number| (key_of(&keys, number), V::make(number));
                target.put(numbers.of(thread).map(entry));
            }
        });
        Self {
            crew: Crew::new(jobs.collect()),
            target,
            order,
            seen,
            keys,
            setup,
            value: PhantomData,
        }
    }

    /// Of each key that was put, the right value must have come out; and nothing else.
    fn check(&self, numbers: Numbers) {
        let put = numbers.each * numbers.threads;
        let range = numbers.first..numbers.first + put;
        let last_is_known = V::NEWER || numbers.threads == 1;
        let (mut expected, mut keys) = (vec![0; self.setup.distinct], 0);
        for number in range.clone() {
            let expected = &mut expected[key_of(&self.keys, number) as usize];
            keys += u64::from(*expected == 0);
            *expected = number + 1;
        }
        for (key, (seen, expected)) in self.seen.0.iter().zip(expected).enumerate() {
            let seen = seen.swap(0, Relaxed);
            if last_is_known {
                assert_eq!(seen, expected, "key {key}: not the last value");
            } else if seen > 0 {
                keys -= 1;
                let number = seen - 1;
                assert!(range.contains(&number), "key {key}: an old value");
                assert_eq!(
                    key_of(&self.keys, number),
                    key as u64,
                    "another key's value"
                );
            }
        }
        assert!(last_is_known || keys == 0, "{keys} keys are lost");
    }
}

impl<V: Value, T: Target<V> + Send + Sync> Side for Updated<V, T> {
    fn slice(&mut self, n: u64) -> (Slice, u64) {
        let threads = self.setup.threads as u64;
        let numbers = Numbers {
            first: self.order.first.load(Relaxed) + self.order.each.load(Relaxed) * threads,
            each: (n / threads).max(1),
            threads,
        };
        self.order.first.store(numbers.first, Relaxed);
        self.order.each.store(numbers.each, Relaxed);
        self.crew.start();
        if self.setup.timed == Timed::Sweeping {
            self.target.sweep(&self.crew, &self.seen);
        }
        self.crew.wait();
        let done = self.crew.ended();
        self.target.drain(&self.seen);
        let until = match self.setup.timed {
            Timed::Puts => done,
            Timed::Sweeping => now(),
        };
        self.check(numbers);
        (
            Slice::between(self.crew.started(), until),
            numbers.each * threads,
        )
    }
}
