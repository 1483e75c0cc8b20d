//! Closing, the last handle, and sinks that use the queue that they serve.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use swaplane::{Batch, Queue};
use tokio::time::{Instant, sleep};

use crate::common::{
    HOUR, Ledger, Recorder, Step, Token, assert_adds_up, eventually, finish, item, lock, ms,
    paused, scaled, secs, settle, threaded,
};
use crate::slow_queue;

/// `close` answers true once, and may be repeated from any handle.
#[test]
fn close_is_idempotent() {
    paused(async || {
        let sink = Recorder::ok();
        let queue = slow_queue().spawn(sink.clone()).unwrap();
        let twin = queue.clone();
        let writer = queue.writer();
        queue.push(item(0, 0)).unwrap();
        assert!(twin.close());
        for _ in 0..3 {
            assert!(!queue.close() && !twin.close() && !writer.queue().close());
            assert!(queue.is_closed() && twin.is_closed());
        }
        finish(queue, &sink).await;
    });
}

/// Many threads close at once. One of them is told that it did.
#[test]
fn one_of_many_callers_closes() {
    threaded(1, async || {
        for _ in 0..scaled(50, 3) {
            let queue: Queue<u64> = slow_queue().spawn(Recorder::ok()).unwrap();
            let (first, start) = (AtomicUsize::new(0), Barrier::new(4));
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        start.wait();
                        first.fetch_add(usize::from(queue.close()), SeqCst);
                    });
                }
            });
            assert_eq!(first.load(SeqCst), 1);
        }
    });
}

/// C3: no push that begins after `close` returned is accepted, on any thread, by any kind of push.
#[test]
fn nothing_is_accepted_after_close() {
    threaded(2, async || {
        for round in 0..scaled(100, 3) {
            let ledger = Ledger::new(4, 20_000);
            let sink = Recorder::ok();
            let queue: Queue<Token> = Queue::builder()
                .max_delay(if round % 2 == 0 { Duration::ZERO } else { HOUR })
                .spawn(sink.clone())
                .unwrap();
            let closed = AtomicBool::new(false);
            let start = Barrier::new(5);
            thread::scope(|scope| {
                for producer in 0..4 {
                    let (queue, ledger, closed, start) = (&queue, &ledger, &closed, &start);
                    scope.spawn(move || {
                        let mut writer = queue.writer();
                        start.wait();
                        for n in 0..20_000 {
                            let after = closed.load(SeqCst);
                            let token = ledger.token(producer, n);
                            let pushed = match producer {
                                0 => writer.push(token),
                                1 => queue.push_keyed(&n, token),
                                _ => queue.push(token),
                            };
                            ledger.note(item(producer, n), pushed.is_ok());
                            assert!(!after || pushed.is_err(), "accepted after close returned");
                            if after {
                                break;
                            }
                        }
                    });
                }
                start.wait();
                for _ in 0..round * 20 {
                    std::hint::spin_loop();
                }
                assert!(queue.close());
                closed.store(true, SeqCst);
            });
            let report = queue.shutdown(secs(50)).await;
            assert!(report.is_complete());
            ledger.assert_settled(&sink, &report);
            drop((queue, report));
            ledger.assert_all_dropped();
        }
    });
}

/// The last handle closes the queue when it is dropped. The queue delivers in the background.
#[test]
fn what_the_queue_holds_is_sent_after_its_last_handle() {
    paused(async || {
        let ledger = Ledger::new(1, 25);
        let sink = Recorder::script([Step::Fail, Step::Hang]);
        let queue: Queue<Token> = slow_queue().spawn(sink.clone()).unwrap();
        for n in 0..25 {
            queue.push(ledger.token(0, n)).unwrap();
        }
        let begin = Instant::now();
        drop(queue);
        assert_eq!(begin.elapsed(), Duration::ZERO, "drop never blocks");
        sink.received(25).await;
        settle().await;
        sink.assert_delivered_in_order();
        ledger.assert_all_dropped();
    });
}

/// Clones and writers keep the queue open. It closes with the last of them.
#[test]
fn every_handle_keeps_the_queue_open() {
    paused(async || {
        let sink = Recorder::ok();
        let queue = slow_queue().spawn(sink.clone()).unwrap();
        let twin = queue.clone();
        let (mut first, mut second) = (queue.writer(), twin.writer());
        drop(queue);
        drop(twin);
        first.push(item(0, 0)).unwrap();
        drop(first);
        sleep(secs(100)).await;
        assert!(!second.queue().is_closed());
        second.push(item(1, 0)).unwrap();
        second.queue().flush().await.unwrap();
        second.push(item(1, 1)).unwrap();
        let begin = Instant::now();
        drop(second);
        sink.received(3).await;
        assert!(
            begin.elapsed() < HOUR,
            "waited for the delay instead of the close"
        );
    });
}

