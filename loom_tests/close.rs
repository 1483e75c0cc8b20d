//! Closing: a push that races it is refused, or accepted and then in the last collection; one
//! that begins after `close()` has returned is refused. Whichever way flags reach pushes.

use super::parts::{Fences, Flusher, OwnLane, Queue};
use super::support::{Mutants, caught, model, thread, yield_now};

/// How an item is pushed.
#[derive(Clone, Copy)]
enum Way {
    Push,
    /// With a credit left over from a lease: five items are in the lane already. Without fences the
    /// next push is a fast one, and it takes no lock of the pool, which would be a fence.
    Funded,
    Prepaid,
    /// Where there is no lane.
    Fallback,
    /// A push from within a push: the inner one goes to the fallback list.
    Around,
}

impl Way {
    fn ready(self, queue: &Queue<u32>, lane: &OwnLane<u32>) -> Vec<u32> {
        match self {
            Self::Funded => {
                (91..96).for_each(|item| lane.push(queue, item).unwrap());
                Vec::from_iter(91..96)
            }
            _ => Vec::new(),
        }
    }

    /// What was accepted, in the order in which it is collected.
    fn push(self, queue: &Queue<u32>, lane: &OwnLane<u32>, item: u32) -> Vec<u32> {
        let mut accepted = Vec::new();
        let mut note = |item, ok: bool| accepted.extend(ok.then_some(item));
        match self {
            Self::Push | Self::Funded => note(item, lane.push(queue, item).is_ok()),
            Self::Prepaid => note(item, lane.push_prepaid(queue, item).is_ok()),
            Self::Fallback => note(item, queue.push_fallback(item).is_ok()),
            Self::Around => {
                let mut inner = false;
                let push = || inner = lane.push(queue, item + 1).is_ok();
                let outer = lane.push_around(queue, item, push);
                note(item, outer);
                note(item + 1, inner);
            }
        }
        accepted
    }
}

/// As the flusher does once it knows that the queue is closed.
fn last_collection(flusher: &mut Flusher<u32>) -> Vec<u32> {
    while flusher.is_busy() {
        yield_now();
    }
    flusher.collect_all()
}

/// Who closes also collects.
fn close(bound: Option<usize>, fences: Fences, way: Way, pushes: u32) {
    model(bound, move || {
        let queue = Queue::new(64, 64, fences);
        let mut flusher = queue.flusher();
        let lane = queue.lane();
        let mut accepted = way.ready(&queue, &lane);
        let thread = thread::spawn({
            let queue = queue.clone();
            move || {
                for item in 1..=pushes {
                    accepted.extend(way.push(&queue, &lane, 10 * item));
                }
                (lane, accepted)
            }
        });
        assert!(queue.close());
        let taken = last_collection(&mut flusher);
        let (lane, accepted) = thread.join().unwrap();
        assert_eq!(taken, accepted);
        assert_eq!(queue.accepted(), accepted.len() as u64);
        let refused = lane.push(&queue, 0).unwrap_err();
        assert!(refused.is_closed());
        assert!(!queue.close());
        lane.retire(&queue);
        assert_eq!(queue.backlog(), 0, "nothing is held");
    });
}

/// A flusher that learns of the close, and swaps meanwhile.
fn noticed_close(bound: Option<usize>, fences: Fences, ready: u32, pushes: u32) {
    noticed(bound, fences, ready, pushes, Queue::close);
}

fn noticed(
    bound: Option<usize>,
    fences: Fences,
    ready: u32,
    pushes: u32,
    close: fn(&Queue<u32>) -> bool,
) {
    model(bound, move || {
        let queue = Queue::new(64, 64, fences);
        let mut flusher = queue.flusher();
        let lane = queue.lane();
        (1..=ready).for_each(|item| lane.push(&queue, item).unwrap());
        let closer = thread::spawn({
            let queue = queue.clone();
            move || close(&queue)
        });
        let writer = thread::spawn({
            let queue = queue.clone();
            move || {
                let items = ready + 1..=ready + pushes;
                let push = |&item: &u32| lane.push(&queue, item).is_ok();
                let accepted = items.filter(push).count();
                (lane, accepted)
            }
        });
        let mut taken = flusher.collect(100);
        let mut over = false;
        if flusher.take_requests().1 {
            taken.extend(last_collection(&mut flusher));
            over = true;
        }
        assert!(closer.join().unwrap());
        if !over && flusher.take_requests().1 {
            taken.extend(last_collection(&mut flusher));
        }
        let (lane, accepted) = writer.join().unwrap();
        assert_eq!(taken, Vec::from_iter(1..=ready + accepted as u32));
        assert!(lane.push(&queue, 0).unwrap_err().is_closed());
    });
}

