//! The map: an update lands in the active side or not at all, is delivered once and in the order of
//! its key, versions never go backwards at the sink, and closing and parking miss nobody.

use super::parts::{MapFlusher, MapTraits, map};
use crate::source::Parked;
use crate::{Entry, Put};

use super::support::{Arc, Mutants, Mutex, caught, model, thread};

const PLAIN: MapTraits = MapTraits {
    remember_versions: 0,
    read_in_flight: false,
    capacity: None,
};

const KEY: u32 = 1;

/// Adds everything that is left and delivers it, as the flusher does that has delivered all before.
fn rest(flusher: &mut MapFlusher, mut taken: Vec<Entry<u32, u32>>) -> Vec<Entry<u32, u32>> {
    let last = flusher.collect();
    settle(flusher, &last);
    taken.extend(last);
    taken
}

/// As the flusher does it: only a batch is ever terminal.
fn settle(flusher: &mut MapFlusher, taken: &[Entry<u32, u32>]) {
    if !taken.is_empty() {
        flusher.settle(taken.len());
    }
}

fn values(taken: &[Entry<u32, u32>]) -> Vec<u32> {
    taken.iter().map(|entry| entry.value).collect()
}

/// One thread puts one key, again and again, while the flusher swaps so many times.
fn put(bound: Option<usize>, puts: u32, swaps: usize) {
    model(bound, move || {
        let (map, mut flusher) = map(PLAIN);
        let thread = thread::spawn({
            let map = map.clone();
            move || (1..=puts).for_each(|value| map.put(KEY, value).unwrap())
        });
        let mut taken = Vec::new();
        for _ in 0..swaps {
            taken = rest(&mut flusher, taken);
        }
        thread.join().unwrap();
        let taken = rest(&mut flusher, taken);
        let values = values(&taken);
        assert!(values.is_sorted_by(|a, b| a < b), "{values:?}");
        assert_eq!(values.last(), Some(&puts));
        let updates: u64 = taken.iter().map(|entry| entry.updates).sum();
        assert_eq!(updates, u64::from(puts));
        assert_eq!(map.stats().accepted, u64::from(puts));
    });
}

/// The side that a thread is about to enter is swapped out and in again.
fn reborn(bound: Option<usize>) {
    model(bound, || {
        let (map, mut flusher) = map(PLAIN);
        let thread = thread::spawn({
            let map = map.clone();
            move || (1..=2).for_each(|value| map.put(KEY, value).unwrap())
        });
        let mut taken = Vec::new();
        for _ in 0..2 {
            // So that there is something to swap.
            map.put(KEY + 1, 0).unwrap();
            taken = rest(&mut flusher, taken);
        }
        thread.join().unwrap();
        let mut taken = rest(&mut flusher, taken);
        taken.retain(|entry| entry.key == KEY);
        let values = values(&taken);
        assert!(values == [1, 2] || values == [2], "{values:?}");
    });
}

/// One thread puts after the other, and the flusher swaps twice.
fn in_order(bound: Option<usize>) {
    model(bound, || {
        let (map, mut flusher) = map(PLAIN);
        let first = Arc::new(Mutex::new(false));
        let one = thread::spawn({
            let (map, first) = (map.clone(), first.clone());
            move || {
                map.put(KEY, 1).unwrap();
                *first.lock().unwrap() = true;
            }
        });
        let two = thread::spawn({
            let (map, first) = (map.clone(), first.clone());
            move || {
                let after = *first.lock().unwrap();
                map.put(KEY, 2).unwrap();
                after
            }
        });
        let taken = rest(&mut flusher, Vec::new());
        one.join().unwrap();
        let after = two.join().unwrap();
        let taken = rest(&mut flusher, taken);
        let values = values(&taken);
        if after {
            assert_eq!(values.last(), Some(&2), "{values:?}");
        }
        assert!(!values.is_empty());
    });
}

