//! The flusher: one task that owns all flush state. Callers only leave notes (`request`); it
//! collects from its source, cuts batches, and delivers them (`deliver`).
//!
//! ```text
//!        ┌── hear: flush? close? shutdown? ◄──────────────┐
//!        ▼                                                │
//!      step: for each free worker, is there a reason? ──► rest: until a wake-up, a timer or an end
//!            collect, cut, send                                (parked if there is nothing to do)
//! ```
//!
//! While something waits a timer is armed and pushes are silent; a full batch is told by the
//! reports that leases make. When nothing waits the flusher parks: no timer, and the next push
//! rings (see `barrier`). So it does while somebody is out of room, and if `max_delay` is zero. How
//! soon it lets itself be woken hangs on the load (`pace`).

pub(crate) mod deliver;
mod pace;
pub(crate) mod request;
mod shared;
mod shutdown;
mod waiting;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

use self::deliver::{Courier, Cut, Failed, Outcome, Pause, Worker};
use self::pace::Pace;
use self::request::Flushed;
pub(crate) use self::shared::{Core, CoreOf, Shared, SharedOf};
use self::shutdown::Drain;
use self::waiting::Flush;
use crate::batch::Reason;
use crate::capacity::Capacity;
use crate::error::check::LONGEST;
use crate::sink::Sink;
use crate::source::{BatchFiller, Collect, Parked, Source};
use crate::sync::{Arc, StdArc};

/// A collection of this many items means that pushes are frequent enough to look for them by
/// ourselves.
const PLENTY: usize = 256;
/// How often lanes are looked at for memory that they have no use for.
const SWEEP: Duration = Duration::from_secs(1);
/// How soon to look again at a lane in which a push is in progress.
const BUSY_PAUSE: Duration = Duration::from_millis(1);
/// How long a shutdown waits beyond its deadline for pushes in progress, and then for aborted
/// attempts, to end.
const GRACE: Duration = Duration::from_millis(50);

pub(crate) struct Flusher<B: Source, S> {
    shared: Arc<SharedOf<B>>,
    /// `None` once it has been left behind.
    core: Option<CoreOf<B>>,
    courier: Courier<S>,
    /// None inside when there is nothing to wait for; the box stays.
    timer: Pin<Box<Option<Sleep>>>,
    flushes: Vec<Flush>,
    next_id: u64,
    /// Which worker is polled first.
    turn: usize,
    /// What waits for each worker and is to be sent without waiting for more.
    due: Vec<Option<Due>>,
    /// When what waits becomes due.
    tick: Option<Instant>,
    /// The last collection found plenty.
    plenty: bool,
    pace: Pace,
    /// When to look for unused memory.
    sweep: Option<Instant>,
    /// How often in a row a push was in progress when we meant to sleep.
    busy: u32,
    stage: Stage,
    /// Of the shutdown, once there is one.
    deadline: Option<Instant>,
    drain: Drain,
}

/// What was waiting for a worker when it became due. What comes later is not due.
#[derive(Clone, Copy)]
struct Due {
    reason: Reason,
    /// How much of it was held back then. The rest is in the next batch that is not full.
    held_back: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Open,
    /// Items are refused; pushes that had begun may still be in progress.
    Closing,
    /// Everything that was ever accepted has been collected.
    Collected,
}

impl<B: Source, S: Sink<B::Item>> Flusher<B, S> {
    pub(crate) fn new(shared: Arc<SharedOf<B>>, sink: S, runtime: Handle) -> Self {
        let settings = &shared.settings;
        let courier = Courier {
            name: settings.name.clone(),
            sink: StdArc::new(sink),
            runtime,
            attempt_timeout: settings.attempt_timeout,
            retry: settings.retry.clone(),
            failed: Failed::Waits,
        };
        let core = Core::new(&shared.source);
        Self {
            due: vec![None; core.workers.len()],
            core: Some(core),
            courier,
            shared,
            timer: Box::pin(None),
            flushes: Vec::new(),
            next_id: 1,
            turn: 0,
            tick: None,
            plenty: false,
            pace: Pace::default(),
            sweep: None,
            busy: 0,
            stage: Stage::Open,
            deadline: None,
            drain: Drain::NotYet,
        }
    }

    pub(crate) async fn run(mut self) {
        loop {
            self.hear();
            // Before anything more is begun.
            if self.deadline.is_some_and(|at| at <= Instant::now()) {
                self.expire().await;
                break;
            }
            self.step();
            if self.is_over() {
                break;
            }
            self.rest().await;
        }
        // `drop` leaves the rest behind.
    }

