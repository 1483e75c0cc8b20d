//! A closure as a sink.

use std::fmt;
use std::future::Future;

use super::{Sink, SinkError};
use crate::batch::Batch;

/// A closure as a sink. Made by [`sink_fn`].
#[derive(Clone, Copy)]
pub struct SinkFn<F>(F);

/// Makes a sink of an async closure, as a value: to be boxed, wrapped or kept.
///
/// The closure gets each batch, and its future must own what it uses: clone handles before
/// `async move`. To start a queue with it at once there is
/// [`spawn_fn`](crate::Builder::spawn_fn).
///
/// ```
/// use swaplane::{Batch, BoxSink, sink_fn};
///
/// let dry_run = true;
/// let sink: BoxSink<String> = if dry_run {
///     BoxSink::new(sink_fn(|_: Batch<String>| async { Ok(()) }))
/// } else {
///     BoxSink::new(sink_fn(|batch: Batch<String>| async move {
///         println!("{}", batch.join("\n"));
///         Ok(())
///     }))
/// };
/// let queue = swaplane::Queue::builder().own_thread().spawn(sink)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn sink_fn<T, F, Fut>(f: F) -> SinkFn<F>
where
    T: Send + 'static,
    F: Fn(Batch<T>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), SinkError>> + Send + 'static,
{
    SinkFn(f)
}

impl<T, F, Fut> Sink<T> for SinkFn<F>
where
    T: Send + 'static,
    F: Fn(Batch<T>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), SinkError>> + Send + 'static,
{
    fn send(&self, batch: Batch<T>) -> impl Future<Output = Result<(), SinkError>> + Send {
        (self.0)(batch)
    }
}

impl<F> fmt::Debug for SinkFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkFn").finish_non_exhaustive()
    }
}
