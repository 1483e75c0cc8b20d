//! The handle of a queue: [`Queue`]. Below it lie its store, the lanes, and what is owned: a
//! [`Writer`] and a [`Permit`].

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

use self::collect::Collector;
use self::store::{Credit, Store};
use self::threads::lanes::ThreadLanes;
use self::writer::{Permit, Writer};
use crate::block_on::block_on;
use crate::error::{PushAllError, PushError, ReserveError};
use crate::flusher::{Core, SharedOf};
use crate::lifecycle::{Handle, observing_methods, waiting_methods};
use crate::source::Admission;
use crate::sync::Arc;

/// A write buffer: any thread pushes items, and one sink gets them in batches.
///
/// `Queue` is a handle. Clones are cheap and lead to the same queue. When the last handle is
/// dropped, [`Writer`]s and [`Permit`]s included, the queue closes, and what it holds is delivered
/// in the background for as long as its runtime lives. To wait for that, and to get back what could
/// not be delivered, call [`shutdown`](Self::shutdown).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use swaplane::{Batch, Queue};
///
/// let queue = Queue::builder().spawn_fn(|batch: Batch<u32>| async move {
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
    /// A copy of what the store has, so that a push follows two pointers fewer.
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

/// What the queue holds, and closing it.
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
    /// The pushes of one thread are delivered in their order. A task that moves between threads is
    /// several threads: give it a [`Writer`], or use [`push_keyed`](Self::push_keyed). The
    /// destructor of a thread-local may push; a signal handler may not.
    ///
    /// Costs a few nanoseconds: a thread-local load, a few plain loads and stores, and no atomic
    /// read-modify-write. About every 64th push leases credits for the next ones.
    ///
    /// # Errors
    /// [`PushError::Full`] if [`capacity`](crate::Builder::capacity) items are held, or up to a
    /// quarter fewer, since other lanes may hold unused credits. [`PushError::Closed`] after
    /// [`close`](Self::close). The item comes back.
    ///
    /// ```
    /// # let queue = swaplane::Queue::builder().own_thread().spawn_fn(|_batch| async { Ok(()) })?;
    /// queue.push("a line")?;
    /// queue.close();
    /// assert_eq!(queue.push("too late").unwrap_err().into_inner(), "too late");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
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

    /// Pushes an item whose order is that of its key: all pushes with one key are delivered in
    /// their order, whichever threads make them. Never waits for a flush.
    ///
    /// Costs a hash of the key and an uncontended lock. Pushes whose keys fall into one partition
    /// share that lock.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    ///
    /// # Panics
    /// If `Hash` of the key does. No lock is held then.
    ///
    /// ```
    /// # let queue = swaplane::Queue::builder().own_thread().spawn_fn(|_batch| async { Ok(()) })?;
    /// let user = 17_u64;
    /// queue.push_keyed(&user, "signed up")?;
    /// queue.push_keyed(&user, "signed in")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn push_keyed<K: Hash + ?Sized>(&self, key: &K, item: T) -> Result<(), PushError<T>> {
        self.store().push_keyed(key, item)
    }

    /// Pushes items one by one, as [`push`](Self::push) does, until one is refused.
    ///
    /// # Errors
    /// [`PushAllError`] with the refused item and all that came after it. The rest of the iterator
    /// is collected for that, so the iterator must end.
    ///
    /// ```
    /// # let builder = swaplane::Queue::builder().own_thread();
    /// let queue = builder.capacity(4).spawn_fn(|_batch| async { Err("down")? })?;
    /// let error = queue.push_all(0..6).unwrap_err(); // room for four
    /// assert_eq!((error.accepted, error.rest), (4, vec![4, 5]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn push_all<I: IntoIterator<Item = T>>(&self, items: I) -> Result<(), PushAllError<T>> {
        push_all(items, |item| self.push(item))
    }

    /// Waits for room for one item. Callers are served in their order, and what is held is sent
    /// without delay while anybody waits. The future can be polled on any runtime, or on none.
    ///
    /// # Errors
    /// [`ReserveError::Closed`] once the queue is closed.
    ///
    /// # Cancel safety
    /// Nothing is lost but the place in the line.
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

    /// [`reserve`](Self::reserve) for a thread that may block.
    ///
    /// # Errors
    /// As `reserve`.
    ///
    /// # Panics
    /// In async code: on a thread that drives asynchronous tasks.
    #[track_caller]
    pub fn reserve_blocking(&self) -> Result<Permit<T>, ReserveError> {
        block_on("reserve_blocking", "reserve().await", self.reserve())
    }

    /// Makes a lane for one thread or task that pushes much: the fastest way in, with an order of
    /// its own. The lane ends with the [`Writer`].
    ///
    /// Costs three allocations and a lock, and memory: about 600 bytes, 512 more with the first
    /// push, then chunks of up to 128 KiB. An idle lane keeps one chunk.
    ///
    /// ```
    /// # let queue = swaplane::Queue::builder().own_thread().spawn_fn(|_batch| async { Ok(()) })?;
    /// let mut writer = queue.writer();
    /// writer.push("a line")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn writer(&self) -> Writer<T> {
        Writer::new(self)
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