/// A writer that is dropped leaves its items in the queue.
#[test]
fn a_dropped_writer_leaves_its_items() {
    paused(async || {
        let sink = Recorder::ok();
        let queue = slow_queue().spawn(sink.clone()).unwrap();
        for producer in 0..30 {
            let mut writer = queue.writer();
            writer.push(item(producer, 0)).unwrap();
            writer.push(item(producer, 1)).unwrap();
        }
        assert_eq!(queue.len() + sink.delivered().len(), 60);
        queue.flush().await.unwrap();
        sink.assert_ordered();
        finish(queue, &sink).await;
    });
}

/// The sink owns the last handle. Nothing deadlocks, and everything is sent.
#[test]
fn the_last_handle_may_be_dropped_inside_the_sink() {
    threaded(1, async || {
        for _ in 0..scaled(20, 2) {
            let slot: Arc<Mutex<Option<Queue<u64>>>> = Arc::default();
            let got = Arc::new(AtomicUsize::new(0));
            let (own, count) = (slot.clone(), got.clone());
            let queue = Queue::builder()
                .max_batch_size(10)
                .max_delay(ms(1))
                .spawn_fn(move |batch: Batch<u64>| {
                    let last = lock(&own).take();
                    let count = count.clone();
                    async move {
                        drop(last);
                        tokio::task::yield_now().await;
                        count.fetch_add(batch.len(), SeqCst);
                        Ok(())
                    }
                })
                .unwrap();
            queue.push_all(0..25).unwrap();
            *lock(&slot) = Some(queue);
            eventually("all is delivered", || got.load(SeqCst) == 25);
        }
    });
}

/// Its items are delivered behind those that were pushed before.
#[test]
fn a_sink_may_push_into_its_own_queue() {
    paused(async || {
        let slot: Arc<Mutex<Option<Queue<u64>>>> = Arc::default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (own, log) = (slot.clone(), seen.clone());
        let queue = slow_queue()
            .max_delay(ms(5))
            .spawn_fn(move |batch: Batch<u64>| {
                lock(&log).extend_from_slice(&batch);
                let queue = lock(&own).clone().unwrap();
                let next: Vec<u64> = batch.iter().filter(|n| **n < 100).map(|n| n + 10).collect();
                async move {
                    queue.push_all(next).unwrap();
                    Ok(())
                }
            })
            .unwrap();
        *lock(&slot) = Some(queue.clone());
        queue.push_all(0..10).unwrap();
        sleep(secs(1)).await;
        assert_eq!(*lock(&seen), (0..110).collect::<Vec<_>>());
        lock(&slot).take();
        assert!(queue.shutdown(HOUR).await.is_complete());
    });
}

/// It is refused like any other caller, without a deadlock.
#[test]
fn a_sink_that_pushes_into_its_own_full_queue_is_refused() {
    threaded(1, async || {
        let slot: Arc<Mutex<Option<Queue<u64>>>> = Arc::default();
        let refusals = Arc::new(AtomicUsize::new(0));
        let (own, refused) = (slot.clone(), refusals.clone());
        let queue = Queue::builder()
            .capacity(4)
            .max_batch_size(None)
            .max_delay(HOUR)
            .spawn_fn(move |batch: Batch<u64>| {
                let queue = lock(&own).clone().unwrap();
                let refused = refused.clone();
                async move {
                    for n in 0..2 * queue.capacity() {
                        if queue.push(100).is_err_and(|refusal| refusal.is_full()) {
                            refused.fetch_add(1, SeqCst);
                        }
                        assert!(queue.len() <= 4, "push {n}");
                    }
                    drop(batch);
                    queue.close();
                    Ok(())
                }
            })
            .unwrap();
        *lock(&slot) = Some(queue.clone());
        while queue.push(1).is_ok() {}
        let report = {
            eventually("the sink is refused", || refusals.load(SeqCst) >= 4);
            queue.shutdown(secs(30)).await
        };
        assert_adds_up(&report);
        assert!(report.is_complete());
        lock(&slot).take();
    });
}

/// C7: a shutdown after a shutdown adds up again and returns nothing twice.
#[test]
fn shutdown_may_be_repeated() {
    paused(async || {
        let sink = Recorder::script([Step::Ok, Step::Hang]);
        let queue = slow_queue()
            .attempt_timeout(HOUR)
            .spawn(sink.clone())
            .unwrap();
        queue.push_all((0..25).map(|n| item(0, n))).unwrap();
        assert!(queue.close());
        let first = queue.shutdown(secs(5)).await;
        assert_eq!(
            (
                first.delivered,
                first.returned.len(),
                first.returned_to_other_callers
            ),
            (10, 15, 0)
        );
        assert!(!queue.close());
        for _ in 0..3 {
            let begin = Instant::now();
            let again = queue.shutdown(HOUR).await;
            assert_eq!(begin.elapsed(), Duration::ZERO);
            assert_adds_up(&again);
            assert_eq!((again.accepted, again.delivered), (25, 10));
            assert_eq!(
                (again.returned.len(), again.returned_to_other_callers),
                (0, 15)
            );
        }
    });
}
