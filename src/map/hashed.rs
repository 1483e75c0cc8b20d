//! Keys with their hash, so that a table that grows does not run the user's `Hash`.

use std::borrow::Borrow;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A key and its hash.
#[derive(Clone, Debug)]
pub(crate) struct Hashed<K> {
    pub(crate) hash: u64,
    pub(crate) key: K,
}

impl<K> Hashed<K> {
    pub(crate) fn new(hash: u64, key: K) -> Self {
        Self { hash, key }
    }
}

impl<K: Eq> Hashed<K> {
    /// Whether this is the key. Runs the user's `Eq` only where the hashes are equal.
    #[inline(always)]
    pub(crate) fn is<Q: Eq + ?Sized>(&self, hash: u64, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.hash == hash && self.key.borrow() == key
    }
}

impl<K: Eq> PartialEq for Hashed<K> {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.hash, &other.key)
    }
}

impl<K: Eq> Eq for Hashed<K> {}

impl<K> Hash for Hashed<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// The hasher of a table of [`Hashed`] keys: takes the stored hash as it is.
pub(crate) type PassThrough = BuildHasherDefault<StoredHash>;

#[derive(Default)]
pub(crate) struct StoredHash(u64);

impl Hasher for StoredHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only a stored hash is hashed");
    }
}
