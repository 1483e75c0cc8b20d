//! The reading end of a lane, which the flusher has. The protocol is told in `lane`.

#![expect(unsafe_code)]

use std::fmt;
use std::mem;

use super::chunk::Chunk;
use super::{GENERATION, Lane, buffer_of};
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{Arc, broken, order, torn};

/// The reading end of a lane. There is one, and it is used by one thread at a time.
pub(crate) struct LaneReader<T> {
    lane: Arc<Lane<T>>,
}

impl<T> LaneReader<T> {
    pub(super) fn new(lane: Arc<Lane<T>>) -> Self {
        Self { lane }
    }

    pub(crate) fn lane(&self) -> &Arc<Lane<T>> {
        &self.lane
    }

    /// Whether the writer will push no more. If this is asked before
    /// [`available`](Self::available), and both say so, nothing is left and nothing will come.
    // Acquire: pairs with the Release of `LaneWriter::end_writer`, before which `published` was
    // stored.
    pub(crate) fn is_ended(&self) -> bool {
        let ended = &self.lane.progress.ended;
        ended.load(order("lane: end read", Acquire))
    }

    /// How many items could be taken now. Pushes in progress may be missing.
    pub(crate) fn available(&self) -> usize {
        // SAFETY: the reader state is this end's alone (model `swap`).
        let taken = self.lane.reader.with(|reader| unsafe { (*reader).taken });
        self.lane.published().wrapping_sub(taken)
    }

    /// Appends at most `max` items to `out`, in the order of their pushes. Returns how many.
    pub(crate) fn take(&mut self, max: usize, out: &mut Vec<T>) -> usize {
        // SAFETY: the reader state is this end's alone (model `swap`).
        self.lane
            .reader
            .with_mut(|reader| unsafe { (*reader).take(&self.lane, max, out) })
    }

    /// Frees memory that the lane did not use since the last sweep.
    ///
    /// - Nothing was read since: every chunk is freed that holds no unread item and is not the
    ///   writer's.
    /// - Items were read: each buffer frees its unused spares when it is reset next. A lane so slow
    ///   that a buffer was not reset between two sweeps is treated as if nothing was read.
    pub(crate) fn sweep(&mut self) {
        // SAFETY: the reader state is this end's alone (model `grow`).
        self.lane.reader.with_mut(|reader| unsafe {
            if (*reader).taken_at_sweep != (*reader).taken {
                (*reader).taken_at_sweep = (*reader).taken;
                if mem::replace(&mut (*reader).trim_on_reset, [true; 2]).contains(&true) {
                    (*reader).trim(&self.lane);
                }
            } else if !(*reader).trimmed {
                (*reader).trim(&self.lane);
            }
        });
    }

    /// Whether a sweep would free nothing.
    pub(crate) fn is_trimmed(&self) -> bool {
        // SAFETY: the reader state is this end's alone (model `grow`).
        self.lane.reader.with(|reader| unsafe { (*reader).trimmed })
    }

    /// Which of the two buffers is the active one.
    #[cfg(test)]
    pub(crate) fn active(&self) -> usize {
        // SAFETY: the reader state is this end's alone (model `swap`).
        self.lane
            .reader
            .with(|reader| buffer_of(unsafe { (*reader).generation }))
    }
}

impl<T> fmt::Debug for LaneReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneReader").finish_non_exhaustive()
    }
}

/// What the reader knows of its lane. Nobody else reads or writes it.
pub(super) struct ReaderState<T> {
    /// Items read so far, in all buffers. Wraps.
    taken: usize,
    /// The generation of the active buffer: what `word` holds without its flags.
    generation: usize,
    /// The buffer that is not active is retired: its writer may still be in it, or some of its
    /// items are not read. Otherwise that buffer is the standby.
    retired: bool,
    /// Where the next item lies in each buffer.
    cursors: [Cursor<T>; 2],
    /// `taken` at the last sweep.
    taken_at_sweep: usize,
    /// The buffers that free their unused spares when they are reset next.
    trim_on_reset: [bool; 2],
    /// Nothing was read since the last trim.
    trimmed: bool,
}

struct Cursor<T> {
    /// The chunk of the last item that was read. Null until an item of the buffer was read.
    chunk: *mut Chunk<T>,
    /// The index in that chunk of the next item to read.
    at: usize,
}

impl<T> Cursor<T> {
    const START: Self = Self {
        chunk: std::ptr::null_mut(),
        at: 0,
    };
}

impl<T> ReaderState<T> {
    pub(super) const START: Self = Self {
        taken: 0,
        generation: 0,
        retired: false,
        cursors: [Cursor::START; 2],
        taken_at_sweep: 0,
        trim_on_reset: [false; 2],
        trimmed: true,
    };

