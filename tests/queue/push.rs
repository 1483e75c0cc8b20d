//! What a push accepts, what it refuses, and what its errors give back.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;

use swaplane::{PushError, Queue, RefusalReason, Retry, Writer};

use crate::common::{HOUR, Recorder, eventually, item, paused, settle, threaded};

/// A queue that delivers nothing by itself. The sink is held, and the delay is an hour.
fn stuck(capacity: usize) -> (Queue<u64>, Recorder) {
    let sink = Recorder::held();
    let queue = Queue::builder()
        .capacity(capacity)
        .max_batch_size((capacity - capacity / 4).min(500))
        .max_delay(HOUR)
        .attempt_timeout(HOUR)
        .retry(Retry::never())
        .spawn(sink.clone())
        .unwrap();
    (queue, sink)
}

/// C5: one thread alone gets exactly the capacity. Then it gets `Full`, and the item back.
#[test]
fn one_thread_gets_exactly_the_capacity() {
    paused(async || {
        for capacity in [1, 2, 3, 4, 5, 7, 8, 64, 65, 1000, 5000] {
            let (queue, _sink) = stuck(capacity);
            assert_eq!(queue.capacity(), capacity);
            for n in 0..capacity {
                assert!(queue.push(n as u64).is_ok(), "refused {n} of {capacity}");
            }
            let refused = queue.push(4711).unwrap_err();
            assert!(refused.is_full() && !refused.is_closed());
            assert_eq!(refused.into_inner(), 4711);
            assert_eq!(queue.len(), capacity);
        }
    });
}

/// C5: what the sink holds counts against the capacity until its outcome.
#[test]
fn items_in_flight_keep_their_room() {
    paused(async || {
        let (queue, sink) = stuck(4);
        for n in 0..4 {
            queue.push(n).unwrap();
        }
        sink.begun(1).await;
        settle().await;
        assert!(queue.push(9).unwrap_err().is_full());
        sink.release();
        queue.flush().await.unwrap();
        for n in 0..4 {
            queue.push(n).unwrap();
        }
        assert!(queue.push(9).unwrap_err().is_full());
    });
}

/// C5: the room that outcomes give back is whole, round after round, also with a capacity of 1.
#[test]
fn room_comes_back_in_full() {
    paused(async || {
        for capacity in [1, 2, 10, 100] {
            let sink = Recorder::ok();
            let queue = Queue::builder()
                .capacity(capacity)
                .max_batch_size(capacity - capacity / 4)
                .max_delay(HOUR)
                .spawn(sink.clone())
                .unwrap();
            for round in 0..20 {
                for n in 0..capacity {
                    queue.push(item(0, round * capacity + n)).unwrap();
                }
                assert!(queue.push(0).is_err());
                queue.flush().await.unwrap();
                assert!(queue.is_empty());
            }
            sink.assert_ordered();
            crate::common::finish(queue, &sink).await;
        }
    });
}

/// C5: they get at most a quarter less.
#[test]
fn more_threads_than_room_get_no_more_than_the_capacity() {
    for capacity in [1, 3, 4, 8] {
        threaded(1, async move || {
            let (queue, _sink) = stuck(capacity);
            let accepted = Arc::new(AtomicUsize::new(0));
            let start = Arc::new(Barrier::new(16));
            let threads: Vec<_> = (0..16)
                .map(|n| {
                    let (queue, accepted, start) = (queue.clone(), accepted.clone(), start.clone());
                    thread::spawn(move || {
                        start.wait();
                        for _ in 0..3 {
                            match queue.push(n) {
                                Ok(()) => _ = accepted.fetch_add(1, SeqCst),
                                Err(refused) => assert!(refused.is_full()),
                            }
                        }
                    })
                })
                .collect();
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            let accepted = accepted.load(SeqCst);
            assert!(accepted <= capacity, "{accepted} of {capacity}");
            assert!(
                accepted >= capacity - capacity / 4,
                "only {accepted} of {capacity}"
            );
            eventually("held is what was accepted", || {
                queue.stats().held == accepted as u64
            });
        });
    }
}

/// C5: they get at most a quarter less.
#[test]
fn more_writers_than_room_get_no_more_than_the_capacity() {
    paused(async || {
        for capacity in [1, 4, 10] {
            let (queue, _sink) = stuck(capacity);
            let mut writers: Vec<Writer<u64>> = (0..40).map(|_| queue.writer()).collect();
            let accepted = writers
                .iter_mut()
                .filter_map(|writer| writer.push(1).ok())
                .count();
            assert!(
                accepted <= capacity && accepted >= capacity - capacity / 4,
                "{accepted}"
            );
        }
    });
}

/// C5: a thread gets the whole capacity after many writers have come and gone.
#[test]
fn dropped_writers_return_their_room() {
    paused(async || {
        let (queue, sink) = stuck(8);
        sink.release();
        for n in 0..100 {
            queue.writer().push(n).unwrap();
            queue.flush().await.unwrap();
        }
        settle().await;
        for n in 0..8 {
            queue.push(n).unwrap();
        }
        assert!(queue.push(8).is_err());
    });
}

