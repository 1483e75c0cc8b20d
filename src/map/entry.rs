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
    /// How many accepted updates made this entry what it is: 1 if it was put once.
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

/// An item of the batches of a map: an [`Entry`] of a [`Map`](crate::Map), or a [`Change`] of a
/// [`Mirror`](crate::Mirror). Nobody else can implement it.
pub trait MapItem<K, V>: sealed::Sealed + Send + 'static {
    /// `value` is `None` where the key was removed, which only a mirror holds.
    #[doc(hidden)]
    fn from_parts(key: K, value: Option<V>, version: Option<u64>, updates: u64) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl<K, V> Sealed for super::Entry<K, V> {}
    impl<K, V> Sealed for super::Change<K, V> {}
}

impl<K: Send + 'static, V: Send + 'static> MapItem<K, V> for Entry<K, V> {
    fn from_parts(key: K, value: Option<V>, version: Option<u64>, updates: u64) -> Self {
        Self {
            key,
            value: value.expect("only a mirror holds removals"),
            version,
            updates,
        }
    }
}

impl<K: Send + 'static, V: Send + 'static> MapItem<K, V> for Change<K, V> {
    fn from_parts(key: K, value: Option<V>, version: Option<u64>, updates: u64) -> Self {
        match value {
            None => Self::Remove { key },
            Some(_) => Self::Put(Entry::from_parts(key, value, version, updates)),
        }
    }
}
