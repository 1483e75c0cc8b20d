//! Growth: a lane whose flusher is late takes chunk after chunk, keeps them for the next time, and
//! gives them back when it does not need them; each side touches only chunks that are its own, and
//! each is freed once. (Under loom chunks have room for two items; or, of bytes, two, then four.)

use super::parts::{Reader, Writer, lane};
use super::support::{model, thread};

/// What the flusher does to a lane.
#[derive(Clone, Copy)]
enum Step {
    Take,
    Sweep,
}
use Step::{Sweep, Take};

/// `ready` brings the lane into a state, and says which items it has pushed and not taken.
fn grow(
    bound: Option<usize>,
    ready: fn(&Writer<u8>, &mut Reader<u8>) -> Vec<u8>,
    pushes: u8,
    steps: &'static [Step],
) {
    model(bound, move || {
        let (writer, mut reader) = lane();
        let mut expected = ready(&writer, &mut reader);
        expected.extend(100..100 + pushes);
        let thread = thread::spawn(move || {
            for item in 100..100 + pushes {
                writer.push(item);
            }
        });
        let mut taken = Vec::new();
        for step in steps {
            match step {
                Take => taken.extend(reader.take(100)),
                Sweep => reader.sweep(),
            }
        }
        thread.join().unwrap();
        taken.extend(reader.take(100));
        assert_eq!(taken, expected);
    });
}

fn push(writer: &Writer<u8>, items: std::ops::RangeInclusive<u8>) -> Vec<u8> {
    items.clone().for_each(|item| writer.push(item));
    items.collect()
}

fn new(_: &Writer<u8>, _: &mut Reader<u8>) -> Vec<u8> {
    Vec::new()
}

/// The first chunk is used up, the writer is in the second.
fn grown(writer: &Writer<u8>, _: &mut Reader<u8>) -> Vec<u8> {
    push(writer, 1..=3)
}

/// The writer is in a retired buffer, in the second chunk.
fn retired(writer: &Writer<u8>, reader: &mut Reader<u8>) -> Vec<u8> {
    push(writer, 1..=3);
    reader.take(100);
    Vec::new()
}

/// The writer is at the end of the first chunk of a buffer that has two spares.
fn spares(writer: &Writer<u8>, reader: &mut Reader<u8>) -> Vec<u8> {
    push(writer, 1..=14);
    reader.take(100); // A is retired, with chunks of 2, 4, 4, 4
    push(writer, 15..=18);
    reader.take(100); // A is reset, and active again; the first chunk has gone
    push(writer, 19..=22)
}

/// The writer is at the end of a retired buffer, and the active one has a spare chunk.
fn returned(writer: &Writer<u8>, reader: &mut Reader<u8>) -> Vec<u8> {
    push(writer, 1..=2);
    reader.take(100);
    push(writer, 3..=6);
    reader.take(100);
    Vec::new()
}

#[test]
fn over_three_chunks() {
    grow(Some(2), new, 7, &[Take, Take, Take]);
}

#[test]
fn within_a_chunk_and_beyond() {
    grow(Some(3), grown, 4, &[Take, Take]);
}

#[test]
fn while_swept() {
    grow(Some(3), new, 4, &[Take, Sweep, Sweep, Take, Sweep]);
    grow(Some(3), grown, 4, &[Take, Sweep, Sweep, Take, Sweep]);
}

#[test]
fn while_a_retired_buffer_is_swept() {
    grow(Some(3), retired, 4, &[Sweep, Sweep, Take, Sweep, Sweep]);
}

#[test]
fn while_a_buffer_to_be_entered_is_swept() {
    grow(Some(3), returned, 3, &[Sweep, Sweep, Take]);
}

#[test]
fn while_spares_are_swept() {
    grow(None, spares, 2, &[Take, Sweep, Sweep]);
    grow(Some(2), spares, 5, &[Take, Sweep, Sweep, Take]);
}

/// A sweep of a lane in use: the next reset of each buffer frees what is spare.
#[test]
fn while_a_lane_in_use_is_swept() {
    grow(Some(2), spares, 5, &[Sweep, Take, Take, Take]);
}
