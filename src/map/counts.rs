//! The counts of one shard of one side.

use crate::sync::Ordering::Release;
use crate::sync::{OwnedCounter, order};

/// The counts of a shard. Written under the lock of the shard, read without.
#[derive(Debug, Default)]
pub(crate) struct ShardCounts {
    /// How many entries were ever begun.
    begun: OwnedCounter,
    /// How many updates were ever merged into an entry.
    merged: OwnedCounter,
    /// How many entries were ever removed.
    removed: OwnedCounter,
    /// How many entries the shard holds.
    waiting: OwnedCounter,
    /// How many credits are leased and unused.
    credits: OwnedCounter,
    /// How many credits the last lease brought.
    last_lease: OwnedCounter,
    /// 1 once an update had a version since the shard was last emptied, otherwise 0.
    versioned: OwnedCounter,
}

/// For whoever has locked the shard.
impl ShardCounts {
    /// Whether a credit is left for an entry.
    #[inline(always)]
    pub(crate) fn has_credit(&self) -> bool {
        self.credits.get() > 0
    }

    pub(crate) fn last_lease(&self) -> usize {
        self.last_lease.get()
    }

    /// Notes a lease, which brought so many credits.
    pub(crate) fn set_lease(&self, credits: usize) {
        self.last_lease.set(credits);
        self.credits.set(credits);
    }

    /// Counts an entry that begins, and takes its credit.
    #[inline(always)]
    pub(crate) fn begin(&self, versioned: bool) {
        self.credits.sub(1);
        self.waiting.add(1);
        // Release: pairs with the Acquire fence in `Counters::snapshot`. A snapshot that counts
        // this entry also counts the outcome that gave its credit back.
        self.begun.publish(1, order("map: begun", Release));
        self.note_version(versioned);
    }

    /// Counts an update that was merged into an entry.
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

    /// Counts an entry that was removed.
    pub(crate) fn remove(&self) {
        self.waiting.sub(1);
        self.removed.add(1);
    }

    /// Counts the shard as emptied, and ends its lease.
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

/// What a shard had when it was emptied.
#[derive(Debug)]
pub(crate) struct Emptied {
    /// An entry may have had a version.
    pub(crate) versioned: bool,
    /// How many credits were leased and unused.
    pub(crate) unused: usize,
    /// How many credits the last lease brought.
    pub(crate) last_lease: usize,
}

/// For everybody.
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
