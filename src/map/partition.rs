//! One partition of a map: two sides, and the tables in flight.
//!
//! As in left-right there are two sides of which one is active, and the flusher works on the other
//! one. Unlike there no entry is written to both sides: an entry moves on towards the sink.
//!
//! ```text
//!  update ──► active side ◄── swap ──► standby side, empty
//!                  │ emptied after the swap
//!                  ▼
//!              in flight ──► batches ──► the sink
//!                  │ settled
//!                  ▼
//!              delivered versions, if the map remembers them
//! ```
//!
//! # Paths
//! - **Update** (the fast path, [`Partition::enter`]): locks the key's shard of the active side,
//!   checks that the side is still active, writes, and unlocks.
//! - **Swap** ([`Partition::swap`]): makes the standby side the active one, then empties the other
//!   side into the tables in flight, shard by shard under their locks. Publishing decides: an
//!   update that locks a shard before the flusher does is in time, and one that locks it later sees
//!   that the side is not active any more.
//! - **Forget** ([`Partition::forget`]): once the sink is done with all that is in flight its keys
//!   and versions go. Before that the partition is not swapped again.
//! - **Take the rest** ([`Partition::take_rest`]): after the close the active side is emptied
//!   without a swap, while entries are still in flight. No update follows.
//! - **Close** and **park**: the flusher, or whoever closes, raises a flag of the store and then
//!   locks each shard once ([`Partition::synchronize`], [`Partition::is_empty`]). Updates read the
//!   flags under the lock of their shard.
//!
//! # Locks
//! Whoever holds several locks took them in this order: a shard of a side, the same shard in
//! flight, the delivered versions. Nobody who holds a shard of one side waits for a shard of the
//! other. (Tables of the collector's own are locked by nobody else, and do not count.)

use std::borrow::Borrow;

use crossbeam_utils::CachePadded;

use super::counts::ShardCounts;
use super::hashed::Hashed;
use super::shards::{ShardGuard, Shards};
use super::slot::Slot;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicBool, AtomicUsize, broken, order};

pub(crate) struct Partition<K, V> {
    /// The index of the active side. Written by the flusher.
    active: AtomicUsize,
    sides: [Side<K, V>; 2],
    /// The entries in flight: taken off a side, and not settled. The flusher leaves here what has
    /// to stay known of them: the versions, and with `read_in_flight` the values.
    in_flight: Shards<K, Slot<V>>,
    /// The standby side or `in_flight` may hold entries. Written by the flusher.
    has_in_flight: AtomicBool,
}

struct Side<K, V> {
    shards: Shards<K, Slot<V>>,
    /// The counts of each shard. Written under the lock of the shard.
    counts: Box<[CachePadded<ShardCounts>]>,
}

/// A shard of the active side, locked. It is not emptied before it is released.
pub(crate) struct LockedShard<'a, K, V> {
    pub(crate) shard: ShardGuard<'a, K, Slot<V>>,
    pub(crate) counts: &'a ShardCounts,
    pub(crate) shard_id: ShardId,
}

/// The address of a shard in a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShardId {
    side: usize,
    index: usize,
}

/// Another thread holds a lock that must not be waited for. The caller releases its own lock and
/// starts over.
#[derive(Debug)]
pub(crate) struct Contended;

impl<K, V> Partition<K, V> {
    pub(crate) fn new(shards: usize) -> Self {
        let side = || Side {
            shards: Shards::new(shards),
            counts: (0..shards).map(|_| CachePadded::default()).collect(),
        };
        Self {
            active: AtomicUsize::new(0),
            sides: [side(), side()],
            in_flight: Shards::new(shards),
            has_in_flight: AtomicBool::new(false),
        }
    }

