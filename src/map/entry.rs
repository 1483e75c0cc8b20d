//! What the sink of a map gets, and what `put_newer` answers.

/// The state of a key: an item of the batches of a [`Map`](crate::Map).
///
/// ```
/// use swaplane::{Batch, Entry};
///
/// fn rows(batch: &Batch<Entry<u64, String>>) -> usize {
///     for Entry { key, value, version, updates } in batch.iter() {
///         println!("{key} is {value:?} (version {version:?}, made of {updates} updates)");
///     }
///     batch.len()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry<K, V> {
    /// The key, as the update that began the entry had it.
    pub key: K,
    /// The value that was put last, or with the highest version, or what was merged.
    pub value: V,
    /// The highest version that was put with [`put_newer`](crate::Map::put_newer), if any.
    pub version: Option<u64>,
    /// How many accepted updates made this entry: 1 if it was put once.
    pub updates: u64,
}

/// What happened to a key: an item of the batches of a [`Mirror`](crate::Mirror).
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
    /// The key has this value.
    Put(Entry<K, V>),
    /// The key was removed.
    Remove {
        /// The key.
        key: K,
    },
}

impl<K, V> Change<K, V> {
    /// The key that has changed.
    #[must_use]
    pub fn key(&self) -> &K {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Remove { key } => key,
        }
    }
}

/// What an accepted [`put_newer`](crate::Map::put_newer) did; an example is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Put {
    /// The update began an entry.
    Inserted,
    /// The update replaced the value of the entry that waited.
    Replaced,
    /// The update was dropped: a version at least as high waits, is in flight, or is remembered.
    /// The update does not count as accepted.
    Stale,
}

/// An item of the batches of a map: an [`Entry`] of a [`Map`](crate::Map), or a [`Change`] of a
/// [`Mirror`](crate::Mirror). Sealed: no other type implements it.
pub trait MapItem<K, V>: sealed::Sealed + Send + 'static {
    /// Without a `value` the key was removed, which only happens in a mirror.
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