    /// Reads what the retired buffer still holds, then the active buffer, then swaps if that pays.
    ///
    /// And if the writer moves from the retired buffer to the active one meanwhile? `published` is
    /// loaded before `acked`, so there are three cases:
    /// 1. The writer moved before the load of `published`. `acked` shows it, and `moved_at` is
    ///    where the retired buffer ends. The items behind that lie in the active buffer.
    /// 2. The writer moves between the two loads. `acked` shows it, and `moved_at` is no less than
    ///    the `published` that was loaded. Items written after the move are not counted by it; so
    ///    it is loaded again before the active buffer is read.
    /// 3. The writer moves after the load of `acked`, or never. All that the loaded `published`
    ///    counts was written before the move, so it lies in the retired buffer. That buffer stays
    ///    retired, and the active one is not looked at.
    ///
    /// The other way round, with `acked` loaded first, items of the active buffer would be looked
    /// for in the retired one.
    pub(super) fn take(&mut self, lane: &Lane<T>, max: usize, out: &mut Vec<T>) -> usize {
        let before = self.taken;
        let mut published = self.load_published(lane);
        if self.retired {
            // Acquire: pairs with the Release of `LaneWriter::move_to`, before which `moved_at` was
            // stored and the buffer was touched for the last time.
            let acked = lane.progress.acked.load(order("lane: acked read", Acquire));
            let left = acked == self.generation;
            // Relaxed: `acked` orders it.
            let end = if left && !broken("lane: moved_at ignored") {
                lane.progress.moved_at.load(Relaxed)
            } else {
                published
            };
            let standby = 1 - buffer_of(self.generation);
            self.read(lane, standby, end.wrapping_sub(self.taken).min(max), out);
            let read = self.taken == end || broken("lane: recycled before it is read");
            if !(read && (left || broken("lane: recycled without ack"))) {
                return self.taken.wrapping_sub(before);
            }
            // SAFETY: the writer has left this buffer, and all its items are read; so the cursor is
            // in the last chunk that was entered (models `recycle`, `grow`).
            unsafe {
                let trim = mem::take(&mut self.trim_on_reset[standby]);
                lane.buffers[standby].reset(self.cursors[standby].chunk, trim);
            }
            self.cursors[standby] = Cursor::START;
            self.retired = false;
            // The writer published all of the old buffer before it left. So this is at least
            // `taken`, which the first load need not be.
            if !broken("lane: published not read again") {
                published = self.load_published(lane);
            }
        }
        let room = max - self.taken.wrapping_sub(before);
        let active = buffer_of(self.generation);
        let n = published.wrapping_sub(self.taken).min(room);
        self.read(lane, active, n, out);
        if self.has_used_a_chunk(lane, active) {
            self.swap(lane);
        }
        self.taken.wrapping_sub(before)
    }

    // Acquire: pairs with the Release of `LaneWriter::put`, before which the slot was written.
    fn load_published(&self, lane: &Lane<T>) -> usize {
        lane.progress
            .published
            .load(order("lane: published read", Acquire))
    }

    /// Moves the next `n` items of a buffer to `out`. `published` must count them.
    fn read(&mut self, lane: &Lane<T>, buffer: usize, mut n: usize, out: &mut Vec<T>) {
        if n == 0 {
            return;
        }
        self.taken = self.taken.wrapping_add(n);
        self.trimmed = false;
        out.reserve(n);
        let (start, cursor) = (&lane.buffers[buffer], &mut self.cursors[buffer]);
        while n > 0 {
            // SAFETY: a chunk that the cursor is in was not freed by this end, and no other end
            // frees chunks in use (models `grow`, `drop`). Where the cursor is in no chunk, or at
            // the end of one, `published` counts an item behind the link.
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
            // From memory to memory: an item may be too large for the stack.
            for (slot, place) in slots.iter().zip(out.spare_capacity_mut()) {
                slot.with(|slot| unsafe {
                    // SAFETY: `published`, which was loaded with Acquire, counts this item, and
                    // `taken` did not. So it was written, and is moved out once (models `swap`,
                    // `drop`).
                    slot.copy_to_nonoverlapping(place, 1);
                });
            }
            // SAFETY: `out` has room reserved for at least these slots, and they were filled above
            // (model `swap`).
            unsafe { out.set_len(out.len() + slots.len()) };
            cursor.at += slots.len();
            n -= slots.len();
        }
    }

    /// Whether the reader is past the first chunk of the active buffer, or at its end: then a swap
    /// gets that chunk back.
    fn has_used_a_chunk(&self, lane: &Lane<T>, active: usize) -> bool {
        let cursor = &self.cursors[active];
        // SAFETY: an item of the chunk that the cursor is in was read. So the writer has entered
        // the chunk behind the start of the buffer, and touches that link no more (model `grow`).
        unsafe {
            Chunk::maybe_at(cursor.chunk).is_some_and(|chunk| {
                cursor.at == chunk.slots().len() || cursor.chunk != lane.buffers[active].entered()
            })
        }
    }

    /// Makes the standby the active buffer, and retires the one that was active.
    fn swap(&mut self, lane: &Lane<T>) {
        let active = buffer_of(self.generation);
        let standby = 1 - active;
        let next = &lane.buffers[standby];
        // SAFETY: the standby is the flusher's, and the cursor of the active buffer is in a chunk
        // (models `recycle`, `grow`).
        unsafe { next.free_small_spares(Chunk::at(self.cursors[active].chunk).slots().len()) };
        self.generation = self.generation.wrapping_add(GENERATION);
        self.retired = true;
        lane.control.active.swap(next);
        // Release: pairs with the Acquire of `LaneWriter::begin_slow`; the pointer and the standby
        // were written before. A read-modify-write, since somebody may be raising a flag.
        let word = &lane.control.word;
        let order = order("lane: generation", Release);
        if !torn("lane: generation in two steps", word, order, |word| {
            word.wrapping_add(GENERATION)
        }) {
            word.fetch_add(GENERATION, order);
        }
    }

    /// Frees every chunk that holds no unread item and that neither end is in.
    fn trim(&mut self, lane: &Lane<T>) {
        for (buffer, cursor) in lane.buffers.iter().zip(&self.cursors) {
            // SAFETY: the cursor is in a chunk, or was in none yet. Chunks that the writer has not
            // entered are taken as the writer would take them (model `grow`).
            match unsafe { Chunk::maybe_at(cursor.chunk) } {
                None => buffer.free_spares(),
                Some(chunk) => {
                    // SAFETY: an item of this chunk was read, so the writer came that far (model
                    // `grow`).
                    unsafe { buffer.free_passed(cursor.chunk) };
                    chunk.end.free_spares();
                }
            }
        }
        self.trimmed = true;
    }
}
