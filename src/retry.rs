//! The retry policy: whether there is another attempt, and when. Pure: it has no clock, and sleeps
//! nowhere.

use std::fmt;
use std::time::Duration;

use crate::error::build::Violation;
use crate::error::check::{LONGEST, duration};
use crate::sink::{Advice, SinkError};
use crate::sync::StdArc as Arc;

/// When a failed attempt is followed by another.
///
/// [`Retry::exponential`] is the default. Its delays are random parts of a limit that grows from
/// 100 ms to 30 s; so many clients of a target that comes back do not come back together (full
/// jitter). It gives a batch up 5 minutes after the first attempt began.
///
/// A closure `Fn(u32, &SinkError) -> Option<Duration>` replaces the policy and all its limits, but
/// [`SinkError::reject`] still gives a batch up at once. The closure gets the number of the attempt
/// that failed, from 1, and returns the delay, or `None` to give the batch up. A closure that
/// panics gives the batch up too. [`Retry::from_fn`] infers the types of its arguments; `into()`
/// needs them annotated.
///
/// ```
/// use std::time::Duration;
/// use swaplane::{Retry, SinkError};
///
/// let five_times = Retry::exponential().max_attempts(5);
/// let steady = Retry::from_fn(|_, _| Some(Duration::from_secs(1)));
/// let policy = |attempt: u32, _: &SinkError| (attempt < 2).then_some(Duration::ZERO);
/// let twice: Retry = policy.into();
/// ```
#[derive(Clone)]
#[must_use]
pub struct Retry(Policy);

#[derive(Clone)]
enum Policy {
    Exponential(Exponential),
    Custom(Arc<Custom>),
}

type Custom = dyn Fn(u32, &SinkError) -> Option<Duration> + Send + Sync;

#[derive(Clone, Debug, PartialEq)]
struct Exponential {
    first_delay: Duration,
    max_delay: Duration,
    factor: f32,
    jitter: bool,
    max_attempts: u32,
    max_elapsed: Duration,
}

impl Retry {
    /// Delays that grow by a factor, with full jitter, bounded by attempts and elapsed time. Values
    /// out of range are refused by the `spawn` of the builder.
    ///
    /// ```
    /// # use std::time::Duration;
    /// // 1 s, 2 s, 4 s, then 5 s each time; none that begins later than a minute after the first.
    /// let retry = swaplane::Retry::exponential()
    ///     .first_delay(Duration::from_secs(1))
    ///     .max_delay(Duration::from_secs(5))
    ///     .jitter(false)
    ///     .max_elapsed(Duration::from_secs(60));
    /// ```
    pub fn exponential() -> Self {
        Self(Policy::Exponential(Exponential {
            first_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(30),
            factor: 2.0,
            jitter: true,
            max_attempts: u32::MAX,
            max_elapsed: Duration::from_secs(5 * 60),
        }))
    }

    /// No retry: one attempt only.
    pub fn never() -> Self {
        Self::exponential().max_attempts(1)
    }

    /// Lets a closure decide, in place of the policy and all its limits; see [`Retry`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// let retry = swaplane::Retry::from_fn(|attempt, _error| {
    ///     (attempt < 3).then_some(Duration::from_secs(1))
    /// });
    /// ```
    pub fn from_fn<F>(policy: F) -> Self
    where
        F: Fn(u32, &SinkError) -> Option<Duration> + Send + Sync + 'static,
    {
        Self(Policy::Custom(Arc::new(policy)))
    }

    /// The limit of the first delay: 100 ms by default, longer than zero, at most
    /// [`max_delay`](Self::max_delay). Neither this setter nor those below change a closure.
    pub fn first_delay(self, delay: Duration) -> Self {
        self.set(|policy| policy.first_delay = delay)
    }

    /// The limit of every delay: 30 s by default, longer than zero, at most 365 days.
    pub fn max_delay(self, delay: Duration) -> Self {
        self.set(|policy| policy.max_delay = delay)
    }

    /// The factor by which the limit grows from one delay to the next: 2 by default, at least 1.
    pub fn factor(self, factor: f32) -> Self {
        self.set(|policy| policy.factor = factor)
    }

    /// Whether a delay is a random part of its limit, which is the default, or all of it.
    pub fn jitter(self, jitter: bool) -> Self {
        self.set(|policy| policy.jitter = jitter)
    }

    /// How many attempts there are at most, the first one included: unlimited by default, at least
    /// 1.
    pub fn max_attempts(self, attempts: u32) -> Self {
        self.set(|policy| policy.max_attempts = attempts)
    }

    /// How long after the start of the first attempt another one may begin: 5 minutes by default,
    /// longer than zero, at most 365 days.
    pub fn max_elapsed(self, elapsed: Duration) -> Self {
        self.set(|policy| policy.max_elapsed = elapsed)
    }

    fn set(mut self, change: impl FnOnce(&mut Exponential)) -> Self {
        if let Policy::Exponential(policy) = &mut self.0 {
            change(policy);
        }
        self
    }

