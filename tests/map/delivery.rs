//! How entries leave a map: when, in which batches, in which order, and with which outcome.

use std::cell::RefCell;
use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use swaplane::{Batch, Entry, Handled, Map, Sink, SinkError};
use tokio::time::{Instant, sleep};

use crate::common::{
    HOUR, Keyed, Recorder, Row, Step, Why, assert_adds_up, assert_conserved, block_on, eventually,
    lock, ms, multi_thread, one_thread, paused, poll_once, removal, row, rows, secs, settle,
    sorted, steady_map, threaded, watched,
};

fn map(sink: &Keyed) -> Map<u64, u64> {
    steady_map().spawn(sink.clone()).unwrap()
}

fn ten(value: u64) -> impl Iterator<Item = (u64, u64)> + Clone {
    (0..10).map(move |key| (key, value))
}

fn ten_rows(value: u64) -> Vec<Row> {
    ten(value).map(|(key, value)| row(key, value)).collect()
}

/// C6: a flush ends when all that was put before is delivered, also behind a batch in flight.
#[test]
fn a_flush_waits_for_the_sink() {
    paused(async || {
        let sink = Keyed::from(Recorder::held());
        let map = map(&sink);
        map.put_all(ten(1)).unwrap();
        settle().await;
        map.put_all(ten(2)).unwrap();
        let mut flush = pin!(map.flush());
        for _ in 0..3 {
            assert!(poll_once(flush.as_mut()).is_pending());
            settle().await;
        }
        assert_eq!(sink.count(), 1, "one batch at a time");
        sink.release();
        flush.await.unwrap();
        let acked = sink.acked();
        assert_eq!(sorted(acked[..10].to_vec()), ten_rows(1));
        assert_eq!(sorted(acked[10..].to_vec()), ten_rows(2));
    });
}

/// C6: a flush waits through the backoff of an earlier batch, and covers what is held behind it.
#[test]
fn a_flush_waits_through_a_backoff() {
    paused(async || {
        let sink = Keyed::from(Recorder::script([Step::Fail, Step::Panic, Step::Fail]));
        let map = map(&sink);
        map.put(1, 1).unwrap();
        let first = tokio::spawn({
            let map = map.clone();
            async move { map.flush().await }
        });
        sink.begun(1).await;
        settle().await;
        map.put(1, 2).unwrap();
        map.put(2, 2).unwrap();
        map.flush().await.unwrap();
        assert!(first.is_finished());
        let tried = sink.tried();
        assert_eq!(tried[..4], vec![vec![row(1, 1)]; 4], "retried in place");
        assert_eq!(sorted(tried[4..].concat()), [row(1, 2), row(2, 2)]);
    });
}

/// C6: a flush does not wait for what is put later, nor for what was removed.
#[test]
fn a_flush_covers_exactly_what_was_put_before() {
    paused(async || {
        let sink = Keyed::from(Recorder::script([Step::Ok, Step::Hang]));
        let map = map(&sink);
        map.put_all(ten(1)).unwrap();
        let mut flush = pin!(map.flush());
        assert!(poll_once(flush.as_mut()).is_pending());
        sink.received(10).await;
        map.put_all(ten(2)).unwrap();
        flush.await.unwrap();
        sink.begun(2).await;

        map.put_all(ten(3)).unwrap();
        let mut flush = pin!(map.flush());
        assert!(poll_once(flush.as_mut()).is_pending());
        let removed = (0..10).filter(|key| map.remove(key).is_some()).count();
        let report = map.shutdown(secs(1)).await;
        let error = flush.await.unwrap_err();
        assert_eq!(error.undelivered(), 20 - removed as u64);
        assert_eq!(report.returned.len(), 20 - removed);
    });
}

