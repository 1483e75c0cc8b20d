//! What the models run: thin handles on the private parts of the queue.
//!
//! The flusher's task is not among them, since it has a clock and a runtime. Models play its
//! part with its collector and its list of requests, in the order in which it uses them.

use std::future::Future;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::batch::{Batch, Content, Reason, Ticket};
use crate::capacity::Shape;
use crate::capacity::credits;
use crate::error::PushError;
use crate::flusher::request::{Flushed, Requests};
use crate::flusher::{Core, Shared};
use crate::map::entry::{Entries, Entry};
use crate::map::store::Traits;
use crate::queue::barrier::Barrier;
use crate::queue::collect::Collector;
use crate::queue::lane::{self, LaneReader, LaneWriter};
use crate::queue::store::Partitions;
use crate::queue::threads;
use crate::settings::Config;
use crate::source::{Collect, Cuts, Source};
use crate::stats::Counters;
use crate::sync::{Arc, Notify};

pub(crate) use crate::queue::threads::Index;
pub(crate) use crate::source::Parked;

/// A lane that is nobody's, where pushes run no fence of any kind.
pub(crate) fn lane<T>() -> (Writer<T>, Reader<T>) {
    #[cfg(all(test, swaplane_loom))]
    crate::sync::set_expedited(false);
    let (writer, reader) = lane::lane(0);
    (Writer(writer), Reader(reader))
}

/// Has credit without end.
pub(crate) struct Writer<T>(LaneWriter<T>);

impl<T> Writer<T> {
    pub(crate) fn push(&self, item: T) {
        self.0.push(item, (), |item| {
            let _signals = self.0.enter();
            if !self.0.has_credit() {
                self.0.add_credits(usize::MAX / 2);
            }
            self.0.write(item);
            self.0.exit();
        });
    }
}

pub(crate) struct Reader<T>(LaneReader<T>);

impl<T> Reader<T> {
    pub(crate) fn take(&mut self, max: usize) -> Vec<T> {
        let mut items = Vec::new();
        self.0.take(max, &mut items);
        items
    }

    pub(crate) fn sweep(&mut self) {
        self.0.sweep();
    }

    /// Which of the two buffers is the active one.
    pub(crate) fn active(&self) -> usize {
        self.0.active()
    }
}

/// How pushes and the flusher order what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fences {
    /// A fence in each push.
    Each,
    /// `membarrier(2)`, or what stands for it under loom. `Each` where it is not to be had.
    Expedited,
    /// No fence in any push, which is what its other orderings have to make do with.
    None,
}

impl Fences {
    fn barrier(self) -> Barrier {
        match self {
            Self::Each => Barrier::Fence,
            #[cfg(all(test, swaplane_loom))]
            Self::Expedited | Self::None => Barrier::Membarrier,
            #[cfg(not(all(test, swaplane_loom)))]
            Self::Expedited | Self::None => Barrier::new(),
        }
    }
}

/// A queue with one partition, without its flusher.
pub(crate) struct Queue<T: Send + 'static>(Arc<Shared<Partitions<T>>>);

impl<T: Send + 'static> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Send + 'static> Queue<T> {
    pub(crate) fn new(capacity: usize, max_batch_size: usize, fences: Fences) -> Self {
        let queue = Self(Arc::new(Shared {
            source: Arc::new(Partitions::new(Shape {
                partitions: 1,
                workers: 1,
                capacity,
                max_batch_size,
                barrier: fences.barrier(),
            })),
            counters: Counters::default(),
            requests: Requests::new(),
            config: Config::default(),
        }));
        #[cfg(all(test, swaplane_loom))]
        crate::sync::set_expedited(fences == Fences::Expedited);
        queue
    }

    pub(crate) fn flusher(&self) -> Flusher<T> {
        Flusher {
            collector: Collector::new(self.0.source.clone()),
            queue: self.clone(),
        }
    }

    pub(crate) fn lane(&self) -> OwnLane<T> {
        let (lane, home) = self.0.source.writer();
        OwnLane { lane, home }
    }

    /// As a thread does that has this number.
    pub(crate) fn push_as(&self, me: &Index, item: T) -> Result<(), PushError<T>> {
        let partitions = &self.0.source;
        let lane = partitions.lane_of(me).expect("the table has room");
        lane.push(item, Ok(()), |item| {
            partitions.push_into(lane, 0, item, false)
        })
    }

    pub(crate) fn push_shared(&self, item: T) -> Result<(), PushError<T>> {
        self.0.source.push_shared(0, item)
    }

    /// As a thread does that is being torn down.
    pub(crate) fn push_late(&self, item: T) -> Result<(), PushError<T>> {
        self.0.source.push_late(0, item, false)
    }

    pub(crate) fn reserve(&self) -> impl Future<Output = bool> {
        self.0.source.gate.reserve()
    }

    pub(crate) fn close(&self) -> bool {
        self.0.close()
    }

    pub(crate) fn flush(&self) -> Option<Answer> {
        self.0.requests.flush().map(Answer)
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.0.source.intake().accepted
    }

