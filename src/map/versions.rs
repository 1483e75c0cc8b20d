//! The versions of keys whose entries are delivered: `remember_versions`.

use lru::LruCache;

use super::hashed::{Hashed, PassThrough};
use crate::sync::Mutex;

/// The last version of each of the keys that were delivered, or given up, last.
pub(crate) struct DeliveredVersions<K> {
    versions: Mutex<LruCache<Hashed<K>, u64, PassThrough>>,
    /// How many keys to remember.
    most: usize,
}

impl<K: Eq> DeliveredVersions<K> {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            // Unbounded: a bounded cache would drop a key, the user's code, under the lock.
            versions: Mutex::new(LruCache::unbounded_with_hasher(PassThrough::default())),
            most,
        }
    }

    /// The version of a key. A look-up is no use: the key is forgotten as early as
    /// without it.
    pub(crate) fn version(&self, key: &Hashed<K>) -> Option<u64> {
        self.versions.lock().peek(key).copied()
    }

    /// Notes the version of a key. Returns a key that is not needed any more, for the caller to
    /// drop outside the lock.
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
