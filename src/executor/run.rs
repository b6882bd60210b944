//! The loop.
//!
//! Time is a chain: each stamp ends one span and begins the next, so that the parts of
//! `total_ticks_in_run` add up to it by construction.
//!
//! ```text
//!  run()  |collect| item | item | ... 64 | collect | item | ... | flush |
//!         t0      t1     t2     t3       t4        t5           tn      end
//! ```

use super::stats::{add, dec, inc};
use super::Executor;
use crate::error::{Errno, Res};
use crate::sys::exceptions::Exceptions;
use crate::sys::kernel::{Kernel, Wait};
use crate::task::header::{Flags, TaskRef};

/// Completions, timers and the mailbox are looked at at least every so many items.
pub const BOUND: usize = 64;

/// From so many tasks on they do not fit the nearest caches, and fetching the next while one runs
/// pays for itself.
const MANY: usize = 256;

/// While the kernel refuses entries, waiting ends after so long, to offer them again.
const RETRY_NS: u64 = 1_000_000;

/// Ends being in a run, and restores the caller's exception state, however `run` is left.
struct Inside<'a, K: Kernel>(&'a Executor<K>, Exceptions);

impl<K: Kernel> Drop for Inside<'_, K> {
    #[inline(always)]
    fn drop(&mut self) {
        // A wake-up that came while we were in here is answered by our return.
        self.0.woken.set(false);
        // SAFETY: both are the owner thread's, which this is.
        unsafe {
            *self.0.exceptions = self.1;
            *self.0.running_here = core::ptr::null();
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
    /// would let its tasks suspend those of the first from a stack that is not theirs. OWNER'S THREAD.
    #[inline(always)]
    pub fn is_thread_in_run(&self) -> bool {
        // SAFETY: the owner thread's, which this is.
        unsafe { !(*self.running_here).is_null() }
    }

    /// One bounded pass; `timeout_ns` None waits for ever. OWNER'S THREAD, outside its tasks.
    pub fn run(&self, max_items: usize, timeout_ns: Option<u64>) -> Res<usize> {
        // SAFETY: both are the owner thread's, which this is.
        let _inside = unsafe {
            let inside = Inside(self, *self.exceptions);
            *self.running_here = self.address();
            inside
        };
        let begun = self.stamp();
        let (now, ran) = self.pass(begun, max_items, timeout_ns);
        add(&self.head.total_ticks_in_run, now.wrapping_sub(begun));
        ran
    }

    #[inline(always)]
    fn pass(&self, begun: u64, max_items: usize, timeout_ns: Option<u64>) -> (u64, Res<usize>) {
        let (mut now, collected) = self.collect(begun);
        if let Err(e) = collected {
            return (now, Err(e));
        }
        if max_items == 0 {
            return (now, Ok(0));
        }
        if self.ready.is_empty() {
            let slept;
            (now, slept) = self.wait(now, timeout_ns);
            match slept {
                Ok(true) => {}
                Ok(false) => return (now, Ok(0)),
                Err(e) => return (now, Err(e)),
            }
        }
        let budget = self.ready.len().min(max_items);
        let mut ran = 0;
        loop {
            let chunk = ran;
            let stop = budget.min(ran + BOUND);
            let many = self.attached() > MANY;
            // Once a chunk, not once an item: only a running task can look.
            self.head.tasks_running.set(1);
            while ran < stop {
                let Some(task) = self.ready.pop() else { break };
                if many {
                    self.ready.prefetch();
                }
                now = self.run_item(task, now);
                ran += 1;
            }
            self.head.tasks_running.set(0);
            self.head.current_task.set(core::ptr::null());
            self.since_enter.set(self.since_enter.get().saturating_add((ran - chunk) as u32));
            if ran == budget || self.ready.is_empty() {
                break;
            }
            (now, _) = self.collect(now);
        }
        if self.reactor.has_unsubmitted() && self.ready.is_empty() {
            (now, _) = self.ask_kernel(now);
        }
        // Neither the items nor their number are lost for an error of the kernel's; one that lasts
        // meets the next pass.
        (now, Ok(ran))
    }

    /// Runs a task until it suspends or exits; `now` is the stamp that ended what came before.
    #[inline(always)]
    fn run_item(&self, task: TaskRef, now: u64) -> u64 {
        let launch = task.head.flags.get() == Flags::PENDING_LAUNCH;
        if launch {
            dec(&self.head.tasks_pending_launch);
        } else {
            dec(&self.head.tasks_suspended);
        }
        task.head.flags.set(Flags::RUNNING);
        task.head.ticks.when_resumed.set(now);
        self.head.current_task.set(task.as_head());
        // SAFETY: the owner thread's. A launch begins without exceptions; a resumption restores its
        // own, in `leave`.
        unsafe { *self.exceptions = Exceptions::NONE };
        // SAFETY: ready, so not running, and this is its executor's thread.
        unsafe { task.switch.resume() };
        let end = self.stamp();
        let spent = end.wrapping_sub(now);
        add(
            if launch {
                &self.head.total_ticks_in_task_launch
            } else {
                &self.head.total_ticks_in_task_completion
            },
            spent,
        );
        let flags = task.head.flags.get();
        let ticks = &task.head.ticks;
        add(&ticks.total_executed, spent);
        if flags == Flags::RUNNING {
            ticks.when_detached.set(end);
            self.finish(task, end);
        } else {
            inc(&self.head.tasks_suspended);
            ticks.when_suspended_awaiting.set(end);
            if flags == Flags::COMPLETED {
                ticks.when_suspended_completed.set(end);
            }
        }
        end
    }

    /// The run of `task` is over: wake who joins it, publish. Never on the task's stack.
    #[inline(always)]
    pub(super) fn finish(&self, task: TaskRef, now: u64) {
        task.head.flags.set(Flags::IDLE);
        if task.joined.get() {
            self.finish_joined(task, now);
        } else {
            task.publish_exit();
        }
    }

    /// A suspended task's wait is over: in no list, outcome set. Back to the ready ones.
    #[inline(always)]
    pub(super) fn make_ready(&self, task: TaskRef, now: u64) {
        task.head.flags.set(Flags::COMPLETED);
        task.head.ticks.when_suspended_completed.set(now);
        self.ready.push(task);
    }

    /// Takes in what completed, expired or arrived, without waiting; asks the kernel only if it has
    /// something for us, or we for it and nothing else is to do or the bound is reached.
    #[inline(always)]
    fn collect(&self, now: u64) -> (u64, Res<()>) {
        let before = self.ready.len();
        let kernel = &self.reactor.kernel;
        self.reap(now);
        if self.mailbox.inbox.has_any() {
            self.collect_mailbox();
        }
        if !self.deadlines.is_empty() {
            self.expire(now);
        }
        let ask = kernel.needs_enter()
            || (self.reactor.has_unsubmitted()
                && (self.ready.is_empty() || self.since_enter.get() >= BOUND as u32));
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

    /// One system call: submits, and makes completions visible.
    fn ask_kernel(&self, now: u64) -> (u64, Res<()>) {
        self.since_enter.set(0);
        let asked = self.reactor.submit();
        (self.end_io(now), asked)
    }

    /// Ends a span of talking to the kernel.
    #[inline(always)]
    fn end_io(&self, begun: u64) -> u64 {
        let now = self.stamp();
        add(&self.head.total_ticks_in_io_uring, now.wrapping_sub(begun));
        now
    }

    #[inline(always)]
    fn reap(&self, now: u64) {
        let mut completed = 0;
        self.reactor.reap(|task| {
            completed += 1;
            self.make_ready(task, now);
        });
        add(&self.head.total_io_completed, completed);
    }

    fn expire(&self, now: u64) {
        let now_ns = self.reactor.kernel.now_boot_ns();
        while let Some(task) = self.deadlines.pop_expired(now_ns) {
            self.deadlines.prefetch();
            self.make_ready(task, now);
        }
    }

    /// Nothing is ready: sleeps until something is (true) or a wake-up came (false). ETIME when
    /// `timeout_ns` has passed.
    #[cold]
    #[inline(never)]
    fn wait(&self, mut now: u64, timeout_ns: Option<u64>) -> (u64, Res<bool>) {
        let kernel = &self.reactor.kernel;
        let until = match timeout_ns {
            None => u64::MAX,
            Some(0) => 0,
            Some(ns) => kernel.now_boot_ns().saturating_add(ns),
        };
        loop {
            if self.woken.take() {
                return (now, Ok(false));
            }
            if until != u64::MAX && (until == 0 || kernel.now_boot_ns() >= until) {
                return (now, Err(Errno(libc::ETIME)));
            }
            let mut boot_ns = until.min(self.deadlines.next_ns().unwrap_or(u64::MAX));
            if self.reactor.has_unsubmitted() {
                boot_ns = boot_ns.min(kernel.now_boot_ns().saturating_add(RETRY_NS));
            }
            let wait = if boot_ns == u64::MAX { Wait::Forever } else { Wait::Until { boot_ns } };
            let entered = if !self.reactor.could_submit() && self.mailbox.inbox.try_sleep() {
                let entered = kernel.enter(wait);
                self.mailbox.inbox.end_sleep();
                entered
            } else {
                Ok(())
            };
            let woke = self.stamp();
            add(&self.head.total_ticks_sleeping, woke.wrapping_sub(now));
            now = woke;
            match entered {
                Ok(()) | Err(Errno(libc::EINTR | libc::EAGAIN | libc::EBUSY)) => {}
                Err(e) => return (now, Err(e)),
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