    fn core(&mut self) -> &mut CoreOf<B> {
        self.core.as_mut().expect("left behind only on drop")
    }

    fn capacity(&self) -> &Capacity {
        self.shared.source.capacity()
    }

    fn workers(&self) -> std::ops::Range<usize> {
        0..self.due.len()
    }

    fn is_adaptive(&self) -> bool {
        self.shared.settings.max_delay.is_zero()
    }

    // ---- hear ----

    fn hear(&mut self) {
        let heard = self.shared.requests.hear();
        if heard.closed && self.stage == Stage::Open {
            self.stage = Stage::Closing;
            self.end_pauses(Pause::OfPolicy);
        }
        if heard.retry_now {
            self.end_pauses(Pause::OfSink);
        }
        if !heard.deadlines.is_empty() {
            // Of what has begun, only the one batch that the sink has may finish.
            let core = self.core.as_mut().expect("left behind only on drop");
            for worker in &mut core.workers {
                worker.cut_short(&self.shared.counters);
            }
        }
        for deadline in heard.deadlines {
            let at = Instant::now() + deadline.min(LONGEST);
            if self.deadline.is_none() {
                // Batches that wait for another attempt join the rest, to be drained with it.
                self.courier.failed = Failed::Rejoins;
                self.core()
                    .workers
                    .iter_mut()
                    .for_each(Worker::rejoin_waiting);
            }
            self.deadline = Some(self.deadline.map_or(at, |earlier| earlier.min(at)));
        }
        self.begin_flushes(heard.flushes);
        if self.stage == Stage::Closing && !self.core().collector.is_busy() {
            for worker in self.workers() {
                self.cut_all(worker, Reason::Close);
            }
            self.stage = Stage::Collected;
        }
        self.go_on_flushing();
        self.answer();
    }

    fn begin_flushes(&mut self, callers: Vec<oneshot::Sender<Flushed>>) {
        if callers.is_empty() {
            return;
        }
        if self.flushes.is_empty() {
            // Only then: a service that flushes for each request must not turn backoff off.
            self.end_pauses(Pause::OfPolicy);
        }
        for worker in self.workers() {
            self.cut_all(worker, Reason::Flush);
        }
        let core = self.core.as_mut().expect("left behind only on drop");
        let held_back = |worker| core.collector.held_back(worker) > 0;
        let all = (0..self.due.len()).map(held_back).collect();
        let flush = Flush::new(self.next_id, all, callers);
        // As in a group commit: who adds no batch shares the answer.
        match self.flushes.last_mut() {
            Some(last) if last.covers_the_same(&flush) => last.join(flush),
            _ => self.flushes.push(flush),
        }
    }

    // ---- step ----

    fn step(&mut self) {
        self.fall_due();
        self.core().collector.reap();
        match self.drain {
            // Attempts in flight may finish; then all that is left is drained.
            Drain::NotYet if self.deadline.is_some() => self.try_drain(),
            Drain::Running(_) => return,
            _ => {}
        }
        if self.deadline.is_none() || matches!(self.drain, Drain::Over) {
            for worker in self.workers() {
                self.send(worker);
            }
        }
        self.arm();
    }

    /// Decides what need not wait for more any longer.
    fn fall_due(&mut self) {
        let ticked = self.tick.is_some_and(|at| at <= Instant::now());
        if ticked {
            self.tick = None;
            self.plenty = false;
        }
        let reason = if self.stage > Stage::Open {
            Reason::Close
        } else if self.capacity().is_room_requested() {
            Reason::Room
        } else if ticked {
            Reason::Delay
        } else {
            return;
        };
        let mut nothing = true;
        for worker in self.workers() {
            let core = self.core();
            nothing &= core.workers[worker].is_done();
            let held_back = core.collector.held_back(worker);
            if held_back > 0 || core.collector.available(worker) > 0 {
                nothing = false;
                let due = self.due[worker].get_or_insert(Due { reason, held_back });
                due.held_back = held_back;
            }
        }
        if nothing {
            // There is nothing to make room of: let the next refusal ring again.
            self.capacity().clear_room_request();
        }
    }

    /// Sends the next batch of a worker if it is free and there is a reason to.
    fn send(&mut self, worker: usize) {
        if !self.core().workers[worker].is_idle() {
            return;
        }
        if self.core().workers[worker].outbox.is_empty() {
            let Some(reason) = self.reason(worker) else {
                return;
            };
            self.cut(worker, reason);
        }
        // Full ones may follow it at once. Who flushes need not wait for them.
        while self.flushes.is_empty() && self.may_follow(worker) {
            self.cut(worker, Reason::Size);
        }
        let core = self.core.as_mut().expect("left behind only on drop");
        core.workers[worker].send_next(&self.courier, &self.shared.counters);
    }

