//! The two buffers of a lane: what is pushed is taken once and in order, although the writer runs
//! no fence and no read-modify-write, and is never waited for.

use super::parts::{Reader, Writer, lane};
use super::support::{Mutants, caught, model, thread};

/// Each chunk that is used up brings a swap, now that nothing is in its way.
fn goes_on(writer: &Writer<u32>, reader: &mut Reader<u32>) {
    if !cfg!(swaplane_loom) {
        return; // Chunks are large.
    }
    for item in 0..3 {
        let before = reader.active();
        writer.push(item);
        writer.push(item);
        assert_eq!(reader.take(100), [item; 2]);
        assert_ne!(reader.active(), before);
    }
}

/// One writer against several collections of at most `max` items.
pub(crate) fn swap(bound: Option<usize>, pushes: u32, takes: usize, max: usize) {
    model(bound, move || {
        let (writer, mut reader) = lane();
        let thread = thread::spawn(move || {
            for item in 1..=pushes {
                writer.push(item);
            }
            writer
        });
        let mut taken = Vec::new();
        for _ in 0..takes {
            taken.extend(reader.take(max));
        }
        let writer = thread.join().unwrap();
        taken.extend(reader.take(100));
        assert_eq!(taken, Vec::from_iter(1..=pushes));
        goes_on(&writer, &mut reader);
    });
}

#[test]
fn one_swap() {
    swap(None, 4, 3, 100);
}

#[test]
fn item_by_item() {
    swap(None, 4, 3, 1);
}

/// The same from there on where `ready` items are pushed, two are taken, and the buffers swapped.
pub(crate) fn swapped(bound: Option<usize>, ready: u32, pushes: u32, takes: usize, max: usize) {
    model(bound, move || {
        let (writer, mut reader) = lane();
        (1..=ready).for_each(|item| writer.push(item));
        let mut taken = reader.take(1);
        taken.extend(reader.take(1));
        let thread = thread::spawn(move || {
            for item in ready + 1..=ready + pushes {
                writer.push(item);
            }
            writer
        });
        for _ in 0..takes {
            taken.extend(reader.take(max));
        }
        let writer = thread.join().unwrap();
        taken.extend(reader.take(100));
        assert_eq!(taken, Vec::from_iter(1..=ready + pushes));
        goes_on(&writer, &mut reader);
    });
}

#[test]
fn while_the_writer_moves() {
    swapped(None, 2, 3, 3, 100);
    swapped(None, 3, 3, 2, 100);
}

pub(crate) const MUTANTS: Mutants = &[
    ("lane: published", || swap(None, 4, 2, 100)),
    ("lane: published read", || swap(None, 4, 2, 100)),
    ("lane: generation", || swap(None, 4, 2, 100)),
    ("lane: generation read", || swap(None, 4, 2, 100)),
    ("lane: acked", || swapped(None, 2, 2, 2, 100)),
    ("lane: acked read", || swapped(None, 2, 2, 2, 100)),
    ("lane: moved_at ignored", || swapped(None, 2, 2, 2, 100)),
    ("lane: published not read again", || swap(None, 4, 2, 100)),
];

#[test]
fn mutants() {
    caught(MUTANTS);
}
