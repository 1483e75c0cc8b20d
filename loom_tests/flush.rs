//! Flushing: what was pushed before `flush()` was called is in what the flusher collects once it
//! has taken the request, and every call is answered.

use super::parts::{Fences, Queue};
use super::support::{Arc, Mutants, Mutex, caught, model, thread};

/// A thread pushes into lanes just registered, and asks.
fn own(bound: Option<usize>) {
    model(bound, || {
        let queue = Queue::new(64, 64, Fences::None);
        let mut flusher = queue.flusher();
        let thread = thread::spawn({
            let queue = queue.clone();
            move || {
                let lane = queue.lane();
                lane.push(&queue, 1).unwrap();
                lane.push(&queue, 2).unwrap();
                queue.push_shared(3).unwrap();
                queue.flush().is_some()
            }
        });
        let mut taken = flusher.collect(1);
        let (flushes, _) = flusher.take_requests();
        taken.extend(flusher.collect_all());
        assert!(flushes == 0 || taken.len() == 3);
        assert!(thread.join().unwrap());
    });
}

/// One thread pushes, another learns of it and asks.
fn of_another(bound: Option<usize>) {
    model(bound, || {
        let queue = Queue::new(64, 64, Fences::None);
        let mut flusher = queue.flusher();
        let done = Arc::new(Mutex::new(false));
        let pusher = thread::spawn({
            let (queue, lane, done) = (queue.clone(), queue.lane(), done.clone());
            move || {
                lane.push(&queue, 1).unwrap();
                *done.lock().unwrap() = true;
            }
        });
        let asker = thread::spawn({
            let queue = queue.clone();
            move || {
                let done = *done.lock().unwrap();
                done.then(|| queue.flush())
            }
        });
        let (flushes, _) = flusher.take_requests();
        let taken = flusher.collect_all();
        assert!(flushes == 0 || taken == [1]);
        pusher.join().unwrap();
        asker.join().unwrap();
    });
}

/// The flusher ends.
fn unanswered(bound: Option<usize>) {
    model(bound, || {
        let queue = Queue::<u32>::new(64, 64, Fences::None);
        let flusher = queue.flusher();
        let thread = thread::spawn({
            let queue = queue.clone();
            move || queue.flush()
        });
        let (flushes, _) = flusher.take_requests();
        flusher.end();
        let answer = thread.join().unwrap();
        // A request that was taken is answered by the task of the flusher; here it is dropped.
        assert!(answer.is_none_or(|mut answer| answer.is_known()) || flushes > 0);
    });
}

#[test]
fn own_pushes() {
    own(Some(3));
}

#[test]
fn pushes_of_another_thread() {
    of_another(Some(3));
}

#[test]
fn while_the_flusher_ends() {
    unanswered(None);
}

pub(crate) const MUTANTS: Mutants = &[
    ("collect: new lanes not adopted", || own(Some(2))),
    ("request: taken after the end", || unanswered(None)),
];

#[test]
fn mutants() {
    caught(MUTANTS);
}
