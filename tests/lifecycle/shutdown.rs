//! C7: a shutdown has one deadline for all of it and a report that adds up, and one caller gets
//! what is returned.

use std::pin::pin;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use swaplane::{Batch, Queue, Retry};
use tokio::time::{Instant, sleep};

use crate::common::{
    HOUR, Recorder, Step, assert_adds_up, assert_conserved, assert_took, lock, ms, numbers, paused,
    poll_once, scaled, secs, settle, watched,
};
use crate::slow_queue;

/// A queue of 25 items whose attempts hang for longer than any deadline here.
fn stuck() -> Queue<u64> {
    let queue = slow_queue().attempt_timeout(HOUR);
    let queue = queue.spawn(Recorder::new(Step::Hang)).unwrap();
    queue.push_all(0..25).unwrap();
    queue
}

/// A healthy sink gets everything, in order.
#[test]
fn a_healthy_queue_is_drained_before_the_deadline() {
    paused(async || {
        let sink = Recorder::ok();
        let queue = slow_queue().spawn(sink.clone()).unwrap();
        queue.push_all(0..35).unwrap();
        let begin = Instant::now();
        let report = queue.shutdown(HOUR).await;
        assert!(begin.elapsed() < HOUR);
        assert_adds_up(&report);
        assert!(report.is_complete() && report.returned.is_empty());
        assert_eq!(
            (report.accepted, report.delivered, report.lost),
            (35, 35, 0)
        );
        assert_eq!(sink.delivered(), numbers(0..35));
        assert!(sink.sizes().iter().all(|size| *size <= 10));
        assert!(queue.is_closed() && queue.is_empty());
        assert!(queue.push(1).unwrap_err().is_closed());
    });
}

#[test]
fn an_unused_queue_shuts_down_at_once() {
    paused(async || {
        let sink = Recorder::ok();
        let queue: Queue<u64> = slow_queue().spawn(sink.clone()).unwrap();
        let begin = Instant::now();
        let report = queue.shutdown(HOUR).await;
        assert_eq!(
            (begin.elapsed(), report.accepted, sink.count()),
            (Duration::ZERO, 0, 0)
        );
        assert!(report.is_complete());
    });
}

/// The attempt is cancelled at the deadline.
#[test]
fn a_deadline_in_mid_attempt_returns_everything() {
    paused(async || {
        let sink = Recorder::new(Step::Hang);
        let queue = slow_queue().spawn(sink.clone()).unwrap();
        queue.push_all(0..25).unwrap();
        sink.begun(1).await;
        let begin = Instant::now();
        let report = queue.shutdown(secs(5)).await;
        assert_took(begin.elapsed(), secs(5));
        assert_adds_up(&report);
        assert_eq!(
            (
                report.delivered,
                report.lost,
                report.returned_to_other_callers
            ),
            (0, 0, 0)
        );
        assert_eq!(report.returned, numbers(0..25), "in push order");
        assert!(!report.is_complete());
        assert_conserved(&queue.stats());
        assert_eq!((queue.stats().returned, queue.len()), (25, 0));
    });
}

/// The attempt has its own timeout, within the deadline. What waits behind it follows.
#[test]
fn the_attempt_in_flight_may_finish() {
    paused(async || {
        let sink = Recorder::new(Step::Slow(secs(9)));
        let queue = slow_queue().spawn(sink.clone()).unwrap();
        queue.push_all(0..15).unwrap();
        sink.begun(1).await;
        let report = queue.shutdown(secs(20)).await;
        assert!(report.is_complete());
        assert_eq!(sink.sizes(), [10, 5]);
        assert_eq!(sink.delivered(), numbers(0..15));
    });
}

/// The batch that waits for its retry stands in front of the rest.
#[test]
fn a_deadline_in_mid_backoff_returns_everything() {
    paused(async || {
        let sink = Recorder::new(Step::Fail);
        let queue = slow_queue().spawn(sink.clone()).unwrap();
        queue.push_all(0..25).unwrap();
        sink.begun(1).await;
        sleep(secs(1)).await;
        let begin = Instant::now();
        let report = queue.shutdown(secs(5)).await;
        assert!(begin.elapsed() <= secs(5) + ms(10));
        assert_adds_up(&report);
        assert_eq!((report.delivered, report.lost), (0, 0));
        assert_eq!(report.returned, numbers(0..25), "in push order");
    });
}

