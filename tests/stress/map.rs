//! Many threads write few keys. The sink ends with the last write of each key, all updates are
//! accounted for, and every thread gets through.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use swaplane::{Builder, Map, Put, RefusalReason, SinkError};

use crate::Done;
use crate::common::{
    Keyed, Recorder, Rng, Row, Step, assert_adds_up, assert_conserved, insist, lock, ms, scaled,
    secs, watched, within,
};

const THREADS: usize = 6;

fn ops() -> usize {
    scaled(1500, 20)
}

/// A sink that fails about every other time. Each batch is tried again, so nothing is lost.
fn faulty(seed: u64) -> Keyed {
    let mut rng = Rng::new(seed);
    let steps = [
        Step::Fail,
        Step::Panic,
        Step::DropFirst,
        Step::Slow(ms(1)),
        Step::Take,
    ];
    Keyed::from(Recorder::choosing(move || match rng.below(2) {
        0 => steps[rng.below(5) as usize],
        _ => Step::Ok,
    }))
}

/// Seeds, partitions and batches in flight.
fn variants() -> [(u64, usize, usize); 3] {
    [(1, 1, 1), (2, 4, 1), (3, 4, 4)]
}

/// A map with the fewest shards, so that threads meet.
fn builder(partitions: usize, in_flight: usize) -> Builder<Map<u64, u64>> {
    Map::builder()
        .own_thread()
        .partitions(partitions)
        .max_in_flight(in_flight)
        .shards(2)
        .capacity(200)
        .max_batch_size(5)
        .max_delay(ms(1))
        .attempt_timeout(secs(50))
        .retry(|_: u32, _: &SinkError| Some(Duration::from_micros(100)))
}

/// Runs threads that work and, until those are done, one that flushes and one that looks.
fn run(
    work: impl Fn(usize, &mut Rng) + Sync,
    flush: impl Fn() + Sync,
    look: impl Fn() + Sync,
    seed: u64,
) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _done = Done(&done);
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let work = &work;
                scope.spawn(move || work(thread, &mut Rng::new(seed * 100 + thread as u64)))
            })
            .collect();
        for helper in [&flush as &(dyn Fn() + Sync), &look] {
            let done = &done;
            scope.spawn(move || {
                while !done.load(SeqCst) {
                    helper();
                    thread::sleep(ms(1));
                }
            });
        }
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

/// Checks the stats at the end, and that the sink saw as many entries as they say.
fn assert_settled(sink: &Keyed, stats: &swaplane::Stats, accepted: u64) {
    assert_conserved(stats);
    assert_eq!((stats.held, stats.lost, stats.returned), (0, 0, 0));
    assert_eq!(stats.accepted, accepted);
    assert_eq!(stats.delivered, sink.acked().len() as u64);
}

/// How many updates were merged into another.
fn coalesced(rows: &[Row]) -> u64 {
    rows.iter().map(|row| row.updates - 1).sum()
}

/// Each key has one writer, which finds what it has written until the sink has it.
#[test]
fn each_thread_finds_what_it_has_written() {
    for (seed, partitions, in_flight) in variants() {
        watched(move || {
            let sink = faulty(seed);
            let map = builder(partitions, in_flight)
                .read_in_flight()
                .spawn(sink.clone())
                .unwrap();
            let accepted = AtomicU64::new(0);
            let last = Mutex::new(HashMap::new());
            let delivered = |key: u64, value: u64| {
                let state = sink.state();
                state.get(&key).and_then(|row| row.value) == Some(value)
            };
            run(
                |thread, rng| {
                    let mut mine = HashMap::new();
                    for n in 1..=ops() as u64 {
                        let key = thread as u64 * 2 + rng.below(2);
                        let value = n;
                        match rng.below(20) {
                            0..12 => insist(|| map.put(key, value)),
                            12..15 => {
                                // No other thread writes this key.
                                insist(|| map.merge(key, value, |held, new| *held = new));
                            }
                            _ => {
                                match (map.get(&key), mine.get(&key)) {
                                    (None, Some(last)) => assert!(delivered(key, *last)),
                                    (found, last) => assert_eq!(found.as_ref(), last),
                                }
                                continue;
                            }
                        }
                        accepted.fetch_add(1, SeqCst);
                        mine.insert(key, value);
                        if rng.below(100) == 0 {
                            map.flush_blocking().unwrap();
                            assert!(delivered(key, value), "flushed, but not delivered");
                            assert_eq!(map.get(&key), None);
                        }
                    }
                    lock(&last).extend(mine);
                },
                || map.flush_blocking().unwrap(),
                || assert!(map.len() <= 200),
                seed,
            );
            map.flush_blocking().unwrap();
            let stats = map.stats();
            assert_settled(&sink, &stats, accepted.load(SeqCst));
            assert_eq!(coalesced(&sink.acked()), stats.coalesced);
            let state: HashMap<_, _> = sink
                .state()
                .into_iter()
                .map(|(key, row)| (key, row.value.unwrap()))
                .collect();
            assert_eq!(state, *lock(&last));
            assert!(map.shutdown_blocking(secs(20)).is_complete());
        });
    }
}

