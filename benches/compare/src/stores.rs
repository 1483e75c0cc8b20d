//! The peers of the map: concurrent maps, emptied in one way or another.

use std::{hash::BuildHasher, thread};

use crossbeam_utils::CachePadded;
use dashmap::DashMap;
use foldhash::fast::RandomState as Foldhash;
use hashbrown::HashTable;
use parking_lot::Mutex;

/// What is put: by whoever comes last, or is newest.
pub trait Value: Copy + Send + Sync + 'static {
    const NEWER: bool;
    fn make(number: u64) -> Self;
    fn number(self) -> u64;
    /// Whether it replaces another.
    fn beats(self, other: Self) -> bool;
}

/// The last one counts.
impl Value for u64 {
    const NEWER: bool = false;

    #[inline(always)]
    fn make(number: u64) -> Self {
        number
    }

    #[inline(always)]
    fn number(self) -> u64 {
        self
    }

    #[inline(always)]
    fn beats(self, _: Self) -> bool {
        true
    }
}

/// The newest one counts.
#[derive(Clone, Copy)]
pub struct Versioned {
    value: u64,
    version: u64,
}

impl Value for Versioned {
    const NEWER: bool = true;

    #[inline(always)]
    fn make(number: u64) -> Self {
        Self {
            value: number,
            version: number,
        }
    }

    #[inline(always)]
    fn number(self) -> u64 {
        self.value
    }

    #[inline(always)]
    fn beats(self, other: Self) -> bool {
        self.version > other.version
    }
}

pub trait Store<V>: Send + Sync + 'static {
    const NAME: &'static str;

    fn open() -> Self;

    /// Puts these keys and values.
    fn put(&self, entries: impl Iterator<Item = (u64, V)>);

    /// Takes out what is there.
    fn drain(&self, out: impl FnMut(u64, V));
}

/// The locks that a machine of this size is usually given.
fn shards() -> usize {
    4 * thread::available_parallelism()
        .map_or(2, usize::from)
        .next_power_of_two()
}

fn dash_put<V: Value, S: BuildHasher + Clone>(
    map: &DashMap<u64, V, S>,
    entries: impl Iterator<Item = (u64, V)>,
) {
    for (key, value) in entries {
        if V::NEWER {
            let entry = map.entry(key).and_modify(|held| {
                if value.beats(*held) {
                    *held = value;
                }
            });
            entry.or_insert(value);
        } else {
            map.insert(key, value);
        }
    }
}

fn dash_drain<V: Value, S: BuildHasher + Clone>(
    map: &DashMap<u64, V, S>,
    mut out: impl FnMut(u64, V),
) {
    map.retain(|&key, value| {
        out(key, *value);
        false
    });
}

/// As it comes.
pub struct Dash<V>(DashMap<u64, V>);

impl<V: Value> Store<V> for Dash<V> {
    const NAME: &'static str = "DashMap";

    fn open() -> Self {
        Self(DashMap::new())
    }

    fn put(&self, entries: impl Iterator<Item = (u64, V)>) {
        dash_put(&self.0, entries);
    }

    fn drain(&self, out: impl FnMut(u64, V)) {
        dash_drain(&self.0, out);
    }
}

/// With the hasher that ours has.
pub struct DashFold<V>(DashMap<u64, V, Foldhash>);

impl<V: Value> Store<V> for DashFold<V> {
    const NAME: &'static str = "DashMap-foldhash";

    fn open() -> Self {
        Self(DashMap::with_hasher(Foldhash::default()))
    }

    fn put(&self, entries: impl Iterator<Item = (u64, V)>) {
        dash_put(&self.0, entries);
    }

    fn drain(&self, out: impl FnMut(u64, V)) {
        dash_drain(&self.0, out);
    }
}

/// Locks over plain tables, one hash for both.
pub struct Sharded<V> {
    shards: Box<[CachePadded<Mutex<Table<V>>>]>,
    /// Tables as large, to be swapped in.
    spares: Mutex<Vec<Table<V>>>,
    hasher: Foldhash,
}

type Table<V> = HashTable<(u64, V)>;

impl<V: Value> Store<V> for Sharded<V> {
    const NAME: &'static str = "sharded-mutex-hashbrown";

    fn open() -> Self {
        let shards = shards();
        Self {
            shards: (0..shards).map(|_| Default::default()).collect(),
            spares: Mutex::new((0..shards).map(|_| Table::new()).collect()),
            hasher: Foldhash::default(),
        }
    }

    fn put(&self, entries: impl Iterator<Item = (u64, V)>) {
        for (key, value) in entries {
            let hash = self.hasher.hash_one(key);
            // Neither the bits that choose the bucket nor those of the tag in it.
            let shard = (hash >> 32) as usize & (self.shards.len() - 1);
            let mut table = self.shards[shard].lock();
            let rehash = |&(key, _): &(u64, V)| self.hasher.hash_one(key);
            match table.entry(hash, |held| held.0 == key, rehash) {
                hashbrown::hash_table::Entry::Occupied(mut held) => {
                    if value.beats(held.get().1) {
                        held.get_mut().1 = value;
                    }
                }
                hashbrown::hash_table::Entry::Vacant(vacant) => {
                    vacant.insert((key, value));
                }
            }
        }
    }

    fn drain(&self, mut out: impl FnMut(u64, V)) {
        for (shard, spare) in self.shards.iter().zip(&mut *self.spares.lock()) {
            std::mem::swap(&mut *shard.lock(), spare);
            spare.drain().for_each(|(key, value)| out(key, value));
        }
    }
}

/// Built for many readers.
pub struct Papaya<V>(papaya::HashMap<u64, V, Foldhash>);

/// Puts under one pin: few enough that memory is reclaimed soon.
const PINNED: usize = 64;

impl<V: Value> Store<V> for Papaya<V> {
    const NAME: &'static str = "papaya-foldhash";

    fn open() -> Self {
        Self(papaya::HashMap::with_hasher(Foldhash::default()))
    }

    fn put(&self, mut entries: impl Iterator<Item = (u64, V)>) {
        loop {
            let map = self.0.pin();
            let mut count = 0;
            for (key, value) in entries.by_ref().take(PINNED) {
                count += 1;
                if V::NEWER {
                    map.compute(key, |held| match held {
                        Some((_, &held)) if !value.beats(held) => papaya::Operation::Abort(()),
                        _ => papaya::Operation::Insert(value),
                    });
                } else {
                    map.insert(key, value);
                }
            }
            if count < PINNED {
                break;
            }
        }
    }

    fn drain(&self, mut out: impl FnMut(u64, V)) {
        self.0.pin().retain(|&key, &value| {
            out(key, value);
            false
        });
    }
}

pub struct Scc<V>(scc::HashMap<u64, V, Foldhash>);

impl<V: Value> Store<V> for Scc<V> {
    const NAME: &'static str = "scc-foldhash";

    fn open() -> Self {
        Self(scc::HashMap::with_hasher(Foldhash::default()))
    }

    fn put(&self, entries: impl Iterator<Item = (u64, V)>) {
        for (key, value) in entries {
            match self.0.entry_sync(key) {
                scc::hash_map::Entry::Occupied(mut held) => {
                    if value.beats(*held.get()) {
                        *held.get_mut() = value;
                    }
                }
                scc::hash_map::Entry::Vacant(vacant) => {
                    vacant.insert_entry(value);
                }
            }
        }
    }

    fn drain(&self, mut out: impl FnMut(u64, V)) {
        self.0.retain_sync(|&key, value| {
            out(key, *value);
            false
        });
    }
}
