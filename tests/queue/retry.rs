//! When a failed batch is tried again, and when it is given up.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use swaplane::{Builder, Queue, Retry, SinkError};
use tokio::time::Instant;

use crate::common::{
    HOUR, Recorder, Step, assert_adds_up, assert_took, finish, item, lock, ms, paused, secs, settle,
};

fn queue_with(retry: impl Into<Retry>) -> Builder<Queue<u64>> {
    Queue::builder()
        .max_batch_size(10)
        .max_delay(HOUR)
        .attempt_timeout(secs(1))
        .retry(retry)
}

/// The times between the starts of successive attempts.
fn gaps(sink: &Recorder) -> Vec<Duration> {
    let attempts = sink.attempts();
    attempts
        .windows(2)
        .map(|pair| pair[1].at - pair[0].at)
        .collect()
}

/// A closure decides every delay by itself, from the attempt that failed and its error.
#[test]
fn a_closure_sets_the_delays() {
    paused(async || {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let sink = Recorder::script([Step::Fail, Step::Fail, Step::Panic, Step::Hang]);
        let queue = queue_with(move |attempt: u32, error: &SinkError| {
            lock(&log).push((attempt, error.to_string()));
            Some(secs(u64::from(attempt) * 100))
        })
        .spawn(sink.clone())
        .unwrap();
        queue.push(item(0, 0)).unwrap();
        queue.flush().await.unwrap();
        let gaps = gaps(&sink);
        assert_eq!(gaps.len(), 4);
        for (gap, expected) in gaps.iter().zip([100, 200, 300, 401]) {
            assert_took(*gap, secs(expected));
        }
        let asked = lock(&asked).clone();
        assert_eq!(
            asked
                .iter()
                .map(|(attempt, _)| *attempt)
                .collect::<Vec<_>>(),
            [1, 2, 3, 4]
        );
        assert_eq!(
            (asked[0].1.as_str(), asked[1].1.as_str()),
            ("scripted failure", "scripted failure")
        );
        finish(queue, &sink).await;
    });
}

/// A closure replaces all limits: it may go on for longer and more often than any default.
#[test]
fn a_closure_replaces_all_limits() {
    paused(async || {
        let sink = Recorder::script([Step::Fail; 200]);
        let queue = queue_with(|_: u32, _: &SinkError| Some(secs(60)))
            .spawn(sink.clone())
            .unwrap();
        queue.push(item(0, 0)).unwrap();
        queue.flush().await.unwrap();
        assert_eq!(sink.count(), 201);
        assert_eq!(sink.attempts()[200].number, 201);
        finish(queue, &sink).await;
    });
}

/// The batch is given up at once. The attempts of the next batch are counted anew.
#[test]
fn a_closure_may_give_up() {
    paused(async || {
        let sink = Recorder::script([Step::Fail, Step::Fail, Step::Fail, Step::Fail]);
        let policy = Retry::from_fn(|attempt, _| (attempt < 3).then_some(ms(10)));
        let queue = queue_with(policy).spawn(sink.clone()).unwrap();
        queue.push(item(0, 0)).unwrap();
        assert_eq!(queue.flush().await.unwrap_err().lost, 1);
        queue.push(item(0, 1)).unwrap();
        sink.received(1).await;
        let numbers: Vec<_> = sink
            .attempts()
            .iter()
            .map(|attempt| attempt.number)
            .collect();
        assert_eq!(numbers, [1, 2, 3, 1, 2]);
        let stats = queue.stats();
        assert_eq!((stats.lost, stats.attempts), (1, 5));
    });
}

/// A delay of zero lets everything else run.
#[test]
fn a_closure_may_retry_at_once() {
    paused(async || {
        let sink = Recorder::script([Step::Fail; 50]);
        let queue = queue_with(|_: u32, _: &SinkError| Some(Duration::ZERO))
            .spawn(sink.clone())
            .unwrap();
        let begin = Instant::now();
        queue.push(item(0, 0)).unwrap();
        queue.flush().await.unwrap();
        assert_eq!(sink.count(), 51);
        assert!(begin.elapsed() < secs(1));
    });
}

