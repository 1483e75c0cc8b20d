//! Setting up.

use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::barrier::Barrier;
use crate::batch::Batch;
use crate::config::Config;
use crate::error::{BuildError, Violation};
use crate::flusher::request::Requests;
use crate::flusher::{Flusher, Shared};
use crate::partition::{Partitions, Shape};
use crate::queue::Queue;
use crate::retry::Retry;
use crate::sink::{BlockingFnSink, FnSink, Sink, SinkError};
use crate::stats::Counters;
use crate::sync::{Arc, mpsc};

impl<T: Send + 'static> Queue<T> {
    /// Begins to set up a queue.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let queue = swaplane::Queue::<String>::builder()
    ///     .name("lines")
    ///     .max_batch_size(1000)
    ///     .spawn_fn(|_batch| async { Ok(()) })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> Builder<T> {
        Builder::new()
    }
}

/// The settings of a [`Queue`] to be. Made by [`Queue::builder`]; ends with one of the `spawn`s,
/// which refuses values out of range, all at once. No duration may be longer than 365 days.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use swaplane::{Queue, Retry};
///
/// let queue = Queue::<String>::builder()
///     .name("lines")
///     .capacity(10_000)
///     .max_batch_size(1000)
///     .max_delay(Duration::from_millis(20))
///     .attempt_timeout(Duration::from_secs(3))
///     .retry(Retry::exponential().max_elapsed(Duration::from_secs(60)))
///     .spawn_fn(|batch| async move {
///         println!("{}", batch.join("\n"));
///         Ok(())
///     })?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until one of its `spawn`s is called"]
pub struct Builder<T> {
    config: Config,
    home: Runtime,
    barrier: Option<Barrier>,
    items: PhantomData<fn(T)>,
}

/// Where the flusher and the attempts run.
enum Runtime {
    Current,
    Given(Handle),
    OwnThread,
}

impl<T: Send + 'static> Builder<T> {
    pub(crate) fn new() -> Self {
        Self {
            config: Config::default(),
            home: Runtime::Current,
            barrier: None,
            items: PhantomData,
        }
    }

    /// The name in logs; `swaplane` by default.
    ///
    /// ```
    /// let builder = swaplane::Queue::<u8>::builder().name("clicks");
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// How many partitions there are, 1 to 4096. By default the number of CPUs, or
    /// `max_in_flight` if that is larger. Keyed pushes of one partition share a lock.
    ///
    /// ```
    /// let builder = swaplane::Queue::<u8>::builder().partitions(8);
    /// ```
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.config.partitions = Some(partitions);
        self
    }

    /// How many items may be held in all: waiting, in flight and in backoff; 100 000 by default,
    /// 1 to 536 870 911. A hard bound. Up to a quarter of it may lie unused in lanes, so with
    /// several of them [`Full`](crate::PushError::Full) can come that much early.
    ///
    /// ```
    /// let builder = swaplane::Queue::<u8>::builder().capacity(10_000).max_batch_size(7_500);
    /// ```
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.config.capacity = capacity;
        self
    }

    /// How many items a batch has at most; 500 by default. From 1 to three quarters of the
    /// capacity; or `usize::MAX`, with which a batch is everything that waits.
    ///
    /// ```
    /// let builder = swaplane::Queue::<u8>::builder().max_batch_size(usize::MAX);
    /// ```
    pub fn max_batch_size(mut self, items: usize) -> Self {
        self.config.max_batch_size = items;
        self
    }

    /// How long the first item of a batch waits for more; 50 ms by default. With zero the sink
    /// gets whatever is there the moment it is free: no added latency when there is little to
    /// do, and batches that grow with the load.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let builder = swaplane::Queue::<u8>::builder().max_delay(Duration::from_millis(5));
    /// let adaptive = swaplane::Queue::<u8>::builder().max_delay(Duration::ZERO);
    /// ```
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.config.max_delay = delay;
        self
    }

    /// How many batches may be in flight at once: 1 by default, at most one for each partition.
    /// Each partition belongs to one of as many workers, which has one unfinished batch at a time:
    /// so order is kept.
    ///
    /// ```
    /// let builder = swaplane::Queue::<u8>::builder().max_in_flight(4);
    /// ```
    pub fn max_in_flight(mut self, batches: usize) -> Self {
        self.config.max_in_flight = batches;
        self
    }

    /// How long an attempt may take before it is cancelled and counts as failed; 10 s by default.
    /// Longer than zero.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let builder = swaplane::Queue::<u8>::builder().attempt_timeout(Duration::from_secs(2));
    /// ```
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.config.attempt_timeout = timeout;
        self
    }

    /// When a failed attempt is followed by another: a [`Retry`], or a closure
    /// `Fn(u32, &SinkError) -> Option<Duration>`; [`Retry::exponential`] by default.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use swaplane::{Queue, SinkError};
    /// let builder = Queue::<u8>::builder()
    ///     .retry(|attempt: u32, _: &SinkError| (attempt < 3).then_some(Duration::from_secs(1)));
    /// ```
    pub fn retry(mut self, retry: impl Into<Retry>) -> Self {
        self.config.retry = retry.into();
        self
    }

    /// Runs the flusher and the attempts on this runtime rather than the current one.
    ///
    /// ```
    /// let runtime = tokio::runtime::Runtime::new()?;
    /// let queue = swaplane::Queue::<u8>::builder()
    ///     .runtime(runtime.handle().clone())
    ///     .spawn_fn(|_batch| async { Ok(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.home = Runtime::Given(runtime);
        self
    }

    /// Runs the flusher and the attempts on a thread of their own, for programs without a
    /// runtime. A sink that blocks that thread delays timeouts and deadlines too; one made by
    /// [`spawn_blocking_fn`](Self::spawn_blocking_fn) does not.
    ///
    /// ```
    /// let queue = swaplane::Queue::<u8>::builder()
    ///     .own_thread()
    ///     .spawn_fn(|_batch| async { Ok(()) })?;
    /// queue.push(1)?;
    /// queue.flush_blocking()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn own_thread(mut self) -> Self {
        self.home = Runtime::OwnThread;
        self
    }

    /// Starts the queue with a sink.
    ///
    /// # Errors
    /// [`BuildError`] with every setting that cannot be used, and if there is no runtime, or one
    /// without a timer.
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
        let mut violations = self.config.violations();
        let handle = match self.home {
            Runtime::Current => Handle::try_current()
                .map_err(|_| no_runtime())
                .and_then(with_timer)
                .map(Some),
            Runtime::Given(handle) => with_timer(handle).map(Some),
            Runtime::OwnThread => Ok(None),
        };
        let handle = handle.unwrap_or_else(|violation| {
            violations.push(violation);
            None
        });
        if !violations.is_empty() {
            return Err(BuildError::new(violations));
        }
        let partitions = Partitions::new(Shape {
            partitions: self.config.partitions(),
            workers: self.config.max_in_flight,
            capacity: self.config.capacity,
            max_batch_size: self.config.max_batch_size,
            barrier: self.barrier.unwrap_or_else(Barrier::new),
        });
        let shared = Arc::new(Shared {
            partitions: Arc::new(partitions),
            counters: Counters::default(),
            requests: Requests::new(),
            config: self.config,
        });
        match handle {
            Some(handle) => {
                let flusher = Flusher::new(shared.clone(), sink, handle.clone());
                drop(handle.spawn(flusher.run()));
            }
            None => start_thread(shared.clone(), sink)
                .map_err(|error| BuildError::new(vec![no_thread(&error)]))?,
        }
        Ok(Queue::new(shared))
    }

    /// Starts the queue with a closure as its sink.
    ///
    /// The future must own what it uses: clone handles before `async move`.
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
        self.spawn(FnSink(f))
    }

    /// Starts the queue with a closure that may block as its sink: it runs on the blocking
    /// threads of the runtime. It cannot be cancelled: after a timeout the next attempt waits
    /// until it returns. Where it needs [`Batch::id`], use [`spawn_fn`](Self::spawn_fn) and
    /// `tokio::task::spawn_blocking`.
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
        self.spawn(BlockingFnSink::new(f))
    }
}

