//! A lock over a `Vec`, which the consumer swaps for another that is as large.

use std::{
    hash::BuildHasher,
    marker::PhantomData,
    sync::{Arc, LazyLock},
    thread,
};

use crossbeam_utils::CachePadded;

use super::{Pipe, Pull, Push};
use crate::{
    item::Item,
    keys::Spread,
    tally::{BATCH, Tally},
};

/// Room that both vectors have from the beginning.
pub const RESERVED: usize = 1 << 16;

/// A mutex, whoever made it.
pub trait Lock<V>: Send + Sync + 'static {
    fn new(value: V) -> Self;
    fn with<R>(&self, f: impl FnOnce(&mut V) -> R) -> R;
}

impl<V: Send + 'static> Lock<V> for parking_lot::Mutex<V> {
    fn new(value: V) -> Self {
        Self::new(value)
    }

    #[inline(always)]
    fn with<R>(&self, f: impl FnOnce(&mut V) -> R) -> R {
        f(&mut self.lock())
    }
}

impl<V: Send + 'static> Lock<V> for std::sync::Mutex<V> {
    fn new(value: V) -> Self {
        Self::new(value)
    }

    #[inline(always)]
    fn with<R>(&self, f: impl FnOnce(&mut V) -> R) -> R {
        f(&mut self.lock().expect("nobody panics in it"))
    }
}

pub type ParkingLot<T> = parking_lot::Mutex<Vec<T>>;
pub type Std<T> = std::sync::Mutex<Vec<T>>;

/// One shard, or all of them.
pub struct Shards<L> {
    locks: Arc<[CachePadded<L>]>,
    mine: usize,
}

pub struct Swapped<T, L> {
    locks: Arc<[CachePadded<L>]>,
    spares: Vec<Vec<T>>,
}

/// A shard for each producer.
pub struct OwnShard<L>(L);
/// One for all.
pub struct Shared<L>(L);

impl<T: Item, L: Lock<Vec<T>>> Push<T> for Shards<L> {
    #[inline(always)]
    fn push(&mut self, item: T) {
        self.locks[self.mine].with(|items| items.push(item));
    }
}

impl<T: Item, L: Lock<Vec<T>>> Pull<T> for Swapped<T, L> {
    fn pull(&mut self, tally: &mut Tally) {
        for (lock, spare) in self.locks.iter().zip(&mut self.spares) {
            lock.with(|items| std::mem::swap(items, spare));
            for batch in spare.chunks(BATCH) {
                tally.batch(batch);
            }
            spare.clear();
        }
    }
}

fn open<T, L: Lock<Vec<T>>>(shards: usize, producers: usize) -> (Vec<Shards<L>>, Swapped<T, L>) {
    let reserved = || Vec::with_capacity(RESERVED);
    let locks: Arc<[_]> = (0..shards)
        .map(|_| CachePadded::new(L::new(reserved())))
        .collect();
    let end = |producer| Shards {
        locks: Arc::clone(&locks),
        mine: producer % shards,
    };
    let txs = (0..producers).map(end).collect();
    let spares = (0..shards).map(|_| reserved()).collect();
    (txs, Swapped { locks, spares })
}

impl<T: Item> Pipe<T> for OwnShard<ParkingLot<T>> {
    const NAME: &'static str = "own-mutex-parking_lot";
    const POLLED: bool = true;
    type Tx = Shards<ParkingLot<T>>;
    type Rx = Swapped<T, ParkingLot<T>>;

    fn open(producers: usize) -> (Vec<Self::Tx>, Self::Rx) {
        open(producers, producers)
    }
}

impl<T: Item> Pipe<T> for OwnShard<Std<T>> {
    const NAME: &'static str = "own-mutex-std";
    const POLLED: bool = true;
    type Tx = Shards<Std<T>>;
    type Rx = Swapped<T, Std<T>>;

    fn open(producers: usize) -> (Vec<Self::Tx>, Self::Rx) {
        open(producers, producers)
    }
}

impl<T: Item> Pipe<T> for Shared<ParkingLot<T>> {
    const NAME: &'static str = "one-mutex-parking_lot";
    const POLLED: bool = true;
    type Tx = Shards<ParkingLot<T>>;
    type Rx = Swapped<T, ParkingLot<T>>;

    fn open(producers: usize) -> (Vec<Self::Tx>, Self::Rx) {
        open(1, producers)
    }
}

impl<T: Item> Pipe<T> for Shared<Std<T>> {
    const NAME: &'static str = "one-mutex-std";
    const POLLED: bool = true;
    type Tx = Shards<Std<T>>;
    type Rx = Swapped<T, Std<T>>;

    fn open(producers: usize) -> (Vec<Self::Tx>, Self::Rx) {
        open(1, producers)
    }
}

/// A shard for each CPU, chosen by the hash of a key: as [`swaplane::Queue::push_keyed`] does, so
/// what has a key keeps its order.
pub struct Keyed<K>(K);

/// The key of each item, by its number.
pub trait KeyOf: Send + 'static {
    fn table() -> &'static [u64; KEYS];
}

/// How many keys are drawn, over and over; a power of two.
pub const KEYS: usize = 1 << 16;
/// How many different ones there are.
const DISTINCT: usize = 10_000;

pub struct Uniform;
pub struct Zipf;

fn drawn(spread: Spread) -> Box<[u64; KEYS]> {
    let keys = spread.draw(DISTINCT, KEYS).into_boxed_slice();
    keys.try_into().expect("so many were asked for")
}

impl KeyOf for Uniform {
    fn table() -> &'static [u64; KEYS] {
        static TABLE: LazyLock<Box<[u64; KEYS]>> = LazyLock::new(|| drawn(Spread::Uniform));
        &TABLE
    }
}

impl KeyOf for Zipf {
    fn table() -> &'static [u64; KEYS] {
        static TABLE: LazyLock<Box<[u64; KEYS]>> = LazyLock::new(|| drawn(Spread::Zipf));
        &TABLE
    }
}

pub struct ByHash<T, K> {
    locks: Arc<[CachePadded<ParkingLot<T>>]>,
    hasher: foldhash::quality::RandomState,
    keys: &'static [u64; KEYS],
    at: usize,
    of: PhantomData<K>,
}

impl<T: Item, K: KeyOf> Push<T> for ByHash<T, K> {
    #[inline(always)]
    fn push(&mut self, item: T) {
        self.at = (self.at + 1) % KEYS;
        let hash = self.hasher.hash_one(self.keys[self.at]);
        let shard = hash as usize % self.locks.len();
        self.locks[shard].with(|items| items.push(item));
    }
}

impl<T: Item, K: KeyOf> Pipe<T> for Keyed<K> {
    const NAME: &'static str = "hashed-mutex-parking_lot";
    const POLLED: bool = true;
    type Tx = ByHash<T, K>;
    type Rx = Swapped<T, ParkingLot<T>>;

    fn open(producers: usize) -> (Vec<Self::Tx>, Self::Rx) {
        let shards = thread::available_parallelism().map_or(2, usize::from);
        let (shards, rx) = open(shards, producers);
        let by_hash = |(producer, shards): (usize, Shards<_>)| ByHash {
            locks: shards.locks,
            hasher: Default::default(),
            keys: K::table(),
            at: producer * (KEYS / producers),
            of: PhantomData,
        };
        (shards.into_iter().enumerate().map(by_hash).collect(), rx)
    }
}
