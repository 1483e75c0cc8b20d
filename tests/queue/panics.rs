//! C8: a panic in the sink, in a closure or in an item's `Drop` reaches nobody else.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use swaplane::{Batch, Queue, Sink, SinkError};

use crate::common::{
    HOUR, Recorder, Step, assert_adds_up, assert_conserved, finish, item, lock, ms, numbers,
    paused, secs, settle, steady_queue, threaded,
};

/// C8: a panic is a failed attempt, whether in the future or before there is one.
#[test]
fn panics_are_failed_attempts() {
    struct Early(AtomicUsize, Recorder);
    impl Sink<u64> for Early {
        fn send(&self, batch: Batch<u64>) -> impl Future<Output = Result<(), SinkError>> + Send {
            if self.0.fetch_add(1, SeqCst) < 2 {
                std::panic::resume_unwind(Box::new("before the future"));
            }
            self.1.send(batch)
        }
    }
    paused(async || {
        let sink = Recorder::script([Step::Panic, Step::Panic]);
        let queue = steady_queue()
            .spawn(Early(AtomicUsize::new(0), sink.clone()))
            .unwrap();
        queue.push_all(numbers(0..10)).unwrap();
        queue.flush().await.unwrap();
        let numbers: Vec<_> = sink
            .attempts()
            .iter()
            .map(|attempt| attempt.number)
            .collect();
        assert_eq!(numbers, [3, 4, 5]);
        assert_eq!(queue.stats().attempts, 5);
        finish(queue, &sink).await;
    });
}

/// C8: the queue goes on.
#[test]
fn a_sink_that_always_panics_loses_only_its_batches() {
    paused(async || {
        let sink = Recorder::new(Step::Panic);
        let queue = steady_queue()
            .retry(|attempt: u32, _: &SinkError| (attempt < 3).then_some(secs(1)))
            .spawn(sink.clone())
            .unwrap();
        queue.push_all(numbers(0..10)).unwrap();
        assert_eq!(queue.flush().await.unwrap_err().lost, 10);
        assert_eq!(sink.count(), 3);
        sink.otherwise(Step::Ok);
        queue.push_all(numbers(0..10)).unwrap();
        queue.flush().await.ok();
        assert_eq!(sink.delivered(), numbers(0..10));
        let report = queue.shutdown(HOUR).await;
        assert_adds_up(&report);
        assert_eq!((report.delivered, report.lost), (10, 10));
    });
}

/// C8: the future of the sink panics when it is dropped at its timeout.
#[test]
fn an_attempt_that_panics_when_it_is_cancelled_stops_nothing() {
    struct Grenade;
    impl Drop for Grenade {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("dropped"));
        }
    }
    paused(async || {
        let tried = Arc::new(AtomicUsize::new(0));
        let counter = tried.clone();
        let queue = steady_queue()
            .spawn_fn(move |batch| {
                let first = counter.fetch_add(1, SeqCst) == 0;
                async move {
                    if first {
                        let _grenade = Grenade;
                        std::future::pending::<()>().await;
                    }
                    drop(batch);
                    Ok(())
                }
            })
            .unwrap();
        queue.push_all(numbers(0..10)).unwrap();
        queue.flush().await.unwrap();
        assert_eq!(tried.load(SeqCst), 2);
    });
}

/// C8: a panic in a blocking closure is a failed attempt like any other.
#[test]
fn panics_in_blocking_closures_are_failed_attempts() {
    threaded(1, async || {
        let tried = Arc::new(AtomicUsize::new(0));
        let counter = tried.clone();
        let queue = steady_queue()
            .retry(|_: u32, _: &SinkError| Some(ms(1)))
            .spawn_blocking_fn(move |rows: &[u64]| {
                assert_eq!(rows, numbers(0..10));
                match counter.fetch_add(1, SeqCst) {
                    0 => std::panic::resume_unwind(Box::new("scripted")),
                    1 => Err("scripted".into()),
                    _ => Ok(()),
                }
            })
            .unwrap();
        queue.push_all(numbers(0..10)).unwrap();
        queue.flush().await.unwrap();
        assert_eq!(tried.load(SeqCst), 3);
        assert!(queue.shutdown(secs(30)).await.is_complete());
    });
}

