//! How the flusher learns that a batch is full.

use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicUsize, order};

/// About how many items wait for a worker. A lane or shard reports each lease, and the flusher
/// takes off each item as it collects it.
///
/// The lowest bits say whether the flusher is armed, which means that it asked to be woken by a
/// report, and at how many full batches. They lie in the word of the count. So if a report and the
/// arming race, the second of them sees the first.
#[derive(Debug, Default)]
pub(super) struct Backlog(AtomicUsize);

/// 0: not armed. `n`: woken at `2^(n - 1)` full batches.
const ARMED: usize = OVERSTATED - 1;
/// The number of batches was raised, because unused credits overstate the backlog.
const OVERSTATED: usize = 1 << 3;
const ARMING: usize = ARMED | OVERSTATED;
const ONE: usize = 1 << SHIFT;
const SHIFT: u32 = 4;
/// The largest number of batches at which the flusher can be woken, as its logarithm.
pub(crate) const MOST_BATCHES_LOG2: usize = ARMED - 1;

impl Backlog {
    /// Adds `n` items. Returns whether the flusher is to be woken: it is armed, and the size that
    /// it asked for is reached, of which `full` items are a batch.
    pub(super) fn report(&self, n: usize, full: usize) -> bool {
        // Release: pairs with the Acquire of `arm`, which sees the items if it comes second. If
        // this comes second it wakes the flusher, and the wake-up orders the items.
        let (word, n_ones) = (&self.0, n.wrapping_mul(ONE));
        let before = word.fetch_add(n_ones, order("backlog: reported", Release));
        let Some(batches_log2) = (before & ARMED).checked_sub(1) else {
            return false;
        };
        let reached =
            Self::count(before).saturating_add_unsigned(n) >= items_in(full, batches_log2);
        // Relaxed: only that one report disarms matters. The flusher arms again before it sleeps.
        reached && word.fetch_and(!ARMING, Relaxed) & ARMED != 0
    }

    // Relaxed: a read-modify-write, so that it carries on what a report released.
    pub(super) fn take_off(&self, n: usize) {
        self.0.fetch_sub(n.wrapping_mul(ONE), Relaxed);
    }

    /// Arms: asks to be woken at `2^batches_log2` full batches of `full` items, or at
    /// `2^overstatement` if that is more. Returns whether as many wait already, by the reports.
    ///
    /// And if a report comes between the look at the count and the arming? There is no between:
    /// both are one read-modify-write.
    /// 1. The report comes first. The count that is returned here has it.
    /// 2. The arming comes first. The report sees it, and wakes the flusher.
    pub(super) fn arm(&self, full: usize, batches_log2: usize, overstatement: usize) -> bool {
        let most = batches_log2.max(overstatement).min(MOST_BATCHES_LOG2);
        let overstated = if overstatement > batches_log2 {
            OVERSTATED
        } else {
            0
        };
        let arming = (1 + most) | overstated;
        // Relaxed: only the flusher arms; a report may disarm meanwhile, which changes nothing.
        if ![0, arming].contains(&(self.0.load(Relaxed) & ARMING)) {
            self.disarm();
        }
        // Acquire: pairs with the Release of `report`. All changes of the word are
        // read-modify-writes, so what a report released stays released.
        let before = self.0.fetch_or(arming, order("backlog: armed", Acquire));
        Self::count(before) >= items_in(full, most)
    }

    // Relaxed: a report that does not see it wakes the flusher once too often.
    pub(super) fn disarm(&self) {
        self.0.fetch_and(!ARMING, Relaxed);
    }

    pub(super) fn now(&self) -> isize {
        self.look().0
    }

    /// How many items wait, and at how many batches the flusher wakes, as a logarithm. `None`: it
    /// is not armed. 0 where the number was raised for the overstatement.
    // Relaxed: a hint for the size of a lease.
    pub(super) fn look(&self) -> (isize, Option<usize>) {
        let word = self.0.load(Relaxed);
        let batches_log2 = (word & ARMED).checked_sub(1);
        let trusted = batches_log2.map(|it| if word & OVERSTATED == 0 { it } else { 0 });
        (Self::count(word), trusted)
    }

    /// Below zero where items were collected before they were reported.
    fn count(word: usize) -> isize {
        (word as isize) >> SHIFT
    }
}

/// How many items `2^batches_log2` batches of `full` items have. Saturates.
pub(super) fn items_in(full: usize, batches_log2: usize) -> isize {
    isize::try_from(full.saturating_mul(1 << batches_log2)).unwrap_or(isize::MAX)
}
