//! A write buffer. Many threads push items one by one, one sink gets them in batches of limited
//! size, and every accepted item is accounted for.
//!
//! A [`Queue`] delivers every item:
//!
//! ```
//! use std::time::Duration;
//! use swaplane::{Batch, Queue};
//!
//! let queue = Queue::builder()
//!     .max_batch_size(100)
//!     .own_thread() // without this line it runs on the current tokio runtime
//!     .spawn_fn(|batch: Batch<String>| async move {
//!         println!("INSERT {} rows", batch.len()); // an `Err` asks for another attempt
//!         Ok(())
//!     })?;
//!
//! let producer = std::thread::spawn({
//!     let queue = queue.clone();
//!     move || queue.push("a row".to_owned()) // never waits; refused when full or closed
//! });
//! producer.join().unwrap()?;
//!
//! let report = queue.shutdown_blocking(Duration::from_secs(5));
//! assert_eq!((report.accepted, report.delivered), (1, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Map`] holds one entry for each key, so that many updates of a key become one row:
//!
//! ```
//! use std::time::Duration;
//! use swaplane::{Batch, Entry, Map};
//!
//! let map = Map::builder()
//!     .own_thread()
//!     .spawn_fn(|batch: Batch<Entry<u64, f32>>| async move {
//!         println!("UPSERT {} devices", batch.len());
//!         Ok(())
//!     })?;
//!
//! for (device, temperature) in [(1, 20.5), (2, 19.0), (1, 20.7)] {
//!     map.put(device, temperature)?; // the last write wins
//! }
//!
//! let report = map.shutdown_blocking(Duration::from_secs(5));
//! assert_eq!((report.accepted, report.coalesced, report.delivered), (3, 1, 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The picture
//!
//! ```text
//!  push        thread ─► its own lane ──────────┐
//!  Writer      its own lane ────────────────────┤ partition ─┐
//!  push_keyed  hash(key) ─► lock, shared lane ──┘            │
//!                                                            ├─► flusher ─► batch ─► sink
//!                                                            │           timeout, retry
//!  put         hash(key) ─► lock, active side ─── partition ─┘
//! ```
//!
//! # Where to look
//!
//! | to | use |
//! |---|---|
//! | push | [`Queue`], [`Writer`] (an order and a lane of its own), [`Permit`] (waits for room) |
//! | keep state by key | [`Map`], or [`Mirror`] if the sink has to learn of removals |
//! | receive | [`Sink`] or a closure; [`Batch`], [`Entry`], [`Change`], [`SinkError`] |
//! | set up | [`Builder`], [`Retry`] |
//! | know what happened | [`ShutdownReport`], [`Stats`], [`FlushError`], [`PushError`] |
//!
//! The [guide] has two pages: the [contract](guide::contract), with all promises and their limits,
//! and [how it works](guide::internals).

pub mod guide;

// Handles. The stores lie below them, in `queue/` and `map/`.
mod builder;
mod lifecycle;
mod map;
mod queue;

// What a store offers the flusher.
mod source;

// Capacity: what every push passes.
mod capacity;

// The flush side.
mod batch;
mod flusher;

// The sink's side, and policies.
mod retry;
mod settings;
mod sink;
mod stats;

// Ground: what all the rest uses.
mod block_on;
mod error;
mod hash;
mod panic;
mod sync;

/// The models, with private access: run by loom, and on real threads.
#[cfg(test)]
#[path = "../loom_tests/main.rs"]
mod loom_tests;

pub use batch::{Batch, Reason};
pub use builder::{Buffer, Builder};
pub use error::build::{BuildError, Violation};
pub use error::{FlushError, PushAllError, PushError, RefusalReason, ReserveError};
pub use hash::RandomState;
pub use lifecycle::ShutdownReport;
pub use map::entry::{Change, Entry, MapItem, Put};
pub use map::{Map, Mirror};
pub use queue::Queue;
pub use queue::writer::{Permit, Writer};
pub use retry::Retry;
pub use sink::{
    BlockingSinkFn, BoxSink, Handled, Sink, SinkError, SinkFn, blocking_sink_fn, sink_fn,
};
pub use stats::Stats;

/// The code in the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
