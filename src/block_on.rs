//! Waiting for a future on a thread that may block, with no runtime at hand.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use tokio::sync::oneshot;

use crate::sync::StdArc;

/// Runs `future` on this thread.
///
/// # Panics
/// Where tokio's own blocking calls do: on a thread that drives asynchronous tasks.
#[track_caller]
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
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

/// Only tokio knows which threads those are, and says so in a blocking call of its own; this
/// one never blocks, since its sender is gone.
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
