//! Batches: an owned lease on items, which come back by themselves.

mod lease;

use std::fmt;
use std::ops::{Deref, DerefMut};

pub(crate) use self::lease::{Content, Lease};
use crate::panic::catch;
use crate::sync::Arc;

/// Items for the sink: at most [`max_batch_size`](crate::Builder::max_batch_size), in order.
///
/// A batch is an owned lease. It derefs to `[T]`, and can be moved into another task or into
/// `spawn_blocking`. When it is dropped its items go back to the queue. So an attempt that fails,
/// times out, panics or is cancelled loses nothing, and a retry needs neither `T: Clone` nor `T:
/// Sync`.
///
/// Attempts never overlap: the next one waits until this one has ended and its batch has come back.
/// An attempt that is over its time is cancelled at its next `.await`. If an attempt blocks its
/// thread for good, or keeps its batch for good, everything behind it waits until the deadline of a
/// shutdown.
///
/// After an attempt that returned `Ok` the items are dropped. If an attempt changes items, by
/// `DerefMut`, the next attempt finds them changed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use swaplane::{Batch, Queue};
///
/// let queue = Queue::builder().spawn_fn(|batch: Batch<String>| async move {
///     // On a thread where blocking is allowed, without a copy:
///     tokio::task::spawn_blocking(move || {
///         println!("{} rows, attempt {}", batch.len(), batch.attempt());
///     })
///     .await?;
///     Ok(())
/// })?;
/// queue.push("a row".to_owned())?;
/// queue.flush().await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a batch that is dropped counts as sent if the attempt returns `Ok`"]
pub struct Batch<T> {
    items: Vec<T>,
    ticket: Ticket,
    reason: Reason,
    /// Where the items go when the batch is dropped. `None` before the batch is lent, and once its
    /// items were taken out.
    lease: Option<Arc<Lease<T>>>,
}

/// Why a batch left when it did.
///
/// ```
/// use swaplane::{Batch, Reason};
///
/// fn note(batch: &Batch<String>) {
///     if batch.reason() == Reason::Room {
///         eprintln!("the sink is slower than the producers");
///     }
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// About [`max_batch_size`](crate::Builder::max_batch_size) items waited.
    Size,
    /// Items had waited for [`max_delay`](crate::Builder::max_delay).
    Delay,
    /// The sink was free, and [`max_delay`](crate::Builder::max_delay) is zero.
    Idle,
    /// Somebody called `flush`.
    Flush,
    /// The queue was full, or somebody waited for room.
    Room,
    /// The queue was closed. It is also the reason of the batch that
    /// [`drain`](crate::Sink::drain) gets.
    Close,
}

/// Which attempt at which batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) id: u64,
    pub(crate) attempt: u32,
}

impl<T> Batch<T> {
    /// Makes a batch that is not lent yet.
    pub(crate) fn new(items: Vec<T>, ticket: Ticket, reason: Reason) -> Self {
        Self {
            items,
            ticket,
            reason,
            lease: None,
        }
    }

    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// The items of a batch that is not lent.
    pub(crate) fn unpack(mut self) -> Vec<T> {
        std::mem::take(&mut self.items)
    }

    /// The id of this batch, which no other batch of the queue has. It stays the same across
    /// attempts: so a sink recognises a batch whose earlier attempt failed but had an effect. The
    /// batch that [`drain`](crate::Sink::drain) gets has an id of its own.
    ///
    /// ```
    /// # use swaplane::Batch;
    /// fn statement(batch: &Batch<String>) -> String {
    ///     format!("INSERT INTO batches VALUES ({}) ON CONFLICT DO NOTHING", batch.id())
    /// }
    /// ```
    #[must_use]
    pub fn id(&self) -> u64 {
        self.ticket.id
    }

    /// The number of this attempt at the batch, from 1.
    ///
    /// ```
    /// # use swaplane::Batch;
    /// fn may_be_there_already(batch: &Batch<String>) -> bool {
    ///     batch.attempt() > 1
    /// }
    /// ```
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.ticket.attempt
    }

    /// Why the batch left when it did.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Takes the items out for good: no other attempt follows. With `Ok` the items then count as
    /// delivered, with anything else as lost.
    ///
    /// ```
    /// # let builder = swaplane::Queue::builder().own_thread();
    /// let (sender, rows) = std::sync::mpsc::channel();
    /// let queue = builder.spawn_fn(move |batch| {
    ///     let sent = sender.send(batch.into_vec());
    ///     async move { Ok(sent?) }
    /// })?;
    /// queue.push(1)?;
    /// queue.flush_blocking()?;
    /// assert_eq!(rows.recv()?, vec![1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn into_vec(mut self) -> Vec<T> {
        let items = std::mem::take(&mut self.items);
        if let Some(lease) = self.lease.take() {
            lease.receive(self.ticket, Content::Taken);
        }
        items
    }
}

impl<T> Deref for Batch<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> DerefMut for Batch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items
    }
}

impl<T> Drop for Batch<T> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            let items = std::mem::take(&mut self.items);
            if let Some(Content::Back(mut items)) = lease.receive(self.ticket, Content::Back(items))
            {
                // The flusher has given the batch up, so nobody else drops its items.
                drop_items(&mut items);
            }
        }
    }
}

impl<T> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("id", &self.ticket.id)
            .field("attempt", &self.ticket.attempt)
            .field("reason", &self.reason)
            .field("len", &self.items.len())
            .finish()
    }
}

/// Drops items, and catches the panics of their `Drop`. One by one: a second panic while the first
/// unwinds would abort the process.
pub(crate) fn drop_items<T>(items: &mut Vec<T>) {
    if !std::mem::needs_drop::<T>() {
        return items.clear();
    }
    // From the end, where an item is dropped in place: it may be too large for the stack.
    while let Some(last) = items.len().checked_sub(1) {
        catch("the drop of an item", || items.truncate(last));
    }
}
