//! The memory of threads that come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use swaplane::{Batch, Queue};

use crate::TURN;
use crate::common::{block_on, lock, ms, scaled, secs, within};

/// The resident memory of this process in KiB, where the system tells.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// The lanes of ended threads are used again.
#[test]
fn a_hundred_thousand_short_threads_leave_no_memory_behind() {
    let _turn = lock(&TURN);
    within(secs(300), || {
        let got = Arc::new(AtomicUsize::new(0));
        let counter = got.clone();
        let queue = Queue::builder()
            .own_thread()
            .max_delay(ms(1))
            .spawn_fn(move |batch: Batch<[u64; 4]>| {
                counter.fetch_add(batch.len(), SeqCst);
                async { Ok(()) }
            })
            .unwrap();
        let (rounds, per_round) = (scaled(100, 2), scaled(1000, 10));
        let mut after_warm_up = None;
        for round in 0..rounds {
            for _ in 0..per_round / 2 {
                let threads = [0; 2].map(|n| {
                    let queue = queue.clone();
                    thread::spawn(move || queue.push([n; 4]).unwrap())
                });
                for thread in threads {
                    thread.join().unwrap();
                }
            }
            block_on(queue.flush()).unwrap();
            if round == rounds / 10 {
                after_warm_up = resident();
            }
        }
        assert_eq!(got.load(SeqCst), rounds * per_round);
        if let (Some(before), Some(after), false) = (after_warm_up, resident(), cfg!(miri)) {
            assert!(
                after < before + 32 * 1024,
                "grew from {before} KiB to {after} KiB"
            );
        }
        assert!(block_on(queue.shutdown(secs(30))).is_complete());
    });
}
