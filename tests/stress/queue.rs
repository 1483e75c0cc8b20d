//! Everything at once, with a ledger. Each accepted item has exactly one outcome.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use swaplane::{Batch, Builder, PushError, Queue, Sink, SinkError};
use tokio::runtime::Runtime;

use crate::Done;
use crate::common::{
    Ledger, Recorder, Rng, Step, Token, assert_conserved, item, ms, multi_thread, scaled, secs,
    watched,
};

const PRODUCERS: usize = 10;
const CAPACITY: usize = 400;

/// A recorder that also counts the accepted items that are surely still held.
#[derive(Clone)]
struct Gauge {
    recorder: Recorder,
    inside: Arc<AtomicI64>,
    /// Whether a failure may be final. Then each attempt counts as an outcome, so that fewer items
    /// count as held.
    lossy: bool,
}

impl Gauge {
    fn new(recorder: Recorder, lossy: bool) -> Self {
        Self {
            recorder,
            inside: Arc::default(),
            lossy,
        }
    }
}

impl Sink<Token> for Gauge {
    async fn send(&self, batch: Batch<Token>) -> Result<(), SinkError> {
        let items = batch.len() as i64;
        if self.lossy {
            self.inside.fetch_sub(items, SeqCst);
            return self.recorder.send(batch).await;
        }
        self.recorder.send(batch).await?;
        self.inside.fetch_sub(items, SeqCst);
        Ok(())
    }
}

fn builder_on(runtime: &Runtime) -> Builder<Queue<Token>> {
    builder().runtime(runtime.handle().clone())
}

fn builder() -> Builder<Queue<Token>> {
    Queue::builder()
        .capacity(CAPACITY)
        .max_batch_size(32)
        .max_delay(ms(1))
        .partitions(5)
        .attempt_timeout(secs(50))
        .retry(|_: u32, _: &SinkError| Some(Duration::from_micros(200)))
}

/// Pushes the item that each refusal gives back, until it is accepted. Breaks when closed.
fn insist(
    ledger: &Ledger,
    id: u64,
    mut token: Token,
    mut push: impl FnMut(Token) -> Result<(), PushError<Token>>,
) -> ControlFlow<()> {
    loop {
        match push(token) {
            Ok(()) => {
                ledger.note(id, true);
                return ControlFlow::Continue(());
            }
            Err(PushError::Full(back)) => token = back,
            Err(_) => {
                ledger.note(id, false);
                return ControlFlow::Break(());
            }
        }
        thread::yield_now();
    }
}

/// Pushes the stream of one producer by thread, writer, key or permit, until done or closed.
fn produce(
    queue: &Queue<Token>,
    gauge: &Gauge,
    ledger: &Arc<Ledger>,
    producer: usize,
    items: usize,
) {
    let mut writer = queue.writer();
    for n in 0..items {
        let (id, token) = (item(producer, n), ledger.token(producer, n));
        let flow = match producer % 5 {
            0 | 1 => insist(ledger, id, token, |token| queue.push(token)),
            2 => insist(ledger, id, token, |token| writer.push(token)),
            3 => insist(ledger, id, token, |token| {
                queue.push_keyed(&producer, token)
            }),
            _ => match queue.reserve_blocking() {
                Ok(permit) => {
                    let accepted = permit.push(token).is_ok();
                    ledger.note(id, accepted);
                    if accepted {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(())
                    }
                }
                Err(_) => ControlFlow::Break(()),
            },
        };
        if flow.is_break() {
            return;
        }
        let inside = gauge.inside.fetch_add(1, SeqCst) + 1;
        assert!(inside <= CAPACITY as i64, "{inside} items are held");
    }
}

/// How a run ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// All producers finish first.
    Quiet,
    /// `close` in the middle.
    Close,
    /// `shutdown` in the middle; the sink is stuck from then on.
    Stuck,
}

/// The counts of a run whose ledger was checked.
struct Outcome {
    delivered: u64,
    lost: u64,
    returned: usize,
}

/// Runs all producers beside flushes and samples, ends as told, and checks the ledger.
fn run(
    builder: Builder<Queue<Token>>,
    mut choose: impl FnMut() -> Step + Send + 'static,
    end: End,
    lossy: bool,
) -> Outcome {
    let items = scaled(1000, 10);
    let ledger = Ledger::new(PRODUCERS, items);
    let stuck = Arc::new(AtomicBool::new(false));
    let gauge = Gauge::new(
        Recorder::choosing({
            let stuck = stuck.clone();
            move || {
                if stuck.load(SeqCst) {
                    Step::Hang
                } else {
                    choose()
                }
            }
        }),
        lossy,
    );
    let queue = builder.spawn(gauge.clone()).unwrap();
    let done = AtomicBool::new(false);
    let mut report = thread::scope(|scope| {
        let _done = Done(&done);
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let (queue, gauge, ledger) = (&queue, &gauge, &ledger);
                scope.spawn(move || produce(queue, gauge, ledger, producer, items))
            })
            .collect();
        scope.spawn(|| {
            while !done.load(SeqCst) {
                let _ = queue.flush_blocking();
                thread::sleep(ms(2));
            }
        });
        scope.spawn(|| {
            while !done.load(SeqCst) {
                assert!(queue.len() <= CAPACITY, "len is above the capacity");
                assert!(
                    queue.stats().held <= CAPACITY as u64,
                    "held is above the capacity"
                );
                thread::sleep(Duration::from_micros(300));
            }
        });
        let (queue, stuck) = (&queue, &stuck);
        let ending = scope.spawn(move || {
            if end != End::Quiet {
                thread::sleep(ms(30));
            }
            match end {
                End::Quiet => None,
                End::Close => {
                    assert!(queue.close());
                    None
                }
                End::Stuck => {
                    stuck.store(true, SeqCst);
                    Some(queue.shutdown_blocking(secs(1)))
                }
            }
        });
        for producer in producers {
            producer.join().unwrap();
        }
        let report = ending.join().unwrap();
        report.unwrap_or_else(|| queue.shutdown_blocking(secs(40)))
    });
    gauge.recorder.assert_delivered_in_order();
    ledger.assert_settled(&gauge.recorder, &report);
    assert_conserved(&queue.stats());
    assert!(queue.is_empty());
    if end == End::Quiet {
        assert_eq!(
            report.accepted,
            (PRODUCERS * items) as u64,
            "something was refused"
        );
    }
    drop(queue);
    let returned = report.returned.len();
    report.returned.clear();
    ledger.assert_all_dropped();
    Outcome {
        delivered: report.delivered,
        lost: report.lost,
        returned,
    }
}

