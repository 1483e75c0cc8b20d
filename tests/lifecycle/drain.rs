//! The drain hook: a shutdown offers everything that is left to the sink, in one batch.

use std::sync::{Arc, Mutex};

use swaplane::{Batch, Builder, Handled, Queue, Sink, SinkError};
use tokio::time::{Instant, sleep};

use crate::common::{
    HOUR, Ledger, Recorder, Step, Token, assert_adds_up, attempt_of, lock, ms, numbers, paused,
    secs, settle, threaded,
};
use crate::slow_queue;

/// What the hook does with the rest.
#[derive(Clone, Copy, PartialEq)]
enum Rest {
    Handle,
    Take,
    Decline,
    DeclineLate,
    Panic,
    Hang,
}

/// A sink that sends as its recorder says, and drains as `rest` says.
#[derive(Clone)]
struct Drainer {
    sender: Recorder,
    rest: Rest,
    drained: Arc<Mutex<Vec<Vec<u64>>>>,
}

impl Drainer {
    fn new(sender: Recorder, rest: Rest) -> Self {
        Self {
            sender,
            rest,
            drained: Arc::default(),
        }
    }

    fn drained(&self) -> Vec<Vec<u64>> {
        lock(&self.drained).clone()
    }
}

impl<T: crate::common::Id + Send + 'static> Sink<T> for Drainer {
    async fn send(&self, batch: Batch<T>) -> Result<(), SinkError> {
        self.sender.send(batch).await
    }

    async fn drain(&self, rest: Batch<T>) -> Handled {
        lock(&self.drained).push(attempt_of(&rest).items);
        match self.rest {
            Rest::Handle => return Handled::Yes,
            Rest::Take => drop(rest.into_vec()),
            Rest::Decline => return Handled::No,
            Rest::DeclineLate => {
                sleep(ms(100)).await;
                drop(rest);
                return Handled::No;
            }
            Rest::Panic => std::panic::resume_unwind(Box::new("scripted")),
            Rest::Hang => std::future::pending().await,
        }
        Handled::Yes
    }
}

/// A queue whose attempts may take longer than any of these tests lets them.
fn patient_queue<T: Send + 'static>() -> Builder<Queue<T>> {
    slow_queue().attempt_timeout(secs(100))
}

/// The hook gets everything in one batch, larger than any other.
#[test]
fn a_rest_that_is_handled_is_not_sent() {
    paused(async || {
        for rest in [Rest::Handle, Rest::Take] {
            let sink = Drainer::new(Recorder::held(), rest);
            let queue = patient_queue()
                .max_batch_size(100)
                .spawn(sink.clone())
                .unwrap();
            queue.push_all(0..35).unwrap();
            settle().await;
            let report = queue.shutdown(HOUR).await;
            assert_adds_up(&report);
            assert_eq!(sink.drained(), [numbers(0..35)]);
            assert_eq!(
                (sink.sender.count(), report.lost, report.returned.len()),
                (0, 0, 0)
            );
        }
    });
}

/// The rest may be larger than a batch may be.
#[test]
fn the_rest_is_one_batch_whatever_its_size() {
    paused(async || {
        let sink = Drainer::new(Recorder::script([Step::Hang]), Rest::Handle);
        let queue = patient_queue()
            .attempt_timeout(secs(1))
            .spawn(sink.clone())
            .unwrap();
        queue.push_all(0..1234).unwrap();
        sink.sender.begun(1).await;
        let report = queue.shutdown(HOUR).await;
        assert_adds_up(&report);
        assert!(sink.drained() == [numbers(0..1234)]);
        assert_eq!((report.lost, report.returned.len()), (0, 0));
    });
}

/// What leaves by size, delay, flush or close goes to `send`.
#[test]
fn the_hook_is_for_shutdowns_only() {
    paused(async || {
        let sink = Drainer::new(Recorder::ok(), Rest::Handle);
        let queue = patient_queue().spawn(sink.clone()).unwrap();
        queue.push_all(0..10).unwrap();
        settle().await;
        queue.push_all(10..15).unwrap();
        queue.flush().await.unwrap();
        queue.push_all(15..18).unwrap();
        sleep(HOUR + secs(1)).await;
        queue.push_all(18..20).unwrap();
        queue.close();
        sink.sender.received(20).await;
        assert_eq!(sink.sender.delivered(), numbers(0..20));
        assert!(sink.drained().is_empty());
    });
}

