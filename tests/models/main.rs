//! Random scripts against plain sequential models of the contract: one of a queue, one of a map.
//!
//! A script runs on one thread with the clock paused. After each step everything that can be seen
//! is compared with what the model says.

#[path = "../common/mod.rs"]
mod common;

mod attempts;
mod map;
mod queue;
mod script;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use common::ms;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use swaplane::{FlushError, Retry};
use tokio::time::advance;

/// All times of a script but the deadline are multiples of a tick.
const TICK: Duration = ms(10);
const TIMEOUT: Duration = ms(100);
const BACKOFF: Duration = ms(30);
const ATTEMPTS: u32 = 3;

fn retry() -> Retry {
    Retry::from_fn(|attempt, _| (attempt < ATTEMPTS).then_some(BACKOFF))
}

/// Cases that have failed are kept beside the file that plays them.
fn config() -> ProptestConfig {
    ProptestConfig {
        cases: if cfg!(miri) {
            2
        } else {
            ProptestConfig::default().cases
        },
        failure_persistence: (!cfg!(miri))
            .then(|| Box::new(FileFailurePersistence::WithSource("regressions")) as _),
        ..ProptestConfig::default()
    }
}

type FlushFuture<'a> = Pin<Box<dyn Future<Output = Result<(), FlushError>> + Send + 'a>>;

/// What is under test, next to all that the model knows about it.
trait World {
    type Op;

    async fn apply(&mut self, op: &Self::Op);

    /// Lets everything settle, then compares all there is to see with the model.
    async fn check(&mut self);

    /// Shuts down. Everything accepted has one outcome, and the report and the sink agree on it.
    async fn end(self);

    async fn advance(&mut self, ticks: u32) {
        for _ in 0..ticks {
            advance(TICK).await;
            self.check().await;
        }
    }
}

async fn play<W: World>(mut world: W, ops: &[W::Op]) {
    for op in ops {
        world.apply(op).await;
        world.check().await;
    }
    world.end().await;
}
