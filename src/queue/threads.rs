//! A small number for each thread, given to another thread once its owner has ended.
//!
//! Why not a crate: lanes of ended threads are handed over with their numbers, so the
//! happens-before edge of that hand-over must be ours to model; and a thread-local destructor
//! that runs after ours must still learn the number that its thread had, to keep its order.

pub(crate) mod lanes;

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::marker::PhantomData;
use std::num::NonZeroU64;

use crate::sync::{Mutex, broken, global};

/// The numbers in use. The smallest free one is given out first, so that they stay dense.
#[derive(Debug)]
pub(crate) struct Indices(Mutex<Free>);

#[derive(Debug)]
struct Free {
    given_back: BinaryHeap<Reverse<u32>>,
    next: u32,
}

/// Proof of being the one thread that has this number now; it cannot leave the thread.
#[derive(Debug)]
pub(crate) struct ThreadIndex {
    number: u32,
    not_send: PhantomData<*const ()>,
}

/// Why a thread has no number (any more): it is being torn down. It had this one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended(pub(crate) u32);

global! {
    static INDICES: Indices = Indices::new();
}

/// No number has been claimed yet.
const FRESH: u32 = u32::MAX;
/// The number has been given back.
const ENDED: u32 = 1 << 31;

thread_local! {
    // Without a destructor, so it can be read at any time in the life of a thread.
    static NUMBER: Cell<u32> = const { Cell::new(FRESH) };
    static GUARD: Guard = const { Guard };
    // Something that is this thread's for as long as it has its number, and whose it is; 0: nobody's.
    static CACHED: Cell<(u64, *const ())> = const { Cell::new((0, std::ptr::null())) };
}

/// What this thread has kept last, if it was for `whom`.
#[inline(always)]
pub(crate) fn cached(whom: NonZeroU64) -> Option<*const ()> {
    let (owner, kept) = CACHED.get();
    (owner == whom.get()).then_some(kept)
}

struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        let number = NUMBER.get();
        NUMBER.set(number | ENDED);
        CACHED.set((0, std::ptr::null()));
        INDICES.give_back(ThreadIndex::new(number));
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
        let number = match free.given_back.pop() {
            Some(Reverse(number)) => number,
            None if broken("threads: one index for two threads") => 0,
            None => {
                free.next += 1;
                free.next - 1
            }
        };
        ThreadIndex::new(number)
    }

    // The lock orders what this owner did with its lanes before what the next one does.
    pub(crate) fn give_back(&self, index: ThreadIndex) {
        self.0.lock().given_back.push(Reverse(index.number));
    }
}

impl ThreadIndex {
    fn new(number: u32) -> Self {
        Self {
            number,
            not_send: PhantomData,
        }
    }

    /// The number of this thread: one thread-local load, except the first time.
    #[inline(always)]
    pub(crate) fn current() -> Result<Self, Ended> {
        let number = NUMBER.get();
        if number < ENDED {
            Ok(Self::new(number))
        } else {
            Self::claim_or_ended(number)
        }
    }

    #[cold]
    fn claim_or_ended(number: u32) -> Result<Self, Ended> {
        if number != FRESH {
            return Err(Ended(number & !ENDED));
        }
        let number = INDICES.claim().number;
        NUMBER.set(number);
        if GUARD.try_with(|_| ()).is_err() {
            // No destructor can be registered any more: nobody would give the number back.
            NUMBER.set(number | ENDED);
            INDICES.give_back(Self::new(number));
            return Err(Ended(number));
        }
        Ok(Self::new(number))
    }

    /// Keeps something in place of what was kept before, until the number is given back. Under loom
    /// all threads are one, and nothing is kept.
    pub(crate) fn cache(&self, whose: NonZeroU64, kept: *const ()) {
        if !cfg!(all(test, swaplane_loom)) {
            CACHED.set((whose.get(), kept));
        }
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> u32 {
        self.number
    }
}

#[cfg(all(test, not(swaplane_loom)))]
mod tests {
    use super::{Indices, ThreadIndex};

    #[test]
    fn the_smallest_free_number_is_given_out_first() {
        let numbers = Indices::new();
        let (a, b, c) = (numbers.claim(), numbers.claim(), numbers.claim());
        assert_eq!((a.get(), b.get(), c.get()), (0, 1, 2));
        numbers.give_back(c);
        numbers.give_back(a);
        assert_eq!(numbers.claim().get(), 0);
        assert_eq!(numbers.claim().get(), 2);
        assert_eq!(numbers.claim().get(), 3);
    }

    #[test]
    fn a_thread_keeps_its_number() {
        let number = ThreadIndex::current().map(|index| index.get()).ok();
        assert!(number.is_some());
        assert_eq!(number, ThreadIndex::current().map(|index| index.get()).ok());
    }
}
