//! What all handles of a queue or a map do alike: flushing, closing, shutting down, the account.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use crate::error::FlushError;
use crate::flusher::Shared;
use crate::source::Source;
use crate::sync::Arc;

/// Closes its source when the last one is gone.
pub(crate) struct Handle<B: Source>(Arc<Shared<B>>);

impl<B: Source> Handle<B> {
    pub(crate) fn new(shared: Arc<Shared<B>>) -> Arc<Self> {
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
        // The flusher has ended, and nothing will become of what it has not delivered. What came
        // to an end meanwhile may have been pushed after the call: nobody is left to tell.
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
            dead_lettered: stats.dead_lettered,
            dropped: stats.dropped,
            lost: stats.lost,
            coalesced: stats.coalesced,
            removed: stats.removed,
            returned_elsewhere: stats.returned.saturating_sub(returned.len() as u64),
            returned,
        }
    }
}

impl<B: Source> Deref for Handle<B> {
    type Target = Shared<B>;

    #[inline(always)]
    fn deref(&self) -> &Shared<B> {
        &self.0
    }
}

impl<B: Source> Drop for Handle<B> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What became of everything that was ever accepted: `accepted = delivered + dead_lettered +
/// dropped + lost + coalesced + removed + returned.len() + returned_elsewhere`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let queue = swaplane::Queue::builder().spawn_fn(|_batch| async { Ok(()) })?;
/// # queue.push(1)?;
/// let report = queue.shutdown(std::time::Duration::from_secs(5)).await;
/// if !report.is_complete() {
///     eprintln!("{} lost", report.lost);
/// }
/// for item in report.returned {
///     println!("keep {item} for the next start");
/// }
/// # Ok(())
/// # }
/// ```
#[non_exhaustive]
#[must_use = "it holds the items that were not delivered"]
pub struct ShutdownReport<T> {
    /// Items whose push returned `Ok`; of a map, updates that were not stale.
    pub accepted: u64,
    /// Items that the sink has taken; of a map, entries, and so below.
    pub delivered: u64,
    /// Items that a dead-letter hook has taken; there is none in this version.
    pub dead_lettered: u64,
    /// Items dropped by a policy that the user chose; there is none in this version.
    pub dropped: u64,
    /// Items given up, or kept by the sink.
    pub lost: u64,
    /// Updates of a map that were merged into an entry, which has an outcome of its own.
    pub coalesced: u64,
    /// Entries of a map that `remove` took back.
    pub removed: u64,
    /// The items that were not delivered in time, in the order of their pushes as far as there
    /// is one. Attempts at some of them may have had an effect: of each worker, and there are
    /// [`max_in_flight`](crate::Builder::max_in_flight), at the first ones.
    pub returned: Vec<T>,
    /// How many items another caller of `shutdown` got.
    pub returned_elsewhere: u64,
}

impl<T> ShutdownReport<T> {
    /// Whether every item was delivered, but for what was removed or merged into another.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let queue = swaplane::Queue::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// queue.push(1)?;
    /// let report = queue.shutdown(std::time::Duration::from_secs(5)).await;
    /// assert!(report.is_complete());
    /// # Ok(())
    /// # }
    /// ```
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
            .field("dead_lettered", &self.dead_lettered)
            .field("dropped", &self.dropped)
            .field("lost", &self.lost)
            .field("coalesced", &self.coalesced)
            .field("removed", &self.removed)
            .field("returned", &format_args!("[..; {}]", self.returned.len()))
            .field("returned_elsewhere", &self.returned_elsewhere)
            .finish()
    }
}
