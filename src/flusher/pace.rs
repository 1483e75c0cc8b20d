//! How long the flusher rests. A wake costs whoever rings, and the flusher, more than a small
//! batch does: so under a steady load it asks to be woken for more, or does not go to sleep.

use std::time::Duration;

use tokio::time::Instant;

use crate::capacity::MOST_BATCHES_LOG2;

/// How long a rest is at most in which more than one full batch is to wake us.
const LOOK: Duration = Duration::from_millis(2);
/// The same where reports tell nothing, though no load makes up for the looks.
const BLIND_LOOK: Duration = Duration::from_millis(10);
/// A rest that no steady load leaves.
const SILENCE: Duration = Duration::from_millis(20);
/// This many short rests in a row are no accident.
const MANY: u32 = 8;
/// A rest in adaptive mode that was not worth a wake.
const SHORT: Duration = Duration::from_micros(100);
/// How often to look around instead: for somewhat less.
const LINGER: u32 = 200;

#[derive(Debug, Default)]
pub(super) struct Pace {
    /// How often the one full batch is doubled that is to wake us.
    batches_log2: usize,
    /// Where no report will tell of a full batch: when to look for one.
    look: Option<Instant>,
    short_rests: u32,
    /// How often to look around before the next rest.
    linger: u32,
}

impl Pace {
    pub(super) fn batches_log2(&self) -> usize {
        self.batches_log2
    }

    /// When to end the rest that begins, if nothing else does.
    pub(super) fn look(&self) -> Option<Instant> {
        self.look
    }

    /// Where the reports are `blurred` by credits that lanes do not use, a full batch may have to
    /// wait for a look.
    pub(super) fn begin_rest(&mut self, blurred: bool) {
        let after = if self.batches_log2 > 0 {
            Some(LOOK)
        } else {
            blurred.then_some(BLIND_LOOK)
        };
        self.look = after.map(|after| Instant::now() + after);
    }

    /// After a rest with a delay, which a wakeup ended or did not. Where reports of full batches
    /// wake us soon, again and again, asks for more of them at a time, but no more than `most`
    /// batches_log2: a full batch may wait `LOOK` then. At once where twice as much waits by now.
    /// Returns whether it was time to look.
    pub(super) fn end_rest(
        &mut self,
        woken: bool,
        lasted: Duration,
        most: usize,
        is_reported: impl Fn(usize) -> bool,
        mut waits: impl FnMut(usize) -> bool,
    ) -> bool {
        let looked = self.look.take().is_some_and(|at| at <= Instant::now());
        let short = lasted < LOOK / 2;
        if !short {
            self.short_rests = 0;
        }
        if lasted >= SILENCE {
            self.batches_log2 = 0;
        }
        if woken && is_reported(self.batches_log2) {
            let more = self.batches_log2 + 1;
            if self.is_one_of_many(short) || waits(more) {
                self.batches_log2 = more.min(most).min(MOST_BATCHES_LOG2);
            }
        } else if looked && self.batches_log2 > 0 {
            let less = self.batches_log2 - 1;
            self.batches_log2 = if waits(less) { less } else { 0 };
        }
        looked
    }

    /// After a rest without a delay. Where single items wake us at once, again and again, looks
    /// around for a while before the next rest.
    pub(super) fn end_adaptive_rest(&mut self, woken: bool, lasted: Duration) {
        if self.is_one_of_many(woken && lasted < SHORT) {
            self.linger = LINGER;
        }
    }

    fn is_one_of_many(&mut self, short: bool) -> bool {
        self.short_rests = if short { self.short_rests + 1 } else { 0 };
        let many = self.short_rests >= MANY;
        if many {
            self.short_rests = 0;
        }
        many
    }

    /// Whether to look around rather than to rest.
    pub(super) fn lingers(&mut self) -> bool {
        let lingers = self.linger > 0;
        self.linger = self.linger.saturating_sub(1);
        lingers
    }

    /// It was worth it.
    pub(super) fn has_found(&mut self) {
        if self.linger > 0 {
            self.linger = LINGER;
        }
    }
}

#[cfg(all(test, not(swaplane_loom)))]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_micros(10);

    /// Rests, each ended soon by `batches`.
    fn rests(pace: &mut Pace, n: u32, batches: usize) {
        for _ in 0..n {
            pace.begin_rest(false);
            let waits = |batches_log2: usize| batches >= 1 << batches_log2;
            pace.end_rest(true, SOON, 3, waits, waits);
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    }

    #[test]
    fn a_steady_load_is_looked_at_less_often_and_a_single_batch_at_once() {
        let mut pace = Pace::default();
        rests(&mut pace, MANY - 1, 1);
        assert_eq!(pace.batches_log2(), 0);
        rests(&mut pace, 1, 1);
        assert_eq!(pace.batches_log2(), 1);
    }

    #[test]
    fn too_much_at_once_counts_at_once_up_to_the_limit() {
        let mut pace = Pace::default();
        rests(&mut pace, 1, 2);
        assert_eq!(pace.batches_log2(), 1);
        rests(&mut pace, 9, 1000);
        assert_eq!(pace.batches_log2(), 3);
    }

    #[test]
    fn a_look_that_finds_little_ends_it() {
        runtime().block_on(async {
            let mut pace = Pace::default();
            rests(&mut pace, 2, 1000);
            for (waiting, left) in [(2, 1), (0, 0)] {
                pace.begin_rest(false);
                let at = pace.look().expect("there are batches_log2");
                tokio::time::sleep_until(at).await;
                // The reports know nothing of lanes that do not use what they have.
                let waits = |batches_log2: usize| waiting >= 1 << batches_log2;
                pace.end_rest(false, LOOK, 3, |_| true, waits);
                assert_eq!(pace.batches_log2(), left);
            }
            pace.begin_rest(false);
            assert_eq!(pace.look(), None);
        });
    }

    #[test]
    fn lingers_as_long_as_it_pays() {
        let mut pace = Pace::default();
        for _ in 0..MANY {
            assert!(!pace.lingers());
            pace.end_adaptive_rest(true, SOON);
        }
        for _ in 0..3 {
            assert!((1..LINGER).all(|_| pace.lingers()));
            pace.has_found();
        }
        assert!((0..LINGER).all(|_| pace.lingers()));
        assert!(!pace.lingers());
        pace.has_found();
        assert!(!pace.lingers());
    }
}
