//! All partitions of a map: where a key belongs, and what an update does.

use crate::sync::Ordering::Relaxed;
use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;

use crossbeam_utils::CachePadded;

use super::collect::Collector;
use super::entry::MapItem;
use super::hashed::Hashed;
use super::partition::Partition;
use super::slot::{EntryMeta, Slot};
use super::versions::DeliveredVersions;
use crate::capacity::{Capacity, Shape};
use crate::error::RefusalReason;
use crate::hash;
use crate::panic::{drop_before, drop_both};
use crate::source::{Admission, Source};
use crate::stats::Intake;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Backoff, broken};

/// Updates are refused.
const CLOSED: usize = 1;
/// The flusher sleeps: whoever begins an entry must ring.
const PARKED: usize = 1 << 1;

/// Everything that an update touches.
pub(crate) struct Store<K, V, S, E> {
    partitions: Box<[CachePadded<Partition<K, V>>]>,
    hasher: S,
    flags: AtomicUsize,
    /// Something was removed since memory was last freed.
    removed_since_trim: AtomicBool,
    /// How many shards may hold leased credits.
    holders: usize,
    shards: usize,
    delivered_versions: Option<DeliveredVersions<K>>,
    /// Makes what is swapped out readable.
    copy: Option<fn(&V) -> V>,
    capacity: Capacity,
    /// What the batches of this map consist of.
    item: PhantomData<fn() -> E>,
}

/// What a map has beside its shape.
pub(crate) struct MapOptions<V, S> {
    pub(crate) shards: usize,
    pub(crate) hasher: S,
    pub(crate) remember_versions: usize,
    pub(crate) copy: Option<fn(&V) -> V>,
}

/// What became of an update that was not refused. What it gives back is to be dropped, or kept,
/// outside the locks.
pub(crate) enum Updated<K, C, R> {
    Inserted,
    Merged(R, K),
    Stale(K, C),
}

impl<K, C, R> Updated<K, C, R> {
    /// Drops what the update leaves over.
    #[inline(always)]
    pub(crate) fn discard(self) {
        match self {
            Self::Inserted => {}
            Self::Merged(rest, key) => drop_both(rest, key),
            Self::Stale(key, update) => drop_both(key, update),
        }
    }
}

type Outcome<K, C, R> = Result<Updated<K, C, R>, (RefusalReason, K, C)>;

impl<K, V, S, E> Store<K, V, S, E>
where
    K: Eq + Hash,
    S: BuildHasher,
{
    pub(crate) fn new(shape: Shape, traits: MapOptions<V, S>) -> Self {
        let MapOptions {
            shards,
            hasher,
            remember_versions,
            copy,
        } = traits;
        Self {
            partitions: (0..shape.partitions)
                .map(|_| CachePadded::new(Partition::new(shards)))
                .collect(),
            hasher,
            flags: AtomicUsize::new(0),
            removed_since_trim: AtomicBool::new(false),
            holders: shape.partitions * shards,
            shards,
            delivered_versions: (remember_versions > 0)
                .then(|| DeliveredVersions::new(remember_versions)),
            copy,
            capacity: Capacity::new(shape),
            item: PhantomData,
        }
    }

    fn locate<Q: Hash + ?Sized>(&self, key: &Q) -> (u64, usize) {
        let hash = hash::hash(&self.hasher, key);
        (hash, hash::partition(hash, self.partitions.len()))
    }

    /// Brings `update` into the entry of a key: `merge` into one that is held, or `begin` one. With a
    /// version only if that is newer than any that is held, on its way to the sink or delivered_versions.
    #[inline(always)]
    pub(crate) fn update<C, R>(
        &self,
        key: K,
        version: Option<u64>,
        update: C,
        merge: impl FnOnce(&mut Slot<V>, C) -> R,
        begin: impl FnOnce(C) -> Option<V>,
    ) -> Outcome<K, C, R> {
        // Before any lock: this is code of the user's.
        let (hash, index) = self.locate(&key);
        let partition = &*self.partitions[index];
        let key = Hashed::new(hash, key);
        let backoff = Backoff::new();
        loop {
            let mut locked = partition.enter(hash);
            // Under the lock, which whoever raises a flag visits. See `close` and `park`.
            let flags = self.flags.load(Relaxed);
            if flags & CLOSED != 0 && !broken("map: closed ignored") {
                drop(locked);
                return Err((RefusalReason::Closed, key.key, update));
            }
            let shard_id = locked.shard_id;
            let held = locked.shard.get_mut(hash, |other| *other == key);
            if let Some(version) = version {
                let floor = match held.as_ref().and_then(|held| held.meta().version()) {
                    Some(held) => Some(held),
                    None => match partition.version_in_flight(shard_id, &key) {
                        Ok(Some(behind)) => Some(behind),
                        Ok(None) => self.delivered_version(&key),
                        Err(_contended) => {
                            drop(locked);
                            backoff.snooze();
                            continue;
                        }
                    },
                };
                if floor.is_some_and(|floor| floor >= version) {
                    drop(locked);
                    return Ok(Updated::Stale(key.key, update));
                }
            }
            if let Some(held) = held {
                let rest = merge(held, update);
                held.meta_mut().update(version);
                locked.counts.merge(version.is_some());
                drop(locked);
                return Ok(Updated::Merged(rest, key.key));
            }
            let mut lease = 0;
            if !locked.counts.has_credit() {
                let last = locked.counts.last_lease();
                lease = self.capacity.lease(index, self.holders, last);
                locked.counts.set_lease(lease);
                if lease == 0 {
                    drop(locked);
                    self.capacity.request_room();
                    return Err((RefusalReason::Full, key.key, update));
                }
            }
            let held = Slot::new(begin(update), EntryMeta::new(version));
            locked.shard.insert(key, held);
            locked.counts.begin(version.is_some());
            drop(locked);
            let full = lease > 0 && self.capacity.report(index, lease);
            if full || flags & PARKED != 0 {
                self.capacity.wake();
            }
            return Ok(Updated::Inserted);
        }
    }

    fn delivered_version(&self, key: &Hashed<K>) -> Option<u64> {
        self.delivered_versions.as_ref()?.version(key)
    }

    /// Takes the entry of a key back, if it is not swapped out.
    pub(crate) fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let (hash, index) = self.locate(key);
        let mut locked = self.partitions[index].enter(hash);
        let (key, held) = locked.shard.remove(hash, |other| other.is(hash, key))?;
        locked.counts.remove();
        drop(locked);
        // Relaxed: a hint.
        self.removed_since_trim.store(true, Relaxed);
        self.capacity.take_off(index, 1);
        self.capacity.credits.give_back(1);
        drop_before(key, held.into_value())
    }

    /// Shows the value of a key: the one that is held, or, where values can be read there, the one
    /// that is swapped out.
    pub(crate) fn look_up<Q, R>(&self, key: &Q, look: impl Fn(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let (hash, index) = self.locate(key);
        let partition = &*self.partitions[index];
        let look = |held: &Slot<V>| held.value().map(&look);
        let backoff = Backoff::new();
        loop {
            match partition.look_up(hash, key, self.copy.is_some(), look) {
                Ok(found) => return found.flatten(),
                Err(_contended) => backoff.snooze(),
            }
        }
    }
}