    fn may_follow(&mut self, worker: usize) -> bool {
        let full = self.shared.settings.max_batch_size();
        let core = self.core();
        core.workers[worker].has_room()
            && core.collector.available(worker) >= full
            && !core.collector.has_fallback(worker)
    }

    fn reason(&mut self, worker: usize) -> Option<Reason> {
        let collector = &mut self.core().collector;
        let (available, held_back) = (collector.available(worker), collector.held_back(worker));
        if available == 0 {
            if held_back == 0 {
                self.due[worker] = None;
            }
            return None;
        }
        // What is held back waits for nothing but the rest that is available.
        if self.capacity().is_full(worker, available + held_back) {
            return Some(Reason::Size);
        }
        let adaptive = self.is_adaptive().then_some(Reason::Idle);
        self.due[worker].map(|due| due.reason).or(adaptive)
    }

    /// Notes that all was collected that a worker had, but for what was `held_back` before.
    fn note_collected(&mut self, worker: usize, held_back: usize) {
        self.due[worker] = self.due[worker].and_then(|due| {
            let held_back = held_back.min(due.held_back);
            (held_back > 0).then_some(Due { held_back, ..due })
        });
    }

    /// Cuts one batch from what waits for a worker.
    fn cut(&mut self, worker: usize, reason: Reason) {
        if self.core().collector.has_fallback(worker) {
            self.cut_all(worker, reason);
            return;
        }
        let max = self.shared.settings.max_batch_size();
        let core = self.core();
        let mut items = core.workers[worker].take_spare();
        // Before: what comes while we collect is held back too, and is not due.
        let held_back = core.collector.held_back(worker);
        let n = core.collector.collect(worker, max, &mut items);
        self.plenty = n >= PLENTY;
        self.pace.has_found();
        if n < max {
            self.note_collected(worker, held_back);
        }
        self.post(worker, items, reason);
    }

    /// Cuts batches from all that is visible to a worker.
    fn cut_all(&mut self, worker: usize, reason: Reason) {
        let max = self.shared.settings.max_batch_size();
        let held_back = self.core().collector.held_back(worker);
        if held_back > 0 {
            // What comes behind it may have the same keys.
            let mut staged = BatchFiller::new(max, Vec::new());
            self.core().collector.collect_staged(worker, &mut staged);
            self.post_all(worker, staged, reason);
        }
        let core = self.core();
        let mut all = BatchFiller::new(max, core.workers[worker].take_spare());
        core.collector.collect_all(worker, &mut all);
        self.note_collected(worker, held_back);
        self.post_all(worker, all, reason);
    }

    fn post_all(&mut self, worker: usize, all: BatchFiller<B::Item>, reason: Reason) {
        for items in all.into_lists() {
            self.post(worker, items, reason);
        }
    }

    /// Puts a batch into the outbox. What is flushed joins the last batch there, if it fits: a
    /// thousand flushes of one item make few batches.
    fn post(&mut self, worker: usize, mut items: Vec<B::Item>, reason: Reason) {
        if items.is_empty() {
            return;
        }
        let max = self.shared.settings.max_batch_size();
        // Once a map is closed it gives away entries of a key that is on its way.
        if reason == Reason::Flush && !self.shared.source.is_closed() {
            let last = self.core().workers[worker].outbox.back_mut();
            let fits = |last: &&mut Cut<_>| last.items.len() + items.len() <= max;
            if let Some(last) = last.filter(|last| last.attempts == 0).filter(fits) {
                last.items.append(&mut items);
                return;
            }
        }
        let id = self.next_id;
        self.next_id += 1;
        self.core().workers[worker].outbox.push_back(Cut {
            id,
            items,
            reason,
            attempts: 0,
            begun: None,
        });
    }

    /// Arms the timer where something waits and nothing else will make it due.
    fn arm(&mut self) {
        // While somebody is out of room nothing waits for the delay: pushes ring.
        if self.is_adaptive() || self.stage > Stage::Open || self.capacity().is_room_requested() {
            self.tick = None;
            return;
        }
        let waits = self
            .workers()
            .any(|worker| self.due[worker].is_none() && self.core().waiting(worker) > 0);
        if !waits && !self.plenty {
            self.tick = None;
        } else if self.tick.is_none() {
            self.tick = Some(Instant::now() + self.shared.settings.max_delay);
        }
    }

