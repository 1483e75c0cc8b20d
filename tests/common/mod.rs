//! What the integration tests share: watchdogs, items that can be told apart, a sink that plays a
//! script and records what it saw, and a ledger of the fate of every item.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses a part of it"
)]

mod keyed;
mod ledger;
mod recorder;
mod watch;

use std::ops::Range;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use swaplane::{Builder, PushError, Queue, ShutdownReport, SinkError, Stats};

pub use keyed::{Keyed, Row, removal, row, rows, sorted, steady_map};
pub use ledger::{Ledger, Token};
pub use recorder::{Attempt, Recorder, Step, Why, attempt_of};
pub use watch::{
    assert_took, block_on, eventually, multi_thread, one_thread, paused, poll_once, settle,
    threaded, watched, within,
};

pub const HOUR: Duration = Duration::from_secs(3600);

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// How often to repeat something: less under Miri, which is slow.
pub const fn scaled(n: usize, under_miri: usize) -> usize {
    if cfg!(miri) { under_miri } else { n }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// An item that can be told apart from all others.
pub trait Id {
    fn id(&self) -> u64;
}

impl Id for u64 {
    fn id(&self) -> u64 {
        *self
    }
}

/// The `n`-th item of a producer (or of a key).
pub const fn item(producer: usize, n: usize) -> u64 {
    (producer as u64) << 32 | n as u64
}

pub const fn producer_of(id: u64) -> usize {
    (id >> 32) as usize
}

pub const fn sequence_of(id: u64) -> usize {
    (id & 0xffff_ffff) as usize
}

/// The first items of producer 0, which are plain numbers.
pub fn numbers(range: Range<usize>) -> Vec<u64> {
    range.map(|n| item(0, n)).collect()
}

/// Batches of ten by size or request, a second between attempts, attempts of at most ten seconds.
pub fn steady_queue<T: Send + 'static>() -> Builder<Queue<T>> {
    Queue::builder()
        .max_batch_size(10)
        .max_delay(HOUR)
        .attempt_timeout(secs(10))
        .retry(|_: u32, _: &SinkError| Some(secs(1)))
}

/// Calls `push` until there is room. No other refusal is expected.
#[track_caller]
pub fn insist<R, T>(mut push: impl FnMut() -> Result<R, PushError<T>>) -> R {
    loop {
        match push() {
            Ok(accepted) => return accepted,
            Err(refused) => assert!(refused.is_full()),
        }
        thread::yield_now();
    }
}

/// C7: the report accounts for everything that was accepted.
#[track_caller]
pub fn assert_adds_up<T>(report: &ShutdownReport<T>) {
    let ends = report.delivered
        + report.lost
        + report.coalesced
        + report.removed
        + report.returned.len() as u64
        + report.returned_to_other_callers;
    assert_eq!(report.accepted, ends, "the report does not add up");
}

/// C9: whatever was accepted has its outcome or is held.
#[track_caller]
pub fn assert_conserved(stats: &Stats) {
    let ends = stats.delivered
        + stats.returned
        + stats.lost
        + stats.coalesced
        + stats.removed
        + stats.held;
    assert_eq!(stats.accepted, ends, "the stats do not add up");
}

/// Shuts the queue down and checks that every accepted item was delivered once.
pub async fn finish<T: Id + Send + 'static>(queue: Queue<T>, sink: &Recorder) {
    let report = queue.shutdown(HOUR).await;
    assert_adds_up(&report);
    assert!(report.is_complete(), "not all was delivered");
    let mut ids = sink.delivered();
    assert_eq!(ids.len() as u64, report.delivered);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(
        ids.len() as u64,
        report.delivered,
        "something was delivered twice"
    );
}

/// A small deterministic generator (xorshift64*).
#[derive(Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 32) % n
    }
}
