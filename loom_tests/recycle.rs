//! Buffers that are used again, over several swaps: one is emptied only after its writer has left
//! it and all of it is read.

use super::support::{Mutants, caught};
use super::swap::{swap, swapped};

#[test]
fn three_swaps() {
    swap(Some(3), 6, 4, 100);
}

#[test]
fn four_swaps() {
    swap(Some(2), 8, 5, 100);
}

#[test]
fn with_the_rest_of_a_buffer_left_for_later() {
    swap(Some(3), 5, 4, 2);
}

#[test]
fn after_a_swap() {
    swapped(Some(2), 4, 5, 4, 2);
}

pub(crate) const MUTANTS: Mutants = &[
    ("lane: recycled without ack", || swapped(None, 2, 4, 3, 100)),
    ("lane: recycled before it is read", || {
        swapped(None, 4, 1, 2, 1)
    }),
];

#[test]
fn mutants() {
    caught(MUTANTS);
}
