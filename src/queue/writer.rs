//! The owned ways in: a [`Writer`] with a lane of its own, a [`Permit`] with room for one item.

use std::fmt;

use super::push_all;
use crate::error::{PushAllError, PushError, ReserveError};
use crate::queue::Queue;
use crate::queue::lane::LaneWriter;
use crate::queue::store::Credit;

/// An owned lane into a [`Queue`]: one thread or task at a time pushes, in an order of its own.
/// Keeps the queue open. Made by [`Queue::writer`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let queue = swaplane::Queue::builder().spawn_fn(|_batch| async { Ok(()) })?;
/// let mut writer = queue.writer();
/// tokio::spawn(async move {
///     // Wherever the task goes its order goes with it.
///     (0..100).try_for_each(|n| writer.push(n))
/// })
/// .await??;
/// # Ok(())
/// # }
/// ```
#[must_use = "a writer that is dropped has pushed nothing"]
pub struct Writer<T> {
    pub(super) lane: LaneWriter<T>,
    pub(super) partition: usize,
    pub(super) queue: Queue<T>,
}

impl<T: Send + 'static> Writer<T> {
    /// Pushes an item. Never blocks. Costs some plain loads and stores; about every 64th push
    /// leases credits for the next.
    ///
    /// # Errors
    /// As [`Queue::push`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let queue = swaplane::Queue::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// let mut writer = queue.writer();
    /// for line in ["first", "second"] {
    ///     writer.push(line)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn push(&mut self, item: T) -> Result<(), PushError<T>> {
        self.lane.push(item, Ok(()), |item| {
            let store = self.queue.store();
            store.push_slow(&self.lane, self.partition, item, Credit::Lease)
        })
    }

    /// Pushes items one after the other, up to the first refusal.
    ///
    /// # Errors
    /// As [`Queue::push_all`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let queue = swaplane::Queue::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// queue.writer().push_all(0..100)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn push_all<I: IntoIterator<Item = T>>(&mut self, items: I) -> Result<(), PushAllError<T>> {
        push_all(items, |item| self.push(item))
    }

    /// The queue that it leads into.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let queue = swaplane::Queue::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// let mut writer = queue.writer();
    /// writer.push(1)?;
    /// writer.queue().flush().await?;
    /// # Ok(())
    /// # }
    /// ```
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
/// # let queue = swaplane::Queue::builder().capacity(1).max_batch_size(1).spawn_fn(|_batch| async { Ok(()) })?;
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
    /// Pushes an item into the lane of the calling thread; there is room for it.
    ///
    /// # Errors
    /// [`PushError::Closed`] if the queue was closed since. The item comes back.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let queue = swaplane::Queue::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// let permit = queue.reserve().await?;
    /// queue.close();
    /// assert!(permit.push(1).is_err_and(|error| error.is_closed()));
    /// # Ok(())
    /// # }
    /// ```
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
