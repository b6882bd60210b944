//! How a compute-only executor sleeps: on the word of its mailbox, by a futex, which wakes soonest
//! (`executor::asleep`); or, when there is a deadline, by `ppoll` on the wake-up eventfd and on a
//! timerfd, as no futex knows the boot-time clock. No io_uring system call is made here, so this
//! works where a sandbox forbids them.

use std::io::Error;
use std::ptr;

use super::kernel::{Wait, Waker};
use crate::error::Errno;
use crate::sys::eventfd::EventFd;
use crate::sys::fd::with_errno_kept;
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

    /// Wakes written since the last sleep end this one at once: the counter keeps them. A function
    /// of its own, at which the local path ends.
    #[inline(never)]
    pub(super) fn sleep(&self, wait: Wait) -> Result<(), Errno> {
        let timer = libc::pollfd { fd: self.timer.fd(), ..self.entry() };
        let mut fds = [self.entry(), timer];
        match wait {
            Wait::No => return Ok(()),
            Wait::Until { boot_ns } => {
                self.timer.set(boot_ns)?;
                self.poll(&mut fds)?;
            }
            Wait::Forever => self.poll(&mut fds[..1])?,
        }
        if fds[0].revents != 0 {
            self.waker().take();
        }
        Ok(())
    }

    /// Of the eventfd.
    fn entry(&self) -> libc::pollfd {
        libc::pollfd { fd: self.eventfd.fd(), events: libc::POLLIN, revents: 0 }
    }

    /// Until one of them is readable.
    fn poll(&self, fds: &mut [libc::pollfd]) -> Result<(), Errno> {
        let count = fds.len() as libc::nfds_t;
        // SAFETY: so many entries; no time limit and no signal mask are passed.
        let mut poll = || unsafe { libc::ppoll(fds.as_mut_ptr(), count, ptr::null(), ptr::null()) };
        with_errno_kept(|| if poll() < 0 { Err(Error::last_os_error()) } else { Ok(()) })
            .map_err(Errno::from)
    }
}
