//! The fate of every item of a test.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

use swaplane::ShutdownReport;

use super::{Id, Recorder, assert_adds_up, eventually, item, producer_of, sequence_of};

#[derive(Default)]
struct Fate {
    accepted: AtomicU8,
    refused: AtomicU8,
    created: AtomicU8,
    dropped: AtomicU8,
}

/// The fate of every item of a test. The ledger makes the tokens, and they report their drop to it.
pub struct Ledger {
    per_producer: usize,
    fates: Vec<Fate>,
}

/// An item under watch.
pub struct Token {
    id: u64,
    ledger: Arc<Ledger>,
}

impl Id for Token {
    fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.ledger.fate(self.id).dropped.fetch_add(1, SeqCst);
    }
}

impl Ledger {
    pub fn new(producers: usize, per_producer: usize) -> Arc<Self> {
        let fates = (0..producers * per_producer)
            .map(|_| Fate::default())
            .collect();
        Arc::new(Self {
            per_producer,
            fates,
        })
    }

    fn fate(&self, id: u64) -> &Fate {
        &self.fates[producer_of(id) * self.per_producer + sequence_of(id)]
    }

    /// Makes the `n`-th token of a producer.
    pub fn token(self: &Arc<Self>, producer: usize, n: usize) -> Token {
        let id = item(producer, n);
        self.fate(id).created.fetch_add(1, SeqCst);
        Token {
            id,
            ledger: self.clone(),
        }
    }

    /// Notes what a push said about the token that it was given.
    pub fn note(&self, id: u64, accepted: bool) {
        let fate = self.fate(id);
        let side = if accepted {
            &fate.accepted
        } else {
            &fate.refused
        };
        side.fetch_add(1, SeqCst);
    }

    pub fn accepted(&self) -> u64 {
        self.fates
            .iter()
            .map(|fate| u64::from(fate.accepted.load(SeqCst)))
            .sum()
    }

    /// Fails unless every accepted token has exactly one outcome, and the report says the same.
    ///
    /// A token that no successful attempt had, and that was not returned, is lost.
    #[track_caller]
    pub fn assert_settled(&self, sink: &Recorder, report: &ShutdownReport<Token>) {
        assert_adds_up(report);
        let mut acked: HashMap<u64, u32> = HashMap::new();
        for id in sink.delivered() {
            *acked.entry(id).or_default() += 1;
        }
        let mut returned: HashMap<u64, u32> = HashMap::new();
        for token in &report.returned {
            *returned.entry(token.id).or_default() += 1;
        }
        let mut lost = 0;
        for (index, fate) in self.fates.iter().enumerate() {
            let id = item(index / self.per_producer, index % self.per_producer);
            let acked = acked.get(&id).copied().unwrap_or(0);
            let returned = returned.get(&id).copied().unwrap_or(0);
            match fate.accepted.load(SeqCst) {
                0 => assert_eq!((acked, returned), (0, 0), "item {id:#x} was never accepted"),
                1 => {
                    assert!(
                        acked + returned <= 1,
                        "{id:#x}: acked {acked}, returned {returned}"
                    );
                    lost += u64::from(acked + returned == 0);
                }
                n => panic!("item {id:#x} was accepted {n} times"),
            }
        }
        assert_eq!(report.accepted, self.accepted(), "accepted");
        assert_eq!(report.delivered, acked.len() as u64, "delivered");
        assert_eq!(report.lost, lost, "lost");
    }

    /// Fails unless every token was dropped exactly once. All owners must be gone.
    #[track_caller]
    pub fn assert_all_dropped(&self) {
        eventually("every token is dropped", || {
            let mut fates = self.fates.iter();
            fates.all(|fate| fate.dropped.load(SeqCst) >= fate.created.load(SeqCst))
        });
        for (index, fate) in self.fates.iter().enumerate() {
            let (created, dropped) = (fate.created.load(SeqCst), fate.dropped.load(SeqCst));
            assert_eq!(
                created, dropped,
                "token {index} was dropped {dropped} times"
            );
        }
    }
}