/// Exponential without jitter: the delays grow by the factor up to the cap.
#[test]
fn exponential_delays_are_exact_without_jitter() {
    paused(async || {
        let sink = Recorder::script([Step::Fail; 7]);
        let retry = Retry::exponential()
            .first_delay(ms(100))
            .factor(2.0)
            .max_delay(secs(1))
            .jitter(false);
        let queue = queue_with(retry).spawn(sink.clone()).unwrap();
        queue.push(item(0, 0)).unwrap();
        queue.flush().await.unwrap();
        for (gap, expected) in gaps(&sink)
            .into_iter()
            .zip([100, 200, 400, 800, 1000, 1000, 1000])
        {
            assert_took(gap, ms(expected));
        }
        assert_eq!(sink.count(), 8);
        finish(queue, &sink).await;
    });
}

/// No exponential delay exceeds what it would be without jitter.
#[test]
fn jitter_only_shortens() {
    paused(async || {
        let sink = Recorder::script([Step::Fail; 8]);
        let retry = Retry::exponential()
            .first_delay(ms(100))
            .factor(2.0)
            .max_delay(secs(1))
            .jitter(true);
        let queue = queue_with(retry).spawn(sink.clone()).unwrap();
        queue.push(item(0, 0)).unwrap();
        queue.flush().await.unwrap();
        let caps = [100, 200, 400, 800, 1000, 1000, 1000, 1000];
        for (gap, cap) in gaps(&sink).into_iter().zip(caps) {
            assert!(gap <= ms(cap + 10), "{gap:?} exceeds {cap} ms");
        }
        finish(queue, &sink).await;
    });
}

/// The attempts are bounded in number; the batch is lost after the last one.
#[test]
fn attempts_are_bounded() {
    paused(async || {
        for most in [1, 2, 5] {
            let sink = Recorder::new(Step::Fail);
            let queue = queue_with(Retry::exponential().max_attempts(most))
                .spawn(sink.clone())
                .unwrap();
            queue.push_all([1, 2, 3]).unwrap();
            let error = queue.flush().await.unwrap_err();
            assert_eq!((error.lost, error.undelivered()), (3, 3));
            assert_eq!(sink.count(), most as usize);
            assert!(queue.is_empty());
        }
    });
}

/// No attempt begins after that time, and the batch is lost.
#[test]
fn elapsed_time_is_bounded() {
    paused(async || {
        let sink = Recorder::new(Step::Fail);
        let retry = Retry::exponential()
            .first_delay(secs(1))
            .factor(1.0)
            .jitter(false)
            .max_elapsed(secs(10));
        let queue = queue_with(retry).spawn(sink.clone()).unwrap();
        let begin = Instant::now();
        queue.push(1).unwrap();
        assert_eq!(queue.flush().await.unwrap_err().lost, 1);
        assert!(
            begin.elapsed() <= secs(11),
            "gave up after {:?}",
            begin.elapsed()
        );
        assert!(
            (9..=11).contains(&sink.count()),
            "{} attempts",
            sink.count()
        );
        let last = sink.attempts().pop().unwrap();
        assert!(
            last.at - begin <= secs(10) + ms(10),
            "an attempt began too late"
        );
    });
}

/// The elapsed time counts from the first attempt, not from the push or the start of the queue.
#[test]
fn elapsed_time_counts_per_batch() {
    paused(async || {
        let sink = Recorder::script([Step::Fail]);
        let retry = Retry::exponential().jitter(false).max_elapsed(secs(10));
        let queue = queue_with(retry)
            .max_delay(secs(60))
            .spawn(sink.clone())
            .unwrap();
        for n in 0..3 {
            queue.push(item(0, n)).unwrap();
            sink.received(n + 1).await;
            sink.then([Step::Fail]);
        }
        assert_eq!(sink.count(), 6);
    });
}