    // ---- outcomes ----

    /// Ends the pauses after failures that are no more than `longest`.
    fn end_pauses(&mut self, longest: Pause) {
        let workers = self.core().workers.iter_mut();
        workers.for_each(|worker| worker.end_pause(longest));
    }

    fn is_over(&mut self) -> bool {
        self.stage == Stage::Collected && self.core().workers.iter().all(Worker::is_done)
    }

    fn poll_workers(&mut self, context: &mut std::task::Context<'_>) -> bool {
        let mut news = false;
        // tokio lets a task see some hundred outcomes at a time: begin behind the last one seen.
        let (first, workers) = (self.turn, self.due.len());
        for worker in (first..workers).chain(0..first) {
            loop {
                let core = self.core.as_mut().expect("left behind only on drop");
                let Poll::Ready(outcome) =
                    core.workers[worker].poll(context, &self.courier, &self.shared.counters)
                else {
                    break;
                };
                news = true;
                self.turn = (worker + 1) % workers;
                if let Some((id, size, outcome)) = outcome {
                    self.record(worker, id, size, outcome);
                }
            }
        }
        news
    }

    fn record(&mut self, worker: usize, id: u64, size: usize, outcome: Outcome) {
        match outcome {
            Outcome::Delivered {
                batches,
                after_failure,
            } => {
                let counters = &self.shared.counters;
                counters.delivered.add(size);
                counters.batches.add(batches);
                if after_failure {
                    // The sink is healthy again.
                    self.end_pauses(Pause::OfPolicy);
                }
            }
            Outcome::Lost => {
                // Who has asked by now asked while these items were held, and is to learn of them.
                let asked = self.shared.requests.hear_flushes();
                self.begin_flushes(asked);
                self.shared.counters.lost.add(size);
                for (worker, id, size) in self.drain.parts(worker, id, size) {
                    for flush in &mut self.flushes {
                        flush.note(worker, id, 0, size);
                    }
                }
            }
            Outcome::Rejoined => {}
        }
        if outcome != Outcome::Rejoined {
            let core = self.core.as_mut().expect("left behind only on drop");
            for (worker, _, size) in self.drain.parts(worker, id, size) {
                core.collector.settle(worker, size);
            }
            self.capacity().credits.give_back(size);
            self.capacity().clear_room_request();
        }
        if matches!(self.drain, Drain::Running(_)) {
            self.over();
        }
        self.answer();
    }

    /// Cuts what a flush has had to leave behind, where it need wait no longer.
    fn go_on_flushing(&mut self) {
        let closed = self.stage == Stage::Collected;
        for index in 0..self.flushes.len() {
            for worker in self.workers() {
                let workers = &self
                    .core
                    .as_ref()
                    .expect("left behind only on drop")
                    .workers;
                let first = self.drain.first_id(workers, worker);
                if self.flushes[index].may_go_on(worker, first, closed) {
                    self.cut_all(worker, Reason::Flush);
                    self.flushes[index].goes_on(worker, self.next_id);
                }
            }
        }
    }

    /// Answers the flushes of which everything is terminal.
    fn answer(&mut self) {
        let core = self.core.as_mut().expect("left behind only on drop");
        let first = |worker| self.drain.first_id(&core.workers, worker);
        self.flushes.retain_mut(|flush| !flush.answered(first));
    }

    // ---- rest ----

