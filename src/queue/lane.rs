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

mod active;
mod chunk;
mod reader;
mod shared;
mod writer;

use crate::sync::Ordering::{Acquire, Relaxed};

use crossbeam_utils::CachePadded;

pub(crate) use self::reader::LaneReader;
pub(crate) use self::shared::SharedWriter;
pub(crate) use self::writer::LaneWriter;

use self::active::Published;
use self::chunk::Buffer;
use self::reader::ReaderState;
use self::writer::WriterState;
use crate::batch::drop_items;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Mutex, UnsafeCell, broken, order, torn};

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
    progress: CachePadded<Progress<T>>,
    /// Both buffers belong to the lane for its whole life; `active` only says which is which.
    buffers: [Arc<Buffer<T>>; 2],
    /// The flusher's alone; here so that the lane can drop what nobody read.
    reader: UnsafeCell<ReaderState<T>>,
}

struct Control<T> {
    word: AtomicUsize,
    active: Published<Buffer<T>>,
}

/// In the order in which a push needs it.
#[repr(C)]
struct Progress<T> {
    /// Where several threads write, one at a time: see `shared`.
    lock: Mutex<()>,
    /// A push is between its look at `word` and its end.
    busy: AtomicBool,
    /// Items written so far, in all buffers (wraps).
    published: AtomicUsize,
    writer: WriterState<T>,
    /// The generation that the writer is in.
    acked: AtomicUsize,
    /// `published` when the writer came into that generation.
    moved_at: AtomicUsize,
    /// There will be no further push.
    ended: AtomicBool,
}

// SAFETY: the protocol above gives each part of a lane to one thread at a time (models `swap`,
// `recycle`, `grow`, `handover`); items cross threads, hence `T: Send`.
unsafe impl<T: Send> Send for Lane<T> {}
// SAFETY: as above, and what is the writer's own is reached through it alone, which is not `Sync`
// (model `handover`), or under the lock (model `shared`); no `&T` is ever handed out, so `T: Sync`
// is not needed.
unsafe impl<T: Send> Sync for Lane<T> {}

/// A new lane with its two ends; `flags` are up from the first push on.
pub(crate) fn lane<T>(flags: usize) -> (LaneWriter<T>, LaneReader<T>) {
    let buffers = [Arc::new(Buffer::new()), Arc::new(Buffer::new())];
    let lane = Arc::new(Lane {
        control: CachePadded::new(Control {
            word: AtomicUsize::new(flags),
            active: Published::new(buffers[0].clone()),
        }),
        progress: CachePadded::new(Progress {
            lock: Mutex::default(),
            busy: AtomicBool::new(false),
            published: AtomicUsize::new(0),
            writer: WriterState::new(&buffers[0]),
            acked: AtomicUsize::new(0),
            moved_at: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        }),
        buffers,
        reader: UnsafeCell::new(ReaderState::START),
    });
    (LaneWriter::new(lane.clone()), LaneReader::new(lane))
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
    // Acquire: pairs with the Release of `LaneWriter::clear_busy`, behind which lies `published`.
    pub(crate) fn is_busy(&self) -> bool {
        self.progress.busy.load(order("lane: busy read", Acquire))
    }
}

impl<T> Drop for Lane<T> {
    fn drop(&mut self) {
        if cfg!(all(test, swaplane_loom)) && std::thread::panicking() {
            // A mutant was caught. What it left behind is in no state to be looked at.
            return;
        }
        let mut unread = Vec::new();
        // SAFETY: both ends are ended, so everything is ours (model `drop`).
        self.reader.with_mut(|reader| unsafe {
            if !broken("lane: unread items forgotten") {
                (*reader).take(self, usize::MAX, &mut unread);
            }
        });
        for buffer in &self.buffers {
            // SAFETY: as above, and all items have been read.
            unsafe { buffer.free_all() };
        }
        // Last, since it runs code of the user's.
        drop_items(&mut unread);
    }
}
