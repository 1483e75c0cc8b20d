//! What a buffer takes beyond the items that it holds, and how often it asks for memory.

use tokio::task;

use super::Case;
use crate::{
    alloc::{self, Counts, counted},
    item::{Item, Small},
    peers::{
        Pipe, Pull, Push,
        channels::{Crossbeam, Flume, Kanal, Std, Tokio},
        mutex::{OwnShard, ParkingLot},
        queues::{Concurrent, Seg},
        rings::{Disruptor, Rtrb},
    },
    row::Row,
    solo::{Buffer, ByQueue, ByWriter, In, Ours},
    tally::{BATCH, Tally},
};

type Item16 = Small;
const HELD: u64 = 1_000_000;

pub fn add(cases: &mut Vec<Case>) {
    held::<OwnShard<ParkingLot<Item16>>>(cases);
    held::<Seg>(cases);
    held::<Concurrent>(cases);
    held::<Crossbeam>(cases);
    held::<Flume>(cases);
    held::<Kanal>(cases);
    held::<Tokio>(cases);
    held::<Std>(cases);
    steady::<OwnShard<ParkingLot<Item16>>>(cases);
    steady::<Seg>(cases);
    steady::<Concurrent>(cases);
    steady::<Crossbeam>(cases);
    steady::<Flume>(cases);
    steady::<Kanal>(cases);
    steady::<Tokio>(cases);
    steady::<Std>(cases);
    steady::<Rtrb>(cases);
    steady::<Disruptor>(cases);
}

fn held<P: Pipe<Item16>>(cases: &mut Vec<Case>) {
    let name = format!("memory/held-1M/{}", P::NAME);
    cases.push(Case::new(name, true, |case, _| {
        let peer = || {
            counted(|| {
                let (mut txs, rx) = P::open(1);
                (0..HELD).for_each(|number| txs[0].push(Item16::make(number)));
                (txs, rx)
            })
            .0
        };
        let rows = [
            ("Writer::push", ours_held(ByWriter::new())),
            ("Queue::push", ours_held(ByQueue)),
        ];
        let peer = beyond(peer());
        rows.map(|(name, ours)| {
            let note = "a single measurement";
            Row::single(
                case,
                name,
                P::NAME,
                "bytes beyond payload, per item",
                (beyond(ours), peer),
                note,
            )
        })
        .into()
    }));
}

fn ours_held<P: In<Item16>>(push: P) -> Counts {
    counted(|| {
        let mut ours = Ours::new(push, None);
        ours.first(Item16::make(0));
        ours.push(1..HELD);
        ours
    })
    .0
}

fn beyond(counts: Counts) -> f64 {
    counts.bytes as f64 / HELD as f64 - size_of::<Item16>() as f64
}

/// Chunks that let everything grow, and chunks that count.
const GROWING: u64 = 256;
const CHUNKS: u64 = 1024;

fn steady<P: Pipe<Item16>>(cases: &mut Vec<Case>) {
    let name = format!("alloc/steady/{}", P::NAME);
    cases.push(Case::new(name, true, |case, _| {
        let (push, batch) = ours_steady();
        let (mut txs, mut rx) = P::open(1);
        let mut tally = Tally::default();
        let (mut pushing, mut pulling) = (0, 0);
        for chunk in 0..GROWING + CHUNKS {
            let counts = [
                counted(|| (0..BATCH as u64).for_each(|n| txs[0].push(Item16::make(n)))).0,
                counted(|| {
                    while tally.count < (chunk + 1) * BATCH as u64 {
                        rx.pull(&mut tally);
                    }
                })
                .0,
            ];
            if chunk >= GROWING {
                pushing += counts[0].calls;
                pulling += counts[1].calls;
            }
        }
        let items = (CHUNKS * BATCH as u64) as f64;
        let (of_push, of_batch) = ("allocations per push", "allocations per batch of 512");
        let push = (push, pushing as f64 / items);
        let batch = (batch, pulling as f64 / CHUNKS as f64);
        vec![
            Row::single(case, "Writer::push", P::NAME, of_push, push, ""),
            Row::single(case, "collect and send", P::NAME, of_batch, batch, ""),
        ]
    }));
}

/// Per push and per batch.
fn ours_steady() -> (f64, f64) {
    let (mut pushing, mut sending) = (0, 0);
    let ours = Ours::<Item16, _>::new(ByWriter::new(), BATCH);
    // All in one `block_on`, which itself allocates.
    ours.drive(async |queue, sink| {
        let mut writer = queue.writer();
        let mut arrived = 0;
        for chunk in 0..GROWING + CHUNKS {
            let counts = counted(|| {
                for number in 0..BATCH as u64 {
                    assert!(writer.push(Item16::make(number)).is_ok(), "there is room");
                }
            });
            pushing += if chunk < GROWING { 0 } else { counts.0.calls };
            arrived += BATCH as u64;
            alloc::start();
            while sink.tally().count < arrived {
                task::yield_now().await;
            }
            let counts = alloc::stop();
            sending += if chunk < GROWING { 0 } else { counts.calls };
        }
    });
    let items = (CHUNKS * BATCH as u64) as f64;
    (pushing as f64 / items, sending as f64 / CHUNKS as f64)
}
