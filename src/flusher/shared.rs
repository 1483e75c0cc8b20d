//! What the handles and the flusher share, and what outlives it.

use std::fmt;
use std::time::Duration;

use super::collect::Collector;
use super::deliver::Worker;
use super::request::Requests;
use super::{BUSY_PAUSE, GRACE};
use crate::batch::Home;
use crate::config::Config;
use crate::partition::Partitions;
use crate::stats::{Counters, Stats};
use crate::sync::{Arc, broken};

/// What the handles and the flusher share.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    pub(crate) partitions: Arc<Partitions<T>>,
    pub(crate) counters: Counters,
    pub(crate) requests: Requests<Core<T>>,
    pub(crate) config: Config,
}

impl<T> Shared<T> {
    /// Refuses items from now on; whether this call was the first.
    pub(crate) fn close(&self) -> bool {
        if broken("close: noted before it is raised") {
            self.requests.close();
        }
        let first = self.partitions.close();
        self.requests.close();
        self.partitions.bell.notify_one();
        first
    }

    /// Closes, and asks for a shutdown within `deadline`.
    pub(crate) fn shutdown(&self, deadline: Duration) {
        self.partitions.close();
        self.requests.shutdown(deadline);
        self.partitions.bell.notify_one();
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.snapshot(|| self.partitions.accepted())
    }
}

/// All that holds items, and outlives the task.
pub(crate) struct Core<T> {
    pub(super) collector: Collector<T>,
    pub(super) workers: Vec<Worker<T>>,
    /// What a shutdown is to return.
    pub(super) leftovers: Vec<T>,
}

impl<T: Send + 'static> Core<T> {
    pub(crate) fn new(partitions: &Arc<Partitions<T>>) -> Self {
        let home = || Home::new(partitions.bell.clone());
        Self {
            collector: Collector::new(partitions.clone()),
            workers: (0..partitions.workers())
                .map(|_| Worker::new(home()))
                .collect(),
            leftovers: Vec::new(),
        }
    }

    /// Takes what the flusher left behind when its runtime was dropped, if it was: what lies in
    /// the lanes, and what came home from the sink. Nobody else will do it, so this waits for
    /// pushes in progress and for attempts that are just being dropped, but not for long.
    pub(crate) fn recover(&mut self, counters: &Counters, patience: Duration) -> Vec<T> {
        let begun = std::time::Instant::now();
        let patience = patience.min(2 * GRACE);
        while (self.collector.is_busy() || self.workers.iter().any(Worker::is_out))
            && begun.elapsed() < patience
        {
            std::thread::sleep(BUSY_PAUSE);
        }
        for worker in 0..self.workers.len() {
            let before = self.leftovers.len();
            let lost = self.workers[worker].salvage(&mut self.leftovers, |_, _, _| {});
            self.collector.collect_all(worker, &mut self.leftovers);
            counters.returned.add(self.leftovers.len() - before);
            counters.lost.add(lost);
        }
        std::mem::take(&mut self.leftovers)
    }
}

impl<T> fmt::Debug for Core<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}