    /// Waits for something to do.
    async fn rest(&mut self) {
        let mut soon = None;
        if self.stage == Stage::Closing {
            soon = Some(self.busy_pause().await);
        } else if self.stage == Stage::Open {
            if self.core().workers.iter().all(Worker::is_done) && self.pace.lingers() {
                self.core().collector.unpark();
                return tokio::task::yield_now().await;
            }
            match self.look_out() {
                Parked::Found => return,
                Parked::Busy => soon = Some(self.busy_pause().await),
                Parked::Idle => self.busy = 0,
            }
        }
        let idle = self.core().workers.iter().all(Worker::is_done);
        if self.core().collector.is_trimmed() {
            self.sweep = None;
        } else if self.sweep.is_none() {
            self.sweep = Some(Instant::now() + SWEEP);
        }
        let sweep = self.sweep.filter(|_| idle || self.tick.is_some());
        let until = self.core().workers.iter().filter_map(Worker::until).min();
        let wake = [
            soon,
            self.tick,
            self.pace.look(),
            until,
            self.deadline,
            sweep,
        ];
        let wake = wake.into_iter().flatten().min();
        match (self.timer.as_mut().as_pin_mut(), wake) {
            (Some(timer), Some(at)) => timer.reset(at),
            (_, wake) => self.timer.set(wake.map(sleep_until)),
        }
        let wakeup = self.capacity().wakeup.clone();
        let mut rung = pin!(wakeup.notified());
        let begun = Instant::now();
        let mut woken = false;
        poll_fn(|context| {
            let mut news = self.poll_workers(context);
            woken = !news && rung.as_mut().poll(context).is_ready();
            news |= woken;
            if let Some(timer) = self.timer.as_mut().as_pin_mut() {
                news |= timer.poll(context).is_ready();
            }
            if news { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.end_rest(woken, begun.elapsed());
        if self.sweep.is_some_and(|at| at <= Instant::now()) {
            self.sweep = None;
            let core = self.core();
            core.collector.sweep();
            let idle = core.workers.iter_mut().filter(|worker| worker.is_done());
            idle.for_each(Worker::shrink);
        }
    }

    fn end_rest(&mut self, woken: bool, lasted: Duration) {
        if self.is_adaptive() {
            return self.pace.end_adaptive_rest(woken, lasted);
        }
        let most = self.most_batches_log2();
        let (capacity, workers) = (self.shared.source.capacity(), self.workers());
        let core = self.core.as_mut().expect("left behind only on drop");
        let is_reported = |batches_log2| {
            workers
                .clone()
                .any(|it| capacity.is_reported_full(it, batches_log2))
        };
        let waits = |batches_log2| {
            let mut workers = workers.clone();
            workers.any(|it| core.waiting(it) >= capacity.items_in(batches_log2))
        };
        let pace = &mut self.pace;
        let looked = pace.end_rest(woken, lasted, most, is_reported, waits);
        if looked && workers.clone().all(|it| core.waiting(it) == 0) {
            // Then park rather than look again.
            self.plenty = false;
        }
    }

    /// A quarter of the capacity may wait, though nothing is in flight.
    fn most_batches_log2(&self) -> usize {
        let settings = &self.shared.settings;
        let most = settings.capacity / 4 / settings.max_batch_size();
        most.checked_ilog2().unwrap_or(0) as usize
    }

    /// Sees to it that we learn of whatever has to be done while we sleep.
    fn look_out(&mut self) -> Parked {
        let adaptive = self.is_adaptive();
        let (due, plenty) = (&self.due, self.plenty);
        let Core {
            collector, workers, ..
        } = self.core.as_mut().expect("left behind only on drop");
        // What waits for a worker that is busy, and is due anyway, waits for its outcome.
        let cares =
            |worker: usize| workers[worker].is_idle() || (!adaptive && due[worker].is_none());
        if self.tick.is_none() && (0..workers.len()).any(cares) {
            return collector.park(cares);
        }
        if !adaptive || plenty {
            collector.unpark();
        }
        let mut blurred = false;
        for worker in self.workers() {
            if !self.core().workers[worker].is_idle() {
                self.capacity().disarm(worker);
                continue;
            }
            let waiting = self.core().waiting(worker);
            let pace = self.pace.batches_log2();
            let overstatement = self.capacity().overstatement(worker, waiting, pace);
            let is_reported_full = self.capacity().arm(worker, pace, overstatement);
            if !is_reported_full && overstatement == 0 {
                continue;
            }
            // Behind the arming: who comes after it knows of it.
            let waiting = self.core().waiting(worker);
            let waits_for_more = !is_reported_full && pace > 0;
            if !waits_for_more && self.capacity().is_full(worker, waiting) {
                return Parked::Found;
            }
            if is_reported_full {
                // Each report would say so again.
                self.capacity().disarm(worker);
            }
            blurred = true;
        }
        self.pace.begin_rest(blurred);
        Parked::Idle
    }

    /// Lets a push that is in progress go on: soon if it is running, later if it is not.
    async fn busy_pause(&mut self) -> Instant {
        self.busy += 1;
        if self.busy < 8 {
            tokio::task::yield_now().await;
            Instant::now()
        } else {
            Instant::now() + BUSY_PAUSE
        }
    }
}

/// Also where the runtime is dropped before the queue: nothing is lost but the task.
impl<B: Source, S> Drop for Flusher<B, S> {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(core) = self.core.take() {
            self.shared.requests.end(core);
        }
        let held = self.shared.stats().held;
        if held > 0 {
            tracing::warn!(
                queue = self.courier.name,
                items = held,
                "the flusher ends before everything is delivered: only a shutdown returns the items"
            );
        }
        // The senders of `flushes` go now, after the end: who waits looks for what is left.
    }
}
