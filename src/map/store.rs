//! Where an update of a map goes, and what it does.
//!
//! ```text
//!  put, put_newer, merge ──► hash of the key ──► partition ──► shard of its active side, locked
//!                                                                │
//!                     closed: refused ◄──────────────────────────┤
//!     stale, or merged into the entry ◄── the key has an entry ──┤
//!    stale, or refused, or a new entry ◄── it has none ──────────┘
//! ```
//!
//! An update takes one of two paths:
//! - **Fast**: the key has an entry, or the shard has a credit for a new one. One lock.
//! - **Slow**: it leases credits for its shard and reports to the backlog, and wakes the flusher
//!   where that is needed. A `put_newer` that finds no version in its shard looks for one in
//!   flight, and among the delivered versions.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;

use crossbeam_utils::CachePadded;

use super::counts::ShardCounts;
use super::hashed::Hashed;
use super::partition::{Contended, Partition, ShardId};
use super::slot::{EntryMeta, Slot};
use super::versions::DeliveredVersions;
use crate::capacity::{Capacity, Shape};
use crate::error::RefusalReason;
use crate::hash;
use crate::panic::{drop_before, drop_both};
use crate::source::Admission;
use crate::stats::Intake;
use crate::sync::Ordering::Relaxed;
use crate::sync::{AtomicBool, AtomicUsize, Backoff, broken};

/// Flag: updates are refused.
const CLOSED: usize = 1;
/// Flag: the flusher sleeps, and whoever begins an entry must wake it.
const PARKED: usize = 1 << 1;

/// Everything that an update touches.
pub(crate) struct Store<K, V, S, E> {
    partitions: Box<[CachePadded<Partition<K, V>>]>,
    hasher: S,
    /// CLOSED and PARKED. Every update reads them under the lock of its shard.
    // Relaxed throughout: the locks order it. An update sees each flag that was raised before its
    // shard was last locked by whoever raised it (`Partition::synchronize`, `Partition::is_empty`),
    // or by whoever had seen it raised (`Partition::take_rest`).
    flags: AtomicUsize,
    /// An entry was removed since memory was last freed. Written by removals and by the flusher.
    // Relaxed: a hint. If it is missed, memory is freed after the next removal.
    removed_since_trim: AtomicBool,
    /// How many shards may hold leased credits.
    holders: usize,
    /// How many shards a side has.
    shards: usize,
    /// The versions of keys whose entries are delivered, where the map remembers them.
    delivered_versions: Option<DeliveredVersions<K>>,
    /// `V::clone`, where values in flight can be read.
    copy: Option<fn(&V) -> V>,
    capacity: Capacity,
    /// What the batches of this map consist of.
    item: PhantomData<fn() -> E>,
}

/// What a map has beside its shape.
pub(crate) struct MapOptions<V, S> {
    /// How many shards a side of a partition has.
    pub(crate) shards: usize,
    pub(crate) hasher: S,
    /// How many keys to remember the delivered version of.
    pub(crate) remember_versions: usize,
    /// `V::clone`, where values in flight are to be read.
    pub(crate) copy: Option<fn(&V) -> V>,
}

/// What became of an update that was not refused, with what is left over. The caller drops or keeps
/// that outside the locks.
pub(crate) enum Updated<K, U, R> {
    /// The update began an entry.
    Inserted,
    /// The update was merged into the entry: what the merge returned, and the second key.
    Merged(R, K),
    /// The update was not newer.
    Stale(K, U),
}

impl<K, U, R> Updated<K, U, R> {
    /// Drops what is left over.
    #[inline(always)]
    pub(crate) fn discard(self) {
        match self {
            Self::Inserted => {}
            Self::Merged(merged, key) => drop_both(merged, key),
            Self::Stale(key, update) => drop_both(key, update),
        }
    }
}

type Outcome<K, U, R> = Result<Updated<K, U, R>, (RefusalReason, K, U)>;

