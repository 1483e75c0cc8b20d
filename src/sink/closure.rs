//! A closure as a sink.

use std::future::Future;

use super::{Sink, SinkError};
use crate::batch::Batch;

/// A closure as a sink; see [`Builder::spawn_fn`](crate::Builder::spawn_fn).
pub(crate) struct FnSink<F>(pub(crate) F);

impl<T, F, Fut> Sink<T> for FnSink<F>
where
    T: Send + 'static,
    F: Fn(Batch<T>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), SinkError>> + Send + 'static,
{
    fn send(&self, batch: Batch<T>) -> impl Future<Output = Result<(), SinkError>> + Send {
        (self.0)(batch)
    }
}
