//! One partition of a map: two sides, of which one is active; the other is swapped out, or waits
//! to be swapped in.
//!
//! ```text
//!  put ─► hash ─► shard of the active side, locked            flusher: publish the other side,
//!           is it still the active one? no: the other one              then empty this one
//!           then write, let go                                         shard by shard into `out`
//!
//!  an entry:  active side ──► (not active any more) ──► out ──► the sink
//!                                                      its key and version stay until that is over
//! ```
//!
//! Publishing decides: whoever locks a shard of the old side before the flusher does is in time, and
//! whoever does so after sees that the other is active, since the lock comes between. Both sides live
//! as long as the partition, so it does no harm that the same one comes back.
//!
//! A version is compared with what is held; where that has none, with what is swapped out, in the
//! direction in which entries move: the other side, then `out`, then what is delivered_versions. The
//! flusher adds to the next of these before it takes from the last. The writer holds the lock of
//! its shard all the while, and must not wait for one of the other side, whose holder may just be
//! waiting for ours (the sides may have changed roles): it tries, and starts over.

use crate::sync::Ordering::{Acquire, Relaxed, Release};
use std::borrow::Borrow;

use crossbeam_utils::CachePadded;

use super::counts::ShardCounts;
use super::hashed::Hashed;
use super::shards::{ShardGuard, Shards};
use super::slot::Slot;
use crate::sync::{AtomicBool, AtomicUsize, Sealed, broken, order};

pub(crate) struct Partition<K, V> {
    /// Which side is the active one.
    active: AtomicUsize,
    sides: [Side<K, V>; 2],
    /// What is swapped out and not terminal: all of it while it is being taken, then the versions
    /// (and the values, if they are to be read).
    out: Shards<K, Slot<V>>,
    /// There may be something behind the active side.
    behind: AtomicBool,
}

struct Side<K, V> {
    shards: Shards<K, Slot<V>>,
    /// One for each shard, under its lock.
    counts: Box<[CachePadded<ShardCounts>]>,
    sealed: Sealed,
}

/// A shard of the active side, locked.
pub(crate) struct LockedShard<'a, K, V> {
    pub(crate) shard: ShardGuard<'a, K, Slot<V>>,
    pub(crate) counts: &'a ShardCounts,
    pub(crate) shard_id: ShardId,
}

/// Which shard of which side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShardId {
    side: usize,
    index: usize,
}

/// Somebody else holds a lock that we must not wait for: let go of ours, and start over.
#[derive(Debug)]
pub(crate) struct Contended;

impl<K, V> Partition<K, V> {
    pub(crate) fn new(shards: usize) -> Self {
        let side = || Side {
            shards: Shards::new(shards),
            counts: (0..shards).map(|_| CachePadded::default()).collect(),
            sealed: Sealed::new(),
        };
        Self {
            active: AtomicUsize::new(0),
            sides: [side(), side()],
            out: Shards::new(shards),
            behind: AtomicBool::new(false),
        }
    }

    /// Locks the shard of the active side that a hash belongs to.
    #[inline(always)]
    pub(crate) fn enter(&self, hash: u64) -> LockedShard<'_, K, V> {
        let index = self.out.index(hash);
        // Relaxed: a guess.
        let mut side = self.active.load(Relaxed);
        loop {
            let early = broken("map: checked outside the lock") && self.is_active(side);
            let shard = self.sides[side].shards.lock(index);
            if early || self.is_active(side) {
                return LockedShard {
                    shard,
                    counts: &self.sides[side].counts[index],
                    shard_id: ShardId { side, index },
                };
            }
            // Swapped since. There are only two.
            drop(shard);
            side = 1 - side;
        }
    }

    /// Whether this side is the active one. If so under the lock of one of its shards, then that
    /// shard is not emptied until it is released.
    #[inline(always)]
    fn is_active(&self, side: usize) -> bool {
        if broken("map: not checked") {
            return true;
        }
        if broken("map: a sealed flag for each side instead") {
            return !self.sides[side].sealed.get();
        }
        // Acquire: pairs with the Release in `publish`, so that we see what is behind this side.
        self.active.load(order("map: active read relaxed", Acquire)) == side
    }

    /// Waits for everybody who locked before now. Whoever enters from now on sees what was
    /// stored before.
    pub(crate) fn synchronize(&self) {
        for side in &self.sides {
            for index in 0..side.shards.amount() {
                drop(side.shards.lock(index));
            }
        }
    }

    /// All counts, of both sides.
    pub(crate) fn counts(&self) -> impl Iterator<Item = &ShardCounts> {
        let sides = self.sides.iter();
        sides.flat_map(|side| side.counts.iter().map(|counts| &**counts))
    }
}

/// The look-ups.
impl<K: Eq, V> Partition<K, V> {
    /// The version of a key behind the active side, of which a shard is locked.
    pub(crate) fn version_in_flight(
        &self,
        shard_id: ShardId,
        key: &Hashed<K>,
    ) -> Result<Option<u64>, Contended> {
        self.find_in_flight(shard_id, key.hash, &key.key, |held| held.meta().version())
            .map(Option::flatten)
    }

