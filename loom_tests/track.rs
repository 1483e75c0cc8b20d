//! What models know of chunks: whether one is freed twice, used after that, or never freed.

#![expect(unsafe_code)]

use std::cell::{Cell, RefCell};

use crate::sync::global;

global! {
    static CHUNKS: Chunks = Chunks::default();
}

/// Of one execution of a model; loom drops it at the end.
#[derive(Default)]
struct Chunks {
    alive: Cell<usize>,
    freed: RefCell<Vec<Freed>>,
}

/// A chunk, of items of whatever type, and what gives its memory back.
struct Freed {
    chunk: *mut (),
    free: unsafe fn(*mut ()),
}

pub(crate) struct Tracked(Cell<bool>);

impl Tracked {
    pub(crate) fn begin() -> Self {
        CHUNKS.alive.set(CHUNKS.alive.get() + 1);
        Self(Cell::new(true))
    }

    pub(crate) fn check(&self) {
        assert!(self.0.get(), "a chunk is used after it was freed");
    }

    pub(crate) fn end(&self) {
        assert!(self.0.replace(false), "a chunk is freed twice");
        CHUNKS.alive.set(CHUNKS.alive.get() - 1);
    }
}

/// Keeps the memory of a chunk that has been freed.
pub(crate) fn keep<C>(chunk: *mut C) {
    unsafe fn free<C>(chunk: *mut ()) {
        // SAFETY: it was boxed, is in the list once (`Tracked::end`), and the list is over.
        drop(unsafe { Box::from_raw(chunk.cast::<C>()) });
    }
    CHUNKS.freed.borrow_mut().push(Freed {
        chunk: chunk.cast(),
        free: free::<C>,
    });
}

impl Drop for Chunks {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Threads that never ended may still hold pointers.
            return;
        }
        for freed in self.freed.take() {
            // SAFETY: all threads of the model have ended.
            unsafe { (freed.free)(freed.chunk) };
        }
        assert_eq!(self.alive.get(), 0, "chunks were not freed");
    }
}
