//! What our own parts cost, for finding regressions: `cargo bench`. How they compare with others is
//! measured by `benches/compare`, where both sides run in turn.
//!
//! The flusher runs on the thread of the bench, and only outside the measured time (in "flush" only
//! inside it), so nothing runs beside what is measured.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use swaplane::{Batch, Entry, Map, Queue, Writer};
use tokio::runtime::{Builder, Runtime};

/// This many items are pushed before the flusher runs.
const ROUND: u64 = 4096;
const BATCH: usize = 512;

type Item = u64;

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().build().unwrap()
}

fn queue(runtime: &Runtime) -> Queue<Item> {
    let _inside = runtime.enter();
    Queue::builder()
        .capacity(1 << 20)
        .max_batch_size(BATCH)
        .max_delay(Duration::from_secs(3600))
        .spawn_fn(|batch: Batch<Item>| async move {
            black_box(&*batch);
            Ok(())
        })
        .unwrap()
}

/// Lets the flusher find what waits. From then on pushes are silent; before, each wakes it.
async fn be_seen() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

/// Measures `n` calls in rounds; `flush` runs between the rounds, outside the measured time.
fn in_rounds(n: u64, mut call: impl FnMut(u64), mut flush: impl FnMut()) -> Duration {
    let mut time = Duration::ZERO;
    let mut left = n;
    while left > 0 {
        let round = left.min(ROUND);
        let begun = Instant::now();
        (0..round).for_each(&mut call);
        time += begun.elapsed();
        left -= round;
        flush();
    }
    time
}

fn push(criterion: &mut Criterion) {
    let runtime = runtime();
    let queue = queue(&runtime);
    let flush = || {
        runtime.block_on(async {
            queue.flush().await.unwrap();
            queue.push(0).unwrap();
            be_seen().await;
        });
    };
    let mut group = criterion.benchmark_group("push");
    group.throughput(Throughput::Elements(1));

    let mut writer = queue.writer();
    group.bench_function("writer", |bencher| {
        bencher.iter_custom(|n| in_rounds(n, |i| writer.push(black_box(i)).unwrap(), flush));
    });
    group.bench_function("thread", |bencher| {
        bencher.iter_custom(|n| in_rounds(n, |i| queue.push(black_box(i)).unwrap(), flush));
    });
    group.bench_function("keyed", |bencher| {
        let push = |i| queue.push_keyed(&i, black_box(i)).unwrap();
        bencher.iter_custom(|n| in_rounds(n, push, flush));
    });
    group.finish();
}

/// Collecting, batching, sending and settling what lies in several lanes.
fn flush(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flush");
    group.throughput(Throughput::Elements(1));
    for lanes in [1, 8, 64] {
        let runtime = runtime();
        let queue = queue(&runtime);
        let mut writers: Vec<Writer<Item>> = (0..lanes).map(|_| queue.writer()).collect();
        group.bench_function(format!("{lanes} lanes"), |bencher| {
            bencher.iter_custom(|n| {
                let mut time = Duration::ZERO;
                let rounds = n.div_ceil(ROUND);
                for _ in 0..rounds {
                    for i in 0..ROUND {
                        let writer = &mut writers[i as usize % lanes];
                        writer.push(i).unwrap();
                    }
                    let begun = Instant::now();
                    runtime.block_on(queue.flush()).unwrap();
                    time += begun.elapsed();
                }
                time.mul_f64(n as f64 / (rounds * ROUND) as f64)
            });
        });
    }
    group.finish();
}

fn map(criterion: &mut Criterion) {
    const KEYS: u32 = 4096;
    let runtime = runtime();
    let map: Map<u32, u32> = {
        let _inside = runtime.enter();
        Map::builder()
            .capacity(1 << 20)
            .max_batch_size(2 * KEYS as usize)
            .max_delay(Duration::from_secs(3600))
            .spawn_fn(|batch: Batch<Entry<u32, u32>>| async move {
                black_box(&*batch);
                Ok(())
            })
            .unwrap()
    };
    let flush = || {
        runtime.block_on(async {
            map.flush().await.unwrap();
            map.put(u32::MAX, 0).unwrap();
            be_seen().await;
        });
    };
    let key = |i: u64| (i as u32).wrapping_mul(2_654_435_761) % KEYS;
    let mut group = criterion.benchmark_group("map");
    group.throughput(Throughput::Elements(1));

    group.bench_function("put, new", |bencher| {
        bencher.iter_custom(|n| in_rounds(n, |i| map.put(key(i), 1).unwrap(), flush));
    });
    let mut version = 0;
    group.bench_function("put_newer, new", |bencher| {
        let mut put = |i| {
            version += 1;
            let _put = map.put_newer(key(i), 1, version).unwrap();
        };
        bencher.iter_custom(|n| in_rounds(n, &mut put, flush));
    });

    // From here on the flusher does not run, so every key stays held.
    flush();
    (0..KEYS).for_each(|key| map.put(key, 0).unwrap());
    let mut next = (0..u64::MAX).map(key);
    let mut next = || next.next().unwrap();
    group.bench_function("put, held", |bencher| {
        bencher.iter(|| map.put(next(), 1).unwrap());
    });
    let mut version = 1 << 40;
    group.bench_function("put_newer, held", |bencher| {
        bencher.iter(|| {
            version += 1;
            map.put_newer(next(), 1, version).unwrap()
        });
    });
    group.bench_function("put_newer, stale", |bencher| {
        bencher.iter(|| map.put_newer(next(), 1, 0).unwrap());
    });
    group.bench_function("merge, held", |bencher| {
        let add = |sum: &mut u32, n| *sum = sum.wrapping_add(n);
        bencher.iter(|| map.merge(next(), 1, add).unwrap());
    });
    group.bench_function("get, held", |bencher| bencher.iter(|| map.get(&next())));
    group.finish();
}

criterion_group!(benches, push, flush, map);
criterion_main!(benches);
