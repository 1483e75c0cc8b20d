//! No item waits for the delay that has another reason to leave. The delay is an hour here.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use swaplane::{Batch, Queue, SinkError, Writer};

use crate::common::{HOUR, Recorder, item, lock, ms, paused, scaled, secs, settle, threaded};

fn queue_of(size: usize, capacity: usize, workers: usize) -> Queue<usize> {
    let builder = Queue::builder()
        .partitions(workers)
        .max_in_flight(workers)
        .capacity(capacity)
        .max_batch_size(size)
        .max_delay(HOUR);
    builder.spawn_fn(|_batch| async { Ok(()) }).unwrap()
}

/// Makes lanes that lease 64 credits each behind full batches, and use one of them.
fn after_a_burst(queue: &Queue<usize>, lanes: usize) -> Vec<Writer<usize>> {
    let mut writers: Vec<_> = (0..lanes).map(|_| queue.writer()).collect();
    for writer in &mut writers {
        writer.push_all(0..64).unwrap();
    }
    writers
}

/// While a caller waits for room, an item pushed with a permit does not wait for its batch to fill.
#[test]
fn a_permit_is_used_while_another_caller_waits() {
    for (capacity, workers) in [(1, 1), (2, 1), (2, 2), (5, 1), (9, 2)] {
        paused(async move || {
            let queue = Queue::<usize>::builder()
                .capacity(capacity)
                .max_batch_size(None)
                .max_delay(HOUR)
                .max_in_flight(workers)
                .spawn_fn(|_batch| async { Ok(()) })
                .unwrap();
            let begun = tokio::time::Instant::now();
            let mut permits = Vec::new();
            for _ in 0..capacity {
                permits.push(queue.reserve().await.unwrap());
            }
            let waiter = tokio::spawn({
                let queue = queue.clone();
                async move { queue.reserve().await.unwrap().push(capacity).unwrap() }
            });
            settle().await;
            for (item, permit) in permits.into_iter().enumerate() {
                permit.push(item).unwrap();
                settle().await;
                assert!(waiter.is_finished(), "of {capacity}, {item} made no room");
            }
            assert!(begun.elapsed() < secs(1));
            let report = queue.shutdown(secs(5)).await;
            assert_eq!(report.delivered, capacity as u64 + 1);
        });
    }
}

/// Lanes that together have leased more than a batch, and do not use it, hide no full batch. The
/// lanes are registered one after the other. Each keeps what was its part among those that there
/// were then.
#[test]
fn a_full_batch_is_noticed_beside_older_lanes() {
    const SIZE: usize = 1000;
    paused(async || {
        let queue = queue_of(SIZE, 100_000, 1);
        let mut lanes = Vec::new();
        for older in 0..40 {
            let mut writer = queue.writer();
            // Leases double, up to the part of a quarter that the lane has. It uses one credit of
            // the largest lease.
            let part = (SIZE / 4 / (older + 1)).min(64);
            let leases = std::iter::successors(Some(1), |lease| Some(lease * 2));
            let smaller: usize = leases.take_while(|lease| *lease < part).sum();
            writer.push_all(0..smaller + 1).unwrap();
            queue.flush().await.unwrap();
            lanes.push((writer, part - 1));
        }
        let unused: usize = lanes.iter().map(|lane| lane.1).sum();
        assert!((SIZE / 2..SIZE).contains(&unused));
        // The youngest lane reports items up to a batch, less what the others have leased and not
        // used.
        let mut youngest = queue.writer();
        for item in 0..=SIZE + 10 - unused {
            youngest.push(item).unwrap();
        }
        settle().await;
        for (writer, unused) in &mut lanes {
            for item in 0..*unused {
                writer.push(item).unwrap();
            }
        }
        assert!(queue.len() >= SIZE);
        tokio::time::sleep(ms(11)).await;
        assert!(queue.len() < SIZE, "{} wait", queue.len());
    });
}

/// The lanes leased much while full batches waited.
#[test]
fn a_full_batch_is_noticed_after_an_outage() {
    const SIZE: usize = 200;
    const LANES: usize = 20;
    paused(async || {
        let (open, outage) = tokio::sync::watch::channel(false);
        let queue = Queue::<usize>::builder()
            .partitions(1)
            .capacity(100_000)
            .max_batch_size(SIZE)
            .max_delay(HOUR)
            .attempt_timeout(HOUR)
            .spawn_fn(move |_batch| {
                let mut outage = outage.clone();
                async move {
                    outage.wait_for(|open| *open).await.unwrap();
                    Ok(())
                }
            })
            .unwrap();
        let mut writers: Vec<_> = (0..LANES).map(|_| queue.writer()).collect();
        for writer in &mut writers {
            // Each lane leases 1, 2, 4, … and 32 credits, and uses one of the next lease, which is
            // a quarter of a batch.
            writer.push_all(0..64).unwrap();
        }
        settle().await;
        open.send(true).unwrap();
        queue.flush().await.unwrap();
        let mut pushed = 0;
        while queue.len() == pushed {
            // The first lanes leased less, while no batch was full.
            for writer in &mut writers[10..] {
                writer.push(0).unwrap();
                pushed += 1;
            }
            assert!(pushed < 10 * SIZE, "no batch is full");
            tokio::time::sleep(ms(10)).await;
        }
        // Ten are pushed at a time. The batch is about full after twenty rounds, and is noticed
        // before twenty more have passed.
        assert!((SIZE * 3 / 4..=2 * SIZE).contains(&pushed), "{pushed}");
    });
}

