//! What callers rely on before anything is pushed: settings, types, and where a call may be made.

#[path = "../common/mod.rs"]
mod common;

mod blocking;
mod builder;
mod send;
