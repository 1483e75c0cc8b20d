//! The shared lane: several threads push in turn, each under the lock; nothing is lost, and the
//! order is that in which they had the lock.

use super::parts::{Fences, Queue};
use super::support::{Mutants, caught, model, thread};

fn shared(bound: Option<usize>, fences: Fences, pushes: u32) {
    model(bound, move || {
        let queue = Queue::new(64, 64, fences);
        let mut flusher = queue.flusher();
        let threads = [10, 20].map(|first| {
            let queue = queue.clone();
            thread::spawn(move || {
                for item in first..first + pushes {
                    queue.push_shared(item).unwrap();
                }
            })
        });
        let mut taken = flusher.collect(100);
        taken.extend(flusher.collect(1));
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

#[test]
fn by_two_writers() {
    shared(Some(2), Fences::None, 2);
}

#[test]
fn by_two_writers_with_fences() {
    shared(Some(2), Fences::Each, 1);
}

pub(crate) const MUTANTS: Mutants = &[("lane: shared without its lock", || {
    shared(Some(2), Fences::None, 1)
})];

#[test]
fn mutants() {
    caught(MUTANTS);
}
