//! What the handles and the flusher share, and what outlives it.

use std::fmt;
use std::time::Duration;

use super::deliver::Worker;
use super::request::Requests;
use super::{BUSY_PAUSE, GRACE};
use crate::batch::{Lease, drop_items};
use crate::settings::Settings;
use crate::source::{Admission, BatchFiller, Collect, Source};
use crate::stats::{Counters, Stats};
use crate::sync::{Arc, broken};

/// What the handles and the flusher share.
pub(crate) struct Shared<S, R> {
    pub(crate) source: Arc<S>,
    pub(crate) counters: Counters,
    pub(crate) requests: Requests<R>,
    pub(crate) settings: Settings,
}

impl<S: Admission, R> Shared<S, R> {
    /// Refuses items from now on; whether this call was the first.
    pub(crate) fn close(&self) -> bool {
        if broken("close: requested before the store is closed") {
            self.requests.close();
        }
        let first = self.source.close();
        self.requests.close();
        self.source.capacity().wake();
        first
    }

    /// Closes, and asks for a shutdown within `deadline`.
    pub(crate) fn shutdown(&self, deadline: Duration) {
        self.source.close();
        self.requests.shutdown(deadline);
        self.source.capacity().wake();
    }

    /// Ends the pauses after failures, also those that the sink asked for.
    pub(crate) fn retry_now(&self) {
        self.requests.retry_now();
        self.source.capacity().wake();
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.snapshot(|| self.source.intake())
    }
}

/// All that holds items, and outlives the task.
pub(crate) struct Core<I, C> {
    pub(super) collector: C,
    pub(super) workers: Vec<Worker<I>>,
    /// What a shutdown is to return.
    pub(super) leftovers: Vec<I>,
}

/// What the flusher of a source leaves behind.
pub(crate) type CoreOf<B> = Core<<B as Source>::Item, <B as Source>::Collector>;

/// What the handles of a source and its flusher share.
pub(crate) type SharedOf<B> = Shared<B, CoreOf<B>>;

impl<I: Send + 'static, C: Collect<Item = I>> Core<I, C> {
    pub(crate) fn new<B>(source: &Arc<B>) -> Self
    where
        B: Source<Item = I, Collector = C>,
    {
        let capacity = source.capacity();
        // All workers together keep room for what the queue can hold.
        let room = capacity.credits.total() / capacity.workers();
        let lease = || Lease::new(room, capacity.wakeup.clone());
        Self {
            collector: B::collector(source),
            workers: (0..capacity.workers())
                .map(|_| Worker::new(lease()))
                .collect(),
            leftovers: Vec::new(),
        }
    }

    /// About how many items that have not been collected wait for a worker.
    pub(super) fn waiting(&mut self, worker: usize) -> usize {
        self.collector.available(worker) + self.collector.held_back(worker)
    }

    /// Takes what the flusher left behind when its runtime was dropped, if it was: what lies in
    /// the source, and what came back from the sink. Nobody else will do it, so this waits for
    /// attempts that are just being dropped, within `patience`, and for pushes in progress,
    /// whatever that is. But not for long: a push that a thread was stopped in the middle of is for
    /// the next shutdown to find.
    pub(crate) fn recover(
        &mut self,
        name: &str,
        counters: &Counters,
        patience: Duration,
    ) -> Vec<I> {
        let begun = std::time::Instant::now();
        let waits = |limit| {
            let waits = begun.elapsed() < limit;
            if waits {
                std::thread::sleep(BUSY_PAUSE);
            }
            waits
        };
        for worker in &mut self.workers {
            worker.cut_short(counters);
        }
        while self.collector.is_busy() && waits(GRACE) {}
        while self.workers.iter().any(Worker::is_out) && waits(patience.min(2 * GRACE)) {}
        for worker in 0..self.workers.len() {
            if let Some(done) = self.workers[worker].succeeded(counters) {
                counters.delivered.add(done.items);
                counters.batches.add(done.batches);
            }
            let before = self.leftovers.len();
            let lost = self.workers[worker].salvage(&mut self.leftovers, |_, _, _| {});
            let leftovers = std::mem::take(&mut self.leftovers);
            let mut leftovers = BatchFiller::new(usize::MAX, leftovers);
            self.collector.collect_all(worker, &mut leftovers);
            self.leftovers = leftovers.into_one();
            counters.returned.add(self.leftovers.len() - before);
            counters.lost.add(lost);
            if lost > 0 {
                tracing::error!(
                    queue = name,
                    items = lost,
                    "the sink kept a batch when its runtime went: it is lost"
                );
            }
        }
        self.collector.settle_all();
        std::mem::take(&mut self.leftovers)
    }
}

impl<I, C> Drop for Core<I, C> {
    /// Items whose `Drop` panics take no others with them.
    fn drop(&mut self) {
        drop_items(&mut self.leftovers);
    }
}

impl<I, C> fmt::Debug for Core<I, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}
