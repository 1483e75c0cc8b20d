//! What may be pushed: any `Send` type of any size and alignment. No item is ever printed.

use std::cell::Cell;
use std::error::Error;
use std::fmt::{Debug, Display};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use swaplane::{
    BuildError, FlushError, PushAllError, PushError, Queue, ReserveError, Retry, Writer,
};

use crate::common::{HOUR, lock, paused, secs, settle, threaded, watched};

/// An item that is `Send` and nothing else: not `Clone`, `Sync` or `Debug`.
struct Bare(Cell<u64>);

/// So it is for every kind of push and for both kinds of closures.
#[test]
fn items_need_only_send() {
    threaded(1, async || {
        let sum = Arc::new(AtomicUsize::new(0));
        let (a, b) = (sum.clone(), sum.clone());
        let asynchronous = Queue::builder()
            .spawn_fn(move |batch| {
                let sum = a.clone();
                async move {
                    for Bare(cell) in batch.into_vec() {
                        sum.fetch_add(cell.get() as usize, SeqCst);
                    }
                    Ok(())
                }
            })
            .unwrap();
        let blocking = Queue::builder()
            .spawn_blocking_fn(move |rows: &[Bare]| {
                rows.iter()
                    .for_each(|row| _ = b.fetch_add(row.0.get() as usize, SeqCst));
                Ok(())
            })
            .unwrap();
        for queue in [asynchronous, blocking] {
            queue.push(Bare(Cell::new(1))).unwrap();
            queue.push_keyed(&1, Bare(Cell::new(10))).unwrap();
            queue.writer().push(Bare(Cell::new(100))).unwrap();
            queue
                .reserve()
                .await
                .unwrap()
                .push(Bare(Cell::new(1000)))
                .unwrap();
            queue.flush().await.unwrap();
            assert!(queue.shutdown(secs(30)).await.is_complete());
        }
        assert_eq!(sum.load(SeqCst), 2222);
    });
}

/// Has room for the copies of huge items that unoptimised code makes.
const STACK: usize = 64 << 20;

/// Pushes `make(0..count)` from two threads and checks what the sink got with `check`.
fn round_trip<T: Send + 'static>(count: u64, make: fn(u64) -> T, check: fn(&T) -> u64) {
    watched(move || {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_stack_size(STACK)
            .enable_time()
            .build()
            .unwrap();
        let queue = Queue::builder()
            .runtime(runtime.handle().clone())
            .spawn_blocking_fn(move |rows: &[T]| {
                lock(&log).extend(rows.iter().map(check));
                Ok(())
            })
            .unwrap();
        let pushers = [0, 1].map(|half| {
            let queue = queue.clone();
            let push = move || {
                (0..count)
                    .filter(|n| n % 2 == half)
                    .for_each(|n| queue.push(make(n)).unwrap());
            };
            thread::Builder::new()
                .stack_size(STACK)
                .spawn(push)
                .unwrap()
        });
        for pusher in pushers {
            pusher.join().unwrap();
        }
        assert!(queue.shutdown_blocking(secs(50)).is_complete());
        let mut seen = std::mem::take(&mut *lock(&seen));
        seen.sort_unstable();
        assert_eq!(seen, (0..count).collect::<Vec<_>>());
    });
}

/// An item of 1 MiB is larger than a chunk.
#[test]
fn huge_items_arrive_whole() {
    round_trip(
        24,
        |n| [n; 128 * 1024],
        |block| {
            assert!(block.iter().all(|word| *word == block[0]));
            block[0]
        },
    );
}

/// Items keep an alignment above that of any allocator's default.
#[test]
fn aligned_items_stay_aligned() {
    #[repr(align(4096))]
    struct Page(u64);
    round_trip(300, Page, |page| {
        assert_eq!(std::ptr::from_ref(page).addr() % 4096, 0);
        page.0
    });
}

/// They are counted, limited and dropped.
#[test]
fn items_of_no_size_are_items_like_any_other() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    struct Nothing;
    impl Drop for Nothing {
        fn drop(&mut self) {
            DROPS.fetch_add(1, SeqCst);
        }
    }
    paused(async || {
        let got = Arc::new(AtomicUsize::new(0));
        let counted = got.clone();
        let queue = Queue::builder()
            .capacity(1000)
            .max_batch_size(100)
            .max_delay(HOUR)
            .spawn_fn(move |batch: swaplane::Batch<Nothing>| {
                assert!(batch.len() <= 100);
                counted.fetch_add(batch.len(), SeqCst);
                async { Ok(()) }
            })
            .unwrap();
        for _ in 0..1000 {
            queue.push(Nothing).unwrap();
        }
        assert!(queue.push(Nothing).is_err_and(|refused| refused.is_full()));
        queue.flush().await.unwrap();
        assert_eq!(got.load(SeqCst), 1000);
        drop(queue);
        settle().await;
        assert_eq!(DROPS.load(SeqCst), 1001);
    });
}

/// An item without `Debug` and `Display`.
struct Secret;

/// Errors and handles print without `T: Debug`, and errors are errors for every `T`.
#[test]
fn errors_print_no_items() {
    fn is_error<E: Error + Debug + Display>() {}
    is_error::<PushError<Secret>>();
    is_error::<PushAllError<Secret>>();
    is_error::<ReserveError>();
    is_error::<FlushError>();
    is_error::<BuildError>();
    paused(async || {
        let queue: Queue<String> = Queue::builder()
            .capacity(1)
            .max_batch_size(1)
            .attempt_timeout(HOUR)
            .retry(Retry::never())
            .spawn_fn(|_| std::future::pending())
            .unwrap();
        queue.push("hunter2".into()).unwrap();
        let full = queue.push("hunter2".into()).unwrap_err();
        let all = queue
            .push_all(["hunter2".to_owned(), "hunter2".to_owned()])
            .unwrap_err();
        queue.close();
        let closed = queue.push("hunter2".into()).unwrap_err();
        let mut texts = vec![format!("{queue:?}")];
        texts.extend([
            format!("{full:?}"),
            format!("{full}"),
            format!("{closed:?}"),
        ]);
        texts.extend([format!("{closed}"), format!("{all:?}"), format!("{all}")]);
        for text in texts {
            assert!(!text.is_empty() && !text.contains("hunter2"), "{text}");
        }
    });
}

/// Queues are shared. Writers, permits, batches and reports move.
#[test]
fn handles_are_send_where_items_are() {
    fn send<T: Send>() {}
    fn send_sync<T: Send + Sync + Clone>() {}
    send_sync::<Queue<Cell<u8>>>();
    send::<Writer<Cell<u8>>>();
    send::<swaplane::Permit<Cell<u8>>>();
    send::<swaplane::Batch<Cell<u8>>>();
    send::<swaplane::ShutdownReport<Cell<u8>>>();
    fn future_is_send<F: Send>(_: F) {}
    fn futures(queue: &Queue<Cell<u8>>) {
        future_is_send(queue.flush());
        future_is_send(queue.reserve());
        future_is_send(queue.shutdown(HOUR));
    }
    let _ = futures;
}
