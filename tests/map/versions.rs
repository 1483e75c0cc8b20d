//! M1: the version of a key never goes back while an earlier one is held or in flight, nor later
//! where versions are remembered.

use swaplane::{FlushError, Map, MapItem, Mirror, Put, Put::*, RandomState, Retry, SinkError};
use tokio::task::JoinHandle;

use crate::common::{
    HOUR, Keyed, Recorder, Step, assert_conserved, paused, removal, row, rows, secs, settle,
    sorted, steady_map,
};

/// A map or a mirror.
type Versioned<I> = Map<u64, u64, RandomState, I>;

fn map(sink: &Keyed) -> Map<u64, u64> {
    steady_map().spawn(sink.clone()).unwrap()
}

fn remembering(keys: usize, sink: &Keyed) -> Map<u64, u64> {
    steady_map()
        .remember_versions(keys)
        .spawn(sink.clone())
        .unwrap()
}

fn mirror(sink: &Keyed) -> Mirror<u64, u64> {
    steady_map().spawn_mirror(sink.clone()).unwrap()
}

/// Puts these versions of key 1, one after the other.
fn put<I: MapItem<u64, u64>, const N: usize>(map: &Versioned<I>, versions: [u64; N]) -> [Put; N] {
    versions.map(|version| map.put_newer(1, version * 10, version).unwrap())
}

/// Asks for a flush and does not wait for it.
fn send<I: MapItem<u64, u64>>(map: &Versioned<I>) -> JoinHandle<Result<(), FlushError>> {
    let map = map.clone();
    tokio::spawn(async move { map.flush().await })
}

/// An older or equal version is stale until the entry in flight is delivered.
#[test]
fn a_version_in_flight_makes_older_ones_stale() {
    paused(async || {
        for remembered in [0, 1] {
            let sink = Keyed::from(Recorder::held());
            let map = remembering(remembered, &sink);
            assert_eq!(put(&map, [5]), [Inserted]);
            send(&map);
            settle().await;
            assert_eq!(sink.count(), 1);
            assert_eq!(put(&map, [4, 5]), [Stale, Stale]);
            assert!(!map.contains(&1));
            assert_eq!(put(&map, [7, 6, 7, 8]), [Inserted, Stale, Stale, Replaced]);
            sink.release();
            map.flush().await.unwrap();
            assert_eq!(
                sink.acked(),
                [row(1, 50).version(5), row(1, 80).version(8).updates(2)]
            );
            assert_conserved(&map.stats());
            assert_eq!(map.stats().accepted, 3);
        }
    });
}

/// An entry that waits for its retry is compared with through all of its attempts.
#[test]
fn a_version_in_backoff_makes_older_ones_stale() {
    paused(async || {
        let sink = Keyed::from(Recorder::script([Step::Fail, Step::Panic, Step::Fail]));
        let map = map(&sink);
        put(&map, [5]);
        let flush = send(&map);
        for attempts in 1..=3 {
            sink.begun(attempts).await;
            settle().await;
            assert_eq!(put(&map, [5, 4]), [Stale, Stale]);
        }
        assert_eq!(put(&map, [6]), [Inserted]);
        flush.await.unwrap().unwrap();
        settle().await;
        assert_eq!(put(&map, [5, 6]), [Stale, Stale]);
        map.flush().await.unwrap();
        assert_eq!(sink.acked(), [row(1, 50).version(5), row(1, 60).version(6)]);
    });
}

/// An entry in flight, one that waits behind it, and a held one are compared with.
#[test]
fn the_newest_of_several_entries_of_a_key_counts() {
    paused(async || {
        let sink = Keyed::from(Recorder::held());
        let map = map(&sink);
        put(&map, [5]);
        send(&map);
        settle().await;
        put(&map, [8]);
        assert_eq!(map.remove(&1), Some(80));
        assert_eq!(put(&map, [5, 6]), [Stale, Inserted], "its version went too");
        send(&map);
        settle().await;
        assert_eq!(put(&map, [6, 5]), [Stale, Stale]);
        sink.release();
        map.flush().await.unwrap();
        assert_eq!(sink.acked(), [row(1, 50).version(5), row(1, 60).version(6)]);
    });
}

