//! Setting up a map.

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

/// Enough for every thread of a machine to find one of its own.
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
    /// Begins to set up a map, or a [`Mirror`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let map = swaplane::Map::<u64, String>::builder()
    ///     .name("profiles")
    ///     .capacity(50_000)
    ///     .spawn_fn(|_batch| async { Ok(()) })?;
    /// # Ok(())
    /// # }
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
    /// How many locks each partition has, a power of two from 2 to 1024; 4 by default. Updates
    /// whose keys share one wait for each other.
    ///
    /// ```
    /// let builder = swaplane::Map::<u64, u64>::builder().partitions(2).shards(16);
    /// ```
    pub fn shards(mut self, shards: usize) -> Self {
        self.own.0.shards = shards;
        self
    }

    /// What hashes the keys, once for each call; [`RandomState`] by default.
    ///
    /// ```
    /// // Slower, but nobody can find keys that collide.
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

    /// Remembers the last version of the `keys` keys that were delivered (or given up) last, so
    /// that [`put_newer`](Map::put_newer) with an older one is stale also when the key's entry is
    /// long gone. 0, the default, remembers none.
    ///
    /// Costs the memory of `keys` keys and some 60 bytes for each, and a lock, shared by all,
    /// for each `put_newer` that begins an entry.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use swaplane::{Map, Put};
    ///
    /// let map = Map::builder()
    ///     .remember_versions(10_000)
    ///     .spawn_fn(|_batch| async { Ok(()) })?;
    /// map.put_newer("key", "as it is", 2)?;
    /// map.flush().await?;
    /// assert_eq!(map.put_newer("key", "as it was", 1)?, Put::Stale);
    /// # Ok(())
    /// # }
    /// ```
    pub fn remember_versions(mut self, keys: usize) -> Self {
        self.own.0.remember_versions = keys;
        self
    }

    /// Lets [`get`](Map::get) find what is on its way to the sink, too. Costs a clone of the key
    /// and the value of each entry when it leaves.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use swaplane::Map;
    ///
    /// // A sink that is still busy with the entry.
    /// let map = Map::builder()
    ///     .max_batch_size(1)
    ///     .read_in_flight()
    ///     .spawn_fn(|_batch| std::future::pending())?;
    /// map.put("key", "value")?;
    /// tokio::task::yield_now().await;
    /// assert_eq!(map.get("key"), Some("value"));
    /// # Ok(())
    /// # }
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
        self.map(sink)
    }

    /// Starts the map with a closure as its sink. The future must own what it uses.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use swaplane::{Batch, Entry, Map};
    ///
    /// let map = Map::builder().spawn_fn(|batch: Batch<Entry<u64, String>>| async move {
    ///     println!("UPSERT {} rows", batch.len());
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn spawn_fn<F, Fut>(self, f: F) -> Result<Map<K, V, S>, BuildError>
    where
        F: Fn(Batch<Entry<K, V>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), SinkError>> + Send + 'static,
    {
        self.map(sink_fn(f))
    }

    /// Starts the map with a closure that may block as its sink; see
    /// [`spawn_blocking_fn`](Builder::spawn_blocking_fn) of a queue.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let map = swaplane::Map::<u64, String>::builder().spawn_blocking_fn(|entries| {
    ///     std::fs::write("/dev/null", format!("{entries:?}"))?;
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn spawn_blocking_fn<F>(self, f: F) -> Result<Map<K, V, S>, BuildError>
    where
        F: Fn(&[Entry<K, V>]) -> Result<(), SinkError> + Send + Sync + 'static,
    {
        self.map(blocking_sink_fn(f))
    }

    /// Starts a map whose sink learns of removals too.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::collections::HashMap;
    /// use std::sync::Mutex;
    /// use swaplane::{Batch, Change, Map, Sink, SinkError};
    ///
    /// struct Store(Mutex<HashMap<u64, &'static str>>);
    /// impl Sink<Change<u64, &'static str>> for Store {
    ///     async fn send(&self, batch: Batch<Change<u64, &'static str>>) -> Result<(), SinkError> {
    ///         let mut table = self.0.lock().unwrap();
    ///         for change in batch.iter() {
    ///             match change {
    ///                 Change::Put(entry) => table.insert(entry.key, entry.value),
    ///                 Change::Remove { key } => table.remove(key),
    ///             };
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let table = std::sync::Arc::new(Store(Mutex::default()));
    /// let mirror = Map::builder().spawn_mirror(table.clone())?;
    /// mirror.put(1, "one")?;
    /// mirror.put(2, "two")?;
    /// mirror.flush().await?;
    /// mirror.remove(&1)?;
    /// mirror.flush().await?;
    /// assert_eq!(*table.0.lock().unwrap(), HashMap::from([(2, "two")]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn spawn_mirror<T: Sink<Change<K, V>>>(
        self,
        sink: T,
    ) -> Result<Mirror<K, V, S>, BuildError> {
        self.map(sink)
    }

    /// [`spawn_mirror`](Self::spawn_mirror) with a closure as its sink.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use swaplane::{Batch, Change, Map};
    ///
    /// let mirror = Map::builder().spawn_mirror_fn(|batch: Batch<Change<u64, String>>| async move {
    ///     println!("{} changes", batch.len());
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn spawn_mirror_fn<F, Fut>(self, f: F) -> Result<Mirror<K, V, S>, BuildError>
    where
        F: Fn(Batch<Change<K, V>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), SinkError>> + Send + 'static,
    {
        self.map(sink_fn(f))
    }

    fn map<E, T>(self, sink: T) -> Result<Map<K, V, S, E>, BuildError>
    where
        E: MapItem<K, V>,
        T: Sink<E>,
    {
        let mut wrong = Vec::new();
        power_of_two("shards", self.own.0.shards, MOST_SHARDS, &mut wrong);
        let table = |shape, MapSettings(traits)| Store::new(shape, traits);
        self.start(sink, wrong, table).map(Map::from_shared)
    }
}
