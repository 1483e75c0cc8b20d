//! The facade that chooses between `std` and loom: nothing else imports `std::sync` or loom. A few
//! files have a stand-in of their own for what loom cannot run.
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
