//! The task of an attempt, or of all attempts of a run.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use crate::batch::{Batch, Lease};
use crate::panic::UserValue;
use crate::sink::{Handled, Sink, SinkError};
use crate::sync::{Arc, StdArc};

/// When a run is cut short.
pub(super) const LATE: Duration = Duration::from_millis(1);

pub(super) type Failure = UserValue<SinkError>;
pub(super) type Task = JoinHandle<Result<Waited, SinkError>>;

/// Whether the sink waited for something.
pub(super) struct Waited(pub(super) bool);

/// What an attempt is to do with its batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    Send,
    Drain,
}

/// The attempts of a run, as the task that they run in. Returns whether the sink waited. Where it
/// blocks the only thread there is, nobody else sees that it is late.
pub(super) async fn run<T: Send + 'static, S: Sink<T>>(
    sink: StdArc<S>,
    mut batch: Batch<T>,
    errand: Errand,
    lease: Arc<Lease<T>>,
    since: Instant,
) -> Result<Waited, SinkError> {
    let mut waited = Waited(false);
    loop {
        let ticket = batch.ticket();
        match errand {
            Errand::Send => {
                let mut attempt = pin!(sink.send(batch));
                poll_fn(|context| {
                    let polled = attempt.as_mut().poll(context);
                    if polled.is_pending() && !waited.0 {
                        waited.0 = true;
                        lease.pause();
                    }
                    polled
                })
                .await?;
            }
            Errand::Drain => match sink.drain(batch).await {
                Handled::Yes => {}
                Handled::No => return Err("the sink declined to drain".into()),
            },
        }
        match Lease::settle(&lease, ticket, since.elapsed() < LATE) {
            Some(next) => batch = next,
            None => return Ok(waited),
        }
    }
}

pub(super) fn failure(outcome: Result<Result<Waited, SinkError>, JoinError>) -> Failure {
    UserValue::new(match outcome {
        Ok(Ok(_)) => unreachable!("a success is no failure"),
        Ok(Err(error)) => error,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => {
                let panic = UserValue::new(panic);
                let text = panic.downcast_ref::<&str>().copied();
                let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
                format!("the sink panicked: {}", text.unwrap_or("(no message)")).into()
            }
            Err(cancelled) => cancelled.into(),
        },
    })
}