    /// Locks the shard that a hash belongs to, in the active side.
    ///
    /// The side is looked up, its shard locked, and the side then checked under the lock. And if
    /// the flusher swaps between these steps?
    /// 1. It publishes the other side, and the check sees that. The shard may be empty already, or
    ///    be emptied next, so the lock is released, and the other side tried.
    /// 2. It publishes the other side, and the check does not see that. Then the flusher has not
    ///    emptied this shard: it would have locked the shard after publishing, and a lock that is
    ///    taken later shows what was published. So it empties the shard after this lock is
    ///    released, and takes what was written.
    /// 3. It swaps twice before the lock is taken, and the check finds the first guess right. That
    ///    does no harm: both sides live as long as the partition, and this one is active again.
    ///
    /// The check reads the one index that decides, so no two sides are ever active at once. With a
    /// flag for each side they could be, and of two puts of a thread the later could be delivered
    /// first.
    ///
    /// Each round but the first stands for a swap, so an update never waits for the flusher longer
    /// than the exchange of two tables takes.
    #[inline(always)]
    pub(crate) fn enter(&self, hash: u64) -> LockedShard<'_, K, V> {
        let index = self.in_flight.index(hash);
        // Relaxed: a guess, which is checked under the lock.
        let mut side = self.active.load(Relaxed);
        loop {
            let shard = self.sides[side].shards.lock(index);
            if self.is_active(side) {
                return LockedShard {
                    shard,
                    counts: &self.sides[side].counts[index],
                    shard_id: ShardId { side, index },
                };
            }
            drop(shard);
            side = 1 - side;
        }
    }

    /// Whether a side is the active one. If it is, a shard of it that the caller has locked is not
    /// emptied before it is released.
    // Acquire: pairs with the Release in `publish`, before which `has_in_flight` was stored.
    #[inline(always)]
    fn is_active(&self, side: usize) -> bool {
        self.active.load(order("map: active read relaxed", Acquire)) == side
            || broken("map: not checked")
    }

    /// Waits for the updates in progress, by locking each shard once, as `synchronize_rcu` waits
    /// for readers. Every update that locks its shard later sees what was stored before this call.
    pub(crate) fn synchronize(&self) {
        for side in &self.sides {
            for index in 0..side.shards.amount() {
                drop(side.shards.lock(index));
            }
        }
    }

    /// The counts of all shards of both sides.
    pub(crate) fn counts(&self) -> impl Iterator<Item = &ShardCounts> {
        let sides = self.sides.iter();
        sides.flat_map(|side| side.counts.iter().map(|counts| &**counts))
    }
}

/// The look-ups.
impl<K: Eq, V> Partition<K, V> {
    /// The version of a key in flight. `shard_id` is the shard of the active side that the caller
    /// has locked.
    ///
    /// # Errors
    /// See [`find_in_flight`](Self::find_in_flight).
    pub(crate) fn version_in_flight(
        &self,
        shard_id: ShardId,
        key: &Hashed<K>,
    ) -> Result<Option<u64>, Contended> {
        self.find_in_flight(shard_id, key.hash, &key.key, |slot| slot.meta().version())
            .map(Option::flatten)
    }

    /// Shows a key in flight to `look`. `shard_id` is the shard of the active side that the caller
    /// has locked, in which the key is not, or has no version.
    ///
    /// An entry moves from the other side to `in_flight`, and its version from there to the
    /// delivered versions. The flusher puts it into the next place before it takes it out of the
    /// last, or does both under both locks. The look-up goes the same way: the other side,
    /// `in_flight`, then (in the caller) the delivered versions. And if the entry moves meanwhile?
    /// 1. It moves to `in_flight` before the other side is looked at: `in_flight` has it.
    /// 2. It moves to `in_flight` after the other side was looked at: then it was found there.
    /// 3. It is settled and forgotten between the two, or before: its version was noted by then,
    ///    and the delivered versions have it if the map remembers them.
    ///
    /// The other way round, an entry could move past the look-up and be seen nowhere.
    ///
    /// # Errors
    /// [`Contended`] if the shard of the other side is locked. The lock is only tried: since the
    /// caller's check the flusher may have swapped, and its holder may be an update in the side
    /// that is active now, which looks for a key in flight as well. The two would wait for each
    /// other. The lock of `in_flight` is waited for: whoever holds it waits for no other shard.
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
        // Relaxed: `true` was stored before the caller's side was published, which `is_active` has
        // seen. A clear that is seen late costs the look-up; and a clear that is seen was stored
        // after the versions were noted, under a lock that the caller takes later.
        if !self.has_in_flight.load(Relaxed) {
            return Ok(None);
        }
        let standby = self.sides[1 - side].shards.try_lock(index);
        let standby = standby.ok_or(Contended)?;
        if let Some(slot) = standby.get(hash, |other| other.is(hash, key)) {
            return Ok(Some(look(slot)));
        }
        drop(standby);
        let in_flight = self.in_flight.lock(index);
        let slot = in_flight.get(hash, |other| other.is(hash, key));
        Ok(slot.map(look))
    }

    /// Shows the slot of a key to `look`: the one in the active side, or else, with `in_flight`,
    /// the one in flight.
    ///
    /// # Errors
    /// [`Contended`] with `in_flight`; see [`find_in_flight`](Self::find_in_flight).
    pub(crate) fn look_up<Q: Eq + ?Sized, R>(
        &self,
        hash: u64,
        key: &Q,
        in_flight: bool,
        look: impl Fn(&Slot<V>) -> R,
    ) -> Result<Option<R>, Contended>
    where
        K: Borrow<Q>,
    {
        let locked = self.enter(hash);
        match locked.shard.get(hash, |other| other.is(hash, key)) {
            Some(slot) => Ok(Some(look(slot))),
            None if in_flight => self.find_in_flight(locked.shard_id, hash, key, look),
            None => Ok(None),
        }
    }
}

