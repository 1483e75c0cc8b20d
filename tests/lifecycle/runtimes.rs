//! Where a queue runs, where it is used from, and what happens when its runtime goes first.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use swaplane::{Builder, Queue, SinkError};
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};
use tokio::sync::Notify;

use crate::common::{
    HOUR, Recorder, Step, assert_adds_up, block_on, eventually, finish, item, ms, multi_thread,
    one_thread, poll_once, secs, watched,
};

fn small_queue() -> Builder<Queue<u64>> {
    Queue::builder()
        .max_batch_size(10)
        .max_delay(HOUR)
        .retry(|_: u32, _: &SinkError| Some(ms(1)))
}

/// Pushes, reserves, flushes with a retry, and shuts down.
async fn round_trip(queue: Queue<u64>, sink: Recorder) {
    queue.push_all((0..25).map(|n| item(0, n))).unwrap();
    queue.flush().await.unwrap();
    queue.reserve().await.unwrap().push(item(0, 25)).unwrap();
    queue.push_keyed("key", item(1, 0)).unwrap();
    finish(queue, &sink).await;
    sink.assert_ordered();
    assert_eq!(sink.delivered().len(), 27);
}

fn faulty() -> Recorder {
    Recorder::script([Step::Fail, Step::Panic, Step::Slow(ms(1))])
}

/// A queue runs on the current runtime, whatever its kind.
#[test]
fn the_current_runtime_is_found() {
    watched(|| {
        for runtime in [one_thread(), multi_thread(1), multi_thread(4)] {
            runtime.block_on(async {
                let sink = faulty();
                let queue = small_queue().spawn(sink.clone()).unwrap();
                round_trip(queue, sink).await;
            });
        }
    });
}

/// A queue on a given runtime, or on a thread of its own, is used from outside of any runtime.
#[test]
fn futures_need_no_runtime() {
    watched(|| {
        let runtime = multi_thread(1);
        for builder in [
            small_queue().runtime(runtime.handle().clone()),
            small_queue().own_thread(),
        ] {
            let sink = faulty();
            let queue = builder.spawn(sink.clone()).unwrap();
            block_on(round_trip(queue, sink));
        }
    });
}

/// A queue on a given runtime, or on a thread of its own, is used from inside of another runtime.
#[test]
fn futures_work_on_other_runtimes() {
    watched(|| {
        let given = multi_thread(1);
        for guest in [one_thread(), multi_thread(2)] {
            for own_thread in [true, false] {
                let sink = faulty();
                let builder = match own_thread {
                    true => small_queue().own_thread(),
                    false => small_queue().runtime(given.handle().clone()),
                };
                let queue = builder.spawn(sink.clone()).unwrap();
                guest.block_on(round_trip(queue, sink));
            }
        }
    });
}

/// A queue on a given runtime, or on a thread of its own, outlives the runtime in which it was
/// built.
#[test]
fn a_given_runtime_wins_over_the_current_one() {
    watched(|| {
        let given = multi_thread(1);
        for own_thread in [true, false] {
            let sink = Recorder::ok();
            let current = one_thread();
            let queue = current.block_on(async {
                match own_thread {
                    true => small_queue().own_thread(),
                    false => small_queue().runtime(given.handle().clone()),
                }
                .spawn(sink.clone())
                .unwrap()
            });
            drop(current);
            queue.push(1).unwrap();
            block_on(queue.flush()).unwrap();
            assert_eq!(sink.delivered(), [1]);
        }
    });
}

/// Outside of a runtime the calling thread parks, and the queue wakes it.
#[test]
fn a_parked_waiter_is_woken() {
    watched(|| {
        let sink = Recorder::held();
        let queue = small_queue()
            .capacity(1)
            .max_batch_size(1)
            .own_thread()
            .spawn(sink.clone())
            .unwrap();
        queue.push(0).unwrap();
        let waiters = [
            thread::spawn({
                let queue = queue.clone();
                move || block_on(queue.flush()).is_ok()
            }),
            thread::spawn({
                let queue = queue.clone();
                move || block_on(queue.reserve()).is_ok()
            }),
        ];
        eventually("the sink is reached", || sink.count() == 1);
        thread::sleep(ms(20));
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        sink.release();
        for waiter in waiters {
            assert!(waiter.join().unwrap());
        }
    });
}

