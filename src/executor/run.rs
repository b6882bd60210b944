//! The loop.
//!
//! Time is a chain: each stamp ends one span and begins the next, so that the parts of
//! `total_ticks_in_run` add up to it by construction.
//!
//! ```text
//!  run()  |collect| item | item | ... 64 | collect | item | ... | flush |
//!         t0      t1     t2     t3       t4        t5           tn      end
//! ```

use super::asleep::{is_early, RETRY_NS};
use super::budget::STEP;
use super::head::{add, dec, inc};
use super::next::MANY;
use super::watch::by;
use super::Executor;
use crate::error::{Errno, Res};
use crate::sys::cxx_eh::Exceptions;
use crate::sys::thread;
use crate::task::header::{mark, Flags, TaskRef};
use crate::trace::span;
use crate::uring::kernel::{Kernel, Wait};

/// Completions, timers and the mailbox are looked at at least every so many items.
pub const BOUND: usize = 64;

/// A pass of `run_on` is of so many items, if there are: what it costs to enter and to leave `run`
/// is small next to them, and what they ask of the kernel waits for no more of them than these.
const FEW: usize = 32;

/// Ends being in a run, and restores the caller's exception state, however `run` is left.
pub(super) struct Inside<'a, K: Kernel>(&'a Executor<K>, Exceptions);

impl<'a, K: Kernel> Inside<'a, K> {
    /// OWNER'S THREAD, in no run.
    #[inline(always)]
    pub(super) fn new(ex: &'a Executor<K>) -> Self {
        // SAFETY: both are the owner thread's, which this is.
        unsafe {
            let inside = Self(ex, ex.exceptions.replace(Exceptions::NONE));
            *ex.running_here = ex.address();
            inside
        }
    }
}

impl<K: Kernel> Drop for Inside<'_, K> {
    #[inline(always)]
    fn drop(&mut self) {
        // A wake-up that came while we were in here is answered by our return.
        self.0.woken.set(false);
        // SAFETY: both are the owner thread's, which this is.
        unsafe {
            *self.0.exceptions = self.1;
            *self.0.running_here = thread::nobody();
        }
    }
}

impl<K: Kernel> Executor<K> {
    /// This executor is in a run. OWNER'S THREAD.
    #[inline(always)]
    pub fn is_in_run(&self) -> bool {
        // SAFETY: the owner thread's, which this is.
        unsafe { core::ptr::eq(*self.running_here, self.address()) }
    }

    /// This executor or another of this thread is in a run, so the caller is a task. A second run
    /// would let its tasks suspend those of the first from a stack that is not theirs. OWNER'S
    /// THREAD.
    #[inline(always)]
    pub(crate) fn is_thread_in_run(&self) -> bool {
        // SAFETY: the owner thread's, which this is.
        unsafe { !core::ptr::eq(*self.running_here, thread::nobody()) }
    }

    /// One bounded pass; `timeout_ns` None waits for ever. OWNER'S THREAD, outside its tasks.
    #[inline(always)]
    pub fn run(&self, max_items: usize, timeout_ns: Option<u64>) -> Res<usize> {
        self.run_once(0, max_items, timeout_ns)
    }

    /// As `run`, for who calls it again and again, whatever it returns: where few are ready, what
    /// becomes ready in this pass is run by it, too, up to `FEW`, or until it is time to look, that
    /// nobody knows without time tracking. OWNER'S THREAD, outside its tasks.
    #[inline(always)]
    pub fn run_on(&self, timeout_ns: Option<u64>) -> Res<usize> {
        self.run_once(FEW, usize::MAX, timeout_ns)
    }

    #[inline(always)]
    fn run_once(&self, few: usize, max_items: usize, timeout_ns: Option<u64>) -> Res<usize> {
        let _inside = Inside::new(self);
        if self.is_watched() {
            self.watched_run();
        }
        let begun = self.stamp();
        let (now, ran) = self.pass(begun, few, max_items, timeout_ns);
        add(&self.head.total_ticks_in_run, now.wrapping_sub(begun));
        if self.is_watched() {
            self.watched_return(begun, now);
        }
        ran
    }

