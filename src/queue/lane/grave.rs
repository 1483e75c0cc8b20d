//! What models know of chunks: whether one is freed twice, used after that, or never freed.

#![expect(unsafe_code)]

use std::cell::{Cell, RefCell};

use crate::sync::global;

global! {
    static GRAVE: Grave = Grave::default();
}

/// Of one execution of a model; loom drops it at the end.
#[derive(Default)]
struct Grave {
    alive: Cell<usize>,
    dead: RefCell<Vec<Dead>>,
}

/// A chunk, of items of whatever type, and what gives its memory back.
struct Dead {
    chunk: *mut (),
    free: unsafe fn(*mut ()),
}

pub(super) struct Life(Cell<bool>);

impl Life {
    pub(super) fn begin() -> Self {
        GRAVE.alive.set(GRAVE.alive.get() + 1);
        Self(Cell::new(true))
    }

    pub(super) fn check(&self) {
        assert!(self.0.get(), "a chunk is used after it was freed");
    }

    pub(super) fn end(&self) {
        assert!(self.0.replace(false), "a chunk is freed twice");
        GRAVE.alive.set(GRAVE.alive.get() - 1);
    }
}

/// Keeps the memory of a chunk that has been freed.
pub(super) fn keep<C>(chunk: *mut C) {
    unsafe fn free<C>(chunk: *mut ()) {
        // SAFETY: it was boxed, is in the list once (`Life::end`), and the list is over.
        drop(unsafe { Box::from_raw(chunk.cast::<C>()) });
    }
    GRAVE.dead.borrow_mut().push(Dead {
        chunk: chunk.cast(),
        free: free::<C>,
    });
}

impl Drop for Grave {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Threads that never ended may still hold pointers.
            return;
        }
        for dead in self.dead.take() {
            // SAFETY: all threads of the model have ended.
            unsafe { (dead.free)(dead.chunk) };
        }
        assert_eq!(self.alive.get(), 0, "chunks were not freed");
    }
}
