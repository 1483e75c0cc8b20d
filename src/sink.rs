//! The target: where batches go.

mod blocking;
mod boxed;
mod closure;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::Duration;

pub use self::blocking::{BlockingSinkFn, blocking_sink_fn};
pub use self::boxed::BoxSink;
pub use self::closure::{SinkFn, sink_fn};
use crate::batch::Batch;
use crate::sync::StdArc as Arc;

/// Where batches go: a database, a broker, an endpoint, a file.
///
/// Write `async fn send`; `?` turns every error into a [`SinkError`] that asks for a retry. Attempts
/// run in tasks of their own on the runtime of the queue: one task each, or where batches are taken
/// without waiting for anything several in a row. For a plain closure see
/// [`Builder::spawn_fn`](crate::Builder::spawn_fn).
///
/// ```
/// use swaplane::{Batch, Sink, SinkError};
///
/// struct Lines(std::path::PathBuf);
///
/// impl Sink<String> for Lines {
///     async fn send(&self, batch: Batch<String>) -> Result<(), SinkError> {
///         use std::io::Write;
///         let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&self.0)?;
///         file.write_all(batch.join("\n").as_bytes())?;
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a sink for batches of `{T}`",
    note = "implement `Sink<{T}>`, or pass a closure to `spawn_fn` or `spawn_blocking_fn`"
)]
pub trait Sink<T: Send + 'static>: Send + Sync + 'static {
    /// Delivers a batch. `Ok`: all of it is delivered. `Err`, a panic, and being cancelled after
    /// [`attempt_timeout`](crate::Builder::attempt_timeout) are failed attempts, of which the
    /// retry policy decides.
    ///
    /// # Errors
    /// Whatever kept the batch from being delivered.
    ///
    /// # Cancel safety
    /// The future is dropped at the timeout, and at the deadline of a shutdown. Delivery is at
    /// least once: an attempt that failed or was cancelled may have had an effect, so make it
    /// idempotent (by [`Batch::id`]) where twice is wrong.
    fn send(&self, batch: Batch<T>) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Takes everything that is left when `shutdown` is called, in one batch of any size and in
    /// order: for a sink that can put it somewhere faster, or safer, than `send` would.
    ///
    /// [`Handled::Yes`] counts it as delivered. With [`Handled::No`], the default, and after
    /// a panic, what is left goes through `send` until the deadline of the shutdown, in the
    /// batches and with the attempt numbers that it had. [`Handled`] has an example.
    ///
    /// `rest` has an id of its own and attempt number 1, though some of it may have been tried, as
    /// part of a batch with another id. It does not count in
    /// [`Stats::attempts`](crate::Stats::attempts).
    ///
    /// # Cancel safety
    /// The future is dropped at the deadline of the shutdown, not at `attempt_timeout`. `rest` is
    /// then returned to the caller, though some of it may have been put where it was to go.
    fn drain(&self, rest: Batch<T>) -> impl Future<Output = Handled> + Send {
        drop(rest);
        std::future::ready(Handled::No)
    }
}

/// Whether an optional method of a sink did the job.
///
/// ```
/// use swaplane::{Batch, Handled, Sink, SinkError};
///
/// struct Spool(std::path::PathBuf);
///
/// impl Sink<String> for Spool {
///     async fn send(&self, _: Batch<String>) -> Result<(), SinkError> {
///         Err("the service is down")?
///     }
///
///     async fn drain(&self, rest: Batch<String>) -> Handled {
///         match std::fs::write(&self.0, rest.join("\n")) {
///             Ok(()) => Handled::Yes,
///             Err(_) => Handled::No,
///         }
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Handled {
    /// It did.
    Yes,
    /// It did not: go on as if there were no such method.
    No,
}

/// Why an attempt failed, and whether another one makes sense.
///
/// It is made from any error, by `?` or `into()`, and then asks for a retry. It is not itself
/// an [`Error`], which is what makes that possible.
///
/// ```
/// use std::time::Duration;
/// use swaplane::SinkError;
///
/// fn check(status: u16) -> Result<(), SinkError> {
///     match status {
///         200 => Ok(()),
///         429 => Err(SinkError::retry_after("slow down", Duration::from_secs(1))),
///         400 => Err(SinkError::reject("bad request")),
///         _ => Err("server error")?,
///     }
/// }
/// assert!(check(400).is_err_and(|error| error.is_reject()));
/// ```
pub struct SinkError {
    source: Box<dyn Error + Send + Sync>,
    advice: Advice,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Advice {
    Retry,
    RetryAfter(Duration),
    Reject,
}

impl SinkError {
    fn new(error: impl Into<Box<dyn Error + Send + Sync>>, advice: Advice) -> Self {
        Self {
            source: error.into(),
            advice,
        }
    }

    /// No attempt at this batch can succeed: it is given up at once.
    ///
    /// ```
    /// assert!(swaplane::SinkError::reject("no such table").is_reject());
    /// ```
    pub fn reject(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(error, Advice::Reject)
    }

    /// The next attempt is to wait for `delay` instead of what the policy says. The limits of
    /// the policy stay. A closure as policy decides by itself.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let busy = swaplane::SinkError::retry_after("busy", Duration::from_secs(2));
    /// assert!(!busy.is_reject());
    /// ```
    pub fn retry_after(error: impl Into<Box<dyn Error + Send + Sync>>, delay: Duration) -> Self {
        Self::new(error, Advice::RetryAfter(delay))
    }

    /// The error that it was made from.
    ///
    /// ```
    /// let error: swaplane::SinkError = std::io::Error::other("disk full").into();
    /// assert!(error.source_error().is::<std::io::Error>());
    /// ```
    #[must_use]
    pub fn source_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.source
    }

    /// Whether it says that no attempt can succeed.
    ///
    /// ```
    /// let error: swaplane::SinkError = "connection lost".into();
    /// assert!(!error.is_reject());
    /// ```
    #[must_use]
    pub fn is_reject(&self) -> bool {
        self.advice == Advice::Reject
    }

    pub(crate) fn advice(&self) -> Advice {
        self.advice
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for SinkError {
    fn from(error: E) -> Self {
        Self::new(error, Advice::Retry)
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.source, f)
    }
}

impl fmt::Debug for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkError")
            .field("source", &self.source)
            .field("advice", &self.advice)
            .finish()
    }
}

impl<T: Send + 'static, S: Sink<T>> Sink<T> for Arc<S> {
    fn send(&self, batch: Batch<T>) -> impl Future<Output = Result<(), SinkError>> + Send {
        (**self).send(batch)
    }

    fn drain(&self, rest: Batch<T>) -> impl Future<Output = Handled> + Send {
        (**self).drain(rest)
    }
}
