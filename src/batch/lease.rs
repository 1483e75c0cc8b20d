//! Where batches come back to, and what follows them.

use std::collections::VecDeque;
use std::fmt;

use super::{Batch, Ticket, drop_items};
use crate::sync::{Arc, Mutex, Notify, broken, wake};

/// The memory of more delivered batches than this is freed.
const MOST_SPARES: usize = 16;

/// Where the batches of one worker come back to; one is out at a time.
pub(crate) struct Lease<T> {
    state: Mutex<State<T>>,
    /// For how many items memory is kept at most, where it is that of several batches.
    most_room: usize,
    /// Rung when a batch comes back that was missed.
    wakeup: Arc<Notify>,
}

struct State<T> {
    expected: Option<Ticket>,
    content: Content<T>,
    /// The flusher has looked for the batch in vain. Before that nobody is rung: the attempt
    /// still runs, and its end will be noticed anyway.
    missed: bool,
    /// Batches that follow the one that is out, as soon as it is delivered.
    next: VecDeque<Batch<T>>,
    /// How many were delivered and followed since the flusher last asked.
    followed: usize,
    /// The sink has not taken all of them at once: nothing more is to follow.
    paused: bool,
    /// The memory of batches that were delivered.
    spares: Vec<Vec<T>>,
}

/// What became of the items of the batch that is expected.
pub(crate) enum Content<T> {
    Out,
    Back(Vec<T>),
    Taken,
}

impl<T> Lease<T> {
    pub(crate) fn new(most_room: usize, wakeup: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                expected: None,
                content: Content::Out,
                missed: false,
                next: VecDeque::new(),
                followed: 0,
                paused: false,
                spares: Vec::new(),
            }),
            most_room,
            wakeup,
        })
    }

    /// Lends a batch out. Those in `next` will follow it.
    // Not a method: loom's `Arc` cannot be the type of `self`.
    pub(crate) fn lend(
        lease: &Arc<Self>,
        batch: Batch<T>,
        next: impl Iterator<Item = Batch<T>>,
    ) -> Batch<T> {
        let mut state = lease.state.lock();
        state.next.extend(next);
        state.followed = 0;
        state.paused = false;
        state.missed = false;
        state.lend(batch, lease)
    }

    /// A batch comes back. Hands back what nobody expects any more, to be dropped by the caller.
    pub(super) fn receive(&self, ticket: Ticket, content: Content<T>) -> Option<Content<T>> {
        if broken("lease: woken before the batch is there") {
            self.wakeup.notify_one();
        }
        let mut state = self.state.lock();
        if state.expected != Some(ticket) && !broken("lease: stale batch let in") {
            return Some(content);
        }
        state.content = content;
        let missed = state.missed;
        drop(state);
        if missed && !broken("lease: woken before the batch is there") {
            wake(&self.wakeup);
        }
        None
    }

    /// What has become of the batch that is out.
    pub(crate) fn collect(&self) -> Content<T> {
        let mut state = self.state.lock();
        let content = std::mem::replace(&mut state.content, Content::Out);
        match content {
            Content::Out => state.missed = !broken("lease: not missed"),
            Content::Back(_) | Content::Taken => state.expected = None,
        }
        content
    }

    /// Whether the batch is in somebody's hands.
    pub(crate) fn is_out(&self) -> bool {
        let state = self.state.lock();
        state.expected.is_some() && matches!(state.content, Content::Out)
    }

    /// Expects the batch no longer: its items are dropped where it is dropped.
    pub(crate) fn give_up(&self) {
        self.state.lock().expected = None;
    }

    /// The attempt was a success: drops the items, now or when the batch is dropped, and lends
    /// the batch that is next, if the run is to go on. Called in the task of the attempt, so that
    /// their `Drop` costs the flusher nothing.
    pub(crate) fn settle(lease: &Arc<Self>, ticket: Ticket, goes_on: bool) -> Option<Batch<T>> {
        let mut state = lease.state.lock();
        if state.expected != Some(ticket) && !broken("lease: successor settled") {
            return None;
        }
        state.expected = None;
        let content = std::mem::replace(&mut state.content, Content::Out);
        let next = if goes_on {
            state.next.pop_front()
        } else {
            None
        };
        if broken("lease: nowhere between two batches") {
            drop(state);
            state = lease.state.lock();
        }
        let next = next.map(|batch| {
            state.followed += 1;
            state.lend(batch, lease)
        });
        if let Content::Back(mut items) = content {
            drop(state);
            drop_items(&mut items);
            lease.state.lock().keep(items, lease.most_room);
        }
        next
    }

    /// The sink waits for something: the flusher is to look after the rest. Called in the task of
    /// the attempt.
    pub(crate) fn pause(&self) {
        if broken("lease: woken before it is paused") {
            self.wakeup.notify_one();
        }
        let mut state = self.state.lock();
        let is_run = state.followed > 0 || !state.next.is_empty();
        state.paused = is_run;
        drop(state);
        if is_run && !broken("lease: woken before it is paused") {
            self.wakeup.notify_one();
        }
    }

    /// How many batches were delivered and followed by the next since this was last asked, and
    /// whether nothing more is to follow.
    pub(crate) fn followed(&self) -> (usize, bool) {
        let mut state = self.state.lock();
        (std::mem::take(&mut state.followed), state.paused)
    }

    /// Lets nothing follow the batch that is out: takes back what would have. And `followed`.
    pub(crate) fn revoke(&self) -> (usize, VecDeque<Batch<T>>) {
        if broken("lease: revoked in two steps") {
            let (followed, _) = self.followed();
            return (followed, std::mem::take(&mut self.state.lock().next));
        }
        let mut state = self.state.lock();
        let followed = std::mem::take(&mut state.followed);
        (followed, std::mem::take(&mut state.next))
    }

    /// The memory of a delivered batch, empty.
    pub(crate) fn take_spare(&self) -> Vec<T> {
        self.state.lock().spares.pop().unwrap_or_default()
    }

    /// Frees the memory of delivered batches.
    pub(crate) fn trim(&self) {
        let spares = std::mem::take(&mut self.state.lock().spares);
        drop(spares);
    }
}

