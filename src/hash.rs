//! Hashing keys: once for each call, and before any lock, since `Hash` is the user's code.

use std::hash::{BuildHasher, Hash};

/// The default hasher of keys: fast, and seeded anew for each queue or map.
///
/// An attacker who chooses keys and measures time could still find keys that collide. For keys from
/// strangers take [`std::hash::RandomState`], with [`Builder::hasher`](crate::Builder::hasher).
///
/// ```
/// use std::hash::BuildHasher;
///
/// let hasher = swaplane::RandomState::default();
/// assert_eq!(hasher.hash_one("key"), hasher.hash_one("key"));
/// assert_ne!(hasher.hash_one("key"), swaplane::RandomState::default().hash_one("key"));
/// ```
// Not foldhash's `quality`, which is `fast` with a last round of mixing: `hash` mixes what any
// hasher answers.
#[derive(Clone, Debug, Default)]
pub struct RandomState(foldhash::fast::RandomState);

impl BuildHasher for RandomState {
    #[doc(hidden)]
    type Hasher = <foldhash::fast::RandomState as BuildHasher>::Hasher;

    #[inline(always)]
    fn build_hasher(&self) -> Self::Hasher {
        self.0.build_hasher()
    }
}

/// Hashes a key, and mixes the hash, so that every bit depends on all bits of the hasher's answer.
/// Partition, shard and bucket are chosen by different bits.
#[inline(always)]
pub(crate) fn hash<Q: Hash + ?Sized>(hasher: &impl BuildHasher, key: &Q) -> u64 {
    // The golden ratio: a constant whose bits look random. A bit of the product depends on all bits
    // of the hash below it; so the upper half of the product depends on all of them.
    let product = u128::from(hasher.hash_one(key)) * 0x9e37_79b9_7f4a_7c15;
    (product as u64) ^ (product >> 64) as u64
}

/// The index of a key's partition, of `n`. Depends above all on the bits from 39 downward. Those
/// choose neither the tag in a bucket (the highest seven bits) nor the shard (the bits below), and
/// the bucket (the lowest bits) only in a table that is huge.
#[inline(always)]
pub(crate) fn partition(hash: u64, n: usize) -> usize {
    let middle = (hash >> 8) & u64::from(u32::MAX);
    ((middle * n as u64) >> 32) as usize
}

#[cfg(all(test, not(swaplane_loom)))]
mod tests {
    use std::hash::BuildHasherDefault;

    use super::*;

    /// Hashes a number to itself.
    #[derive(Default)]
    struct Identity(u64);

    impl std::hash::Hasher for Identity {
        fn finish(&self) -> u64 {
            self.0
        }

        fn write_u64(&mut self, n: u64) {
            self.0 = n;
        }

        fn write(&mut self, _: &[u8]) {
            unreachable!("only numbers are hashed here");
        }
    }

    type PassThrough = BuildHasherDefault<Identity>;

    /// Keys fall evenly into partitions, and those of one partition evenly into its shards and
    /// buckets, even with a hasher that does nothing.
    #[test]
    fn keys_are_spread_evenly_on_every_level() {
        const KEYS: u64 = 1 << 16;
        let hashers: [&dyn Fn(u64) -> u64; 3] = [
            &|n| hash(&RandomState::default(), &0) ^ hash(&PassThrough::default(), &n),
            &|n| hash(&PassThrough::default(), &n),
            &|n| hash(&PassThrough::default(), &(n << 32)),
        ];
        for hasher in hashers {
            for partitions in [2, 3, 8] {
                let (mut partitions_hit, mut shards, mut buckets) =
                    (vec![0; partitions], vec![0; 4], vec![0; 64]);
                for hash in (0..KEYS).map(hasher) {
                    let partition = partition(hash, partitions);
                    partitions_hit[partition] += 1;
                    if partition == 0 {
                        shards[(hash << 7 >> 62) as usize] += 1;
                        buckets[(hash % 64) as usize] += 1;
                    }
                }
                for counts in [&partitions_hit, &shards, &buckets] {
                    let all: u64 = counts.iter().sum();
                    let mean = all as f64 / counts.len() as f64;
                    let far = counts.iter().map(|&n| (n as f64 - mean).abs() / mean);
                    assert!(far.fold(0.0, f64::max) < 0.5, "{partitions}: {counts:?}");
                }
            }
        }
    }
}
