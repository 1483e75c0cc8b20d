//! A lane: one writer's double buffer. The writer never waits for the flusher, nor the flusher
//! for the writer, and neither needs an atomic read-modify-write for an item.
//!
//! ```text
//!              word: generation | flags          published: items ever written
//!  flusher ──► active ─► buffer A ◄── writer     acked:     the generation the writer is in
//!              standby   buffer B                moved_at:  `published` when it came there
//! ```
//!
//! The writer, for each push:
//! 1. marks the lane busy, and compares `word` with what it saw last. Another generation: it
//!    leaves its buffer for ever, goes to the start of the active one, and says so: `moved_at`,
//!    then `acked` (Release).
//! 2. writes the slot, then `published` (Release), then clears the mark (Release).
//!
//! The flusher, whenever it wants items:
//! 1. reads `published`, and only then `acked`: so while the writer has not left a retired buffer,
//!    all that `published` counts lies in it. Once it has left, `moved_at` is where that buffer
//!    ends; read up to there it is complete, and becomes the standby again.
//! 2. reads on in the active buffer, in place, but never while a retired one is incomplete. Once
//!    a chunk of it is used up, swaps: the standby becomes active, then the generation goes up
//!    (Release), and the old one is retired.
//!
//! The flusher never swaps while a swap is unacknowledged, so there is no ABA, and no buffer is
//! touched before its writer says that it has left: no guard, no grace period, no sealed flag.
//! `published` counts over the whole life of the lane rather than per buffer, so that counting
//! what was accepted costs nothing more.
//!
//! Besides the generation `word` holds the flags of section "Waking and closing" in `barrier`.
//! A flag makes `word` differ from what the writer saw, so it costs the fast path nothing.

#![expect(unsafe_code)]

mod buffer;
#[cfg(swaplane_loom)]
mod grave;
pub(crate) mod table;

use std::cell::Cell;
use std::fmt;
use std::mem;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use crossbeam_utils::CachePadded;

use self::buffer::{Buffer, Chunk, Link, Slot};
use crate::sync::{
    Arc, AtomicBool, AtomicUsize, Exclusive, Published, UnsafeCell, broken, compiler_fence, fence,
    full, order, torn,
};

/// The lane refuses items.
pub(crate) const CLOSED: usize = 1;
/// The flusher sleeps: whoever pushes must ring.
pub(crate) const PARKED: usize = 1 << 1;
/// Set from birth where barriers are fences: the word then never equals what the writer saw, so
/// every push takes the slow path, in which the fence is.
pub(crate) const FENCED: usize = 1 << 2;
/// One generation. The lowest bit of the generation says which buffer is active.
const GENERATION: usize = 1 << 3;

const fn generation_of(word: usize) -> usize {
    word & !(GENERATION - 1)
}

const fn buffer_of(generation: usize) -> usize {
    (generation / GENERATION) & 1
}

pub(crate) struct Lane<T> {
    /// Written by the flusher, and by whoever raises a flag.
    control: CachePadded<Control<T>>,
    /// Written by the writer.
    progress: CachePadded<Progress>,
    /// Both buffers belong to the lane for its whole life; `active` only says which is which.
    buffers: [Arc<Buffer<T>>; 2],
    /// The flusher's alone; here so that the lane can drop what nobody read.
    reading: UnsafeCell<Reading<T>>,
}

struct Control<T> {
    word: AtomicUsize,
    active: Published<Buffer<T>>,
}

#[derive(Default)]
struct Progress {
    /// A push is between its look at `word` and its end.
    busy: AtomicBool,
    /// Items written so far, in all buffers (wraps).
    published: AtomicUsize,
    /// The generation that the writer is in.
    acked: AtomicUsize,
    /// `published` when the writer came into that generation.
    moved_at: AtomicUsize,
    /// There will be no further push.
    gone: AtomicBool,
}