impl<T> State<T> {
    fn lend(&mut self, mut batch: Batch<T>, lease: &Arc<Lease<T>>) -> Batch<T> {
        self.expected = Some(batch.ticket);
        self.content = Content::Out;
        batch.lease = Some(lease.clone());
        batch
    }

    /// Keeps memory for another batch. Small ones may have that of large ones, so that their number
    /// alone would be no bound.
    fn keep(&mut self, spare: Vec<T>, most_room: usize) {
        let add = |sum: usize, kept: &Vec<T>| sum.saturating_add(kept.capacity());
        let room = self.spares.iter().fold(spare.capacity(), add);
        if self.spares.is_empty() || (self.spares.len() < MOST_SPARES && room <= most_room) {
            self.spares.push(spare);
        }
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if let Content::Back(items) = &mut state.content {
            drop_items(items);
        }
        for batch in &mut state.next {
            drop_items(&mut batch.items);
        }
    }
}

impl<T> fmt::Debug for Lease<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(swaplane_loom)))]
mod tests {
    use super::*;
    use crate::batch::Reason;

    fn lease() -> Arc<Lease<u32>> {
        Lease::new(4, Arc::new(Notify::new()))
    }

    const FIRST: Ticket = Ticket { id: 1, attempt: 1 };
    const SECOND: Ticket = Ticket { id: 1, attempt: 2 };
    const OTHER: Ticket = Ticket { id: 2, attempt: 1 };

    fn batch(items: &[u32], ticket: Ticket) -> Batch<u32> {
        Batch::new(items.to_vec(), ticket, Reason::Size)
    }

    fn lend(lease: &Arc<Lease<u32>>, items: &[u32], ticket: Ticket) -> Batch<u32> {
        Lease::lend(lease, batch(items, ticket), std::iter::empty())
    }

    #[test]
    fn a_dropped_batch_comes_home() {
        let lease = lease();
        let batch = lend(&lease, &[1, 2], FIRST);
        assert!(matches!(lease.collect(), Content::Out));
        drop(batch);
        assert!(matches!(lease.collect(), Content::Back(items) if items == [1, 2]));
    }

    #[test]
    fn taken_items_do_not() {
        let lease = lease();
        let batch = lend(&lease, &[1, 2], FIRST);
        assert_eq!(batch.into_vec(), [1, 2]);
        assert!(matches!(lease.collect(), Content::Taken));
    }

    #[test]
    fn a_straggler_is_not_mistaken_for_its_successor() {
        let lease = lease();
        let late = lend(&lease, &[1], FIRST);
        lease.give_up();
        let batch = lend(&lease, &[2], SECOND);
        drop(late);
        assert!(matches!(lease.collect(), Content::Out));
        drop(batch);
        assert!(matches!(lease.collect(), Content::Back(items) if items == [2]));
    }

    #[test]
    fn a_settled_batch_leaves_its_memory() {
        let lease = lease();
        drop(lend(&lease, &[1, 2], FIRST));
        assert!(Lease::settle(&lease, FIRST, true).is_none());
        let spare = lease.take_spare();
        assert!(spare.is_empty() && spare.capacity() >= 2);
        assert!(matches!(lease.collect(), Content::Out));
    }

    #[test]
    fn memory_is_kept_for_no_more_items_than_is_asked_for() {
        let lease = lease();
        for (size, kept) in [(3, 1), (3, 1), (1, 2), (1, 2)] {
            drop(lend(&lease, &vec![0; size], FIRST));
            assert!(Lease::settle(&lease, FIRST, true).is_none());
            assert_eq!(lease.state.lock().spares.len(), kept);
        }
    }

    #[test]
    fn the_next_batch_follows_one_that_is_delivered() {
        let lease = lease();
        let first = Lease::lend(&lease, batch(&[1], FIRST), [batch(&[2], OTHER)].into_iter());
        assert_eq!(lease.followed(), (0, false));
        drop(first);
        let next = Lease::settle(&lease, FIRST, true).expect("there is a next one");
        assert_eq!((&*next, next.id()), (&[2][..], 2));
        lease.pause();
        assert_eq!((lease.followed(), lease.followed()), ((1, true), (0, true)));
        drop(next);
        assert!(matches!(lease.collect(), Content::Back(items) if items == [2]));
    }

    #[test]
    fn what_does_not_follow_can_be_taken_back() {
        let lease = lease();
        let first = Lease::lend(&lease, batch(&[1], FIRST), [batch(&[2], OTHER)].into_iter());
        drop(first);
        assert!(Lease::settle(&lease, FIRST, false).is_none());
        let (followed, rest) = lease.revoke();
        assert_eq!(followed, 0);
        assert!(rest.into_iter().map(Batch::unpack).eq([vec![2]]));
    }

    #[test]
    fn nothing_follows_after_a_revocation() {
        let lease = lease();
        let first = Lease::lend(&lease, batch(&[1], FIRST), [batch(&[2], OTHER)].into_iter());
        let (followed, rest) = lease.revoke();
        assert_eq!((followed, rest.len()), (0, 1));
        drop(first);
        assert!(Lease::settle(&lease, FIRST, true).is_none());
        assert!(!lease.is_out());
        assert!(rest.into_iter().map(Batch::unpack).eq([vec![2]]));
    }
}
