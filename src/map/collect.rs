//! Collecting: swaps the sides of partitions, makes items of what they held, and keeps entries in
//! flight known until they are settled.
//!
//! A partition is swapped only while nothing of it is in flight. So a key has one entry in flight
//! at most, but for the rest that is taken at the close. A swap stages what it brings in the queue
//! of the partition's worker, and batches are filled from that queue.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{BuildHasher, Hash};

use super::counts::ShardCounts;
use super::entry::MapItem;
use super::hashed::Hashed;
use super::shards::Shards;
use super::slot::Slot;
use super::store::Store;
use crate::batch::drop_items;
use crate::capacity::Capacity;
use crate::panic::{catch, drop_both};
use crate::source::{Admission, BatchFiller, Collect, Parked};
use crate::sync::{Arc, broken};

/// The one reader of a map: it alone swaps the partitions.
pub(crate) struct Collector<K, V, S, E> {
    store: Arc<Store<K, V, S, E>>,
    partitions: Vec<PartitionState>,
    workers: Vec<WorkerQueue<E>>,
    /// Tables in which entries travel from a partition to a queue, or to their drop. Nobody else
    /// locks them, and they are empty between calls.
    transit: Shards<K, Slot<V>>,
    /// The flag that makes updates wake the flusher is up.
    parked: bool,
    /// A partition was swapped since the last sweep.
    swapped_since_sweep: bool,
    /// No partition was swapped since memory was last freed.
    trimmed: bool,
}

/// What the collector knows of a partition.
#[derive(Debug, Default)]
struct PartitionState {
    /// The index of the active side.
    active: usize,
    /// While entries are in flight: how many entries of the worker must be settled before all of
    /// these are. See [`WorkerQueue::staged_ever`].
    in_flight_until: Option<u64>,
}

/// The entries of a worker that are in no batch yet, in the order of their delivery.
#[derive(Debug)]
struct WorkerQueue<I> {
    staged: VecDeque<I>,
    /// How many entries were ever staged.
    staged_ever: u64,
    /// How many of those are settled.
    settled: u64,
    /// The partition to look at first. It moves on with each look, so no partition waits for ever
    /// behind one that is never empty.
    next_partition: usize,
}

impl<K, V, S, E> Collector<K, V, S, E> {
    pub(crate) fn new(store: Arc<Store<K, V, S, E>>) -> Self {
        let queue = |worker| WorkerQueue {
            staged: VecDeque::new(),
            staged_ever: 0,
            settled: 0,
            next_partition: worker,
        };
        Self {
            partitions: (0..store.partition_count())
                .map(|_| PartitionState::default())
                .collect(),
            workers: (0..store.capacity().workers()).map(queue).collect(),
            transit: Shards::new(store.shards()),
            store,
            parked: false,
            swapped_since_sweep: false,
            trimmed: true,
        }
    }
}

/// What waits.
impl<K, V, S, E: MapItem<K, V>> Collector<K, V, S, E>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    fn partitions_of(&self, worker: usize) -> impl Iterator<Item = usize> + use<K, V, S, E> {
        (worker..self.partitions.len()).step_by(self.workers.len())
    }

    /// Whether entries of a partition are in flight, so that it must not be swapped.
    fn is_in_flight(&self, partition: usize) -> bool {
        self.partitions[partition].in_flight_until.is_some()
            && !broken("map: swapped while in flight")
    }

    fn waiting(&self, partition: usize) -> usize {
        let active = self.partitions[partition].active;
        self.store.partition(partition).waiting(active)
    }

    /// How many entries of a worker wait in partitions that have entries in flight, or in those
    /// that have none.
    fn waiting_where(&self, worker: usize, in_flight: bool) -> usize {
        let partitions = self.partitions_of(worker);
        let partitions = partitions.filter(|&index| self.is_in_flight(index) == in_flight);
        partitions.map(|index| self.waiting(index)).sum()
    }

    /// The next partition of a worker that can be swapped and holds something.
    fn next_swappable(&mut self, worker: usize) -> Option<usize> {
        let count = self.partitions_of(worker).count();
        for _ in 0..count {
            let partition = self.workers[worker].next_partition;
            let following = partition + self.workers.len();
            let last = following >= self.partitions.len();
            self.workers[worker].next_partition = if last { worker } else { following };
            if !self.is_in_flight(partition) && self.waiting(partition) > 0 {
                return Some(partition);
            }
        }
        None
    }
}