/// Where the flusher is.
struct Reading<T> {
    /// Items read so far, in all buffers (wraps).
    taken: usize,
    generation: usize,
    /// The buffer that is not active is retired: the writer may still be in it.
    retired: bool,
    cursors: [Cursor<T>; 2],
    /// What `taken` was at the last sweep.
    swept: usize,
    /// Nothing was read since the last trim.
    lean: bool,
}

struct Cursor<T> {
    /// Null until an item of the buffer has been read.
    chunk: *mut Chunk<T>,
    at: usize,
}

impl<T> Cursor<T> {
    const START: Self = Self {
        chunk: std::ptr::null_mut(),
        at: 0,
    };
}

// SAFETY: the protocol above gives each part of a lane to one thread at a time (models `lane`,
// `recycle`, `grow`, `handover`); items cross threads, hence `T: Send`.
unsafe impl<T: Send> Send for Lane<T> {}
// SAFETY: as above; no `&T` is ever handed out, so `T: Sync` is not needed.
unsafe impl<T: Send> Sync for Lane<T> {}

/// A new lane with its two ends; `flags` are up from the first push on.
pub(crate) fn lane<T>(flags: usize) -> (LaneWriter<T>, LaneReader<T>) {
    let buffers = [Arc::new(Buffer::new()), Arc::new(Buffer::new())];
    let lane = Arc::new(Lane {
        control: CachePadded::new(Control {
            word: AtomicUsize::new(flags),
            active: Published::new(buffers[0].clone()),
        }),
        progress: CachePadded::new(Progress::default()),
        buffers,
        reading: UnsafeCell::new(Reading {
            taken: 0,
            generation: 0,
            retired: false,
            cursors: [Cursor::START; 2],
            swept: 0,
            lean: true,
        }),
    });
    (LaneWriter::new(lane.clone()), LaneReader { lane })
}

/// What anybody may do with a lane.
impl<T> Lane<T> {
    /// Items ever written. The count of a push that is in progress may be missing.
    pub(crate) fn published(&self) -> usize {
        self.progress.published.load(Relaxed)
    }

    /// Raises flags. Pushes see them from the next `Barrier::heavy` on.
    // Relaxed here and in `lower`: whoever needs an order around a flag has the barrier. A
    // read-modify-write, so that neither flag, nor the generation, erases the other; it also
    // carries on the release sequence of the generation.
    pub(crate) fn raise(&self, flags: usize) {
        let word = &self.control.word;
        if !torn("lane: raised in two steps", word, Relaxed, |word| {
            word | flags
        }) {
            word.fetch_or(flags, Relaxed);
        }
    }

    /// Lowers flags.
    pub(crate) fn lower(&self, flags: usize) {
        let word = &self.control.word;
        if !torn("lane: lowered in two steps", word, Relaxed, |word| {
            word & !flags
        }) {
            word.fetch_and(!flags, Relaxed);
        }
    }

    /// Whether a push is in progress that may not have seen a flag raised before the last
    /// barrier. If not, all that such pushes wrote is visible.
    // Acquire: pairs with the Release of `LaneWriter::leave`, behind which lies `published`.
    pub(crate) fn is_busy(&self) -> bool {
        self.progress.busy.load(order("lane: busy read", Acquire))
    }
}

/// The end of a lane that writes. Its cells make it the property of one thread at a time; the
/// fields are what a push needs, in the order in which it needs them.
pub(crate) struct LaneWriter<T> {
    lane: Arc<Lane<T>>,
    /// The word, without flags, that needs no look.
    seen: Cell<usize>,
    /// What `published` is.
    count: Cell<usize>,
    /// The count at which a push has to look for room: the end of the chunk, or of the credits.
    limit: Cell<usize>,
    /// The slots of the present chunk, moved down so that `count` is an index into them.
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
    inside: Cell<bool>,
    exclusive: Exclusive,
}

// SAFETY: the pointers lead into the lane that `lane` keeps alive, and the cells go along with
// the writer, which is not `Sync` (model `handover`).
unsafe impl<T: Send> Send for LaneWriter<T> {}

/// What a slow push has seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signals(usize);

impl Signals {
    pub(crate) fn closed(self) -> bool {
        self.0 & CLOSED != 0 && !broken("lane: closed ignored")
    }

