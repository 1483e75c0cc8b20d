//! How the flusher learns that a batch is full.

use crate::sync::Ordering::{Acquire, Relaxed, Release};

use crate::sync::{AtomicUsize, order};

/// About how many items wait for a worker: a lane reports each lease, and each item is taken off
/// as it is collected. In the lowest bits whether the worker wants to be told of a full batch, and
/// of how many; one word, so that either the report sees the arming, or the arming sees the report.
#[derive(Debug, Default)]
pub(super) struct Backlog(AtomicUsize);

/// 0: nothing is wanted. 1, 2, 3, …: 1, 2, 4, … full batches are.
const ARMED: usize = OVERSTATED - 1;
/// More of them than the worker would like to wait for.
const OVERSTATED: usize = 1 << 3;
const ARMING: usize = ARMED | OVERSTATED;
const ONE: usize = 1 << SHIFT;
const SHIFT: u32 = 4;
/// How often the one batch that is wanted can be doubled.
pub(crate) const MOST_BATCHES_LOG2: usize = ARMED - 1;

impl Backlog {
    /// Whether the worker is to be told now.
    pub(super) fn report(&self, n: usize, full: usize) -> bool {
        // Release: pairs with the Acquire of `want`, which, if it comes second, sees the items.
        // If we come second we ring, and the wakeup does the rest.
        let (word, n_ones) = (&self.0, n.wrapping_mul(ONE));
        let before = word.fetch_add(n_ones, order("backlog: reported", Release));
        let Some(batches_log2) = (before & ARMED).checked_sub(1) else {
            return false;
        };
        let rings = Self::count(before).saturating_add_unsigned(n) >= limit(full, batches_log2);
        // Told once is enough: it wants to know again before it sleeps again.
        rings && word.fetch_and(!ARMING, Relaxed) & ARMED != 0
    }

    pub(super) fn take_off(&self, n: usize) {
        self.0.fetch_sub(n.wrapping_mul(ONE), Relaxed);
    }

    /// Wants to be told from now on, of one full batch doubled so often, by the `pace` or for the
    /// `overstatement`; whether that many seem to wait already.
    pub(super) fn arm(&self, full: usize, pace: usize, overstatement: usize) -> bool {
        let batches_log2 = pace.max(overstatement).min(MOST_BATCHES_LOG2);
        let arming = (1 + batches_log2) | if overstatement > pace { OVERSTATED } else { 0 };
        if ![0, arming].contains(&(self.0.load(Relaxed) & ARMING)) {
            self.disarm();
        }
        // Acquire: see `report`. The other changes of the word are read-modify-writes too, so
        // that what a report released stays released.
        let before = self.0.fetch_or(arming, order("backlog: armed", Acquire));
        Self::count(before) >= limit(full, batches_log2)
    }

    pub(super) fn disarm(&self) {
        self.0.fetch_and(!ARMING, Relaxed);
    }

    pub(super) fn now(&self) -> isize {
        self.look().0
    }

    /// How many wait, and the pace of the worker, if it waits for reports; 0 where they overstatement.
    pub(super) fn look(&self) -> (isize, Option<usize>) {
        let word = self.0.load(Relaxed);
        let batches_log2 = (word & ARMED).checked_sub(1);
        let pace = batches_log2.map(|it| if word & OVERSTATED == 0 { it } else { 0 });
        (Self::count(word), pace)
    }

    /// An item may be collected before it is reported, so the count can be below zero.
    fn count(word: usize) -> isize {
        (word as isize) >> SHIFT
    }
}

/// So many full batches as a bound of a load.
pub(super) fn limit(full: usize, batches_log2: usize) -> isize {
    isize::try_from(full.saturating_mul(1 << batches_log2)).unwrap_or(isize::MAX)
}
