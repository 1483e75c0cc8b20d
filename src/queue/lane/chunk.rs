//! The storage of a lane: append-only lists of chunks, which hang from links.
//!
//! ```text
//!  buffer ──entered──► chunk ──entered──► chunk ──spare──► chunk ──spare──► chunk
//!                      └─ in use; the writer is in the last ─┘ └── to be entered ──┘
//! ```
//!
//! There is a link at the start of a buffer and at the end of each chunk. A link knows which chunk
//! the writer entered behind it. That is a plain field: the flusher reads it only once `published`
//! (see `lane`) counts an item behind it.
//!
//! Chunks that the writer has not entered hang from the last link as spares. Either side may take
//! that list, the writer to enter and the flusher to free: whoever swaps it out owns it. So an idle
//! lane can give back every chunk but the writer's.

#![expect(unsafe_code)]

use std::mem::{self, MaybeUninit};
use std::ptr;

use crate::sync::Ordering::Relaxed;
use crate::sync::{AtomicPtr, UnsafeCell, broken};

/// The place of one item. The writer writes it, the flusher reads it once.
pub(super) type Slot<T> = UnsafeCell<MaybeUninit<T>>;

const MODELLED: bool = cfg!(all(test, swaplane_loom));

/// The size in bytes of the first chunk of a lane.
const FIRST_CHUNK_BYTES: usize = if MODELLED { 0 } else { 512 };
/// Chunks double up to this size in bytes, which leaves room for both buffers in a usual L2 cache.
const LARGEST_CHUNK_BYTES: usize = if MODELLED { 4 } else { 128 * 1024 };
/// A chunk has this many slots at least, whatever the size of an item. (In models chunks have two
/// slots; where items are bytes, the second chunk has four.)
const FEWEST_SLOTS: usize = if MODELLED { 2 } else { 1 };
/// A chunk has this many slots at most: items without a size would fit without end.
const MOST_SLOTS: usize = 1 << 16;

/// Where a chunk hangs: the start of a buffer, or the end of the chunk before.
pub(super) struct Link<T> {
    /// The chunk that the writer entered behind this link, or null. The writer sets it; once the
    /// writer is past it, the flusher may move it forward.
    entered: UnsafeCell<*mut Chunk<T>>,
    /// The list of chunks ready to be entered behind this link, or null. It is null if there are
    /// none, if the writer has entered the first of them, or if the flusher has freed them.
    spare: AtomicPtr<Chunk<T>>,
}

pub(super) struct Chunk<T> {
    /// The link of the next chunk.
    pub(super) end: Link<T>,
    slots: Box<[Slot<T>]>,
    #[cfg(all(test, swaplane_loom))]
    tracked: crate::loom_tests::track::Tracked,
}

/// One of the two buffers of a lane.
pub(super) type Buffer<T> = Link<T>;

// SAFETY: the lane protocol gives each link and each chunk to one thread at a time (models `swap`,
// `recycle`, `grow`, `drop`); items cross threads, hence `T: Send`.
unsafe impl<T: Send> Send for Link<T> {}
// SAFETY: as above. No `&T` is ever handed out, so `T: Sync` is not needed.
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
            tracked: crate::loom_tests::track::Tracked::begin(),
        }))
    }

    /// # Safety
    /// `chunk` comes from `with_slots`, and nobody else can reach it any more.
    unsafe fn free(chunk: *mut Self) {
        // SAFETY: as the caller promises (models `recycle`, `grow`, `drop`).
        #[cfg(not(all(test, swaplane_loom)))]
        drop(unsafe { Box::from_raw(chunk) });
        // Models check that promise. They keep the memory, so that they can.
        #[cfg(all(test, swaplane_loom))]
        {
            // SAFETY: models keep the memory of every chunk until their end.
            let freed = unsafe { Self::at(chunk) };
            freed.tracked.end();
            freed.end.entered.with_mut(|_| ());
            freed.slots.iter().for_each(|slot| slot.with_mut(|_| ()));
            crate::loom_tests::track::keep(chunk);
        }
    }

    /// # Safety
    /// The chunk was not freed. Models check that.
    #[inline(always)]
    pub(super) unsafe fn at<'a>(chunk: *const Self) -> &'a Self {
        debug_assert!(!chunk.is_null(), "no chunk where one must be");
        // SAFETY: as the caller promises (models `grow`, `drop`).
        let chunk = unsafe { &*chunk };
        #[cfg(all(test, swaplane_loom))]
        chunk.tracked.check();
        chunk
    }

    /// # Safety
    /// The chunk was not freed, unless the pointer is null.
    pub(super) unsafe fn maybe_at<'a>(chunk: *const Self) -> Option<&'a Self> {
        // SAFETY: as the caller promises (models `grow`, `drop`).
        (!chunk.is_null()).then(|| unsafe { Self::at(chunk) })
    }

    pub(super) fn slots(&self) -> &[Slot<T>] {
        &self.slots
    }
}

