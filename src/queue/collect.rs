//! Collecting: from the lanes of a worker into its batches.

use std::fmt;

use super::lane::{LaneReader, PARKED};
use super::store::Store;
use crate::source::{BatchFiller, Collect, Parked, Source};
use crate::sync::{Arc, broken};

/// How many items at least, and at most, are taken from a lane before the next lane has its turn.
const SMALLEST_SHARE: usize = 8;
const LARGEST_SHARE: usize = 256;

/// Owns the reading ends of all lanes.
pub(crate) struct Collector<T> {
    store: Arc<Store<T>>,
    workers: Vec<WorkerLanes<T>>,
    /// How many lanes were adopted.
    adopted: usize,
    /// The flag that makes pushes wake the flusher is up.
    parked: bool,
}

struct WorkerLanes<T> {
    readers: Vec<LaneReader<T>>,
    /// The index of the lane to read first. It can be past the end: then reading starts at 0. It
    /// moves on with each lane read, so no lane waits for ever behind one that is never empty.
    next: usize,
}

impl<T> Collector<T> {
    pub(crate) fn new(store: Arc<Store<T>>) -> Self {
        let worker = |_| WorkerLanes {
            readers: Vec::new(),
            next: 0,
        };
        Self {
            workers: (0..store.capacity.workers()).map(worker).collect(),
            store,
            adopted: 0,
            parked: false,
        }
    }

    /// Takes over the lanes that were registered since the last call.
    fn adopt(&mut self) {
        let registry = self.store.registry();
        if registry.registrations() == self.adopted || broken("collect: new lanes not adopted") {
            return;
        }
        let workers = self.workers.len();
        for (partition, reader) in registry.adopt() {
            self.workers[partition % workers].readers.push(reader);
            self.adopted += 1;
        }
    }

    fn readers(&self) -> impl Iterator<Item = &LaneReader<T>> {
        self.workers.iter().flat_map(|lanes| &lanes.readers)
    }
}

impl<T: Send + 'static> Source for Store<T> {
    type Item = T;
    type Collector = Collector<T>;

    fn collector(of: &Arc<Self>) -> Collector<T> {
        Collector::new(of.clone())
    }
}

impl<T: Send + 'static> Collect for Collector<T> {
    type Item = T;

    fn available(&mut self, worker: usize) -> usize {
        self.adopt();
        let readers = &self.workers[worker].readers;
        let in_lanes: usize = readers.iter().map(LaneReader::available).sum();
        in_lanes + self.store.fallback_waiting(worker)
    }

    fn has_fallback(&self, worker: usize) -> bool {
        self.store.fallback_waiting(worker) > 0
    }

    fn collect(&mut self, worker: usize, max: usize, out: &mut Vec<T>) -> usize {
        self.adopt();
        let lanes = &mut self.workers[worker];
        let mut room = max;
        for _ in 0..lanes.readers.len() {
            if lanes.next >= lanes.readers.len() {
                lanes.next = 0;
            }
            room -= lanes.readers[lanes.next].take(room, out);
            lanes.next += 1;
            if room == 0 {
                break;
            }
        }
        self.store.capacity.take_off(worker, max - room);
        max - room
    }

    /// Empties the fallback lists, then reads the lanes, then appends the fallback items. By then
    /// the lanes show all that the threads of those items pushed before.
    fn collect_all(&mut self, worker: usize, out: &mut BatchFiller<T>) {
        let fallback = self.store.take_fallback(worker);
        self.adopt();
        let readers = &mut self.workers[worker].readers;
        // Bounded by what was visible here: a writer may be faster than its reader.
        let visible = readers.iter().map(LaneReader::available).enumerate();
        let mut lanes: Vec<_> = visible.filter(|(_, left)| *left > 0).collect();
        let mut taken = 0;
        // By turns: nobody waits behind the burst of another lane.
        while !lanes.is_empty() {
            let share = (out.max() / lanes.len()).clamp(SMALLEST_SHARE, LARGEST_SHARE);
            lanes.retain_mut(|(lane, left)| {
                let (list, room) = out.open();
                let n = readers[*lane].take(share.min(*left).min(room), list);
                taken += n;
                *left -= n;
                n > 0 && *left > 0
            });
        }
        self.store.capacity.take_off(worker, taken);
        out.append(fallback);
    }

    fn reap(&mut self) {
        let mut any = false;
        for lanes in &mut self.workers {
            lanes.readers.retain(|reader| {
                let empty = broken("collect: end asked last") && reader.available() == 0;
                // In this order: a writer that has ended adds nothing.
                let over = reader.is_ended() && (empty || reader.available() == 0);
                if over {
                    reader.lane().reap();
                    any = true;
                }
                !over
            });
        }
        // Once for all of them: thousands may have ended since the last time.
        if any {
            self.store.registry().forget_reaped();
        }
    }

    fn park(&mut self, free: impl Fn(usize) -> bool) -> Parked {
        if !self.parked {
            self.store.registry().raise(PARKED);
            self.parked = true;
        }
        self.adopt();
        if self.is_busy() {
            return Parked::Busy;
        }
        // Behind the barrier of `raise`, and behind the Acquire of each lane's busy flag: a push
        // that did not see PARKED shows its item here.
        let mut workers = 0..self.workers.len();
        let found = workers.any(|worker| free(worker) && self.available(worker) > 0);
        if found && !broken("park: not looked again") {
            Parked::Found
        } else {
            Parked::Idle
        }
    }

    fn unpark(&mut self) {
        if self.parked {
            self.store.registry().lower_parked();
            self.parked = false;
        }
    }

    fn is_busy(&mut self) -> bool {
        self.adopt();
        self.readers().any(|reader| reader.lane().is_busy()) && !broken("collect: busy ignored")
    }

    fn sweep(&mut self) {
        for lanes in &mut self.workers {
            lanes.readers.iter_mut().for_each(LaneReader::sweep);
        }
    }

    fn is_trimmed(&self) -> bool {
        self.readers().all(LaneReader::is_trimmed)
    }
}

impl<T> fmt::Debug for Collector<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}
