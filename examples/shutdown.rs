//! What a stopping service does with items its sink would not take: they go to a file, and they
//! come back, ahead of anything new, when it starts again.
//!
//! Run it twice: `cargo run --example shutdown [FILE]`
//!
//! The first time there is no file, and the sink plays a database that is down. The second time
//! the file is there, the database is up again, and everything arrives.

use std::{
    env, fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use swaplane::{Batch, PushError, Queue, Retry};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let file = env::args_os().nth(1).map_or_else(
        || env::temp_dir().join("swaplane-shutdown-example.txt"),
        PathBuf::from,
    );
    let leftovers = load(&file)?;
    let down = leftovers.is_empty();
    println!("the database is {}", if down { "down" } else { "up" });

    let queue = Queue::builder()
        .max_batch_size(10)
        .max_delay(Duration::from_millis(20))
        // Keep trying for long: it is the shutdown deadline that ends it.
        .retry(Retry::exponential().max_delay(Duration::from_millis(400)))
        .spawn_fn(move |batch: Batch<String>| async move {
            if down {
                println!(
                    "batch {}, attempt {}: no answer",
                    batch.id(),
                    batch.attempt()
                );
                return Err("the database does not answer".into());
            }
            println!("batch {}: {} … written", batch.id(), batch[0]);
            Ok(())
        })?;

    // 1. What the last run left goes in first. A file may hold more than the buffer, so wait for
    //    room rather than give up when it is full.
    if !leftovers.is_empty() {
        println!("{} events come back from the file", leftovers.len());
    }
    for event in leftovers {
        queue.reserve().await?.push(event)?;
    }

    // 2. The service does its work, for a moment.
    let stopping = Arc::new(AtomicBool::new(false));
    let producers: Vec<_> = (1..=3)
        .map(|n| {
            let (queue, stopping) = (queue.clone(), Arc::clone(&stopping));
            thread::spawn(move || produce(n, &queue, &stopping))
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;

    // 3. Stop the producers first, so that nobody meets a closed queue …
    stopping.store(true, Ordering::Relaxed);
    for producer in producers {
        // Waiting for a thread would hold up this runtime's other tasks.
        tokio::task::spawn_blocking(|| producer.join().expect("no producer panics")).await?;
    }

    // 4. … then give the sink a last second. What it has not taken by then comes back to us.
    let report = queue.shutdown(Duration::from_secs(1)).await;
    println!(
        "{} accepted, {} delivered, {} returned, {} lost",
        report.accepted,
        report.delivered,
        report.returned.len(),
        report.lost,
    );
    save(&file, &report.returned)?;
    match report.returned.len() {
        0 => println!("nothing left to keep"),
        n => println!("{n} events are in {}; run this again", file.display()),
    }
    Ok(())
}

/// One event every 20 ms until the service stops.
fn produce(producer: u32, queue: &Queue<String>, stopping: &AtomicBool) {
    for event in 1.. {
        if stopping.load(Ordering::Relaxed) {
            return;
        }
        match queue.push(format!("producer {producer}, event {event}")) {
            Ok(()) => {}
            Err(PushError::Full(event)) => eprintln!("no room for \"{event}\", dropped"),
            Err(_) => return,
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn load(file: &Path) -> io::Result<Vec<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Replaces the file in one step. The old one stays until here, after the shutdown: a crash in
/// between makes events arrive twice, but none is lost.
fn save(file: &Path, events: &[String]) -> io::Result<()> {
    if events.is_empty() {
        return match fs::remove_file(file) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let new = file.with_extension("new");
    fs::write(&new, events.join("\n") + "\n")?;
    fs::rename(new, file)
}