/// Blocking is allowed on plain threads and on the blocking threads of a runtime.
#[test]
fn blocking_twins_work_where_blocking_is_allowed() {
    fn use_all(queue: &Queue<u64>, sink: &Recorder) {
        queue.push(1).unwrap();
        queue.flush_blocking().unwrap();
        queue.reserve_blocking().unwrap().push(2).unwrap();
        let report = queue.shutdown_blocking(secs(30));
        assert_adds_up(&report);
        assert!(report.is_complete());
        assert_eq!(sink.delivered(), [1, 2]);
        assert!(
            queue
                .reserve_blocking()
                .is_err_and(|error| error.is_closed())
        );
    }
    watched(|| {
        let sink = faulty();
        use_all(
            &small_queue().own_thread().spawn(sink.clone()).unwrap(),
            &sink,
        );
        let runtime = multi_thread(1);
        let sink = faulty();
        let queue = small_queue()
            .runtime(runtime.handle().clone())
            .spawn(sink.clone())
            .unwrap();
        runtime
            .block_on(runtime.spawn_blocking(move || use_all(&queue, &sink)))
            .unwrap();
    });
}

/// The panic has a text, and the queue works on.
#[test]
fn blocking_twins_panic_in_async_code() {
    fn text_of(call: impl FnOnce()) -> String {
        let panic = catch_unwind(AssertUnwindSafe(call)).expect_err("blocked in async context");
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap()
    }
    watched(|| {
        for runtime in [one_thread(), multi_thread(1)] {
            runtime.block_on(async {
                let sink = Recorder::ok();
                let queue = small_queue().spawn(sink.clone()).unwrap();
                queue.push(1).unwrap();
                assert!(!text_of(|| _ = queue.flush_blocking()).is_empty());
                assert!(!text_of(|| _ = queue.reserve_blocking().is_ok()).is_empty());
                assert!(!text_of(|| _ = queue.shutdown_blocking(HOUR)).is_empty());
                queue.flush().await.unwrap();
                assert_eq!(sink.delivered(), [1]);
            });
        }
    });
}

/// How a runtime comes to its end.
fn end(runtime: Runtime, background: bool) {
    match background {
        true => runtime.shutdown_background(),
        false => drop(runtime),
    }
}

/// The runtime goes first. Pushes are refused, waiters end, and a shutdown returns every item.
#[test]
fn a_shutdown_returns_every_item_when_the_runtime_has_gone() {
    watched(|| {
        for (workers, background) in [(0, false), (1, false), (4, false), (1, true)] {
            let runtime = if workers == 0 {
                one_thread()
            } else {
                multi_thread(workers)
            };
            let sink = Recorder::new(Step::Hang);
            let queue = small_queue()
                .capacity(20)
                .attempt_timeout(HOUR)
                .runtime(runtime.handle().clone())
                .spawn(sink.clone())
                .unwrap();
            let mut writer = queue.writer();
            queue.push_all(0..10).unwrap();
            match workers {
                0 => runtime.block_on(sink.begun(1)),
                _ => eventually("the sink is reached", || sink.count() == 1),
            }
            writer.push_all(10..14).unwrap();
            queue.push_all(14..18).unwrap();
            queue.push_keyed("key", 18).unwrap();
            while queue.push(99).is_ok() {}
            let (done, ended) = mpsc::channel();
            for which in 0..2 {
                let (queue, done) = (queue.clone(), done.clone());
                thread::spawn(move || {
                    let refused = match which {
                        0 => block_on(queue.flush()).is_err_and(|error| error.undelivered() > 0),
                        _ => block_on(queue.reserve()).is_err_and(|error| error.is_closed()),
                    };
                    done.send(refused).unwrap();
                });
            }
            thread::sleep(ms(20));
            end(runtime, background);
            for _ in 0..2 {
                assert!(ended.recv_timeout(secs(20)).expect("a waiter hangs"));
            }
            eventually("pushes are refused", || {
                queue.push(99).is_err_and(|e| e.is_closed())
            });
            eventually("the attempt is gone", || sink.running() == 0);
            thread::sleep(ms(20));
            assert!(writer.push(99).unwrap_err().is_closed());
            assert!(queue.is_closed());
            assert!(block_on(queue.flush()).is_err());
            let report = queue.shutdown_blocking(secs(20));
            assert_adds_up(&report);
            assert_eq!((report.delivered, report.lost), (0, 0));
            let mut returned = report.returned;
            returned.retain(|n| *n != 99);
            returned.sort_unstable();
            assert_eq!(returned, (0..19).collect::<Vec<_>>());
            assert_eq!(queue.shutdown_blocking(secs(20)).returned.len(), 0);
        }
    });
}

