//! What a builder refuses.

use std::error::Error;
use std::fmt;

/// What a builder refused: every setting that cannot be used as it is.
///
/// ```
/// let error = swaplane::Queue::<u8>::builder()
///     .own_thread()
///     .capacity(0)
///     .max_batch_size(0)
///     .spawn_fn(|_batch| async { Ok(()) })
///     .unwrap_err();
/// let fields: Vec<_> = error.violations().iter().map(|violation| violation.field).collect();
/// assert_eq!(fields, ["capacity", "max_batch_size"]);
/// println!("{error}"); // names each field with its value and its bound
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    violations: Vec<Violation>,
}

impl BuildError {
    pub(crate) fn new(violations: Vec<Violation>) -> Self {
        Self { violations }
    }

    /// All violations, in the order of the settings.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, violation) in self.violations.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{violation}")?;
        }
        Ok(())
    }
}

impl Error for BuildError {}

/// One setting that cannot be used as it is.
///
/// ```
/// # let builder = swaplane::Queue::<u8>::builder().own_thread();
/// let error = builder.partitions(0).spawn_fn(|_batch| async { Ok(()) }).unwrap_err();
/// let violation = &error.violations()[0];
/// assert_eq!((violation.field, violation.value.as_str()), ("partitions", "0"));
/// assert_eq!(violation.to_string(), "partitions must be from 1 to 4096, got 0");
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Violation {
    /// The setting, as its setter is named; those of [`Retry`](crate::Retry) begin with `retry.`.
    pub field: &'static str,
    /// The value that was set.
    pub value: String,
    /// What the value must be.
    pub bound: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            value,
            bound,
        } = self;
        write!(f, "{field} must be {bound}, got {value}")
    }
}
