//! Delivering: one worker, and the batch that it is about.
//!
//! ```text
//!  outbox ─► Sending ──Ok───────────────────────────────► delivered
//!              ▲  └─error, panic, timeout─► Homing ─────► lost, or back to the outbox
//!              │                              │ the attempt has ended, its batch is home, and
//!              └────────── Waiting ◄──────────┘ there is to be another
//! ```
//!
//! A worker has at most one unfinished batch, so nothing of a later one overtakes it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle, unconstrained};
use tokio::time::Instant;

use crate::batch::{Batch, Content, Home, Reason, Ticket, drop_items};
use crate::contain::{Foreign, contain};
use crate::retry::Retry;
use crate::sink::{Hook, Sink, SinkError};
use crate::stats::Counters;
use crate::sync::{Arc, StdArc};

/// Items that make one batch.
pub(crate) struct Cut<T> {
    pub(crate) id: u64,
    pub(crate) items: Vec<T>,
    pub(crate) reason: Reason,
    /// Attempts made.
    pub(crate) attempts: u32,
    /// When the first of them began.
    pub(crate) begun: Option<Instant>,
}

impl<T> Cut<T> {
    /// The same batch with other items.
    pub(crate) fn with_items<U>(self, items: Vec<U>) -> Cut<U> {
        Cut {
            id: self.id,
            items,
            reason: self.reason,
            attempts: self.attempts,
            begun: self.begun,
        }
    }
}

pub(crate) struct Worker<T> {
    home: Arc<Home<T>>,
    /// Batches in the order in which they are to be delivered.
    pub(crate) outbox: VecDeque<Cut<T>>,
    delivery: Option<Delivery<T>>,
    /// When the attempt times out, or the next one begins.
    until: Option<Instant>,
}

/// The unfinished batch.
struct Delivery<T> {
    id: u64,
    size: usize,
    reason: Reason,
    errand: Errand,
    attempts: u32,
    begun: Instant,
    state: State<T>,
}

// It changes in place: were we to panic, whatever has items must be where `salvage` finds it.
enum State<T> {
    Sending(Task),
    /// The attempt has failed, but the batch may still be in somebody's hands; or the attempt
    /// may turn out to have succeeded after all, at the last moment.
    Homing {
        task: Option<Task>,
        taken: bool,
        error: Failure,
    },
    Waiting(Vec<T>),
}

type Failure = Foreign<SinkError>;
type Task = JoinHandle<Result<(), SinkError>>;

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
    Delivered,
    Lost,
    /// The batch is back at the front of the outbox.
    Rejoined,
}

/// What an attempt is to do with its batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Errand {
    Send,
    Drain,
}

