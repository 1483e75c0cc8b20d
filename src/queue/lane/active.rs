//! Which of its two buffers a lane publishes to its writer.

pub(super) use imp::Published;

#[cfg(not(all(test, swaplane_loom)))]
mod imp {
    use crate::sync::Arc;

    /// Publishes one of two buffers that a lane owns for its whole life. Which of them may be
    /// touched, and when, is decided by the lane's own words (see `lane`): of `arc_swap` we ask
    /// only that a load returns a pointer that was stored, and not an older one than the last
    /// whose store happened before.
    #[derive(Debug)]
    pub(crate) struct Published<B>(arc_swap::ArcSwap<B>);

    impl<B> Published<B> {
        pub(crate) fn new(first: Arc<B>) -> Self {
            Self(arc_swap::ArcSwap::new(first))
        }

        pub(crate) fn load(&self) -> *const B {
            Arc::as_ptr(&self.0.load())
        }

        pub(crate) fn swap(&self, next: &Arc<B>) {
            drop(self.0.swap(next.clone()));
        }
    }
}

#[cfg(all(test, swaplane_loom))]
mod imp {
    use crate::sync::Ordering;
    use std::marker::PhantomData;

    use crate::sync::{Arc, AtomicPtr};

    /// Weaker on purpose than `arc_swap`: two relaxed accesses. What the models prove with it
    /// does not trimmed on any ordering of that crate.
    #[derive(Debug)]
    pub(crate) struct Published<B> {
        pointer: AtomicPtr<B>,
        owned: PhantomData<Arc<B>>,
    }

    impl<B> Published<B> {
        pub(crate) fn new(first: Arc<B>) -> Self {
            Self {
                pointer: AtomicPtr::new(Arc::as_ptr(&first).cast_mut()),
                owned: PhantomData,
            }
        }

        pub(crate) fn load(&self) -> *const B {
            self.pointer.load(Ordering::Relaxed)
        }

        pub(crate) fn swap(&self, next: &Arc<B>) {
            let next = Arc::as_ptr(next).cast_mut();
            self.pointer.swap(next, Ordering::Relaxed);
        }
    }
}
