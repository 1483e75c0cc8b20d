//! C8: a panic in `Hash`, `Eq`, `Clone`, `Drop`, a merge or the sink reaches its caller only, harms
//! no other entry, and leaves no lock held.

use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering::SeqCst};
use std::thread;

use swaplane::{Builder, Change, Entry, Map, Put, SinkError};

use crate::common::{
    HOUR, Id, Keyed, Recorder, Row, Step, assert_adds_up, assert_conserved, ms, one_thread, paused,
    row, secs, settle, sorted, steady_map, watched,
};

const HASH: u8 = 1;
const EQ: u8 = 2;
const CLONE: u8 = 4;
const DROP: u8 = 8;

/// How many [`Mine`]s there are.
#[derive(Clone, Default)]
struct Alive(Arc<AtomicI64>);

impl Alive {
    fn mine(&self, id: u64) -> Mine {
        self.0.fetch_add(1, SeqCst);
        Mine {
            id,
            armed: Arc::default(),
            alive: self.clone(),
        }
    }

    fn count(&self) -> i64 {
        self.0.load(SeqCst)
    }
}

/// A key or a value that panics where it is armed. Its clones share the setting.
struct Mine {
    id: u64,
    armed: Arc<AtomicU8>,
    alive: Alive,
}

impl Mine {
    fn arm(self, what: u8) -> Self {
        self.armed.store(what, SeqCst);
        self
    }

    fn step_on(&self, what: u8) {
        if self.armed.load(SeqCst) & what != 0 {
            // Unlike `panic!`, this says nothing on standard error.
            resume_unwind(Box::new("scripted"));
        }
    }
}

impl Hash for Mine {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.step_on(HASH);
        self.id.hash(state);
    }
}

impl PartialEq for Mine {
    fn eq(&self, other: &Self) -> bool {
        self.step_on(EQ);
        other.step_on(EQ);
        self.id == other.id
    }
}

impl Eq for Mine {}

impl Clone for Mine {
    fn clone(&self) -> Self {
        self.step_on(CLONE);
        let mut clone = self.alive.mine(self.id);
        clone.armed = self.armed.clone();
        clone
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        self.alive.0.fetch_sub(1, SeqCst);
        self.step_on(DROP);
    }
}

impl Id for Entry<Mine, Mine> {
    fn id(&self) -> u64 {
        self.key.id
    }
}

impl Id for Change<Mine, Mine> {
    fn id(&self) -> u64 {
        self.key().id
    }
}

impl From<&Entry<Mine, Mine>> for Row {
    fn from(entry: &Entry<Mine, Mine>) -> Self {
        Self {
            key: entry.key.id,
            value: Some(entry.value.id),
            version: entry.version,
            updates: entry.updates,
        }
    }
}

impl From<&Change<Mine, Mine>> for Row {
    fn from(change: &Change<Mine, Mine>) -> Self {
        match change {
            Change::Put(entry) => entry.into(),
            Change::Remove { key } => crate::common::removal(key.id),
        }
    }
}

type Field = Map<Mine, Mine>;

fn builder() -> Builder<Field> {
    steady_map().max_batch_size(16)
}

fn blows(f: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

/// Puts the keys 0 to 7, each with ten times the key as value.
fn fill(map: &Field, alive: &Alive) {
    for id in 0..8 {
        map.put(alive.mine(id), alive.mine(10 * id)).unwrap();
    }
}

/// Fails unless every key can be put and read by another thread, and is delivered.
async fn assert_unharmed(map: &Field, sink: &Keyed, alive: &Alive) {
    let user = map.clone();
    let living = alive.clone();
    let putting = thread::spawn(move || {
        for id in 0..8 {
            user.put(living.mine(id), living.mine(id + 1)).unwrap();
            assert_eq!(user.get(&living.mine(id)).map(|mine| mine.id), Some(id + 1));
        }
    });
    putting.join().expect("the map is harmed");
    let before = sink.acked().len();
    map.flush().await.unwrap();
    let sent = sorted(sink.acked()[before..].to_vec());
    let values: Vec<_> = sent.iter().map(|row| (row.key, row.value)).collect();
    assert_eq!(
        values,
        (0..8).map(|id| (id, Some(id + 1))).collect::<Vec<_>>()
    );
    assert_conserved(&map.stats());
    assert!(map.is_empty());
}

/// Runs `body` in a process of its own. Two panics at once would abort that process.
fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var_os("SWAPLANE_ALONE").is_some() {
        return body();
    }
    let path = format!("panics::{test}");
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&path, "--exact", "--nocapture"])
        .env("SWAPLANE_ALONE", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}", output.status);
    let ran = String::from_utf8_lossy(&output.stdout);
    assert!(ran.contains("1 passed"), "{path} names no test: {ran}");
}

