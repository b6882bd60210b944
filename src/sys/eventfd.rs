//! Ending an executor's sleep from another thread or a signal handler: an eventfd, and the one call
//! that writes to it; or a word that its thread sleeps on.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use super::futex;
use crate::atomic::{AtomicU32, Ordering};
use crate::error::Errno;

/// How another thread, or a signal handler, ends an executor's sleep. Async-signal-safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waker {
    /// An eventfd owned by the kernel object; negative: nothing to do (simulation).
    pub eventfd: i32,
    /// A word of the kernel object's that its thread may sleep on instead; null: it never does.
    pub word: *const AtomicU32,
}

// SAFETY: the word is atomic, and who wakes keeps its owner alive.
unsafe impl Send for Waker {}
// SAFETY: as above.
unsafe impl Sync for Waker {}

/// What the word of a [`Waker`] says: whether its thread sleeps on it, and, in steps of `WRITTEN`,
/// how many wakes were or will be written to the eventfd that were not taken from there.
pub mod word {
    pub const ASLEEP: u32 = 1;
    pub const WRITTEN: u32 = 2;
}

impl Waker {
    /// Whose thread sleeps on an eventfd alone.
    pub const fn of_eventfd(eventfd: i32) -> Self {
        Self { eventfd, word: ptr::null() }
    }

    /// ANY THREAD, and signal handlers: one `write`, or one `futex`; no lock, no allocation, errno
    /// preserved.
    ///
    /// Cannot fail while the kernel object lives. `EAGAIN` says that the counter is saturated
    /// (2^64 - 2, at one wake a nanosecond after 584 years): then it is readable, which is all that
    /// a wake is for.
    pub fn wake(self) {
        // SAFETY: null, or a word of the kernel object's, which the thread that wakes keeps alive.
        if !unsafe { self.word.as_ref() }.is_some_and(wake_word) {
            self.write();
        }
    }

    /// As `wake`, by the eventfd alone.
    pub(crate) fn write(self) {
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
        let count = self.read();
        // SAFETY: as in `wake`.
        if let (Some(word), true) = (unsafe { self.word.as_ref() }, count != 0) {
            // What was written was counted before. Acquire: what the wakes were for.
            word.fetch_sub((count as u32).wrapping_mul(word::WRITTEN), Ordering::Acquire);
        }
        count
    }

    fn read(self) -> u64 {
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

/// False: nobody sleeps on it, and who is about to will not; but it may be on the eventfd.
fn wake_word(at: &AtomicU32) -> bool {
    let address = at.as_ptr() as usize;
    // Release: what the sleeper is woken for.
    let was_asleep = at.fetch_add(word::WRITTEN, Ordering::Release) & word::ASLEEP != 0;
    if was_asleep {
        let saved = errno();
        futex::wake(address);
        set_errno(saved);
    }
    was_asleep
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
