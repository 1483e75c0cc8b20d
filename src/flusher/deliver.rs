//! Delivering: one worker, and the batch that it is about.
//!
//! ```text
//!  outbox ─► Sending ──Ok───────────────────────────────► delivered
//!              ▲  └─error, panic, timeout─► AwaitingReturn ─────► lost, or back to the outbox
//!              │                              │ the attempt has ended, its batch is back, and
//!              └────────── Waiting ◄──────────┘ there is to be another
//! ```
//!
//! A worker has at most one unfinished batch, so nothing of a later one overtakes it.
//!
//! A task for each batch would cost more than a quick sink does. So where the sink takes its
//! batches at once a task (`attempt`) delivers a **run**: batch after batch, each lent when the
//! one before is delivered (see `Lease`). The flusher follows by `catch_up`. As soon as the sink
//! waits for something, or fails, what has not begun is taken back to the outbox; also at `LATE`,
//! for a sink that blocks, where the run ends by itself if the flusher cannot come. A run is
//! planned to last `QUICK`.

mod attempt;
mod cut;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::unconstrained;
use tokio::time::Instant;

use self::attempt::{Errand, Failure, LATE, Task, Waited, failure, run};
use self::cut::Leg;
pub(crate) use self::cut::{Cut, Done};
use crate::batch::{Content, Lease, drop_items};
use crate::panic::{UserValue, catch};
use crate::retry::Retry;
use crate::sink::{Advice, Sink};
use crate::stats::Counters;
use crate::sync::{Arc, StdArc};

/// How long a run is planned to last, going by the last one.
const QUICK: Duration = Duration::from_micros(200);
/// Batches of a run at most.
const LONGEST_RUN: usize = 16;

pub(crate) struct Worker<T> {
    lease: Arc<Lease<T>>,
    /// Batches in the order in which they are to be delivered.
    pub(crate) outbox: VecDeque<Cut<T>>,
    delivery: Option<Delivery<T>>,
    /// What was delivered and not reported yet.
    done: Done,
    /// When the attempt times out, or the next one begins.
    until: Option<Instant>,
    /// Who set `until`, while the batch waits for its next attempt.
    pause: Pause,
    /// How many batches the next run may have.
    pace: usize,
}

/// Who says how long a batch waits for its next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pause {
    OfPolicy,
    /// The sink has named the time, and is not to be disturbed before.
    OfSink,
}

/// The unfinished batch, and the run that it belongs to.
struct Delivery<T> {
    leg: Leg,
    /// What follows in the run.
    next: VecDeque<Leg>,
    errand: Errand,
    /// When the run began.
    since: Instant,
    state: State<T>,
}

// It changes in place: were we to panic, whatever has items must be where `salvage` finds it.
enum State<T> {
    Sending(Task),
    /// The attempt has failed, but the batch may still be in somebody's hands; or the attempt
    /// may turn out to have succeeded after all, at the last moment.
    AwaitingReturn {
        task: Option<Task>,
        taken: bool,
        error: Failure,
    },
    Waiting(Vec<T>),
}

/// What a worker needs to know of the rest.
pub(crate) struct Courier<S> {
    pub(crate) name: String,
    pub(crate) sink: StdArc<S>,
    pub(crate) runtime: Handle,
    pub(crate) attempt_timeout: Duration,
    pub(crate) retry: Retry,
    pub(crate) failed: Failed,
}

/// What becomes of a batch whose attempt has failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The retry policy says: it waits for another attempt, or is lost.
    Waits,
    /// A shutdown is under way: if there is to be another attempt, it rejoins the rest.
    Rejoins,
    /// The deadline has passed: it rejoins the rest in any case, to be returned.
    Returns,
}

/// A terminal outcome, or the lack of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// So many batches of a run, this one the first.
    Delivered {
        batches: usize,
        /// One of them had failed before.
        after_failure: bool,
    },
    Lost,
    /// The batch is back at the front of the outbox.
    Rejoined,
}

