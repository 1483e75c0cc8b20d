//! A batch comes back: the flusher learns of that, a batch that it gave up is not mistaken for its
//! successor, and every item is dropped once.

use super::parts::Lease;
use super::support::{Arc, Mutants, Mutex, caught, model, thread};

fn wakes(bound: Option<usize>) {
    model(bound, || {
        let lease = Lease::new();
        let batch = lease.lend(vec![1, 2], 1);
        let thread = thread::spawn(move || drop(batch));
        let mut came = None;
        while let Some(woken) = Some(lease.was_woken()) {
            came = came.or_else(|| lease.collect());
            if !woken {
                break;
            }
        }
        // Asleep.
        thread.join().unwrap();
        assert!(
            came.is_some() || lease.was_woken(),
            "the flusher waits for a batch that has come back"
        );
        assert_eq!(came.or_else(|| lease.collect()), Some(vec![1, 2]));
        assert!(!lease.is_out());
    });
}

/// The flusher gives a batch up, and sends another.
fn straggler(bound: Option<usize>, settled: bool) {
    model(bound, move || {
        let lease = Arc::new(Lease::new());
        let batch = lease.lend(vec![1], 1);
        let thread = thread::spawn({
            let lease = lease.clone();
            move || {
                drop(batch);
                if settled {
                    lease.settle(1);
                }
            }
        });
        let first = lease.collect();
        assert!(first.is_none_or(|items| items == [1]));
        lease.give_up();
        let next = lease.lend(vec![2], 2);
        assert!(lease.collect().is_none());
        drop(next);
        assert_eq!(lease.collect(), Some(vec![2]));
        thread.join().unwrap();
        assert_eq!(lease.collect(), None);
    });
}

/// Two batches of a run, which the flusher cuts short, or gives up.
fn run(bound: Option<usize>) {
    model(bound, || {
        let lease = Arc::new(Lease::new());
        let mut batch = lease.lend_run([vec![1], vec![2]]);
        let sent = Arc::new(Mutex::new(0));
        let thread = thread::spawn({
            let (lease, sent) = (lease.clone(), sent.clone());
            move || {
                for attempt in 1.. {
                    assert_eq!(*batch, [attempt]);
                    *sent.lock().unwrap() += 1;
                    drop(batch);
                    match lease.settle(attempt) {
                        Some(next) => batch = next,
                        None => break,
                    }
                }
            }
        });
        let (followed, rest) = lease.revoke();
        let begun = 2 - rest.len();
        assert!(rest.is_empty() || rest == [vec![2]]);
        assert_eq!(followed + 1, begun, "each but the last was followed");
        thread.join().unwrap();
        assert_eq!(
            *sent.lock().unwrap(),
            begun,
            "what was taken back is not sent"
        );
        assert_eq!(lease.followed(), (0, false));
        assert!(!lease.is_out());
    });
}

/// A sink that waits in the middle of a run lets the flusher know of it.
fn paused(bound: Option<usize>) {
    model(bound, || {
        let lease = Arc::new(Lease::new());
        let first = lease.lend_run([vec![1], vec![2], vec![3]]);
        let thread = thread::spawn({
            let lease = lease.clone();
            move || {
                drop(first);
                let second = lease.settle(1).expect("nobody revokes it");
                lease.pause();
                second
            }
        });
        let mut seen = (0, false);
        while let Some(woken) = Some(lease.was_woken()) {
            let (followed, paused) = lease.followed();
            seen = (seen.0 + followed, paused);
            if !woken {
                break;
            }
        }
        // Asleep.
        drop(thread.join().unwrap());
        assert!(
            seen == (1, true) || lease.was_woken(),
            "the flusher does not know that the run has come to rest"
        );
    });
}

/// From one batch of a run to the next there is no moment at which nothing is out.
fn between(bound: Option<usize>) {
    model(bound, || {
        let lease = Arc::new(Lease::new());
        let first = lease.lend_run([vec![1], vec![2]]);
        let thread = thread::spawn({
            let lease = lease.clone();
            move || lease.settle(1).expect("nobody revokes it")
        });
        assert!(lease.is_out(), "the run has got lost");
        assert_eq!(*thread.join().unwrap(), [2]);
        drop(first);
    });
}

#[test]
fn a_batch_that_comes_back_wakes_the_flusher() {
    wakes(None);
}

#[test]
fn a_stale_batch_is_not_mistaken_for_another() {
    straggler(None, false);
    straggler(None, true);
}

#[test]
fn a_run_is_cut_short() {
    run(None);
    between(None);
    paused(None);
}

pub(crate) const MUTANTS: Mutants = &[
    ("lease: woken before the batch is there", || wakes(None)),
    ("lease: not missed", || wakes(None)),
    ("lease: stale batch let in", || straggler(None, false)),
    ("lease: successor settled", || straggler(None, true)),
    ("lease: revoked in two steps", || run(None)),
    ("lease: woken before it is paused", || paused(None)),
    ("lease: nowhere between two batches", || between(None)),
];

#[test]
fn mutants() {
    caught(MUTANTS);
}
