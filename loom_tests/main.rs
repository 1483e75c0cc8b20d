//! The models: the real code of the lanes, the maps, the flags, the registry, capacity, requests and
//! batches, run by loom in every order of its steps, and with every stale value that the memory model
//! lets a load return.
//!
//! ```text
//! RUSTFLAGS="--cfg swaplane_loom" cargo test --profile loom --lib loom_tests --target-dir target/loom
//! ```
//!
//! Without that flag they run some hundred times on real threads, in plain `cargo test`.
//!
//! | file | what holds |
//! |---|---|
//! | `swap`, `recycle` | a lane's items are taken once and in order, over several swaps, with no fence and no read-modify-write in a push; it goes on swapping |
//! | `grow` | the same across chunks, with spare ones, and while the flusher frees what is unused |
//! | `handover` | the same when a lane goes to another thread, with its number or as a `Writer` |
//! | `shared` | the same for two threads in the shared lane |
//! | `fallback` | late items come after what their thread had pushed before, and ring |
//! | `close` | `Ok` if and only if the last collection has the item; nothing is accepted once `close()` has returned; so too with a swap under way |
//! | `park` | after `park()` said "idle" a push rings, and none before is missed |
//! | `register` | both for lanes born meanwhile; a lane is forgotten only when gone and empty; what was accepted adds up |
//! | `flush` | what was pushed before `flush()` is in the collection that follows; every call is answered |
//! | `backlog` | a full batch is told, or seen |
//! | `credits` | no more is held than the capacity, no credit is lost, few lie idle; who is refused or waits is heard |
//! | `map` | an update is in the active side or nowhere, delivered once and in the order of its key, also across two swaps; versions never go backwards; what is on its way is found; removal, closing and parking miss nobody |
//! | `lease` | a batch comes lease, rings, and is not mistaken for another |
//! | `stats` | a snapshot never shows more held than the capacity |
//! | `drop` | every item is dropped once and every chunk freed once, and never used after that, whatever is left behind |
//!
//! # Mutants
//! Each ordering and each check that one of these leans on has a name in the code: in `order`,
//! `full`, `torn` or `broken` (see `src/sync.rs`). While a mutant of that name is alive the ordering
//! is relaxed, the read-modify-write torn in two, the check left out. Each file says which of its
//! models notices which mutant, and tests it; a test here sees to it that none is left out.
//!
//! Not load-bearing, so without a mutant: every literal `Relaxed`; when to swap (after a chunk),
//! and what memory to keep (`Link::reset`, `sweep`), which decide cost only.
//!
//! # How far
//! Where a model says `None` all executions are explored; elsewhere all with that many
//! preemptions. Chunks have room for two items (or, of bytes, for two and then four). loom keeps
//! the last seven values of each atomic, and of the accesses to one only the last: of "A loads, B
//! loads, B stores" it does not see that B could have come first. So a counter that its owner reads
//! before it writes (`sync::OwnedCounter`) is a read-modify-write here.
//!
//! # Not proven here
//! - The task of the flusher: timers, delivery, retry, and that it calls its collector and hears
//!   its requests in the order in which the models do. `parts` is where they meet.
//! - `DashMap`. Its stand-in is a list for each shard, under a mutex also for readers.
//! - `arc_swap`. Its stand-in is two relaxed accesses, so nothing leans on its orderings.
//! - `membarrier(2)`. Models of pushes without fences (`Expedited`) take a compiler fence to be what
//!   the barrier of another thread makes of it, a full fence. That is more than it is towards
//!   threads that run no barrier; so all that needs no barrier is also shown with no fence at all
//!   (`None`, and the models of bare lanes). That a compiler keeps that order, and what is done
//!   where the call begins to fail, is not shown.
//! - tokio's `Semaphore` and `Notify`, for which there are simple stand-ins; callers who cancel.
//! - The thread-locals of `src/queue/threads.rs` and the `OnceLock`s of the table, which loom cannot see. The
//!   models claim numbers and give them back as those do.
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