impl<K, V, S, E> Store<K, V, S, E>
where
    K: Eq + Hash,
    S: BuildHasher,
{
    pub(crate) fn new(shape: Shape, options: MapOptions<V, S>) -> Self {
        let MapOptions {
            shards,
            hasher,
            remember_versions,
            copy,
        } = options;
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

    /// The hash of a key, and the index of its partition. Runs the user's `Hash`: no lock may be
    /// held.
    fn locate<Q: Hash + ?Sized>(&self, key: &Q) -> (u64, usize) {
        let hash = hash::hash(&self.hasher, key);
        (hash, hash::partition(hash, self.partitions.len()))
    }

    /// Brings an update into the entry of a key: merges it into the entry with `merge`, or begins
    /// an entry with what `begin` makes of it. A version must be higher than the newest one that is
    /// known: that of the entry, or else the one in flight, or else the delivered one.
    ///
    /// Every update of every kind comes through here, and is compiled into its caller: so it is one
    /// function, which reads as the steps of one.
    #[inline(always)]
    pub(crate) fn update<U, R>(
        &self,
        key: K,
        version: Option<u64>,
        update: U,
        merge: impl FnOnce(&mut Slot<V>, U) -> R,
        begin: impl FnOnce(U) -> Option<V>,
    ) -> Outcome<K, U, R> {
        // 1. Find the partition, before any lock.
        let (hash, index) = self.locate(&key);
        let partition = &*self.partitions[index];
        let key = Hashed::new(hash, key);
        let backoff = Backoff::new();
        loop {
            // 2. Lock the shard, then read the flags: whoever raises one locks the shard later.
            let mut locked = partition.enter(hash);
            let flags = self.flags.load(Relaxed);
            if flags & CLOSED != 0 && !broken("map: closed ignored") {
                drop(locked);
                return Err((RefusalReason::Closed, key.key, update));
            }
            // 3. Find the entry, and the newest version of the key where that matters.
            let shard_id = locked.shard_id;
            let slot = locked.shard.get_mut(hash, |other| *other == key);
            if let Some(version) = version {
                let held = slot.as_ref().and_then(|slot| slot.meta().version());
                match self.newest_version(held, partition, shard_id, &key) {
                    Ok(newest) if newest.is_some_and(|newest| newest >= version) => {
                        drop(locked);
                        return Ok(Updated::Stale(key.key, update));
                    }
                    Ok(_) => {}
                    Err(Contended) => {
                        drop(locked);
                        backoff.snooze();
                        continue;
                    }
                }
            }
            // 4. Merge into the entry, if there is one.
            if let Some(slot) = slot {
                let merged = merge(slot, update);
                slot.meta_mut().update(version);
                locked.counts.merge(version.is_some());
                drop(locked);
                return Ok(Updated::Merged(merged, key.key));
            }
            // 5. Otherwise begin an entry, for one credit.
            let Some(lease) = self.ensure_credit(locked.counts, index) else {
                drop(locked);
                self.capacity.request_room();
                return Err((RefusalReason::Full, key.key, update));
            };
            let slot = Slot::new(begin(update), EntryMeta::new(version));
            locked.shard.insert(key, slot);
            locked.counts.begin(version.is_some());
            // 6. Report and wake. The lock is released: a waker may use the map.
            drop(locked);
            let full = lease > 0 && self.capacity.report(index, lease);
            if full || flags & PARKED != 0 {
                self.capacity.wake();
            }
            return Ok(Updated::Inserted);
        }
    }

    /// The newest version of a key, given that of its entry. Looks in the direction in which
    /// entries move: see `Partition::find_in_flight`. `shard_id` is the shard that the caller
    /// has locked.
    #[inline(always)]
    fn newest_version(
        &self,
        held: Option<u64>,
        partition: &Partition<K, V>,
        shard_id: ShardId,
        key: &Hashed<K>,
    ) -> Result<Option<u64>, Contended> {
        if held.is_some() {
            return Ok(held);
        }
        match partition.version_in_flight(shard_id, key)? {
            Some(version) => Ok(Some(version)),
            None => Ok(self.delivered_version(key)),
        }
    }

    fn delivered_version(&self, key: &Hashed<K>) -> Option<u64> {
        self.delivered_versions.as_ref()?.version(key)
    }

    /// Makes sure that a locked shard has a credit. Returns how many were leased for it, to report
    /// once the lock is released; `None` if the map is full.
    #[inline(always)]
    fn ensure_credit(&self, counts: &ShardCounts, partition: usize) -> Option<usize> {
        if counts.has_credit() {
            return Some(0);
        }
        let lease = self
            .capacity
            .lease(partition, self.holders, counts.last_lease());
        counts.set_lease(lease);
        (lease > 0).then_some(lease)
    }

    /// Takes the entry of a key back. Does not find an entry in flight.
    pub(crate) fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let (hash, index) = self.locate(key);
        let mut locked = self.partitions[index].enter(hash);
        let (key, slot) = locked.shard.remove(hash, |other| other.is(hash, key))?;
        locked.counts.remove();
        drop(locked);
        self.removed_since_trim.store(true, Relaxed);
        self.capacity.take_off(index, 1);
        self.capacity.credits.give_back(1);
        drop_before(key, slot.into_value())
    }

    /// Shows the value of a key to `look`: that of its entry, or else, where values in flight can
    /// be read, the one in flight. Runs under the lock of a shard.
    pub(crate) fn look_up<Q, R>(&self, key: &Q, look: impl Fn(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let (hash, index) = self.locate(key);
        let partition = &*self.partitions[index];
        let look = |slot: &Slot<V>| slot.value().map(&look);
        let backoff = Backoff::new();
        loop {
            match partition.look_up(hash, key, self.copy.is_some(), look) {
                Ok(found) => return found.flatten(),
                Err(Contended) => backoff.snooze(),
            }
        }
    }
}

impl<K, V, S, E> Admission for Store<K, V, S, E> {
    fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// Once this returns no update is in progress that did not see CLOSED.
    fn close(&self) -> bool {
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

    /// Counts the entries begun first, and then what became of entries, so that no difference is
    /// negative.
    fn intake(&self) -> Intake {
        let mut intake = Intake::default();
        let counts = || {
            self.partitions
                .iter()
                .flat_map(|partition| partition.counts())
        };
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

/// For the collector.
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

    /// `V::clone`, where values in flight can be read.
    pub(crate) fn copy(&self) -> Option<fn(&V) -> V> {
        self.copy
    }

    /// Makes whoever begins an entry wake the flusher. An
    /// update surely sees the flag once the caller has locked the shard of the update.
    pub(crate) fn raise_parked(&self) {
        self.flags.fetch_or(PARKED, Relaxed);
    }

    /// Lets updates be silent again. An update that sees it late wakes the flusher in vain.
    pub(crate) fn lower_parked(&self) {
        self.flags.fetch_and(!PARKED, Relaxed);
    }

    /// Whether an entry was removed since [`note_trim`](Self::note_trim).
    pub(crate) fn has_removed(&self) -> bool {
        self.removed_since_trim.load(Relaxed)
    }

    pub(crate) fn note_trim(&self) {
        self.removed_since_trim.store(false, Relaxed);
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