/// A version that is delivered, lost or removed is forgotten, unless the map remembers versions.
#[test]
fn a_version_is_forgotten_after_its_outcome_unless_remembered() {
    paused(async || {
        for (remembered, then) in [(0, [Inserted, Replaced]), (1, [Stale, Stale])] {
            for step in [Step::Ok, Step::Reject, Step::TakeFail, Step::Fail] {
                let sink = Keyed::from(Recorder::script([step]));
                let map = steady_map()
                    .retry(Retry::never())
                    .remember_versions(remembered)
                    .spawn(sink.clone())
                    .unwrap();
                put(&map, [5]);
                let _ = map.flush().await;
                assert!(map.is_empty());
                assert_eq!(put(&map, [4, 5]), then, "after {step:?}");
                assert_ne!(put(&map, [6]), [Stale], "after {step:?}");
            }
            let map = remembering(remembered, &Keyed::from(Recorder::ok()));
            put(&map, [5]);
            map.remove(&1);
            assert_eq!(put(&map, [4]), [Inserted], "it was never sent");
        }
    });
}

/// A key that was delivered last is remembered, not one that was looked up last.
#[test]
fn the_map_remembers_the_keys_delivered_last() {
    paused(async || {
        let sink = Keyed::from(Recorder::ok());
        let map = remembering(2, &sink);
        let deliver = async |key, version| {
            assert_eq!(map.put_newer(key, version, version), Ok(Inserted));
            map.flush().await.unwrap();
        };
        deliver(1, 5).await;
        deliver(2, 5).await;
        assert_eq!(map.put_newer(1, 0, 5), Ok(Stale), "looked at last");
        deliver(3, 5).await;
        assert_eq!(map.put_newer(2, 0, 5), Ok(Stale));
        assert_eq!(map.put_newer(3, 0, 5), Ok(Stale));
        // Key 1 is forgotten, so an older version is accepted. Delivered again, it outlives key 2.
        deliver(1, 4).await;
        deliver(2, 1).await;
        deliver(1, 6).await;
        deliver(3, 1).await;
        assert_eq!(map.put_newer(1, 0, 6), Ok(Stale));
        assert_eq!(map.put_newer(3, 0, 1), Ok(Stale));
        assert_eq!(map.put_newer(2, 0, 0), Ok(Inserted));
    });
}

/// A batch larger than what is remembered leaves as many of its keys as were asked for.
#[test]
fn no_more_is_remembered_than_asked_for() {
    paused(async || {
        let sink = Keyed::from(Recorder::ok());
        let map = remembering(3, &sink);
        map.put_newer_all((0..10).map(|key| (key, 0, 5))).unwrap();
        map.flush().await.unwrap();
        assert_eq!(
            map.put_newer_all((0..10).map(|key| (key, 0, 4))),
            Ok(7),
            "three are stale"
        );
    });
}

#[test]
fn a_put_without_a_version_keeps_the_remembered_one() {
    paused(async || {
        let sink = Keyed::from(Recorder::ok());
        let map = remembering(10, &sink);
        put(&map, [5]);
        map.flush().await.unwrap();
        for round in 0..3 {
            map.put(1, round).unwrap();
            assert_eq!(put(&map, [5]), [Stale], "held, without a version");
            map.flush().await.unwrap();
            assert_eq!(put(&map, [5]), [Stale], "delivered, without a version");
        }
        map.put(1, 9).unwrap();
        map.remove(&1);
        assert_eq!(put(&map, [5, 6]), [Stale, Inserted]);
        map.flush().await.unwrap();
        assert_eq!(sink.acked().last(), Some(&row(1, 60).version(6)));
    });
}

