//! The storage of a lane: append-only lists of chunks, which hang from links.
//!
//! ```text
//!  buffer ──entered──► chunk ──entered──► chunk ──spare──► chunk ──spare──► chunk
//!                      └─ in use; the writer is in the last ─┘ └── to be entered ──┘
//! ```
//!
//! A link, at the start of a buffer and at the end of each chunk, knows which chunk the writer
//! entered next. The flusher follows it only once `published` (see `lane`) says that there is an
//! item behind it, so it is a plain field. Chunks that nobody has entered hang from the last link
//! as spare ones. Either side may empty that list, the writer to enter and the flusher to free:
//! whoever swaps it out owns it. So an idle lane can give back all but the chunk its writer is in.

#![expect(unsafe_code)]

use crate::sync::Ordering::Relaxed;
use std::mem::{self, MaybeUninit};
use std::ptr;

use crate::sync::{AtomicPtr, UnsafeCell, broken};

/// Where one item lies. Written by the writer, read once by the flusher.
pub(super) type Slot<T> = UnsafeCell<MaybeUninit<T>>;

/// A lane that has never held much is this small.
const FIRST_CHUNK_BYTES: usize = if cfg!(all(test, swaplane_loom)) {
    0
} else {
    512
};
/// Chunks double up to this size, which leaves room for both buffers in a usual L2 cache.
const LARGEST_CHUNK_BYTES: usize = if cfg!(all(test, swaplane_loom)) {
    4
} else {
    128 * 1024
};
/// Whatever its size in bytes, a chunk has room for this many items (models use two; and four
/// for the second chunk where items are bytes).
const FEWEST_SLOTS: usize = if cfg!(all(test, swaplane_loom)) { 2 } else { 1 };
/// Items without a size would fit a chunk without end.
const MOST_SLOTS: usize = 1 << 16;

/// Where a chunk hangs. The start of a buffer is one.
pub(super) struct Link<T> {
    /// The chunk that the writer entered here; null while it has entered none. The writer's to
    /// set, and once it has ended on the flusher's to move forward.
    entered: UnsafeCell<*mut Chunk<T>>,
    /// Either the chunks ready to be entered here, or null: then there are none, or the writer
    /// has entered the first of them, or the flusher has freed them.
    spare: AtomicPtr<Chunk<T>>,
}

pub(super) struct Chunk<T> {
    /// Where the next one hangs.
    pub(super) end: Link<T>,
    slots: Box<[Slot<T>]>,
    #[cfg(all(test, swaplane_loom))]
    life: crate::loom_tests::track::Tracked,
}

/// One of the two buffers of a lane.
pub(super) type Buffer<T> = Link<T>;

// SAFETY: a link leads to chunks of `T`; who may touch which part when is the lane protocol's to
// say (models `swap` to `drop`), and items cross threads, hence `T: Send`.
unsafe impl<T: Send> Send for Link<T> {}
// SAFETY: as above; no `&T` is ever handed out, so `T: Sync` is not needed.
unsafe impl<T: Send> Sync for Link<T> {}

impl<T> Chunk<T> {
    fn with_slots(count: usize) -> *mut Self {
        let slots = (0..count)
            .map(|_| Slot::new(MaybeUninit::uninit()))
            .collect();
        Box::into_raw(Box::new(Self {
            end: Link::new(),
            slots,
            #[cfg(all(test, swaplane_loom))]
            life: crate::loom_tests::track::Tracked::begin(),
        }))
    }

    /// # Safety
    /// It comes from `with_slots`, and nobody else can reach it any more.
    unsafe fn free(chunk: *mut Self) {
        // SAFETY: the caller's promise.
        #[cfg(not(all(test, swaplane_loom)))]
        drop(unsafe { Box::from_raw(chunk) });
        // Models check that promise, and keep the memory so that they can.
        #[cfg(all(test, swaplane_loom))]
        {
            // SAFETY: the memory is kept until the end.
            let dead = unsafe { Self::at(chunk) };
            dead.life.end();
            dead.end.entered.with_mut(|_| ());
            dead.slots.iter().for_each(|slot| slot.with_mut(|_| ()));
            crate::loom_tests::track::keep(chunk);
        }
    }

    /// # Safety
    /// The chunk is there; models, which keep all chunks until the end, check that.
    #[inline(always)]
    pub(super) unsafe fn at<'a>(chunk: *const Self) -> &'a Self {
        debug_assert!(!chunk.is_null(), "no chunk where one must be");
        // SAFETY: the caller's promise.
        let chunk = unsafe { &*chunk };
        #[cfg(all(test, swaplane_loom))]
        chunk.life.check();
        chunk
    }

    /// # Safety
    /// The chunk is there, unless the pointer is null.
    pub(super) unsafe fn maybe_at<'a>(chunk: *const Self) -> Option<&'a Self> {
        // SAFETY: the caller's promise.
        (!chunk.is_null()).then(|| unsafe { Self::at(chunk) })
    }

    pub(super) fn slots(&self) -> &[Slot<T>] {
        &self.slots
    }
}

/// How many slots the next chunk of a lane has whose largest so far has `largest`.
fn next_size<T>(largest: usize) -> usize {
    let slots_in = |bytes: usize| {
        let slots = bytes.checked_div(mem::size_of::<T>());
        slots.unwrap_or(MOST_SLOTS).clamp(FEWEST_SLOTS, MOST_SLOTS)
    };
    (largest * 2).clamp(slots_in(FIRST_CHUNK_BYTES), slots_in(LARGEST_CHUNK_BYTES))
}

