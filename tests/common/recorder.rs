//! A sink that plays a script and records what it saw.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use swaplane::{Batch, Reason, Sink, SinkError};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Id, lock, producer_of, sequence_of};

/// What one attempt does.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Ok,
    /// An error that may be retried.
    Fail,
    Reject,
    RetryAfter(Duration),
    Panic,
    /// Waits for ever, and keeps the batch until the attempt is cancelled.
    Hang,
    /// Sleeps asynchronously, then succeeds.
    Slow(Duration),
    /// Sleeps with the thread blocked, then succeeds.
    Block(Duration),
    /// Takes the items out of the batch, then succeeds.
    Take,
    /// Takes the items out of the batch, then fails.
    TakeFail,
    /// Gives the batch back at once, yields, then succeeds.
    DropFirst,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Size,
    Delay,
    Flush,
    Close,
    Other,
}

/// One attempt as the sink saw it.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub batch: u64,
    pub number: u32,
    pub why: Why,
    pub items: Vec<u64>,
    /// When the attempt began.
    pub at: Instant,
    /// What the attempt did. `None` while the sink is held.
    pub did: Option<Step>,
    /// Whether the attempt returned `Ok`.
    pub acked: bool,
}

struct Recording {
    log: Mutex<Vec<Attempt>>,
    script: Mutex<VecDeque<Step>>,
    otherwise: Mutex<Step>,
    held: watch::Sender<bool>,
    changed: watch::Sender<()>,
    running: AtomicUsize,
    most_running: AtomicUsize,
    chooser: Mutex<Option<Chooser>>,
}

type Chooser = Box<dyn FnMut() -> Step + Send>;

/// A sink that records every attempt and does what the script says. Clones share the recording.
#[derive(Clone)]
pub struct Recorder(Arc<Recording>);

impl Recorder {
    /// Every attempt does `otherwise`, unless the script says something else.
    pub fn new(otherwise: Step) -> Self {
        Self(Arc::new(Recording {
            log: Mutex::default(),
            script: Mutex::default(),
            otherwise: Mutex::new(otherwise),
            held: watch::Sender::new(false),
            changed: watch::Sender::new(()),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
            chooser: Mutex::default(),
        }))
    }

    pub fn ok() -> Self {
        Self::new(Step::Ok)
    }

    /// The first attempts do these steps, one each. Later ones succeed.
    pub fn script(steps: impl IntoIterator<Item = Step>) -> Self {
        let recorder = Self::ok();
        recorder.then(steps);
        recorder
    }

    pub fn then(&self, steps: impl IntoIterator<Item = Step>) {
        lock(&self.0.script).extend(steps);
    }

    pub fn otherwise(&self, step: Step) {
        *lock(&self.0.otherwise) = step;
    }

    /// Asks `choose` for each attempt that the script does not name.
    pub fn choosing(choose: impl FnMut() -> Step + Send + 'static) -> Self {
        let recorder = Self::ok();
        *lock(&recorder.0.chooser) = Some(Box::new(choose));
        recorder
    }

    /// Attempts are recorded, then wait until `release`.
    pub fn hold(&self) {
        self.0.held.send_replace(true);
    }

    pub fn release(&self) {
        self.0.held.send_replace(false);
    }

    /// A sink that is held from the start.
    pub fn held() -> Self {
        let recorder = Self::ok();
        recorder.hold();
        recorder
    }

    pub fn attempts(&self) -> Vec<Attempt> {
        lock(&self.0.log).clone()
    }

    pub fn count(&self) -> usize {
        lock(&self.0.log).len()
    }

    /// The items of the attempts that returned `Ok`, in the order in which the attempts began.
    pub fn delivered(&self) -> Vec<u64> {
        let log = lock(&self.0.log);
        log.iter()
            .filter(|attempt| attempt.acked)
            .flat_map(|attempt| attempt.items.clone())
            .collect()
    }

    /// The sizes of the attempted batches, in order.
    pub fn sizes(&self) -> Vec<usize> {
        lock(&self.0.log)
            .iter()
            .map(|attempt| attempt.items.len())
            .collect()
    }

    /// How many attempts run now.
    pub fn running(&self) -> usize {
        self.0.running.load(SeqCst)
    }

    /// The largest number of attempts that ran at the same time.
    pub fn most_running(&self) -> usize {
        self.0.most_running.load(SeqCst)
    }

    /// Waits until `n` attempts have begun.
    pub async fn begun(&self, n: usize) {
        let mut changed = self.0.changed.subscribe();
        while self.count() < n {
            changed.changed().await.unwrap();
        }
    }

