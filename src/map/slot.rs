//! What a map holds of a key.

use std::mem;
use std::num::NonZeroU64;

/// What is held of a key. Kept small, since an update waits for each cache line of it: with a number
/// as its value it takes three words.
#[derive(Debug)]
pub(crate) enum Slot<V> {
    Value(V, EntryMeta),
    /// It was removed (in a mirror); or it is with the sink, and this is only to know the version.
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
                // A branch, or the update would wait for where it has to write.
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

    /// Gives back the value that was there.
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

    /// Takes the value.
    pub(crate) fn take(&mut self) -> Option<V> {
        let meta = *self.meta();
        mem::replace(self, Self::Nothing(meta)).into_value()
    }

    pub(crate) fn merge(&mut self, update: V, fold: impl FnOnce(&mut V, V)) {
        match self {
            Self::Value(value, _) => fold(value, update),
            Self::Nothing(meta) => *self = Self::Value(update, *meta),
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
pub(crate) struct EntryMeta {
    /// 0 while there is none.
    version: u64,
    /// Bit 0: there is a version. Above: the updates, and the one that began the entry; so it is
    /// never 0, by which `Slot` tells that there is no value.
    marks: NonZeroU64,
}

const VERSIONED: u64 = 1;
const UPDATE: u64 = 1 << 1;

impl EntryMeta {
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

    /// How many updates made the entry what it is: at least 1.
    pub(crate) fn updates(&self) -> u64 {
        self.marks.get() / UPDATE
    }
}

#[cfg(test)]
mod tests {
    use super::{EntryMeta, Slot};

    #[test]
    fn the_past_keeps_the_last_version_and_counts() {
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
    fn a_value_comes_and_goes_and_the_past_stays() {
        let mut held = Slot::new(Some(1), EntryMeta::new(Some(7)));
        held.merge(2, |sum, value| *sum += value);
        assert_eq!(held.replace(4), Some(3));
        assert_eq!((held.take(), held.take()), (Some(4), None));
        assert_eq!((held.value(), held.meta().version()), (None, Some(7)));
        assert_eq!(held.replace(5), None);
        assert_eq!(held.take(), Some(5));
        held.merge(6, |_, _| unreachable!("there is none"));
        assert_eq!(held.into_value(), Some(6));
    }

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn it_is_small() {
        assert_eq!(size_of::<Slot<u64>>(), 24);
        assert_eq!(size_of::<Slot<String>>(), size_of::<String>() + 16);
    }
}
