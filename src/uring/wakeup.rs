//! What makes a sleeping ring wake up: the eventfd, and the poll on it that is kept in flight. The
//! rules are numbered in `ring.rs`.
//!
//! ```text
//!                     arm                           completion without MORE
//!        Idle ------------------> InFlight ---------------------------------> Idle
//! ```
//!
//! The multishot poll stays for ever and completes once for every burst of wakes; nobody reads the
//! eventfd then, since the poll answers to the write and not to the counter (saturation: see
//! `Waker::wake`). The one-shot poll answers to the counter, so it is read before a new poll.

use std::cell::Cell;

use super::abi::{cqe, op, poll};
use super::kernel::{Cqe, Sqe, Waker, FIRST_RESERVED_USER_DATA};
use crate::error::Errno;
use crate::sys::eventfd::EventFd;

/// Completions of the poll.
const WAKE: u64 = FIRST_RESERVED_USER_DATA;

pub(super) struct Wakeup {
    eventfd: EventFd,
    multishot: Cell<bool>,
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

    pub(super) fn waker(&self) -> Waker {
        self.eventfd.waker()
    }

    pub(super) fn multishot(&self) -> bool {
        self.multishot.get()
    }

    pub(super) fn set_multishot(&self, multishot: bool) {
        self.multishot.set(multishot);
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.get()
    }

    /// Rule 3: whether to stay awake this time.
    pub(super) fn take_woken(&self) -> bool {
        self.woken.replace(false)
    }

    /// The entry that arms the poll: the caller pushes it. It refers to no memory; the kernel holds
    /// on to the eventfd's file.
    pub(super) fn arm(&self) -> Sqe {
        let multi = if self.multishot() { poll::ADD_MULTI } else { 0 };
        let mut sqe = Sqe::new(op::POLL_ADD, self.eventfd.fd(), 0, 0, multi, libc::POLLIN as u32);
        sqe.set_user_data(WAKE);
        self.in_flight.set(true);
        sqe
    }

    /// A completion with reserved `user_data`. `satisfied`: the `enter` that would have slept and
    /// saw it is over.
    #[cold]
    pub(super) fn completed(&self, cqe: Cqe, satisfied: bool) {
        if cqe.user_data != WAKE {
            return; // Nothing that was pushed here: a message of another ring's, say.
        }
        let mut woken = !satisfied;
        if cqe.flags & cqe::MORE == 0 {
            self.in_flight.set(false);
        }
        if !self.multishot() {
            // A new poll would find the counter above zero for ever. This completion stands for one
            // write; more were later ones, which no `enter` has returned for yet.
            woken |= self.eventfd.take() > 1;
        }
        if woken {
            self.woken.set(true);
        }
    }
}
