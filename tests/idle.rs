//! A queue that can do nothing takes no processor time, whatever it waits for. The test is alone in
//! its binary, since the time is that of the process.
#![cfg(all(target_os = "linux", not(miri), not(swaplane_loom)))]

mod common;

use std::time::Duration;

use common::{HOUR, ms, multi_thread, secs};
use swaplane::{Queue, SinkError};

/// Processor time of this process so far, in steps of a hundredth of a second.
fn used() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u64 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(10 * ticks)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    Hangs,
    Fails,
    Works,
}

async fn waits(
    delay: Duration,
    workers: usize,
    size: Option<usize>,
    capacity: usize,
    target: Target,
) {
    let queue = Queue::<u64>::builder()
        .capacity(capacity)
        .max_batch_size(size)
        .max_delay(delay)
        .max_in_flight(workers)
        .retry(|_: u32, _: &SinkError| Some(secs(100)))
        .spawn_fn(move |_batch| async move {
            match target {
                Target::Hangs => std::future::pending().await,
                Target::Fails => Err("down".into()),
                Target::Works => Ok(()),
            }
        })
        .unwrap();
    // The queue is full, refuses pushes, has a waiter and is asked for a flush.
    for n in 0..100 {
        let _ = queue.push(n);
        let _ = queue.push_keyed(&n, n);
    }
    let waiter = tokio::spawn({
        let queue = queue.clone();
        async move { queue.reserve().await.is_ok() }
    });
    let flush = tokio::spawn({
        let queue = queue.clone();
        async move { queue.flush().await.is_ok() }
    });
    tokio::time::sleep(ms(20)).await;
    let _ = queue.push(0);
    tokio::time::sleep(ms(5)).await;

    let before = used();
    tokio::time::sleep(ms(100)).await;
    let spent = used() - before;
    assert!(
        spent < ms(60),
        "{spent:?} of 100 ms: delay {delay:?}, {workers} workers, batches of {size:?}, {target:?}"
    );

    waiter.abort();
    flush.abort();
    let report = queue.shutdown(ms(10)).await;
    let with_outcome = report.delivered + report.lost + report.returned.len() as u64;
    assert_eq!(report.accepted, with_outcome);
}

#[test]
fn a_queue_that_can_do_nothing_takes_no_processor_time() {
    for target in [Target::Hangs, Target::Fails, Target::Works] {
        let runtime = multi_thread(2);
        for delay in [Duration::ZERO, ms(1), HOUR] {
            for workers in [1, 3] {
                let sizes = [
                    (Some(1), 4),
                    (Some(3), 4),
                    (Some(3), 40),
                    (None, 4),
                    (None, 40),
                ];
                for (size, capacity) in sizes {
                    runtime.block_on(waits(delay, workers, size, capacity, target));
                }
            }
        }
    }
}
