//! What can go wrong, one type an operation. Errors give back what they refuse and never print it.

pub(crate) mod build;
pub(crate) mod check;

use std::error::Error;
use std::fmt;

/// Why an item was refused; it comes back.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let queue = swaplane::Queue::builder().spawn_fn(|_batch| async { Ok(()) })?;
/// use swaplane::PushError;
///
/// match queue.push(1) {
///     Ok(()) => {}
///     Err(PushError::Full(item)) => println!("{item} has to wait"),
///     Err(refused) => println!("too late for {}", refused.into_inner()),
/// }
/// # Ok(())
/// # }
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
    ///
    /// ```
    /// assert_eq!(swaplane::PushError::Full(7).into_inner(), 7);
    /// ```
    #[must_use]
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(item) | Self::Closed(item) => item,
        }
    }

    /// Whether the queue was full: later there may be room.
    ///
    /// ```
    /// assert!(swaplane::PushError::Full(7).is_full());
    /// ```
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Whether the queue was closed: there will never be room again.
    ///
    /// ```
    /// assert!(swaplane::PushError::Closed(7).is_closed());
    /// ```
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

/// Where `push_all` stopped, or one of a map's `put_all`s.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let queue = swaplane::Queue::builder().capacity(4).max_batch_size(3).spawn_fn(|_batch| async { Ok(()) })?;
/// let error = queue.push_all(0..6).unwrap_err();
/// assert_eq!((error.accepted, error.reason), (4, swaplane::RefusalReason::Full));
/// assert_eq!(error.into_inner(), [4, 5]);
/// # Ok(())
/// # }
/// ```
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq)]
pub struct PushAllError<T> {
    /// How many items were accepted, from the first on. (Of a map's
    /// [`put_newer_all`](crate::Map::put_newer_all) some before `rest` may have been stale, and do
    /// not count.)
    pub accepted: usize,
    /// The first refused item and all that came after it.
    pub rest: Vec<T>,
    /// Why the first of them was refused.
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
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let queue = swaplane::Queue::builder().capacity(4).max_batch_size(3).spawn_fn(|_batch| async { Ok(()) })?;
    /// let rest = queue.push_all(0..6).unwrap_err().into_inner();
    /// assert_eq!(rest, [4, 5]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn into_inner(self) -> Vec<T> {
        self.rest
    }

    /// Whether the queue was full: later there may be room.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let queue = swaplane::Queue::builder().capacity(4).max_batch_size(3).spawn_fn(|_batch| async { Ok(()) })?;
    /// assert!(queue.push_all(0..6).is_err_and(|error| error.is_full()));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.reason == RefusalReason::Full
    }

    /// Whether the queue was closed: there will never be room again.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let queue = swaplane::Queue::builder().capacity(4).max_batch_size(3).spawn_fn(|_batch| async { Ok(()) })?;
    /// queue.close();
    /// assert!(queue.push_all(0..6).is_err_and(|error| error.is_closed()));
    /// # Ok(())
    /// # }
    /// ```
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

/// Why there is no permit.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let queue = swaplane::Queue::builder().spawn_fn(|_batch| async { Ok(()) })?;
/// # queue.push(1)?;
/// queue.close();
/// assert!(queue.reserve().await.is_err_and(|error| error.is_closed()));
/// # Ok(())
/// # }
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReserveError {
    /// The queue is closed, or its flusher has ended.
    Closed,
}

impl ReserveError {
    /// Whether the queue was closed.
    ///
    /// ```
    /// assert!(swaplane::ReserveError::Closed.is_closed());
    /// ```
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

/// What a flush covered and did not deliver, by outcome. Where the flusher ends before it answers,
/// what was pushed since the call may be among it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use swaplane::{Queue, Retry};
///
/// let queue = Queue::<u8>::builder()
///     .retry(Retry::never())
///     .spawn_fn(|_batch| async { Err("down")? })?;
/// queue.push(1)?;
/// let error = queue.flush().await.unwrap_err();
/// assert_eq!((error.lost, error.undelivered()), (1, 1));
/// # Ok(())
/// # }
/// ```
#[non_exhaustive]
#[must_use]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlushError {
    /// Given up: every retry failed, or the sink kept the batch.
    pub lost: u64,
    /// Handed back by a shutdown whose deadline passed meanwhile.
    pub returned: u64,
    /// Still held, because the flusher has ended (its runtime was dropped). A shutdown returns
    /// them.
    pub held: u64,
}

impl FlushError {
    /// All that was not delivered.
    ///
    /// ```
    /// assert_eq!(swaplane::FlushError::default().undelivered(), 0);
    /// ```
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
