//! Code of the user's that must not take us with it.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `f`; a panic in it is logged, and `None`.
pub(crate) fn contain<R>(what: &str, f: impl FnOnce() -> R) -> Option<R> {
    let result = catch_unwind(AssertUnwindSafe(f));
    if result.is_err() {
        tracing::error!("{what} panicked");
    }
    result.ok()
}
