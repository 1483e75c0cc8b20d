//! The queue under test, and all that the model knows about it.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use swaplane::{FlushError, Permit, Queue, ReserveError};
use tokio::time::Instant;

use super::STREAMS;
use super::replay::{Ends, replay};
use super::script::{Op, Script};
use crate::common::{
    HOUR, Recorder, assert_adds_up, assert_conserved, item, ms, poll_once, producer_of,
    sequence_of, settle,
};
use crate::{FlushFuture, TICK, World};

type ReserveFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Permit<u64>, ReserveError>> + Send + 'a>>;

/// A flush under way, with the items that had been accepted, and those that had an outcome, when it
/// began.
struct Flush<'a> {
    future: FlushFuture<'a>,
    accepted: HashSet<u64>,
    ended: HashSet<u64>,
}

/// A caller who waits for room, with what had been accepted when the wait began.
struct Waiter<'a> {
    future: ReserveFuture<'a>,
    accepted: HashSet<u64>,
}

pub(crate) struct QueueWorld<'a> {
    script: &'a Script,
    queue: &'a Queue<u64>,
    sink: &'a Recorder,
    accepted: HashMap<u64, Instant>,
    next: [usize; STREAMS],
    flushes: Vec<Flush<'a>>,
    /// When a flush or the close was asked for.
    asked: Vec<Instant>,
    /// What was accepted when the last flush began. It does not wait for the delay.
    flushed: HashSet<u64>,
    waiters: Vec<Waiter<'a>>,
    permits: Vec<Permit<u64>>,
    closed: bool,
    /// Whether all credits were leased by one lane so far.
    alone: bool,
}

impl<'a> QueueWorld<'a> {
    pub(crate) fn new(script: &'a Script, queue: &'a Queue<u64>, sink: &'a Recorder) -> Self {
        Self {
            script,
            queue,
            sink,
            accepted: HashMap::new(),
            next: [0; STREAMS],
            flushes: Vec::new(),
            asked: Vec::new(),
            flushed: HashSet::new(),
            waiters: Vec::new(),
            permits: Vec::new(),
            closed: false,
            alone: true,
        }
    }

    fn ends(&self) -> Ends {
        replay(
            &self.sink.attempts(),
            &self.asked,
            Instant::now(),
            self.script.batch.unwrap_or(usize::MAX),
        )
    }

    /// How much of the capacity is in use.
    fn used(&self) -> usize {
        let ends = self.ends();
        self.accepted.len() - ends.delivered.len() - ends.lost.len() + self.permits.len()
    }

    /// How much has to be in use before a push may be refused.
    fn leased(&self) -> usize {
        self.script.capacity - self.script.capacity / 4
    }

    fn push(&mut self, stream: usize, permit: Option<Permit<u64>>) {
        let used = self.used();
        let id = item(stream, self.next[stream]);
        let with_permit = permit.is_some();
        let result = match (permit, stream) {
            (Some(permit), _) => permit.push(id),
            (None, 0) => self.queue.push(id),
            (None, key) => self.queue.push_keyed(&key, id),
        };
        match result {
            Ok(()) => {
                assert!(!self.closed, "accepted after close");
                assert!(
                    with_permit || used < self.script.capacity,
                    "accepted above the capacity"
                );
                self.accepted.insert(id, Instant::now());
                self.next[stream] += 1;
            }
            Err(refused) => {
                assert_eq!(refused.is_closed(), self.closed);
                let least = if self.alone {
                    self.script.capacity
                } else {
                    self.leased()
                };
                assert!(
                    self.closed || (!with_permit && used >= least),
                    "refused at {used}"
                );
                assert_eq!(refused.into_inner(), id);
            }
        }
    }

    fn start_flush(&mut self) {
        let ends = self.ends();
        self.asked.push(Instant::now());
        let mut flush = Flush {
            future: Box::pin(self.queue.flush()),
            accepted: self.accepted.keys().copied().collect(),
            ended: ends.delivered.union(&ends.lost).copied().collect(),
        };
        self.flushed.clone_from(&flush.accepted);
        // A flush begins with its first poll. `check` polls the flush again if it waits.
        match poll_once(flush.future.as_mut()) {
            Poll::Pending => self.flushes.push(flush),
            Poll::Ready(result) => judge(&flush, result, &ends),
        }
    }