/// C6: a flush says how many entries were lost, not how many updates.
#[test]
fn a_flush_counts_lost_entries_and_not_updates() {
    paused(async || {
        let sink = Keyed::from(Recorder::script([Step::Reject, Step::TakeFail]));
        let map = map(&sink);
        for round in 0..3 {
            map.put_all((0..25).map(|key| (key, round))).unwrap();
        }
        let error = map.flush().await.unwrap_err();
        assert_eq!((error.lost, error.undelivered()), (20, 20));
        assert_eq!(sink.acked().len(), 5);
        let stats = map.stats();
        assert_conserved(&stats);
        assert_eq!((stats.lost, stats.coalesced), (20, 50));
    });
}

/// C4: a failed batch is tried again as it was, before anything newer. Later puts coalesce
/// meanwhile.
#[test]
fn a_failed_batch_is_retried_before_anything_newer() {
    paused(async || {
        let sink = Keyed::from(Recorder::script([Step::Fail; 5]));
        let map = map(&sink);
        map.put_all(ten(0)).unwrap();
        for attempt in 1..=5 {
            sink.begun(attempt).await;
            settle().await;
            map.put_all(ten(attempt as u64)).unwrap();
        }
        map.flush().await.unwrap();
        let newer: Vec<_> = ten_rows(5).into_iter().map(|row| row.updates(5)).collect();
        let tried = sink.tried();
        assert_eq!(tried.len(), 7);
        for (n, batch) in tried.into_iter().enumerate() {
            assert_eq!(
                sorted(batch),
                if n < 6 { ten_rows(0) } else { newer.clone() }
            );
        }
        let numbers: Vec<_> = sink
            .attempts()
            .iter()
            .map(|attempt| attempt.number)
            .collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 1]);
    });
}

/// A batch holds one entry, a few, or without a limit everything that waits.
#[test]
fn no_batch_is_larger_than_the_limit() {
    paused(async || {
        for size in [Some(1), Some(7), None] {
            let sink = Keyed::from(Recorder::script([Step::Fail]));
            let map = steady_map()
                .max_batch_size(size)
                .partitions(4)
                .spawn(sink.clone())
                .unwrap();
            map.put_all((0..30).map(|key| (key, key))).unwrap();
            map.flush().await.unwrap();
            let attempts = sink.sizes();
            assert_eq!(attempts[0], attempts[1], "the failed one");
            assert!(
                attempts
                    .iter()
                    .all(|attempt| size.is_none_or(|size| *attempt <= size))
            );
            assert_eq!(attempts[1..].iter().sum::<usize>(), 30);
            assert!(size.is_some() || attempts == [30, 30]);
            assert_eq!(
                sorted(sink.acked()),
                (0..30).map(|key| row(key, key)).collect::<Vec<_>>()
            );
        }
    });
}

/// A batch leaves when there are enough entries. Updates of an entry do not count.
#[test]
fn entries_fill_a_batch_and_updates_do_not() {
    paused(async || {
        let sink = Keyed::from(Recorder::ok());
        let map = map(&sink);
        for round in 0..50 {
            map.put_all(ten(round).take(9)).unwrap();
            settle().await;
        }
        assert_eq!(sink.count(), 0);
        map.put(9, 49).unwrap();
        sink.received(10).await;
        assert_eq!(sink.attempts()[0].why, Why::Size);
        assert_eq!(sink.acked().len(), 10);
    });
}

/// An entry that is updated all the time leaves at its delay.
#[test]
fn updates_do_not_put_off_the_delay() {
    paused(async || {
        let sink = Keyed::from(Recorder::ok());
        let map = steady_map::<u64, u64>()
            .max_delay(ms(50))
            .spawn(sink.clone())
            .unwrap();
        let begin = Instant::now();
        while sink.count() == 0 {
            map.put(1, 1).unwrap();
            sleep(ms(5)).await;
        }
        assert!(begin.elapsed() <= ms(110), "{:?}", begin.elapsed());
        assert_eq!(sink.attempts()[0].why, Why::Delay);
    });
}

