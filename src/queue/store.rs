//! Partitions: where a push goes. Each holds the lanes of the threads whose number hashes to it,
//! and one lane behind a mutex that keyed pushes share.
//!
//! ```text
//!  push        thread ─► table ─► its own lane ───────────┐
//!  Writer      its own lane ──────────────────────────────┤ partition ─► worker ─► sink
//!  push_keyed  hash(key) ─► mutex ─► the shared lane ─────┤
//!  late        a thread that is being torn down ─► a list ┘
//! ```
//!
//! A partition belongs to one worker of the flusher, so whatever has an order has one worker.

use crate::sync::Ordering::Relaxed;
use std::fmt;
use std::hash::Hash;

use crossbeam_utils::CachePadded;

use super::collect::Collector;
use crate::capacity::{Gate, Shape};
use crate::error::PushError;
use crate::hash::{self, RandomState};
use crate::queue::barrier::Barrier;
use crate::queue::lane::{
    CLOSED, FENCED, Lane, LaneReader, LaneWriter, PARKED, SharedWriter, lane,
};
use crate::queue::threads::lanes::TableRef;
use crate::queue::threads::{Ended, Index};
use crate::source::Source;
use crate::stats::Intake;
use crate::sync::{Arc, AtomicUsize, Mutex, OnceLock, broken};

/// Everything that a push touches.
pub(crate) struct Partitions<T> {
    list: Box<[CachePadded<Partition<T>>]>,
    table: TableRef<T>,
    registry: Registry<T>,
    hasher: RandomState,
    barrier: Barrier,
    /// The partition of the next `Writer`.
    turn: AtomicUsize,
    pub(crate) gate: Gate,
}

struct Partition<T> {
    /// Born with the first keyed push.
    shared: OnceLock<SharedWriter<T>>,
    late: Mutex<Late<T>>,
    /// How many items are in `late`, so that nobody need lock it to know that there are none.
    late_waiting: AtomicUsize,
}

/// Pushes from thread-local destructors that run when the thread has no lane any more, and those
/// that an allocator makes from within a push. They come after all that their thread pushed before:
/// whoever takes them, takes first what lies in the lanes. The former are a thread's last. Behind
/// the latter its lane goes on, the push that they were made in first of all: they may come after
/// what was pushed later.
struct Late<T> {
    items: Vec<T>,
    accepted: u64,
    closed: bool,
}

/// All lanes, so that a flag can be raised in each of them, and one that is born meanwhile is
/// born with it.
struct Registry<T> {
    state: Mutex<Lanes<T>>,
    /// How many lanes have ever been born.
    births: AtomicUsize,
    /// How many there are.
    population: AtomicUsize,
}

struct Lanes<T> {
    flags: usize,
    all: Vec<Arc<Lane<T>>>,
    /// Those that the flusher has not met.
    newborn: Vec<(usize, LaneReader<T>)>,
    /// Items accepted by lanes that are no more.
    departed: u64,
}

type Pushed<T> = Result<(), PushError<T>>;

/// The pushes.
impl<T> Partitions<T> {
    pub(crate) fn new(shape: Shape) -> Self {
        let flags = if shape.barrier.needs_fences() {
            FENCED
        } else {
            0
        };
        Self {
            list: (0..shape.partitions)
                .map(|_| {
                    CachePadded::new(Partition {
                        shared: OnceLock::new(),
                        late: Mutex::new(Late {
                            items: Vec::new(),
                            accepted: 0,
                            closed: false,
                        }),
                        late_waiting: AtomicUsize::new(0),
                    })
                })
                .collect(),
            table: TableRef::new(),
            registry: Registry {
                state: Mutex::new(Lanes {
                    flags,
                    all: Vec::new(),
                    newborn: Vec::new(),
                    departed: 0,
                }),
                births: AtomicUsize::new(0),
                population: AtomicUsize::new(0),
            },
            hasher: RandomState::default(),
            barrier: shape.barrier,
            turn: AtomicUsize::new(0),
            gate: Gate::new(shape),
        }
    }

