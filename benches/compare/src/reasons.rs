//! Why a peer is better where it is.

use crate::args::selects;

/// Of the first pattern that selects the case.
const REASONS: &[(&str, &str)] = &[
    (
        "push/*/plain-Vec",
        "A `Vec` of the pushing thread's own, which nobody else could collect from: what any buffer \
         has to do at least.",
    ),
    (
        "push/collected-512/",
        "Each 512 items are asked for by a call of `flush`, which costs some 2.6 µs: the flusher is \
         woken, collects, lends the batch to a task and tells the caller that it was delivered. \
         Collecting from the peer is a call of a function.",
    ),
    (
        "push/*/rtrb",
        "A ring of fixed size has one index to publish. A lane also grows and gives memory back, \
         takes credits from a capacity that all lanes share, and marks that a push is in progress, so \
         that `close` knows what was accepted.",
    ),
    (
        "push/*/keyed/",
        "The peer hashes nothing: its mutex is the pushing thread's own. The fair comparison is the \
         row with a mutex that is found by a hash.",
    ),
    (
        "push/",
        "On this processor an uncontended lock and unlock cost 3 ns in all.",
    ),
    (
        "e2e/*/rtrb",
        "The same idea as a lane, a ring for each producer, with less around it: rings of a fixed \
         size, and a consumer that never sleeps and calls the sink as a function. Our lanes share one \
         capacity and fetch credits from it every 64 items; our flusher sleeps and is woken, moves the \
         items to batches, lends these to a task, and accounts for them.",
    ),
    (
        "e2e/*/own-mutex-",
        "A lock that nobody else wants costs 3 ns, which on two busy cores is all that there is to \
         win. The peer wins it back: it is not bounded and sums the items where they lie, while ours have \
         credits, are moved to batches, lent and accounted for; the larger an item is the more it \
         takes to move it.",
    ),
    (
        "e2e/",
        "The items are moved once more, from the lanes to batches, which takes the longer the larger they \
         are; and what a queue does besides, the credits, the lending and the account, is done by one \
         thread, which a single producer can outrun.",
    ),
    (
        "keyed/",
        "The lane of a key's partition lies behind a mutex too, and under it a push also needs credit, \
         writes into chunks and publishes, so that the lock is held for longer than for a push into a \
         `Vec`.",
    ),
    (
        "burst/",
        "Producers that are refused yield their time slice or wait for a permit; how they and the \
         flusher then take turns on two cores decides more than what a push costs.",
    ),
    (
        "latency/off/",
        "Without contention a mutex is as quick: what is left is every 64th push, which fetches \
         credits.",
    ),
    (
        "latency/",
        "A push that wakes the flusher pays for that, 5 to 25 µs on this machine; one that fetches \
         credits meets cache lines that the flusher has just written. The mutex's consumer sleeps by \
         the clock, or never, and is woken by nobody.",
    ),
    ("alloc/", "A batch is a task, which is allocated."),
    (
        "map/*/sweeping/",
        "What is in ours is bounded, swapped out as a whole, handed over in batches by a task, and its \
         versions stay known until they are delivered; the peer's entries are taken out in place. Each \
         entry is moved twice more, and takes 40 bytes instead of 16.",
    ),
    (
        "map/put_newer/",
        "Beside what a put costs: where nothing is held of a key, its version is looked for in what is \
         on its way to the sink.",
    ),
    (
        "map/",
        "An update of ours also looks which side is active and whether the map is closed, counts, and \
         takes a credit for each new entry; an entry takes 40 bytes (with its hash, version and number \
         of updates) instead of 16, which costs most where the table does not fit the caches.",
    ),
    (
        "flush/",
        "Two threads are woken, ours and the caller's, 25 µs each on this machine. The peer's spin \
         before they sleep.",
    ),
];

pub fn reason(case: &str) -> &'static str {
    let mut reasons = REASONS.iter();
    let found = reasons.find(|(pattern, _)| selects(pattern, case));
    found.map_or("Not known.", |(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases;

    /// Idle processor time and memory are lost to nobody.
    #[test]
    fn every_case_that_can_be_lost_has_a_reason() {
        for case in cases::all() {
            let is_won = ["idle/", "memory/"].map(|won| case.name.starts_with(won));
            let is_known = reason(&case.name) != "Not known.";
            assert!(is_known || is_won.contains(&true), "{}", case.name);
        }
    }

    #[test]
    fn every_reason_is_some_case_s() {
        let cases = cases::all();
        for (index, (pattern, _)) in REASONS.iter().enumerate() {
            let earlier = |name: &str| REASONS[..index].iter().any(|(it, _)| selects(it, name));
            let first = |name: &str| selects(pattern, name) && !earlier(name);
            assert!(cases.iter().any(|case| first(&case.name)), "{pattern}");
        }
    }
}