    #[inline(always)]
    fn pass(
        &self,
        begun: u64,
        few: usize,
        max_items: usize,
        timeout_ns: Option<u64>,
    ) -> (u64, Res<usize>) {
        let (mut now, collected) = self.collect(begun);
        if let Err(e) = collected {
            return self.leave_run(now, Err(e));
        }
        if max_items == 0 {
            return self.leave_run(now, Ok(0));
        }
        if self.ready.is_empty() {
            let slept;
            (now, slept) = self.wait(now, timeout_ns, || false);
            match slept {
                Ok(true) => {}
                Ok(false) => return self.leave_run(now, Ok(0)),
                Err(e) => return self.leave_run(now, Err(e)),
            }
        }
        // What was ready has its turn; what becomes ready by then, as long as it is not late.
        let least = self.ready.len().min(max_items);
        let budget = self.ready.len().max(few).min(max_items);
        let mut ran = 0;
        loop {
            let chunk;
            let most = BOUND.min(budget - ran);
            (now, chunk) = if self.watches(by::ITEMS) {
                self.run_chunk_watched(now, most)
            } else {
                self.run_chunk::<false>(now, most)
            };
            if !self.is_mine() {
                // A fork in a task that ended in the child: the other tasks and the ring are the
                // parent's, and the caller of `run` in the child is told so.
                return (now, Err(Errno(libc::EPERM)));
            }
            ran += chunk;
            self.since_enter.set(self.since_enter.get().saturating_add(chunk as u32));
            if ran == budget || self.ready.is_empty() || (ran >= least && chunk < most) {
                break;
            }
            (now, _) = self.collect(now);
        }
        // Neither the items nor their number are lost for an error of the kernel's; one that lasts
        // meets the next pass.
        self.leave_run(now, Ok(ran))
    }

    /// Whatever way `run` is left, what its tasks have begun is the kernel's by then.
    #[inline(always)]
    pub(super) fn leave_run(&self, mut now: u64, result: Res<usize>) -> (u64, Res<usize>) {
        if self.reactor.has_unsubmitted() {
            (now, _) = self.ask_kernel(now);
        }
        (now, result)
    }

    /// Runs the oldest of the highest priority, again and again, `max` times at most; the stamp of
    /// the end, and how many it were.
    ///
    /// What an item costs is stores: the processor takes in one a cycle, and everything else hides
    /// behind them. So nothing is written here that nobody can see: between two items nobody looks.
    #[inline(always)]
    fn run_chunk<const WATCHED: bool>(&self, begun: u64, max: usize) -> (u64, usize) {
        let head = &self.head;
        let first = self.ready.popped();
        let last = first.wrapping_add(max);
        let many = self.attached() > MANY || self.since_enter.get() == 0;
        self.next.begin(last, begun, (many, self.attached()));
        head.tasks_running.set(1);
        let mut now = begun;
        self.span.set((begun, Flags::COMPLETED));
        // The item before left its task suspended, which is not counted yet: the next resumption
        // would count one out again.
        let mut one_more = false;
        while self.ready.popped() != last && now.wrapping_sub(begun) < self.look_ticks {
            let Some(task) = self.next_item::<WATCHED>() else { break };
            if WATCHED {
                self.next.is_last(self.ready.popped());
            }
            if many {
                self.ready.prefetch(self.warm.keeps());
            }
            let flags = task.head.flags.get();
            self.spans(flags, now);
            if flags == Flags::PENDING_LAUNCH {
                dec(&head.tasks_pending_launch);
                if one_more {
                    inc(&head.tasks_suspended);
                }
            } else if !one_more {
                dec(&head.tasks_suspended);
            }
            (now, one_more) = self.run_item::<WATCHED>(task, flags, now);
            if !(one_more || self.is_mine()) {
                break; // The task has forked, and this is the child: see `pass`.
            }
        }
        if one_more {
            inc(&head.tasks_suspended);
        }
        self.end_span(now);
        head.tasks_running.set(0);
        head.current_task.set(core::ptr::null());
        (now, self.ready.popped().wrapping_sub(first))
    }

    #[inline(always)]
    fn next_item<const WATCHED: bool>(&self) -> Option<TaskRef> {
        if WATCHED && self.watches(by::SHARED) {
            return self.ready.pop_by(&self.shares);
        }
        self.ready.pop()
    }