/// A call whose key panics in `Hash` or `Eq` changes nothing.
#[test]
fn a_call_that_panics_changes_nothing() {
    type Call = fn(&Field, Mine, Mine);
    let calls: [(&str, u8, Call); 12] = [
        ("put", HASH, |map, key, value| _ = map.put(key, value)),
        ("put", EQ, |map, key, value| _ = map.put(key, value)),
        ("newer", HASH, |map, key, value| {
            _ = map.put_newer(key, value, 5)
        }),
        ("newer", EQ, |map, key, value| {
            _ = map.put_newer(key, value, 5)
        }),
        ("merge", HASH, |map, key, value| {
            _ = map.merge(key, value, |_, _| {})
        }),
        ("merge", EQ, |map, key, value| {
            _ = map.merge(key, value, |_, _| {})
        }),
        ("put_all", EQ, |map, key, value| {
            _ = map.put_all([(key, value)])
        }),
        ("get", HASH, |map, key, _| _ = map.get(&key)),
        ("get", EQ, |map, key, _| _ = map.get(&key)),
        ("contains", EQ, |map, key, _| _ = map.contains(&key)),
        ("remove", HASH, |map, key, _| _ = map.remove(&key)),
        ("remove", EQ, |map, key, _| _ = map.remove(&key)),
    ];
    paused(async move || {
        for (name, fault, call) in calls {
            let (sink, alive) = (Keyed::from(Recorder::ok()), Alive::default());
            let map = builder()
                .read_in_flight()
                .remember_versions(4)
                .spawn(sink.clone())
                .unwrap();
            fill(&map, &alive);
            for id in [3, 5, 3] {
                let (key, value) = (alive.mine(id).arm(fault), alive.mine(999));
                assert!(blows(|| call(&map, key, value)), "{name} {fault}");
            }
            let stats = map.stats();
            assert_eq!((stats.accepted, stats.held), (8, 8), "{name} {fault}");
            for id in 0..8 {
                let found = map.get(&alive.mine(id)).map(|mine| mine.id);
                assert_eq!(found, Some(10 * id), "{name} {fault}");
            }
            assert_unharmed(&map, &sink, &alive).await;
            assert!(
                sink.acked()
                    .iter()
                    .all(|row| row.updates == 2 && row.version.is_none())
            );
            // The remembered keys live as long as the map.
            let _ = map.shutdown(HOUR).await;
            drop(map);
            settle().await;
            assert_eq!(alive.count(), 0, "{name} {fault}: leaked, or dropped twice");
        }
    });
}

/// A key is compared with more keys while entries are in flight.
#[test]
fn a_panic_in_eq_changes_nothing_while_the_key_is_in_flight() {
    paused(async || {
        let (sink, alive) = (Keyed::from(Recorder::held()), Alive::default());
        let map = builder().read_in_flight().spawn(sink.clone()).unwrap();
        for id in 0..8 {
            map.put_newer(alive.mine(id), alive.mine(id), 5).unwrap();
        }
        let flush = tokio::spawn({
            let map = map.clone();
            async move { map.flush().await }
        });
        settle().await;
        assert_eq!(sink.count(), 1);
        let armed = || alive.mine(3).arm(EQ);
        assert!(blows(|| _ = map.get(&armed())));
        assert!(blows(|| _ = map.contains(&armed())));
        assert!(blows(|| _ = map.put_newer(armed(), alive.mine(1), 6)));
        assert_eq!(map.stats().accepted, 8);
        assert_eq!(
            map.put_newer(alive.mine(3), alive.mine(1), 5),
            Ok(Put::Stale)
        );
        assert_eq!(map.get(&alive.mine(3)).map(|mine| mine.id), Some(3));
        sink.release();
        flush.await.unwrap().unwrap();
        assert_unharmed(&map, &sink, &alive).await;
    });
}