/// The shutdown waits for what the sink has.
#[test]
fn a_flush_does_not_wait_for_a_shutdown_when_the_runtime_has_gone() {
    watched(|| {
        let runtime = multi_thread(1);
        let (begun, begins) = mpsc::channel();
        let queue = small_queue()
            .runtime(runtime.handle().clone())
            .spawn_blocking_fn(move |_rows: &[u64]| {
                begun.send(()).unwrap();
                thread::sleep(secs(1));
                Ok(())
            })
            .unwrap();
        queue.push_all(0..10).unwrap();
        begins.recv().unwrap();
        runtime.shutdown_background();
        let other = queue.clone();
        let shutdown = thread::spawn(move || other.shutdown_blocking(HOUR));
        eventually("the flusher ends", || queue.is_closed());
        let mut polls = 0;
        while !shutdown.is_finished() {
            let _ = poll_once(pin!(queue.flush()));
            polls += 1;
            thread::sleep(ms(1));
        }
        let report = shutdown.join().unwrap();
        assert_adds_up(&report);
        assert_eq!(report.lost, 10);
        assert!(polls > 4, "each waited until the shutdown was through");
    });
}

/// C1: the flusher does not see the success any more.
#[test]
fn an_attempt_that_succeeds_as_the_runtime_goes_has_delivered() {
    watched(|| {
        let runtime = RuntimeBuilder::new_current_thread()
            .enable_time()
            // The runtime checks after each task whether `block_on` is done.
            .event_interval(1)
            .build()
            .unwrap();
        let done = Arc::new(Notify::new());
        let tell = done.clone();
        let queue = small_queue()
            .runtime(runtime.handle().clone())
            .spawn_fn(move |batch| {
                let tell = tell.clone();
                async move {
                    drop(batch);
                    tell.notify_one();
                    Ok(())
                }
            })
            .unwrap();
        queue.push_all(0..10).unwrap();
        runtime.block_on(done.notified());
        drop(runtime);
        let report = queue.shutdown_blocking(secs(1));
        assert_adds_up(&report);
        assert_eq!((report.delivered, report.lost), (10, 0));
    });
}

#[test]
fn a_batch_in_backoff_is_returned_when_the_runtime_has_gone() {
    watched(|| {
        let runtime = multi_thread(1);
        let sink = Recorder::new(Step::Fail);
        let queue = small_queue()
            .retry(|_: u32, _: &SinkError| Some(HOUR))
            .runtime(runtime.handle().clone())
            .spawn(sink.clone())
            .unwrap();
        queue.push_all(0..15).unwrap();
        eventually("the first attempt fails", || sink.count() == 1);
        thread::sleep(ms(20));
        drop(runtime);
        let report = queue.shutdown_blocking(Duration::ZERO);
        assert_adds_up(&report);
        assert_eq!(report.returned, (0..15).collect::<Vec<_>>());
    });
}

/// Nothing panics and nothing hangs.
#[test]
fn the_handles_may_be_dropped_after_the_runtime() {
    watched(|| {
        let runtime = multi_thread(1);
        let queue = small_queue()
            .runtime(runtime.handle().clone())
            .spawn(Recorder::new(Step::Hang))
            .unwrap();
        let mut writer = queue.writer();
        writer.push_all(0..15).unwrap();
        drop(runtime);
        drop(queue);
        assert!(writer.push(1).unwrap_err().is_closed());
        drop(writer);
    });
}

/// The sink is dropped after the last batch.
#[test]
fn an_own_thread_ends_with_the_last_handle() {
    struct Last(mpsc::Sender<u64>);
    impl Drop for Last {
        fn drop(&mut self) {
            self.0.send(u64::MAX).unwrap();
        }
    }
    watched(|| {
        let (send, seen) = mpsc::channel();
        let last = Last(send);
        let queue = small_queue()
            .own_thread()
            .spawn_fn(move |batch| {
                batch.iter().for_each(|n| last.0.send(*n).unwrap());
                async { Ok(()) }
            })
            .unwrap();
        queue.push_all(0..25).unwrap();
        drop(queue);
        let seen: Vec<u64> = seen.iter().collect();
        assert_eq!(seen[..25], (0..25).collect::<Vec<_>>());
        assert_eq!(seen[25..], [u64::MAX]);
    });
}
