//! What the crate runs on: `std`, tokio's semaphore, crossbeam's backoff.

pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, compiler_fence, fence,
};
pub(crate) use std::sync::{Arc, OnceLock};

use std::sync::atomic::Ordering;

/// `std`'s cell with the closures of loom's, which can then watch each access.
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

/// The value of a counter, for the only one who changes it.
#[inline(always)]
pub(crate) fn own_value(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::Relaxed)
}

/// Only models check.
#[derive(Debug)]
pub(crate) struct OwnerCheck;

impl OwnerCheck {
    pub(crate) const fn new() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn check(&self) {}
}

/// A counter that one thread at a time changes, and any may read: without a read-modify-write.
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

    /// Adds with an ordering for whoever reads the counter.
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

/// Only a mutant has it.
#[derive(Debug)]
pub(crate) struct Sealed;

impl Sealed {
    pub(crate) fn new() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn set(&self, _: bool) {}

    #[inline(always)]
    pub(crate) fn get(&self) -> bool {
        false
    }
}

/// A `static`.
macro_rules! global {
    (static $name:ident: $type:ty = $value:expr;) => {
        static $name: $type = $value;
    };
}
pub(crate) use global;