/// C2, C3: every kind of push is refused with `Closed` and gives the item back.
#[test]
fn a_closed_queue_refuses_every_push() {
    paused(async || {
        let (queue, sink) = stuck(8);
        let mut writer = queue.writer();
        let permit = queue.reserve().await.unwrap();
        queue.close();
        for refused in [
            queue.push(1).unwrap_err(),
            queue.push_keyed("key", 2).unwrap_err(),
            writer.push(3).unwrap_err(),
            permit.push(4).unwrap_err(),
        ] {
            assert!(refused.is_closed() && !refused.is_full());
            assert!(matches!(refused, PushError::Closed(1..=4)));
        }
        let refused = queue.push_all([5, 6, 7]).unwrap_err();
        assert!(refused.is_closed() && !refused.is_full());
        assert_eq!(
            (refused.accepted, refused.reason),
            (0, RefusalReason::Closed)
        );
        assert_eq!(refused.into_inner(), [5, 6, 7]);
        assert!(writer.push_all([8]).unwrap_err().is_closed());
        assert!(queue.reserve().await.is_err_and(|error| error.is_closed()));
        sink.release();
        assert_eq!(queue.shutdown(HOUR).await.accepted, 0);
        assert_eq!(sink.count(), 0);
    });
}

/// `push_all` stops at the first refusal and gives back that item and all behind it.
#[test]
fn push_all_says_how_far_it_came() {
    paused(async || {
        let (queue, sink) = stuck(10);
        queue.push_all([0, 1, 2]).unwrap();
        queue.push_all(std::iter::empty()).unwrap();
        let refused = queue.push_all(3..20).unwrap_err();
        assert_eq!((refused.accepted, refused.reason), (7, RefusalReason::Full));
        assert!(refused.is_full() && !refused.is_closed());
        assert_eq!(refused.rest, (10..20).collect::<Vec<u64>>());
        let refused = queue.writer().push_all(20..22).unwrap_err();
        assert_eq!((refused.accepted, refused.into_inner()), (0, vec![20, 21]));
        sink.release();
        queue.flush().await.unwrap();
        assert_eq!(sink.delivered(), (0..10).collect::<Vec<u64>>());
    });
}

/// The iterator pushes into the same queue.
#[test]
fn push_all_takes_an_iterator_that_pushes() {
    paused(async || {
        let (queue, sink) = stuck(100);
        let inner = queue.clone();
        queue
            .push_all((0..5).inspect(|n| inner.push(100 + n).unwrap()))
            .unwrap();
        assert_eq!(queue.len(), 10);
        sink.release();
        queue.flush().await.unwrap();
        assert_eq!(sink.delivered().len(), 10);
    });
}

/// It pushes in order, from any thread, and its items count like all others.
#[test]
fn a_writer_pushes_into_its_queue() {
    paused(async || {
        let (queue, sink) = stuck(100);
        let mut writer = queue.writer();
        writer.push(item(0, 0)).unwrap();
        writer.push_all((1..10).map(|n| item(0, n))).unwrap();
        assert_eq!(writer.queue().len(), 10);
        let mut writer = thread::spawn(move || {
            writer.push(item(0, 10)).unwrap();
            writer
        })
        .join()
        .unwrap();
        writer.push(item(0, 11)).unwrap();
        sink.release();
        writer.queue().flush().await.unwrap();
        sink.assert_ordered();
        assert_eq!(sink.delivered().len(), 12);
    });
}

/// A key may be of any type, sized or not. A keyed item is one item.
#[test]
fn keyed_pushes_take_any_key() {
    paused(async || {
        let (queue, sink) = stuck(100);
        queue.push_keyed("text", 1).unwrap();
        queue.push_keyed(&7_u8, 2).unwrap();
        queue.push_keyed(&(1, "pair"), 3).unwrap();
        queue.push_keyed([1_u8, 2].as_slice(), 4).unwrap();
        assert_eq!(queue.len(), 4);
        sink.release();
        queue.flush().await.unwrap();
        assert_eq!(
            HashSet::from_iter(sink.delivered()),
            HashSet::from([1, 2, 3, 4])
        );
    });
}

/// `len`, `is_empty`, `is_closed` and `name` tell what happened so far.
#[test]
fn the_queue_tells_its_state() {
    paused(async || {
        let sink = Recorder::ok();
        let queue = Queue::builder()
            .name("events")
            .max_delay(HOUR)
            .spawn(sink.clone())
            .unwrap();
        let twin = queue.clone();
        assert_eq!(twin.name(), "events");
        assert!(queue.is_empty() && !queue.is_closed());
        queue.push_all([1, 2, 3]).unwrap();
        assert_eq!((twin.len(), twin.is_empty()), (3, false));
        twin.flush().await.unwrap();
        assert!(queue.is_empty());
        assert!(twin.close());
        assert!(queue.is_closed());
    });
}