    pub(crate) fn parked(self) -> bool {
        self.0 & PARKED != 0 && !broken("lane: parked ignored")
    }
}

impl<T> LaneWriter<T> {
    fn new(lane: Arc<Lane<T>>) -> Self {
        Self {
            seen: Cell::new(0),
            count: Cell::new(0),
            limit: Cell::new(0),
            slots: Cell::new(std::ptr::null()),
            link: Cell::new(Arc::as_ptr(&lane.buffers[0])),
            size: Cell::new(0),
            end: Cell::new(0),
            funded: Cell::new(0),
            last_lease: Cell::new(0),
            inside: Cell::new(false),
            exclusive: Exclusive::new(),
            lane,
        }
    }

    pub(crate) fn lane(&self) -> &Arc<Lane<T>> {
        &self.lane
    }

    /// Pushes, or leaves the item to `slow`: two loads of the lane, a compare each, and four
    /// plain stores. The mark is up when `slow` is called.
    #[inline(always)]
    pub(crate) fn push<R>(&self, item: T, done: R, slow: impl FnOnce(T) -> R) -> R {
        self.exclusive.check();
        self.mark();
        let count = self.count.get();
        let word = self.lane.control.word.load(Relaxed);
        if word == self.seen.get() && count != self.limit.get() {
            self.put(count, item);
            self.leave();
            done
        } else {
            slow(item)
        }
    }

    /// Begins a slow push: marks the lane busy, moves to the active buffer, and tells which flags
    /// are up. `None`: this very thread is in a slow push already.
    pub(crate) fn enter(&self) -> Option<Signals> {
        self.exclusive.check();
        if self.inside.replace(true) && !broken("lane: pushed while inside") {
            return None;
        }
        let lane = &*self.lane;
        self.mark();
        if lane.control.word.load(Relaxed) & FENCED != 0 && !broken("lane: no fence after the mark")
        {
            // Pairs with the fence of `Barrier::heavy`: either we see the flag, or whoever
            // raised it sees our mark.
            fence(full("lane: weak fence after the mark"));
        }
        // Acquire: pairs with the Release of `Reading::swap`, before which lie the pointer to
        // the buffer and the state of that buffer.
        let word = lane
            .control
            .word
            .load(order("lane: generation read", Acquire));
        if generation_of(word) != self.seen.get() {
            self.move_to(generation_of(word));
        }
        Some(Signals(word))
    }

    /// Marks the lane busy, before any look at its flags.
    #[inline(always)]
    fn mark(&self) {
        if !broken("lane: not marked") {
            self.lane.progress.busy.store(true, Relaxed);
        }
        // Pairs with `Barrier::heavy`, which makes the processor respect the order that this
        // asks of the compiler. Where barriers are fences the lane is FENCED.
        if !broken("lane: no compiler fence after the mark") {
            compiler_fence(SeqCst);
        }
    }

    fn move_to(&self, generation: usize) {
        let lane = &*self.lane;
        let count = self.count.get();
        // No chunk yet: the first item of this buffer will enter one.
        self.link.set(lane.control.active.load());
        self.end.set(count);
        self.limit.set(count);
        self.seen.set(generation);
        if broken("lane: acked before moved_at") {
            self.lane.progress.acked.store(generation, Release);
        }
        self.lane.progress.moved_at.store(count, Relaxed);
        // Release: pairs with the Acquire of `Reading::take`. Behind it lie `moved_at` and our
        // last touch of the buffer that we leave.
        self.lane
            .progress
            .acked
            .store(generation, order("lane: acked", Release));
    }

    /// Whether the next item has a credit.
    pub(crate) fn has_credit(&self) -> bool {
        self.funded.get() != self.count.get()
    }

    /// Gives the lane credits for `n` more items.
    pub(crate) fn add_credits(&self, n: usize) {
        self.funded.set(self.funded.get().wrapping_add(n));
    }

    /// How many credits the last lease brought.
    pub(crate) fn last_lease(&self) -> usize {
        self.last_lease.get()
    }

