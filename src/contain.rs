//! Code of the user's that must not take us with it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs `f`; a panic in it is logged, and `None`.
pub(crate) fn contain<R>(what: &str, f: impl FnOnce() -> R) -> Option<R> {
    let result = catch_unwind(AssertUnwindSafe(f));
    if result.is_err() {
        tracing::error!("{what} panicked");
    }
    result.ok()
}

/// Drops two values of the user's. A panic of the first waits until the second is gone: two at once
/// would end the process.
#[inline(always)]
pub(crate) fn drop_both<A, B>(a: A, b: B) {
    drop(drop_before(a, b));
}

/// Drops `a` and gives `b` back; or, if that panics, drops `b` and panics on.
#[inline(always)]
pub(crate) fn drop_before<A, B>(a: A, b: B) -> B {
    if !std::mem::needs_drop::<A>() {
        return b;
    }
    match catch_unwind(AssertUnwindSafe(|| drop(a))) {
        Ok(()) => b,
        Err(panic) => {
            contain("the drop of a value", || drop(b));
            resume_unwind(panic)
        }
    }
}
