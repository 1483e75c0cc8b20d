//! What a queue does with what is pushed into it, from the push to the outcome.

#[path = "../common/mod.rs"]
mod common;

mod adaptive;
mod batching;
mod cancel;
mod delivery;
mod flush;
mod items;
mod liveness;
mod order;
mod panics;
mod push;
mod reserve;
mod retry;
mod runs;
mod sinks;
