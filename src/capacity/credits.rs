//! The pool of credits. A credit is the right to hold one item: it is taken before the item is
//! written, and given back at the outcome of the item. So what is held, in lanes, in flight and in
//! backoff together, never exceeds the capacity.
//!
//! Lanes lease credits by the handful, so a push touches the pool once for each lease. Credits that
//! lie idle in lanes come out of an allowance of a quarter of the capacity: however many lanes
//! there are, three quarters circulate, and whoever waits gets one.

use crate::sync::Ordering::Relaxed;
use crate::sync::{AtomicUsize, Semaphore, broken};

/// The most credits that a lane leases at once.
pub(crate) const LARGEST_LEASE: usize = 64;

// The counts are Relaxed throughout: only their values matter, and a read-modify-write sees the
// last one. What a credit was given back for is ordered by the semaphore.
#[derive(Debug)]
pub(crate) struct Credits {
    pool: Semaphore,
    total: usize,
    /// How many credits may lie idle.
    allowance: usize,
    /// Credits that were leased beyond the item they were leased for, and are not known to be used.
    /// Written by whoever leases, and by whoever ends a lease.
    idle: AtomicUsize,
    /// Callers that wait for a credit. While there are any, what is held is sent at once.
    waiting: AtomicUsize,
}

impl Credits {
    pub(crate) fn new(total: usize) -> Self {
        Self {
            pool: Semaphore::new(total),
            total,
            allowance: total / 4,
            idle: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
        }
    }

    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Leases up to `want` credits. Returns how many: one if there are not as many, or if the
    /// allowance for idle credits is used up; 0 if there is none.
    ///
    /// `spent` is what the last lease of this lane brought beyond its first item. The lane asks for
    /// more, so it has used them, and they are idle no longer.
    pub(crate) fn lease(&self, want: usize, spent: usize) -> usize {
        let beyond = if want - 1 == spent && self.idle.load(Relaxed) <= self.allowance / 2 {
            // As many again, and the allowance is large enough: the count stays as it is.
            spent
        } else {
            self.no_longer_idle(spent);
            self.let_lie_idle(want - 1)
        };
        if beyond > 0 {
            if self.take(1 + beyond) {
                return 1 + beyond;
            }
            self.no_longer_idle(beyond);
        }
        usize::from(self.take(1))
    }

    fn take(&self, n: usize) -> bool {
        // A lease is small, whatever the capacity.
        let n = u32::try_from(n).expect("a lease fits u32");
        self.pool
            .try_acquire_many(n)
            .map(|permit| permit.forget())
            .is_ok()
            || broken("credits: none needed")
    }

    /// Counts up to `n` credits as idle, but no more than half of what is left of the allowance. So
    /// lanes that come later get a share, too. Returns how many.
    fn let_lie_idle(&self, n: usize) -> usize {
        if n == 0 {
            return 0;
        }
        let share = |idle| {
            if broken("credits: no allowance") {
                return n;
            }
            n.min(self.allowance.saturating_sub(idle).div_ceil(2))
        };
        let add = |idle| Some(idle + share(idle)).filter(|sum| *sum > idle);
        let before = self.idle.fetch_update(Relaxed, Relaxed, add);
        before.map_or(0, share)
    }

    pub(crate) fn no_longer_idle(&self, n: usize) {
        if n > 0 {
            self.idle.fetch_sub(n, Relaxed);
        }
    }

    /// Gives credits back: to those who wait, in their order, and the rest to the pool.
    pub(crate) fn give_back(&self, n: usize) {
        if n > 0 {
            self.pool.add_permits(n);
        }
    }

    /// Takes one credit now, if there is one and nobody waits for it.
    pub(crate) fn try_reserve(&self) -> bool {
        self.take(1)
    }

    /// Waits for one credit, first come first served. Returns `false` once the pool is closed.
    ///
    /// Cancel safe: a credit that was assigned to a caller who left goes to the next one.
    pub(crate) async fn reserve(&self) -> bool {
        self.pool
            .acquire()
            .await
            .map(|permit| permit.forget())
            .is_ok()
    }

    /// Counts a caller as waiting until the guard is dropped.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Relaxed);
        Waiting(self)
    }

    pub(crate) fn has_waiters(&self) -> bool {
        self.waiting.load(Relaxed) > 0
    }

    /// Closes the pool: nobody waits, and no credit can be leased or reserved. Credits can still be
    /// given back.
    pub(crate) fn close(&self) {
        self.pool.close();
    }

    /// How many credits nobody has.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.pool.available_permits()
    }
}

/// A caller that is counted as waiting. See [`Credits::wait`].
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a Credits);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

#[cfg(all(test, not(swaplane_loom)))]
mod tests {
    use super::Credits;

    #[test]
    fn one_lane_gets_all_of_the_capacity() {
        for capacity in 1..=70 {
            let credits = Credits::new(capacity);
            let (mut got, mut spent) = (0, 0);
            loop {
                let lease = credits.lease(64, spent);
                if lease == 0 {
                    break;
                }
                got += lease;
                spent = lease - 1;
            }
            assert_eq!(got, capacity);
        }
    }

    #[test]
    fn at_most_a_quarter_lies_idle_however_many_lanes_there_are() {
        let credits = Credits::new(1000);
        let leased: usize = (0..100).map(|_| credits.lease(64, 0)).sum();
        assert!(leased - 100 <= 250, "{leased} leased for 100 items");
        assert_eq!(credits.free(), 1000 - leased);
    }

    #[test]
    fn what_comes_back_can_be_leased_again() {
        let credits = Credits::new(4);
        let lease = credits.lease(2, 0);
        assert_eq!(lease, 2);
        credits.no_longer_idle(1);
        credits.give_back(2);
        assert_eq!(credits.lease(2, 0), 2);
        assert_eq!(credits.free(), 2);
    }
}
