//! What is counted of one shard of one side.

use std::sync::atomic::Ordering::Relaxed;

use crate::sync::{AtomicBool, AtomicU64, AtomicUsize};

/// Changed only by whoever has the lock of the shard, so by plain loads and stores; read by anybody
/// without.
// Relaxed: the lock orders the changes; who reads without it gets a count that was right once.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Entries ever begun.
    begun: AtomicU64,
    /// Updates ever merged into one.
    merged: AtomicU64,
    /// Entries ever removed.
    removed: AtomicU64,
    /// Entries that the shard holds.
    waiting: AtomicUsize,
    /// Credits leased and unused.
    credits: AtomicUsize,
    /// How many the last lease brought.
    last_lease: AtomicUsize,
    /// Some entry has a version.
    versioned: AtomicBool,
}

/// Under the lock.
impl Tally {
    /// Whether there is a credit for an entry.
    #[inline(always)]
    pub(crate) fn has_credit(&self) -> bool {
        self.credits.load(Relaxed) > 0
    }

    pub(crate) fn last_lease(&self) -> usize {
        self.last_lease.load(Relaxed)
    }

    pub(crate) fn set_lease(&self, credits: usize) {
        self.last_lease.store(credits, Relaxed);
        self.credits.store(credits, Relaxed);
    }

    /// An entry is begun, with a credit.
    #[inline(always)]
    pub(crate) fn begin(&self, versioned: bool) {
        self.credits.store(self.credits.load(Relaxed) - 1, Relaxed);
        self.waiting.store(self.waiting.load(Relaxed) + 1, Relaxed);
        self.begun.store(self.begun.load(Relaxed) + 1, Relaxed);
        self.note_version(versioned);
    }

    #[inline(always)]
    pub(crate) fn merge(&self, versioned: bool) {
        self.merged.store(self.merged.load(Relaxed) + 1, Relaxed);
        self.note_version(versioned);
    }

    #[inline(always)]
    fn note_version(&self, versioned: bool) {
        if versioned {
            self.versioned.store(true, Relaxed);
        }
    }

    pub(crate) fn remove(&self) {
        self.waiting.store(self.waiting.load(Relaxed) - 1, Relaxed);
        self.removed.store(self.removed.load(Relaxed) + 1, Relaxed);
    }

    /// The shard is emptied.
    pub(crate) fn empty(&self) -> Emptied {
        let emptied = Emptied {
            entries: self.waiting.load(Relaxed),
            versioned: self.versioned.load(Relaxed),
            unused: self.credits.load(Relaxed),
            last_lease: self.last_lease.load(Relaxed),
        };
        self.waiting.store(0, Relaxed);
        self.versioned.store(false, Relaxed);
        self.set_lease(0);
        emptied
    }
}

/// What a shard had.
#[derive(Debug)]
pub(crate) struct Emptied {
    pub(crate) entries: usize,
    pub(crate) versioned: bool,
    pub(crate) unused: usize,
    pub(crate) last_lease: usize,
}

/// By anybody.
impl Tally {
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }

    pub(crate) fn merged(&self) -> u64 {
        self.merged.load(Relaxed)
    }

    pub(crate) fn removed(&self) -> u64 {
        self.removed.load(Relaxed)
    }
}
