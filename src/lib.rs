//! A write buffer: many threads push items one by one, one sink gets them in batches, and every
//! accepted item is accounted for. A [`Queue`] delivers every item; a [`Map`] holds one entry for
//! each key, and delivers what the key has become.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use swaplane::{Batch, Queue};
//!
//! // The sink first: a closure, or a type that implements `Sink`.
//! let queue = Queue::builder()
//!     .max_batch_size(100)
//!     .spawn_fn(|batch: Batch<String>| async move {
//!         println!("{} rows", batch.len()); // write them; `?` asks for another attempt
//!         Ok(())
//!     })?;
//!
//! // Then the producers, on any thread. A push is refused when the queue is full or closed.
//! let producer = std::thread::spawn({
//!     let queue = queue.clone();
//!     move || queue.push("a row".to_owned())
//! });
//! producer.join().unwrap()?;
//!
//! // At the end the other way round. What could not be delivered in time comes back.
//! let report = queue.shutdown(Duration::from_secs(5)).await;
//! assert_eq!(report.accepted, report.delivered + report.returned.len() as u64);
//! # Ok(())
//! # }
//! ```
//!
//! Where only the last state of each key matters, many updates become one row:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use swaplane::{Batch, Entry, Map};
//!
//! let map = Map::builder().spawn_fn(|batch: Batch<Entry<u64, f32>>| async move {
//!     println!("{} devices", batch.len()); // upsert them
//!     Ok(())
//! })?;
//! for (device, temperature) in [(1, 20.5), (2, 19.0), (1, 20.7)] {
//!     map.put(device, temperature)?; // or `put_newer`, with a version; or `merge`
//! }
//! let report = map.shutdown(Duration::from_secs(5)).await;
//! assert_eq!((report.accepted, report.coalesced, report.delivered), (3, 1, 2));
//! # Ok(())
//! # }
//! ```
//!
//! [`Queue`] and [`Map`] are the ways in, with [`Writer`] for who pushes much, [`Permit`] for who
//! would rather wait than be refused, and [`Mirror`] for who removes. [`Builder`] has the settings,
//! [`Sink`] and [`Batch`] are the way out, [`Retry`] is what happens in between, and
//! [`ShutdownReport`] and [`Stats`] are the account. All but the ways in is the same for both.
//!
//! # The picture
//!
//! ```text
//!  push ───────► a lane per thread ─┐
//!  Writer ─────► its own lane ──────┤ partition ─┐
//!  push_keyed ─► mutex, its lane ───┘            ├─► flusher: collect ─► batch ─► deliver ─► sink
//!  push ───────► a lane per thread ─┐            │   (has every reader)          retry, timeout
//!  push_keyed ─► mutex, its lane ───┤ partition ─┘
//!  Writer ─────► its own lane ──────┘
//!
//!  put ────────► hash ─► partition ─► shard of the active side ─┐
//!                                     of two maps               ├─► flusher, as above
//!  put ────────► hash ─► partition ─► ...  ─────────────────────┘
//! ```
//!
//! # The contract
//!
//! For a map read "entry" for "item" where it is held, in flight or delivered, and "update" where
//! it is pushed and accepted.
//!
//! - **C1** `Ok` from a push means exactly one outcome: delivered, returned by a shutdown, or lost
//!   (given up by the retry policy, or never given back by the sink); of a map also coalesced
//!   (merged into an entry, which has its own outcome) or removed. To the sink it is at least once: an attempt that failed or timed out may have had an effect, so a batch has an
//!   [id](Batch::id) that stays across attempts, and an [attempt number](Batch::attempt).
//! - **C2** `Err` from a push carries the item back, and it is never delivered.
//! - **C3** No push that begins after [`close`](Queue::close) returned is accepted. One that races
//!   it is refused, or accepted and then C1 holds.
//! - **C4** The unkeyed pushes of one thread, those of one [`Writer`], and all pushes of one key
//!   are delivered in their order, across batches and retries. Nothing else is promised. (A task
//!   that moves between threads is several threads.)
//! - **C5** Never more than [`capacity`](Builder::capacity) items are held: in lanes, in flight and
//!   in backoff together.
//! - **C6** [`flush`](Queue::flush) resolves when everything whose push happened before the call
//!   has its outcome, and says whether all of it was delivered that was still held at the call.
//! - **C7** [`shutdown`](Queue::shutdown) has one deadline for all of it, and its report adds up:
//!   `accepted = delivered + dead_lettered + dropped + returned + lost + coalesced + removed`, the
//!   returned items included. (A sink that blocks its thread delays nobody else while the runtime has another.)
//! - **C8** A panic in the sink or in a closure of yours reaches no caller and does not stop the
//!   flusher.
//! - **C9** [`stats`](Queue::stats) obeys the same sum, with `held` added, whenever nothing is in
//!   progress.
//! - **C10** A push never waits for a flush, and collecting never waits for a push. (In a map both
//!   take the lock of a shard: neither for longer than one update, with the folding of a `merge` or
//!   the clone of a `get`, or one exchange of two tables.)
//!
//! And of a map alone:
//!
//! - **M1** The version that the sink gets for a key never decreases while an earlier one is held,
//!   in flight or in backoff; with [`remember_versions`](Builder::remember_versions) also later.
//! - **M2** [`Entry::updates`] counts the accepted updates that were merged into an entry.
//! - **M3** The last write wins: the last to be done under the lock of the key's shard.
//! - **M4** A removal takes back the entry that has not left yet, or does nothing. It never brings
//!   anything back. (Those of a [`Mirror`] are updates, and are delivered.)
//!
//! No cancelled future loses an item or a batch, and no `Drop` blocks.
//!
//! # Trade-offs
//!
//! - **Memory only.** A crash loses what is held. A push answers "accepted", never "stored".
//! - **No order between threads.** Who needs one needs a key for all of it, hence one lock and one
//!   batch at a time.
//! - **Full comes early.** Lanes take credit by the handful, and up to a quarter of the capacity
//!   may lie in them unused.
//! - **Memory per writer.** Each thread that pushes and each [`Writer`] has a lane of some hundred
//!   bytes, and a chunk from its first push on; a thread's lane stays for the next thread. With
//!   very many writers of few items, share a queue handle and push by key.
//! - **Bursts are remembered.** A lane keeps the chunks it has grown to until it has not used them
//!   for a second or two, and then the one that its writer is in, which can have grown to 128 KiB.
//! - **Looking costs.** [`len`](Queue::len) and [`stats`](Queue::stats) visit every lane: a price
//!   for pushes that count nothing.
//! - **A key can lie in two places.** What has left a map for the sink is not touched any more: an
//!   update begins another entry, which counts too, and cannot see the first.
//! - **A batch waits for its predecessor.** With `max_in_flight` 1 a batch that fails holds up all
//!   others until it is through or given up; otherwise it holds up its share of the partitions.
//!
//! # How it works
//!
//! A **lane** has one writer and one reader, and two buffers, of which an `ArcSwap` says which is
//! active. The writer appends to the active one. The flusher reads behind it in place and, once a
//! chunk is used up, swaps the buffers; the writer finds out at its next push, leaves the old
//! buffer for good, and says so. Only then is that buffer reset. So there is no guard and no grace
//! period, and neither side waits. The protocol is told in `lane`; its two ends, its storage and
//! the table of the threads' lanes lie below it. Nothing else has unsafe code.
//!
//! A **partition**, one for each CPU unless you say otherwise, holds the lanes of the threads whose
//! number falls to it, and one lane behind a mutex for the keys that do. It belongs to one worker,
//! and a worker has one unfinished batch, which is what keeps order across retries.
//!
//! The **flusher** is one task. While items wait it looks for them by a timer, and pushes are
//! silent but for a report with each lease of credits, which tells it of a full batch. When nothing
//! waits it raises a flag in every lane and sleeps without a timer; the next push sees the flag and
//! rings. While somebody is out of room there is no timer either; nor with a `max_delay` of zero,
//! where pushes ring unless every worker is busy and the last batch was large. A ring costs the push
//! more than anything else does: so under a steady load the flusher asks to be rung for several
//! full batches at a time, or looks around for a while before it sleeps (`flusher/pace`). How a flag
//! reaches every push although pushes run no fence is told in `barrier`.
//!
//! Attempts run in **tasks** of their own, so that a sink that blocks holds up nobody while the
//! runtime has another thread. A task costs more than a quick sink does; so it goes on with the next
//! full batch, and the next, while the sink takes them at once (`flusher/deliver`).
//!
//! **Credits** bound what is held: one is taken before an item is written, and given back at its
//! outcome. A **batch** is a lease too: it owns its items while the sink has it, and gives them
//! back when it is dropped, however that comes about. So retries need neither `Clone` nor `Sync`.
//!
//! A **map** has partitions too, chosen by the hash of the key. Each has two sides, tables under the
//! locks of a few shards (a `DashMap`), of which an atomic word says which is active. An update locks
//! its shard of the active side, and then sees whether it still is the active one. The flusher
//! publishes the other side first and then empties the shards of the old one, each in a step that
//! takes no time; keys and versions stay to be compared with until their batches are terminal, and
//! no earlier is that side swapped in again. Told in `map/partition`; there is no unsafe code in it.
//!
//! Some of it came out simpler than it was first designed:
//! - Each lane counts what was `published` over its whole life, not per buffer, so that counting
//!   what was accepted costs a push nothing more; `moved_at` tells where one buffer ended.
//! - Generation and flags are one word: a push that finds it as it was has nothing to look into.
//! - Threads have small numbers of our own (`thread`) instead of those of a crate, so that the hand
//!   over of a lane to the next thread rests on a lock that the models know.
//! - Which side of a map is active is an index, not an `ArcSwap`: both live as long as the map, and
//!   the check under the lock needs neither a count nor a locked instruction of its own.
//! - What is swapped out of a map lies in a third table of its partition, so that the side is empty
//!   and its memory ready. A version is looked for where entries move along: active side, other
//!   side, third table, what is remembered. Never waiting on the way, since the sides may change
//!   roles meanwhile, and two updates could wait for each other: who meets a lock starts over.
//! - Chunks that a buffer was emptied of hang from it as spares, which either side may take by one
//!   exchange: growth after a swap allocates nothing, and memory can be freed under a live writer.
//!
//! # What it costs
//!
//! A push into a lane is some plain loads and stores and two compares; [`Queue::push`] adds the
//! look-up of the thread's lane. Neither reads a clock; neither has an atomic read-modify-write or
//! allocates but on the slow path: about every 64th push, which leases credits, the first in a
//! chunk, and any that meets a flag. A keyed push adds a hash and a lock. A batch costs the copying
//! of its items out of the lanes, once; and a task, or its part of one. An update of a map hashes its key once and takes
//! one lock; an entry that leaves is moved twice, and its key cloned if it has a version. Raising a flag is one system call on Linux;
//! where `membarrier` is not to be had each push runs a fence instead. With nothing to do nothing
//! runs.

mod batch;
mod block_on;
mod builder;
mod capacity;
mod error;
mod flusher;
mod hash;
mod lifecycle;
mod map;
mod panic;
mod queue;
mod retry;
mod settings;
mod sink;
mod source;
mod stats;
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
