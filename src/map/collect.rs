//! Collecting: swaps the sides of partitions, makes items of what they held, and keeps entries in
//! flight known until they are settled.
//!
//! A partition is swapped only while nothing of it is in flight. So a key has one entry in flight
//! at most, but for the rest that is taken at the close. A swap stages what it brings in the queue
//! of the partition's worker, and batches are filled from that queue.

mod swap;

use std::collections::VecDeque;
use std::fmt;
use std::hash::{BuildHasher, Hash};

use super::entry::MapItem;
use super::shards::Shards;
use super::slot::Slot;
use super::store::Store;
use crate::batch::drop_items;
use crate::source::{Admission, BatchFiller, Collect, Parked, Source};
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
