//! Collecting: from the lanes of a worker into its batches. Owns the reading ends of all lanes;
//! knows no clock, no runtime and no sink, so that models can run it.

use std::fmt;

use crate::lane::LaneReader;
use crate::partition::Partitions;
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

/// What came of an attempt to park.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// Nothing waits, and whoever pushes will ring.
    Idle,
    /// Something waits.
    Found,
    /// A push is in progress that may not ring. Look again later.
    Busy,
}

impl<T> Collector<T> {
    pub(crate) fn new(partitions: Arc<Partitions<T>>) -> Self {
        let workers = (0..partitions.workers())
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

    /// About how many items wait in the lanes of a worker; never fewer than are visible.
    pub(crate) fn available(&mut self, worker: usize) -> usize {
        self.meet();
        let readers = &self.workers[worker].readers;
        let in_lanes: usize = readers.iter().map(LaneReader::available).sum();
        in_lanes + usize::from(self.partitions.has_late(worker))
    }

    /// Whether late items wait, which only `collect_all` takes.
    pub(crate) fn has_late(&self, worker: usize) -> bool {
        self.partitions.has_late(worker)
    }

    /// Appends up to `max` items of a worker to `out`: from each of its lanes in order, the lanes
    /// in turn.
    pub(crate) fn collect(&mut self, worker: usize, max: usize, out: &mut Vec<T>) -> usize {
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
        self.partitions.take_off(worker, max - room);
        max - room
    }

    /// Appends everything of a worker that is visible now to `out`, late items at the end.
    pub(crate) fn collect_all(&mut self, worker: usize, out: &mut Vec<T>) {
        // First, so that all that their threads pushed before is visible in the lanes.
        let mut late = Vec::new();
        if !broken("collect: late items taken after the lanes") {
            late = self.partitions.take_late(worker);
        }
        self.meet();
        let before = out.len();
        for reader in &mut self.workers[worker].readers {
            // Bounded, since writers may be faster than we are.
            reader.take(reader.available(), out);
        }
        self.partitions.take_off(worker, out.len() - before);
        if broken("collect: late items taken after the lanes") {
            late = self.partitions.take_late(worker);
        }
        out.extend(late);
    }

    /// Removes the lanes whose writers are gone.
    pub(crate) fn bury(&mut self) {
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

    /// Makes sure that whoever pushes from now on rings, or says why we must not sleep. Only
    /// what waits for workers that are `free` keeps us from it.
    pub(crate) fn park(&mut self, free: impl Fn(usize) -> bool) -> Parked {
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

    /// Lets pushes be silent again: from now on we look by ourselves.
    pub(crate) fn unpark(&mut self) {
        if self.parked {
            self.partitions.lower_parked();
            self.parked = false;
        }
    }

    /// Whether a push is in progress anywhere.
    pub(crate) fn is_busy(&mut self) -> bool {
        self.meet();
        let mut readers = self.workers.iter().flat_map(|lanes| &lanes.readers);
        readers.any(|reader| reader.lane().is_busy()) && !broken("collect: busy ignored")
    }

    /// Frees the memory of lanes that have been idle since the last sweep.
    pub(crate) fn sweep(&mut self) {
        for lanes in &mut self.workers {
            lanes.readers.iter_mut().for_each(LaneReader::sweep);
        }
    }

    /// Whether a sweep could free anything.
    pub(crate) fn is_lean(&self) -> bool {
        let mut readers = self.workers.iter().flat_map(|lanes| &lanes.readers);
        readers.all(LaneReader::is_lean)
    }
}

impl<T> fmt::Debug for Collector<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}