    /// Every item is looked at: see `watch`.
    #[cold]
    #[inline(never)]
    fn run_chunk_watched(&self, begun: u64, max: usize) -> (u64, usize) {
        self.run_chunk::<true>(begun, max)
    }

    /// Items of one kind in a row are one span of that kind's total.
    #[inline(always)]
    pub(super) fn end_span(&self, now: u64) {
        let (begun, kind) = self.span.get();
        let total = if kind == Flags::PENDING_LAUNCH {
            &self.head.total_ticks_in_task_launch
        } else {
            &self.head.total_ticks_in_task_completion
        };
        add(total, now.wrapping_sub(begun));
    }

    /// An item begins whose task had these flags.
    #[inline(always)]
    pub(super) fn spans(&self, flags: Flags, now: u64) {
        if flags != self.span.get().1 {
            self.end_span(now);
            self.span.set((now, flags));
        }
    }

    /// Runs a task, whose flags these are, and those that it and they pass to, until one suspends
    /// (true) or exits; `now` is the stamp that ended what came before.
    #[inline(always)]
    pub(super) fn run_item<const WATCHED: bool>(
        &self,
        task: TaskRef,
        flags: Flags,
        now: u64,
    ) -> (u64, bool) {
        let ready = if WATCHED { self.watched_begin(task, now) } else { 0 };
        let is_launch = flags == Flags::PENDING_LAUNCH;
        task.running(now);
        self.head.current_task.set(task.as_head());
        // SAFETY: ready, so not running, and this is its executor's thread.
        unsafe {
            if is_launch {
                self.launch(task);
            } else {
                self.resume(task);
            }
        }
        let end = self.stamp();
        if WATCHED {
            self.watched_end(task, ready, now, end);
        }
        // SAFETY: the one that runs, which may be another by now.
        let task = unsafe { TaskRef::from_head(self.head.current_task.get()) };
        if task.head.flags.get() == Flags::RUNNING {
            task.returned(end);
            self.forget_exceptions();
            if task.has(mark::ENDS) {
                return (end, self.ends(task, end));
            }
            self.warm.give_back(task);
            task.exited();
            task.state().exited();
            return (end, false);
        }
        task.suspended(end);
        (end, true)
    }

    /// A suspended task's wait is over: in no list, outcome set. Back to the ready ones.
    #[inline(always)]
    pub(super) fn make_ready(&self, task: TaskRef, now: u64) {
        self.wait_over(task, now);
        self.ready.push(task);
    }

    #[inline(always)]
    fn wait_over(&self, task: TaskRef, now: u64) {
        task.completed(now);
        if self.watches(by::TRACED) {
            self.watched_wake(task, now);
        }
    }

    /// Takes in what completed, expired or arrived, without waiting; asks the kernel only if it has
    /// something for us, or we for it and nothing else is to do or the bound is reached.
    #[inline(always)]
    pub(super) fn collect(&self, mut now: u64) -> (u64, Res<()>) {
        let before = self.ready.len();
        let kernel = &self.reactor.kernel;
        self.reap(now);
        if self.has_mail_left() {
            self.collect_mailbox(now);
        }
        if !self.timers.is_empty() {
            now = self.expire(now);
        }
        if self.has_woken_joins() {
            self.wake_joiners(now);
        }
        let ask =
            kernel.needs_enter() || (self.reactor.has_unsubmitted() && self.is_time_to_ask(now));
        if ask {
            let (now, asked) = self.ask_kernel(now);
            self.reap(now);
            return (self.end_io(now), asked);
        }
        if self.ready.len() == before {
            return (now, Ok(()));
        }
        (self.end_io(now), Ok(()))
    }

    #[inline(always)]
    fn is_time_to_ask(&self, now: u64) -> bool {
        self.ready.is_empty()
            || self.since_enter.get() >= BOUND as u32
            || now.wrapping_sub(self.last_enter.get()) >= self.look_ticks
    }

