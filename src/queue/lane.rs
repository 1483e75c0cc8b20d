//! A lane: the double buffer of one writer. The writer never waits for the flusher, the flusher
//! never waits for the writer, and neither needs an atomic read-modify-write for an item.
//!
//! ```text
//!              word: generation | flags          published: items ever written
//!  flusher ──► active ─► buffer A ◄── writer     acked:     the generation the writer is in
//!              standby   buffer B                moved_at:  `published` when it came there
//! ```
//!
//! One writer and one reader on two buffers, of which one is active: the idea is that of
//! left-right, with the roles turned round. There two copies spare the readers, here two buffers
//! spare the writer. What follows is told by path; the cases of each path are numbered where the
//! code takes it.
//!
//! # Push, fast path (`writer`)
//! 1. The writer sets the busy flag, and compares `word` with what it saw last.
//! 2. Nothing changed: it writes the slot, then `published` (Release).
//! 3. It clears the busy flag (Release).
//!
//! # Push, slow path (`writer`)
//! `word` changed, or the chunk or the credits are used up. If the generation changed, the writer
//! leaves its buffer for good, goes to the start of the active one, and says so: it stores
//! `moved_at`, then `acked` (Release). Then it writes as above.
//!
//! # Read (`reader`)
//! 1. The flusher reads `published`, and only then `acked`. So while the writer has not left a
//!    retired buffer, all that `published` counts lies in that buffer. Once the writer has left,
//!    `moved_at` is where the buffer ends.
//! 2. The flusher reads a retired buffer up to its end, resets it, and has a standby again.
//! 3. The flusher reads on in the active buffer, in place, but never while a retired one is
//!    incomplete.
//!
//! # Swap (`reader`)
//! Once a chunk of the active buffer is used up and there is a standby, the standby becomes active,
//! the generation goes up (Release), and the old buffer is retired. The flusher never swaps while a
//! swap is not acknowledged. So there is no ABA, and no buffer is touched before its writer says
//! that it left: no guard, no grace period, no sealed flag.
//!
//! # Wake and close (`barrier`)
//! A flag raised in `word` makes it differ from what the writer saw last. So flags cost the fast
//! path nothing, and every push that begins after the barrier sees them.
//!
//! `published` counts over the whole life of the lane rather than per buffer, so the count of what
//! was accepted costs a push nothing more.

#![expect(unsafe_code)]

mod active;
mod chunk;
mod reader;
mod shared;
mod writer;

use crossbeam_utils::CachePadded;

pub(crate) use self::reader::LaneReader;
pub(crate) use self::shared::SharedWriter;
pub(crate) use self::writer::LaneWriter;

use self::active::Active;
use self::chunk::Buffer;
use self::reader::ReaderState;
use self::writer::WriterState;
use crate::batch::drop_items;
use crate::sync::Ordering::{Acquire, Relaxed};
use crate::sync::{Arc, AtomicBool, AtomicUsize, Mutex, UnsafeCell, broken, order, torn};

/// The lane refuses items.
pub(crate) const CLOSED: usize = 1;
/// The flusher sleeps: a push must wake it.
pub(crate) const PARKED: usize = 1 << 1;
/// Up from the start where barriers are fences. `word` then never equals what the writer saw, so
/// every push takes the slow path, which runs the fence.
pub(crate) const FENCED: usize = 1 << 2;
/// One generation. The lowest bit of the generation tells which buffer is active.
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
    /// Both buffers belong to the lane for its whole life. `active` tells which is which.
    buffers: [Arc<Buffer<T>>; 2],
    /// The reader's alone. It lies here so that the lane can drop what nobody read.
    reader: UnsafeCell<ReaderState<T>>,
    /// The collector has read everything and forgotten the lane. The collector's alone, too.
    // Relaxed: only the collector reads it.
    reaped: AtomicBool,
}

struct Control<T> {
    /// The generation, and the flags in its lowest bits.
    word: AtomicUsize,
    active: Active<T>,
}

