//! Batches come home: the flusher learns of it, one that it has given up is not mistaken for its
//! successor, and every item is dropped once.

use swaplane::internals::Home;

use crate::support::{Arc, Mutants, caught, model, thread};

fn rung(bound: Option<usize>) {
    model(bound, || {
        let home = Home::new();
        let batch = home.lend(vec![1, 2], 1);
        let thread = thread::spawn(move || drop(batch));
        let mut came = None;
        while let Some(rung) = Some(home.rung()) {
            came = came.or_else(|| home.collect());
            if !rung {
                break;
            }
        }
        // Asleep.
        thread.join().unwrap();
        assert!(
            came.is_some() || home.rung(),
            "the flusher waits for a batch that is home"
        );
        assert_eq!(came.or_else(|| home.collect()), Some(vec![1, 2]));
        assert!(!home.is_out());
    });
}

/// The flusher gives a batch up, and sends another.
fn straggler(bound: Option<usize>, settled: bool) {
    model(bound, move || {
        let home = Arc::new(Home::new());
        let batch = home.lend(vec![1], 1);
        let thread = thread::spawn({
            let home = home.clone();
            move || {
                drop(batch);
                if settled {
                    home.settle(1);
                }
            }
        });
        let first = home.collect();
        assert!(first.is_none_or(|items| items == [1]));
        home.give_up();
        let next = home.lend(vec![2], 2);
        assert!(home.collect().is_none());
        drop(next);
        assert_eq!(home.collect(), Some(vec![2]));
        thread.join().unwrap();
        assert_eq!(home.collect(), None);
    });
}

#[test]
fn with_a_bell() {
    rung(None);
}

#[test]
fn too_late() {
    straggler(None, false);
    straggler(None, true);
}

fn bell() {
    rung(None);
}

fn dropped_late() {
    straggler(None, false);
}

fn settled_late() {
    straggler(None, true);
}

pub(crate) const MUTANTS: Mutants = &[
    ("home: rung before the batch is there", bell),
    ("home: not missed", bell),
    ("home: straggler let in", dropped_late),
    ("home: successor settled", settled_late),
];

#[test]
fn mutants() {
    caught(MUTANTS);
}
