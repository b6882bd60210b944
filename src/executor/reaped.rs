//! Completions that come many at a time, as those of cached files do.

use super::watch::by;
use super::Executor;
use crate::sched::run_queue::Several;
use crate::uring::kernel::Kernel;

impl<K: Kernel> Executor<K> {
    /// So many have come that it pays to take them in runs; and none is looked at.
    #[inline(always)]
    pub(super) fn has_run(&self) -> bool {
        self.reactor.kernel.has_run() && !self.watches(by::TRACED)
    }

    /// What `Reactor::reap_run` takes, `max` at most, goes to `ready`: how many.
    #[inline(always)]
    pub(super) fn reap_run(&self, ready: &Several<'_>, max: usize, now: u64) -> usize {
        match self.reactor.reap_run(self.address(), max, now) {
            Some(run) => ready.push_run(run),
            None => 0,
        }
    }
}