/// A put or a merge begins an entry without a version. What is older than the version in flight or
/// in backoff stays stale.
#[test]
fn an_entry_without_a_version_refuses_what_is_stale_in_flight() {
    paused(async || {
        for step in [Step::Slow(secs(5)), Step::Fail] {
            for merges in [false, true] {
                let sink = Keyed::from(Recorder::script([step]));
                let map = map(&sink);
                put(&map, [5]);
                let flush = send(&map);
                sink.begun(1).await;
                settle().await;
                match merges {
                    false => map.put(1, 1).unwrap(),
                    true => map.merge(1, 1, |_, _| unreachable!("in flight")).unwrap(),
                }
                assert_eq!(put(&map, [4, 5]), [Stale, Stale]);
                assert_eq!(map.get(&1), Some(1));
                assert_eq!(put(&map, [6]), [Replaced]);
                map.put(1, 2).unwrap();
                assert_eq!(put(&map, [6]), [Stale]);
                flush.await.unwrap().unwrap();
                map.flush().await.unwrap();
                assert_eq!(
                    sink.acked(),
                    [row(1, 50).version(5), row(1, 2).version(6).updates(3)]
                );
            }
        }
    });
}

/// Once both entries are delivered the version is forgotten.
#[test]
fn an_entry_without_a_version_reaches_the_sink_without_one() {
    paused(async || {
        let sink = Keyed::from(Recorder::held());
        let map = map(&sink);
        put(&map, [5]);
        send(&map);
        settle().await;
        map.put(1, 1).unwrap();
        sink.release();
        map.flush().await.unwrap();
        assert_eq!(sink.acked(), [row(1, 50).version(5), row(1, 1)]);
        assert_eq!(put(&map, [0]), [Inserted]);
    });
}

#[test]
fn entries_behind_the_first_batch_of_a_flush_count_as_in_flight() {
    paused(async || {
        let sink = Keyed::from(Recorder::held());
        let map: Map<u64, u64> = steady_map().max_batch_size(2).spawn(sink.clone()).unwrap();
        map.put_newer_all((0..9).map(|key| (key, 0, 5))).unwrap();
        send(&map);
        settle().await;
        for key in 0..9 {
            assert_eq!(map.put_newer(key, 1, 5), Ok(Stale), "key {key}");
            assert_ne!(map.put_newer(key, 2, 6), Ok(Stale), "key {key}");
            assert_eq!(map.put_newer(key, 3, 6), Ok(Stale), "key {key}");
        }
        sink.release();
        map.flush().await.unwrap();
        let acked = sorted(sink.acked());
        for key in 0..9 {
            let versions: Vec<_> = acked
                .iter()
                .filter(|row| row.key == key)
                .map(|row| row.version.unwrap())
                .collect();
            assert!(versions == [6] || versions == [5, 6], "{versions:?}");
        }
        assert_conserved(&map.stats());
    });
}

#[test]
fn a_shutdown_returns_the_entries_of_a_key_by_version() {
    paused(async || {
        let sink = Keyed::from(Recorder::new(Step::Hang));
        let map = map(&sink);
        put(&map, [5]);
        send(&map);
        settle().await;
        put(&map, [6, 7]);
        let report = map.shutdown(secs(1)).await;
        assert_eq!(
            rows(&report.returned),
            [row(1, 50).version(5), row(1, 70).version(7).updates(2)]
        );
    });
}

/// Nothing stale brings a removed key back.
#[test]
fn a_removal_in_a_mirror_keeps_the_version() {
    paused(async || {
        let sink = Keyed::from(Recorder::ok());
        let mirror = mirror(&sink);
        assert_eq!(put(&mirror, [5]), [Inserted]);
        assert_eq!(mirror.remove(&1), Ok(Some(50)));
        assert_eq!(put(&mirror, [4, 5]), [Stale, Stale]);
        assert_eq!(mirror.get(&1), None);
        assert_eq!(put(&mirror, [6]), [Replaced]);
        assert_eq!(mirror.get(&1), Some(60));
        mirror.flush().await.unwrap();
        assert_eq!(sink.acked(), [row(1, 60).version(6).updates(3)]);
    });
}

