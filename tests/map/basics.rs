//! What each operation of a map does to what is held, and what is counted.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use swaplane::{BuildError, Builder, Entry, Map, Put, RefusalReason, Retry};

use crate::common::{
    HOUR, Keyed, Recorder, Step, assert_adds_up, assert_conserved, paused, removal, row, rows,
    secs, settle, sorted, steady_map, watched,
};

fn map(sink: &Keyed) -> Map<u64, u64> {
    steady_map().spawn(sink.clone()).unwrap()
}

/// M2, M3: the last put wins. The entry says how many updates it holds.
#[test]
fn the_last_put_of_a_key_wins() {
    paused(async || {
        let sink = Keyed::from(Recorder::ok());
        let map = map(&sink);
        for (key, value) in [(1, 10), (2, 20), (1, 11), (3, 30), (1, 12), (3, 31)] {
            map.put(key, value).unwrap();
        }
        assert_eq!((map.len(), map.is_empty()), (3, false));
        map.flush().await.unwrap();
        assert_eq!(
            sorted(sink.acked()),
            [row(1, 12).updates(3), row(2, 20), row(3, 31).updates(2)]
        );
        // Each entry counts its updates from one.
        map.put(1, 13).unwrap();
        map.flush().await.unwrap();
        assert_eq!(sink.acked()[3..], [row(1, 13)]);
        let stats = map.stats();
        assert_conserved(&stats);
        assert_eq!(
            (stats.accepted, stats.coalesced, stats.delivered),
            (7, 3, 4)
        );
        assert_eq!((stats.batches, stats.attempts, stats.held), (2, 2, 0));
        assert!(map.is_empty());
    });
}

/// M1: the highest version wins, in whichever order versions come. An equal version is stale.
#[test]
fn the_newest_version_wins_whatever_the_order() {
    paused(async || {
        let sink = Keyed::from(Recorder::ok());
        let map = map(&sink);
        let outcomes = [5, 5, 4, 7, 6, 7, 8, 0, u64::MAX, u64::MAX]
            .map(|version| map.put_newer(1, version / 2, version).unwrap());
        use Put::{Inserted, Replaced, Stale};
        assert_eq!(
            outcomes,
            [
                Inserted, Stale, Stale, Replaced, Stale, Stale, Replaced, Stale, Replaced, Stale
            ]
        );
        assert_eq!(map.put_newer(2, 0, 0), Ok(Inserted));
        assert_eq!(map.put_newer(2, 1, 0), Ok(Stale));
        map.flush().await.unwrap();
        let newest = row(1, u64::MAX / 2).version(u64::MAX).updates(4);
        assert_eq!(sorted(sink.acked()), [newest, row(2, 0).version(0)]);
        let stats = map.stats();
        assert_conserved(&stats);
        assert_eq!(
            (stats.accepted, stats.coalesced),
            (5, 3),
            "stale is not counted"
        );
    });
}

/// A merge folds its update into what is held, in order. Where nothing is held it begins an entry.
#[test]
fn a_merge_folds_into_what_is_held() {
    paused(async || {
        let sink = Keyed::from(Recorder::ok());
        let map = map(&sink);
        let append = |digits: &mut u64, digit| *digits = *digits * 10 + digit;
        map.merge(1, 1, |_, _| unreachable!("nothing is held"))
            .unwrap();
        map.merge(1, 2, append).unwrap();
        map.merge(1, 3, append).unwrap();
        assert_eq!(map.get(&1), Some(123));
        map.put(1, 4).unwrap();
        map.merge(1, 5, append).unwrap();
        map.flush().await.unwrap();
        assert_eq!(sink.acked(), [row(1, 45).updates(5)]);
        map.merge(1, 6, append).unwrap();
        map.flush().await.unwrap();
        assert_eq!(sink.acked()[1..], [row(1, 6)]);
    });
}

