//! Errors, one type for each operation. An error gives back what was refused, and never prints it.

pub(crate) mod build;
pub(crate) mod check;

use std::error::Error;
use std::fmt;

/// A refused push, with the item.
///
/// ```
/// # let queue = swaplane::Queue::builder().own_thread().spawn_fn(|_batch| async { Ok(()) })?;
/// use swaplane::PushError;
///
/// match queue.push(1) {
///     Ok(()) => {}
///     Err(PushError::Full(item)) => println!("{item} has to wait"),
///     Err(PushError::Closed(item)) => println!("{item} is too late"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PushError<T> {
    /// As many items are held as [`capacity`](crate::Builder::capacity) allows.
    Full(T),
    /// The queue or map is closed, or its flusher has ended.
    Closed(T),
}

impl<T> PushError<T> {
    pub(crate) fn new(refused: RefusalReason, item: T) -> Self {
        match refused {
            RefusalReason::Full => Self::Full(item),
            RefusalReason::Closed => Self::Closed(item),
        }
    }

    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> PushError<U> {
        match self {
            Self::Full(item) => PushError::Full(f(item)),
            Self::Closed(item) => PushError::Closed(f(item)),
        }
    }

    /// The refused item.
    #[must_use]
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(item) | Self::Closed(item) => item,
        }
    }

    /// Whether the queue was full. There may be room later.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Whether the queue was closed. There will never be room again.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

impl<T> fmt::Debug for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Display for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused = match self {
            Self::Full(_) => RefusalReason::Full,
            Self::Closed(_) => RefusalReason::Closed,
        };
        refused.fmt(f)
    }
}

impl<T> Error for PushError<T> {}

/// Why a push was refused, without the item.
///
/// ```
/// assert_eq!(swaplane::RefusalReason::Full.to_string(), "the buffer is full");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// See [`PushError::Full`].
    Full,
    /// See [`PushError::Closed`].
    Closed,
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the buffer is full",
            Self::Closed => "the buffer is closed",
        })
    }
}

impl Error for RefusalReason {}

/// A refusal in the middle of `push_all`, `put_all` or `put_newer_all`.
///
/// ```
/// # let builder = swaplane::Queue::builder().own_thread();
/// let queue = builder.capacity(4).spawn_fn(|_batch| async { Err("down")? })?;
/// let error = queue.push_all(0..6).unwrap_err();
/// assert_eq!((error.accepted, error.reason), (4, swaplane::RefusalReason::Full));
/// assert_eq!(error.into_inner(), [4, 5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq)]
pub struct PushAllError<T> {
    /// How many items were accepted. They are the first ones, less those that were stale in
    /// [`put_newer_all`](crate::Map::put_newer_all).
    pub accepted: usize,
    /// The first refused item and all that came after it.
    pub rest: Vec<T>,
    /// Why the first item of `rest` was refused.
    pub reason: RefusalReason,
}

impl<T> PushAllError<T> {
    pub(crate) fn new(
        accepted: usize,
        refused: PushError<T>,
        rest: impl Iterator<Item = T>,
    ) -> Self {
        let reason = match refused {
            PushError::Full(_) => RefusalReason::Full,
            PushError::Closed(_) => RefusalReason::Closed,
        };
        let rest = std::iter::once(refused.into_inner()).chain(rest).collect();
        Self {
            accepted,
            rest,
            reason,
        }
    }

    /// The items that were not accepted.
    #[must_use]
    pub fn into_inner(self) -> Vec<T> {
        self.rest
    }

    /// Whether the queue was full. There may be room later.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.reason == RefusalReason::Full
    }

    /// Whether the queue was closed. There will never be room again.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.reason == RefusalReason::Closed
    }
}

impl<T> fmt::Debug for PushAllError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushAllError")
            .field("accepted", &self.accepted)
            .field("rest", &format_args!("[..; {}]", self.rest.len()))
            .field("reason", &self.reason)
            .finish()
    }
}

impl<T> fmt::Display for PushAllError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            accepted, reason, ..
        } = self;
        let rest = self.rest.len();
        write!(f, "{reason}: {accepted} items accepted, {rest} refused")
    }
}

impl<T> Error for PushAllError<T> {}

/// Why a reservation failed.
///
/// ```
/// # let queue = swaplane::Queue::builder().own_thread().spawn_fn(|_batch| async { Ok(()) })?;
/// # queue.push(1)?;
/// queue.close();
/// assert!(queue.reserve_blocking().is_err_and(|error| error.is_closed()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReserveError {
    /// The queue is closed, or its flusher has ended.
    Closed,
}

impl ReserveError {
    /// Whether the queue was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

impl fmt::Display for ReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        RefusalReason::Closed.fmt(f)
    }
}

impl Error for ReserveError {}

/// How many of the items that a flush covered were not delivered, by outcome. If the flusher ended
/// before it answered, items that were pushed since the call may be counted too.
///
/// ```
/// use swaplane::{Queue, Retry};
///
/// let queue = Queue::<u8>::builder()
///     .own_thread()
///     .retry(Retry::never())
///     .spawn_fn(|_batch| async { Err("down")? })?;
/// queue.push(1)?;
/// let error = queue.flush_blocking().unwrap_err();
/// assert_eq!((error.lost, error.undelivered()), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[must_use]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlushError {
    /// Items given up: every retry failed, or the sink kept the batch.
    pub lost: u64,
    /// Items handed back by a shutdown whose deadline passed meanwhile.
    pub returned: u64,
    /// Items still held, because the flusher ended when its runtime was dropped. A shutdown returns
    /// them.
    pub held: u64,
}

impl FlushError {
    /// How many items were not delivered, whatever became of them.
    #[must_use]
    pub fn undelivered(&self) -> u64 {
        self.lost + self.returned + self.held
    }
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lost,
            returned,
            held,
        } = self;
        write!(
            f,
            "{} items were not delivered: {lost} lost, {returned} returned by a shutdown, {held} \
             still held",
            self.undelivered()
        )
    }
}

impl Error for FlushError {}
