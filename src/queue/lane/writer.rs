//! The writing end of a lane. The protocol is told in `lane`.

#![expect(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use super::chunk::{Chunk, Link, Slot};
use super::{CLOSED, FENCED, Lane, PARKED, generation_of};
use crate::sync::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::sync::{Arc, OwnerCheck, broken, compiler_fence, fence, full, order, own_value};

/// The writing end of a lane. It is used by one thread at a time, so it is not `Sync`. Its state
/// lies in the lane, beside what it publishes: a push needs one cache line for both.
pub(crate) struct LaneWriter<T> {
    lane: Arc<Lane<T>>,
    not_sync: PhantomData<Cell<()>>,
}

/// What the writer knows of its lane, in the order in which a push needs it. Nobody else reads or
/// writes it. Counts of items are those of `published`, and wrap.
#[repr(C)]
pub(super) struct WriterState<T> {
    /// The value of `word` with which a push may take the fast path: the generation that the writer
    /// is in, and no flag.
    seen: Cell<usize>,
    /// The count at which the fast path ends: the chunk or the credits are used up.
    limit: Cell<usize>,
    /// The slots of the present chunk, moved down so that the count is an index into them.
    slots: Cell<*const Slot<T>>,
    /// The link behind which the writer enters its next chunk.
    link: Cell<*const Link<T>>,
    /// How many slots the last chunk has that was entered.
    size: Cell<usize>,
    /// The count at which the present chunk ends.
    end: Cell<usize>,
    /// The count up to which items have credit.
    funded: Cell<usize>,
    /// How many credits the last lease brought.
    last_lease: Cell<usize>,
    /// A slow push is under way. What it calls, an allocator or a waker, may push again.
    in_slow_push: Cell<bool>,
    owner: OwnerCheck,
}

impl<T> WriterState<T> {
    pub(super) fn new(first: &Link<T>) -> Self {
        Self {
            seen: Cell::new(0),
            limit: Cell::new(0),
            slots: Cell::new(std::ptr::null()),
            link: Cell::new(first),
            size: Cell::new(0),
            end: Cell::new(0),
            funded: Cell::new(0),
            last_lease: Cell::new(0),
            in_slow_push: Cell::new(false),
            owner: OwnerCheck::new(),
        }
    }
}

/// The flags that a slow push has seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flags(usize);

impl Flags {
    pub(crate) fn closed(self) -> bool {
        self.0 & CLOSED != 0 && !broken("lane: closed ignored")
    }

    pub(crate) fn parked(self) -> bool {
        self.0 & PARKED != 0 && !broken("lane: parked ignored")
    }
}

/// The fast path.
impl<T> LaneWriter<T> {
    /// Pushes an item, or leaves it to `slow`. The busy flag is up when `slow` is called.
    ///
    /// Costs five loads, two compares and four plain stores.
    #[inline(always)]
    pub(crate) fn push<R>(&self, item: T, done: R, slow: impl FnOnce(T) -> R) -> R {
        self.state().owner.check();
        self.set_busy();
        let count = self.count();
        // Relaxed: a word that equals `seen` shows nothing new. The slow path loads it again.
        let word = self.lane.control.word.load(Relaxed);
        if word == self.state().seen.get() && count != self.state().limit.get() {
            self.put(count, item);
            self.clear_busy();
            done
        } else {
            slow(item)
        }
    }

    #[inline(always)]
    fn state(&self) -> &WriterState<T> {
        &self.lane.progress.writer
    }

    /// How many items were pushed.
    #[inline(always)]
    fn count(&self) -> usize {
        own_value(&self.lane.progress.published)
    }

    /// Shows that a push is in progress, before it looks at the flags.
    ///
    /// And if a flag is raised between the store of the busy flag and the load of `word`?
    /// 1. This push sees the flag, and obeys it.
    /// 2. This push does not see it. Then the busy flag was stored before the barrier of whoever
    ///    raised the flag, who sees it after the barrier and waits until it is cleared.
    ///
    /// Without the order of the two, both could miss the other.
    #[inline(always)]
    fn set_busy(&self) {
        // Relaxed: the fences order it.
        if !broken("lane: not set busy") {
            self.lane.progress.busy.store(true, Relaxed);
        }
        // Pairs with `Barrier::heavy`, which makes the processor keep the order that this asks of
        // the compiler. Where barriers are fences the lane is FENCED, and `begin_slow` runs one.
        if !broken("lane: no compiler fence after busy") {
            compiler_fence(SeqCst);
        }
    }

    #[inline(always)]
    fn clear_busy(&self) {
        // Release: pairs with the Acquire of `Lane::is_busy`; `published` was stored before.
        self.lane
            .progress
            .busy
            .store(false, order("lane: busy cleared", Release));
    }