/// Puts and merges without a version keep the version of the entry that they change.
#[test]
fn a_put_and_a_merge_keep_the_version_of_the_entry() {
    paused(async || {
        let sink = Keyed::from(Recorder::ok());
        let map = map(&sink);
        map.put(1, 10).unwrap();
        assert_eq!(map.put_newer(1, 11, 0), Ok(Put::Replaced));
        assert_eq!(map.put_newer(1, 12, 5), Ok(Put::Replaced));
        map.put(1, 13).unwrap();
        assert_eq!(map.put_newer(1, 0, 5), Ok(Put::Stale));
        map.merge(1, 100, |sum, more| *sum += more).unwrap();
        assert_eq!(map.put_newer(1, 0, 4), Ok(Put::Stale));
        assert_eq!(map.get(&1), Some(113));
        map.flush().await.unwrap();
        assert_eq!(sink.acked(), [row(1, 113).version(5).updates(5)]);
    });
}

/// M4: a removal takes what is held, with its updates and its version, and resurrects nothing.
#[test]
fn a_removal_takes_what_is_held_and_nothing_else() {
    paused(async || {
        let sink = Keyed::from(Recorder::ok());
        let map = map(&sink);
        assert_eq!(map.remove(&1), None);
        map.put(1, 10).unwrap();
        map.put(1, 11).unwrap();
        map.put_newer(2, 20, 9).unwrap();
        assert_eq!((map.remove(&1), map.remove(&1)), (Some(11), None));
        assert_eq!(map.remove(&2), Some(20));
        assert_eq!((map.get(&1), map.contains(&2)), (None, false));
        assert!(map.is_empty());
        assert_eq!(
            map.put_newer(2, 21, 1),
            Ok(Put::Inserted),
            "the version went too"
        );
        map.flush().await.unwrap();
        assert_eq!(sink.acked(), [row(2, 21).version(1)]);
        let stats = map.stats();
        assert_conserved(&stats);
        assert_eq!(
            (stats.accepted, stats.coalesced, stats.removed),
            (4, 1, 2),
            "an entry is removed once, however often it was put"
        );
        assert_eq!(map.remove(&2), None, "nor what is delivered");
    });
}

/// A flush of a map of which everything was removed ends, and nothing is sent.
#[test]
fn a_map_of_which_everything_was_removed_sends_nothing() {
    paused(async || {
        let sink = Keyed::from(Recorder::ok());
        let map = map(&sink);
        map.put_all((0..9).map(|key| (key, key))).unwrap();
        for key in 0..9 {
            assert_eq!(map.remove(&key), Some(key));
        }
        map.flush().await.unwrap();
        let report = map.shutdown(HOUR).await;
        assert_adds_up(&report);
        assert!(report.is_complete() && report.returned.is_empty());
        assert_eq!((report.accepted, report.removed, sink.count()), (9, 9, 0));
    });
}

#[test]
fn keys_are_found_by_what_they_borrow_as() {
    paused(async || {
        let map = steady_map::<String, Vec<u8>>()
            .spawn_fn(|_batch| async { Ok(()) })
            .unwrap();
        map.put("key".to_owned(), vec![1]).unwrap();
        assert_eq!(map.get("key"), Some(vec![1]));
        assert!(map.contains("key") && !map.contains("another"));
        assert_eq!(map.remove("key"), Some(vec![1]));
    });
}

/// `put_all` and `put_newer_all` are as many single calls, also for one key several times.
#[test]
fn put_all_is_as_many_puts() {
    paused(async || {
        let sink = Keyed::from(Recorder::ok());
        let map = map(&sink);
        map.put_all([(1, 10), (2, 20), (1, 11)]).unwrap();
        map.put_all([]).unwrap();
        let newer = [(3, 30, 2), (3, 31, 1), (2, 21, 0), (3, 32, 2), (3, 33, 3)];
        assert_eq!(map.put_newer_all(newer), Ok(3));
        assert_eq!(map.put_newer_all([]), Ok(0));
        map.flush().await.unwrap();
        assert_eq!(
            sorted(sink.acked()),
            [
                row(1, 11).updates(2),
                row(2, 21).version(0).updates(2),
                row(3, 33).version(3).updates(2)
            ]
        );
    });
}

