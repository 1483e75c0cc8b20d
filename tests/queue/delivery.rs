//! One batch in flight: attempts, timeouts, retries, and who has the items meanwhile.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use swaplane::{Batch, Queue, SinkError};
use tokio::time::sleep;

use crate::common::{
    Attempt, HOUR, Recorder, Step, assert_took, eventually, finish, lock, ms, numbers, paused,
    secs, steady_queue, threaded,
};

/// Checks that these are attempts 1, 2, … at the same batch of ten.
#[track_caller]
fn assert_one_batch(attempts: &[Attempt]) {
    for (index, attempt) in attempts.iter().enumerate() {
        assert_eq!(attempt.batch, attempts[0].batch, "the id changed");
        assert_eq!(
            attempt.number as usize,
            index + 1,
            "attempts are counted from one"
        );
        assert_eq!(attempt.items, numbers(0..10), "the items changed");
    }
}

/// The attempt is cancelled and counts as failed. Then the batch is tried again.
#[test]
fn a_hanging_attempt_ends_at_its_timeout() {
    paused(async || {
        let sink = Recorder::script([Step::Hang, Step::Hang]);
        let queue = steady_queue().spawn(sink.clone()).unwrap();
        queue.push_all(numbers(0..10)).unwrap();
        queue.flush().await.unwrap();
        let attempts = sink.attempts();
        assert_one_batch(&attempts);
        assert_eq!(attempts.len(), 3);
        assert_took(attempts[1].at - attempts[0].at, secs(11));
        assert_took(attempts[2].at - attempts[1].at, secs(11));
        assert_eq!(sink.most_running(), 1);
        finish(queue, &sink).await;
    });
}

/// An attempt that ends just within its timeout is not cut off.
#[test]
fn a_slow_attempt_within_its_timeout_is_fine() {
    paused(async || {
        let sink = Recorder::new(Step::Slow(ms(9_900)));
        let queue = steady_queue().spawn(sink.clone()).unwrap();
        queue.push_all(numbers(0..10)).unwrap();
        queue.flush().await.unwrap();
        assert_eq!(sink.count(), 1);
        finish(queue, &sink).await;
    });
}

/// C1: a sink that gives its batch back at once is judged by its result.
#[test]
fn dropping_the_batch_early_decides_nothing() {
    paused(async || {
        let tried = Arc::new(AtomicUsize::new(0));
        let counter = tried.clone();
        let queue = steady_queue()
            .spawn_fn(move |batch| {
                let number = counter.fetch_add(1, SeqCst) + 1;
                assert_eq!((batch.attempt() as usize, batch.len()), (number, 10));
                async move {
                    drop(batch);
                    sleep(ms(5)).await;
                    if number < 3 {
                        Err("scripted".into())
                    } else {
                        Ok(())
                    }
                }
            })
            .unwrap();
        queue.push_all(numbers(0..10)).unwrap();
        queue.flush().await.unwrap();
        assert_eq!(tried.load(SeqCst), 3);
        assert!(queue.shutdown(HOUR).await.is_complete());
    });
}

/// C1: taking the items makes the attempt final: `Ok` delivers them.
#[test]
fn taken_items_are_delivered_by_ok() {
    paused(async || {
        let sink = Recorder::script([Step::Take]);
        let queue = steady_queue().spawn(sink.clone()).unwrap();
        queue.push_all(numbers(0..10)).unwrap();
        queue.flush().await.unwrap();
        assert_eq!(sink.count(), 1);
        finish(queue, &sink).await;
    });
}

/// C1: taking the items makes the attempt final: an error, a panic or a timeout loses them.
#[test]
fn taken_items_are_lost_by_failure() {
    paused(async || {
        for how in 0..3 {
            let tried = Arc::new(AtomicUsize::new(0));
            let counter = tried.clone();
            let queue = steady_queue()
                .spawn_fn(move |batch| {
                    counter.fetch_add(1, SeqCst);
                    async move {
                        assert_eq!(batch.into_vec(), numbers(0..10));
                        match how {
                            0 => Err("scripted".into()),
                            1 => std::panic::resume_unwind(Box::new("scripted")),
                            _ => std::future::pending().await,
                        }
                    }
                })
                .unwrap();
            queue.push_all(numbers(0..10)).unwrap();
            let error = queue.flush().await.unwrap_err();
            assert_eq!((error.lost, error.returned, error.held), (10, 0, 0));
            assert_eq!(error.undelivered(), 10);
            assert_eq!(tried.load(SeqCst), 1, "tried again without the items");
            let report = queue.shutdown(HOUR).await;
            assert_eq!((report.delivered, report.lost), (0, 10));
            assert!(!report.is_complete());
        }
    });
}

