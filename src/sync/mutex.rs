//! A lock for short sections that many threads may want at once.

use std::sync::{PoisonError, TryLockError};

use crossbeam_utils::Backoff;

/// A mutex that is never poisoned, and that backs off while it is contended.
///
/// A panic of one caller must not reach another, so poison is ignored. Whatever these locks guard
/// is whole at every point where user code could panic.
#[derive(Debug, Default)]
pub(crate) struct Mutex<V>(std::sync::Mutex<V>);

pub(crate) type MutexGuard<'a, V> = std::sync::MutexGuard<'a, V>;

impl<V> Mutex<V> {
    pub(crate) const fn new(value: V) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, V> {
        self.try_lock().unwrap_or_else(|| self.lock_contended())
    }

    #[cold]
    #[inline(never)]
    fn lock_contended(&self) -> MutexGuard<'_, V> {
        // Tries less and less often. A thread that tries all the time, as `std` does for a while,
        // takes the cache line from the thread that holds the lock, and slows it down.
        let backoff = Backoff::new();
        while !backoff.is_completed() {
            backoff.snooze();
            if let Some(guard) = self.try_lock() {
                return guard;
            }
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn try_lock(&self) -> Option<MutexGuard<'_, V>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
