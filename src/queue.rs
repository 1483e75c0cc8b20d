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

use self::writer::{Permit, Writer};
use crate::block_on::block_on;
use crate::error::{PushAllError, PushError, ReserveError};
use crate::flusher::{Core, SharedOf};
use crate::lifecycle::{Handle, observing_methods, waiting_methods};
use crate::queue::collect::Collector;
use crate::queue::store::{Credit, Store};
use crate::queue::threads::lanes::ThreadLanes;
use crate::source::Admission;
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
pub struct Queue<T> {
    handle: Arc<QueueHandle<T>>,
    /// The handle has it too, but far away.
    lanes: ThreadLanes<T>,
}

type QueueHandle<T> = Handle<Store<T>, Core<T, Collector<T>>>;

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            lanes: self.lanes.clone(),
        }
    }
}

impl<T> Queue<T> {
    #[inline(always)]
    fn store(&self) -> &Store<T> {
        &self.handle.source
    }

    observing_methods!();
}

impl<T: Send + 'static> Queue<T> {
    pub(crate) fn from_shared(shared: Arc<SharedOf<Store<T>>>) -> Self {
        Self {
            lanes: shared.source.thread_lanes().clone(),
            handle: Handle::new(shared),
        }
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
        match self.lanes.cached() {
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
    pub fn reserve(&self) -> impl Future<Output = Result<Permit<T>, ReserveError>> + Send {
        Permit::reserve(self)
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
        block_on("reserve_blocking", "reserve().await", self.reserve())
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

    waiting_methods!(T);
}

impl<T> fmt::Debug for Queue<T> {
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
