//! The keyed face: [`Map`], which holds one entry for each key, and [`Mirror`], whose sink learns of
//! removals too.

pub(crate) mod collect;
mod counts;
pub(crate) mod entry;
mod hashed;
mod partition;
mod shards;
mod slot;
pub(crate) mod store;
mod versions;

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use self::entry::{Changes, Entries, Kind, Put};
use self::slot::Slot;
use self::store::{Store, Updated};
use crate::block_on::block_on;
use crate::error::{FlushError, PushAllError, PushError, Refused};
use crate::flusher::Shared;
use crate::hash::RandomState;
use crate::lifecycle::{Handle, ShutdownReport};
use crate::panic::drop_before;
use crate::stats::Stats;
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
pub struct Map<K, V, S = RandomState, M = Entries>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
    M: Kind,
{
    handle: Arc<Handle<Store<K, V, S, M>>>,
    /// The handle's source: two steps nearer, which an update would wait for.
    table: Arc<Store<K, V, S, M>>,
}

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
pub type Mirror<K, V, S = RandomState> = Map<K, V, S, Changes>;

impl<K, V, S, M> Clone for Map<K, V, S, M>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
    M: Kind,
{
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            table: self.table.clone(),
        }
    }
}

impl<K, V, S, M> Map<K, V, S, M>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
    M: Kind,
{
    pub(crate) fn new(shared: Arc<Shared<Store<K, V, S, M>>>) -> Self {
        Self {
            table: shared.source.clone(),
            handle: Handle::new(shared),
        }
    }

    #[inline(always)]
    fn table(&self) -> &Store<K, V, S, M> {
        &self.table
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
        match self.table().update(key, None, value, Slot::replace, Some) {
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
        let table = self.table();
        match table.update(key, Some(version), value, Slot::replace, Some) {
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
    /// assert_eq!(map.put_all_newer(updates)?, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_all_newer<I>(&self, entries: I) -> Result<usize, PushAllError<(K, V, u64)>>
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
        match self.table().update(key, None, update, merge, Some) {
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
        self.table().look_up(key, V::clone)
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
        self.table().look_up(key, |_| ()).is_some()
    }

    /// How many entries are held: waiting, in flight, in backoff. A snapshot; costs what
    /// [`stats`](Self::stats) does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let map = swaplane::Map::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// map.put_all([("a", 1), ("b", 2), ("a", 3)])?;
    /// assert_eq!(map.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.handle.len()
    }

    /// Whether no entry is held. Costs what [`stats`](Self::stats) does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let map = swaplane::Map::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// map.put("key", "value")?;
    /// assert!(!map.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether updates are refused for good. Costs a load.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let map = swaplane::Map::<u8, u8>::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// assert!(!map.is_closed());
    /// map.close();
    /// assert!(map.is_closed());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.table().is_closed()
    }

    /// How many entries can be held.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let map = swaplane::Map::<u8, u8>::builder().capacity(1000).spawn_fn(|_batch| async { Ok(()) })?;
    /// assert_eq!(map.capacity(), 1000);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.table().capacity().credits.total()
    }

    /// The name under which it appears in logs.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let map = swaplane::Map::<u8, u8>::builder().name("profiles").spawn_fn(|_batch| async { Ok(()) })?;
    /// assert_eq!(map.name(), "profiles");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.handle.settings.name
    }

    /// What has become of all updates so far. Costs a look at each shard.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let map = swaplane::Map::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// map.put_all([("a", 1), ("b", 2), ("a", 3)])?;
    /// map.remove("b");
    /// map.flush().await?;
    /// let stats = map.stats();
    /// assert_eq!((stats.accepted, stats.coalesced, stats.removed), (3, 1, 1));
    /// assert_eq!((stats.delivered, stats.held), (1, 0));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.handle.stats()
    }

    /// Sends everything that is held now, and waits until it is delivered or given up; see
    /// [`Queue::flush`](crate::Queue::flush).
    ///
    /// What is held beside entries of its partition that are on their way has to wait for those, and
    /// then leaves with what was put meanwhile, for which the flush then waits, too.
    ///
    /// # Errors
    /// [`FlushError`] if some of it was not delivered.
    ///
    /// # Cancel safety
    /// The flush goes on without its caller.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let map = swaplane::Map::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// map.put("key", "must be there before we go on")?;
    /// map.flush().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn flush(&self) -> Result<(), FlushError> {
        self.handle.flush().await
    }

    /// [`flush`](Self::flush) for threads that may block.
    ///
    /// # Errors
    /// As `flush`.
    ///
    /// # Panics
    /// On a thread that drives asynchronous tasks, as tokio's own blocking calls do.
    ///
    /// ```
    /// # let map = swaplane::Map::builder().own_thread().spawn_fn(|_batch| async { Ok(()) })?;
    /// map.put("key", "value")?;
    /// map.flush_blocking()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn flush_blocking(&self) -> Result<(), FlushError> {
        block_on(self.flush())
    }

    /// Refuses updates from now on; whether this call was the first to do so. What is held is sent
    /// without delay, and then the flusher ends. Costs every lock of the map, one after the other.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let map = swaplane::Map::builder().spawn_fn(|_batch| async { Ok(()) })?;
    /// assert!(map.close());
    /// assert!(map.put("key", "value").unwrap_err().is_closed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn close(&self) -> bool {
        self.handle.close()
    }

    /// Closes the map, delivers what it holds, and gives back what could not be delivered within
    /// `deadline`; see [`Queue::shutdown`](crate::Queue::shutdown).
    ///
    /// # Cancel safety
    /// The shutdown goes on without its caller; the next caller gets the report.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// # let map = swaplane::Map::<&str, u64>::builder().spawn_fn(|_batch| async { Err("down")? })?;
    /// map.put_newer("key", 1, 7)?;
    /// let report = map.shutdown(Duration::from_millis(10)).await;
    /// let entry = &report.returned[0];
    /// assert_eq!((entry.key, entry.value, entry.version), ("key", 1, Some(7)));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport<M::Item<K, V>> {
        self.handle.shutdown(deadline).await
    }

    /// [`shutdown`](Self::shutdown) for threads that may block.
    ///
    /// # Panics
    /// On a thread that drives asynchronous tasks, as tokio's own blocking calls do.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let map = swaplane::Map::builder().own_thread().spawn_fn(|_batch| async { Ok(()) })?;
    /// map.put("key", "value")?;
    /// assert!(map.shutdown_blocking(Duration::from_secs(5)).is_complete());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn shutdown_blocking(&self, deadline: Duration) -> ShutdownReport<M::Item<K, V>> {
        block_on(self.shutdown(deadline))
    }
}

impl<K, V, S> Map<K, V, S, Entries>
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
        self.table().remove(key)
    }
}

impl<K, V, S> Map<K, V, S, Changes>
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
    pub fn remove(&self, key: &K) -> Result<Option<V>, Refused> {
        let begin = |()| None;
        match self
            .table()
            .update(key.clone(), None, (), |held, ()| held.take(), begin)
        {
            Ok(Updated::Merged(value, key)) => Ok(drop_before(key, value)),
            Ok(_) => Ok(None),
            Err((refused, _, ())) => Err(refused),
        }
    }
}

impl<K, V, S, M> fmt::Debug for Map<K, V, S, M>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
    M: Kind,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("name", &self.name())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
