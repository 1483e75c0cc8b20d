//! The builder of a queue.

use std::future::Future;

use super::{Buffer, Builder, sealed};
use crate::batch::Batch;
use crate::error::build::BuildError;
use crate::queue::Queue;
use crate::queue::barrier::Barrier;
use crate::queue::store::Store;
use crate::sink::{Sink, SinkError, blocking_sink_fn, sink_fn};

/// The settings that only a queue has.
#[derive(Debug, Default)]
pub struct QueueSettings {
    /// `None`: the best that the machine has. Tests set it.
    barrier: Option<Barrier>,
}

impl<T: Send + 'static> sealed::Sealed for Queue<T> {}

impl<T: Send + 'static> Buffer for Queue<T> {
    type Settings = QueueSettings;
}

impl<T: Send + 'static> Queue<T> {
    /// Begins to build a queue. See [`Builder`].
    pub fn builder() -> Builder<Self> {
        Builder::new(QueueSettings::default())
    }
}

impl<T: Send + 'static> Builder<Queue<T>> {
    /// Starts the queue with a sink.
    ///
    /// # Errors
    /// [`BuildError`] names every setting that cannot be used. Without
    /// [`own_thread`](Builder::own_thread) a runtime with a timer is one of them.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use swaplane::{Batch, Queue, Sink, SinkError};
    ///
    /// struct Print;
    /// impl Sink<u32> for Print {
    ///     async fn send(&self, batch: Batch<u32>) -> Result<(), SinkError> {
    ///         println!("{:?}", &batch[..]);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let queue = Queue::builder().spawn(Print)?;
    /// queue.push(1)?;
    /// queue.flush().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn spawn<S: Sink<T>>(self, sink: S) -> Result<Queue<T>, BuildError> {
        let shared = self.start(sink, Vec::new(), |shape, own: QueueSettings| {
            Store::new(shape, own.barrier.unwrap_or_else(Barrier::new))
        })?;
        Ok(Queue::from_shared(shared))
    }

    /// Starts the queue with an async closure as its sink. The future must own what it uses: clone
    /// handles before `async move`.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::{Arc, Mutex};
    ///
    /// let table = Arc::new(Mutex::new(Vec::new()));
    /// let queue = swaplane::Queue::<String>::builder().spawn_fn({
    ///     let table = table.clone();
    ///     move |batch| {
    ///         let table = table.clone();
    ///         async move {
    ///             table.lock().unwrap().extend_from_slice(&batch);
    ///             Ok(())
    ///         }
    ///     }
    /// })?;
    /// queue.push("a row".to_owned())?;
    /// queue.flush().await?;
    /// assert_eq!(*table.lock().unwrap(), ["a row"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn spawn_fn<F, Fut>(self, f: F) -> Result<Queue<T>, BuildError>
    where
        F: Fn(Batch<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), SinkError>> + Send + 'static,
    {
        self.spawn(sink_fn(f))
    }

    /// Starts the queue with a closure that may block as its sink. The closure runs on the threads
    /// that the runtime has for blocking code.
    ///
    /// A call cannot be cancelled: after a timeout the next attempt waits until the closure
    /// returns. A closure that needs [`Batch::id`] is better off with [`spawn_fn`](Self::spawn_fn)
    /// and `tokio::task::spawn_blocking`.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::io::Write;
    ///
    /// let queue = swaplane::Queue::<String>::builder().spawn_blocking_fn(|rows| {
    ///     std::io::stdout().write_all(rows.join("\n").as_bytes())?;
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn spawn_blocking_fn<F>(self, f: F) -> Result<Queue<T>, BuildError>
    where
        F: Fn(&[T]) -> Result<(), SinkError> + Send + Sync + 'static,
    {
        self.spawn(blocking_sink_fn(f))
    }
}

#[cfg(all(test, not(swaplane_loom)))]
mod tests {
    use std::thread;
    use std::time::Duration;

    use crate::queue::Queue;
    use crate::queue::barrier::Barrier;

    /// Closing against pushing and parking against pushing, many times over, with the barrier
    /// that this machine has and with the one that every machine has.
    #[test]
    fn both_barriers_lose_nothing() {
        for barrier in [Barrier::new(), Barrier::Fence] {
            for _ in 0..if cfg!(miri) { 2 } else { 200 } {
                let mut builder = Queue::<u64>::builder()
                    .own_thread()
                    .max_batch_size(7)
                    .max_delay(Duration::from_micros(50));
                builder.own.barrier = Some(barrier);
                let queue = builder.spawn_fn(|_batch| async { Ok(()) }).unwrap();
                let accepted: u64 = thread::scope(|scope| {
                    let push = |_| {
                        let queue = queue.clone();
                        scope.spawn(move || {
                            let refused = (0..1000).find(|&n| queue.push(n).is_err());
                            refused.unwrap_or(1000)
                        })
                    };
                    let threads: Vec<_> = (0..3).map(push).collect();
                    thread::yield_now();
                    queue.close();
                    let threads = threads.into_iter();
                    threads.map(|thread| thread.join().unwrap()).sum()
                });
                let report = queue.shutdown_blocking(Duration::from_secs(60));
                assert_eq!(
                    (report.accepted, report.delivered),
                    (accepted, accepted),
                    "{barrier:?}"
                );
            }
        }
    }
}
