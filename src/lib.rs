//! swaplane
mod barrier;
mod batch;
mod blocking;
mod builder;
mod config;
mod credit;
mod error;
mod flusher;
#[doc(hidden)]
pub mod internals;
mod lane;
mod partition;
mod queue;
mod retry;
mod sink;
mod stats;
mod sync;
mod thread;

pub use batch::{Batch, Reason};
pub use builder::Builder;
pub use error::{
    BuildError, FlushError, PushAllError, PushError, Refused, ReserveError, Violation,
};
pub use queue::{Permit, Queue, ShutdownReport, Writer};
pub use retry::Retry;
pub use sink::{BoxSink, Hook, Sink, SinkError};
pub use stats::Stats;
