//! The settings: their defaults and their bounds. Every violation is named at once.

use std::time::Duration;

use swaplane::{BuildError, Builder, Queue, Retry, Violation};
use tokio::time::Instant;

use crate::common::{HOUR, Recorder, Step, assert_took, ms, paused, secs, settle, watched};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TWO_YEARS: Duration = Duration::from_secs(2 * 366 * 24 * 3600);

fn refused(builder: Builder<Queue<u64>>) -> BuildError {
    match builder.spawn(Recorder::ok()) {
        Ok(_) => panic!("accepted"),
        Err(error) => error,
    }
}

/// The violation that names a field, or a setting of which the field is a part.
#[track_caller]
fn named<'a>(error: &'a BuildError, field: &str) -> &'a Violation {
    let found = error
        .violations()
        .iter()
        .find(|violation| violation.field.contains(field));
    found.unwrap_or_else(|| panic!("{field} is not named: {error}"))
}

/// Checks that the error names exactly one field, and says its value and bound in its text.
#[track_caller]
fn assert_names(builder: Builder<Queue<u64>>, field: &str, value: &str) {
    let error = refused(builder);
    let violation = named(&error, field);
    assert!(
        violation.value.contains(value),
        "{} does not say {value}",
        violation.value
    );
    assert!(!violation.bound.is_empty());
    let text = error.to_string();
    for part in [violation.field, &violation.value, &violation.bound] {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

fn queue() -> Builder<Queue<u64>> {
    Queue::builder()
}

/// A number that is zero or absurd is named with its value.
#[test]
fn numbers_out_of_bounds_are_named() {
    paused(async || {
        let huge = usize::MAX.to_string();
        assert_names(queue().partitions(0), "partitions", "0");
        assert_names(queue().partitions(usize::MAX), "partitions", &huge);
        assert_names(queue().capacity(0), "capacity", "0");
        assert_names(queue().capacity(usize::MAX), "capacity", &huge);
        assert_names(queue().max_batch_size(0), "max_batch_size", "0");
        assert_names(queue().max_in_flight(0), "max_in_flight", "0");
        assert_names(queue().max_in_flight(usize::MAX), "max_in_flight", &huge);
    });
}

/// A batch has to fit into the capacity while a quarter of it lies in leases.
#[test]
fn a_batch_size_above_three_quarters_of_the_capacity_is_named() {
    paused(async || {
        for (capacity, most) in [(100, 75), (4, 3), (3, 3), (1, 1)] {
            let builder = || queue().capacity(capacity);
            assert!(builder().max_batch_size(most).spawn(Recorder::ok()).is_ok());
            assert!(builder().max_batch_size(None).spawn(Recorder::ok()).is_ok());
            let error = refused(builder().max_batch_size(most + 1));
            assert_eq!(error.violations().len(), 1, "{error}");
            let violation = named(&error, "max_batch_size");
            assert!(violation.value.contains(&(most + 1).to_string()));
            assert!(
                violation.bound.contains(&most.to_string()),
                "{}",
                violation.bound
            );
        }
        // A batch size that was not set follows the capacity.
        assert!(queue().capacity(10).spawn(Recorder::ok()).is_ok());
    });
}

/// A duration of more than a year is named, and one of zero where that means nothing.
#[test]
fn durations_out_of_bounds_are_named() {
    paused(async || {
        for endless in [TWO_YEARS, Duration::MAX] {
            named(&refused(queue().max_delay(endless)), "max_delay");
            named(
                &refused(queue().attempt_timeout(endless)),
                "attempt_timeout",
            );
            let retry = || Retry::exponential().max_elapsed(2 * HOUR);
            named(
                &refused(queue().retry(retry().max_delay(endless))),
                "max_delay",
            );
            let min = retry().first_delay(endless);
            assert!(!refused(queue().retry(min)).violations().is_empty());
            let elapsed = Retry::exponential().max_elapsed(endless);
            named(&refused(queue().retry(elapsed)), "max_elapsed");
        }
        named(
            &refused(queue().attempt_timeout(Duration::ZERO)),
            "attempt_timeout",
        );
        let retry = Retry::exponential().first_delay(Duration::ZERO);
        named(&refused(queue().retry(retry)), "first_delay");
        let retry = Retry::exponential().max_elapsed(Duration::ZERO);
        named(&refused(queue().retry(retry)), "max_elapsed");
    });
}

/// Not a number, shrinking delays, no attempt at all.
#[test]
fn nonsense_in_the_retry_policy_is_named() {
    paused(async || {
        for (factor, value) in [
            (f32::NAN, "NaN"),
            (f32::INFINITY, "inf"),
            (0.5, "0.5"),
            (-1.0, "-1"),
        ] {
            assert_names(
                queue().retry(Retry::exponential().factor(factor)),
                "factor",
                value,
            );
        }
        assert_names(
            queue().retry(Retry::exponential().max_attempts(0)),
            "max_attempts",
            "0",
        );
        let crossed = Retry::exponential().first_delay(secs(2)).max_delay(secs(1));
        assert!(!refused(queue().retry(crossed)).violations().is_empty());
    });
}

/// Each partition has one worker, so more workers could never all work.
#[test]
fn more_workers_than_partitions_are_named() {
    paused(async || {
        let error = refused(queue().partitions(2).max_in_flight(4));
        let fields = ["partitions", "max_in_flight"];
        assert!(
            error
                .violations()
                .iter()
                .any(|violation| fields.contains(&violation.field))
        );
        assert!(
            queue()
                .partitions(4)
                .max_in_flight(4)
                .spawn(Recorder::ok())
                .is_ok()
        );
        assert!(queue().max_in_flight(40).spawn(Recorder::ok()).is_ok());
    });
}

/// No thread can have such a name.
#[test]
fn a_name_with_a_nul_is_refused() {
    watched(|| assert_names(queue().name("a\0b"), "name", "\"a\\0b\""));
}

/// The missing runtime is among the violations.
#[test]
fn every_violation_is_named_at_once() {
    watched(|| {
        let error = refused(
            queue()
                .partitions(0)
                .capacity(0)
                .max_batch_size(0)
                .max_in_flight(0)
                .max_delay(Duration::MAX)
                .attempt_timeout(Duration::ZERO)
                .retry(Retry::exponential().factor(f32::NAN).max_attempts(0)),
        );
        let fields: Vec<_> = error
            .violations()
            .iter()
            .map(|violation| violation.field)
            .collect();
        for field in [
            "partitions",
            "capacity",
            "max_batch_size",
            "max_in_flight",
            "max_delay",
        ] {
            assert!(fields.contains(&field), "{field} is not among {fields:?}");
        }
        for field in ["attempt_timeout", "factor", "max_attempts", "runtime"] {
            named(&error, field);
        }
        let text = error.to_string();
        for violation in error.violations() {
            assert!(!violation.value.is_empty() && !violation.bound.is_empty());
            assert!(
                text.contains(violation.field),
                "{text:?} does not say {}",
                violation.field
            );
        }
        assert!(!format!("{error:?}").is_empty());
    });
}

/// Outside of a runtime the error says so, instead of a panic.
#[test]
fn a_missing_runtime_is_an_error() {
    watched(|| {
        let error = refused(queue());
        assert_eq!(error.violations().len(), 1, "{error}");
        named(&error, "runtime");
        assert!(queue().own_thread().spawn(Recorder::ok()).is_ok());
    });
}

/// It is refused at once, not at the first timeout.
#[test]
fn a_runtime_without_a_timer_is_refused() {
    watched(|| {
        let multi = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let current = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        for runtime in [multi, current] {
            let given = refused(queue().runtime(runtime.handle().clone()));
            let found = runtime.block_on(async { refused(queue()) });
            for error in [given, found] {
                assert_eq!(error.violations().len(), 1, "{error}");
                named(&error, "runtime");
            }
        }
    });
}

#[test]
fn extreme_settings_work() {
    paused(async || {
        let builders = [
            queue()
                .partitions(1)
                .capacity(1)
                .max_batch_size(1)
                .max_delay(Duration::ZERO),
            queue()
                .max_delay(300 * DAY)
                .attempt_timeout(300 * DAY)
                .retry(Retry::exponential().max_elapsed(300 * DAY)),
            queue()
                .max_delay(Duration::from_nanos(1))
                .attempt_timeout(ms(1)),
            queue()
                .capacity(1_000_000)
                .max_batch_size(750_000)
                .partitions(64)
                .max_in_flight(64),
            queue().retry(Retry::exponential().factor(f32::MAX).max_attempts(u32::MAX)),
        ];
        for builder in builders {
            let sink = Recorder::script([Step::Fail]);
            let queue = builder.spawn(sink.clone()).unwrap();
            queue.push(crate::common::item(0, 0)).unwrap();
            queue.flush().await.unwrap();
            crate::common::finish(queue, &sink).await;
        }
    });
}

/// The defaults: 500 items, 50 ms, a capacity of 100,000, one batch in flight.
#[test]
fn the_defaults_of_batching_hold() {
    paused(async || {
        let sink = Recorder::held();
        let queue = queue().spawn(sink.clone()).unwrap();
        assert_eq!(queue.capacity(), 100_000);
        for n in 0..100_000 {
            queue.push(n).unwrap();
        }
        assert!(queue.push(0).unwrap_err().is_full());
        settle().await;
        assert_eq!(sink.sizes(), [500]);
        sink.release();
        queue.flush().await.unwrap();
        assert_eq!((sink.sizes(), sink.most_running()), (vec![500; 200], 1));
        tokio::time::sleep(secs(1)).await;
        let pushed = Instant::now();
        queue.push(0).unwrap();
        sink.begun(201).await;
        assert_took(pushed.elapsed(), ms(50));
    });
}

/// The defaults: an attempt has ten seconds. Retries start within 100 ms and stop within 5 minutes.
#[test]
fn the_defaults_of_delivery_hold() {
    paused(async || {
        let sink = Recorder::new(Step::Hang);
        let queue = queue().spawn(sink.clone()).unwrap();
        let begin = Instant::now();
        queue.push(1).unwrap();
        let lost = queue.flush().await.unwrap_err().lost;
        let attempts = sink.attempts();
        let gap = attempts[1].at - attempts[0].at;
        assert!(gap >= secs(10) && gap <= secs(10) + ms(110), "{gap:?}");
        for pair in attempts.windows(2) {
            assert!(
                pair[1].at - pair[0].at <= secs(40) + ms(10),
                "a delay above 30 s"
            );
        }
        assert_eq!(lost, 1);
        assert!(
            attempts.last().unwrap().at - begin <= secs(301),
            "an attempt after 5 minutes"
        );
        assert!(
            begin.elapsed() <= secs(341),
            "gave up after {:?}",
            begin.elapsed()
        );
        assert!(
            begin.elapsed() >= secs(200),
            "gave up after {:?}",
            begin.elapsed()
        );
    });
}
