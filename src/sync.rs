//! The facade that chooses between `std` and loom: the one place that knows which of them the crate
//! runs on. Nothing else names `std::sync` or loom.
//!
//! Both halves export the same names. The loom half is built for the models only, with
//! `--cfg swaplane_loom`, and says of each stand-in what it leaves out.

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
pub(crate) use ::std::sync::atomic::Ordering;
/// For what no model runs: user code, closures, and trait objects, which loom's cannot hold.
pub(crate) use ::std::sync::{Arc as StdArc, mpsc};