/// A removal has its version in flight, in backoff, and later if versions are remembered.
#[test]
fn a_removal_in_flight_makes_older_versions_stale() {
    paused(async || {
        for remembered in [0, 1] {
            let sink = Keyed::from(Recorder::script([Step::Slow(secs(5)), Step::Fail]));
            let mirror = steady_map()
                .remember_versions(remembered)
                .spawn_mirror(sink.clone())
                .unwrap();
            for version in [5, 9] {
                put(&mirror, [version]);
                mirror.remove(&1).unwrap();
                let flush = send(&mirror);
                sink.begun(sink.count() + 1).await;
                settle().await;
                assert_eq!(put(&mirror, [version - 1, version]), [Stale, Stale]);
                flush.await.unwrap().unwrap();
            }
            assert_eq!(sink.acked(), [removal(1), removal(1)]);
            assert_eq!(put(&mirror, [8]), [[Inserted, Stale][remembered]]);
        }
    });
}

/// A removal that begins an entry behind a version in flight lets in newer versions only.
#[test]
fn a_removal_behind_a_version_in_flight_keeps_it() {
    paused(async || {
        let sink = Keyed::from(Recorder::held());
        let mirror = mirror(&sink);
        put(&mirror, [5]);
        let flush = send(&mirror);
        settle().await;
        assert_eq!(mirror.remove(&1), Ok(None), "it was on its way");
        assert_eq!(put(&mirror, [4, 5]), [Stale, Stale]);
        assert_eq!(put(&mirror, [6]), [Replaced]);
        assert_eq!(mirror.remove(&1), Ok(Some(60)));
        assert_eq!(put(&mirror, [5, 6]), [Stale, Stale]);
        sink.release();
        flush.await.unwrap().unwrap();
        mirror.flush().await.unwrap();
        assert_eq!(sink.acked(), [row(1, 50).version(5), removal(1)]);
    });
}

/// M1: the versions of each key grow, with one partition or many, and with several batches in
/// flight.
#[test]
fn versions_that_reach_the_sink_only_grow() {
    paused(async || {
        for (partitions, in_flight) in [(1, 1), (4, 1), (4, 4)] {
            let mut rng = crate::common::Rng::new(partitions as u64 + in_flight as u64);
            let mut mood = rng.clone();
            let sink = Keyed::from(Recorder::choosing(move || match mood.below(5) {
                0 => Step::Fail,
                1 => Step::Panic,
                2 => Step::Slow(secs(2)),
                _ => Step::Ok,
            }));
            let map: Map<u64, u64> = steady_map()
                .partitions(partitions)
                .max_in_flight(in_flight)
                .max_batch_size(3)
                .max_delay(secs(1))
                .remember_versions(8)
                .retry(|_: u32, _: &SinkError| Some(secs(1)))
                .spawn(sink.clone())
                .unwrap();
            let mut newest = [None; 8];
            for now in 0..2000_u64 {
                let key = rng.below(8);
                let version = (now + rng.below(20)).saturating_sub(10);
                let newer = newest[key as usize] < Some(version);
                let put = map.put_newer(key, now, version).unwrap();
                assert_eq!(put != Stale, newer, "{version} after {newest:?} of {key}");
                if newer {
                    newest[key as usize] = Some(version);
                }
                if rng.below(10) == 0 {
                    tokio::time::sleep(secs(rng.below(3))).await;
                }
            }
            assert!(map.shutdown(HOUR).await.is_complete());
            let mut last = [None; 8];
            for row in sink.acked() {
                let last = &mut last[row.key as usize];
                assert!(*last < row.version, "{row:?} after {last:?}");
                *last = row.version;
            }
            assert_eq!(last, newest);
        }
    });
}
