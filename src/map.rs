//! The keyed face: [`Map`], which holds one entry for each key, and [`Mirror`], whose sink learns of
//! removals too.

pub(crate) mod collect;
mod counts;
pub(crate) mod entry;
pub(crate) mod hashed;
mod partition;
mod shards;
mod slot;
pub(crate) mod store;
mod versions;

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};

use self::collect::Collector;
use self::entry::{Change, Entry, MapItem, Put};
use self::slot::Slot;
use self::store::{Store, Updated};
use crate::error::{PushAllError, PushError, RefusalReason};
use crate::flusher::{Core, SharedOf};
use crate::hash::RandomState;
use crate::lifecycle::{Handle, observing_methods, waiting_methods};
use crate::panic::drop_before;
use crate::source::Admission;
use crate::sync::Arc;

/// A write buffer for state: many updates of a key become one [`Entry`](crate::Entry) of a batch.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use swaplane::{Batch, Entry, Map};
///
/// let map = Map::builder().spawn_fn(|batch: Batch<Entry<u64, &'static str>>| async move {
///     for entry in batch.iter() {
///         println!("device {} is {}", entry.key, entry.value); // one row for each device
///     }
///     Ok(())
/// })?;
/// for state in ["starting", "busy", "idle"] {
///     map.put(17, state)?;
/// }
/// let report = map.shutdown(Duration::from_secs(5)).await;
/// assert_eq!((report.accepted, report.coalesced, report.delivered), (3, 2, 1));
/// # Ok(())
/// # }
/// ```
///
/// A handle; clones are cheap and lead to the same map. When the last one is dropped the map closes,
/// as a [`Queue`](crate::Queue) does.
///
/// # What the sink sees
///
/// At most one entry of a key in a batch (but for the one that [`drain`](crate::Sink::drain) gets,
/// where they are in order), and never two batches with the same key at once. Order is kept for each key: a batch that fails is tried again before anything newer of its partition is
/// sent, and the entries that are put meanwhile coalesce.
///
/// - [`put`](Self::put): the last write wins, that is the one that was last to get the lock of the
///   key's shard.
/// - [`put_newer`](Self::put_newer): the highest version wins, in whichever order the updates come.
///   It is compared with what is held, and with what is on its way to the sink; once all that left
///   its partition together is delivered (or given up) it is forgotten, unless [`remember_versions`](crate::Builder::remember_versions) says
///   otherwise.
/// - [`merge`](Self::merge): the update is folded into what is held.
///
/// They can be mixed. `put` and `merge` keep the version of the entry that they change, so what was
/// stale stays stale. An entry that they begin has none, also while one with a version is on its
/// way; a `put_newer` still has to beat that one.
///
/// # What it takes
///
/// [`capacity`](crate::Builder::capacity) counts entries: an update of one that is held takes no
/// room, and is never refused as [`Full`](PushError::Full). A key that is in flight and put again
/// counts twice. To wait for room, [`flush`](Self::flush) and try again.
///
/// An update costs a hash of the key, an uncontended lock and the look-up. `Eq` of the key, the
/// function of a `merge` and `Clone` in `get` run under that lock, and must not use the map: they
/// would wait for themselves. `Hash` and `Drop` run outside. If any of them panics the caller gets
/// the panic, and no other entry is harmed. What the flusher clones, compares and drops cannot harm
/// it either; a key that cannot be cloned is delivered, but not known while it is on its way.
pub struct Map<K, V, S = RandomState, E = Entry<K, V>> {
    handle: Arc<MapHandle<K, V, S, E>>,
    /// The store of the handle: two steps nearer, for which an update would wait.
    store: Arc<Store<K, V, S, E>>,
}

type MapHandle<K, V, S, E> = Handle<Store<K, V, S, E>, Core<E, Collector<K, V, S, E>>>;