    pub(crate) fn give_back(&self, n: usize) {
        self.0.source.gate.credits.give_back(n);
    }

    pub(crate) fn free(&self) -> usize {
        self.0.source.gate.credits.free()
    }

    /// Whether the flusher has been rung for since the last time.
    pub(crate) fn rung(&self) -> bool {
        was_rung(&self.0.source.gate.bell)
    }
}

fn was_rung(bell: &Notify) -> bool {
    let rung = pin!(bell.notified());
    rung.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
}

/// To a flush.
pub(crate) struct Answer(oneshot::Receiver<Flushed>);

impl Answer {
    /// Whether there is one, or will never be any.
    pub(crate) fn is_known(&mut self) -> bool {
        self.0.try_recv() != Err(TryRecvError::Empty)
    }
}

/// What a `Writer` has.
pub(crate) struct OwnLane<T> {
    lane: LaneWriter<T>,
    home: usize,
}

impl<T: Send + 'static> OwnLane<T> {
    pub(crate) fn push(&self, queue: &Queue<T>, item: T) -> Result<(), PushError<T>> {
        let partitions = &queue.0.source;
        self.lane.push(item, Ok(()), |item| {
            partitions.push_into(&self.lane, self.home, item, false)
        })
    }

    /// With a credit that was reserved.
    pub(crate) fn push_prepaid(&self, queue: &Queue<T>, item: T) -> Result<(), PushError<T>> {
        let partitions = &queue.0.source;
        partitions.push_into(&self.lane, self.home, item, true)
    }

    /// Runs `f` in a slow push, where an allocator would run, and then pushes `item` if the
    /// lane was open before.
    pub(crate) fn push_around(&self, item: T, f: impl FnOnce()) -> bool {
        let signals = self.lane.enter().expect("not inside");
        let open = !signals.closed();
        if open {
            f();
            if !self.lane.has_credit() {
                self.lane.add_credits(1);
            }
            self.lane.write(item);
        }
        self.lane.exit();
        open
    }

    pub(crate) fn retire(self, queue: &Queue<T>) {
        queue.0.source.retire(&self.lane, self.home);
    }
}

pub(crate) struct Flusher<T: Send + 'static> {
    collector: Collector<T>,
    queue: Queue<T>,
}

impl<T: Send + 'static> Flusher<T> {
    /// How many flushes were asked for, and whether the queue is closed.
    pub(crate) fn hear(&self) -> (usize, bool) {
        let heard = self.queue.0.requests.hear();
        (heard.flushes.len(), heard.closed)
    }

    pub(crate) fn end(&self) {
        let core = Core::new(&self.queue.0.source);
        self.queue.0.requests.end(core);
    }

    /// As for a batch: the late items too, if there are any, and then everything.
    pub(crate) fn cut(&mut self, max: usize) -> Vec<T> {
        if self.collector.has_late(0) {
            return self.collect_all();
        }
        let mut items = Vec::new();
        self.collector.collect(0, max, &mut items);
        items
    }

    pub(crate) fn collect_all(&mut self) -> Vec<T> {
        let mut items = Cuts::new(usize::MAX, Vec::new());
        self.collector.collect_all(0, &mut items);
        items.into_one()
    }

    pub(crate) fn available(&mut self) -> usize {
        self.collector.available(0)
    }

    pub(crate) fn is_busy(&mut self) -> bool {
        self.collector.is_busy()
    }

    pub(crate) fn bury(&mut self) {
        self.collector.bury();
    }

    pub(crate) fn park(&mut self) -> Parked {
        self.collector.park(|_| true)
    }

    pub(crate) fn unpark(&mut self) {
        self.collector.unpark();
    }

    /// Wants to be rung for when a batch is full; whether it seems so already.
    pub(crate) fn want(&self) -> bool {
        self.queue.0.source.gate.want(0, 0, 0)
    }

    /// The same for two batches.
    pub(crate) fn want_two(&self) -> bool {
        self.queue.0.source.gate.want(0, 1, 0)
    }

    pub(crate) fn is_pressed(&self) -> bool {
        self.queue.0.source.gate.is_pressed()
    }

    pub(crate) fn relieve(&self) {
        self.queue.0.source.gate.relieve();
    }

    pub(crate) fn rung(&self) -> bool {
        self.queue.rung()
    }
}

pub(crate) struct Numbers(threads::Numbers);

impl Numbers {
    pub(crate) fn new() -> Self {
        Self(threads::Numbers::new())
    }

    pub(crate) fn claim(&self) -> Index {
        self.0.claim()
    }

    pub(crate) fn give_back(&self, index: Index) {
        self.0.give_back(index);
    }
}

pub(crate) struct Credits(credits::Credits);

