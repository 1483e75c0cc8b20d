//! The map under test, and all that the model knows about it.

use std::task::Poll;

use swaplane::{Change, Entry, FlushError, Map, MapItem, Mirror, PushError, Put, RefusalReason};
use tokio::time::Instant;

use super::model::{Model, Place};
use super::script::{Op, Script};
use super::{Fixed, KEYS};
use crate::common::{
    Keyed, Row, assert_adds_up, assert_conserved, ms, poll_once, removal, row, rows, settle,
};
use crate::{FlushFuture, TICK, World};

/// A map or a mirror.
pub(crate) trait Handle {
    type Item: MapItem<u64, u64>;
    const MIRROR: bool;
    fn map(&self) -> &Map<u64, u64, Fixed, Self::Item>;
    fn remove(&self, key: u64) -> Result<Option<u64>, RefusalReason>;
    fn rows(items: &[Self::Item]) -> Vec<Row>;
}

impl Handle for Map<u64, u64, Fixed> {
    type Item = Entry<u64, u64>;
    const MIRROR: bool = false;

    fn map(&self) -> &Self {
        self
    }

    fn remove(&self, key: u64) -> Result<Option<u64>, RefusalReason> {
        Ok(Map::<u64, u64, Fixed>::remove(self, &key))
    }

    fn rows(items: &[Entry<u64, u64>]) -> Vec<Row> {
        rows(items)
    }
}

impl Handle for Mirror<u64, u64, Fixed> {
    type Item = Change<u64, u64>;
    const MIRROR: bool = true;

    fn map(&self) -> &Self {
        self
    }

    fn remove(&self, key: u64) -> Result<Option<u64>, RefusalReason> {
        Mirror::<u64, u64, Fixed>::remove(self, &key)
    }

    fn rows(items: &[Change<u64, u64>]) -> Vec<Row> {
        rows(items)
    }
}

/// A flush under way, with the entries that it covers.
struct Flush<'a> {
    future: FlushFuture<'a>,
    covered: Vec<usize>,
}

pub(crate) struct MapWorld<'a, H> {
    script: &'a Script,
    handle: &'a H,
    sink: &'a Keyed,
    model: Model,
    flushes: Vec<Flush<'a>>,
    closed: bool,
    /// The value of the last update. Each update brings another one.
    value: u64,
}

impl<'a, H: Handle> MapWorld<'a, H> {
    pub(crate) fn new(script: &'a Script, handle: &'a H, sink: &'a Keyed) -> Self {
        Self {
            script,
            handle,
            sink,
            model: Model::new(script),
            flushes: Vec::new(),
            closed: false,
            value: 1000,
        }
    }

    /// Checks what an update answered. A refusal has a reason and gives key and value back.
    fn accepts<R>(&self, said: Result<R, PushError<(u64, u64)>>, item: (u64, u64)) -> Option<R> {
        match said {
            Ok(said) => {
                assert!(!self.closed, "accepted after close");
                Some(said)
            }
            Err(refused) => {
                assert_eq!(refused.is_closed(), self.closed);
                assert_eq!(refused.into_inner(), item);
                None
            }
        }
    }

    /// Notes an update, which began an entry or changed the held one. The stats say which.
    fn update(&mut self, key: u64, ok: bool, begun: Row, change: impl FnOnce(&mut Row)) -> bool {
        let capacity = self.script.capacity;
        if !ok {
            if !self.closed {
                self.model.note_left(key);
                let held = self.model.held();
                assert!(held >= capacity - capacity / 4, "refused at {held}");
            }
            return false;
        }
        let changed = self.handle.map().stats().coalesced > self.model.coalesced;
        if changed {
            self.model.change(key, change);
        } else {
            assert!(self.model.held() < capacity, "above the capacity");
            self.model.begin(begun);
        }
        changed
    }

