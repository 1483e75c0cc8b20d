//! Checks of settings, each with the violation that it finds.

use std::time::Duration;

use crate::error::build::Violation;

/// The longest duration that can be set: `Instant + Duration` has to stay in range.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Finds a count of zero, or of more than `most`.
pub(crate) fn count(field: &'static str, value: usize, most: usize, found: &mut Vec<Violation>) {
    if value == 0 || value > most {
        found.push(Violation {
            field,
            value: value.to_string(),
            bound: format!("from 1 to {most}"),
        });
    }
}

/// Finds a duration of zero, or of more than a year.
pub(crate) fn duration(field: &'static str, value: Duration, found: &mut Vec<Violation>) {
    if value.is_zero() || value > LONGEST {
        found.push(Violation {
            field,
            value: format!("{value:?}"),
            bound: "longer than zero and at most 365 days".to_owned(),
        });
    }
}

/// Finds a number that is no power of two from 2 to `most`.
pub(crate) fn power_of_two(
    field: &'static str,
    value: usize,
    most: usize,
    found: &mut Vec<Violation>,
) {
    if !value.is_power_of_two() || value < 2 || value > most {
        found.push(Violation {
            field,
            value: value.to_string(),
            bound: format!("a power of two from 2 to {most}"),
        });
    }
}
