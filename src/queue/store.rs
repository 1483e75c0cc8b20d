//! Where a push of a queue goes.
//!
//! ```text
//!  push        thread ──► its own lane ──────────────────────┐
//!  Writer      its own lane ─────────────────────────────────┤
//!  push_keyed  hash of the key ──► lock ──► the shared lane ─┤ partition ──► worker ──► sink
//!  push without a lane ──► the fallback list ────────────────┘
//! ```
//!
//! A partition holds the lanes of the threads whose index falls to it, one lane behind a lock for
//! the keys that do, and one fallback list. A partition belongs to one worker of the flusher, so
//! whatever has an order has one worker.
//!
//! A push takes one of two paths:
//! - **Fast**, in `lane/writer`: a slot is free, a credit is left, no flag is up. No lock, no
//!   atomic read-modify-write, no clock.
//! - **Slow**, [`Store::push_slow`]: it sees the flags, leases credits, allocates a chunk, reports
//!   to the backlog, and wakes the flusher where that is needed. About every 64th push.

use std::fmt;
use std::hash::Hash;

use crossbeam_utils::CachePadded;

use super::barrier::Barrier;
use super::fallback::Fallback;
use super::lane::{CLOSED, LaneWriter, SharedWriter};
use super::registry::Registry;
use super::threads::lanes::ThreadLanes;
use super::threads::{Ended, ThreadIndex};
use crate::capacity::{Capacity, Shape};
use crate::error::PushError;
use crate::hash::{self, RandomState};
use crate::source::Admission;
use crate::stats::Intake;
use crate::sync::Ordering::Relaxed;
use crate::sync::{AtomicUsize, OnceLock, broken};

/// Everything that a push touches.
pub(crate) struct Store<T> {
    partitions: Box<[CachePadded<Partition<T>>]>,
    thread_lanes: ThreadLanes<T>,
    registry: Registry<T>,
    hasher: RandomState,
    /// How many `Writer`s were made. Modulo the number of partitions it gives the next one its own.
    next_partition: AtomicUsize,
    pub(crate) capacity: Capacity,
}

struct Partition<T> {
    /// The lane of keyed pushes; registered with the first of them.
    shared: OnceLock<SharedWriter<T>>,
    fallback: Fallback<T>,
}

type Pushed<T> = Result<(), PushError<T>>;

/// Where the credit of a push comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credit {
    /// From the lane, or leased for it.
    Lease,
    /// From the caller, who keeps it if the push fails.
    Prepaid,
}

impl<T> Store<T> {
    pub(crate) fn new(shape: Shape, barrier: Barrier) -> Self {
        let partition = || Partition {
            shared: OnceLock::new(),
            fallback: Fallback::new(),
        };
        Self {
            partitions: (0..shape.partitions)
                .map(|_| CachePadded::new(partition()))
                .collect(),
            thread_lanes: ThreadLanes::new(),
            registry: Registry::new(barrier),
            hasher: RandomState::default(),
            next_partition: AtomicUsize::new(0),
            capacity: Capacity::new(shape),
        }
    }

    pub(crate) fn thread_lanes(&self) -> &ThreadLanes<T> {
        &self.thread_lanes
    }

    pub(crate) fn registry(&self) -> &Registry<T> {
        &self.registry
    }

    /// Threads are spread over the partitions by their index, and stay.
    fn partition_of(&self, thread: u32) -> usize {
        thread as usize % self.partitions.len()
    }
}

/// The pushes.
impl<T> Store<T> {
    /// Pushes into the lane of this thread, which the caller has found in the thread's cache.
    #[cold]
    #[inline(never)]
    pub(crate) fn push_into_cached(&self, lane: &LaneWriter<T>, item: T) -> Pushed<T> {
        match ThreadIndex::current() {
            Ok(me) => self.push_slow(lane, self.partition_of(me.get()), item, Credit::Lease),
            Err(Ended(thread)) => {
                self.push_fallback(self.partition_of(thread), item, Credit::Lease)
            }
        }
    }

    /// Pushes into the lane of this thread, which is looked up, or registered.
    #[cold]
    #[inline(never)]
    pub(crate) fn push_from_thread(&self, item: T, credit: Credit) -> Pushed<T> {
        let me = match ThreadIndex::current() {
            Ok(me) => me,
            Err(Ended(thread)) => {
                return self.push_fallback(self.partition_of(thread), item, credit);
            }
        };
        let partition = self.partition_of(me.get());
        match self.lane_of(&me) {
            Some(lane) => self.push_slow(lane, partition, item, credit),
            None => self.push_fallback(partition, item, credit),
        }
    }

    /// The lane of this thread. Returns `None` if there are more threads than the table has room
    /// for.
    pub(crate) fn lane_of(&self, me: &ThreadIndex) -> Option<&LaneWriter<T>> {
        let register = || self.registry.register(self.partition_of(me.get()));
        self.thread_lanes
            .get(me)
            .or_else(|| self.thread_lanes.set(me, register()))
    }

    /// Pushes into the shared lane of the key's partition.
    pub(crate) fn push_keyed<K: Hash + ?Sized>(&self, key: &K, item: T) -> Pushed<T> {
        // Before the lock: `Hash` is the user's code.
        let hash = hash::hash(&self.hasher, key);
        self.push_shared(hash::partition(hash, self.partitions.len()), item)
    }