/// C2: what `put_all` could not put comes back in order. Nothing is lost or delivered twice.
#[test]
fn put_all_gives_back_what_it_could_not_put() {
    paused(async || {
        let sink = Keyed::from(Recorder::held());
        let map = steady_map().capacity(16).spawn(sink.clone()).unwrap();
        let error = map.put_all((0..40).map(|key| (key, key))).unwrap_err();
        assert_eq!(error.reason, RefusalReason::Full);
        assert!(error.is_full() && !error.is_closed());
        assert!((12..=16).contains(&error.accepted), "{error:?}");
        let first = error.accepted as u64;
        assert_eq!(
            error.rest,
            (first..40).map(|key| (key, key)).collect::<Vec<_>>()
        );
        settle().await;
        let more = (first..40).map(|key| (key, key, 1));
        let error = map.put_newer_all(more.clone()).unwrap_err();
        let second = error.accepted as u64;
        assert!(first + second <= 16);
        assert_eq!(error.rest, more.skip(second as usize).collect::<Vec<_>>());
        sink.release();
        map.flush().await.unwrap();
        map.close();
        let error = map.put_all([(98, 0), (99, 0)]).unwrap_err();
        assert_eq!((error.accepted, error.reason), (0, RefusalReason::Closed));
        assert_eq!(error.into_inner(), [(98, 0), (99, 0)]);
        let mut keys: Vec<_> = sink.acked().iter().map(|row| row.key).collect();
        keys.sort_unstable();
        assert_eq!(keys, (0..first + second).collect::<Vec<_>>());
    });
}

/// C5: a full map accepts updates of what it holds. It refuses new entries and gives them back.
#[test]
fn a_full_map_accepts_updates_and_refuses_new_entries() {
    paused(async || {
        let sink = Keyed::from(Recorder::ok());
        let map = steady_map()
            .capacity(12)
            .max_batch_size(9)
            .spawn(sink.clone())
            .unwrap();
        // No batch makes room, since nothing runs until the first await.
        let mut key = 0;
        let refused = loop {
            match map.put(key, 100 + key) {
                Ok(()) => key += 1,
                Err(refused) => break refused,
            }
        };
        assert!((9..=12).contains(&key), "{key} were accepted");
        assert!(refused.is_full());
        assert_eq!(refused.into_inner(), (key, 100 + key));
        for held in 0..key {
            map.put(held, 200 + held).unwrap();
            map.merge(held, 1, |value, one| *value += one).unwrap();
            assert_eq!(map.put_newer(held, held, 1), Ok(Put::Replaced));
        }
        assert_eq!(map.len() as u64, key);
        let (newer, merged) = (map.put_newer(90, 1, 2), map.merge(91, 3, |_, _| {}));
        // A key whose shard still has a credit is accepted, within the capacity.
        let others: Vec<_> = [(90, newer.is_ok()), (91, merged.is_ok())]
            .into_iter()
            .filter_map(|(key, accepted)| accepted.then_some(key))
            .collect();
        if let Err(refused) = newer {
            assert_eq!(refused.into_inner(), (90, 1));
        }
        if let Err(refused) = merged {
            assert_eq!(refused.into_inner(), (91, 3));
        }
        assert!(map.len() <= 12);
        assert_conserved(&map.stats());
        map.flush().await.unwrap();
        let mut keys: Vec<_> = sink.acked().iter().map(|row| row.key).collect();
        keys.sort_unstable();
        assert_eq!(keys, (0..key).chain(others).collect::<Vec<_>>());
        assert!(
            sink.acked()
                .iter()
                .all(|row| row.key >= 90 || row.updates == 4)
        );
    });
}

/// C5: a removal, a delivery and a loss make room. A refusal and a stale update take none.
#[test]
fn removed_delivered_and_lost_entries_give_their_room_back() {
    paused(async || {
        let sink = Keyed::from(Recorder::ok());
        let map = steady_map()
            .capacity(20)
            .retry(Retry::never())
            .spawn(sink.clone())
            .unwrap();
        for round in 0..30 {
            let error = map.put_all((0..100).map(|n| (n, n))).unwrap_err();
            let accepted = error.accepted as u64;
            assert!((15..=20).contains(&accepted), "{accepted} in round {round}");
            match round % 3 {
                0 => assert!((0..accepted).all(|key| map.remove(&key).is_some())),
                1 => map.flush().await.unwrap(),
                _ => {
                    sink.then([Step::Reject, Step::Fail]);
                    assert_eq!(map.flush().await.unwrap_err().lost, accepted);
                }
            }
            assert!(map.is_empty());
            map.put_newer(7, 7, 7).unwrap();
            for _ in 0..50 {
                assert_eq!(map.put_newer(7, 7, 7), Ok(Put::Stale));
            }
            map.remove(&7);
        }
    });
}

