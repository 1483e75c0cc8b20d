//! What is known of each entry, from what the calls answered and what the sink saw.

use tokio::time::Instant;

use super::KEYS;
use super::script::Script;
use crate::attempts::{Fate, fate_of};
use crate::common::{Attempt, Keyed, Row, removal};
use crate::{BACKOFF, TICK};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Held,
    /// Taken by the flusher. The sink has not seen it yet.
    Left,
    /// In a batch, in flight or in backoff.
    Sent(u64),
    Delivered,
    Lost,
    Removed,
}

impl Place {
    pub(crate) fn is_end(self) -> bool {
        matches!(self, Self::Delivered | Self::Lost | Self::Removed)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// Includes the version and the updates of a removal, which the sink does not see.
    pub(crate) row: Row,
    pub(crate) place: Place,
    pub(crate) begun: Instant,
    /// Whether a flush or the close has asked for it.
    pub(crate) asked: bool,
    /// How many batches had left when the entry began.
    batches: usize,
}

impl Slot {
    /// What the sink sees of the entry.
    pub(crate) fn shown(&self) -> Row {
        match self.row.value {
            Some(_) => self.row,
            None => removal(self.row.key),
        }
    }
}

/// A batch without an outcome, what its last attempt leads to, and when.
struct Open {
    id: u64,
    attempt: u32,
    fate: Fate,
    at: Instant,
}

/// Every entry there ever was, in the order in which the entries began.
pub(crate) struct Model {
    pub(crate) slots: Vec<Slot>,
    pub(crate) accepted: u64,
    pub(crate) coalesced: u64,
    /// The newest version of each key that has its outcome.
    newest_ended: [Option<u64>; KEYS as usize],
    /// The last version of each key that the sink saw.
    last_seen: [Option<u64>; KEYS as usize],
    open: Vec<Open>,
    /// When a flush or the close was asked for.
    asked: Vec<Instant>,
    /// How many attempts were observed, and how many of them were the first of a batch.
    attempts: usize,
    batches: usize,
    /// Since when no batch is open.
    pub(crate) free: Instant,
    limits: (usize, usize, bool),
}

impl Model {
    pub(crate) fn new(script: &Script) -> Self {
        Self {
            slots: Vec::new(),
            accepted: 0,
            coalesced: 0,
            newest_ended: [None; KEYS as usize],
            last_seen: [None; KEYS as usize],
            open: Vec::new(),
            asked: Vec::new(),
            attempts: 0,
            batches: 0,
            free: Instant::now(),
            limits: (
                script.batch.unwrap_or(usize::MAX),
                script.in_flight,
                script.remembers,
            ),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    pub(crate) fn count(&self, place: Place) -> usize {
        self.slots.iter().filter(|slot| slot.place == place).count()
    }

    /// How many entries have no outcome.
    pub(crate) fn held(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| !slot.place.is_end())
            .count()
    }

    /// The newest entry of a key that has no outcome.
    pub(crate) fn last(&mut self, key: u64) -> Option<&mut Slot> {
        let mut slots = self.slots.iter_mut().rev();
        slots.find(|slot| slot.row.key == key && !slot.place.is_end())
    }

    /// The newest entry of a key, if it is held.
    pub(crate) fn active(&mut self, key: u64) -> Option<&mut Slot> {
        self.last(key).filter(|slot| slot.place == Place::Held)
    }

    /// Whether an entry of the key that has its outcome may still be known. It may be until all
    /// that left together with it has its outcome.
    pub(crate) fn lingers(&self, key: u64, is: impl Fn(&Slot) -> bool) -> bool {
        let ended = |slot: &&Slot| slot.row.key == key && slot.place.is_end();
        self.held() > 0 && self.slots.iter().filter(ended).any(is)
    }

    /// Whether a version is stale against what is held, in flight or remembered.
    pub(crate) fn is_stale(&self, key: u64, version: u64) -> bool {
        let (.., remembers) = self.limits;
        let slots = self.slots.iter();
        let on_its_way = slots
            .filter(|slot| slot.row.key == key && !slot.place.is_end())
            .filter_map(|slot| slot.row.version);
        let ended = self.newest_ended[key as usize].filter(|_| remembers);
        on_its_way.chain(ended).max() >= Some(version)
    }

    /// The map did not find the entry that was held, so the entry must have left.
    pub(crate) fn note_left(&mut self, key: u64) {
        let batches = self.batches;
        if let Some(slot) = self.active(key) {
            assert!(slot.asked || slot.batches < batches, "not found: {slot:?}");
            slot.place = Place::Left;
        }
    }

    pub(crate) fn begin(&mut self, row: Row) {
        self.note_left(row.key);
        self.accepted += 1;
        self.slots.push(Slot {
            row,
            place: Place::Held,
            begun: Instant::now(),
            asked: false,
            batches: self.batches,
        });
    }

    pub(crate) fn change(&mut self, key: u64, change: impl FnOnce(&mut Row)) {
        self.accepted += 1;
        self.coalesced += 1;
        let Some(slot) = self.active(key) else {
            panic!("changed what has left: {:?}", self.last(key));
        };
        slot.row.updates += 1;
        change(&mut slot.row);
    }

    pub(crate) fn ask_for_all(&mut self) {
        self.asked.push(Instant::now());
        let slots = self.slots.iter_mut();
        slots.for_each(|slot| slot.asked |= !slot.place.is_end());
    }

    /// Takes in what the sink saw since the last time.
    pub(crate) fn observe(&mut self, sink: &Keyed, now: Instant) {
        let attempts = sink.attempts();
        for attempt in &attempts[self.attempts..] {
            self.settle(attempt.at);
            let due = self.open.iter().position(|open| open.id == attempt.batch);
            match due.map(|index| self.open.remove(index)) {
                Some(open) => {
                    assert!(open.fate == Fate::Retry, "tried again: {attempt:?}");
                    assert_eq!(attempt.number, open.attempt + 1);
                    let due = open.at + BACKOFF;
                    let is_at = |at: Instant| attempt.at >= at && attempt.at <= at + TICK;
                    let in_pause = |at: &Instant| (open.at..=due).contains(at) && is_at(*at);
                    // The outcome of another batch may tell that the sink is healthy again, or
                    // begin the next flush.
                    let other = Some(self.free).filter(|_| self.limits.1 > 1);
                    let early = self.asked.iter().chain(&other).any(in_pause);
                    assert!(early || is_at(due), "not on time");
                }
                None => self.first(attempt, sink.batch(attempt.batch)),
            }
            self.open.push(open(attempt));
            self.attempts += 1;
        }
        self.settle(now);
        for open in &self.open {
            assert!(now <= open.at + BACKOFF + TICK, "the retry never came");
        }
    }

    /// Takes in a new batch. Each of its rows is the oldest of its key that the sink has not seen.
    fn first(&mut self, attempt: &Attempt, rows: Vec<Row>) {
        let (batch, in_flight, _) = self.limits;
        assert_eq!(attempt.number, 1);
        assert!((1..=batch).contains(&rows.len()));
        assert!(self.open.len() < in_flight, "before its predecessor's end");
        self.batches += 1;
        for row in rows {
            let of_key = self.slots.iter_mut().filter(|slot| slot.row.key == row.key);
            let slot = { of_key }
                .find(|slot| !slot.place.is_end())
                .unwrap_or_else(|| panic!("{row:?} is nothing that is held"));
            assert!(
                matches!(slot.place, Place::Held | Place::Left),
                "{row:?} while the key is on its way: {slot:?}"
            );
            assert_eq!(row, slot.shown(), "the sink saw something else");
            slot.place = Place::Sent(attempt.batch);
            if let Some(version) = slot.row.version {
                let last = self.last_seen[row.key as usize].replace(version);
                let (.., remembers) = self.limits;
                assert!(!remembers || last < Some(version), "{last:?}, then {row:?}");
            }
        }
    }

    /// Gives the batches whose end is due their outcome.
    fn settle(&mut self, now: Instant) {
        let (ended, open) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|open| open.fate != Fate::Retry && open.at <= now);
        self.open = open;
        let ended: Vec<Open> = ended;
        for Open { id, fate, at, .. } in ended {
            self.free = self.free.max(at);
            for slot in &mut self.slots {
                if slot.place == Place::Sent(id) {
                    slot.place = match fate {
                        Fate::Delivered => Place::Delivered,
                        _ => Place::Lost,
                    };
                    let newest = &mut self.newest_ended[slot.row.key as usize];
                    *newest = (*newest).max(slot.row.version);
                }
            }
        }
    }
}

fn open(attempt: &Attempt) -> Open {
    let (fate, at) = fate_of(attempt);
    Open {
        id: attempt.batch,
        attempt: attempt.number,
        fate,
        at,
    }
}
