//! What callers ask of the flusher, and what it leaves to them. Requests are notes in a list, not
//! messages in a queue: none is ever lost because something is full, and a caller that goes
//! away takes nothing with it.

use std::fmt;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::error::FlushError;
use crate::sync::{Mutex, broken};

pub(crate) type Flushed = Result<(), FlushError>;

/// `R` is what the flusher leaves behind when it ends.
pub(crate) struct Requests<R> {
    notes: Mutex<Notes>,
    /// Under a lock of its own: who recovers it may take a while, and no flush is to wait for that.
    remains: Mutex<Option<R>>,
    ended: watch::Sender<bool>,
}

struct Notes {
    flushes: Vec<oneshot::Sender<Flushed>>,
    deadlines: Vec<Duration>,
    closed: bool,
    retry_now: bool,
    ended: bool,
}

/// The requests that have come since the last time.
pub(crate) struct Heard {
    pub(crate) flushes: Vec<oneshot::Sender<Flushed>>,
    /// Of shutdowns.
    pub(crate) deadlines: Vec<Duration>,
    /// Every lane has refused items since before this was noted.
    pub(crate) closed: bool,
    /// Pauses after failures are to end.
    pub(crate) retry_now: bool,
}

impl<R> Requests<R> {
    pub(crate) fn new() -> Self {
        Self {
            notes: Mutex::new(Notes {
                flushes: Vec::new(),
                deadlines: Vec::new(),
                closed: false,
                retry_now: false,
                ended: false,
            }),
            remains: Mutex::new(None),
            ended: watch::Sender::new(false),
        }
    }

    /// Asks for a flush of all that was pushed before. `None`: the flusher has ended.
    pub(crate) fn flush(&self) -> Option<oneshot::Receiver<Flushed>> {
        let mut notes = self.notes.lock();
        if notes.ended && !broken("request: taken after the end") {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        // Callers that have left need no answer.
        notes.flushes.retain(|flush| !flush.is_closed());
        notes.flushes.push(sender);
        Some(receiver)
    }

    /// Notes that every lane refuses items.
    pub(crate) fn close(&self) {
        self.notes.lock().closed = true;
    }

    /// Asks for the end of all pauses after failures.
    pub(crate) fn retry_now(&self) {
        self.notes.lock().retry_now = true;
    }

    /// Notes that every lane refuses items, and asks for a shutdown within `deadline`.
    pub(crate) fn shutdown(&self, deadline: Duration) {
        let mut notes = self.notes.lock();
        notes.closed = true;
        if !notes.ended {
            notes.deadlines.push(deadline);
        }
    }

    /// The flusher's: what has been asked since the last time. What was pushed before is visible
    /// once this returns.
    pub(crate) fn hear(&self) -> Heard {
        let mut notes = self.notes.lock();
        Heard {
            flushes: std::mem::take(&mut notes.flushes),
            deadlines: std::mem::take(&mut notes.deadlines),
            closed: notes.closed,
            retry_now: std::mem::take(&mut notes.retry_now),
        }
    }

    /// The flusher's: of what `hear` hears, the flushes.
    pub(crate) fn hear_flushes(&self) -> Vec<oneshot::Sender<Flushed>> {
        std::mem::take(&mut self.notes.lock().flushes)
    }

    /// The flusher's last word. Flushes still in the list learn it by their senders' end.
    pub(crate) fn end(&self, remains: R) {
        *self.remains.lock() = Some(remains);
        let mut notes = self.notes.lock();
        notes.ended = true;
        let flushes = std::mem::take(&mut notes.flushes);
        drop(notes);
        drop(flushes);
        self.ended.send_replace(true);
    }

    /// Waits until the flusher has ended.
    pub(crate) async fn ended(&self) {
        let mut ended = self.ended.subscribe();
        // The sender is part of `self`, so it cannot be gone.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Runs `f` on what the flusher has left, one caller at a time.
    pub(crate) fn with_remains<V>(&self, f: impl FnOnce(&mut R) -> V) -> Option<V> {
        self.remains.lock().as_mut().map(f)
    }
}

impl<R> fmt::Debug for Requests<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}