    fn put_newer(&mut self, key: u64, version: u64) {
        let value = self.value;
        let stale = self.model.is_stale(key, version);
        let said = self.handle.map().put_newer(key, value, version);
        let said = self.accepts(said, (key, value));
        if said == Some(Put::Stale) && !stale {
            assert!(
                self.model
                    .lingers(key, |slot| slot.row.version >= Some(version))
            );
            return;
        }
        assert!(
            said.is_none() || (said == Some(Put::Stale)) == stale,
            "{said:?}"
        );
        if said != Some(Put::Stale) {
            let begun = row(key, value).version(version);
            let changed = self.update(key, said.is_some(), begun, |held| {
                (held.value, held.version) = (Some(value), Some(version));
            });
            assert_eq!(changed, said == Some(Put::Replaced));
        }
    }

    fn remove(&mut self, key: u64) {
        let before = self.model.active(key).and_then(|slot| slot.row.value);
        let said = self.handle.remove(key);
        if let Ok(Some(value)) = said {
            assert_eq!(before, Some(value));
        }
        if H::MIRROR {
            assert!(said.is_ok() != self.closed || said == Err(RefusalReason::Full));
            let change = |held: &mut Row| held.value = None;
            let changed = self.update(key, said.is_ok(), removal(key), change);
            assert!(!changed || said == Ok(before), "what was held comes back");
        } else if said == Ok(None) {
            self.model.note_left(key);
        } else {
            self.model.active(key).unwrap().place = Place::Removed;
        }
    }

    fn start_flush(&mut self) {
        self.model.ask_for_all();
        let slots = self.model.slots.iter().enumerate();
        let covered = slots.filter(|(_, slot)| !slot.place.is_end());
        let mut flush = Flush {
            covered: covered.map(|(index, _)| index).collect(),
            future: Box::pin(self.handle.map().flush()),
        };
        // A flush begins with its first poll.
        match poll_once(flush.future.as_mut()) {
            Poll::Pending => self.flushes.push(flush),
            Poll::Ready(result) => self.judge(&flush, result),
        }
    }

    /// A flush ends when all that it covers has its outcome, and reports what of it was lost.
    fn judge(&self, flush: &Flush<'_>, result: Result<(), FlushError>) {
        let covered = flush.covered.iter().map(|index| &self.model.slots[*index]);
        assert!(
            covered.clone().all(|slot| slot.place.is_end()),
            "a flush ended too early"
        );
        let fresh = covered.filter(|slot| slot.place == Place::Lost).count() as u64;
        match result {
            Ok(()) => assert_eq!(fresh, 0, "a flush did not say what was lost"),
            Err(error) => {
                let lost = self.model.count(Place::Lost) as u64;
                assert_eq!((error.returned, error.held), (0, 0));
                assert!((fresh.max(1)..=lost).contains(&error.lost), "{error}");
            }
        }
    }

    /// What is found is the newest value that is held, or with `reads` also in flight.
    fn look_up(&mut self, key: u64) {
        let found = self.handle.map().get(&key);
        assert_eq!(self.handle.map().contains(&key), found.is_some());
        let reads = self.script.reads;
        let last = self.model.last(key).map(|slot| slot.row.value);
        let newest = last.flatten();
        let active = self.model.active(key).and_then(|slot| slot.row.value);
        if reads && last.is_none() && found.is_some() {
            assert!(self.model.lingers(key, |slot| slot.row.value == found));
        } else if reads || active == found {
            assert_eq!(found, if reads { newest } else { active }, "key {key}");
        } else {
            assert_eq!(found, None, "key {key}");
            self.model.note_left(key);
        }
    }

    /// While the sink is free, what waits is young and was not asked for.
    fn check_waiting(&self, now: Instant) {
        let slots = self.model.slots.iter();
        for slot in slots.filter(|slot| !slot.place.is_end()) {
            assert!(!self.closed && !slot.asked, "{slot:?} waits");
            assert!(!self.script.delay.is_zero(), "{slot:?} waits");
            let since = slot.begun.max(self.model.free);
            // A put reads no clock, so the flusher may notice it one delay later.
            let latest = since + 2 * self.script.delay + TICK;
            assert!(now <= latest, "{slot:?} waits for too long");
        }
    }
}

