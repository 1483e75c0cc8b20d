//! Many threads, faulty sinks and random settings at once, with an account of every item.

#[path = "../common/mod.rs"]
mod common;

mod map;
mod queue;
