//! Threads that are started once and do the same job in every slice.

use std::{
    process::abort,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread::{self, JoinHandle, Thread},
};

use crate::tally::now;

pub struct Crew {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    round: u64,
}

struct Shared {
    round: AtomicU64,
    running: AtomicUsize,
    /// How many threads there are, and how often one has come to the start.
    size: u64,
    arrived: AtomicU64,
    /// When the first thread began.
    started: AtomicU64,
    /// When the last one was done.
    ended: AtomicU64,
    over: AtomicBool,
    /// Who waits for them.
    leader: Thread,
}

impl Crew {
    /// Each job is run by a thread of its own. The calling thread is the leader.
    pub fn new<J: FnMut() + Send + 'static>(jobs: Vec<J>) -> Self {
        let shared = Arc::new(Shared {
            round: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            size: jobs.len() as u64,
            arrived: AtomicU64::new(0),
            started: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            over: AtomicBool::new(false),
            leader: thread::current(),
        });
        let start = |job| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.work(job))
        };
        Self {
            threads: jobs.into_iter().map(start).collect(),
            shared,
            round: 0,
        }
    }

    /// Lets all threads do their job once.
    pub fn start(&mut self) {
        self.shared.started.store(u64::MAX, Relaxed);
        self.shared.running.store(self.threads.len(), Relaxed);
        self.round += 1;
        // What the leader did before is seen by the jobs.
        self.shared.round.store(self.round, Release);
        for thread in &self.threads {
            thread.thread().unpark();
        }
    }

    /// When the first thread began its job.
    pub fn started(&self) -> u64 {
        self.shared.started.load(Relaxed)
    }

    /// When the last thread was done with its job; once all are.
    pub fn ended(&self) -> u64 {
        self.shared.ended.load(Relaxed)
    }

    pub fn is_done(&self) -> bool {
        self.shared.running.load(Acquire) == 0
    }

    /// Waits until all jobs are done.
    pub fn wait(&self) {
        while !self.is_done() {
            thread::park();
        }
    }
}

impl Shared {
    fn work(&self, mut job: impl FnMut()) {
        let _guard = AbortOnPanic;
        for round in 1.. {
            while self.round.load(Acquire) < round {
                thread::park();
            }
            if self.over.load(Relaxed) {
                break;
            }
            // All start at once: otherwise the first could be done before the last is awake.
            self.arrived.fetch_add(1, Relaxed);
            while self.arrived.load(Relaxed) < self.size * round {
                thread::yield_now();
            }
            self.started.fetch_min(now(), Relaxed);
            job();
            self.ended.fetch_max(now(), Relaxed);
            if self.running.fetch_sub(1, Release) == 1 {
                self.leader.unpark();
            }
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.over.store(true, Relaxed);
        self.start();
        for thread in self.threads.drain(..) {
            thread.join().unwrap_or_else(|_| abort());
        }
    }
}

/// The leader would wait for ever for a thread that has panicked.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            abort();
        }
    }
}
