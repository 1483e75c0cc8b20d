//! C6: a flush ends when everything pushed before has its outcome, and reports the losses.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use swaplane::{Builder, Queue, Retry, SinkError};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::common::{
    HOUR, Recorder, Rng, Step, block_on, finish, item, ms, one_thread, paused, poll_once, scaled,
    secs, settle, steady_queue, threaded, watched,
};

fn slow_queue() -> Builder<Queue<u64>> {
    steady_queue().attempt_timeout(10 * HOUR)
}

/// Nothing is sent.
#[test]
fn a_flush_of_an_empty_queue_ends_at_once() {
    paused(async || {
        let sink = Recorder::ok();
        let queue: Queue<u64> = slow_queue().spawn(sink.clone()).unwrap();
        let begin = Instant::now();
        for _ in 0..3 {
            queue.flush().await.unwrap();
        }
        assert_eq!((begin.elapsed(), sink.count()), (Duration::ZERO, 0));
    });
}

/// A flush does not end while its items are with the sink, and ends when the sink is done.
#[test]
fn a_flush_waits_for_the_sink() {
    paused(async || {
        let sink = Recorder::held();
        let queue = slow_queue().spawn(sink.clone()).unwrap();
        queue.push_all(0..25).unwrap();
        let mut flush = pin!(queue.flush());
        for _ in 0..5 {
            assert!(poll_once(flush.as_mut()).is_pending());
            settle().await;
        }
        sink.release();
        flush.await.unwrap();
        assert_eq!(sink.delivered(), (0..25).collect::<Vec<_>>());
    });
}

/// A flush does not wait for what is pushed after it began.
#[test]
fn a_flush_does_not_wait_for_later_items() {
    paused(async || {
        let sink = Recorder::script([Step::Ok, Step::Hang]);
        let queue = slow_queue().spawn(sink.clone()).unwrap();
        queue.push_all(0..10).unwrap();
        let mut flush = pin!(queue.flush());
        assert!(poll_once(flush.as_mut()).is_pending());
        sink.received(10).await;
        queue.push_all(10..20).unwrap();
        sink.begun(2).await;
        let begin = Instant::now();
        flush.await.unwrap();
        assert!(begin.elapsed() < HOUR);
        assert_eq!(queue.len(), 10);
    });
}

/// A flush waits through retries and reports success if they succeed in the end.
#[test]
fn a_flush_waits_through_retries() {
    paused(async || {
        let sink = Recorder::script([Step::Fail, Step::Panic, Step::Fail]);
        let queue = slow_queue().spawn(sink.clone()).unwrap();
        queue.push_all([1, 2]).unwrap();
        let begin = Instant::now();
        queue.flush().await.unwrap();
        assert!(begin.elapsed() >= secs(3));
        assert_eq!(sink.delivered(), [1, 2]);
    });
}

/// A flush says how many items were lost meanwhile, also where others were delivered.
#[test]
fn a_flush_reports_what_was_lost() {
    paused(async || {
        let sink = Recorder::script([Step::Ok, Step::Reject, Step::Ok]);
        let queue = slow_queue()
            .retry(Retry::never())
            .spawn(sink.clone())
            .unwrap();
        queue.push_all(0..25).unwrap();
        let error = queue.flush().await.unwrap_err();
        assert_eq!((error.lost, error.returned, error.held), (10, 0, 0));
        assert_eq!(error.undelivered(), 10);
        assert!(!error.to_string().is_empty());
        assert_eq!(sink.delivered().len(), 15);
    });
}

/// What is held when the flush is called counts, also if it is lost before the flusher takes the
/// request.
#[test]
fn a_flush_reports_what_is_lost_just_then() {
    paused(async || {
        let fail = Arc::new(Notify::new());
        let told = fail.clone();
        let queue = slow_queue()
            .retry(Retry::never())
            .spawn_fn(move |batch| {
                let told = told.clone();
                async move {
                    let _batch = batch;
                    told.notified().await;
                    Err("scripted".into())
                }
            })
            .unwrap();
        queue.push_all(0..10).unwrap();
        settle().await;
        fail.notify_one();
        assert_eq!(queue.len(), 10);
        let error = queue.flush().await.unwrap_err();
        assert_eq!((error.lost, error.undelivered()), (10, 10));
    });
}

/// Each flush covers its own items.
#[test]
fn many_flushes_at_once_all_end() {
    paused(async || {
        let sink = Recorder::held();
        let queue = slow_queue().spawn(sink.clone()).unwrap();
        let mut flushes = Vec::new();
        for n in 0..50 {
            queue.push(n).unwrap();
            let queue = queue.clone();
            flushes.push(tokio::spawn(async move { queue.flush().await }));
            if n % 7 == 0 {
                settle().await;
            }
        }
        settle().await;
        assert!(flushes.iter().all(|flush| !flush.is_finished()));
        sink.release();
        for flush in flushes {
            flush.await.unwrap().unwrap();
        }
        assert_eq!(sink.delivered(), (0..50).collect::<Vec<_>>());
        finish(queue, &sink).await;
    });
}

