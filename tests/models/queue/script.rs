//! What may happen, in which order.

use std::time::Duration;

use proptest::prelude::*;

use super::STREAMS;
use crate::common::Step;
use crate::script::{closing, deadline, delay, step};

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Push(usize),
    PushKeyed(usize),
    PushWithPermit,
    Sink(Step),
    Advance(u32),
    Flush,
    DropFlush,
    Reserve,
    DropWaiter(usize),
    DropPermit,
    Close,
}

#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) capacity: usize,
    pub(crate) batch: Option<usize>,
    pub(crate) delay: Duration,
    pub(crate) ops: Vec<Op>,
    pub(crate) deadline: Duration,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1_usize..5).prop_map(Op::Push),
        4 => (1..STREAMS).prop_map(Op::PushKeyed),
        3 => Just(Op::PushWithPermit),
        6 => step().prop_map(Op::Sink),
        6 => (1_u32..16).prop_map(Op::Advance),
        3 => Just(Op::Flush),
        1 => Just(Op::DropFlush),
        4 => Just(Op::Reserve),
        2 => (0_usize..4).prop_map(Op::DropWaiter),
        2 => Just(Op::DropPermit),
    ]
}

pub(crate) fn script() -> impl Strategy<Value = Script> {
    let settings = prop_oneof![
        Just((1, Some(1))),
        Just((4, Some(3))),
        Just((8, Some(3))),
        Just((8, None))
    ];
    let ops = prop::collection::vec(op(), 1..50);
    let closes = prop::option::weighted(0.3, 0_usize..60);
    (settings, delay(), ops, closes, deadline()).prop_map(
        |(settings, delay, ops, closes, deadline)| {
            let (capacity, batch) = settings;
            Script {
                capacity,
                batch,
                delay,
                ops: closing(ops, closes, Op::Close),
                deadline,
            }
        },
    )
}
