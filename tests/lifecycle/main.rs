//! How a queue ends, where it runs, and how threads and runtimes may end before it.

#[path = "../common/mod.rs"]
mod common;

mod close;
mod drain;
mod runtimes;
mod shutdown;
mod threads;
