//! [`Mirror`]: a map whose sink learns of removals too.

use std::hash::{BuildHasher, Hash};

use super::Map;
use super::entry::Change;
use super::slot::Slot;
use super::store::Updated;
use crate::error::RefusalReason;
use crate::hash::RandomState;
use crate::panic::drop_before;

/// A [`Map`] whose sink learns of removals too, for a copy of the state elsewhere.
///
/// The sink gets every [`Change`](crate::Change), and the last operation on a key wins, be it a put
/// or a removal. [`Builder::spawn_mirror`](crate::Builder::spawn_mirror) makes one.
///
/// ```
/// use swaplane::{Batch, Change, Map, Mirror};
///
/// let print = |batch: Batch<Change<u64, &'static str>>| async move {
///     for change in batch.iter() {
///         match change {
///             Change::Put(entry) => println!("UPSERT {} {}", entry.key, entry.value),
///             Change::Remove { key } => println!("DELETE {key}"),
///         }
///     }
///     Ok(())
/// };
/// let mirror: Mirror<u64, &str> = Map::builder().own_thread().spawn_mirror_fn(print)?;
/// mirror.put(1, "one")?;
/// mirror.flush_blocking()?;
/// mirror.remove(&1)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Mirror<K, V, S = RandomState> = Map<K, V, S, Change<K, V>>;

impl<K, V, S> Map<K, V, S, Change<K, V>>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    /// Removes a key: the sink gets [`Change::Remove`](crate::Change::Remove), unless the key is
    /// put again before. Returns the value that waited.
    ///
    /// An entry in flight is delivered before the removal. A removal is an accepted update like any
    /// other. It keeps the version, so a stale [`put_newer`](Self::put_newer) does not bring the
    /// key back. Costs as much as [`put`](Self::put), and a clone of the key.
    ///
    /// # Errors
    /// [`RefusalReason::Full`] or [`RefusalReason::Closed`], as [`put`](Self::put).
    ///
    /// # Panics
    /// As [`put`](Self::put), and if `Clone` of the key panics.
    ///
    /// ```
    /// # let hour = std::time::Duration::from_secs(3600);
    /// # let builder = swaplane::Map::builder().own_thread().max_delay(hour);
    /// # let mirror = builder.spawn_mirror_fn(|_batch| async { Ok(()) })?;
    /// mirror.put_newer("key", "value", 5)?;
    /// assert_eq!(mirror.remove(&"key")?, Some("value"));
    /// assert_eq!(mirror.put_newer("key", "an older value", 4)?, swaplane::Put::Stale);
    /// assert_eq!(mirror.get("key"), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove(&self, key: &K) -> Result<Option<V>, RefusalReason> {
        let take = |slot: &mut Slot<V>, ()| slot.take();
        match self.store().update(key.clone(), None, (), take, |()| None) {
            Ok(Updated::Merged(value, key)) => Ok(drop_before(key, value)),
            Ok(_) => Ok(None),
            Err((refused, _, ())) => Err(refused),
        }
    }
}
