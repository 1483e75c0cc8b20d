//! The append face: [`Queue`], its [`Writer`]s and its [`Permit`]s.

pub(crate) mod barrier;
pub(crate) mod collect;
mod fallback;
pub(crate) mod lane;
mod registry;
pub(crate) mod store;
pub(crate) mod threads;
pub(crate) mod writer;

use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use self::writer::{Permit, Writer};
use crate::block_on::block_on;
use crate::error::{FlushError, PushAllError, PushError, ReserveError};
use crate::flusher::Shared;
use crate::lifecycle::{Handle, ShutdownReport};
use crate::queue::store::{Credit, Store};
use crate::queue::threads::lanes::ThreadLanes;
use crate::source::Source;
use crate::stats::Stats;
use crate::sync::Arc;

/// A write buffer: any thread pushes, one sink gets batches.
///
/// A handle; clones are cheap and lead to the same queue. When the last handle (clone,
/// [`Writer`] or [`Permit`]) is dropped the queue closes, and what it holds is delivered in the
/// background for as long as its runtime lives. To wait for that, and to get back what could
/// not be delivered, call [`shutdown`](Self::shutdown).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use swaplane::Queue;
///
/// let queue = Queue::builder().spawn_fn(|batch: swaplane::Batch<u32>| async move {
///     println!("{} numbers", batch.len());
///     Ok(())
/// })?;
/// let threads = (0..4_u32).map(|i| {
///     let queue = queue.clone();
///     std::thread::spawn(move || queue.push(i))
/// });
/// for thread in threads.collect::<Vec<_>>() {
///     thread.join().unwrap()?;
/// }
/// let report = queue.shutdown(Duration::from_secs(5)).await;
/// assert_eq!(report.delivered, 4);
/// # Ok(())
/// # }
/// ```
pub struct Queue<T: Send + 'static> {
    handle: Arc<Handle<Store<T>>>,
    /// The handle has it too, but far away.
    lanes: ThreadLanes<T>,
}

impl<T: Send + 'static> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            lanes: self.lanes.clone(),
        }
    }
}

