//! What every handle does alike, for a queue and for a map: it flushes, closes, shuts down and
//! gives the account. [`Handle`] does it; two macros give each public handle the methods, with one
//! documentation.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use crate::error::FlushError;
use crate::flusher::{CoreOf, Shared};
use crate::source::{Admission, Source};
use crate::sync::Arc;

/// Closes its store when the last one is dropped.
pub(crate) struct Handle<S: Admission, R>(Arc<Shared<S, R>>);

impl<S: Admission, R> Handle<S, R> {
    pub(crate) fn new(shared: Arc<Shared<S, R>>) -> Arc<Self> {
        Arc::new(Self(shared))
    }

    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.stats().held).unwrap_or(usize::MAX)
    }

    pub(crate) async fn flush(&self) -> Result<(), FlushError> {
        let (lost, returned) = (self.counters.lost.get(), self.counters.returned.get());
        if let Some(answer) = self.requests.flush() {
            self.source.capacity().wake();
            if let Ok(flushed) = answer.await {
                return flushed;
            }
        }
        // The flusher has ended, and what it has not delivered stays where it is. An item that came
        // to its end since the call may have been pushed after it: nobody is left to tell.
        let stats = self.stats();
        let error = FlushError {
            lost: stats.lost - lost,
            returned: stats.returned - returned,
            held: stats.held,
        };
        match error.undelivered() {
            0 => Ok(()),
            _ => Err(error),
        }
    }
}

impl<B: Source> Handle<B, CoreOf<B>> {
    pub(crate) async fn shutdown(&self, deadline: Duration) -> ShutdownReport<B::Item> {
        self.0.shutdown(deadline);
        self.requests.ended().await;
        let returned = self
            .requests
            .with_remains(|core| core.recover(&self.settings.name, &self.counters, deadline))
            .unwrap_or_default();
        let stats = self.stats();
        ShutdownReport {
            accepted: stats.accepted,
            delivered: stats.delivered,
            lost: stats.lost,
            coalesced: stats.coalesced,
            removed: stats.removed,
            returned_to_other_callers: stats.returned.saturating_sub(returned.len() as u64),
            returned,
        }
    }
}

impl<S: Admission, R> Deref for Handle<S, R> {
    type Target = Shared<S, R>;

    #[inline(always)]
    fn deref(&self) -> &Shared<S, R> {
        &self.0
    }
}

