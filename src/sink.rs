//! The target of batches: the trait that the user implements, and the error by which it fails.

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
/// Implement [`send`](Self::send) as an `async fn`. The operator `?` turns every error into a
/// [`SinkError`] that asks for a retry. A closure is a sink too: see
/// [`Builder::spawn_fn`](crate::Builder::spawn_fn) and [`sink_fn`]. To hide the type of a sink,
/// wrap it in a [`BoxSink`].
///
/// Attempts run in tasks of their own on the runtime of the queue: one task each, or several in a
/// row while the sink takes batches without waiting.
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
    note = "implement `Sink<{T}>`, or pass a closure to `spawn_fn` or `spawn_blocking_fn`",
    note = "wrap a sink whose type is not known in a `BoxSink`, not in a `Box<dyn ..>`"
)]
pub trait Sink<T: Send + 'static>: Send + Sync + 'static {
    /// Delivers a batch. `Ok` means that all of it is delivered.
    ///
    /// An error, a panic, and the end of [`attempt_timeout`](crate::Builder::attempt_timeout) are
    /// failed attempts. The retry policy then decides whether there is another one. An attempt that
    /// failed may have had an effect: where writing twice is wrong, recognise the batch by
    /// [`Batch::id`].
    ///
    /// # Errors
    /// Any error that kept the batch from being delivered.
    ///
    /// # Cancel safety
    /// The future is dropped at the timeout, and at the deadline of a shutdown. The items come back
    /// with the batch that it drops.
    fn send(&self, batch: Batch<T>) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Takes everything that is left at a shutdown, in one batch of any size and in order. It is
    /// for a sink that can put items somewhere faster, or more safely, than `send` does.
    /// [`Handled`] has an example.
    ///
    /// With [`Handled::Yes`] the items count as delivered. With [`Handled::No`], which is the
    /// default, and after a panic, they go through `send` until the deadline of the shutdown, in
    /// the batches and with the attempt numbers that they had.
    ///
    /// `rest` has an id of its own and attempt number 1, although some of its items may have been
    /// tried as part of another batch. The call does not count in
    /// [`Stats::attempts`](crate::Stats::attempts).
    ///
    /// # Cancel safety
    /// The future is dropped at the deadline of the shutdown, not at `attempt_timeout`. The items
    /// are then returned to the caller of the shutdown, although the call may have had an effect.
    fn drain(&self, rest: Batch<T>) -> impl Future<Output = Handled> + Send {
        drop(rest);
        std::future::ready(Handled::No)
    }
}

/// The answer of an optional method of a sink: whether it did the job.
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
    /// The method did the job.
    Yes,
    /// The method did nothing, and the library goes on as if there were none.
    No,
}

/// Why an attempt failed, and whether another one makes sense.
///
/// Every error turns into a `SinkError` by `?` or `into()`, and then asks for a retry. That is
/// possible because `SinkError` is not itself an [`Error`].
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

    /// Says that no attempt at this batch can succeed. The batch is given up at once.
    ///
    /// ```
    /// assert!(swaplane::SinkError::reject("no such table").is_reject());
    /// ```
    pub fn reject(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(error, Advice::Reject)
    }

    /// Asks for a retry after `delay`, in place of the delay of the policy. Nothing but
    /// `retry_now` and a shutdown ends that pause early. The limits of the policy stay. A closure
    /// as policy decides by itself.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let busy = swaplane::SinkError::retry_after("busy", Duration::from_secs(2));
    /// assert!(!busy.is_reject());
    /// ```
    pub fn retry_after(error: impl Into<Box<dyn Error + Send + Sync>>, delay: Duration) -> Self {
        Self::new(error, Advice::RetryAfter(delay))
    }

    /// The error that this one was made from.
    ///
    /// ```
    /// let error: swaplane::SinkError = std::io::Error::other("disk full").into();
    /// assert!(error.source_error().is::<std::io::Error>());
    /// ```
    #[must_use]
    pub fn source_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.source
    }

    /// Whether this error says that no attempt can succeed.
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