/// C5: a key in flight that is put again has two entries.
#[test]
fn a_key_in_flight_that_is_put_again_counts_twice() {
    paused(async || {
        let sink = Keyed::from(Recorder::held());
        let map = steady_map()
            .capacity(4)
            .max_batch_size(3)
            .spawn(sink.clone())
            .unwrap();
        map.put_all([(1, 1), (2, 2), (3, 3)]).unwrap();
        settle().await;
        assert_eq!(sink.count(), 1);
        let refused = [(1, 4), (2, 5), (3, 6)].map(|(key, value)| map.put(key, value).is_err());
        assert!(map.len() <= 4);
        assert!(refused.iter().filter(|refused| **refused).count() >= 2);
        sink.release();
        map.flush().await.unwrap();
        assert_eq!(
            sink.acked().len(),
            6 - refused.iter().filter(|r| **r).count()
        );
    });
}

/// C2, C3: a closed map refuses every update, and gives key and value back.
#[test]
fn a_closed_map_refuses_every_update() {
    paused(async || {
        let sink = Keyed::from(Recorder::held());
        let map = map(&sink);
        map.put_newer(1, 10, 5).unwrap();
        assert!(!map.is_closed());
        assert!(map.close());
        assert!(!map.close() && map.is_closed());
        let refused = map.put(1, 11).unwrap_err();
        assert!(refused.is_closed());
        assert_eq!(refused.into_inner(), (1, 11));
        let refused = map
            .merge(2, 12, |_, _| unreachable!("refused"))
            .unwrap_err();
        assert_eq!(refused.into_inner(), (2, 12));
        assert_eq!(
            map.put_newer(1, 13, 6).unwrap_err().into_inner(),
            (1, 13),
            "also where there is an entry"
        );
        let error = map.put_newer_all([(1, 1, 9), (2, 2, 9)]).unwrap_err();
        assert_eq!((error.accepted, error.rest.len()), (0, 2));
        sink.release();
        let report = map.shutdown(HOUR).await;
        assert_adds_up(&report);
        assert_eq!((report.accepted, report.delivered), (1, 1));
        assert_eq!(sink.acked(), [row(1, 10).version(5)]);
    });
}

/// The last operation on a key wins, the removal of an unknown key included.
#[test]
fn a_mirror_sends_the_last_operation_of_each_key() {
    paused(async || {
        let sink = Keyed::from(Recorder::ok());
        let mirror = steady_map().spawn_mirror(sink.clone()).unwrap();
        mirror.put(1, 10).unwrap();
        mirror.put(1, 11).unwrap();
        assert_eq!(mirror.remove(&1), Ok(Some(11)));
        assert_eq!(mirror.remove(&1), Ok(None));
        assert_eq!((mirror.get(&1), mirror.contains(&1)), (None, false));
        mirror.put(2, 20).unwrap();
        assert_eq!(mirror.remove(&2), Ok(Some(20)));
        mirror.put(2, 21).unwrap();
        assert_eq!(mirror.get(&2), Some(21));
        assert_eq!(mirror.remove(&3), Ok(None));
        mirror
            .merge(3, 30, |_, _| unreachable!("it was removed"))
            .unwrap();
        assert_eq!(mirror.remove(&4), Ok(None));
        assert_eq!(mirror.len(), 4);
        mirror.flush().await.unwrap();
        assert_eq!(
            sorted(sink.acked()),
            [
                removal(1),
                row(2, 21).updates(3),
                row(3, 30).updates(2),
                removal(4)
            ]
        );
        let stats = mirror.stats();
        assert_conserved(&stats);
        assert_eq!(
            (stats.accepted, stats.coalesced, stats.removed),
            (10, 6, 0),
            "a removal is an update"
        );
        mirror.close();
        assert_eq!(mirror.remove(&1), Err(RefusalReason::Closed));
    });
}

