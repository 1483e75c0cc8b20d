//! Where items arrive: each is counted and summed, and the sum is checked.

use std::{
    hint::black_box,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    sync::{Arc, LazyLock},
    time::Instant,
};

use swaplane::{Batch, Sink, SinkError};

use crate::item::Item;

/// How many items a batch has at most, on both sides of each row.
pub const BATCH: usize = 512;

/// What one thread has received.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    pub count: u64,
    pub sum: u64,
}

impl Tally {
    /// What a sink does with a batch.
    #[inline]
    pub fn batch<T: Item>(&mut self, items: &[T]) {
        self.each(black_box(items));
    }

    /// For those who get items one by one.
    #[inline]
    pub fn each<'a, T: Item>(&mut self, items: impl IntoIterator<Item = &'a T>) {
        for item in items {
            self.count += 1;
            self.sum = self.sum.wrapping_add(item.value());
        }
    }

    /// # Panics
    /// If this is not the tally of the items of these numbers.
    pub fn check<T: Item>(self, numbers: Range<u64>, name: &str) {
        let count = numbers.end - numbers.start;
        assert_eq!(self.count, count, "{name}: items are lost or doubled");
        let sum = T::expected_sum(numbers);
        assert_eq!(self.sum, sum, "{name}: these are other items");
    }
}

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds since the first call.
pub fn now() -> u64 {
    EPOCH.elapsed().as_nanos() as u64
}

/// A sink of ours: a tally that another thread can read.
#[derive(Clone, Debug, Default)]
pub struct SumSink(Arc<Sums>);

#[derive(Debug, Default)]
struct Sums {
    count: AtomicU64,
    sum: AtomicU64,
    /// When `count` reaches this, `last` is when.
    target: AtomicU64,
    last: AtomicU64,
}

impl SumSink {
    /// Begins anew, for this many items.
    pub fn expect(&self, count: u64) {
        let sums = &*self.0;
        sums.count.store(0, Relaxed);
        sums.sum.store(0, Relaxed);
        sums.target.store(count, Relaxed);
    }

    pub fn add(&self, tally: Tally) {
        let sums = &*self.0;
        sums.sum.fetch_add(tally.sum, Relaxed);
        let before = sums.count.fetch_add(tally.count, Relaxed);
        if before + tally.count == sums.target.load(Relaxed) {
            sums.last.store(now(), Relaxed);
        }
    }

    pub fn tally(&self) -> Tally {
        Tally {
            count: self.0.count.load(Relaxed),
            sum: self.0.sum.load(Relaxed),
        }
    }

    /// When the last item that was expected has arrived.
    pub fn last(&self) -> u64 {
        self.0.last.load(Relaxed)
    }
}

impl<T: Item> Sink<T> for SumSink {
    async fn send(&self, batch: Batch<T>) -> Result<(), SinkError> {
        let mut tally = Tally::default();
        tally.batch(&batch);
        self.add(tally);
        Ok(())
    }
}
