//! What a map holds, and what its sink gets.

use std::mem;
use std::num::NonZeroU64;

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
    /// Nothing: a version at least as new is held, on its way or remembered. It does not count as
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

/// What is held of a key. Kept small, since an update waits for each cache line of it: with a number
/// as its value it takes three words.
#[derive(Debug)]
pub(crate) enum Held<V> {
    Value(V, Past),
    /// It was removed (in a mirror); or it is with the sink, and this is only to know the version.
    Nothing(Past),
}

impl<V> Held<V> {
    pub(crate) fn new(value: Option<V>, past: Past) -> Self {
        match value {
            Some(value) => Self::Value(value, past),
            None => Self::Nothing(past),
        }
    }

    #[inline(always)]
    pub(crate) fn past(&self) -> &Past {
        match self {
            Self::Value(_, past) | Self::Nothing(past) => past,
        }
    }

    #[inline(always)]
    pub(crate) fn past_mut(&mut self) -> &mut Past {
        match self {
            Self::Value(_, past) => past,
            Self::Nothing(past) => {
                // A branch, or the update would wait for where it has to write.
                rare();
                past
            }
        }
    }

    pub(crate) fn value(&self) -> Option<&V> {
        match self {
            Self::Value(value, _) => Some(value),
            Self::Nothing(_) => None,
        }
    }

    pub(crate) fn into_value(self) -> Option<V> {
        match self {
            Self::Value(value, _) => Some(value),
            Self::Nothing(_) => None,
        }
    }

    /// Gives back the value that was there.
    #[inline(always)]
    pub(crate) fn replace(&mut self, new: V) -> Option<V> {
        match self {
            Self::Value(value, _) => Some(mem::replace(value, new)),
            Self::Nothing(past) => {
                *self = Self::Value(new, *past);
                None
            }
        }
    }

    /// Takes the value.
    pub(crate) fn take(&mut self) -> Option<V> {
        let past = *self.past();
        mem::replace(self, Self::Nothing(past)).into_value()
    }

    pub(crate) fn merge(&mut self, update: V, fold: impl FnOnce(&mut V, V)) {
        match self {
            Self::Value(value, _) => fold(value, update),
            Self::Nothing(past) => *self = Self::Value(update, *past),
        }
    }
}

#[cold]
fn rare() {}

/// The newest version that was put, if any, and how many updates were merged. In this order, so that
/// `marks`, which an update reads, is the last word of an entry as the key is the first: if they
/// lie in two cache lines, both are fetched at once.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Past {
    /// 0 while there is none.
    version: u64,
    /// Bit 0: there is a version. Above: the updates, and the one that began the entry; so it is
    /// never 0, by which `Held` tells that there is no value.
    marks: NonZeroU64,
}

const VERSIONED: u64 = 1;
const UPDATE: u64 = 1 << 1;

impl Past {
    /// Of an entry that begins.
    #[inline(always)]
    pub(crate) fn new(version: Option<u64>) -> Self {
        let marks = NonZeroU64::MIN.saturating_add(UPDATE - 1);
        Self { version: 0, marks }.with(version)
    }

    #[inline(always)]
    fn with(self, version: Option<u64>) -> Self {
        match version {
            Some(version) => Self {
                version,
                marks: self.marks | VERSIONED,
            },
            None => self,
        }
    }

    /// An update is merged.
    #[inline(always)]
    pub(crate) fn update(&mut self, version: Option<u64>) {
        // Saturating for the sake of the type: nobody counts that far.
        self.marks = self.marks.saturating_add(UPDATE);
        *self = self.with(version);
    }

    #[inline(always)]
    pub(crate) fn version(&self) -> Option<u64> {
        (self.marks.get() & VERSIONED != 0).then_some(self.version)
    }

    /// How many were merged into the entry.
    pub(crate) fn updates(&self) -> u64 {
        self.marks.get() / UPDATE - 1
    }
}

#[cfg(test)]
mod tests {
    use super::{Held, Past};

    #[test]
    fn the_past_keeps_the_last_version_and_counts() {
        let mut past = Past::new(None);
        assert_eq!((past.version(), past.updates()), (None, 0));
        past.update(None);
        assert_eq!((past.version(), past.updates()), (None, 1));
        past.update(Some(0));
        assert_eq!((past.version(), past.updates()), (Some(0), 2));
        past.update(Some(u64::MAX));
        past.update(None);
        assert_eq!((past.version(), past.updates()), (Some(u64::MAX), 4));
        assert_eq!(Past::new(Some(7)).version(), Some(7));
    }

    #[test]
    fn a_value_comes_and_goes_and_the_past_stays() {
        let mut held = Held::new(Some(1), Past::new(Some(7)));
        held.merge(2, |sum, value| *sum += value);
        assert_eq!(held.replace(4), Some(3));
        assert_eq!((held.take(), held.take()), (Some(4), None));
        assert_eq!((held.value(), held.past().version()), (None, Some(7)));
        assert_eq!(held.replace(5), None);
        assert_eq!(held.take(), Some(5));
        held.merge(6, |_, _| unreachable!("there is none"));
        assert_eq!(held.into_value(), Some(6));
    }

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn it_is_small() {
        assert_eq!(size_of::<Held<u64>>(), 24);
        assert_eq!(size_of::<Held<String>>(), size_of::<String>() + 16);
    }
}