/// C5: in a mirror a removal that begins an entry takes room. One that changes an entry does not.
#[test]
fn a_removal_that_begins_an_entry_takes_room() {
    paused(async || {
        let sink = Keyed::from(Recorder::ok());
        let mirror = steady_map::<u64, u64>()
            .capacity(12)
            .max_batch_size(9)
            .spawn_mirror(sink.clone())
            .unwrap();
        let held = (0..100)
            .take_while(|key| mirror.remove(key).is_ok())
            .count() as u64;
        assert!((9..=12).contains(&held), "{held}");
        assert_eq!(mirror.remove(&held), Err(RefusalReason::Full));
        for key in 0..held {
            mirror.put(key, key).unwrap();
            assert_eq!(mirror.remove(&key), Ok(Some(key)));
        }
        mirror.flush().await.unwrap();
        assert_eq!(
            sorted(sink.acked()),
            (0..held).map(removal).collect::<Vec<_>>()
        );
    });
}

/// C7, C9: the report and the stats say the same, whichever outcome an entry has.
#[test]
fn the_report_and_the_stats_agree() {
    paused(async || {
        let sink = Keyed::from(Recorder::script([Step::Ok, Step::Reject, Step::Hang]));
        let map = map(&sink);
        for round in 0..3 {
            map.put_all((0..5).map(|key| (key, round))).unwrap();
            map.put(0, 10 + round).unwrap();
            assert_eq!(map.remove(&4), Some(round));
            match round {
                0 => map.flush().await.unwrap(),
                1 => assert_eq!(map.flush().await.unwrap_err().lost, 4),
                _ => {}
            }
        }
        let report = map.shutdown(secs(5)).await;
        assert_adds_up(&report);
        assert!(!report.is_complete());
        assert_eq!((report.accepted, report.delivered, report.lost), (18, 4, 4));
        assert_eq!((report.coalesced, report.removed), (3, 3));
        assert_eq!(
            sorted(rows(&report.returned)),
            [row(0, 12).updates(2), row(1, 2), row(2, 2), row(3, 2)]
        );
        let stats = map.stats();
        assert_conserved(&stats);
        assert_eq!(
            (stats.accepted, stats.delivered, stats.lost, stats.returned),
            (18, 4, 4, 4)
        );
        assert_eq!((stats.coalesced, stats.removed, stats.held), (3, 3, 0));
        let again = map.shutdown(secs(5)).await;
        assert_adds_up(&again);
        assert_eq!(again.returned_to_other_callers, 4);
    });
}

/// Gives all keys the same hash, and counts how often it is called.
#[derive(Clone, Default)]
struct Same(Arc<AtomicUsize>);

impl Hasher for Same {
    fn write(&mut self, _: &[u8]) {}

    fn finish(&self) -> u64 {
        self.0.fetch_add(1, SeqCst);
        0
    }
}

impl BuildHasher for Same {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        self.clone()
    }
}

/// Keys whose hashes are all equal are told apart, and hashed once for each call.
#[test]
fn keys_with_equal_hashes_are_told_apart() {
    paused(async || {
        let (sink, hasher) = (Keyed::from(Recorder::ok()), Same::default());
        let count = hasher.0.clone();
        let map = steady_map()
            .partitions(4)
            .remember_versions(100)
            .read_in_flight()
            .hasher(hasher)
            .spawn(sink.clone())
            .unwrap();
        let mut model = HashMap::new();
        for n in 0..200 {
            let key = n * 7 % 40;
            let before = count.load(SeqCst);
            match n % 5 {
                0 | 1 => {
                    map.put(key, n).unwrap();
                    model.insert(key, n);
                }
                2 => {
                    map.put_newer(key, n, n).unwrap();
                    model.insert(key, n);
                }
                3 => assert_eq!(map.remove(&key), model.remove(&key)),
                _ => assert_eq!(map.get(&key), model.get(&key).copied()),
            }
            assert_eq!(count.load(SeqCst), before + 1, "hashed once");
        }
        map.flush().await.unwrap();
        let state: HashMap<_, _> = sink
            .state()
            .into_iter()
            .map(|(k, r)| (k, r.value))
            .collect();
        assert_eq!(
            state,
            model.into_iter().map(|(k, n)| (k, Some(n))).collect()
        );
    });
}