impl<T: Send + 'static> Worker<T> {
    pub(crate) fn new(home: Arc<Home<T>>) -> Self {
        Self {
            home,
            outbox: VecDeque::new(),
            delivery: None,
            until: None,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.delivery.is_none()
    }

    /// Whether it has nothing to do at all.
    pub(crate) fn is_done(&self) -> bool {
        self.is_idle() && self.outbox.is_empty()
    }

    /// The id of the first batch that is not terminal.
    pub(crate) fn first_id(&self) -> Option<u64> {
        let delivery = self.delivery.as_ref().map(|delivery| delivery.id);
        delivery.or_else(|| self.outbox.front().map(|cut| cut.id))
    }

    /// Memory for the next batch.
    pub(crate) fn take_spare(&self) -> Vec<T> {
        self.home.take_spare()
    }

    /// Frees the memory that it has no use for now.
    pub(crate) fn shrink(&mut self) {
        drop(self.take_spare());
        self.outbox.shrink_to(4);
    }

    /// Begins to deliver the first batch of the outbox.
    pub(crate) fn send_next<S: Sink<T>>(&mut self, courier: &Courier<S>, counters: &Counters) {
        if let Some(cut) = self.outbox.pop_front() {
            let until = Instant::now() + courier.attempt_timeout;
            self.attempt(cut, Errand::Send, until, courier, counters);
        }
    }

    /// Offers a batch of all that is left to the sink's `drain`.
    pub(crate) fn drain<S: Sink<T>>(
        &mut self,
        rest: Cut<T>,
        until: Instant,
        courier: &Courier<S>,
        counters: &Counters,
    ) {
        self.attempt(rest, Errand::Drain, until, courier, counters);
    }

    fn attempt<S: Sink<T>>(
        &mut self,
        cut: Cut<T>,
        errand: Errand,
        until: Instant,
        courier: &Courier<S>,
        counters: &Counters,
    ) {
        let attempts = cut.attempts.saturating_add(1);
        let ticket = Ticket {
            id: cut.id,
            attempt: attempts,
        };
        let size = cut.items.len();
        let batch = Home::lend(&self.home, cut.items, ticket, cut.reason);
        let attempt = run(
            courier.sink.clone(),
            batch,
            errand,
            self.home.clone(),
            ticket,
        );
        if errand == Errand::Send {
            counters.attempts.add(1);
        }
        self.until = Some(until);
        self.delivery = Some(Delivery {
            id: cut.id,
            size,
            reason: cut.reason,
            errand,
            attempts,
            begun: cut.begun.unwrap_or_else(Instant::now),
            state: State::Sending(courier.runtime.spawn(attempt)),
        });
    }

    /// When to poll it at the latest.
    pub(crate) fn until(&self) -> Option<Instant> {
        match self.delivery.as_ref()?.state {
            State::Sending(_) | State::Waiting(_) => self.until,
            // Its task wakes us as it ends, and the batch rings when it comes home.
            State::Homing { .. } => None,
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
            let Some(delivery) = &mut self.delivery else {
                return Poll::Pending;
            };
            let until = self.until;
            let is_time = || until.is_some_and(|until| until <= Instant::now());
            let (id, size) = (delivery.id, delivery.size);
            match &mut delivery.state {
                State::Sending(task) => match Pin::new(task).poll(context) {
                    Poll::Ready(Ok(Ok(()))) => {
                        self.delivery = None;
                        return Poll::Ready(Some((id, size, Outcome::Delivered)));
                    }
                    Poll::Ready(outcome) => {
                        delivery.state = State::Homing {
                            task: None,
                            taken: false,
                            error: failure(outcome),
                        };
                    }
                    Poll::Pending if is_time() => delivery.state.abort("the attempt timed out"),
                    Poll::Pending => return Poll::Pending,
                },
                State::Homing { task, taken, error } => {
                    if let Some(running) = task {
                        match Pin::new(running).poll(context) {
                            Poll::Ready(Ok(Ok(()))) => {
                                self.delivery = None;
                                return Poll::Ready(Some((id, size, Outcome::Delivered)));
                            }
                            Poll::Ready(outcome) => {
                                *task = None;
                                // What it says is of no interest any more.
                                drop(failure(outcome));
                            }
                            // Though the batch may be home by now: attempts never overlap.
                            Poll::Pending => return Poll::Pending,
                        }
                    }
                    match self.home.collect() {
                        Content::Back(items) => {
                            let homing =
                                std::mem::replace(&mut delivery.state, State::Waiting(items));
                            let State::Homing { error, .. } = homing else {
                                unreachable!("matched above");
                            };
                            let outcome = self.failed(&error, courier);
                            return Poll::Ready(outcome.map(|outcome| (id, size, outcome)));
                        }
                        Content::Taken => *taken = true,
                        Content::Out => {}
                    }
                    if *taken && task.is_none() {
                        give_up(courier, id, size, delivery.attempts, error);
                        self.delivery = None;
                        return Poll::Ready(Some((id, size, Outcome::Lost)));
                    }
                    // Somebody has the batch; it rings when it comes home.
                    return Poll::Pending;
                }
                State::Waiting(_) if !is_time() => return Poll::Pending,
                State::Waiting(_) => {
                    self.rejoin_waiting();
                    self.send_next(courier, counters);
                    return Poll::Ready(None);
                }
            }
        }
    }

    /// Decides what becomes of the batch, which is home after a failed attempt. `None`: it waits.
    fn failed<S>(&mut self, error: &Failure, courier: &Courier<S>) -> Option<Outcome> {
        let delivery = self.delivery.as_ref()?;
        let (id, attempts) = (delivery.id, delivery.attempts);
        if courier.failed == Failed::Returns || delivery.errand == Errand::Drain {
            tracing::debug!(queue = courier.name, batch = id, attempts, %error, "attempt failed");
            self.rejoin_waiting();
            return Some(Outcome::Rejoined);
        }
        let elapsed = delivery.begun.elapsed();
        let next = || courier.retry.next(attempts, elapsed, error, fastrand::f64);
        let Some(delay) = contain("the retry policy", next).flatten() else {
            give_up(courier, id, delivery.size, attempts, error);
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
        None
    }

    /// Puts a batch that waits for its next attempt back to the front of the outbox.
    pub(crate) fn rejoin_waiting(&mut self) {
        match self.delivery.take() {
            Some(Delivery {
                id,
                reason,
                attempts,
                begun,
                state: State::Waiting(items),
                ..
            }) => self.outbox.push_front(Cut {
                id,
                items,
                reason,
                attempts,
                begun: Some(begun),
            }),
            other => self.delivery = other,
        }
    }

    /// Ends the attempt that is under way. Its batch comes home unless somebody holds on to it.
    pub(crate) fn abort(&mut self) {
        if let Some(delivery) = &mut self.delivery {
            delivery
                .state
                .abort("the deadline of the shutdown has passed");
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
                State::Sending(_) | State::Homing { .. } => match self.home.collect() {
                    Content::Back(back) => Some(back),
                    Content::Out | Content::Taken => None,
                },
            };
            match back {
                Some(back) => {
                    each(delivery.id, back.len(), 0);
                    items.extend(back);
                }
                None => {
                    self.home.give_up();
                    lost = delivery.size;
                    each(delivery.id, 0, lost);
                }
            }
        }
        for cut in self.outbox.drain(..) {
            each(cut.id, cut.items.len(), 0);
            items.extend(cut.items);
        }
        lost
    }

    /// Forgets its batch if the attempt has succeeded unnoticed; how many items it had. For when
    /// no flusher polls any more.
    pub(crate) fn succeeded(&mut self) -> Option<usize> {
        let delivery = self.delivery.as_mut()?;
        let (State::Sending(task)
        | State::Homing {
            task: Some(task), ..
        }) = &mut delivery.state
        else {
            return None;
        };
        // Unconstrained: the caller may be a task that has used its budget up.
        let outcome = pin!(unconstrained(task)).poll(&mut Context::from_waker(Waker::noop()));
        match outcome {
            Poll::Pending => None,
            Poll::Ready(Ok(Ok(()))) => self.delivery.take().map(|delivery| delivery.size),
            Poll::Ready(outcome) => {
                delivery.state = State::Homing {
                    task: None,
                    taken: false,
                    error: failure(outcome),
                };
                None
            }
        }
    }

    /// Whether an attempt that was aborted has not ended yet.
    pub(crate) fn is_ending(&self) -> bool {
        let state = self.delivery.as_ref().map(|delivery| &delivery.state);
        matches!(state, Some(State::Homing { task: Some(_), .. }))
    }

    /// Whether an attempt is under way, or its batch is in somebody's hands.
    pub(crate) fn is_out(&self) -> bool {
        match self.delivery.as_ref().map(|delivery| &delivery.state) {
            None | Some(State::Waiting(_)) => false,
            Some(
                State::Sending(task)
                | State::Homing {
                    task: Some(task), ..
                },
            ) => !task.is_finished() || self.home.is_out(),
            Some(State::Homing { task: None, .. }) => self.home.is_out(),
        }
    }
}

