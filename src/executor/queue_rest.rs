//! How workers of a queue sleep, are woken, and leave: rule 3 of `executor::queue`.

use core::ptr;

use super::queue::{Queue, Seat, State, Woken, HOT_BYTES};
use crate::atomic::Ordering::Relaxed;
use crate::prefetch;

impl State {
    /// Rule 3.
    pub(super) fn wake_one(&mut self) -> Woken {
        if !self.waking.is_null() || self.queued == 0 {
            return Woken(None);
        }
        self.wake_idle()
    }

    /// The worker that fell asleep last, none if there is none.
    fn wake_idle(&mut self) -> Woken {
        // SAFETY: a seat leaves the list before it goes.
        let Some(seat) = (unsafe { self.idle.as_ref() }) else { return Woken(None) };
        seat.mailbox.prefetch_word();
        self.idle = seat.next.get();
        seat.is_idle.store(false, Relaxed);
        self.waking = seat;
        seat.mailbox.inbox.pin();
        Woken(Some(seat.mailbox))
    }

    /// `seat` looks, and takes a task or finds none.
    pub(super) fn looked(&mut self, seat: &Seat) {
        if ptr::eq(self.waking, seat) {
            self.waking = ptr::null();
        }
    }

    pub(super) fn unlist(&mut self, seat: &Seat) {
        if !seat.is_idle.load(Relaxed) {
            return;
        }
        seat.is_idle.store(false, Relaxed);
        if ptr::eq(self.idle, seat) {
            self.idle = seat.next.get();
            return;
        }
        let mut before = self.idle;
        // SAFETY: as above.
        while let Some(entry) = unsafe { before.as_ref() } {
            if ptr::eq(entry.next.get(), seat) {
                entry.next.set(seat.next.get());
                return;
            }
            before = entry.next.get();
        }
    }
}

impl Seat {
    /// The worker's thread, which has slept. Who took it out of the list has woken it, or has it
    /// leave: it has to look (`State::looked`), and no more.
    pub(super) fn was_unlisted(&self) -> bool {
        // Relaxed: what is in the queue is seen under the lock.
        !self.is_idle.load(Relaxed)
    }
}

impl Queue {
    /// As `note`, after a worker has gone to sleep or was woken.
    pub(super) fn note_resting(&self, state: &State) {
        // SAFETY: a seat leaves the list before it goes.
        let seat = unsafe { state.idle.as_ref() };
        let resting = seat.map_or(ptr::null_mut(), |seat| ptr::from_ref(seat.mailbox).cast_mut());
        // Relaxed: a hint; mailboxes are never freed.
        if self.resting.load(Relaxed) != resting {
            self.resting.store(resting, Relaxed);
        }
    }

    /// Asks for the lines of the queue, and of the worker that is to be woken, which were written
    /// by that one as it fell asleep: together they come in the time of one. Where none sleeps the
    /// lines are left to who uses them.
    #[inline(always)]
    pub(super) fn fetch(&self) {
        // SAFETY: null, or a mailbox, and they live for ever.
        if let Some(mailbox) = unsafe { self.resting.load(Relaxed).as_ref() } {
            self.fetch_lines();
            mailbox.prefetch();
        }
    }

    /// The same, for a worker that was woken.
    pub(super) fn fetch_lines(&self) {
        let begin = ptr::from_ref(self).addr();
        for n in 0..HOT_BYTES / 64 {
            prefetch::line_to_write(begin + 64 * n);
        }
    }

    /// The worker's thread, about to sleep. False: it is not to, as there is something to take.
    pub fn rest(&self, seat: &Seat) -> bool {
        let mut state = self.lock_soon();
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
        seat.is_idle.store(true, Relaxed);
        seat.next.set(state.idle);
        state.idle = seat;
        self.note_resting(&state);
        true
    }

    /// The worker's thread, which has slept, and has something of level `ready` to run. What waits
    /// here and does not go before that is another's to begin.
    pub fn end_rest(&self, seat: &Seat, ready: u8) {
        let mut state = self.lock_soon();
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
        let woken = if state.waking.is_null() { state.wake_idle() } else { Woken(None) };
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
        let mut state = self.lock();
        state.looked(seat);
        state.unlist(seat);
        let woken = state.wake_one();
        drop(state);
        woken.wake();
    }
}