    /// Leads to the lanes of the threads.
    pub(crate) fn table(&self) -> &TableRef<T> {
        &self.table
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn push_slow(&self, lane: &LaneWriter<T>, item: T) -> Pushed<T> {
        match Index::current() {
            Ok(me) => self.push_into(lane, self.home_of(me.get()), item, false),
            Err(Ended(number)) => self.push_late(self.home_of(number), item, false),
        }
    }

    /// The first push of a thread into this queue since its last one into another, or one of its
    /// last of all.
    #[cold]
    #[inline(never)]
    pub(crate) fn push_first(&self, item: T) -> Pushed<T> {
        self.push_off_the_fast_path(item, false)
    }

    /// Pushes with a credit that the caller holds already, and keeps if this fails.
    pub(crate) fn push_prepaid(&self, item: T) -> Pushed<T> {
        self.push_off_the_fast_path(item, true)
    }

    fn push_off_the_fast_path(&self, item: T, prepaid: bool) -> Pushed<T> {
        let me = match Index::current() {
            Ok(me) => me,
            Err(Ended(number)) => return self.push_late(self.home_of(number), item, prepaid),
        };
        let home = self.home_of(me.get());
        match self.lane_of(&me) {
            Some(lane) => self.push_into(lane, home, item, prepaid),
            None => self.push_late(home, item, prepaid),
        }
    }

    /// The lane of this thread, born now if need be. `None` where the table is full.
    pub(crate) fn lane_of(&self, me: &Index) -> Option<&LaneWriter<T>> {
        self.table
            .get(me)
            .or_else(|| self.table.set(me, self.birth(self.home_of(me.get()))))
    }

    /// Threads are spread over the partitions by their number, and stay.
    fn home_of(&self, number: u32) -> usize {
        number as usize % self.list.len()
    }

    /// Pushes into the shared lane of the key's partition.
    pub(crate) fn push_keyed<K: Hash + ?Sized>(&self, key: &K, item: T) -> Pushed<T> {
        // Before the lock: this is code of the user's.
        let hash = hash::hash(&self.hasher, key);
        self.push_shared(hash::home(hash, self.list.len()), item)
    }

    pub(crate) fn push_shared(&self, home: usize, item: T) -> Pushed<T> {
        let lane = &self.list[home].shared;
        let lane = lane.get_or_init(|| SharedWriter::new(self.birth(home)));
        lane.with(|lane| lane.push(item, Ok(()), |item| self.push_into(lane, home, item, false)))
    }

    /// A lane for a `Writer`, and its partition.
    pub(crate) fn writer(&self) -> (LaneWriter<T>, usize) {
        let home = self.turn.fetch_add(1, Relaxed) % self.list.len();
        (self.birth(home), home)
    }

    /// The slow push: everything but a slot that is there, has credit, and no flag is up.
    #[cold]
    #[inline(never)]
    pub(crate) fn push_into(
        &self,
        lane: &LaneWriter<T>,
        home: usize,
        item: T,
        prepaid: bool,
    ) -> Pushed<T> {
        let Some(signals) = lane.enter() else {
            return self.push_late(home, item, prepaid);
        };
        if signals.closed() {
            lane.exit();
            return Err(PushError::Closed(item));
        }
        let mut report = 0;
        if prepaid {
            lane.add_credits(1);
            report = 1;
        } else if !lane.has_credit() {
            report = self.lease(lane, home);
            if report == 0 {
                lane.exit();
                self.gate.press();
                return Err(PushError::Full(item));
            }
        }
        lane.write(item);
        lane.exit();
        // The mark is down: from here on this is a caller like any other.
        let full = report > 0 && self.gate.report(home, report);
        if full || signals.parked() || (prepaid && self.gate.credits.has_waiters()) {
            self.gate.ring();
        }
        Ok(())
    }

    fn lease(&self, lane: &LaneWriter<T>, home: usize) -> usize {
        let lanes = self.registry.population.load(Relaxed);
        let lease = self.gate.lease(home, lanes, lane.last_lease());
        lane.set_lease(lease);
        lease
    }

    /// Pushes where there is no lane.
    pub(crate) fn push_late(&self, home: usize, item: T, prepaid: bool) -> Pushed<T> {
        if !prepaid && !self.gate.credits.try_reserve() {
            let closed = self.list[home].late.lock().closed;
            if closed {
                return Err(PushError::Closed(item));
            }
            self.gate.press();
            return Err(PushError::Full(item));
        }
        let partition = &self.list[home];
        let mut late = partition.late.lock();
        if late.closed && !broken("late: closed ignored") {
            drop(late);
            if !prepaid {
                self.gate.credits.give_back(1);
            }
            return Err(PushError::Closed(item));
        }
        late.items.push(item);
        late.accepted += 1;
        // Relaxed: a hint. Who misses it is rung for below, and who takes items takes the lock.
        partition.late_waiting.store(late.items.len(), Relaxed);
        drop(late);
        self.gate.report(home, 1);
        self.gate.ring();
        Ok(())
    }

    /// Ends the lane of a `Writer`.
    pub(crate) fn retire(&self, lane: &LaneWriter<T>, home: usize) {
        let unused = lane.take_credits();
        self.gate.end_lease(home, unused, lane.last_lease());
        lane.say_gone();
        self.gate.ring();
    }

    fn birth(&self, home: usize) -> LaneWriter<T> {
        let mut lanes = self.registry.state.lock();
        let flags = if broken("registry: born without flags") {
            lanes.flags & FENCED
        } else {
            lanes.flags
        };
        let (writer, reader) = lane(flags);
        lanes.all.push(writer.lane().clone());
        lanes.newborn.push((home, reader));
        // Relaxed: who pushes into this lane sees the flags it was born with; who must find it,
        // a raise or a flush, comes by this lock or by one taken after the push.
        self.registry.births.fetch_add(1, Relaxed);
        self.registry.population.fetch_add(1, Relaxed);
        writer
    }
}

/// The flags.
impl<T> Partitions<T> {
    /// Raises a flag: once this returns, every push sees it, except those in progress in lanes
    /// that are busy. Locked with the registry, so that lanes born meanwhile have it too; the
    /// lock is not held across the barrier.
    fn raise(&self, flag: usize) -> bool {
        let mut lanes = self.registry.state.lock();
        let news = lanes.flags & flag == 0;
        lanes.flags |= flag;
        for lane in &lanes.all {
            lane.raise(flag);
        }
        drop(lanes);
        self.barrier.heavy();
        news
    }

