//! What is counted of one shard of one side.

use crate::sync::Ordering::Release;
use crate::sync::{OwnedCounter, order};

/// Changed only by whoever has the lock of the shard; read by anybody without.
#[derive(Debug, Default)]
pub(crate) struct ShardCounts {
    /// Entries ever begun.
    begun: OwnedCounter,
    /// Updates ever merged into one.
    merged: OwnedCounter,
    /// Entries ever removed.
    removed: OwnedCounter,
    /// Entries that the shard holds.
    waiting: OwnedCounter,
    /// Credits leased and unused.
    credits: OwnedCounter,
    /// How many the last lease brought.
    last_lease: OwnedCounter,
    /// Not 0: some entry has a version.
    versioned: OwnedCounter,
}

/// Under the lock.
impl ShardCounts {
    /// Whether there is a credit for an entry.
    #[inline(always)]
    pub(crate) fn has_credit(&self) -> bool {
        self.credits.get() > 0
    }

    pub(crate) fn last_lease(&self) -> usize {
        self.last_lease.get()
    }

    pub(crate) fn set_lease(&self, credits: usize) {
        self.last_lease.set(credits);
        self.credits.set(credits);
    }

    /// An entry is begun, with a credit.
    #[inline(always)]
    pub(crate) fn begin(&self, versioned: bool) {
        self.credits.sub(1);
        self.waiting.add(1);
        // Release: pairs with the fence of `Counters::snapshot`.
        self.begun.publish(1, order("map: begun", Release));
        self.note_version(versioned);
    }

    #[inline(always)]
    pub(crate) fn merge(&self, versioned: bool) {
        self.merged.add(1);
        self.note_version(versioned);
    }

    #[inline(always)]
    fn note_version(&self, versioned: bool) {
        if versioned {
            self.versioned.set(1);
        }
    }

    pub(crate) fn remove(&self) {
        self.waiting.sub(1);
        self.removed.add(1);
    }

    /// The shard is emptied.
    pub(crate) fn empty(&self) -> Emptied {
        let emptied = Emptied {
            versioned: self.versioned.get() > 0,
            unused: self.credits.get(),
            last_lease: self.last_lease.get(),
        };
        self.waiting.set(0);
        self.versioned.set(0);
        self.set_lease(0);
        emptied
    }
}

/// What a shard had.
#[derive(Debug)]
pub(crate) struct Emptied {
    pub(crate) versioned: bool,
    pub(crate) unused: usize,
    pub(crate) last_lease: usize,
}

/// By anybody.
impl ShardCounts {
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.get()
    }

    pub(crate) fn begun(&self) -> u64 {
        self.begun.get() as u64
    }

    pub(crate) fn merged(&self) -> u64 {
        self.merged.get() as u64
    }

    pub(crate) fn removed(&self) -> u64 {
        self.removed.get() as u64
    }
}
