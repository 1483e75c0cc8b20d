//! How much memory a queue and a map take, and that they give it back. The tests are alone in their
//! binary, since the memory is that of the process.

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

/// Held by the one test that runs: the counts are those of the process.
static TURN: Mutex<()> = Mutex::new(());

/// Runs a test body with the clock paused, while no other test of this process runs.
fn in_turn(body: impl AsyncFnOnce() + Send + 'static) {
    let _turn = lock(&TURN);
    paused(body);
}
