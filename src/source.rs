//! What the flusher asks of the face that it serves. A queue answers with lanes (`partition`), a
//! map with maps (`map`); batches, delivery, capacity and lifecycle are the same for both.

use crate::capacity::Capacity;
use crate::stats::Intake;
use crate::sync::Arc;

/// What every handle asks of a store. Implemented for all types of items, so that no handle needs a
/// bound.
pub(crate) trait Admission {
    fn capacity(&self) -> &Capacity;

    /// Refuses items from now on; whether this call was the first. Pushes that have begun may
    /// still be accepted.
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

    /// The one reader.
    // Not a method: loom's `Arc` cannot be the type of `self`.
    fn collector(of: &Arc<Self>) -> Self::Collector;
}

/// Where everything is collected: lists of at most `max` items, all but the last one full.
#[derive(Debug)]
pub(crate) struct BatchFiller<T> {
    max: usize,
    full: Vec<Vec<T>>,
    last: Vec<T>,
}

impl<T> BatchFiller<T> {
    /// Begins with a list that has room already, or items.
    pub(crate) fn new(max: usize, first: Vec<T>) -> Self {
        let full = Vec::new();
        Self {
            max,
            full,
            last: first,
        }
    }

    /// The list to go on with, and how many items it has room for.
    pub(crate) fn open(&mut self) -> (&mut Vec<T>, usize) {
        if self.last.len() == self.max {
            self.full.push(std::mem::take(&mut self.last));
        }
        let room = self.max - self.last.len();
        (&mut self.last, room)
    }

    /// From memory to memory, since an item may be too large for the stack.
    pub(crate) fn append(&mut self, mut items: Vec<T>) {
        loop {
            let (list, room) = self.open();
            let rest = items.split_off(room.min(items.len()));
            list.append(&mut items);
            if rest.is_empty() {
                return;
            }
            items = rest;
        }
    }

    /// The lists; the last one may be empty.
    pub(crate) fn into_lists(self) -> impl Iterator<Item = Vec<T>> {
        self.full.into_iter().chain([self.last])
    }

    /// The only list, where there is no `max`.
    pub(crate) fn into_one(self) -> Vec<T> {
        debug_assert!(self.full.is_empty(), "there are several lists");
        self.last
    }
}

/// The reading end of all that a source holds. Knows no clock, no runtime and no sink, so that
/// models can run it.
pub(crate) trait Collect: Send + 'static {
    type Item: Send + 'static;

    /// About how many items could be collected for a worker; never fewer than are visible.
    fn available(&mut self, worker: usize) -> usize;

    /// How many items wait, besides, for batches of this worker to become terminal.
    fn held_back(&mut self, _worker: usize) -> usize {
        0
    }

    /// Whether something waits that only `collect_all` takes.
    fn has_fallback(&self, _worker: usize) -> bool {
        false
    }

    /// Appends up to `max` items of a worker to `out`; how many.
    fn collect(&mut self, worker: usize, max: usize, out: &mut Vec<Self::Item>) -> usize;

    /// Appends everything that can be collected for a worker now to `out`; once the source is
    /// closed and not busy, everything that there is.
    fn collect_all(&mut self, worker: usize, out: &mut BatchFiller<Self::Item>);

    /// Appends what is taken out of the source and in no batch yet.
    fn collect_staged(&mut self, _worker: usize, _out: &mut BatchFiller<Self::Item>) {}

    /// The first `n` items of those that a worker has collected and that were not terminal are.
    fn settle(&mut self, _worker: usize, _n: usize) {}

    /// Everything that was ever collected is terminal.
    fn settle_all(&mut self) {}

    /// Forgets writers that are gone.
    fn reap(&mut self) {}

    /// Makes sure that whoever pushes from now on rings, or says why we must not sleep. Only
    /// what waits for workers that are `free` keeps us from it.
    fn park(&mut self, free: impl Fn(usize) -> bool) -> Parked;

    /// Lets pushes be silent again: from now on we look by ourselves.
    fn unpark(&mut self);

    /// Whether a push is in progress that may have passed by a flag.
    fn is_busy(&mut self) -> bool {
        false
    }

    /// Frees memory that has been idle since the last sweep.
    fn sweep(&mut self);

    /// Whether a sweep could free nothing.
    fn is_trimmed(&self) -> bool;
}

/// What came of an attempt to park.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parked {
    /// Nothing waits, and whoever pushes will ring.
    Idle,
    /// Something waits.
    Found,
    /// A push is in progress that may not ring. Look again later.
    Busy,
}
