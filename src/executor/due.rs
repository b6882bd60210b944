//! What is due: the ends of sleeps, and deadlines of scopes. OWNER'S THREAD.

use super::scope::Scope;
use super::Executor;
use crate::sched::timers::Due;
use crate::uring::kernel::Kernel;

/// A completion queue has no more places (`IORING_MAX_CQ_ENTRIES`).
pub(super) const MOST: usize = 65_536;

/// How often the kernel is asked to take what waits for room, 64 entries at a time.
const BURSTS: usize = 16;

/// How often it is asked for what has completed, or that is taken in: some 20 come at a time.
const TURNS: usize = MOST / 8;

impl<K: Kernel> Executor<K> {
    /// Wakes who has slept enough, and fires the scopes whose deadline has passed; the stamp of its
    /// end where the kernel was asked, else `now`.
    pub(super) fn expire(&self, mut now: u64) -> u64 {
        let now_ns = self.reactor.kernel.now_boot_ns();
        let mut budget = self.budget(now);
        let mut has_heard = false;
        loop {
            let step = budget.take_step();
            if step == 0 {
                return now;
            }
            for _ in 0..step {
                let Some(due) = self.timers.pop_expired(now_ns) else { return now };
                self.timers.prefetch();
                match due {
                    Due::Task(task) => self.make_ready(task, now),
                    Due::Other(timer) => {
                        if !has_heard {
                            has_heard = true;
                            now = self.hear_first(now);
                        }
                        // SAFETY: the other timers are those of scopes, which take them out when
                        // they are left.
                        self.deadline_passed(unsafe { Scope::from_timer(timer) });
                    }
                }
            }
        }
    }

    /// Before a deadline ends an operation: whoever was late, a task that computed or the machine,
    /// a result that came in time counts. The kernel has it until it is asked, or it is among more
    /// than a look takes in. What stands in the submission queue needs no look, as its cancel comes
    /// after it; what waits for room there, or in a row, would be withdrawn.
    #[cold]
    fn hear_first(&self, mut now: u64) -> u64 {
        let reactor = &self.reactor;
        let mut asks = reactor.kernel.needs_enter() || !reactor.rows.is_empty();
        for _ in 0..BURSTS {
            if !(asks || reactor.has_queued()) {
                break;
            }
            asks = false;
            let asked;
            (now, asked) = self.ask_kernel(now);
            if asked.is_err() {
                break;
            }
        }
        // With DEFER_TASKRUN an `enter` brings some 20 completions (Linux 6.13), and the flag stays
        // where there are more; what is beyond the queue's room comes once that is empty.
        for _ in 0..TURNS {
            if self.reactor.has_completed() {
                self.reap(now);
            } else if self.reactor.kernel.needs_enter() {
                let asked;
                (now, asked) = self.ask_kernel(now);
                if asked.is_err() {
                    break;
                }
            } else {
                break;
            }
        }
        now
    }
}