/// How many slots the next chunk of a lane has, if its largest so far has `largest`.
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

    /// Enters the next chunk: a spare if there is one, or else a new one, larger than those with
    /// `size` slots.
    ///
    /// # Safety
    /// The caller is the writer, and has come to this link.
    pub(super) unsafe fn enter(&self, size: usize) -> *mut Chunk<T> {
        let mut next = self.take_spare();
        if next.is_null() {
            next = Chunk::with_slots(next_size::<T>(size));
        }
        // SAFETY: only the writer touches this field now; the flusher does so once `published`
        // counts an item behind it (model `grow`).
        self.entered.with_mut(|entered| unsafe { *entered = next });
        next
    }

    /// The chunk that the writer entered behind this link.
    ///
    /// # Safety
    /// The caller is the flusher. `published`, loaded with Acquire, counts an item behind this
    /// link, or the writer has left the buffer for good.
    pub(super) unsafe fn entered(&self) -> *mut Chunk<T> {
        // SAFETY: the write in `enter` happened before the store that the caller has seen (models
        // `swap`, `grow`).
        self.entered.with(|entered| unsafe { *entered })
    }

    /// # Safety
    /// As for `entered`, and the writer is past this link.
    unsafe fn set_entered(&self, chunk: *mut Chunk<T>) {
        // SAFETY: as the caller promises (models `recycle`, `grow`).
        self.entered.with_mut(|entered| unsafe { *entered = chunk });
    }

    /// Takes the whole list of spares, which nobody else can reach then.
    // Relaxed: the flusher touched the list and its chunks last, or the writer did and then left
    // the buffer; both happened before this buffer was published to the writer. A swap, since both
    // may take the list at once and only one may get it (model `grow`).
    fn take_spare(&self) -> *mut Chunk<T> {
        self.spare.swap(ptr::null_mut(), Relaxed)
    }

    /// Frees the spares. The writer then allocates when it needs a chunk.
    pub(super) fn free_spares(&self) {
        let mut spare = self.take_spare();
        while !spare.is_null() {
            // SAFETY: `take_spare` took the list from everybody else. A list of spares is linked
            // through `spare` (model `grow`).
            unsafe {
                let next = Chunk::at(spare).end.take_spare();
                Chunk::free(spare);
                spare = next;
            }
        }
    }

    /// Frees the spares if they are smaller than `size` slots: the lane has grown since.
    ///
    /// # Safety
    /// The caller is the flusher, and this is the standby.
    pub(super) unsafe fn free_small_spares(&self, size: usize) {
        // Relaxed: nobody else reaches the standby.
        // SAFETY: nobody else reaches the spares of the standby, which are of one size (model
        // `recycle`).
        let spare = unsafe { Chunk::maybe_at(self.spare.load(Relaxed)) };
        if spare.is_some_and(|spare| spare.slots().len() < size) {
            self.free_spares();
        }
    }

    /// Makes a buffer ready to be the standby. Its chunks become spares, so a load that comes and
    /// goes allocates nothing; those smaller than `last` were steps on the way, and are freed. With
    /// `trim`, spares that the writer did not enter this time are freed but for the first.
    ///
    /// # Safety
    /// The caller is the flusher, the writer has left the buffer, and all its items are read.
    /// `last` is the last chunk that was entered.
    pub(super) unsafe fn reset(&self, last: *mut Chunk<T>, trim: bool) {
        // Relaxed, below: nobody else reaches this buffer.
        // SAFETY: the writer has left (Acquire on `acked`), so every chunk of this buffer is the
        // flusher's. Each is freed once, as it leaves the list (models `recycle`, `grow`, `drop`).
        unsafe {
            let keep = Chunk::at(last);
            let spare = Chunk::maybe_at(keep.end.spare.load(Relaxed));
            if let Some(spare) = spare.filter(|_| trim) {
                spare.end.free_spares();
            }
            let mut first = self.entered();
            while Chunk::at(first).slots().len() < keep.slots().len() {
                let next = Chunk::at(first).end.entered();
                Chunk::free(first);
                first = next;
            }
            // The chunks that were entered become spares.
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

    /// Frees the chunks before `keep`, which both ends are past.
    ///
    /// # Safety
    /// The caller is the flusher, and has read an item of `keep`: so the writer has entered it.
    pub(super) unsafe fn free_passed(&self, keep: *mut Chunk<T>) {
        // SAFETY: the writer never comes back to a link or a chunk that it is past (models `grow`,
        // `drop`).
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
    /// The lane is being dropped, and all its items were read.
    pub(super) unsafe fn free_all(&self) {
        // SAFETY: nobody else reaches a chunk of this buffer (model `drop`).
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
