//! A random script against a plain sequential model, on one thread with the clock paused.
//!
//! The model knows the settings, what each push said and what each attempt did; from that it says
//! what must have ended how and when, who waits, and what may not be waiting any more.
mod replay;
mod script;
mod world;

use std::time::Duration;

use crate::common::{Recorder, ms, paused};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use script::{Script, script};
use swaplane::{Queue, SinkError};
use world::World;

const TICK: Duration = ms(10);
const TIMEOUT: Duration = ms(100);
const BACKOFF: Duration = ms(30);
const ATTEMPTS: u32 = 3;
/// Stream 0 is the thread's, the others are keys.
const STREAMS: usize = 3;

fn play(script: Script) {
    paused(async move || {
        let sink = Recorder::ok();
        let queue = Queue::builder()
            .capacity(script.capacity)
            .max_batch_size(script.batch)
            .max_delay(script.delay)
            .partitions(2)
            .attempt_timeout(TIMEOUT)
            .retry(|attempt: u32, _: &SinkError| (attempt < ATTEMPTS).then_some(BACKOFF))
            .spawn(sink.clone())
            .unwrap();
        let mut world = World::new(&script, &queue, &sink);
        for op in &script.ops {
            world.apply(op).await;
            world.check().await;
        }
        world.end().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { ProptestConfig::default().cases },
        failure_persistence: (!cfg!(miri))
            .then(|| Box::new(FileFailurePersistence::WithSource("regressions")) as _),
        ..ProptestConfig::default()
    })]

    /// C1 to C7 and C9 hold after every step of any script.
    #[test]
    fn the_queue_does_what_the_model_says(script in script()) {
        play(script);
    }
}
