//! Swapping a partition, and what stays known of its entries while they are in flight.

use std::hash::{BuildHasher, Hash};

use super::{Collector, PartitionState, WorkerQueue};
use crate::capacity::Capacity;
use crate::map::counts::ShardCounts;
use crate::map::entry::MapItem;
use crate::map::hashed::Hashed;
use crate::map::shards::Shards;
use crate::map::slot::Slot;
use crate::panic::{catch, drop_both};
use crate::source::Admission;
use crate::sync::broken;

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
    pub(super) fn swap(&mut self, worker: usize, index: usize) {
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
        for shard in 0..self.transit.amount() {
            Self::stage(&self.transit, shard, &mut self.workers[worker]);
        }
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

    /// Makes items of the entries in a shard of `transit`, at the end of a worker's queue.
    fn stage(transit: &Shards<K, Slot<V>>, shard: usize, queue: &mut WorkerQueue<E>) {
        let before = queue.staged.len();
        let mut transit = transit.lock(shard);
        let items = transit.drain().map(|(key, slot)| {
            let meta = *slot.meta();
            E::from_parts(key.key, slot.into_value(), meta.version(), meta.updates())
        });
        queue.staged.extend(items);
        queue.staged_ever += (queue.staged.len() - before) as u64;
    }

    /// Stages what a partition holds although entries of it are in flight. No update can enter any
    /// more, so no version has to stay known; values may have to.
    pub(super) fn take_rest(&mut self, worker: usize, index: usize) {
        let active = self.partitions[index].active;
        let store = self.store.clone();
        let partition = store.partition(index);
        let (transit, queue) = (&self.transit, &mut self.workers[worker]);
        let mut replaced = Vec::new();
        partition.take_rest(active, transit, |shard, counts| {
            end_lease(counts, index, store.capacity());
            if store.copy().is_some() {
                transit.for_each(|key, slot| {
                    let in_flight = partition.in_flight();
                    replaced.extend(Self::keep_newer(store.copy(), in_flight, key, slot));
                });
            }
            Self::stage(transit, shard, queue);
        });
        for (key, slot) in replaced {
            catch("the drop of a key or value", || drop_both(slot, key));
        }
        self.partitions[index].in_flight_until = Some(self.workers[worker].staged_ever);
    }

    /// Forgets the entries in flight of those partitions of a worker where all of them are settled.
    pub(super) fn forget_settled(&mut self, worker: usize) {
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
    pub(super) fn forget(&mut self, index: usize) {
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
