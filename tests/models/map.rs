//! A random script of all operations of a map against a plain sequential model of its contract.
//!
//! The model knows what each call said and what each attempt did. Of the map it assumes only that an
//! entry leaves for good once: it may be on its way before the sink has it, but not before a batch
//! left or was asked for; and what is on its way nothing touches.
mod model;
mod script;
mod world;

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use crate::common::{Keyed, Recorder, ms, paused};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use script::{Script, script};
use swaplane::{Map, SinkError};
use world::{Face, World};

const TICK: Duration = ms(10);
const TIMEOUT: Duration = ms(100);
const BACKOFF: Duration = ms(30);
const ATTEMPTS: u32 = 3;
const KEYS: u64 = 5;

/// Hashes the same in every run, so that a script that fails does so again.
type Fixed = BuildHasherDefault<DefaultHasher>;

fn play(script: Script) {
    paused(async move || {
        let sink = Keyed::from(Recorder::ok());
        let mut builder = Map::<u64, u64>::builder()
            .hasher(Fixed::default())
            .capacity(script.capacity)
            .max_batch_size(script.batch)
            .max_delay(script.delay)
            .partitions(script.in_flight)
            .max_in_flight(script.in_flight)
            .shards(2)
            .remember_versions(if script.remembers { KEYS as usize } else { 0 })
            .attempt_timeout(TIMEOUT)
            .retry(|attempt: u32, _: &SinkError| (attempt < ATTEMPTS).then_some(BACKOFF));
        if script.reads {
            builder = builder.read_in_flight();
        }
        if script.mirror {
            let mirror = builder.spawn_mirror(sink.clone()).unwrap();
            run(&script, &mirror, &sink).await;
        } else {
            let map = builder.spawn(sink.clone()).unwrap();
            run(&script, &map, &sink).await;
        }
    });
}

async fn run<F: Face>(script: &Script, map: &F, sink: &Keyed) {
    let mut world = World::new(script, map, sink);
    for op in &script.ops {
        world.apply(op).await;
        world.check().await;
    }
    world.end().await;
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { ProptestConfig::default().cases },
        failure_persistence: (!cfg!(miri))
            .then(|| Box::new(FileFailurePersistence::WithSource("regressions")) as _),
        ..ProptestConfig::default()
    })]

    /// M1 to M4 and C1 to C9 hold after every step of any script.
    #[test]
    fn the_map_does_what_the_model_says(script in script()) {
        play(script);
    }
}
