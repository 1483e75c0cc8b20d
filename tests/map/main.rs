//! What a map does with what is put into it, from the update to the outcome.

#[path = "../common/mod.rs"]
mod common;

mod basics;
mod delivery;
mod panics;
mod versions;
