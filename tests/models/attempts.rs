//! What an attempt leads to, by the step that the sink did.

use std::time::Duration;

use tokio::time::Instant;

use crate::common::{Attempt, Step};
use crate::{ATTEMPTS, TIMEOUT};

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Fate {
    Delivered,
    Lost,
    Retry,
}

/// What an attempt leads to, and when it ends.
pub(crate) fn fate_of(attempt: &Attempt) -> (Fate, Instant) {
    let step = attempt.did.expect("the sink holds no attempt back");
    let took = match step {
        Step::Hang => TIMEOUT,
        Step::Slow(time) => time,
        _ => Duration::ZERO,
    };
    let fate = match step {
        Step::Fail | Step::Panic | Step::Hang if attempt.number < ATTEMPTS => Fate::Retry,
        Step::Fail | Step::Panic | Step::Hang | Step::Reject | Step::TakeFail => Fate::Lost,
        _ => Fate::Delivered,
    };
    (fate, attempt.at + took)
}
