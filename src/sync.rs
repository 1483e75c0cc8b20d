//! The one place that knows whether we run on `std` or under loom: nothing else in the crate
//! names `std::sync`, `loom` or `arc_swap`.
//!
//! Both halves export the same names. The loom half is built with `--cfg swaplane_loom` only,
//! and says of each stand-in what it keeps and what it leaves out.

use std::sync::atomic::Ordering;

pub(crate) use imp::*;
/// For what no model runs: user code, closures, trait objects (which loom's cannot hold).
pub(crate) use std::sync::{Arc as StdArc, mpsc};

#[cfg(not(swaplane_loom))]
mod imp {
    pub(crate) use std::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, compiler_fence, fence,
    };
    pub(crate) use std::sync::{Arc, OnceLock};

    use std::sync::atomic::Ordering;
    use std::sync::{PoisonError, TryLockError};

    /// A mutex without poisoning: nothing that can panic runs under our locks, and if it did,
    /// one caller's panic must not reach another.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<V>(std::sync::Mutex<V>);

    pub(crate) type MutexGuard<'a, V> = std::sync::MutexGuard<'a, V>;

    impl<V> Mutex<V> {
        pub(crate) const fn new(value: V) -> Self {
            Self(std::sync::Mutex::new(value))
        }

        #[inline]
        pub(crate) fn lock(&self) -> MutexGuard<'_, V> {
            self.try_lock().unwrap_or_else(|| self.lock_contended())
        }

        #[cold]
        #[inline(never)]
        fn lock_contended(&self) -> MutexGuard<'_, V> {
            // Looks less and less often: who looks all the time, as `std` does for a while, takes
            // the line from whoever has the lock, and slows it down.
            let backoff = Backoff::new();
            while !backoff.is_completed() {
                backoff.snooze();
                if let Some(guard) = self.try_lock() {
                    return guard;
                }
            }
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        #[inline]
        fn try_lock(&self) -> Option<MutexGuard<'_, V>> {
            match self.0.try_lock() {
                Ok(guard) => Some(guard),
                Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            }
        }
    }

    /// `std`'s cell with the closures of loom's, which can then watch each access.
    #[derive(Debug, Default)]
    #[repr(transparent)]
    pub(crate) struct UnsafeCell<V>(std::cell::UnsafeCell<V>);

    impl<V> UnsafeCell<V> {
        pub(crate) const fn new(value: V) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        #[inline(always)]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const V) -> R) -> R {
            f(self.0.get())
        }

        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut V) -> R) -> R {
            f(self.0.get())
        }
    }

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

    /// The value of a counter, for the only one who changes it.
    #[inline(always)]
    pub(crate) fn own_value(counter: &AtomicUsize) -> usize {
        counter.load(Ordering::Relaxed)
    }

    /// Only models check.
    #[derive(Debug)]
    pub(crate) struct Exclusive;

    impl Exclusive {
        pub(crate) const fn new() -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn check(&self) {}
    }

    /// A counter that one thread at a time changes, and any may read: without a read-modify-write.
    #[derive(Debug, Default)]
    pub(crate) struct Owned(AtomicUsize);

    impl Owned {
        #[inline(always)]
        pub(crate) fn get(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }

        #[inline(always)]
        pub(crate) fn set(&self, n: usize) {
            self.0.store(n, Ordering::Relaxed);
        }

        #[inline(always)]
        pub(crate) fn add(&self, n: usize) {
            self.set(self.get().wrapping_add(n));
        }

        #[inline(always)]
        pub(crate) fn sub(&self, n: usize) {
            self.set(self.get().wrapping_sub(n));
        }
    }

    pub(crate) use crossbeam_utils::Backoff;
    pub(crate) use tokio::sync::{Notify, Semaphore};

    /// Only a mutant has it.
    #[derive(Debug)]
    pub(crate) struct Sealed;

    impl Sealed {
        pub(crate) fn new() -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn set(&self, _: bool) {}

        #[inline(always)]
        pub(crate) fn get(&self) -> bool {
            false
        }
    }

    /// A `static`.
    macro_rules! global {
        (static $name:ident: $type:ty = $value:expr;) => {
            static $name: $type = $value;
        };
    }
    pub(crate) use global;
}

