//! Waiting for room: permits, turns, and waiters who give up.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;

use swaplane::{Permit, Queue, ReserveError, Retry};

use crate::common::{
    HOUR, Recorder, Step, assert_adds_up, finish, item, lock, ms, paused, poll_once, secs, settle,
    threaded,
};

/// A full queue of the given capacity, whose sink is held.
async fn full(capacity: usize) -> (Queue<u64>, Recorder) {
    let sink = Recorder::held();
    let queue = Queue::builder()
        .capacity(capacity)
        .max_batch_size(1)
        .max_delay(HOUR)
        .attempt_timeout(HOUR)
        .retry(Retry::never())
        .spawn(sink.clone())
        .unwrap();
    for n in 0..capacity {
        queue.push(item(0, n)).unwrap();
    }
    sink.begun(1).await;
    (queue, sink)
}

type Waiter<'a> = Pin<Box<dyn Future<Output = Result<Permit<u64>, ReserveError>> + Send + 'a>>;

/// Starts `n` reservations, in order. All of them wait.
fn waiters(queue: &Queue<u64>, n: usize) -> Vec<Waiter<'_>> {
    let mut waiters: Vec<Waiter<'_>> = Vec::new();
    for _ in 0..n {
        waiters.push(Box::pin(queue.reserve()));
        assert!(poll_once(waiters.last_mut().unwrap().as_mut()).is_pending());
    }
    waiters
}

/// Waiters are served in the order in which they came, one for each item that makes room.
#[test]
fn waiters_are_served_in_order() {
    paused(async || {
        let (queue, sink) = full(1).await;
        let mut waiting = waiters(&queue, 5);
        sink.release();
        settle().await;
        while !waiting.is_empty() {
            for later in &mut waiting[1..] {
                assert!(poll_once(later.as_mut()).is_pending(), "served out of turn");
            }
            let Poll::Ready(Ok(permit)) = poll_once(waiting.remove(0).as_mut()) else {
                panic!("the first in line is not served");
            };
            assert!(
                queue.push(99).unwrap_err().is_full(),
                "a permit is room for one"
            );
            drop(permit);
            settle().await;
        }
        queue.push(99).unwrap();
    });
}

/// The waiter goes before or after its turn came.
#[test]
fn a_cancelled_waiter_passes_its_turn_on() {
    paused(async || {
        for served_first in [false, true] {
            let (queue, sink) = full(1).await;
            let mut waiting = waiters(&queue, 3);
            if served_first {
                sink.release();
                settle().await;
            }
            drop(waiting.remove(0));
            drop(waiting.remove(0));
            sink.release();
            settle().await;
            let last = waiting.remove(0).await.unwrap();
            last.push(item(0, 1)).unwrap();
            queue.flush().await.unwrap();
            assert_eq!(sink.delivered(), [item(0, 0), item(0, 1)]);
        }
    });
}

/// It holds that room until it is used or returned.
#[test]
fn a_permit_is_room_for_one_item() {
    paused(async || {
        let sink = Recorder::held();
        let queue = Queue::builder()
            .capacity(4)
            .max_batch_size(3)
            .spawn(sink.clone())
            .unwrap();
        let mut permits = Vec::new();
        for _ in 0..4 {
            permits.push(queue.reserve().await.unwrap());
        }
        assert!(queue.push(item(0, 9)).unwrap_err().is_full());
        assert!(queue.is_empty(), "a permit is no item");
        for (n, permit) in permits.drain(..2).enumerate() {
            permit.push(item(0, n)).unwrap();
        }
        assert_eq!(queue.len(), 2);
        assert!(queue.push(item(0, 9)).unwrap_err().is_full());
        permits.clear();
        settle().await;
        queue.push(item(0, 2)).unwrap();
        queue.push(item(0, 3)).unwrap();
        assert!(queue.push(item(0, 9)).unwrap_err().is_full());
        sink.release();
        sink.received(4).await;
        sink.assert_ordered();
        finish(queue, &sink).await;
    });
}

/// The waiter does not wait for the delay.
#[test]
fn a_waiter_makes_the_queue_send() {
    paused(async || {
        let sink = Recorder::ok();
        let queue = Queue::builder()
            .capacity(100)
            .max_batch_size(None)
            .max_delay(HOUR)
            .spawn(sink.clone())
            .unwrap();
        for round in 0..5 {
            for n in 0..100 {
                queue.push(item(0, round * 101 + n)).unwrap();
            }
            let begin = tokio::time::Instant::now();
            queue
                .reserve()
                .await
                .unwrap()
                .push(item(0, round * 101 + 100))
                .unwrap();
            assert!(begin.elapsed() < HOUR);
            queue.flush().await.unwrap();
        }
        finish(queue, &sink).await;
    });
}

/// A permit that is not used yet can push no more, and does not hold up the shutdown.
#[test]
fn closing_ends_every_wait() {
    paused(async || {
        let (queue, sink) = full(1).await;
        let mut waiting = waiters(&queue, 3);
        sink.release();
        let permit = waiting.remove(0).await.unwrap();
        queue.close();
        for waiter in waiting {
            assert!(waiter.await.is_err_and(|error| error.is_closed()));
        }
        let report = queue.shutdown(HOUR).await;
        assert!(report.is_complete());
        assert!(permit.push(1).unwrap_err().is_closed());
        assert_adds_up(&queue.shutdown(HOUR).await);
    });
}

/// Other threads push whenever there is room.
#[test]
fn waiters_do_not_starve() {
    threaded(2, async || {
        let queue: Queue<u64> = Queue::builder()
            .capacity(2)
            .max_batch_size(2)
            .max_delay(HOUR)
            .spawn(Recorder::ok())
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let pushers = [0, 1].map(|_| {
            let (queue, stop) = (queue.clone(), stop.clone());
            thread::spawn(move || {
                while !stop.load(SeqCst) {
                    let _ = queue.push(0);
                }
            })
        });
        for _ in 0..20 {
            queue.reserve().await.unwrap().push(1).unwrap();
        }
        stop.store(true, SeqCst);
        for pusher in pushers {
            pusher.join().unwrap();
        }
        assert!(queue.shutdown(secs(30)).await.is_complete());
    });
}

/// Tasks wait for room and give up at random.
#[test]
fn waiters_that_give_up_leave_the_queue_whole() {
    paused(async || {
        let sink = Recorder::new(Step::Slow(ms(3)));
        let queue: Queue<u64> = Queue::builder()
            .capacity(5)
            .max_batch_size(2)
            .max_delay(ms(1))
            .spawn(sink.clone())
            .unwrap();
        let accepted = Arc::new(Mutex::new(0));
        let tasks: Vec<_> = (0..200)
            .map(|n| {
                let (queue, accepted) = (queue.clone(), accepted.clone());
                tokio::spawn(async move {
                    let patience = ms(n % 37);
                    let permit = tokio::time::timeout(patience, queue.reserve()).await;
                    if let (Ok(permit), true) = (permit, n % 5 != 0) {
                        permit.unwrap().push(n).unwrap();
                        *lock(&accepted) += 1;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        queue.flush().await.unwrap();
        assert_eq!(sink.delivered().len(), *lock(&accepted));
        for n in 1000..1005 {
            queue.push(n).unwrap();
        }
        assert!(queue.push(0).unwrap_err().is_full());
        finish(queue, &sink).await;
    });
}