impl<T: Send + 'static> Worker<T> {
    pub(crate) fn new(lease: Arc<Lease<T>>) -> Self {
        Self {
            lease,
            outbox: VecDeque::new(),
            delivery: None,
            done: Done::default(),
            until: None,
            pause: Pause::OfPolicy,
            pace: 1,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.delivery.is_none()
    }

    /// Whether it has nothing to do at all.
    pub(crate) fn is_done(&self) -> bool {
        self.is_idle() && self.outbox.is_empty()
    }

    /// The id of the first batch that is not terminal. What was delivered is when it is reported.
    pub(crate) fn first_id(&self) -> Option<u64> {
        let done = Some(self.done.first).filter(|_| self.done.batches > 0);
        let delivery = || self.delivery.as_ref().map(|delivery| delivery.leg.id);
        let waiting = || self.outbox.front().map(|cut| cut.id);
        done.or_else(delivery).or_else(waiting)
    }

    /// Memory for the next batch.
    pub(crate) fn take_spare(&self) -> Vec<T> {
        self.lease.take_spare()
    }

    /// Frees the memory that it has no use for now.
    pub(crate) fn shrink(&mut self) {
        self.lease.trim();
        self.outbox.shrink_to(4);
    }

    /// Whether another batch could go out with the next run.
    pub(crate) fn has_room(&self) -> bool {
        self.outbox.len() < self.pace
    }

    /// Begins to deliver what is first in the outbox.
    pub(crate) fn send_next<S: Sink<T>>(&mut self, courier: &Courier<S>, counters: &Counters) {
        if let Some(cut) = self.outbox.pop_front() {
            let now = Instant::now();
            self.until = Some(now + courier.attempt_timeout);
            counters.attempts.add(1);
            self.attempt(cut, Errand::Send, now, courier);
        }
    }

    /// Offers a batch of all that is left to the sink's `drain`.
    pub(crate) fn drain<S: Sink<T>>(&mut self, rest: Cut<T>, until: Instant, courier: &Courier<S>) {
        self.until = Some(until);
        self.pace = 1;
        self.attempt(rest, Errand::Drain, Instant::now(), courier);
    }

    fn attempt<S: Sink<T>>(
        &mut self,
        cut: Cut<T>,
        errand: Errand,
        now: Instant,
        courier: &Courier<S>,
    ) {
        let mut leg = cut.leg();
        leg.begun.get_or_insert(now);
        let more = self.outbox.len().min(self.pace - 1);
        let next = self.outbox.iter().take(more).map(Cut::leg).collect();
        let following = self.outbox.drain(..more).map(Cut::into_batch);
        let batch = Lease::lend(&self.lease, cut.into_batch(), following);
        let run = run(courier.sink.clone(), batch, errand, self.lease.clone(), now);
        self.delivery = Some(Delivery {
            leg,
            next,
            errand,
            since: now,
            state: State::Sending(courier.runtime.spawn(run)),
        });
    }

    fn is_in_run(&self) -> bool {
        let delivery = self.delivery.as_ref();
        delivery.is_some_and(|delivery| !delivery.next.is_empty())
    }

    /// Learns how far a run has come.
    fn catch_up(&mut self, counters: &Counters) {
        if self.is_in_run() {
            let (followed, paused) = self.lease.followed();
            self.follow(followed, counters);
            if paused {
                self.cut_short(counters);
            }
        }
    }

    /// Learns how far a run has come, and takes back what of it has not begun. The next one is to
    /// be short.
    pub(crate) fn cut_short(&mut self, counters: &Counters) {
        if self.is_in_run() {
            self.take_back(counters);
            self.pace = 1;
        }
    }

    fn take_back(&mut self, counters: &Counters) {
        let (followed, rest) = self.lease.revoke();
        self.follow(followed, counters);
        for batch in rest.into_iter().rev() {
            let next = self.delivery.as_mut().and_then(|it| it.next.pop_back());
            let leg = next.expect("each batch of a run has one");
            self.outbox.push_front(leg.into_cut(batch.unpack()));
        }
    }

    fn follow(&mut self, followed: usize, counters: &Counters) {
        let Some(delivery) = self.delivery.as_mut().filter(|_| followed > 0) else {
            return;
        };
        for _ in 0..followed {
            let next = delivery.next.pop_front();
            let next = next.expect("each batch of a run has one");
            self.done.add(&std::mem::replace(&mut delivery.leg, next));
        }
        counters.attempts.add(followed);
        delivery.leg.begun.get_or_insert_with(Instant::now);
        self.until = None;
    }

    /// The task has delivered what it had, or as much of it as it had the time for.
    fn finish(&mut self, waited: Waited, counters: &Counters) {
        if self.is_in_run() {
            self.take_back(counters);
        }
        if let Some(delivery) = self.delivery.take() {
            self.done.add(&delivery.leg);
            let took = delivery.since.elapsed();
            if waited.0 {
                self.pace = 1;
            } else if took * 2 <= QUICK {
                self.pace = LONGEST_RUN.min(self.pace * 2);
            } else if took > QUICK {
                self.pace = 1.max(self.pace / 2);
            }
        }
    }

    /// When to poll it at the latest.
    pub(crate) fn until(&self) -> Option<Instant> {
        let delivery = self.delivery.as_ref()?;
        match delivery.state {
            State::Sending(_) if self.is_in_run() => {
                let late = delivery.since + LATE;
                Some(self.until.map_or(late, |until| until.min(late)))
            }
            State::Sending(_) | State::Waiting(_) => self.until,
            // Its task wakes us as it ends, and the batch rings when it comes back.
            State::AwaitingReturn { .. } => None,
        }
    }

    /// Goes on with the unfinished batch. Ready when there is news: with its id and size if
    /// it is unfinished no longer, without if only `until` has changed.
    pub(crate) fn poll<S: Sink<T>>(
        &mut self,
        context: &mut Context<'_>,
        courier: &Courier<S>,
        counters: &Counters,
    ) -> Poll<Option<(u64, usize, Outcome)>> {
        loop {
            self.catch_up(counters);
            if let Some(Done {
                first,
                batches,
                items,
                after_failure,
            }) = self.done.take()
            {
                let outcome = Outcome::Delivered {
                    batches,
                    after_failure,
                };
                return Poll::Ready(Some((first, items, outcome)));
            }
            let is_in_run = self.is_in_run();
            let Some(delivery) = &mut self.delivery else {
                return Poll::Pending;
            };
            let (id, size) = (delivery.leg.id, delivery.leg.size);
            match &mut delivery.state {
                State::Sending(task) => match Pin::new(task).poll(context) {
                    Poll::Ready(Ok(Ok(waited))) => self.finish(waited, counters),
                    Poll::Ready(outcome) => {
                        delivery.state = State::homing(None, failure(outcome));
                        self.cut_short(counters);
                        self.pace = 1;
                    }
                    Poll::Pending => {
                        let now = Instant::now();
                        let timeout = || now + courier.attempt_timeout;
                        let until = *self.until.get_or_insert_with(timeout);
                        if is_in_run && until.min(delivery.since + LATE) <= now {
                            // Another batch may be out by now, which has its own time.
                            self.cut_short(counters);
                        } else if until <= now {
                            self.abort("the attempt timed out", counters);
                        } else {
                            return Poll::Pending;
                        }
                    }
                },
                State::AwaitingReturn { task, taken, error } => {
                    if let Some(running) = task {
                        match Pin::new(running).poll(context) {
                            Poll::Ready(Ok(Ok(waited))) => {
                                self.finish(waited, counters);
                                continue;
                            }
                            Poll::Ready(outcome) => {
                                *task = None;
                                // What it says is of no interest any more.
                                drop(failure(outcome));
                            }
                            // Though the batch may be back by now: attempts never overlap.
                            Poll::Pending => return Poll::Pending,
                        }
                    }
                    match self.lease.collect() {
                        Content::Back(items) => {
                            let homing =
                                std::mem::replace(&mut delivery.state, State::Waiting(items));
                            let State::AwaitingReturn { error, .. } = homing else {
                                unreachable!("matched above");
                            };
                            let outcome = self.failed(&error, courier);
                            return Poll::Ready(outcome.map(|outcome| (id, size, outcome)));
                        }
                        Content::Taken => *taken = true,
                        Content::Out => {}
                    }
                    if *taken && task.is_none() {
                        give_up(courier, id, size, delivery.leg.attempts, error);
                        self.delivery = None;
                        return Poll::Ready(Some((id, size, Outcome::Lost)));
                    }
                    // Somebody has the batch; it rings when it comes back.
                    return Poll::Pending;
                }
                State::Waiting(_) => {
                    if self.until.is_some_and(|until| until > Instant::now()) {
                        return Poll::Pending;
                    }
                    self.rejoin_waiting();
                    self.send_next(courier, counters);
                    return Poll::Ready(None);
                }
            }
        }
    }

    /// Decides what becomes of the batch, which is back after a failed attempt. `None`: it waits.
    fn failed<S>(&mut self, error: &Failure, courier: &Courier<S>) -> Option<Outcome> {
        let delivery = self.delivery.as_ref()?;
        let Leg { id, attempts, .. } = delivery.leg;
        if courier.failed == Failed::Returns || delivery.errand == Errand::Drain {
            tracing::debug!(queue = courier.name, batch = id, attempts, %error, "attempt failed");
            self.rejoin_waiting();
            return Some(Outcome::Rejoined);
        }
        let elapsed = delivery.leg.begun.map_or(Duration::ZERO, |it| it.elapsed());
        let next = || courier.retry.next(attempts, elapsed, error, fastrand::f64);
        let Some(delay) = catch("the retry policy", next).flatten() else {
            give_up(courier, id, delivery.leg.size, attempts, error);
            if let Some(State::Waiting(mut items)) = self.delivery.take().map(|it| it.state) {
                drop_items(&mut items);
            }
            return Some(Outcome::Lost);
        };
        tracing::debug!(
            queue = courier.name, batch = id, attempts, %error, ?delay, "attempt failed"
        );
        if courier.failed == Failed::Rejoins {
            self.rejoin_waiting();
            return Some(Outcome::Rejoined);
        }
        self.until = Some(Instant::now() + delay);
        self.pause = match error.advice() {
            Advice::RetryAfter(_) => Pause::OfSink,
            Advice::Retry | Advice::Reject => Pause::OfPolicy,
        };
        None
    }

    /// Lets a batch that waits for its next attempt wait no longer, if its pause is no more than
    /// `longest`.
    pub(crate) fn end_pause(&mut self, longest: Pause) {
        let state = self.delivery.as_ref().map(|delivery| &delivery.state);
        if matches!(state, Some(State::Waiting(_))) && self.pause <= longest {
            self.until = None;
        }
    }

    /// Puts a batch that waits for its next attempt back to the front of the outbox.
    pub(crate) fn rejoin_waiting(&mut self) {
        match self.delivery.take() {
            Some(Delivery {
                leg,
                state: State::Waiting(items),
                ..
            }) => self.outbox.push_front(Cut {
                attempts: leg.attempts,
                ..leg.into_cut(items)
            }),
            other => self.delivery = other,
        }
    }

    /// Ends the attempt that is under way. Its batch comes back unless somebody holds on to it.
    pub(crate) fn abort(&mut self, why: &str, counters: &Counters) {
        self.cut_short(counters);
        if let Some(delivery) = &mut self.delivery {
            delivery.state.abort(why);
        }
    }

    /// Takes everything that this worker has, in order; how many items somebody keeps. Tells
    /// `each` of every batch: its id, how many items it got back, and how many not.
    pub(crate) fn salvage(
        &mut self,
        items: &mut Vec<T>,
        mut each: impl FnMut(u64, usize, usize),
    ) -> usize {
        let mut lost = 0;
        if let Some(delivery) = self.delivery.take() {
            let back = match delivery.state {
                State::Waiting(waiting) => Some(waiting),
                State::Sending(_) | State::AwaitingReturn { .. } => match self.lease.collect() {
                    Content::Back(back) => Some(back),
                    Content::Out | Content::Taken => None,
                },
            };
            match back {
                Some(back) => {
                    each(delivery.leg.id, back.len(), 0);
                    items.extend(back);
                }
                None => {
                    self.lease.give_up();
                    lost = delivery.leg.size;
                    each(delivery.leg.id, 0, lost);
                }
            }
        }
        for cut in self.outbox.drain(..) {
            each(cut.id, cut.items.len(), 0);
            items.extend(cut.items);
        }
        lost
    }

    /// What was delivered unnoticed. Forgets its batch if that was. For when no flusher polls any
    /// more.
    pub(crate) fn succeeded(&mut self, counters: &Counters) -> Option<Done> {
        self.cut_short(counters);
        if let Some(Delivery {
            state:
                State::Sending(task)
                | State::AwaitingReturn {
                    task: Some(task), ..
                },
            ..
        }) = &mut self.delivery
        {
            // Unconstrained: the caller may be a task that has used its budget up.
            let outcome = pin!(unconstrained(task)).poll(&mut Context::from_waker(Waker::noop()));
            match outcome {
                Poll::Pending => {}
                Poll::Ready(Ok(Ok(waited))) => self.finish(waited, counters),
                Poll::Ready(outcome) => {
                    if let Some(delivery) = &mut self.delivery {
                        delivery.state = State::homing(None, failure(outcome));
                    }
                }
            }
        }
        self.done.take()
    }

    /// Whether an attempt that was aborted has not ended yet.
    pub(crate) fn is_ending(&self) -> bool {
        let state = self.delivery.as_ref().map(|delivery| &delivery.state);
        matches!(state, Some(State::AwaitingReturn { task: Some(_), .. }))
    }

    /// Whether an attempt is under way, or its batch is in somebody's hands.
    pub(crate) fn is_out(&self) -> bool {
        match self.delivery.as_ref().map(|delivery| &delivery.state) {
            None | Some(State::Waiting(_)) => false,
            Some(
                State::Sending(task)
                | State::AwaitingReturn {
                    task: Some(task), ..
                },
            ) => !task.is_finished() || self.lease.is_out(),
            Some(State::AwaitingReturn { task: None, .. }) => self.lease.is_out(),
        }
    }
}

impl<T> State<T> {
    /// The attempt has failed; its task, if it is not known to have ended.
    fn homing(task: Option<Task>, error: Failure) -> Self {
        Self::AwaitingReturn {
            task,
            taken: false,
            error,
        }
    }

    /// Ends the attempt that is under way, if one is.
    fn abort(&mut self, why: &str) {
        *self = match std::mem::replace(self, Self::Waiting(Vec::new())) {
            Self::Sending(task) => {
                task.abort();
                Self::homing(Some(task), UserValue::new(why.into()))
            }
            other => other,
        };
    }
}

impl<T> Drop for Worker<T> {
    /// Items whose `Drop` panics take no others with them.
    fn drop(&mut self) {
        for cut in &mut self.outbox {
            drop_items(&mut cut.items);
        }
        if let Some(Delivery {
            state: State::Waiting(items),
            ..
        }) = &mut self.delivery
        {
            drop_items(items);
        }
    }
}

fn give_up<S>(courier: &Courier<S>, id: u64, size: usize, attempts: u32, error: &Failure) {
    tracing::error!(
        queue = courier.name, batch = id, items = size, attempts, %error,
        "gave a batch up: its items are lost"
    );
}
