//! A blocking closure as a sink.

use std::marker::PhantomData;

use super::{Sink, SinkError};
use crate::batch::Batch;
use crate::sync::StdArc as Arc;

/// A blocking closure as a sink; see
/// [`Builder::spawn_blocking_fn`](crate::Builder::spawn_blocking_fn).
pub(crate) struct BlockingFnSink<T, F> {
    f: Arc<F>,
    items: PhantomData<fn(T)>,
}

impl<T, F> BlockingFnSink<T, F> {
    pub(crate) fn new(f: F) -> Self {
        Self {
            f: Arc::new(f),
            items: PhantomData,
        }
    }
}

impl<T, F> Sink<T> for BlockingFnSink<T, F>
where
    T: Send + 'static,
    F: Fn(&[T]) -> Result<(), SinkError> + Send + Sync + 'static,
{
    async fn send(&self, batch: Batch<T>) -> Result<(), SinkError> {
        let f = self.f.clone();
        match tokio::task::spawn_blocking(move || f(&batch)).await {
            Ok(outcome) => outcome,
            Err(error) => match error.try_into_panic() {
                // Counted as a panic of the attempt, which it is.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(cancelled) => Err(cancelled.into()),
            },
        }
    }
}
