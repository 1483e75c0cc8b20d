//! How often the flusher wakes, counted by its runtime. Lanes hold credits here that they leased
//! behind full batches, so that what they report blurs.
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::sleep;
use std::time::Instant;

use common::{HOUR, ms, watched};
use swaplane::{Queue, Writer};

struct Rig {
    runtime: tokio::runtime::Runtime,
    /// How often its only thread has gone to sleep.
    rests: Arc<AtomicUsize>,
    queue: Queue<usize>,
    _writers: Vec<Writer<usize>>,
}

impl Rig {
    fn after_a_burst(capacity: usize, lanes: usize) -> Self {
        let rests = Arc::new(AtomicUsize::new(0));
        let count = rests.clone();
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_time();
        builder.on_thread_park(move || {
            count.fetch_add(1, Relaxed);
        });
        let runtime = builder.build().unwrap();
        let queue = {
            let _inside = runtime.enter();
            let builder = Queue::builder().partitions(1).capacity(capacity);
            let builder = builder.max_batch_size(500).max_delay(HOUR);
            builder.spawn_fn(|_batch| async { Ok(()) }).unwrap()
        };
        let mut writers: Vec<_> = (0..lanes).map(|_| queue.writer()).collect();
        for _ in 0..3 {
            for writer in &mut writers {
                for n in 0..64 {
                    // Not all may find room.
                    let _ = writer.push(n);
                }
            }
            sleep(ms(5));
        }
        runtime.block_on(queue.flush()).unwrap();
        sleep(ms(20));
        Self {
            runtime,
            rests,
            queue,
            _writers: writers,
        }
    }

    fn rests(&self) -> usize {
        self.rests.load(Relaxed)
    }
}

/// Other lanes have all credits that may lie idle.
#[test]
fn a_lane_that_leases_one_credit_at_a_time_wakes_for_few_pushes() {
    const PUSHES: usize = 200;
    watched(|| {
        for capacity in [1000, 3000, 5000] {
            let rig = Rig::after_a_burst(capacity, capacity / 50);
            let mut other = rig.queue.writer();
            other.push(0).unwrap();
            sleep(ms(20));
            let (before, begun) = (rig.rests(), Instant::now());
            for n in 0..PUSHES {
                other.push(n).unwrap();
                sleep(ms(2));
            }
            let looks = begun.elapsed().as_millis() as usize / 10;
            let rests = rig.rests() - before;
            assert!(rests < looks + PUSHES / 4, "{rests} of {capacity}");
        }
    });
}

#[test]
fn an_idle_queue_is_left_alone() {
    watched(|| {
        let rig = Rig::after_a_burst(100_000, 125);
        assert!(rig.queue.is_empty());
        let before = rig.rests();
        sleep(ms(800));
        // A sweep may come by.
        let rests = rig.rests() - before;
        assert!(rests <= 2, "{rests}");
        drop(rig.runtime);
    });
}
