//! What our own parts cost, for finding regressions: `cargo bench`. How they compare with others is
//! measured by `benches/compare`, where both sides run in turn.
//!
//! Here the flusher's part is played by the bench itself, outside the measured time, so that nothing
//! runs beside what is measured.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use swaplane::Entry;
use swaplane::internals::{Fences, MapFlusher, MapTraits, OwnLane, Queue, map};

/// So many items before the flusher's turn.
const ROUND: u64 = 4096;
const BATCH: usize = 512;

type Item = [u64; 2];

fn queue() -> Queue<Item> {
    Queue::new(1 << 20, BATCH, Fences::Expedited)
}

/// Measures `push` only; what it pushed is collected in between.
fn pushes(criterion: &mut Criterion, name: &str, push: impl Fn(&Queue<Item>, &OwnLane<Item>, u64)) {
    let (queue, mut flusher) = {
        let queue = queue();
        let flusher = queue.flusher();
        (queue, flusher)
    };
    let lane = queue.lane();
    let mut group = criterion.benchmark_group("push");
    group.throughput(Throughput::Elements(1));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|n| {
            let mut time = Duration::ZERO;
            let mut left = n;
            while left > 0 {
                let round = left.min(ROUND);
                let begun = Instant::now();
                for item in 0..round {
                    push(&queue, &lane, black_box(item));
                }
                time += begun.elapsed();
                left -= round;
                queue.give_back(flusher.collect_all().len());
            }
            time
        });
    });
    group.finish();
}

fn push(criterion: &mut Criterion) {
    pushes(criterion, "a lane of one's own", |queue, lane, item| {
        lane.push(queue, [item, item]).unwrap();
    });
    pushes(criterion, "the shared lane", |queue, _, item| {
        queue.push_shared([item, item]).unwrap();
    });
}

/// Collecting, and cutting batches, out of lanes that hold a round together.
fn collect(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("collect");
    group.throughput(Throughput::Elements(1));
    for lanes in [1, 8, 64] {
        let queue = queue();
        let mut flusher = queue.flusher();
        let writers = Vec::from_iter((0..lanes).map(|_| queue.lane()));
        group.bench_function(
            format!("batches of {BATCH} out of {lanes} lanes"),
            |bencher| {
                bencher.iter_custom(|n| {
                    let mut time = Duration::ZERO;
                    let mut collected = 0;
                    while collected < n {
                        for item in 0..ROUND {
                            let lane = &writers[item as usize % writers.len()];
                            lane.push(&queue, [item, item]).unwrap();
                        }
                        let begun = Instant::now();
                        for _ in 0..ROUND / BATCH as u64 {
                            let batch = black_box(flusher.cut(BATCH));
                            collected += batch.len() as u64;
                            queue.give_back(batch.len());
                        }
                        time += begun.elapsed();
                    }
                    time.mul_f64(n as f64 / collected as f64)
                });
            },
        );
    }
    group.bench_function("a look at 64 lanes that are empty", |bencher| {
        let queue = queue();
        let mut flusher = queue.flusher();
        let _writers = Vec::from_iter((0..64).map(|_| queue.lane()));
        bencher.iter(|| flusher.available());
    });
    group.finish();
}

fn deliver(flusher: &mut MapFlusher, entries: Vec<Entry<u32, u32>>) {
    if !entries.is_empty() {
        flusher.settle(entries.len());
        flusher.give_back(entries.len());
    }
}

fn maps(criterion: &mut Criterion) {
    const KEYS: u32 = 10_000;
    let mut group = criterion.benchmark_group("map");
    group.throughput(Throughput::Elements(1));
    let keys = Vec::from_iter((0..KEYS).map(|n| n.wrapping_mul(2_654_435_761) % KEYS));

    let (held, _flusher) = map(MapTraits::default());
    held.put_all(keys.iter().map(|&key| (key, 0))).unwrap();
    let mut turn = keys.iter().cycle();
    let mut next = || *turn.next().unwrap();
    group.bench_function("put, held", |bencher| {
        bencher.iter(|| held.put(next(), 1));
    });
    let mut version = 0;
    group.bench_function("put_newer, held", |bencher| {
        bencher.iter(|| {
            version += 1;
            held.put_newer(next(), 1, version)
        });
    });
    group.bench_function("put_newer, stale", |bencher| {
        bencher.iter(|| held.put_newer(next(), 1, 0));
    });
    group.bench_function("merge, held", |bencher| {
        bencher.iter(|| held.merge(next(), 1, |sum, n| *sum = sum.wrapping_add(n)));
    });
    group.bench_function("get, held", |bencher| bencher.iter(|| held.get(&next())));

    for (name, versions) in [("put", false), ("put_newer", true)] {
        let (map, mut flusher) = map(MapTraits::default());
        let put = |key, version| match versions {
            false => map.put(key, 1).unwrap(),
            true => drop(map.put_newer(key, 1, version).unwrap()),
        };
        let mut version = 0;
        group.bench_function(format!("{name}, begun"), |bencher| {
            bencher.iter_custom(|n| {
                let mut time = Duration::ZERO;
                for _ in 0..n.div_ceil(u64::from(KEYS)) {
                    version += 1;
                    let begun = Instant::now();
                    keys.iter().for_each(|&key| put(key, version));
                    time += begun.elapsed();
                    let entries = flusher.collect();
                    deliver(&mut flusher, entries);
                }
                let done = n.div_ceil(u64::from(KEYS)) * u64::from(KEYS);
                time.mul_f64(n as f64 / done as f64)
            });
        });
        group.bench_function(format!("{name}, swapped out and forgotten"), |bencher| {
            bencher.iter_custom(|n| {
                let mut time = Duration::ZERO;
                for _ in 0..n.div_ceil(u64::from(KEYS)) {
                    version += 1;
                    keys.iter().for_each(|&key| put(key, version));
                    let begun = Instant::now();
                    let entries = black_box(flusher.collect());
                    deliver(&mut flusher, entries);
                    time += begun.elapsed();
                }
                let done = n.div_ceil(u64::from(KEYS)) * u64::from(KEYS);
                time.mul_f64(n as f64 / done as f64)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, push, collect, maps);
criterion_main!(benches);