/// Without a delay each entry leaves at once. What comes while the sink is busy coalesces.
#[test]
fn without_a_delay_an_entry_leaves_at_once() {
    paused(async || {
        let sink = Keyed::from(Recorder::held());
        let map = steady_map::<u64, u64>()
            .max_delay(Duration::ZERO)
            .spawn(sink.clone())
            .unwrap();
        for value in 0..20 {
            map.put(1, value).unwrap();
            settle().await;
        }
        sink.release();
        sink.received(2).await;
        settle().await;
        assert_eq!(sink.acked(), [row(1, 0), row(1, 19).updates(19)]);
        sleep(HOUR).await;
        map.put(1, 20).unwrap();
        sink.received(3).await;
    });
}

/// A full map sends what it holds, however long the delay and however large a batch may be.
#[test]
fn a_full_map_makes_room_by_itself() {
    paused(async || {
        let sink = Keyed::from(Recorder::ok());
        let map = steady_map()
            .capacity(8)
            .max_batch_size(None)
            .spawn(sink.clone())
            .unwrap();
        let accepted = map
            .put_all((0..9).map(|key| (key, key)))
            .unwrap_err()
            .accepted;
        let begin = Instant::now();
        sink.received(accepted).await;
        assert!(begin.elapsed() < HOUR);
        settle().await;
        map.put(9, 9).unwrap();
    });
}

/// Several batches are in flight at once. No two of them have the same key, and each key keeps its
/// order.
#[test]
fn batches_in_flight_never_share_a_key() {
    /// Notes when a batch has a key of another batch in flight.
    struct Exclusive(Keyed, Mutex<HashSet<u64>>);
    impl Sink<Entry<u64, u64>> for Exclusive {
        async fn send(&self, batch: Batch<Entry<u64, u64>>) -> Result<(), SinkError> {
            let keys: Vec<_> = batch.iter().map(|entry| entry.key).collect();
            let fresh = keys.iter().all(|key| lock(&self.1).insert(*key));
            if !fresh {
                lock(&self.1).insert(u64::MAX);
            }
            let outcome = self.0.send(batch).await;
            keys.iter().for_each(|key| _ = lock(&self.1).remove(key));
            outcome
        }
    }
    paused(async || {
        let mut rng = crate::common::Rng::new(1);
        let recorder = Keyed::from(Recorder::choosing(move || match rng.below(3) {
            0 => Step::Fail,
            _ => Step::Slow(secs(1)),
        }));
        let sink = Arc::new(Exclusive(recorder.clone(), Mutex::default()));
        let map = steady_map()
            .partitions(8)
            .max_in_flight(4)
            .max_batch_size(5)
            .max_delay(ms(10))
            .spawn(sink.clone())
            .unwrap();
        for round in 0..40 {
            map.put_all((0..40).map(|key| (key, round))).unwrap();
            sleep(ms(700)).await;
        }
        map.flush().await.unwrap();
        assert!(!lock(&sink.1).contains(&u64::MAX), "a key twice at once");
        assert_eq!(recorder.most_running(), 4);
        let mut last = [None; 40];
        for row in recorder.acked() {
            let before = last[row.key as usize].replace(row.value);
            assert!(before < Some(row.value), "{row:?} after {before:?}");
        }
        assert_eq!(last, [Some(Some(39)); 40]);
        assert_conserved(&map.stats());
    });
}

/// A partition whose batch fails holds up its own worker only.
#[test]
fn a_failing_batch_holds_up_its_own_worker_only() {
    struct Down(Keyed, Mutex<bool>);
    impl Sink<Entry<u64, u64>> for Down {
        async fn send(&self, batch: Batch<Entry<u64, u64>>) -> Result<(), SinkError> {
            if *lock(&self.1) && batch.iter().any(|entry| entry.key == 0) {
                return Err("down".into());
            }
            self.0.send(batch).await
        }
    }
    paused(async || {
        let recorder = Keyed::from(Recorder::ok());
        let sink = Arc::new(Down(recorder.clone(), Mutex::new(true)));
        let map = steady_map()
            .partitions(2)
            .max_in_flight(2)
            .max_delay(Duration::ZERO)
            .spawn(sink.clone())
            .unwrap();
        map.put(0, 0).unwrap();
        settle().await;
        map.put_all((1..100).map(|key| (key, 0))).unwrap();
        sleep(secs(10)).await;
        let through = recorder.acked().len();
        assert!((1..99).contains(&through), "{through} of 99");
        *lock(&sink.1) = false;
        map.flush().await.unwrap();
        assert_eq!(recorder.acked().len(), 100);
    });
}

