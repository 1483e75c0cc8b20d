//! Our own side.

use std::{sync::Arc, time::Duration};

use swaplane::{Queue, Writer};

use crate::{
    crew::Crew,
    item::Item,
    pair::{BoxSide, Side, Slice},
    peers::{Order, Push, most, produce},
    tally::{BATCH, SumSink},
};

/// More than any slice holds.
pub const ENOUGH: usize = 1 << 24;

impl<T: Item> Push<T> for Writer<T> {
    #[inline(always)]
    fn push(&mut self, item: T) {
        assert!(Writer::push(self, item).is_ok(), "there is room");
    }
}

impl<T: Item> Push<T> for Queue<T> {
    #[inline(always)]
    fn push(&mut self, item: T) {
        assert!(Queue::push(self, item).is_ok(), "there is room");
    }
}

/// How the producers push.
#[derive(Clone, Copy, PartialEq)]
pub enum Way {
    Writer,
    Queue,
}

impl Way {
    pub const ALL: [Self; 2] = [Self::Writer, Self::Queue];

    pub fn name(self) -> &'static str {
        match self {
            Self::Writer => "Writer::push",
            Self::Queue => "Queue::push",
        }
    }

    pub fn short(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Queue => "queue",
        }
    }
}

/// A queue in use: producers in threads of their own, the flusher in its own.
pub struct Buffered<T: Item> {
    crew: Crew,
    order: Arc<Order>,
    queue: Queue<T>,
    sink: SumSink,
    producers: usize,
    delay: Duration,
}

impl<T: Item> Buffered<T> {
    /// With each delay that a user would choose for throughput.
    pub fn ways(producers: usize, way: Way) -> Vec<BoxSide> {
        let delays = [Duration::ZERO, Duration::from_millis(1)];
        let new = |delay| Box::new(Self::new(producers, way, delay)) as BoxSide;
        delays.map(new).into()
    }

    fn new(producers: usize, way: Way, delay: Duration) -> Self {
        let sink = SumSink::default();
        let queue = Queue::builder()
            .own_thread()
            .capacity(ENOUGH)
            .max_batch_size(BATCH)
            .max_delay(delay)
            .spawn(sink.clone())
            .expect("valid");
        let order = Arc::new(Order::default());
        let jobs = (0..producers).map(|producer| {
            let order = Arc::clone(&order);
            match way {
                Way::Writer => {
                    let mut writer = queue.writer();
                    produce(order, producer, move |item| Push::push(&mut writer, item))
                }
                Way::Queue => {
                    let mut queue = queue.clone();
                    produce(order, producer, move |item| Push::push(&mut queue, item))
                }
            }
        });
        Self {
            crew: Crew::new(jobs.collect()),
            order,
            queue,
            sink,
            producers,
            delay,
        }
    }
}

impl<T: Item> Side for Buffered<T> {
    fn setting(&self) -> String {
        format!("max_delay {:?}", self.delay)
    }

    fn slice(&mut self, n: u64) -> (Slice, u64) {
        let each = (n / self.producers as u64).max(1);
        let numbers = self.order.next(each, self.producers);
        let n = numbers.end - numbers.start;
        self.sink.expect(n);
        self.crew.start();
        self.crew.wait();
        self.queue.flush_blocking().expect("the sink never fails");
        self.sink.tally().check::<T>(numbers, "swaplane");
        (Slice::between(self.crew.started(), self.sink.last()), n)
    }

    fn most(&self) -> u64 {
        most::<T>()
    }
}
