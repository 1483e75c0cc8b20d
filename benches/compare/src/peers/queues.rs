//! Concurrent queues, from which the consumer pops into a vector that it keeps.

use std::sync::Arc;

use concurrent_queue::ConcurrentQueue;
use crossbeam_queue::SegQueue;

use super::{Pipe, Pull, Push};
use crate::{
    item::Item,
    tally::{BATCH, Tally},
};

pub struct Popped<Q, T> {
    queue: Arc<Q>,
    batch: Vec<T>,
}

fn open<Q, T>(queue: Q, producers: usize) -> (Vec<Arc<Q>>, Popped<Q, T>) {
    let queue = Arc::new(queue);
    let batch = Vec::with_capacity(BATCH);
    (vec![Arc::clone(&queue); producers], Popped { queue, batch })
}

pub struct Seg;

impl<T: Item> Push<T> for Arc<SegQueue<T>> {
    #[inline(always)]
    fn push(&mut self, item: T) {
        SegQueue::push(self, item);
    }
}

impl<T: Item> Pull<T> for Popped<SegQueue<T>, T> {
    fn pull(&mut self, tally: &mut Tally) {
        while self.batch.len() < BATCH {
            match self.queue.pop() {
                Some(item) => self.batch.push(item),
                None => break,
            }
        }
        tally.batch(&self.batch);
        self.batch.clear();
    }
}

impl<T: Item> Pipe<T> for Seg {
    const NAME: &'static str = "crossbeam-SegQueue";
    const POLLED: bool = true;
    type Tx = Arc<SegQueue<T>>;
    type Rx = Popped<SegQueue<T>, T>;

    fn open(producers: usize) -> (Vec<Self::Tx>, Self::Rx) {
        open(SegQueue::new(), producers)
    }
}

pub struct Concurrent;

impl<T: Item> Push<T> for Arc<ConcurrentQueue<T>> {
    #[inline(always)]
    fn push(&mut self, item: T) {
        assert!(ConcurrentQueue::push(self, item).is_ok(), "has no bound");
    }
}

impl<T: Item> Pull<T> for Popped<ConcurrentQueue<T>, T> {
    fn pull(&mut self, tally: &mut Tally) {
        self.batch.extend(self.queue.try_iter().take(BATCH));
        tally.batch(&self.batch);
        self.batch.clear();
    }
}

impl<T: Item> Pipe<T> for Concurrent {
    const NAME: &'static str = "concurrent-queue";
    const POLLED: bool = true;
    type Tx = Arc<ConcurrentQueue<T>>;
    type Rx = Popped<ConcurrentQueue<T>, T>;

    fn open(producers: usize) -> (Vec<Self::Tx>, Self::Rx) {
        open(ConcurrentQueue::unbounded(), producers)
    }
}
