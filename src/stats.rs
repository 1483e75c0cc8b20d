//! The statistics: every accepted item is counted once more at its outcome.

use crate::sync::Ordering::{Acquire, Relaxed};

use crate::sync::{AtomicU64, broken, fence};

/// A snapshot of the counters. Whenever nothing is in progress,
/// `accepted = delivered + returned + lost + coalesced + removed + held`.
///
/// ```
/// # let queue = swaplane::Queue::builder().own_thread().spawn_fn(|_batch| async { Ok(()) })?;
/// queue.push_all(0..10)?;
/// queue.flush_blocking()?;
/// let stats = queue.stats();
/// assert_eq!(stats.accepted, stats.delivered + stats.lost + stats.held);
/// assert_eq!((stats.batches, stats.attempts), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stats {
    /// Items whose push returned `Ok`. Of a map, updates that were not stale.
    pub accepted: u64,
    /// Items that the sink took. Of a map, entries; so in all counts below but `coalesced`.
    pub delivered: u64,
    /// Items that a shutdown has handed back, or is about to hand back.
    pub returned: u64,
    /// Items given up, or kept by the sink. Alert on this number.
    pub lost: u64,
    /// Updates of a map that were merged into an entry, which has an outcome of its own. A queue
    /// has none.
    pub coalesced: u64,
    /// Entries of a map that `remove` took back. A queue has none.
    pub removed: u64,
    /// Items that have no outcome yet: waiting, in flight, in backoff.
    pub held: u64,
    /// Batches delivered, a drained one included.
    pub batches: u64,
    /// Attempts to deliver a batch that were begun. A call of [`drain`](crate::Sink::drain) is
    /// none.
    pub attempts: u64,
}

/// What a store took in. See [`Admission::intake`](crate::source::Admission::intake).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Intake {
    pub(crate) accepted: u64,
    pub(crate) coalesced: u64,
    pub(crate) removed: u64,
}

/// The counters behind [`Stats`]. The flusher writes them, and after its end the caller
/// of `shutdown`; anybody reads them.
// Relaxed throughout: each is a count of its own. That a snapshot adds up when nothing is in
// progress follows from whatever told the reader that nothing is.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) delivered: Counter,
    pub(crate) returned: Counter,
    pub(crate) lost: Counter,
    pub(crate) batches: Counter,
    pub(crate) attempts: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Counters {
    /// A snapshot. `intake` counts what was accepted, and is called first: so while pushes are in
    /// progress `held` may be too low, but never above the capacity.
    pub(crate) fn snapshot(&self, intake: impl FnOnce() -> Intake) -> Stats {
        let intake = intake();
        // Acquire: pairs with the Release of `LaneWriter::put` and of `ShardCounts::begin`. Whoever
        // put an item that `intake` counts had a credit, and credits come back after an outcome is
        // counted.
        if !broken("stats: no fence") {
            fence(Acquire);
        }
        let mut stats = Stats {
            coalesced: intake.coalesced,
            removed: intake.removed,
            delivered: self.delivered.get(),
            returned: self.returned.get(),
            lost: self.lost.get(),
            batches: self.batches.get(),
            attempts: self.attempts.get(),
            ..Stats::default()
        };
        let outcomes = stats.delivered + stats.returned + stats.lost;
        let with_outcome = outcomes + stats.coalesced + stats.removed;
        stats.accepted = intake.accepted.max(with_outcome);
        stats.held = stats.accepted - with_outcome;
        stats
    }
}
