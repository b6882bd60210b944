//! How workers of a queue sleep, are woken, and leave: rule 3 of `executor::queue`.

use core::ptr;

use super::mailbox::Mailbox;
use super::queue::{Queue, Seat, State, Woken, JOB_BYTES};
use crate::atomic::Ordering::Relaxed;
use crate::prefetch;

impl State {
    /// Rule 3.
    #[inline(always)]
    pub(super) fn wake_one(&mut self) -> Woken {
        self.wake_one_for(0)
    }

    /// As `wake_one`, where what was put in lies there: see `Mailbox::prefetch_first`.
    #[inline(always)]
    pub(super) fn wake_one_for(&mut self, first: usize) -> Woken {
        if self.is_one_to_wake() {
            self.wake_idle(first)
        } else {
            Woken(None)
        }
    }

    #[inline(always)]
    pub(super) fn is_one_to_wake(&self) -> bool {
        self.waking.is_null() && self.queued != 0
    }

    /// Rule 3, of a worker that has taken a task and leaves more.
    #[cold]
    pub(super) fn wake_another(&mut self) -> Woken {
        self.wake_idle(0)
    }

    /// The worker that fell asleep last, none if there is none. Roused under the lock, which it
    /// takes before it leaves.
    #[inline(always)]
    fn wake_idle(&mut self, first: usize) -> Woken {
        // SAFETY: null, or a mailbox, and they live for ever.
        let idle: Option<&'static Mailbox> = unsafe { self.idle.as_ref() };
        let Some(mailbox) = idle else { return Woken(None) };
        self.idle = mailbox.next_idle.get();
        mailbox.is_idle.store(false, Relaxed);
        self.waking = mailbox;
        Woken(Some(mailbox.rouse(first)))
    }

    /// `seat` looks, and takes a task or finds none.
    #[inline(always)]
    pub(super) fn looked(&mut self, seat: &Seat) {
        if ptr::eq(self.waking, seat.mailbox) {
            self.waking = ptr::null();
        }
    }

    pub(super) fn unlist(&mut self, seat: &Seat) {
        let mailbox = seat.mailbox;
        if !mailbox.is_idle.load(Relaxed) {
            return;
        }
        mailbox.is_idle.store(false, Relaxed);
        if ptr::eq(self.idle, mailbox) {
            self.idle = mailbox.next_idle.get();
            return;
        }
        let mut before = self.idle;
        // SAFETY: as above.
        while let Some(entry) = unsafe { before.as_ref() } {
            if ptr::eq(entry.next_idle.get(), mailbox) {
                entry.next_idle.set(mailbox.next_idle.get());
                return;
            }
            before = entry.next_idle.get();
        }
    }
}

impl Seat {
    /// The worker's thread, which has slept. Who took it out of the list has woken it, or has it
    /// leave: it has to look (`State::looked`), and no more.
    pub(super) fn was_unlisted(&self) -> bool {
        // Relaxed: what is in the queue is seen under the lock.
        !self.mailbox.is_idle.load(Relaxed)
    }
}

impl Queue {
    /// As `note`, after a worker has gone to sleep or was woken.
    pub(super) fn note_resting(&self, state: &State) {
        let resting = state.idle.cast_mut();
        // Relaxed: a hint; mailboxes are never freed.
        if self.resting.load(Relaxed) != resting {
            self.resting.store(resting, Relaxed);
        }
    }

    /// Asks for so many bytes of the queue, and for the line of the worker that is to be woken,
    /// which were written by that one as it fell asleep: together they come in the time of one.
    /// Where none sleeps the lines are left to who uses them.
    #[inline(always)]
    pub(super) fn fetch<const BYTES: usize>(&self) {
        // SAFETY: null, or a mailbox, and they live for ever.
        if let Some(mailbox) = unsafe { self.resting.load(Relaxed).as_ref() } {
            mailbox.prefetch();
            self.fetch_lines::<BYTES>();
        }
    }

    #[inline(always)]
    fn fetch_lines<const BYTES: usize>(&self) {
        let begin = ptr::from_ref(self).addr();
        for n in 0..BYTES / 64 {
            prefetch::line_to_write(begin + 64 * n);
        }
    }

    /// As `fetch`, for a worker that was woken.
    #[inline(always)]
    pub(super) fn fetch_all(&self) {
        self.fetch_lines::<JOB_BYTES>();
    }

    /// The worker's thread, about to sleep. False: it is not to, as there is something to take.
    #[inline(never)]
    pub fn rest(&self, seat: &Seat) -> bool {
        let mut state = self.lock_whole();
        state.looked(seat);
        if seat.is_leaving() {
            let woken = state.wake_one(); // What this one leaves.
            drop(state);
            woken.wake();
            return true;
        }
        if state.queued != 0 {
            return false;
        }
        if state.drains {
            seat.leaves.store(true, Relaxed);
            return false;
        }
        seat.mailbox.is_idle.store(true, Relaxed);
        seat.mailbox.next_idle.set(state.idle);
        state.idle = seat.mailbox;
        self.note_resting(&state);
        true
    }

    /// The worker's thread, which has slept, and has something of level `ready` to run. What waits
    /// here and does not go before that is another's to begin.
    #[inline(never)]
    pub fn end_rest(&self, seat: &Seat, ready: u8) {
        let mut state = self.lock();
        state.looked(seat);
        state.unlist(seat);
        let begins = state.level() < ready && !seat.is_leaving();
        let woken = if begins { Woken(None) } else { state.wake_one() };
        drop(state);
        woken.wake();
    }

    /// The worker's thread, which the kernel refuses to go on. One that sleeps has not been asked:
    /// it is to look whether it can.
    pub fn stir(&self) {
        let mut state = self.lock();
        let woken = if state.waking.is_null() { state.wake_idle(0) } else { Woken(None) };
        drop(state);
        woken.wake();
    }

    /// The worker's thread: its seat is about to go.
    pub fn leave(&self, seat: &Seat) {
        self.pass_on(seat);
    }

    /// ANY THREAD. Has the worker begin nothing more, and look at that.
    pub fn dismiss(&self, seat: &Seat) {
        seat.leaves.store(true, Relaxed);
        self.pass_on(seat);
        seat.wake();
    }

    /// A wake-up that a seat which is about to go was sent is another's: nobody else would be woken
    /// while it is on its way.
    fn pass_on(&self, seat: &Seat) {
        let mut state = self.lock_row();
        state.looked(seat);
        state.unlist(seat);
        let woken = state.wake_one();
        drop(state);
        woken.wake();
    }
}
