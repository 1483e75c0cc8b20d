//! The fallback list: its items come after everything that their thread pushed before, and the
//! flusher learns of them.

use super::parts::{Fences, Queue};
use super::support::{model, thread};

fn behind_the_lane(bound: Option<usize>, rounds: usize) {
    model(bound, move || {
        let queue = Queue::new(64, 64, Fences::None);
        let mut flusher = queue.flusher();
        let thread = thread::spawn({
            let (queue, lane) = (queue.clone(), queue.lane());
            move || {
                lane.push(&queue, 1).unwrap();
                lane.push_around(&queue, 3, || lane.push(&queue, 2).unwrap());
                lane.retire(&queue);
            }
        });
        let mut taken = Vec::new();
        for _ in 0..rounds {
            taken.extend(flusher.collect(100));
        }
        let asleep = flusher.available() == 0 && !flusher.was_woken();
        thread.join().unwrap();
        assert!(!asleep || taken.contains(&2) || flusher.was_woken());
        let left = 3 - taken.len();
        assert_eq!(flusher.available(), left, "what is held is seen");
        taken.extend(flusher.collect_all());
        assert!(taken == [1, 2, 3] || taken == [1, 3, 2]);
        assert_eq!(queue.accepted(), 3);
        assert_eq!(queue.backlog(), 0, "nothing is held");
    });
}

/// Two items, of which the flusher may take the first while the second is pushed.
fn seen(bound: Option<usize>) {
    model(bound, || {
        let queue = Queue::new(64, 64, Fences::None);
        let mut flusher = queue.flusher();
        queue.push_fallback(1).unwrap();
        let thread = thread::spawn({
            let queue = queue.clone();
            move || queue.push_fallback(2).unwrap()
        });
        let taken = flusher.collect(100).len();
        thread.join().unwrap();
        assert_eq!(flusher.available(), 2 - taken, "what is held is seen");
        assert_eq!(flusher.collect(100).len(), 2 - taken);
        assert_eq!(queue.backlog(), 0, "nothing is held");
    });
}

#[test]
fn what_the_list_holds_is_seen() {
    seen(None);
}

#[test]
fn items_come_in_the_order_of_their_thread() {
    behind_the_lane(Some(3), 2);
}
