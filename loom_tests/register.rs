//! Lanes that come and go: a lane that is registered while a flag is raised has the flag from the
//! start, or gets it like the others. A lane whose writer has ended is reaped once it is empty, and
//! not before.

use super::parts::{Fences, Queue};
use super::support::{Mutants, caught, model, thread, yield_now};

fn against_close(bound: Option<usize>, fences: Fences) {
    model(bound, move || {
        let queue = Queue::new(64, 64, fences);
        let mut flusher = queue.flusher();
        let thread = thread::spawn({
            let queue = queue.clone();
            move || {
                let lane = queue.lane();
                let accepted = [1, 2].map(|item| lane.push(&queue, item).is_ok());
                (lane, accepted)
            }
        });
        queue.close();
        while flusher.is_busy() {
            yield_now();
        }
        let taken = flusher.collect_all();
        let (lane, accepted) = thread.join().unwrap();
        let accepted = accepted.into_iter().filter(|&ok| ok).count();
        assert_eq!(taken.len(), accepted);
        assert!(lane.push(&queue, 3).is_err());
    });
}

fn against_park(bound: Option<usize>, fences: Fences) {
    model(bound, move || {
        let queue = Queue::new(64, 64, fences);
        let mut flusher = queue.flusher();
        let thread = thread::spawn({
            let queue = queue.clone();
            move || queue.lane().push(&queue, 1).unwrap()
        });
        let mut taken = 0;
        flusher.fall_asleep(|flusher| taken += flusher.collect(100).len());
        thread.join().unwrap();
        assert!(taken == 1 || flusher.was_woken());
    });
}

/// A `Writer` comes, pushes and goes.
fn reaped(bound: Option<usize>, rounds: usize) {
    model(bound, move || {
        let queue = Queue::new(64, 64, Fences::None);
        let mut flusher = queue.flusher();
        let thread = thread::spawn({
            let queue = queue.clone();
            move || {
                let lane = queue.lane();
                lane.push(&queue, 1).unwrap();
                lane.push(&queue, 2).unwrap();
                lane.retire(&queue);
            }
        });
        let mut taken = Vec::new();
        for _ in 0..rounds {
            taken.extend(flusher.collect(1));
            flusher.reap();
        }
        thread.join().unwrap();
        taken.extend(flusher.collect_all());
        flusher.reap();
        assert_eq!(taken, [1, 2]);
        assert_eq!(queue.accepted(), 2);
        assert_eq!(queue.backlog(), 0, "nothing is held");
        queue.give_back(2);
        assert_eq!(queue.free(), 64);
    });
}

#[test]
fn registered_while_the_queue_closes() {
    against_close(None, Fences::Each);
    against_close(None, Fences::Expedited);
}

#[test]
fn registered_while_the_flusher_parks() {
    against_park(None, Fences::Each);
    against_park(None, Fences::Expedited);
}

#[test]
fn a_lane_is_reaped_once_it_is_empty() {
    reaped(None, 2);
}

pub(crate) const MUTANTS: Mutants = &[
    ("registry: registered without flags", || {
        against_close(Some(2), Fences::Each)
    }),
    ("registry: registered without flags", || {
        against_park(Some(2), Fences::Each)
    }),
    ("lane: ended", || reaped(Some(2), 1)),
    ("lane: end read", || reaped(Some(2), 1)),
    ("collect: end asked last", || reaped(Some(2), 1)),
];

#[test]
fn mutants() {
    caught(MUTANTS);
}