    /// Submits, and makes completions visible: one system call, or as many as it takes to hand over
    /// a burst of entries that waited for room.
    pub(super) fn ask_kernel(&self, now: u64) -> (u64, Res<()>) {
        self.since_enter.set(0);
        self.last_enter.set(now);
        let asked = self.reactor.submit();
        (self.end_io(now), asked)
    }

    /// Ends a span of talking to the kernel.
    #[inline(always)]
    fn end_io(&self, begun: u64) -> u64 {
        let now = self.stamp();
        add(&self.head.total_ticks_in_io_uring, now.wrapping_sub(begun));
        if self.watches(by::ITEMS) {
            self.watched_span(span::IO_URING, begun, now);
        }
        now
    }

    #[inline(always)]
    pub(super) fn reap(&self, now: u64) {
        if self.reactor.has_completed() {
            match self.has_run() {
                true => self.reap_some::<true>(now),
                false => self.reap_some::<false>(now),
            }
        }
    }

    /// Out of line, so that a look that finds nothing need not make room for what only this uses.
    #[inline(never)]
    fn reap_some<const RUNS: bool>(&self, now: u64) {
        let ready = self.ready.several();
        let mut budget = self.budget(now);
        loop {
            let step = budget.take_step();
            let in_run = if RUNS { self.reap_run(&ready, step, now) } else { 0 };
            let reaped = self.reactor.reap(
                self.address(),
                step - in_run,
                |task| {
                    self.wait_over(task, now);
                    ready.push(task);
                },
                |record, over| {
                    if self.is_awaited(record, over) {
                        ready.finish();
                        self.waiter_completed(record, now);
                    }
                },
            );
            if self.reactor.has_ended() {
                ready.finish();
                self.tell_of_rows(now);
            }
            if in_run + reaped < STEP {
                break;
            }
        }
        ready.finish();
        add(&self.head.total_io_completed, ready.all());
    }

    /// Nothing is ready: sleeps until something is (true), or a wake-up came or `is_over` (false).
    /// ETIME when `timeout_ns` has passed.
    #[cold]
    #[inline(never)]
    pub(super) fn wait(
        &self,
        mut now: u64,
        timeout_ns: Option<u64>,
        is_over: impl Fn() -> bool,
    ) -> (u64, Res<bool>) {
        let kernel = &self.reactor.kernel;
        let until = match timeout_ns {
            None => u64::MAX,
            Some(0) => 0,
            Some(ns) => kernel.now_boot_ns().saturating_add(ns),
        };
        loop {
            if self.woken.take() || (is_over() && self.has_no_mail()) {
                return (now, Ok(false));
            }
            if self.hungry.get() != 0 && self.tell_hungry(until) {
                return (now, Ok(true));
            }
            if until != u64::MAX && (until == 0 || kernel.now_boot_ns() >= until) {
                // What a budget left over may be the very thing that is waited for.
                let left_over = self.mail_taken.get() || self.has_woken_joins();
                return (now, if left_over { Ok(false) } else { Err(Errno(libc::ETIME)) });
            }
            let mut boot_ns = until.min(self.timers.next_ns().unwrap_or(u64::MAX));
            if self.reactor.has_unsubmitted() {
                boot_ns = boot_ns.min(kernel.now_boot_ns().saturating_add(RETRY_NS));
            }
            let wait = if boot_ns == u64::MAX { Wait::Forever } else { Wait::Until { boot_ns } };
            let sleeps = !self.has_looked(boot_ns) && self.may_sleep();
            let entered = if sleeps {
                self.fall_asleep(wait, || self.slept()).unwrap_or(Ok(()))
            } else {
                Ok(())
            };
            let woke = self.stamp();
            add(&self.head.total_ticks_sleeping, woke.wrapping_sub(now));
            if self.watches(by::ITEMS) {
                self.watched_span(span::SLEEP, now, woke);
            }
            now = woke;
            match entered {
                Err(e) if !is_early(e) => return (now, Err(e)),
                _ => {}
            }
            // A worker's task does not wait for a look that finds nothing.
            if is_over() && self.has_nothing_else() {
                return (now, Ok(false));
            }
            let collected;
            (now, collected) = self.collect(now);
            if let Err(e) = collected {
                return (now, Err(e));
            }
            if !self.ready.is_empty() {
                return (now, Ok(true));
            }
        }
    }
}
