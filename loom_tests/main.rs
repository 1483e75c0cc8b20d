//! The models: the real code of lanes, maps, flags, registry, capacity, requests and batches. loom
//! runs each in many orders of its steps, and with stale values that the memory model lets a load
//! return; "How far" says in how many.
//!
//! ```text
//! RUSTFLAGS="--cfg swaplane_loom" \
//!     cargo test --profile loom --lib --target-dir target/loom loom_tests
//! ```
//!
//! Without that flag they run some hundred times on real threads, in plain `cargo test`. They are a
//! unit-test module of the library, so they see its private parts; `parts` holds thin handles on
//! those, and `support` has what differs under loom.
//!
//! - `swap`, `recycle`: a lane's items are taken once and in order, over several swaps, with no
//!   fence and no read-modify-write in a push; and the lane goes on swapping.
//! - `grow`: the same across chunks, with spare ones, and while the flusher frees memory.
//! - `handover`: the same for a lane that goes to another thread, with an index or as a `Writer`.
//! - `shared`: the same for two threads in the shared lane.
//! - `fallback`: fallback items come after what their thread pushed before, and are seen.
//! - `close`: `Ok` if and only if the last collection has the item; nothing is accepted once
//!   `close()` has returned. So too with a swap under way, and for a shutdown.
//! - `park`: after `park()` said "idle" a push wakes the flusher, and none before is missed.
//! - `register`: `close` and `park` hold for lanes registered meanwhile; a lane is reaped only once
//!   it has ended and is empty; what was accepted adds up.
//! - `flush`: what was pushed before `flush()` is in the next collection; every call is answered.
//! - `backlog`: a full batch is reported, or seen.
//! - `credits`: no more is held than the capacity, no credit is lost, few lie idle; whoever is
//!   refused or waits wakes the flusher.
//! - `stats`: a snapshot never shows more held than the capacity.
//! - `map`: an update is in the active side or nowhere, and is delivered once and in the order of
//!   its key; versions never go backwards; what is in flight is found; nobody is missed.
//! - `lease`: a batch comes back, wakes the flusher, and is not mistaken for another.
//! - `drop`: every item is dropped once; every chunk is freed once, and not used after that.
//!
//! `close`, `register` and `fallback` also assert that the backlog is zero once nothing is held.
//!
//! # Mutants
//! Each ordering and each check that a proof leans on has a name in the code: in `order`, `full`,
//! `torn` or `broken` (see `src/sync/mutant.rs`). While the mutant of that name lives, the ordering
//! is relaxed, the read-modify-write torn in two, the check left out. Each file lists its mutants
//! with the model that must fail; a test here sees to it that none is left out.
//!
//! Faults that need other code are patches in `mutants/`. Each names the model that must fail.
//! `ci/mutants.sh` applies them to a copy, one by one, and runs that model.
//!
//! Not load-bearing, so without a mutant: every literal `Relaxed`; when to swap, which is after a
//! chunk; and what memory to keep (`Link::reset`, `sweep`). Those decide cost only.
//!
//! # How far
//! Where a model says `None` all executions are explored; elsewhere all executions with that many
//! preemptions. Chunks have room for two items, or, of bytes, for two and then four. loom keeps the
//! last seven values of each atomic, and only the last access to it: of "A loads, B loads, B
//! stores" it does not see that B could have come first. So a counter that its owner reads before
//! it writes (`sync::OwnedCounter`) is a read-modify-write here.
//!
//! # Not proven here
//! - The task of the flusher: timers, delivery, retry, and that it calls its collector and takes
//!   its requests in the order in which the models do.
//! - `DashMap`. Its stand-in, `shards`, is a list for each shard, under a mutex also for readers.
//! - `arc_swap`. Its stand-in is two relaxed accesses, so nothing leans on its orderings.
//! - `membarrier(2)`. Models of pushes without fences (`Fences::Expedited`) take a compiler fence
//!   to be a full one. That is more than it is towards threads that run no barrier; so whatever
//!   needs no barrier is also shown with no fence at all (`Fences::None`, and the models of bare
//!   lanes). Not shown: that a compiler keeps that order, and what is done where the call begins to
//!   fail.
//! - tokio's `Semaphore` and `Notify`, for which there are simple stand-ins; callers who cancel.
//! - The thread-locals of `src/queue/threads.rs` and the `OnceLock`s of the table, which loom
//!   cannot see. The models claim indices and give them back as those do.
//! - Counters that wrap around.

mod backlog;
mod close;
mod credits;
mod drop;
mod fallback;
mod flush;
mod grow;
mod handover;
mod lease;
mod map;
mod park;
mod parts;
mod recycle;
mod register;
#[cfg(swaplane_loom)]
pub(crate) mod shards;
mod shared;
mod stats;
mod support;
mod swap;
#[cfg(swaplane_loom)]
pub(crate) mod track;

use std::collections::BTreeSet;
use std::path::Path;

/// Adds the names of the mutants in the sources below `directory`.
fn named_in(directory: &Path, names: &mut BTreeSet<String>) {
    for entry in directory.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            named_in(&path, names);
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        for call in ["order(", "full(", "torn(", "broken("] {
            let calls = source.split(call).skip(1);
            let quoted = calls.filter_map(|call| call.trim_start().strip_prefix('"'));
            names.extend(quoted.filter_map(|call| Some(call.split_once('"')?.0.to_owned())));
        }
    }
}

/// Every ordering that is not Relaxed passes through `order` or `full`, or is that of a fence,
/// which a check guards. Only what no model runs is left out: the facade itself.
#[test]
fn every_ordering_has_a_name() {
    fn look(directory: &Path, nameless: &mut Vec<String>) {
        for entry in directory.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("src/sync") {
                continue;
            }
            if path.is_dir() {
                look(&path, nameless);
                continue;
            }
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                let code = line.trim_start();
                let strong = ["Acquire", "Release", "AcqRel", "SeqCst"];
                let strong = strong.iter().any(|order| code.contains(order));
                let named = ["order(\"", "fence("]
                    .iter()
                    .any(|name| code.contains(name));
                if strong && !named && !code.starts_with("//") && !code.starts_with("use ") {
                    nameless.push(format!("{}: {code}", path.display()));
                }
            }
        }
    }
    let mut nameless = Vec::new();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    look(&sources, &mut nameless);
    assert!(nameless.is_empty(), "{nameless:#?}");
}

#[test]
fn every_mutant_has_a_model() {
    let mut named = BTreeSet::new();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    named_in(&sources, &mut named);
    let caught = [
        register::MUTANTS,
        close::MUTANTS,
        credits::MUTANTS,
        drop::MUTANTS,
        flush::MUTANTS,
        handover::MUTANTS,
        lease::MUTANTS,
        backlog::MUTANTS,
        map::MUTANTS,
        park::MUTANTS,
        recycle::MUTANTS,
        shared::MUTANTS,
        stats::MUTANTS,
        swap::MUTANTS,
    ];
    let caught = caught
        .concat()
        .into_iter()
        .map(|(mutant, _)| mutant.to_owned());
    assert_eq!(named, caught.collect());
}
