//! The guide: what swaplane promises, and how it works.
//!
//! - [`contract`]: the promises, and where they end; the trade-offs.
//! - [`internals`]: lanes, capacity, the flusher, batches and maps; what each of them costs.

#[doc = include_str!("guide/contract.md")]
///
/// # See also
///
/// [`Queue`](crate::Queue), [`Map`](crate::Map), [`Sink`](crate::Sink), [`Batch`](crate::Batch),
/// [`Retry`](crate::Retry), [`Builder`](crate::Builder),
/// [`ShutdownReport`](crate::ShutdownReport) and [`Stats`](crate::Stats).
pub mod contract {}

#[doc = include_str!("guide/internals.md")]
pub mod internals {}
