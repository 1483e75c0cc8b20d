//! How often the flusher wakes, counted by its runtime. The lanes hold credits that they leased
//! behind full batches, so they report a larger backlog than there is. The tests are alone in their
//! binary, since they pace pushes in real time.
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::sleep;
use std::time::Instant;

use common::{HOUR, ms, watched};
use swaplane::{Queue, Writer};

struct Rig {
    runtime: tokio::runtime::Runtime,
    /// How often the only thread of the runtime has gone to sleep.
    parks: Arc<AtomicUsize>,
    queue: Queue<usize>,
    _writers: Vec<Writer<usize>>,
}

impl Rig {
    fn after_a_burst(capacity: usize, lanes: usize) -> Self {
        let parks = Arc::new(AtomicUsize::new(0));
        let count = parks.clone();
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
                    // Some pushes find no room.
                    let _ = writer.push(n);
                }
            }
            sleep(ms(5));
        }
        runtime.block_on(queue.flush()).unwrap();
        sleep(ms(20));
        Self {
            runtime,
            parks,
            queue,
            _writers: writers,
        }
    }

    fn parks(&self) -> usize {
        self.parks.load(Relaxed)
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
            let (before, begun) = (rig.parks(), Instant::now());
            for n in 0..PUSHES {
                other.push(n).unwrap();
                sleep(ms(2));
            }
            let polls = begun.elapsed().as_millis() as usize / 10;
            let parks = rig.parks() - before;
            assert!(parks < polls + PUSHES / 4, "{parks} of {capacity}");
        }
    });
}

#[test]
fn an_idle_queue_does_not_wake() {
    watched(|| {
        let rig = Rig::after_a_burst(100_000, 125);
        assert!(rig.queue.is_empty());
        let before = rig.parks();
        sleep(ms(800));
        // A sweep may wake the flusher.
        let parks = rig.parks() - before;
        assert!(parks <= 2, "{parks}");
        drop(rig.runtime);
    });
}