/// With `read_in_flight` a value is found until its outcome. A newer value is found first.
#[test]
fn a_value_in_flight_is_read_until_its_outcome() {
    paused(async || {
        let ends = [
            (vec![Step::Slow(secs(1))], 1),
            (vec![Step::Fail, Step::Panic, Step::Slow(secs(1))], 3),
            (vec![Step::Fail, Step::Reject], 2),
            (vec![Step::DropFirst], 1),
        ];
        for (steps, attempts) in ends {
            let sink = Keyed::from(Recorder::script(steps));
            let map = steady_map()
                .read_in_flight()
                .max_batch_size(3)
                .spawn(sink.clone())
                .unwrap();
            map.put_all((0..7).map(|key| (key, 10))).unwrap();
            let flush = tokio::spawn({
                let map = map.clone();
                async move { map.flush().await }
            });
            for attempt in 1..=attempts {
                sink.hold();
                sink.begun(attempt).await;
                settle().await;
                for key in 0..7 {
                    assert_eq!(map.get(&key), Some(10));
                    assert!(map.contains(&key));
                }
                let key = sink.tried()[0][0].key;
                assert_eq!(map.remove(&key), None, "on its way");
                map.put(key, 11).unwrap();
                assert_eq!(map.get(&key), Some(11));
                assert_eq!(map.remove(&key), Some(11));
                assert_eq!(map.get(&key), Some(10), "still on its way");
                map.merge(key, 12, |_, _| unreachable!("nothing is held"))
                    .unwrap();
                assert_eq!(map.remove(&key), Some(12));
                sink.release();
                settle().await;
                if attempt < attempts {
                    assert_eq!(map.get(&key), Some(10), "in backoff");
                }
            }
            let _ = flush.await.unwrap();
            assert!((0..7).all(|key| !map.contains(&key) && map.get(&key).is_none()));
            assert!(map.is_empty());
        }
    });
}

/// The newest value is found in a closed map too, while an older one is in flight.
#[test]
fn a_closed_map_reads_the_newest_value() {
    paused(async || {
        let sink = Keyed::from(Recorder::new(Step::Hang));
        let map = steady_map().read_in_flight().spawn(sink.clone()).unwrap();
        map.put(1, 1).unwrap();
        let mut flush = pin!(map.flush());
        assert!(poll_once(flush.as_mut()).is_pending());
        settle().await;
        map.put(1, 2).unwrap();
        assert_eq!(map.get(&1), Some(2));
        let mut flush = pin!(map.flush());
        assert!(poll_once(flush.as_mut()).is_pending());
        settle().await;
        assert_eq!(map.get(&1), Some(2), "a flush waits");
        map.close();
        assert_eq!(map.get(&1), Some(2), "closed");
        settle().await;
        assert_eq!(map.get(&1), Some(2), "closed, and noticed");
    });
}

/// What is delivered or given up is found, and its version known, until everything that left
/// together with it has its outcome. Then it is not.
#[test]
fn an_entry_is_known_until_all_that_left_with_it_has_its_outcome() {
    paused(async || {
        let slow = Step::Slow(secs(1));
        let sink = Keyed::from(Recorder::script([Step::Ok, Step::Reject, slow]));
        let map = steady_map()
            .partitions(1)
            .read_in_flight()
            .max_batch_size(1)
            .spawn(sink.clone())
            .unwrap();
        map.put_newer_all((0..6).map(|key| (key, 1, 5))).unwrap();
        sink.begun(3).await;
        settle().await;
        assert_eq!((map.stats().delivered, map.stats().lost), (1, 1));
        let ended: Vec<_> = sink.tried()[..2].iter().map(|row| row[0].key).collect();
        for key in &ended {
            assert_eq!(map.get(key), Some(1));
            assert_eq!(map.put_newer(*key, 2, 5), Ok(swaplane::Put::Stale));
        }
        sleep(secs(2)).await;
        assert!(map.is_empty());
        for key in &ended {
            assert_eq!((map.get(key), map.contains(key)), (None, false));
            assert_eq!(map.put_newer(*key, 2, 4), Ok(swaplane::Put::Inserted));
        }
    });
}

