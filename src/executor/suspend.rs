//! The suspending calls: run on the task's own stack, by the task itself. They return what the
//! kernel would: negative is an errno. (One register: a result of two would travel through memory.)

use super::head::add;
use super::next::Ahead;
use super::watch::by;
use super::{scope, Executor};
use crate::error::Errno;
use crate::reactor::operation::{is_closed, is_not_performed, CLOSED, KEPT_FROM, RETRIES_MAX};
use crate::sys::cxx_eh::Exceptions;
use crate::task::header::{mark, Flags, TaskRef, Waits};
use crate::uring::kernel::{op, Kernel, Sqe};

/// What of a call is rare, and out of line.
#[derive(Clone, Copy)]
pub enum Rare {
    /// There may be an interruption, or a timer to be armed, before it begins.
    Stopped,
    /// The submission queue is full.
    NoRoom,
    /// Not performed: the kernel's answer, and how many handles had been closed at its beginning.
    NotPerformed { res: i32, closings: u64 },
}

/// An entry of a call's. By value it is made in the queue, and nowhere before: what is rare gets it
/// by its words, as a place for it in the frame of a call that is suspended is a line more between
/// what that call comes back to. A copy of the caller's, which has to be kept meanwhile, is in
/// memory once.
pub trait Given: Copy {
    fn entry(self) -> Sqe;
    /// # Safety
    /// As `io`.
    unsafe fn rarely<K: Kernel>(self, ex: &Executor<K>, task: TaskRef, what: Rare) -> i32;
}

impl Given for Sqe {
    #[inline(always)]
    fn entry(self) -> Sqe {
        self
    }
    #[inline(always)]
    unsafe fn rarely<K: Kernel>(self, ex: &Executor<K>, task: TaskRef, what: Rare) -> i32 {
        let [a, b, c, d, _, e, f, g] = self.0;
        // SAFETY: the caller's.
        unsafe { by_words(ex, task, (a, b), (c, d), (e, f), g, what) }
    }
}

impl Given for &Sqe {
    #[inline(always)]
    fn entry(self) -> Sqe {
        *self
    }
    #[inline(always)]
    unsafe fn rarely<K: Kernel>(self, ex: &Executor<K>, task: TaskRef, what: Rare) -> i32 {
        // SAFETY: the caller's.
        unsafe { ex.io_rarely(task, self, what) }
    }
}

/// # Safety
/// As `io`, of the entry with these words, and no `user_data`.
#[cold]
#[inline(never)]
unsafe fn by_words<K: Kernel>(
    ex: &Executor<K>,
    task: TaskRef,
    (a, b): (u64, u64),
    (c, d): (u64, u64),
    (e, f): (u64, u64),
    g: u64,
    what: Rare,
) -> i32 {
    // SAFETY: the caller's.
    unsafe { ex.io_rarely(task, &Sqe([a, b, c, d, 0, e, f, g]), what) }
}

/// So many calls of a task are refused at once in a row, with nothing else having run. Then it
/// gives way: what catches every error and goes on would keep all others from running for ever.
const REFUSALS_IN_A_ROW: u32 = 1024;

/// Calls that were refused since another item ran.
#[derive(Clone, Copy, Default)]
pub(super) struct Refusals {
    /// What `Ready::popped` said at the last one.
    popped: usize,
    count: u32,
}

/// The way from a task that is about to wait to the next one, with nothing to be looked at: that
/// task, with its level in the run queue, and the stamp.
type Lane = ((TaskRef, u8), u64);

impl<K: Kernel> Executor<K> {
    /// SUSPENDS. `task` runs now. 0 yields; `u64::MAX` waits for a cancel.
    #[inline(always)]
    pub fn sleep(&self, task: TaskRef, ns: u64) -> i32 {
        if task.has(mark::STOPS) {
            let stopped = self.stop(task);
            if stopped != 0 {
                return stopped;
            }
        }
        if ns != 0 {
            return self.sleep_for(task, ns);
        }
        let now = self.stamp_ahead();
        task.yields();
        self.ready.push(task);
        self.leave_at::<true>(task, now);
        // It waited for nothing that could have failed, or that a cancel could have ended.
        0
    }

    #[inline(always)]
    fn sleep_for(&self, task: TaskRef, ns: u64) -> i32 {
        let now = self.stamp_ahead();
        let deadline_ns = match ns {
            u64::MAX => u64::MAX,
            ns => self.boot_ns_of(now).saturating_add(ns),
        };
        self.await_time(task, deadline_ns, now)
    }

    /// The time of a stamp that was just taken: one look at the counter for both, where it can be.
    #[inline(always)]
    fn boot_ns_of(&self, now: Ahead) -> u64 {
        match now {
            Ahead(Some(now)) if self.track => self.reactor.kernel.boot_ns_at(now),
            _ => self.reactor.kernel.now_or_later_boot_ns(),
        }
    }

