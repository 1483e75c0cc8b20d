//! The end of a lane that reads, the flusher's; for the protocol see `lane`.

#![expect(unsafe_code)]

use crate::sync::Ordering::{Acquire, Relaxed, Release};
use std::fmt;
use std::mem;

use super::chunk::Chunk;
use super::{GENERATION, Lane, buffer_of};
use crate::sync::{Arc, broken, order, torn};

/// The end of a lane that reads: the flusher's.
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

    /// Whether the writer has said its last. To be asked before `take`: then, if nothing is left
    /// after it, nothing will come.
    pub(crate) fn is_ended(&self) -> bool {
        let ended = &self.lane.progress.ended;
        ended.load(order("lane: end read", Acquire))
    }

    /// How many items could be taken now, or somewhat fewer.
    pub(crate) fn available(&self) -> usize {
        // SAFETY: `reader` is this end's alone.
        let taken = self.lane.reader.with(|reader| unsafe { (*reader).taken });
        self.lane.published().wrapping_sub(taken)
    }

    /// Appends at most `max` items, in the order of their pushes, to `out`; returns how many.
    pub(crate) fn take(&mut self, max: usize, out: &mut Vec<T>) -> usize {
        // SAFETY: `reader` is this end's alone.
        self.lane
            .reader
            .with_mut(|reader| unsafe { (*reader).take(&self.lane, max, out) })
    }

    /// Frees what memory can be freed in a lane of which nothing was read since the last sweep:
    /// all but the chunk that the writer is in. So in one that is so slow that it has not come through
    /// both buffers since. In any other what each of its buffers does not use the next time.
    pub(crate) fn sweep(&mut self) {
        // SAFETY: `reader` is this end's alone.
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

    /// Which of the two buffers is the active one.
    #[cfg(test)]
    pub(crate) fn active(&self) -> usize {
        // SAFETY: `reader` is this end's alone.
        self.lane
            .reader
            .with(|reader| buffer_of(unsafe { (*reader).generation }))
    }

    /// Whether a sweep could free anything.
    pub(crate) fn is_trimmed(&self) -> bool {
        // SAFETY: `reader` is this end's alone.
        self.lane.reader.with(|reader| unsafe { (*reader).trimmed })
    }
}

impl<T> fmt::Debug for LaneReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneReader").finish_non_exhaustive()
    }
}

/// Where the flusher is.
pub(super) struct ReaderState<T> {
    /// Items read so far, in all buffers (wraps).
    taken: usize,
    generation: usize,
    /// The buffer that is not active is retired: the writer may still be in it.
    retired: bool,
    cursors: [Cursor<T>; 2],
    /// What `taken` was at the last sweep.
    taken_at_sweep: usize,
    /// Which of the buffers was not reset since.
    trim_on_reset: [bool; 2],
    /// Nothing was read since the last trim.
    trimmed: bool,
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

    pub(super) fn take(&mut self, lane: &Lane<T>, max: usize, out: &mut Vec<T>) -> usize {
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
            unsafe {
                let trim_on_reset = mem::take(&mut self.trim_on_reset[standby]);
                lane.buffers[standby].reset(self.cursors[standby].chunk, trim_on_reset);
            }
            self.cursors[standby] = Cursor::START;
            self.retired = false;
            // Acquired or not, the writer's leave happened after it had published all of that
            // buffer: so this is at least `taken`, which the first reader need not be.
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
        self.trimmed = false;
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
            // From memory to memory, since an item may be too large for the stack.
            for (slot, place) in slots.iter().zip(out.spare_capacity_mut()) {
                slot.with(|slot| unsafe {
                    // SAFETY: `published`, which we acquired, counts this item, and `taken` did
                    // not: it was written, and is moved out once (models `swap`, `drop`).
                    slot.copy_to_nonoverlapping(place, 1);
                });
            }
            // SAFETY: there was room for `n`, which is no less, and these have been filled.
            unsafe { out.set_len(out.len() + slots.len()) };
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
        // SAFETY: where the cursor is in a chunk, an item of it was read, so the writer has ended
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
        // Release: pairs with the Acquire of `LaneWriter::begin_slow`. A read-modify-write, since
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
        self.trimmed = true;
    }
}