/// What the next attempts of a sink do, by a seed.
fn mood(seed: u64, steps: &'static [Step]) -> impl FnMut() -> Step + Send + 'static {
    let mut rng = Rng::new(seed);
    move || match rng.below(2) {
        0 => steps[rng.below(steps.len() as u64) as usize],
        _ => Step::Ok,
    }
}

const FAULTS: &[Step] = &[
    Step::Fail,
    Step::Panic,
    Step::RetryAfter(Duration::from_micros(500)),
    Step::Slow(ms(1)),
    Step::Block(Duration::from_micros(200)),
    Step::DropFirst,
    Step::Take,
];

/// C1, C4, C5: a sink that fails, panics and dawdles delivers everything once, in order.
#[test]
fn a_faulty_sink_delivers_everything() {
    for (seed, in_flight) in [(1, 1), (2, 4)] {
        watched(move || {
            let runtime = multi_thread(2);
            let builder = builder_on(&runtime).max_in_flight(in_flight);
            let outcome = run(builder, mood(seed, FAULTS), End::Quiet, false);
            assert_eq!((outcome.lost, outcome.returned), (0, 0));
        });
    }
}

/// C1, C4, C5: without a delay, on a thread of the queue's own.
#[test]
fn a_faulty_sink_delivers_everything_in_tiny_batches() {
    for (seed, size) in [(3, Some(2)), (4, None)] {
        watched(move || {
            let builder = builder()
                .max_delay(Duration::ZERO)
                .max_batch_size(size)
                .own_thread();
            let outcome = run(builder, mood(seed, FAULTS), End::Quiet, false);
            assert_eq!((outcome.lost, outcome.returned), (0, 0));
        });
    }
}

/// C1: what a sink rejects, or fails with after taking the items, is counted as lost, item by item.
#[test]
fn a_lossy_sink_is_accounted_for() {
    const LOSSES: &[Step] = &[
        Step::Reject,
        Step::TakeFail,
        Step::Fail,
        Step::Panic,
        Step::Take,
    ];
    for (seed, in_flight) in [(5, 1), (6, 4)] {
        watched(move || {
            let runtime = multi_thread(2);
            let builder = builder_on(&runtime).max_in_flight(in_flight).retry(
                |attempt: u32, _: &SinkError| (attempt < 3).then_some(Duration::from_micros(200)),
            );
            let outcome = run(builder, mood(seed, LOSSES), End::Quiet, true);
            assert!(outcome.lost > 0 && outcome.delivered > 0);
            assert_eq!(outcome.returned, 0);
        });
    }
}

/// C1, C5: attempts that hang are cancelled. Later attempts deliver their items.
#[test]
fn a_hanging_sink_delivers_everything() {
    for (seed, in_flight) in [(7, 1), (8, 4)] {
        watched(move || {
            let runtime = multi_thread(2);
            let mut hangs = 3;
            let mut others = mood(seed, FAULTS);
            let mut rng = Rng::new(seed + 100);
            let choose = move || {
                if hangs > 0 && rng.below(10) == 0 {
                    hangs -= 1;
                    return Step::Hang;
                }
                others()
            };
            let builder = builder_on(&runtime)
                .max_in_flight(in_flight)
                .attempt_timeout(secs(2));
            let outcome = run(builder, choose, End::Quiet, false);
            assert_eq!((outcome.lost, outcome.returned), (0, 0));
        });
    }
}

/// C1, C3: `close` races the pushes. What was accepted is delivered, what was refused is not.
#[test]
fn what_is_accepted_beside_a_close_is_delivered() {
    for seed in 9..12 {
        watched(move || {
            let runtime = multi_thread(2);
            let outcome = run(
                builder_on(&runtime).max_in_flight(3),
                mood(seed, FAULTS),
                End::Close,
                false,
            );
            assert_eq!((outcome.lost, outcome.returned), (0, 0));
        });
    }
}

/// C1, C7: the sink is stuck. Exactly what was not delivered is returned.
#[test]
fn a_shutdown_in_mid_stream_returns_what_was_not_delivered() {
    const ASYNCHRONOUS: &[Step] = &[Step::Fail, Step::Panic, Step::Slow(ms(1)), Step::DropFirst];
    for (seed, in_flight) in [(12, 1), (13, 4), (14, 2)] {
        watched(move || {
            let runtime = multi_thread(2);
            let builder = builder_on(&runtime).max_in_flight(in_flight);
            let outcome = run(builder, mood(seed, ASYNCHRONOUS), End::Stuck, false);
            assert_eq!(outcome.lost, 0);
            assert!(outcome.returned <= CAPACITY);
        });
    }
}
