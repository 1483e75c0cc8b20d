//! Hash tables under locks, chosen by hash: the part of `DashMap` that the protocol of `partition`
//! needs.
//!
//! A swap leans on the raw API of `DashMap`, by which a whole table is exchanged in one step.
//! Models run a stand-in, `loom_tests/shards.rs`: lists under loom's mutex.

#[cfg(all(test, swaplane_loom))]
pub(crate) use crate::loom_tests::shards::{ShardGuard, Shards};

#[cfg(not(all(test, swaplane_loom)))]
pub(crate) use self::dash::{ShardGuard, Shards};

#[cfg(not(all(test, swaplane_loom)))]
mod dash {
    use std::fmt;
    use std::hash::{Hash, Hasher};

    use dashmap::{DashMap, RwLockWriteGuard, SharedValue};
    use hashbrown::raw::RawTable;

    use crate::map::hashed::{Hashed, PassThrough};
    use crate::panic::{catch, drop_both};

    /// One table under a lock for each shard.
    pub(crate) struct Shards<K, V>(DashMap<TableKey<K>, V, PassThrough>);

    /// A locked shard. The lock is always exclusive: readers that share a lock of `DashMap`
    /// overtake a waiting writer, for ever if they keep coming.
    pub(crate) struct ShardGuard<'a, K, V>(RwLockWriteGuard<'a, Table<K, V>>);

    type Table<K, V> = RawTable<(TableKey<K>, SharedValue<V>)>;

    /// A key as `DashMap` holds it. Every look-up brings its own comparison, so no type that holds
    /// a table needs a bound on `K`.
    struct TableKey<K>(Hashed<K>);

    impl<K> PartialEq for TableKey<K> {
        fn eq(&self, _: &Self) -> bool {
            unreachable!("a look-up brings its own comparison")
        }
    }

    impl<K> Eq for TableKey<K> {}

    impl<K> Hash for TableKey<K> {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }

    impl<K, V> Shards<K, V> {
        /// # Panics
        /// If `amount` is not a power of two of at least 2, which the builder checks.
        pub(crate) fn new(amount: usize) -> Self {
            let hasher = PassThrough::default();
            Self(DashMap::with_hasher_and_shard_amount(hasher, amount))
        }

        pub(crate) fn amount(&self) -> usize {
            self.0.shards().len()
        }

        /// The shard that a hash belongs to.
        #[inline(always)]
        pub(crate) fn index(&self, hash: u64) -> usize {
            self.0.determine_shard(hash as usize)
        }

        #[inline(always)]
        pub(crate) fn lock(&self, index: usize) -> ShardGuard<'_, K, V> {
            ShardGuard(self.0.shards()[index].write())
        }

        /// Returns `None` if the shard is locked.
        pub(crate) fn try_lock(&self, index: usize) -> Option<ShardGuard<'_, K, V>> {
            self.0.shards()[index].try_write().map(ShardGuard)
        }

        /// Shows every entry to `f`. Each shard is locked for reading meanwhile.
        pub(crate) fn for_each(&self, mut f: impl FnMut(&Hashed<K>, &V)) {
            for entry in &self.0 {
                f(&entry.key().0, entry.value());
            }
        }
    }

    impl<K, V> Drop for Shards<K, V> {
        /// A key or value whose `Drop` panics takes no other with it.
        fn drop(&mut self) {
            if !std::mem::needs_drop::<(K, V)>() {
                return;
            }
            for index in 0..self.amount() {
                for (key, value) in self.lock(index).drain() {
                    catch("the drop of an entry", || drop_both(value, key));
                }
            }
        }
    }

    impl<K, V> ShardGuard<'_, K, V> {
        #[inline(always)]
        pub(crate) fn get_mut(
            &mut self,
            hash: u64,
            mut is: impl FnMut(&Hashed<K>) -> bool,
        ) -> Option<&mut V> {
            let found = self.0.get_mut(hash, |(key, _)| is(&key.0));
            found.map(|(_, value)| value.get_mut())
        }

        #[inline(always)]
        pub(crate) fn get(&self, hash: u64, mut is: impl FnMut(&Hashed<K>) -> bool) -> Option<&V> {
            let found = self.0.get(hash, |(key, _)| is(&key.0));
            found.map(|(_, value)| value.get())
        }

        /// Inserts a key that the shard does not hold.
        #[inline(always)]
        pub(crate) fn insert(&mut self, key: Hashed<K>, value: V) {
            let hash = key.hash;
            let entry = (TableKey(key), SharedValue::new(value));
            self.0.insert(hash, entry, |(key, _)| key.0.hash);
        }

        pub(crate) fn remove(
            &mut self,
            hash: u64,
            mut is: impl FnMut(&Hashed<K>) -> bool,
        ) -> Option<(Hashed<K>, V)> {
            let removed = self.0.remove_entry(hash, |(key, _)| is(&key.0));
            removed.map(|(key, value)| (key.0, value.into_inner()))
        }

        /// Exchanges the tables of two shards, whatever they hold, in one step.
        pub(crate) fn exchange(&mut self, other: &mut ShardGuard<'_, K, V>) {
            std::mem::swap(&mut *self.0, &mut *other.0);
        }

        /// Takes every entry out, and keeps the memory.
        pub(crate) fn drain(&mut self) -> impl Iterator<Item = (Hashed<K>, V)> {
            let entries = self.0.drain();
            entries.map(|(key, value)| (key.0, value.into_inner()))
        }

        /// Frees the memory of the table if that is empty.
        pub(crate) fn trim(&mut self) {
            if self.0.is_empty() {
                *self.0 = Table::new();
            }
        }
    }

    impl<K, V> fmt::Debug for Shards<K, V> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Shards").finish_non_exhaustive()
        }
    }
}
