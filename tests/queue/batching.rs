//! When a batch leaves, and how large it is: by size, delay, request or close.

use std::thread;
use std::time::Duration;

use swaplane::{Builder, Queue, Retry};
use tokio::time::{Instant, advance, sleep};

use crate::common::{
    HOUR, Recorder, Step, Why, assert_took, finish, item, ms, numbers, paused, settle, threaded,
};

/// Batches of at most `size`. The delay is an hour, so that only size, requests and close send.
fn by_size(size: usize) -> Builder<Queue<u64>> {
    Queue::builder()
        .max_batch_size(size)
        .max_delay(HOUR)
        .attempt_timeout(10 * HOUR)
        .retry(Retry::never())
}

/// A full batch leaves at once, exactly full and in order. The remainder waits for its delay.
#[test]
fn full_batches_leave_by_size() {
    paused(async || {
        for size in [1, 2, 3, 5, 63, 64, 65, 500] {
            let sink = Recorder::ok();
            let queue = by_size(size).spawn(sink.clone()).unwrap();
            let begin = Instant::now();
            queue.push_all(numbers(0..size * 4 + size / 2)).unwrap();
            settle().await;
            assert_eq!(sink.sizes(), vec![size; 4], "size {size}");
            assert!(
                sink.attempts()
                    .iter()
                    .all(|attempt| attempt.why == Why::Size)
            );
            assert!(begin.elapsed() < HOUR);
            assert_eq!(queue.len(), size / 2);
            sleep(HOUR + ms(10)).await;
            settle().await;
            assert_eq!(sink.delivered(), numbers(0..size * 4 + size / 2));
            finish(queue, &sink).await;
        }
    });
}

#[test]
fn rounds_of_one_batch_each_leave_whole() {
    paused(async || {
        let sink = Recorder::ok();
        let queue = by_size(500).spawn(sink.clone()).unwrap();
        for round in 0..5 {
            queue
                .push_all(numbers(round * 500..(round + 1) * 500))
                .unwrap();
            settle().await;
            assert_eq!(
                sink.attempts()[round].items,
                numbers(round * 500..(round + 1) * 500)
            );
            assert!(queue.is_empty());
        }
        assert_eq!(sink.sizes(), [500; 5]);
    });
}

/// One item short of a batch does not leave by size.
#[test]
fn almost_a_batch_waits() {
    paused(async || {
        let sink = Recorder::ok();
        let queue = by_size(500).spawn(sink.clone()).unwrap();
        queue.push_all(numbers(0..499)).unwrap();
        sleep(HOUR / 2).await;
        assert!(
            sink.count() <= 1,
            "at most one batch, sent early, since lanes report leased credits"
        );
        if sink.count() == 1 {
            assert!(
                sink.sizes()[0] >= 500 - 500 / 4,
                "more than a quarter short"
            );
        }
        queue.flush().await.unwrap();
        assert_eq!(sink.delivered(), numbers(0..499));
    });
}

/// A single item leaves at its delay: not before, and not much after.
#[test]
fn the_delay_is_kept() {
    paused(async || {
        for delay in [ms(1), ms(50), ms(1000), HOUR] {
            let sink = Recorder::ok();
            let queue = Queue::builder()
                .max_delay(delay)
                .spawn(sink.clone())
                .unwrap();
            for round in 0..3 {
                sleep(ms(7) + delay * 3).await;
                let pushed = Instant::now();
                queue.push(item(0, round)).unwrap();
                sink.begun(round + 1).await;
                let attempt = &sink.attempts()[round];
                assert_took(attempt.at - pushed, delay);
                assert_eq!(attempt.why, Why::Delay);
            }
        }
    });
}

/// The delay counts from the first item that waits; later ones do not push it out.
#[test]
fn the_delay_counts_from_the_first_item() {
    paused(async || {
        let sink = Recorder::ok();
        let queue = Queue::builder()
            .max_delay(ms(50))
            .spawn(sink.clone())
            .unwrap();
        let begin = Instant::now();
        for n in 0..10 {
            queue.push(n).unwrap();
            settle().await;
            advance(ms(4)).await;
            settle().await;
            assert_eq!(sink.count(), 0);
        }
        sink.begun(1).await;
        assert_took(begin.elapsed(), ms(50));
        assert_eq!(sink.attempts()[0].items, numbers(0..10));
        sleep(HOUR).await;
        assert_eq!(sink.count(), 1, "an empty batch was sent");
    });
}

/// The next push wakes it, however long it was idle.
#[test]
fn an_idle_queue_sends_nothing() {
    paused(async || {
        for delay in [Duration::ZERO, ms(50)] {
            let sink = Recorder::ok();
            let queue: Queue<u64> = Queue::builder()
                .max_delay(delay)
                .spawn(sink.clone())
                .unwrap();
            for round in 1..4 {
                queue.flush().await.unwrap();
                sleep(HOUR).await;
                assert_eq!(sink.count(), round - 1);
                queue.push(item(0, round - 1)).unwrap();
                sleep(delay + ms(10)).await;
                assert_eq!(sink.count(), round);
            }
            finish(queue, &sink).await;
        }
    });
}