#[cfg(swaplane_loom)]
mod imp {
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, fence};

    use std::cell::Cell;
    use std::collections::VecDeque;
    use std::future::poll_fn;
    use std::marker::PhantomData;
    use std::sync::atomic::Ordering;
    use std::task::{Poll, Waker};

    pub(crate) use loom::sync::MutexGuard;

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<V>(loom::sync::Mutex<V>);

    impl<V> Mutex<V> {
        pub(crate) fn new(value: V) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, V> {
            self.0.lock().expect("loom's mutex is never poisoned")
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, V>> {
            self.0.try_lock().ok()
        }
    }

    /// `std`'s, which loom does not see, behind a flag and a lock that it does.
    #[derive(Debug)]
    pub(crate) struct OnceLock<V> {
        value: std::sync::OnceLock<V>,
        is_set: AtomicBool,
        turn: Mutex<()>,
    }

    impl<V> OnceLock<V> {
        pub(crate) fn new() -> Self {
            Self {
                value: std::sync::OnceLock::new(),
                is_set: AtomicBool::new(false),
                turn: Mutex::default(),
            }
        }

        pub(crate) fn get(&self) -> Option<&V> {
            self.value
                .get()
                .filter(|_| self.is_set.load(Ordering::Acquire))
        }

        pub(crate) fn get_or_init(&self, init: impl FnOnce() -> V) -> &V {
            if let Some(value) = self.get() {
                return value;
            }
            let _turn = self.turn.lock();
            if self.value.get().is_none() {
                let set = self.value.set(init());
                assert!(set.is_ok(), "one at a time");
                self.is_set.store(true, Ordering::Release);
            }
            self.value.get().expect("set")
        }
    }

    /// The value of a counter, for the only one who changes it.
    #[expect(unsafe_code)]
    pub(crate) fn own_value(counter: &AtomicUsize) -> usize {
        // SAFETY: nobody changes it meanwhile, which loom checks.
        unsafe { counter.unsync_load() }
    }

    /// With a read-modify-write, which does the same: loom remembers only the last access to an
    /// atomic, so of "I load, you load, you store" it misses that you could have come first.
    #[derive(Debug, Default)]
    pub(crate) struct Owned(AtomicUsize);

    impl Owned {
        pub(crate) fn get(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }

        pub(crate) fn set(&self, n: usize) {
            self.0.swap(n, Ordering::Relaxed);
        }

        pub(crate) fn add(&self, n: usize) {
            self.0.fetch_add(n, Ordering::Relaxed);
        }

        pub(crate) fn sub(&self, n: usize) {
            self.0.fetch_sub(n, Ordering::Relaxed);
        }
    }

    /// Lets others run, which is all that a model needs.
    #[derive(Debug)]
    pub(crate) struct Backoff;

    impl Backoff {
        pub(crate) fn new() -> Self {
            Self
        }

        pub(crate) fn snooze(&self) {
            loom::thread::yield_now();
        }
    }

    /// The flag that a mutant believes in instead of the index of the active side.
    #[derive(Debug)]
    pub(crate) struct Sealed(AtomicBool);

    impl Sealed {
        pub(crate) fn new() -> Self {
            Self(AtomicBool::new(false))
        }

        pub(crate) fn set(&self, sealed: bool) {
            self.0.store(sealed, Ordering::SeqCst);
        }

        pub(crate) fn get(&self) -> bool {
            self.0.load(Ordering::SeqCst)
        }
    }

    pub(crate) use loom::cell::UnsafeCell;

    std::thread_local! {
        static EXPEDITED: Cell<bool> = const { Cell::new(false) };
    }

    /// Whether the model at hand has `membarrier(2)`.
    pub(crate) fn set_expedited(there: bool) {
        EXPEDITED.set(there);
    }

    /// Nothing, as on the machine; but where there is `membarrier(2)`, what that makes of it as
    /// seen by who calls it: a fence. (And as seen by others, which is more than it is; what
    /// goes on between writer and flusher without a barrier is modelled without.)
    pub(crate) fn compiler_fence(order: Ordering) {
        if EXPEDITED.get() {
            fence(order);
        }
    }

    /// Nobody but one thread at a time, each after the other, uses what this is part of. For
    /// cells that loom cannot watch.
    #[derive(Debug, Default)]
    pub(crate) struct Exclusive(UnsafeCell<()>);

    impl Exclusive {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn check(&self) {
            self.0.with_mut(|_| ());
        }
    }

    /// Weaker on purpose than `arc_swap`: two relaxed accesses. What the models prove with it
    /// does not lean on any ordering of that crate.
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

    /// `tokio::sync::Notify` reduced to what we use: one stored permit, one waiter.
    #[derive(Debug, Default)]
    pub(crate) struct Notify(Mutex<(bool, Option<Waker>)>);

    impl Notify {
        pub(crate) fn new() -> Self {
            Self(Mutex::new((false, None)))
        }

        pub(crate) fn notify_one(&self) {
            let mut state = self.0.lock();
            state.0 = true;
            let waker = state.1.take();
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }

        pub(crate) async fn notified(&self) {
            poll_fn(|context| {
                let mut state = self.0.lock();
                if std::mem::take(&mut state.0) {
                    return Poll::Ready(());
                }
                state.1 = Some(context.waker().clone());
                Poll::Pending
            })
            .await;
        }
    }

    #[derive(Debug)]
    pub(crate) struct AcquireError(());

    /// `tokio::sync::Semaphore` reduced to what we use: first come first served, and permits
    /// that come back go to whoever waits before anybody can take them.
    #[derive(Debug)]
    pub(crate) struct Semaphore(Mutex<Pool>);

    #[derive(Debug)]
    struct Pool {
        permits: usize,
        waiters: VecDeque<Arc<Waiter>>,
        closed: bool,
    }

    #[derive(Debug)]
    struct Waiter(Mutex<(bool, Option<Waker>)>);

    /// Forgotten by every caller of ours; exists so that the call reads the same.
    #[derive(Debug)]
    pub(crate) struct SemaphorePermit;

    impl SemaphorePermit {
        pub(crate) fn forget(self) {}
    }

    impl Semaphore {
        pub(crate) fn new(permits: usize) -> Self {
            Self(Mutex::new(Pool {
                permits,
                waiters: VecDeque::new(),
                closed: false,
            }))
        }

        pub(crate) fn available_permits(&self) -> usize {
            self.0.lock().permits
        }

        pub(crate) fn try_acquire_many(&self, n: u32) -> Result<SemaphorePermit, AcquireError> {
            let mut pool = self.0.lock();
            if pool.closed || pool.permits < n as usize {
                return Err(AcquireError(()));
            }
            pool.permits -= n as usize;
            Ok(SemaphorePermit)
        }

        pub(crate) fn add_permits(&self, n: usize) {
            let mut pool = self.0.lock();
            pool.permits += n;
            let mut woken = Vec::new();
            while pool.permits > 0 {
                let Some(waiter) = pool.waiters.pop_front() else {
                    break;
                };
                pool.permits -= 1;
                let mut state = waiter.0.lock();
                state.0 = true;
                woken.extend(state.1.take());
            }
            drop(pool);
            woken.into_iter().for_each(Waker::wake);
        }

        pub(crate) async fn acquire(&self) -> Result<SemaphorePermit, AcquireError> {
            let waiter = {
                let mut pool = self.0.lock();
                if pool.closed {
                    return Err(AcquireError(()));
                }
                if pool.permits > 0 {
                    pool.permits -= 1;
                    return Ok(SemaphorePermit);
                }
                let waiter = Arc::new(Waiter(Mutex::new((false, None))));
                pool.waiters.push_back(waiter.clone());
                waiter
            };
            poll_fn(|context| {
                let pool = self.0.lock();
                let mut state = waiter.0.lock();
                if state.0 {
                    return Poll::Ready(Ok(SemaphorePermit));
                }
                if pool.closed {
                    return Poll::Ready(Err(AcquireError(())));
                }
                state.1 = Some(context.waker().clone());
                Poll::Pending
            })
            .await
        }

        pub(crate) fn close(&self) {
            let mut pool = self.0.lock();
            pool.closed = true;
            let waiters = std::mem::take(&mut pool.waiters);
            drop(pool);
            for waiter in waiters {
                let waker = waiter.0.lock().1.take();
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
        }
    }

    /// One value for each execution of a model.
    macro_rules! global {
        (static $name:ident: $type:ty = $value:expr;) => {
            loom::lazy_static! { static ref $name: $type = $value; }
        };
    }
    pub(crate) use global;
}

/// `strong`; under loom, `Relaxed` while the mutant of this name is alive.
///
/// Every ordering on which a proof leans passes through here, so that `loom_tests/` can weaken
/// each in turn and assert that a model notices.
#[inline(always)]
pub(crate) fn order(mutant: &'static str, strong: Ordering) -> Ordering {
    if broken(mutant) {
        Ordering::Relaxed
    } else {
        strong
    }
}

/// `SeqCst`, of a fence; under loom, `AcqRel` while the mutant of this name is alive.
#[inline(always)]
pub(crate) fn full(mutant: &'static str) -> Ordering {
    if broken(mutant) {
        Ordering::AcqRel
    } else {
        Ordering::SeqCst
    }
}

/// Under loom, while the mutant of this name is alive, changes `word` by a load and a store, and
/// says so: the caller then leaves out its read-modify-write.
#[inline(always)]
pub(crate) fn torn(
    mutant: &'static str,
    word: &AtomicUsize,
    order: Ordering,
    change: impl FnOnce(usize) -> usize,
) -> bool {
    let torn = broken(mutant);
    if torn {
        word.store(change(word.load(Ordering::Relaxed)), order);
    }
    torn
}

/// Whether the mutant of this name is alive: always `false`, and gone from the machine code,
/// outside loom.
#[cfg(not(swaplane_loom))]
#[inline(always)]
pub(crate) const fn broken(_mutant: &'static str) -> bool {
    false
}

#[cfg(swaplane_loom)]
pub(crate) use mutants::{broken, with_mutant};

#[cfg(swaplane_loom)]
mod mutants {
    //! Which mutant is alive. loom runs all threads of a model on the one that checks it, so
    //! a thread-local serves, and test threads do not disturb each other.
    use std::cell::Cell;

    std::thread_local! {
        static ALIVE: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    pub(crate) fn broken(mutant: &'static str) -> bool {
        ALIVE.get() == Some(mutant)
    }

    /// Lets `mutant` live while `f` runs, which is to catch its panics.
    pub(crate) fn with_mutant<R>(mutant: &'static str, f: impl FnOnce() -> R) -> R {
        ALIVE.set(Some(mutant));
        let result = f();
        ALIVE.set(None);
        result
    }
}
