//! Every kind of push at once, with items that own memory. The tests are alone in their binary and
//! small, since Miri runs them with many seeds (see `ci/check.sh`). Miri sees what no ordinary run
//! shows: a slot read before it was written, a chunk freed too early, an item dropped twice or
//! never.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use swaplane::{Batch, Queue};
use tokio::runtime::Builder;

/// More than the first chunk of a lane has room for, which is 512 bytes.
const ITEMS: u64 = 100;

type Item = Box<u64>;

#[test]
fn every_item_arrives_once_and_in_order_however_it_was_pushed() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let (sent, delivered) = mpsc::channel();
    let queue = runtime.block_on(async {
        Queue::<Item>::builder()
            .partitions(2)
            .capacity(1000)
            .max_batch_size(40)
            .max_delay(Duration::ZERO)
            .spawn_fn(move |batch: Batch<Item>| {
                let sent = sent.clone();
                async move {
                    sent.send(batch.into_vec())?;
                    Ok(())
                }
            })
            .unwrap()
    });

    let mut threads = Vec::new();
    for way in 0..3 {
        let queue = queue.clone();
        threads.push(thread::spawn(move || {
            let mut writer = queue.writer();
            for i in 0..ITEMS {
                let item = Box::new(way * ITEMS + i);
                let pushed = match way {
                    0 => queue.push(item),
                    1 => queue.push_keyed("key", item),
                    _ => writer.push(item),
                };
                pushed.unwrap();
            }
        }));
    }
    // The next thread takes the lane of one that has ended.
    for _ in 0..2 {
        let queue = queue.clone();
        threads.push(thread::spawn(move || {
            for _ in 0..10 {
                queue.push(Box::new(u64::MAX)).unwrap();
            }
        }));
    }
    runtime.block_on(queue.flush()).unwrap();
    for thread in threads {
        thread.join().unwrap();
    }
    runtime.block_on(queue.flush()).unwrap();

    let items: Vec<u64> = delivered.try_iter().flatten().map(|item| *item).collect();
    for way in 0..3 {
        let range = way * ITEMS..(way + 1) * ITEMS;
        let arrived = items.iter().copied().filter(|item| range.contains(item));
        assert!(arrived.eq(range.clone()), "way {way}");
    }
    assert_eq!(items.len() as u64, 3 * ITEMS + 20);
}

#[test]
fn items_that_never_leave_their_lanes_are_returned_or_dropped() {
    for shut_down in [true, false] {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let queue = runtime.block_on(async {
            Queue::<Item>::builder()
                .spawn_fn(|_: Batch<Item>| async { Ok(()) })
                .unwrap()
        });
        let mut writer = queue.writer();
        for i in 0..ITEMS {
            queue.push(Box::new(i)).unwrap();
            writer.push(Box::new(i)).unwrap();
        }
        drop(runtime);
        if shut_down {
            let report = queue.shutdown_blocking(Duration::from_secs(1));
            assert_eq!(report.returned.len() as u64, 2 * ITEMS);
        }
    }
}