/// C1: whatever the deadline, every push that races the shutdown and is accepted is in the report.
/// The items are large, so that writing one takes a while.
#[test]
fn a_push_in_progress_is_in_the_report() {
    type Large = [u8; 1 << 15];
    watched(|| {
        for _ in 0..scaled(200, 2) {
            let queue = Queue::<Large>::builder()
                .own_thread()
                .max_batch_size(10)
                .capacity(200)
                .spawn_fn(|batch| async move {
                    let _batch = batch;
                    std::future::pending().await
                })
                .unwrap();
            let other = queue.clone();
            let pushing = move || {
                let mut accepted = 0;
                loop {
                    match other.push([0; 1 << 15]) {
                        Ok(()) => accepted += 1,
                        Err(refused) if refused.is_closed() => return accepted,
                        Err(_) => thread::yield_now(),
                    }
                }
            };
            let thread = thread::Builder::new().stack_size(1 << 24);
            let thread = thread.spawn(pushing).unwrap();
            thread::sleep(ms(1));
            let report = queue.shutdown_blocking(Duration::ZERO);
            assert_adds_up(&report);
            assert_eq!(thread.join().unwrap(), report.accepted);
            assert_eq!(queue.stats().held, 0);
        }
    });
}

/// C1: what fails during a shutdown is tried again only if its policy says so.
#[test]
fn a_shutdown_asks_the_retry_policy() {
    for (retry, step, attempts) in [
        (Retry::never(), Step::Fail, 1),
        (Retry::exponential(), Step::Reject, 1),
        (Retry::exponential().max_attempts(2), Step::Fail, 2),
    ] {
        paused(async move || {
            let sink = Recorder::held();
            sink.otherwise(step);
            let queue = slow_queue().retry(retry).spawn(sink.clone()).unwrap();
            queue.push_all(0..10).unwrap();
            sink.begun(1).await;
            let mut shutdown = pin!(queue.shutdown(HOUR));
            assert!(poll_once(shutdown.as_mut()).is_pending());
            settle().await;
            sink.release();
            let report = shutdown.await;
            assert_adds_up(&report);
            assert_eq!((sink.count(), report.lost), (attempts, 10));
        });
    }
}

/// It does so without waiting.
#[test]
fn a_deadline_of_zero_returns_what_was_not_delivered() {
    paused(async || {
        for step in [Step::Hang, Step::Fail, Step::Ok] {
            let sink = Recorder::new(step);
            let queue = slow_queue().spawn(sink.clone()).unwrap();
            queue.push_all(0..25).unwrap();
            settle().await;
            let begin = Instant::now();
            let report = queue.shutdown(Duration::ZERO).await;
            assert!(begin.elapsed() <= ms(10), "took {:?}", begin.elapsed());
            assert_adds_up(&report);
            assert_eq!(report.lost, 0);
            let mut all = sink.delivered();
            all.extend(&report.returned);
            assert_eq!(all, numbers(0..25));
            assert_eq!(
                queue.shutdown(HOUR).await.returned_to_other_callers as usize,
                report.returned.len()
            );
        }
    });
}

/// Nothing was sent before.
#[test]
fn a_deadline_of_zero_returns_what_lies_in_lanes() {
    paused(async || {
        let sink = Recorder::new(Step::Hang);
        let queue = slow_queue().spawn(sink.clone()).unwrap();
        queue.push_all(0..5).unwrap();
        let report = queue.shutdown(Duration::ZERO).await;
        assert_adds_up(&report);
        assert_eq!(report.returned, numbers(0..5));
    });
}

#[test]
fn the_longest_deadline_is_like_any_other() {
    paused(async || {
        let sink = Recorder::script([Step::Fail, Step::Hang]);
        let queue = slow_queue().spawn(sink.clone()).unwrap();
        queue.push_all(0..25).unwrap();
        let report = queue.shutdown(Duration::MAX).await;
        assert_adds_up(&report);
        assert!(report.is_complete());
    });
}

