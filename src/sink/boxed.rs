//! A sink whose type does not show.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::{Handled, Sink, SinkError};
use crate::batch::Batch;

/// A sink whose type does not show: for a field, or for a choice at run time. Costs an allocation
/// for each call.
///
/// ```
/// use swaplane::{Batch, BoxSink, Sink, SinkError};
///
/// struct Null;
/// impl Sink<u8> for Null {
///     async fn send(&self, _: Batch<u8>) -> Result<(), SinkError> {
///         Ok(())
///     }
/// }
///
/// let sink: BoxSink<u8> = BoxSink::new(Null);
/// ```
pub struct BoxSink<T>(Box<dyn DynSink<T>>);

type Boxed<'a, R> = Pin<Box<dyn Future<Output = R> + Send + 'a>>;

/// [`Sink`] with boxed futures, which a trait object can have.
trait DynSink<T>: Send + Sync {
    fn send(&self, batch: Batch<T>) -> Boxed<'_, Result<(), SinkError>>;
    fn drain(&self, rest: Batch<T>) -> Boxed<'_, Handled>;
}

impl<T: Send + 'static, S: Sink<T>> DynSink<T> for S {
    fn send(&self, batch: Batch<T>) -> Boxed<'_, Result<(), SinkError>> {
        Box::pin(Sink::send(self, batch))
    }

    fn drain(&self, rest: Batch<T>) -> Boxed<'_, Handled> {
        Box::pin(Sink::drain(self, rest))
    }
}

impl<T: Send + 'static> BoxSink<T> {
    /// Hides the type of `sink`.
    pub fn new(sink: impl Sink<T>) -> Self {
        Self(Box::new(sink))
    }
}

impl<T: Send + 'static> Sink<T> for BoxSink<T> {
    fn send(&self, batch: Batch<T>) -> impl Future<Output = Result<(), SinkError>> + Send {
        self.0.send(batch)
    }

    fn drain(&self, rest: Batch<T>) -> impl Future<Output = Handled> + Send {
        self.0.drain(rest)
    }
}

impl<T> fmt::Debug for BoxSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxSink").finish_non_exhaustive()
    }
}
