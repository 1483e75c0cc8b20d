//! The allocations and the memory of a queue.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use swaplane::{Batch, Builder, Queue};

use crate::counting::{ALLOCATIONS, LIVE_BYTES, OF_THIS_THREAD};
use crate::in_turn;

type Item = (u64, u64);

fn builder() -> Builder<Queue<Item>> {
    Queue::builder().capacity(1_000_000).max_batch_size(500)
}

async fn take(batch: Batch<Item>) -> Result<(), swaplane::SinkError> {
    std::hint::black_box(&batch[..]);
    Ok(())
}

/// Once lanes have grown, no push allocates.
#[test]
fn a_steady_load_allocates_nothing_per_push() {
    in_turn(async || {
        let queue = builder().spawn_fn(take).unwrap();
        let mut writer = queue.writer();
        let mut allocated = Vec::with_capacity(200);
        for round in 0..400 {
            let before = OF_THIS_THREAD.get();
            for n in 0..400 {
                queue.push((n, n)).unwrap();
                writer.push((n, n)).unwrap();
                queue.push_keyed(&n, (n, n)).unwrap();
            }
            if round >= 200 {
                allocated.push(OF_THIS_THREAD.get() - before);
            }
            queue.flush().await.unwrap();
        }
        assert!(
            allocated.iter().all(|&n| n == 0),
            "allocations by pushes: {allocated:?}"
        );
    });
}