#[test]
fn without_read_in_flight_nothing_in_flight_is_found() {
    paused(async || {
        let sink = Keyed::from(Recorder::held());
        let map = map(&sink);
        map.put_all(ten(1)).unwrap();
        settle().await;
        assert!((0..10).all(|key| !map.contains(&key)));
        assert_eq!(map.len(), 10);
        map.put(3, 2).unwrap();
        assert_eq!(map.get(&3), Some(2));
    });
}

/// In a mirror a removal, held or in flight, hides the value that is in flight.
#[test]
fn a_removal_hides_what_is_in_flight() {
    paused(async || {
        let sink = Keyed::from(Recorder::held());
        let mirror = steady_map()
            .max_batch_size(1)
            .read_in_flight()
            .spawn_mirror(sink.clone())
            .unwrap();
        mirror.put(1, 10).unwrap();
        settle().await;
        assert_eq!(mirror.get(&1), Some(10));
        assert_eq!(mirror.remove(&1), Ok(None));
        assert_eq!((mirror.get(&1), mirror.contains(&1)), (None, false));
        sink.release();
        sink.received(1).await;
        sink.hold();
        sink.begun(2).await;
        settle().await;
        assert_eq!(sink.tried()[1], [removal(1)]);
        assert_eq!((mirror.get(&1), mirror.contains(&1)), (None, false));
        mirror.put(1, 11).unwrap();
        assert_eq!(mirror.get(&1), Some(11));
        sink.release();
        mirror.flush().await.unwrap();
        assert_eq!(sink.acked(), [row(1, 10), removal(1), row(1, 11)]);
    });
}

/// C7: a dead sink gets nothing. The shutdown returns everything, the older entry of a key before
/// the newer.
#[test]
fn a_shutdown_with_a_dead_sink_returns_everything() {
    paused(async || {
        for step in [Step::Hang, Step::Fail, Step::Panic] {
            let sink = Keyed::from(Recorder::new(step));
            let map = map(&sink);
            map.put_all(ten(1)).unwrap();
            sink.begun(1).await;
            settle().await;
            map.put_all(ten(2)).unwrap();
            map.put_all(ten(3)).unwrap();
            map.put_newer(10, 4, 5).unwrap();
            let begin = Instant::now();
            let report = map.shutdown(secs(5)).await;
            assert!(begin.elapsed() <= secs(5) + ms(10));
            assert_adds_up(&report);
            let mut expected: Vec<_> = ten_rows(1);
            expected.extend(ten_rows(3).into_iter().map(|row| row.updates(2)));
            expected.push(row(10, 4).version(5));
            assert_eq!(sorted(rows(&report.returned)), sorted(expected));
            assert_eq!(
                (report.delivered, report.lost, report.coalesced),
                (0, 0, 10)
            );
            assert_conserved(&map.stats());
            assert!(map.is_empty() && map.is_closed());
            assert!(map.put(1, 1).unwrap_err().is_closed());
        }
    });
}

/// C7: a slow sink gets what it can take in time. The rest is returned.
#[test]
fn a_slow_sink_gets_what_it_can_take_until_the_deadline() {
    paused(async || {
        for (deadline, delivered) in [(25, 20), (HOUR.as_secs(), 35)] {
            let sink = Keyed::from(Recorder::new(Step::Slow(secs(10))));
            let map = map(&sink);
            map.put_all((0..35).map(|key| (key, key))).unwrap();
            let report = map.shutdown(secs(deadline)).await;
            assert_adds_up(&report);
            assert_eq!((report.delivered, report.lost), (delivered, 0));
            let mut all = sink.acked();
            all.extend(rows(&report.returned));
            assert_eq!(
                sorted(all),
                (0..35).map(|key| row(key, key)).collect::<Vec<_>>()
            );
        }
    });
}

