//! Threads that end before their queue: destructors that push, and items that outlive a thread.

use std::cell::RefCell;
use std::thread;

use swaplane::{Queue, Writer};

use crate::common::{Ledger, Recorder, Token, block_on, finish, item, ms, scaled, secs, watched};

/// Pushes when its thread ends.
struct Farewell(Option<Box<dyn FnOnce()>>);

impl Drop for Farewell {
    fn drop(&mut self) {
        if let Some(push) = self.0.take() {
            push();
        }
    }
}

thread_local! {
    static FAREWELL: RefCell<Farewell> = const { RefCell::new(Farewell(None)) };
    static WRITER: RefCell<Option<Writer<u64>>> = const { RefCell::new(None) };
}

/// Has `push` run when the calling thread ends.
fn at_the_end(push: impl FnOnce() + 'static) {
    FAREWELL.with_borrow_mut(|farewell| farewell.0 = Some(Box::new(push)));
}

fn queue_on_a_thread() -> (Queue<u64>, Recorder) {
    let sink = Recorder::ok();
    let queue = Queue::builder()
        .own_thread()
        .max_delay(ms(1))
        .spawn(sink.clone())
        .unwrap();
    (queue, sink)
}

/// The thread-local value is set up before the first push of its thread, after it, or on a thread
/// that never pushed.
#[test]
fn thread_local_destructors_may_push() {
    watched(|| {
        let (queue, sink) = queue_on_a_thread();
        let rounds = scaled(50, 3);
        for round in 0..rounds {
            for order in 0..3 {
                let queue = queue.clone();
                thread::spawn(move || {
                    let producer = round * 3 + order;
                    let last = queue.clone();
                    if order == 0 {
                        queue.push(item(producer, 0)).unwrap();
                    }
                    let next = usize::from(order != 2);
                    at_the_end(move || {
                        // A panic here would abort. The counts below show what was refused.
                        let _ = last.push(item(producer, next));
                        let _ = last.push_keyed(&producer, item(1000 + producer, 0));
                    });
                    if order == 1 {
                        queue.push(item(producer, 0)).unwrap();
                    }
                })
                .join()
                .unwrap();
            }
        }
        block_on(queue.flush()).unwrap();
        assert_eq!(sink.delivered().len(), rounds * 8);
        block_on(finish(queue, &sink));
    });
}

/// A writer that lives in a thread-local, and is dropped with it, keeps its items in order.
#[test]
fn a_writer_may_live_in_a_thread_local() {
    watched(|| {
        let (queue, sink) = queue_on_a_thread();
        for producer in 0..scaled(50, 3) {
            let queue = queue.clone();
            thread::spawn(move || {
                WRITER.set(Some(queue.writer()));
                for n in 0..10 {
                    WRITER.with_borrow_mut(|writer| {
                        writer.as_mut().unwrap().push(item(producer, n)).unwrap();
                    });
                }
            })
            .join()
            .unwrap();
        }
        block_on(queue.flush()).unwrap();
        sink.assert_ordered();
        block_on(finish(queue, &sink));
    });
}

/// The last handle may go in a thread-local destructor; what it held is still delivered.
#[test]
fn the_last_handle_may_go_in_a_destructor() {
    watched(|| {
        let (queue, sink) = queue_on_a_thread();
        thread::spawn(move || at_the_end(move || _ = queue.push(item(0, 0))))
            .join()
            .unwrap();
        crate::common::eventually("the item is delivered", || sink.delivered() == [item(0, 0)]);
    });
}

/// C1: threads end while their items are held. Each item is delivered once and dropped once.
#[test]
fn items_outlive_their_threads() {
    watched(|| {
        let threads = scaled(200, 4);
        let ledger = Ledger::new(threads, 20);
        let sink = Recorder::ok();
        let queue: Queue<Token> = Queue::builder().own_thread().spawn(sink.clone()).unwrap();
        for producer in 0..threads {
            let (queue, ledger) = (queue.clone(), ledger.clone());
            thread::spawn(move || {
                for n in 0..20 {
                    ledger.note(
                        item(producer, n),
                        queue.push(ledger.token(producer, n)).is_ok(),
                    );
                }
            })
            .join()
            .unwrap();
        }
        let report = queue.shutdown_blocking(secs(30));
        assert!(report.is_complete());
        sink.assert_ordered();
        ledger.assert_settled(&sink, &report);
        drop((queue, report));
        ledger.assert_all_dropped();
    });
}
