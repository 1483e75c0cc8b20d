//! What the attempts that the sink saw must have led to.

use std::collections::HashSet;

use tokio::time::Instant;

use super::STREAMS;
use crate::attempts::{Fate, fate_of};
use crate::common::{Attempt, producer_of, sequence_of};
use crate::{BACKOFF, TICK};

/// What the attempts so far must have led to.
#[derive(Default)]
pub(crate) struct Ends {
    pub(crate) delivered: HashSet<u64>,
    pub(crate) lost: HashSet<u64>,
    pub(crate) batches: u64,
    /// Since when the sink has nothing to do. `None` while a batch is in flight or in backoff.
    pub(crate) idle_since: Option<Option<Instant>>,
}

/// Whether an attempt begins at a time, as exactly as timers are.
fn is_at(attempt: &Attempt, at: Instant) -> bool {
    attempt.at >= at && attempt.at <= at + TICK
}

/// Replays the attempts: which batch comes next, when it is tried again, and how it ends. A flush
/// or the close, which came when `asked` says, may have ended the pause before a retry.
pub(crate) fn replay(
    attempts: &[Attempt],
    asked: &[Instant],
    now: Instant,
    batch_limit: usize,
) -> Ends {
    let mut ends = Ends {
        idle_since: Some(None),
        ..Ends::default()
    };
    let mut retry: Option<(&Attempt, Instant)> = None;
    let mut seen = HashSet::new();
    let mut next = [0; STREAMS];
    for (index, attempt) in attempts.iter().enumerate() {
        if let Some((failed, due)) = retry.take() {
            assert_eq!(
                attempt.batch, failed.batch,
                "another batch came before the retry"
            );
            assert_eq!(
                (attempt.number, &attempt.items),
                (failed.number + 1, &failed.items)
            );
            let begun = due - BACKOFF;
            let by_request = |at: &Instant| (begun..=due).contains(at) && is_at(attempt, *at);
            assert!(
                is_at(attempt, due) || asked.iter().any(by_request),
                "the retry was not on time"
            );
        } else {
            assert!(seen.insert(attempt.batch), "a finished batch came again");
            assert_eq!(attempt.number, 1);
            assert!((1..=batch_limit).contains(&attempt.items.len()));
            for id in &attempt.items {
                assert_eq!(sequence_of(*id), next[producer_of(*id)], "out of order");
                next[producer_of(*id)] += 1;
            }
            let free = ends
                .idle_since
                .expect("a batch was sent before the last one ended");
            assert!(free.is_none_or(|free| attempt.at >= free));
        }
        let (fate, end) = fate_of(attempt);
        if now < end {
            assert_eq!(
                index + 1,
                attempts.len(),
                "an attempt began while another ran"
            );
            ends.idle_since = None;
            break;
        }
        ends.idle_since = (fate != Fate::Retry).then_some(Some(end));
        match fate {
            Fate::Retry => retry = Some((attempt, end + BACKOFF)),
            Fate::Lost => ends.lost.extend(&attempt.items),
            Fate::Delivered => {
                ends.delivered.extend(&attempt.items);
                ends.batches += 1;
            }
        }
    }
    if let Some((_, due)) = retry {
        assert!(now <= due + TICK, "the retry never came");
    }
    ends
}