impl<T> Link<T> {
    pub(super) fn new() -> Self {
        Self {
            entered: UnsafeCell::new(ptr::null_mut()),
            spare: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// The writer's: enters the next chunk, a spare one if there is one, else one larger than
    /// those with `size` slots.
    ///
    /// # Safety
    /// Only the writer of the lane may call it, on the link that it has come to.
    pub(super) unsafe fn enter(&self, size: usize) -> *mut Chunk<T> {
        let mut next = self.take_spare();
        if next.is_null() {
            next = Chunk::with_slots(next_size::<T>(size));
        }
        // SAFETY: the writer alone writes this now, and nobody reads it until `published` counts
        // an item behind it (model `grow`).
        self.entered.with_mut(|entered| unsafe { *entered = next });
        next
    }

    /// The flusher's: the chunk that the writer entered here.
    ///
    /// # Safety
    /// `published`, loaded with Acquire, must count an item behind this link, or the writer
    /// must have left the buffer for good.
    pub(super) unsafe fn entered(&self) -> *mut Chunk<T> {
        // SAFETY: the write in `enter` happened before the publication that the caller saw.
        self.entered.with(|entered| unsafe { *entered })
    }

    /// # Safety
    /// As `entered`; and nothing but the flusher may come here any more.
    unsafe fn set_entered(&self, chunk: *mut Chunk<T>) {
        // SAFETY: the caller's promise.
        self.entered.with_mut(|entered| unsafe { *entered = chunk });
    }

    /// Takes the whole list of spare chunks, which nobody else can reach then.
    // Relaxed: the list and the chunks in it were last touched by the flusher, or handed to it
    // by the writer's leave of an earlier buffer; both happened before this buffer was
    // published to the writer. Only one of two takers may get it: hence the swap (`grow`).
    fn take_spare(&self) -> *mut Chunk<T> {
        if broken("chunk: spares taken without a swap") {
            let spare = self.spare.load(Relaxed);
            self.spare.store(ptr::null_mut(), Relaxed);
            return spare;
        }
        self.spare.swap(ptr::null_mut(), Relaxed)
    }

    /// Frees the spare chunks; the writer allocates when it wants more.
    pub(super) fn free_spares(&self) {
        let mut spare = self.take_spare();
        while !spare.is_null() {
            // SAFETY: `take_spare` made this list ours alone; a list of spares is linked through
            // `spare` (model `grow`).
            unsafe {
                let next = Chunk::at(spare).end.take_spare();
                Chunk::free(spare);
                spare = next;
            }
        }
    }

    /// Frees the spare chunks of a standby that are smaller than `size`: the lane has grown.
    ///
    /// # Safety
    /// The caller is the flusher, and this is a standby.
    pub(super) unsafe fn free_small_spares(&self, size: usize) {
        // SAFETY: nobody else can reach the spare chunks of a standby; they are of one size.
        let spare = unsafe { Chunk::maybe_at(self.spare.load(Relaxed)) };
        if spare.is_some_and(|spare| spare.slots().len() < size) {
            self.free_spares();
        }
    }

    /// Makes a buffer that the writer has left, and whose items are all read, ready for the next
    /// time: of the chunks entered keeps those as large as `last` (the others were steps on
    /// the way). Keeps the spare ones too, so that a load that comes and goes allocates nothing;
    /// where it is to be `trim_on_reset`, only the first of them.
    ///
    /// # Safety
    /// The caller is the flusher; the writer has left; `last` is the last chunk entered.
    pub(super) unsafe fn reset(&self, last: *mut Chunk<T>, trim_on_reset: bool) {
        // SAFETY: with the writer ended (Acquire on `acked`) every chunk of this buffer is the
        // flusher's; each is freed once, as it is cut from the list (models `recycle`, `grow`,
        // `drop`).
        unsafe {
            let keep = Chunk::at(last);
            let spare = Chunk::maybe_at(keep.end.spare.load(Relaxed));
            if let Some(spare) = spare.filter(|_| trim_on_reset) {
                spare.end.free_spares();
            }
            let mut first = self.entered();
            while Chunk::at(first).slots().len() < keep.slots().len() {
                let next = Chunk::at(first).end.entered();
                Chunk::free(first);
                first = next;
            }
            // What was entered becomes spare.
            self.set_entered(ptr::null_mut());
            self.spare.store(first, Relaxed);
            let mut pointer = first;
            while pointer != last {
                let chunk = Chunk::at(pointer);
                pointer = chunk.end.entered();
                chunk.end.set_entered(ptr::null_mut());
                chunk.end.spare.store(pointer, Relaxed);
            }
        }
    }

    /// Frees the chunks before `keep`, which both sides have passed.
    ///
    /// # Safety
    /// The caller is the flusher, and has read an item of `keep`: so the writer has entered it.
    pub(super) unsafe fn free_passed(&self, keep: *mut Chunk<T>) {
        // SAFETY: the writer never looks at a link again that it has passed, nor at a chunk
        // (models `grow`, `drop`).
        unsafe {
            let mut chunk = self.entered();
            while chunk != keep {
                let next = Chunk::at(chunk).end.entered();
                Chunk::free(chunk);
                chunk = next;
            }
            self.set_entered(keep);
        }
    }

    /// Frees every chunk.
    ///
    /// # Safety
    /// The lane is being dropped, and its items have been read.
    pub(super) unsafe fn free_all(&self) {
        // SAFETY: nobody else can reach a chunk of this buffer (model `drop`).
        unsafe {
            if !broken("chunk: spares forgotten") {
                self.free_spares();
            }
            let mut chunk = self.entered();
            while !chunk.is_null() {
                if !broken("chunk: spares forgotten") {
                    Chunk::at(chunk).end.free_spares();
                }
                let next = Chunk::at(chunk).end.entered();
                Chunk::free(chunk);
                chunk = next;
            }
        }
    }
}