/// `flush` sends what waits without waiting for size or delay.
#[test]
fn flush_sends_what_waits() {
    paused(async || {
        let sink = Recorder::ok();
        let queue = by_size(500).spawn(sink.clone()).unwrap();
        let begin = Instant::now();
        queue.push_all(numbers(0..7)).unwrap();
        queue.flush().await.unwrap();
        assert_eq!(sink.delivered(), numbers(0..7));
        assert_eq!(sink.attempts()[0].why, Why::Flush);
        assert!(begin.elapsed() < HOUR);
    });
}

/// `close` sends what waits, in batches no larger than usual.
#[test]
fn close_sends_what_waits() {
    paused(async || {
        let sink = Recorder::held();
        let queue = by_size(10).spawn(sink.clone()).unwrap();
        let begin = Instant::now();
        queue.push_all(numbers(0..4)).unwrap();
        assert!(queue.close());
        sink.release();
        sink.received(4).await;
        assert_eq!(sink.attempts()[0].why, Why::Close);
        assert!(begin.elapsed() < HOUR);
        assert!(queue.shutdown(HOUR).await.is_complete());
    });
}

/// No batch exceeds the limit, whoever pushes: threads, writers, keys, one by one or in bursts.
#[test]
fn no_batch_is_too_large() {
    for (delay, size) in [(Duration::ZERO, 7), (ms(1), 100), (HOUR, 33)] {
        threaded(2, async move || {
            let sink = Recorder::ok();
            let queue = Queue::builder()
                .max_batch_size(size)
                .max_delay(delay)
                .partitions(3)
                .spawn(sink.clone())
                .unwrap();
            let pushers: Vec<_> = (0..4)
                .map(|producer| {
                    let queue = queue.clone();
                    thread::spawn(move || {
                        let mut writer = queue.writer();
                        for n in 0..500 {
                            match producer {
                                0 => queue.push(item(producer, n)).unwrap(),
                                1 => queue.push_keyed(&(n % 5), item(producer, n)).unwrap(),
                                _ => writer.push(item(producer, n)).unwrap(),
                            }
                        }
                    })
                })
                .collect();
            for pusher in pushers {
                pusher.join().unwrap();
            }
            queue.flush().await.unwrap();
            assert!(sink.sizes().iter().all(|len| (1..=size).contains(len)));
            finish(queue, &sink).await;
        });
    }
}

/// Forty lanes of one item each make one batch.
#[test]
fn batches_are_filled_across_lanes_and_partitions() {
    paused(async || {
        let sink = Recorder::ok();
        let queue = by_size(500).partitions(8).spawn(sink.clone()).unwrap();
        let mut writers: Vec<_> = (0..20).map(|_| queue.writer()).collect();
        for (n, writer) in writers.iter_mut().enumerate() {
            writer.push(item(n, 0)).unwrap();
            queue.push_keyed(&n, item(n, 1)).unwrap();
        }
        queue.flush().await.unwrap();
        assert_eq!(sink.sizes(), [40]);
    });
}

/// Each batch has an id of its own. Its attempts are counted from one.
#[test]
fn a_batch_knows_its_id_and_its_attempt() {
    paused(async || {
        let sink = Recorder::script([Step::Fail]);
        let queue = by_size(2)
            .retry(|_: u32, _: &_| Some(ms(10)))
            .spawn(sink.clone())
            .unwrap();
        queue.push_all(numbers(0..6)).unwrap();
        queue.flush().await.unwrap();
        let attempts = sink.attempts();
        let numbers: Vec<_> = attempts.iter().map(|attempt| attempt.number).collect();
        assert_eq!(numbers, [1, 2, 1, 1]);
        assert_eq!(attempts[0].batch, attempts[1].batch);
        assert_ne!(attempts[1].batch, attempts[2].batch);
        assert_ne!(attempts[2].batch, attempts[3].batch);
        assert_ne!(attempts[1].batch, attempts[3].batch);
        let stats = queue.stats();
        assert_eq!((stats.batches, stats.attempts, stats.delivered), (3, 4, 6));
    });
}

/// A sink may rearrange its batch and change its items.
#[test]
fn a_batch_can_be_changed_in_place() {
    paused(async || {
        let (seen, got) = std::sync::mpsc::channel();
        let queue = by_size(10)
            .spawn_fn(move |mut batch| {
                batch.sort_unstable();
                batch.iter_mut().for_each(|n| *n *= 10);
                seen.send(batch.to_vec()).unwrap();
                async { Ok(()) }
            })
            .unwrap();
        queue.push_all([3, 1, 2]).unwrap();
        queue.flush().await.unwrap();
        assert_eq!(got.recv().unwrap(), [10, 20, 30]);
    });
}

/// A stuck sink fills the queue, and pushes are refused. All goes on once the sink recovers.
#[test]
fn overload_is_refused_and_overcome() {
    paused(async || {
        let sink = Recorder::script([Step::Hang]);
        let queue = by_size(500)
            .capacity(10_500)
            .attempt_timeout(HOUR)
            .retry(|_: u32, _: &_| Some(ms(100)))
            .spawn(sink.clone())
            .unwrap();
        queue.push_all(numbers(0..500)).unwrap();
        sink.begun(1).await;
        queue.push_all(numbers(500..10_500)).unwrap();
        for _ in 0..10 {
            assert!(queue.push(0).unwrap_err().is_full());
        }
        queue.flush().await.unwrap();
        assert_eq!(sink.attempts()[1].items, numbers(0..500));
        assert_eq!(sink.delivered(), numbers(0..10_500));
        queue.push(10_500).unwrap();
        finish(queue, &sink).await;
    });
}
