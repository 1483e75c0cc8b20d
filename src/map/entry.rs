//! What a map holds, and what its sink gets.

/// What is known of a key: an item of the batches of a [`Map`](crate::Map).
///
/// ```
/// use swaplane::{Batch, Entry};
///
/// fn rows(batch: &Batch<Entry<u64, String>>) -> usize {
///     for Entry { key, value, version, updates } in batch.iter() {
///         println!("{key} is {value:?} (version {version:?}, {updates} earlier updates)");
///     }
///     batch.len()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry<K, V> {
    /// The key, as it was first put.
    pub key: K,
    /// What was put last, or is newest, or has been merged.
    pub value: V,
    /// The newest version that was put with [`put_newer`](crate::Map::put_newer), if any.
    pub version: Option<u64>,
    /// How many accepted updates were merged into this entry: 0 if it was put once.
    pub updates: u64,
}

/// What has become of a key: an item of the batches of a [`Mirror`](crate::Mirror).
///
/// ```
/// use swaplane::{Change, Entry};
///
/// fn apply(table: &mut std::collections::HashMap<u64, String>, change: Change<u64, String>) {
///     match change {
///         Change::Put(Entry { key, value, .. }) => drop(table.insert(key, value)),
///         Change::Remove { key } => drop(table.remove(&key)),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change<K, V> {
    /// It has this value.
    Put(Entry<K, V>),
    /// It was removed.
    Remove {
        /// The key.
        key: K,
    },
}

impl<K, V> Change<K, V> {
    /// The key that has changed.
    ///
    /// ```
    /// assert_eq!(swaplane::Change::<u8, ()>::Remove { key: 7 }.key(), &7);
    /// ```
    #[must_use]
    pub fn key(&self) -> &K {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Remove { key } => key,
        }
    }
}

/// What an accepted [`put_newer`](crate::Map::put_newer) did.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let map = swaplane::Map::builder().spawn_fn(|_batch| async { Ok(()) })?;
/// use swaplane::Put;
///
/// assert_eq!(map.put_newer("key", "as it is", 2)?, Put::Inserted);
/// assert_eq!(map.put_newer("key", "as it was", 1)?, Put::Stale);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Put {
    /// It began an entry.
    Inserted,
    /// It replaced the value of the entry that was held.
    Replaced,
    /// Nothing: a version at least as new is held, on its way or delivered_versions. It does not count as
    /// accepted.
    Stale,
}

/// What a [`Map`](crate::Map) hands to its sink: [`Entries`] or [`Changes`]. Nobody else can
/// implement it.
pub trait Kind: sealed::Sealed + Send + Sync + 'static {
    /// An item of its batches.
    type Item<K: Send + 'static, V: Send + 'static>: Send + 'static;
    #[doc(hidden)]
    fn item<K: Send + 'static, V: Send + 'static>(
        key: K,
        value: Option<V>,
        version: Option<u64>,
        updates: u64,
    ) -> Self::Item<K, V>;
}

/// The kind of a map whose sink gets each [`Entry`]; what is removed before it is sent was never
/// there.
#[derive(Debug)]
pub enum Entries {}

/// The kind of a map whose sink gets each [`Change`]: removals too. See [`Mirror`](crate::Mirror).
#[derive(Debug)]
pub enum Changes {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Entries {}
    impl Sealed for super::Changes {}
}

impl Kind for Entries {
    type Item<K: Send + 'static, V: Send + 'static> = Entry<K, V>;

    fn item<K: Send + 'static, V: Send + 'static>(
        key: K,
        value: Option<V>,
        version: Option<u64>,
        updates: u64,
    ) -> Entry<K, V> {
        Entry {
            key,
            value: value.expect("only a mirror holds removals"),
            version,
            updates,
        }
    }
}

impl Kind for Changes {
    type Item<K: Send + 'static, V: Send + 'static> = Change<K, V>;

    fn item<K: Send + 'static, V: Send + 'static>(
        key: K,
        value: Option<V>,
        version: Option<u64>,
        updates: u64,
    ) -> Change<K, V> {
        match value {
            None => Change::Remove { key },
            Some(value) => Change::Put(Entry {
                key,
                value,
                version,
                updates,
            }),
        }
    }
}
