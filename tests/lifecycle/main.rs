//! How a queue ends, where it runs, and how threads and runtimes may end before it.

#[path = "../common/mod.rs"]
mod common;

mod close;
mod drain;
mod runtimes;
mod shutdown;
mod threads;

use common::{secs, steady_queue};
use swaplane::{Builder, Queue, SinkError};

/// A `steady_queue` with a minute between attempts.
fn slow_queue<T: Send + 'static>() -> Builder<Queue<T>> {
    steady_queue().retry(|_: u32, _: &SinkError| Some(secs(60)))
}
