//! The storage of a lane: append-only lists of chunks.
//!
//! ```text
//!  buffer.first ──► chunk ──next──► chunk ──next──► chunk ──spare──► chunk ──spare──► ∅
//!                   └── entered, in order; the writer is in the last ─┘└─ to be entered ─┘
//! ```
//!
//! The writer enters chunk after chunk and links each through `next`, a plain field: the
//! flusher follows it only once `published` (see `lane`) says that there is an item behind it.
//! Chunks that nobody has entered hang from the last entered one through `spare`, which either
//! side may empty: the writer to enter, the flusher to free. Whoever swaps the list out owns it.

#![expect(unsafe_code)]

use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;

use crate::sync::{AtomicPtr, UnsafeCell, broken};

/// Where one item lies. Written by the writer, read once by the flusher.
pub(super) type Slot<T> = UnsafeCell<MaybeUninit<T>>;

/// A lane that has never held much is this small.
const FIRST_CHUNK_BYTES: usize = if cfg!(swaplane_loom) { 0 } else { 512 };
/// Chunks double up to this size, which leaves room for both buffers in a usual L2 cache.
const LARGEST_CHUNK_BYTES: usize = if cfg!(swaplane_loom) { 4 } else { 64 * 1024 };
/// Whatever its size in bytes, a chunk has room for this many items (models use two; and four
/// for the second chunk where items are bytes).
const FEWEST_SLOTS: usize = if cfg!(swaplane_loom) { 2 } else { 1 };
/// Items without a size would fit a chunk without end.
const MOST_SLOTS: usize = 1 << 16;

pub(super) struct Chunk<T> {
    /// The chunk entered after this one; null while there is none.
    next: UnsafeCell<*mut Chunk<T>>,
    /// Either the chunks ready to be entered after this one, or null: then there are none, or
    /// the writer has entered the first of them, or the flusher has freed them.
    spare: AtomicPtr<Chunk<T>>,
    slots: Box<[Slot<T>]>,
    #[cfg(swaplane_loom)]
    life: super::grave::Life,
}

impl<T> Chunk<T> {
    fn with_slots(count: usize) -> *mut Self {
        let slots = (0..count)
            .map(|_| Slot::new(MaybeUninit::uninit()))
            .collect();
        Box::into_raw(Box::new(Self {
            next: UnsafeCell::new(ptr::null_mut()),
            spare: AtomicPtr::new(ptr::null_mut()),
            slots,
            #[cfg(swaplane_loom)]
            life: super::grave::Life::begin(),
        }))
    }

    /// # Safety
    /// It comes from `with_slots`, and nobody else can reach it any more.
    unsafe fn free(chunk: *mut Self) {
        // SAFETY: the caller's promise.
        #[cfg(not(swaplane_loom))]
        drop(unsafe { Box::from_raw(chunk) });
        // Models check that promise, and keep the memory so that they can.
        #[cfg(swaplane_loom)]
        {
            // SAFETY: the memory is kept until the end.
            let dead = unsafe { Self::at(chunk) };
            dead.life.end();
            dead.next.with_mut(|_| ());
            dead.slots.iter().for_each(|slot| slot.with_mut(|_| ()));
            super::grave::keep(chunk);
        }
    }

    /// # Safety
    /// The chunk is there; models, which keep all chunks until the end, check that.
    #[inline(always)]
    pub(super) unsafe fn at<'a>(chunk: *const Self) -> &'a Self {
        debug_assert!(!chunk.is_null(), "no chunk where one must be");
        // SAFETY: the caller's promise.
        let chunk = unsafe { &*chunk };
        #[cfg(swaplane_loom)]
        chunk.life.check();
        chunk
    }

    /// The first chunk of a new lane.
    pub(super) fn first() -> *mut Self {
        Self::with_slots(slots_in(FIRST_CHUNK_BYTES, mem::size_of::<T>()))
    }

    /// A chunk as large as this one, for a buffer that has given back all of its own.
    pub(super) fn alike(&self) -> *mut Self {
        Self::with_slots(self.slots.len())
    }

    pub(super) fn slots(&self) -> &[Slot<T>] {
        &self.slots
    }

    /// The writer's: enters the next chunk, a spare one if there is one.
    ///
    /// # Safety
    /// Only the writer of the lane may call it, on the chunk that it is in.
    pub(super) unsafe fn enter_next(&self) -> *mut Self {
        let mut next = self.take_spare();
        if next.is_null() {
            let largest = slots_in(LARGEST_CHUNK_BYTES, mem::size_of::<T>());
            next = Self::with_slots(largest.min(self.slots.len() * 2).max(self.slots.len()));
        }
        // SAFETY: `next` is written by the writer alone, and read by nobody until `published`
        // passes the end of this chunk (model `grow`).
        self.next.with_mut(|link| unsafe { *link = next });
        next
    }

    /// The flusher's: the chunk entered after this one.
    ///
    /// # Safety
    /// `published`, loaded with Acquire, must count an item behind the end of this chunk, or
    /// the writer must have left the buffer for good.
    pub(super) unsafe fn entered_next(&self) -> *mut Self {
        // SAFETY: the write in `enter_next` happened before the publication that the caller saw.
        self.next.with(|link| unsafe { *link })
    }