/// From a partition to the queue of its worker, and to the end.
impl<K, V, S, E: MapItem<K, V>> Collector<K, V, S, E>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    /// Swaps a partition and stages what it held.
    ///
    /// | after step | the side that was active | `in_flight` | `transit` |
    /// |---|---|---|---|
    /// | 0 | entries | empty | empty |
    /// | 1 | empty, standby | entries | empty |
    /// | 2 | empty | entries | copies of what has to stay known |
    /// | 3 | empty | copies | entries |
    /// | 4 | empty | copies | empty, used last |
    /// | 5 | empty, used last | copies | empty |
    ///
    /// A look-up finds a key that has to stay known after each step: every table is exchanged for
    /// another at once, under its lock.
    fn swap(&mut self, worker: usize, index: usize) {
        let active = self.partitions[index].active;
        let mut versioned = false;
        let store = self.store.clone();
        let partition = store.partition(index);
        // 1. The side that was active is standby now, and its entries are in flight.
        partition.swap(active, |counts| {
            versioned |= end_lease(counts, index, store.capacity());
        });
        // 2. Copy what has to stay known.
        if versioned || store.copy().is_some() {
            self.keep(partition.in_flight());
        }
        // 3. Leave the copies in flight, and take the entries.
        for shard in 0..self.transit.amount() {
            let mut in_flight = partition.in_flight().lock(shard);
            in_flight.exchange(&mut self.transit.lock(shard));
        }
        // 4. Make items of the entries.
        Self::stage(&self.transit, &mut self.workers[worker]);
        // 5. Use the tables that are in the caches for the next swap.
        partition.reuse(active, &self.transit);
        self.partitions[index] = PartitionState {
            active: 1 - active,
            in_flight_until: Some(self.workers[worker].staged_ever),
        };
        self.swapped_since_sweep = true;
        self.trimmed = false;
        // All entries may have been removed since the partition was chosen. Nothing of such a swap
        // is ever settled, so it is over here.
        if !broken("map: an empty swap is never over") {
            self.forget_settled(worker);
        }
    }

    /// Copies into `transit` what has to stay known of entries in flight: those with a version, or
    /// all of them where values in flight can be read. What cannot be cloned is not known.
    fn keep(&self, in_flight: &Shards<K, Slot<V>>) {
        in_flight.for_each(|key, slot| {
            if slot.meta().version().is_some() || self.store.copy().is_some() {
                if let Some((key, copy)) = Self::copy_of(self.store.copy(), key, slot) {
                    let shard = self.transit.index(key.hash);
                    self.transit.lock(shard).insert(key, copy);
                }
            }
        });
    }

    /// A slot for an entry in flight: its metadata, and with `copy` its value.
    fn copy_of(
        copy: Option<fn(&V) -> V>,
        key: &Hashed<K>,
        slot: &Slot<V>,
    ) -> Option<(Hashed<K>, Slot<V>)> {
        let key = catch("the clone of a key", || key.clone())?;
        let value = copy.zip(slot.value());
        let value = value.and_then(|(copy, value)| catch("the clone of a value", || copy(value)));
        Some((key, Slot::new(value, *slot.meta())))
    }

    /// Keeps an entry of the rest known, in place of the one of the same key that is in flight
    /// already. Returns that one, for the caller to drop.
    fn keep_newer(
        copy: Option<fn(&V) -> V>,
        in_flight: &Shards<K, Slot<V>>,
        key: &Hashed<K>,
        slot: &Slot<V>,
    ) -> Option<(Hashed<K>, Slot<V>)> {
        let (key, newer) = Self::copy_of(copy, key, slot)?;
        let mut in_flight = in_flight.lock(in_flight.index(key.hash));
        let is = |other: &Hashed<K>| *other == key;
        let remove = || in_flight.remove(key.hash, is);
        let older = catch("the comparison of a key", remove).flatten();
        in_flight.insert(key, newer);
        older
    }

    /// Makes items of the entries in `transit`, at the end of a worker's queue.
    fn stage(transit: &Shards<K, Slot<V>>, queue: &mut WorkerQueue<E>) {
        let before = queue.staged.len();
        for shard in 0..transit.amount() {
            let mut transit = transit.lock(shard);
            let items = transit.drain().map(|(key, slot)| {
                let meta = *slot.meta();
                E::from_parts(key.key, slot.into_value(), meta.version(), meta.updates())
            });
            queue.staged.extend(items);
        }
        queue.staged_ever += (queue.staged.len() - before) as u64;
    }

    /// Stages what a partition holds although entries of it are in flight. No update can enter any
    /// more, so no version has to stay known; values may have to.
    fn take_rest(&mut self, worker: usize, index: usize) {
        let active = self.partitions[index].active;
        let store = self.store.clone();
        let partition = store.partition(index);
        let (transit, queue) = (&self.transit, &mut self.workers[worker]);
        let mut replaced = Vec::new();
        partition.take_rest(active, transit, |counts| {
            end_lease(counts, index, store.capacity());
            if store.copy().is_some() {
                transit.for_each(|key, slot| {
                    let in_flight = partition.in_flight();
                    replaced.extend(Self::keep_newer(store.copy(), in_flight, key, slot));
                });
            }
            Self::stage(transit, queue);
        });
        for (key, slot) in replaced {
            catch("the drop of a key or value", || drop_both(slot, key));
        }
        self.partitions[index].in_flight_until = Some(self.workers[worker].staged_ever);
    }

    /// Forgets the entries in flight of those partitions of a worker where all of them are settled.
    fn forget_settled(&mut self, worker: usize) {
        let settled = self.workers[worker].settled;
        for partition in self.partitions_of(worker) {
            let until = self.partitions[partition].in_flight_until;
            if until.is_some_and(|until| until <= settled) {
                self.forget(partition);
            }
        }
    }

    /// Forgets the entries in flight of a partition. Their versions are noted first, so that a
    /// look-up always finds them.
    fn forget(&mut self, index: usize) {
        let partition = self.store.partition(index);
        if let Some(versions) = self.store.delivered_versions() {
            let mut forgotten = Vec::new();
            partition.in_flight().for_each(|key, slot| {
                let Some(version) = slot.meta().version() else {
                    return;
                };
                let note = || versions.note(key.clone(), version);
                forgotten.extend(catch("the clone or comparison of a key", note).flatten());
            });
            for key in forgotten {
                catch("the drop of a key", || drop(key));
            }
        }
        partition.forget(&self.transit);
        for shard in 0..self.transit.amount() {
            for (key, slot) in self.transit.lock(shard).drain() {
                catch("the drop of a key or value", || drop_both(slot, key));
            }
        }
        self.partitions[index].in_flight_until = None;
    }
}

