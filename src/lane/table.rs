//! Each thread's own lane, found by the index of the thread.

#![expect(unsafe_code)]

use super::LaneWriter;
use crate::sync::OnceLock;
use crate::thread::Index;

/// Bucket `b` holds the places of 2^b threads, so that places never move and a small program
/// has a small table.
const BUCKETS: usize = 24;

pub(crate) struct Table<T> {
    buckets: [OnceLock<Bucket<T>>; BUCKETS],
}

type Bucket<T> = Box<[OnceLock<LaneWriter<T>>]>;

// SAFETY: a place is reached only with its `Index`, which one thread has at a time and cannot
// send to another; what the last owner did happened before the next one got it (model
// `handover`).
unsafe impl<T: Send> Sync for Table<T> {}

impl<T> Table<T> {
    pub(crate) fn new() -> Self {
        Self {
            buckets: std::array::from_fn(|_| OnceLock::new()),
        }
    }

    /// The lane of this thread, or of a thread that ended and left it to this one.
    #[inline(always)]
    pub(crate) fn get(&self, me: &Index) -> Option<&LaneWriter<T>> {
        let (bucket, place) = split(me.get());
        self.buckets.get(bucket)?.get()?.get(place)?.get()
    }

    /// Keeps the lane of a thread that had none. `None`: there are too many threads.
    pub(crate) fn set(&self, me: &Index, writer: LaneWriter<T>) -> Option<&LaneWriter<T>> {
        let (bucket, place) = split(me.get());
        let places = self
            .buckets
            .get(bucket)?
            .get_or_init(|| (0..1 << bucket).map(|_| OnceLock::new()).collect());
        Some(places[place].get_or_init(|| writer))
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
