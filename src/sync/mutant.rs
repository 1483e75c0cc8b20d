//! Mutants: the switch by which a model breaks one thing at a time.
//!
//! Every ordering and every check on which a proof leans has a name, given at its place in the code
//! through `order`, `full`, `torn` or `broken`. A model in `loom_tests`
//! lets the mutant of that name live, and must fail. Faults that need more than a word are patches,
//! in `loom_tests/mutants`.

use std::sync::atomic::Ordering;

use super::AtomicUsize;

/// The ordering `strong`. Under loom it is `Relaxed` while the mutant of this name lives.
#[inline(always)]
pub(crate) fn order(mutant: &'static str, strong: Ordering) -> Ordering {
    if broken(mutant) {
        Ordering::Relaxed
    } else {
        strong
    }
}

/// The ordering `SeqCst` of a fence. Under loom it is `AcqRel` while the mutant of this name lives.
#[inline(always)]
pub(crate) fn full(mutant: &'static str) -> Ordering {
    if broken(mutant) {
        Ordering::AcqRel
    } else {
        Ordering::SeqCst
    }
}

/// Tears a read-modify-write in two: under loom, while the mutant of this name lives, changes
/// `word` by a load and a store. Returns whether it did; then the caller leaves its own change out.
#[inline(always)]
pub(crate) fn torn(
    mutant: &'static str,
    word: &AtomicUsize,
    order: Ordering,
    change: impl FnOnce(usize) -> usize,
) -> bool {
    let torn = broken(mutant);
    if torn {
        word.store(change(word.load(Ordering::Relaxed)), order);
    }
    torn
}

/// Whether the mutant of this name lives. Outside of the models this is `false`, and gone from the
/// machine code.
#[cfg(not(all(test, swaplane_loom)))]
#[inline(always)]
pub(crate) const fn broken(_mutant: &'static str) -> bool {
    false
}

#[cfg(all(test, swaplane_loom))]
pub(crate) use alive::{broken, with_mutant};

#[cfg(all(test, swaplane_loom))]
mod alive {
    use std::cell::Cell;

    std::thread_local! {
        // The mutant that lives. loom runs all threads of a model on the one that checks it, so a
        // thread-local serves, and tests do not disturb each other.
        static ALIVE: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    pub(crate) fn broken(mutant: &'static str) -> bool {
        ALIVE.get() == Some(mutant)
    }

    /// Lets `mutant` live while `f` runs. `f` must not panic.
    pub(crate) fn with_mutant<R>(mutant: &'static str, f: impl FnOnce() -> R) -> R {
        ALIVE.set(Some(mutant));
        let result = f();
        ALIVE.set(None);
        result
    }
}
