//! What may be chosen about a ring, and what is said where there is none. Touches nothing.

use crate::error::Errno;
use crate::sys::text::Text;

/// What may be chosen about a ring. All zeroes: none, for a compute-only executor.
#[derive(Clone, Copy, Debug, Default)]
pub struct RingOptions {
    /// Submission entries, rounded up to a power of two; 0: no ring, compute only.
    pub entries: u32,
    /// IORING_SETUP_*, from `io_uring_params`.
    pub flags: u32,
    /// With CQSIZE.
    pub cq_entries: u32,
    /// With ATTACH_WQ.
    pub wq_fd: i32,
    /// Kernel threads at most that work for rings of this thread: for files and disks, and for all
    /// else; 0: as the kernel would have it.
    pub max_kernel_workers: [u32; 2],
    /// Places for direct descriptors, all free at first; 0: none.
    pub direct_descriptors: u32,
    /// TEST ONLY: [`mask`](super::mask) bits of what to take for refused by the kernel.
    pub mask: u32,
    /// TEST ONLY: bits of opcodes to take for unknown to the kernel.
    pub lacks: u64,
}

/// Why there is no ring: the errno to return, and one sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateError {
    pub errno: Errno,
    pub text: Text,
}

impl CreateError {
    pub(super) fn invalid(text: Text) -> Self {
        Self { errno: Errno(libc::EINVAL), text }
    }

    /// The kernel is too old for what was asked for.
    pub(super) fn lacking(text: Text) -> Self {
        Self { errno: Errno(libc::EOPNOTSUPP), text }
    }
}
