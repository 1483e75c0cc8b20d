//! The sink: each batch becomes one transaction of upserts.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use common::{database, stop::Stop};
use rusqlite::ErrorCode;
use swaplane::{Batch, Entry, Retry, Sink, SinkError};
use tokio::task::spawn_blocking;

use crate::{devices::State, store::Store};

/// A transaction cannot be called off, so this is only for a disk that hangs.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_ATTEMPTS: u32 = 5;

pub fn retry() -> Retry {
    Retry::exponential().max_attempts(MAX_ATTEMPTS)
}

/// What was committed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    pub transactions: u64,
    /// Entries in those transactions.
    pub entries: u64,
    /// The updates that the entries say they were made of.
    pub updates: u64,
    /// Rows that were new or newer. Of the other entries the database had the same or a newer
    /// version already.
    pub rows: u64,
}

#[derive(Default)]
pub struct Counters {
    transactions: AtomicU64,
    entries: AtomicU64,
    updates: AtomicU64,
    rows: AtomicU64,
}

impl Counters {
    /// Exact once the map is shut down.
    pub fn read(&self) -> Written {
        Written {
            transactions: self.transactions.load(Ordering::Relaxed),
            entries: self.entries.load(Ordering::Relaxed),
            updates: self.updates.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
        }
    }
}

pub struct SqliteSink {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<Mutex<Store>>,
    counters: Arc<Counters>,
    stop: Arc<Stop>,
}

impl SqliteSink {
    pub fn new(store: Arc<Mutex<Store>>, counters: Arc<Counters>, stop: Arc<Stop>) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                counters,
                stop,
            }),
        }
    }
}

impl Sink<Entry<u32, State>> for SqliteSink {
    async fn send(&self, batch: Batch<Entry<u32, State>>) -> Result<(), SinkError> {
        // SQLite blocks, and the runtime's own threads must not.
        let inner = Arc::clone(&self.inner);
        spawn_blocking(move || inner.write(&batch)).await?
    }
}

impl Inner {
    /// An attempt that was given up on may still have got through. Nothing has to be remembered
    /// for that: the version in each row makes a second attempt harmless.
    fn write(&self, batch: &Batch<Entry<u32, State>>) -> Result<(), SinkError> {
        let states = batch.iter().map(|entry| {
            let version = entry.version.expect("every update has a version");
            (entry.key, version, &entry.value)
        });
        let written = database::lock(&self.store).upsert(states);
        match written {
            Ok(rows) => {
                let updates = batch.iter().map(|entry| entry.updates).sum();
                let count = |counter: &AtomicU64, n| counter.fetch_add(n, Ordering::Relaxed);
                count(&self.counters.transactions, 1);
                count(&self.counters.entries, batch.len() as u64);
                count(&self.counters.updates, updates);
                count(&self.counters.rows, rows);
                Ok(())
            }
            Err(error) if is_busy(&error) && batch.attempt() < MAX_ATTEMPTS => Err(error.into()),
            Err(error) => {
                // A full disk does not get better by updating on.
                self.stop.fail(error.to_string());
                Err(SinkError::reject(error))
            }
        }
    }
}

/// Whether another program has the database locked, which passes.
fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}