    /// Gives the lane a lease, which may be none.
    pub(crate) fn set_lease(&self, n: usize) {
        self.last_lease.set(n);
        self.add_credits(n);
    }

    /// Takes back the credits that no item has used.
    pub(crate) fn take_credits(&self) -> usize {
        let unused = self.funded.get().wrapping_sub(self.count.get());
        self.funded.set(self.count.get());
        self.limit.set(self.count.get());
        unused
    }

    /// Writes an item, in a slow push, where there is credit.
    pub(crate) fn write(&self, item: T) {
        debug_assert!(self.has_credit());
        let count = self.count.get();
        if count == self.end.get() {
            // SAFETY: we are the writer, and have come to this link: it is the start of a buffer,
            // which the lane owns, and which the flusher made ready before it raised the
            // generation; or the end of the chunk that we are in (models `swap`, `grow`).
            let next = unsafe { Chunk::at((*self.link.get()).enter(self.size.get())) };
            self.link.set(&next.end);
            self.size.set(next.slots().len());
            self.slots.set(next.slots().as_ptr().wrapping_sub(count));
            self.end.set(count.wrapping_add(next.slots().len()));
        }
        self.put(count, item);
        let written = self.count.get();
        let room = self.end.get().wrapping_sub(written);
        let credit = self.funded.get().wrapping_sub(written);
        self.limit.set(written.wrapping_add(room.min(credit)));
    }

    #[inline(always)]
    fn put(&self, count: usize, item: T) {
        // SAFETY: `count` is before the end of the chunk, so the slot is in it; and it is ours
        // until `published` counts it (models `lane`, `grow`).
        unsafe {
            let slot = &*self.slots.get().wrapping_add(count);
            slot.with_mut(|slot| (*slot).write(item));
        }
        let written = count.wrapping_add(1);
        self.count.set(written);
        // Release: pairs with the Acquire of `Reading::take`. Behind it lie the slot, the link to
        // its chunk, and `acked`.
        self.lane
            .progress
            .published
            .store(written, order("lane: published", Release));
    }

    /// Ends a slow push.
    pub(crate) fn exit(&self) {
        self.leave();
        self.inside.set(false);
    }

    #[inline(always)]
    fn leave(&self) {
        // Release: pairs with the Acquire of `Lane::is_busy`.
        self.lane
            .progress
            .busy
            .store(false, order("lane: busy cleared", Release));
    }

    /// Says that there will be no further push.
    pub(crate) fn say_gone(&self) {
        // Release: pairs with the Acquire of `LaneReader::is_gone`; `published` lies behind it.
        self.lane
            .progress
            .gone
            .store(true, order("lane: gone", Release));
    }
}

impl<T> fmt::Debug for LaneWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneWriter").finish_non_exhaustive()
    }
}

/// The end of a lane that reads: the flusher's.
pub(crate) struct LaneReader<T> {
    lane: Arc<Lane<T>>,
}

impl<T> LaneReader<T> {
    pub(crate) fn lane(&self) -> &Arc<Lane<T>> {
        &self.lane
    }

    /// Whether the writer has said its last. To be asked before `take`: then, if nothing is left
    /// after it, nothing will come.
    pub(crate) fn is_gone(&self) -> bool {
        let gone = &self.lane.progress.gone;
        gone.load(order("lane: gone read", Acquire))
    }

    /// How many items could be taken now, or somewhat fewer.
    pub(crate) fn available(&self) -> usize {
        // SAFETY: `reading` is this end's alone.
        let taken = self
            .lane
            .reading
            .with(|reading| unsafe { (*reading).taken });
        self.lane.published().wrapping_sub(taken)
    }

    /// Appends at most `max` items, in the order of their pushes, to `out`; returns how many.
    pub(crate) fn take(&mut self, max: usize, out: &mut Vec<T>) -> usize {
        // SAFETY: `reading` is this end's alone.
        self.lane
            .reading
            .with_mut(|reading| unsafe { (*reading).take(&self.lane, max, out) })
    }