    /// Waits until `n` items were delivered.
    pub async fn received(&self, n: usize) {
        let mut changed = self.0.changed.subscribe();
        while self.delivered().len() < n {
            changed.changed().await.unwrap();
        }
    }

    /// Fails unless every producer's items came in push order, without a gap, over all attempts.
    ///
    /// An attempt either repeats the last batch of its producer whole, or goes on right behind it.
    #[track_caller]
    pub fn assert_ordered(&self) {
        let mut last: HashMap<usize, (u64, usize)> = HashMap::new();
        let mut seen: HashMap<u64, Vec<u64>> = HashMap::new();
        for attempt in self.attempts() {
            if let Some(items) = seen.get(&attempt.batch) {
                assert_eq!(*items, attempt.items, "batch {} changed", attempt.batch);
                for id in &attempt.items {
                    let (batch, _) = last[&producer_of(*id)];
                    assert_eq!(batch, attempt.batch, "repeated behind a later batch");
                }
                continue;
            }
            for &id in &attempt.items {
                let next = last
                    .get(&producer_of(id))
                    .map_or(0, |(_, sequence)| sequence + 1);
                assert_eq!(sequence_of(id), next, "producer {}", producer_of(id));
                last.insert(producer_of(id), (attempt.batch, next));
            }
            seen.insert(attempt.batch, attempt.items);
        }
    }

    /// Fails unless every producer's delivered items came in push order.
    ///
    /// Unlike `assert_ordered` this allows losses, and batches that a shutdown forms anew.
    #[track_caller]
    pub fn assert_delivered_in_order(&self) {
        let mut last: HashMap<usize, usize> = HashMap::new();
        for id in self.delivered() {
            let before = last.insert(producer_of(id), sequence_of(id));
            assert!(
                before < Some(sequence_of(id)),
                "{id:#x} came behind {before:?}"
            );
        }
    }

    fn begin(&self, attempt: Attempt) -> (usize, Running<'_>) {
        let running = self.0.running.fetch_add(1, SeqCst) + 1;
        self.0.most_running.fetch_max(running, SeqCst);
        let mut log = lock(&self.0.log);
        log.push(attempt);
        let index = log.len() - 1;
        drop(log);
        self.0.changed.send_replace(());
        (index, Running(&self.0.running))
    }

    fn next_step(&self) -> Step {
        if let Some(step) = lock(&self.0.script).pop_front() {
            return step;
        }
        match lock(&self.0.chooser).as_mut() {
            Some(choose) => choose(),
            None => *lock(&self.0.otherwise),
        }
    }

    fn ack(&self, index: usize) -> Result<(), SinkError> {
        lock(&self.0.log)[index].acked = true;
        self.0.changed.send_replace(());
        Ok(())
    }
}

struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// A record of an attempt that begins with this batch.
pub fn attempt_of<T: Id>(batch: &Batch<T>) -> Attempt {
    Attempt {
        batch: batch.id(),
        number: batch.attempt(),
        why: match batch.reason() {
            Reason::Size => Why::Size,
            Reason::Delay => Why::Delay,
            Reason::Flush => Why::Flush,
            Reason::Close => Why::Close,
            _ => Why::Other,
        },
        items: batch.iter().map(Id::id).collect(),
        at: Instant::now(),
        did: None,
        acked: false,
    }
}

impl<T: Id + Send + 'static> Sink<T> for Recorder {
    async fn send(&self, batch: Batch<T>) -> Result<(), SinkError> {
        let (index, _running) = self.begin(attempt_of(&batch));
        let mut held = self.0.held.subscribe();
        held.wait_for(|held| !held).await.unwrap();
        let step = self.next_step();
        lock(&self.0.log)[index].did = Some(step);
        match step {
            Step::Ok => self.ack(index),
            Step::Fail => Err("scripted failure".into()),
            Step::Reject => Err(SinkError::reject("scripted rejection")),
            Step::RetryAfter(delay) => Err(SinkError::retry_after("busy", delay)),
            // Unlike `panic!`, this says nothing on standard error.
            Step::Panic => std::panic::resume_unwind(Box::new("scripted panic")),
            Step::Hang => std::future::pending().await,
            Step::Slow(time) => {
                tokio::time::sleep(time).await;
                self.ack(index)
            }
            Step::Block(time) => {
                thread::sleep(time);
                self.ack(index)
            }
            Step::Take => {
                drop(batch.into_vec());
                self.ack(index)
            }
            Step::TakeFail => {
                drop(batch.into_vec());
                Err("failed with the items in hand".into())
            }
            Step::DropFirst => {
                drop(batch);
                tokio::task::yield_now().await;
                self.ack(index)
            }
        }
    }
}
