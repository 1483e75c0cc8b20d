//! Channels: the consumer waits for the first item and takes as many as it can get with it.

use std::sync::mpsc;

use super::{Pipe, Pull, Push};
use crate::{
    item::Item,
    tally::{BATCH, Tally},
};

pub const OPEN: &str = "the other end is open";

/// The consumer and the vector that it collects in.
pub struct Received<R, T> {
    receiver: R,
    batch: Vec<T>,
}

pub fn open<S: Clone, R, T>(
    (sender, receiver): (S, R),
    producers: usize,
) -> (Vec<S>, Received<R, T>) {
    let batch = Vec::with_capacity(BATCH);
    (vec![sender; producers], Received { receiver, batch })
}

pub struct Crossbeam;

impl<T: Item> Push<T> for crossbeam_channel::Sender<T> {
    #[inline(always)]
    fn push(&mut self, item: T) {
        assert!(self.send(item).is_ok(), "{OPEN}");
    }
}

impl<T: Item> Pull<T> for Received<crossbeam_channel::Receiver<T>, T> {
    fn pull(&mut self, tally: &mut Tally) {
        self.batch.push(self.receiver.recv().expect(OPEN));
        self.batch.extend(self.receiver.try_iter().take(BATCH - 1));
        tally.batch(&self.batch);
        self.batch.clear();
    }
}

impl<T: Item> Pipe<T> for Crossbeam {
    const NAME: &'static str = "crossbeam-channel";
    const POLLED: bool = false;
    type Tx = crossbeam_channel::Sender<T>;
    type Rx = Received<crossbeam_channel::Receiver<T>, T>;

    fn open(producers: usize) -> (Vec<Self::Tx>, Self::Rx) {
        open(crossbeam_channel::unbounded(), producers)
    }
}

pub struct Std;

impl<T: Item> Push<T> for mpsc::Sender<T> {
    #[inline(always)]
    fn push(&mut self, item: T) {
        assert!(self.send(item).is_ok(), "{OPEN}");
    }
}

impl<T: Item> Pull<T> for Received<mpsc::Receiver<T>, T> {
    fn pull(&mut self, tally: &mut Tally) {
        self.batch.push(self.receiver.recv().expect(OPEN));
        self.batch.extend(self.receiver.try_iter().take(BATCH - 1));
        tally.batch(&self.batch);
        self.batch.clear();
    }
}

impl<T: Item> Pipe<T> for Std {
    const NAME: &'static str = "std-mpsc";
    const POLLED: bool = false;
    type Tx = mpsc::Sender<T>;
    type Rx = Received<mpsc::Receiver<T>, T>;

    fn open(producers: usize) -> (Vec<Self::Tx>, Self::Rx) {
        open(mpsc::channel(), producers)
    }
}

pub struct Flume;

impl<T: Item> Push<T> for flume::Sender<T> {
    #[inline(always)]
    fn push(&mut self, item: T) {
        assert!(self.send(item).is_ok(), "{OPEN}");
    }
}

impl<T: Item> Pull<T> for Received<flume::Receiver<T>, T> {
    /// `drain` takes all that is there under one lock.
    fn pull(&mut self, tally: &mut Tally) {
        self.batch.push(self.receiver.recv().expect(OPEN));
        let mut drained = self.receiver.drain();
        while !self.batch.is_empty() {
            let room = BATCH - self.batch.len();
            self.batch.extend(drained.by_ref().take(room));
            tally.batch(&self.batch);
            self.batch.clear();
            self.batch.extend(drained.next());
        }
    }
}

impl<T: Item> Pipe<T> for Flume {
    const NAME: &'static str = "flume";
    const POLLED: bool = false;
    type Tx = flume::Sender<T>;
    type Rx = Received<flume::Receiver<T>, T>;

    fn open(producers: usize) -> (Vec<Self::Tx>, Self::Rx) {
        open(flume::unbounded(), producers)
    }
}

pub struct Kanal;

impl<T: Item> Push<T> for kanal::Sender<T> {
    #[inline(always)]
    fn push(&mut self, item: T) {
        assert!(self.send(item).is_ok(), "{OPEN}");
    }
}

impl<T: Item> Pull<T> for Received<kanal::Receiver<T>, T> {
    /// `drain_into` takes all that is there under one lock.
    fn pull(&mut self, tally: &mut Tally) {
        self.batch.push(self.receiver.recv().expect(OPEN));
        self.receiver.drain_into(&mut self.batch).expect(OPEN);
        for batch in self.batch.chunks(BATCH) {
            tally.batch(batch);
        }
        self.batch.clear();
    }
}

impl<T: Item> Pipe<T> for Kanal {
    const NAME: &'static str = "kanal";
    const POLLED: bool = false;
    type Tx = kanal::Sender<T>;
    type Rx = Received<kanal::Receiver<T>, T>;

    fn open(producers: usize) -> (Vec<Self::Tx>, Self::Rx) {
        open(kanal::unbounded(), producers)
    }
}

pub struct Tokio;

impl<T: Item> Push<T> for tokio::sync::mpsc::UnboundedSender<T> {
    #[inline(always)]
    fn push(&mut self, item: T) {
        assert!(self.send(item).is_ok(), "{OPEN}");
    }
}

impl<T: Item> Pull<T> for Received<tokio::sync::mpsc::Receiver<T>, T> {
    fn pull(&mut self, tally: &mut Tally) {
        self.receiver.blocking_recv_many(&mut self.batch, BATCH);
        tally.batch(&self.batch);
        self.batch.clear();
    }
}

impl<T: Item> Pull<T> for Received<tokio::sync::mpsc::UnboundedReceiver<T>, T> {
    fn pull(&mut self, tally: &mut Tally) {
        self.receiver.blocking_recv_many(&mut self.batch, BATCH);
        tally.batch(&self.batch);
        self.batch.clear();
    }
}

impl<T: Item> Pipe<T> for Tokio {
    const NAME: &'static str = "tokio-mpsc";
    const POLLED: bool = false;
    type Tx = tokio::sync::mpsc::UnboundedSender<T>;
    type Rx = Received<tokio::sync::mpsc::UnboundedReceiver<T>, T>;

    fn open(producers: usize) -> (Vec<Self::Tx>, Self::Rx) {
        open(tokio::sync::mpsc::unbounded_channel(), producers)
    }
}