/// A [`Map`] for those who keep a copy of their state elsewhere: its sink gets every
/// [`Change`](crate::Change), and the last operation on a key wins, a removal too. Made by
/// [`Builder::spawn_mirror`](crate::Builder::spawn_mirror).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use swaplane::{Batch, Change, Map, Mirror};
///
/// let mirror: Mirror<u64, &str> = Map::builder().spawn_mirror_fn(|batch: Batch<_>| async move {
///     for change in batch.iter() {
///         match change {
///             Change::Put(entry) => println!("UPSERT {} {}", entry.key, entry.value),
///             Change::Remove { key } => println!("DELETE {key}"),
///         }
///     }
///     Ok(())
/// })?;
/// mirror.put(1, "one")?;
/// assert_eq!(mirror.remove(&1)?, Some("one"));
/// # Ok(())
/// # }
/// ```
pub type Mirror<K, V, S = RandomState> = Map<K, V, S, Change<K, V>>;

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

    /// Puts a value: the last write wins. Keeps the version of an entry that is held. Never waits
    /// for a flush, and needs no runtime.
    ///
    /// # Errors
    /// [`PushError::Full`] if this would begin an entry and [`capacity`](crate::Builder::capacity)
    /// entries are held, or up to a quarter less, since shards may hold unused credits;
    /// [`PushError::Closed`] after [`close`](Self::close). Key and value come back.
    ///
    /// # Panics
    /// If `Hash` or `Eq` of the key does, or `Drop` of what is left over: the value that is replaced,
    /// and the key of an entry that is there.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let map = swaplane::Map::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// map.put("device 17", "busy")?;
    /// map.put("device 17", "idle")?;
    /// assert_eq!(map.len(), 1);
    /// # Ok(())
    /// # }
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

    /// Puts a value if its version is higher than that of the entry that is held, or on its way to
    /// the sink, if there is any. Otherwise it is [`Put::Stale`], dropped, and not counted.
    ///
    /// Costs two more locks where the entry is new or has no version and others of its partition are
    /// on their way, and one with [`remember_versions`](crate::Builder::remember_versions) where
    /// nothing was found there.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// # Panics
    /// As [`put`](Self::put); what is stale is left over, too.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let map = swaplane::Map::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// use swaplane::Put;
    ///
    /// assert_eq!(map.put_newer("device 17", "busy", 5)?, Put::Inserted);
    /// assert_eq!(map.put_newer("device 17", "starting", 4)?, Put::Stale);
    /// assert_eq!(map.put_newer("device 17", "idle", 6)?, Put::Replaced);
    /// # Ok(())
    /// # }
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
    /// [`PushAllError`] with what was refused and all that came after it. The iterator is then
    /// collected, so it must end.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let map = swaplane::Map::builder().capacity(4).max_batch_size(3).spawn_fn(|_batch| async { Ok(()) })?;
    /// let error = map.put_all((0..6).map(|key| (key, "value"))).unwrap_err(); // room for four
    /// assert_eq!((error.accepted, error.rest), (4, vec![(4, "value"), (5, "value")]));
    /// # Ok(())
    /// # }
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
    /// refusal; how many were accepted. The others were stale.
    ///
    /// # Errors
    /// As [`put_all`](Self::put_all).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let map = swaplane::Map::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// let updates = [("a", "new", 2), ("b", "new", 7), ("a", "old", 1)];
    /// assert_eq!(map.put_newer_all(updates)?, 2);
    /// # Ok(())
    /// # }
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

    /// Folds an update into the value that is held, or begins an entry with it. Keeps the version.
    ///
    /// What is on its way to the sink is not touched: the next entry then begins with the update
    /// alone. So if it is a difference the sink gets differences, and has to add them up.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// # Panics
    /// As [`put`](Self::put), and if `fold` does: the entry stays as `fold` has left it, and the
    /// update does not count.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let map = swaplane::Map::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// for bytes in [100, 20, 3] {
    ///     map.merge("page", bytes, |sum, bytes| *sum += bytes)?;
    /// }
    /// assert_eq!(map.get("page"), Some(123));
    /// # Ok(())
    /// # }
    /// ```
    pub fn merge(
        &self,
        key: K,
        update: V,
        fold: impl FnOnce(&mut V, V),
    ) -> Result<(), PushError<(K, V)>> {
        let merge = |held: &mut Slot<V>, update| held.merge(update, fold);
        match self.store().update(key, None, update, merge, Some) {
            Ok(updated) => {
                updated.discard();
                Ok(())
            }
            Err((refused, key, update)) => Err(PushError::new(refused, (key, update))),
        }
    }

    /// The value that is held of a key.
    ///
    /// Not found is what has left for the sink, unless
    /// [`read_in_flight`](crate::Builder::read_in_flight) is set; then every value is found that is
    /// not delivered (or given up) yet, and somewhat longer: until all that left its partition
    /// together with it is. Costs a hash, a lock and the clone; with that setting two more
    /// locks where nothing is found and something of the partition is on its way.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let map = swaplane::Map::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// map.put("key".to_owned(), "value")?;
    /// assert_eq!(map.get("key"), Some("value"));
    /// map.flush().await?;
    /// assert_eq!(map.get("key"), None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        V: Clone,
    {
        self.store().look_up(key, V::clone)
    }

    /// Whether [`get`](Self::get) would find something. Costs the same, without the clone.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let map = swaplane::Map::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// map.put("key", "value")?;
    /// assert!(map.contains("key") && !map.contains("another"));
    /// # Ok(())
    /// # }
    /// ```
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
    /// Takes the entry of a key back, with all updates that were merged into it, and gives its value
    /// back. What is on its way to the sink it does not touch, and does not find. Costs what
    /// [`put`](Self::put) does.
    ///
    /// A version goes with its entry. To tell the sink of removals, use a [`Mirror`].
    ///
    /// # Panics
    /// If `Hash` or `Eq` of the key does, or `Drop` of the key that is taken out.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let map = swaplane::Map::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// map.put("key", "value")?;
    /// assert_eq!(map.remove("key"), Some("value"));
    /// assert_eq!(map.remove("key"), None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.store().remove(key)
    }
}

impl<K, V, S> Map<K, V, S, Change<K, V>>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    /// Removes a key: the sink gets [`Change::Remove`](crate::Change::Remove), unless something is put
    /// again before it is sent. Gives back the value that was held; what is on its way to the sink is
    /// delivered before. An accepted update like any other, which keeps the version, so that a
    /// stale [`put_newer`](Self::put_newer) does not bring the key back.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// # Panics
    /// As [`put`](Self::put), and if `Clone` of the key does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mirror = swaplane::Map::builder().spawn_mirror_fn(|_batch| async { Ok(()) })?;
    /// mirror.put_newer("key", "value", 5)?;
    /// assert_eq!(mirror.remove(&"key")?, Some("value"));
    /// assert_eq!(mirror.put_newer("key", "an older value", 4)?, swaplane::Put::Stale);
    /// assert_eq!(mirror.get("key"), None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn remove(&self, key: &K) -> Result<Option<V>, RefusalReason> {
        let begin = |()| None;
        match self
            .store()
            .update(key.clone(), None, (), |held, ()| held.take(), begin)
        {
            Ok(Updated::Merged(value, key)) => Ok(drop_before(key, value)),
            Ok(_) => Ok(None),
            Err((refused, _, ())) => Err(refused),
        }
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
