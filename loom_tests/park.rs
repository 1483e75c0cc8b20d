//! Parking: once the flusher is parked a push wakes it, and no push before is missed. (A lost
//! wake-up shows as a flusher that was not woken when all is over, not as a deadlock.)

use super::parts::{Fences, Queue};
use super::support::{Mutants, caught, model, thread};

/// Whether the flusher, each time it wakes, lets pushes be silent again.
#[derive(Clone, Copy, PartialEq)]
enum Flag {
    StaysUp,
    ComesDown,
}

fn park(bound: Option<usize>, fences: Fences, flag: Flag, lanes: u32, ready: u32, pushes: u32) {
    model(bound, move || {
        let queue = Queue::new(64, 64, fences);
        let mut flusher = queue.flusher();
        let threads = Vec::from_iter((0..lanes).map(|_| {
            let (queue, lane) = (queue.clone(), queue.lane());
            (0..ready).for_each(|item| lane.push(&queue, item).unwrap());
            thread::spawn(move || {
                (0..pushes).for_each(|item| lane.push(&queue, item).unwrap());
            })
        }));
        let mut taken = 0;
        flusher.fall_asleep(|flusher| {
            taken += flusher.collect(100).len();
            if flag == Flag::ComesDown {
                flusher.unpark();
                taken += flusher.collect(100).len();
            }
        });
        // Asleep.
        for thread in threads {
            thread.join().unwrap();
        }
        let all = (lanes * (ready + pushes)) as usize;
        assert!(
            taken == all || flusher.was_woken(),
            "the flusher sleeps on {}",
            all - taken
        );
        taken += flusher.collect_all().len();
        assert_eq!(taken, all);
    });
}

#[test]
fn against_one_lane() {
    park(None, Fences::Each, Flag::StaysUp, 1, 0, 1);
    park(Some(2), Fences::Each, Flag::StaysUp, 1, 0, 3);
    park(Some(2), Fences::Each, Flag::ComesDown, 1, 0, 2);
}

#[test]
fn against_one_lane_without_a_fence() {
    park(Some(4), Fences::Expedited, Flag::StaysUp, 1, 5, 1);
    park(Some(2), Fences::Expedited, Flag::StaysUp, 1, 5, 2);
    park(Some(3), Fences::Expedited, Flag::ComesDown, 1, 5, 1);
}

#[test]
fn against_two_lanes() {
    park(Some(2), Fences::Each, Flag::StaysUp, 2, 0, 1);
    park(Some(2), Fences::Each, Flag::ComesDown, 2, 0, 1);
}

fn one_push() {
    park(None, Fences::Each, Flag::StaysUp, 1, 0, 1);
}

pub(crate) const MUTANTS: Mutants = &[
    ("lane: parked ignored", one_push),
    ("park: not looked again", one_push),
    ("collect: busy ignored", one_push),
    ("barrier: no fence", one_push),
    ("barrier: weak fence", one_push),
    ("lane: no fence after busy", one_push),
    ("lane: weak fence after busy", one_push),
    ("lane: no compiler fence after busy", || {
        park(None, Fences::Expedited, Flag::StaysUp, 1, 5, 1)
    }),
    ("lane: busy cleared", one_push),
    ("lane: busy read", one_push),
    ("lane: lowered in two steps", || {
        park(Some(3), Fences::Each, Flag::ComesDown, 1, 2, 1)
    }),
];

#[test]
fn mutants() {
    caught(MUTANTS);
}