    /// Makes every push ring from now on.
    pub(crate) fn raise_parked(&self) {
        self.raise(PARKED);
    }

    /// Lets pushes be silent again.
    pub(crate) fn lower_parked(&self) {
        let mut lanes = self.registry.state.lock();
        lanes.flags &= !PARKED;
        for lane in &lanes.all {
            lane.lower(PARKED);
        }
    }
}

impl<T: Send + 'static> Source for Partitions<T> {
    type Item = T;
    type Collector = Collector<T>;

    fn collector(of: &Arc<Self>) -> Collector<T> {
        Collector::new(of.clone())
    }

    fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Pushes that have begun may still be accepted: they are busy.
    fn close(&self) -> bool {
        for partition in &self.list {
            partition.late.lock().closed = true;
        }
        let first = self.raise(CLOSED);
        self.gate.credits.close();
        first
    }

    fn is_closed(&self) -> bool {
        self.registry.state.lock().flags & CLOSED != 0
    }

    fn intake(&self) -> Intake {
        let lanes = self.registry.state.lock();
        let in_lanes: u64 = lanes.all.iter().map(|lane| lane.published() as u64).sum();
        let sum = lanes.departed + in_lanes;
        drop(lanes);
        let late = self
            .list
            .iter()
            .map(|partition| partition.late.lock().accepted);
        Intake {
            accepted: sum + late.sum::<u64>(),
            ..Intake::default()
        }
    }
}

/// The flusher's side.
impl<T> Partitions<T> {
    /// How many lanes have ever been born: when it changes there are some to meet.
    pub(crate) fn births(&self) -> usize {
        self.registry.births.load(Relaxed)
    }

    /// The lanes that the flusher has not met, with the workers they belong to.
    pub(crate) fn meet(&self) -> Vec<(usize, LaneReader<T>)> {
        let mut newborn = std::mem::take(&mut self.registry.state.lock().newborn);
        for (home, _) in &mut newborn {
            *home %= self.gate.workers();
        }
        newborn
    }

    /// Forgets a lane whose writer is gone, and which is empty.
    pub(crate) fn bury(&self, lane: &Arc<Lane<T>>) {
        let mut lanes = self.registry.state.lock();
        lanes.departed += lane.published() as u64;
        lanes.all.retain(|other| !Arc::ptr_eq(other, lane));
        self.registry.population.fetch_sub(1, Relaxed);
    }

    /// How many late items there are for a worker.
    pub(crate) fn late(&self, worker: usize) -> usize {
        let partitions = self.of_worker(worker);
        partitions
            .map(|partition| partition.late_waiting.load(Relaxed))
            .sum()
    }

    /// Takes the late items of a worker. What lies in its lanes when this returns comes first.
    pub(crate) fn take_late(&self, worker: usize) -> Vec<T> {
        let mut taken = Vec::new();
        for partition in self.of_worker(worker) {
            let mut late = partition.late.lock();
            taken.append(&mut late.items);
            partition.late_waiting.store(0, Relaxed);
        }
        self.gate.take_off(worker, taken.len());
        taken
    }

    fn of_worker(&self, worker: usize) -> impl Iterator<Item = &Partition<T>> {
        let partitions = self.list.iter().map(|partition| &**partition);
        partitions.skip(worker).step_by(self.gate.workers())
    }
}

impl<T> fmt::Debug for Partitions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partitions")
            .field("partitions", &self.list.len())
            .field("gate", &self.gate)
            .finish_non_exhaustive()
    }
}