impl<T: Send + 'static> Queue<T> {
    pub(crate) fn new(shared: Arc<Shared<Store<T>>>) -> Self {
        Self {
            lanes: shared.source.thread_lanes().clone(),
            handle: Handle::new(shared),
        }
    }

    #[inline(always)]
    fn store(&self) -> &Store<T> {
        &self.handle.source
    }

    /// Pushes an item into the lane of the calling thread. Never blocks, and needs no runtime.
    ///
    /// The pushes of one thread are delivered in their order. (A task that moves between
    /// threads is several threads: use a [`Writer`] or [`push_keyed`](Self::push_keyed).) May be
    /// called from the destructor of a thread-local. Not from a signal handler.
    ///
    /// Costs some nanoseconds: a thread-local load, a few plain loads and stores, no atomic
    /// read-modify-write. About every 64th push leases credits for the next.
    ///
    /// # Errors
    /// [`PushError::Full`] if [`capacity`](crate::Builder::capacity) items are held, or up to a quarter
    /// less, since other lanes may hold unused credits; [`PushError::Closed`] after
    /// [`close`](Self::close). The item comes back.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let queue = swaplane::Queue::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// queue.push("a line")?;
    /// queue.close();
    /// assert_eq!(queue.push("too late").unwrap_err().into_inner(), "too late");
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn push(&self, item: T) -> Result<(), PushError<T>> {
        match self.lanes.last() {
            Some(lane) => lane.push(item, Ok(()), |item| {
                self.store().push_into_cached(lane, item)
            }),
            None => self.store().push_from_thread(item, Credit::Lease),
        }
    }

    /// Pushes an item whose order is that of its key: all pushes of one key are delivered in
    /// their order, whichever threads made them. Never waits for a flush.
    ///
    /// Costs a hash of the key and an uncontended lock; pushes whose keys fall into the same
    /// partition share that lock.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    ///
    /// # Panics
    /// Only if hashing the key does, which is before any lock is taken.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let queue = swaplane::Queue::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// let user = 17_u64;
    /// queue.push_keyed(&user, "signed up")?;
    /// queue.push_keyed(&user, "signed in")?;
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn push_keyed<K: Hash + ?Sized>(&self, key: &K, item: T) -> Result<(), PushError<T>> {
        self.store().push_keyed(key, item)
    }

    /// Pushes items one after the other, as [`push`](Self::push) does, up to the first refusal.
    ///
    /// # Errors
    /// [`PushAllError`] with the refused item and all that came after it. The iterator is then
    /// collected, so it must end.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let queue = swaplane::Queue::builder().capacity(4).max_batch_size(3).spawn_fn(|_batch| async { Ok(()) })?;
    /// let error = queue.push_all(0..6).unwrap_err(); // room for four
    /// assert_eq!((error.accepted, error.rest), (4, vec![4, 5]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn push_all<I: IntoIterator<Item = T>>(&self, items: I) -> Result<(), PushAllError<T>> {
        push_all(items, |item| self.push(item))
    }

    /// Waits for room for one item. Callers are served in their order, and what is held is
    /// flushed while anybody waits. Can be polled on any runtime, or on none.
    ///
    /// # Errors
    /// [`ReserveError::Closed`] once the queue is closed.
    ///
    /// # Cancel safety
    /// There is no item yet, so nothing is lost; the place in the line is.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let queue = swaplane::Queue::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// let permit = queue.reserve().await?;
    /// permit.push("there is room for this")?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn reserve(&self) -> Result<Permit<T>, ReserveError> {
        if !self.store().capacity.reserve().await {
            return Err(ReserveError::Closed);
        }
        Ok(Permit {
            queue: self.clone(),
            spent: false,
        })
    }

    /// [`reserve`](Self::reserve) for threads that may block.
    ///
    /// # Errors
    /// As `reserve`.
    ///
    /// # Panics
    /// On a thread that drives asynchronous tasks, as tokio's own blocking calls do.
    ///
    /// ```
    /// # let queue = swaplane::Queue::builder().own_thread().spawn_fn(|_batch| async { Ok(()) })?;
    /// queue.reserve_blocking()?.push("there is room for this")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn reserve_blocking(&self) -> Result<Permit<T>, ReserveError> {
        block_on(self.reserve())
    }

    /// A lane of its own, for a thread or task that pushes much: the fastest way in, with an
    /// order of its own. Costs some hundred bytes; its first push adds a chunk of 512, or of one
    /// item where that is larger. It may grow to chunks of 128 KiB, of which it keeps one while it
    /// is idle. The lane ends with the writer.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let queue = swaplane::Queue::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// let mut writer = queue.writer();
    /// writer.push("a line")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn writer(&self) -> Writer<T> {
        let (lane, partition) = self.store().writer();
        Writer {
            lane,
            partition,
            queue: self.clone(),
        }
    }

    /// How many items are held: waiting, in flight, in backoff. A snapshot; costs what
    /// [`stats`](Self::stats) does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let queue = swaplane::Queue::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// queue.push_all(0..3)?;
    /// assert_eq!(queue.len(), 3);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.handle.len()
    }

    /// Whether no item is held. Costs what [`stats`](Self::stats) does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let queue = swaplane::Queue::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// queue.push(1)?;
    /// assert!(!queue.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether pushes are refused for good. Costs a lock.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let queue = swaplane::Queue::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// # queue.push(1)?;
    /// assert!(!queue.is_closed());
    /// queue.close();
    /// assert!(queue.is_closed());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.store().is_closed()
    }

    /// How many items can be held.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let queue = swaplane::Queue::builder().capacity(1000).spawn_fn(|_batch| async { Ok(()) })?;
    /// # queue.push(1)?;
    /// assert_eq!(queue.capacity(), 1000);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.store().capacity.credits.total()
    }

    /// The name under which it appears in logs.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let queue = swaplane::Queue::builder().name("lines").spawn_fn(|_batch| async { Ok(()) })?;
    /// # queue.push(1)?;
    /// assert_eq!(queue.name(), "lines");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.handle.settings.name
    }

    /// What has become of all items so far. Costs a lock, one more for each partition, and a look
    /// at each lane.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let queue = swaplane::Queue::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// queue.push(1)?;
    /// queue.flush().await?;
    /// let stats = queue.stats();
    /// assert_eq!((stats.accepted, stats.delivered, stats.held), (1, 1, 0));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.handle.stats()
    }

    /// Sends everything that is held now, and waits until all of it is terminal: delivered, or
    /// given up by the retry policy. What was lost before the call is in [`stats`](Self::stats).
    /// Can be polled on any runtime, or on none.
    ///
    /// # Errors
    /// [`FlushError`] if some of it was not delivered.
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
    pub async fn flush(&self) -> Result<(), FlushError> {
        self.handle.flush().await
    }

    /// [`flush`](Self::flush) for threads that may block.
    ///
    /// # Errors
    /// As `flush`.
    ///
    /// # Panics
    /// On a thread that drives asynchronous tasks, as tokio's own blocking calls do.
    ///
    /// ```
    /// # let queue = swaplane::Queue::builder().own_thread().spawn_fn(|_batch| async { Ok(()) })?;
    /// queue.push(1)?;
    /// queue.flush_blocking()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn flush_blocking(&self) -> Result<(), FlushError> {
        block_on(self.flush())
    }

    /// Refuses pushes from now on; whether this call was the first to do so. A push that begins
    /// after this has returned is refused; one that races it is refused, or accepted and then
    /// delivered like any other. What is held is sent without delay, and then the flusher ends.
    ///
    /// Costs a lock, one more for each partition, a store into each lane, and a system call.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let queue = swaplane::Queue::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// assert!(queue.close());
    /// assert!(!queue.close());
    /// assert!(queue.push(1).unwrap_err().is_closed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn close(&self) -> bool {
        self.handle.close()
    }

    /// Closes the queue, delivers what it holds, and gives back what could not be delivered
    /// within `deadline`, which is for all of it.
    ///
    /// An attempt in flight may finish within its own timeout; if it fails, the retry policy says
    /// whether its batch is given up. What is left after it is offered to the sink's
    /// [`drain`](crate::Sink::drain), or else delivered in the normal way. At the deadline attempts
    /// are cancelled. Then items whose batch came partition are returned, though the attempt may have had
    /// an effect; a batch that the sink still has is counted as lost.
    ///
    /// Any number of callers may ask; the earliest deadline counts; one of them gets the
    /// returned items. Can be polled on any runtime, or on none. Also works where the runtime of
    /// the queue is gone; then it may block its thread for up to 100 ms, or for `deadline` if that
    /// is shorter, while the last attempts are dropped, and for up to 50 ms while pushes in progress
    /// end. But where that runtime is there and nobody drives it, such as one of a single thread
    /// outside of its `block_on`, it never ends.
    ///
    /// # Cancel safety
    /// The shutdown goes on without its caller; the next caller gets the report.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// # let queue = swaplane::Queue::<u8>::builder().spawn_fn(|_batch| async { Err("down")? })?;
    /// queue.push(1)?;
    /// let report = queue.shutdown(Duration::from_millis(10)).await;
    /// assert_eq!((report.accepted, report.delivered, report.returned), (1, 0, vec![1]));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport<T> {
        self.handle.shutdown(deadline).await
    }

    /// [`shutdown`](Self::shutdown) for threads that may block.
    ///
    /// # Panics
    /// On a thread that drives asynchronous tasks, as tokio's own blocking calls do.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let queue = swaplane::Queue::builder().own_thread().spawn_fn(|_batch| async { Ok(()) })?;
    /// queue.push(1)?;
    /// assert!(queue.shutdown_blocking(Duration::from_secs(5)).is_complete());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn shutdown_blocking(&self, deadline: Duration) -> ShutdownReport<T> {
        block_on(self.shutdown(deadline))
    }
}

impl<T: Send + 'static> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("name", &self.name())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

fn push_all<T>(
    items: impl IntoIterator<Item = T>,
    mut push: impl FnMut(T) -> Result<(), PushError<T>>,
) -> Result<(), PushAllError<T>> {
    let mut items = items.into_iter();
    let mut accepted = 0;
    while let Some(item) = items.next() {
        match push(item) {
            Ok(()) => accepted += 1,
            Err(refused) => return Err(PushAllError::new(accepted, refused, items)),
        }
    }
    Ok(())
}
