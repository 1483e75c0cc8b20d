//! What the figures were measured on, and what disturbs a slice.

use std::{
    env, fs,
    process::Command,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub kernel: String,
    pub rustc: String,
    /// Of the library that was measured.
    pub commit: String,
}

impl Machine {
    pub fn of_this_run() -> Self {
        let uname = rustix::system::uname();
        let kernel = [uname.sysname(), uname.release(), uname.machine()];
        Self {
            cpu: cpu_model(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.map(|part| part.to_string_lossy()).join(" "),
            rustc: env!("COMPARE_RUSTC").to_owned(),
            commit: commit().unwrap_or_else(|| "unknown".to_owned()),
        }
    }

    /// What it is, and what it cannot show.
    pub fn describe(&self) -> [String; 2] {
        let Self {
            cpu,
            cores,
            kernel,
            rustc,
            commit,
        } = self;
        [
            format!("{cpu}, {cores} cores, {kernel}, {rustc}, commit {commit}"),
            format!(
                "{cores} cores cannot show how anything scales beyond {cores}: with more threads \
                 they take turns."
            ),
        ]
    }
}

fn cpu_model() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(
        || env::consts::ARCH.to_owned(),
        |(_, name)| name.trim().to_owned(),
    )
}

/// Of `COMPARE_COMMIT`, or else of the repository that this is run in.
fn commit() -> Option<String> {
    if let Ok(commit) = env::var("COMPARE_COMMIT") {
        return Some(commit);
    }
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let commit = git(&["rev-parse", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() {
        commit
    } else {
        format!("{commit} and changes")
    })
}

/// Ticks that the hypervisor has given to others instead of to us, of all CPUs; 0 where that is
/// not to be known.
pub fn stolen() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let all = stat.lines().next().unwrap_or_default();
    // cpu user nice system idle iowait irq softirq steal
    let steal = all.split_ascii_whitespace().nth(8);
    steal.and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

/// CPU time of this process, and of all of them.
#[derive(Clone, Copy)]
pub struct Usage {
    at: Instant,
    own: Duration,
    all: Duration,
}

impl Usage {
    pub fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let all = stat.lines().next().unwrap_or_default();
        let mut ticks = all
            .split_ascii_whitespace()
            .skip(1)
            .map(|n| n.parse().unwrap_or(0));
        // user nice system idle iowait irq softirq
        let mut next = || ticks.next().unwrap_or(0_u64);
        let busy = next() + next() + next();
        let _waiting = next() + next();
        let busy = busy + next() + next();
        let second = rustix::param::clock_ticks_per_second();
        Self {
            at: Instant::now(),
            own: clock(ClockId::ProcessCPUTime),
            all: Duration::from_secs(busy) / second as u32,
        }
    }

    /// How many cores others have kept busy since then.
    pub fn others_since(self) -> f64 {
        let now = Self::now();
        let [all, own] = [now.all - self.all, now.own - self.own];
        let others = all.saturating_sub(own).as_secs_f64();
        others / (now.at - self.at).as_secs_f64()
    }
}

fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// CPU time of the calling thread.
pub fn thread_time() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

/// What the threads have done whose name begins so.
#[derive(Clone, Copy, Default)]
pub struct Work {
    /// How often one of them went to sleep.
    pub sleeps: u64,
    /// CPU time.
    pub time: Duration,
}

pub fn work_of(name: &str) -> Work {
    let mut work = Work::default();
    for task in fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
    {
        let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        if !read("comm").starts_with(name) {
            continue;
        }
        let status = read("status");
        let sleeps = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        work.sleeps += sleeps.map_or(0, |text| text.trim().parse().unwrap_or(0));
        // Nanoseconds on a CPU, nanoseconds waiting for one, turns.
        let schedstat = read("schedstat");
        let nanos = schedstat.split_ascii_whitespace().next();
        work.time += Duration::from_nanos(nanos.map_or(0, |text| text.parse().unwrap_or(0)));
    }
    work
}
