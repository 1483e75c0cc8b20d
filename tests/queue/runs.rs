//! Runs of batches that leave one after the other. Whatever happens in the middle of a run, each
//! batch fares as if it had been sent by itself.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use swaplane::{Batch, Builder, Queue, Retry, SinkError};

use crate::common::{HOUR, lock, ms, one_thread, paused, settle};

/// Batch id, attempt, first item.
type Log = Arc<Mutex<Vec<(u64, u32, usize)>>>;

fn note(log: &Log, batch: &Batch<usize>) {
    lock(log).push((batch.id(), batch.attempt(), batch[0]));
}

/// A queue whose sink notes each attempt, then does what `act` says for the item and the number of
/// the attempt.
fn spawn<F>(
    builder: Builder<Queue<usize>>,
    act: impl Fn(usize, u32) -> F + Send + Sync + 'static,
) -> (Queue<usize>, Log)
where
    F: Future<Output = Result<(), SinkError>> + Send + 'static,
{
    let log = Log::default();
    let queue = builder.spawn_fn({
        let log = log.clone();
        move |batch: Batch<usize>| {
            note(&log, &batch);
            let done = act(batch[0], batch.attempt());
            async move {
                let _batch = batch;
                done.await
            }
        }
    });
    (queue.unwrap(), log)
}

/// Sends so many batches of one item that runs have grown.
async fn warm(queue: &Queue<usize>, log: &Log) {
    queue.push_all([0; 100]).unwrap();
    queue.flush().await.unwrap();
    assert_eq!(lock(log).len(), 100);
    lock(log).clear();
}

/// The item and the number of each attempt.
fn tried(log: &Log) -> Vec<(usize, u32)> {
    lock(log).iter().map(|&(_, n, item)| (item, n)).collect()
}

fn one_by_one() -> Builder<Queue<usize>> {
    Queue::builder()
        .partitions(1)
        .max_batch_size(1)
        .capacity(1000)
        .max_delay(HOUR)
}

#[test]
fn a_failure_in_the_middle_is_tried_again_before_the_rest() {
    paused(async || {
        let retry = one_by_one().retry(Retry::from_fn(|_, _| Some(ms(5))));
        let (queue, log) = spawn(retry, |item, attempt| async move {
            if item == 3 && attempt < 3 {
                Err("not yet".into())
            } else {
                Ok(())
            }
        });
        warm(&queue, &log).await;
        queue.push_all(1..=6).unwrap();
        queue.flush().await.unwrap();
        assert_eq!(
            tried(&log),
            [
                (1, 1),
                (2, 1),
                (3, 1),
                (3, 2),
                (3, 3),
                (4, 1),
                (5, 1),
                (6, 1)
            ]
        );
        let ids: Vec<_> = lock(&log).iter().map(|&(id, ..)| id).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        let stats = queue.stats();
        assert_eq!(
            (stats.delivered, stats.batches, stats.attempts),
            (106, 106, 108)
        );
        assert!(queue.shutdown(HOUR).await.is_complete());
    });
}

#[test]
fn a_panic_in_the_middle_loses_nothing() {
    paused(async || {
        let (queue, log) = spawn(one_by_one(), |item, attempt| async move {
            assert!(item != 2 || attempt > 1, "as planned");
            Ok(())
        });
        warm(&queue, &log).await;
        queue.push_all(1..=4).unwrap();
        queue.flush().await.unwrap();
        assert_eq!(tried(&log), [(1, 1), (2, 1), (2, 2), (3, 1), (4, 1)]);
        assert!(queue.shutdown(HOUR).await.is_complete());
    });
}

#[test]
fn what_is_delivered_before_a_pause_is_counted_and_the_rest_is_returned() {
    paused(async || {
        let (queue, log) = spawn(one_by_one(), |item, _| async move {
            if item == 3 {
                tokio::time::sleep(HOUR).await;
            }
            Ok(())
        });
        warm(&queue, &log).await;
        queue.push_all(1..=6).unwrap();
        settle().await;
        let stats = queue.stats();
        assert_eq!((stats.delivered, stats.held, stats.attempts), (102, 4, 103));
        let report = queue.shutdown(Duration::ZERO).await;
        assert_eq!(report.returned, [3, 4, 5, 6]);
        assert_eq!((report.delivered, report.lost), (102, 0));
    });
}

#[test]
fn an_attempt_in_the_middle_times_out_in_its_time() {
    paused(async || {
        let builder = one_by_one()
            .attempt_timeout(ms(100))
            .retry(Retry::from_fn(|_, _| Some(Duration::ZERO)));
        let (queue, log) = spawn(builder, |item, attempt| async move {
            if item == 3 && attempt == 1 {
                tokio::time::sleep(HOUR).await;
            }
            Ok(())
        });
        warm(&queue, &log).await;
        let begin = tokio::time::Instant::now();
        queue.push_all(1..=6).unwrap();
        queue.flush().await.unwrap();
        assert!(
            (ms(100)..ms(105)).contains(&begin.elapsed()),
            "{:?}",
            begin.elapsed()
        );
        assert_eq!(
            tried(&log),
            [(1, 1), (2, 1), (3, 1), (3, 2), (4, 1), (5, 1), (6, 1)]
        );
        assert!(queue.shutdown(HOUR).await.is_complete());
    });
}

#[test]
fn a_runtime_that_goes_in_the_middle_of_a_run_leaves_all_items() {
    let runtime = one_thread();
    let queue = runtime.block_on(async {
        let (queue, log) = spawn(one_by_one(), |item, _| async move {
            if item == 3 {
                std::future::pending::<()>().await;
            }
            Ok(())
        });
        warm(&queue, &log).await;
        queue.push_all(1..=6).unwrap();
        while lock(&log).last().is_none_or(|last| last.2 != 3) {
            tokio::task::yield_now().await;
        }
        queue
    });
    drop(runtime);
    let report = queue.shutdown_blocking(HOUR);
    assert_eq!(report.returned, [3, 4, 5, 6]);
    assert_eq!((report.delivered, report.lost), (102, 0));
}

/// A sink that blocks its thread has it for one batch at a time: then others have their turn.
#[test]
fn a_sink_that_blocks_lets_others_have_their_turn_in_between() {
    one_thread().block_on(async {
        let turns = Arc::new(AtomicUsize::new(0));
        let seen: Arc<Mutex<Vec<usize>>> = Arc::default();
        let (queue, log) = spawn(one_by_one(), {
            let (seen, turns) = (seen.clone(), turns.clone());
            move |item, _| {
                let (seen, turns) = (seen.clone(), turns.clone());
                async move {
                    if item > 0 {
                        lock(&seen).push(turns.load(SeqCst));
                        // The sleep is longer than a run may last.
                        std::thread::sleep(ms(2));
                    }
                    Ok(())
                }
            }
        });
        warm(&queue, &log).await;
        let other = tokio::spawn(std::future::poll_fn(move |context| {
            turns.fetch_add(1, SeqCst);
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        queue.push_all(1..=6).unwrap();
        queue.flush().await.unwrap();
        other.abort();
        let seen = lock(&seen).clone();
        assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
        assert!(queue.shutdown(HOUR).await.is_complete());
    });
}
