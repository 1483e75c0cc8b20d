//! What the crate runs on: `std`, the semaphore and the notification of tokio, the backoff of
//! crossbeam.

pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, compiler_fence, fence,
};
pub(crate) use std::sync::{Arc, OnceLock};

use std::sync::atomic::Ordering;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task;

/// The cell of `std` with the interface of loom's cell, which watches each access.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct UnsafeCell<V>(std::cell::UnsafeCell<V>);

impl<V> UnsafeCell<V> {
    pub(crate) const fn new(value: V) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    pub(crate) fn with<R>(&self, f: impl FnOnce(*const V) -> R) -> R {
        f(self.0.get())
    }

    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut V) -> R) -> R {
        f(self.0.get())
    }
}

/// Reads a counter that only the caller changes.
#[inline(always)]
pub(crate) fn own_value(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::Relaxed)
}

/// Wakes the flusher from user code.
///
/// And if the caller is a task that goes on computing? A task that is woken by another is the next
/// of that thread, and no other thread of the runtime takes it over. So a task that does nothing is
/// spawned behind it, and displaces it into the queue that all threads look into.
// Not inlined: pushes of a full batch come here, and the code of all pushes is to stay small.
#[inline(never)]
pub(crate) fn wake(wakeup: &Notify) {
    wakeup.notify_one();
    if task::try_id().is_none() {
        return;
    }
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    if runtime.runtime_flavor() == RuntimeFlavor::MultiThread {
        drop(runtime.spawn(async {}));
    }
}

/// Checks under loom that one thread at a time uses what this is a part of. Nothing elsewhere.
#[derive(Debug)]
pub(crate) struct OwnerCheck;

impl OwnerCheck {
    pub(crate) const fn new() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn check(&self) {}
}

/// A counter that one thread at a time changes, without a read-modify-write, and any thread reads.
// Relaxed: whoever changes it has a lock, and whoever else reads it wants a count.
#[derive(Debug, Default)]
pub(crate) struct OwnedCounter(AtomicUsize);

impl OwnedCounter {
    #[inline(always)]
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn set(&self, n: usize) {
        self.0.store(n, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(crate) fn add(&self, n: usize) {
        self.set(self.get().wrapping_add(n));
    }

    /// Adds, with an ordering for the sake of those who read the counter.
    #[inline(always)]
    pub(crate) fn publish(&self, n: usize, order: Ordering) {
        self.0.store(self.get().wrapping_add(n), order);
    }

    #[inline(always)]
    pub(crate) fn sub(&self, n: usize) {
        self.set(self.get().wrapping_sub(n));
    }
}

pub(crate) use crossbeam_utils::Backoff;
pub(crate) use tokio::sync::{Notify, Semaphore};

/// Makes a `static`, or under loom one value for each execution of a model.
macro_rules! global {
    (static $name:ident: $type:ty = $value:expr;) => {
        static $name: $type = $value;
    };
}
pub(crate) use global;
