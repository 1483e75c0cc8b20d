//! Waiting for a future on a thread that may block, with no runtime at hand.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use tokio::sync::oneshot;
use tokio::task::coop;

use crate::sync::StdArc;

/// Runs `future` on this thread. `caller` is the public function that was called, `instead` what to
/// call in async code.
///
/// # Panics
/// On a thread that drives asynchronous tasks.
#[track_caller]
pub(crate) fn block_on<F: Future>(caller: &str, instead: &str, future: F) -> F::Output {
    assert!(
        !is_in_task(),
        "{caller} blocks its thread, which drives asynchronous tasks: call {instead}, or call \
         {caller} on a thread that may block, as by tokio::task::spawn_blocking"
    );
    refuse_in_async_context();
    let mut future = pin!(future);
    let waker = Waker::from(StdArc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::park();
    }
}

/// Whether a task of tokio is being polled on this thread, unless it is an unconstrained one.
///
/// tokio does not say so. But it gives a task a budget while it polls it, and whoever may block has
/// none: so whether a budget can be used up tells.
fn is_in_task() -> bool {
    let mut context = Context::from_waker(Waker::noop());
    // tokio counts a budget in a `u8`.
    (0..=u8::MAX).any(|_| pin!(coop::consume_budget()).poll(&mut context).is_pending())
}

/// Panics where tokio allows no blocking call; tokio writes the message. Elsewhere it returns at
/// once, since the sender is gone.
#[track_caller]
fn refuse_in_async_context() {
    let (_, receiver) = oneshot::channel::<()>();
    let _ = receiver.blocking_recv();
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: StdArc<Self>) {
        self.0.unpark();
    }
}
