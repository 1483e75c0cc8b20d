//! Waking and closing: how a flag reaches every push without a fence in any.
//!
//! A push marks its lane busy, looks at the lane's flags, and clears the mark when it is done.
//! Whoever *raises* a flag sets it in every lane and then runs a barrier, [`Barrier::heavy`].
//! From there on every push sees the flag, except one that is in progress; that one shows as
//! busy. Were the two sides free to reorder "store mine, load yours", both could miss the other.
//!
//! - On Linux the barrier is `membarrier(2)`: the kernel runs a full fence on every processor
//!   that runs a thread of this process, so a push pays a compiler fence, which is nothing.
//! - Elsewhere (other systems, a sandbox that forbids the call, Miri, loom) both sides run a
//!   `SeqCst` fence. Lanes are then born `FENCED`.
//!
//! Which of the two is decided once for each queue, before its first lane is born.

use crate::sync::{broken, fence, full};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// `membarrier(2)`, private and expedited.
    #[cfg(any(all(test, swaplane_loom), all(target_os = "linux", not(miri))))]
    Membarrier,
    /// A fence here and one in each push.
    Fence,
}

impl Barrier {
    /// The best that there is.
    pub(crate) fn new() -> Self {
        #[cfg(all(target_os = "linux", not(miri), not(all(test, swaplane_loom))))]
        if membarrier::register() {
            return Self::Membarrier;
        }
        Self::Fence
    }

    /// Whether pushes have to run a fence of their own.
    pub(crate) fn needs_fences(self) -> bool {
        self == Self::Fence
    }

    /// Orders everything before it before everything after it, as any push sees the two.
    // Pairs with the fences, of the compiler or the processor, in `LaneWriter::set_busy` and
    // `LaneWriter::begin_slow`.
    pub(crate) fn heavy(self) {
        match self {
            #[cfg(all(target_os = "linux", not(miri), not(all(test, swaplane_loom))))]
            Self::Membarrier => membarrier::run(),
            // A fence here too: with it models have both kinds. See `sync::compiler_fence`.
            #[cfg(all(test, swaplane_loom))]
            Self::Membarrier => Self::Fence.heavy(),
            Self::Fence if broken("barrier: no fence") => {}
            Self::Fence => fence(full("barrier: weak fence")),
        }
    }
}

#[cfg(all(target_os = "linux", not(miri), not(all(test, swaplane_loom))))]
mod membarrier {
    use crate::sync::Ordering::{Relaxed, SeqCst};
    use std::time::Duration;

    use rustix::thread::{MembarrierCommand, membarrier};

    use crate::sync::{AtomicBool, OnceLock, fence};

    /// Longer than a store can stay in a store buffer, by orders of magnitude.
    const SETTLE: Duration = Duration::from_millis(5);

    /// Registers the process, once. Whether the call is to be had.
    pub(super) fn register() -> bool {
        static REGISTERED: OnceLock<bool> = OnceLock::new();
        *REGISTERED.get_or_init(|| {
            membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
                && membarrier(MembarrierCommand::PrivateExpedited).is_ok()
        })
    }

    pub(super) fn run() {
        static FAILED: AtomicBool = AtomicBool::new(false);
        if !FAILED.load(Relaxed) {
            let Err(error) = membarrier(MembarrierCommand::PrivateExpedited) else {
                return;
            };
            FAILED.store(true, Relaxed);
            tracing::warn!(
                %error,
                "membarrier(2) worked at start and fails now (a sandbox entered since?); \
                 waking and closing will take {SETTLE:?} longer"
            );
        }
        // Pushes run no fence. But a store that has not become visible for this long, while
        // its thread went on, is not to be had on any processor.
        fence(SeqCst);
        std::thread::sleep(SETTLE);
    }
}

#[cfg(all(test, not(swaplane_loom)))]
mod tests {
    use super::Barrier;

    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn linux_has_the_expedited_barrier_or_falls_back() {
        let barrier = Barrier::new();
        assert_eq!(barrier.needs_fences(), barrier == Barrier::Fence);
        barrier.heavy();
    }

    #[test]
    fn the_fence_is_always_to_be_had() {
        assert!(Barrier::Fence.needs_fences());
        Barrier::Fence.heavy();
    }
}