/// The capacity is too small for a second batch, so no wake can tell of a full one.
#[test]
fn a_full_batch_is_noticed_where_the_capacity_is_small() {
    const SIZE: usize = 500;
    for capacity in [1000, 1500, 3900] {
        for before in (250..375).step_by(16) {
            paused(async move || {
                let queue = queue_of(SIZE, capacity, 1);
                let mut other = queue.writer();
                let mut lanes: Vec<_> = (0..capacity / 250).map(|_| queue.writer()).collect();
                for pair in lanes.chunks_mut(2) {
                    // Behind a full batch two lanes lease 64 credits each, and use one of them.
                    other.push_all(0..SIZE).unwrap();
                    for lane in pair {
                        lane.push_all(0..64).unwrap();
                    }
                    queue.flush().await.unwrap();
                }
                for item in 0..before {
                    other.push(item).unwrap();
                    tokio::time::sleep(ms(1)).await;
                }
                // Sweeps wake the flusher too. They are over after this.
                tokio::time::sleep(secs(5)).await;
                for lane in &mut lanes {
                    let missing = SIZE - queue.len();
                    lane.push_all(0..missing.min(60)).unwrap();
                }
                tokio::time::sleep(ms(11)).await;
                let held = queue.len();
                assert!(held < SIZE, "{held} of {capacity} wait, {before} before");
            });
        }
    }
}

/// Lanes that leased much in a burst do not lease as much again.
#[test]
fn a_full_batch_is_noticed_under_steady_pushes_after_a_burst() {
    const SIZE: usize = 500;
    paused(async || {
        let queue = queue_of(SIZE, 100_000, 1);
        for lanes in [20, 50, 110] {
            let mut writers = after_a_burst(&queue, lanes);
            for (lane, writer) in writers.iter_mut().enumerate() {
                writer.push_all(0..lane * 7 % 64).unwrap();
            }
            for round in 0..6000 {
                for writer in &mut writers {
                    writer.push(round).unwrap();
                }
                let held = queue.len();
                let expected = round < 1000 || held <= SIZE + SIZE / 4;
                assert!(expected, "{held} wait, pushed by {lanes} lanes");
                tokio::time::sleep(ms(1)).await;
            }
            drop(writers);
            queue.flush().await.unwrap();
        }
    });
}

/// Nothing is pushed for twenty minutes after the burst.
#[test]
fn a_full_batch_is_noticed_after_a_burst_and_a_pause() {
    const SIZE: usize = 500;
    paused(async || {
        let queue = queue_of(SIZE, 100_000, 1);
        let mut writers = after_a_burst(&queue, 125);
        tokio::time::sleep(HOUR / 3).await;
        assert_eq!(queue.len(), 0);
        for writer in &mut writers[100..] {
            writer.push_all(0..40).unwrap();
        }
        assert_eq!(queue.len(), 1000);
        tokio::time::sleep(ms(11)).await;
        assert!(queue.len() < SIZE, "{} wait", queue.len());
    });
}

/// An item waits for the other worker for twenty minutes.
#[test]
fn a_full_batch_is_noticed_beside_another_worker() {
    const SIZE: usize = 500;
    paused(async || {
        let queue = queue_of(SIZE, 100_000, 2);
        let mut writers = after_a_burst(&queue, 100);
        queue.flush().await.unwrap();
        writers[98].push(0).unwrap();
        tokio::time::sleep(HOUR / 3).await;
        assert_eq!(queue.len(), 1);
        for writer in writers[31..].iter_mut().step_by(2) {
            writer.push_all(0..30).unwrap();
        }
        assert!(queue.len() >= 2 * SIZE);
        tokio::time::sleep(ms(11)).await;
        assert!(queue.len() < SIZE, "{} wait", queue.len());
    });
}

