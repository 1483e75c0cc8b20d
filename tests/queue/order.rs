//! C4: one thread, one writer and one key each keep their order, whatever the sink does.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use swaplane::{Builder, Queue, SinkError};

use crate::common::{
    Recorder, Rng, Step, finish, insist, item, lock, ms, paused, scaled, secs, threaded,
};

/// A sink that misbehaves at random, by a fixed seed.
fn moody(seed: u64) -> Recorder {
    let mut rng = Rng::new(seed);
    Recorder::choosing(move || match rng.below(10) {
        0 | 1 => Step::Fail,
        2 => Step::Panic,
        3 => Step::RetryAfter(ms(2)),
        4 => Step::Slow(ms(1)),
        5 => Step::DropFirst,
        _ => Step::Ok,
    })
}

fn patient(builder: Builder<Queue<u64>>) -> Builder<Queue<u64>> {
    builder
        .attempt_timeout(secs(50))
        .retry(|_: u32, _: &SinkError| Some(ms(1)))
}

/// Batches in flight, batch size and delay under which order has to hold.
type Variant = (usize, Option<usize>, Duration);

fn variants() -> impl Iterator<Item = Variant> {
    [1, 4].into_iter().flat_map(|in_flight| {
        [
            (Some(1), ms(1)),
            (Some(7), Duration::ZERO),
            (Some(64), ms(1)),
            (None, Duration::ZERO),
        ]
        .map(|(size, delay)| (in_flight, size, delay))
    })
}

/// A queue with a moody sink.
fn spawn(label: &str, seed: u64, (in_flight, size, delay): Variant) -> (Queue<u64>, Recorder) {
    let sink = moody(seed);
    let queue = patient(Queue::builder())
        .name(label)
        .max_in_flight(in_flight)
        .max_batch_size(size)
        .max_delay(delay)
        .capacity(1000)
        .spawn(sink.clone())
        .unwrap();
    (queue, sink)
}

/// Runs `push(n)` on one thread for each producer number, and waits for the threads.
fn run(producers: usize, push: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        for producer in 0..producers {
            let push = &push;
            scope.spawn(move || push(producer));
        }
    });
}

/// Runs producers against a moody sink under every variant, and checks the order of each stream.
fn check(label: &'static str, produce: fn(&Queue<u64>, usize)) {
    for (round, variant) in variants().enumerate() {
        threaded(2, async move || {
            let (queue, sink) = spawn(label, round as u64 + 1, variant);
            run(6, |producer| produce(&queue, producer));
            queue.flush().await.unwrap();
            sink.assert_ordered();
            assert!(
                sink.most_running() <= variant.0,
                "too many attempts at once"
            );
            finish(queue, &sink).await;
        });
    }
}

/// Unkeyed pushes of one thread stay in push order across batches, failures and retries.
#[test]
fn threads_keep_their_order() {
    check("threads", |queue, producer| {
        for n in 0..scaled(120, 20) {
            insist(|| queue.push(item(producer, n)));
        }
    });
}

/// Pushes of one writer stay in push order across batches, failures and retries.
#[test]
fn writers_keep_their_order() {
    check("writers", |queue, producer| {
        let mut writer = queue.writer();
        for n in 0..scaled(120, 20) {
            insist(|| writer.push(item(producer, n)));
        }
    });
}

/// `push_all` and single pushes of one thread keep one order, also across refusals in the middle.
#[test]
fn bulk_and_single_pushes_are_one_order() {
    check("bulk", |queue, producer| {
        let mut n = 0;
        while n < scaled(120, 20) {
            insist(|| queue.push(item(producer, n)));
            let mut rest: Vec<_> = (n + 1..n + 10).map(|n| item(producer, n)).collect();
            while let Err(refused) = queue.push_all(rest) {
                rest = refused.into_inner();
                thread::yield_now();
            }
            n += 10;
        }
    });
}

