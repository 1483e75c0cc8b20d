//! Where batches come home to, and what follows them.

use std::collections::VecDeque;
use std::fmt;

use super::{Batch, Ticket, drop_items};
use crate::sync::{Arc, Mutex, Notify, broken};

/// The memory of more delivered batches than this is freed.
const MOST_SPARES: usize = 16;

/// Where the batches of one worker come home to; one is out at a time.
pub(crate) struct Home<T> {
    place: Mutex<Place<T>>,
    /// For how many items memory is kept at most, where it is that of several batches.
    most_room: usize,
    /// Rung when a batch comes home that was missed.
    bell: Arc<Notify>,
}

struct Place<T> {
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

impl<T> Home<T> {
    pub(crate) fn new(most_room: usize, bell: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            place: Mutex::new(Place {
                expected: None,
                content: Content::Out,
                missed: false,
                next: VecDeque::new(),
                followed: 0,
                paused: false,
                spares: Vec::new(),
            }),
            most_room,
            bell,
        })
    }

    /// Lends a batch out. Those in `next` will follow it.
    // Not a method: loom's `Arc` cannot be the type of `self`.
    pub(crate) fn lend(
        home: &Arc<Self>,
        batch: Batch<T>,
        next: impl Iterator<Item = Batch<T>>,
    ) -> Batch<T> {
        let mut place = home.place.lock();
        place.next.extend(next);
        place.followed = 0;
        place.paused = false;
        place.missed = false;
        place.lend(batch, home)
    }

    /// A batch comes home. Hands back what nobody expects any more, to be dropped by the caller.
    pub(super) fn receive(&self, ticket: Ticket, content: Content<T>) -> Option<Content<T>> {
        if broken("home: rung before the batch is there") {
            self.bell.notify_one();
        }
        let mut place = self.place.lock();
        if place.expected != Some(ticket) && !broken("home: straggler let in") {
            return Some(content);
        }
        place.content = content;
        let missed = place.missed;
        drop(place);
        if missed && !broken("home: rung before the batch is there") {
            self.bell.notify_one();
        }
        None
    }

    /// What has become of the batch that is out.
    pub(crate) fn collect(&self) -> Content<T> {
        let mut place = self.place.lock();
        let content = std::mem::replace(&mut place.content, Content::Out);
        match content {
            Content::Out => place.missed = !broken("home: not missed"),
            Content::Back(_) | Content::Taken => place.expected = None,
        }
        content
    }

    /// Whether the batch is in somebody's hands.
    pub(crate) fn is_out(&self) -> bool {
        let place = self.place.lock();
        place.expected.is_some() && matches!(place.content, Content::Out)
    }

    /// Expects the batch no longer: its items are dropped where it is dropped.
    pub(crate) fn give_up(&self) {
        self.place.lock().expected = None;
    }

    /// The attempt was a success: drops the items, now or when the batch is dropped, and lends
    /// the batch that is next, if the run is to go on. Called in the task of the attempt, so that
    /// their `Drop` costs the flusher nothing.
    pub(crate) fn settle(home: &Arc<Self>, ticket: Ticket, goes_on: bool) -> Option<Batch<T>> {
        let mut place = home.place.lock();
        if place.expected != Some(ticket) && !broken("home: successor settled") {
            return None;
        }
        place.expected = None;
        let content = std::mem::replace(&mut place.content, Content::Out);
        let next = if goes_on {
            place.next.pop_front()
        } else {
            None
        };
        if broken("home: nowhere between two batches") {
            drop(place);
            place = home.place.lock();
        }
        let next = next.map(|batch| {
            place.followed += 1;
            place.lend(batch, home)
        });
        if let Content::Back(mut items) = content {
            drop(place);
            drop_items(&mut items);
            home.place.lock().keep(items, home.most_room);
        }
        next
    }

    /// The sink waits for something: the flusher is to look after the rest. Called in the task of
    /// the attempt.
    pub(crate) fn pause(&self) {
        if broken("home: rung before it is paused") {
            self.bell.notify_one();
        }
        let mut place = self.place.lock();
        let is_run = place.followed > 0 || !place.next.is_empty();
        place.paused = is_run;
        drop(place);
        if is_run && !broken("home: rung before it is paused") {
            self.bell.notify_one();
        }
    }

    /// How many batches were delivered and followed by the next since this was last asked, and
    /// whether nothing more is to follow.
    pub(crate) fn followed(&self) -> (usize, bool) {
        let mut place = self.place.lock();
        (std::mem::take(&mut place.followed), place.paused)
    }

    /// Lets nothing follow the batch that is out: takes back what would have. And `followed`.
    pub(crate) fn revoke(&self) -> (usize, VecDeque<Batch<T>>) {
        if broken("home: revoked in two steps") {
            let (followed, _) = self.followed();
            return (followed, std::mem::take(&mut self.place.lock().next));
        }
        let mut place = self.place.lock();
        let followed = std::mem::take(&mut place.followed);
        (followed, std::mem::take(&mut place.next))
    }

    /// The memory of a delivered batch, empty.
    pub(crate) fn take_spare(&self) -> Vec<T> {
        self.place.lock().spares.pop().unwrap_or_default()
    }

    /// Frees the memory of delivered batches.
    pub(crate) fn trim(&self) {
        let spares = std::mem::take(&mut self.place.lock().spares);
        drop(spares);
    }
}

