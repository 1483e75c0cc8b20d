//! The extremes of batching: no delay, tiny batches, batches without a limit.

use std::time::Duration;

use swaplane::{Queue, Retry};
use tokio::time::Instant;

use crate::common::{HOUR, Recorder, finish, item, ms, numbers, paused, settle};

/// No time passes.
#[test]
fn without_a_delay_an_item_leaves_at_once() {
    paused(async || {
        let sink = Recorder::ok();
        let queue = Queue::builder()
            .max_delay(Duration::ZERO)
            .spawn(sink.clone())
            .unwrap();
        let begin = Instant::now();
        for n in 0..20 {
            queue.push(item(0, n)).unwrap();
            settle().await;
            assert_eq!(sink.delivered().len(), n + 1);
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
        sink.assert_ordered();
    });
}

/// What is pushed while the sink is busy leaves in one batch when the sink is free.
#[test]
fn without_a_delay_batches_grow_while_the_sink_is_busy() {
    paused(async || {
        let sink = Recorder::held();
        let queue = Queue::builder()
            .max_delay(Duration::ZERO)
            .max_batch_size(64)
            .attempt_timeout(HOUR)
            .retry(Retry::never())
            .spawn(sink.clone())
            .unwrap();
        queue.push(0).unwrap();
        sink.begun(1).await;
        for n in 1..11 {
            queue.push(n).unwrap();
            settle().await;
        }
        assert_eq!(sink.sizes(), [1]);
        sink.release();
        sink.begun(2).await;
        assert_eq!(sink.attempts()[1].items, numbers(1..11));
        sink.hold();
        queue.push_all(numbers(11..211)).unwrap();
        settle().await;
        sink.release();
        queue.flush().await.unwrap();
        assert!(sink.sizes().iter().all(|size| *size <= 64));
        assert_eq!(sink.delivered(), numbers(0..211));
        finish(queue, &sink).await;
    });
}

/// The bursts have any length.
#[test]
fn without_a_delay_batches_of_two_leave_nothing_behind() {
    paused(async || {
        let sink = Recorder::ok();
        let queue = Queue::builder()
            .max_delay(Duration::ZERO)
            .max_batch_size(2)
            .spawn(sink.clone())
            .unwrap();
        let mut pushed = 0;
        for burst in 1..20 {
            queue
                .push_all((0..burst).map(|n| item(0, pushed + n)))
                .unwrap();
            pushed += burst;
            settle().await;
            assert_eq!(sink.delivered().len(), pushed, "a wake-up was lost");
        }
        assert!(sink.sizes().iter().all(|size| *size <= 2));
        sink.assert_ordered();
    });
}

/// Every second push fills a batch of two.
#[test]
fn pairs_leave_despite_an_endless_delay() {
    paused(async || {
        let sink = Recorder::ok();
        let queue = Queue::builder()
            .max_batch_size(2)
            .max_delay(HOUR)
            .spawn(sink.clone())
            .unwrap();
        let begin = Instant::now();
        for pair in 0..50 {
            queue.push_all(numbers(pair * 2..pair * 2 + 2)).unwrap();
            settle().await;
            assert_eq!(sink.sizes(), vec![2; pair + 1]);
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
    });
}

/// A batch without a limit has all that was there.
#[test]
fn unlimited_batches_take_everything() {
    paused(async || {
        let sink = Recorder::ok();
        let queue = Queue::builder()
            .max_batch_size(None)
            .max_delay(ms(50))
            .spawn(sink.clone())
            .unwrap();
        queue.push_all(numbers(0..40_000)).unwrap();
        sink.begun(1).await;
        assert_eq!(sink.attempts()[0].items, numbers(0..40_000));
        queue.push_all(numbers(40_000..40_010)).unwrap();
        queue.flush().await.unwrap();
        assert_eq!(sink.sizes(), [40_000, 10]);
    });
}