/// Items are lost only where the sink never gives its batch back. The others are returned.
#[test]
fn a_batch_that_never_comes_back_is_lost() {
    paused(async || {
        static KEPT: Mutex<Vec<Batch<u64>>> = Mutex::new(Vec::new());
        for outcome in [Ok(()), Err("kept the batch")] {
            let hangs = outcome.is_ok();
            let queue = slow_queue()
                .spawn_fn(move |batch| {
                    lock(&KEPT).push(batch);
                    async move {
                        if hangs {
                            std::future::pending::<()>().await;
                        }
                        Ok(outcome?)
                    }
                })
                .unwrap();
            queue.push_all(0..15).unwrap();
            settle().await;
            let begin = Instant::now();
            let report = queue.shutdown(secs(30)).await;
            assert!(begin.elapsed() <= secs(30) + ms(10));
            assert_adds_up(&report);
            assert_eq!((report.delivered, report.lost), (0, 10));
            assert_eq!(report.returned, numbers(10..15));
            // A batch that comes back after the report changes nothing.
            lock(&KEPT).clear();
            settle().await;
            let again = queue.shutdown(HOUR).await;
            assert_adds_up(&again);
            assert_eq!(
                (
                    again.lost,
                    again.returned.len(),
                    again.returned_to_other_callers
                ),
                (10, 0, 5)
            );
        }
    });
}

/// A sink that fails and recovers within the deadline gets everything, in order.
#[test]
fn a_sink_that_recovers_in_time_gets_everything() {
    paused(async || {
        let sink = Recorder::script([Step::Fail, Step::Panic, Step::Fail, Step::Hang]);
        let queue = slow_queue().spawn(sink.clone()).unwrap();
        queue.push_all(0..35).unwrap();
        sink.begun(1).await;
        let report = queue.shutdown(HOUR).await;
        assert_adds_up(&report);
        assert!(report.is_complete());
        assert_eq!(sink.delivered(), numbers(0..35));
    });
}

/// Rejected batches, and those that were tried often enough, are lost. The rest is delivered.
#[test]
fn losses_during_the_shutdown_are_reported() {
    paused(async || {
        let sink = Recorder::script([Step::Ok, Step::Reject, Step::TakeFail]);
        let queue = slow_queue().spawn(sink.clone()).unwrap();
        queue.push_all(0..35).unwrap();
        let report = queue.shutdown(HOUR).await;
        assert_adds_up(&report);
        assert_eq!(
            (report.delivered, report.lost, report.returned.len()),
            (15, 20, 0)
        );
    });
}

/// There are many callers. Exactly one of them gets what is returned.
#[test]
fn the_earliest_deadline_wins() {
    paused(async || {
        let queue = stuck();
        let begin = Instant::now();
        let callers: Vec<_> = [3600, 500, 7, 60, 7, 3600]
            .into_iter()
            .map(|seconds| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.shutdown(secs(seconds)).await })
            })
            .collect();
        let mut owners = 0;
        for caller in callers {
            let report = caller.await.unwrap();
            assert_took(begin.elapsed(), secs(7));
            assert_adds_up(&report);
            assert_eq!(
                report.returned.len() as u64 + report.returned_to_other_callers,
                25
            );
            if !report.returned.is_empty() {
                owners += 1;
                assert_eq!(report.returned, numbers(0..25));
            }
        }
        assert_eq!(owners, 1);
    });
}

/// A later caller with an earlier deadline shortens a shutdown that is under way.
#[test]
fn a_later_caller_may_shorten_the_deadline() {
    paused(async || {
        let queue = stuck();
        let begin = Instant::now();
        let mut patient = pin!(queue.shutdown(HOUR));
        assert!(poll_once(patient.as_mut()).is_pending());
        sleep(secs(10)).await;
        let hasty = queue.shutdown(secs(1)).await;
        let patient = patient.await;
        assert_took(begin.elapsed(), secs(11));
        assert_adds_up(&hasty);
        assert_adds_up(&patient);
        assert_eq!(hasty.returned.len() + patient.returned.len(), 25);
    });
}

/// A shutdown future that is dropped has closed the queue, and takes no item with it.
#[test]
fn a_dropped_shutdown_leaves_the_items_to_the_next() {
    paused(async || {
        let queue = stuck();
        {
            let mut dropped = pin!(queue.shutdown(secs(5)));
            assert!(poll_once(dropped.as_mut()).is_pending());
        }
        assert!(queue.is_closed());
        sleep(secs(20)).await;
        let report = queue.shutdown(secs(5)).await;
        assert_adds_up(&report);
        assert_eq!(report.returned, numbers(0..25));
    });
}
