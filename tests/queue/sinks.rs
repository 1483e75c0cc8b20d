//! The kinds of sinks there are, and the errors they give.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use swaplane::{Batch, BoxSink, Builder, Queue, Retry, Sink, SinkError};

use crate::common::{HOUR, Recorder, Step, item, lock, ms, paused, secs, threaded};

fn queue_with(retry: impl Into<Retry>) -> Builder<Queue<u64>> {
    Queue::builder()
        .max_batch_size(10)
        .max_delay(HOUR)
        .retry(retry)
}

/// Errors of any kind turn into a retry by `?`, and say what they said.
#[test]
fn any_error_is_a_sink_error() {
    fn parse(text: &str) -> Result<u32, SinkError> {
        Ok(text.parse::<u32>()?)
    }
    let error = parse("no number").unwrap_err();
    assert!(error.to_string().contains("invalid digit"), "{error}");
    assert!(format!("{error:?}").len() > 1);
    assert!(SinkError::reject("schema").to_string().contains("schema"));
    assert!(
        SinkError::retry_after("busy", secs(1))
            .to_string()
            .contains("busy")
    );
}

#[test]
fn boxed_and_shared_sinks_behave_as_the_sink_inside() {
    paused(async || {
        let sink = Recorder::script([Step::Fail, Step::Ok, Step::Fail]);
        let policy = || Retry::from_fn(|_, _| Some(ms(1)));
        let boxed = queue_with(policy())
            .spawn(BoxSink::new(sink.clone()))
            .unwrap();
        boxed.push(item(0, 0)).unwrap();
        boxed.flush().await.unwrap();
        let shared = queue_with(policy()).spawn(Arc::new(sink.clone())).unwrap();
        shared.push(item(1, 0)).unwrap();
        shared.flush().await.unwrap();
        assert_eq!(sink.delivered(), [item(0, 0), item(1, 0)]);
        assert_eq!(sink.count(), 4);
    });
}

/// A closure that fails by `?` gets the batch again, whole.
#[test]
fn closures_fail_by_question_mark() {
    paused(async || {
        let tried = Arc::new(AtomicUsize::new(0));
        let counter = tried.clone();
        let queue = queue_with(|_: u32, _: &SinkError| Some(ms(1)))
            .spawn_fn(move |batch| {
                let text = if counter.fetch_add(1, SeqCst) == 0 {
                    "zero"
                } else {
                    "3"
                };
                async move {
                    assert_eq!(batch.len(), text.parse::<usize>()?);
                    Ok(())
                }
            })
            .unwrap();
        queue.push_all([1, 2, 3]).unwrap();
        queue.flush().await.unwrap();
        assert_eq!(tried.load(SeqCst), 2);
    });
}

/// A blocking closure gets the rows in order, on a thread where blocking is allowed.
#[test]
fn blocking_closures_may_block() {
    threaded(1, async || {
        let rows = Arc::new(Mutex::new(Vec::new()));
        let log = rows.clone();
        let queue = queue_with(Retry::never())
            .spawn_blocking_fn(move |rows: &[u64]| {
                // This panics on a worker thread of a runtime, and nowhere else.
                tokio::runtime::Handle::current().block_on(async {});
                lock(&log).extend_from_slice(rows);
                Ok(())
            })
            .unwrap();
        queue.push_all(0..35).unwrap();
        queue.flush().await.unwrap();
        assert_eq!(*lock(&rows), (0..35).collect::<Vec<u64>>());
        assert!(queue.shutdown(secs(30)).await.is_complete());
    });
}

/// The batch moves whole, and comes back from there when the task fails.
#[test]
fn a_batch_moves_into_a_blocking_task() {
    struct Mover(AtomicUsize);
    impl Sink<u64> for Mover {
        async fn send(&self, batch: Batch<u64>) -> Result<(), SinkError> {
            let fails = self.0.fetch_add(1, SeqCst) == 0;
            let work = move || {
                assert_eq!(*batch, [1, 2, 3]);
                if fails { Err("scripted") } else { Ok(()) }
            };
            Ok(tokio::task::spawn_blocking(work).await??)
        }
    }
    threaded(1, async || {
        let queue = queue_with(|_: u32, _: &SinkError| Some(ms(1)))
            .spawn(Mover(AtomicUsize::new(0)))
            .unwrap();
        queue.push_all([1, 2, 3]).unwrap();
        queue.flush().await.unwrap();
        assert_eq!(queue.stats().attempts, 2);
        assert!(queue.shutdown(secs(30)).await.is_complete());
    });
}
