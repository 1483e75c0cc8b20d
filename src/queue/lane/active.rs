//! Which of its two buffers a lane publishes to its writer.

use std::fmt;

use super::chunk::Buffer;
use crate::sync::Arc;

/// An `ArcSwap` of one of two buffers, both of which the lane owns for its whole life.
///
/// Which buffer may be touched, and when, is decided by the lane's own words (see `lane`). Of
/// `arc_swap` the lane asks only that a load returns a pointer that was stored, and none older than
/// the last whose store happened before. Even that is checked: see [`Active::load`].
pub(super) struct Active<T>(imp::Pointer<Buffer<T>>);

impl<T> Active<T> {
    pub(super) fn new(first: Arc<Buffer<T>>) -> Self {
        Self(imp::Pointer::new(first))
    }

    /// The active buffer, which is one of `buffers`: those of the lane.
    ///
    /// Up to its version 1.9.4 `arc_swap` could return a value of another instance whose address
    /// was used again, and lanes come and go. A pointer to anything but the lane's own buffers is a
    /// bug, and nothing may be written through it. It stops the process in debug builds; in release
    /// builds the pointer is loaded again.
    pub(super) fn load(&self, buffers: &[Arc<Buffer<T>>; 2]) -> *const Buffer<T> {
        loop {
            if let Some(active) = one_of(buffers, self.0.load()) {
                return active;
            }
            if cfg!(debug_assertions) {
                eprintln!("swaplane: arc_swap has returned a buffer of another lane");
                std::process::abort();
            }
        }
    }

    pub(super) fn swap(&self, next: &Arc<Buffer<T>>) {
        self.0.swap(next);
    }
}

/// Returns `loaded` if it points to one of `own`.
fn one_of<B>(own: &[Arc<B>; 2], loaded: *const B) -> Option<*const B> {
    let is_own = own.iter().any(|buffer| Arc::as_ptr(buffer) == loaded);
    is_own.then_some(loaded)
}

impl<T> fmt::Debug for Active<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Active").finish_non_exhaustive()
    }
}

#[cfg(not(all(test, swaplane_loom)))]
mod imp {
    use arc_swap::ArcSwap;

    use crate::sync::Arc;

    pub(super) struct Pointer<B>(ArcSwap<B>);

    impl<B> Pointer<B> {
        pub(super) fn new(first: Arc<B>) -> Self {
            Self(ArcSwap::new(first))
        }

        pub(super) fn load(&self) -> *const B {
            Arc::as_ptr(&self.0.load())
        }

        pub(super) fn swap(&self, next: &Arc<B>) {
            drop(self.0.swap(next.clone()));
        }
    }
}

/// Weaker than `arc_swap` on purpose: two relaxed accesses. So what the models prove leans on no
/// ordering of that crate.
#[cfg(all(test, swaplane_loom))]
mod imp {
    use std::marker::PhantomData;

    use crate::sync::Ordering::Relaxed;
    use crate::sync::{Arc, AtomicPtr};

    pub(super) struct Pointer<B> {
        pointer: AtomicPtr<B>,
        owned: PhantomData<Arc<B>>,
    }

    impl<B> Pointer<B> {
        pub(super) fn new(first: Arc<B>) -> Self {
            Self {
                pointer: AtomicPtr::new(Arc::as_ptr(&first).cast_mut()),
                owned: PhantomData,
            }
        }

        pub(super) fn load(&self) -> *const B {
            self.pointer.load(Relaxed)
        }

        pub(super) fn swap(&self, next: &Arc<B>) {
            self.pointer.swap(Arc::as_ptr(next).cast_mut(), Relaxed);
        }
    }
}

#[cfg(all(test, not(swaplane_loom)))]
mod tests {
    use super::{Active, Arc, Buffer, one_of};

    #[test]
    fn a_buffer_of_another_lane_is_never_taken_for_the_active_one() {
        let buffers = || [Arc::new(Buffer::<u8>::new()), Arc::new(Buffer::new())];
        let (own, other) = (buffers(), buffers());
        for buffer in &own {
            let pointer = Arc::as_ptr(buffer);
            assert_eq!(one_of(&own, pointer), Some(pointer));
            assert_eq!(one_of(&other, pointer), None);
        }
        let active = Active::new(own[0].clone());
        assert_eq!(active.load(&own), Arc::as_ptr(&own[0]));
        active.swap(&own[1]);
        assert_eq!(active.load(&own), Arc::as_ptr(&own[1]));
    }
}
