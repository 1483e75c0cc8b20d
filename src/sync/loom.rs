//! Stand-ins for the models. Each says what it leaves out.

pub(crate) use loom::sync::Arc;
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, fence};

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
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

/// The `OnceLock` of `std`, which loom does not see, behind a flag and a lock, which it does.
#[derive(Debug)]
pub(crate) struct OnceLock<V> {
    value: std::sync::OnceLock<V>,
    is_set: AtomicBool,
    init: Mutex<()>,
}

impl<V> OnceLock<V> {
    pub(crate) fn new() -> Self {
        Self {
            value: std::sync::OnceLock::new(),
            is_set: AtomicBool::new(false),
            init: Mutex::default(),
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
        let _guard = self.init.lock();
        if self.value.get().is_none() {
            let set = self.value.set(init());
            assert!(set.is_ok(), "one at a time");
            self.is_set.store(true, Ordering::Release);
        }
        self.value.get().expect("set")
    }
}

/// Reads a counter that only the caller changes.
#[expect(unsafe_code)]
pub(crate) fn own_value(counter: &AtomicUsize) -> usize {
    // SAFETY: nobody else changes the counter meanwhile, which loom checks.
    unsafe { counter.unsync_load() }
}

/// A counter that one thread at a time changes, here with read-modify-writes. loom remembers only
/// the last access to an atomic: of "A loads, B loads, B stores" it misses that B could have come
/// first.
#[derive(Debug, Default)]
pub(crate) struct OwnedCounter(AtomicUsize);

impl OwnedCounter {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, n: usize) {
        self.0.swap(n, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, n: usize) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn publish(&self, n: usize, order: Ordering) {
        self.0.fetch_add(n, order);
    }

    pub(crate) fn sub(&self, n: usize) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }
}

/// Lets other threads run, which is all that a model needs.
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

pub(crate) use loom::cell::UnsafeCell;

std::thread_local! {
    static EXPEDITED: Cell<bool> = const { Cell::new(false) };
}

/// Says whether the model at hand has `membarrier(2)`.
pub(crate) fn set_expedited(there: bool) {
    EXPEDITED.set(there);
}

/// A fence where the model has `membarrier(2)`, and nothing elsewhere.
///
/// The barrier of another thread makes a full fence of a compiler fence, for that thread. Here it
/// is one for every thread, which is more. What goes on between a writer and the flusher without a
/// barrier is modelled without any fence.
pub(crate) fn compiler_fence(order: Ordering) {
    if EXPEDITED.get() {
        fence(order);
    }
}

/// Checks that one thread at a time, each after the other, uses what this is a part of: for cells
/// that loom cannot watch.
#[derive(Debug, Default)]
pub(crate) struct OwnerCheck(UnsafeCell<()>);

impl OwnerCheck {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn check(&self) {
        self.0.with_mut(|_| ());
    }
}

/// There is no runtime whose threads could keep the flusher from its turn.
pub(crate) fn wake(wakeup: &Notify) {
    wakeup.notify_one();
}

/// The `Notify` of tokio, less what the crate does not use: one stored permit, one waiter.
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

/// The `Semaphore` of tokio, less what the crate does not use, and without callers that leave. It
/// serves callers in their order, and a permit that comes back goes to a waiter before anybody else
/// can take it.
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

/// Every caller forgets its permit. The type exists so that the call reads the same.
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

/// Makes one value for each execution of a model.
macro_rules! global {
    (static $name:ident: $type:ty = $value:expr;) => {
        loom::lazy_static! { static ref $name: $type = $value; }
    };
}
pub(crate) use global;