impl<T> State<T> {
    /// Ends the attempt that is under way, if one is.
    fn abort(&mut self, why: &str) {
        *self = match std::mem::replace(self, Self::Waiting(Vec::new())) {
            Self::Sending(task) => {
                task.abort();
                Self::Homing {
                    task: Some(task),
                    taken: false,
                    error: Foreign::new(why.into()),
                }
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

/// One attempt, as the task that it runs in.
async fn run<T: Send + 'static, S: Sink<T>>(
    sink: StdArc<S>,
    batch: Batch<T>,
    errand: Errand,
    home: Arc<Home<T>>,
    ticket: Ticket,
) -> Result<(), SinkError> {
    match errand {
        Errand::Send => sink.send(batch).await?,
        Errand::Drain => match sink.drain(batch).await {
            Hook::Handled => {}
            Hook::Declined => return Err("the sink declined to drain".into()),
        },
    }
    home.settle(ticket);
    Ok(())
}

fn failure(outcome: Result<Result<(), SinkError>, JoinError>) -> Failure {
    Foreign::new(match outcome {
        Ok(Ok(())) => unreachable!("a success is no failure"),
        Ok(Err(error)) => error,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => {
                let panic = Foreign::new(panic);
                let text = panic.downcast_ref::<&str>().copied();
                let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
                format!("the sink panicked: {}", text.unwrap_or("(no message)")).into()
            }
            Err(cancelled) => cancelled.into(),
        },
    })
}

fn give_up<S>(courier: &Courier<S>, id: u64, size: usize, attempts: u32, error: &Failure) {
    tracing::error!(
        queue = courier.name, batch = id, items = size, attempts, %error,
        "gave a batch up: its items are lost"
    );
}