/// C8: what an attempt fails with panics when it is shown and when it is dropped.
#[test]
fn errors_that_panic_stop_nothing() {
    #[derive(Debug)]
    struct Sour;
    impl fmt::Display for Sour {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            std::panic::resume_unwind(Box::new("shown"));
        }
    }
    impl std::error::Error for Sour {}
    impl Drop for Sour {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("dropped"));
        }
    }
    for step in [Step::Fail, Step::Panic] {
        paused(async move || {
            let _all_is_shown = tracing::subscriber::set_default(Shows);
            let queue = steady_queue()
                .retry(|attempt: u32, _: &SinkError| (attempt < 3).then_some(secs(1)))
                .spawn_fn(move |batch| async move {
                    match step {
                        _ if batch[0] == item(0, 0) && batch.attempt() == 2 => Ok(()),
                        Step::Fail => Err(Sour.into()),
                        _ => std::panic::resume_unwind(Box::new(Sour)),
                    }
                })
                .unwrap();
            queue.push_all(numbers(0..10)).unwrap();
            queue.flush().await.unwrap();
            queue.push_all(numbers(10..20)).unwrap();
            assert_eq!(queue.flush().await.unwrap_err().lost, 10);
            assert_eq!(queue.stats().attempts, 5);
            let report = queue.shutdown(HOUR).await;
            assert_adds_up(&report);
            assert_eq!((report.delivered, report.lost), (10, 10));
        });
    }
}

/// Takes every event, and formats each of its fields.
struct Shows;

impl tracing::Subscriber for Shows {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut |_: &tracing::field::Field, value: &dyn fmt::Debug| {
            assert!(!format!("{value:?}").is_empty());
        });
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// C8: every item has its outcome.
#[test]
fn a_retry_closure_that_panics_stops_nothing() {
    paused(async || {
        let sink = Recorder::script([Step::Fail]);
        let queue = steady_queue()
            .retry(|_: u32, _: &SinkError| std::panic::resume_unwind(Box::new("policy")))
            .spawn(sink.clone())
            .unwrap();
        queue.push_all(numbers(0..10)).unwrap();
        let _ = queue.flush().await;
        queue.push_all(numbers(10..20)).unwrap();
        let _ = queue.flush().await;
        assert_conserved(&queue.stats());
        assert!(queue.is_empty());
        assert!(sink.delivered().ends_with(&[item(0, 18), item(0, 19)]));
    });
}

/// C8: the other items of their batch are delivered.
#[test]
fn items_that_panic_when_dropped_stop_nothing() {
    /// What an item panics with panics when it is dropped.
    struct Splinter;
    impl Drop for Splinter {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("splinter"));
        }
    }
    struct Mine(u64);
    impl Drop for Mine {
        fn drop(&mut self) {
            // One batch has several of them.
            if self.0 % 5 >= 2 {
                std::panic::resume_unwind(Box::new(Splinter));
            }
        }
    }
    paused(async || {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let queue = Queue::builder()
            .max_batch_size(4)
            .retry(swaplane::Retry::never())
            .spawn_fn(move |batch: Batch<Mine>| {
                let mut log = lock(&log);
                log.extend(batch.iter().map(|mine| mine.0));
                let fails = log.len() % 8 == 0;
                async move {
                    if fails {
                        Err("scripted".into())
                    } else {
                        Ok(())
                    }
                }
            })
            .unwrap();
        for round in 0..3 {
            for n in 0..20 {
                queue.push(Mine(round * 20 + n)).unwrap();
            }
            let _ = queue.flush().await;
        }
        settle().await;
        assert_eq!(*lock(&seen), (0..60).collect::<Vec<_>>());
        assert_conserved(&queue.stats());
        assert!(queue.is_empty());
    });
}
