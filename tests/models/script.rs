//! What the scripts of queues and maps have in common.

use std::time::Duration;

use proptest::prelude::*;

use crate::common::{HOUR, Step, ms};

pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Ok),
        3 => Just(Step::Fail),
        1 => Just(Step::Panic),
        1 => Just(Step::Reject),
        1 => Just(Step::Hang),
        3 => Just(Step::Slow(ms(20))),
        1 => Just(Step::Take),
        1 => Just(Step::TakeFail),
        1 => Just(Step::DropFirst),
    ]
}

pub(crate) fn delay() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(Duration::ZERO), Just(ms(50)), Just(HOUR)]
}

/// Never on a tick, so that it never coincides with the end of an attempt.
pub(crate) fn deadline() -> impl Strategy<Value = Duration> {
    (0_u64..40).prop_map(|tens| ms(tens * 10 + 5))
}

/// Closes once, early or late or never. What follows in the script runs against it.
pub(crate) fn closing<Op>(mut ops: Vec<Op>, at: Option<usize>, close: Op) -> Vec<Op> {
    if let Some(at) = at {
        ops.insert(at.min(ops.len()), close);
    }
    ops
}