/// `Retry::never` gives a batch one attempt.
#[test]
fn never_means_one_attempt() {
    paused(async || {
        for step in [Step::Fail, Step::Panic, Step::Hang] {
            let sink = Recorder::script([step]);
            let queue = queue_with(Retry::never()).spawn(sink.clone()).unwrap();
            queue.push(item(0, 0)).unwrap();
            assert_eq!(queue.flush().await.unwrap_err().lost, 1);
            queue.push(item(0, 1)).unwrap();
            queue.close();
            sink.received(1).await;
            assert_eq!(sink.count(), 2);
            let report = queue.shutdown(HOUR).await;
            assert_adds_up(&report);
            assert_eq!((report.delivered, report.lost), (1, 1));
        }
    });
}

/// A rejected batch is not tried again, whatever the policy; the next one is sent.
#[test]
fn rejection_ends_a_batch() {
    paused(async || {
        for retry in [Retry::exponential(), Retry::from_fn(|_, _| Some(ms(1)))] {
            let sink = Recorder::script([Step::Fail, Step::Reject]);
            let queue = queue_with(retry).spawn(sink.clone()).unwrap();
            queue.push_all((0..20).map(|n| item(0, n))).unwrap();
            let error = queue.flush().await.unwrap_err();
            assert_eq!((error.lost, error.returned, error.held), (10, 0, 0));
            assert_eq!(sink.sizes(), [10, 10, 10]);
            assert_eq!(
                sink.delivered(),
                (10..20).map(|n| item(0, n)).collect::<Vec<_>>()
            );
            sink.assert_ordered();
        }
    });
}

/// A sink that names a delay gets exactly that one, also where the policy's own would be shorter.
#[test]
fn retry_after_is_obeyed() {
    paused(async || {
        let sink = Recorder::script([
            Step::RetryAfter(secs(5)),
            Step::RetryAfter(secs(7)),
            Step::Fail,
        ]);
        let retry = Retry::exponential()
            .first_delay(ms(100))
            .factor(1.0)
            .jitter(false);
        let queue = queue_with(retry).spawn(sink.clone()).unwrap();
        queue.push(item(0, 0)).unwrap();
        queue.flush().await.unwrap();
        for (gap, expected) in gaps(&sink).into_iter().zip([ms(5000), ms(7000), ms(100)]) {
            assert_took(gap, expected);
        }
        finish(queue, &sink).await;
    });
}

/// A sink that names a delay each time is still bounded by the number of attempts.
#[test]
fn retry_after_does_not_go_on_for_ever() {
    paused(async || {
        let sink = Recorder::new(Step::RetryAfter(secs(1)));
        let queue = queue_with(Retry::exponential().max_attempts(4))
            .spawn(sink.clone())
            .unwrap();
        queue.push(1).unwrap();
        assert_eq!(queue.flush().await.unwrap_err().lost, 1);
        assert_eq!(sink.count(), 4);
    });
}

/// C5: while a dead sink is retried the queue fills up, refuses, and holds no more than it may.
#[test]
fn a_dead_sink_fills_the_queue_and_no_more() {
    paused(async || {
        let sink = Recorder::new(Step::Fail);
        let queue = queue_with(|_: u32, _: &SinkError| Some(secs(1)))
            .capacity(40)
            .spawn(sink.clone())
            .unwrap();
        for round in 0..20 {
            for n in 0..10 {
                if let Err(refused) = queue.push(item(0, round * 10 + n)) {
                    assert!(refused.is_full() && round >= 4);
                }
                assert!(queue.stats().held <= 40 && queue.len() <= 40);
            }
            tokio::time::sleep(secs(3)).await;
            settle().await;
        }
        assert_eq!(queue.len(), 40);
        sink.otherwise(Step::Ok);
        queue.flush().await.unwrap();
        assert_eq!(
            sink.delivered(),
            (0..40).map(|n| item(0, n)).collect::<Vec<_>>()
        );
    });
}

