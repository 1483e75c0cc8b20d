//! Setting up: one builder for both faces, with what both share here, and what each has besides
//! below.

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

/// The settings of a [`Queue`] or a [`Map`](crate::Map) to be. Made by [`Queue::builder`] or
/// [`Map::builder`](crate::Map::builder); ends with one of the `spawn`s, which refuses values out of range, all at once.
/// No duration may be longer than 365 days.
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
pub struct Builder<B: Buffer> {
    settings: Settings,
    runtime: Runtime,
    own: B::Settings,
}

/// What a [`Builder`] builds: a [`Queue`] or a [`Map`](crate::Map). Nobody else can implement it.
///
/// ```
/// fn named<B: swaplane::Buffer>(builder: swaplane::Builder<B>) -> swaplane::Builder<B> {
///     builder.name("mine").capacity(10_000)
/// }
/// let builder = named(swaplane::Queue::<u8>::builder());
/// ```
pub trait Buffer: sealed::Sealed {
    /// The settings that only it has.
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

    /// The name in logs, and of a thread of its own; `swaplane` by default. Without a NUL.
    ///
    /// ```
    /// let builder = swaplane::Queue::<u8>::builder().name("clicks");
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// How many partitions there are, 1 to 4096. By default the number of CPUs, or
    /// `max_in_flight` if that is larger. Keyed pushes of one partition share a lock.
    ///
    /// ```
    /// let builder = swaplane::Queue::<u8>::builder().partitions(8);
    /// ```
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.settings.partitions = Some(partitions);
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
        self.settings.capacity = capacity;
        self
    }

    /// How many items a batch has at most: from 1 to three quarters of the capacity, rounded up.
    /// By default 500, or that bound if it is less. With `None` a batch is everything that waits.
    ///
    /// A full batch leaves at once; where full batches follow one another faster than one in a
    /// millisecond, within two milliseconds, since each wake of the flusher delays a push. After
    /// such times lanes may hold credits, by which pushes are silent: then within ten milliseconds.
    ///
    /// ```
    /// let builder = swaplane::Queue::<u8>::builder().max_batch_size(None);
    /// ```
    pub fn max_batch_size(mut self, items: impl Into<Option<usize>>) -> Self {
        self.settings.max_batch_size = match items.into() {
            Some(items) => BatchLimit::Items(items),
            None => BatchLimit::Unlimited,
        };
        self
    }

    /// How long the first item of a batch waits for more; 50 ms by default. With zero the sink
    /// gets whatever is there the moment it is free: no added latency when there is little to
    /// do, and batches that grow with the load. Its price is paid by pushes, each of which has to
    /// wake the flusher if it sleeps; and where items come every few microseconds it does not
    /// sleep, but keeps a core busy.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let builder = swaplane::Queue::<u8>::builder().max_delay(Duration::from_millis(5));
    /// let adaptive = swaplane::Queue::<u8>::builder().max_delay(Duration::ZERO);
    /// ```
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.settings.max_delay = delay;
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
        self.settings.max_in_flight = batches;
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
        self.settings.attempt_timeout = timeout;
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
        self.runtime = Runtime::OwnThread;
        self
    }

    /// Checks the settings and starts the flusher of a source. `wrong` is what is wrong with those
    /// of the face.
    fn start<S, K>(
        self,
        sink: K,
        mut wrong: Vec<Violation>,
        source: impl FnOnce(Shape, B::Settings) -> S,
    ) -> Result<Arc<SharedOf<S>>, BuildError>
    where
        S: Source,
        K: Sink<S::Item>,
    {
        let mut violations = self.settings.violations();
        violations.append(&mut wrong);
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
