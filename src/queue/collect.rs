//! Collecting: from the lanes of a worker into its batches. Owns the reading ends of all lanes.

use std::fmt;

use super::store::Partitions;
use crate::queue::lane::LaneReader;
use crate::source::{Collect, Cuts, Parked};
use crate::sync::{Arc, broken};

pub(crate) struct Collector<T> {
    partitions: Arc<Partitions<T>>,
    workers: Vec<Lanes<T>>,
    /// How many lanes have been met.
    met: usize,
    /// The flag that makes pushes ring is up.
    parked: bool,
}

/// The lanes of one worker.
struct Lanes<T> {
    readers: Vec<LaneReader<T>>,
    /// Whose turn it is: nobody waits for ever behind a lane that is never empty.
    turn: usize,
}

impl<T> Collector<T> {
    pub(crate) fn new(partitions: Arc<Partitions<T>>) -> Self {
        let workers = (0..partitions.gate.workers())
            .map(|_| Lanes {
                readers: Vec::new(),
                turn: 0,
            })
            .collect();
        Self {
            partitions,
            workers,
            met: 0,
            parked: false,
        }
    }

    /// Meets the lanes that were born since.
    fn meet(&mut self) {
        let births = self.partitions.births();
        if births != self.met && !broken("collect: newborn lanes not met") {
            let newborn = self.partitions.meet();
            self.met += newborn.len();
            for (worker, reader) in newborn {
                self.workers[worker].readers.push(reader);
            }
        }
    }
}

impl<T: Send + 'static> Collect for Collector<T> {
    type Item = T;

    fn available(&mut self, worker: usize) -> usize {
        self.meet();
        let readers = &self.workers[worker].readers;
        let in_lanes: usize = readers.iter().map(LaneReader::available).sum();
        in_lanes + self.partitions.late(worker)
    }

    fn has_late(&self, worker: usize) -> bool {
        self.partitions.late(worker) > 0
    }

    /// From each of the lanes in order, the lanes in turn.
    fn collect(&mut self, worker: usize, max: usize, out: &mut Vec<T>) -> usize {
        self.meet();
        let lanes = &mut self.workers[worker];
        let mut room = max;
        for _ in 0..lanes.readers.len() {
            if lanes.turn >= lanes.readers.len() {
                lanes.turn = 0;
            }
            room -= lanes.readers[lanes.turn].take(room, out);
            lanes.turn += 1;
            if room == 0 {
                break;
            }
        }
        self.partitions.gate.take_off(worker, max - room);
        max - room
    }

    /// Late items at the end.
    fn collect_all(&mut self, worker: usize, out: &mut Cuts<T>) {
        // First, so that all that their threads pushed before is visible in the lanes.
        let mut late = Vec::new();
        if !broken("collect: late items taken after the lanes") {
            late = self.partitions.take_late(worker);
        }
        self.meet();
        let mut taken = 0;
        for reader in &mut self.workers[worker].readers {
            // Bounded, since writers may be faster than we are.
            let mut left = reader.available();
            while left > 0 {
                let (list, room) = out.open();
                let n = reader.take(left.min(room), list);
                taken += n;
                left -= n;
                if n == 0 {
                    // Nothing more can be seen.
                    break;
                }
            }
        }
        self.partitions.gate.take_off(worker, taken);
        if broken("collect: late items taken after the lanes") {
            late = self.partitions.take_late(worker);
        }
        out.append(late);
    }

    fn bury(&mut self) {
        for lanes in &mut self.workers {
            lanes.readers.retain(|reader| {
                let empty = broken("collect: gone asked last") && reader.available() == 0;
                // In this order: a writer that is gone adds nothing.
                let over = reader.is_gone() && (empty || reader.available() == 0);
                if over {
                    self.partitions.bury(reader.lane());
                }
                !over
            });
        }
    }

    fn park(&mut self, free: impl Fn(usize) -> bool) -> Parked {
        if !self.parked {
            self.partitions.raise_parked();
            self.parked = true;
        }
        self.meet();
        if self.is_busy() {
            return Parked::Busy;
        }
        // Behind the barrier, and behind the marks.
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
            self.partitions.lower_parked();
            self.parked = false;
        }
    }

    fn is_busy(&mut self) -> bool {
        self.meet();
        let mut readers = self.workers.iter().flat_map(|lanes| &lanes.readers);
        readers.any(|reader| reader.lane().is_busy()) && !broken("collect: busy ignored")
    }

    fn sweep(&mut self) {
        for lanes in &mut self.workers {
            lanes.readers.iter_mut().for_each(LaneReader::sweep);
        }
    }

    fn is_lean(&self) -> bool {
        let mut readers = self.workers.iter().flat_map(|lanes| &lanes.readers);
        readers.all(LaneReader::is_lean)
    }
}

impl<T> fmt::Debug for Collector<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}
