//! What a store offers. A batch is made where the flusher collects: see [`Collect::collect`]. A
//! queue answers with lanes (`queue/store`), a map with tables (`map/store`). Batches, delivery,
//! capacity and lifecycle are the same for both.

use crate::capacity::Capacity;
use crate::stats::Intake;
use crate::sync::Arc;

/// What a handle asks of a store. It is implemented for every type of item, so no handle needs a
/// bound.
pub(crate) trait Admission {
    fn capacity(&self) -> &Capacity;

    /// Refuses items from now on. Returns whether this call was the first. A push that has begun
    /// may still be accepted.
    fn close(&self) -> bool;

    fn is_closed(&self) -> bool;

    /// What was ever accepted, and what of it no batch will have.
    fn intake(&self) -> Intake;
}

/// What the flusher asks of a store.
pub(crate) trait Source: Admission + Send + Sync + 'static {
    /// What batches consist of.
    type Item: Send + 'static;
    type Collector: Collect<Item = Self::Item>;

    /// Makes the reading end, of which there is one.
    // Not a method, since loom's `Arc` cannot be the type of `self`.
    fn collector(of: &Arc<Self>) -> Self::Collector;
}

/// Fills batches: lists of at most `max` items, of which all but the last are full.
#[derive(Debug)]
pub(crate) struct BatchFiller<T> {
    max: usize,
    full: Vec<Vec<T>>,
    last: Vec<T>,
}

impl<T> BatchFiller<T> {
    /// Begins with the list `first`, for the sake of its memory or of its items.
    pub(crate) fn new(max: usize, first: Vec<T>) -> Self {
        let full = Vec::new();
        Self {
            max,
            full,
            last: first,
        }
    }

    /// How many items a list has at most.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// The list to append to, and how many items fit into it.
    pub(crate) fn open(&mut self) -> (&mut Vec<T>, usize) {
        if self.last.len() == self.max {
            self.full.push(std::mem::take(&mut self.last));
        }
        let room = self.max - self.last.len();
        (&mut self.last, room)
    }

    /// Appends items, from memory to memory: an item may be too large for the stack. Each item is
    /// moved three times at most.
    pub(crate) fn append(&mut self, mut items: Vec<T>) {
        let (list, room) = self.open();
        let mut rest = items.split_off(room.min(items.len()));
        list.append(&mut items);
        // From the end, since what is split off is moved.
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let last = rest.len().div_ceil(self.max) - 1;
            pieces.push(rest.split_off(last * self.max));
        }
        for piece in pieces.into_iter().rev() {
            self.full.push(std::mem::replace(&mut self.last, piece));
        }
    }

    /// All lists. The last one may be empty.
    pub(crate) fn into_lists(self) -> impl Iterator<Item = Vec<T>> {
        self.full.into_iter().chain([self.last])
    }

    /// The only list, if `max` is no limit.
    pub(crate) fn into_one(self) -> Vec<T> {
        debug_assert!(self.full.is_empty(), "there are several lists");
        self.last
    }
}

/// The reading end of a store. It knows no clock, no runtime and no sink, so models can run it.
pub(crate) trait Collect: Send + 'static {
    type Item: Send + 'static;

    /// How many items could be collected for a worker now. It may count too many, never too few of
    /// those that are visible.
    fn available(&mut self, worker: usize) -> usize;

    /// How many more items wait until batches of this worker have their outcome.
    fn held_back(&mut self, _worker: usize) -> usize {
        0
    }

    /// Whether items wait that only [`collect_all`](Self::collect_all) takes.
    fn has_fallback(&self, _worker: usize) -> bool {
        false
    }

    /// Appends up to `max` items of a worker to `out`. Returns how many.
    fn collect(&mut self, worker: usize, max: usize, out: &mut Vec<Self::Item>) -> usize;

    /// Appends everything that can be collected for a worker now to `out`. Once the store is closed
    /// and not busy, that is everything there is.
    fn collect_all(&mut self, worker: usize, out: &mut BatchFiller<Self::Item>);

    /// Appends what was taken out of the store and is in no batch yet.
    fn collect_staged(&mut self, _worker: usize, _out: &mut BatchFiller<Self::Item>) {}

    /// Notes that `n` more items of a worker have their outcome, in the order of their collection.
    fn settle(&mut self, _worker: usize, _n: usize) {}

    /// Notes that everything that was ever collected has its outcome.
    fn settle_all(&mut self) {}

    /// Forgets writers that have ended and of which everything was collected.
    fn reap(&mut self) {}

    /// Makes sure that every push from now on wakes the flusher, or says why the flusher must not
    /// sleep. Only items of workers that are `free` keep it from sleeping.
    fn park(&mut self, free: impl Fn(usize) -> bool) -> Parked;

    /// Lets pushes be silent again: the flusher looks by itself from now on.
    fn unpark(&mut self);

    /// Whether a push is in progress that may not have seen a flag.
    fn is_busy(&mut self) -> bool {
        false
    }

    /// Frees memory that was not used since the last sweep.
    fn sweep(&mut self);

    /// Whether a sweep would free nothing.
    fn is_trimmed(&self) -> bool;
}

/// What came of an attempt to park.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parked {
    /// Nothing waits, and every push from now on wakes the flusher.
    Idle,
    /// Items wait.
    Found,
    /// A push is in progress that may not wake the flusher. Look again later.
    Busy,
}
