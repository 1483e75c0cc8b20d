//! Late items, pushed where a thread has no lane: they come after all that their thread had pushed
//! before, and the flusher learns of them.

use super::parts::{Fences, Queue};

use super::support::{model, thread};

fn late(bound: Option<usize>, rounds: usize) {
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

#[test]
fn in_order() {
    late(Some(3), 2);
}
