//! The small face of a `DashMap` that the protocol of `partition` needs: tables under locks, chosen
//! by hash. Its twin for the models is a list under loom's mutex, also where readers could share.

pub(crate) use imp::{ShardGuard, Shards};

#[cfg(not(all(test, swaplane_loom)))]
mod imp {
    use std::fmt;

    use dashmap::{DashMap, RwLockWriteGuard, SharedValue};
    use hashbrown::raw::RawTable;

    use crate::map::hashed::{Hashed, PassThrough};
    use crate::panic::{catch, drop_both};

    type Store<K, H> = RawTable<(Hashed<K>, SharedValue<H>)>;

    pub(crate) struct Shards<K: Eq, H>(DashMap<Hashed<K>, H, PassThrough>);

    /// The lock of one shard. Always the exclusive one: those who share a lock of `DashMap`'s pass by
    /// whoever waits to have it alone, for ever if they keep coming.
    pub(crate) struct ShardGuard<'a, K, H>(RwLockWriteGuard<'a, Store<K, H>>);

    impl<K: Eq, H> Shards<K, H> {
        /// # Panics
        /// If `amount` is not a power of two of at least 2, which the builder has seen to.
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
        pub(crate) fn lock(&self, index: usize) -> ShardGuard<'_, K, H> {
            ShardGuard(self.0.shards()[index].write())
        }

        /// `None` if somebody else has it.
        pub(crate) fn try_lock(&self, index: usize) -> Option<ShardGuard<'_, K, H>> {
            self.0.shards()[index].try_write().map(ShardGuard)
        }

        /// Shows everything, each shard locked for reading meanwhile.
        pub(crate) fn for_each(&self, mut f: impl FnMut(&Hashed<K>, &H)) {
            for entry in &self.0 {
                f(entry.key(), entry.value());
            }
        }
    }

    impl<K: Eq, H> Drop for Shards<K, H> {
        /// Keys and values whose `Drop` panics take no others with them.
        fn drop(&mut self) {
            if !std::mem::needs_drop::<(K, H)>() {
                return;
            }
            for index in 0..self.amount() {
                for (key, held) in self.lock(index).drain() {
                    catch("the drop of an entry", || drop_both(held, key));
                }
            }
        }
    }

    impl<K: Eq, H> ShardGuard<'_, K, H> {
        #[inline(always)]
        pub(crate) fn get_mut(
            &mut self,
            hash: u64,
            mut is: impl FnMut(&Hashed<K>) -> bool,
        ) -> Option<&mut H> {
            let slot = self.0.get_mut(hash, |(key, _)| is(key));
            slot.map(|(_, held)| held.get_mut())
        }

        #[inline(always)]
        pub(crate) fn get(&self, hash: u64, mut is: impl FnMut(&Hashed<K>) -> bool) -> Option<&H> {
            let slot = self.0.get(hash, |(key, _)| is(key));
            slot.map(|(_, held)| held.get())
        }

        /// The key must not be there.
        #[inline(always)]
        pub(crate) fn insert(&mut self, key: Hashed<K>, held: H) {
            let (hash, held) = (key.hash, SharedValue::new(held));
            self.0.insert(hash, (key, held), |(key, _)| key.hash);
        }

        pub(crate) fn remove(
            &mut self,
            hash: u64,
            mut is: impl FnMut(&Hashed<K>) -> bool,
        ) -> Option<(Hashed<K>, H)> {
            let slot = self.0.remove_entry(hash, |(key, _)| is(key));
            slot.map(|(key, held)| (key, held.into_inner()))
        }

        /// Exchanges the tables, in no time.
        pub(crate) fn exchange(&mut self, other: &mut ShardGuard<'_, K, H>) {
            std::mem::swap(&mut *self.0, &mut *other.0);
        }

        /// Takes everything out, and keeps the memory.
        pub(crate) fn drain(&mut self) -> impl Iterator<Item = (Hashed<K>, H)> {
            let slots = self.0.drain();
            slots.map(|(key, held)| (key, held.into_inner()))
        }

        /// Frees the memory of a table that is empty.
        pub(crate) fn trim(&mut self) {
            if self.0.is_empty() {
                *self.0 = Store::new();
            }
        }
    }

    impl<K: Eq, H> fmt::Debug for Shards<K, H> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Shards").finish_non_exhaustive()
        }
    }
}

#[cfg(all(test, swaplane_loom))]
mod imp {
    use std::fmt;

    use crate::map::hashed::Hashed;
    use crate::sync::{Mutex, MutexGuard};

    type Store<K, H> = Vec<(Hashed<K>, H)>;

    pub(crate) struct Shards<K: Eq, H>(Vec<Mutex<Store<K, H>>>);

    pub(crate) struct ShardGuard<'a, K, H>(MutexGuard<'a, Store<K, H>>);

    impl<K: Eq, H> Shards<K, H> {
        pub(crate) fn new(amount: usize) -> Self {
            Self((0..amount).map(|_| Mutex::new(Vec::new())).collect())
        }

        pub(crate) fn amount(&self) -> usize {
            self.0.len()
        }

        pub(crate) fn index(&self, hash: u64) -> usize {
            hash as usize % self.0.len()
        }

        pub(crate) fn lock(&self, index: usize) -> ShardGuard<'_, K, H> {
            ShardGuard(self.0[index].lock())
        }

        pub(crate) fn try_lock(&self, index: usize) -> Option<ShardGuard<'_, K, H>> {
            self.0[index].try_lock().map(ShardGuard)
        }

        pub(crate) fn for_each(&self, mut f: impl FnMut(&Hashed<K>, &H)) {
            for shard in &self.0 {
                shard.lock().iter().for_each(|(key, held)| f(key, held));
            }
        }
    }

    impl<K: Eq, H> ShardGuard<'_, K, H> {
        pub(crate) fn get_mut(
            &mut self,
            _hash: u64,
            mut is: impl FnMut(&Hashed<K>) -> bool,
        ) -> Option<&mut H> {
            let slot = self.0.iter_mut().find(|(key, _)| is(key));
            slot.map(|(_, held)| held)
        }

        pub(crate) fn get(&self, _hash: u64, mut is: impl FnMut(&Hashed<K>) -> bool) -> Option<&H> {
            let slot = self.0.iter().find(|(key, _)| is(key));
            slot.map(|(_, held)| held)
        }

        pub(crate) fn insert(&mut self, key: Hashed<K>, held: H) {
            self.0.push((key, held));
        }

        pub(crate) fn remove(
            &mut self,
            _hash: u64,
            mut is: impl FnMut(&Hashed<K>) -> bool,
        ) -> Option<(Hashed<K>, H)> {
            let index = self.0.iter().position(|(key, _)| is(key))?;
            Some(self.0.swap_remove(index))
        }

        pub(crate) fn exchange(&mut self, other: &mut ShardGuard<'_, K, H>) {
            std::mem::swap(&mut *self.0, &mut *other.0);
        }

        pub(crate) fn drain(&mut self) -> impl Iterator<Item = (Hashed<K>, H)> {
            self.0.drain(..)
        }

        pub(crate) fn trim(&mut self) {
            self.0.shrink_to_fit();
        }
    }

    impl<K: Eq, H> fmt::Debug for Shards<K, H> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Shards").finish_non_exhaustive()
        }
    }
}
