//! The blocking twins in async code. Each panics, and names the function that was called and the
//! one to call instead.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use swaplane::{Map, Queue};

fn text_of(call: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(call)).expect_err("it panics in async code");
    *panic.downcast::<String>().expect("with a text of ours")
}

#[tokio::test]
async fn a_blocking_call_in_async_code_names_itself_and_the_way_out() {
    let queue = Queue::<u8>::builder()
        .spawn_fn(|_| async { Ok(()) })
        .unwrap();
    let map = Map::<u8, u8>::builder()
        .spawn_fn(|_| async { Ok(()) })
        .unwrap();
    let calls: [(&str, &str, &dyn Fn()); 5] = [
        ("flush_blocking", "flush().await", &|| {
            _ = queue.flush_blocking();
        }),
        ("flush_blocking", "flush().await", &|| {
            _ = map.flush_blocking();
        }),
        ("reserve_blocking", "reserve().await", &|| {
            drop(queue.reserve_blocking())
        }),
        ("shutdown_blocking", "shutdown(..).await", &|| {
            drop(queue.shutdown_blocking(Duration::ZERO));
        }),
        ("shutdown_blocking", "shutdown(..).await", &|| {
            drop(map.shutdown_blocking(Duration::ZERO));
        }),
    ];
    for (function, instead, call) in calls {
        let text = text_of(call);
        assert!(text.starts_with(function), "{text}");
        assert!(
            text.contains(instead) && text.contains("spawn_blocking"),
            "{text}"
        );
    }
    // None of the calls had an effect.
    assert!(!queue.is_closed() && !map.is_closed());
}

/// The twins work wherever a thread may block, also where a runtime can be found.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_blocking_call_where_blocking_is_allowed_works() {
    let queue = Queue::<u8>::builder()
        .spawn_fn(|_| async { Ok(()) })
        .unwrap();
    let flush = {
        let queue = queue.clone();
        move || queue.push(1).map(|()| queue.flush_blocking())
    };
    tokio::task::spawn_blocking(flush.clone())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    std::thread::spawn(flush.clone())
        .join()
        .unwrap()
        .unwrap()
        .unwrap();
    tokio::task::block_in_place(flush.clone()).unwrap().unwrap();
    let handle = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        let _inside = handle.enter();
        flush().unwrap().unwrap();
    })
    .join()
    .unwrap();
    assert_eq!(queue.stats().delivered, 4);
}
