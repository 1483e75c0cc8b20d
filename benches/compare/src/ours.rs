//! Our own side.

use std::{sync::Arc, thread, time::Duration};

use swaplane::{PushError, Queue, Writer};

use crate::{
    crew::Crew,
    item::Item,
    pair::{BoxSide, Side, Slice},
    peers::{BOUND, Order, Push, most, produce},
    tally::{BATCH, SumSink},
};

/// More than any slice holds.
pub const ENOUGH: usize = 1 << 24;

impl<T: Item> Push<T> for Writer<T> {
    #[inline(always)]
    fn push(&mut self, item: T) {
        let pushed = Writer::push(self, item);
        if let Err(refused) = pushed {
            again(refused.into_inner(), |item| Writer::push(self, item));
        }
    }
}

impl<T: Item> Push<T> for Queue<T> {
    #[inline(always)]
    fn push(&mut self, item: T) {
        let pushed = Queue::push(self, item);
        if let Err(refused) = pushed {
            again(refused.into_inner(), |item| Queue::push(self, item));
        }
    }
}

/// What the peers do when they are full.
#[cold]
fn again<T>(mut item: T, mut push: impl FnMut(T) -> Result<(), PushError<T>>) {
    loop {
        thread::yield_now();
        match push(item) {
            Ok(()) => return,
            Err(refused) => item = refused.into_inner(),
        }
    }
}

/// A bounded buffer, as one would have it in front of a sink that is slower than the producers:
/// what is held stays in the cache.
const BOUNDED: usize = BOUND;

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
    setting: String,
}

impl<T: Item> Buffered<T> {
    /// With each setting that a user would choose for throughput.
    pub fn ways(producers: usize, way: Way) -> Vec<BoxSide> {
        let delays = [Duration::ZERO, Duration::from_millis(1)];
        let settings = delays.map(|delay| [(delay, ENOUGH), (delay, BOUNDED)]);
        let new = |(delay, capacity)| Box::new(Self::new(producers, way, delay, capacity)) as _;
        settings.into_iter().flatten().map(new).collect()
    }

    pub fn new(producers: usize, way: Way, delay: Duration, capacity: usize) -> Self {
        let sink = SumSink::default();
        let queue = Queue::builder()
            .own_thread()
            .capacity(capacity)
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
            setting: setting(delay, capacity),
        }
    }
}

impl<T: Item> Side for Buffered<T> {
    fn setting(&self) -> String {
        self.setting.clone()
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

fn setting(delay: Duration, capacity: usize) -> String {
    match capacity {
        ENOUGH => format!("max_delay {delay:?}"),
        _ => format!("max_delay {delay:?}, capacity {capacity}, yields when full"),
    }
}