impl<T> Place<T> {
    fn lend(&mut self, mut batch: Batch<T>, home: &Arc<Home<T>>) -> Batch<T> {
        self.expected = Some(batch.ticket);
        self.content = Content::Out;
        batch.home = Some(home.clone());
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

impl<T> Drop for Home<T> {
    fn drop(&mut self) {
        let mut place = self.place.lock();
        if let Content::Back(items) = &mut place.content {
            drop_items(items);
        }
        for batch in &mut place.next {
            drop_items(&mut batch.items);
        }
    }
}

impl<T> fmt::Debug for Home<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(swaplane_loom)))]
mod tests {
    use super::*;
    use crate::batch::Reason;

    fn home() -> Arc<Home<u32>> {
        Home::new(4, Arc::new(Notify::new()))
    }

    const FIRST: Ticket = Ticket { id: 1, attempt: 1 };
    const SECOND: Ticket = Ticket { id: 1, attempt: 2 };
    const OTHER: Ticket = Ticket { id: 2, attempt: 1 };

    fn batch(items: &[u32], ticket: Ticket) -> Batch<u32> {
        Batch::new(items.to_vec(), ticket, Reason::Size)
    }

    fn lend(home: &Arc<Home<u32>>, items: &[u32], ticket: Ticket) -> Batch<u32> {
        Home::lend(home, batch(items, ticket), std::iter::empty())
    }

    #[test]
    fn a_dropped_batch_comes_home() {
        let home = home();
        let batch = lend(&home, &[1, 2], FIRST);
        assert!(matches!(home.collect(), Content::Out));
        drop(batch);
        assert!(matches!(home.collect(), Content::Back(items) if items == [1, 2]));
    }

    #[test]
    fn taken_items_do_not() {
        let home = home();
        let batch = lend(&home, &[1, 2], FIRST);
        assert_eq!(batch.into_vec(), [1, 2]);
        assert!(matches!(home.collect(), Content::Taken));
    }

    #[test]
    fn a_straggler_is_not_mistaken_for_its_successor() {
        let home = home();
        let late = lend(&home, &[1], FIRST);
        home.give_up();
        let batch = lend(&home, &[2], SECOND);
        drop(late);
        assert!(matches!(home.collect(), Content::Out));
        drop(batch);
        assert!(matches!(home.collect(), Content::Back(items) if items == [2]));
    }

    #[test]
    fn a_settled_batch_leaves_its_memory() {
        let home = home();
        drop(lend(&home, &[1, 2], FIRST));
        assert!(Home::settle(&home, FIRST, true).is_none());
        let spare = home.take_spare();
        assert!(spare.is_empty() && spare.capacity() >= 2);
        assert!(matches!(home.collect(), Content::Out));
    }

    #[test]
    fn memory_is_kept_for_no_more_items_than_is_asked_for() {
        let home = home();
        for (size, kept) in [(3, 1), (3, 1), (1, 2), (1, 2)] {
            drop(lend(&home, &vec![0; size], FIRST));
            assert!(Home::settle(&home, FIRST, true).is_none());
            assert_eq!(home.place.lock().spares.len(), kept);
        }
    }

    #[test]
    fn the_next_batch_follows_one_that_is_delivered() {
        let home = home();
        let first = Home::lend(&home, batch(&[1], FIRST), [batch(&[2], OTHER)].into_iter());
        assert_eq!(home.followed(), (0, false));
        drop(first);
        let next = Home::settle(&home, FIRST, true).expect("there is a next one");
        assert_eq!((&*next, next.id()), (&[2][..], 2));
        home.pause();
        assert_eq!((home.followed(), home.followed()), ((1, true), (0, true)));
        drop(next);
        assert!(matches!(home.collect(), Content::Back(items) if items == [2]));
    }

    #[test]
    fn what_does_not_follow_can_be_taken_back() {
        let home = home();
        let first = Home::lend(&home, batch(&[1], FIRST), [batch(&[2], OTHER)].into_iter());
        drop(first);
        assert!(Home::settle(&home, FIRST, false).is_none());
        let (followed, rest) = home.revoke();
        assert_eq!(followed, 0);
        assert!(rest.into_iter().map(Batch::unpack).eq([vec![2]]));
    }

    #[test]
    fn nothing_follows_after_a_revocation() {
        let home = home();
        let first = Home::lend(&home, batch(&[1], FIRST), [batch(&[2], OTHER)].into_iter());
        let (followed, rest) = home.revoke();
        assert_eq!((followed, rest.len()), (0, 1));
        drop(first);
        assert!(Home::settle(&home, FIRST, true).is_none());
        assert!(!home.is_out());
        assert!(rest.into_iter().map(Batch::unpack).eq([vec![2]]));
    }
}
