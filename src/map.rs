//! The keyed handles: [`Map`], which holds one entry for each key, and [`Mirror`], whose sink
//! learns of removals too.

pub(crate) mod collect;
mod counts;
pub(crate) mod entry;
pub(crate) mod hashed;
mod mirror;
mod partition;
mod shards;
mod slot;
pub(crate) mod store;
mod versions;

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};

use self::collect::Collector;
use self::entry::{Entry, MapItem, Put};
pub use self::mirror::Mirror;
use self::slot::Slot;
use self::store::{Store, Updated};
use crate::error::{PushAllError, PushError};
use crate::flusher::{Core, SharedOf};
use crate::hash::RandomState;
use crate::lifecycle::{Handle, observing_methods, waiting_methods};
use crate::source::Admission;
use crate::sync::Arc;

/// A write buffer for state: many updates of a key become one [`Entry`](crate::Entry) of a batch.
///
/// ```
/// use std::time::Duration;
/// use swaplane::{Batch, Entry, Map};
///
/// let print = |batch: Batch<Entry<u64, &'static str>>| async move {
///     for entry in batch.iter() {
///         println!("device {} is {}", entry.key, entry.value); // one row for each device
///     }
///     Ok(())
/// };
/// let second = Duration::from_secs(1); // for so long updates coalesce
/// let map = Map::builder().own_thread().max_delay(second).spawn_fn(print)?;
/// map.put_all([(17, "starting"), (17, "busy"), (17, "idle")])?;
/// let report = map.shutdown_blocking(Duration::from_secs(5));
/// assert_eq!((report.accepted, report.coalesced, report.delivered), (3, 2, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A handle; clones are cheap and lead to the same map. When the last one is dropped the map
/// closes, as a [`Queue`](crate::Queue) does.
///
/// # What the sink sees
///
/// A batch has at most one entry of a key, and two batches with the same key are never in flight at
/// once. (The batch that [`drain`](crate::Sink::drain) gets may have two, in order.) Each key keeps
/// its order: a batch that fails is tried again before anything newer of its partition is sent, and
/// meanwhile the updates of its keys coalesce.
///
/// - [`put`](Self::put): the last write wins. That is the last update to get the lock of the key's
///   shard.
/// - [`put_newer`](Self::put_newer): the highest version wins, in whichever order the updates come.
///   The version is compared with that of the entry that waits, and of the one in flight. Once all
///   that left its partition together is delivered (or given up) a version is forgotten, unless
///   [`remember_versions`](crate::Builder::remember_versions) says otherwise.
/// - [`merge`](Self::merge): the update is folded into the entry that waits.
///
/// They can be mixed. `put` and `merge` keep the version of the entry that they change, so what was
/// stale stays stale. An entry that they begin has no version, even while one with a version is in
/// flight; a `put_newer` still has to beat that one.
///
/// # What it takes
///
/// [`capacity`](crate::Builder::capacity) counts entries. An update of an entry that waits takes no
/// room, and is never refused as [`Full`](PushError::Full). A key that is in flight and put again
/// counts twice. To wait for room, [`flush`](Self::flush) and try again.
///
/// An update costs a hash of the key, an uncontended lock and a look-up. `Eq` of the key, the
/// function of a `merge` and the `Clone` of a `get` run under that lock. They must not use the map:
/// they would wait for themselves. `Hash` and `Drop` run outside the lock. If any of them panics
/// the caller gets the panic, and no other entry is harmed. The flusher clones keys (and values,
/// with `read_in_flight`) under a lock too, and catches panics of what it clones, compares and
/// drops. A key that it cannot clone is delivered, but not known while it is in flight.
pub struct Map<K, V, S = RandomState, E = Entry<K, V>> {
    handle: Arc<MapHandle<K, V, S, E>>,
    /// A copy of what the handle has, so that an update follows two pointers fewer.
    store: Arc<Store<K, V, S, E>>,
}

type MapHandle<K, V, S, E> = Handle<Store<K, V, S, E>, Core<E, Collector<K, V, S, E>>>;

impl<K, V, S, E> Map<K, V, S, E> {
    #[inline(always)]
    fn store(&self) -> &Store<K, V, S, E> {
        &self.store
    }

    observing_methods!();
}

impl<K, V, S, E> Clone for Map<K, V, S, E> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            store: self.store.clone(),
        }
    }
}

