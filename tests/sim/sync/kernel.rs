//! A kernel without a ring, whose time passes when the executor sleeps.

use monad_async::error::Errno;
use monad_async::uring::kernel::{Cqe, Kernel, Sqe, Wait, Waker};
use std::cell::Cell;

#[derive(Default)]
pub struct Sim {
    clock_ns: Cell<u64>,
}

impl Kernel for Sim {
    fn has_ring(&self) -> bool {
        false
    }
    fn sq_space(&self) -> u32 {
        0
    }
    fn sq_pending(&self) -> u32 {
        0
    }
    unsafe fn push(&self, _: &Sqe) {
        unreachable!("no ring");
    }
    fn pop(&self) -> Option<Cqe> {
        None
    }
    fn needs_enter(&self) -> bool {
        false
    }
    fn enter(&self, wait: Wait) -> Result<(), Errno> {
        if let Wait::Until { boot_ns } = wait {
            self.clock_ns.set(self.clock_ns.get().max(boot_ns));
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
