//! The map: an update lands in the active side or not at all, is delivered once and in the order of
//! its key, versions never go backwards at the sink, and closing and parking miss no update.

use super::parts::{MapFlusher, MapSetup, map};
use super::support::{Arc, Mutants, Mutex, caught, model, thread};
use crate::source::Parked;
use crate::{Entry, Put};

const PLAIN: MapSetup = MapSetup {
    remember_versions: 0,
    read_in_flight: false,
    capacity: None,
};

const KEY: u32 = 1;

/// Collects what waits, settles it, and appends it to `taken`, as a flusher does whose earlier
/// batches are all delivered.
fn collect_and_settle(
    flusher: &mut MapFlusher,
    mut taken: Vec<Entry<u32, u32>>,
) -> Vec<Entry<u32, u32>> {
    let collected = flusher.collect();
    settle(flusher, &collected);
    taken.extend(collected);
    taken
}

/// Settles a batch. As in the flusher there is no batch without items.
fn settle(flusher: &mut MapFlusher, taken: &[Entry<u32, u32>]) {
    if !taken.is_empty() {
        flusher.settle(taken.len());
    }
}

fn values(taken: &[Entry<u32, u32>]) -> Vec<u32> {
    taken.iter().map(|entry| entry.value).collect()
}

/// A thread puts one key, again and again, while the flusher swaps so many times.
fn puts_against_swaps(bound: Option<usize>, puts: u32, swaps: usize) {
    model(bound, move || {
        let (map, mut flusher) = map(PLAIN);
        let writer = thread::spawn({
            let map = map.clone();
            move || (1..=puts).for_each(|value| map.put(KEY, value).unwrap())
        });
        let mut taken = Vec::new();
        for _ in 0..swaps {
            taken = collect_and_settle(&mut flusher, taken);
        }
        writer.join().unwrap();
        let taken = collect_and_settle(&mut flusher, taken);
        let values = values(&taken);
        assert!(values.is_sorted_by(|a, b| a < b), "{values:?}");
        assert_eq!(values.last(), Some(&puts));
        let updates: u64 = taken.iter().map(|entry| entry.updates).sum();
        assert_eq!(updates, u64::from(puts));
        assert_eq!(map.stats().accepted, u64::from(puts));
    });
}

/// The side that a thread is about to enter is swapped away and back.
fn a_side_becomes_active_again(bound: Option<usize>) {
    model(bound, || {
        let (map, mut flusher) = map(PLAIN);
        let writer = thread::spawn({
            let map = map.clone();
            move || (1..=2).for_each(|value| map.put(KEY, value).unwrap())
        });
        let mut taken = Vec::new();
        for _ in 0..2 {
            // So that there is something to swap.
            map.put(KEY + 1, 0).unwrap();
            taken = collect_and_settle(&mut flusher, taken);
        }
        writer.join().unwrap();
        let mut taken = collect_and_settle(&mut flusher, taken);
        taken.retain(|entry| entry.key == KEY);
        let values = values(&taken);
        assert!(values == [1, 2] || values == [2], "{values:?}");
    });
}

/// One thread puts after another, and the flusher swaps twice.
fn one_thread_after_another(bound: Option<usize>) {
    model(bound, || {
        let (map, mut flusher) = map(PLAIN);
        let is_put = Arc::new(Mutex::new(false));
        let first = thread::spawn({
            let (map, is_put) = (map.clone(), is_put.clone());
            move || {
                map.put(KEY, 1).unwrap();
                *is_put.lock().unwrap() = true;
            }
        });
        let second = thread::spawn({
            let (map, is_put) = (map.clone(), is_put.clone());
            move || {
                let after = *is_put.lock().unwrap();
                map.put(KEY, 2).unwrap();
                after
            }
        });
        let taken = collect_and_settle(&mut flusher, Vec::new());
        first.join().unwrap();
        let after = second.join().unwrap();
        let taken = collect_and_settle(&mut flusher, taken);
        let values = values(&taken);
        if after {
            assert_eq!(values.last(), Some(&2), "{values:?}");
        }
        assert!(!values.is_empty());
    });
}

