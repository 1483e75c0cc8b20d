//! What may happen, in which order.

use std::time::Duration;

use proptest::prelude::*;

use super::KEYS;
use crate::common::Step;
use crate::script::{closing, deadline, delay, step};

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Put(u64),
    PutNewer(u64, u64),
    Merge(u64),
    Remove(u64),
    Sink(Step),
    Advance(u32),
    Flush,
    DropFlush,
    Close,
}

#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) mirror: bool,
    pub(crate) capacity: usize,
    pub(crate) batch: Option<usize>,
    pub(crate) delay: Duration,
    pub(crate) in_flight: usize,
    pub(crate) remembers: bool,
    pub(crate) reads: bool,
    pub(crate) ops: Vec<Op>,
    pub(crate) deadline: Duration,
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0..KEYS;
    prop_oneof![
        8 => key().prop_map(Op::Put),
        10 => (key(), 0_u64..10).prop_map(|(key, version)| Op::PutNewer(key, version)),
        5 => key().prop_map(Op::Merge),
        6 => key().prop_map(Op::Remove),
        6 => step().prop_map(Op::Sink),
        6 => (1_u32..12).prop_map(Op::Advance),
        4 => Just(Op::Flush),
        1 => Just(Op::DropFlush),
    ]
}

pub(crate) fn script() -> impl Strategy<Value = Script> {
    let sizes = prop_oneof![
        Just((1, Some(1))),
        Just((4, Some(3))),
        Just((8, Some(1))),
        Just((8, Some(3))),
        Just((40, Some(30))),
        Just((8, None)),
    ];
    let ops = prop::collection::vec(op(), 1..60);
    let closes = prop::option::weighted(0.2, 0_usize..70);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (sizes, delay(), 1_usize..3, flags, ops, closes, deadline()).prop_map(
        |(sizes, delay, in_flight, flags, ops, closes, deadline)| {
            let (capacity, batch) = sizes;
            let (mirror, remembers, reads) = flags;
            Script {
                mirror,
                capacity,
                batch,
                delay,
                in_flight,
                remembers,
                reads,
                ops: closing(ops, closes, Op::Close),
                deadline,
            }
        },
    )
}
