//! What makes a sleeping ring wake up: the eventfd, and the poll on it that is kept in flight. The
//! rules are numbered in `ring.rs`.
//!
//! ```text
//!                  push_poll                        completion without MORE
//!        Idle ------------------> InFlight ---------------------------------> Idle
//! ```
//!
//! The multishot poll stays for ever and completes once for every burst of wakes; nobody reads the
//! eventfd then, since the poll answers to the write and not to the counter (saturation: see
//! `Waker::wake`). The one-shot poll answers to the counter, so it is read before a new poll.

use std::cell::Cell;

use super::kernel::{Cqe, Sqe, Wait};
use super::ring::{Ring, FIRST_RESERVED_USER_DATA};
use crate::error::Errno;
use crate::sys::eventfd::EventFd;

/// Completions of the poll.
const WAKE: u64 = FIRST_RESERVED_USER_DATA;

pub(super) struct Wakeup {
    eventfd: EventFd,
    pub(super) multishot: Cell<bool>,
    in_flight: Cell<bool>,
    woken: Cell<bool>,
}

impl Wakeup {
    pub(super) fn new() -> Result<Self, Errno> {
        Ok(Self {
            eventfd: EventFd::new()?,
            multishot: Cell::new(true),
            in_flight: Cell::new(false),
            woken: Cell::new(false),
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

    /// Rule 2.
    pub(super) fn sleep(&self, wait: Wait) -> Result<(), Errno> {
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
            woken |= wakeup.eventfd.take() > 1;
        }
        if woken {
            wakeup.woken.set(true);
        }
    }
}