impl Credits {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(credits::Credits::new(capacity))
    }

    pub(crate) fn lease(&self, want: usize, spent: usize) -> usize {
        self.0.lease(want, spent)
    }

    pub(crate) fn no_longer_idle(&self, n: usize) {
        self.0.no_longer_idle(n);
    }

    pub(crate) fn give_back(&self, n: usize) {
        self.0.give_back(n);
    }

    pub(crate) fn free(&self) -> usize {
        self.0.free()
    }
}

/// Where batches come home to, with the bell that they ring.
pub(crate) struct Home<T> {
    home: Arc<crate::batch::Home<T>>,
    bell: Arc<Notify>,
}

fn ticket(attempt: u32) -> Ticket {
    Ticket { id: 1, attempt }
}

impl<T> Home<T> {
    pub(crate) fn new() -> Self {
        let bell = Arc::new(Notify::new());
        Self {
            home: crate::batch::Home::new(usize::MAX, bell.clone()),
            bell,
        }
    }

    pub(crate) fn lend(&self, items: Vec<T>, attempt: u32) -> Batch<T> {
        let batch = Batch::new(items, ticket(attempt), Reason::Size);
        crate::batch::Home::lend(&self.home, batch, std::iter::empty())
    }

    /// The batches are attempts 1, 2, and so on.
    pub(crate) fn lend_run<const N: usize>(&self, batches: [Vec<T>; N]) -> Batch<T> {
        let mut batches = (1..)
            .zip(batches)
            .map(|(attempt, items)| Batch::new(items, ticket(attempt), Reason::Size));
        let first = batches.next().expect("there is one");
        crate::batch::Home::lend(&self.home, first, batches)
    }

    /// The items that came home.
    pub(crate) fn collect(&self) -> Option<Vec<T>> {
        match self.home.collect() {
            Content::Back(items) => Some(items),
            Content::Out | Content::Taken => None,
        }
    }

    pub(crate) fn is_out(&self) -> bool {
        self.home.is_out()
    }

    pub(crate) fn give_up(&self) {
        self.home.give_up();
    }

    pub(crate) fn settle(&self, attempt: u32) -> Option<Batch<T>> {
        crate::batch::Home::settle(&self.home, ticket(attempt), true)
    }

    /// How many batches were followed, and those that will not follow.
    pub(crate) fn revoke(&self) -> (usize, Vec<Vec<T>>) {
        let (followed, rest) = self.home.revoke();
        (followed, rest.into_iter().map(Batch::unpack).collect())
    }

    pub(crate) fn followed(&self) -> (usize, bool) {
        self.home.followed()
    }

    pub(crate) fn pause(&self) {
        self.home.pause();
    }

    pub(crate) fn rung(&self) -> bool {
        was_rung(&self.bell)
    }
}

/// A map with one partition of one shard, without its flusher.
pub(crate) type Map = crate::map::Map<u32, u32, BuildHasherDefault<DefaultHasher>>;

type Table = crate::map::store::Table<u32, u32, BuildHasherDefault<DefaultHasher>, Entries>;

/// What a model wants of a map.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MapTraits {
    pub(crate) remember_versions: usize,
    pub(crate) read_in_flight: bool,
}

pub(crate) fn map(traits: MapTraits) -> (Map, MapFlusher) {
    let shape = Shape {
        partitions: 1,
        workers: 1,
        // Few under loom, where leases grow with them.
        capacity: if cfg!(all(test, swaplane_loom)) {
            64
        } else {
            1 << 20
        },
        max_batch_size: if cfg!(all(test, swaplane_loom)) {
            64
        } else {
            512
        },
        barrier: Barrier::Fence,
    };
    let copy: fn(&u32) -> u32 = |value| *value;
    let table = Table::new(
        shape,
        Traits {
            // A `DashMap` has two at least; its twin can do with one.
            shards: if cfg!(all(test, swaplane_loom)) { 1 } else { 2 },
            hasher: BuildHasherDefault::default(),
            remember_versions: traits.remember_versions,
            copy: traits.read_in_flight.then_some(copy),
        },
    );
    let shared = Arc::new(Shared {
        source: Arc::new(table),
        counters: Counters::default(),
        requests: Requests::new(),
        config: Config::default(),
    });
    let flusher = MapFlusher {
        collector: Table::collector(&shared.source),
        shared: shared.clone(),
    };
    (Map::new(shared), flusher)
}

pub(crate) struct MapFlusher {
    collector: <Table as Source>::Collector,
    shared: Arc<Shared<Table>>,
}

impl MapFlusher {
    /// What can be collected now.
    pub(crate) fn collect(&mut self) -> Vec<Entry<u32, u32>> {
        let mut entries = Cuts::new(usize::MAX, Vec::new());
        self.collector.collect_all(0, &mut entries);
        entries.into_one()
    }

    /// The first `n` of what was collected and not terminal is.
    pub(crate) fn settle(&mut self, n: usize) {
        self.collector.settle(0, n);
    }

    pub(crate) fn park(&mut self) -> Parked {
        self.collector.park(|_| true)
    }

    pub(crate) fn rung(&self) -> bool {
        was_rung(&self.shared.source.gate().bell)
    }
}
