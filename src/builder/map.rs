//! The builder of a map.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hash};

use super::{Buffer, Builder, sealed};
use crate::batch::Batch;
use crate::error::build::BuildError;
use crate::error::check::power_of_two;
use crate::hash::RandomState;
use crate::map::entry::{Change, Entry, MapItem};
use crate::map::store::{MapOptions, Store};
use crate::map::{Map, Mirror};
use crate::sink::{Sink, SinkError, blocking_sink_fn, sink_fn};

/// More than a machine has threads, so that each can find a lock of its own.
const MOST_SHARDS: usize = 1024;

/// The settings that only a map has.
pub struct MapSettings<V, S>(MapOptions<V, S>);

impl<V, S> fmt::Debug for MapSettings<V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapSettings")
            .field("shards", &self.0.shards)
            .field("remember_versions", &self.0.remember_versions)
            .field("read_in_flight", &self.0.copy.is_some())
            .finish_non_exhaustive()
    }
}

impl<K, V, S> sealed::Sealed for Map<K, V, S>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
}

impl<K, V, S> Buffer for Map<K, V, S>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    type Settings = MapSettings<V, S>;
}

impl<K, V> Map<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Begins to build a map, or a [`Mirror`]. See [`Builder`].
    ///
    /// ```
    /// let map = swaplane::Map::<u64, String>::builder()
    ///     .name("profiles")
    ///     .capacity(50_000)
    ///     .own_thread()
    ///     .spawn_fn(|_batch| async { Ok(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> Builder<Self> {
        Builder::new(MapSettings(MapOptions {
            shards: 4,
            hasher: RandomState::default(),
            remember_versions: 0,
            copy: None,
        }))
    }
}

