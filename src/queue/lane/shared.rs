//! A lane that several threads write to, one at a time: the lane of keyed pushes. Pushes with the
//! same key have an order, whichever threads make them.

#![expect(unsafe_code)]

use std::fmt;

use super::LaneWriter;
use crate::sync::broken;

/// The writing end of a lane, for several threads.
pub(crate) struct SharedWriter<T>(LaneWriter<T>);

// SAFETY: the writer is reached only under the lock of its lane (model `shared`); items cross
// threads, hence `T: Send`.
unsafe impl<T: Send> Sync for SharedWriter<T> {}

impl<T> SharedWriter<T> {
    pub(crate) fn new(writer: LaneWriter<T>) -> Self {
        Self(writer)
    }

    /// Runs `f` with the writer, under the lock.
    ///
    /// The lock lies in the line that a push writes anyway, so a thread that comes after another
    /// has one line to fetch for both.
    #[inline(always)]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&LaneWriter<T>) -> R) -> R {
        let lock = &self.0.lane().progress.lock;
        let _guard = (!broken("lane: shared without its lock")).then(|| lock.lock());
        f(&self.0)
    }
}

impl<T> fmt::Debug for SharedWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedWriter").finish_non_exhaustive()
    }
}