/// Full batches that come one by one are not taken for steady pushes, not even after steady pushes.
#[test]
fn a_full_batch_after_a_silence_leaves_at_once() {
    const SIZE: usize = 100;
    for (burst, silence) in [(0, secs(1)), (20, secs(1)), (20, HOUR)] {
        paused(async move || {
            let queue = queue_of(SIZE, 100_000, 1);
            queue.push_all(0..burst * SIZE).unwrap();
            queue.flush().await.unwrap();
            for round in 0..30 {
                tokio::time::sleep(silence).await;
                assert_eq!(queue.len(), 0);
                let mut writer = queue.writer();
                writer.push(0).unwrap();
                settle().await;
                writer.push_all(1..SIZE).unwrap();
                settle().await;
                assert!(queue.len() < SIZE, "round {round} waits");
                drop(writer);
                queue.flush().await.unwrap();
            }
        });
    }
}

/// A thread-local destructor pushes after the lane of its thread was released.
#[test]
fn fallback_items_fill_a_batch() {
    const SIZE: usize = 100;
    struct Farewell(RefCell<Option<Queue<usize>>>);

    impl Drop for Farewell {
        fn drop(&mut self) {
            if let Some(queue) = self.0.take() {
                queue.push_all(1..=10 * SIZE).unwrap();
            }
        }
    }

    thread_local! {
        static FAREWELL: Farewell = const { Farewell(RefCell::new(None)) };
    }

    paused(async || {
        let queue = queue_of(SIZE, 100_000, 1);
        let last = queue.clone();
        let thread = std::thread::spawn(move || {
            // The value is set up before the lane, so it is dropped after the lane.
            FAREWELL.with(|farewell| farewell.0.replace(Some(last.clone())));
            last.push(0).unwrap();
        });
        thread.join().unwrap();
        tokio::time::sleep(ms(11)).await;
        assert!(queue.len() < SIZE, "{} wait", queue.len());
    });
}

/// While a caller waits for room, an item for which its lane still had a credit does not wait for
/// its batch to fill. Pushes were so frequent before that the flusher polls.
#[test]
fn a_leased_credit_is_used_while_somebody_waits() {
    paused(async || {
        let queue = Queue::<usize>::builder()
            .partitions(2)
            .max_in_flight(2)
            .max_batch_size(600)
            .capacity(1000)
            .max_delay(HOUR)
            .attempt_timeout(HOUR)
            .spawn_fn(|batch| async move {
                if batch[0] == 0 {
                    std::future::pending::<()>().await;
                }
                Ok(())
            })
            .unwrap();
        let (mut hanging, mut free) = (queue.writer(), queue.writer());
        free.push_all([1; 4]).unwrap();
        queue.flush().await.unwrap();
        while hanging.push(0).is_ok() {}
        let waiter = tokio::spawn({
            let queue = queue.clone();
            async move { drop(queue.reserve().await.unwrap()) }
        });
        settle().await;
        tokio::time::sleep(secs(20)).await;
        assert!(!waiter.is_finished());
        free.push(1).unwrap();
        tokio::time::sleep(secs(1)).await;
        assert!(waiter.is_finished(), "the item makes no room");
    });
}

/// However many workers there are, each has its turn while all others have something to do: batch
/// by batch, or some batches at a time where the sink takes them at once.
#[test]
fn no_worker_waits_for_others() {
    const WORKERS: usize = scaled(300, 140);
    // Whether the sink yields, batches of each worker, rounds, batches that the first may be ahead.
    for (waits, batches, rounds, ahead) in [(true, 40, 60, 4), (false, 200, 30, 32)] {
        paused(async move || {
            let seen = Arc::new(Mutex::new(vec![0; WORKERS]));
            let log = seen.clone();
            let queue = Queue::<usize>::builder()
                .partitions(WORKERS)
                .max_in_flight(WORKERS)
                .capacity(1_000_000)
                .max_batch_size(10)
                .max_delay(HOUR)
                .spawn_fn(move |batch| {
                    lock(&log)[batch[0]] += 1;
                    async move {
                        if waits {
                            tokio::task::yield_now().await;
                        }
                        drop(batch);
                        Ok(())
                    }
                })
                .unwrap();
            let mut writers: Vec<_> = (0..WORKERS).map(|_| queue.writer()).collect();
            for (worker, writer) in writers.iter_mut().enumerate() {
                writer.push_all(vec![worker; 10 * batches]).unwrap();
            }
            for _ in 0..rounds {
                tokio::task::yield_now().await;
            }
            let seen = lock(&seen).clone();
            let (least, most) = (*seen.iter().min().unwrap(), *seen.iter().max().unwrap());
            assert!(
                least > 0 && most < batches && most <= least + ahead,
                "{least} batches against {most}"
            );
            drop(writers);
            assert!(queue.shutdown(HOUR).await.is_complete());
        });
    }
}

