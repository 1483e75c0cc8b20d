//! What a flush costs its caller, from the call to the answer.

use std::{thread, time::Duration};

use swaplane::{Queue, Writer};

use super::Case;
use crate::{
    item::{Item, Small},
    ours::ENOUGH,
    pair::{Side, Slice, contest},
    peers::{
        Pipe, Pull, Push,
        mutex::{OwnShard, ParkingLot},
    },
    row::Row,
    tally::{BATCH, SumSink, Tally, now},
};

type Item16 = Small;

pub fn add(cases: &mut Vec<Case>) {
    for items in [0, 1000] {
        let name = format!("flush/{items}-items/own-mutex-parking_lot");
        cases.push(Case::new(name, true, move |case, plan| {
            let outcome = contest(plan, &mut Ours::new(items), &mut Theirs::new(items));
            let peer = "own-mutex-parking_lot (swapped by a thread that is asked to)";
            // On an idle machine most of it is what it takes to wake a core.
            let note = "ns for each flush; the peer's channels spin before they sleep";
            vec![Row::of(
                case,
                "flush_blocking".into(),
                peer.into(),
                note,
                outcome,
            )]
        }));
    }
}

struct Ours {
    queue: Queue<Item16>,
    writer: Writer<Item16>,
    sink: SumSink,
    items: u64,
}

impl Ours {
    fn new(items: u64) -> Self {
        let sink = SumSink::default();
        let queue = Queue::builder()
            .own_thread()
            .capacity(ENOUGH)
            .max_batch_size(BATCH)
            .max_delay(Duration::from_secs(3600))
            .spawn(sink.clone())
            .expect("valid");
        Self {
            writer: queue.writer(),
            queue,
            sink,
            items,
        }
    }
}

impl Side for Ours {
    fn slice(&mut self, n: u64) -> (Slice, u64) {
        let mut time = 0;
        for _ in 0..n {
            self.sink.expect(self.items);
            for number in 0..self.items {
                let pushed = self.writer.push(Item16::make(number));
                assert!(pushed.is_ok(), "there is room");
            }
            let from = now();
            self.queue.flush_blocking().expect("the sink never fails");
            time += now() - from;
            self.sink.tally().check::<Item16>(0..self.items, "swaplane");
        }
        (Slice::between(0, time), n)
    }

    fn most(&self) -> u64 {
        MOST
    }
}

/// The items are pushed between the flushes, which is not timed but takes its time.
const MOST: u64 = 2000;

/// The peer's consumer is a thread too, which is asked by a channel and answers by another.
struct Theirs {
    tx: <OwnShard<ParkingLot<Item16>> as Pipe<Item16>>::Tx,
    ask: Option<crossbeam_channel::Sender<()>>,
    answer: crossbeam_channel::Receiver<Tally>,
    consumer: Option<thread::JoinHandle<()>>,
    items: u64,
}

impl Theirs {
    fn new(items: u64) -> Self {
        let (mut txs, mut rx) = OwnShard::<ParkingLot<Item16>>::open(1);
        let (ask, asked) = crossbeam_channel::bounded(1);
        let (reply, answer) = crossbeam_channel::bounded(1);
        let consumer = thread::spawn(move || {
            for () in asked {
                let mut tally = Tally::default();
                rx.pull(&mut tally);
                if reply.send(tally).is_err() {
                    break;
                }
            }
        });
        Self {
            tx: txs.pop().expect("one was asked for"),
            ask: Some(ask),
            answer,
            consumer: Some(consumer),
            items,
        }
    }
}

impl Side for Theirs {
    fn slice(&mut self, n: u64) -> (Slice, u64) {
        let ask = self.ask.as_ref().expect("not dropped");
        let mut time = 0;
        for _ in 0..n {
            for number in 0..self.items {
                self.tx.push(Item16::make(number));
            }
            let from = now();
            ask.send(()).expect("the consumer runs");
            let tally = self.answer.recv().expect("the consumer runs");
            time += now() - from;
            tally.check::<Item16>(0..self.items, "own-mutex-parking_lot");
        }
        (Slice::between(0, time), n)
    }

    fn most(&self) -> u64 {
        MOST
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        drop(self.ask.take());
        if let Some(consumer) = self.consumer.take() {
            consumer.join().expect("no panic");
        }
    }
}
