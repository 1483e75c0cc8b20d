//! What a table of a map holds for a key.

use std::mem;
use std::num::NonZeroU64;

/// The value of a key and its metadata.
///
/// Small, since an update waits for each cache line of it: with a number as its value it takes
/// three words.
#[derive(Debug)]
pub(crate) enum Slot<V> {
    Value(V, EntryMeta),
    /// The key was removed (in a mirror), or its entry is in flight and only the version is known.
    Nothing(EntryMeta),
}

impl<V> Slot<V> {
    pub(crate) fn new(value: Option<V>, meta: EntryMeta) -> Self {
        match value {
            Some(value) => Self::Value(value, meta),
            None => Self::Nothing(meta),
        }
    }

    #[inline(always)]
    pub(crate) fn meta(&self) -> &EntryMeta {
        match self {
            Self::Value(_, meta) | Self::Nothing(meta) => meta,
        }
    }

    #[inline(always)]
    pub(crate) fn meta_mut(&mut self) -> &mut EntryMeta {
        match self {
            Self::Value(_, meta) => meta,
            Self::Nothing(meta) => {
                // Cold, so that the compiler emits a branch and not a select: the address to write
                // to must not depend on a discriminant that is still being loaded.
                rare();
                meta
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

    /// Puts a value, and returns the one that was there. Keeps the metadata.
    #[inline(always)]
    pub(crate) fn replace(&mut self, new: V) -> Option<V> {
        match self {
            Self::Value(value, _) => Some(mem::replace(value, new)),
            Self::Nothing(meta) => {
                *self = Self::Value(new, *meta);
                None
            }
        }
    }

    /// Takes the value out. Keeps the metadata.
    pub(crate) fn take(&mut self) -> Option<V> {
        let meta = *self.meta();
        mem::replace(self, Self::Nothing(meta)).into_value()
    }

    /// Folds an update into the value, or puts it where there is none. Keeps the metadata.
    pub(crate) fn merge(&mut self, update: V, fold: impl FnOnce(&mut V, V)) {
        match self {
            Self::Value(value, _) => fold(value, update),
            Self::Nothing(meta) => *self = Self::Value(update, *meta),
        }
    }
}

#[cold]
fn rare() {}

/// The newest version that was put, if any, and the number of updates.
///
/// An update reads `marks`, which is the last word of an entry as the key is the first: if an entry
/// lies in two cache lines, both are fetched at once.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct EntryMeta {
    /// The newest version; 0 while there is none.
    version: u64,
    /// Bit 0: there is a version. The bits above: the number of updates, that which began the entry
    /// included. Never 0, so `Slot` needs no word for its discriminant.
    marks: NonZeroU64,
}

const VERSIONED: u64 = 1;
const UPDATE: u64 = 1 << 1;

impl EntryMeta {
    /// The metadata of an entry that begins.
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

    /// Counts an update that is merged, and takes its version if it has one.
    #[inline(always)]
    pub(crate) fn update(&mut self, version: Option<u64>) {
        // Saturating for the sake of the type: no counter gets that far.
        self.marks = self.marks.saturating_add(UPDATE);
        *self = self.with(version);
    }

    #[inline(always)]
    pub(crate) fn version(&self) -> Option<u64> {
        (self.marks.get() & VERSIONED != 0).then_some(self.version)
    }

    /// How many updates made the entry: at least 1.
    pub(crate) fn updates(&self) -> u64 {
        self.marks.get() / UPDATE
    }
}

#[cfg(test)]
mod tests {
    use super::{EntryMeta, Slot};

    #[test]
    fn the_metadata_keeps_the_last_version_and_counts() {
        let mut meta = EntryMeta::new(None);
        assert_eq!((meta.version(), meta.updates()), (None, 1));
        meta.update(None);
        assert_eq!((meta.version(), meta.updates()), (None, 2));
        meta.update(Some(0));
        assert_eq!((meta.version(), meta.updates()), (Some(0), 3));
        meta.update(Some(u64::MAX));
        meta.update(None);
        assert_eq!((meta.version(), meta.updates()), (Some(u64::MAX), 5));
        assert_eq!(EntryMeta::new(Some(7)).version(), Some(7));
    }

    #[test]
    fn a_value_comes_and_goes_and_the_metadata_stays() {
        let mut slot = Slot::new(Some(1), EntryMeta::new(Some(7)));
        slot.merge(2, |sum, value| *sum += value);
        assert_eq!(slot.replace(4), Some(3));
        assert_eq!((slot.take(), slot.take()), (Some(4), None));
        assert_eq!((slot.value(), slot.meta().version()), (None, Some(7)));
        assert_eq!(slot.replace(5), None);
        assert_eq!(slot.take(), Some(5));
        slot.merge(6, |_, _| unreachable!("there is none"));
        assert_eq!(slot.into_value(), Some(6));
    }

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_slot_is_small() {
        assert_eq!(size_of::<Slot<u64>>(), 24);
        assert_eq!(size_of::<Slot<String>>(), size_of::<String>() + 16);
    }
}