impl<K, V, S, E> Map<K, V, S, E>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
    E: MapItem<K, V>,
{
    pub(crate) fn from_shared(shared: Arc<SharedOf<Store<K, V, S, E>>>) -> Self {
        Self {
            store: shared.source.clone(),
            handle: Handle::new(shared),
        }
    }

    /// Puts a value: the last write wins. Keeps the version of an entry that waits.
    ///
    /// Never waits for a flush, and needs no runtime. Costs a hash, an uncontended lock and a
    /// look-up.
    ///
    /// # Errors
    /// [`PushError::Full`] if this would begin an entry and [`capacity`](crate::Builder::capacity)
    /// entries are held, or up to a quarter less, since shards may hold unused credits;
    /// [`PushError::Closed`] after [`close`](Self::close). Key and value come back.
    ///
    /// # Panics
    /// If `Hash` or `Eq` of the key panics, or `Drop` of what is left over: the value that is
    /// replaced, and the second key.
    ///
    /// ```
    /// # let hour = std::time::Duration::from_secs(3600);
    /// # let builder = swaplane::Map::builder().own_thread().max_delay(hour);
    /// # let map = builder.spawn_fn(|_batch| async { Ok(()) })?;
    /// map.put("device 17", "busy")?;
    /// map.put("device 17", "idle")?;
    /// assert_eq!(map.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn put(&self, key: K, value: V) -> Result<(), PushError<(K, V)>> {
        match self.store().update(key, None, value, Slot::replace, Some) {
            Ok(updated) => {
                updated.discard();
                Ok(())
            }
            Err((refused, key, value)) => Err(PushError::new(refused, (key, value))),
        }
    }

    /// Puts a value if its version is higher than that of the entry that waits, and of the one in
    /// flight. Otherwise the update is [`Put::Stale`]: dropped, and not counted as accepted.
    ///
    /// Costs as much as [`put`](Self::put). Where the entry is new or has no version it costs two
    /// more locks while entries of its partition are in flight, and one more with
    /// [`remember_versions`](crate::Builder::remember_versions) if no version is in flight.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// # Panics
    /// As [`put`](Self::put). Of a stale update key and value are left over.
    ///
    /// ```
    /// # let hour = std::time::Duration::from_secs(3600);
    /// # let builder = swaplane::Map::builder().own_thread().max_delay(hour);
    /// # let map = builder.spawn_fn(|_batch| async { Ok(()) })?;
    /// use swaplane::Put;
    ///
    /// assert_eq!(map.put_newer("device 17", "busy", 5)?, Put::Inserted);
    /// assert_eq!(map.put_newer("device 17", "starting", 4)?, Put::Stale);
    /// assert_eq!(map.put_newer("device 17", "idle", 6)?, Put::Replaced);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn put_newer(&self, key: K, value: V, version: u64) -> Result<Put, PushError<(K, V)>> {
        let store = self.store();
        match store.update(key, Some(version), value, Slot::replace, Some) {
            Ok(updated) => {
                let put = match updated {
                    Updated::Inserted => Put::Inserted,
                    Updated::Merged(..) => Put::Replaced,
                    Updated::Stale(..) => Put::Stale,
                };
                updated.discard();
                Ok(put)
            }
            Err((refused, key, value)) => Err(PushError::new(refused, (key, value))),
        }
    }

    /// Puts values one after the other, as [`put`](Self::put) does, up to the first refusal.
    ///
    /// # Errors
    /// [`PushAllError`] with the refused pair and all pairs after it. The iterator is then
    /// collected, so it must end.
    ///
    /// # Panics
    /// As [`put`](Self::put). The pairs before the panic are accepted, the others dropped.
    ///
    /// ```
    /// # let builder = swaplane::Map::builder().own_thread().capacity(4).max_batch_size(3);
    /// # let map = builder.spawn_fn(|_batch| std::future::pending())?;
    /// let error = map.put_all((0..6).map(|key| (key, "value"))).unwrap_err(); // room for four
    /// assert_eq!((error.accepted, error.rest), (4, vec![(4, "value"), (5, "value")]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put_all<I>(&self, entries: I) -> Result<(), PushAllError<(K, V)>>
    where
        I: IntoIterator<Item = (K, V)>,
    {
        let mut entries = entries.into_iter();
        let mut accepted = 0;
        while let Some((key, value)) = entries.next() {
            match self.put(key, value) {
                Ok(()) => accepted += 1,
                Err(refused) => return Err(PushAllError::new(accepted, refused, entries)),
            }
        }
        Ok(())
    }

    /// Puts values one after the other, as [`put_newer`](Self::put_newer) does, up to the first
    /// refusal. Returns how many were accepted; the others were stale.
    ///
    /// # Errors
    /// As [`put_all`](Self::put_all).
    ///
    /// # Panics
    /// As [`put_all`](Self::put_all).
    ///
    /// ```
    /// # let hour = std::time::Duration::from_secs(3600);
    /// # let builder = swaplane::Map::builder().own_thread().max_delay(hour);
    /// # let map = builder.spawn_fn(|_batch| async { Ok(()) })?;
    /// let updates = [("a", "new", 2), ("b", "new", 7), ("a", "old", 1)];
    /// assert_eq!(map.put_newer_all(updates)?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put_newer_all<I>(&self, entries: I) -> Result<usize, PushAllError<(K, V, u64)>>
    where
        I: IntoIterator<Item = (K, V, u64)>,
    {
        let mut entries = entries.into_iter();
        let mut accepted = 0;
        while let Some((key, value, version)) = entries.next() {
            match self.put_newer(key, value, version) {
                Ok(Put::Stale) => {}
                Ok(Put::Inserted | Put::Replaced) => accepted += 1,
                Err(refused) => {
                    let refused = refused.map(|(key, value)| (key, value, version));
                    return Err(PushAllError::new(accepted, refused, entries));
                }
            }
        }
        Ok(accepted)
    }

    /// Folds an update into the value that waits, or begins an entry with the update. Keeps the
    /// version.
    ///
    /// An entry in flight is not touched, and the next entry begins with the update alone. So where
    /// updates are differences the sink gets differences, and has to add them up.
    ///
    /// Costs as much as [`put`](Self::put), and `fold`, which runs under the lock.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// # Panics
    /// As [`put`](Self::put), and if `fold` panics. Then the value stays as `fold` left it, and the
    /// update does not count.
    ///
    /// ```
    /// # let hour = std::time::Duration::from_secs(3600);
    /// # let builder = swaplane::Map::builder().own_thread().max_delay(hour);
    /// # let map = builder.spawn_fn(|_batch| async { Ok(()) })?;
    /// for bytes in [100, 20, 3] {
    ///     map.merge("page", bytes, |sum, bytes| *sum += bytes)?;
    /// }
    /// assert_eq!(map.get("page"), Some(123));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn merge(
        &self,
        key: K,
        update: V,
        fold: impl FnOnce(&mut V, V),
    ) -> Result<(), PushError<(K, V)>> {
        let merge = |slot: &mut Slot<V>, update| slot.merge(update, fold);
        match self.store().update(key, None, update, merge, Some) {
            Ok(updated) => {
                updated.discard();
                Ok(())
            }
            Err((refused, key, update)) => Err(PushError::new(refused, (key, update))),
        }
    }

    /// A clone of the value of a key that waits.
    ///
    /// A value in flight is found only with [`read_in_flight`](crate::Builder::read_in_flight).
    /// Then every value is found that is not delivered (or given up) yet, and some are found
    /// longer: until all that left its partition together is.
    ///
    /// Costs a hash, a lock and the clone; with that setting two more locks where nothing waits
    /// while something of the partition is in flight.
    ///
    /// # Panics
    /// If `Hash` or `Eq` of the key panics, or `Clone` of the value.
    ///
    /// ```
    /// # let hour = std::time::Duration::from_secs(3600);
    /// # let builder = swaplane::Map::builder().own_thread().max_delay(hour);
    /// # let map = builder.spawn_fn(|_batch| async { Ok(()) })?;
    /// map.put("key".to_owned(), "value")?;
    /// assert_eq!(map.get("key"), Some("value"));
    /// map.flush_blocking()?;
    /// assert_eq!(map.get("key"), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        V: Clone,
    {
        self.store().look_up(key, V::clone)
    }

    /// Whether [`get`](Self::get) would find a value. Costs as much, without the clone.
    ///
    /// # Panics
    /// If `Hash` or `Eq` of the key panics.
    #[must_use]
    pub fn contains<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.store().look_up(key, |_| ()).is_some()
    }

    waiting_methods!(E);
}

impl<K, V, S> Map<K, V, S>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    /// Takes the entry of a key back, and returns its value. The sink does not get it.
    ///
    /// All updates that were merged into the entry go with it, and so does its version. An entry in
    /// flight is neither found nor touched. To tell the sink of removals, use a [`Mirror`]. Costs
    /// as much as [`put`](Self::put).
    ///
    /// # Panics
    /// If `Hash` or `Eq` of the key panics, or `Drop` of the key that is taken out.
    ///
    /// ```
    /// # let hour = std::time::Duration::from_secs(3600);
    /// # let builder = swaplane::Map::builder().own_thread().max_delay(hour);
    /// # let map = builder.spawn_fn(|_batch| async { Ok(()) })?;
    /// map.put("key", "value")?;
    /// assert_eq!(map.remove("key"), Some("value"));
    /// assert_eq!(map.remove("key"), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.store().remove(key)
    }
}

impl<K, V, S, E> fmt::Debug for Map<K, V, S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("name", &self.name())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
