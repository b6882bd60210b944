//! How a compute-only executor sleeps: `ppoll` on the wake-up eventfd and, only when there is a
//! deadline, on a timerfd of the boot-time clock. No io_uring system call is made here, so this
//! works where a sandbox forbids them.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::kernel::{Wait, Waker};
use crate::error::Errno;
use crate::sys::clock::{left_ns, NS_PER_S};
use crate::sys::eventfd::EventFd;

pub(super) struct Sleeper {
    eventfd: EventFd,
    timer: OwnedFd,
}

impl Sleeper {
    pub(super) fn new() -> Result<Self, Errno> {
        // SAFETY: no memory is passed.
        let fd = unsafe {
            libc::timerfd_create(libc::CLOCK_BOOTTIME, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: a descriptor just made, which nobody else owns.
        let timer = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { eventfd: EventFd::new()?, timer })
    }

    pub(super) fn waker(&self) -> Waker {
        self.eventfd.waker()
    }

    /// Wakes written since the last sleep end this one at once: the counter keeps them.
    pub(super) fn sleep(&self, wait: Wait) -> Result<(), Errno> {
        let timed = match wait {
            Wait::No => return Ok(()),
            Wait::Until { boot_ns } => {
                self.set(boot_ns)?;
                true
            }
            Wait::Forever => false,
        };
        let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut fds = [entry(self.eventfd.fd()), entry(self.timer.as_raw_fd())];
        // A timer left over from an earlier sleep is not looked at when this one has no deadline.
        let n = if timed { 2 } else { 1 };
        // SAFETY: `n` entries of an array of two; no time limit and no signal mask are passed.
        let rc = unsafe { libc::ppoll(fds.as_mut_ptr(), n, std::ptr::null(), std::ptr::null()) };
        if rc < 0 {
            return Err(Errno::last());
        }
        if fds[0].revents != 0 {
            self.eventfd.take();
        }
        Ok(())
    }

    /// Setting a timer also takes back what it had to report before.
    fn set(&self, boot_ns: u64) -> Result<(), Errno> {
        // As the time left, which is the same in every time namespace. All zeroes would disarm it,
        // where 0 means "at once".
        let left_ns = left_ns(boot_ns).max(1);
        let spec = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec {
                tv_sec: (left_ns / NS_PER_S) as libc::time_t,
                tv_nsec: (left_ns % NS_PER_S) as libc::c_long,
            },
        };
        // SAFETY: reads an itimerspec of our own; the old one is not asked for.
        let rc = unsafe {
            libc::timerfd_settime(self.timer.as_raw_fd(), 0, &spec, std::ptr::null_mut())
        };
        if rc < 0 {
            return Err(Errno::last());
        }
        Ok(())
    }
}