/// M1: all threads put all keys with versions. The sink ends with the newest, and never goes back.
#[test]
fn the_sink_ends_with_the_newest_version_of_each_key() {
    const KEYS: usize = 4;
    for (seed, partitions, in_flight) in variants() {
        watched(move || {
            let sink = faulty(seed + 10);
            let map = builder(partitions, in_flight)
                .remember_versions(KEYS)
                .spawn(sink.clone())
                .unwrap();
            let clock = AtomicU64::new(100);
            let newest: [AtomicU64; KEYS] = Default::default();
            let (accepted, inserted) = (AtomicU64::new(0), AtomicU64::new(0));
            run(
                |_, rng| {
                    for _ in 0..ops() {
                        let key = rng.below(KEYS as u64);
                        let newest = &newest[key as usize];
                        let version = clock.fetch_add(1, SeqCst).saturating_sub(rng.below(20));
                        let before = newest.load(SeqCst);
                        let put = insist(|| map.put_newer(key, version, version));
                        if put != Put::Stale {
                            assert!(before < version, "{version} after {before}");
                            newest.fetch_max(version, SeqCst);
                            accepted.fetch_add(1, SeqCst);
                            inserted.fetch_add(u64::from(put == Put::Inserted), SeqCst);
                        }
                        if rng.below(10) == 0 {
                            if let Some(found) = map.get(&key) {
                                assert!(found >= before, "{found} after {before}");
                            }
                        }
                    }
                },
                || map.flush_blocking().unwrap(),
                || assert!(map.len() <= 200),
                seed,
            );
            map.flush_blocking().unwrap();
            let stats = map.stats();
            assert_settled(&sink, &stats, accepted.load(SeqCst));
            assert_eq!(stats.delivered, inserted.load(SeqCst));
            assert_eq!(coalesced(&sink.acked()), stats.coalesced);
            let mut last = [0; KEYS];
            for Row {
                key,
                value,
                version,
                ..
            } in sink.acked()
            {
                assert_eq!(value, version);
                let before = std::mem::replace(&mut last[key as usize], version.unwrap());
                assert!(before < version.unwrap(), "{version:?} after {before}");
            }
            assert_eq!(last, newest.map(AtomicU64::into_inner));
        });
    }
}

/// What all threads merge is delivered or removed, once.
#[test]
fn nothing_merged_is_lost() {
    for (seed, partitions, in_flight) in variants() {
        watched(move || {
            let sink = faulty(seed + 20);
            let map = builder(partitions, in_flight).spawn(sink.clone()).unwrap();
            let (merged, removed) = (AtomicU64::new(0), AtomicU64::new(0));
            let (accepted, removals) = (AtomicU64::new(0), AtomicU64::new(0));
            run(
                |_, rng| {
                    for _ in 0..ops() {
                        let key = rng.below(4);
                        if rng.below(5) == 0 {
                            if let Some(value) = map.remove(&key) {
                                removed.fetch_add(value, SeqCst);
                                removals.fetch_add(1, SeqCst);
                            }
                        } else {
                            let update = rng.below(1000);
                            insist(|| map.merge(key, update, |sum, update| *sum += update));
                            merged.fetch_add(update, SeqCst);
                            accepted.fetch_add(1, SeqCst);
                        }
                    }
                },
                || map.flush_blocking().unwrap(),
                || _ = map.stats(),
                seed,
            );
            map.flush_blocking().unwrap();
            let stats = map.stats();
            assert_settled(&sink, &stats, accepted.load(SeqCst));
            assert_eq!(stats.removed, removals.load(SeqCst));
            let delivered: u64 = sink.acked().iter().filter_map(|row| row.value).sum();
            assert_eq!(delivered + removed.load(SeqCst), merged.load(SeqCst));
        });
    }
}