#[test]
fn a_value_that_panics_when_it_is_read_is_delivered() {
    paused(async || {
        let (sink, alive) = (Keyed::from(Recorder::ok()), Alive::default());
        let map = builder().spawn(sink.clone()).unwrap();
        fill(&map, &alive);
        map.put(alive.mine(3), alive.mine(33).arm(CLONE)).unwrap();
        assert!(blows(|| _ = map.get(&alive.mine(3))));
        assert!(map.contains(&alive.mine(3)));
        assert_eq!(map.get(&alive.mine(4)).map(|mine| mine.id), Some(40));
        map.flush().await.unwrap();
        assert!(sink.acked().contains(&row(3, 33).updates(2)));
        assert_unharmed(&map, &sink, &alive).await;
    });
}

/// A merge that panics leaves the value as the closure has made it, and does not count.
#[test]
fn a_merge_that_panics_does_not_count() {
    paused(async || {
        let (sink, alive) = (Keyed::from(Recorder::ok()), Alive::default());
        let map = builder().spawn(sink.clone()).unwrap();
        fill(&map, &alive);
        for _ in 0..3 {
            assert!(blows(|| {
                let fold = |held: &mut Mine, update: Mine| {
                    held.id += update.id;
                    resume_unwind(Box::new("scripted"));
                };
                _ = map.merge(alive.mine(3), alive.mine(1), fold);
            }));
        }
        let stats = map.stats();
        assert_eq!((stats.accepted, stats.coalesced, stats.held), (8, 0, 8));
        assert_eq!(map.get(&alive.mine(3)).map(|mine| mine.id), Some(33));
        map.flush().await.unwrap();
        assert!(sink.acked().contains(&row(3, 33)));
        assert_unharmed(&map, &sink, &alive).await;
        assert_eq!(alive.count(), 0);
    });
}

/// The old value, a second key, a stale value and a removed key may panic when they are dropped.
#[test]
fn a_put_takes_effect_when_what_it_replaces_panics() {
    paused(async || {
        let (sink, alive) = (Keyed::from(Recorder::ok()), Alive::default());
        let map = builder().spawn(sink.clone()).unwrap();
        fill(&map, &alive);
        let armed = |id| alive.mine(id).arm(DROP);
        map.put(alive.mine(3), armed(31)).unwrap();
        assert!(
            blows(|| _ = map.put(alive.mine(3), alive.mine(32))),
            "old value"
        );
        assert!(
            blows(|| _ = map.put(armed(3), alive.mine(33))),
            "second key"
        );
        assert_eq!(map.get(&alive.mine(3)).map(|mine| mine.id), Some(33));
        assert_conserved(&map.stats());
        map.put_newer(alive.mine(4), alive.mine(44), 5).unwrap();
        let accepted = map.stats().accepted;
        assert!(
            blows(|| _ = map.put_newer(alive.mine(4), armed(0), 5)),
            "stale value"
        );
        assert!(
            blows(|| _ = map.put_newer(armed(4), alive.mine(0), 5)),
            "stale key"
        );
        assert_eq!(map.stats().accepted, accepted);
        assert_eq!(map.get(&alive.mine(4)).map(|mine| mine.id), Some(44));
        map.put(armed(9), alive.mine(99)).unwrap();
        assert!(blows(|| _ = map.remove(&alive.mine(9))), "removed key");
        assert_eq!(map.len(), 8);
        assert_unharmed(&map, &sink, &alive).await;
        assert_eq!(alive.count(), 0);
    });
}

/// Runs `blow` on a full map in a process of its own, which must not be aborted, and neither must
/// the map be harmed.
fn does_not_abort(test: &str, blow: impl FnOnce(&Field, &Alive) + Send + 'static) {
    alone(test, || {
        paused(async move || {
            let (sink, alive) = (Keyed::from(Recorder::ok()), Alive::default());
            let map = builder().spawn(sink.clone()).unwrap();
            fill(&map, &alive);
            blow(&map, &alive);
            assert_unharmed(&map, &sink, &alive).await;
        });
    });
}