/// Two threads put versions, and the flusher swaps. What it took is delivered early, or late.
fn two_versions(bound: Option<usize>, delivered: bool, remember_versions: usize) {
    model(bound, move || {
        let (map, mut flusher) = map(MapSetup {
            remember_versions,
            ..PLAIN
        });
        let puts = [2, 3].map(|version: u32| {
            let map = map.clone();
            thread::spawn(move || map.put_newer(KEY, version, version.into()).unwrap())
        });
        let taken = flusher.collect();
        if delivered {
            settle(&mut flusher, &taken);
        }
        let [older, newest] = puts.map(|put| put.join().unwrap());
        if !delivered {
            settle(&mut flusher, &taken);
        }
        let taken = collect_and_settle(&mut flusher, taken);
        let versions = values(&taken);
        if !delivered || remember_versions > 0 {
            assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
            assert_ne!(newest, Put::Stale);
            assert_eq!(versions.last(), Some(&3));
        }
        let accepted = [older, newest].map(|put| u64::from(put != Put::Stale));
        let updates: u64 = taken.iter().map(|entry| entry.updates).sum();
        assert_eq!(updates, accepted.iter().sum::<u64>());
    });
}

/// What happens to the newer version while an older one is put.
#[derive(Clone, Copy)]
enum Meanwhile {
    /// It waits, and is swapped.
    Swapped,
    /// It is in flight, and another key waits, for which the flusher collects.
    AnotherKeyWaits,
    /// It is in flight, is delivered, and is remembered.
    Delivered,
}

/// A newer version waits, is in flight or is remembered all the time: so an older one is stale.
fn an_older_version(bound: Option<usize>, meanwhile: Meanwhile) {
    model(bound, move || {
        let (map, mut flusher) = map(MapSetup {
            remember_versions: usize::from(matches!(meanwhile, Meanwhile::Delivered)),
            ..PLAIN
        });
        map.put_newer(KEY, 2, 2).unwrap();
        match meanwhile {
            Meanwhile::Swapped => {}
            Meanwhile::AnotherKeyWaits => {
                assert_eq!(flusher.collect().len(), 1);
                map.put(KEY + 1, 0).unwrap();
            }
            Meanwhile::Delivered => assert_eq!(flusher.collect().len(), 1),
        }
        let writer = thread::spawn({
            let map = map.clone();
            move || map.put_newer(KEY, 1, 1).unwrap()
        });
        match meanwhile {
            Meanwhile::Swapped => assert_eq!(flusher.collect().len(), 1),
            // Collects nothing: the entry in flight is not settled.
            Meanwhile::AnotherKeyWaits => drop(flusher.collect()),
            Meanwhile::Delivered => flusher.settle(1),
        }
        assert_eq!(writer.join().unwrap(), Put::Stale);
    });
}

/// With `read_in_flight` a value is found until it is settled.
fn a_read_against_a_swap(bound: Option<usize>) {
    model(bound, || {
        let (map, mut flusher) = map(MapSetup {
            read_in_flight: true,
            ..PLAIN
        });
        map.put(KEY, 1).unwrap();
        let reader = thread::spawn({
            let map = map.clone();
            move || map.get(&KEY)
        });
        assert_eq!(flusher.collect().len(), 1);
        assert_eq!(reader.join().unwrap(), Some(1));
        flusher.settle(1);
        assert_eq!(map.get(&KEY), None);
    });
}

/// An entry is removed, or delivered, and not both.
fn a_removal_against_a_swap(bound: Option<usize>) {
    model(bound, || {
        let (map, mut flusher) = map(PLAIN);
        map.put(KEY, 1).unwrap();
        let remover = thread::spawn({
            let map = map.clone();
            move || map.remove(&KEY)
        });
        let taken = flusher.collect();
        settle(&mut flusher, &taken);
        let removed = remover.join().unwrap();
        let taken = collect_and_settle(&mut flusher, taken);
        let mut found = values(&taken);
        found.extend(removed);
        assert_eq!(found, [1]);
        // Whichever came first, the map goes on.
        map.put(KEY, 2).unwrap();
        let taken = collect_and_settle(&mut flusher, Vec::new());
        assert_eq!(values(&taken), [2]);
        assert_eq!(map.stats().removed, u64::from(removed.is_some()));
    });
}

