//! The size trigger: of the last report before a batch is full and the flusher's wish to be told,
//! whichever comes second knows of the other.

use super::parts::{Fences, Queue};
use super::support::{Mutants, caught, model, thread};

fn load(bound: Option<usize>, lanes: usize) {
    model(bound, move || {
        let queue = Queue::new(64, lanes, Fences::None);
        let mut flusher = queue.flusher();
        let threads = Vec::from_iter((0..lanes).map(|_| {
            let (queue, lane) = (queue.clone(), queue.lane());
            thread::spawn(move || lane.push(&queue, 1).unwrap())
        }));
        let full = flusher.arm();
        assert!(!full || flusher.available() == lanes);
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(
            full || flusher.was_woken(),
            "the flusher sleeps on a full batch"
        );
    });
}

/// The flusher wants two full batches, then one.
fn sooner(bound: Option<usize>) {
    model(bound, || {
        let queue = Queue::new(64, 2, Fences::None);
        let mut flusher = queue.flusher();
        let threads = Vec::from_iter((0..2).map(|_| {
            let (queue, lane) = (queue.clone(), queue.lane());
            thread::spawn(move || lane.push(&queue, 1).unwrap())
        }));
        assert!(!flusher.arm_for_two(), "two are four items");
        let full = flusher.arm();
        assert!(!full || flusher.available() == 2);
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(
            full || flusher.was_woken(),
            "the flusher sleeps on a full batch"
        );
    });
}

#[test]
fn wanted_sooner() {
    sooner(Some(3));
}

#[test]
fn of_one_lane() {
    load(None, 1);
}

#[test]
fn of_two_lanes() {
    load(Some(3), 2);
}

pub(crate) const MUTANTS: Mutants = &[
    ("backlog: reported", || load(None, 1)),
    ("backlog: armed", || load(None, 1)),
];

#[test]
fn mutants() {
    caught(MUTANTS);
}