/// The items of the failed attempt stand in front of the rest.
#[test]
fn a_failed_attempt_rejoins_the_rest() {
    paused(async || {
        let sink = Drainer::new(Recorder::script([Step::Ok, Step::Fail]), Rest::Handle);
        let queue = patient_queue().spawn(sink.clone()).unwrap();
        queue.push_all(0..10).unwrap();
        settle().await;
        sink.sender.hold();
        queue.push_all(10..35).unwrap();
        sink.sender.begun(2).await;
        let shutdown = {
            let queue = queue.clone();
            tokio::spawn(async move { queue.shutdown(HOUR).await })
        };
        settle().await;
        assert!(
            sink.drained().is_empty(),
            "the attempt in flight comes first"
        );
        sink.sender.release();
        let report = shutdown.await.unwrap();
        assert_adds_up(&report);
        assert_eq!(sink.drained(), [numbers(10..35)]);
        assert_eq!(
            (sink.sender.count(), report.lost, report.returned.len()),
            (2, 0, 0)
        );
    });
}

/// The attempt in flight that succeeds is not in the rest.
#[test]
fn a_successful_attempt_is_not_in_the_rest() {
    paused(async || {
        let sink = Drainer::new(Recorder::script([Step::Slow(secs(50))]), Rest::Handle);
        let queue = patient_queue().spawn(sink.clone()).unwrap();
        queue.push_all(0..25).unwrap();
        sink.sender.begun(1).await;
        let report = queue.shutdown(HOUR).await;
        assert_adds_up(&report);
        assert_eq!(sink.sender.delivered(), numbers(0..10));
        assert_eq!(sink.drained(), [numbers(10..25)]);
    });
}

/// The items of that batch stand in front of the rest.
#[test]
fn a_batch_in_backoff_is_part_of_the_rest() {
    paused(async || {
        let sink = Drainer::new(Recorder::script([Step::Fail]), Rest::Handle);
        let queue = patient_queue()
            .retry(|_: u32, _: &SinkError| Some(10 * HOUR))
            .spawn(sink.clone())
            .unwrap();
        queue.push_all(0..25).unwrap();
        sink.sender.begun(1).await;
        settle().await;
        let report = queue.shutdown(HOUR).await;
        assert_adds_up(&report);
        assert_eq!(sink.drained(), [numbers(0..25)]);
        assert_eq!(
            (sink.sender.count(), report.lost, report.returned.len()),
            (1, 0, 0)
        );
    });
}

/// A declined rest goes out in batches in the normal way, in order.
#[test]
fn a_declined_rest_is_sent_in_batches() {
    paused(async || {
        for rest in [Rest::Decline, Rest::DeclineLate, Rest::Panic] {
            let sink = Drainer::new(Recorder::ok(), rest);
            let queue = patient_queue().spawn(sink.clone()).unwrap();
            queue.push_all(0..9).unwrap();
            settle().await;
            let mut writer = queue.writer();
            writer.push_all(100..120).unwrap();
            let report = queue.shutdown(HOUR).await;
            assert_adds_up(&report);
            assert_eq!(report.lost, 0);
            let mut all = sink.sender.delivered();
            if rest == Rest::Panic {
                all.extend(&report.returned);
            } else {
                assert!(report.is_complete());
            }
            assert!(sink.sender.sizes().iter().all(|size| *size <= 10));
            let (low, high): (Vec<u64>, Vec<u64>) = all.iter().partition(|n| **n < 100);
            assert_eq!((low, high), (numbers(0..9), numbers(100..120)));
        }
    });
}

/// C7: what the hook held is returned.
#[test]
fn a_hanging_hook_ends_at_the_deadline() {
    paused(async || {
        let sink = Drainer::new(Recorder::ok(), Rest::Hang);
        let queue = patient_queue()
            .attempt_timeout(HOUR)
            .spawn(sink.clone())
            .unwrap();
        queue.push_all(0..25).unwrap();
        let begin = Instant::now();
        let report = queue.shutdown(secs(5)).await;
        assert!(
            begin.elapsed() <= secs(5) + ms(10),
            "took {:?}",
            begin.elapsed()
        );
        assert_adds_up(&report);
        assert_eq!(report.lost, 0);
        assert_eq!(report.delivered + report.returned.len() as u64, 25);
        assert!(sink.drained().len() <= 1, "offered more than once");
    });
}