    fn find_in_flight<Q: Eq + ?Sized, R>(
        &self,
        ShardId { side, index }: ShardId,
        hash: u64,
        key: &Q,
        look: impl Fn(&Slot<V>) -> R,
    ) -> Result<Option<R>, Contended>
    where
        K: Borrow<Q>,
    {
        // Relaxed: set before our side was published, which `is_active` has seen. That it was
        // cleared we may learn late.
        if !self.behind.load(Relaxed) {
            return Ok(None);
        }
        let in_out = || {
            let out = self.out.lock(index);
            out.get(hash, |other| other.is(hash, key)).map(&look)
        };
        if broken("map: in flight looked up in the wrong order") {
            if let Some(found) = in_out() {
                return Ok(Some(found));
            }
        }
        let other = self.sides[1 - side].shards.try_lock(index);
        let other = other.ok_or(Contended)?;
        if let Some(held) = other.get(hash, |other| other.is(hash, key)) {
            return Ok(Some(look(held)));
        }
        drop(other);
        if broken("map: in flight looked up in the wrong order") {
            return Ok(None);
        }
        Ok(in_out())
    }

    /// Shows what is held of a key: in the active side, and where that has nothing, `behind` it.
    pub(crate) fn look_up<Q: Eq + ?Sized, R>(
        &self,
        hash: u64,
        key: &Q,
        behind: bool,
        look: impl Fn(&Slot<V>) -> R,
    ) -> Result<Option<R>, Contended>
    where
        K: Borrow<Q>,
    {
        let locked = self.enter(hash);
        match locked.shard.get(hash, |other| other.is(hash, key)) {
            Some(held) => Ok(Some(look(held))),
            None if behind => self.find_in_flight(locked.shard_id, hash, key, look),
            None => Ok(None),
        }
    }
}

/// The flusher's side.
impl<K, V> Partition<K, V> {
    /// About how many entries the active side holds; never fewer than are visible.
    pub(crate) fn waiting(&self, active: usize) -> usize {
        let counts = self.sides[active].counts.iter();
        counts.map(|counts| counts.waiting()).sum()
    }

    /// Whether the active side is empty, and whoever begins an entry from now on sees what was
    /// stored before.
    pub(crate) fn is_empty(&self, active: usize) -> bool {
        let side = &self.sides[active];
        if broken("map: parked without synchronizing") {
            return self.waiting(active) == 0;
        }
        (0..side.shards.amount()).all(|index| {
            let _shard = side.shards.lock(index);
            side.counts[index].waiting() == 0
        })
    }

    /// Makes the other side the active one and moves what this one holds to `out`, which is empty.
    /// Tells `each` shard's counts. No lock is held for longer than it takes to exchange two tables.
    pub(crate) fn swap_out(&self, active: usize, each: impl FnMut(&ShardCounts)) {
        self.behind.store(true, Relaxed);
        let late = broken("map: published after it is emptied");
        if !late {
            self.publish(1 - active);
        }
        self.empty(active, each);
        if late {
            self.publish(1 - active);
        }
    }

    fn publish(&self, side: usize) {
        self.sides[side].sealed.set(false);
        // Release: pairs with the Acquire in `is_active`.
        self.active
            .store(side, order("map: published relaxed", Release));
        self.sides[1 - side].sealed.set(true);
    }

    fn empty(&self, side: usize, mut each: impl FnMut(&ShardCounts)) {
        let Side { shards, counts, .. } = &self.sides[side];
        for (index, counts) in counts.iter().enumerate() {
            let mut shard = shards.lock(index);
            each(counts);
            if broken("map: nowhere for a moment") {
                let nowhere = Shards::new(shards.amount());
                let mut nowhere = nowhere.lock(index);
                shard.exchange(&mut nowhere);
                drop(shard);
                self.out.lock(index).exchange(&mut nowhere);
                continue;
            }
            shard.exchange(&mut self.out.lock(index));
        }
    }

    /// Empties the active side into `into` without a swap: no update can enter any more. Calls
    /// `each` after each shard, which is still locked.
    pub(crate) fn take_rest(
        &self,
        active: usize,
        into: &Shards<K, Slot<V>>,
        mut each: impl FnMut(&ShardCounts),
    ) {
        let side = &self.sides[active];
        for (index, counts) in side.counts.iter().enumerate() {
            let mut shard = side.shards.lock(index);
            shard.exchange(&mut into.lock(index));
            each(counts);
        }
    }

    /// Gives the side that is not active, which is empty, the memory of what was just emptied, and
    /// its own in return: what was used last is used again first, while the caches have it.
    pub(crate) fn reuse(&self, active: usize, emptied: &Shards<K, Slot<V>>) {
        let shards = &self.sides[1 - active].shards;
        for index in 0..shards.amount() {
            shards.lock(index).exchange(&mut emptied.lock(index));
        }
    }

    /// What is swapped out.
    pub(crate) fn out(&self) -> &Shards<K, Slot<V>> {
        &self.out
    }

    /// Leaves nothing of what is swapped out; takes the keys into `into`.
    pub(crate) fn forget(&self, into: &Shards<K, Slot<V>>) {
        for index in 0..self.out.amount() {
            self.out.lock(index).exchange(&mut into.lock(index));
        }
        self.behind.store(false, Relaxed);
    }

    /// Frees the memory of what is empty.
    pub(crate) fn trim(&self) {
        let sides = self.sides.iter().map(|side| &side.shards);
        for shards in sides.chain([&self.out]) {
            (0..shards.amount()).for_each(|index| shards.lock(index).trim());
        }
    }
}

impl<K, V> std::fmt::Debug for Partition<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition").finish_non_exhaustive()
    }
}
