//! The threads that read files and push their lines.

use std::{
    fs,
    io::{self, BufReader},
    panic::resume_unwind,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use common::stop::Stop;
use indicatif::ProgressBar;
use swaplane::{PushError, Queue, Writer};

use crate::{reader, source::File, store::Row};

/// How long readers that should stop may still wait for room in the buffer.
const GRACE: Duration = Duration::from_secs(5);

/// What the readers did.
#[derive(Default)]
pub struct Tally {
    /// Lines the queue has accepted, counted here and not taken from the queue.
    pub lines: u64,
    pub lossy: u64,
    pub files: u64,
    pub binary: u64,
    pub unreadable: u64,
    /// Whether `--max-lines` ended the reading.
    pub capped: bool,
    /// A few files with text, for the comparison.
    pub read_first: Vec<PathBuf>,
}

struct Shared {
    files: Vec<File>,
    next: AtomicUsize,
    /// Lines that may still be read; `None` is no limit.
    left: Option<AtomicU64>,
    stop: Arc<Stop>,
    bar: ProgressBar,
}

pub struct Producers {
    threads: Vec<JoinHandle<Tally>>,
    all_done: Receiver<()>,
}

/// Why a thread reads no further.
enum End {
    File,
    Limit,
    Stopped,
}

impl Producers {
    pub fn start(
        queue: &Queue<Row>,
        files: Vec<File>,
        threads: usize,
        max_lines: Option<u64>,
        stop: &Arc<Stop>,
        bar: &ProgressBar,
    ) -> Self {
        let shared = Arc::new(Shared {
            files,
            next: AtomicUsize::new(0),
            left: max_lines.map(AtomicU64::new),
            stop: Arc::clone(stop),
            bar: bar.clone(),
        });
        // Nothing is ever sent: the receiver learns when the last sender is gone.
        let (running, all_done) = mpsc::channel();
        let threads = (0..threads)
            .map(|_| {
                // A writer per thread, so that they do not get into each other's way.
                let (shared, writer) = (Arc::clone(&shared), queue.writer());
                let running = running.clone();
                thread::spawn(move || shared.work(writer, running))
            })
            .collect();
        Self { threads, all_done }
    }

    /// Returns when all threads have pushed their last line. If they should stop but cannot,
    /// because the buffer is full and the sink is stuck, it gives up on them; the shutdown that
    /// follows closes the queue, which wakes them.
    pub fn wait(&self, stop: &Stop) {
        let mut stopping_since = None;
        while let Err(RecvTimeoutError::Timeout) =
            self.all_done.recv_timeout(Duration::from_millis(100))
        {
            if stop.is_set() && stopping_since.get_or_insert_with(Instant::now).elapsed() >= GRACE {
                return;
            }
        }
    }

    pub fn join(self) -> Tally {
        let mut sum = Tally::default();
        for thread in self.threads {
            let mut tally = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            sum.lines += tally.lines;
            sum.lossy += tally.lossy;
            sum.files += tally.files;
            sum.binary += tally.binary;
            sum.unreadable += tally.unreadable;
            sum.capped |= tally.capped;
            sum.read_first.append(&mut tally.read_first);
        }
        sum
    }
}

impl Shared {
    fn work(&self, mut writer: Writer<Row>, _running: Sender<()>) -> Tally {
        let mut tally = Tally::default();
        while let Some(file) = self.files.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            match self.push_file(file, &mut writer, &mut tally) {
                Ok(End::File) => {}
                Ok(End::Limit) => {
                    tally.capped = true;
                    break;
                }
                Ok(End::Stopped) => break,
                Err(error) => {
                    tally.unreadable += 1;
                    self.bar
                        .suspend(|| eprintln!("cannot read {}: {error}", file.path.display()));
                }
            }
        }
        tally
    }

    fn push_file(
        &self,
        file: &File,
        writer: &mut Writer<Row>,
        tally: &mut Tally,
    ) -> io::Result<End> {
        if self.stop.is_set() {
            return Ok(End::Stopped);
        }
        let content = self.bar.wrap_read(fs::File::open(&file.path)?);
        let content = BufReader::with_capacity(64 * 1024, content);
        let Some(lines) = reader::lines(content)? else {
            tally.binary += 1;
            return Ok(End::File);
        };
        tally.files += 1;
        if tally.read_first.len() < 100 {
            tally.read_first.push(file.path.clone());
        }
        let path: Arc<str> = file.path.to_string_lossy().into();
        for line in lines {
            let line = line?;
            if self.stop.is_set() {
                return Ok(End::Stopped);
            }
            if !self.may_read_one_more() {
                return Ok(End::Limit);
            }
            let lossy = line.lossy;
            if !push(writer, Row::new(&path, line)) {
                return Ok(End::Stopped);
            }
            tally.lines += 1;
            tally.lossy += u64::from(lossy);
        }
        Ok(End::File)
    }

    fn may_read_one_more(&self) -> bool {
        self.left.as_ref().is_none_or(|left| {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_ok()
        })
    }
}

/// Pushes without waiting while there is room, else waits for room: no line is dropped. `false`
/// if the queue is closed, and then the row was not accepted.
fn push(writer: &mut Writer<Row>, row: Row) -> bool {
    match writer.push(row) {
        Ok(()) => true,
        Err(PushError::Full(row)) => match writer.queue().reserve_blocking() {
            Ok(permit) => permit.push(row).is_ok(),
            Err(_closed) => false,
        },
        Err(_closed) => false,
    }
}
