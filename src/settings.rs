//! The settings of a queue, and which values they may have.

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
    /// `None`: the default, or as much of it as the capacity allows.
    pub(crate) max_batch_size: Option<usize>,
    pub(crate) max_delay: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) attempt_timeout: Duration,
    pub(crate) retry: Retry,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "swaplane".to_owned(),
            partitions: None,
            capacity: 100_000,
            max_batch_size: None,
            max_delay: Duration::from_millis(50),
            max_in_flight: 1,
            attempt_timeout: Duration::from_secs(10),
            retry: Retry::exponential(),
        }
    }
}

impl Settings {
    /// How many partitions there are.
    pub(crate) fn partitions(&self) -> usize {
        self.partitions.unwrap_or_else(|| {
            num_cpus::get()
                .max(self.max_in_flight)
                .clamp(1, MOST_PARTITIONS)
        })
    }

    /// How many items a batch has at most.
    pub(crate) fn max_batch_size(&self) -> usize {
        let default = || DEFAULT_BATCH_SIZE.min(self.largest_batch()).max(1);
        self.max_batch_size.unwrap_or_else(default)
    }

    /// A quarter of the capacity may lie idle in lanes; the rest must be able to fill a batch.
    fn largest_batch(&self) -> usize {
        self.capacity - self.capacity / 4
    }

    /// Everything that is wrong, in the order of the settings.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        // A thread gets it, too.
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
        let (size, fills) = (self.max_batch_size, self.largest_batch());
        let fits = |size: &usize| (1..=fills).contains(size) || *size == usize::MAX;
        if let Some(size) = size.filter(|size| !fits(size)) {
            found.push(Violation {
                field: "max_batch_size",
                value: size.to_string(),
                bound: format!(
                    "from 1 to {fills} (capacity less a quarter), or usize::MAX for no limit"
                ),
            });
        }
        if self.max_delay > LONGEST {
            found.push(Violation {
                field: "max_delay",
                value: format!("{:?}", self.max_delay),
                bound: "from zero (adaptive) to 365 days".to_owned(),
            });
        }
        let workers = self.partitions.unwrap_or(MOST_PARTITIONS);
        if self.max_in_flight == 0 || self.max_in_flight > workers {
            found.push(Violation {
                field: "max_in_flight",
                value: self.max_in_flight.to_string(),
                bound: format!("from 1 to the number of partitions, at most {workers}"),
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
            max_batch_size: Some(1),
            ..Settings::default()
        };
        assert_eq!(settings.violations(), []);
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