    /// Takes the whole list of spare chunks, which nobody else can reach then.
    // Relaxed: the list and the chunks in it were last touched by the flusher, or handed to it
    // by the writer's leave of an earlier buffer; both happened before this buffer was
    // published to the writer. Only one of two takers may get it: hence the swap (`grow`).
    fn take_spare(&self) -> *mut Self {
        if broken("chunk: spares taken without a swap") {
            let spare = self.spare.load(Relaxed);
            self.spare.store(ptr::null_mut(), Relaxed);
            return spare;
        }
        self.spare.swap(ptr::null_mut(), Relaxed)
    }

    /// Frees the spare chunks that hang from this one; the writer allocates when it wants more.
    pub(super) fn free_spares(&self) {
        let mut spare = self.take_spare();
        while !spare.is_null() {
            // SAFETY: `take_spare` made this list ours alone; a list of spares is linked through
            // `spare` (model `grow`).
            unsafe {
                let next = Self::at(spare).take_spare();
                Self::free(spare);
                spare = next;
            }
        }
    }
}

/// How many slots a chunk of about `bytes` has for items of `size`.
fn slots_in(bytes: usize, size: usize) -> usize {
    bytes
        .checked_div(size)
        .unwrap_or(MOST_SLOTS)
        .clamp(FEWEST_SLOTS, MOST_SLOTS)
}

/// One of the two buffers of a lane.
pub(super) struct Buffer<T> {
    /// Where the writer starts when it enters; null in a standby that has given all back.
    /// The flusher's to write, except while the writer might be entering: from the swap that
    /// made this buffer active to the acknowledgement.
    first: UnsafeCell<*mut Chunk<T>>,
}

// SAFETY: a buffer is chunks of `T` behind pointers; who may touch which part when is the lane
// protocol's to say (all models of `lane`), and items cross threads, hence `T: Send`.
unsafe impl<T: Send> Send for Buffer<T> {}
// SAFETY: as above; no `&T` is ever handed out, so `T: Sync` is not needed.
unsafe impl<T: Send> Sync for Buffer<T> {}

impl<T> Buffer<T> {
    pub(super) fn new(first: *mut Chunk<T>) -> Self {
        Self {
            first: UnsafeCell::new(first),
        }
    }

    /// # Safety
    /// The caller is the flusher, or the writer that enters this buffer or just did.
    pub(super) unsafe fn first(&self) -> *mut Chunk<T> {
        // SAFETY: the flusher writes `first` only where the writer cannot be entering (see the
        // field), and the swap that lets the writer in happens after (models `lane`, `grow`).
        self.first.with(|first| unsafe { *first })
    }

    /// # Safety
    /// The caller is the flusher, and the writer cannot be entering.
    pub(super) unsafe fn set_first(&self, chunk: *mut Chunk<T>) {
        // SAFETY: the caller's promise.
        self.first.with_mut(|first| unsafe { *first = chunk });
    }

    /// Makes a buffer that the writer has left, and whose items are all read, ready for the next
    /// time: of the chunks entered keeps those as large as `last` (the others were steps on
    /// the way), and one spare beyond. So a steady load allocates nothing.
    ///
    /// # Safety
    /// The caller is the flusher; the writer has left; `last` is the last chunk entered.
    pub(super) unsafe fn reset(&self, last: *mut Chunk<T>) {
        // SAFETY: with the writer gone (Acquire on `acked`) every chunk of this buffer is the
        // flusher's; each is freed once, as it is cut from the list (models `recycle`, `grow`,
        // `drop`).
        unsafe {
            let keep = Chunk::at(last);
            if let Some(spare) = keep.spare.load(Relaxed).as_ref() {
                spare.free_spares();
            }
            let mut first = self.first();
            while Chunk::at(first).slots().len() < keep.slots().len() {
                let next = Chunk::at(first).entered_next();
                Chunk::free(first);
                first = next;
            }
            self.set_first(first);
            // What was entered becomes spare.
            let mut pointer = first;
            while pointer != last {
                let chunk = Chunk::at(pointer);
                pointer = chunk.entered_next();
                chunk.next.with_mut(|link| *link = ptr::null_mut());
                chunk.spare.store(pointer, Relaxed);
            }
        }
    }

    /// Frees the chunks before `keep`, which both sides have passed.
    ///
    /// # Safety
    /// The caller is the flusher, and both sides have passed every chunk before `keep`; if there
    /// is one, the writer has thus entered this buffer.
    pub(super) unsafe fn free_passed(&self, keep: *mut Chunk<T>) {
        // SAFETY: the writer reads `first` as it enters and `next` of the chunk that it is in;
        // neither lies before `keep` any more (models `grow`, `drop`).
        unsafe {
            let mut chunk = self.first();
            if chunk == keep && !broken("buffer: trimmed where the writer may be entering") {
                // And nothing is written: the writer might be entering this buffer now.
                return;
            }
            while chunk != keep {
                let next = Chunk::at(chunk).entered_next();
                Chunk::free(chunk);
                chunk = next;
            }
            self.set_first(keep);
        }
    }

    /// Frees every chunk.
    ///
    /// # Safety
    /// The caller is the flusher, the buffer is a standby or the lane is being dropped, and
    /// its items have been read.
    pub(super) unsafe fn free_all(&self) {
        // SAFETY: nobody else can reach a chunk of this buffer (models `grow`, `drop`).
        unsafe {
            let mut chunk = self.first();
            self.set_first(ptr::null_mut());
            while !chunk.is_null() {
                if !broken("buffer: spares forgotten") {
                    Chunk::at(chunk).free_spares();
                }
                let next = Chunk::at(chunk).entered_next();
                Chunk::free(chunk);
                chunk = next;
            }
        }
    }
}