impl<K, V, S, E> Admission for Store<K, V, S, E> {
    fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    fn close(&self) -> bool {
        // Relaxed, as every access to the flags. An update reads them under the lock of its shard. So
        // it sees what was raised before that lock was last taken by whoever raised it, in
        // `synchronize`, or by whoever had seen it raised, in `Collector::take_rest`.
        let before = self.flags.fetch_or(CLOSED, Relaxed);
        if !broken("map: closed without synchronizing") {
            self.partitions
                .iter()
                .for_each(|partition| partition.synchronize());
        }
        self.capacity.credits.close();
        before & CLOSED == 0
    }

    fn is_closed(&self) -> bool {
        self.flags.load(Relaxed) & CLOSED != 0
    }

    fn intake(&self) -> Intake {
        let mut intake = Intake::default();
        let counts = || {
            self.partitions
                .iter()
                .flat_map(|partition| partition.counts())
        };
        // What was accepted before what became of it: so no difference is ever negative.
        for counts in counts() {
            intake.accepted += counts.begun();
        }
        for counts in counts() {
            intake.coalesced += counts.merged();
            intake.removed += counts.removed();
        }
        intake.accepted += intake.coalesced;
        intake
    }
}

/// The flusher's side.
impl<K, V, S, E> Store<K, V, S, E> {
    pub(crate) fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    pub(crate) fn partition(&self, index: usize) -> &Partition<K, V> {
        &self.partitions[index]
    }

    /// How many shards a side has.
    pub(crate) fn shards(&self) -> usize {
        self.shards
    }

    pub(crate) fn delivered_versions(&self) -> Option<&DeliveredVersions<K>> {
        self.delivered_versions.as_ref()
    }

    pub(crate) fn copy(&self) -> Option<fn(&V) -> V> {
        self.copy
    }

    /// Makes whoever begins an entry ring; sure of each shard once it has been visited.
    pub(crate) fn raise_parked(&self) {
        self.flags.fetch_or(PARKED, Relaxed);
    }

    pub(crate) fn lower_parked(&self) {
        self.flags.fetch_and(!PARKED, Relaxed);
    }

    /// Whether something was removed since `note_trim`.
    pub(crate) fn has_removed(&self) -> bool {
        self.removed_since_trim.load(Relaxed)
    }

    pub(crate) fn note_trim(&self) {
        self.removed_since_trim.store(false, Relaxed);
    }
}

impl<K, V, S, E> Source for Store<K, V, S, E>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
    E: MapItem<K, V>,
{
    type Item = E;
    type Collector = Collector<K, V, S, E>;

    fn collector(of: &Arc<Self>) -> Self::Collector {
        Collector::new(of.clone())
    }
}

impl<K, V, S, E> fmt::Debug for Store<K, V, S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("partitions", &self.partitions.len())
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}
