//! Ending the sleep of a worker that was taken out of the list of those who sleep.

use super::mailbox::Mailbox;
use crate::atomic::Ordering::Relaxed;
use crate::prefetch;

/// What is left to do for who was roused.
#[must_use]
pub(super) enum Roused {
    /// It sleeps on the word of that name, which nothing keeps: mailboxes are never freed, and
    /// another sleep there ends for no reason.
    OnWord(usize),
    Elsewhere(Pinned),
}

/// It sleeps elsewhere; or it is awake, and is to be asked.
#[must_use]
pub(super) struct Pinned {
    mailbox: &'static Mailbox,
    sleeps: bool,
}

impl Pinned {
    #[cold]
    pub(super) fn wake(self) {
        if self.sleeps {
            self.mailbox.wake();
        } else {
            self.mailbox.ask_wake();
        }
        self.mailbox.inbox.unpin();
    }
}

impl Mailbox {
    /// ANY THREAD, while something keeps the owner from leaving. As `ask_wake`, but an owner that
    /// sleeps has no mail to deal with when it wakes: it knows where to look for why. What is left
    /// to do may be done later. `first`: see `prefetch_first`.
    #[inline(always)]
    pub(super) fn rouse(&'static self, first: usize) -> Roused {
        // Relaxed: a hint.
        self.first.store(first, Relaxed);
        let sleeps = self.inbox.rouse();
        if sleeps && self.inbox.is_on_word() {
            return Roused::OnWord(self.inbox.name());
        }
        self.inbox.pin();
        Roused::Elsewhere(Pinned { mailbox: self, sleeps })
    }

    /// The owner, which was roused. Asks for what it is to begin, most likely, which another
    /// processor has just written: it comes while the queue is looked at, and not after that.
    #[inline(always)]
    pub(super) fn prefetch_first(&self) {
        // Relaxed: a hint; any address will do.
        let at = self.first.load(Relaxed);
        for n in 0..3 {
            prefetch::line_to_write(at + 64 * n);
        }
    }
}
