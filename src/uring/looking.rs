//! A sleep under Valgrind, whose older versions (3.19 does) hold their lock while a thread is in
//! `io_uring_enter`: no other thread would run, and maybe none that ends the sleep. In `poll` they
//! give it away.

use super::kernel::Wait;
use super::ring::Ring;
use crate::error::Errno;
use crate::sys::clock::left_ns;

/// Whatever a kernel says, or does not, of a ring's descriptor.
const LOOK_EVERY_MS: u64 = 10;

impl Ring {
    /// As `enter_until`.
    #[cold]
    #[inline(never)]
    pub(super) fn enter_looking(&self, to_submit: u32, wait: Wait) -> Result<(), Errno> {
        self.enter_now(to_submit)?;
        while self.visible() == 0 {
            let left_ms = match wait {
                Wait::Until { boot_ns } => left_ns(boot_ns).div_ceil(1_000_000),
                Wait::No | Wait::Forever => LOOK_EVERY_MS,
            };
            if left_ms == 0 {
                break;
            }
            let mut ring = libc::pollfd { fd: self.fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one descriptor, of this call.
            let found = unsafe { libc::poll(&mut ring, 1, left_ms.min(LOOK_EVERY_MS) as i32) };
            if found < 0 {
                return Err(Errno::last());
            }
            // What it has not taken so far is offered again.
            self.enter_now(self.sq_pending())?;
        }
        Ok(())
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::super::kernel::{op, Kernel, Sqe};
    use super::super::{mask, RealKernel, RingOptions};
    use super::*;
    use crate::sys::clock::boot_ns;
    use crate::sys::eventfd::EventFd;

    /// It waited for ever for what it had handed over, with the rest in the queue.
    #[test]
    fn what_the_kernel_did_not_take_is_offered_again() {
        let options = RingOptions { entries: 4, mask: mask::TAKES_FEW, ..Default::default() };
        let Ok(kernel) = RealKernel::new(&options) else {
            println!("skipped: no io_uring here");
            return;
        };
        let silent = EventFd::new().unwrap();
        let events = libc::POLLIN as u32;
        for sqe in [
            Sqe::new(op::POLL_ADD, silent.fd(), 0, 0, 0, events),
            Sqe::new(op::POLL_ADD, silent.fd(), 0, 0, 0, events),
            Sqe::new(op::NOP, -1, 0, 0, 0, 0),
        ] {
            // SAFETY: refers to no memory.
            unsafe { kernel.push(&sqe) };
        }
        let ring = kernel.ring().unwrap();
        let until = Wait::Until { boot_ns: boot_ns() + 10_000_000_000 };
        ring.enter_looking(ring.sq_pending(), until).unwrap();
        assert_eq!(ring.visible(), 1);
    }
}
