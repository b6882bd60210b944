//! A kernel whose time passes when the executor sleeps: then operations end, or when a task says
//! so.

use monad_async::error::Errno;
use monad_async::uring::kernel::{op, Cqe, Kernel, Sqe, Wait, Waker};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

const ENTRIES: u32 = 64;
/// In place of a sleep without an end.
pub const NOTHING_COMES: Errno = Errno(libc::EDEADLK);

/// Which operation's, and when it ends.
pub fn entry(number: usize, due_ns: u64, result: i64) -> Sqe {
    Sqe::new(op::READ, number as i32, due_ns, result as u64, 1, 0)
}

#[derive(Default)]
pub struct Sim {
    clock_ns: Cell<u64>,
    sq: RefCell<VecDeque<Sqe>>,
    flights: RefCell<Vec<Sqe>>,
    /// Which operations are to end when the kernel has them.
    hurried: RefCell<Vec<i32>>,
    /// Cancelled; seen when the executor sleeps.
    ended: RefCell<Vec<Cqe>>,
    cq: RefCell<VecDeque<Cqe>>,
}

impl Sim {
    /// That operation ends, if it has begun.
    pub fn complete(&self, number: usize) {
        let is_it = |sqe: &Sqe| is_read(sqe) && sqe.fd() == number as i32;
        if self.flights.borrow().iter().any(is_it) || self.sq.borrow().iter().any(is_it) {
            self.hurried.borrow_mut().push(number as i32);
        }
    }

    /// The task that runs takes its time.
    pub fn passes(&self, ns: u64) {
        self.clock_ns.set(self.clock_ns.get() + ns);
    }

    fn post_hurried(&self) {
        let mut flights = self.flights.borrow_mut();
        let sq = self.sq.borrow();
        self.hurried.borrow_mut().retain(|&number| {
            let found = flights.iter().position(|sqe| sqe.fd() == number);
            found.map(|at| self.post(&flights.remove(at))).is_none()
                && sq.iter().any(|sqe| is_read(sqe) && sqe.fd() == number)
        });
    }

    fn post(&self, sqe: &Sqe) {
        let res = sqe.addr() as i32;
        self.cq.borrow_mut().push_back(Cqe { user_data: sqe.user_data(), res, flags: 0 });
    }

    fn take(&self, sqe: Sqe) {
        if is_read(&sqe) {
            return self.flights.borrow_mut().push(sqe);
        }
        let mut flights = self.flights.borrow_mut();
        let found = flights.iter().position(|of| of.user_data() == sqe.addr());
        let mut ended = self.ended.borrow_mut();
        if let Some(at) = found {
            let user_data = flights.remove(at).user_data();
            ended.push(Cqe { user_data, res: -libc::ECANCELED, flags: 0 });
        }
        let res = if found.is_some() { 0 } else { -libc::ENOENT };
        ended.push(Cqe { user_data: sqe.user_data(), res, flags: 0 });
    }

    fn post_due(&self) {
        let mut flights = self.flights.borrow_mut();
        while let Some(at) = (0..flights.len()).min_by_key(|&i| flights[i].off()) {
            if flights[at].off() > self.clock_ns.get() {
                return;
            }
            self.post(&flights.remove(at));
        }
    }
}

fn is_read(sqe: &Sqe) -> bool {
    sqe.opcode() == op::READ
}

impl Kernel for Sim {
    fn has_ring(&self) -> bool {
        true
    }
    fn sq_space(&self) -> u32 {
        ENTRIES - self.sq.borrow().len() as u32
    }
    fn sq_pending(&self) -> u32 {
        self.sq.borrow().len() as u32
    }
    unsafe fn push(&self, sqe: &Sqe) {
        self.sq.borrow_mut().push_back(*sqe);
    }
    fn pop(&self) -> Option<Cqe> {
        self.post_hurried();
        self.cq.borrow_mut().pop_front()
    }
    fn needs_enter(&self) -> bool {
        false
    }
    fn enter(&self, wait: Wait) -> Result<(), Errno> {
        // What is to end at once does so before a cancel, and in the order in which it was told.
        let entries = std::mem::take(&mut *self.sq.borrow_mut());
        let (reads, cancels): (Vec<Sqe>, Vec<Sqe>) = entries.into_iter().partition(is_read);
        reads.into_iter().for_each(|sqe| self.take(sqe));
        self.post_hurried();
        cancels.into_iter().for_each(|sqe| self.take(sqe));
        let until_ns = match wait {
            Wait::No => return Ok(()),
            Wait::Until { boot_ns } => boot_ns,
            Wait::Forever => u64::MAX,
        };
        self.cq.borrow_mut().extend(self.ended.borrow_mut().drain(..));
        if self.cq.borrow().is_empty() {
            let due_ns = self.flights.borrow().iter().map(|sqe| sqe.off()).min();
            let next_ns = until_ns.min(due_ns.unwrap_or(u64::MAX));
            if next_ns == u64::MAX {
                return Err(NOTHING_COMES);
            }
            self.clock_ns.set(self.clock_ns.get().max(next_ns));
            self.post_due();
        }
        Ok(())
    }
    fn now_boot_ns(&self) -> u64 {
        self.clock_ns.get()
    }
    fn stamp(&self) -> u64 {
        self.clock_ns.get()
    }
    fn ns_since(&self, stamp: u64) -> u64 {
        self.stamp() - stamp
    }
    fn look_ticks() -> u64 {
        u64::MAX
    }
    fn waker(&self) -> Waker {
        Waker::of_eventfd(-1)
    }
}