/// C7: what a mirror returns includes its removals.
#[test]
fn a_shutdown_returns_the_removals_of_a_mirror() {
    paused(async || {
        let sink = Keyed::from(Recorder::new(Step::Hang));
        let mirror = steady_map().spawn_mirror(sink.clone()).unwrap();
        mirror.put(1, 10).unwrap();
        mirror.put(2, 20).unwrap();
        mirror.remove(&1).unwrap();
        let report = mirror.shutdown(secs(5)).await;
        assert_adds_up(&report);
        assert_eq!(sorted(rows(&report.returned)), [removal(1), row(2, 20)]);
    });
}

/// A sink with a drain hook, which handles the rest if `wants` says so.
#[derive(Clone)]
struct Drainer {
    sender: Keyed,
    wants: bool,
    rest: Arc<Mutex<Vec<Row>>>,
}

impl Sink<Entry<u64, u64>> for Drainer {
    async fn send(&self, batch: Batch<Entry<u64, u64>>) -> Result<(), SinkError> {
        self.sender.send(batch).await
    }

    async fn drain(&self, rest: Batch<Entry<u64, u64>>) -> Handled {
        lock(&self.rest).extend(rows(&rest));
        match self.wants {
            true => Handled::Yes,
            false => Handled::No,
        }
    }
}

/// The hook gets what is in backoff and what is held. If it declines, the rest is sent in batches.
#[test]
fn the_drain_hook_gets_all_that_is_left() {
    paused(async || {
        for wants in [true, false] {
            let sender = Keyed::from(Recorder::script([Step::Fail]));
            let sink = Drainer {
                sender: sender.clone(),
                wants,
                rest: Arc::default(),
            };
            let map = steady_map().spawn(sink.clone()).unwrap();
            map.put_all(ten(1)).unwrap();
            sender.begun(1).await;
            settle().await;
            map.put_all((5..25).map(|key| (key, 2))).unwrap();
            let report = map.shutdown(HOUR).await;
            assert_adds_up(&report);
            assert!(report.is_complete());
            let mut all = ten_rows(1);
            all.extend((5..25).map(|key| row(key, 2)));
            let all = sorted(all);
            let rest = lock(&sink.rest).clone();
            assert_eq!(sorted(rest), all);
            match wants {
                true => assert_eq!(sender.count(), 1),
                false => assert_eq!(sorted(sender.acked()), all),
            }
        }
    });
}

/// The last handle closes the map, which then delivers what it holds.
#[test]
fn a_map_delivers_what_it_holds_after_its_last_handle() {
    paused(async || {
        let sink = Keyed::from(Recorder::script([Step::Fail, Step::Slow(secs(1))]));
        let map = map(&sink);
        map.put_all((0..25).map(|key| (key, key))).unwrap();
        drop(map.clone());
        settle().await;
        assert_eq!(sink.acked(), []);
        drop(map);
        sink.received(25).await;
    });
}

/// C6: a flush after `close` waits for what was accepted. After the shutdown a flush does not wait.
#[test]
fn a_flush_of_a_closed_map_waits_for_what_was_accepted() {
    paused(async || {
        let sink = Keyed::from(Recorder::script([Step::Slow(secs(1)), Step::Fail]));
        let map = map(&sink);
        map.put_all((0..15).map(|key| (key, key))).unwrap();
        map.close();
        map.flush().await.unwrap();
        assert_eq!(sink.acked().len(), 15);
        assert!(map.shutdown(HOUR).await.is_complete());
        map.flush().await.unwrap();
    });
}