impl<S: Admission, R> Drop for Handle<S, R> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The methods of a handle that look, and those that ask and do not wait. They need no bounds.
macro_rules! observing_methods {
    () => {
        /// How many items are held: waiting, in flight, in backoff. Of a map, entries.
        ///
        /// A snapshot. Costs as much as [`stats`](Self::stats).
        #[must_use]
        pub fn len(&self) -> usize {
            self.handle.len()
        }

        /// Whether no item is held. Costs as much as [`stats`](Self::stats).
        #[must_use]
        pub fn is_empty(&self) -> bool {
            self.len() == 0
        }

        /// Whether pushes are refused for good. Costs a lock at most.
        #[must_use]
        pub fn is_closed(&self) -> bool {
            self.handle.source.is_closed()
        }

        /// How many items can be held at once. See [`Builder::capacity`](crate::Builder::capacity).
        #[must_use]
        pub fn capacity(&self) -> usize {
            self.handle.source.capacity().credits.total()
        }

        /// The name that stands in the log. See [`Builder::name`](crate::Builder::name).
        #[must_use]
        pub fn name(&self) -> &str {
            &self.handle.settings.name
        }

        /// What became of all items so far.
        ///
        /// Costs, of a queue, a look at each lane and a lock for each partition; of a map, a look
        /// at each shard. That is the price of pushes that count nothing.
        ///
        /// ```
        /// # let builder = swaplane::Queue::builder().own_thread();
        /// # let queue = builder.spawn_fn(|_batch| async { Ok(()) })?;
        /// queue.push(1)?;
        /// queue.flush_blocking()?;
        /// let stats = queue.stats();
        /// assert_eq!((stats.accepted, stats.delivered, stats.held), (1, 1, 0));
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        #[must_use]
        pub fn stats(&self) -> crate::stats::Stats {
            self.handle.stats()
        }

        /// Ends the pauses after failed attempts: each batch that waits for its next attempt is
        /// tried now. For when the target is known to be back.
        ///
        /// Pauses are also ended by [`close`](Self::close), by a flush, and by the first success
        /// after a failure. Only `retry_now` ends a pause that the sink asked for by
        /// [`retry_after`](crate::SinkError::retry_after). Delays of later attempts are what they
        /// were.
        ///
        /// Costs a lock and a wake-up of the flusher.
        ///
        /// ```
        /// # let builder = swaplane::Queue::builder().own_thread();
        /// # let queue = builder.spawn_fn(|_batch| async { Ok(()) })?;
        /// queue.push(1)?;
        /// queue.retry_now(); // the health check of the database has just succeeded
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        pub fn retry_now(&self) {
            self.handle.retry_now();
        }

        /// Refuses pushes from now on. Returns whether this call was the first to do so.
        ///
        /// A push that begins after this call returned is refused. A push that races this call is
        /// refused, or accepted and then delivered like any other. What is held is sent without
        /// delay, also what waits for its next attempt, and then the flusher ends.
        ///
        /// Costs, of a queue, a lock for each partition, an atomic read-modify-write in each lane
        /// and, on Linux, one system call; of a map, two locks for each shard.
        ///
        /// ```
        /// # let builder = swaplane::Queue::builder().own_thread();
        /// # let queue = builder.spawn_fn(|_batch| async { Ok(()) })?;
        /// assert!(queue.close());
        /// assert!(!queue.close());
        /// assert!(queue.push(1).unwrap_err().is_closed());
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        pub fn close(&self) -> bool {
            self.handle.close()
        }
    };
}
pub(crate) use observing_methods;

/// The methods of a handle that wait for the flusher.
macro_rules! waiting_methods {
    ($item:ty) => {
        /// Sends everything that is held now, and waits until each item of it has its outcome:
        /// delivered, or given up by the retry policy.
        ///
        /// What is flushed while the sink is busy shares a batch, so a thousand callers need few
        /// batches. A flush ends the pause after a failed attempt, unless another flush is under
        /// way.
        ///
        /// What was lost before the call is in [`stats`](Self::stats). The future can be polled on
        /// any runtime, or on none.
        ///
        /// # Errors
        /// [`FlushError`](crate::FlushError) if some of it was not delivered. Its counts may
        /// include later items that shared a batch with it.
        ///
        /// # Cancel safety
        /// The flush goes on without its caller.
        ///
        /// ```
        /// # #[tokio::main(flavor = "current_thread")]
        /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
        /// # let queue = swaplane::Queue::builder().spawn_fn(|_batch| async { Ok(()) })?;
        /// queue.push("must be there before we go on")?;
        /// queue.flush().await?;
        /// # Ok(())
        /// # }
        /// ```
        pub fn flush(&self) -> impl Future<Output = Result<(), crate::error::FlushError>> + Send {
            self.handle.flush()
        }

        /// [`flush`](Self::flush) for a thread that may block.
        ///
        /// # Errors
        /// As `flush`.
        ///
        /// # Panics
        /// In async code: on a thread that drives asynchronous tasks.
        #[track_caller]
        pub fn flush_blocking(&self) -> Result<(), crate::error::FlushError> {
            crate::block_on::block_on("flush_blocking", "flush().await", self.flush())
        }

        /// Closes, delivers what is held, and gives back what could not be delivered within
        /// `deadline`, which is for all of it.
        ///
        /// 1. An attempt in flight may finish within its own timeout. If it fails, the retry policy
        ///    says whether its batch is given up.
        /// 2. What is left then is offered to the sink's [`drain`](crate::Sink::drain), or else
        ///    delivered in the normal way.
        /// 3. At the deadline attempts are cancelled. Items whose batch came back are returned,
        ///    though the attempt may have had an effect. A batch that the sink still has is counted
        ///    as lost.
        ///
        /// Any number of callers may ask. The earliest deadline counts, and one caller gets the
        /// returned items. The future can be polled on any runtime, or on none.
        ///
        /// A shutdown also works where the runtime of the flusher is gone. Then it may block its
        /// thread for about 100 ms, while pushes in progress end and the last attempts are dropped.
        /// Where that runtime is there and nobody drives it, such as one of a single thread outside
        /// of its `block_on`, a shutdown never ends.
        ///
        /// # Cancel safety
        /// The shutdown goes on without its caller. The next caller gets the report.
        ///
        /// ```
        /// # #[tokio::main(flavor = "current_thread")]
        /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
        /// use std::time::Duration;
        /// # let builder = swaplane::Queue::<u8>::builder();
        /// # let queue = builder.spawn_fn(|_batch| async { Err("down")? })?;
        /// queue.push(1)?;
        /// let report = queue.shutdown(Duration::from_millis(10)).await;
        /// assert_eq!((report.accepted, report.delivered, report.returned), (1, 0, vec![1]));
        /// # Ok(())
        /// # }
        /// ```
        pub fn shutdown(
            &self,
            deadline: std::time::Duration,
        ) -> impl Future<Output = crate::lifecycle::ShutdownReport<$item>> + Send {
            self.handle.shutdown(deadline)
        }

        /// [`shutdown`](Self::shutdown) for a thread that may block.
        ///
        /// # Panics
        /// In async code: on a thread that drives asynchronous tasks.
        ///
        /// ```
        /// use std::time::Duration;
        /// # let builder = swaplane::Queue::builder().own_thread();
        /// # let queue = builder.spawn_fn(|_batch| async { Ok(()) })?;
        /// queue.push(1)?;
        /// assert!(queue.shutdown_blocking(Duration::from_secs(5)).is_complete());
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        #[track_caller]
        pub fn shutdown_blocking(
            &self,
            deadline: std::time::Duration,
        ) -> crate::lifecycle::ShutdownReport<$item> {
            let shutdown = self.shutdown(deadline);
            crate::block_on::block_on("shutdown_blocking", "shutdown(..).await", shutdown)
        }
    };
}
pub(crate) use waiting_methods;