/// Two threads put versions, and the flusher swaps; it has delivered what it took, or not.
fn newer(bound: Option<usize>, delivered: bool, remember_versions: usize) {
    model(bound, move || {
        let (map, mut flusher) = map(MapTraits {
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
        let taken = rest(&mut flusher, taken);
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

/// A newer version is held or on its way all the time: an older one is stale, whatever the flusher
/// does meanwhile.
fn stale(bound: Option<usize>, meanwhile: Meanwhile) {
    model(bound, move || {
        let (map, mut flusher) = map(MapTraits {
            remember_versions: usize::from(matches!(meanwhile, Meanwhile::Delivered)),
            ..PLAIN
        });
        map.put_newer(KEY, 2, 2).unwrap();
        match meanwhile {
            Meanwhile::Swapped => {}
            Meanwhile::AnotherWaits => {
                assert_eq!(flusher.collect().len(), 1);
                map.put(KEY + 1, 0).unwrap();
            }
            Meanwhile::Delivered => assert_eq!(flusher.collect().len(), 1),
        }
        let thread = thread::spawn({
            let map = map.clone();
            move || map.put_newer(KEY, 1, 1).unwrap()
        });
        match meanwhile {
            Meanwhile::Swapped => assert_eq!(flusher.collect().len(), 1),
            // Held back: the key that is out is not terminal.
            Meanwhile::AnotherWaits => drop(flusher.collect()),
            Meanwhile::Delivered => flusher.settle(1),
        }
        assert_eq!(thread.join().unwrap(), Put::Stale);
    });
}

#[derive(Clone, Copy)]
enum Meanwhile {
    /// It is swapped out.
    Swapped,
    /// It is out, and another key waits.
    AnotherWaits,
    /// It is out, and then delivered, and remembered.
    Delivered,
}

/// What was put is found until it is terminal.
fn read(bound: Option<usize>) {
    model(bound, || {
        let (map, mut flusher) = map(MapTraits {
            read_in_flight: true,
            ..PLAIN
        });
        map.put(KEY, 1).unwrap();
        let thread = thread::spawn({
            let map = map.clone();
            move || map.get(&KEY)
        });
        assert_eq!(flusher.collect().len(), 1);
        assert_eq!(thread.join().unwrap(), Some(1));
        flusher.settle(1);
        assert_eq!(map.get(&KEY), None);
    });
}

/// An entry is removed or delivered.
fn remove(bound: Option<usize>) {
    model(bound, || {
        let (map, mut flusher) = map(PLAIN);
        map.put(KEY, 1).unwrap();
        let thread = thread::spawn({
            let map = map.clone();
            move || map.remove(&KEY)
        });
        let taken = flusher.collect();
        settle(&mut flusher, &taken);
        let removed = thread.join().unwrap();
        let taken = rest(&mut flusher, taken);
        let mut found = values(&taken);
        found.extend(removed);
        assert_eq!(found, [1]);
        // Whichever came first, the map goes on.
        map.put(KEY, 2).unwrap();
        assert_eq!(values(&rest(&mut flusher, Vec::new())), [2]);
        assert_eq!(map.stats().removed, u64::from(removed.is_some()));
    });
}

/// Who closes also collects: an update is refused, or accepted and then in that collection.
fn close(bound: Option<usize>, puts: u32) {
    model(bound, move || {
        let (map, mut flusher) = map(PLAIN);
        let thread = thread::spawn({
            let map = map.clone();
            move || (1..=puts).filter(|&key| map.put(key, key).is_ok()).count()
        });
        assert!(map.close());
        let taken = flusher.collect();
        let accepted = thread.join().unwrap();
        assert_eq!(taken.len(), accepted);
        assert!(map.put(KEY, 0).unwrap_err().is_closed());
        assert_eq!(map.stats().accepted, accepted as u64);
    });
}

/// The rest of a partition is taken while its earlier entries are in flight. Nobody notes the versions
/// of that rest, so nothing older may enter after it.
fn rest_at_close(bound: Option<usize>) {
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

/// After `park()` said "idle" a put rings.
fn park(bound: Option<usize>) {
    model(bound, || {
        let (map, mut flusher) = map(PLAIN);
        let thread = thread::spawn({
            let map = map.clone();
            move || map.put(KEY, 1).unwrap()
        });
        let parked = flusher.park();
        thread.join().unwrap();
        assert!(
            parked == Parked::Found || flusher.was_woken(),
            "the flusher sleeps while an entry waits"
        );
    });
}

#[test]
fn puts_against_swaps() {
    put(None, 2, 1);
    put(Some(3), 3, 2);
    reborn(Some(4));
}

#[test]
fn puts_of_two_threads_across_swaps() {
    in_order(Some(4));
}

#[test]
fn racing_versions() {
    newer(Some(3), false, 0);
    newer(Some(3), true, 0);
    newer(Some(3), true, 4);
}

#[test]
fn older_versions_are_stale() {
    stale(None, Meanwhile::Swapped);
    stale(None, Meanwhile::AnotherWaits);
    stale(None, Meanwhile::Delivered);
}

#[test]
fn reads_of_what_is_on_its_way() {
    read(None);
}

#[test]
fn removal_against_a_swap() {
    remove(None);
}

#[test]
fn closing_against_puts() {
    close(None, 2);
    rest_at_close(Some(3));
}

#[test]
fn parking_against_a_put() {
    park(None);
}

fn two_puts() {
    put(Some(3), 2, 1);
}

fn two_swaps() {
    reborn(Some(3));
}

fn swapped() {
    stale(Some(3), Meanwhile::Swapped);
}

fn another_waits() {
    stale(Some(3), Meanwhile::AnotherWaits);
}

fn delivered() {
    stale(Some(3), Meanwhile::Delivered);
}

fn closed() {
    close(Some(3), 1);
}

fn rest_taken() {
    rest_at_close(Some(2));
}

fn removed() {
    remove(Some(3));
}

fn parked() {
    park(None);
}

pub(crate) const MUTANTS: Mutants = &[
    ("map: not checked", two_puts),
    ("map: checked outside the lock", two_puts),
    ("map: a sealed flag for each side instead", two_swaps),
    ("map: published after it is emptied", two_puts),
    ("map: published relaxed", swapped),
    ("map: active read relaxed", swapped),
    ("map: nowhere for a moment", swapped),
    ("map: in flight looked up in the wrong order", swapped),
    ("map: swapped in before it is terminal", another_waits),
    ("map: forgotten before it is remembered", delivered),
    ("map: an empty swap is never over", removed),
    ("map: closed ignored", closed),
    ("map: closed without synchronizing", closed),
    ("map: the rest taken while open", rest_taken),
    ("map: parked without synchronizing", parked),
];

#[test]
fn mutants() {
    caught(MUTANTS);
}
