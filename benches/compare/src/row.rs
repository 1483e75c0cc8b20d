//! A row of the result.

use serde::{Deserialize, Serialize};

use crate::{pair::Outcome, stats::Estimate};

#[derive(Clone, Serialize, Deserialize)]
pub struct Row {
    pub case: String,
    pub ours: String,
    pub peer: String,
    /// What `ours_value` and `peer_value` are.
    pub unit: String,
    pub ours_value: f64,
    pub peer_value: Option<f64>,
    /// Of the peer's to ours: above 1 we are better.
    pub ratio: Option<Estimate>,
    /// Pairs of slices that count, and those that were thrown away since something disturbed them.
    pub kept: usize,
    pub dropped: usize,
    /// So many were disturbed that all had to count.
    pub disturbed: bool,
    /// How many cores other processes kept busy while this was measured: should be next to none.
    pub others: f64,
    pub note: String,
}

impl Row {
    pub fn of(case: &str, ours: String, peer: String, note: &str, outcome: Outcome) -> Self {
        Self {
            case: case.to_owned(),
            ours,
            peer,
            unit: "ns".to_owned(),
            ours_value: outcome.ours,
            peer_value: Some(outcome.peer),
            ratio: Some(outcome.ratio),
            kept: outcome.kept,
            dropped: outcome.dropped,
            disturbed: outcome.disturbed,
            others: 0.0,
            note: note.to_owned(),
        }
    }

    /// Of something that need not be measured again and again.
    pub fn single(
        case: &str,
        ours: &str,
        peer: &str,
        unit: &str,
        (ours_value, peer_value): (f64, f64),
        note: &str,
    ) -> Self {
        Self {
            case: case.to_owned(),
            ours: ours.to_owned(),
            peer: peer.to_owned(),
            unit: unit.to_owned(),
            ours_value,
            peer_value: Some(peer_value),
            ratio: None,
            kept: 0,
            dropped: 0,
            disturbed: false,
            others: 0.0,
            note: note.to_owned(),
        }
    }

    /// Whether the peer is better, beyond doubt.
    pub fn is_lost(&self) -> bool {
        match (self.ratio, self.peer_value) {
            (Some(ratio), _) => ratio.high < 1.0,
            (None, Some(peer)) => self.ours_value > peer,
            (None, None) => false,
        }
    }

    /// The part of the case's name up to the first slash.
    pub fn group(&self) -> &str {
        self.case.split('/').next().unwrap_or_default()
    }
}
