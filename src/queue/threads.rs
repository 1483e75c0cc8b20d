//! An index for each thread: a small number, given to another thread once its owner has ended.
//!
//! Why not a crate? The lane of an ended thread goes to the next owner of its index, so the
//! happens-before edge of that hand-over must be ours to model. And a thread-local destructor that
//! runs after ours must still learn the index that its thread had, to keep the thread's order.

pub(crate) mod lanes;

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::marker::PhantomData;
use std::num::NonZeroU64;

use crate::sync::{Mutex, broken, global};

/// The indices that no thread has. The smallest is given out first, so those in use stay dense.
#[derive(Debug)]
pub(crate) struct Indices(Mutex<Free>);

#[derive(Debug)]
struct Free {
    given_back: BinaryHeap<Reverse<u32>>,
    /// The smallest index that was never given out.
    next: u32,
}

/// Proof of being the one thread that has this index now. It cannot leave the thread.
#[derive(Debug)]
pub(crate) struct ThreadIndex {
    index: u32,
    not_send: PhantomData<*const ()>,
}

/// Why a thread has no index any more: it is being torn down. It had this one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended(pub(crate) u32);

global! {
    static INDICES: Indices = Indices::new();
}

/// This thread has not claimed an index yet.
const FRESH: u32 = u32::MAX;
/// Set in the index of a thread that has given it back.
const ENDED: u32 = 1 << 31;

thread_local! {
    // Without a destructor, so it can be read at any time in the life of a thread.
    static INDEX: Cell<u32> = const { Cell::new(FRESH) };
    // Its destructor gives the index back.
    static GUARD: Guard = const { Guard };
    // The last lane that was looked up, and the id of its queue. Id 0: none.
    static CACHED: Cell<(u64, *const ())> = const { Cell::new((0, std::ptr::null())) };
}

/// The lane that this thread looked up last, if it was one of the queue with this id.
#[inline(always)]
fn cached(id: NonZeroU64) -> Option<*const ()> {
    let (owner, lane) = CACHED.get();
    (owner == id.get()).then_some(lane)
}

struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        let index = INDEX.get();
        INDEX.set(index | ENDED);
        CACHED.set((0, std::ptr::null()));
        INDICES.give_back(ThreadIndex::new(index));
    }
}

impl Indices {
    #[cfg(not(all(test, swaplane_loom)))]
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Free {
            given_back: BinaryHeap::new(),
            next: 0,
        }))
    }

    #[cfg(all(test, swaplane_loom))]
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Free {
            given_back: BinaryHeap::new(),
            next: 0,
        }))
    }

    pub(crate) fn claim(&self) -> ThreadIndex {
        let mut free = self.0.lock();
        let index = match free.given_back.pop() {
            Some(Reverse(index)) => index,
            None if broken("threads: one index for two threads") => 0,
            None => {
                free.next += 1;
                free.next - 1
            }
        };
        ThreadIndex::new(index)
    }

    // The lock orders what this owner did with its lanes before what the next owner does.
    pub(crate) fn give_back(&self, index: ThreadIndex) {
        self.0.lock().given_back.push(Reverse(index.index));
    }
}

impl ThreadIndex {
    fn new(index: u32) -> Self {
        Self {
            index,
            not_send: PhantomData,
        }
    }

    /// The index of this thread. Costs one thread-local load, except the first time.
    #[inline(always)]
    pub(crate) fn current() -> Result<Self, Ended> {
        let index = INDEX.get();
        if index < ENDED {
            Ok(Self::new(index))
        } else {
            Self::claim_or_ended(index)
        }
    }

    #[cold]
    fn claim_or_ended(index: u32) -> Result<Self, Ended> {
        if index != FRESH {
            return Err(Ended(index & !ENDED));
        }
        let index = INDICES.claim().index;
        INDEX.set(index);
        if GUARD.try_with(|_| ()).is_err() {
            // No destructor can be registered any more, so nobody would give the index back.
            INDEX.set(index | ENDED);
            INDICES.give_back(Self::new(index));
            return Err(Ended(index));
        }
        Ok(Self::new(index))
    }

    /// Caches a lane of the queue with this id, in place of the one cached before. The cache is
    /// cleared before the index is given back. Under loom all threads are one, so nothing is
    /// cached.
    fn cache(&self, id: NonZeroU64, lane: *const ()) {
        if !cfg!(all(test, swaplane_loom)) {
            CACHED.set((id.get(), lane));
        }
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> u32 {
        self.index
    }
}

#[cfg(all(test, not(swaplane_loom)))]
mod tests {
    use super::{Indices, ThreadIndex};

    #[test]
    fn the_smallest_free_index_is_given_out_first() {
        let indices = Indices::new();
        let (a, b, c) = (indices.claim(), indices.claim(), indices.claim());
        assert_eq!((a.get(), b.get(), c.get()), (0, 1, 2));
        indices.give_back(c);
        indices.give_back(a);
        assert_eq!(indices.claim().get(), 0);
        assert_eq!(indices.claim().get(), 2);
        assert_eq!(indices.claim().get(), 3);
    }

    #[test]
    fn a_thread_keeps_its_index() {
        let index = ThreadIndex::current().map(|index| index.get()).ok();
        assert!(index.is_some());
        assert_eq!(index, ThreadIndex::current().map(|index| index.get()).ok());
    }
}
