//! A queue: its order, batches, retries, flushes, waiters and permits.
//!
//! The model knows the settings, what each push said and what each attempt did. From that it tells
//! which outcome every item must have and when, who waits, and what may not be waiting any more.

mod replay;
mod script;
mod world;

use proptest::prelude::*;
use swaplane::Queue;

use self::script::{Script, script};
use self::world::QueueWorld;
use crate::common::{Recorder, paused};
use crate::{TIMEOUT, config, play, retry};

/// Stream 0 is unkeyed, the others are keys.
const STREAMS: usize = 3;

fn run(script: Script) {
    paused(async move || {
        let sink = Recorder::ok();
        let queue = Queue::builder()
            .capacity(script.capacity)
            .max_batch_size(script.batch)
            .max_delay(script.delay)
            .partitions(2)
            .attempt_timeout(TIMEOUT)
            .retry(retry())
            .spawn(sink.clone())
            .unwrap();
        play(QueueWorld::new(&script, &queue, &sink), &script.ops).await;
    });
}

proptest! {
    #![proptest_config(config())]

    /// C1 to C7 and C9 hold after every step of any script.
    #[test]
    fn the_queue_does_what_the_model_says(script in script()) {
        run(script);
    }
}
