//! The sink: each batch becomes one transaction.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use common::{database, stop::Stop};
use rusqlite::ErrorCode;
use swaplane::{Batch, Retry, Sink, SinkError};
use tokio::task::spawn_blocking;

use crate::store::{Row, Store};

/// A transaction cannot be called off, so this is only for a disk that hangs.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_ATTEMPTS: u32 = 5;

pub fn retry() -> Retry {
    Retry::exponential().max_attempts(MAX_ATTEMPTS)
}

pub struct SqliteSink {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<Mutex<Store>>,
    /// The batches that are in the database. An attempt that was given up on may still have got
    /// through; the next one, with the same id, must not write the rows a second time.
    committed: Mutex<HashSet<u64>>,
    stop: Arc<Stop>,
}

impl SqliteSink {
    pub fn new(store: Arc<Mutex<Store>>, stop: Arc<Stop>) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                committed: Mutex::default(),
                stop,
            }),
        }
    }
}

impl Sink<Row> for SqliteSink {
    async fn send(&self, batch: Batch<Row>) -> Result<(), SinkError> {
        // SQLite blocks, and the runtime's own threads must not.
        let inner = Arc::clone(&self.inner);
        spawn_blocking(move || inner.write(&batch)).await?
    }
}

impl Inner {
    fn write(&self, batch: &Batch<Row>) -> Result<(), SinkError> {
        // Held until the id is noted, so that a second attempt waits for the first.
        let mut committed = self
            .committed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if committed.contains(&batch.id()) {
            return Ok(());
        }
        match database::lock(&self.store).insert(batch) {
            Ok(()) => {
                committed.insert(batch.id());
                Ok(())
            }
            Err(error) if is_busy(&error) && batch.attempt() < MAX_ATTEMPTS => Err(error.into()),
            Err(error) => {
                // A full disk does not get better by reading on.
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
