//! Ending an executor's sleep from another thread or a signal handler: an eventfd, and the one call
//! that writes to it.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::error::Errno;

/// How another thread, or a signal handler, ends an executor's sleep. Async-signal-safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waker {
    /// An eventfd owned by the kernel object; negative: nothing to do (simulation).
    pub eventfd: i32,
}

impl Waker {
    pub const fn of_eventfd(eventfd: i32) -> Self {
        Self { eventfd }
    }

    /// ANY THREAD, and signal handlers: one `write`; no lock, no allocation, errno preserved.
    ///
    /// Cannot fail while the kernel object lives. `EAGAIN` says that the counter is saturated
    /// (2^64 - 2, at one wake a nanosecond after 584 years): then it is readable, which is all that
    /// a wake is for.
    pub fn wake(self) {
        if self.eventfd < 0 {
            return;
        }
        let saved = errno();
        let one = 1u64.to_ne_bytes();
        // SAFETY: writes eight bytes of our own; the descriptor is the kernel object's, which
        // the thread that wakes keeps alive for the call.
        while unsafe { libc::write(self.eventfd, one.as_ptr().cast(), one.len()) } < 0
            && errno() == libc::EINTR
        {}
        set_errno(saved);
    }

    /// THE OWNER. Takes all wakes written so far; how many there were. A function of its own, at
    /// which the local path ends.
    #[inline(never)]
    pub(crate) fn take(self) -> u64 {
        let saved = errno();
        let mut count = [0u8; 8];
        loop {
            // SAFETY: reads at most eight bytes into eight bytes of our own.
            let n = unsafe { libc::read(self.eventfd, count.as_mut_ptr().cast(), count.len()) };
            if n == 8 || errno() != libc::EINTR {
                set_errno(saved);
                // No wake: the bytes are as they were.
                return u64::from_ne_bytes(count);
            }
        }
    }
}

fn errno() -> i32 {
    // SAFETY: the C library's pointer to this thread's errno is valid for the thread's life.
    unsafe { *libc::__errno_location() }
}

fn set_errno(value: i32) {
    // SAFETY: as in `errno`; nothing else on this thread holds a reference to it.
    unsafe { *libc::__errno_location() = value }
}

/// The eventfd behind a [`Waker`]. Every wake adds 1.
pub struct EventFd(OwnedFd);

impl EventFd {
    pub fn new() -> Result<Self, Errno> {
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: a descriptor just made, which nobody else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }

    pub fn waker(&self) -> Waker {
        Waker::of_eventfd(self.fd())
    }

    /// Takes all wakes written so far; how many there were.
    pub fn take(&self) -> u64 {
        self.waker().take()
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn wakes_add_up_and_take_takes_them_all() {
        let e = EventFd::new().unwrap();
        assert_eq!(e.take(), 0);
        e.waker().wake();
        e.waker().wake();
        assert_eq!(e.take(), 2);
        assert_eq!(e.take(), 0);
    }

    #[test]
    fn a_saturated_counter_does_not_block_and_errno_survives() {
        let e = EventFd::new().unwrap();
        let full = (u64::MAX - 1).to_ne_bytes();
        // SAFETY: writes eight bytes of our own.
        assert_eq!(unsafe { libc::write(e.fd(), full.as_ptr().cast(), 8) }, 8);
        set_errno(libc::ENOENT);
        e.waker().wake();
        assert_eq!(errno(), libc::ENOENT);
        assert_eq!(e.take(), u64::MAX - 1);
    }

    #[test]
    fn a_negative_descriptor_is_nobody_to_wake() {
        set_errno(0);
        Waker::of_eventfd(-1).wake();
        assert_eq!(errno(), 0);
    }
}
