//! Test bodies under a watchdog, so that a hang fails, and polling by hand.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::runtime::{Builder as RuntimeBuilder, Runtime};

use super::{ms, secs};

/// Runs `body` on a thread of its own, and fails if it does not end in time.
pub fn within(limit: Duration, body: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let runner = thread::spawn(move || {
        body();
        let _ = done.send(());
    });
    match ended.recv_timeout(if cfg!(miri) { limit * 50 } else { limit }) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("hangs: not done within {limit:?}"),
        _ => {
            if let Err(panic) = runner.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// A blocking test body with the usual watchdog.
pub fn watched(body: impl FnOnce() + Send + 'static) {
    within(secs(60), body);
}

/// An async test body on one thread with the clock paused: time jumps when all tasks wait.
pub fn paused(body: impl AsyncFnOnce() + Send + 'static) {
    watched(|| {
        RuntimeBuilder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(body());
    });
}

/// An async test body in real time on `workers` worker threads.
pub fn threaded(workers: usize, body: impl AsyncFnOnce() + Send + 'static) {
    watched(move || {
        multi_thread(workers).block_on(body());
    });
}

/// A runtime that runs during its `block_on`, in real time.
pub fn one_thread() -> Runtime {
    let mut builder = RuntimeBuilder::new_current_thread();
    builder.enable_time().build().unwrap()
}

/// A runtime with worker threads of its own, in real time.
pub fn multi_thread(workers: usize) -> Runtime {
    let mut builder = RuntimeBuilder::new_multi_thread();
    builder
        .worker_threads(workers)
        .enable_time()
        .build()
        .unwrap()
}

/// Lets all other tasks of a current-thread runtime run until none is ready. Time does not move.
pub async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// Waits in real time, from any thread, until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if condition() {
            return;
        }
        thread::sleep(ms(1));
    }
    panic!("never happened: {what}");
}

/// Whether `elapsed` is `expected`, up to the millisecond steps of the timer.
#[track_caller]
pub fn assert_took(elapsed: Duration, expected: Duration) {
    assert!(
        elapsed >= expected && elapsed <= expected + ms(10),
        "took {elapsed:?}, expected {expected:?}"
    );
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls a future on the current thread, outside of any runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Polls once with a waker that does nothing.
pub fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
