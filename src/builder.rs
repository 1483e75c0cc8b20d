//! The builder of queues and maps. What both have is here, what each has for itself lies below.

mod map;
mod queue;

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::capacity::Shape;
use crate::error::build::{BuildError, Violation};
use crate::flusher::request::Requests;
use crate::flusher::{Flusher, Shared, SharedOf};
use crate::retry::Retry;
use crate::settings::{BatchLimit, Settings};
use crate::sink::Sink;
use crate::source::Source;
use crate::stats::Counters;
use crate::sync::{Arc, mpsc};

/// Builds a [`Queue`](crate::Queue) or a [`Map`](crate::Map). Made by
/// [`Queue::builder`](crate::Queue::builder) or [`Map::builder`](crate::Map::builder).
///
/// The last call is one of the `spawn`s. It checks all settings, and refuses those out of range,
/// all at once. No duration may be longer than 365 days.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use swaplane::{Queue, Retry};
///
/// let queue = Queue::<String>::builder()
///     .own_thread() // or call `spawn_fn` within a tokio runtime
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
pub struct Builder<B: Buffer> {
    settings: Settings,
    runtime: Runtime,
    own: B::Settings,
}

/// What a [`Builder`] builds: a [`Queue`](crate::Queue) or a [`Map`](crate::Map). Nobody else can
/// implement it.
pub trait Buffer: sealed::Sealed {
    /// The settings that only this kind has.
    #[doc(hidden)]
    type Settings;
}

mod sealed {
    pub trait Sealed {}
}

/// Where the flusher and the attempts run.
enum Runtime {
    Current,
    Given(Handle),
    OwnThread,
}

impl<B: Buffer> Builder<B> {
    fn new(own: B::Settings) -> Self {
        Self {
            settings: Settings::default(),
            runtime: Runtime::Current,
            own,
        }
    }

    /// The name that stands in the log, and on the thread of [`own_thread`](Self::own_thread):
    /// `swaplane` by default. It must not contain a NUL.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// How many partitions there are: from 1 to 4096. By default the number of CPUs, or
    /// [`max_in_flight`](Self::max_in_flight) if that is larger. Keyed pushes of one partition
    /// share a lock.
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.settings.partitions = Some(partitions);
        self
    }

    /// How many items may be held in all, waiting, in flight and in backoff: from 1 to
    /// 536,870,911, and 100,000 by default.
    ///
    /// The bound is hard. Up to a quarter of it may lie unused in lanes, so with several lanes
    /// [`Full`](crate::PushError::Full) can come that much early.
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.settings.capacity = capacity;
        self
    }

    /// How many items a batch has at most: from 1 to three quarters of the capacity, rounded up.
    /// By default 500, or that bound if it is less. With `None` a batch is everything that waits.
    ///
    /// A full batch leaves at once. Under a steady load of more than 1,000 batches a second it may
    /// wait up to 2 ms, and up to 10 ms right after such a load: each wake-up of the flusher delays
    /// a push, so there are fewer of them then.
    ///
    /// ```
    /// let hundreds = swaplane::Queue::<u8>::builder().max_batch_size(100);
    /// let whatever_waits = swaplane::Queue::<u8>::builder().max_batch_size(None);
    /// ```
    pub fn max_batch_size(mut self, items: impl Into<Option<usize>>) -> Self {
        self.settings.max_batch_size = match items.into() {
            Some(items) => BatchLimit::Items(items),
            None => BatchLimit::Unlimited,
        };
        self
    }

    /// How long the first item of a batch waits for more: 50 ms by default.
    ///
    /// With zero the sink gets whatever waits as soon as it is free. That adds no latency under a
    /// low load, and batches grow with the load. Pushes pay for it: a push into a sleeping flusher
    /// has to wake it. If an item comes every few microseconds the flusher does not sleep, and
    /// keeps a core busy.
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.settings.max_delay = delay;
        self
    }

    /// How many batches may be in flight at once: 1 by default, at most one for each partition.
    ///
    /// There are as many workers. Each partition belongs to one worker, and a worker has one
    /// unfinished batch at a time: so order is kept. One producer without keys fills one partition,
    /// and so uses one worker; take several [`Writer`](crate::Writer)s for more.
    pub fn max_in_flight(mut self, batches: usize) -> Self {
        self.settings.max_in_flight = batches;
        self
    }

    /// How long an attempt may take before it is cancelled and counts as failed: longer than zero,
    /// and 10 s by default.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.settings.attempt_timeout = timeout;
        self
    }

    /// When a failed attempt is followed by another: a [`Retry`], which is
    /// [`Retry::exponential`] by default, or a closure
    /// `Fn(u32, &SinkError) -> Option<Duration>`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use swaplane::{Queue, SinkError};
    /// let builder = Queue::<u8>::builder()
    ///     .retry(|attempt: u32, _: &SinkError| (attempt < 3).then_some(Duration::from_secs(1)));
    /// ```
    pub fn retry(mut self, retry: impl Into<Retry>) -> Self {
        self.settings.retry = retry.into();
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
        self.runtime = Runtime::Given(runtime);
        self
    }

    /// Runs the flusher and the attempts on a thread of their own, for programs without a runtime.
    ///
    /// A sink that blocks that thread delays timeouts and deadlines too. A sink made by
    /// [`spawn_blocking_fn`](Self::spawn_blocking_fn) blocks another thread.
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
        self.runtime = Runtime::OwnThread;
        self
    }

    /// Checks the settings and starts the flusher. `violations_of_own` are those of the settings
    /// that only this kind has.
    fn start<S, K>(
        self,
        sink: K,
        mut violations_of_own: Vec<Violation>,
        source: impl FnOnce(Shape, B::Settings) -> S,
    ) -> Result<Arc<SharedOf<S>>, BuildError>
    where
        S: Source,
        K: Sink<S::Item>,
    {
        let mut violations = self.settings.violations();
        violations.append(&mut violations_of_own);
        let handle = match self.runtime {
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
        let shape = Shape {
            partitions: self.settings.partitions(),
            workers: self.settings.max_in_flight,
            capacity: self.settings.capacity,
            max_batch_size: self.settings.max_batch_size(),
        };
        let shared = Arc::new(Shared {
            source: Arc::new(source(shape, self.own)),
            counters: Counters::default(),
            requests: Requests::new(),
            settings: self.settings,
        });
        match handle {
            Some(handle) => {
                let flusher = Flusher::new(shared.clone(), sink, handle.clone());
                drop(handle.spawn(flusher.run()));
            }
            None => start_thread(shared.clone(), sink)
                .map_err(|error| BuildError::new(vec![no_thread(&error)]))?,
        }
        Ok(shared)
    }
}

impl<B: Buffer> fmt::Debug for Builder<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
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

/// Checks that a runtime has a timer. tokio does not tell, but panics where a timer is made
/// without.
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

/// Starts a thread that drives a runtime of its own. The runtime is made there, since the caller
/// may be in async code, where a runtime must not be dropped.
fn start_thread<S, K>(shared: Arc<SharedOf<S>>, sink: K) -> io::Result<()>
where
    S: Source,
    K: Sink<S::Item>,
{
    let (report, started) = mpsc::sync_channel(1);
    let name = format!("swaplane {}", shared.settings.name);
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
        // Does not wait for a call in which a sink may still be blocked.
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