impl<T> fmt::Debug for Builder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}

fn no_runtime() -> Violation {
    Violation {
        field: "runtime",
        value: "none".to_owned(),
        bound: "a tokio runtime: call spawn inside one, or runtime(handle) or own_thread() before"
            .to_owned(),
    }
}

/// tokio does not tell whether a runtime has a timer, but panics where one is made without.
fn with_timer(handle: Handle) -> Result<Handle, Violation> {
    let probe = || {
        let _inside = handle.enter();
        drop(tokio::time::sleep(Duration::ZERO));
    };
    match catch_unwind(AssertUnwindSafe(probe)) {
        Ok(()) => Ok(handle),
        Err(_) => Err(Violation {
            field: "runtime",
            value: "a runtime without a timer".to_owned(),
            bound: "built with enable_time() or enable_all()".to_owned(),
        }),
    }
}

/// Starts a thread that drives a runtime of its own, made there: a runtime must not be dropped
/// in an async context, which the caller may be in.
fn start_thread<T, S>(shared: Arc<Shared<T>>, sink: S) -> io::Result<()>
where
    T: Send + 'static,
    S: Sink<T>,
{
    let (report, started) = mpsc::sync_channel(1);
    let name = format!("swaplane {}", shared.config.name);
    thread::Builder::new().name(name).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return report.send(Err(error)).unwrap_or_default(),
        };
        let flusher = Flusher::new(shared, sink, runtime.handle().clone());
        report.send(Ok(())).unwrap_or_default();
        runtime.block_on(flusher.run());
        // Not waiting for what a sink may still be blocked in.
        runtime.shutdown_background();
    })?;
    started.recv().map_err(io::Error::other)?
}

fn no_thread(error: &io::Error) -> Violation {
    Violation {
        field: "own_thread",
        value: error.to_string(),
        bound: "a thread that the system lets us start".to_owned(),
    }
}

#[cfg(all(test, not(swaplane_loom)))]
mod tests {
    use super::*;

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
                builder.barrier = Some(barrier);
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
