//! Each thread's own lane, found by the index of the thread; and the one that it used last, found
//! at once.

#![expect(unsafe_code)]

use crate::sync::Ordering::Relaxed;
use std::num::NonZeroU64;

use crate::queue::lane::LaneWriter;
use crate::queue::threads::{self, ThreadIndex};
use crate::sync::{Arc, AtomicU64, OnceLock, global};

/// Bucket `b` holds the places of 2^b threads, so that places never move and a small program
/// has a small table.
const BUCKETS: usize = 24;

global! {
    static INDICES: AtomicU64 = AtomicU64::new(1);
}

/// A table, and the number that no other table ever has.
pub(crate) struct ThreadLanes<T> {
    number: NonZeroU64,
    table: Arc<Table<T>>,
}

struct Table<T> {
    buckets: [OnceLock<Bucket<T>>; BUCKETS],
}

type Bucket<T> = Box<[OnceLock<LaneWriter<T>>]>;

// SAFETY: a place is reached only with its `ThreadIndex`, which one thread has at a time and cannot
// send to another; what the last owner did happened before the next one got it (model
// `handover`).
unsafe impl<T: Send> Sync for Table<T> {}

impl<T> ThreadLanes<T> {
    pub(crate) fn new() -> Self {
        let number = INDICES.fetch_add(1, Relaxed);
        Self {
            number: NonZeroU64::new(number).expect("there are fewer tables than numbers"),
            table: Arc::new(Table {
                buckets: std::array::from_fn(|_| OnceLock::new()),
            }),
        }
    }

    /// The lane of the calling thread, if it was the last that the thread has looked for.
    #[inline(always)]
    pub(crate) fn last(&self) -> Option<&LaneWriter<T>> {
        let lane = threads::cached(self.number)?.cast::<LaneWriter<T>>();
        // SAFETY: kept by `keep` in this thread, for the table of this number, which we keep
        // alive and in which places never move; and the thread still has its index, since it
        // forgets the lane with it. So the type is right, and the lane is this thread's (model
        // `handover`).
        Some(unsafe { &*lane })
    }

    /// The lane of this thread, or of a thread that ended and left it to this one.
    pub(crate) fn get(&self, me: &ThreadIndex) -> Option<&LaneWriter<T>> {
        let (bucket, place) = split(me.get());
        let lane = self.table.buckets.get(bucket)?.get()?.get(place)?.get()?;
        Some(self.keep(me, lane))
    }

    /// Keeps the lane of a thread that had none. `None`: there are too many threads.
    pub(crate) fn set(&self, me: &ThreadIndex, writer: LaneWriter<T>) -> Option<&LaneWriter<T>> {
        let (bucket, place) = split(me.get());
        let places = self
            .table
            .buckets
            .get(bucket)?
            .get_or_init(|| (0..1 << bucket).map(|_| OnceLock::new()).collect());
        Some(self.keep(me, places[place].get_or_init(|| writer)))
    }

    /// For `last`.
    fn keep<'a>(&self, me: &ThreadIndex, lane: &'a LaneWriter<T>) -> &'a LaneWriter<T> {
        me.cache(self.number, std::ptr::from_ref(lane).cast());
        lane
    }
}

impl<T> Clone for ThreadLanes<T> {
    fn clone(&self) -> Self {
        Self {
            number: self.number,
            table: self.table.clone(),
        }
    }
}

#[inline(always)]
fn split(index: u32) -> (usize, usize) {
    let number = index as usize + 1;
    let bucket = number.ilog2() as usize;
    (bucket, number ^ (1 << bucket))
}

#[cfg(all(test, not(swaplane_loom)))]
mod tests {
    use super::split;

    #[test]
    fn every_index_has_a_place_of_its_own() {
        let places: std::collections::HashSet<_> = (0..1000).map(split).collect();
        assert_eq!(places.len(), 1000);
        assert!(places.iter().all(|&(bucket, place)| place < 1 << bucket));
    }
}
