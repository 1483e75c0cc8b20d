//! Four threads push numbers, and one sink gets them in batches of at most 100.
//!
//! `cargo run --example quickstart`

use std::{error::Error, thread, time::Duration};

use swaplane::{Batch, Queue};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let queue = Queue::builder()
        .max_batch_size(100)
        .max_delay(Duration::from_millis(20))
        .spawn_fn(|batch: Batch<u64>| async move {
            // Write the batch to your database here. An `Err` asks for another attempt.
            println!("{:3} items ({:?})", batch.len(), batch.reason());
            Ok(())
        })?;

    let threads: Vec<_> = (0..4u64)
        .map(|n| {
            // A writer is the fastest way to push, and its items stay in order.
            let mut writer = queue.writer();
            thread::spawn(move || {
                for i in 0..333 {
                    // A push never waits. A full queue refuses the item, but the default
                    // capacity is 100,000 and all threads together push 1,332 items.
                    writer.push(n * 1_000 + i).expect("the queue has room");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no thread panics");
    }

    // When this returns, the sink has everything that was pushed so far.
    queue.flush().await?;
    println!("flushed, {} batches so far", queue.stats().batches);

    // A shutdown delivers what is held, and reports what became of every item.
    queue.push(4_000)?;
    let report = queue.shutdown(Duration::from_secs(5)).await;
    println!(
        "{} accepted, {} delivered",
        report.accepted, report.delivered
    );
    assert!(report.is_complete());
    Ok(())
}