/// The flush that ends a round costs one allocation more.
#[test]
fn a_batch_costs_at_most_two_allocations() {
    in_turn(async || {
        let queue = builder().spawn_fn(take).unwrap();
        let mut writer = queue.writer();
        let round = async |writer: &mut swaplane::Writer<Item>| {
            for _ in 0..20 {
                writer.push_all((0..500).map(|n| (n, n))).unwrap();
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        for _ in 0..20 {
            round(&mut writer).await;
        }
        let (batches, before) = (queue.stats().batches, ALLOCATIONS.load(Relaxed));
        for _ in 0..20 {
            round(&mut writer).await;
        }
        let batches = queue.stats().batches - batches;
        let allocations = ALLOCATIONS.load(Relaxed) - before;
        assert!(batches >= 400, "{batches} batches");
        assert!(
            allocations as u64 <= 2 * batches + 40,
            "{allocations} allocations for {batches} batches"
        );
    });
}

/// After a burst and a silence a queue is small again, whichever way the burst was pushed.
#[test]
fn a_burst_gives_its_memory_back() {
    in_turn(async || {
        let queue = builder().spawn_fn(take).unwrap();
        let mut writer = queue.writer();
        let mut burst = |items: u64| {
            for n in 0..items {
                queue.push((n, n)).unwrap();
                writer.push((n, n)).unwrap();
                queue.push_keyed(&(n % 7), (n, n)).unwrap();
            }
        };
        burst(1);
        queue.flush().await.unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
        let before = LIVE_BYTES.load(Relaxed);
        for _ in 0..3 {
            // More than once, so that both buffers of each lane grow.
            burst(100_000);
            let held = LIVE_BYTES.load(Relaxed) - before;
            assert!(held >= 300_000 * 16, "{held} bytes hold 4.8 MB");
            queue.flush().await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        let kept = LIVE_BYTES.load(Relaxed) - before;
        // A lane keeps the chunk that its writer is in, 128 KiB at most. Here are the lanes of a
        // thread and of a writer, and one of keyed pushes for each partition that the keys fall
        // into.
        let lanes = 2 + std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(7);
        let bound = (lanes * 130 * 1024 + 8 * 1024) as isize;
        assert!(kept <= bound, "{kept} bytes kept, {bound} allowed");
    });
}

/// Pushes that swell and ebb within a second find the memory that they have used before. The lane
/// is small again when they stay few.
#[test]
fn a_lane_in_use_keeps_what_it_used_in_the_last_second() {
    in_turn(async || {
        let queue = builder().spawn_fn(take).unwrap();
        let mut writer = queue.writer();
        let mut round = async |items: u64| {
            let before = OF_THIS_THREAD.get();
            writer.push_all((0..items).map(|n| (n, n))).unwrap();
            let allocated = OF_THIS_THREAD.get() - before;
            queue.flush().await.unwrap();
            allocated
        };
        round(1).await;
        let small = LIVE_BYTES.load(Relaxed);
        for _ in 0..4 {
            round(100_000).await;
        }
        for items in [
            10_000, 100_000, 30_000, 5_000, 5_000, 5_000, 70_000, 100_000,
        ] {
            assert_eq!(round(items).await, 0, "allocations for {items} items");
        }
        let large = LIVE_BYTES.load(Relaxed) - small;
        assert!(large >= 100_000 * 16, "{large} bytes kept");
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            round(5_000).await;
        }
        // Two chunks of 128 KiB and a spare one in each of the two buffers, and memory for batches.
        let kept = LIVE_BYTES.load(Relaxed) - small;
        assert!(kept <= 8 * 130 * 1024, "{kept} bytes kept");
    });
}

/// After the burst one item is pushed every second.
#[test]
fn a_trickle_after_a_burst_does_not_keep_its_memory() {
    in_turn(async || {
        let queue = builder().spawn_fn(take).unwrap();
        let mut writer = queue.writer();
        writer.push((0, 0)).unwrap();
        queue.flush().await.unwrap();
        let small = LIVE_BYTES.load(Relaxed);
        for items in [500_000, 500_000, 500_000, 500_000, 5_000, 5_000, 5_000] {
            writer.push_all((0..items).map(|n| (n, n))).unwrap();
            queue.flush().await.unwrap();
        }
        for n in 0..100 {
            tokio::time::sleep(Duration::from_millis(900)).await;
            writer.push((n, n)).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let kept = LIVE_BYTES.load(Relaxed) - small;
        assert!(kept <= 8 * 130 * 1024, "{kept} bytes kept");
    });
}

/// A million items of 16 bytes are held in one lane.
#[test]
fn held_items_cost_little_more_than_themselves() {
    in_turn(async || {
        let queue = Queue::<Item>::builder()
            .capacity(2_000_000)
            .max_batch_size(500)
            .max_delay(Duration::from_secs(3600))
            .spawn_fn(async |_batch: Batch<Item>| {
                std::future::pending::<()>().await;
                Ok(())
            })
            .unwrap();
        let mut writer = queue.writer();
        let before = LIVE_BYTES.load(Relaxed);
        writer.push_all((0..1_000_000).map(|n| (n, n))).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let beyond = LIVE_BYTES.load(Relaxed) - before - 16_000_000;
        assert!(beyond <= 1_600_000, "{beyond} bytes beyond 16 MB");
    });
}

/// Flushes that are dropped while the sink hangs leave nothing behind.
#[test]
fn flushes_that_are_given_up_cost_nothing() {
    in_turn(async || {
        let queue = builder()
            .attempt_timeout(Duration::from_secs(3600))
            .spawn_fn(async |batch| {
                let _batch = batch;
                std::future::pending().await
            })
            .unwrap();
        queue.push((0, 0)).unwrap();
        let mut before = 0;
        for round in 0..1000 {
            let flush = tokio::time::timeout(Duration::from_millis(1), queue.flush());
            assert!(flush.await.is_err());
            if round == 100 {
                before = LIVE_BYTES.load(Relaxed);
            }
        }
        let grown = LIVE_BYTES.load(Relaxed) - before;
        assert!(grown < 1000, "{grown} bytes");
    });
}

#[test]
fn a_dropped_queue_leaves_nothing() {
    in_turn(async || {
        let run = async || {
            let queue = builder().spawn_fn(take).unwrap();
            let mut writer = queue.writer();
            for n in 0..10_000 {
                queue.push((n, n)).unwrap();
                writer.push((n, n)).unwrap();
            }
            drop(writer);
            drop(queue.shutdown(Duration::from_secs(1)).await);
            drop(queue);
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        run().await;
        let before = LIVE_BYTES.load(Relaxed);
        for _ in 0..10 {
            run().await;
        }
        let kept = LIVE_BYTES.load(Relaxed) - before;
        assert!(kept <= 4096, "{kept} bytes kept");
    });
}

/// The memory that is kept for batches depends on what the queue may hold, not on their number.
#[test]
fn large_and_small_batches_in_turn_keep_the_memory_of_few_large_ones() {
    const LARGE: u64 = 100_000;
    in_turn(async || {
        let queue = Queue::<Item>::builder()
            .capacity(LARGE as usize)
            .max_batch_size(None)
            .max_delay(Duration::from_secs(3600))
            .spawn_fn(async |batch: Batch<Item>| {
                // Other batches are formed meanwhile.
                tokio::time::sleep(Duration::from_millis(1)).await;
                take(batch).await
            })
            .unwrap();
        let before = LIVE_BYTES.load(Relaxed);
        for round in 0..40 {
            let mut flushes = Vec::new();
            for n in 0..1 + round * 7 % 16 {
                queue.push((n, n)).unwrap();
                let mut flush = Box::pin(queue.flush());
                let waker = std::task::Waker::noop();
                let polled = flush
                    .as_mut()
                    .poll(&mut std::task::Context::from_waker(waker));
                assert!(polled.is_pending());
                flushes.push(flush);
                tokio::task::yield_now().await;
            }
            for flush in flushes {
                flush.await.unwrap();
            }
            for n in 0..LARGE {
                queue.push((n, n)).unwrap();
            }
            queue.flush().await.unwrap();
        }
        // A lane has two buffers.
        let kept = LIVE_BYTES.load(Relaxed) - before;
        let large = LARGE as isize * size_of::<Item>() as isize;
        assert!(kept < 6 * large, "{kept} bytes are kept");
    });
}
