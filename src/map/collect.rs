//! Collecting: swaps the sides of partitions, makes items of what they held, and keeps what is out
//! known until it is terminal.

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

pub(crate) struct Collector<K, V, S, E> {
    store: Arc<Store<K, V, S, E>>,
    partitions: Vec<PartitionState>,
    workers: Vec<WorkerQueue<E>>,
    /// Nobody else's, and empty between calls.
    scratch: Shards<K, Slot<V>>,
    parked: bool,
    /// Something was swapped since the last sweep.
    used: bool,
    /// Nothing was, since memory was freed.
    trimmed: bool,
}

/// Whose turn it is in a partition.
#[derive(Debug, Default)]
struct PartitionState {
    active: usize,
    /// Where in the line of its worker the last entry that is out stands.
    out_until: Option<u64>,
}

/// What a worker gets, in order.
#[derive(Debug)]
struct WorkerQueue<I> {
    staged: VecDeque<I>,
    /// How many ever locked the line, and how many of them are terminal.
    locked: u64,
    terminal: u64,
    /// Which partition is next.
    next: usize,
}

impl<K, V, S, E> Collector<K, V, S, E> {
    pub(crate) fn new(store: Arc<Store<K, V, S, E>>) -> Self {
        let line = |worker| WorkerQueue {
            staged: VecDeque::new(),
            locked: 0,
            terminal: 0,
            next: worker,
        };
        Self {
            partitions: (0..store.partition_count())
                .map(|_| PartitionState::default())
                .collect(),
            workers: (0..store.capacity().workers()).map(line).collect(),
            scratch: Shards::new(store.shards()),
            store,
            parked: false,
            used: false,
            trimmed: true,
        }
    }
}

impl<K, V, S, E: MapItem<K, V>> Collector<K, V, S, E>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    fn of_worker(&self, worker: usize) -> impl Iterator<Item = usize> + use<K, V, S, E> {
        (worker..self.partitions.len()).step_by(self.workers.len())
    }

    fn is_out(&self, partition: usize) -> bool {
        self.partitions[partition].out_until.is_some()
            && !broken("map: swapped in before it is terminal")
    }

    fn waiting(&self, partition: usize) -> usize {
        let active = self.partitions[partition].active;
        self.store.partition(partition).waiting(active)
    }

    /// How many entries of a worker wait in partitions that are out, or are not.
    fn waiting_where(&self, worker: usize, out: bool) -> usize {
        let partitions = self.of_worker(worker);
        let partitions = partitions.filter(|&partition| self.is_out(partition) == out);
        partitions.map(|partition| self.waiting(partition)).sum()
    }

    /// The next partition of a worker that can be swapped and holds something.
    fn next(&mut self, worker: usize) -> Option<usize> {
        let count = self.of_worker(worker).count();
        for _ in 0..count {
            let partition = self.workers[worker].next;
            let following = partition + self.workers.len();
            let last = following >= self.partitions.len();
            self.workers[worker].next = if last { worker } else { following };
            if !self.is_out(partition) && self.waiting(partition) > 0 {
                return Some(partition);
            }
        }
        None
    }

    /// Swaps a partition and stages what it held.
    fn swap(&mut self, worker: usize, index: usize) {
        let active = self.partitions[index].active;
        let mut versioned = false;
        let store = self.store.clone();
        if broken("map: swapped in before it is terminal") {
            self.forget(index);
        }
        let partition = store.partition(index);
        partition.swap_out(active, |counts| {
            versioned |= end_lease(counts, index, store.capacity());
        });
        if versioned || store.copy().is_some() {
            self.keep(partition.out());
        }
        // What is kept goes where everything was, in no time.
        for shard in 0..self.scratch.amount() {
            let mut out = partition.out().lock(shard);
            out.exchange(&mut self.scratch.lock(shard));
        }
        Self::stage(&self.scratch, &mut self.workers[worker]);
        partition.reuse(1 - active, &self.scratch);
        self.partitions[index] = PartitionState {
            active: 1 - active,
            out_until: Some(self.workers[worker].locked),
        };
        self.used = true;
        self.trimmed = false;
        // All may have been removed since we looked; then nothing of it will ever be settled.
        if !broken("map: an empty swap is never over") {
            self.forget_terminal(worker);
        }
    }

    /// Fills the scratch with what is to stay known of entries that are out: those with a version;
    /// all of them if their values can be read. What cannot be cloned is not known.
    fn keep(&self, out: &Shards<K, Slot<V>>) {
        out.for_each(|key, held| {
            if held.meta().version().is_some() || self.store.copy().is_some() {
                if let Some((key, kept)) = Self::clone_of(self.store.copy(), key, held) {
                    let shard = self.scratch.index(key.hash);
                    self.scratch.lock(shard).insert(key, kept);
                }
            }
        });
    }

    fn clone_of(
        copy: Option<fn(&V) -> V>,
        key: &Hashed<K>,
        held: &Slot<V>,
    ) -> Option<(Hashed<K>, Slot<V>)> {
        let key = catch("the clone of a key", || key.clone())?;
        let value = copy.zip(held.value());
        let value = value.and_then(|(copy, value)| catch("the clone of a value", || copy(value)));
        Some((key, Slot::new(value, *held.meta())))
    }

    /// Keeps an entry that is about to leave in shard_id of an older one that is out, which is to be
    /// dropped.
    fn keep_over(
        copy: Option<fn(&V) -> V>,
        out: &Shards<K, Slot<V>>,
        key: &Hashed<K>,
        held: &Slot<V>,
    ) -> Option<(Hashed<K>, Slot<V>)> {
        let (key, kept) = Self::clone_of(copy, key, held)?;
        let mut out = out.lock(out.index(key.hash));
        let is = |other: &Hashed<K>| *other == key;
        let older = catch("the comparison of a key", || out.remove(key.hash, is)).flatten();
        out.insert(key, kept);
        older
    }

    /// Makes items of what is in the scratch, at the end of a worker's line.
    fn stage(scratch: &Shards<K, Slot<V>>, line: &mut WorkerQueue<E>) {
        let before = line.staged.len();
        for shard in 0..scratch.amount() {
            let mut scratch = scratch.lock(shard);
            let held = scratch.drain();
            let items = held.map(|(key, held)| {
                let meta = *held.meta();
                E::from_parts(key.key, held.into_value(), meta.version(), meta.updates())
            });
            line.staged.extend(items);
        }
        line.locked += (line.staged.len() - before) as u64;
    }

    /// Takes what is held in a partition that is out, too. Nobody can enter any more, so no version
    /// has to be known; but values may have to be found.
    fn take_rest(&mut self, worker: usize, index: usize) {
        let active = self.partitions[index].active;
        let store = self.store.clone();
        let partition = store.partition(index);
        let (scratch, line) = (&self.scratch, &mut self.workers[worker]);
        let mut replaced = Vec::new();
        partition.take_rest(active, scratch, |counts| {
            end_lease(counts, index, store.capacity());
            if store.copy().is_some() {
                scratch.for_each(|key, held| {
                    replaced.extend(Self::keep_over(store.copy(), partition.out(), key, held));
                });
            }
            Self::stage(scratch, line);
        });
        for (key, kept) in replaced {
            catch("the drop of a key or value", || drop_both(kept, key));
        }
        self.partitions[index].out_until = Some(self.workers[worker].locked);
    }

    /// Forgets what is out of those partitions of a worker of which all is terminal.
    fn forget_terminal(&mut self, worker: usize) {
        let terminal = self.workers[worker].terminal;
        for partition in self.of_worker(worker) {
            let until = self.partitions[partition].out_until;
            if until.is_some_and(|until| until <= terminal) {
                self.forget(partition);
            }
        }
    }

    /// What was out of a partition is terminal.
    fn forget(&mut self, index: usize) {
        let partition = self.store.partition(index);
        let early = broken("map: forgotten before it is remembered");
        if early {
            partition.forget(&self.scratch);
        }
        if let Some(delivered_versions) = self.store.delivered_versions() {
            let versions = if early {
                &self.scratch
            } else {
                partition.out()
            };
            let mut forgotten = Vec::new();
            versions.for_each(|key, held| {
                let Some(version) = held.meta().version() else {
                    return;
                };
                let note = || delivered_versions.note(key.clone(), version);
                forgotten.extend(catch("the clone or comparison of a key", note).flatten());
            });
            for key in forgotten {
                catch("the drop of a key", || drop(key));
            }
        }
        if !early {
            partition.forget(&self.scratch);
        }
        for shard in 0..self.scratch.amount() {
            for (key, held) in self.scratch.lock(shard).drain() {
                catch("the drop of a key or value", || drop_both(held, key));
            }
        }
        self.partitions[index].out_until = None;
    }
}

