//! The owned ways in: a [`Writer`] owns a lane, a [`Permit`] owns room for one item.

use std::fmt;

use super::lane::LaneWriter;
use super::store::Credit;
use super::{Queue, push_all};
use crate::error::{PushAllError, PushError, ReserveError};

/// An owned lane into a [`Queue`]. Its pushes are delivered in their order, whichever thread or
/// task has the writer. Keeps the queue open. Made by [`Queue::writer`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let queue = swaplane::Queue::builder().spawn_fn(|_batch| async { Ok(()) })?;
/// let mut writer = queue.writer();
/// tokio::spawn(async move {
///     // The order moves with the task, from thread to thread.
///     (0..100).try_for_each(|n| writer.push(n))
/// })
/// .await??;
/// # Ok(())
/// # }
/// ```
#[must_use = "a writer does nothing until it pushes"]
pub struct Writer<T> {
    lane: LaneWriter<T>,
    /// The index of the lane's partition.
    partition: usize,
    queue: Queue<T>,
}

impl<T> Writer<T> {
    pub(super) fn new(queue: &Queue<T>) -> Self {
        let (lane, partition) = queue.store().writer();
        Self {
            lane,
            partition,
            queue: queue.clone(),
        }
    }
}

impl<T: Send + 'static> Writer<T> {
    /// Pushes an item. Never blocks, and needs no runtime.
    ///
    /// Costs a few plain loads and stores. About every 64th push leases credits for the next ones.
    ///
    /// # Errors
    /// As [`Queue::push`].
    ///
    /// ```
    /// # let queue = swaplane::Queue::builder().own_thread().spawn_fn(|_batch| async { Ok(()) })?;
    /// let mut writer = queue.writer();
    /// for line in ["first", "second"] {
    ///     writer.push(line)?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn push(&mut self, item: T) -> Result<(), PushError<T>> {
        self.lane.push(item, Ok(()), |item| {
            let store = self.queue.store();
            store.push_slow(&self.lane, self.partition, item, Credit::Lease)
        })
    }

    /// Pushes items one by one, until one is refused.
    ///
    /// # Errors
    /// As [`Queue::push_all`].
    pub fn push_all<I: IntoIterator<Item = T>>(&mut self, items: I) -> Result<(), PushAllError<T>> {
        push_all(items, |item| self.push(item))
    }

    /// The queue that this writer pushes into.
    #[must_use]
    pub fn queue(&self) -> &Queue<T> {
        &self.queue
    }
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        self.queue.store().retire(&self.lane, self.partition);
    }
}

impl<T> fmt::Debug for Writer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("queue", &self.queue.name())
            .finish_non_exhaustive()
    }
}

/// Room for one item, held until it is used or dropped. Keeps the queue open. Made by
/// [`Queue::reserve`]. It counts against the capacity, though not in [`Queue::len`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let builder = swaplane::Queue::builder();
/// let queue = builder.capacity(1).spawn_fn(|_batch| async { Ok(()) })?;
/// let permit = queue.reserve().await?;
/// assert!(queue.push(1).is_err_and(|error| error.is_full()));
/// drop(permit);
/// queue.push(1)?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a permit that is dropped gives its room back"]
pub struct Permit<T> {
    queue: Queue<T>,
    /// The credit went with an item.
    spent: bool,
}

impl<T> Permit<T> {
    pub(super) async fn reserve(queue: &Queue<T>) -> Result<Self, ReserveError> {
        if !queue.store().capacity.reserve().await {
            return Err(ReserveError::Closed);
        }
        Ok(Self {
            queue: queue.clone(),
            spent: false,
        })
    }
}

impl<T: Send + 'static> Permit<T> {
    /// Pushes an item into the lane of the calling thread. There is room for it.
    ///
    /// Costs more than [`Queue::push`]: it always takes the slow path.
    ///
    /// # Errors
    /// [`PushError::Closed`] if the queue was closed since. The item comes back.
    pub fn push(mut self, item: T) -> Result<(), PushError<T>> {
        let pushed = self.queue.store().push_from_thread(item, Credit::Prepaid);
        self.spent = pushed.is_ok();
        pushed
    }
}

impl<T> Drop for Permit<T> {
    fn drop(&mut self) {
        if !self.spent {
            self.queue.store().capacity.credits.give_back(1);
        }
    }
}

impl<T> fmt::Debug for Permit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("queue", &self.queue.name())
            .finish_non_exhaustive()
    }
}
