//! Threads, locks and the runner of the models, under loom or on real threads.

pub(crate) use imp::*;

/// Which mutant is noticed by which model.
pub(crate) type Mutants = &'static [(&'static str, fn())];

#[cfg(swaplane_loom)]
mod imp {
    pub(crate) use loom::future::block_on;
    pub(crate) use loom::sync::{Arc, Mutex};
    pub(crate) use loom::thread::{self, yield_now};

    use std::panic::catch_unwind;

    use crate::sync::with_mutant;

    /// Explores all executions, or those in which threads are preempted at most `bound` times.
    pub(crate) fn model(bound: Option<usize>, f: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = bound;
        builder.max_branches = 20_000;
        builder.check(f);
    }

    /// Asserts that each mutant makes its model fail, by an assertion or a race. (No mutant makes
    /// threads wait for ever: loom would end the process.)
    pub(crate) fn caught(mutants: super::Mutants) {
        for &(mutant, model) in mutants {
            let Err(panic) = with_mutant(mutant, || catch_unwind(model)) else {
                panic!("nothing notices the mutant {mutant:?}");
            };
            let complaint = match panic.downcast::<String>() {
                Ok(text) => *text,
                Err(panic) => (*panic.downcast_ref::<&str>().unwrap_or(&"?")).to_owned(),
            };
            for limit in ["maximum number of branches", "deadlock"] {
                assert!(!complaint.contains(limit), "{mutant:?}: {complaint}");
            }
        }
    }
}

#[cfg(not(swaplane_loom))]
mod imp {
    pub(crate) use std::sync::{Arc, Mutex};
    pub(crate) use std::thread::{self, yield_now};

    /// Some executions, as they come.
    pub(crate) fn model(_bound: Option<usize>, f: impl Fn() + Send + Sync + 'static) {
        for _ in 0..300 {
            f();
        }
    }

    /// There are mutants under loom only.
    pub(crate) fn caught(_: super::Mutants) {}

    pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("nothing to start").block_on(future)
    }
}