/// A flush that is dropped, polled or not, takes nothing with it and blocks no other.
#[test]
fn a_dropped_flush_is_harmless() {
    paused(async || {
        let sink = Recorder::held();
        let queue = slow_queue().spawn(sink.clone()).unwrap();
        queue.push_all(0..5).unwrap();
        drop(queue.flush());
        {
            let mut flush = pin!(queue.flush());
            assert!(poll_once(flush.as_mut()).is_pending());
            settle().await;
            assert!(poll_once(flush.as_mut()).is_pending());
        }
        sink.release();
        queue.flush().await.unwrap();
        assert_eq!(sink.delivered(), (0..5).collect::<Vec<_>>());
        finish(queue, &sink).await;
    });
}

/// It covers keyed and unkeyed items, those of writers and those of permits.
#[test]
fn a_flush_covers_every_kind_of_push() {
    paused(async || {
        let sink = Recorder::ok();
        let queue = slow_queue()
            .partitions(4)
            .max_in_flight(4)
            .spawn(sink.clone())
            .unwrap();
        let mut writers: Vec<_> = (0..5).map(|_| queue.writer()).collect();
        for round in 1..6 {
            queue.push(round).unwrap();
            for key in 0..5 {
                queue.push_keyed(&key, round * 100 + key).unwrap();
            }
            for (n, writer) in writers.iter_mut().enumerate() {
                writer.push(round * 1000 + n as u64).unwrap();
            }
            queue.reserve().await.unwrap().push(round * 10_000).unwrap();
            queue.flush().await.unwrap();
            assert_eq!(sink.delivered().len() as u64, round * 12);
            assert!(queue.is_empty());
        }
    });
}

/// A thread that has pushed and then flushed finds its item delivered. Many threads do so at once.
#[test]
fn a_flush_covers_the_pushes_of_its_thread() {
    for in_flight in [1, 3] {
        threaded(2, async move || {
            let mut rng = Rng::new(in_flight as u64);
            let sink = Recorder::choosing(move || match rng.below(4) {
                0 => Step::Fail,
                _ => Step::Ok,
            });
            let queue = Queue::builder()
                .max_in_flight(in_flight)
                .max_batch_size(16)
                .max_delay(HOUR)
                .retry(|_: u32, _: &SinkError| Some(Duration::ZERO))
                .spawn(sink.clone())
                .unwrap();
            thread::scope(|scope| {
                for producer in 0..4 {
                    let (queue, sink) = (&queue, &sink);
                    scope.spawn(move || {
                        for n in 0..scaled(60, 5) {
                            queue.push(item(producer, n)).unwrap();
                            queue.flush_blocking().unwrap();
                            assert!(sink.delivered().contains(&item(producer, n)));
                        }
                    });
                }
            });
            sink.assert_ordered();
            finish(queue, &sink).await;
        });
    }
}

#[test]
fn a_flush_after_close_waits_for_what_was_accepted() {
    paused(async || {
        let sink = Recorder::held();
        let queue = slow_queue().spawn(sink.clone()).unwrap();
        queue.push_all(0..5).unwrap();
        queue.close();
        let mut flush = pin!(queue.flush());
        settle().await;
        assert!(poll_once(flush.as_mut()).is_pending());
        sink.release();
        flush.await.unwrap();
        assert_eq!(sink.delivered().len(), 5);
    });
}

/// A flush that waits when a shutdown reaches its deadline ends, and counts what was returned.
#[test]
fn a_flush_ends_with_the_shutdown() {
    paused(async || {
        let sink = Recorder::new(Step::Hang);
        let queue = slow_queue().spawn(sink.clone()).unwrap();
        queue.push_all(0..25).unwrap();
        let mut flush = pin!(queue.flush());
        assert!(poll_once(flush.as_mut()).is_pending());
        let report = queue.shutdown(secs(5)).await;
        assert_eq!(report.returned.len(), 25);
        let result = tokio::time::timeout(secs(1), flush).await;
        let error = result.expect("the flush has to end").unwrap_err();
        assert_eq!(error.undelivered(), 25);
    });
}

/// It is called while the shutdown takes back what the sink has.
#[test]
fn a_flush_called_at_the_deadline_counts_what_is_returned() {
    paused(async || {
        let queue = slow_queue().spawn(Recorder::new(Step::Hang)).unwrap();
        queue.push_all(0..25).unwrap();
        settle().await;
        let other = queue.clone();
        let shutdown = tokio::spawn(async move { other.shutdown(secs(1)).await });
        settle().await;
        tokio::time::sleep(secs(1)).await;
        let mut answers = Vec::new();
        while !queue.is_empty() {
            let other = queue.clone();
            answers.push(tokio::spawn(async move { other.flush().await }));
            tokio::task::yield_now().await;
        }
        assert_eq!(shutdown.await.unwrap().returned.len(), 25);
        assert!(!answers.is_empty());
        for answer in answers {
            assert_eq!(answer.await.unwrap().unwrap_err().undelivered(), 25);
        }
    });
}

