//! The versions of keys whose entries are gone.

use lru::LruCache;

use super::hashed::{Hashed, PassThrough};
use crate::sync::Mutex;

/// The last version of each of the `most` keys that were delivered last.
pub(crate) struct DeliveredVersions<K> {
    versions: Mutex<LruCache<Hashed<K>, u64, PassThrough>>,
    most: usize,
}

impl<K: Eq> DeliveredVersions<K> {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            // Not bounded by itself: what it forgets is to be dropped outside the lock.
            versions: Mutex::new(LruCache::unbounded_with_hasher(PassThrough::default())),
            most,
        }
    }

    /// Looking at a version does not keep it for longer.
    pub(crate) fn version(&self, key: &Hashed<K>) -> Option<u64> {
        self.versions.lock().peek(key).copied()
    }

    /// Notes a version; what it returns is to be dropped.
    pub(crate) fn note(&self, key: Hashed<K>, version: u64) -> Option<Hashed<K>> {
        let mut versions = self.versions.lock();
        if let Some((same, _)) = versions.push(key, version) {
            return Some(same);
        }
        if versions.len() <= self.most {
            return None;
        }
        versions.pop_lru().map(|(key, _)| key)
    }
}
