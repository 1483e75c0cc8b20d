//! What the models run: thin handles on the private parts of a queue and of a map.
//!
//! The flusher's task is not among them, since it has a clock and a runtime. Models play its part
//! with its collector and its list of requests, in the order in which it uses them.

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::support::yield_now;
use crate::batch::{Batch, Content, Reason, Ticket};
use crate::capacity::Shape;
use crate::error::PushError;
use crate::flusher::request::{Flushed, Requests};
use crate::flusher::{Core, Shared, SharedOf};
use crate::map::entry::Entry;
use crate::map::store::MapOptions;
use crate::queue::barrier::Barrier;
use crate::queue::collect::Collector;
use crate::queue::lane::{self, LaneReader, LaneWriter};
use crate::queue::store::{Credit, Store};
use crate::queue::threads::ThreadIndex;
use crate::settings::Settings;
use crate::source::{Admission, BatchFiller, Collect, Parked, Source};
use crate::stats::Counters;
use crate::sync::{Arc, Notify};

fn was_woken(wakeup: &Notify) -> bool {
    let woken = pin!(wakeup.notified());
    woken.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
}

/// A lane that belongs to no queue, where pushes run no fence of any kind.
pub(crate) fn lane<T>() -> (Writer<T>, Reader<T>) {
    #[cfg(swaplane_loom)]
    crate::sync::set_expedited(false);
    let (writer, reader) = lane::lane(0);
    (Writer(writer), Reader(reader))
}

/// Has credit without end.
pub(crate) struct Writer<T>(LaneWriter<T>);

impl<T> Writer<T> {
    pub(crate) fn push(&self, item: T) {
        self.0.push(item, (), |item| {
            let _flags = self.0.begin_slow();
            if !self.0.has_credit() {
                self.0.add_credits(usize::MAX / 2);
            }
            self.0.write(item);
            self.0.end_slow();
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
    /// `membarrier(2)`, or what stands for it under loom. `Each` where the system has none.
    Expedited,
    /// No fence in any push: its other orderings have to do.
    None,
}

impl Fences {
    fn barrier(self) -> Barrier {
        match self {
            Self::Each => Barrier::Fence,
            #[cfg(swaplane_loom)]
            Self::Expedited | Self::None => Barrier::Membarrier,
            #[cfg(not(swaplane_loom))]
            Self::Expedited | Self::None => Barrier::new(),
        }
    }
}

/// A queue with one partition, without its flusher.
pub(crate) struct Queue<T: Send + 'static>(Arc<SharedOf<Store<T>>>);

impl<T: Send + 'static> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Send + 'static> Queue<T> {
    pub(crate) fn new(capacity: usize, max_batch_size: usize, fences: Fences) -> Self {
        let shape = Shape {
            partitions: 1,
            workers: 1,
            capacity,
            max_batch_size,
        };
        let queue = Self(Arc::new(Shared {
            source: Arc::new(Store::new(shape, fences.barrier())),
            counters: Counters::default(),
            requests: Requests::new(),
            settings: Settings::default(),
        }));
        #[cfg(swaplane_loom)]
        crate::sync::set_expedited(fences == Fences::Expedited);
        queue
    }

    fn store(&self) -> &Store<T> {
        &self.0.source
    }

    pub(crate) fn flusher(&self) -> Flusher<T> {
        Flusher {
            collector: Collector::new(self.0.source.clone()),
            queue: self.clone(),
        }
    }

    pub(crate) fn lane(&self) -> OwnLane<T> {
        let (lane, partition) = self.store().writer();
        OwnLane { lane, partition }
    }

    /// As a thread does that has this index.
    pub(crate) fn push_as(&self, me: &ThreadIndex, item: T) -> Result<(), PushError<T>> {
        let lane = self.store().lane_of(me).expect("the table has room");
        lane.push(item, Ok(()), |item| {
            self.store().push_slow(lane, 0, item, Credit::Lease)
        })
    }

    pub(crate) fn push_shared(&self, item: T) -> Result<(), PushError<T>> {
        self.store().push_shared(0, item)
    }

    /// As a thread does that is being torn down.
    pub(crate) fn push_fallback(&self, item: T) -> Result<(), PushError<T>> {
        self.store().push_fallback(0, item, Credit::Lease)
    }

    pub(crate) fn reserve(&self) -> impl Future<Output = bool> {
        self.store().capacity.reserve()
    }

    pub(crate) fn close(&self) -> bool {
        self.0.close()
    }

    /// As `shutdown` does, whose deadline plays no part here.
    pub(crate) fn shut_down(&self) {
        self.0.shutdown(std::time::Duration::ZERO);
    }

    pub(crate) fn flush(&self) -> Option<Answer> {
        self.0.requests.flush().map(Answer)
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.0.source.intake().accepted
    }

    pub(crate) fn give_back(&self, n: usize) {
        self.store().capacity.credits.give_back(n);
    }

    pub(crate) fn stats(&self) -> crate::stats::Stats {
        self.0.stats()
    }

    /// As the flusher does with `n` items that it delivered.
    pub(crate) fn deliver(&self, n: usize) {
        self.0.counters.delivered.add(n);
        self.give_back(n);
    }

    pub(crate) fn free(&self) -> usize {
        self.store().capacity.credits.free()
    }

    /// What the reports say of how many items wait: nothing, once nothing is held and no lane
    /// has a lease.
    pub(crate) fn backlog(&self) -> isize {
        self.store().capacity.backlog(0)
    }

    /// Whether the flusher was woken since this was last asked.
    pub(crate) fn was_woken(&self) -> bool {
        was_woken(&self.store().capacity.wakeup)
    }
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
    partition: usize,
}

impl<T: Send + 'static> OwnLane<T> {
    pub(crate) fn push(&self, queue: &Queue<T>, item: T) -> Result<(), PushError<T>> {
        self.lane.push(item, Ok(()), |item| {
            let store = queue.store();
            store.push_slow(&self.lane, self.partition, item, Credit::Lease)
        })
    }

    /// With a credit that was reserved.
    pub(crate) fn push_prepaid(&self, queue: &Queue<T>, item: T) -> Result<(), PushError<T>> {
        let store = queue.store();
        store.push_slow(&self.lane, self.partition, item, Credit::Prepaid)
    }

    /// Runs `f` in a slow push, where an allocator would run, and then pushes `item`, if the lane
    /// was open before.
    pub(crate) fn push_around(&self, queue: &Queue<T>, item: T, f: impl FnOnce()) -> bool {
        let flags = self.lane.begin_slow().expect("no slow push is under way");
        let open = !flags.closed();
        if open {
            f();
            let lacks_credit = !self.lane.has_credit();
            if lacks_credit {
                self.lane.add_credits(1);
            }
            self.lane.write(item);
            if lacks_credit {
                queue.store().capacity.report(self.partition, 1);
            }
        }
        self.lane.end_slow();
        open
    }

    pub(crate) fn retire(self, queue: &Queue<T>) {
        queue.store().retire(&self.lane, self.partition);
    }
}

/// The flusher's part.
pub(crate) struct Flusher<T: Send + 'static> {
    collector: Collector<T>,
    queue: Queue<T>,
}

impl<T: Send + 'static> Flusher<T> {
    /// How many flushes were asked for, and whether the queue is closed.
    pub(crate) fn take_requests(&self) -> (usize, bool) {
        let heard = self.queue.0.requests.hear();
        (heard.flushes.len(), heard.closed)
    }

