//! The lane of each thread: found by the index of the thread, or at once if it is the lane that the
//! thread used last.

#![expect(unsafe_code)]

use std::num::NonZeroU64;

use super::ThreadIndex;
use crate::queue::lane::LaneWriter;
use crate::sync::Ordering::Relaxed;
use crate::sync::{Arc, AtomicU64, OnceLock, global};

/// Bucket `b` has cells for 2^b threads: cells never move, and a program with few threads has a
/// small table.
const BUCKETS: usize = 24;

global! {
    static NEXT_ID: AtomicU64 = AtomicU64::new(1);
}

/// The lanes of all threads in one queue.
pub(crate) struct ThreadLanes<T> {
    /// Unique in the process: the thread's cache of one lane is keyed by it.
    id: NonZeroU64,
    table: Arc<Table<T>>,
}

struct Table<T> {
    buckets: [OnceLock<Bucket<T>>; BUCKETS],
}

type Bucket<T> = Box<[OnceLock<LaneWriter<T>>]>;

// SAFETY: a cell is reached only with its `ThreadIndex`, which one thread has at a time and cannot
// send to another. What the last owner of the index did happened before the next one got it (model
// `handover`). Items cross threads, hence `T: Send`.
unsafe impl<T: Send> Sync for Table<T> {}

impl<T> ThreadLanes<T> {
    pub(crate) fn new() -> Self {
        // Relaxed: only that each id is given out once matters.
        let id = NEXT_ID.fetch_add(1, Relaxed);
        Self {
            id: NonZeroU64::new(id).expect("there are fewer queues than numbers"),
            table: Arc::new(Table {
                buckets: std::array::from_fn(|_| OnceLock::new()),
            }),
        }
    }

    /// The lane of this thread, if this queue was the last one that the thread looked up a lane of.
    #[inline(always)]
    pub(crate) fn cached(&self) -> Option<&LaneWriter<T>> {
        let lane = super::cached(self.id)?.cast::<LaneWriter<T>>();
        // SAFETY: `cache` stored the pointer, in this thread and for this id, so the type is right.
        // The table is alive, since `self` holds it, and its cells never move. The thread still
        // has its index, since it clears the cache before it gives the index back; so the lane is
        // this thread's. (Model `handover` has the hand-over of the index. No model caches, since
        // under loom all threads are one.)
        Some(unsafe { &*lane })
    }

    /// The lane of this thread, which may be that of a thread that ended before.
    pub(crate) fn get(&self, me: &ThreadIndex) -> Option<&LaneWriter<T>> {
        let (bucket, cell) = split(me.get());
        let lane = self.table.buckets.get(bucket)?.get()?.get(cell)?.get()?;
        Some(self.cache(me, lane))
    }

    /// Gives this thread, which had none, a lane. Returns `None` if the index is beyond the table.
    pub(crate) fn set(&self, me: &ThreadIndex, writer: LaneWriter<T>) -> Option<&LaneWriter<T>> {
        let (bucket, cell) = split(me.get());
        let cells = self
            .table
            .buckets
            .get(bucket)?
            .get_or_init(|| (0..1 << bucket).map(|_| OnceLock::new()).collect());
        Some(self.cache(me, cells[cell].get_or_init(|| writer)))
    }

    fn cache<'a>(&self, me: &ThreadIndex, lane: &'a LaneWriter<T>) -> &'a LaneWriter<T> {
        me.cache(self.id, std::ptr::from_ref(lane).cast());
        lane
    }
}

impl<T> Clone for ThreadLanes<T> {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            table: self.table.clone(),
        }
    }
}

/// The bucket of an index, and the cell in that bucket.
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
        let cells: std::collections::HashSet<_> = (0..1000).map(split).collect();
        assert_eq!(cells.len(), 1000);
        assert!(cells.iter().all(|&(bucket, cell)| cell < 1 << bucket));
    }
}