    pub(crate) fn push_shared(&self, partition: usize, item: T) -> Pushed<T> {
        let lane = &self.partitions[partition].shared;
        let lane = lane.get_or_init(|| SharedWriter::new(self.registry.register(partition)));
        lane.with(|lane| {
            lane.push(item, Ok(()), |item| {
                self.push_slow(lane, partition, item, Credit::Lease)
            })
        })
    }

    /// Registers the lane of a `Writer`; returns it with its partition.
    pub(crate) fn writer(&self) -> (LaneWriter<T>, usize) {
        let partition = self.next_partition.fetch_add(1, Relaxed) % self.partitions.len();
        (self.registry.register(partition), partition)
    }

    /// Ends the lane of a `Writer`. What it holds is still delivered.
    pub(crate) fn retire(&self, lane: &LaneWriter<T>, partition: usize) {
        let unused = lane.take_credits();
        self.capacity
            .end_lease(partition, unused, lane.last_lease());
        lane.end_writer();
        self.capacity.wake();
    }

    /// The slow path of every push into a lane.
    #[cold]
    #[inline(never)]
    pub(crate) fn push_slow(
        &self,
        lane: &LaneWriter<T>,
        partition: usize,
        item: T,
        credit: Credit,
    ) -> Pushed<T> {
        let Some(flags) = lane.begin_slow() else {
            return self.push_fallback(partition, item, credit);
        };
        if flags.closed() {
            lane.end_slow();
            return Err(PushError::Closed(item));
        }
        // How many items, or credits for them, to report to the backlog.
        let mut report = 0;
        if credit == Credit::Prepaid {
            lane.add_credits(1);
            report = usize::from(!broken("store: prepaid push not reported"));
        } else if !lane.has_credit() {
            report = self.lease(lane, partition);
            if report == 0 {
                lane.end_slow();
                self.capacity.request_room();
                return Err(PushError::Full(item));
            }
        }
        lane.write(item);
        lane.end_slow();
        // The lane is no longer busy, so a waker that runs below may push.
        let full = report > 0 && self.capacity.report(partition, report);
        // Whoever waits for room has what is held sent at once, this item included.
        let makes_room = credit == Credit::Prepaid && self.capacity.credits.has_waiters();
        if full || flags.parked() || makes_room {
            self.capacity.wake();
        }
        Ok(())
    }

    /// Leases credits for a lane; returns how many, 0 if the queue is full.
    fn lease(&self, lane: &LaneWriter<T>, partition: usize) -> usize {
        let lanes = self.registry.population();
        let lease = self.capacity.lease(partition, lanes, lane.last_lease());
        lane.set_lease(lease);
        lease
    }

    /// Pushes where no lane can take the item. Costs a credit of the pool, a lock, a report and a
    /// wake.
    pub(crate) fn push_fallback(&self, partition: usize, item: T, credit: Credit) -> Pushed<T> {
        let fallback = &self.partitions[partition].fallback;
        if credit == Credit::Lease && !self.capacity.credits.try_reserve() {
            if fallback.is_closed() {
                return Err(PushError::Closed(item));
            }
            self.capacity.request_room();
            return Err(PushError::Full(item));
        }
        if let Err(item) = fallback.push(item) {
            if credit == Credit::Lease {
                self.capacity.credits.give_back(1);
            }
            return Err(PushError::Closed(item));
        }
        self.capacity.report(partition, 1);
        self.capacity.wake();
        Ok(())
    }
}

/// For the collector.
impl<T> Store<T> {
    /// How many items wait in the fallback lists of a worker.
    pub(crate) fn fallback_waiting(&self, worker: usize) -> usize {
        let partitions = self.partitions_of(worker);
        partitions.map(|it| it.fallback.waiting()).sum()
    }

    /// Takes the items of the fallback lists of a worker. The caller must deliver them after all
    /// items that lie in its lanes when this returns.
    pub(crate) fn take_fallback(&self, worker: usize) -> Vec<T> {
        let mut taken = Vec::new();
        for partition in self.partitions_of(worker) {
            let mut items = partition.fallback.take();
            if taken.is_empty() {
                taken = items;
            } else {
                taken.append(&mut items);
            }
        }
        self.capacity.take_off(worker, taken.len());
        taken
    }

    fn partitions_of(&self, worker: usize) -> impl Iterator<Item = &Partition<T>> {
        let partitions = self.partitions.iter().map(|partition| &**partition);
        partitions.skip(worker).step_by(self.capacity.workers())
    }
}

impl<T> Admission for Store<T> {
    fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// A push that has begun may still be accepted; its lane is busy until then.
    fn close(&self) -> bool {
        for partition in &self.partitions {
            partition.fallback.close();
        }
        let first = self.registry.raise(CLOSED);
        self.capacity.credits.close();
        first
    }

    fn is_closed(&self) -> bool {
        self.registry.is_raised(CLOSED)
    }

    fn intake(&self) -> Intake {
        let in_lanes = self.registry.accepted();
        let partitions = self.partitions.iter();
        let in_lists: u64 = partitions.map(|it| it.fallback.accepted()).sum();
        Intake {
            accepted: in_lanes + in_lists,
            ..Intake::default()
        }
    }
}

impl<T> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("partitions", &self.partitions.len())
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}
