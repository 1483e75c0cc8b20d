//! Pushes that no lane can take: from a destructor of a thread-local that runs after the thread has
//! given its lane up, and from an allocator that pushes from within a push.
//!
//! Such items go to a list of their partition. They are delivered after everything that their
//! thread pushed before: the collector empties the list first and reads the lanes then, so the
//! lanes show it all that came before. A thread that ends pushes nothing afterwards. A thread whose
//! allocator pushes does, and those later items may overtake the one in the list.

use std::fmt;

use crate::sync::Ordering::Relaxed;
use crate::sync::{AtomicUsize, Mutex, broken};

pub(crate) struct Fallback<T> {
    list: Mutex<List<T>>,
    /// How many items the list holds. Written under the lock, read without.
    // Relaxed: a hint. A push into the list wakes the flusher, and whoever takes items has the
    // lock.
    waiting: AtomicUsize,
}

struct List<T> {
    items: Vec<T>,
    /// Items ever accepted.
    accepted: u64,
    closed: bool,
}

impl<T> Fallback<T> {
    pub(crate) fn new() -> Self {
        Self {
            list: Mutex::new(List {
                items: Vec::new(),
                accepted: 0,
                closed: false,
            }),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Appends an item.
    ///
    /// # Errors
    /// The item comes back once the list is closed.
    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut list = self.list.lock();
        if list.closed && !broken("fallback: closed ignored") {
            return Err(item);
        }
        list.items.push(item);
        list.accepted += 1;
        self.waiting.store(list.items.len(), Relaxed);
        Ok(())
    }

    /// Refuses items from now on.
    pub(crate) fn close(&self) {
        self.list.lock().closed = true;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.list.lock().closed
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.list.lock().accepted
    }

    /// How many items wait. Takes no lock.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Takes all items, with the memory that they lie in.
    pub(crate) fn take(&self) -> Vec<T> {
        let mut list = self.list.lock();
        self.waiting.store(0, Relaxed);
        std::mem::take(&mut list.items)
    }
}

impl<T> fmt::Debug for Fallback<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback").finish_non_exhaustive()
    }
}