    /// SUSPENDS. `task` runs now. What is over yields; `u64::MAX` waits for a cancel.
    pub fn sleep_until(&self, task: TaskRef, boot_ns: u64) -> i32 {
        if boot_ns != u64::MAX && boot_ns <= self.reactor.kernel.now_boot_ns() {
            return self.sleep(task, 0);
        }
        if task.has(mark::STOPS) {
            let stopped = self.stop(task);
            if stopped != 0 {
                return stopped;
            }
        }
        self.await_time(task, boot_ns, self.stamp_to_wait())
    }

    #[inline(always)]
    fn await_time(&self, task: TaskRef, deadline_ns: u64, now: Ahead) -> i32 {
        task.head.outcome.set(0);
        task.awaits();
        if deadline_ns == u64::MAX {
            task.waits.set(Waits::Forever);
        } else {
            self.timers.insert(task, deadline_ns);
        }
        self.leave_at::<false>(task, now);
        task.head.outcome.get()
    }

    /// SUSPENDS. `task` runs now; `sqe` was checked, and is the library's own copy.
    ///
    /// # Safety
    /// What `sqe` refers to stays valid until the call returns.
    #[inline(always)]
    pub unsafe fn io(&self, task: TaskRef, sqe: impl Given) -> i32 {
        // SAFETY: the caller's.
        unsafe { self.io_since(task, sqe, self.reactor.closings.count()) }
    }

    /// As `io`, for who has asked how many handles have been closed.
    ///
    /// # Safety
    /// As `io`.
    #[inline(always)]
    pub unsafe fn io_since(&self, task: TaskRef, sqe: impl Given, closings: u64) -> i32 {
        if task.has(mark::STOPS) {
            // SAFETY: the caller's.
            return unsafe { sqe.rarely(self, task, Rare::Stopped) };
        }
        let lane = self.lane();
        let leaves = || match lane {
            Some(lane) => self.leave_by(task, lane),
            None => self.leave_otherwise(task),
        };
        // SAFETY: the caller's.
        unsafe { self.io_begun(task, sqe, closings, leaves) }
    }

    /// Asks once for all that is not so most of the time, where the call begins: see `stamp_ahead`.
    /// None: who leaves asks for each of it.
    #[inline(always)]
    fn lane(&self) -> Option<Lane> {
        let stays = self.next.is_over(self.ready.popped());
        if !self.next.is_plain_where(self.track) || stays || self.span.get().1 != Flags::COMPLETED {
            return None;
        }
        let front = self.ready.front_to_resume()?;
        let now = self.stamp();
        (!self.next.is_late(now, self.look_ticks)).then_some((front, now))
    }

    /// As `leave`, by a lane: since it was found, nothing has become ready.
    #[inline(always)]
    fn leave_by(&self, task: TaskRef, (front, now): Lane) {
        let (next, _) = front;
        task.suspended_awaiting(now);
        next.running(now);
        // SAFETY: as it was found.
        if let Some(then) = unsafe { self.ready.take(front) } {
            if self.next.many() {
                self.prefetch_from(then);
            }
        }
        self.head.current_task.set(next.as_head());
        // SAFETY: on the stack of `task`; `next` was ready, so it does not run.
        unsafe { task.switch.pass(&next.switch) };
    }

    #[inline(never)]
    fn leave_otherwise(&self, task: TaskRef) {
        self.leave(task);
    }

    /// # Safety
    /// As `io`.
    #[inline(always)]
    pub(super) unsafe fn io_rarely(&self, task: TaskRef, sqe: &Sqe, what: Rare) -> i32 {
        if !self.reactor.kernel.has_ring() {
            return -libc::ENOTSUP;
        }
        // SAFETY: the caller's.
        unsafe {
            match what {
                Rare::Stopped => self.io_after_stop(task, sqe),
                Rare::NoRoom => self.io_queued(task, sqe),
                Rare::NotPerformed { res, closings } => {
                    self.not_performed(task, sqe, res, closings)
                }
            }
        }
    }

    /// Out of line, with what comes after it: see `validate::completes_once`.
    ///
    /// # Safety
    /// As `io`.
    #[cold]
    #[inline(never)]
    unsafe fn io_after_stop(&self, task: TaskRef, sqe: &Sqe) -> i32 {
        // One look at the counter for the timer of a scope, too.
        let now = self.stamp_ahead();
        let stopped = self.stop_at(task, now);
        if stopped != 0 {
            return self.refused(task, stopped);
        }
        let leaves = || self.leave_at::<false>(task, now);
        // SAFETY: the caller's.
        unsafe { self.io_begun(task, sqe, self.reactor.closings.count(), leaves) }
    }

    /// # Safety
    /// As `io`.
    #[inline(always)]
    unsafe fn io_begun(
        &self,
        task: TaskRef,
        sqe: impl Given,
        closings: u64,
        leaves: impl FnOnce(),
    ) -> i32 {
        // SAFETY: the caller's.
        let res = unsafe { self.io_once(task, sqe, leaves) };
        if res < 0 && is_not_performed(res) {
            // SAFETY: the caller's.
            return unsafe { sqe.rarely(self, task, Rare::NotPerformed { res, closings }) };
        }
        res
    }