/// A thread closes and then collects. An update is refused, or accepted and in that collection.
fn puts_against_a_close(bound: Option<usize>, puts: u32) {
    model(bound, move || {
        let (map, mut flusher) = map(PLAIN);
        let writer = thread::spawn({
            let map = map.clone();
            move || (1..=puts).filter(|&key| map.put(key, key).is_ok()).count()
        });
        assert!(map.close());
        let taken = flusher.collect();
        let accepted = writer.join().unwrap();
        assert_eq!(taken.len(), accepted);
        assert!(map.put(KEY, 0).unwrap_err().is_closed());
        assert_eq!(map.stats().accepted, accepted as u64);
    });
}

/// The rest of a partition is taken while earlier entries are in flight. The versions of that rest
/// are not kept, so nothing older may enter after it.
fn a_version_against_the_rest(bound: Option<usize>) {
    model(bound, || {
        let (map, mut flusher) = map(PLAIN);
        let _put = map.put_newer(KEY, 1, 1).unwrap();
        assert_eq!(flusher.collect().len(), 1);
        let _put = map.put_newer(KEY, 3, 3).unwrap();
        let closer = thread::spawn({
            let map = map.clone();
            move || map.close()
        });
        let writer = thread::spawn({
            let map = map.clone();
            move || map.put_newer(KEY, 2, 2)
        });
        let mut taken = flusher.collect();
        assert!(closer.join().unwrap());
        let put = writer.join().unwrap();
        assert!(put.map_or_else(|refused| refused.is_closed(), |put| put == Put::Stale));
        taken.extend(flusher.collect());
        assert_eq!(values(&taken), [3]);
    });
}

/// After `park()` said "idle" a put wakes the flusher.
fn a_put_against_parking(bound: Option<usize>) {
    model(bound, || {
        let (map, mut flusher) = map(PLAIN);
        let writer = thread::spawn({
            let map = map.clone();
            move || map.put(KEY, 1).unwrap()
        });
        let parked = flusher.park();
        writer.join().unwrap();
        assert!(
            parked == Parked::Found || flusher.was_woken(),
            "the flusher sleeps while an entry waits"
        );
    });
}

#[test]
fn puts_and_swaps() {
    puts_against_swaps(None, 2, 1);
    puts_against_swaps(Some(3), 3, 2);
}

#[test]
fn sides_that_come_back() {
    a_side_becomes_active_again(Some(4));
}

#[test]
fn order_of_two_threads() {
    one_thread_after_another(Some(4));
}

#[test]
fn racing_versions() {
    two_versions(Some(3), false, 0);
    two_versions(Some(3), true, 0);
    two_versions(Some(3), true, 4);
}

#[test]
fn older_versions() {
    an_older_version(None, Meanwhile::Swapped);
    an_older_version(None, Meanwhile::AnotherKeyWaits);
    an_older_version(None, Meanwhile::Delivered);
}

#[test]
fn reads_in_flight() {
    a_read_against_a_swap(None);
}

#[test]
fn removals() {
    a_removal_against_a_swap(None);
}

#[test]
fn closing() {
    puts_against_a_close(None, 2);
}

#[test]
fn the_rest_at_the_close() {
    a_version_against_the_rest(Some(3));
}

#[test]
fn parking() {
    a_put_against_parking(None);
}

/// See also `loom_tests/mutants/map-*.patch`.
pub(crate) const MUTANTS: Mutants = &[
    ("map: not checked", || puts_against_swaps(Some(3), 2, 1)),
    ("map: published relaxed", || {
        an_older_version(Some(3), Meanwhile::Swapped);
    }),
    ("map: active read relaxed", || {
        an_older_version(Some(3), Meanwhile::Swapped);
    }),
    ("map: swapped while in flight", || {
        an_older_version(Some(3), Meanwhile::AnotherKeyWaits);
    }),
    ("map: an empty swap is never over", || {
        a_removal_against_a_swap(Some(3));
    }),
    ("map: closed ignored", || puts_against_a_close(Some(3), 1)),
    ("map: closed without synchronizing", || {
        puts_against_a_close(Some(3), 1);
    }),
    ("map: the rest taken while open", || {
        a_version_against_the_rest(Some(2));
    }),
];

#[test]
fn mutants() {
    caught(MUTANTS);
}
