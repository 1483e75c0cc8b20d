//! The callers of `flush`, and what each of them waits for.

use tokio::sync::oneshot;

use super::request::Flushed;
use crate::error::FlushError;

/// Callers that asked at the same time.
pub(super) struct Flush {
    /// For each worker.
    shares: Vec<Share>,
    callers: Vec<oneshot::Sender<Flushed>>,
    undelivered: FlushError,
}

/// What one worker has to do with a flush.
#[derive(PartialEq, Eq)]
struct Share {
    /// It covers the batches with lower ids.
    below: u64,
    /// More is to be cut once they are terminal: something of it was held back.
    more: bool,
}

impl Flush {
    /// Covers what was cut so far, below the id `below`; and more of the workers that hold
    /// something back.
    pub(super) fn new(
        below: u64,
        held_back: Vec<bool>,
        callers: Vec<oneshot::Sender<Flushed>>,
    ) -> Self {
        let share = |more| Share { below, more };
        Self {
            shares: held_back.into_iter().map(share).collect(),
            callers,
            undelivered: FlushError::default(),
        }
    }

    /// Whether both wait for the same batches, of which none has failed yet.
    pub(super) fn covers_the_same(&self, other: &Self) -> bool {
        self.shares == other.shares && self.undelivered.undelivered() == 0
    }

    /// Answers the callers of another flush, which covers the same.
    pub(super) fn join(&mut self, mut other: Self) {
        // During an outage callers come and go.
        if self.callers.len() + other.callers.len() > self.callers.capacity() {
            self.callers.retain(|caller| !caller.is_closed());
        }
        self.callers.append(&mut other.callers);
    }

    /// Whether what a worker held back can be cut now, where `first` is its first batch that is
    /// not terminal. Once everything is `closed` nothing is held back.
    pub(super) fn may_go_on(&self, worker: usize, first: Option<u64>, closed: bool) -> bool {
        let share = &self.shares[worker];
        share.more && (closed || first.is_none_or(|id| id >= share.below))
    }

    /// Everything is cut now, below the id `below`.
    pub(super) fn goes_on(&mut self, worker: usize, below: u64) {
        let share = &mut self.shares[worker];
        if share.more {
            *share = Share { below, more: false };
        }
    }

    /// Notes items that were not delivered, of the batch `id`, if the flush covers it.
    pub(super) fn note(&mut self, worker: usize, id: u64, returned: usize, lost: usize) {
        if id < self.shares[worker].below {
            self.undelivered.returned += returned as u64;
            self.undelivered.lost += lost as u64;
        }
    }

    /// Answers if everything is terminal, where `first` tells of each worker its first batch
    /// that is not.
    pub(super) fn answered(&mut self, first: impl Fn(usize) -> Option<u64>) -> bool {
        let done =
            self.shares.iter().enumerate().all(|(worker, share)| {
                !share.more && first(worker).is_none_or(|id| id >= share.below)
            });
        if done {
            let answer = match self.undelivered.undelivered() {
                0 => Ok(()),
                _ => Err(self.undelivered),
            };
            for caller in self.callers.drain(..) {
                // Who has left needs no answer.
                let _ = caller.send(answer);
            }
        }
        done
    }
}
