//! Waiting until few tasks of a queue are left.

use core::cell::Cell;
use core::ptr::NonNull;

use super::grant::{Caller, Wait};
use super::queue::{Queue, State};
use super::scope::NEVER_NS;
use crate::error::Res;
use crate::intrusive::{Fifo, Link};
use crate::uring::kernel::Kernel;

/// Of what so few are left that a wait is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// Tasks that have not begun.
    Queued = 0,
    /// Those, and the ones that have begun and not ended.
    Unfinished = 1,
    /// Workers.
    Workers = 2,
}

/// Who waits: on the waiter's stack.
#[repr(C)]
pub struct LeftWait {
    link: Link,
    wait: Wait,
    at_most: usize,
    what: Left,
    /// Under the lock of the queue.
    is_listed: Cell<bool>,
    wake: unsafe fn(&Wait),
}

const _: () = assert!(core::mem::offset_of!(LeftWait, link) == 0);

impl LeftWait {
    /// `wake` is `Wait::wake` of the waiter's kind of kernel.
    fn new(wait: Wait, at_most: usize, what: Left, wake: unsafe fn(&Wait)) -> Self {
        let is_listed = Cell::new(false);
        Self { link: Link::new(), wait, at_most, what, is_listed, wake }
    }
}

impl State {
    fn is_over(&self, wait: &LeftWait) -> bool {
        let left = match wait.what {
            Left::Queued => self.queued,
            Left::Unfinished => self.queued + self.begun,
            Left::Workers => self.workers,
        };
        left <= wait.at_most
    }

    /// Those whose wait is over, claimed: to be woken with the lock open.
    pub(super) fn satisfied(&mut self) -> Fifo {
        let woken = Fifo::new();
        if self.waits.is_empty() {
            return woken;
        }
        let all = self.waits.take_all();
        while let Some(link) = all.pop_front() {
            // SAFETY: only records of those who wait are in this list.
            let wait = unsafe { link.cast::<LeftWait>().as_ref() };
            let over = self.is_over(wait);
            if over {
                wait.is_listed.set(false);
            }
            if !over || wait.wait.claim() {
                // SAFETY: in no list; it stays until it is out of this one, or woken.
                let _ = unsafe { if over { &woken } else { &self.waits }.push_back(link) };
            }
        }
        woken
    }
}

/// Wakes those that were claimed.
pub(super) fn wake_all(woken: &Fifo) {
    while let Some(link) = woken.pop_front() {
        // SAFETY: claimed, so it stays until it is woken; the function is that of its kernel.
        unsafe {
            let wait = link.cast::<LeftWait>().as_ref();
            (wait.wake)(&wait.wait);
        }
    }
}

impl Queue {
    /// SUSPENDS, or blocks, until so few are left. Its errors are those of an interruption.
    pub fn until_left<K: Kernel>(
        &self,
        caller: &Caller<'_, K>,
        at_most: usize,
        what: Left,
    ) -> Res<()> {
        caller.start()?;
        let wait = LeftWait::new(caller.wait(false), at_most, what, |wait| wait.wake::<K>());
        // SAFETY: in place until it was woken, or taken out below.
        if !unsafe { self.list_wait(&wait) } {
            return Ok(());
        }
        let waited = caller.until_granted(&wait.wait, NEVER_NS);
        if waited.is_err() {
            self.unlist_wait(&wait);
        }
        waited
    }

    /// ANY THREAD. Lists a wait. False: it is over already.
    ///
    /// # Safety
    /// `wait` stays until it is woken, or `unlist_wait` has returned.
    unsafe fn list_wait(&self, wait: &LeftWait) -> bool {
        let state = self.lock();
        if state.is_over(wait) {
            return false;
        }
        wait.is_listed.set(true);
        // SAFETY: the caller's; in no list.
        let _ = unsafe { state.waits.push_back(NonNull::from(wait).cast()) };
        true
    }

    /// ANY THREAD. The wait was interrupted.
    fn unlist_wait(&self, wait: &LeftWait) {
        let state = self.lock();
        if wait.is_listed.replace(false) {
            // SAFETY: it is in there, says `is_listed`.
            unsafe { state.waits.remove(NonNull::from(wait).cast()) };
        }
    }
}
