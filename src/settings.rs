//! The settings that queues and maps share, their defaults, and which values they may have.

use std::time::Duration;

use crate::error::build::Violation;
use crate::error::check::{LONGEST, count, duration};
use crate::retry::Retry;

const DEFAULT_BATCH_SIZE: usize = 500;
const MOST_PARTITIONS: usize = 4096;
/// What one tokio semaphore can count, on every platform.
const MOST_CAPACITY: usize = (u32::MAX >> 3) as usize;

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: String,
    /// `None`: the larger of the number of CPUs and `max_in_flight`.
    pub(crate) partitions: Option<usize>,
    pub(crate) capacity: usize,
    pub(crate) max_batch_size: BatchLimit,
    pub(crate) max_delay: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) attempt_timeout: Duration,
    pub(crate) retry: Retry,
}

/// The limit of a batch, as the user set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchLimit {
    /// [`DEFAULT_BATCH_SIZE`], or as much of it as the capacity allows.
    Default,
    Items(usize),
    Unlimited,
}

/// A quarter of the capacity, rounded down, may lie idle in lanes. The rest can fill a batch.
fn largest_batch(capacity: usize) -> usize {
    capacity - capacity / 4
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "swaplane".to_owned(),
            partitions: None,
            capacity: 100_000,
            max_batch_size: BatchLimit::Default,
            max_delay: Duration::from_millis(50),
            max_in_flight: 1,
            attempt_timeout: Duration::from_secs(10),
            retry: Retry::exponential(),
        }
    }
}

impl Settings {
    /// How many partitions there are: as set, or by default.
    pub(crate) fn partitions(&self) -> usize {
        self.partitions.unwrap_or_else(|| {
            num_cpus::get()
                .max(self.max_in_flight)
                .clamp(1, MOST_PARTITIONS)
        })
    }

    /// How many items a batch has at most. The largest number stands for no limit: whoever counts
    /// with it saturates.
    pub(crate) fn max_batch_size(&self) -> usize {
        match self.max_batch_size {
            BatchLimit::Default => DEFAULT_BATCH_SIZE.min(largest_batch(self.capacity)),
            BatchLimit::Items(items) => items,
            BatchLimit::Unlimited => usize::MAX,
        }
    }

    /// All settings that cannot be used, in the order of the fields.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        // The name of a thread must not contain a NUL.
        if self.name.contains('\0') {
            found.push(Violation {
                field: "name",
                value: format!("{:?}", self.name),
                bound: "without a NUL".to_owned(),
            });
        }
        if let Some(partitions) = self.partitions {
            count("partitions", partitions, MOST_PARTITIONS, &mut found);
        }
        count("capacity", self.capacity, MOST_CAPACITY, &mut found);
        if let BatchLimit::Items(items) = self.max_batch_size {
            // A capacity that is wrong itself bounds nothing.
            let most = largest_batch(self.capacity.clamp(1, MOST_CAPACITY));
            if items == 0 || items > most {
                found.push(Violation {
                    field: "max_batch_size",
                    value: items.to_string(),
                    bound: format!(
                        "from 1 to {most} (three quarters of the capacity, rounded up), or None for \
                         no limit"
                    ),
                });
            }
        }
        if self.max_delay > LONGEST {
            found.push(Violation {
                field: "max_delay",
                value: format!("{:?}", self.max_delay),
                bound: "from zero (adaptive) to 365 days".to_owned(),
            });
        }
        // A number of partitions that is wrong itself bounds nothing.
        let partitions = self.partitions.unwrap_or(MOST_PARTITIONS);
        let most = partitions.clamp(1, MOST_PARTITIONS);
        if self.max_in_flight == 0 || self.max_in_flight > most {
            found.push(Violation {
                field: "max_in_flight",
                value: self.max_in_flight.to_string(),
                bound: format!("from 1 to {most}, one for each partition at most"),
            });
        }
        duration("attempt_timeout", self.attempt_timeout, &mut found);
        self.retry.violations(&mut found);
        found
    }
}

#[cfg(all(test, not(swaplane_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_what_the_documentation_says_and_valid() {
        let settings = Settings::default();
        assert_eq!(settings.capacity, 100_000);
        assert_eq!(settings.max_batch_size(), 500);
        assert_eq!(settings.max_delay, Duration::from_millis(50));
        assert_eq!(settings.max_in_flight, 1);
        assert_eq!(settings.attempt_timeout, Duration::from_millis(10_000));
        assert_eq!(settings.partitions(), num_cpus::get());
        assert_eq!(settings.violations(), []);
    }

    #[test]
    fn there_is_a_partition_for_each_worker() {
        let settings = Settings {
            max_in_flight: 100,
            ..Settings::default()
        };
        assert!(settings.partitions() >= 100);
        assert_eq!(settings.violations(), []);
    }

    #[test]
    fn the_smallest_capacity_is_usable() {
        let settings = Settings {
            capacity: 1,
            max_batch_size: BatchLimit::Items(1),
            ..Settings::default()
        };
        assert_eq!(settings.violations(), []);
    }

    /// Whatever is wrong: a bound names values that can be set.
    #[test]
    fn every_bound_names_a_range_that_something_meets() {
        let wrong = [
            0,
            1,
            2,
            3,
            4096,
            4097,
            MOST_CAPACITY,
            MOST_CAPACITY + 1,
            usize::MAX,
        ];
        for a in wrong {
            for b in wrong {
                for c in wrong {
                    let settings = Settings {
                        capacity: a,
                        partitions: Some(a),
                        max_batch_size: BatchLimit::Items(b),
                        max_in_flight: c,
                        ..Settings::default()
                    };
                    for Violation { bound, .. } in settings.violations() {
                        let words = bound.split_whitespace();
                        let numbers = words.filter_map(|word| word.trim_matches(',').parse().ok());
                        let range: Vec<usize> = numbers.collect();
                        assert!(range.len() == 2 && range[0] <= range[1], "{bound}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_batch_fits_any_capacity_unless_it_is_set() {
        for (capacity, size) in [(1, 1), (2, 2), (4, 3), (600, 450), (667, 500), (5000, 500)] {
            let settings = Settings {
                capacity,
                ..Settings::default()
            };
            assert_eq!(
                (settings.max_batch_size(), settings.violations()),
                (size, vec![])
            );
        }
    }
}
