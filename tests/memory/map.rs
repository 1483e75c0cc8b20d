//! The memory of a map goes down again.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use swaplane::{Batch, Builder, Entry, Map, SinkError};
use tokio::time::sleep;

use crate::common::{ms, secs};
use crate::counting::LIVE_BYTES;
use crate::in_turn;

type Value = [u64; 4];

const ENTRIES: u64 = 20_000;

fn builder() -> Builder<Map<u64, Value>> {
    Map::builder().partitions(1).capacity(2 * ENTRIES as usize)
}

fn put(map: &Map<u64, Value>) {
    for key in 0..ENTRIES {
        map.put_newer(key, [key; 4], 1).unwrap();
    }
}

/// Fails unless all but a little is freed, a minute after the last entry is gone.
async fn assert_lean(map: &Map<u64, Value>, before: isize) {
    while !map.is_empty() {
        sleep(ms(100)).await;
    }
    sleep(secs(60)).await;
    let kept = LIVE_BYTES.load(Relaxed) - before;
    assert!(kept < 100_000, "{kept} bytes are kept");
}

/// The sink is so slow that the flusher frees memory while much is in flight.
#[test]
fn a_map_is_small_again_after_a_burst() {
    in_turn(async || {
        let before = LIVE_BYTES.load(Relaxed);
        let slow = |batch: Batch<Entry<u64, Value>>| async move {
            sleep(ms(100)).await;
            drop(batch);
            Ok(())
        };
        let map = builder().spawn_fn(slow).unwrap();
        put(&map);
        assert_lean(&map, before).await;
    });
}

/// One batch of everything is delivered after some attempts.
#[test]
fn a_map_is_small_again_after_an_outage() {
    in_turn(async || {
        let before = LIVE_BYTES.load(Relaxed);
        let attempts = AtomicUsize::new(0);
        let map = builder()
            .max_batch_size(None)
            .retry(|_: u32, _: &SinkError| Some(secs(1)))
            .spawn_fn(move |_batch| {
                let down = attempts.fetch_add(1, Relaxed) < 10;
                async move { if down { Err("down".into()) } else { Ok(()) } }
            })
            .unwrap();
        put(&map);
        assert_lean(&map, before).await;
    });
}

/// Nothing is sent.
#[test]
fn a_map_is_small_again_after_removals() {
    in_turn(async || {
        let before = LIVE_BYTES.load(Relaxed);
        let map = builder()
            .max_batch_size(None)
            .max_delay(secs(5))
            .spawn_fn(|_batch| async { Ok(()) })
            .unwrap();
        put(&map);
        for key in 0..ENTRIES {
            assert!(map.remove(&key).is_some());
        }
        assert_lean(&map, before).await;
    });
}
