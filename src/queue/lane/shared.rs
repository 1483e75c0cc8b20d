//! A lane that several threads write to, one at a time: what pushes of the same key need, since they
//! have an order whichever thread makes them.

#![expect(unsafe_code)]

use std::fmt;

use super::LaneWriter;
use crate::sync::broken;

/// The end of a lane that writes, for several threads.
pub(crate) struct SharedWriter<T>(LaneWriter<T>);

// SAFETY: the writer is only reached under the lock of its lane (model `shared`).
unsafe impl<T: Send> Sync for SharedWriter<T> {}

impl<T> SharedWriter<T> {
    pub(crate) fn new(writer: LaneWriter<T>) -> Self {
        Self(writer)
    }

    /// Waits for its turn. The lock lies where a push writes anyway: a thread that comes after
    /// another has to fetch one line for both.
    #[inline(always)]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&LaneWriter<T>) -> R) -> R {
        let lock = &self.0.lane().progress.lock;
        let _turn = (!broken("lane: shared out of turn")).then(|| lock.lock());
        f(&self.0)
    }
}

impl<T> fmt::Debug for SharedWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedWriter").finish_non_exhaustive()
    }
}