/// What a thread pushes with permits is unkeyed, so it keeps the order of that thread.
#[test]
fn permits_keep_their_order() {
    check("permits", |queue, producer| {
        for n in 0..scaled(60, 10) {
            let permit = queue.reserve_blocking().unwrap();
            permit.push(item(producer, 2 * n)).unwrap();
            insist(|| queue.push(item(producer, 2 * n + 1)));
        }
    });
}

/// All pushes of one key keep one order, whichever threads made them.
#[test]
fn keys_keep_their_order_across_threads() {
    const KEYS: usize = 5;
    for (round, variant) in variants().enumerate() {
        threaded(2, async move || {
            let (queue, sink) = spawn("keys", round as u64 + 100, variant);
            // The lock of a key orders its pushes.
            let turns: Arc<[Mutex<usize>; KEYS]> = Arc::default();
            run(6, |producer| {
                let mut rng = Rng::new(producer as u64 + 1);
                for _ in 0..scaled(120, 20) {
                    let key = rng.below(KEYS as u64) as usize;
                    let mut turn = lock(&turns[key]);
                    insist(|| queue.push_keyed(&key, item(key, *turn)));
                    *turn += 1;
                }
            });
            queue.flush().await.unwrap();
            sink.assert_ordered();
            finish(queue, &sink).await;
        });
    }
}

#[test]
fn a_writer_keeps_its_order_from_thread_to_thread() {
    threaded(2, async || {
        let sink = moody(7);
        let queue = patient(Queue::builder())
            .max_in_flight(4)
            .max_batch_size(5)
            .max_delay(Duration::ZERO)
            .spawn(sink.clone())
            .unwrap();
        let mut writer = queue.writer();
        for n in 0..scaled(200, 10) {
            writer = thread::spawn(move || {
                writer.push(item(0, 2 * n)).unwrap();
                writer.push(item(0, 2 * n + 1)).unwrap();
                writer
            })
            .join()
            .unwrap();
        }
        queue.flush().await.unwrap();
        sink.assert_ordered();
    });
}

/// With one batch in flight nothing else is sent while a batch waits for its retry.
#[test]
fn a_retry_holds_back_what_follows() {
    paused(async || {
        let sink = Recorder::script([Step::Fail, Step::Panic, Step::RetryAfter(secs(3))]);
        let queue = Queue::builder()
            .max_batch_size(10)
            .retry(|_: u32, _: &SinkError| Some(secs(1)))
            .spawn(sink.clone())
            .unwrap();
        for n in 0..35 {
            queue.push(item(0, n)).unwrap();
        }
        queue.flush().await.unwrap();
        let batches: Vec<_> = sink
            .attempts()
            .iter()
            .map(|attempt| attempt.batch)
            .collect();
        assert_eq!(batches[..4], [batches[0]; 4]);
        assert_eq!(sink.sizes(), [10, 10, 10, 10, 10, 10, 5]);
        assert_eq!(sink.most_running(), 1);
        sink.assert_ordered();
    });
}

/// Several workers work at the same time.
#[test]
fn a_stuck_worker_does_not_stop_the_others() {
    paused(async || {
        let sink = Recorder::script([Step::Hang]);
        let queue = Queue::builder()
            .max_in_flight(4)
            .partitions(4)
            .max_batch_size(1)
            .max_delay(Duration::ZERO)
            .attempt_timeout(secs(100))
            .retry(|_: u32, _: &SinkError| Some(ms(1)))
            .spawn(sink.clone())
            .unwrap();
        for key in 0..64 {
            queue.push_keyed(&key, item(key, 0)).unwrap();
            queue.push_keyed(&key, item(key, 1)).unwrap();
        }
        crate::common::settle().await;
        tokio::time::sleep(secs(50)).await;
        let delivered = sink.delivered().len();
        assert!(
            (1..127).contains(&delivered),
            "{delivered} while one worker is stuck"
        );
        queue.flush().await.unwrap();
        assert_eq!(sink.delivered().len(), 128);
        sink.assert_ordered();
        finish(queue, &sink).await;
    });
}
