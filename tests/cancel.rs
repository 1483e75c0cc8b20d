//! Cancellation: every public future dropped at every poll, and the queue of those who wait.
#![cfg(not(swaplane_loom))]

mod common;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::Poll;
use std::thread;

use common::{
    HOUR, Ledger, Recorder, Step, Token, assert_adds_up, assert_conserved, finish, item, lock, ms,
    paused, poll_once, secs, settle, threaded,
};
use swaplane::{Builder, Permit, Queue, ReserveError, Retry, SinkError};
use tokio::time::advance;

/// More polls than any future of these scenarios needs.
const POLLS: usize = 24;

/// Polls up to `polls` times, with `between` after each, then drops the future.
async fn poll_and_drop<F: Future>(
    future: F,
    polls: usize,
    mut between: impl AsyncFnMut(),
) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = poll_once(future.as_mut()) {
            return Some(output);
        }
        between().await;
    }
    None
}

/// Something happens between two polls: a little time, a few steps of the other tasks, or both.
async fn a_little(seed: usize) {
    match seed % 3 {
        0 => tokio::task::yield_now().await,
        1 => advance(ms(40)).await,
        _ => settle().await,
    }
}

fn retrying<T: Send + 'static>() -> Builder<T> {
    Queue::builder()
        .max_batch_size(10)
        .max_delay(HOUR)
        .attempt_timeout(secs(1))
        .retry(|_: u32, _: &SinkError| Some(ms(100)))
}

/// C6: a flush dropped at any poll loses and repeats nothing.
#[test]
fn flush_dropped_at_every_poll() {
    paused(async || {
        for seed in 0..3 {
            for polls in 0..POLLS {
                let sink = Recorder::script([Step::Fail, Step::Hang, Step::Panic]);
                let queue = retrying().spawn(sink.clone()).unwrap();
                for n in 0..25 {
                    queue.push(item(0, n)).unwrap();
                }
                let _ = poll_and_drop(queue.flush(), polls, async || a_little(seed).await).await;
                for n in 25..30 {
                    queue.push(item(0, n)).unwrap();
                }
                queue.flush().await.unwrap();
                assert_conserved(&queue.stats());
                sink.assert_ordered();
                assert_eq!(sink.delivered().len(), 30);
                finish(queue, &sink).await;
            }
        }
    });
}

/// C5: a reservation dropped at any poll, or turned into a permit that is dropped, costs no room.
#[test]
fn reserve_dropped_at_every_poll() {
    paused(async || {
        for seed in 0..3 {
            for polls in 0..POLLS {
                let sink = Recorder::script([Step::Fail, Step::Hang]);
                let queue = retrying().capacity(13).spawn(sink.clone()).unwrap();
                for n in 0..13 {
                    queue.push(item(0, n)).unwrap();
                }
                let permit = poll_and_drop(queue.reserve(), polls, async || a_little(seed).await);
                drop(permit.await);
                queue.flush().await.unwrap();
                for n in 13..26 {
                    queue.push(item(0, n)).unwrap();
                }
                assert!(
                    queue.push(0).unwrap_err().is_full(),
                    "room was made from nothing"
                );
                finish(queue, &sink).await;
            }
        }
    });
}

/// C1, C7: a shutdown dropped at any poll leaves the rest to the next one, and nothing is lost.
#[test]
fn shutdown_dropped_at_every_poll() {
    paused(async || {
        for seed in 0..3 {
            for polls in 0..POLLS {
                let ledger = Ledger::new(1, 25);
                let sink = Recorder::script([Step::Ok, Step::Hang, Step::Fail, Step::Hang]);
                let queue: Queue<Token> = retrying().spawn(sink.clone()).unwrap();
                for n in 0..25 {
                    ledger.note(item(0, n), queue.push(ledger.token(0, n)).is_ok());
                }
                sink.begun(2).await;
                let shutdown = queue.shutdown(ms(300));
                let first = poll_and_drop(shutdown, polls, async || a_little(seed).await).await;
                if polls > 0 {
                    assert!(queue.is_closed());
                }
                let report = match first {
                    Some(report) => {
                        assert_eq!(queue.shutdown(HOUR).await.returned.len(), 0);
                        report
                    }
                    None => queue.shutdown(ms(300)).await,
                };
                assert_eq!(report.lost, 0);
                ledger.assert_settled(&sink, &report);
                assert_conserved(&queue.stats());
                drop((queue, report));
                settle().await;
                ledger.assert_all_dropped();
            }
        }
    });
}

/// A queue of the given capacity that is full, and whose sink holds everything.
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

/// Starts `n` reservations, in order; all have to wait.
fn waiters(queue: &Queue<u64>, n: usize) -> Vec<Waiter<'_>> {
    let mut waiters: Vec<Waiter<'_>> = Vec::new();
    for _ in 0..n {
        waiters.push(Box::pin(queue.reserve()));
        assert!(poll_once(waiters.last_mut().unwrap().as_mut()).is_pending());
    }
    waiters
}

/// Waiters are served in the order in which they came, one for each room.
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
        }
        queue.push(99).unwrap();
    });
}

/// A waiter that is gone, before or after its turn came, passes its turn on.
#[test]
fn cancelled_waiters_pass_on() {
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

/// A permit is room for exactly one item, used or returned.
#[test]
fn permits_hold_room() {
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
        queue.push(item(0, 2)).unwrap();
        queue.push(item(0, 3)).unwrap();
        assert!(queue.push(item(0, 9)).unwrap_err().is_full());
        sink.release();
        sink.received(4).await;
        sink.assert_ordered();
        finish(queue, &sink).await;
    });
}

/// A waiter makes the queue send what waits, instead of waiting for the delay itself.
#[test]
fn a_waiter_triggers_a_flush() {
    paused(async || {
        let sink = Recorder::ok();
        let queue = Queue::builder()
            .capacity(100)
            .max_batch_size(usize::MAX)
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

/// Closing ends every wait, and a permit that is still out neither pushes nor delays the end.
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

/// A waiter does not starve behind threads that push whenever there is room.
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

/// Tasks that wait for room and give up at random leave a queue that is whole.
#[test]
fn many_waiters_that_give_up() {
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
                    if let Ok(permit) = tokio::time::timeout(patience, queue.reserve()).await
                        && n % 5 != 0
                    {
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
