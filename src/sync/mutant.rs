//! The switch by which a model breaks one thing at a time.

use std::sync::atomic::Ordering;

use super::AtomicUsize;

/// `strong`; under loom, `Relaxed` while the mutant of this name is alive.
///
/// Every ordering on which a proof leans passes through here, so that `loom_tests/` can weaken
/// each in turn and assert that a model notices.
#[inline(always)]
pub(crate) fn order(mutant: &'static str, strong: Ordering) -> Ordering {
    if broken(mutant) {
        Ordering::Relaxed
    } else {
        strong
    }
}

/// `SeqCst`, of a fence; under loom, `AcqRel` while the mutant of this name is alive.
#[inline(always)]
pub(crate) fn full(mutant: &'static str) -> Ordering {
    if broken(mutant) {
        Ordering::AcqRel
    } else {
        Ordering::SeqCst
    }
}

/// Under loom, while the mutant of this name is alive, changes `word` by a load and a store, and
/// says so: the caller then leaves out its read-modify-write.
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

/// Whether the mutant of this name is alive: always `false`, and gone from the machine code,
/// outside loom.
#[cfg(not(all(test, swaplane_loom)))]
#[inline(always)]
pub(crate) const fn broken(_mutant: &'static str) -> bool {
    false
}

#[cfg(all(test, swaplane_loom))]
pub(crate) use alive::{broken, with_mutant};

#[cfg(all(test, swaplane_loom))]
mod alive {
    //! Which mutant is alive. loom runs all threads of a model on the one that checks it, so
    //! a thread-local serves, and test threads do not disturb each other.
    use std::cell::Cell;

    std::thread_local! {
        static ALIVE: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    pub(crate) fn broken(mutant: &'static str) -> bool {
        ALIVE.get() == Some(mutant)
    }

    /// Lets `mutant` live while `f` runs, which is to catch its panics.
    pub(crate) fn with_mutant<R>(mutant: &'static str, f: impl FnOnce() -> R) -> R {
        ALIVE.set(Some(mutant));
        let result = f();
        ALIVE.set(None);
        result
    }
}
