//! A plain thread waits for a task's exit: blocks on a futex, with a join record on the heap.
//!
//! The record is held by the waiting thread, by each of its links that is on its way or in a list,
//! and freed by the last. So a wait that times out leaves at once, whatever the task's executor
//! does.

use core::cell::{Cell, OnceCell};

use super::grant::Caller;
use super::join::{JoinRecord, Joiner};
use super::known::{is_under, look, result_of, Known, GONE};
use super::mailbox::{Mailbox, Posted};
use super::queue_left::until_unqueued;
use crate::atomic::{
    AtomicU32,
    Ordering::{AcqRel, Acquire, Release},
};
use crate::error::{Errno, RawResult};
use crate::sys::backoff::Backoff;
use crate::sys::{alloc, clock, futex, thread};
use crate::task::header::TaskRef;
use crate::task::state::Run;
use crate::uring::RealKernel;

pub struct Waiter {
    record: OnceCell<JoinRecord>,
    /// Written by who answers, before `answered`.
    result: Cell<RawResult>,
    /// 1 once there is a result.
    answered: AtomicU32,
    holders: AtomicU32,
}

impl Waiter {
    /// From the joined task's executor, which holds it, and lets go.
    pub(super) fn answer(&'static self, result: RawResult) {
        self.result.set(result);
        // Release: the result.
        self.answered.store(1, Release);
        let address = (&raw const self.answered) as usize;
        self.release(); // It may be gone: the address is a name.
        futex::wake(address);
    }

    fn result(&self) -> Option<RawResult> {
        // Acquire: pairs with `answer`.
        (self.answered.load(Acquire) != 0).then(|| self.result.get())
    }

    fn hold(&self) {
        self.holders.fetch_add(1, AcqRel);
    }

    pub(super) fn release(&'static self) {
        // AcqRel: what all holders did comes before the end.
        if self.holders.fetch_sub(1, AcqRel) == 1 {
            // SAFETY: leaked from a box by `wait_for`, and this was the last who holds it.
            drop(unsafe { Box::from_raw(core::ptr::from_ref(self).cast_mut()) });
        }
    }
}

/// The executor of a task may not run any more: how often a waiting thread looks for itself.
const FIRST_LOOK_NS: u64 = 1_000_000;
const LAST_LOOK_NS: u64 = 50_000_000;

/// Blocks the thread, which runs no task: ANY THREAD but the executor's own. EXPENSIVE.
pub fn wait(other: TaskRef, timeout_ns: u64) -> RawResult {
    if !thread::running().is_null() {
        return RawResult::failure(Errno(libc::EDEADLK));
    }
    let deadline_ns = match timeout_ns {
        u64::MAX => u64::MAX,
        ns => clock::boot_ns().saturating_add(ns),
    };
    let mut backoff = Backoff::new();
    // The run that was found in a queue, and left it.
    let mut meant = None;
    loop {
        match look(other) {
            Known::Never => return RawResult::failure(Errno(libc::EINVAL)),
            Known::Over(result) => {
                return meant.map_or(result, |run| result_of(other.state(), run))
            }
            Known::Under(run, _) if meant.is_some_and(|meant| meant != run) => {
                return meant.map_or(GONE, |run| result_of(other.state(), run));
            }
            Known::Under(_, away) if away.is_mine() => {
                return RawResult::failure(Errno(libc::EDEADLK))
            }
            Known::Under(_, away) if !away.is_of_this_process() => {
                return RawResult::failure(Errno(libc::EPERM)); // The parent's.
            }
            _ if timeout_ns == 0 => return RawResult::failure(Errno(libc::ETIME)),
            Known::Under(run, away) => return wait_for(other, run, away, deadline_ns),
            Known::Changing if clock::boot_ns() >= deadline_ns => {
                return RawResult::failure(Errno(libc::ETIME))
            }
            Known::Changing => {
                let caller = match Caller::<RealKernel>::thread() {
                    Ok(caller) => caller,
                    Err(e) => return RawResult::failure(e),
                };
                match until_unqueued(&caller, other, meant, deadline_ns) {
                    Some((run, Ok(true))) => meant = Some(run),
                    Some((_, Ok(false))) => {}
                    Some((_, Err(e))) => return RawResult::failure(e),
                    None => backoff.wait(),
                }
            }
        }
    }
}

fn wait_for(other: TaskRef, run: Run, away: &'static Mailbox, deadline_ns: u64) -> RawResult {
    let waiter = alloc::try_box(Waiter {
        record: OnceCell::new(),
        result: RawResult::default().into(),
        answered: AtomicU32::new(0),
        holders: AtomicU32::new(2), // We, and JOIN.
    });
    let waiter: &'static Waiter = match waiter {
        Ok(waiter) => Box::leak(waiter),
        Err(e) => return RawResult::failure(e),
    };
    let record =
        waiter.record.get_or_init(|| JoinRecord::new(Joiner::Thread(waiter), other, run, away));
    let mut backoff = Backoff::new();
    loop {
        // SAFETY: in place until the last holder lets go; JOIN's answer does for its own.
        match unsafe { record.post_join() } {
            Posted::Queued => break,
            Posted::Over => {
                waiter.release();
                waiter.release();
                return result_of(other.state(), run);
            }
            Posted::Closed => backoff.wait(),
        }
    }
    let mut looks_ns = FIRST_LOOK_NS;
    let mut over = false;
    while waiter.result().is_none() {
        let left_ns = match deadline_ns {
            u64::MAX => u64::MAX,
            at_ns => match at_ns.saturating_sub(clock::boot_ns()) {
                0 => break,
                ns => ns,
            },
        };
        futex::wait(&waiter.answered, 0, Some(left_ns.min(looks_ns)));
        looks_ns = LAST_LOOK_NS.min(looks_ns * 2);
        if over && waiter.result().is_none() {
            // JOIN came after its executor's last `run`, and nobody reads it. The record stays for
            // who does some day.
            waiter.release();
            return result_of(other.state(), run);
        }
        // At the first such look, the answer may be a moment away, and is better: the result of
        // that run, even if there is a later one.
        over = !is_under(other.state(), run);
    }
    let result = waiter.result();
    if result.is_none() {
        waiter.hold(); // UNJOIN.
                       // SAFETY: as for JOIN.
        if !unsafe { record.post_unjoin() } {
            waiter.release();
        }
    }
    waiter.release();
    result.unwrap_or(RawResult::failure(Errno(libc::ETIME)))
}
