//! A blocking closure as a sink.

use std::fmt;

use super::{Sink, SinkError};
use crate::batch::Batch;
use crate::sync::StdArc;

/// A blocking closure as a sink. Made by [`blocking_sink_fn`].
pub struct BlockingSinkFn<F>(StdArc<F>);

/// Makes a sink of a closure that may block, as a value: to be boxed, wrapped or kept. It runs on
/// the threads that the runtime has for blocking code, one call for each attempt.
///
/// To start a queue with it at once there is
/// [`spawn_blocking_fn`](crate::Builder::spawn_blocking_fn).
///
/// ```
/// use swaplane::{BoxSink, blocking_sink_fn};
///
/// let sink: BoxSink<String> = BoxSink::new(blocking_sink_fn(|rows: &[String]| {
///     std::fs::write("/dev/null", rows.join("\n"))?;
///     Ok(())
/// }));
/// ```
pub fn blocking_sink_fn<T, F>(f: F) -> BlockingSinkFn<F>
where
    T: Send + 'static,
    F: Fn(&[T]) -> Result<(), SinkError> + Send + Sync + 'static,
{
    BlockingSinkFn(StdArc::new(f))
}

impl<T, F> Sink<T> for BlockingSinkFn<F>
where
    T: Send + 'static,
    F: Fn(&[T]) -> Result<(), SinkError> + Send + Sync + 'static,
{
    async fn send(&self, batch: Batch<T>) -> Result<(), SinkError> {
        let f = self.0.clone();
        match tokio::task::spawn_blocking(move || f(&batch)).await {
            Ok(outcome) => outcome,
            Err(error) => match error.try_into_panic() {
                // Goes on as a panic of the attempt, and is counted as one.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(cancelled) => Err(cancelled.into()),
            },
        }
    }
}

impl<F> fmt::Debug for BlockingSinkFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingSinkFn").finish_non_exhaustive()
    }
}
