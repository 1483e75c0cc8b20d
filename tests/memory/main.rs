//! How much memory a queue and a map take, and that they give it back. The tests are alone in their
//! binary, since the memory is that of the process.

#[path = "../common/mod.rs"]
mod common;
mod counting;

mod map;
mod queue;
mod threads;

use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use common::{lock, ms, paused};
use counting::{ALLOCATIONS, LIVE_BYTES};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Held by the one test that runs: the counts are those of the process.
static TURN: Mutex<()> = Mutex::new(());

/// Runs a test body with the clock paused, while no other thread of this process allocates.
fn in_turn(body: impl AsyncFnOnce() + Send + 'static) {
    let _turn = lock(&TURN);
    paused(async move || {
        wait_for_the_harness();
        body().await;
    });
}

/// The end of one test makes the harness start another one, which allocates.
fn wait_for_the_harness() {
    let counts = || (ALLOCATIONS.load(Relaxed), LIVE_BYTES.load(Relaxed));
    loop {
        let before = counts();
        thread::sleep(ms(50));
        if counts() == before {
            return;
        }
    }
}