/// C6: entries are removed while flushes wait for them.
#[test]
fn flushes_end_however_many_entries_are_removed() {
    for round in 0..scaled(20, 1) as u64 {
        within(secs(20), move || {
            let map = builder(4, 4).spawn(Keyed::from(Recorder::ok())).unwrap();
            run(
                |_, rng| {
                    for n in 0..ops() as u64 {
                        let key = rng.below(4);
                        match rng.below(5) {
                            0 => _ = map.remove(&key),
                            _ => insist(|| map.put(key, n)),
                        }
                    }
                },
                || map.flush_blocking().unwrap(),
                || (),
                round,
            );
            map.flush_blocking().unwrap();
            assert!(map.is_empty());
        });
    }
}

/// Each key has one writer. Its puts and removals reach the sink in order.
#[test]
fn a_mirror_ends_with_the_last_operation() {
    for (seed, partitions, in_flight) in variants() {
        watched(move || {
            let sink = faulty(seed + 30);
            let mirror = builder(partitions, in_flight)
                .read_in_flight()
                .spawn_mirror(sink.clone())
                .unwrap();
            let accepted = AtomicU64::new(0);
            let last = Mutex::new(HashMap::new());
            run(
                |thread, rng| {
                    let mut mine = HashMap::new();
                    for n in 1..=ops() as u64 {
                        let key = thread as u64 * 2 + rng.below(2);
                        match rng.below(10) {
                            0..4 => {
                                insist(|| mirror.put(key, n));
                                mine.insert(key, Some(n));
                            }
                            4..7 => {
                                while let Err(refused) = mirror.remove(&key) {
                                    assert_eq!(refused, RefusalReason::Full);
                                    thread::yield_now();
                                }
                                mine.insert(key, None);
                            }
                            _ => {
                                let last = mine.get(&key).copied().flatten();
                                match mirror.get(&key) {
                                    None if last.is_some() => {
                                        assert_eq!(sink.state()[&key].value, last);
                                    }
                                    found => assert_eq!(found, last),
                                }
                                continue;
                            }
                        }
                        accepted.fetch_add(1, SeqCst);
                    }
                    lock(&last).extend(mine);
                },
                || mirror.flush_blocking().unwrap(),
                || assert!(mirror.len() <= 200),
                seed,
            );
            mirror.flush_blocking().unwrap();
            assert_settled(&sink, &mirror.stats(), accepted.load(SeqCst));
            let state: HashMap<_, _> = sink
                .state()
                .into_iter()
                .map(|(key, row)| (key, row.value))
                .collect();
            assert_eq!(state, *lock(&last));
        });
    }
}

