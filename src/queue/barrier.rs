//! How a flag reaches every push without a fence in any of them: an asymmetric barrier.
//!
//! # Path of a push
//! The push sets the busy flag of its lane, looks at the lane's flags, and clears the busy flag at
//! its end.
//!
//! # Path of a flag
//! Whoever raises a flag sets it in every lane and then runs [`Barrier::heavy`]. From then on every
//! push sees the flag, except a push in progress; and that one shows as busy. If both sides were
//! free to reorder "store mine, load yours", both could miss the other.
//!
//! # Two barriers
//! - **`membarrier(2)`**, on Linux: the kernel runs a full fence on every processor that runs a
//!   thread of this process. A push pays a compiler fence, which is no instruction.
//! - **Fences**, elsewhere (other systems, a sandbox that forbids the call, Miri, loom): both sides
//!   run a `SeqCst` fence. The flag FENCED then sends every push to the slow path, which has it.
//!
//! The choice is made once for each queue, before its first lane is registered.

use crate::sync::{broken, fence, full};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// `membarrier(2)`, private and expedited.
    #[cfg(any(all(test, swaplane_loom), all(target_os = "linux", not(miri))))]
    Membarrier,
    /// A fence here, and one in each push.
    Fence,
}

impl Barrier {
    /// The best barrier that this machine has.
    pub(crate) fn new() -> Self {
        #[cfg(all(target_os = "linux", not(miri), not(all(test, swaplane_loom))))]
        if membarrier::register() {
            return Self::Membarrier;
        }
        Self::Fence
    }

    /// Whether a push has to run a fence of its own.
    pub(crate) fn needs_fences(self) -> bool {
        self == Self::Fence
    }

    /// Orders everything before the call before everything after it, as seen by every push. Costs a
    /// system call, or a fence.
    // Pairs with the fences, of the compiler or the processor, in `LaneWriter::set_busy` and
    // `LaneWriter::begin_slow`.
    pub(crate) fn heavy(self) {
        match self {
            #[cfg(all(target_os = "linux", not(miri), not(all(test, swaplane_loom))))]
            Self::Membarrier => membarrier::run(),
            // Models take the call to be a fence here, and the compiler fence of a push to be one
            // there. See `sync::compiler_fence`.
            #[cfg(all(test, swaplane_loom))]
            Self::Membarrier => Self::Fence.heavy(),
            Self::Fence if broken("barrier: no fence") => {}
            Self::Fence => fence(full("barrier: weak fence")),
        }
    }
}

#[cfg(all(target_os = "linux", not(miri), not(all(test, swaplane_loom))))]
mod membarrier {
    use std::time::Duration;

    use rustix::thread::{MembarrierCommand, membarrier};

    use crate::sync::Ordering::{Relaxed, SeqCst};
    use crate::sync::{AtomicBool, OnceLock, fence};

    /// Longer than a store can stay in a store buffer, by orders of magnitude.
    const SETTLE: Duration = Duration::from_millis(5);

    /// Registers the process, once. Returns whether the call works.
    pub(super) fn register() -> bool {
        static REGISTERED: OnceLock<bool> = OnceLock::new();
        *REGISTERED.get_or_init(|| {
            membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
                && membarrier(MembarrierCommand::PrivateExpedited).is_ok()
        })
    }

    pub(super) fn run() {
        // Relaxed: whoever reads an old value makes the call once more in vain.
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
        // Pushes run no fence. But a store that stays invisible for this long, while its thread
        // goes on, exists on no processor. Not modelled.
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
    fn fences_work_everywhere() {
        assert!(Barrier::Fence.needs_fences());
        Barrier::Fence.heavy();
    }
}
