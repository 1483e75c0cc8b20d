//! The end of a lane that writes; for the protocol see `lane`.

#![expect(unsafe_code)]

use crate::sync::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use super::chunk::{Chunk, Link, Slot};
use super::{CLOSED, FENCED, Lane, PARKED, generation_of};
use crate::sync::{Arc, Exclusive, broken, compiler_fence, fence, full, order, own_value};

/// The end of a lane that writes: the property of one thread at a time, so it is not `Sync`. What it
/// knows lies in the lane, beside what it publishes: one cache line for a push to have.
pub(crate) struct LaneWriter<T> {
    lane: Arc<Lane<T>>,
    not_sync: PhantomData<Cell<()>>,
}

/// What the writer knows of its lane, and nobody else; in the order in which a push needs it.
#[repr(C)]
pub(super) struct WriterState<T> {
    /// The word, without flags, that needs no look.
    seen: Cell<usize>,
    /// The count at which a push has to look for room: the end of the chunk, or of the credits.
    limit: Cell<usize>,
    /// The slots of the present chunk, moved down so that the count is an index into them.
    slots: Cell<*const Slot<T>>,
    /// Where the next chunk is to hang.
    link: Cell<*const Link<T>>,
    /// How many slots the present chunk has, or had.
    size: Cell<usize>,
    /// The count at which the present chunk ends.
    end: Cell<usize>,
    /// The count up to which items have credit.
    funded: Cell<usize>,
    /// How many credits the last lease brought.
    last_lease: Cell<usize>,
    /// A slow push is under way: what it calls (an allocator) may push again.
    in_slow_push: Cell<bool>,
    exclusive: Exclusive,
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
            exclusive: Exclusive::new(),
        }
    }
}

/// What a slow push has seen.
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

    #[inline(always)]
    fn state(&self) -> &WriterState<T> {
        &self.lane.progress.writer
    }

    /// How many items were pushed.
    #[inline(always)]
    fn count(&self) -> usize {
        own_value(&self.lane.progress.published)
    }

    /// Pushes, or leaves the item to `slow`: two loads of the lane, a compare each, and four
    /// plain stores. The mark is up when `slow` is called.
    #[inline(always)]
    pub(crate) fn push<R>(&self, item: T, done: R, slow: impl FnOnce(T) -> R) -> R {
        self.state().exclusive.check();
        self.set_busy();
        let count = self.count();
        let word = self.lane.control.word.load(Relaxed);
        if word == self.state().seen.get() && count != self.state().limit.get() {
            self.put(count, item);
            self.clear_busy();
            done
        } else {
            slow(item)
        }
    }

    /// Begins a slow push: marks the lane busy, moves to the active buffer, and tells which flags
    /// are up. `None`: this very thread is in a slow push already.
    pub(crate) fn begin_slow(&self) -> Option<Flags> {
        self.state().exclusive.check();
        if self.state().in_slow_push.replace(true) && !broken("lane: pushed within a slow push") {
            return None;
        }
        let lane = &*self.lane;
        self.set_busy();
        if lane.control.word.load(Relaxed) & FENCED != 0 && !broken("lane: no fence after busy") {
            // Pairs with the fence of `Barrier::heavy`: either we see the flag, or whoever
            // raised it sees our mark.
            fence(full("lane: weak fence after busy"));
        }
        // Acquire: pairs with the Release of `ReaderState::swap`, before which lie the pointer to
        // the buffer and the state of that buffer.
        let word = lane
            .control
            .word
            .load(order("lane: generation read", Acquire));
        if generation_of(word) != self.state().seen.get() {
            self.move_to(generation_of(word));
        }
        Some(Flags(word))
    }

    /// Marks the lane busy, before any look at its flags.
    #[inline(always)]
    fn set_busy(&self) {
        if !broken("lane: not set busy") {
            self.lane.progress.busy.store(true, Relaxed);
        }
        // Pairs with `Barrier::heavy`, which makes the processor respect the order that this
        // asks of the compiler. Where barriers are fences the lane is FENCED.
        if !broken("lane: no compiler fence after busy") {
            compiler_fence(SeqCst);
        }
    }

    fn move_to(&self, generation: usize) {
        let lane = &*self.lane;
        let count = self.count();
        // No chunk yet: the first item of this buffer will enter one.
        let state = self.state();
        state.link.set(lane.control.active.load());
        state.end.set(count);
        state.limit.set(count);
        state.seen.set(generation);
        if broken("lane: acked before moved_at") {
            self.lane.progress.acked.store(generation, Release);
        }
        self.lane.progress.moved_at.store(count, Relaxed);
        // Release: pairs with the Acquire of `ReaderState::take`. Behind it lie `moved_at` and our
        // last touch of the buffer that we leave.
        self.lane
            .progress
            .acked
            .store(generation, order("lane: acked", Release));
    }

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

    /// Takes back the credits that no item has used.
    pub(crate) fn take_credits(&self) -> usize {
        let (state, count) = (self.state(), self.count());
        let unused = state.funded.get().wrapping_sub(count);
        state.funded.set(count);
        state.limit.set(count);
        unused
    }

    /// Writes an item, in a slow push, where there is credit.
    pub(crate) fn write(&self, item: T) {
        debug_assert!(self.has_credit());
        let (state, count) = (self.state(), self.count());
        if count == state.end.get() {
            // SAFETY: we are the writer, and have come to this link: it is the start of a buffer,
            // which the lane owns, and which the flusher made ready before it raised the
            // generation; or the end of the chunk that we are in (models `swap`, `grow`).
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

    #[inline(always)]
    fn put(&self, count: usize, item: T) {
        // SAFETY: `count` is before the end of the chunk, so the slot is in it; and it is ours
        // until `published` counts it (models `swap`, `grow`).
        unsafe {
            let slot = &*self.state().slots.get().wrapping_add(count);
            slot.with_mut(|slot| (*slot).write(item));
        }
        let written = count.wrapping_add(1);
        // Release: pairs with the Acquire of `ReaderState::take`. Behind it lie the slot, the link to
        // its chunk, and `acked`.
        self.lane
            .progress
            .published
            .store(written, order("lane: published", Release));
    }

    /// Ends a slow push.
    pub(crate) fn end_slow(&self) {
        self.clear_busy();
        self.state().in_slow_push.set(false);
    }

    #[inline(always)]
    fn clear_busy(&self) {
        // Release: pairs with the Acquire of `Lane::is_busy`.
        self.lane
            .progress
            .busy
            .store(false, order("lane: busy cleared", Release));
    }

    /// Says that there will be no further push.
    pub(crate) fn end_writer(&self) {
        // Release: pairs with the Acquire of `LaneReader::is_ended`; `published` lies behind it.
        self.lane
            .progress
            .ended
            .store(true, order("lane: ended", Release));
    }
}

impl<T> fmt::Debug for LaneWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneWriter").finish_non_exhaustive()
    }
}