    pub(crate) fn end(&self) {
        let core = Core::new(&self.queue.0.source);
        self.queue.0.requests.end(core);
    }

    /// As for a batch: up to `max` items, or everything if the fallback list holds any.
    pub(crate) fn collect(&mut self, max: usize) -> Vec<T> {
        if self.collector.has_fallback(0) {
            return self.collect_all();
        }
        let mut items = Vec::new();
        self.collector.collect(0, max, &mut items);
        items
    }

    pub(crate) fn collect_all(&mut self) -> Vec<T> {
        let mut items = BatchFiller::new(usize::MAX, Vec::new());
        self.collector.collect_all(0, &mut items);
        items.into_one()
    }

    pub(crate) fn available(&mut self) -> usize {
        self.collector.available(0)
    }

    pub(crate) fn is_busy(&mut self) -> bool {
        self.collector.is_busy()
    }

    pub(crate) fn reap(&mut self) {
        self.collector.reap();
    }

    pub(crate) fn park(&mut self) -> Parked {
        self.collector.park(|_| true)
    }

    /// Parks, and calls `awake` to collect each time that something keeps it from sleeping, until
    /// it sleeps.
    pub(crate) fn fall_asleep(&mut self, mut awake: impl FnMut(&mut Self)) {
        loop {
            match self.park() {
                Parked::Idle if !self.was_woken() => break,
                Parked::Idle | Parked::Found => {}
                Parked::Busy => yield_now(),
            }
            awake(self);
        }
    }

    pub(crate) fn unpark(&mut self) {
        self.collector.unpark();
    }

    /// Asks to be woken when a batch is full; whether one is already.
    pub(crate) fn arm(&self) -> bool {
        self.queue.store().capacity.arm(0, 0, 0)
    }

    /// The same for two batches.
    pub(crate) fn arm_for_two(&self) -> bool {
        self.queue.store().capacity.arm(0, 1, 0)
    }

    pub(crate) fn is_room_requested(&self) -> bool {
        self.queue.store().capacity.is_room_requested()
    }

    pub(crate) fn clear_room_request(&self) {
        self.queue.store().capacity.clear_room_request();
    }

    pub(crate) fn was_woken(&self) -> bool {
        self.queue.was_woken()
    }
}

/// A lease, with the `Notify` that it wakes.
pub(crate) struct Lease<T> {
    lease: Arc<crate::batch::Lease<T>>,
    wakeup: Arc<Notify>,
}

