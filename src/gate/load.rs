//! How the flusher learns that a batch is full.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::sync::{AtomicUsize, order};

/// About how many items wait for a worker, and what the worker wants to know of it.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// How many: a lane reports each lease, and each item is taken off as it is collected. In the
    /// lowest bits whether the worker wants to be told of a full batch, and of how many; one word,
    /// so that either the report sees the wish, or the wish sees the report.
    word: AtomicUsize,
    /// How often the one full batch is doubled that the worker would like to collect.
    pace: AtomicUsize,
}

/// 0: nothing is wanted. 1, 2, 3, …: 1, 2, 4, … full batches are.
const WANTED: usize = (1 << SHIFT) - 1;
const ONE: usize = 1 << SHIFT;
const SHIFT: u32 = 3;
/// How often the one batch that is wanted can be doubled.
pub(crate) const MOST_DOUBLINGS: usize = WANTED - 1;

impl Load {
    /// Whether the worker is to be told now.
    pub(super) fn report(&self, n: usize, full: usize) -> bool {
        // Release: pairs with the Acquire of `want`, which, if it comes second, sees the items.
        // If we come second we ring, and the bell does the rest.
        let (word, n_ones) = (&self.word, n.wrapping_mul(ONE));
        let before = word.fetch_add(n_ones, order("load: reported", Release));
        let Some(doublings) = (before & WANTED).checked_sub(1) else {
            return false;
        };
        let rings = Self::count(before).saturating_add_unsigned(n) >= limit(full, doublings);
        // Told once is enough: it wants to know again before it sleeps again.
        rings && word.fetch_and(!WANTED, Relaxed) & WANTED != 0
    }

    pub(super) fn take_off(&self, n: usize) {
        self.word.fetch_sub(n.wrapping_mul(ONE), Relaxed);
    }

    /// Wants to be told from now on, of one full batch doubled so often, by the `pace` or for the
    /// `blur`; whether that many seem to wait already.
    pub(super) fn want(&self, full: usize, pace: usize, blur: usize) -> bool {
        // Relaxed: a hint to `lease`.
        self.pace.store(pace, Relaxed);
        let wanted = 1 + pace.max(blur).min(MOST_DOUBLINGS);
        if ![0, wanted].contains(&(self.word.load(Relaxed) & WANTED)) {
            self.want_not();
        }
        // Acquire: see `report`. The other changes of the word are read-modify-writes too, so
        // that what a report released stays released.
        let before = self.word.fetch_or(wanted, order("load: wanted", Acquire));
        Self::count(before) >= limit(full, wanted - 1)
    }

    pub(super) fn want_not(&self) {
        self.word.fetch_and(!WANTED, Relaxed);
    }

    /// The pace, if the worker waits for reports.
    pub(super) fn pace(&self) -> Option<usize> {
        let waits = self.word.load(Relaxed) & WANTED != 0;
        waits.then(|| self.pace.load(Relaxed))
    }

    pub(super) fn now(&self) -> isize {
        Self::count(self.word.load(Relaxed))
    }

    /// An item may be collected before it is reported, so the count can be below zero.
    fn count(word: usize) -> isize {
        (word as isize) >> SHIFT
    }
}

/// So many full batches as a bound of a load.
pub(super) fn limit(full: usize, doublings: usize) -> isize {
    isize::try_from(full.saturating_mul(1 << doublings)).unwrap_or(isize::MAX)
}
