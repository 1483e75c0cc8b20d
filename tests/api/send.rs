//! Handles, and the futures of their methods, are `Send` for every item that is: held over an
//! `.await` in `tokio::spawn`, whatever lifetimes or trait objects the type of the item names.

use std::any::Any;
use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use swaplane::{Map, Mirror, Permit, Queue, Writer};

/// The check of `tokio::spawn`, without running anything.
fn spawnable<F: Future<Output = ()> + Send + 'static>(_: impl FnOnce() -> F) {}

#[test]
fn futures_and_handles_of_a_queue_can_be_spawned_whatever_the_item_is() {
    macro_rules! check {
        ($($item:ty),* $(,)?) => {$(
            spawnable(|| async {
                let Some(queue) = None::<Queue<$item>> else { return };
                let writer: Writer<$item> = queue.writer();
                let permit: Permit<$item> = queue.reserve().await.unwrap();
                queue.flush().await.unwrap();
                writer.queue().flush().await.unwrap();
                drop(permit);
                let report = queue.shutdown(Duration::ZERO).await;
                tokio::task::yield_now().await;
                drop(report);
            });
        )*};
    }
    check!(
        u64,
        String,
        &'static str,
        Cow<'static, str>,
        (&'static str, f64),
        Box<dyn Any + Send>,
        Box<dyn Fn(&str) + Send>,
        Cell<&'static str>,
        Option<&'static [&'static str]>,
        fn(&str) -> &str,
    );
}

#[test]
fn futures_and_handles_of_a_map_can_be_spawned_whatever_key_and_value_are() {
    macro_rules! check {
        ($($handle:ident<$key:ty, $value:ty>),* $(,)?) => {$(
            spawnable(|| async {
                let Some(map) = None::<$handle<$key, $value>> else { return };
                map.flush().await.unwrap();
                let report = map.shutdown(Duration::ZERO).await;
                tokio::task::yield_now().await;
                drop(report);
            });
        )*};
    }
    check!(
        Map<u64, u64>,
        Map<&'static str, &'static str>,
        Map<Cow<'static, str>, (&'static str, f64)>,
        Map<String, Arc<dyn Fn(&str) + Send + Sync>>,
        Map<(u8, &'static str), Box<dyn Any + Send + Sync>>,
        Mirror<u64, u64>,
        Mirror<&'static str, &'static str>,
        Mirror<Cow<'static, str>, Box<dyn Any + Send + Sync>>,
    );
}

/// A type that holds a handle needs no bound of its own.
#[test]
fn handles_need_no_bounds() {
    struct Holds<T, K, V> {
        _queue: Option<Queue<T>>,
        _writer: Option<Writer<T>>,
        _permit: Option<Permit<T>>,
        _map: Option<Map<K, V>>,
        _mirror: Option<Mirror<K, V>>,
    }
    let _holds = Holds::<std::rc::Rc<u8>, f32, std::rc::Rc<u8>> {
        _queue: None,
        _writer: None,
        _permit: None,
        _map: None,
        _mirror: None,
    };
}