/// In the order in which a push needs it: one cache line, and part of the next.
#[repr(C)]
struct Progress<T> {
    /// Held by a push where several threads share the lane: see `shared`.
    lock: Mutex<()>,
    /// A push is in progress. The writer sets it before a push reads `word`, and clears it at the
    /// end of the push.
    busy: AtomicBool,
    /// Items written so far, in all buffers. Wraps.
    published: AtomicUsize,
    writer: WriterState<T>,
    /// The generation that the writer is in.
    acked: AtomicUsize,
    /// `published` when the writer came into that generation.
    moved_at: AtomicUsize,
    /// The writer will push no more.
    ended: AtomicBool,
}

// SAFETY: the protocol above gives each part of a lane to one thread at a time (models `swap`,
// `recycle`, `grow`, `handover`); items cross threads, hence `T: Send`.
unsafe impl<T: Send> Send for Lane<T> {}
// SAFETY: as above. The state of the writer is reached through the writer alone, which is not
// `Sync` (model `handover`), or under the lock (model `shared`). No `&T` is ever handed out, so `T:
// Sync` is not needed.
unsafe impl<T: Send> Sync for Lane<T> {}

/// Makes a lane and its two ends. `flags` are up from the first push on.
pub(crate) fn lane<T>(flags: usize) -> (LaneWriter<T>, LaneReader<T>) {
    let buffers = [Arc::new(Buffer::new()), Arc::new(Buffer::new())];
    let lane = Arc::new(Lane {
        control: CachePadded::new(Control {
            word: AtomicUsize::new(flags),
            active: Active::new(buffers[0].clone()),
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
        reaped: AtomicBool::new(false),
    });
    (LaneWriter::new(lane.clone()), LaneReader::new(lane))
}

/// For whoever has the lane, on any thread.
impl<T> Lane<T> {
    /// Items ever written. The count of a push in progress may be missing.
    // Relaxed: a count. Whoever reads the items loads it again, with Acquire.
    pub(crate) fn published(&self) -> usize {
        self.progress.published.load(Relaxed)
    }

    /// Notes that the writer has ended, and that everything was read.
    pub(crate) fn reap(&self) {
        self.reaped.store(true, Relaxed);
    }

    pub(crate) fn is_reaped(&self) -> bool {
        self.reaped.load(Relaxed)
    }

    /// Raises flags. Pushes see them from the next `Barrier::heavy` on.
    // Relaxed, here and in `lower`: whoever needs an order around a flag runs the barrier. A
    // read-modify-write, so that no change of a flag, and no new generation, undoes another; it
    // also carries on the release sequence of the generation.
    pub(crate) fn raise(&self, flags: usize) {
        let word = &self.control.word;
        if !torn("lane: raised in two steps", word, Relaxed, |word| {
            word | flags
        }) {
            word.fetch_or(flags, Relaxed);
        }
    }

    /// Lowers flags. A push may see the change late.
    pub(crate) fn lower(&self, flags: usize) {
        let word = &self.control.word;
        if !torn("lane: lowered in two steps", word, Relaxed, |word| {
            word & !flags
        }) {
            word.fetch_and(!flags, Relaxed);
        }
    }

    /// Whether a push is in progress that may not have seen a flag raised before the last barrier.
    /// If not, all that such pushes wrote is visible.
    // Acquire: pairs with the Release of `LaneWriter::clear_busy`, before which `published` was
    // stored.
    pub(crate) fn is_busy(&self) -> bool {
        self.progress.busy.load(order("lane: busy read", Acquire))
    }
}

impl<T> Drop for Lane<T> {
    fn drop(&mut self) {
        if cfg!(all(test, swaplane_loom)) && std::thread::panicking() {
            // A mutant was caught, and left the lane in no state to be looked at.
            return;
        }
        let mut unread = Vec::new();
        // SAFETY: both ends are gone, so nobody else touches any part of the lane (model `drop`).
        self.reader.with_mut(|reader| unsafe {
            if !broken("lane: unread items forgotten") {
                (*reader).take(self, usize::MAX, &mut unread);
            }
        });
        for buffer in &self.buffers {
            // SAFETY: as above, and all items were read.
            unsafe { buffer.free_all() };
        }
        // Last, since `Drop` of an item is the user's code.
        drop_items(&mut unread);
    }
}
