//! Batches before they are lent, and what is known of them while they are out.

use tokio::time::Instant;

use crate::batch::{Batch, Reason, Ticket};

/// Items that make one batch.
pub(crate) struct Cut<T> {
    pub(crate) id: u64,
    pub(crate) items: Vec<T>,
    pub(crate) reason: Reason,
    /// Attempts made.
    pub(crate) attempts: u32,
    /// When the first of them began.
    pub(crate) begun: Option<Instant>,
}

impl<T> Cut<T> {
    pub(super) fn leg(&self) -> Leg {
        Leg {
            id: self.id,
            size: self.items.len(),
            reason: self.reason,
            attempts: self.attempts.saturating_add(1),
            begun: self.begun,
        }
    }

    pub(super) fn into_batch(self) -> Batch<T> {
        let ticket = self.leg().ticket();
        Batch::new(self.items, ticket, self.reason)
    }

    /// The same batch with other items.
    pub(crate) fn with_items<U>(self, items: Vec<U>) -> Cut<U> {
        Cut {
            id: self.id,
            items,
            reason: self.reason,
            attempts: self.attempts,
            begun: self.begun,
        }
    }
}

/// What is known of a batch that the sink, or the run, has.
pub(super) struct Leg {
    pub(super) id: u64,
    pub(super) size: usize,
    pub(super) reason: Reason,
    /// Attempts made, this one included.
    pub(super) attempts: u32,
    /// When the first of them began.
    pub(super) begun: Option<Instant>,
}

impl Leg {
    pub(super) fn ticket(&self) -> Ticket {
        Ticket {
            id: self.id,
            attempt: self.attempts,
        }
    }

    /// As it was before this attempt.
    pub(super) fn into_cut<T>(self, items: Vec<T>) -> Cut<T> {
        Cut {
            id: self.id,
            items,
            reason: self.reason,
            attempts: self.attempts - 1,
            begun: self.begun,
        }
    }
}

/// Batches that were delivered, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// The id of the first one.
    pub(crate) first: u64,
    pub(crate) batches: usize,
    pub(crate) items: usize,
    /// One of them had failed before.
    pub(crate) after_failure: bool,
}

impl Done {
    pub(super) fn add(&mut self, leg: &Leg) {
        if self.batches == 0 {
            self.first = leg.id;
        }
        self.batches += 1;
        self.items += leg.size;
        self.after_failure |= leg.attempts > 1;
    }

    pub(super) fn take(&mut self) -> Option<Self> {
        Some(std::mem::take(self)).filter(|done| done.batches > 0)
    }
}