/// Ends the lease of a shard that is being emptied. Returns whether an entry in it may have a
/// version.
fn end_lease(counts: &ShardCounts, partition: usize, capacity: &Capacity) -> bool {
    let emptied = counts.empty();
    capacity.end_lease(partition, emptied.unused, emptied.last_lease);
    emptied.versioned
}

impl<K, V, S, E: MapItem<K, V>> Collect for Collector<K, V, S, E>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    type Item = E;

    fn available(&mut self, worker: usize) -> usize {
        self.workers[worker].staged.len() + self.waiting_where(worker, false)
    }

    /// A partition is not swapped while entries of it are in flight.
    fn held_back(&mut self, worker: usize) -> usize {
        self.waiting_where(worker, true)
    }

    fn collect(&mut self, worker: usize, max: usize, out: &mut Vec<Self::Item>) -> usize {
        let mut room = max;
        loop {
            let staged = &mut self.workers[worker].staged;
            let n = room.min(staged.len());
            out.extend(staged.drain(..n));
            self.store.capacity().take_off(worker, n);
            room -= n;
            if room == 0 {
                break;
            }
            let Some(partition) = self.next_swappable(worker) else {
                break;
            };
            self.swap(worker, partition);
        }
        max - room
    }

    fn collect_all(&mut self, worker: usize, out: &mut BatchFiller<Self::Item>) {
        for partition in self.partitions_of(worker) {
            if self.waiting(partition) == 0 {
                continue;
            }
            if !self.is_in_flight(partition) {
                self.swap(worker, partition);
            } else if self.store.is_closed() || broken("map: the rest taken while open") {
                self.take_rest(worker, partition);
            }
        }
        self.collect_staged(worker, out);
    }

    fn collect_staged(&mut self, worker: usize, out: &mut BatchFiller<Self::Item>) {
        let staged = &mut self.workers[worker].staged;
        self.store.capacity().take_off(worker, staged.len());
        while !staged.is_empty() {
            let (batch, room) = out.open();
            batch.extend(staged.drain(..room.min(staged.len())));
        }
    }

    fn settle(&mut self, worker: usize, n: usize) {
        self.workers[worker].settled += n as u64;
        self.forget_settled(worker);
    }

    fn settle_all(&mut self) {
        for partition in 0..self.partitions.len() {
            self.forget(partition);
        }
    }

    fn park(&mut self, free: impl Fn(usize) -> bool) -> Parked {
        if !self.parked {
            self.store.raise_parked();
            self.parked = true;
        }
        let workers = self.workers.len();
        let mut partitions = (0..self.partitions.len()).filter(|index| free(index % workers));
        let found = partitions.any(|index| {
            let partition = self.store.partition(index);
            !partition.is_empty(self.partitions[index].active)
        });
        let mut queues = self.workers.iter().enumerate();
        let staged = queues.any(|(worker, queue)| free(worker) && !queue.staged.is_empty());
        if found || staged {
            Parked::Found
        } else {
            Parked::Idle
        }
    }

    fn unpark(&mut self) {
        if self.parked {
            self.store.lower_parked();
            self.parked = false;
        }
    }

    fn sweep(&mut self) {
        if self.swapped_since_sweep {
            self.swapped_since_sweep = false;
            return;
        }
        self.store.note_trim();
        for index in 0..self.partitions.len() {
            self.store.partition(index).trim();
        }
        (0..self.transit.amount()).for_each(|shard| self.transit.lock(shard).trim());
        let queues = self.workers.iter_mut();
        queues.for_each(|queue| queue.staged.shrink_to_fit());
        // The tables of entries in flight could not be freed.
        let mut partitions = self.partitions.iter();
        self.trimmed = partitions.all(|state| state.in_flight_until.is_none());
    }

    fn is_trimmed(&self) -> bool {
        self.trimmed && !self.store.has_removed()
    }
}

impl<I> Drop for WorkerQueue<I> {
    /// An item whose `Drop` panics takes no other with it.
    fn drop(&mut self) {
        drop_items(&mut std::mem::take(&mut self.staged).into());
    }
}

impl<K, V, S, E> fmt::Debug for Collector<K, V, S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector")
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}