/// Threads put, remove, read and close at will. The sink fails, rejects, panics and takes items.
/// All that was accepted has one outcome, and the capacity holds.
#[test]
fn a_tiny_map_with_a_lossy_sink_accounts_for_everything() {
    const CAPACITY: usize = 8;
    for (seed, partitions, in_flight) in variants() {
        watched(move || {
            let mut rng = Rng::new(seed + 40);
            let steps = [
                Step::Fail,
                Step::Reject,
                Step::TakeFail,
                Step::Panic,
                Step::Ok,
            ];
            let sink = Keyed::from(Recorder::choosing(move || steps[rng.below(5) as usize]));
            let map = builder(partitions, in_flight)
                .capacity(CAPACITY)
                .max_batch_size(3)
                .read_in_flight()
                .remember_versions(2)
                .retry(|attempt: u32, _: &SinkError| (attempt < 3).then_some(Duration::ZERO))
                .spawn(sink.clone())
                .unwrap();
            let (accepted, removed) = (AtomicU64::new(0), AtomicU64::new(0));
            // How often the map was full.
            let full = AtomicI64::new(0);
            run(
                |thread, rng| {
                    for n in 0..ops() as u64 {
                        let key = rng.below(20);
                        let accepts = match rng.below(10) {
                            0..3 => map.put(key, n).map(|()| true),
                            3..6 => map.put_newer(key, n, n).map(|put| put != Put::Stale),
                            6 => map.merge(key, n, |held, new| *held += new).map(|()| true),
                            7 => {
                                removed.fetch_add(u64::from(map.remove(&key).is_some()), SeqCst);
                                continue;
                            }
                            _ => {
                                let _ = map.get(&key);
                                continue;
                            }
                        };
                        match accepts {
                            Ok(counts) => _ = accepted.fetch_add(u64::from(counts), SeqCst),
                            Err(refused) if refused.is_full() => {
                                assert_eq!(refused.into_inner(), (key, n));
                                full.fetch_add(1, SeqCst);
                            }
                            Err(_) => break,
                        }
                        if thread == 0 && n == ops() as u64 * 4 / 5 {
                            map.close();
                        }
                    }
                },
                || _ = map.flush_blocking(),
                || {
                    assert!(map.len() <= CAPACITY);
                    assert!(map.stats().held <= CAPACITY as u64);
                },
                seed,
            );
            let report = map.shutdown_blocking(secs(20));
            assert_adds_up(&report);
            let stats = map.stats();
            assert_conserved(&stats);
            assert_eq!((stats.held, report.returned.len()), (0, 0));
            assert_eq!(stats.accepted, accepted.load(SeqCst));
            assert_eq!(stats.removed, removed.load(SeqCst));
            assert_eq!(stats.delivered, sink.acked().len() as u64);
            assert!(stats.lost > 0 && full.load(SeqCst) > 0);
        });
    }
}

/// C1, C7: each update is refused, delivered or returned.
#[test]
fn every_update_that_races_a_shutdown_has_one_outcome() {
    for (seed, partitions, in_flight) in variants() {
        watched(move || {
            let sink = faulty(seed + 50);
            let map = builder(partitions, in_flight).spawn(sink.clone()).unwrap();
            let accepted = AtomicU64::new(0);
            let report = Mutex::new(None);
            run(
                |thread, rng| {
                    for n in 0.. {
                        if thread == 0 && n == 300 {
                            *lock(&report) = Some(map.shutdown_blocking(ms(20)));
                            assert!(map.put(0, 0).is_err_and(|refused| refused.is_closed()));
                            return;
                        }
                        match map.put(rng.below(1000), n) {
                            Ok(()) => _ = accepted.fetch_add(1, SeqCst),
                            Err(refused) if refused.is_closed() => return,
                            Err(_) => thread::yield_now(),
                        }
                    }
                },
                || _ = map.flush_blocking(),
                || _ = map.len(),
                seed,
            );
            let report = lock(&report).take().unwrap();
            assert_adds_up(&report);
            assert_eq!(report.accepted, accepted.load(SeqCst));
            let ended: u64 = sink.acked().iter().map(|row| row.updates).sum();
            let back: u64 = report.returned.iter().map(|entry| entry.updates).sum();
            assert_eq!((ended + back, report.lost), (report.accepted, 0));
            assert_conserved(&map.stats());
        });
    }
}

#[test]
fn a_map_may_be_used_while_clones_of_it_are_dropped() {
    watched(|| {
        let sink = faulty(60);
        let map = Arc::new(builder(4, 4).spawn(sink.clone()).unwrap());
        thread::scope(|scope| {
            for thread in 0..THREADS as u64 {
                let map = map.clone();
                scope.spawn(move || {
                    for n in 0..300 {
                        let own = (*map).clone();
                        insist(|| own.put(thread, n));
                    }
                });
            }
        });
        map.flush_blocking().unwrap();
        assert!((0..THREADS as u64).all(|key| sink.state()[&key].value == Some(299)));
    });
}

/// Threads that read all the time let those pass that wait to write or to collect.
#[test]
fn readers_do_not_starve_writers() {
    watched(|| {
        let map = Map::<u64, Vec<u64>>::builder()
            .own_thread()
            .partitions(1)
            .shards(2)
            .read_in_flight()
            .spawn_fn(|_batch| async { Ok(()) })
            .unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !done.load(SeqCst) {
                        let _ = map.get(&1);
                    }
                });
            }
            for _ in 0..scaled(20, 2) {
                map.put(1, vec![1; 4000]).unwrap();
                map.flush_blocking().unwrap();
            }
            done.store(true, SeqCst);
        });
        assert!(map.is_empty());
    });
}