/// Key and value are dropped one after the other, and both panic.
#[test]
fn a_stale_pair_that_panics_does_not_abort() {
    does_not_abort("a_stale_pair_that_panics_does_not_abort", |map, alive| {
        let armed = |id| alive.mine(id).arm(DROP);
        map.put_newer(alive.mine(3), alive.mine(31), 5).unwrap();
        assert!(blows(|| _ = map.put_newer(armed(3), armed(32), 5)));
    });
}

/// The old value and the second key both panic when they are dropped.
#[test]
fn a_replaced_pair_that_panics_does_not_abort() {
    does_not_abort(
        "a_replaced_pair_that_panics_does_not_abort",
        |map, alive| {
            let armed = |id| alive.mine(id).arm(DROP);
            map.put(alive.mine(3), armed(31)).unwrap();
            assert!(blows(|| _ = map.put(armed(3), alive.mine(32))));
        },
    );
}

/// The key panics when it is taken out, and the value would panic on its way to the caller.
#[test]
fn a_removed_pair_that_panics_does_not_abort() {
    does_not_abort("a_removed_pair_that_panics_does_not_abort", |map, alive| {
        let armed = |id| alive.mine(id).arm(DROP);
        map.put(armed(9), armed(9)).unwrap();
        assert!(blows(|| _ = map.remove(&alive.mine(9))));
    });
}

/// Several keys or values of one batch panic when they are dropped after their outcome.
#[test]
fn delivered_keys_and_values_that_panic_when_dropped_stop_nothing() {
    paused(async || {
        for keys in [false, true] {
            for step in [Step::Ok, Step::Reject, Step::DropFirst] {
                let (sink, alive) = (Keyed::from(Recorder::script([step])), Alive::default());
                let map = builder()
                    .read_in_flight()
                    .remember_versions(2)
                    .spawn(sink.clone())
                    .unwrap();
                for id in 0..8 {
                    let (key, value) = (alive.mine(id), alive.mine(id));
                    let armed = if keys { &key } else { &value };
                    armed
                        .armed
                        .store(if id % 3 == 1 { DROP } else { 0 }, SeqCst);
                    map.put_newer(key, value, id).unwrap();
                }
                let flushed = map.flush().await;
                settle().await;
                assert_conserved(&map.stats());
                assert!(map.is_empty());
                match step {
                    Step::Reject => assert_eq!(flushed.unwrap_err().lost, 8),
                    _ => assert_eq!((flushed, sink.acked().len()), (Ok(()), 8)),
                }
                assert_unharmed(&map, &sink, &alive).await;
            }
        }
    });
}

/// The flusher clones values for `read_in_flight` and keys for `remember_versions`. Where that
/// panics nothing stops, and no other entry is harmed.
#[test]
fn a_clone_that_panics_in_the_flusher_costs_its_own_entry_only() {
    paused(async || {
        for (of_key, versions) in [(false, false), (true, false), (true, true), (false, true)] {
            let (sink, alive) = (
                Keyed::from(Recorder::script([Step::Fail])),
                Alive::default(),
            );
            let map = builder().read_in_flight().remember_versions(100);
            let map = map.spawn(sink.clone()).unwrap();
            for id in 0..8 {
                let (key, value) = (alive.mine(id), alive.mine(10 * id));
                let armed = if of_key { &key } else { &value };
                armed
                    .armed
                    .store(if id % 4 == 3 { CLONE } else { 0 }, SeqCst);
                match versions {
                    true => assert_eq!(map.put_newer(key, value, 5), Ok(Put::Inserted)),
                    false => map.put(key, value).unwrap(),
                }
            }
            let flushed = map.flush().await;
            let acked = sorted(sink.acked());
            for id in [0, 1, 2, 4, 5, 6] {
                let acked = acked.iter().filter(|row| row.key == id);
                let values: Vec<_> = acked.map(|row| row.value).collect();
                assert_eq!(values, [Some(10 * id)]);
                assert!(map.get(&alive.mine(id)).is_none());
                if versions {
                    let put = map.put_newer(alive.mine(id), alive.mine(0), 5);
                    assert_eq!(put, Ok(Put::Stale), "{id}");
                }
            }
            let undelivered = flushed.map_or_else(|error| error.undelivered(), |()| 0);
            let stats = map.stats();
            assert_conserved(&stats);
            assert_eq!((stats.accepted, stats.held), (8, 0));
            assert_eq!(
                (stats.delivered, undelivered),
                (acked.len() as u64, stats.lost)
            );
            assert_unharmed(&map, &sink, &alive).await;
        }
    });
}