    /// # Safety
    /// As `io`.
    #[inline(always)]
    unsafe fn io_once(&self, task: TaskRef, sqe: impl Given, leaves: impl FnOnce()) -> i32 {
        // SAFETY: the caller's promise; the call does not return before the task is woken.
        if !unsafe { self.reactor.start(task, sqe.entry()) } {
            // SAFETY: the caller's.
            return unsafe { sqe.rarely(self, task, Rare::NoRoom) };
        }
        add(&self.head.total_io_submitted, 1);
        if self.watches(by::ITEMS) {
            let sqe = sqe.entry();
            self.watched_io(task, sqe.opcode(), sqe.fd());
        }
        task.awaits();
        leaves();
        task.head.outcome.get()
    }

    /// The kernel was interrupted, or cancelled the operation: for us, or else for reasons of its
    /// own (it could make no worker thread, say), and then it is asked again.
    ///
    /// # Safety
    /// As `io`.
    #[cold]
    #[inline(never)]
    unsafe fn not_performed(&self, task: TaskRef, sqe: &Sqe, mut res: i32, closings: u64) -> i32 {
        const FIRST_PAUSE_NS: u64 = 10_000;
        const LONGEST_PAUSE_NS: u64 = 10_000_000;
        for retry in 0..RETRIES_MAX {
            if sqe.opcode() == op::CLOSE && is_closed(res) {
                return CLOSED;
            }
            task.unmark(mark::OPERATION_ASKED);
            // The first few at once.
            if let Some(doublings) = retry.checked_sub(4) {
                let pause_ns = LONGEST_PAUSE_NS.min(FIRST_PAUSE_NS << doublings.min(16));
                let slept = self.sleep(task, pause_ns);
                if slept != 0 {
                    return slept;
                }
            }
            // Also after the pause: one that came when that was over was for no wait.
            if task.has(mark::INTERRUPTED) {
                return -scope::interruption(task);
            }
            if self.is_handle_closed(sqe, closings) {
                return -libc::ECANCELED;
            }
            let now = self.stamp_ahead();
            // SAFETY: the caller's.
            res = unsafe { self.io_once(task, sqe, || self.leave_at::<false>(task, now)) };
            if res >= 0 || !is_not_performed(res) {
                return res;
            }
        }
        KEPT_FROM
    }

    /// A call of `task`, which runs now, is refused with `stopped`, negative, as a level of it has
    /// fired; the errno to return. MAY SUSPEND: nothing refers to the call by now.
    #[cold]
    #[inline(never)]
    pub(super) fn refused(&self, task: TaskRef, stopped: i32) -> i32 {
        let Refusals { popped, count } = self.refusals.get();
        let in_a_row = popped == self.ready.popped();
        let count = if in_a_row { count + 1 } else { 1 };
        self.refusals.set(Refusals { popped: self.ready.popped(), count });
        if count < REFUSALS_IN_A_ROW {
            return stopped;
        }
        let now = self.stamp_ahead();
        task.yields();
        self.ready.push(task);
        self.leave_at::<true>(task, now);
        task.cqe_flags.set(0);
        // A cancel may have come to a task whose scope had fired.
        -scope::interruption(task)
    }

    /// The same of a call that has looked at nothing but whether a level has fired.
    #[cold]
    #[inline(never)]
    pub fn refused_at_start(&self, task: TaskRef) -> Errno {
        Errno(-self.refused(task, -scope::interruption(task)))
    }

    /// Switches to the next task, or to the executor; returns when the task is resumed. Between
    /// items there are no exceptions: who has some takes them along, so who has none finds none.
    #[inline(always)]
    pub(super) fn leave(&self, task: TaskRef) {
        self.leave_at::<false>(task, self.stamp_to_wait());
    }

    /// As `leave`; `now` is of `stamp_ahead`; `READY` as in `passes`.
    #[inline(always)]
    fn leave_at<const READY: bool>(&self, task: TaskRef, now: Ahead) {
        if self.warm.keep(task) {
            self.runs_kept();
        }
        // SAFETY: `exceptions` is the owner thread's, which this is.
        if unsafe { (*self.exceptions).is_none() } {
            if !self.passes::<READY>(task, now) {
                // SAFETY: called by the task that runs, hence on its stack.
                unsafe { task.switch.suspend() };
            }
        } else {
            self.leave_with_exceptions(task);
        }
    }

    /// From inside a `catch`, or from a destructor that runs because of a `throw`.
    #[cold]
    #[inline(never)]
    fn leave_with_exceptions(&self, task: TaskRef) {
        // SAFETY: as in `leave`, and after it too: a task never migrates.
        unsafe {
            let exceptions = self.exceptions.replace(Exceptions::NONE);
            task.switch.suspend();
            self.exceptions.write(exceptions);
        }
    }
}
