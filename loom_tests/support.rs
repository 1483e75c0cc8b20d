//! The only file that knows whether the models run under loom, or on real threads.

pub(crate) use imp::*;

/// Which model, run as it is to be run, notices which mutant.
pub(crate) type Mutants = &'static [(&'static str, fn())];

#[cfg(swaplane_loom)]
mod imp {
    pub(crate) use loom::future::block_on;
    pub(crate) use loom::sync::{Arc, Mutex};
    pub(crate) use loom::thread::{self, yield_now};

    use std::panic::{AssertUnwindSafe, catch_unwind};

    use swaplane::internals::mutants;

    /// Explores all executions in which threads are preempted at most `bound` times.
    pub(crate) fn model(bound: Option<usize>, f: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = if std::env::var("ALLNONE").is_ok() {
            None
        } else {
            bound
        };
        builder.max_branches = 20_000;
        let begun = std::time::Instant::now();
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let c2 = count.clone();
        builder.check(move || {
            c2.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            f()
        });
        if std::env::var("TIMES").is_ok() {
            eprintln!(
                "{:?} bound {:?} {} executions {:?}",
                std::thread::current().name(),
                builder.preemption_bound,
                count.load(std::sync::atomic::Ordering::Relaxed),
                begun.elapsed()
            );
        }
    }

    /// Asserts that each mutant makes its model fail, and that in a way that says something.
    pub(crate) fn caught(mutants: super::Mutants) {
        for &(mutant, model) in mutants {
            let begun = std::time::Instant::now();
            let outcome = mutants::with(Some(mutant), || catch_unwind(AssertUnwindSafe(model)));
            let complaint = match outcome {
                Ok(()) => panic!("nothing notices the mutant {mutant:?}"),
                Err(panic) => match panic.downcast::<String>() {
                    Ok(text) => *text,
                    Err(panic) => panic
                        .downcast_ref::<&str>()
                        .map_or("?", |text| text)
                        .to_owned(),
                },
            };
            if std::env::var("TIMES").is_ok() {
                eprintln!(
                    "MUTANT {mutant:?} {:?} {}",
                    begun.elapsed(),
                    complaint.lines().next().unwrap()
                );
            }
            assert!(
                !complaint.contains("maximum number of branches")
                    && !complaint.contains("deadlock"),
                "the mutant {mutant:?} only makes its model end badly: {complaint}"
            );
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
