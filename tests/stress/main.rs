//! Many threads, faulty sinks and random settings at once, with an account of every item.

#[path = "../common/mod.rs"]
mod common;

mod map;
mod queue;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Sets its flag when it is dropped, also by a panic, so that no thread loops for ever.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}