impl<K, V, S> Builder<Map<K, V, S>>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    /// How many locks each partition has: a power of two from 2 to 1024, by default 4. Updates of
    /// keys that share a lock wait for each other.
    ///
    /// ```
    /// let builder = swaplane::Map::<u64, u64>::builder().partitions(2).shards(16);
    /// ```
    pub fn shards(mut self, shards: usize) -> Self {
        self.own.0.shards = shards;
        self
    }

    /// What hashes the keys, once in each call: by default [`RandomState`].
    ///
    /// ```
    /// // Slower, but no attacker can find keys that collide.
    /// let builder = swaplane::Map::<String, u64>::builder()
    ///     .hasher(std::hash::RandomState::new());
    /// ```
    pub fn hasher<H>(self, hasher: H) -> Builder<Map<K, V, H>>
    where
        H: BuildHasher + Send + Sync + 'static,
    {
        let MapOptions {
            shards,
            remember_versions,
            copy,
            ..
        } = self.own.0;
        Builder {
            settings: self.settings,
            runtime: self.runtime,
            own: MapSettings(MapOptions {
                shards,
                hasher,
                remember_versions,
                copy,
            }),
        }
    }

    /// For how many keys to remember the version, of those that were delivered (or given up) last:
    /// by default 0. A [`put_newer`](Map::put_newer) with an older version of such a key is stale
    /// although no entry of the key is held.
    ///
    /// Costs the memory of so many keys and some 60 bytes for each, and in each `put_newer` that
    /// begins an entry one lock more, which all partitions share.
    ///
    /// ```
    /// use swaplane::{Map, Put};
    ///
    /// let builder = Map::builder().own_thread().remember_versions(10_000);
    /// let map = builder.spawn_fn(|_batch| async { Ok(()) })?;
    /// map.put_newer("key", "as it is", 2)?;
    /// map.flush_blocking()?;
    /// assert_eq!(map.put_newer("key", "as it was", 1)?, Put::Stale);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remember_versions(mut self, keys: usize) -> Self {
        self.own.0.remember_versions = keys;
        self
    }

    /// Lets [`get`](Map::get) and [`contains`](Map::contains) find values in flight too. By default
    /// they do not. Costs a clone of key and value of each entry when it leaves.
    ///
    /// ```
    /// let builder = swaplane::Map::builder().own_thread().max_batch_size(1).read_in_flight();
    /// let map = builder.spawn_fn(|_batch| std::future::pending())?; // a sink that is slow
    /// map.put("key", "value")?;
    /// assert_eq!(map.get("key"), Some("value")); // whether it is with the sink by now or not
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_in_flight(mut self) -> Self
    where
        V: Clone,
    {
        self.own.0.copy = Some(V::clone);
        self
    }

    /// Starts the map with a sink.
    ///
    /// # Errors
    /// [`BuildError`] with every setting that cannot be used, and if there is no runtime, or one
    /// without a timer.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use swaplane::{Batch, Entry, Map, Sink, SinkError};
    ///
    /// struct Print;
    /// impl Sink<Entry<u64, String>> for Print {
    ///     async fn send(&self, batch: Batch<Entry<u64, String>>) -> Result<(), SinkError> {
    ///         println!("{:?}", &batch[..]);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let map = Map::builder().spawn(Print)?;
    /// map.put(1, "one".to_owned())?;
    /// map.flush().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn spawn<T: Sink<Entry<K, V>>>(self, sink: T) -> Result<Map<K, V, S>, BuildError> {
        self.start_map(sink)
    }

    /// Starts the map with a closure as its sink.
    ///
    /// The future must own what it uses: clone handles before `async move`.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    ///
    /// ```
    /// use swaplane::{Batch, Entry, Map};
    ///
    /// let upsert = |batch: Batch<Entry<u64, String>>| async move {
    ///     println!("UPSERT {} rows", batch.len());
    ///     Ok(())
    /// };
    /// let map = Map::builder().own_thread().spawn_fn(upsert)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spawn_fn<F, Fut>(self, f: F) -> Result<Map<K, V, S>, BuildError>
    where
        F: Fn(Batch<Entry<K, V>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), SinkError>> + Send + 'static,
    {
        self.start_map(sink_fn(f))
    }

    /// Starts the map with a closure that may block as its sink. It runs on the blocking threads of
    /// the runtime.
    ///
    /// Such a closure cannot be cancelled: after a timeout the next attempt waits until it returns.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    ///
    /// ```
    /// let builder = swaplane::Map::<u64, String>::builder().own_thread();
    /// let map = builder.spawn_blocking_fn(|entries| {
    ///     std::fs::write("/dev/null", format!("{entries:?}"))?;
    ///     Ok(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spawn_blocking_fn<F>(self, f: F) -> Result<Map<K, V, S>, BuildError>
    where
        F: Fn(&[Entry<K, V>]) -> Result<(), SinkError> + Send + Sync + 'static,
    {
        self.start_map(blocking_sink_fn(f))
    }

    /// Starts a map whose sink learns of removals too.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use std::sync::{Arc, Mutex};
    /// use swaplane::{Batch, Change, Map, Sink, SinkError};
    ///
    /// #[derive(Default)]
    /// struct Replica(Mutex<HashMap<u64, &'static str>>);
    /// impl Sink<Change<u64, &'static str>> for Replica {
    ///     async fn send(&self, batch: Batch<Change<u64, &'static str>>) -> Result<(), SinkError> {
    ///         let mut rows = self.0.lock().unwrap();
    ///         for change in batch.iter() {
    ///             match change {
    ///                 Change::Put(entry) => rows.insert(entry.key, entry.value),
    ///                 Change::Remove { key } => rows.remove(key),
    ///             };
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let replica = Arc::new(Replica::default());
    /// let mirror = Map::builder().own_thread().spawn_mirror(replica.clone())?;
    /// mirror.put(1, "one")?;
    /// mirror.put(2, "two")?;
    /// mirror.flush_blocking()?;
    /// mirror.remove(&1)?;
    /// mirror.flush_blocking()?;
    /// assert_eq!(*replica.0.lock().unwrap(), HashMap::from([(2, "two")]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spawn_mirror<T: Sink<Change<K, V>>>(
        self,
        sink: T,
    ) -> Result<Mirror<K, V, S>, BuildError> {
        self.start_map(sink)
    }

    /// Starts a map whose sink, a closure, learns of removals too.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    ///
    /// ```
    /// use swaplane::{Batch, Change, Map};
    ///
    /// let apply = |batch: Batch<Change<u64, String>>| async move {
    ///     println!("{} changes", batch.len());
    ///     Ok(())
    /// };
    /// let mirror = Map::builder().own_thread().spawn_mirror_fn(apply)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spawn_mirror_fn<F, Fut>(self, f: F) -> Result<Mirror<K, V, S>, BuildError>
    where
        F: Fn(Batch<Change<K, V>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), SinkError>> + Send + 'static,
    {
        self.start_map(sink_fn(f))
    }

    /// Checks the settings that only a map has, and starts it.
    fn start_map<E, T>(self, sink: T) -> Result<Map<K, V, S, E>, BuildError>
    where
        E: MapItem<K, V>,
        T: Sink<E>,
    {
        let mut wrong = Vec::new();
        power_of_two("shards", self.own.0.shards, MOST_SHARDS, &mut wrong);
        let store = |shape, MapSettings(options)| Store::new(shape, options);
        self.start(sink, wrong, store).map(Map::from_shared)
    }
}
