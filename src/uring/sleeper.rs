//! How a compute-only executor sleeps: `ppoll` on the wake-up eventfd and, only when there is a
//! deadline, on a timerfd of the boot-time clock. No io_uring system call is made here, so this
//! works where a sandbox forbids them.

use super::kernel::{Wait, Waker};
use crate::error::Errno;
use crate::sys::eventfd::EventFd;
use crate::sys::timerfd::TimerFd;

pub(super) struct Sleeper {
    eventfd: EventFd,
    timer: TimerFd,
}

impl Sleeper {
    pub(super) fn new() -> Result<Self, Errno> {
        Ok(Self { eventfd: EventFd::new()?, timer: TimerFd::new()? })
    }

    pub(super) fn waker(&self) -> Waker {
        self.eventfd.waker()
    }

    /// Wakes written since the last sleep end this one at once: the counter keeps them.
    pub(super) fn sleep(&self, wait: Wait) -> Result<(), Errno> {
        let timed = match wait {
            Wait::No => return Ok(()),
            Wait::Until { boot_ns } => {
                self.timer.set(boot_ns)?;
                true
            }
            Wait::Forever => false,
        };
        let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut fds = [entry(self.eventfd.fd()), entry(self.timer.fd())];
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
}
