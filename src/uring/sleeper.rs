//! How a compute-only executor sleeps: on a futex, which wakes soonest; or, when there is a
//! deadline, by `ppoll` on the wake-up eventfd and on a timerfd, as no futex knows the boot-time
//! clock. No io_uring system call is made here, so this works where a sandbox forbids them.

use std::ptr;

use super::kernel::{Wait, Waker};
use crate::atomic::{AtomicU32, Ordering::Acquire};
use crate::error::Errno;
use crate::sys::alloc;
use crate::sys::eventfd::{word, EventFd};
use crate::sys::futex;
use crate::sys::timerfd::TimerFd;

pub(super) struct Sleeper {
    eventfd: EventFd,
    timer: TimerFd,
    /// For `Waker::wake`, which tells by it which of the two sleeps this is. In place.
    word: Box<AtomicU32>,
}

impl Sleeper {
    pub(super) fn new() -> Result<Self, Errno> {
        Ok(Self {
            eventfd: EventFd::new()?,
            timer: TimerFd::new()?,
            word: alloc::try_box(AtomicU32::new(0))?,
        })
    }

    /// Until `Waker::wake`, or for no reason at all. `woke` is called as soon as it has slept: what
    /// it fetches comes together with the word, which who has woken it wrote.
    fn sleep_on_word(&self, woke: &dyn Fn()) {
        match self.word.compare_exchange(0, word::ASLEEP, Acquire, Acquire) {
            Ok(_) => {
                futex::wait(&self.word, word::ASLEEP, None);
                woke();
                // All who saw it asleep have written nothing.
                self.word.swap(0, Acquire);
            }
            // A wake that came since the last sleep, which cannot know how this one sleeps, ends
            // it. Its write may be on its way still: its thread may wait for this processor, and
            // gets it.
            Err(_) => {
                if self.waker().take() == 0 && self.poll(&mut [self.entry()]).is_ok() {
                    self.waker().take();
                }
            }
        }
    }

    pub(super) fn waker(&self) -> Waker {
        Waker { word: &raw const *self.word, ..self.eventfd.waker() }
    }

    /// Wakes written since the last sleep end this one at once: the counter keeps them. A function
    /// of its own, at which the local path ends. `woke` is called after a sleep without a deadline.
    #[inline(never)]
    pub(super) fn sleep(&self, wait: Wait, woke: &dyn Fn()) -> Result<(), Errno> {
        match wait {
            Wait::No => return Ok(()),
            Wait::Until { boot_ns } => self.timer.set(boot_ns)?,
            Wait::Forever => {
                self.sleep_on_word(woke);
                return Ok(());
            }
        }
        let timer = libc::pollfd { fd: self.timer.fd(), ..self.entry() };
        let mut fds = [self.entry(), timer];
        self.poll(&mut fds)?;
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
        let rc = unsafe { libc::ppoll(fds.as_mut_ptr(), count, ptr::null(), ptr::null()) };
        if rc < 0 {
            return Err(Errno::last());
        }
        Ok(())
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::thread;
    use std::time::Duration;

    /// Whoever wakes was interrupted between the word and the write, for a thread of a higher
    /// priority, say: it spun until the write came, which it kept from the processor.
    #[test]
    fn a_write_that_is_on_its_way_is_waited_for() {
        let sleeper = Sleeper::new().unwrap();
        sleeper.word.fetch_add(word::WRITTEN, Relaxed);
        let (waker, written) = (sleeper.eventfd.waker(), AtomicBool::new(false));
        thread::scope(|s| {
            s.spawn(|| {
                thread::sleep(Duration::from_millis(20));
                written.store(true, Relaxed);
                waker.wake();
            });
            sleeper.sleep(Wait::Forever, &|| {}).unwrap();
            assert!(written.load(Relaxed));
            assert_eq!(sleeper.word.load(Relaxed), 0);
        });
    }
}