/// What became of every item that was ever accepted: `accepted = delivered + lost + coalesced +
/// removed + returned.len() + returned_to_other_callers`.
///
/// ```
/// # let queue = swaplane::Queue::builder().own_thread().spawn_fn(|_batch| async { Ok(()) })?;
/// # queue.push(1)?;
/// let report = queue.shutdown_blocking(std::time::Duration::from_secs(5));
/// if !report.is_complete() {
///     eprintln!("{} lost", report.lost);
/// }
/// for item in report.returned {
///     println!("keep {item} for the next start");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[must_use = "it holds the items that were not delivered"]
pub struct ShutdownReport<T> {
    /// Items whose push returned `Ok`. Of a map, updates that were not stale.
    pub accepted: u64,
    /// Items that the sink took. Of a map, entries; so in all counts below but `coalesced`.
    pub delivered: u64,
    /// Items given up, or kept by the sink.
    pub lost: u64,
    /// Updates of a map that were merged into an entry, which has an outcome of its own.
    pub coalesced: u64,
    /// Entries of a map that `remove` took back.
    pub removed: u64,
    /// The items that were not delivered in time, in the order of their pushes as far as there is
    /// one. An attempt at some of them may have had an effect: at the first ones of each worker, of
    /// which there are [`max_in_flight`](crate::Builder::max_in_flight).
    pub returned: Vec<T>,
    /// How many items other callers of `shutdown` got.
    pub returned_to_other_callers: u64,
}

impl<T> ShutdownReport<T> {
    /// Whether every item was delivered, except those that were removed or merged into another.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.accepted == self.delivered + self.coalesced + self.removed
    }
}

impl<T> fmt::Debug for ShutdownReport<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownReport")
            .field("accepted", &self.accepted)
            .field("delivered", &self.delivered)
            .field("lost", &self.lost)
            .field("coalesced", &self.coalesced)
            .field("removed", &self.removed)
            .field("returned", &format_args!("[..; {}]", self.returned.len()))
            .field("returned_to_other_callers", &self.returned_to_other_callers)
            .finish()
    }
}