impl<H: Handle> World for MapWorld<'_, H> {
    type Op = Op;

    async fn apply(&mut self, op: &Op) {
        self.value += 1;
        let (map, value) = (self.handle.map(), self.value);
        match *op {
            Op::Put(key) => {
                let put = map.put(key, value);
                let ok = self.accepts(put, (key, value)).is_some();
                self.update(key, ok, row(key, value), |held| held.value = Some(value));
            }
            Op::PutNewer(key, version) => self.put_newer(key, version),
            Op::Merge(key) => {
                let merged = map.merge(key, value, |held, update| *held = *held * 3 + update);
                let ok = self.accepts(merged, (key, value)).is_some();
                self.update(key, ok, row(key, value), |held| {
                    held.value = Some(held.value.map_or(value, |held| held * 3 + value));
                });
            }
            Op::Remove(key) => self.remove(key),
            Op::Sink(step) => self.sink.then([step]),
            Op::Advance(ticks) => self.advance(ticks).await,
            Op::Flush => self.start_flush(),
            Op::DropFlush => drop(self.flushes.pop()),
            Op::Close => {
                assert_eq!(map.close(), !self.closed);
                self.closed = true;
                self.model.ask_for_all();
            }
        }
    }

    async fn check(&mut self) {
        settle().await;
        let now = Instant::now();
        self.model.observe(self.sink, now);
        let stats = self.handle.map().stats();
        assert_conserved(&stats);
        let count = |place| self.model.count(place) as u64;
        assert_eq!(
            (stats.accepted, stats.coalesced, stats.removed),
            (
                self.model.accepted,
                self.model.coalesced,
                count(Place::Removed)
            )
        );
        assert_eq!(
            (stats.delivered, stats.lost, stats.returned),
            (count(Place::Delivered), count(Place::Lost), 0)
        );
        let held = self.model.held();
        assert_eq!((stats.held, self.handle.map().len()), (held as u64, held));
        assert!(held <= self.script.capacity);
        for key in 0..KEYS {
            self.look_up(key);
        }
        if self.model.is_idle() {
            self.check_waiting(now);
        }
        for mut flush in std::mem::take(&mut self.flushes) {
            match poll_once(flush.future.as_mut()) {
                Poll::Ready(result) => self.judge(&flush, result),
                Poll::Pending => {
                    // The flush may wait for what left together with what it covers.
                    assert!(held > 0, "a flush has nothing to wait for");
                    self.flushes.push(flush);
                }
            }
        }
    }

    async fn end(self) {
        let known: Vec<_> = self.sink.attempts().iter().map(|a| a.batch).collect();
        let acked_before = self.model.count(Place::Delivered);
        let map = self.handle.map();
        let begin = Instant::now();
        let report = map.shutdown(self.script.deadline).await;
        assert!(begin.elapsed() <= self.script.deadline + ms(2));
        assert_adds_up(&report);
        assert_eq!(
            (report.accepted, report.coalesced, report.removed),
            (
                self.model.accepted,
                self.model.coalesced,
                self.model.count(Place::Removed) as u64
            )
        );
        let acked = self.sink.acked();
        assert_eq!(report.delivered, acked.len() as u64);
        assert!(acked.len() >= acked_before && self.sink.count() >= known.len());
        // With two workers the order of the attempts is not that of their outcomes.
        let mut ends = acked;
        ends.extend(H::rows(&report.returned));
        for key in 0..KEYS {
            let mut expected = self
                .model
                .slots
                .iter()
                .filter(|slot| slot.row.key == key)
                .filter(|slot| !matches!(slot.place, Place::Lost | Place::Removed));
            for end in ends.iter().filter(|end| end.key == key) {
                let found = expected.any(|slot| slot.shown() == *end);
                assert!(found, "{end:?} was not to come, or not now");
            }
        }
        let lost = self.model.slots.len() - self.model.count(Place::Removed) - ends.len();
        assert_eq!(report.lost, lost as u64);
        assert_conserved(&map.stats());
        assert!(map.is_empty() && map.is_closed());
        assert!(map.put(0, 0).is_err_and(|refused| refused.is_closed()));
        settle().await;
        for mut flush in self.flushes {
            assert!(
                poll_once(flush.future.as_mut()).is_ready(),
                "a flush outlives the shutdown"
            );
        }
    }
}
