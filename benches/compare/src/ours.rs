//! Our own side.

use std::{sync::Arc, thread, time::Duration};

use swaplane::{PushError, Queue, Writer};

use crate::{
    crew::Crew,
    item::Item,
    pair::{BoxSide, Side, Slice},
    peers::{BOUND, Order, Push, most, mutex::KEYS, produce},
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

/// Pushes under keys that take turns.
pub struct ByKey<T: Send + 'static> {
    queue: Queue<T>,
    keys: &'static [u64; KEYS],
    at: usize,
}

impl<T: Item> Push<T> for ByKey<T> {
    #[inline(always)]
    fn push(&mut self, item: T) {
        self.at = (self.at + 1) % KEYS;
        let key = &self.keys[self.at];
        if let Err(refused) = self.queue.push_keyed(key, item) {
            again(refused.into_inner(), |item| {
                self.queue.push_keyed(key, item)
            });
        }
    }
}

/// Sleeps until there is room, rather than trying again.
pub struct Reserving<T: Send + 'static>(Writer<T>);

impl<T: Item> Push<T> for Reserving<T> {
    #[inline(always)]
    fn push(&mut self, item: T) {
        if let Err(refused) = self.0.push(item) {
            self.wait(refused.into_inner());
        }
    }
}

impl<T: Item> Reserving<T> {
    /// A permit is for the lane of the thread, not for the writer's: so it only tells when there
    /// is room.
    #[cold]
    fn wait(&mut self, item: T) {
        let mut item = Some(item);
        while let Some(refused) = item.take() {
            drop(self.0.queue().reserve_blocking().expect("open"));
            item = self.0.push(refused).err().map(PushError::into_inner);
        }
    }
}

/// How the producers push.
#[derive(Clone, Copy)]
pub enum Way {
    Writer,
    Queue,
    Reserving,
    Keyed(&'static [u64; KEYS]),
}

impl Way {
    pub const PLAIN: [Self; 2] = [Self::Writer, Self::Queue];

    pub fn name(self) -> &'static str {
        match self {
            Self::Writer | Self::Reserving => "Writer::push",
            Self::Queue => "Queue::push",
            Self::Keyed(_) => "Queue::push_keyed",
        }
    }

    pub fn short(self) -> &'static str {
        match self {
            Self::Writer | Self::Reserving => "writer",
            Self::Queue => "queue",
            Self::Keyed(_) => "keyed",
        }
    }

    /// The job of a producer, with its push compiled in.
    fn job<T: Item>(self, queue: &Queue<T>, order: Arc<Order>, number: usize, of: usize) -> Job {
        fn job<T: Item>(order: Arc<Order>, number: usize, mut push: impl Push<T>) -> Job {
            produce(order, number, move |item| push.push(item))
        }
        match self {
            Self::Writer => job(order, number, queue.writer()),
            Self::Queue => job(order, number, queue.clone()),
            Self::Reserving => job(order, number, Reserving(queue.writer())),
            Self::Keyed(keys) => {
                let (queue, at) = (queue.clone(), number * (KEYS / of));
                job(order, number, ByKey { queue, keys, at })
            }
        }
    }
}

type Job = Box<dyn FnMut() + Send>;

/// How a queue is set up.
#[derive(Clone, Copy)]
pub struct Setting {
    pub way: Way,
    pub delay: Duration,
    pub capacity: usize,
    pub partitions: Option<usize>,
}

impl Setting {
    /// Those that a user would choose among for throughput.
    pub fn choices(way: Way) -> Vec<Self> {
        let delays = [Duration::ZERO, Duration::from_millis(1)];
        let settings = delays.map(|delay| {
            [ENOUGH, BOUND].map(|capacity| Self {
                way,
                delay,
                capacity,
                partitions: None,
            })
        });
        settings.concat()
    }

    fn describe(&self) -> String {
        let mut text = format!("max_delay {:?}", self.delay);
        if self.capacity != ENOUGH {
            text += &format!(", capacity {}", self.capacity);
            text += match self.way {
                Way::Reserving => ", waits when full",
                _ => ", yields when full",
            };
        }
        if let Some(partitions) = self.partitions {
            text += &format!(", partitions {partitions}");
        }
        text
    }
}

/// A queue in use: producers in threads of their own, the flusher in its own.
pub struct Buffered<T: Item> {
    crew: Crew,
    order: Arc<Order>,
    queue: Queue<T>,
    sink: SumSink,
    producers: usize,
    setting: Setting,
}

impl<T: Item> Buffered<T> {
    pub fn ways(producers: usize, settings: &[Setting]) -> Vec<BoxSide> {
        let new = |&setting| Box::new(Self::new(producers, setting)) as _;
        settings.iter().map(new).collect()
    }

    fn new(producers: usize, setting: Setting) -> Self {
        let sink = SumSink::default();
        let mut builder = Queue::builder()
            .own_thread()
            .capacity(setting.capacity)
            .max_batch_size(BATCH)
            .max_delay(setting.delay);
        if let Some(partitions) = setting.partitions {
            builder = builder.partitions(partitions);
        }
        let queue = builder.spawn(sink.clone()).expect("valid");
        let order = Arc::new(Order::default());
        let jobs = (0..producers).map(|number| {
            setting
                .way
                .job(&queue, Arc::clone(&order), number, producers)
        });
        Self {
            crew: Crew::new(jobs.collect()),
            order,
            queue,
            sink,
            producers,
            setting,
        }
    }
}

impl<T: Item> Side for Buffered<T> {
    fn setting(&self) -> String {
        self.setting.describe()
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
