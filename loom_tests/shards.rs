//! The stand-in for `DashMap`: a list for each shard under loom's mutex, also where readers could
//! share.

use std::fmt;

use crate::map::hashed::Hashed;
use crate::sync::{Mutex, MutexGuard};

type List<K, V> = Vec<(Hashed<K>, V)>;

pub(crate) struct Shards<K, V>(Vec<Mutex<List<K, V>>>);

pub(crate) struct ShardGuard<'a, K, V>(MutexGuard<'a, List<K, V>>);

impl<K, V> Shards<K, V> {
    pub(crate) fn new(amount: usize) -> Self {
        Self((0..amount).map(|_| Mutex::new(Vec::new())).collect())
    }

    pub(crate) fn amount(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn index(&self, hash: u64) -> usize {
        hash as usize % self.0.len()
    }

    pub(crate) fn lock(&self, index: usize) -> ShardGuard<'_, K, V> {
        ShardGuard(self.0[index].lock())
    }

    pub(crate) fn try_lock(&self, index: usize) -> Option<ShardGuard<'_, K, V>> {
        self.0[index].try_lock().map(ShardGuard)
    }

    pub(crate) fn for_each(&self, mut f: impl FnMut(&Hashed<K>, &V)) {
        for shard in &self.0 {
            shard.lock().iter().for_each(|(key, value)| f(key, value));
        }
    }
}

impl<K, V> ShardGuard<'_, K, V> {
    pub(crate) fn get_mut(
        &mut self,
        _hash: u64,
        mut is: impl FnMut(&Hashed<K>) -> bool,
    ) -> Option<&mut V> {
        let found = self.0.iter_mut().find(|(key, _)| is(key));
        found.map(|(_, value)| value)
    }

    pub(crate) fn get(&self, _hash: u64, mut is: impl FnMut(&Hashed<K>) -> bool) -> Option<&V> {
        let found = self.0.iter().find(|(key, _)| is(key));
        found.map(|(_, value)| value)
    }

    pub(crate) fn insert(&mut self, key: Hashed<K>, value: V) {
        self.0.push((key, value));
    }

    pub(crate) fn remove(
        &mut self,
        _hash: u64,
        mut is: impl FnMut(&Hashed<K>) -> bool,
    ) -> Option<(Hashed<K>, V)> {
        let index = self.0.iter().position(|(key, _)| is(key))?;
        Some(self.0.swap_remove(index))
    }

    pub(crate) fn exchange(&mut self, other: &mut ShardGuard<'_, K, V>) {
        std::mem::swap(&mut *self.0, &mut *other.0);
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (Hashed<K>, V)> {
        self.0.drain(..)
    }

    pub(crate) fn trim(&mut self) {
        self.0.shrink_to_fit();
    }
}

impl<K, V> fmt::Debug for Shards<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").finish_non_exhaustive()
    }
}