/// A queue of which every pause is an hour.
fn resting_queue(sink: &Recorder) -> Queue<u64> {
    queue_with(|_: u32, _: &SinkError| Some(HOUR))
        .spawn(sink.clone())
        .unwrap()
}

/// Who flushes wants to know now. Callers who join a flush that is under way do not end its next
/// pause, or a service that flushes for each request would turn backoff off.
#[test]
fn a_flush_ends_a_pause_once() {
    paused(async || {
        let sink = Recorder::script([Step::Fail, Step::Fail, Step::Fail]);
        let queue = resting_queue(&sink);
        queue.push_all(0..10).unwrap();
        sink.begun(1).await;
        settle().await;
        let begun = Instant::now();
        let flushes: Vec<_> = (0..100)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.flush().await.unwrap() })
            })
            .collect();
        sink.begun(2).await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "sits the pause out");
        for _ in 0..100 {
            settle().await;
            let flush = queue.flush();
            assert!(tokio::time::timeout(ms(1), flush).await.is_err());
        }
        assert_eq!(sink.count(), 2, "there is no backoff");
        for flush in flushes {
            flush.await.unwrap();
        }
        assert_eq!(gaps(&sink)[1..].len(), 2);
        for gap in &gaps(&sink)[1..] {
            assert_took(*gap, HOUR);
        }
    });
}

/// A close sends what is held at once, also what waits for its next attempt.
#[test]
fn a_close_ends_a_pause() {
    paused(async || {
        let sink = Recorder::script([Step::Fail]);
        let queue = resting_queue(&sink);
        queue.push_all(0..10).unwrap();
        sink.begun(1).await;
        settle().await;
        let begun = Instant::now();
        queue.close();
        sink.begun(2).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        finish(queue, &sink).await;
    });
}

/// One worker finds out that the sink is back: no other waits for the end of its pause. A worker
/// that had no failure finds out nothing.
#[test]
fn the_first_success_after_a_failure_ends_the_pauses_of_others() {
    paused(async || {
        let sink = Recorder::script([Step::Fail, Step::Fail]);
        let queue = queue_with(|_: u32, _: &SinkError| Some(HOUR))
            .partitions(3)
            .max_in_flight(3)
            .spawn(sink.clone())
            .unwrap();
        let mut writers: Vec<_> = (0..3).map(|_| queue.writer()).collect();
        for (producer, writer) in writers.iter_mut().enumerate() {
            writer.push_all((0..10).map(|n| item(producer, n))).unwrap();
            sink.begun(producer + 1).await;
            settle().await;
            tokio::time::advance(secs(1)).await;
        }
        settle().await;
        assert_eq!(
            sink.count(),
            3,
            "a success of the third worker alone tells nothing"
        );
        sink.begun(5).await;
        let times: Vec<_> = sink.attempts().iter().map(|attempt| attempt.at).collect();
        assert_took(times[3] - times[0], HOUR);
        assert_took(times[4] - times[3], Duration::ZERO);
        finish(queue, &sink).await;
    });
}

/// A sink that names a time is not disturbed before, unless the caller knows better.
#[test]
fn only_retry_now_ends_a_pause_that_the_sink_asked_for() {
    paused(async || {
        let sink = Recorder::script([Step::RetryAfter(HOUR), Step::Fail]);
        let queue = queue_with(Retry::exponential().max_elapsed(10 * HOUR).max_delay(HOUR))
            .spawn(sink.clone())
            .unwrap();
        queue.push_all(0..10).unwrap();
        sink.begun(1).await;
        settle().await;
        let flush = tokio::spawn({
            let queue = queue.clone();
            async move { queue.flush().await }
        });
        queue.close();
        settle().await;
        assert_eq!(sink.count(), 1);
        let begun = Instant::now();
        queue.retry_now();
        sink.begun(2).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        settle().await;
        queue.retry_now();
        flush.await.unwrap().unwrap();
        assert_eq!((begun.elapsed(), sink.count()), (Duration::ZERO, 3));
    });
}
