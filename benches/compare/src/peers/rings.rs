//! Rings with a bound; who finds one full yields and tries again.

use std::thread;

use disruptor::{BusySpin, EventPoller, MultiProducer, MultiProducerBarrier, Producer as _};
use disruptor::{SingleConsumerBarrier, build_multi_producer};

use super::{BOUND, Pipe, Pull, Push};
use crate::{
    item::Item,
    tally::{BATCH, Tally},
};

/// A ring for each producer.
pub struct Rtrb;

impl<T: Item> Push<T> for rtrb::Producer<T> {
    #[inline(always)]
    fn push(&mut self, mut item: T) {
        while let Err(rtrb::PushError::Full(back)) = rtrb::Producer::push(self, item) {
            item = back;
            thread::yield_now();
        }
    }
}

pub struct Rings<T>(Vec<rtrb::Consumer<T>>);

impl<T: Item> Pull<T> for Rings<T> {
    /// In place, without a copy.
    fn pull(&mut self, tally: &mut Tally) {
        for ring in &mut self.0 {
            let batch = ring.slots().min(BATCH);
            if batch > 0 {
                let chunk = ring.read_chunk(batch).expect("so many are there");
                let (head, tail) = chunk.as_slices();
                tally.batch(head);
                tally.batch(tail);
                chunk.commit_all();
            }
        }
    }
}

impl<T: Item> Pipe<T> for Rtrb {
    const NAME: &'static str = "rtrb";
    const NOTE: &'static str = "a ring for each producer, bounded to 65536";
    const POLLED: bool = true;
    type Tx = rtrb::Producer<T>;
    type Rx = Rings<T>;

    fn open(producers: usize) -> (Vec<Self::Tx>, Self::Rx) {
        let rings = (0..producers).map(|_| rtrb::RingBuffer::new(BOUND));
        let (txs, rxs) = rings.unzip();
        (txs, Rings(rxs))
    }
}

pub struct Disruptor;

impl<T: Item + Sync + Default> Push<T> for MultiProducer<T, SingleConsumerBarrier> {
    #[inline(always)]
    fn push(&mut self, item: T) {
        // The closure runs once, in the call that finds room.
        let mut item = Some(item);
        while self
            .try_publish(|slot| *slot = item.take().expect("published once"))
            .is_err()
        {
            thread::yield_now();
        }
    }
}

impl<T: Item + Sync + Default> Pull<T> for EventPoller<T, MultiProducerBarrier> {
    /// By reference; items are dropped when their slots are used again.
    fn pull(&mut self, tally: &mut Tally) {
        if let Ok(mut events) = self.take(BATCH as u64) {
            tally.each(&mut events);
        }
    }
}

impl<T: Item + Sync + Default> Pipe<T> for Disruptor {
    const NAME: &'static str = "disruptor";
    const NOTE: &'static str = "bounded to 65536; keeps items until their slots are used again";
    const POLLED: bool = true;
    type Tx = MultiProducer<T, SingleConsumerBarrier>;
    type Rx = EventPoller<T, MultiProducerBarrier>;

    fn open(producers: usize) -> (Vec<Self::Tx>, Self::Rx) {
        let ring = build_multi_producer(BOUND, T::default, BusySpin);
        let (poller, builder) = ring.new_event_poller();
        let producer = builder.build();
        let mut txs: Vec<_> = (1..producers).map(|_| producer.clone()).collect();
        txs.push(producer);
        (txs, poller)
    }
}