    /// Waiters are served in order, while there is room, and end when the queue is closed.
    fn poll_waiters(&mut self) {
        let mut waits = false;
        let mut granted = Vec::new();
        self.waiters
            .retain_mut(|waiter| match poll_once(waiter.future.as_mut()) {
                Poll::Pending => {
                    waits = true;
                    true
                }
                Poll::Ready(Ok(permit)) => {
                    assert!(!waits, "served before one that came earlier");
                    granted.push(permit);
                    false
                }
                Poll::Ready(Err(error)) => {
                    assert!(error.is_closed() && self.closed);
                    false
                }
            });
        self.permits.append(&mut granted);
        if waits {
            assert!(!self.closed, "waits for a closed queue");
            assert!(self.used() >= self.leased(), "waits although there is room");
        }
    }

    /// While the sink is free, what waits is less than a batch, young, and was not asked for.
    fn check_waiting(&self, free: Option<Instant>, now: Instant) {
        let sent: HashSet<u64> = self
            .sink
            .attempts()
            .into_iter()
            .flat_map(|a| a.items)
            .collect();
        let waiting: Vec<_> = self
            .accepted
            .iter()
            .filter(|(id, _)| !sent.contains(id))
            .collect();
        assert!(
            self.script.batch.is_none_or(|full| waiting.len() < full),
            "a full batch waits"
        );
        for (id, pushed) in waiting {
            assert!(!self.closed, "{id:#x} waits in a closed queue");
            assert!(
                !self.flushed.contains(id),
                "{id:#x} waits in spite of a flush"
            );
            let hurried = self
                .waiters
                .iter()
                .any(|waiter| waiter.accepted.contains(id));
            assert!(!hurried, "{id:#x} waits while somebody waits for its room");
            assert!(
                !self.script.delay.is_zero(),
                "{id:#x} waits without a delay"
            );
            // A push reads no clock, so the flusher may notice it one delay later.
            let since = free.map_or(*pushed, |free| free.max(*pushed));
            assert!(
                now <= since + 2 * self.script.delay + TICK,
                "{id:#x} waits for too long"
            );
        }
    }
}