/// Equal keys are one key. The entry has the one that was put first.
#[test]
fn an_entry_keeps_the_key_that_was_put_first() {
    #[derive(Clone, Debug)]
    struct Name(&'static str);
    impl PartialEq for Name {
        fn eq(&self, other: &Self) -> bool {
            self.0.eq_ignore_ascii_case(other.0)
        }
    }
    impl Eq for Name {}
    impl Hash for Name {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.to_ascii_lowercase().hash(state);
        }
    }
    paused(async || {
        let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel::<Vec<Entry<Name, u64>>>();
        let map = steady_map()
            .spawn_fn(move |batch| {
                let sent = sender.send(batch.into_vec());
                async move { Ok(sent?) }
            })
            .unwrap();
        map.put(Name("first"), 1).unwrap();
        map.put(Name("FIRST"), 2).unwrap();
        map.flush().await.unwrap();
        let entries = seen.recv().await.unwrap();
        assert_eq!((entries[0].key.0, entries[0].value), ("first", 2));
    });
}

fn refused(builder: Builder<Map<u64, u64>>) -> BuildError {
    match builder.spawn(Keyed::from(Recorder::ok())) {
        Ok(_) => panic!("accepted"),
        Err(error) => error,
    }
}

/// Shards are a power of two from 2 to 1024. Other violations are named along with that one.
#[test]
fn shards_out_of_bounds_are_named() {
    paused(async || {
        for shards in [0, 1, 3, 2048, usize::MAX] {
            let error = refused(Map::builder().shards(shards));
            let [violation] = error.violations() else {
                panic!("{error}");
            };
            assert_eq!(
                (violation.field, violation.value.as_str()),
                ("shards", shards.to_string().as_str())
            );
            assert!(violation.bound.contains('2') && violation.bound.contains("1024"));
            for part in [violation.field, &violation.value, &violation.bound] {
                assert!(error.to_string().contains(part), "{error}");
            }
            let mirror = Map::<u64, u64>::builder()
                .shards(shards)
                .spawn_mirror(Keyed::from(Recorder::ok()));
            assert_eq!(mirror.unwrap_err(), error);
        }
        for shards in [2, 1024] {
            let sink = Keyed::from(Recorder::ok());
            let map = steady_map().shards(shards).spawn(sink.clone()).unwrap();
            map.put_all((0..50).map(|key| (key, key))).unwrap();
            map.flush().await.unwrap();
            assert_eq!(sink.acked().len(), 50);
        }
    });
    watched(|| {
        let builder = Map::builder().shards(3).capacity(0).max_in_flight(0);
        let error = refused(builder.hasher(swaplane::RandomState::default()));
        let mut fields: Vec<_> = error.violations().iter().map(|v| v.field).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["capacity", "max_in_flight", "runtime", "shards"]);
    });
}

/// A map has a name and a capacity. Neither its debug output nor its errors print what it holds.
#[test]
fn a_map_shows_its_name_and_never_what_it_holds() {
    paused(async || {
        let map = steady_map::<String, String>()
            .name("profiles")
            .capacity(1000)
            .spawn_fn(|_batch| async { Ok(()) })
            .unwrap();
        map.put("a secret".to_owned(), "a secret".to_owned())
            .unwrap();
        assert_eq!((map.name(), map.capacity()), ("profiles", 1000));
        let text = format!("{map:?}");
        assert!(
            text.contains("profiles") && !text.contains("secret"),
            "{text}"
        );
        let clone = map.clone();
        drop(map);
        assert!(!clone.is_closed());
        assert_eq!(clone.len(), 1);
        clone.close();
        let refused = clone.put(String::new(), "a secret".to_owned()).unwrap_err();
        assert!(!format!("{refused:?} {refused}").contains("secret"));
    });
}
