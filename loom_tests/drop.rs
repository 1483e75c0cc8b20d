//! Dropping: whatever state a lane is left in, each item is dropped once and each chunk freed
//! once. (loom itself looks for what is left of `Arc`s, `track` for chunks.)

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::parts::{Fences, Queue, lane};
use super::support::{Mutants, caught, model, thread};

/// How often each item was dropped.
type Ledger = [AtomicU32; 8];

struct Item(usize, &'static Ledger);

impl Drop for Item {
    fn drop(&mut self) {
        self.1[self.0].fetch_add(1, Relaxed);
    }
}

fn ledger() -> &'static Ledger {
    Box::leak(Box::default())
}

fn check(ledger: &Ledger, items: usize) {
    for (item, drops) in ledger.iter().enumerate() {
        let drops = drops.swap(0, Relaxed);
        assert_eq!(drops, u32::from(item < items), "drops of item {item}");
    }
}

/// Both ends of a lane are dropped, in either order.
fn lane_left(bound: Option<usize>, ready: usize, pushes: usize, takes: usize, sweeps: usize) {
    let ledger = ledger();
    model(bound, move || {
        let (writer, mut reader) = lane();
        (0..ready).for_each(|item| writer.push(Item(item, ledger)));
        let mut taken = reader.take(100);
        let thread = thread::spawn(move || {
            (ready..ready + pushes).for_each(|item| writer.push(Item(item, ledger)));
        });
        for _ in 0..takes {
            taken.extend(reader.take(1));
        }
        for _ in 0..sweeps {
            reader.sweep();
        }
        drop(reader);
        thread.join().unwrap();
        drop(taken);
        check(ledger, ready + pushes);
    });
}

/// A queue is dropped with all that is in it: items in a lane that was adopted or not, in a lane
/// whose writer has ended or not, and in the fallback list.
fn queue_left(bound: Option<usize>) {
    let ledger = ledger();
    model(bound, move || {
        let queue = Queue::new(64, 64, Fences::None);
        let mut flusher = queue.flusher();
        let thread = thread::spawn({
            let queue = queue.clone();
            move || {
                let lane = queue.lane();
                let inner = Item(1, ledger);
                // Those that come back are dropped with the error.
                let push = |item| lane.push(&queue, item).is_ok();
                push(Item(0, ledger));
                lane.push_around(&queue, Item(2, ledger), || {
                    push(inner);
                });
                lane.retire(&queue);
                queue.push_shared(Item(3, ledger)).is_ok()
            }
        });
        let taken = flusher.collect(1);
        flusher.reap();
        queue.close();
        drop((queue, flusher));
        thread.join().unwrap();
        drop(taken);
        check(ledger, 4);
    });
}

#[test]
fn new_lane() {
    lane_left(Some(3), 0, 4, 2, 2);
}

#[test]
fn swapped_lane() {
    lane_left(Some(3), 2, 3, 2, 2);
    lane_left(Some(3), 3, 4, 2, 0);
}

#[test]
fn queue() {
    queue_left(Some(2));
}

pub(crate) const MUTANTS: Mutants = &[
    ("lane: unread items forgotten", || {
        lane_left(Some(2), 3, 4, 2, 0)
    }),
    ("chunk: spares forgotten", || lane_left(Some(2), 3, 4, 2, 0)),
];

#[test]
fn mutants() {
    caught(MUTANTS);
}
