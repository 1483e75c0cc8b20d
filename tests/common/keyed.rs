//! What the tests of maps share: the rows that a sink sees, and a sink that keeps them.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use swaplane::{Batch, Builder, Change, Entry, Map, Sink, SinkError};

use super::{Attempt, HOUR, Id, Recorder, lock, secs};

/// An [`Entry`] or a [`Change`] in one plain type. Without a value it is a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub key: u64,
    pub value: Option<u64>,
    pub version: Option<u64>,
    pub updates: u64,
}

pub const fn row(key: u64, value: u64) -> Row {
    Row {
        value: Some(value),
        ..removal(key)
    }
}

pub const fn removal(key: u64) -> Row {
    Row {
        key,
        value: None,
        version: None,
        updates: 1,
    }
}

impl Row {
    pub const fn version(self, version: u64) -> Self {
        Self {
            version: Some(version),
            ..self
        }
    }

    pub const fn updates(self, updates: u64) -> Self {
        Self { updates, ..self }
    }
}

impl From<&Entry<u64, u64>> for Row {
    fn from(entry: &Entry<u64, u64>) -> Self {
        Self {
            key: entry.key,
            value: Some(entry.value),
            version: entry.version,
            updates: entry.updates,
        }
    }
}

impl From<&Change<u64, u64>> for Row {
    fn from(change: &Change<u64, u64>) -> Self {
        match change {
            Change::Put(entry) => entry.into(),
            Change::Remove { key } => removal(*key),
        }
    }
}

impl Id for Entry<u64, u64> {
    fn id(&self) -> u64 {
        self.key
    }
}

impl Id for Change<u64, u64> {
    fn id(&self) -> u64 {
        *self.key()
    }
}

/// The items of a batch or of a report as rows.
pub fn rows<'a, T>(items: &'a [T]) -> Vec<Row>
where
    Row: From<&'a T>,
{
    items.iter().map(Row::from).collect()
}

/// Rows sorted by key. The rows of one key keep their order.
pub fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| row.key);
    rows
}

/// A [`Recorder`] that also keeps the rows of each batch. Clones share the recording.
#[derive(Clone)]
pub struct Keyed {
    recorder: Recorder,
    batches: Arc<Mutex<HashMap<u64, Vec<Row>>>>,
}

impl From<Recorder> for Keyed {
    fn from(recorder: Recorder) -> Self {
        Self {
            recorder,
            batches: Arc::default(),
        }
    }
}

impl Deref for Keyed {
    type Target = Recorder;

    fn deref(&self) -> &Recorder {
        &self.recorder
    }
}

impl Keyed {
    /// The rows of each attempt, in order.
    pub fn tried(&self) -> Vec<Vec<Row>> {
        self.rows_of(|_| true)
    }

    /// The rows of the attempts that returned `Ok`, in order.
    pub fn acked(&self) -> Vec<Row> {
        self.rows_of(|attempt| attempt.acked).concat()
    }

    /// The last acked row of each key.
    pub fn state(&self) -> HashMap<u64, Row> {
        self.acked().into_iter().map(|row| (row.key, row)).collect()
    }

    /// The rows of one batch.
    pub fn batch(&self, id: u64) -> Vec<Row> {
        lock(&self.batches)[&id].clone()
    }

    fn rows_of(&self, which: impl Fn(&Attempt) -> bool) -> Vec<Vec<Row>> {
        let batches = lock(&self.batches);
        let attempts = self.attempts().into_iter().filter(which);
        attempts
            .map(|attempt| batches[&attempt.batch].clone())
            .collect()
    }
}

impl<T: Id + Send + 'static> Sink<T> for Keyed
where
    for<'a> Row: From<&'a T>,
{
    async fn send(&self, batch: Batch<T>) -> Result<(), SinkError> {
        let new = rows(&batch);
        let mut keys: Vec<_> = new.iter().map(|row| row.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), new.len(), "a key twice in a batch: {new:?}");
        let old = lock(&self.batches)
            .entry(batch.id())
            .or_insert_with(|| new.clone())
            .clone();
        assert_eq!(old, new, "batch {} changed", batch.id());
        self.recorder.send(batch).await
    }
}

/// Batches of ten by size or request, a second between attempts. One partition makes the order
/// known.
pub fn steady_map<K, V>() -> Builder<Map<K, V>>
where
    K: std::hash::Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    Map::builder()
        .partitions(1)
        .shards(2)
        .max_batch_size(10)
        .max_delay(HOUR)
        .attempt_timeout(10 * HOUR)
        .retry(|_: u32, _: &SinkError| Some(secs(1)))
}