#[test]
fn against_a_push() {
    close(None, Fences::Each, Way::Push, 2);
    close(Some(3), Fences::Each, Way::Push, 3);
    close(None, Fences::Each, Way::Funded, 1);
}

#[test]
fn against_a_push_without_a_fence() {
    close(None, Fences::Expedited, Way::Push, 1);
    close(None, Fences::Expedited, Way::Funded, 2);
}

#[test]
fn against_a_prepaid_push() {
    close(None, Fences::Each, Way::Prepaid, 1);
    close(None, Fences::Expedited, Way::Prepaid, 1);
}

#[test]
fn against_a_fallback_push() {
    close(None, Fences::Each, Way::Fallback, 2);
    close(None, Fences::Each, Way::Around, 1);
    close(None, Fences::Expedited, Way::Around, 1);
}

#[test]
fn noticed_by_the_flusher() {
    noticed_close(Some(3), Fences::Each, 0, 1);
    noticed_close(Some(2), Fences::Each, 2, 2);
    noticed_close(Some(2), Fences::Expedited, 2, 2);
}

/// A shutdown closes and leaves its request in one step.
fn shut_down(bound: Option<usize>) {
    noticed(bound, Fences::Each, 0, 1, |queue| {
        queue.shut_down();
        true
    });
}

#[test]
fn by_a_shutdown() {
    shut_down(Some(3));
}

pub(crate) const MUTANTS: Mutants = &[
    ("lane: closed ignored", || {
        close(None, Fences::Each, Way::Funded, 1)
    }),
    ("lane: not set busy", || {
        close(None, Fences::Each, Way::Funded, 1)
    }),
    ("lane: no fence after busy", || {
        close(None, Fences::Each, Way::Funded, 1)
    }),
    ("lane: weak fence after busy", || {
        close(None, Fences::Each, Way::Funded, 1)
    }),
    ("lane: no compiler fence after busy", || {
        close(None, Fences::Expedited, Way::Funded, 1)
    }),
    ("lane: no compiler fence after busy", || {
        close(None, Fences::Expedited, Way::Prepaid, 1)
    }),
    ("lane: not set busy", || {
        close(None, Fences::Expedited, Way::Funded, 1)
    }),
    ("lane: not set busy", || {
        close(None, Fences::Expedited, Way::Prepaid, 1)
    }),
    ("store: prepaid push not reported", || {
        close(None, Fences::Expedited, Way::Prepaid, 1)
    }),
    ("lane: busy cleared", || {
        close(None, Fences::Each, Way::Funded, 1)
    }),
    ("lane: busy read", || {
        close(None, Fences::Each, Way::Funded, 1)
    }),
    ("barrier: no fence", || {
        close(None, Fences::Each, Way::Funded, 1)
    }),
    ("barrier: weak fence", || {
        close(None, Fences::Each, Way::Funded, 1)
    }),
    ("collect: busy ignored", || {
        close(None, Fences::Each, Way::Funded, 1)
    }),
    ("lane: pushed within a slow push", || {
        close(Some(2), Fences::Each, Way::Around, 1)
    }),
    ("fallback: closed ignored", || {
        close(None, Fences::Each, Way::Fallback, 1)
    }),
    ("lane: raised in two steps", || {
        noticed_close(Some(2), Fences::Each, 2, 2)
    }),
    ("lane: generation in two steps", || {
        noticed_close(Some(2), Fences::Each, 2, 2)
    }),
    ("close: requested before the store is closed", || {
        noticed_close(Some(2), Fences::Each, 2, 2)
    }),
];

#[test]
fn mutants() {
    caught(MUTANTS);
}
