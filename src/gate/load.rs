//! How the flusher learns that a batch is full.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::sync::{AtomicUsize, order};

/// About how many items wait for a worker: a lane reports each lease, and each item is taken off
/// as it is collected. In the lowest bit whether the worker wants to be told of a full batch;
/// one word, so that either the report sees the wish, or the wish sees the report.
#[derive(Debug, Default)]
pub(super) struct Load(AtomicUsize);

const WANTED: usize = 1;
const ONE: usize = 2;

impl Load {
    /// Whether the worker is to be told now.
    pub(super) fn report(&self, n: usize, full: usize) -> bool {
        // Release: pairs with the Acquire of `want`, which, if it comes second, sees the items.
        // If we come second we ring, and the bell does the rest.
        let (word, n_ones) = (&self.0, n.wrapping_mul(ONE));
        let before = word.fetch_add(n_ones, order("load: reported", Release));
        let wanted = before & WANTED != 0;
        let rings = wanted && Self::count(before).saturating_add_unsigned(n) >= limit(full);
        // Told once is enough: it wants to know again before it sleeps again.
        rings && word.fetch_and(!WANTED, Relaxed) & WANTED != 0
    }

    pub(super) fn take_off(&self, n: usize) {
        self.0.fetch_sub(n.wrapping_mul(ONE), Relaxed);
    }

    /// Wants to be told from now on; whether it seems full already.
    pub(super) fn want(&self, full: usize) -> bool {
        // Acquire: see `report`. The other changes of the word are read-modify-writes too, so
        // that what a report released stays released.
        Self::count(self.0.fetch_or(WANTED, order("load: wanted", Acquire))) >= limit(full)
    }

    pub(super) fn want_not(&self) {
        self.0.fetch_and(!WANTED, Relaxed);
    }

    pub(super) fn now(&self) -> isize {
        Self::count(self.0.load(Relaxed))
    }

    /// An item may be collected before it is reported, so the count can be below zero.
    fn count(word: usize) -> isize {
        (word as isize) >> 1
    }
}

/// `full` as a bound of a load, which counts in half of the range.
pub(super) fn limit(full: usize) -> isize {
    isize::try_from(full).unwrap_or(isize::MAX)
}
