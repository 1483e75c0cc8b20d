//! The threads that put the devices' updates into the map.

use std::{
    panic::resume_unwind,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use common::stop::Stop;
use indicatif::ProgressBar;
use swaplane::{Map, PushError, Put};

use crate::{
    devices::{Devices, State},
    gateway::Gateway,
};

/// How long producers that should stop may still wait for room in the map.
const GRACE: Duration = Duration::from_secs(5);
/// So many updates between two looks at the progress bar, which is behind a lock.
const STEP: u64 = 1024;

/// What became of the updates, as the threads were told by the map.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub inserted: u64,
    pub replaced: u64,
    pub stale: u64,
    /// By a map that was closed under way, because its sink was stuck.
    pub refused: u64,
    /// How often a thread had to wait for room.
    pub waits: u64,
}

impl Tally {
    pub fn offered(&self) -> u64 {
        self.accepted() + self.stale + self.refused
    }

    pub fn accepted(&self) -> u64 {
        self.inserted + self.replaced
    }
}

pub struct Producers {
    threads: Vec<JoinHandle<Tally>>,
    all_done: Receiver<()>,
}

impl Producers {
    /// Starts a thread for each gateway.
    pub fn start(
        gateways: Vec<Gateway>,
        devices: &Arc<Devices>,
        map: &Map<u32, State>,
        stop: &Arc<Stop>,
        bar: &ProgressBar,
    ) -> Self {
        // Nothing is ever sent: the receiver learns when the last sender is gone.
        let (running, all_done) = mpsc::channel();
        let threads = gateways
            .into_iter()
            .map(|gateway| {
                let producer = Producer {
                    gateway,
                    devices: Arc::clone(devices),
                    map: map.clone(),
                    stop: Arc::clone(stop),
                    bar: bar.clone(),
                    tally: Tally::default(),
                };
                let running = running.clone();
                thread::spawn(move || producer.work(running))
            })
            .collect();
        Self { threads, all_done }
    }

    /// Returns when all threads have put their last update. If they should stop but cannot,
    /// because the map is full and the sink is stuck, it gives up on them; the shutdown that
    /// follows closes the map, which ends their flushes.
    pub fn wait(&self, stop: &Stop) {
        let mut stopping_since = None;
        while let Err(RecvTimeoutError::Timeout) =
            self.all_done.recv_timeout(Duration::from_millis(100))
        {
            if stop.is_set() && stopping_since.get_or_insert_with(Instant::now).elapsed() >= GRACE {
                return;
            }
        }
    }

    pub fn join(self) -> Tally {
        let mut sum = Tally::default();
        for thread in self.threads {
            let tally = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            sum.inserted += tally.inserted;
            sum.replaced += tally.replaced;
            sum.stale += tally.stale;
            sum.refused += tally.refused;
            sum.waits += tally.waits;
        }
        sum
    }
}

struct Producer {
    gateway: Gateway,
    devices: Arc<Devices>,
    map: Map<u32, State>,
    stop: Arc<Stop>,
    bar: ProgressBar,
    tally: Tally,
}

impl Producer {
    fn work(mut self, _running: Sender<()>) -> Tally {
        while let Some((device, version)) = self.gateway.next() {
            let state = self.devices.state(device, version);
            self.put(device, state, version);
            if self.stop.is_set() {
                // What the devices have said already must still get through.
                self.gateway.stop();
            }
            if self.tally.offered().is_multiple_of(STEP) {
                self.bar.inc(STEP);
            }
        }
        self.tally
    }

    /// Puts without waiting while there is room, else waits for room: no update is dropped.
    fn put(&mut self, device: u32, mut state: State, version: u64) {
        loop {
            match self.map.put_newer(device, state, version) {
                Ok(Put::Inserted) => self.tally.inserted += 1,
                Ok(Put::Replaced) => self.tally.replaced += 1,
                Ok(Put::Stale) => self.tally.stale += 1,
                Err(PushError::Full((_, returned))) => {
                    state = returned;
                    self.tally.waits += 1;
                    // Makes room even where it fails, and why it failed the sink has told `stop`.
                    let _ = self.map.flush_blocking();
                    continue;
                }
                Err(_closed) => self.tally.refused += 1,
            }
            return;
        }
    }
}
