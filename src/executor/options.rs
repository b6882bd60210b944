//! What an executor can be asked to be.

use crate::error::{Errno, Res};

/// `MONAD_ASYNC_EXECUTOR_NO_TIME_TRACKING`
pub const NO_TIME_TRACKING: u32 = 1;

/// Nanoseconds of a relative `struct timespec`; EINVAL where it is none.
pub(crate) fn timespec_ns(ts: &libc::timespec) -> Res<u64> {
    if ts.tv_sec < 0 || !(0..1_000_000_000).contains(&ts.tv_nsec) {
        return Err(Errno(libc::EINVAL));
    }
    Ok((ts.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(ts.tv_nsec as u64))
}
