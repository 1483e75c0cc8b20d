//! The one place that knows whether we run on `std` or under loom: nothing else in the crate
//! names `std::sync`, `loom` or `arc_swap`.
//!
//! Both halves export the same names. The loom half is built with `--cfg swaplane_loom` only,
//! and says of each stand-in what it keeps and what it leaves out.

#[cfg(all(test, swaplane_loom))]
mod loom;
mod mutant;
#[cfg(not(all(test, swaplane_loom)))]
mod mutex;
#[cfg(not(all(test, swaplane_loom)))]
mod std;

#[cfg(all(test, swaplane_loom))]
pub(crate) use self::loom::*;
pub(crate) use self::mutant::*;
#[cfg(not(all(test, swaplane_loom)))]
pub(crate) use self::mutex::Mutex;
#[cfg(not(all(test, swaplane_loom)))]
pub(crate) use self::std::*;
/// For what no model runs: user code, closures, trait objects (which loom's cannot hold).
pub(crate) use ::std::sync::{Arc as StdArc, mpsc};

pub(crate) use ::std::sync::atomic::Ordering;