impl World for QueueWorld<'_> {
    type Op = Op;

    async fn apply(&mut self, op: &Op) {
        match *op {
            Op::Push(n) => (0..n).for_each(|_| self.push(0, None)),
            Op::PushKeyed(key) => {
                self.alone = false;
                self.push(key, None);
            }
            Op::PushWithPermit => {
                if let Some(permit) = self.permits.pop() {
                    self.push(0, Some(permit));
                }
            }
            Op::Sink(step) => self.sink.then([step]),
            Op::Advance(ticks) => self.advance(ticks).await,
            Op::Flush => self.start_flush(),
            Op::DropFlush => drop(self.flushes.pop()),
            Op::Reserve => {
                self.alone = false;
                let mut future: ReserveFuture<'_> = Box::pin(self.queue.reserve());
                match poll_once(future.as_mut()) {
                    Poll::Pending => {
                        let accepted = self.accepted.keys().copied().collect();
                        self.waiters.push(Waiter { future, accepted });
                    }
                    Poll::Ready(Ok(permit)) => {
                        assert!(
                            self.waiters.is_empty(),
                            "served before one that came earlier"
                        );
                        self.permits.push(permit);
                    }
                    Poll::Ready(Err(error)) => assert!(error.is_closed() && self.closed),
                }
            }
            Op::DropWaiter(n) if n < self.waiters.len() => drop(self.waiters.remove(n)),
            Op::DropWaiter(_) => {}
            Op::DropPermit => drop(self.permits.pop()),
            Op::Close => {
                self.asked.push(Instant::now());
                assert_eq!(self.queue.close(), !self.closed);
                self.closed = true;
            }
        }
    }

    async fn check(&mut self) {
        settle().await;
        self.poll_waiters();
        settle().await;
        let (ends, now) = (self.ends(), Instant::now());
        let held = self.accepted.len() - ends.delivered.len() - ends.lost.len();

        let stats = self.queue.stats();
        assert_conserved(&stats);
        assert_eq!(stats.accepted, self.accepted.len() as u64, "accepted");
        assert_eq!(stats.delivered, ends.delivered.len() as u64, "delivered");
        assert_eq!(stats.lost, ends.lost.len() as u64, "lost");
        assert_eq!((stats.held, self.queue.len()), (held as u64, held), "held");
        assert_eq!(stats.returned, 0);
        assert_eq!(
            (stats.batches, stats.attempts),
            (ends.batches, self.sink.count() as u64)
        );
        assert_eq!(self.queue.is_closed(), self.closed);
        assert!(
            held + self.permits.len() <= self.script.capacity,
            "above the capacity"
        );

        if let Some(free) = ends.idle_since {
            self.check_waiting(free, now);
        }
        let ended = |id: &u64| ends.delivered.contains(id) || ends.lost.contains(id);
        self.flushes
            .retain_mut(|flush| match poll_once(flush.future.as_mut()) {
                Poll::Pending => {
                    assert!(
                        !flush.accepted.iter().all(ended),
                        "a flush has nothing to wait for"
                    );
                    true
                }
                Poll::Ready(result) => {
                    judge(flush, result, &ends);
                    false
                }
            });
    }

    async fn end(self) {
        let begin = Instant::now();
        let report = self.queue.shutdown(self.script.deadline).await;
        assert!(
            begin.elapsed() <= self.script.deadline + ms(2),
            "missed its deadline"
        );
        assert_adds_up(&report);
        assert_eq!(report.accepted, self.accepted.len() as u64);
        let delivered = self.sink.delivered();
        let once: HashSet<u64> = delivered.iter().chain(&report.returned).copied().collect();
        assert_eq!(
            once.len(),
            delivered.len() + report.returned.len(),
            "two ends for one item"
        );
        assert!(once.iter().all(|id| self.accepted.contains_key(id)));
        assert_eq!(report.delivered, delivered.len() as u64);
        assert_eq!(report.lost, (self.accepted.len() - once.len()) as u64);
        let mut last = [None; STREAMS];
        for id in delivered.iter().chain(&report.returned) {
            let before = last[producer_of(*id)].replace(sequence_of(*id));
            assert!(
                before < Some(sequence_of(*id)),
                "{id:#x} came behind {before:?}"
            );
        }
        assert_conserved(&self.queue.stats());
        assert!(self.queue.is_empty() && self.queue.is_closed());
        settle().await;
        for mut flush in self.flushes {
            let Poll::Ready(result) = poll_once(flush.future.as_mut()) else {
                panic!("a flush outlives the shutdown");
            };
            assert_eq!(
                result.is_err_and(|error| error.returned + error.held > 0),
                report.returned.iter().any(|id| flush.accepted.contains(id)),
            );
        }
        for mut waiter in self.waiters {
            assert!(matches!(
                poll_once(waiter.future.as_mut()),
                Poll::Ready(Err(_))
            ));
        }
        for permit in self.permits {
            assert!(permit.push(0).unwrap_err().is_closed());
        }
        let again = self.queue.shutdown(HOUR).await;
        assert_adds_up(&again);
        assert_eq!(
            again.returned_to_other_callers,
            report.returned.len() as u64
        );
    }
}

/// A flush reports what was lost since it began. It may report what was lost before, too, and what
/// shared a batch with its items.
fn judge(flush: &Flush<'_>, result: Result<(), FlushError>, ends: &Ends) {
    let lost: HashSet<_> = flush.accepted.intersection(&ends.lost).collect();
    let fresh = lost.iter().filter(|id| !flush.ended.contains(id)).count() as u64;
    let delivered = flush.accepted.intersection(&ends.delivered).count();
    assert_eq!(
        delivered + lost.len(),
        flush.accepted.len(),
        "a flush ended too early"
    );
    match result {
        Ok(()) => assert_eq!(fresh, 0, "a flush did not say what was lost"),
        Err(error) => {
            assert_eq!((error.returned, error.held), (0, 0));
            assert!(
                error.lost >= fresh.max(1) && error.lost <= ends.lost.len() as u64,
                "{error}"
            );
        }
    }
}