/// `Hash` and `Eq` panic while the flusher works, whether it calls them or not.
#[test]
fn a_hash_or_eq_that_panics_in_the_flusher_stops_nothing() {
    paused(async || {
        for fault in [HASH, EQ] {
            let (sink, alive) = (
                Keyed::from(Recorder::script([Step::Fail])),
                Alive::default(),
            );
            let map = builder().read_in_flight().remember_versions(3);
            let map = map.spawn(sink.clone()).unwrap();
            let armed = Arc::new(AtomicU8::new(0));
            for round in 0..3 {
                armed.store(0, SeqCst);
                for id in 0..8 {
                    let mut key = alive.mine(id);
                    if id % 4 == 3 {
                        key.armed = armed.clone();
                    }
                    map.put_newer(key, alive.mine(id), round).unwrap();
                }
                armed.store(fault, SeqCst);
                let _ = map.flush().await;
                assert_conserved(&map.stats());
                assert!(map.is_empty());
            }
            let of = |id| sink.acked().iter().filter(|row| row.key == id).count();
            assert_eq!([0, 1, 2, 4, 5, 6].map(of), [3; 6]);
            armed.store(0, SeqCst);
            assert_unharmed(&map, &sink, &alive).await;
        }
    });
}

/// A removal in a mirror clones the key.
#[test]
fn a_removal_in_a_mirror_that_panics_changes_nothing() {
    paused(async || {
        let (sink, alive) = (Keyed::from(Recorder::ok()), Alive::default());
        let mirror = builder().spawn_mirror(sink.clone()).unwrap();
        for id in 0..8 {
            mirror.put(alive.mine(id), alive.mine(10 * id)).unwrap();
        }
        for fault in [CLONE, HASH, EQ] {
            assert!(blows(|| _ = mirror.remove(&alive.mine(3).arm(fault))));
        }
        let held = mirror.remove(&alive.mine(4)).unwrap().unwrap();
        assert_eq!(held.id, 40);
        drop(held);
        // The removal finds an entry with a key, so it drops its clone of the key.
        let key = alive.mine(5).arm(DROP);
        assert!(blows(|| _ = mirror.remove(&key)));
        drop(key.arm(0));
        assert_eq!(mirror.stats().held, 8);
        mirror.flush().await.unwrap();
        let acked = sorted(sink.acked());
        assert_eq!(acked[3], row(3, 30));
        assert_eq!(acked[4], crate::common::removal(4));
        assert_eq!(acked[6], row(6, 60));
        assert_conserved(&mirror.stats());
    });
}

#[test]
fn a_map_whose_entries_panic_may_be_dropped_after_its_runtime() {
    alone(
        "a_map_whose_entries_panic_may_be_dropped_after_its_runtime",
        || {
            watched(|| {
                for in_flight in [false, true] {
                    let runtime = one_thread();
                    let (sink, alive) = (Keyed::from(Recorder::held()), Alive::default());
                    let map = builder()
                        .max_batch_size(if in_flight { 8 } else { 16 })
                        .read_in_flight()
                        .runtime(runtime.handle().clone())
                        .spawn(sink.clone())
                        .unwrap();
                    fill(&map, &alive);
                    if in_flight {
                        runtime.block_on(sink.begun(1));
                    }
                    for id in 20..24 {
                        map.put(alive.mine(id), alive.mine(id).arm(DROP)).unwrap();
                        map.put(alive.mine(id + 10).arm(DROP), alive.mine(id))
                            .unwrap();
                    }
                    drop(runtime);
                    // The drop of the last handle may panic. It does not abort.
                    let _ = blows(|| drop(map));
                    assert_eq!(alive.count(), 0);
                }
            });
        },
    );
}

