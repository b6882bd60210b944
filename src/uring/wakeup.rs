//! What makes a sleeping ring wake up: the eventfd, the poll on it that is kept in flight, and what
//! takes the poll's place once a drain forbids one. The rules are numbered in `ring.rs`.
//!
//! ```text
//!                  push_poll                        completion without MORE
//!        Idle ------------------> InFlight ---------------------------------> Idle
//!                                    |  a drain begins: cancelled or made to complete,
//!                                    |  which ends in that same completion
//! ```
//!
//! The multishot poll stays for ever and completes once for every burst of wakes; nobody reads the
//! eventfd then, since the poll answers to the write and not to the counter (saturation: see
//! `Waker::wake`). The one-shot poll answers to the counter, so it is read before a new poll.

use std::cell::Cell;

use io_uring::types::{CancelBuilder, Timespec};

use super::kernel::{Cqe, Sqe, Wait};
use super::ring::{soon, Ring, FIRST_RESERVED_USER_DATA};
use crate::error::Errno;
use crate::sys::eventfd::EventFd;

/// Completions of the poll.
const WAKE: u64 = FIRST_RESERVED_USER_DATA;
/// Carried by nothing.
pub(super) const NOBODY: u64 = WAKE + 1;

pub(super) struct Wakeup {
    eventfd: EventFd,
    pub(super) multishot: Cell<bool>,
    in_flight: Cell<bool>,
    woken: Cell<bool>,
    /// A drain was pushed. Stays: that the drain is over, and nothing is held back any more, is not
    /// to be found out. Linux 6.16 and later may hold back an entry that comes long after the drain,
    /// until all that is in flight has ended, and even where that had been held back for the drain
    /// itself. No-ops behind the drain that tell when it is over were tried: they complete, and the
    /// poll that was armed then held back whatever was pushed in the meantime, for ever.
    draining: Cell<bool>,
    /// Before 6.0, or forbidden.
    no_cancel_now: Cell<bool>,
    /// The kernel signals the eventfd for every completion.
    signalled: Cell<bool>,
}

impl Wakeup {
    pub(super) fn new() -> Result<Self, Errno> {
        Ok(Self {
            eventfd: EventFd::new()?,
            multishot: Cell::new(true),
            in_flight: Cell::new(false),
            woken: Cell::new(false),
            draining: Cell::new(false),
            no_cancel_now: Cell::new(false),
            signalled: Cell::new(false),
        })
    }

    pub(super) fn eventfd(&self) -> &EventFd {
        &self.eventfd
    }

    pub(super) fn multishot(&self) -> bool {
        self.multishot.get()
    }

    /// Rule 3: whether to stay awake this time.
    pub(super) fn take_woken(&self) -> bool {
        self.woken.replace(false)
    }

    /// Rule 4.
    #[inline]
    pub(super) fn draining(&self) -> bool {
        self.draining.get()
    }
}

impl Ring {
    pub(super) fn push_poll(&self) {
        const POLL_ADD: u8 = 6;
        const POLL_ADD_MULTI: u32 = 1;
        let multi = if self.wakeup.multishot() { POLL_ADD_MULTI } else { 0 };
        let fd = self.wakeup.eventfd.fd();
        let mut sqe = Sqe::new(POLL_ADD, fd, 0, 0, multi, libc::POLLIN as u32);
        sqe.set_user_data(WAKE);
        // SAFETY: a poll refers to no memory; the kernel holds on to the eventfd's file.
        unsafe { self.push(&sqe) };
        self.wakeup.in_flight.set(true);
    }

    /// IORING_REGISTER_SYNC_CANCEL: a cancellation that takes no entry. Does not wait for what
    /// cannot be stopped any more.
    pub(super) fn cancel_now(&self, user_data: u64) -> Result<(), Errno> {
        let which = CancelBuilder::user_data(user_data);
        let cancelled = self.submitter().register_sync_cancel(Some(Timespec::new()), which);
        cancelled.map_err(Errno::from).inspect_err(|e| {
            if matches!(e.0, libc::EINVAL | libc::EPERM | libc::EACCES | libc::ENOSYS) {
                self.wakeup.no_cancel_now.set(true);
            }
        })
    }

    /// Rules 2 and 4.
    pub(super) fn sleep(&self, wait: Wait) -> Result<(), Errno> {
        if self.wakeup.draining() {
            return self.sleep_without_poll(wait);
        }
        if !self.wakeup.in_flight.get() {
            if self.sq_space() == 0 {
                self.collect()?;
                if self.sq_space() == 0 {
                    return Err(Errno(libc::EAGAIN));
                }
            }
            self.push_poll();
        }
        self.enter_until(self.sq_pending(), wait)
    }

    /// A completion of ours. `satisfied`: the `enter` that would have slept and saw it is over.
    #[cold]
    pub(super) fn reserved_completed(&self, cqe: Cqe, satisfied: bool) {
        const CQE_F_MORE: u32 = 1 << 1;
        let wakeup = &self.wakeup;
        debug_assert_eq!(cqe.user_data, WAKE);
        let mut woken = !satisfied;
        if cqe.flags & CQE_F_MORE == 0 {
            wakeup.in_flight.set(false);
        }
        if !wakeup.multishot() {
            // A new poll would find the counter above zero for ever. This completion stands for one
            // write; more were later ones, which no `enter` has returned for yet.
            woken |= wakeup.eventfd.drain() > 1;
        }
        if woken {
            wakeup.woken.set(true);
        }
    }

    /// False where `cancel_now` is no way out: then cancel requests go as entries all the same.
    pub(super) fn holds_back(&self) -> bool {
        self.wakeup.draining() && !self.wakeup.no_cancel_now.get()
    }

    /// An entry with IOSQE_IO_DRAIN was pushed (rule 4).
    #[cold]
    pub(super) fn drain_pushed(&self) {
        self.wakeup.draining.set(true);
    }

    /// Before every submission while draining. The poll must go; when does not matter, since the
    /// kernel holds the drain back until it has.
    #[cold]
    pub(super) fn drain_step(&self) {
        let wakeup = &self.wakeup;
        if wakeup.in_flight.get() {
            if wakeup.multishot() {
                // ENOENT: it has just ended, or is still in the queue; then the next step will do.
                let _ = self.cancel_now(WAKE);
            } else {
                wakeup.eventfd.waker().wake();
            }
        }
    }

    /// Sleeps on the eventfd alone, which the kernel signals for every completion from then on. Polling
    /// the ring's own descriptor would not do: under DEFER_TASKRUN, what completes on one of the
    /// kernel's workers does not wake those who poll it (seen on 6.18).
    ///
    /// Nothing is lost: what completes after `collect` finds the kernel's list empty, and signals;
    /// what `collect` left in the list shows in `needs_enter`.
    fn sleep_without_poll(&self, wait: Wait) -> Result<(), Errno> {
        let wakeup = &self.wakeup;
        if !wakeup.signalled.get() {
            let registered = self.submitter.register_eventfd(wakeup.eventfd.fd());
            wakeup.signalled.set(registered.is_ok());
        }
        self.collect()?;
        if self.visible() != 0 || self.needs_enter() {
            return Ok(());
        }
        if !wakeup.signalled.get() {
            // A policy that lets us have a ring and not this. Then we look every so often.
            return self.enter_until(0, soon(wait));
        }
        wakeup.eventfd.wait(match wait {
            Wait::No => Some(0),
            Wait::Until { boot_ns } => Some(boot_ns),
            Wait::Forever => None,
        })?;
        wakeup.eventfd.drain();
        self.collect()
    }
}