    /// How long to wait after attempt number `attempt`, which failed `elapsed` after the first one
    /// began. Returns `None` to give up. `random` yields a number in `0.0..1.0`.
    pub(crate) fn next(
        &self,
        attempt: u32,
        elapsed: Duration,
        error: &SinkError,
        random: impl FnOnce() -> f64,
    ) -> Option<Duration> {
        if error.advice() == Advice::Reject {
            return None;
        }
        match &self.0 {
            Policy::Custom(policy) => policy(attempt, error).map(|delay| delay.min(LONGEST)),
            Policy::Exponential(policy) => {
                let delay = match error.advice() {
                    Advice::RetryAfter(delay) => delay.min(LONGEST),
                    _ => policy.delay(attempt, random),
                };
                let in_time = elapsed
                    .checked_add(delay)
                    .is_some_and(|at| at <= policy.max_elapsed);
                (attempt < policy.max_attempts && in_time).then_some(delay)
            }
        }
    }

    pub(crate) fn violations(&self, found: &mut Vec<Violation>) {
        let Policy::Exponential(policy) = &self.0 else {
            return;
        };
        let mut refuse = |field, value: String, bound: &str| {
            found.push(Violation {
                field,
                value,
                bound: bound.to_owned(),
            });
        };
        if !(1.0..=f32::MAX).contains(&policy.factor) {
            let bound = "a finite number of at least 1";
            refuse("retry.factor", policy.factor.to_string(), bound);
        }
        if policy.max_attempts == 0 {
            let bound = "at least 1: it counts the first attempt";
            refuse("retry.max_attempts", 0.to_string(), bound);
        }
        duration("retry.first_delay", policy.first_delay, found);
        duration("retry.max_delay", policy.max_delay, found);
        duration("retry.max_elapsed", policy.max_elapsed, found);
        if policy.first_delay > policy.max_delay {
            found.push(Violation {
                field: "retry.first_delay",
                value: format!("{:?}", policy.first_delay),
                bound: format!("at most retry.max_delay ({:?})", policy.max_delay),
            });
        }
    }
}

impl Exponential {
    fn delay(&self, attempt: u32, random: impl FnOnce() -> f64) -> Duration {
        // In floating point, where nothing overflows but into infinity.
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let limit = self.first_delay.as_secs_f64() * f64::from(self.factor).powi(exponent);
        let limit = limit.min(self.max_delay.as_secs_f64());
        let part = if self.jitter { random() } else { 1.0 };
        Duration::from_secs_f64(limit * part)
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::exponential()
    }
}

impl<F> From<F> for Retry
where
    F: Fn(u32, &SinkError) -> Option<Duration> + Send + Sync + 'static,
{
    fn from(policy: F) -> Self {
        Self::from_fn(policy)
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Policy::Exponential(policy) => policy.fmt(f),
            Policy::Custom(_) => f.write_str("Retry(closure)"),
        }
    }
}

#[cfg(all(test, not(swaplane_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failed() -> SinkError {
        "down".into()
    }

    #[test]
    fn delays_double_up_to_the_limit() {
        let retry = Retry::exponential().jitter(false);
        let delays: Vec<_> = (1..=10)
            .filter_map(|attempt| retry.next(attempt, Duration::ZERO, &failed(), || 0.5))
            .map(|delay| delay.as_millis())
            .collect();
        assert_eq!(
            delays,
            [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]
        );
    }

    #[test]
    fn the_sink_may_say_when_and_whether() {
        let retry = Retry::exponential();
        let next = |error: &SinkError| retry.next(1, Duration::ZERO, error, || 0.0);
        let later = SinkError::retry_after("busy", Duration::from_secs(7));
        assert_eq!(next(&later), Some(Duration::from_secs(7)));
        assert_eq!(next(&SinkError::reject("bad")), None);
        let too_late = SinkError::retry_after("busy", Duration::from_secs(301));
        assert_eq!(next(&too_late), None);
    }

    #[test]
    fn a_closure_replaces_all_limits() {
        let retry = Retry::from_fn(|attempt, _| Some(Duration::from_secs(attempt.into())));
        let long = Duration::from_secs(1 << 30);
        let next = retry.next(1_000_000, long, &failed(), || 0.0);
        assert_eq!(next, Some(Duration::from_secs(1_000_000)));
    }

    proptest! {
        #[test]
        fn any_delay_is_within_its_limits(
            attempt in 1..=u32::MAX,
            elapsed in 0..1_000_000_u64,
            factor in 1.0..=f32::MAX,
            random in 0.0..1.0_f64,
        ) {
            let retry = Retry::exponential().factor(factor);
            let elapsed = Duration::from_millis(elapsed);
            if let Some(delay) = retry.next(attempt, elapsed, &failed(), || random) {
                prop_assert!(delay <= Duration::from_secs(30));
                prop_assert!(elapsed + delay <= Duration::from_secs(300));
            }
        }
    }
}