/// It waits when the runtime goes. The shutdown returns the items before the flush is polled again.
#[test]
fn a_flush_polled_after_the_shutdown_counts_what_was_returned() {
    watched(|| {
        let runtime = one_thread();
        let inside = runtime.enter();
        let queue = slow_queue().spawn(Recorder::ok()).unwrap();
        drop(inside);
        queue.push_all(0..10).unwrap();
        let mut flush = pin!(queue.flush());
        assert!(poll_once(flush.as_mut()).is_pending());
        drop(runtime);
        assert_eq!(queue.shutdown_blocking(secs(1)).returned.len(), 10);
        let error = block_on(flush).unwrap_err();
        assert_eq!((error.lost, error.returned, error.held), (0, 10, 0));
    });
}

#[test]
fn a_flush_after_the_shutdown_ends_at_once() {
    paused(async || {
        let sink = Recorder::ok();
        let queue = slow_queue().spawn(sink.clone()).unwrap();
        queue.push_all(0..5).unwrap();
        assert!(queue.shutdown(HOUR).await.is_complete());
        let begin = Instant::now();
        queue.flush().await.unwrap();
        assert_eq!(begin.elapsed(), Duration::ZERO);
    });
}

/// The sink waits for itself. Nothing else is harmed.
#[test]
fn a_sink_that_flushes_its_own_queue_ends_at_its_timeout() {
    paused(async || {
        let (give, take) = std::sync::mpsc::channel::<Queue<u64>>();
        let take = std::sync::Mutex::new(take);
        let tried = Arc::new(AtomicUsize::new(0));
        let counter = tried.clone();
        let queue = slow_queue()
            .attempt_timeout(secs(10))
            .retry(|_: u32, _: &SinkError| Some(ms(1)))
            .spawn_fn(move |batch| {
                let own = (counter.fetch_add(1, SeqCst) == 0)
                    .then(|| crate::common::lock(&take).recv().unwrap());
                async move {
                    if let Some(queue) = own {
                        let _ = queue.flush().await;
                    }
                    drop(batch);
                    Ok(())
                }
            })
            .unwrap();
        give.send(queue.clone()).unwrap();
        queue.push(1).unwrap();
        queue.flush().await.unwrap();
        assert!((1..=2).contains(&tried.load(SeqCst)));
        assert!(queue.shutdown(HOUR).await.is_complete());
    });
}

/// Callers that ask while the sink is busy share a batch, though each asks at another time.
#[test]
fn many_callers_need_few_batches() {
    paused(async || {
        let sink = Recorder::new(Step::Slow(ms(20)));
        let queue = slow_queue()
            .max_batch_size(500)
            .spawn(sink.clone())
            .unwrap();
        let begun = Instant::now();
        let mut callers = Vec::new();
        for n in 0..500 {
            let queue = queue.clone();
            callers.push(tokio::spawn(async move {
                queue.push(n).unwrap();
                queue.flush().await.unwrap();
            }));
            settle().await;
        }
        for caller in callers {
            caller.await.unwrap();
        }
        assert!(sink.count() <= 5, "{:?}", sink.sizes());
        assert!(begun.elapsed() <= ms(125));
    });
}

/// The flushes of an outage leave no batches of one behind.
#[test]
fn flushes_of_an_outage_make_no_small_batches() {
    paused(async || {
        let sink = Recorder::new(Step::Fail);
        let queue = slow_queue()
            .max_batch_size(1000)
            .retry(|_: u32, _: &SinkError| Some(HOUR))
            .spawn(sink.clone())
            .unwrap();
        for n in 0..2000 {
            queue.push(n).unwrap();
            let mut flush = pin!(queue.flush());
            assert!(poll_once(flush.as_mut()).is_pending());
            settle().await;
        }
        sink.otherwise(Step::Ok);
        queue.flush().await.unwrap();
        let batches = queue.stats().batches;
        assert!(batches <= 5, "{batches} batches");
    });
}

/// A caller who waits for the flush before its own learns of what was lost since the call.
#[test]
fn who_joins_a_flush_learns_of_its_losses() {
    paused(async || {
        let sink = Recorder::script([Step::Fail, Step::Fail]);
        let queue = slow_queue()
            .retry(|attempt: u32, _: &SinkError| (attempt < 2).then_some(HOUR))
            .spawn(sink.clone())
            .unwrap();
        queue.push_all(0..10).unwrap();
        sink.begun(1).await;
        settle().await;
        tokio::time::advance(secs(1)).await;
        // The first flush ends the pause, and the batch is lost.
        sink.hold();
        let flush = || {
            let queue = queue.clone();
            tokio::spawn(async move { queue.flush().await })
        };
        let first = flush();
        sink.begun(2).await;
        let second = flush();
        settle().await;
        sink.release();
        for flush in [first, second] {
            assert_eq!(flush.await.unwrap().unwrap_err().lost, 10);
        }
    });
}
