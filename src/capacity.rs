//! What every push passes, whichever face it comes through: the capacity, and what it tells the
//! flusher about what waits.

mod backlog;
pub(crate) mod credits;

use crate::sync::Ordering::{Acquire, Relaxed, Release};
use std::fmt;

use crossbeam_utils::CachePadded;

pub(crate) use self::backlog::MOST_DOUBLINGS;
use self::backlog::{Load, limit};
use crate::capacity::credits::{Credits, LARGEST_LEASE};
use crate::queue::barrier::Barrier;
use crate::sync::{Arc, AtomicBool, Notify, broken, order};

/// How many partitions and workers there are, and when a batch is full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) partitions: usize,
    pub(crate) workers: usize,
    pub(crate) capacity: usize,
    pub(crate) max_batch_size: usize,
    pub(crate) barrier: Barrier,
}

pub(crate) struct Gate {
    loads: Box<[CachePadded<Load>]>,
    /// Somebody was refused, or waits, since room was last made.
    pressed: AtomicBool,
    max_batch_size: usize,
    pub(crate) credits: Credits,
    /// Wakes the flusher.
    pub(crate) bell: Arc<Notify>,
}

/// The side of the pushes. A `home` is the number of a partition.
impl Gate {
    pub(crate) fn new(shape: Shape) -> Self {
        Self {
            loads: (0..shape.workers)
                .map(|_| CachePadded::new(Load::default()))
                .collect(),
            pressed: AtomicBool::new(false),
            max_batch_size: shape.max_batch_size,
            credits: Credits::new(shape.capacity),
            bell: Arc::new(Notify::new()),
        }
    }

    /// Leases credits for one of `holders` lanes or shards, the more the more its last lease was, but
    /// no more than its part of what may be missing when the flusher is told of as much as it waits
    /// for; and the nearer that is the less. Behind a full batch of which it knows, more: see `blur`.
    /// 0: there is none.
    pub(crate) fn lease(&self, home: usize, holders: usize, last: usize) -> usize {
        let (waiting, pace) = self.load_of(home).look();
        let (waiting, doublings) = (waiting.max(0) as usize, pace.unwrap_or(0));
        let part = self.may_be_missing(doublings) / holders.max(1);
        let fits = match self.full_batches(doublings).saturating_sub(waiting) {
            0 if pace.is_none() => self.may_be_missing(0),
            0 => part,
            missing => part.min(missing / 2),
        };
        let want = (last * 2).min(LARGEST_LEASE).min(fits).max(1);
        self.credits.lease(want, last.saturating_sub(1))
    }

    /// How many items may not be there yet, when a batch, or one doubled so often, is reported as
    /// full.
    fn may_be_missing(&self, doublings: usize) -> usize {
        self.full_batches(doublings) / 4
    }

    /// Takes back what is left of a lease.
    pub(crate) fn end_lease(&self, home: usize, unused: usize, last: usize) {
        self.credits.no_longer_idle(last.saturating_sub(1));
        self.load_of(home).take_off(unused);
        self.credits.give_back(unused);
    }

    /// Reports items, or credits for them; whether the flusher is to be rung for a full batch.
    pub(crate) fn report(&self, home: usize, n: usize) -> bool {
        self.load_of(home).report(n, self.max_batch_size)
    }

    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Waits for a credit; `false` once the pool is closed.
    pub(crate) async fn reserve(&self) -> bool {
        if self.credits.try_reserve() {
            return true;
        }
        let _waiting = self.credits.wait();
        self.press();
        self.credits.reserve().await
    }

    /// Asks the flusher to make room.
    pub(crate) fn press(&self) {
        // Release: pairs with the Acquire of `is_pressed`, by which the flusher sees what there
        // is to flush.
        if !self.pressed.swap(true, order("press", Release)) {
            self.ring();
        }
    }

    fn load_of(&self, home: usize) -> &Load {
        &self.loads[home % self.loads.len()]
    }
}

/// The side of the flusher. Each worker has the partitions whose number falls to it.
impl Gate {
    pub(crate) fn workers(&self) -> usize {
        self.loads.len()
    }

    /// Takes collected items off the load of a worker.
    pub(crate) fn take_off(&self, worker: usize, n: usize) {
        self.load_of(worker).take_off(n);
    }

    /// Whether about a batch waits: as many as `waiting` do, or somewhat less and the reports say so.
    pub(crate) fn is_full(&self, worker: usize, waiting: usize) -> bool {
        let full = self.max_batch_size;
        waiting >= full || (waiting >= full - self.may_be_missing(0) && self.seems_full(worker, 0))
    }

    /// How often a full batch has to be doubled for the reports to tell of it though lanes have
    /// leased, behind full ones, more than may be missing at this `pace`, and no longer push.
    pub(crate) fn blur(&self, worker: usize, waiting: usize, pace: usize) -> usize {
        let reported = self.loads[worker].now().max(0) as usize;
        let unused = reported.saturating_sub(waiting);
        if unused <= self.may_be_missing(pace) {
            return 0;
        }
        let batches = unused.div_ceil(self.max_batch_size) + 1;
        batches.next_power_of_two().ilog2() as usize
    }

    /// How many items a full batch has, or one doubled so often.
    pub(crate) fn full_batches(&self, doublings: usize) -> usize {
        limit(self.max_batch_size, doublings) as usize
    }

    /// Whether the reports say that a batch is full, or one doubled so often.
    pub(crate) fn seems_full(&self, worker: usize, doublings: usize) -> bool {
        self.loads[worker].now() >= limit(self.max_batch_size, doublings)
    }

    /// Wants the worker to be told when a batch is full, or one doubled so often, by its `pace` or for
    /// the `blur`; whether it seems so already.
    pub(crate) fn want(&self, worker: usize, pace: usize, blur: usize) -> bool {
        self.loads[worker].want(self.max_batch_size, pace, blur)
    }

    pub(crate) fn want_not(&self, worker: usize) {
        self.loads[worker].want_not();
    }

    /// Whether somebody was refused or waits.
    pub(crate) fn is_pressed(&self) -> bool {
        self.pressed.load(order("press: read", Acquire)) || self.credits.has_waiters()
    }

    /// There is room again, or nothing to make room of.
    pub(crate) fn relieve(&self) {
        if broken("press: relieved by a plain store") {
            return self.pressed.store(false, Release);
        }
        // A read-modify-write: either it comes before `press`, which then rings, or it carries on
        // what that released, and `is_pressed` sees from here on who waits. With a plain store
        // both could miss the other.
        self.pressed.swap(false, Relaxed);
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("workers", &self.loads.len())
            .finish_non_exhaustive()
    }
}
