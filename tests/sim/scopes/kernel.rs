//! A kernel whose time passes when the executor sleeps and while tasks work, and whose operations
//! do what their script says.

use crate::program::*;
use monad_async::error::Errno;
use monad_async::uring::kernel::{op, Cqe, Kernel, Moment, Sqe, Wait, Waker};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

const F_MORE: u32 = 1 << 1;

struct Flight {
    user_data: u64,
    due_ns: u64,
    more: u8,
    script: usize,
}

#[derive(Default)]
pub struct Sim {
    pub clock_ns: Cell<u64>,
    pub sq_entries: Cell<u32>,
    /// Of each operation that began; its number is the entry's `off`.
    pub scripts: RefCell<Vec<Script>>,
    /// Completions of nobody come among the others.
    pub garbage: Cell<bool>,
    /// By how much the clock is late when it is read for a deadline: see `coarsely`.
    later_ns: Cell<u64>,
    sq: RefCell<VecDeque<Sqe>>,
    flights: RefCell<Vec<Flight>>,
    cq: RefCell<VecDeque<Cqe>>,
}

impl Sim {
    pub fn is_idle(&self) -> bool {
        self.sq.borrow().is_empty() && self.flights.borrow().is_empty()
    }

    pub fn no_unsubmitted(&self) -> bool {
        self.sq.borrow().is_empty()
    }

    fn post(&self, user_data: u64, res: i32, flags: u32) {
        let mut cq = self.cq.borrow_mut();
        if self.garbage.get() {
            let n = 8 * cq.len() as u64;
            let nobody = [0, u64::MAX, n + 2, 0x7f00_dead_0000 | n, user_data ^ (1 << 63)];
            let user_data = nobody[(self.clock_ns.get() / 3 % 5) as usize];
            cq.push_back(Cqe { user_data, res, flags });
        }
        cq.push_back(Cqe { user_data, res, flags });
    }

    fn take(&self, sqe: Sqe) {
        if sqe.opcode() == op::ASYNC_CANCEL {
            let res = self.cancel(sqe.addr());
            return self.post(sqe.user_data(), res, 0);
        }
        let n = sqe.off() as usize;
        let script = self.scripts.borrow()[n];
        if script.trouble.0 != 0 {
            self.scripts.borrow_mut()[n].trouble.0 -= 1;
            return self.post(sqe.user_data(), -script.trouble.1, 0);
        }
        let (due_ns, more) = (script.due_ns, script.more);
        let flight = Flight { user_data: sqe.user_data(), due_ns, more, script: n };
        self.flights.borrow_mut().push(flight);
    }

    fn cancel(&self, user_data: u64) -> i32 {
        let mut flights = self.flights.borrow_mut();
        let Some(at) = flights.iter().position(|f| f.user_data == user_data) else {
            return -libc::ENOENT;
        };
        let script = self.scripts.borrow()[flights[at].script];
        match script.on_cancel {
            _ if flights[at].due_ns <= self.clock_ns.get() && script.end != End::Never => {
                -libc::EALREADY
            }
            OnCancel::Ends(errno) => {
                let flight = flights.remove(at);
                self.post(flight.user_data, -errno, 0);
                0
            }
            OnCancel::Crosses => {
                let flight = flights.remove(at);
                self.post(flight.user_data, res(script.end), 0);
                -libc::ENOENT
            }
            OnCancel::Loses => {
                if script.end == End::Never {
                    flights[at].due_ns = script.after_all(self.clock_ns.get());
                    flights[at].more = 0;
                }
                -libc::EALREADY
            }
        }
    }

    /// What is due ends, in order.
    fn pump(&self) {
        let mut flights = self.flights.borrow_mut();
        while let Some(at) = (0..flights.len()).min_by_key(|&i| flights[i].due_ns) {
            let flight = &mut flights[at];
            if flight.due_ns > self.clock_ns.get() {
                return;
            }
            let end = self.scripts.borrow()[flight.script].end;
            if flight.more == 0 {
                let flight = flights.remove(at);
                self.post(flight.user_data, res(end), 0);
                continue;
            }
            flight.more -= 1;
            let last = flight.more == 0 && end == End::Never;
            flight.due_ns = if last { u64::MAX } else { flight.due_ns + 2 * SLOT_NS };
            let (user_data, more) = (flight.user_data, flight.more);
            self.post(user_data, 1 << more, F_MORE);
        }
    }
}

fn res(end: End) -> i32 {
    match end {
        End::Full(value) => value,
        End::Errno(e) => -e,
        End::Never => 0,
    }
}

impl Kernel for Sim {
    fn has_ring(&self) -> bool {
        true
    }
    fn sq_space(&self) -> u32 {
        self.sq_entries.get() - self.sq.borrow().len() as u32
    }
    fn sq_pending(&self) -> u32 {
        self.sq.borrow().len() as u32
    }
    unsafe fn push(&self, sqe: &Sqe) {
        assert_ne!(self.sq_space(), 0);
        self.sq.borrow_mut().push_back(*sqe);
    }
    fn pop(&self) -> Option<Cqe> {
        self.pump();
        self.cq.borrow_mut().pop_front()
    }
    fn needs_enter(&self) -> bool {
        false
    }
    fn enter(&self, wait: Wait) -> Result<(), Errno> {
        let entries = std::mem::take(&mut *self.sq.borrow_mut());
        entries.into_iter().for_each(|sqe| self.take(sqe));
        let until_ns = match wait {
            Wait::No => return Ok(()),
            Wait::Until { boot_ns } => boot_ns,
            Wait::Forever => u64::MAX,
        };
        self.pump();
        if self.cq.borrow().is_empty() {
            let due_ns = self.flights.borrow().iter().map(|f| f.due_ns).min();
            let next_ns = until_ns.min(due_ns.unwrap_or(u64::MAX));
            assert_ne!(next_ns, u64::MAX, "nothing would ever end this sleep");
            self.clock_ns.set(self.clock_ns.get().max(next_ns));
            self.pump();
        }
        Ok(())
    }
    fn now_boot_ns(&self) -> u64 {
        self.clock_ns.get()
    }
    fn stamp(&self) -> u64 {
        self.clock_ns.get()
    }
    /// By a counter that is as fast as the executor must expect: what is not early by it never is.
    fn ns_since(&self, stamp: u64) -> u64 {
        let ns = self.stamp() - stamp;
        ns + ns / 511
    }
    fn coarse_from_ns(&self) -> u64 {
        COARSE_FROM_NS
    }
    fn note_coarsely(&self, [ns, check]: &Moment) {
        ns.set(self.clock_ns.get());
        check.set(!self.clock_ns.get());
    }
    fn passed_coarsely_ns(&self, [ns, check]: &Moment, _: u64, _: u64) -> u64 {
        assert_eq!(ns.get(), !check.get(), "a moment of another clock");
        let (later_ns, passed_ns) = coarsely(ns.get(), self.clock_ns.get());
        self.later_ns.set(later_ns);
        passed_ns
    }
    fn boot_ns_at(&self, _: u64) -> u64 {
        self.clock_ns.get() + self.later_ns.take()
    }
    fn look_ticks() -> u64 {
        u64::MAX
    }
    fn waker(&self) -> Waker {
        Waker::of_eventfd(-1)
    }
}
