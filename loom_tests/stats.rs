//! The statistics: a snapshot never shows more items held than the capacity allows.

use super::parts::{Fences, MapSetup, Queue, map};
use super::support::{Mutants, caught, model, thread};

/// There is room for one item; a second one is pushed while the first is delivered.
fn queue(bound: Option<usize>) {
    model(bound, || {
        let queue = Queue::new(1, 8, Fences::None);
        let mut flusher = queue.flusher();
        let lane = queue.lane();
        lane.push(&queue, 1).unwrap();
        let writer = thread::spawn({
            let queue = queue.clone();
            move || lane.push(&queue, 2).is_ok()
        });
        let reader = thread::spawn({
            let queue = queue.clone();
            move || queue.stats().held
        });
        let first = flusher.collect(1).len();
        queue.deliver(first);
        assert!(reader.join().unwrap() <= 1);
        let second = u64::from(writer.join().unwrap());
        let stats = queue.stats();
        assert_eq!((stats.delivered, stats.held), (1, second));
    });
}

/// The same for the entries of a map.
fn entries(bound: Option<usize>) {
    model(bound, || {
        let (map, mut flusher) = map(MapSetup {
            capacity: Some(1),
            ..MapSetup::default()
        });
        map.put(1, 0).unwrap();
        let writer = thread::spawn({
            let map = map.clone();
            move || map.put(2, 0).is_ok()
        });
        let reader = thread::spawn({
            let map = map.clone();
            move || map.stats().held
        });
        let first = flusher.collect().len();
        flusher.deliver(first);
        assert!(reader.join().unwrap() <= 1);
        let second = u64::from(writer.join().unwrap());
        let stats = map.stats();
        assert_eq!((stats.delivered, stats.held), (1, second));
    });
}

#[test]
fn of_a_queue() {
    queue(Some(3));
}

#[test]
fn of_a_map() {
    entries(Some(3));
}

pub(crate) const MUTANTS: Mutants = &[
    ("stats: no fence", || queue(Some(3))),
    ("stats: no fence", || entries(Some(3))),
    ("map: begun", || entries(Some(3))),
];

#[test]
fn mutants() {
    caught(MUTANTS);
}