    /// Frees what memory can be freed in a lane of which nothing was read since the last sweep:
    /// all but the chunk that the writer is in.
    pub(crate) fn sweep(&mut self) {
        // SAFETY: `reading` is this end's alone.
        self.lane.reading.with_mut(|reading| unsafe {
            if (*reading).swept != (*reading).taken {
                (*reading).swept = (*reading).taken;
            } else if !(*reading).lean {
                (*reading).trim(&self.lane);
            }
        });
    }

    /// Which of the two buffers is the active one; for models.
    pub(crate) fn active(&self) -> usize {
        // SAFETY: `reading` is this end's alone.
        self.lane
            .reading
            .with(|reading| buffer_of(unsafe { (*reading).generation }))
    }

    /// Whether a sweep could free anything.
    pub(crate) fn is_lean(&self) -> bool {
        // SAFETY: `reading` is this end's alone.
        self.lane.reading.with(|reading| unsafe { (*reading).lean })
    }
}

impl<T> fmt::Debug for LaneReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneReader").finish_non_exhaustive()
    }
}

impl<T> Reading<T> {
    fn take(&mut self, lane: &Lane<T>, max: usize, out: &mut Vec<T>) -> usize {
        let before = self.taken;
        // Acquire: pairs with the Release of `LaneWriter::put`. Before `acked`, not after it: a
        // writer that moves between the two would make us look for its items in the old buffer.
        let mut published = self.published(lane);
        if self.retired {
            // Acquire: pairs with the Release of `LaneWriter::move_to`.
            let acked = lane.progress.acked.load(order("lane: acked read", Acquire));
            if broken("lane: published read after acked") {
                published = self.published(lane);
            }
            let left = acked == self.generation;
            let end = if left && !broken("lane: moved_at ignored") {
                lane.progress.moved_at.load(Relaxed)
            } else {
                published
            };
            let standby = 1 - buffer_of(self.generation);
            self.read(lane, standby, end.wrapping_sub(self.taken).min(max), out);
            let read = self.taken == end || broken("lane: recycled before it is read");
            if !(read && (left || broken("lane: recycled without ack"))) {
                if broken("lane: active read before the retired is complete") {
                    published = self.published(lane);
                    self.read(lane, 1 - standby, published.wrapping_sub(self.taken), out);
                }
                return self.taken.wrapping_sub(before);
            }
            // SAFETY: we are the flusher; the writer has left this buffer; all its items are
            // read, so the cursor is in the last chunk entered (models `recycle`, `grow`).
            unsafe { lane.buffers[standby].reset(self.cursors[standby].chunk) };
            self.cursors[standby] = Cursor::START;
            self.retired = false;
            // Acquired or not, the writer's leave happened after it had published all of that
            // buffer: so this is at least `taken`, which the first reading need not be.
            if !broken("lane: published not read again") {
                published = self.published(lane);
            }
        }
        let room = max - self.taken.wrapping_sub(before);
        let active = buffer_of(self.generation);
        self.read(
            lane,
            active,
            published.wrapping_sub(self.taken).min(room),
            out,
        );
        if self.used_a_chunk(lane, active) {
            self.swap(lane);
        }
        self.taken.wrapping_sub(before)
    }

    fn published(&self, lane: &Lane<T>) -> usize {
        lane.progress
            .published
            .load(order("lane: published read", Acquire))
    }