/// However many lanes hold leases that they do not use, a full batch is noticed, at the latest when
/// a quarter more than one waits.
#[test]
fn a_full_batch_is_noticed_beside_idle_lanes() {
    for size in [2, 3, 10, 100, 500] {
        for (lanes, workers) in [(1, 1), (3, 1), (20, 1), (3, 3), (20, 3)] {
            threaded(2, async move || {
                let queue = Queue::<usize>::builder()
                    .capacity(10_000)
                    .max_batch_size(size)
                    .max_delay(HOUR)
                    .max_in_flight(workers)
                    .spawn_fn(|_batch| async { Ok(()) })
                    .unwrap();
                let mut writers: Vec<_> = (0..lanes).map(|_| queue.writer()).collect();
                for round in 0..20 {
                    for writer in &mut writers {
                        writer.push_all(0..round % 4).unwrap();
                    }
                }
                queue.flush().await.unwrap();
                writers[0].push_all(0..4 * size).unwrap();
                let begun = Instant::now();
                while queue.len() > size + size / 4 {
                    let held = queue.len();
                    assert!(
                        begun.elapsed() < secs(20),
                        "{held} held, batches of {size}, {lanes} lanes"
                    );
                    tokio::time::sleep(ms(1)).await;
                }
            });
        }
    }
}

/// A task that pushes and then computes stops nobody else: the flusher that it woke does not wait
/// for its thread.
#[test]
fn a_task_that_goes_on_computing_does_not_hold_the_flusher() {
    threaded(2, async || {
        for _ in 0..20 {
            let (sent, received) = std::sync::mpsc::channel();
            let queue = Queue::<u64>::builder()
                .max_batch_size(10)
                .max_delay(HOUR)
                .spawn_fn(move |batch| {
                    sent.send(batch.len()).unwrap();
                    async { Ok(()) }
                })
                .unwrap();
            settle().await;
            let computing = tokio::spawn(async move {
                // Until the flusher sleeps.
                tokio::time::sleep(ms(5)).await;
                queue.push_all(0..10).unwrap();
                // In place of a computation that takes long.
                received.recv_timeout(secs(20))
            });
            assert_eq!(computing.await.unwrap(), Ok(10));
        }
    });
}

/// Writers that have ended are forgotten together: a look at each lane is enough for all of them.
#[test]
fn ended_writers_are_forgotten_in_linear_time() {
    paused(async || {
        let queue = queue_of(10, 100, 1);
        for _ in 0..scaled(200_000, 100) {
            drop(queue.writer());
        }
        let report = queue.shutdown(secs(5)).await;
        assert_eq!(report.accepted, 0);
    });
}

/// So it is for a task that gives a batch back.
#[test]
fn a_task_that_gives_a_batch_back_does_not_hold_the_flusher() {
    threaded(2, async || {
        for _ in 0..20 {
            let (sent, received) = std::sync::mpsc::channel();
            let (keep, mut kept) = tokio::sync::mpsc::unbounded_channel();
            let queue = Queue::<usize>::builder()
                .max_batch_size(10)
                .max_delay(HOUR)
                .retry(|_: u32, _: &SinkError| Some(ms(0)))
                .spawn_fn(move |batch: Batch<usize>| {
                    let first = batch.attempt() == 1;
                    if first {
                        keep.send(batch).unwrap();
                    } else {
                        sent.send(batch.len()).unwrap();
                    }
                    async move { if first { Err("scripted")? } else { Ok(()) } }
                })
                .unwrap();
            let computing = tokio::spawn(async move {
                queue.push_all(0..10).unwrap();
                let batch = kept.recv().await;
                // Until the flusher waits for it.
                tokio::time::sleep(ms(5)).await;
                drop(batch);
                received.recv_timeout(secs(20))
            });
            assert_eq!(computing.await.unwrap(), Ok(10));
        }
    });
}

/// A flush takes from all lanes by turns: a burst of one delays nobody else by all of its batches.
#[test]
fn a_flush_lets_nobody_wait_behind_a_burst() {
    paused(async || {
        let sink = Recorder::ok();
        let queue = Queue::<u64>::builder()
            .max_batch_size(100)
            .max_delay(HOUR)
            .spawn(sink.clone())
            .unwrap();
        // One after the other, so that their lanes are in this order.
        let mut burst = queue.writer();
        burst.push_all((0..5000).map(|n| item(0, n))).unwrap();
        let mut others: Vec<_> = (1..4).map(|_| queue.writer()).collect();
        for (index, writer) in others.iter_mut().enumerate() {
            writer.push(item(index + 1, 0)).unwrap();
        }
        queue.push(item(4, 0)).unwrap();
        queue.push_keyed(&1, item(5, 0)).unwrap();
        queue.flush().await.unwrap();
        let delivered = sink.delivered();
        let first_batches = &delivered[..200];
        for producer in 1..6 {
            assert!(
                first_batches.contains(&item(producer, 0)),
                "{producer} waits"
            );
        }
        assert_eq!(delivered.len(), 5005);
    });
}