/// Entries and items were in flight, or about to be sent, when the runtime went.
#[test]
fn entries_in_flight_that_panic_may_be_dropped_after_the_runtime() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            resume_unwind(Box::new("scripted"));
        }
    }
    alone(
        "entries_in_flight_that_panic_may_be_dropped_after_the_runtime",
        || {
            watched(|| {
                let runtime = one_thread();
                let map = Map::<u64, Bad>::builder()
                    .partitions(1)
                    .max_batch_size(10)
                    .runtime(runtime.handle().clone())
                    .spawn_fn(|_batch| std::future::pending())
                    .unwrap();
                let queue = swaplane::Queue::<Bad>::builder()
                    .partitions(1)
                    .max_batch_size(10)
                    .runtime(runtime.handle().clone())
                    .spawn_fn(|_batch| std::future::pending())
                    .unwrap();
                for key in 0..35 {
                    map.put(key, Bad).unwrap();
                    queue.push(Bad).unwrap();
                }
                runtime.block_on(settle());
                drop(runtime);
                let _ = blows(|| drop(map));
                let _ = blows(|| drop(queue));
            });
        },
    );
}

#[test]
fn a_sink_that_always_panics_loses_only_its_batches() {
    paused(async || {
        let sink = Keyed::from(Recorder::new(Step::Panic));
        let map = steady_map()
            .read_in_flight()
            .retry(|attempt: u32, _: &SinkError| (attempt < 3).then_some(secs(1)))
            .spawn(sink.clone())
            .unwrap();
        map.put_all((0..10).map(|key| (key, 1))).unwrap();
        assert_eq!(map.flush().await.unwrap_err().lost, 10);
        assert_eq!(sink.count(), 3);
        assert!(!map.contains(&1));
        sink.otherwise(Step::Ok);
        map.put_all((0..10).map(|key| (key, 2))).unwrap();
        // The flush may report what was lost before it.
        let _ = map.flush().await;
        let expected: Vec<_> = (0..10).map(|key| row(key, 2)).collect();
        assert_eq!(sorted(sink.acked()), expected);
        let report = map.shutdown(HOUR).await;
        assert_adds_up(&report);
        assert_eq!((report.delivered, report.lost), (10, 10));
    });
}

/// Threads that panic all the time, in all ways, run beside others that do not.
#[test]
fn threads_that_panic_do_not_harm_others() {
    watched(|| {
        let (sink, alive) = (
            Keyed::from(Recorder::script([Step::Panic; 9])),
            Alive::default(),
        );
        let map = builder()
            .own_thread()
            .max_delay(ms(1))
            .retry(|_: u32, _: &SinkError| Some(ms(1)))
            .read_in_flight()
            .spawn(sink.clone())
            .unwrap();
        thread::scope(|scope| {
            for bad in 0..2 {
                let (map, alive) = (&map, &alive);
                scope.spawn(move || {
                    for n in 0..500 {
                        let (fault, base) = [(HASH, 100), (EQ, 100), (DROP, 200)][n % 3];
                        // Two faults in one call would be two panics at once.
                        let key = alive.mine(base + bad).arm(fault);
                        let _ = blows(|| _ = map.put(key, alive.mine(0)));
                        let key = alive.mine(n as u64 % 8).arm(fault);
                        let _ = blows(|| _ = map.get(&key));
                        let _ = blows(|| drop(key));
                    }
                });
            }
            for good in 0..2 {
                let (map, alive) = (&map, &alive);
                scope.spawn(move || {
                    for n in 0..500 {
                        let id = n % 4 * 2 + good;
                        map.put(alive.mine(id), alive.mine(n)).unwrap();
                    }
                });
            }
        });
        let _ = map.flush_blocking();
        assert_conserved(&map.stats());
        let state = sink.state();
        for id in 0..8 {
            assert_eq!(state[&id].value, Some(496 + id / 2));
        }
        assert_adds_up(&map.shutdown_blocking(secs(20)));
    });
}
