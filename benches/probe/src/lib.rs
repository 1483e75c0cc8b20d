//! One function for each fast path, as a program of a user would have it compiled. Nobody calls
//! them: `ci/locked.sh` reads their machine code.

#![allow(unsafe_code)]

use std::sync::Mutex;

use swaplane::{Queue, Writer};

type Item = [u64; 2];

#[unsafe(no_mangle)]
pub fn probe_writer_push(writer: &mut Writer<Item>, item: Item) -> bool {
    writer.push(item).is_ok()
}

#[unsafe(no_mangle)]
pub fn probe_queue_push(queue: &Queue<Item>, item: Item) -> bool {
    queue.push(item).is_ok()
}

#[unsafe(no_mangle)]
pub fn probe_push_keyed(queue: &Queue<Item>, key: u64, item: Item) -> bool {
    queue.push_keyed(&key, item).is_ok()
}

/// What a keyed push is compared with.
#[unsafe(no_mangle)]
pub fn probe_mutex_push(shard: &Mutex<Vec<Item>>, item: Item) {
    shard.lock().unwrap().push(item);
}
