//! One thread that does everything: pushes a chunk, then collects it.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use swaplane::{Queue, Writer};
use tokio::{runtime, task};

use crate::{
    item::Item,
    ours::ENOUGH,
    pair::{Side, Slice},
    peers::{Pipe, Pull, Push, mutex::KEYS},
    tally::{SumSink, Tally},
};

/// What one thread can push into and collect from.
pub trait Buffer<T> {
    /// Pushes the first item of a chunk.
    fn first(&mut self, item: T);

    fn push(&mut self, numbers: Range<u64>);

    /// Gets the chunk, of `n` items, to the tally.
    fn collect(&mut self, n: u64, tally: &mut Tally);
}

/// What counts.
#[derive(Clone, Copy, PartialEq)]
pub enum Timed {
    /// Pushing and collecting.
    Both,
    /// Pushing alone.
    Push,
}

pub struct Solo<B, T> {
    buffer: B,
    chunk: u64,
    timed: Timed,
    next: u64,
    item: std::marker::PhantomData<T>,
}

impl<T: Item, B: Buffer<T>> Solo<B, T> {
    pub fn new(buffer: B, chunk: u64, timed: Timed) -> Self {
        Self {
            buffer,
            chunk,
            timed,
            next: 0,
            item: std::marker::PhantomData,
        }
    }
}

impl<T: Item, B: Buffer<T>> Side for Solo<B, T> {
    fn slice(&mut self, n: u64) -> (Slice, u64) {
        let chunks = (n / self.chunk).max(1);
        let first = self.next;
        self.next += chunks * self.chunk;
        let (mut tally, mut pushing) = (Tally::default(), Duration::ZERO);
        let slice = Slice::of(|| {
            for start in (first..self.next).step_by(self.chunk as usize) {
                self.buffer.first(T::make(start));
                let started = (self.timed == Timed::Push).then(Instant::now);
                self.buffer.push(start + 1..start + self.chunk);
                pushing += started.map_or(Duration::ZERO, |at| at.elapsed());
                self.buffer.collect(self.chunk, &mut tally);
            }
            (self.timed == Timed::Push).then_some(pushing)
        });
        tally.check::<T>(first..self.next, "one thread");
        (slice, chunks * self.chunk)
    }
}

/// The bound of what is possible: a vector with enough room.
pub struct Plain<T>(Vec<T>);

impl<T> Plain<T> {
    pub fn new(chunk: u64) -> Self {
        Self(Vec::with_capacity(chunk as usize))
    }
}

/// Not inlined, or the loop would keep the length in a register, which no buffer that others
/// read can do.
#[inline(never)]
fn push_one<T>(items: &mut Vec<T>, item: T) {
    items.push(item);
}

impl<T: Item> Buffer<T> for Plain<T> {
    fn first(&mut self, item: T) {
        push_one(&mut self.0, item);
    }

    fn push(&mut self, numbers: Range<u64>) {
        for number in numbers {
            push_one(&mut self.0, T::make(number));
        }
    }

    fn collect(&mut self, _: u64, tally: &mut Tally) {
        tally.batch(&self.0);
        self.0.clear();
    }
}

/// A peer whose two ends the same thread has.
pub struct Ends<T, P: Pipe<T>> {
    tx: P::Tx,
    rx: P::Rx,
}

impl<T, P: Pipe<T>> Ends<T, P> {
    pub fn new() -> Self {
        let (mut txs, rx) = P::open(1);
        let tx = txs.pop().expect("one was asked for");
        Self { tx, rx }
    }
}

impl<T: Item, P: Pipe<T>> Buffer<T> for Ends<T, P> {
    fn first(&mut self, item: T) {
        self.tx.push(item);
    }

    fn push(&mut self, numbers: Range<u64>) {
        for number in numbers {
            self.tx.push(T::make(number));
        }
    }

    fn collect(&mut self, n: u64, tally: &mut Tally) {
        let until = tally.count + n;
        while tally.count < until {
            self.rx.pull(tally);
        }
    }
}

/// A queue whose flusher runs in this thread too, when it is let.
pub struct Ours<T: Send + 'static, P> {
    runtime: runtime::Runtime,
    queue: Queue<T>,
    sink: SumSink,
    push: P,
}

/// How an item gets in.
pub trait In<T: Send + 'static> {
    fn push(&mut self, queue: &Queue<T>, item: T) -> bool;
}

pub struct ByWriter<T: Send + 'static>(Option<Writer<T>>);
pub struct ByQueue;
/// Under keys that take turns.
pub struct ByKey {
    keys: &'static [u64; KEYS],
    at: usize,
}

impl<T: Send + 'static> ByWriter<T> {
    pub fn new() -> Self {
        Self(None)
    }
}

impl ByKey {
    pub fn new(keys: &'static [u64; KEYS]) -> Self {
        Self { keys, at: 0 }
    }
}

impl<T: Send + 'static> In<T> for ByWriter<T> {
    #[inline(always)]
    fn push(&mut self, queue: &Queue<T>, item: T) -> bool {
        let writer = self.0.get_or_insert_with(|| queue.writer());
        writer.push(item).is_ok()
    }
}

impl<T: Send + 'static> In<T> for ByQueue {
    #[inline(always)]
    fn push(&mut self, queue: &Queue<T>, item: T) -> bool {
        queue.push(item).is_ok()
    }
}

impl<T: Send + 'static> In<T> for ByKey {
    #[inline(always)]
    fn push(&mut self, queue: &Queue<T>, item: T) -> bool {
        self.at = (self.at + 1) % KEYS;
        queue.push_keyed(&self.keys[self.at], item).is_ok()
    }
}

impl<T: Item, P: In<T>> Ours<T, P> {
    /// Nothing leaves unless it is collected, by batches of this size.
    pub fn new(push: P, batch: impl Into<Option<usize>>) -> Self {
        let runtime = runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let sink = SumSink::default();
        let queue = Queue::builder()
            .runtime(runtime.handle().clone())
            .capacity(ENOUGH)
            .max_batch_size(batch)
            .max_delay(Duration::from_secs(3600))
            .spawn(sink.clone())
            .expect("valid");
        Self {
            runtime,
            queue,
            sink,
            push,
        }
    }
}

impl<T: Item, P: In<T>> Ours<T, P> {
    /// Runs `f` where the flusher gets its turn whenever `f` yields.
    pub fn drive(&self, f: impl AsyncFnOnce(&Queue<T>, &SumSink)) {
        self.runtime.block_on(f(&self.queue, &self.sink));
    }
}

impl<T: Item, P: In<T>> Buffer<T> for Ours<T, P> {
    /// After it the flusher gets a turn, as it would in a thread of its own: it wakes up and lets
    /// the other pushes be silent.
    fn first(&mut self, item: T) {
        assert!(self.push.push(&self.queue, item), "there is room");
        self.runtime.block_on(task::yield_now());
    }

    fn push(&mut self, numbers: Range<u64>) {
        for number in numbers {
            let pushed = self.push.push(&self.queue, T::make(number));
            assert!(pushed, "there is room");
        }
    }

    fn collect(&mut self, _: u64, tally: &mut Tally) {
        self.sink.expect(0);
        let flushed = self.runtime.block_on(self.queue.flush());
        flushed.expect("the sink never fails");
        let got = self.sink.tally();
        tally.count += got.count;
        tally.sum = tally.sum.wrapping_add(got.sum);
    }
}
