//! Cancellation: every public future is dropped at every poll.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use swaplane::{Builder, Queue, SinkError};
use tokio::time::advance;

use crate::common::{
    HOUR, Ledger, Recorder, Step, Token, assert_conserved, finish, item, ms, paused, poll_once,
    secs, settle,
};

/// More polls than any future of these scenarios needs.
const POLLS: usize = 24;

/// Polls up to `polls` times, with `between` after each, then drops the future.
async fn poll_and_drop<F: Future>(
    future: F,
    polls: usize,
    mut between: impl AsyncFnMut(),
) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = poll_once(future.as_mut()) {
            return Some(output);
        }
        between().await;
    }
    None
}

/// What happens between two polls: one step of another task, some time, or all steps that are
/// ready.
async fn a_little(seed: usize) {
    match seed % 3 {
        0 => tokio::task::yield_now().await,
        1 => advance(ms(40)).await,
        _ => settle().await,
    }
}

fn retrying<T: Send + 'static>() -> Builder<Queue<T>> {
    Queue::builder()
        .max_batch_size(10)
        .max_delay(HOUR)
        .attempt_timeout(secs(1))
        .retry(|_: u32, _: &SinkError| Some(ms(100)))
}

/// C6: what is pushed before and after is delivered once.
#[test]
fn a_flush_dropped_at_any_poll_loses_and_repeats_nothing() {
    paused(async || {
        for seed in 0..3 {
            for polls in 0..POLLS {
                let sink = Recorder::script([Step::Fail, Step::Hang, Step::Panic]);
                let queue = retrying().spawn(sink.clone()).unwrap();
                for n in 0..25 {
                    queue.push(item(0, n)).unwrap();
                }
                let _ = poll_and_drop(queue.flush(), polls, async || a_little(seed).await).await;
                for n in 25..30 {
                    queue.push(item(0, n)).unwrap();
                }
                queue.flush().await.unwrap();
                assert_conserved(&queue.stats());
                sink.assert_ordered();
                assert_eq!(sink.delivered().len(), 30);
                finish(queue, &sink).await;
            }
        }
    });
}

/// C5: so too where it has become a permit, which is dropped.
#[test]
fn a_reservation_dropped_at_any_poll_costs_no_room() {
    paused(async || {
        for seed in 0..3 {
            for polls in 0..POLLS {
                let sink = Recorder::script([Step::Fail, Step::Hang]);
                let queue = retrying().capacity(13).spawn(sink.clone()).unwrap();
                for n in 0..13 {
                    queue.push(item(0, n)).unwrap();
                }
                let permit = poll_and_drop(queue.reserve(), polls, async || a_little(seed).await);
                drop(permit.await);
                queue.flush().await.unwrap();
                for n in 13..26 {
                    queue.push(item(0, n)).unwrap();
                }
                assert!(
                    queue.push(0).unwrap_err().is_full(),
                    "room was made from nothing"
                );
                finish(queue, &sink).await;
            }
        }
    });
}

/// C1, C7: nothing is lost.
#[test]
fn a_shutdown_dropped_at_any_poll_leaves_the_rest_to_the_next() {
    paused(async || {
        for seed in 0..3 {
            for polls in 0..POLLS {
                let ledger = Ledger::new(1, 25);
                let sink = Recorder::script([Step::Ok, Step::Hang, Step::Fail, Step::Hang]);
                let queue: Queue<Token> = retrying().spawn(sink.clone()).unwrap();
                for n in 0..25 {
                    ledger.note(item(0, n), queue.push(ledger.token(0, n)).is_ok());
                }
                sink.begun(2).await;
                let shutdown = queue.shutdown(ms(300));
                let first = poll_and_drop(shutdown, polls, async || a_little(seed).await).await;
                if polls > 0 {
                    assert!(queue.is_closed());
                }
                let report = match first {
                    Some(report) => {
                        assert_eq!(queue.shutdown(HOUR).await.returned.len(), 0);
                        report
                    }
                    None => queue.shutdown(ms(300)).await,
                };
                assert_eq!(report.lost, 0);
                ledger.assert_settled(&sink, &report);
                assert_conserved(&queue.stats());
                drop((queue, report));
                settle().await;
                ledger.assert_all_dropped();
            }
        }
    });
}