/// C1: whatever the hook does, each item is dropped once and has one outcome.
#[test]
fn every_item_has_one_outcome() {
    paused(async || {
        for rest in [
            Rest::Handle,
            Rest::Take,
            Rest::Decline,
            Rest::Panic,
            Rest::Hang,
        ] {
            let ledger = Ledger::new(1, 40);
            let sink = Drainer::new(Recorder::script([Step::Ok, Step::Fail]), rest);
            let queue: Queue<Token> = patient_queue().spawn(sink.clone()).unwrap();
            for n in 0..40 {
                let token = ledger.token(0, n);
                ledger.note(crate::common::item(0, n), queue.push(token).is_ok());
                if n == 10 {
                    settle().await;
                }
            }
            let report = queue.shutdown(secs(500)).await;
            assert_adds_up(&report);
            assert_eq!(
                (report.accepted, ledger.accepted(), report.lost),
                (40, 40, 0)
            );
            let handled = matches!(rest, Rest::Handle | Rest::Take);
            let mut ends = sink.sender.delivered();
            ends.extend(report.returned.iter().map(crate::common::Id::id));
            if handled {
                ends.extend(sink.drained().concat());
            }
            ends.sort_unstable();
            assert_eq!(ends, numbers(0..40));
            drop((queue, report));
            settle().await;
            ledger.assert_all_dropped();
        }
    });
}

/// C7: a hook that uses up the time leaves none for an attempt.
#[test]
fn nothing_begins_after_the_deadline() {
    struct Dawdler;
    impl Sink<u64> for Dawdler {
        async fn send(&self, _batch: Batch<u64>) -> Result<(), SinkError> {
            unreachable!("sent after the deadline");
        }

        async fn drain(&self, _rest: Batch<u64>) -> Handled {
            // The sleep blocks the flusher too.
            std::thread::sleep(ms(50));
            Handled::No
        }
    }
    threaded(1, async || {
        let queue = Queue::builder()
            .max_batch_size(10)
            .max_delay(HOUR)
            .spawn(Dawdler)
            .unwrap();
        queue.push_all(0..5).unwrap();
        let report = queue.shutdown(ms(10)).await;
        assert_eq!(report.returned, [0, 1, 2, 3, 4]);
        assert_eq!(queue.stats().attempts, 0);
    });
}

/// C6: a flush counts what was pushed before it, and nothing of what was pushed later.
#[test]
fn a_flush_counts_its_part_of_a_lost_rest() {
    struct Keeper;
    impl Sink<u64> for Keeper {
        async fn send(&self, _batch: Batch<u64>) -> Result<(), SinkError> {
            Err("scripted".into())
        }

        async fn drain(&self, rest: Batch<u64>) -> Handled {
            drop(rest.into_vec());
            Handled::No
        }
    }
    paused(async || {
        let queue = Queue::builder()
            .partitions(2)
            .max_in_flight(2)
            .max_batch_size(10)
            .max_delay(HOUR)
            .retry(|_: u32, _: &SinkError| Some(HOUR))
            .spawn(Keeper)
            .unwrap();
        let mut writers = [queue.writer(), queue.writer()];
        for writer in &mut writers {
            writer.push_all(0..5).unwrap();
        }
        let other = queue.clone();
        let flush = tokio::spawn(async move { other.flush().await });
        settle().await;
        for writer in &mut writers {
            writer.push_all(5..30).unwrap();
        }
        let report = queue.shutdown(secs(1)).await;
        assert_eq!(report.lost, 60);
        let error = flush.await.unwrap().unwrap_err();
        assert_eq!((error.lost, error.undelivered()), (10, 10));
    });
}

/// C1: the rest is another batch than those that were tried before, so a sink that skips batches by
/// their id skips none of it. C6: a flush that covers the rest waits for its outcome.
#[test]
fn the_rest_has_an_id_of_its_own() {
    #[derive(Default)]
    struct Ids {
        tried: Mutex<Vec<u64>>,
        drained: Mutex<Vec<(u64, u32)>>,
    }
    impl Sink<u64> for Ids {
        async fn send(&self, batch: Batch<u64>) -> Result<(), SinkError> {
            lock(&self.tried).push(batch.id());
            Err("scripted")?
        }

        async fn drain(&self, rest: Batch<u64>) -> Handled {
            sleep(secs(1)).await;
            lock(&self.drained).push((rest.id(), rest.attempt()));
            Handled::Yes
        }
    }
    paused(async || {
        let sink = Arc::new(Ids::default());
        let queue = patient_queue().spawn(sink.clone()).unwrap();
        queue.push_all(0..25).unwrap();
        let flush = tokio::spawn({
            let queue = queue.clone();
            async move { (queue.flush().await, Instant::now()) }
        });
        settle().await;
        let report = queue.shutdown(HOUR).await;
        assert_adds_up(&report);
        let tried = lock(&sink.tried).clone();
        let drained = lock(&sink.drained).clone();
        // The flush has ended the pause after the first attempt.
        assert_eq!((tried.len(), drained.len(), report.delivered), (2, 1, 25));
        assert!(!tried.contains(&drained[0].0), "{tried:?} {drained:?}");
        assert_eq!(drained[0].1, 1);
        let (flushed, at) = flush.await.unwrap();
        assert_eq!(flushed, Ok(()));
        assert_eq!(at, Instant::now(), "answered before the hook was done");
    });
}