/// The runtime goes first. Updates are refused, a flush fails, and a shutdown returns every entry.
#[test]
fn a_shutdown_returns_every_entry_when_the_runtime_has_gone() {
    watched(|| {
        for (step, backoff) in [(Step::Hang, ms(1)), (Step::Fail, HOUR)] {
            let runtime = multi_thread(1);
            let sink = Keyed::from(Recorder::new(step));
            let map = steady_map()
                .read_in_flight()
                .remember_versions(10)
                .retry(move |_: u32, _: &SinkError| Some(backoff))
                .runtime(runtime.handle().clone())
                .spawn(sink.clone())
                .unwrap();
            map.put_newer_all((0..10).map(|key| (key, 1, 1))).unwrap();
            eventually("the sink is reached", || sink.count() == 1);
            map.put_all(ten(2).chain([(10, 2)])).unwrap();
            assert_eq!(map.remove(&4), Some(2));
            drop(runtime);
            eventually("updates are refused", || {
                map.put_newer(11, 0, 0)
                    .is_err_and(|refused| refused.is_closed())
            });
            assert!(block_on(map.flush()).is_err());
            let held = map.len();
            let report = map.shutdown_blocking(secs(20));
            assert_adds_up(&report);
            assert_eq!((report.delivered, report.lost, report.removed), (0, 0, 1));
            assert_eq!(report.returned.len(), held);
            let mut returned = rows(&report.returned);
            returned.retain(|row| row.key != 11);
            let mut expected: Vec<_> = ten_rows(1).iter().map(|row| row.version(1)).collect();
            expected.extend((0..11).filter(|key| *key != 4).map(|key| row(key, 2)));
            assert_eq!(sorted(returned), sorted(expected));
            assert_conserved(&map.stats());
        }
    });
}

/// The runtime goes, then the last handle. Nothing panics and nothing hangs.
#[test]
fn a_map_may_be_dropped_after_its_runtime() {
    watched(|| {
        let runtime = one_thread();
        let map = steady_map()
            .runtime(runtime.handle().clone())
            .spawn(Keyed::from(Recorder::ok()))
            .unwrap();
        map.put_all(ten(1)).unwrap();
        drop(runtime);
        drop(map);
    });
}

/// A map on a thread of its own, with a sink that blocks, is used by threads without a runtime.
#[test]
fn a_map_on_its_own_thread_needs_no_runtime() {
    watched(|| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let map = steady_map()
            .own_thread()
            .spawn_blocking_fn(move |entries: &[Entry<u64, u64>]| {
                lock(&log).extend(rows(entries));
                Ok(())
            })
            .unwrap();
        map.put_all(ten(1)).unwrap();
        map.flush_blocking().unwrap();
        assert_eq!(sorted(lock(&seen).clone()), ten_rows(1));
        assert!(map.shutdown_blocking(secs(20)).is_complete());
    });
}

#[test]
fn a_closure_on_several_workers_mirrors_the_state() {
    threaded(2, async || {
        let state = Arc::new(Mutex::new(std::collections::BTreeMap::new()));
        let copy = state.clone();
        let mirror = steady_map::<u64, u64>()
            .partitions(4)
            .max_in_flight(4)
            .max_delay(Duration::ZERO)
            .spawn_mirror_fn(move |batch: Batch<swaplane::Change<u64, u64>>| {
                for Row { key, value, .. } in rows(&batch) {
                    match value {
                        Some(value) => lock(&copy).insert(key, value),
                        None => lock(&copy).remove(&key),
                    };
                }
                async { Ok(()) }
            })
            .unwrap();
        for round in 0..10 {
            mirror.put_all((0..50).map(|key| (key, round))).unwrap();
            for key in (0..50).filter(|key| (key + round) % 3 == 0) {
                mirror.remove(&key).unwrap();
            }
        }
        mirror.flush().await.unwrap();
        let left = (0..50).filter(|key| (key + 9) % 3 != 0).map(|key| (key, 9));
        assert_eq!(*lock(&state), left.collect());
    });
}

