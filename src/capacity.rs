//! What every push passes, whichever handle it comes through: the credits that bound what is held,
//! the report of what waits, and the wake-up of the flusher.
//!
//! This is credit-based flow control. A lane or shard leases credits by the handful, and reports
//! each lease to the backlog of its worker. The flusher takes off the backlog what it collects.

pub(crate) mod backlog;
pub(crate) mod credits;

use std::fmt;

use crossbeam_utils::CachePadded;

pub(crate) use self::backlog::MOST_BATCHES_LOG2;
use self::backlog::{Backlog, items_in};
use self::credits::{Credits, LARGEST_LEASE};
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{Arc, AtomicBool, Notify, order, wake};

/// The fixed shape of a queue or map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) partitions: usize,
    pub(crate) workers: usize,
    /// How many items can be held.
    pub(crate) capacity: usize,
    /// How many items a full batch has. See `Settings::max_batch_size`.
    pub(crate) max_batch_size: usize,
}

pub(crate) struct Capacity {
    /// What waits, one for each worker.
    backlogs: Box<[CachePadded<Backlog>]>,
    /// A push was refused, or a caller waits for room. That caller sets it, the flusher clears it.
    room_requested: AtomicBool,
    max_batch_size: usize,
    pub(crate) credits: Credits,
    /// Wakes the flusher.
    pub(crate) wakeup: Arc<Notify>,
}

/// For pushes. A `partition` is given by its index.
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

    /// Leases credits for one of `holders` lanes or shards: up to twice what its `last` lease
    /// brought, and at most [`LARGEST_LEASE`]. Returns how many, 0 if there is none.
    ///
    /// Leased credits that no item has used yet make the backlog look larger than it is. So all
    /// holders together lease a quarter ahead of what wakes the flusher, and less the nearer the
    /// backlog comes to that. When a full batch waits and the flusher is not armed, each holder may
    /// lease a quarter of a batch.
    pub(crate) fn lease(&self, partition: usize, holders: usize, last: usize) -> usize {
        let (waiting, armed) = self.backlog_of(partition).look();
        let (waiting, batches_log2) = (waiting.max(0) as usize, armed.unwrap_or(0));
        let share = self.slack(batches_log2) / holders.max(1);
        let fits = match self.items_in(batches_log2).saturating_sub(waiting) {
            0 if armed.is_none() => self.slack(0),
            0 => share,
            missing => share.min(missing / 2),
        };
        let want = (last * 2).min(LARGEST_LEASE).min(fits).max(1);
        self.credits.lease(want, last.saturating_sub(1))
    }

    /// Takes back the credits that are left of a lease, which brought `last` of them.
    pub(crate) fn end_lease(&self, partition: usize, unused: usize, last: usize) {
        self.credits.no_longer_idle(last.saturating_sub(1));
        self.backlog_of(partition).take_off(unused);
        self.credits.give_back(unused);
    }

    /// Reports `n` items, or credits for them. Returns whether the flusher is to be woken, because
    /// it asked to be at this size.
    pub(crate) fn report(&self, partition: usize, n: usize) -> bool {
        self.backlog_of(partition).report(n, self.max_batch_size)
    }

    /// Wakes the flusher. Costs an atomic read-modify-write at least; if the flusher sleeps, also a
    /// call of the waker of its runtime, some microseconds, and in a task of a runtime of many
    /// threads another task.
    pub(crate) fn wake(&self) {
        wake(&self.wakeup);
    }

    /// Waits for a credit. Returns `false` once the pool is closed.
    pub(crate) async fn reserve(&self) -> bool {
        if self.credits.try_reserve() {
            return true;
        }
        let _waiting = self.credits.wait();
        self.request_room();
        self.credits.reserve().await
    }

    /// Asks the flusher to make room.
    ///
    /// And if the flusher clears the request meanwhile?
    /// 1. This swap comes first. The flusher's swap reads it, and so sees in `is_room_requested`,
    ///    which it calls next, all that came before: the items, and whoever waits.
    /// 2. The flusher's swap comes first. This one reads `false`, and wakes the flusher.
    pub(crate) fn request_room(&self) {
        // Release: pairs with the Acquire of `is_room_requested`; what is to be sent was pushed
        // before.
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

/// For the flusher. A worker has the partitions whose index falls to it.
impl Capacity {
    pub(crate) fn workers(&self) -> usize {
        self.backlogs.len()
    }

    /// Takes what was collected off the backlog of a worker.
    pub(crate) fn take_off(&self, worker: usize, n: usize) {
        self.backlog_of(worker).take_off(n);
    }

    /// Whether a batch is full, given how many items of the worker wait. Up to a quarter less is
    /// enough if the reports say that the rest is on its way.
    pub(crate) fn is_full(&self, worker: usize, waiting: usize) -> bool {
        let full = self.max_batch_size;
        waiting >= full || (waiting >= full - self.slack(0) && self.is_reported_full(worker, 0))
    }

    /// By how much the backlog overstates the `waiting` items: some reported credits are unused,
    /// because their lanes no longer push. Returns how many full batches to wait for instead, as a
    /// logarithm; 0 if a quarter of `2^batches_log2` batches covers the difference.
    pub(crate) fn overstatement(
        &self,
        worker: usize,
        waiting: usize,
        batches_log2: usize,
    ) -> usize {
        let reported = self.backlogs[worker].now().max(0) as usize;
        let unused = reported.saturating_sub(waiting);
        if unused <= self.slack(batches_log2) {
            return 0;
        }
        let batches = unused.div_ceil(self.max_batch_size) + 1;
        batches.next_power_of_two().ilog2() as usize
    }

    /// How many items `2^batches_log2` full batches have.
    pub(crate) fn items_in(&self, batches_log2: usize) -> usize {
        items_in(self.max_batch_size, batches_log2) as usize
    }

    /// How many of the items in `2^batches_log2` full batches may be missing when the reports say
    /// that those are full: a quarter.
    fn slack(&self, batches_log2: usize) -> usize {
        self.items_in(batches_log2) / 4
    }

    /// Whether the reports say that `2^batches_log2` batches are full.
    pub(crate) fn is_reported_full(&self, worker: usize, batches_log2: usize) -> bool {
        self.backlogs[worker].now() >= items_in(self.max_batch_size, batches_log2)
    }

    /// Asks to be woken when `2^batches_log2` batches are full, or `2^overstatement` if that is
    /// more. Returns whether the reports say already that they are.
    pub(crate) fn arm(&self, worker: usize, batches_log2: usize, overstatement: usize) -> bool {
        self.backlogs[worker].arm(self.max_batch_size, batches_log2, overstatement)
    }

    pub(crate) fn disarm(&self, worker: usize) {
        self.backlogs[worker].disarm();
    }

    /// Whether somebody was refused, or waits for room.
    // Acquire: pairs with the Release of `request_room`.
    pub(crate) fn is_room_requested(&self) -> bool {
        self.room_requested
            .load(order("room: request read", Acquire))
            || self.credits.has_waiters()
    }

    /// Clears the request for room: there is room, or nothing to send.
    pub(crate) fn clear_room_request(&self) {
        // Relaxed: the load that follows acquires. A read-modify-write, as `request_room` says:
        // with a plain store both sides could miss the other.
        self.room_requested.swap(false, Relaxed);
    }

    /// How many items wait for a worker by the reports, unused credits of lanes included.
    #[cfg(test)]
    pub(crate) fn backlog(&self, worker: usize) -> isize {
        self.backlogs[worker].now()
    }
}

impl fmt::Debug for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capacity")
            .field("workers", &self.backlogs.len())
            .finish_non_exhaustive()
    }
}