fn ticket(attempt: u32) -> Ticket {
    Ticket { id: 1, attempt }
}

impl<T> Lease<T> {
    pub(crate) fn new() -> Self {
        let wakeup = Arc::new(Notify::new());
        Self {
            lease: crate::batch::Lease::new(usize::MAX, wakeup.clone()),
            wakeup,
        }
    }

    pub(crate) fn lend(&self, items: Vec<T>, attempt: u32) -> Batch<T> {
        let batch = Batch::new(items, ticket(attempt), Reason::Size);
        crate::batch::Lease::lend(&self.lease, batch, std::iter::empty())
    }

    /// The batches are attempts 1, 2, and so on.
    pub(crate) fn lend_run<const N: usize>(&self, batches: [Vec<T>; N]) -> Batch<T> {
        let mut batches = (1..)
            .zip(batches)
            .map(|(attempt, items)| Batch::new(items, ticket(attempt), Reason::Size));
        let first = batches.next().expect("there is one");
        crate::batch::Lease::lend(&self.lease, first, batches)
    }

    /// The items that came back.
    pub(crate) fn collect(&self) -> Option<Vec<T>> {
        match self.lease.collect() {
            Content::Back(items) => Some(items),
            Content::Out | Content::Taken => None,
        }
    }

    pub(crate) fn is_out(&self) -> bool {
        self.lease.is_out()
    }

    pub(crate) fn give_up(&self) {
        self.lease.give_up();
    }

    pub(crate) fn settle(&self, attempt: u32) -> Option<Batch<T>> {
        crate::batch::Lease::settle(&self.lease, ticket(attempt), true)
    }

    /// How many batches were followed, and those that will not follow.
    pub(crate) fn revoke(&self) -> (usize, Vec<Vec<T>>) {
        let (followed, rest) = self.lease.revoke();
        (followed, rest.into_iter().map(Batch::unpack).collect())
    }

    pub(crate) fn followed(&self) -> (usize, bool) {
        self.lease.followed()
    }

    pub(crate) fn pause(&self) {
        self.lease.pause();
    }

    pub(crate) fn was_woken(&self) -> bool {
        was_woken(&self.wakeup)
    }
}

/// A map with one partition of one shard, without its flusher.
pub(crate) type Map = crate::map::Map<u32, u32, BuildHasherDefault<DefaultHasher>>;

type MapStore =
    crate::map::store::Store<u32, u32, BuildHasherDefault<DefaultHasher>, Entry<u32, u32>>;

/// What a model asks of a map.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MapSetup {
    pub(crate) remember_versions: usize,
    pub(crate) read_in_flight: bool,
    /// `None`: more than a model needs.
    pub(crate) capacity: Option<usize>,
}

pub(crate) fn map(setup: MapSetup) -> (Map, MapFlusher) {
    let shape = Shape {
        partitions: 1,
        workers: 1,
        // Few under loom, where leases grow with them.
        capacity: setup
            .capacity
            .unwrap_or(if cfg!(swaplane_loom) { 64 } else { 1 << 20 }),
        max_batch_size: if cfg!(swaplane_loom) { 64 } else { 512 },
    };
    let copy: fn(&u32) -> u32 = |value| *value;
    let store = MapStore::new(
        shape,
        MapOptions {
            // A `DashMap` has two at least; its stand-in can do with one.
            shards: if cfg!(swaplane_loom) { 1 } else { 2 },
            hasher: BuildHasherDefault::default(),
            remember_versions: setup.remember_versions,
            copy: setup.read_in_flight.then_some(copy),
        },
    );
    let shared = Arc::new(Shared {
        source: Arc::new(store),
        counters: Counters::default(),
        requests: Requests::new(),
        settings: Settings::default(),
    });
    let flusher = MapFlusher {
        collector: MapStore::collector(&shared.source),
        shared: shared.clone(),
    };
    (Map::from_shared(shared), flusher)
}

/// The flusher's part.
pub(crate) struct MapFlusher {
    collector: <MapStore as Source>::Collector,
    shared: Arc<SharedOf<MapStore>>,
}

impl MapFlusher {
    /// Collects everything that waits.
    pub(crate) fn collect(&mut self) -> Vec<Entry<u32, u32>> {
        let mut entries = BatchFiller::new(usize::MAX, Vec::new());
        self.collector.collect_all(0, &mut entries);
        entries.into_one()
    }

    /// Settles the next `n` entries: they have their outcome.
    pub(crate) fn settle(&mut self, n: usize) {
        self.collector.settle(0, n);
    }

    /// As the flusher does with the first `n` entries that it delivered.
    pub(crate) fn deliver(&mut self, n: usize) {
        self.shared.counters.delivered.add(n);
        self.settle(n);
        self.shared.source.capacity().credits.give_back(n);
    }

    pub(crate) fn park(&mut self) -> Parked {
        self.collector.park(|_| true)
    }

    pub(crate) fn was_woken(&self) -> bool {
        was_woken(&self.shared.source.capacity().wakeup)
    }
}
