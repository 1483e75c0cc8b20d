//! What every push passes, whichever face it comes through: the capacity, and what it tells the
//! flusher about what waits.

mod backlog;
pub(crate) mod credits;

use crate::sync::Ordering::{Acquire, Relaxed, Release};
use std::fmt;

use crossbeam_utils::CachePadded;

pub(crate) use self::backlog::MOST_BATCHES_LOG2;
use self::backlog::{Backlog, limit};
use crate::capacity::credits::{Credits, LARGEST_LEASE};
use crate::sync::{Arc, AtomicBool, Notify, broken, order};

/// How many partitions and workers there are, and when a batch is full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) partitions: usize,
    pub(crate) workers: usize,
    pub(crate) capacity: usize,
    pub(crate) max_batch_size: usize,
}

pub(crate) struct Capacity {
    backlogs: Box<[CachePadded<Backlog>]>,
    /// Somebody was refused, or waits, since room was last made.
    room_requested: AtomicBool,
    max_batch_size: usize,
    pub(crate) credits: Credits,
    /// Wakes the flusher.
    pub(crate) wakeup: Arc<Notify>,
}

/// The side of the pushes. A `partition` is the number of a partition.
impl Capacity {
    pub(crate) fn new(shape: Shape) -> Self {
        Self {
            backlogs: (0..shape.workers)
                .map(|_| CachePadded::new(Backlog::default()))
                .collect(),
            room_requested: AtomicBool::new(false),
            max_batch_size: shape.max_batch_size,
            credits: Credits::new(shape.capacity),
            wakeup: Arc::new(Notify::new()),
        }
    }

    /// Leases credits for one of `holders` lanes or shards, the more the more its last lease was, but
    /// no more than its part of what may be missing when the flusher is told of as much as it waits
    /// for; and the nearer that is the less. Behind a full batch of which it knows, more: see `overstatement`.
    /// 0: there is none.
    pub(crate) fn lease(&self, partition: usize, holders: usize, last: usize) -> usize {
        let (waiting, pace) = self.backlog_of(partition).look();
        let (waiting, batches_log2) = (waiting.max(0) as usize, pace.unwrap_or(0));
        let part = self.may_be_missing(batches_log2) / holders.max(1);
        let fits = match self.full_batches(batches_log2).saturating_sub(waiting) {
            0 if pace.is_none() => self.may_be_missing(0),
            0 => part,
            missing => part.min(missing / 2),
        };
        let want = (last * 2).min(LARGEST_LEASE).min(fits).max(1);
        self.credits.lease(want, last.saturating_sub(1))
    }

    /// How many items may not be there yet, when a batch, or one doubled so often, is reported as
    /// full.
    fn may_be_missing(&self, batches_log2: usize) -> usize {
        self.full_batches(batches_log2) / 4
    }

    /// Takes back what is left of a lease.
    pub(crate) fn end_lease(&self, partition: usize, unused: usize, last: usize) {
        self.credits.no_longer_idle(last.saturating_sub(1));
        self.backlog_of(partition).take_off(unused);
        self.credits.give_back(unused);
    }

    /// Reports items, or credits for them; whether the flusher is to be rung for a full batch.
    pub(crate) fn report(&self, partition: usize, n: usize) -> bool {
        self.backlog_of(partition).report(n, self.max_batch_size)
    }

    pub(crate) fn wake(&self) {
        self.wakeup.notify_one();
    }

    /// Waits for a credit; `false` once the pool is closed.
    pub(crate) async fn reserve(&self) -> bool {
        if self.credits.try_reserve() {
            return true;
        }
        let _waiting = self.credits.wait();
        self.request_room();
        self.credits.reserve().await
    }

    /// Asks the flusher to make room.
    pub(crate) fn request_room(&self) {
        // Release: pairs with the Acquire of `is_room_requested`, by which the flusher sees what there
        // is to flush.
        if !self
            .room_requested
            .swap(true, order("room: requested", Release))
        {
            self.wake();
        }
    }

    fn backlog_of(&self, partition: usize) -> &Backlog {
        &self.backlogs[partition % self.backlogs.len()]
    }
}

/// The side of the flusher. Each worker has the partitions whose number falls to it.
impl Capacity {
    pub(crate) fn workers(&self) -> usize {
        self.backlogs.len()
    }

    /// Takes collected items off the load of a worker.
    pub(crate) fn take_off(&self, worker: usize, n: usize) {
        self.backlog_of(worker).take_off(n);
    }

    /// Whether about a batch waits: as many as `waiting` do, or somewhat less and the reports say so.
    pub(crate) fn is_full(&self, worker: usize, waiting: usize) -> bool {
        let full = self.max_batch_size;
        waiting >= full
            || (waiting >= full - self.may_be_missing(0) && self.is_reported_full(worker, 0))
    }

    /// How often a full batch has to be doubled for the reports to tell of it though lanes have
    /// leased, behind full ones, more than may be missing at this `pace`, and no longer push.
    pub(crate) fn overstatement(&self, worker: usize, waiting: usize, pace: usize) -> usize {
        let reported = self.backlogs[worker].now().max(0) as usize;
        let unused = reported.saturating_sub(waiting);
        if unused <= self.may_be_missing(pace) {
            return 0;
        }
        let batches = unused.div_ceil(self.max_batch_size) + 1;
        batches.next_power_of_two().ilog2() as usize
    }

    /// How many items a full batch has, or one doubled so often.
    pub(crate) fn full_batches(&self, batches_log2: usize) -> usize {
        limit(self.max_batch_size, batches_log2) as usize
    }

    /// Whether the reports say that a batch is full, or one doubled so often.
    pub(crate) fn is_reported_full(&self, worker: usize, batches_log2: usize) -> bool {
        self.backlogs[worker].now() >= limit(self.max_batch_size, batches_log2)
    }

    /// Wants the worker to be told when a batch is full, or one doubled so often, by its `pace` or for
    /// the `overstatement`; whether it seems so already.
    pub(crate) fn arm(&self, worker: usize, pace: usize, overstatement: usize) -> bool {
        self.backlogs[worker].arm(self.max_batch_size, pace, overstatement)
    }

    /// About how many items wait for a worker, credits that lanes hold included.
    #[cfg(test)]
    pub(crate) fn backlog(&self, worker: usize) -> isize {
        self.backlogs[worker].now()
    }

    pub(crate) fn disarm(&self, worker: usize) {
        self.backlogs[worker].disarm();
    }

    /// Whether somebody was refused or waits.
    pub(crate) fn is_room_requested(&self) -> bool {
        self.room_requested
            .load(order("room: request read", Acquire))
            || self.credits.has_waiters()
    }

    /// There is room again, or nothing to make room of.
    pub(crate) fn clear_room_request(&self) {
        if broken("room: request cleared by a plain store") {
            return self.room_requested.store(false, Release);
        }
        // A read-modify-write: either it comes before `press`, which then rings, or it carries on
        // what that released, and `is_room_requested` sees from here on who waits. With a plain store
        // both could miss the other.
        self.room_requested.swap(false, Relaxed);
    }
}

impl fmt::Debug for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capacity")
            .field("workers", &self.backlogs.len())
            .finish_non_exhaustive()
    }
}