/// C4: a detached task keeps the batch of a failed attempt. The next attempt waits for it.
#[test]
fn a_retry_waits_until_the_batch_is_back() {
    paused(async || {
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::new(AtomicBool::new(false));
        let (seen, keeper) = (log.clone(), kept.clone());
        let queue = steady_queue()
            .spawn_fn(move |batch: Batch<u64>| {
                assert!(
                    !keeper.load(SeqCst),
                    "sent while the last attempt still has it"
                );
                lock(&seen).push((tokio::time::Instant::now(), batch.id(), batch.attempt()));
                let kept = keeper.clone();
                async move {
                    if batch.attempt() > 1 {
                        return Ok(());
                    }
                    kept.store(true, SeqCst);
                    tokio::spawn(async move {
                        sleep(secs(5)).await;
                        kept.store(false, SeqCst);
                        drop(batch);
                    });
                    Err("failed, but the batch is still in use".into())
                }
            })
            .unwrap();
        queue.push_all(numbers(0..10)).unwrap();
        queue.flush().await.unwrap();
        let log = lock(&log);
        assert_eq!(log.len(), 2);
        assert_eq!((log[0].1, log[0].2, log[1].2), (log[1].1, 1, 2));
        assert!(log[1].0 - log[0].0 >= secs(5));
    });
}

/// C4: the attempt gives its batch back, then blocks its thread beyond its timeout.
#[test]
fn a_retry_waits_until_the_attempt_has_ended() {
    threaded(2, async || {
        let running = Arc::new(AtomicUsize::new(0));
        let tried = Arc::new(AtomicUsize::new(0));
        let (inside, counter) = (running.clone(), tried.clone());
        let overlaps = Arc::new(AtomicBool::new(false));
        let overlap = overlaps.clone();
        let queue = Queue::builder()
            .max_batch_size(10)
            .attempt_timeout(ms(20))
            .retry(|_: u32, _: &SinkError| Some(ms(1)))
            .spawn_fn(move |batch: Batch<u64>| {
                let (inside, overlap) = (inside.clone(), overlap.clone());
                counter.fetch_add(1, SeqCst);
                async move {
                    if inside.fetch_add(1, SeqCst) > 0 {
                        overlap.store(true, SeqCst);
                    }
                    let first = batch.attempt() == 1;
                    drop(batch);
                    if first {
                        thread::sleep(ms(200));
                    }
                    inside.fetch_sub(1, SeqCst);
                    // An attempt that is over its time is cancelled here.
                    tokio::task::yield_now().await;
                    Ok(())
                }
            })
            .unwrap();
        queue.push_all(numbers(0..10)).unwrap();
        queue.flush().await.unwrap();
        assert_eq!(tried.load(SeqCst), 2);
        eventually("all attempts end", || running.load(SeqCst) == 0);
        assert!(!overlaps.load(SeqCst), "two attempts at once");
        assert!(queue.shutdown(secs(30)).await.is_complete());
    });
}

/// C1, C4: a blocking closure outlives its timeout.
#[test]
fn an_overlong_blocking_attempt_never_overlaps_its_retry() {
    threaded(2, async || {
        let (finish_first, first_may_finish) = mpsc::channel::<()>();
        let first_may_finish = Mutex::new(first_may_finish);
        let tried = Arc::new(AtomicUsize::new(0));
        let running = Arc::new(AtomicUsize::new(0));
        let (counter, inside) = (tried.clone(), running.clone());
        let queue = Queue::builder()
            .max_batch_size(10)
            .attempt_timeout(ms(20))
            .retry(|_: u32, _: &SinkError| Some(ms(1)))
            .spawn_blocking_fn(move |rows: &[u64]| {
                assert_eq!(inside.fetch_add(1, SeqCst), 0, "two attempts at once");
                assert_eq!(rows, numbers(0..10));
                if counter.fetch_add(1, SeqCst) == 0 {
                    lock(&first_may_finish).recv().unwrap();
                    assert_eq!(
                        rows,
                        numbers(0..10),
                        "the rows changed under a late attempt"
                    );
                }
                inside.fetch_sub(1, SeqCst);
                Ok(())
            })
            .unwrap();
        queue.push_all(numbers(0..10)).unwrap();
        eventually("the first attempt begins", || tried.load(SeqCst) == 1);
        thread::sleep(ms(200));
        assert_eq!(
            tried.load(SeqCst),
            1,
            "retried while the first attempt has the rows"
        );
        assert_eq!(queue.len(), 10);
        finish_first.send(()).unwrap();
        queue.flush().await.unwrap();
        assert_eq!(running.load(SeqCst), 0);
        assert!(queue.shutdown(secs(30)).await.is_complete());
    });
}
