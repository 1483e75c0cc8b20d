//! A map or a mirror: its entries, versions, batches, retries and flushes.
//!
//! The model knows what each call said and what each attempt did. Of the map it assumes only that
//! an entry leaves once. An entry may be on its way before the sink has it, but not before a batch
//! left or was asked for. Nothing changes an entry that is on its way.

mod model;
mod script;
mod world;

use std::hash::{BuildHasherDefault, DefaultHasher};

use proptest::prelude::*;
use swaplane::Map;

use self::script::{Script, script};
use self::world::MapWorld;
use crate::common::{Keyed, Recorder, paused};
use crate::{TIMEOUT, config, play, retry};

const KEYS: u64 = 5;

/// Hashes the same in every run, so that a script that fails does so again.
type Fixed = BuildHasherDefault<DefaultHasher>;

fn run(script: Script) {
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
            .retry(retry());
        if script.reads {
            builder = builder.read_in_flight();
        }
        if script.mirror {
            let mirror = builder.spawn_mirror(sink.clone()).unwrap();
            play(MapWorld::new(&script, &mirror, &sink), &script.ops).await;
        } else {
            let map = builder.spawn(sink.clone()).unwrap();
            play(MapWorld::new(&script, &map, &sink), &script.ops).await;
        }
    });
}

proptest! {
    #![proptest_config(config())]

    /// M1 to M4 and C1 to C9 hold after every step of any script.
    #[test]
    fn the_map_does_what_the_model_says(script in script()) {
        run(script);
    }
}
