//! Random scripts against plain sequential models of the contract: one of a queue, one of a map.

#[path = "../common/mod.rs"]
mod common;

mod map;
mod queue;
