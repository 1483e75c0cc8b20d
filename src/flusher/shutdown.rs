//! The end: draining what is left, and the deadline.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tokio::time::{Instant, sleep, sleep_until};

use super::deliver::{Cut, Failed, Worker};
use super::{BUSY_PAUSE, Flusher, GRACE, Stage};
use crate::batch::Reason;
use crate::sink::Sink;
use crate::source::{Collect, Source};

/// Where a shutdown is with the sink's `drain`.
pub(super) enum Drain {
    NotYet,
    /// Under way, with what the batch was put together from: worker, cut, number of items. The
    /// batch itself is the first worker's.
    Running(Vec<(usize, Cut<()>, usize)>),
    Over,
}

impl Drain {
    /// The parts of a batch with their worker, id and size: itself, but for the one that is
    /// drained.
    pub(super) fn parts(
        &self,
        worker: usize,
        id: u64,
        size: usize,
    ) -> impl Iterator<Item = (usize, u64, usize)> {
        let (parts, itself) = match self {
            Self::Running(parts) => (parts.as_slice(), None),
            _ => (&[][..], Some((worker, id, size))),
        };
        let parts = parts.iter().map(|(of, cut, size)| (*of, cut.id, *size));
        parts.chain(itself)
    }

    /// The id of the first batch of a worker that is not terminal.
    pub(super) fn first_id<T: Send + 'static>(
        &self,
        workers: &[Worker<T>],
        worker: usize,
    ) -> Option<u64> {
        match self {
            Self::Running(parts) => {
                let mut parts = parts.iter();
                let first = parts.find(|(of, ..)| *of == worker);
                first.map(|(_, cut, _)| cut.id)
            }
            _ => workers[worker].first_id(),
        }
    }
}

impl<B: Source, S: Sink<B::Item>> Flusher<B, S> {
    /// Once no attempt is in flight and everything is collected, offers all that is left to the
    /// sink's `drain`.
    pub(super) fn try_drain(&mut self) {
        let stage = self.stage;
        let core = self.core.as_mut().expect("left behind only on drop");
        if stage < Stage::Collected || !core.workers.iter().all(Worker::is_idle) {
            return;
        }
        let mut items = Vec::new();
        let mut parts = Vec::new();
        for (index, worker) in core.workers.iter_mut().enumerate() {
            for mut cut in worker.outbox.drain(..) {
                let size = cut.items.len();
                items.append(&mut cut.items);
                parts.push((index, cut.with_items(Vec::new()), size));
            }
        }
        if items.is_empty() {
            self.over();
            return;
        }
        let rest = Cut {
            // Of its own: a sink that knows the id of an attempt must not take this for it.
            id: self.next_id,
            items,
            reason: Reason::Close,
            attempts: 0,
            begun: None,
        };
        self.next_id += 1;
        let until = self.deadline.expect("a shutdown is under way");
        core.workers[0].drain(rest, until, &self.courier);
        self.drain = Drain::Running(parts);
    }

    /// The sink has drained what was left, or is not going to.
    pub(super) fn over(&mut self) {
        self.courier.failed = Failed::Waits;
        let Drain::Running(parts) = std::mem::replace(&mut self.drain, Drain::Over) else {
            return;
        };
        let core = self.core();
        let Some(rest) = core.workers[0].outbox.pop_front() else {
            return;
        };
        // Declined: everything goes back to where it was.
        let mut items = rest.items.into_iter();
        for (worker, cut, size) in parts {
            let items = items.by_ref().take(size).collect();
            core.workers[worker].outbox.push_back(cut.with_items(items));
        }
    }

    /// The deadline has passed: takes everything that is not in somebody's hands.
    pub(super) async fn expire(&mut self) {
        self.core()
            .workers
            .iter_mut()
            .for_each(Worker::rejoin_waiting);
        let core = self.core.as_mut().expect("left behind only on drop");
        for worker in &mut core.workers {
            let why = "the deadline of the shutdown has passed";
            worker.abort(why, &self.shared.counters);
        }
        // A push that had begun may still be accepted, and its item is to be in the report.
        let until = Instant::now() + GRACE;
        while self.core().collector.is_busy() && Instant::now() < until {
            sleep(BUSY_PAUSE).await;
        }
        let until = Instant::now() + GRACE;
        let mut pause = pin!(sleep_until(until));
        let wakeup = self.capacity().wakeup.clone();
        loop {
            let mut rung = pin!(wakeup.notified());
            let late = poll_fn(|context| {
                // Again each time, for where a drain ends: whatever fails now is not tried again.
                self.courier.failed = Failed::Returns;
                let news = self.poll_workers(context);
                if !self.core().workers.iter().any(Worker::is_ending) {
                    return Poll::Ready(true);
                }
                let late = pause.as_mut().poll(context).is_ready();
                if late || news || rung.as_mut().poll(context).is_ready() {
                    return Poll::Ready(late);
                }
                Poll::Pending
            })
            .await;
            if late {
                break;
            }
        }
        let asked = self.shared.requests.hear_flushes();
        self.begin_flushes(asked);
        for worker in self.workers() {
            self.cut_all(worker, Reason::Close);
            let (flushes, drain) = (&mut self.flushes, &self.drain);
            let core = self.core.as_mut().expect("left behind only on drop");
            let before = core.leftovers.len();
            let lost = core.workers[worker].salvage(&mut core.leftovers, |id, returned, lost| {
                for (worker, id, size) in drain.parts(worker, id, returned + lost) {
                    for flush in flushes.iter_mut() {
                        flush.note(worker, id, size.min(returned), size.min(lost));
                    }
                }
            });
            let returned = core.leftovers.len() - before;
            self.shared.counters.returned.add(returned);
            self.shared.counters.lost.add(lost);
            if lost > 0 {
                tracing::error!(
                    queue = self.courier.name,
                    items = lost,
                    "the sink kept a batch beyond the deadline of the shutdown: it is lost"
                );
            }
        }
        self.core().collector.settle_all();
        self.answer();
    }
}
