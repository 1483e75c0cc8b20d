//! All lanes of a queue. A flag is raised in each of them here, and a lane that is registered later
//! begins with the flags that are up.

use std::fmt;

use super::barrier::Barrier;
use super::lane::{FENCED, Lane, LaneReader, LaneWriter, PARKED, lane};
use crate::sync::Ordering::Relaxed;
use crate::sync::{Arc, AtomicUsize, Mutex, broken};

pub(crate) struct Registry<T> {
    lanes: Mutex<Lanes<T>>,
    /// How many lanes were ever registered. Written under the lock; the collector reads it without,
    /// to learn whether there are lanes to adopt.
    // Relaxed: whoever pushes into a new lane sees the flags it was registered with. Whoever must
    // find that lane, to raise a flag in it or to flush it, takes the lock.
    registrations: AtomicUsize,
    /// How many lanes are registered and not reaped. A hint for the size of leases.
    population: AtomicUsize,
    barrier: Barrier,
}

struct Lanes<T> {
    /// The flags that a new lane begins with.
    flags: usize,
    all: Vec<Arc<Lane<T>>>,
    /// The reading ends that the collector has not taken yet, with the partition of each.
    unadopted: Vec<(usize, LaneReader<T>)>,
    /// Items accepted by lanes that were reaped.
    reaped_items: u64,
}

impl<T> Registry<T> {
    pub(crate) fn new(barrier: Barrier) -> Self {
        let flags = if barrier.needs_fences() { FENCED } else { 0 };
        Self {
            lanes: Mutex::new(Lanes {
                flags,
                all: Vec::new(),
                unadopted: Vec::new(),
                reaped_items: 0,
            }),
            registrations: AtomicUsize::new(0),
            population: AtomicUsize::new(0),
            barrier,
        }
    }

    /// Makes a lane of a partition. Costs three allocations and a lock.
    pub(crate) fn register(&self, partition: usize) -> LaneWriter<T> {
        let mut lanes = self.lanes.lock();
        let flags = if broken("registry: registered without flags") {
            lanes.flags & FENCED
        } else {
            lanes.flags
        };
        let (writer, reader) = lane(flags);
        lanes.all.push(writer.lane().clone());
        lanes.unadopted.push((partition, reader));
        self.registrations.fetch_add(1, Relaxed);
        self.population.fetch_add(1, Relaxed);
        writer
    }

    /// Raises a flag. Once this returns every push sees the flag, except a push in progress in a
    /// lane that is busy. Returns whether the flag was down before.
    ///
    /// Costs a lock, an atomic read-modify-write in each lane, and the barrier. The lock is not
    /// held across the barrier.
    pub(crate) fn raise(&self, flag: usize) -> bool {
        let mut lanes = self.lanes.lock();
        let was_down = lanes.flags & flag == 0;
        lanes.flags |= flag;
        for lane in &lanes.all {
            lane.raise(flag);
        }
        drop(lanes);
        self.barrier.heavy();
        was_down
    }

    /// Lets pushes be silent again. A push that sees the change late wakes the flusher in vain.
    pub(crate) fn lower_parked(&self) {
        let mut lanes = self.lanes.lock();
        lanes.flags &= !PARKED;
        for lane in &lanes.all {
            lane.lower(PARKED);
        }
    }

    pub(crate) fn is_raised(&self, flag: usize) -> bool {
        self.lanes.lock().flags & flag != 0
    }

    pub(crate) fn registrations(&self) -> usize {
        self.registrations.load(Relaxed)
    }

    pub(crate) fn population(&self) -> usize {
        self.population.load(Relaxed)
    }

    /// Items that all lanes together ever accepted. The count of a push in progress may be missing.
    pub(crate) fn accepted(&self) -> u64 {
        let lanes = self.lanes.lock();
        let living: u64 = lanes.all.iter().map(|lane| lane.published() as u64).sum();
        lanes.reaped_items + living
    }

    /// Hands over the reading ends that the collector has not taken yet, with the partition of
    /// each.
    pub(crate) fn adopt(&self) -> Vec<(usize, LaneReader<T>)> {
        std::mem::take(&mut self.lanes.lock().unadopted)
    }

    /// Forgets the lanes that were [reaped](Lane::reap). Costs a look at each lane, however many
    /// were.
    pub(crate) fn forget_reaped(&self) {
        let mut lanes = self.lanes.lock();
        let Lanes {
            all, reaped_items, ..
        } = &mut *lanes;
        let before = all.len();
        all.retain(|lane| {
            let reaped = lane.is_reaped();
            if reaped {
                *reaped_items += lane.published() as u64;
            }
            !reaped
        });
        // A burst of short-lived writers leaves no memory behind.
        if all.len() < all.capacity() / 4 {
            all.shrink_to(all.len() * 2);
        }
        self.population.fetch_sub(before - all.len(), Relaxed);
    }
}

impl<T> fmt::Debug for Registry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("population", &self.population())
            .finish_non_exhaustive()
    }
}
