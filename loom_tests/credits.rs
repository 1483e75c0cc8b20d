//! Capacity: never more is held than there are credits, none is lost, few lie idle; and whoever is
//! refused or waits makes the flusher make room.

use super::parts::{Fences, Queue};
use super::support::{Arc, Mutants, block_on, caught, model, thread};
use crate::capacity::credits::Credits;

/// Two lanes and a flusher that delivers what it collects.
fn held(bound: Option<usize>, capacity: usize, pushes: u32) {
    model(bound, move || {
        let queue = Queue::new(capacity, 8, Fences::None);
        let mut flusher = queue.flusher();
        let threads = [0; 2].map(|_| {
            let (queue, lane) = (queue.clone(), queue.lane());
            thread::spawn(move || {
                let push = |&item: &u32| lane.push(&queue, item).is_ok();
                let accepted = (0..pushes).filter(push).count();
                lane.retire(&queue);
                accepted
            })
        });
        let first = flusher.collect(100).len();
        assert!(first <= capacity);
        queue.give_back(first);
        let second = flusher.collect(100).len();
        assert!(second <= capacity);
        let accepted: usize = threads.map(|thread| thread.join().unwrap()).iter().sum();
        assert!(accepted <= first + capacity);
        let rest = flusher.collect_all().len();
        assert_eq!(accepted, first + second + rest);
        queue.give_back(second + rest);
        assert_eq!(queue.free(), capacity);
    });
}

/// Two leases of which only one may bring more than was asked for at once.
fn idle(bound: Option<usize>) {
    model(bound, || {
        let credits = Arc::new(Credits::new(4));
        let lease = {
            let credits = credits.clone();
            move || credits.lease(2, 0)
        };
        let thread = thread::spawn(lease.clone());
        let leases = lease() + thread.join().unwrap();
        assert_eq!(leases, 3);
        credits.no_longer_idle(1);
        credits.give_back(leases);
        assert_eq!(credits.free(), 4);
    });
}

/// A refused push requests room, and the flusher sees what there is to deliver.
fn refused(bound: Option<usize>) {
    model(bound, || {
        let queue = Queue::new(1, 8, Fences::None);
        let mut flusher = queue.flusher();
        let thread = thread::spawn({
            let (queue, lane) = (queue.clone(), queue.lane());
            move || {
                lane.push(&queue, 1).unwrap();
                lane.push(&queue, 2).is_err()
            }
        });
        let room_requested = flusher.is_room_requested();
        assert!(!room_requested || flusher.available() == 1);
        assert!(thread.join().unwrap());
        assert!(room_requested || flusher.was_woken());
    });
}

/// A caller begins to wait while the flusher, which has made room for an earlier one, clears the
/// request for room.
fn waiting(bound: Option<usize>) {
    model(bound, || {
        let queue = Queue::new(1, 8, Fences::None);
        let flusher = queue.flusher();
        queue.push_shared(1).unwrap();
        queue.push_shared(2).unwrap_err();
        assert!(flusher.was_woken() && flusher.is_room_requested());
        let thread = thread::spawn({
            let queue = queue.clone();
            move || {
                let mut waits = Box::pin(async move { queue.reserve().await });
                let waker = std::task::Waker::noop();
                let mut context = std::task::Context::from_waker(waker);
                assert!(waits.as_mut().poll(&mut context).is_pending());
                waits
            }
        });
        flusher.clear_room_request();
        let room_requested = flusher.is_room_requested();
        let waits = thread.join().unwrap();
        assert!(
            room_requested || flusher.was_woken(),
            "nobody makes room for who waits"
        );
        queue.give_back(1);
        assert!(block_on(waits));
    });
}

/// Two wait, and get what comes back, or learn that the queue is closed.
fn served(bound: Option<usize>, close: bool) {
    model(bound, move || {
        let queue = Queue::<u32>::new(1, 8, Fences::None);
        assert!(block_on(queue.reserve()));
        let threads = [0; 2].map(|_| {
            let queue = queue.clone();
            thread::spawn(move || {
                let got = block_on(queue.reserve());
                queue.give_back(usize::from(got));
                got
            })
        });
        if close {
            queue.close();
        }
        queue.give_back(1);
        for thread in threads {
            assert!(thread.join().unwrap() || close);
        }
        assert_eq!(queue.free(), 1);
    });
}

#[test]
fn never_more_than_the_capacity() {
    held(Some(2), 1, 2);
    held(Some(2), 3, 2);
}

#[test]
fn few_lie_idle() {
    idle(None);
}

#[test]
fn a_refusal_wakes_the_flusher() {
    refused(None);
}

#[test]
fn a_waiter_wakes_the_flusher() {
    waiting(None);
}

#[test]
fn waiters_are_served() {
    served(Some(2), false);
    served(Some(2), true);
}

pub(crate) const MUTANTS: Mutants = &[
    ("credits: none needed", || held(Some(1), 1, 2)),
    ("credits: no allowance", || idle(None)),
    ("room: requested", || refused(None)),
    ("room: request read", || refused(None)),
    ("room: requested", || waiting(None)),
];

#[test]
fn mutants() {
    caught(MUTANTS);
}
