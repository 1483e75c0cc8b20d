//! Catching panics of the user's code, which must not end the flusher or reach another caller.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs `f`, which is the user's code. A panic in it is logged, and the result is `None`.
pub(crate) fn catch<R>(what: &str, f: impl FnOnce() -> R) -> Option<R> {
    caught(f)
        .inspect_err(|_| tracing::error!("{what} panicked"))
        .ok()
}

fn caught<R>(f: impl FnOnce() -> R) -> Result<R, ()> {
    catch_unwind(AssertUnwindSafe(f)).map_err(discard)
}

/// Drops the payload of a panic. If that panics too, the payload of that second panic is leaked:
/// its `Drop` could panic without end.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(another);
    }
}

/// A value of the user's. A panic of its `Display` or `Drop` is caught.
#[derive(Debug)]
pub(crate) struct UserValue<V>(Option<V>);

impl<V> UserValue<V> {
    pub(crate) fn new(value: V) -> Self {
        Self(Some(value))
    }
}

impl<V> Deref for UserValue<V> {
    type Target = V;

    fn deref(&self) -> &V {
        self.0.as_ref().expect("it is taken only on drop")
    }
}

impl<V: fmt::Display> fmt::Display for UserValue<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match caught(|| self.deref().to_string()) {
            Ok(text) => f.write_str(&text),
            Err(()) => f.write_str("(its Display panicked)"),
        }
    }
}

impl<V> Drop for UserValue<V> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            catch("the drop of what an attempt failed with", || drop(value));
        }
    }
}

/// Drops two values of the user's. A panic of the first goes on once the second is dropped: a
/// second panic while the first unwinds would abort the process.
#[inline(always)]
pub(crate) fn drop_both<A, B>(a: A, b: B) {
    drop(drop_before(a, b));
}

/// Drops `a` and returns `b`. If the drop panics, `b` is dropped and the panic goes on.
#[inline(always)]
pub(crate) fn drop_before<A, B>(a: A, b: B) -> B {
    if !std::mem::needs_drop::<A>() {
        return b;
    }
    match catch_unwind(AssertUnwindSafe(|| drop(a))) {
        Ok(()) => b,
        Err(panic) => {
            catch("the drop of a value", || drop(b));
            resume_unwind(panic)
        }
    }
}