    #[inline(always)]
    fn put(&self, count: usize, item: T) {
        // SAFETY: `count` is before the end of the chunk, so the slot is in the chunk. The slot is
        // the writer's until `published` counts it (models `swap`, `grow`).
        unsafe {
            let slot = &*self.state().slots.get().wrapping_add(count);
            slot.with_mut(|slot| (*slot).write(item));
        }
        let written = count.wrapping_add(1);
        // Release: pairs with the Acquire of `ReaderState::load_published`. The slot, the link to
        // its chunk, and `acked` were stored before.
        self.lane
            .progress
            .published
            .store(written, order("lane: published", Release));
    }
}

/// The slow path, between `begin_slow` and `end_slow`.
impl<T> LaneWriter<T> {
    pub(super) fn new(lane: Arc<Lane<T>>) -> Self {
        Self {
            lane,
            not_sync: PhantomData,
        }
    }

    pub(crate) fn lane(&self) -> &Arc<Lane<T>> {
        &self.lane
    }

    /// Begins a slow push: sets the busy flag, moves to the active buffer, and returns the flags
    /// that are up. Returns `None` if this thread is in a slow push already.
    pub(crate) fn begin_slow(&self) -> Option<Flags> {
        self.state().owner.check();
        if self.state().in_slow_push.replace(true) && !broken("lane: pushed within a slow push") {
            return None;
        }
        let lane = &*self.lane;
        self.set_busy();
        // Relaxed: FENCED never changes.
        if lane.control.word.load(Relaxed) & FENCED != 0 && !broken("lane: no fence after busy") {
            // Pairs with the fence of `Barrier::heavy`: either this push sees the flag, or whoever
            // raised the flag sees that the lane is busy.
            fence(full("lane: weak fence after busy"));
        }
        // Acquire: pairs with the Release of `ReaderState::swap`; the pointer to the active buffer
        // was stored, and that buffer reset, before.
        let word = lane
            .control
            .word
            .load(order("lane: generation read", Acquire));
        if generation_of(word) != self.state().seen.get() {
            self.move_to(generation_of(word));
        }
        Some(Flags(word))
    }

    /// Leaves the present buffer for the active one. The next item enters a chunk there.
    fn move_to(&self, generation: usize) {
        let lane = &*self.lane;
        let count = self.count();
        let state = self.state();
        state.link.set(lane.control.active.load(&lane.buffers));
        state.end.set(count);
        state.limit.set(count);
        state.seen.set(generation);
        // Relaxed: `acked` orders it.
        lane.progress.moved_at.store(count, Relaxed);
        // Release: pairs with the Acquire of `ReaderState::take`. The old buffer was touched for
        // the last time before, and `moved_at` was stored.
        lane.progress
            .acked
            .store(generation, order("lane: acked", Release));
    }

    /// Writes an item, for which there must be credit.
    pub(crate) fn write(&self, item: T) {
        debug_assert!(self.has_credit());
        let (state, count) = (self.state(), self.count());
        if count == state.end.get() {
            // SAFETY: this is the writer, and it has come to this link. The link is the start of a
            // buffer, which the lane owns and which was reset before the generation went up, or the
            // end of the present chunk (models `swap`, `grow`).
            let next = unsafe { Chunk::at((*state.link.get()).enter(state.size.get())) };
            state.link.set(&next.end);
            state.size.set(next.slots().len());
            state.slots.set(next.slots().as_ptr().wrapping_sub(count));
            state.end.set(count.wrapping_add(next.slots().len()));
        }
        self.put(count, item);
        let written = self.count();
        let room = state.end.get().wrapping_sub(written);
        let credit = state.funded.get().wrapping_sub(written);
        state.limit.set(written.wrapping_add(room.min(credit)));
    }

    /// Ends a slow push. From here on the thread may push again.
    pub(crate) fn end_slow(&self) {
        self.clear_busy();
        self.state().in_slow_push.set(false);
    }

    /// Says that there will be no further push.
    pub(crate) fn end_writer(&self) {
        // Release: pairs with the Acquire of `LaneReader::is_ended`; `published` was stored before.
        self.lane
            .progress
            .ended
            .store(true, order("lane: ended", Release));
    }
}

/// Credits, which are counted here and come from `capacity`.
impl<T> LaneWriter<T> {
    /// Whether the next item has a credit.
    pub(crate) fn has_credit(&self) -> bool {
        self.state().funded.get() != self.count()
    }

    /// Gives the lane credits for `n` more items.
    pub(crate) fn add_credits(&self, n: usize) {
        let funded = &self.state().funded;
        funded.set(funded.get().wrapping_add(n));
    }

    /// How many credits the last lease brought.
    pub(crate) fn last_lease(&self) -> usize {
        self.state().last_lease.get()
    }

    /// Gives the lane a lease, which may be none.
    pub(crate) fn set_lease(&self, n: usize) {
        self.state().last_lease.set(n);
        self.add_credits(n);
    }

    /// Takes back the credits that no item has used. Returns how many.
    pub(crate) fn take_credits(&self) -> usize {
        let (state, count) = (self.state(), self.count());
        let unused = state.funded.get().wrapping_sub(count);
        state.funded.set(count);
        state.limit.set(count);
        unused
    }
}

impl<T> fmt::Debug for LaneWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneWriter").finish_non_exhaustive()
    }
}