/// Ends the lease of a shard that is emptied; whether anything in it has a version.
fn end_lease(counts: &ShardCounts, index: usize, capacity: &Capacity) -> bool {
    let emptied = counts.empty();
    capacity.end_lease(index, emptied.unused, emptied.last_lease);
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

    /// A partition is not swapped while anything of it is out.
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
            let Some(partition) = self.next(worker) else {
                break;
            };
            self.swap(worker, partition);
        }
        max - room
    }

    fn collect_all(&mut self, worker: usize, out: &mut BatchFiller<Self::Item>) {
        for partition in self.of_worker(worker) {
            if self.waiting(partition) == 0 {
                continue;
            }
            if !self.is_out(partition) {
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
            let (list, room) = out.open();
            list.extend(staged.drain(..room.min(staged.len())));
        }
    }

    fn settle(&mut self, worker: usize, n: usize) {
        self.workers[worker].terminal += n as u64;
        self.forget_terminal(worker);
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
        let mut lines = self.workers.iter().enumerate();
        let staged = lines.any(|(worker, line)| free(worker) && !line.staged.is_empty());
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
        if self.used {
            self.used = false;
            return;
        }
        self.store.note_trim();
        for index in 0..self.partitions.len() {
            self.store.partition(index).trim();
        }
        (0..self.scratch.amount()).for_each(|shard| self.scratch.lock(shard).trim());
        let lines = self.workers.iter_mut();
        lines.for_each(|line| line.staged.shrink_to_fit());
        self.trimmed = self.partitions.iter().all(|turn| turn.out_until.is_none());
    }

    fn is_trimmed(&self) -> bool {
        self.trimmed && !self.store.has_removed()
    }
}

impl<I> Drop for WorkerQueue<I> {
    /// Items whose `Drop` panics take no others with them.
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
