//! The channels once more, with little room: a producer sleeps until there is some.

use std::sync::mpsc;

use super::{
    Pipe, Push,
    channels::{OPEN, Received, open},
};
use crate::item::Item;

/// A slice pushes some hundred times as much.
pub const CAPACITY: usize = 4096;
const NOTE: &str = "capacity 4096, waits when full";

pub struct Crossbeam;

impl<T: Item> Pipe<T> for Crossbeam {
    const NAME: &'static str = "crossbeam-channel";
    const NOTE: &'static str = NOTE;
    const POLLED: bool = false;
    type Tx = crossbeam_channel::Sender<T>;
    type Rx = Received<crossbeam_channel::Receiver<T>, T>;

    fn open(producers: usize) -> (Vec<Self::Tx>, Self::Rx) {
        open(crossbeam_channel::bounded(CAPACITY), producers)
    }
}

pub struct Flume;

impl<T: Item> Pipe<T> for Flume {
    const NAME: &'static str = "flume";
    const NOTE: &'static str = NOTE;
    const POLLED: bool = false;
    type Tx = flume::Sender<T>;
    type Rx = Received<flume::Receiver<T>, T>;

    fn open(producers: usize) -> (Vec<Self::Tx>, Self::Rx) {
        open(flume::bounded(CAPACITY), producers)
    }
}

pub struct Kanal;

impl<T: Item> Pipe<T> for Kanal {
    const NAME: &'static str = "kanal";
    const NOTE: &'static str = NOTE;
    const POLLED: bool = false;
    type Tx = kanal::Sender<T>;
    type Rx = Received<kanal::Receiver<T>, T>;

    fn open(producers: usize) -> (Vec<Self::Tx>, Self::Rx) {
        open(kanal::bounded(CAPACITY), producers)
    }
}

pub struct Std;

impl<T: Item> Push<T> for mpsc::SyncSender<T> {
    #[inline(always)]
    fn push(&mut self, item: T) {
        assert!(self.send(item).is_ok(), "{OPEN}");
    }
}

impl<T: Item> Pipe<T> for Std {
    const NAME: &'static str = "std-mpsc";
    const NOTE: &'static str = NOTE;
    const POLLED: bool = false;
    type Tx = mpsc::SyncSender<T>;
    type Rx = Received<mpsc::Receiver<T>, T>;

    fn open(producers: usize) -> (Vec<Self::Tx>, Self::Rx) {
        open(mpsc::sync_channel(CAPACITY), producers)
    }
}

pub struct Tokio;

impl<T: Item> Push<T> for tokio::sync::mpsc::Sender<T> {
    #[inline(always)]
    fn push(&mut self, item: T) {
        // Cheaper than `blocking_send` where there is room.
        match self.try_send(item) {
            Ok(()) => {}
            Err(refused) => assert!(self.blocking_send(refused.into_inner()).is_ok(), "{OPEN}"),
        }
    }
}

impl<T: Item> Pipe<T> for Tokio {
    const NAME: &'static str = "tokio-mpsc";
    const NOTE: &'static str = NOTE;
    const POLLED: bool = false;
    type Tx = tokio::sync::mpsc::Sender<T>;
    type Rx = Received<tokio::sync::mpsc::Receiver<T>, T>;

    fn open(producers: usize) -> (Vec<Self::Tx>, Self::Rx) {
        open(tokio::sync::mpsc::channel(CAPACITY), producers)
    }
}
