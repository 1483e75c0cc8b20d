//! How much memory a queue and a map take, and that they give it back. Alone in a process, since the
//! allocator counts what all of its threads do.

#[path = "../common/mod.rs"]
mod common;
mod counting;

mod map;
mod queue;
mod threads;

use std::sync::Mutex;

use common::{lock, paused};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// The counters are the process's, so one test at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Runs a test body with the clock paused, while no other test of this process runs.
fn in_turn(body: impl AsyncFnOnce() + Send + 'static) {
    let _turn = lock(&TURN);
    paused(body);
}
