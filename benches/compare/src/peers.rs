//! The peers: other ways to get items from many threads to one that takes batches.

pub mod bounded;
pub mod channels;
pub mod domain;
pub mod mutex;
pub mod queues;
pub mod rings;

use std::{
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use crate::{
    crew::Crew,
    item::Item,
    pair::{BoxSide, Side, Slice},
    tally::{Tally, now},
};

/// What a peer with a bound can hold, for each of its queues.
pub const BOUND: usize = 1 << 16;

/// The end of a producer.
pub trait Push<T>: Send + 'static {
    fn push(&mut self, item: T);
}

/// The end of the consumer.
pub trait Pull<T>: 'static {
    /// Takes what is there, in batches; blocks until there is something unless the pipe is
    /// [`POLLED`](Pipe::POLLED).
    fn pull(&mut self, tally: &mut Tally);
}

pub trait Pipe<T>: 'static {
    const NAME: &'static str;
    /// Where it does not do quite the same.
    const NOTE: &'static str = "";
    /// The consumer cannot wait for items, only look for them.
    const POLLED: bool;
    type Tx: Push<T>;
    type Rx: Pull<T>;

    fn open(producers: usize) -> (Vec<Self::Tx>, Self::Rx);
}

/// What the consumer of a polled pipe does when it finds nothing.
#[derive(Clone, Copy, PartialEq)]
enum Idle {
    Yield,
    /// As a periodic flush does.
    Sleep,
}

const NAP: Duration = Duration::from_millis(1);

/// A pipe in use: producers in threads of their own, the consumer in the calling one.
pub struct Piped<T, P: Pipe<T>> {
    crew: Crew,
    order: Arc<Order>,
    rx: P::Rx,
    producers: usize,
    idle: Idle,
    item: PhantomData<fn(T)>,
}

/// What the producers are to push: `each` items, whose numbers begin at `first`.
#[derive(Default)]
pub struct Order {
    first: AtomicU64,
    each: AtomicU64,
}

impl Order {
    /// Numbers that no slice before has had. The crew, which is started after this, sees it.
    pub fn next(&self, each: u64, producers: usize) -> std::ops::Range<u64> {
        let last = self.each.swap(each, Relaxed) * producers as u64;
        let first = self.first.load(Relaxed).wrapping_add(last);
        self.first.store(first, Relaxed);
        first..first + each * producers as u64
    }

    /// The numbers of one producer.
    pub fn of(&self, producer: usize) -> std::ops::Range<u64> {
        let each = self.each.load(Relaxed);
        let first = self.first.load(Relaxed) + each * producer as u64;
        first..first + each
    }
}

/// The job of a producer.
pub fn produce<T: Item>(
    order: Arc<Order>,
    producer: usize,
    mut push: impl FnMut(T) + Send + 'static,
) -> Box<dyn FnMut() + Send> {
    Box::new(move || {
        for number in order.of(producer) {
            push(T::make(number));
        }
    })
}

impl<T: Item, P: Pipe<T>> Piped<T, P> {
    /// In every way in which it makes sense.
    pub fn ways(producers: usize) -> Vec<BoxSide> {
        let idle: &[Idle] = if P::POLLED {
            &[Idle::Yield, Idle::Sleep]
        } else {
            &[Idle::Yield]
        };
        let new = |&idle| Box::new(Self::new(producers, idle)) as BoxSide;
        idle.iter().map(new).collect()
    }

    fn new(producers: usize, idle: Idle) -> Self {
        let order = Arc::new(Order::default());
        let (txs, rx) = P::open(producers);
        let jobs = txs.into_iter().enumerate().map(|(producer, mut tx)| {
            produce(Arc::clone(&order), producer, move |item| tx.push(item))
        });
        Self {
            crew: Crew::new(jobs.collect()),
            order,
            rx,
            producers,
            idle,
            item: PhantomData,
        }
    }
}

impl<T: Item, P: Pipe<T>> Side for Piped<T, P> {
    fn setting(&self) -> String {
        match self.idle {
            _ if !P::POLLED => "",
            Idle::Yield => "polled, yields",
            Idle::Sleep => "polled every 1 ms",
        }
        .to_owned()
    }

    fn slice(&mut self, n: u64) -> (Slice, u64) {
        let each = (n / self.producers as u64).max(1);
        let numbers = self.order.next(each, self.producers);
        let n = numbers.end - numbers.start;
        let mut tally = Tally::default();
        self.crew.start();
        while tally.count < n {
            let before = tally.count;
            self.rx.pull(&mut tally);
            if P::POLLED && tally.count == before {
                // The last producer unparks us: nobody naps at the end.
                match self.idle {
                    Idle::Sleep if !self.crew.is_done() => thread::park_timeout(NAP),
                    _ => thread::yield_now(),
                }
            }
        }
        let until = now();
        self.crew.wait();
        tally.check::<T>(numbers, P::NAME);
        (Slice::between(self.crew.started(), until), n)
    }

    fn most(&self) -> u64 {
        most::<T>()
    }
}

/// Items that fit into 64 MiB.
pub fn most<T>() -> u64 {
    (64 << 20) / size_of::<T>() as u64
}
