//! Whether an executor may sleep, and what it looks at when it wakes.

use super::Executor;
use crate::uring::kernel::Kernel;

/// While the kernel refuses entries, waiting ends after so long, to offer them again.
pub(super) const RETRY_NS: u64 = 1_000_000;

impl<K: Kernel> Executor<K> {
    /// Ends the sleep. One that `Mailbox::rouse` ended is counted here, as no mail tells of it.
    #[inline(always)]
    pub(super) fn slept(&self) {
        let inbox = &self.mailbox.inbox;
        if !inbox.end_sleep() && !inbox.has_any() {
            if let Some(meter) = self.meter() {
                meter.wakeups.add(1);
            }
        }
    }

    /// Who was woken for what waits looks at its mail first: a higher level may be there.
    pub(super) fn has_no_mail(&self) -> bool {
        !self.has_mail_left()
    }

    /// `collect` would find nothing; false also where only a timer is set.
    pub(super) fn has_nothing_else(&self) -> bool {
        let reactor = &self.reactor;
        self.may_sleep()
            && self.timers.is_empty()
            && !(self.mailbox.inbox.has_any() || reactor.has_completed())
            && !(reactor.has_unsubmitted() || K::needs_enter(&reactor.kernel))
    }

    /// Nothing is left over that a budget kept from being taken in.
    pub(super) fn may_sleep(&self) -> bool {
        !(self.reactor.could_submit() || self.mail_taken.get() || self.has_woken_joins())
    }
}
