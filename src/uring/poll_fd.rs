//! One descriptor that tells a foreign loop (epoll, poll, GLib, libuv, Asio) when a `run` has
//! something to do: an epoll instance over an eventfd and a timerfd. Touched by the owning thread.
//!
//! ```text
//!  completions --> IORING_REGISTER_EVENTFD --> eventfd ------+
//!  what a run has left over -----------------> eventfd ------+
//!  other threads' wakes ---------------------> wake eventfd -+--> epoll
//!  the nearest deadline ---------------------> timerfd ------+
//! ```
//!
//! The ring's own descriptor does not tell: with deferred task work a completion appears in the
//! queue only once the owner asks. It does where that is not so (before 5.19), and stands there
//! for the eventfd, which a kernel before 5.18 registers only while nothing is in flight. Nor does
//! the ring's poll on the wake eventfd do for the wakes: an eventfd that is written by the write
//! to another is written by a kernel thread, some 30 ms later (6.18).
//!
//! All are level-triggered in here. What a run leaves over is written again, so there is an edge
//! as well: a loop that watches the descriptor edge-triggered (Asio does) misses nothing.

use std::cell::Cell;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::error::Errno;
use crate::sys::eventfd::{EventFd, Waker};
use crate::sys::timerfd::TimerFd;

pub(super) struct PollFd {
    epoll: OwnedFd,
    /// The kernel object's.
    wakes: Waker,
    eventfd: EventFd,
    timer: TimerFd,
    /// The deadline that the timer is set to; `u64::MAX`: it is not.
    armed_ns: Cell<u64>,
}

impl PollFd {
    /// EXPENSIVE. `wakes` outlives it.
    pub(super) fn new(wakes: Waker) -> Result<Self, Errno> {
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: a descriptor just made, which nobody else owns.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let (eventfd, timer) = (EventFd::new()?, TimerFd::new()?);
        let made = Self { epoll, wakes, eventfd, timer, armed_ns: Cell::new(u64::MAX) };
        made.watch(made.wakes.eventfd)?;
        made.watch(made.eventfd.fd())?;
        made.watch(made.timer.fd())?;
        Ok(made)
    }

    /// Readable while `fd` is.
    pub(super) fn watch(&self, fd: i32) -> Result<(), Errno> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        // SAFETY: reads an event of our own.
        let rc =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) };
        if rc < 0 {
            return Err(Errno::last());
        }
        Ok(())
    }

    pub(super) fn fd(&self) -> i32 {
        self.epoll.as_raw_fd()
    }

    /// What the ring is to write to.
    pub(super) fn eventfd(&self) -> i32 {
        self.eventfd.fd()
    }

    /// Not readable any more, except for the timer.
    pub(super) fn take(&self) {
        self.eventfd.take();
        // The ring's poll does not miss it: see `wakeup`.
        self.wakes.take();
    }

    /// Readable at once, with an edge.
    pub(super) fn kick(&self) {
        self.eventfd.waker().wake();
    }

    /// Readable from that time on; `None`: not by time. A system call only if that changes.
    pub(super) fn set_deadline(&self, boot_ns: Option<u64>) {
        let at_ns = boot_ns.unwrap_or(u64::MAX);
        if self.armed_ns.replace(at_ns) != at_ns {
            // Cannot fail: the descriptor and the time are good.
            let _ = match boot_ns {
                Some(at_ns) => self.timer.set(at_ns),
                None => self.timer.clear(),
            };
        }
    }
}
