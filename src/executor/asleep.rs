//! Whether an executor may sleep, and what it looks at when it wakes.

use super::watch::by;
use super::Executor;
use crate::error::{Errno, Res};
use crate::intrusive::mpsc::ASLEEP;
use crate::sys::futex;
use crate::uring::kernel::{Kernel, Wait};

/// A sleep that was refused so has ended for no reason.
pub(super) fn is_early(refused: Errno) -> bool {
    matches!(refused, Errno(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

/// While the kernel refuses entries, waiting ends after so long, to offer them again.
pub(super) const RETRY_NS: u64 = 1_000_000;

impl<K: Kernel> Executor<K> {
    /// Sleeps, unless there is mail: None. `woke` is called as soon as it has slept, and ends the
    /// sleep: what it asks for before comes at a time.
    #[inline(always)]
    pub(super) fn fall_asleep(&self, wait: Wait, woke: impl Fn()) -> Option<Res<()>> {
        let (kernel, inbox) = (&self.reactor.kernel, &self.mailbox.inbox);
        let entered = if wait == Wait::Forever && kernel.sleeps_on_words() {
            if !inbox.try_sleep_on_word() {
                return None;
            }
            futex::wait_low(inbox.name(), ASLEEP);
            Ok(())
        } else {
            if !inbox.try_sleep() {
                return None;
            }
            kernel.enter(wait)
        };
        woke();
        Some(entered)
    }

    /// Ends the sleep. One that `Mailbox::rouse` ended is counted here, as no mail tells of it.
    #[inline(always)]
    pub(super) fn slept(&self) {
        self.fetch_feed();
        let inbox = &self.mailbox.inbox;
        if !inbox.end_sleep() && !inbox.has_any() {
            if let Some(meter) = self.meter() {
                meter.wakeups.add(1);
            }
        }
    }

    /// A sleep that begins now ends by mail, or by the queue of the pool, and by nothing else; and
    /// nobody looks at it.
    pub(super) fn may_nap(&self) -> bool {
        let reactor = &self.reactor;
        !(reactor.kernel.has_ring() || reactor.rows.are_elsewhere())
            && self.has_nothing_else()
            && !(self.woken.get() || self.hungry.get() != 0 || self.watches(by::ITEMS))
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