    /// Moves the next `n` items of a buffer, which `published` counts, to `out`.
    fn read(&mut self, lane: &Lane<T>, buffer: usize, mut n: usize, out: &mut Vec<T>) {
        if n == 0 {
            return;
        }
        self.taken = self.taken.wrapping_add(n);
        self.lean = false;
        out.reserve(n);
        let (start, cursor) = (&lane.buffers[buffer], &mut self.cursors[buffer]);
        while n > 0 {
            // SAFETY: where the cursor is in a chunk, the flusher has not freed it (models `grow`,
            // `drop`). Where it is not, or at the end, `published`, which we acquired, counts an
            // item behind the link.
            let chunk = unsafe {
                let entered = Chunk::maybe_at(cursor.chunk);
                if entered.is_none_or(|chunk| cursor.at == chunk.slots().len()) {
                    let link = entered.map_or(&**start, |chunk| &chunk.end);
                    cursor.chunk = link.entered();
                    cursor.at = 0;
                }
                Chunk::at(cursor.chunk)
            };
            let slots = &chunk.slots()[cursor.at..];
            let slots = &slots[..slots.len().min(n)];
            for slot in slots {
                // SAFETY: `published`, which we acquired, counts this item, and `taken` did
                // not: it was written, and is read once (models `lane`, `drop`).
                out.push(slot.with(|slot| unsafe { (*slot).assume_init_read() }));
            }
            cursor.at += slots.len();
            n -= slots.len();
            if broken("lane: next chunk entered early") && cursor.at == chunk.slots().len() {
                // SAFETY: none; a mutant.
                let next = unsafe { chunk.end.entered() };
                if !next.is_null() {
                    *cursor = Cursor { chunk: next, at: 0 };
                }
            }
        }
    }

    fn used_a_chunk(&self, lane: &Lane<T>, active: usize) -> bool {
        let cursor = &self.cursors[active];
        // SAFETY: where the cursor is in a chunk, an item of it was read, so the writer has gone
        // on from the start of the buffer.
        unsafe {
            Chunk::maybe_at(cursor.chunk).is_some_and(|chunk| {
                cursor.at == chunk.slots().len() || cursor.chunk != lane.buffers[active].entered()
            })
        }
    }

    /// Makes the standby active and retires the active buffer.
    fn swap(&mut self, lane: &Lane<T>) {
        let active = buffer_of(self.generation);
        let standby = 1 - active;
        let next = &lane.buffers[standby];
        // SAFETY: the standby is the flusher's; the cursor of the active one is in a chunk.
        unsafe { next.free_small_spares(Chunk::at(self.cursors[active].chunk).slots().len()) };
        self.generation = self.generation.wrapping_add(GENERATION);
        self.retired = true;
        if broken("lane: generation before the pointer") {
            lane.control.word.fetch_add(GENERATION, Release);
            lane.control.active.swap(next);
            return;
        }
        lane.control.active.swap(next);
        // Release: pairs with the Acquire of `LaneWriter::enter`. A read-modify-write, since
        // somebody may be raising CLOSED.
        let word = &lane.control.word;
        let order = order("lane: generation", Release);
        if !torn("lane: generation in two steps", word, order, |word| {
            word.wrapping_add(GENERATION)
        }) {
            word.fetch_add(GENERATION, order);
        }
    }

    fn trim(&mut self, lane: &Lane<T>) {
        for (buffer, cursor) in lane.buffers.iter().zip(&self.cursors) {
            // SAFETY: the cursor is in a chunk or has not been in one. What the writer has not
            // entered, `free_spares` takes as the writer would (model `grow`).
            match unsafe { Chunk::maybe_at(cursor.chunk) } {
                None => buffer.free_spares(),
                Some(chunk) => {
                    // SAFETY: an item of this chunk was read, so the writer came that far.
                    unsafe { buffer.free_passed(cursor.chunk) };
                    chunk.end.free_spares();
                }
            }
        }
        self.lean = true;
    }
}

impl<T> Drop for Lane<T> {
    fn drop(&mut self) {
        if cfg!(swaplane_loom) && std::thread::panicking() {
            // A mutant was caught. What it left behind is in no state to be looked at.
            return;
        }
        let mut unread = Vec::new();
        // SAFETY: both ends are gone, so everything is ours (model `drop`).
        self.reading.with_mut(|reading| unsafe {
            if !broken("lane: unread items forgotten") {
                (*reading).take(self, usize::MAX, &mut unread);
            }
        });
        for buffer in &self.buffers {
            // SAFETY: as above, and all items have been read.
            unsafe { buffer.free_all() };
        }
        // Last, since it runs code of the user's.
        mem::drop(unread);
    }
}