/// The flusher's side. It alone swaps, so it knows which side is the active one.
impl<K, V> Partition<K, V> {
    /// About how many entries the active side holds; never fewer than are visible. Takes no lock.
    pub(crate) fn waiting(&self, active: usize) -> usize {
        let counts = self.sides[active].counts.iter();
        counts.map(|counts| counts.waiting()).sum()
    }

    /// Whether the active side is empty. Locks each shard until one holds something: so if it is,
    /// every update that begins an entry later sees what was stored before this call.
    pub(crate) fn is_empty(&self, active: usize) -> bool {
        let Side { shards, counts } = &self.sides[active];
        (0..shards.amount()).all(|index| {
            let _shard = shards.lock(index);
            counts[index].waiting() == 0
        })
    }

    /// Makes the standby side the active one, and moves what the other side holds to `in_flight`,
    /// which is empty. Calls `on_shard` with the counts of each emptied shard, under its lock.
    ///
    /// No lock is held for longer than it takes to exchange two tables.
    pub(crate) fn swap(&self, active: usize, on_shard: impl FnMut(&ShardCounts)) {
        // Relaxed: `publish` orders it for whoever enters the other side.
        self.has_in_flight.store(true, Relaxed);
        self.publish(1 - active);
        self.empty(active, on_shard);
    }

    // Release: pairs with the Acquire in `is_active`.
    fn publish(&self, side: usize) {
        self.active
            .store(side, order("map: published relaxed", Release));
    }

    fn empty(&self, side: usize, mut on_shard: impl FnMut(&ShardCounts)) {
        let Side { shards, counts } = &self.sides[side];
        for (index, counts) in counts.iter().enumerate() {
            let mut shard = shards.lock(index);
            on_shard(counts);
            // Under both locks: a look-up that misses an entry here finds it in flight.
            shard.exchange(&mut self.in_flight.lock(index));
        }
    }

    /// Moves the entries of the active side to `into`, without a swap. The map must be closed, so
    /// that no update follows. Calls `on_shard` with the index of each shard, which is still
    /// locked.
    pub(crate) fn take_rest(
        &self,
        active: usize,
        into: &Shards<K, Slot<V>>,
        mut on_shard: impl FnMut(usize, &ShardCounts),
    ) {
        let Side { shards, counts } = &self.sides[active];
        for (index, counts) in counts.iter().enumerate() {
            let mut shard = shards.lock(index);
            shard.exchange(&mut into.lock(index));
            on_shard(index, counts);
        }
    }

    /// Exchanges the tables of the standby side for `tables`; both are empty. The tables that were
    /// used last are used again first, while they are in the caches.
    pub(crate) fn reuse(&self, standby: usize, tables: &Shards<K, Slot<V>>) {
        let shards = &self.sides[standby].shards;
        for index in 0..shards.amount() {
            shards.lock(index).exchange(&mut tables.lock(index));
        }
    }

    pub(crate) fn in_flight(&self) -> &Shards<K, Slot<V>> {
        &self.in_flight
    }

    /// Moves what is in flight to `into`, which is empty, for the caller to drop. What the map is
    /// to remember of it must be noted before.
    pub(crate) fn forget(&self, into: &Shards<K, Slot<V>>) {
        for index in 0..self.in_flight.amount() {
            self.in_flight.lock(index).exchange(&mut into.lock(index));
        }
        // Relaxed: whoever sees it late looks in vain. See `find_in_flight`.
        self.has_in_flight.store(false, Relaxed);
    }

    /// Frees the memory of empty tables.
    pub(crate) fn trim(&self) {
        let sides = self.sides.iter().map(|side| &side.shards);
        for shards in sides.chain([&self.in_flight]) {
            (0..shards.amount()).for_each(|index| shards.lock(index).trim());
        }
    }
}

impl<K, V> std::fmt::Debug for Partition<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition").finish_non_exhaustive()
    }
}
