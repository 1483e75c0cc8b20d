//! Hand-over: the lane of a thread that has ended goes, with its index, to another; the lane of
//! a `Writer` to whom it is sent. The lane goes on where it was.

use super::parts::{Fences, Queue};
use super::support::{Arc, Mutants, Mutex, caught, model, thread};
use crate::queue::threads::Indices;

/// Two threads that each push under the index they get, which may be the same.
fn indices(bound: Option<usize>, pushes: u32) {
    model(bound, move || {
        let indices = Arc::new(Indices::new());
        let queue = Queue::new(64, 64, Fences::None);
        let mut flusher = queue.flusher();
        let threads = [10, 20].map(|first| {
            let (indices, queue) = (indices.clone(), queue.clone());
            thread::spawn(move || {
                let me = indices.claim();
                for item in first..first + pushes {
                    queue.push_as(&me, item).unwrap();
                }
                indices.give_back(me);
            })
        });
        let mut taken = flusher.collect(100);
        for thread in threads {
            thread.join().unwrap();
        }
        taken.extend(flusher.collect_all());
        assert_eq!(taken.len(), 2 * pushes as usize);
        for first in [10, 20] {
            let of_thread = taken.iter().filter(|&&item| item / 10 == first / 10);
            assert!(of_thread.copied().eq(first..first + pushes), "{taken:?}");
        }
    });
}

/// A lane that is left in a state where another thread finds it, or not.
fn sent(bound: Option<usize>) {
    model(bound, || {
        let queue = Queue::new(64, 64, Fences::None);
        let mut flusher = queue.flusher();
        let state = Arc::new(Mutex::new(None));
        let threads = [true, false].map(|first| {
            let (queue, state) = (queue.clone(), state.clone());
            thread::spawn(move || {
                let lane = if first {
                    Some(queue.lane())
                } else {
                    state.lock().unwrap().take()
                };
                let Some(lane) = lane else { return 0 };
                lane.push(&queue, if first { 1 } else { 3 }).unwrap();
                if first {
                    lane.push(&queue, 2).unwrap();
                    *state.lock().unwrap() = Some(lane);
                    2
                } else {
                    lane.retire(&queue);
                    1
                }
            })
        });
        let mut taken = flusher.collect(100);
        flusher.reap();
        let pushed: u32 = threads.map(|thread| thread.join().unwrap()).iter().sum();
        taken.extend(flusher.collect_all());
        flusher.reap();
        assert_eq!(taken, Vec::from_iter(1..=pushed));
        assert_eq!(queue.accepted(), u64::from(pushed));
    });
}

#[test]
fn with_the_index_of_a_thread() {
    indices(Some(2), 2);
}

#[test]
fn of_a_writer() {
    sent(Some(2));
}

pub(crate) const MUTANTS: Mutants =
    &[("threads: one index for two threads", || indices(Some(2), 1))];

#[test]
fn mutants() {
    caught(MUTANTS);
}
