//! A timer of the boot-time clock that is a descriptor. Set by the time left, which is the same in
//! every time namespace.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::clock::{left_ns, NS_PER_S};
use crate::error::Errno;

/// Non-blocking, close-on-exec.
pub struct TimerFd(OwnedFd);

impl TimerFd {
    pub(crate) fn new() -> Result<Self, Errno> {
        // SAFETY: no memory is passed.
        let fd = unsafe {
            libc::timerfd_create(libc::CLOCK_BOOTTIME, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: a descriptor just made, which nobody else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(crate) fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Readable from that time on, and not before: what it had to report is taken back.
    pub(crate) fn set(&self, boot_ns: u64) -> Result<(), Errno> {
        // All zeroes would disarm it, where 0 means "at once".
        self.set_left(left_ns(boot_ns).max(1))
    }

    /// Not readable until it is set again.
    pub(crate) fn clear(&self) -> Result<(), Errno> {
        self.set_left(0)
    }

    fn set_left(&self, left_ns: u64) -> Result<(), Errno> {
        let spec = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec {
                tv_sec: (left_ns / NS_PER_S) as libc::time_t,
                tv_nsec: (left_ns % NS_PER_S) as libc::c_long,
            },
        };
        // SAFETY: reads an itimerspec of our own; the old one is not asked for.
        let rc = unsafe { libc::timerfd_settime(self.fd(), 0, &spec, std::ptr::null_mut()) };
        if rc < 0 {
            return Err(Errno::last());
        }
        Ok(())
    }
}
