//! Four threads push numbers, one sink gets them in batches of at most 100.
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
            // Write the batch to your database here. An `Err` means: try this batch again later.
            println!("{:3} items ({:?})", batch.len(), batch.reason());
            Ok(())
        })?;

    let threads: Vec<_> = (0..4u64)
        .map(|n| {
            let mut writer = queue.writer();
            thread::spawn(move || {
                for i in 0..333 {
                    // Never waits: 1,332 items fit easily, a full buffer would refuse the item.
                    writer.push(n * 1_000 + i).expect("the buffer has room");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no thread panics");
    }

    // Everything pushed so far has reached the sink when this returns.
    queue.flush().await?;
    println!("flushed, {} batches so far", queue.stats().batches);

    queue.push(4_000)?;
    let report = queue.shutdown(Duration::from_secs(5)).await;
    println!(
        "{} accepted, {} delivered",
        report.accepted, report.delivered
    );
    assert!(report.is_complete());
    Ok(())
}