/// A batch has at most one entry of a key, also where entries left over from one swap are sent with
/// those of the next.
#[test]
fn no_batch_has_a_key_twice() {
    paused(async || {
        for end in ["close", "flush"] {
            let sink = Keyed::from(Recorder::ok());
            let map = map(&sink);
            map.put_all((0..15).map(|key| (key, 0))).unwrap();
            settle().await;
            let sent: HashSet<_> = sink.acked().iter().map(|row| row.key).collect();
            let left = (0..15).filter(|key| !sent.contains(key));
            map.put_all(left.map(|key| (key, 1))).unwrap();
            match end {
                "close" => assert!(map.close()),
                _ => map.flush().await.unwrap(),
            }
            settle().await;
            assert_eq!(sink.acked().len(), 20, "{end}");
            for batch in sink.tried() {
                let keys: HashSet<_> = batch.iter().map(|row| row.key).collect();
                assert_eq!(keys.len(), batch.len(), "{end}: {batch:?}");
            }
        }
    });
}

#[test]
fn a_full_batch_is_noticed_behind_the_rest_of_a_swap() {
    paused(async || {
        let sink = Keyed::from(Recorder::ok());
        let map = map(&sink);
        map.put_all((0..15).map(|key| (key, 0))).unwrap();
        settle().await;
        assert_eq!(sink.acked().len(), 10);
        map.put_all((100..1100).map(|key| (key, 0))).unwrap();
        settle().await;
        assert!(map.len() < 20, "{} entries wait", map.len());
    });
}

#[test]
fn what_is_removed_while_a_map_closes_is_not_found_again() {
    watched(|| {
        for _ in 0..50 {
            let map = Map::builder()
                .own_thread()
                .partitions(1)
                .shards(2)
                .max_delay(Duration::ZERO)
                .read_in_flight()
                .spawn_fn(|_batch: Batch<Entry<u64, String>>| std::future::pending())
                .unwrap();
            map.put(1000, String::new()).unwrap();
            eventually("on its way", || map.stats().attempts == 1);
            map.put_all((0..200).map(|key| (key, "value".repeat(100))))
                .unwrap();
            let removing = std::thread::spawn({
                let map = map.clone();
                move || Vec::from_iter((0..200).filter(|key| map.remove(key).is_some()))
            });
            map.close();
            for key in removing.join().unwrap() {
                assert!(!map.contains(&key), "{key} was removed");
            }
        }
    });
}

/// A key that makes an update while the flusher collects: its `Clone` runs then.
#[derive(PartialEq, Eq, Hash)]
struct Busy(u64);

thread_local! {
    static ON_CLONE: RefCell<Option<Box<dyn FnOnce()>>> = RefCell::default();
}

impl Clone for Busy {
    fn clone(&self) -> Self {
        if let Some(update) = ON_CLONE.take() {
            update();
        }
        Self(self.0)
    }
}

/// C11: what comes while the flusher collects is not due with what is collected.
#[test]
fn an_update_while_the_flusher_collects_waits_for_its_own_delay() {
    paused(async || {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let map = Map::<Busy, u64>::builder()
            .partitions(1)
            .max_delay(secs(1))
            .spawn_fn({
                let sent = sent.clone();
                move |batch| {
                    lock(&sent).push((Instant::now(), batch.len(), batch.reason()));
                    async { Ok(()) }
                }
            })
            .unwrap();
        let begun = Instant::now();
        for round in 0..4 {
            // Keys with a version are cloned.
            map.put_newer(Busy(0), 0, round).unwrap();
            let update = {
                let map = map.clone();
                move || map.put(Busy(1), 0).unwrap()
            };
            ON_CLONE.set(Some(Box::new(update)));
            sleep(secs(1) + ms(2)).await;
        }
        sleep(secs(2)).await;
        let batches = lock(&sent).clone();
        assert_eq!(batches.len(), 5, "{batches:?}");
        for pair in batches.windows(2) {
            assert!(pair[1].0 - pair[0].0 >= ms(999), "early: {batches:?}");
        }
        assert!(
            batches
                .iter()
                .all(|batch| batch.2 == swaplane::Reason::Delay)
        );
        assert!(begun.elapsed() >= secs(5));
    });
}
