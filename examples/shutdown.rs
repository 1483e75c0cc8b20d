//! A service stops while its database is down. The items that the database did not take go to a
//! file. At the next start they come back from the file, before any new item.
//!
//! Run it twice: `cargo run --example shutdown [FILE]`
//!
//! In the first run there is no file, and the sink plays a database that is down. In the second run
//! the file is there, the database is up again, and every item arrives.

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

use swaplane::{Batch, PushError, Queue};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
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
        .spawn_fn(move |batch: Batch<String>| async move {
            let (id, attempt) = (batch.id(), batch.attempt());
            if down {
                println!("batch {id}, attempt {attempt}: no answer");
                return Err("the database does not answer".into());
            }
            println!("batch {id}: {} … written", batch[0]);
            Ok(())
        })?;

    // 1. Push what the last run left over. The file may hold more than the queue has room for, so
    //    wait for room before each push.
    println!("{} events come back from the file", leftovers.len());
    for event in leftovers {
        queue.reserve().await?.push(event)?;
    }

    // 2. Start the producers, and let them work for a moment.
    let stopping = Arc::new(AtomicBool::new(false));
    let producers: Vec<_> = (1..=3)
        .map(|n| {
            let (queue, stopping) = (queue.clone(), Arc::clone(&stopping));
            thread::spawn(move || produce(n, &queue, &stopping))
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;

    // 3. Stop the producers first, so that no push meets a closed queue.
    stopping.store(true, Ordering::Relaxed);
    for producer in producers {
        // Joining a thread blocks, so do it on a thread where blocking is allowed.
        tokio::task::spawn_blocking(|| producer.join().expect("no producer panics")).await?;
    }

    // 4. Give the sink one more second. The report has the items that it did not take.
    let report = queue.shutdown(Duration::from_secs(1)).await;
    println!("{report:?}"); // counts only: items are never printed
    save(&file, &report.returned)?;
    println!("{} events are in {}", report.returned.len(), file.display());
    Ok(())
}

/// Pushes an event every 20 ms until the service stops.
fn produce(producer: u32, queue: &Queue<String>, stopping: &AtomicBool) {
    for event in 1.. {
        if stopping.load(Ordering::Relaxed) {
            return;
        }
        match queue.push(format!("producer {producer}, event {event}")) {
            Ok(()) => {}
            Err(PushError::Full(event)) => eprintln!("no room for \"{event}\", dropped"),
            Err(PushError::Closed(_)) => return,
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Reads the leftovers of the last run. No file means no leftovers.
fn load(file: &Path) -> io::Result<Vec<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Replaces the file in one step, or removes it if there are no events.
///
/// The old file stays until the shutdown is over. So a crash before that can make events arrive
/// twice, but the events of the old file are not lost.
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
