//! An allocator that counts while it is asked to.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// So that it costs the rows that time something no more than a load.
static ON: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);

#[inline]
fn count(calls: u64, bytes: i64) {
    if ON.load(Relaxed) {
        CALLS.fetch_add(calls, Relaxed);
        LIVE.fetch_add(bytes, Relaxed);
    }
}

// SAFETY: everything is left to the system's allocator, whose contract this is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as i64 - layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What was asked of the allocator.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    /// Allocations, those that grow included, of all threads.
    pub calls: u64,
    /// Bytes allocated less bytes freed.
    pub bytes: i64,
}

/// Counts while `f` runs. One at a time.
pub fn counted<R>(f: impl FnOnce() -> R) -> (Counts, R) {
    start();
    let result = f();
    (stop(), result)
}

/// Counts from here on.
pub fn start() {
    CALLS.store(0, Relaxed);
    LIVE.store(0, Relaxed);
    ON.store(true, Relaxed);
}

pub fn stop() -> Counts {
    ON.store(false, Relaxed);
    Counts {
        calls: CALLS.load(Relaxed),
        bytes: LIVE.load(Relaxed),
    }
}
