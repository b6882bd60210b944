//! A worker of a pool: the loop of an executor that also begins what waits in a queue which it
//! shares with others.
//!
//! Before each item it asks whether the queue has something of a higher priority than what is ready
//! here. So a task that is put into the queue is the next that any worker begins, if its level is
//! the highest; what has begun here and is ready again competes by its level, and takes turns with
//! what is new at the same one. A plain executor pays nothing for this: it is another loop.

use core::mem::MaybeUninit;
use std::time::Duration;

use super::asleep::is_early;
use super::head::{add, dec, inc};
use super::jobs::Next;
use super::queue::{Queue, Seat, NO_LEVEL};
use super::run::{Inside, BOUND};
use super::watch::by;
use super::Executor;
use crate::error::{Errno, Res};
use crate::task::annex::note;
use crate::task::header::{Flags, TaskRef};
use crate::uring::kernel::{Kernel, Wait};

impl<K: Kernel> Executor<K> {
    /// OWNER'S THREAD, outside its tasks. One pass: waits until there is something to do, and does
    /// some of it. EPERM in the child of a fork.
    pub fn run_fed(&self, seat: &Seat) -> Res<()> {
        self.fed_by.set(seat.queue());
        let _inside = Inside::new(self);
        if self.is_watched() {
            self.watched_run();
        }
        let begun = self.stamp();
        let (now, ran) = self.fed_pass(begun, seat);
        add(&self.head.total_ticks_in_run, now.wrapping_sub(begun));
        if self.is_watched() {
            self.watched_return(begun, now);
        }
        ran
    }

    /// OWNER'S THREAD. It begins tasks of that queue.
    pub fn is_fed_by(&self, queue: &Queue) -> bool {
        core::ptr::eq(self.fed_by.get(), queue)
    }

    /// OWNER'S THREAD. `task`, which runs, was taken from that queue: until it returns it is left.
    pub fn took(&self, task: TaskRef, queue: &Queue) -> bool {
        self.is_fed_by(queue) && task.notes(note::POOLED)
    }

    /// OWNER'S THREAD. A task waits in the queue that feeds it.
    pub(super) fn is_fed(&self) -> bool {
        // SAFETY: null, or a queue, and they are never freed.
        let queue = unsafe { self.fed_by.get().as_ref() };
        queue.is_some_and(|queue| queue.level() != NO_LEVEL)
    }

    /// After a sleep: who woke it has written to the queue that feeds it, and to its mailbox.
    pub(super) fn fetch_feed(&self) {
        // SAFETY: null, or a queue, and they are never freed.
        if let Some(queue) = unsafe { self.fed_by.get().as_ref() } {
            queue.fetch_all();
            self.mailbox.prefetch();
        }
    }

    fn fed_pass(&self, begun: u64, seat: &Seat) -> (u64, Res<()>) {
        let (mut now, collected) = self.collect(begun);
        self.tell_ended(seat);
        let mut has_to_look = false;
        if let Err(e) = collected {
            return self.leave_fed(now, Err(e));
        }
        if self.ready.is_empty() && seat.level() == NO_LEVEL {
            // One that leaves sleeps as long as it has tasks that have begun.
            let is_over = seat.is_leaving() && !self.has_work();
            // One that leaves is in no list: mail wakes it.
            let listed = !seat.is_leaving();
            if is_over || !seat.queue().rest(seat) {
                return self.leave_fed(now, Ok(()));
            }
            let mut slept = Ok(());
            let naps = listed && self.may_nap() && seat.hands.ensure().is_ok();
            if let Some(woke) = naps.then(|| self.nap(&mut now, &mut slept, seat)).flatten() {
                return self.go_on(woke, now, seat);
            }
            if slept.is_ok() {
                let waited;
                (now, waited) = self.wait(now, None, || listed && seat.was_unlisted());
                slept = waited.map(|_| ());
            }
            // Who cannot go on begins nothing: what it was woken for is another's.
            let ready = if slept.is_ok() { self.ready.level() } else { 0 };
            let is_fed = ready == NO_LEVEL && seat.was_unlisted();
            // Who was woken for what waits looks as it takes that.
            if is_fed && seat.level() != NO_LEVEL {
                has_to_look = true;
                seat.was_woken.set(true);
            } else {
                seat.queue().end_rest(seat, ready);
            }
            self.tell_ended(seat);
            if let Err(e) = slept {
                return self.leave_fed(now, Err(e));
            }
        }
        let popped = self.ready.popped();
        now = self.fed_items(now, seat);
        if !self.is_mine() {
            return (now, Err(Errno(libc::EPERM))); // As in `pass`.
        }
        // Another was first. What comes to this one now may keep it for long, and nobody would be
        // woken in that time.
        if has_to_look && self.ready.popped() == popped {
            seat.queue().end_rest(seat, 0);
        }
        self.leave_fed(now, Ok(()))
    }

    /// Sleeps, where nothing can come but mail and what waits in the queue, says `may_nap`; there
    /// is a hand. When it woke, if that was for what waits, with nothing else to look at: it has
    /// begun the first of that by then, as `fed_chunk` would have, right behind the sleep and in as
    /// little code as there can be, as none of it is in the caches any more. None: as before
    /// `wait`, which is to see to the rest, unless the kernel has refused to go on.
    #[inline(never)]
    fn nap(&self, now: &mut u64, slept: &mut Res<()>, seat: &Seat) -> Option<u64> {
        let woke = || {
            seat.queue().fetch_all();
            seat.mailbox.prefetch();
            seat.mailbox.inbox.end_sleep();
            seat.mailbox.prefetch_first();
        };
        let napped = self.fall_asleep(Wait::Forever, woke)?;
        let woke = self.stamp();
        add(&self.head.total_ticks_sleeping, woke.wrapping_sub(*now));
        *now = woke;
        match napped {
            Err(e) if !is_early(e) => {
                *slept = Err(e);
                return None;
            }
            _ => {}
        }
        let is_fed = seat.was_unlisted() && !seat.mailbox.inbox.has_any();
        if !is_fed {
            return None;
        }
        let mut posted = MaybeUninit::uninit();
        let task = match seat.queue().take_woken(seat, &mut posted, self.address()) {
            Some(Next::Task(task)) => task,
            Some(Next::Job(level)) => {
                // SAFETY: it is there.
                let posted = unsafe { posted.assume_init_ref() };
                self.begin_job(seat, posted, level, woke)
            }
            None => return Some(woke), // Another was first.
        };
        seat.fed_last.set(true);
        self.ready.count_one();
        self.head.tasks_running.set(1);
        self.span.set((woke, Flags::PENDING_LAUNCH));
        self.next.begin(self.ready.popped(), woke, (false, 0));
        let (end, suspends) = self.run_item::<false>(task, Flags::PENDING_LAUNCH, woke);
        *now = end;
        self.end_fed(end, suspends, 1, seat);
        Some(woke)
    }

    /// After the first item, if it is not time to look.
    #[inline(never)]
    fn go_on(&self, woke: u64, mut now: u64, seat: &Seat) -> (u64, Res<()>) {
        if self.is_mine() && now.wrapping_sub(woke) < self.look_ticks {
            now = self.fed_items(now, seat);
        }
        if !self.is_mine() {
            return (now, Err(Errno(libc::EPERM))); // As in `pass`.
        }
        self.leave_fed(now, Ok(()))
    }

    fn leave_fed(&self, now: u64, result: Res<()>) -> (u64, Res<()>) {
        let (now, left) = self.leave_run(now, result.map(|()| 0));
        (now, left.map(|_| ()))
    }

    #[inline(never)]
    fn fed_items(&self, now: u64, seat: &Seat) -> u64 {
        if self.watches(by::ITEMS) {
            self.fed_chunk::<true>(now, seat)
        } else {
            self.fed_chunk::<false>(now, seat)
        }
    }

    /// As `run_chunk`, with the queue.
    fn fed_chunk<const WATCHED: bool>(&self, begun: u64, seat: &Seat) -> u64 {
        let head = &self.head;
        head.tasks_running.set(1);
        let mut now = begun;
        self.span.set((begun, Flags::PENDING_LAUNCH)); // Most likely.
        let mut one_more = false;
        let mut items = 0;
        while items < BOUND && now.wrapping_sub(begun) < self.look_ticks {
            let Some((task, is_new)) = self.next_fed(seat, now) else { break };
            items += 1;
            let flags = task.head.flags.get();
            self.spans(flags, now);
            // It passes to no other: what is next is for the queue to say.
            self.next.begin(self.ready.popped(), now, (false, 0));
            if flags == Flags::PENDING_LAUNCH {
                if !is_new {
                    dec(&head.tasks_pending_launch);
                } else if WATCHED {
                    self.watched_launch(task, true);
                }
                if one_more {
                    inc(&head.tasks_suspended);
                }
            } else if !one_more {
                dec(&head.tasks_suspended);
            }
            (now, one_more) = self.run_item::<WATCHED>(task, flags, now);
            if !(one_more || self.is_mine()) {
                break; // The child of a fork.
            }
        }
        self.end_fed(now, one_more, items, seat);
        now
    }

    /// After so many items, the last of which has suspended or not.
    #[inline(always)]
    fn end_fed(&self, now: u64, one_more: bool, items: usize, seat: &Seat) {
        let head = &self.head;
        if one_more {
            inc(&head.tasks_suspended);
        }
        self.end_span(now);
        head.tasks_running.set(0);
        head.current_task.set(core::ptr::null());
        if self.is_mine() {
            self.tell_ended(seat);
        }
        self.since_enter.set(self.since_enter.get().saturating_add(items as u32));
    }

    /// What is to run next, and whether it comes from the queue.
    #[inline(always)]
    fn next_fed(&self, seat: &Seat, now: u64) -> Option<(TaskRef, bool)> {
        let (new, ready) = (seat.level(), self.ready.level());
        let takes_turns = new == ready && !seat.fed_last.get();
        if new < ready || (takes_turns && new != NO_LEVEL) {
            // What is ready here goes before what is below it, or level with it in its turn.
            let lowest = if takes_turns || ready == NO_LEVEL { ready } else { ready - 1 };
            let ended = self.pooled_ended.take();
            let has_hand = seat.hands.ensure().is_ok();
            let mut posted = MaybeUninit::uninit();
            let looked = has_hand && !seat.was_woken.get();
            if looked && seat.queue().take_of_row(seat, new, ended, &mut posted) {
                seat.fed_last.set(true);
                self.ready.count_one();
                // SAFETY: it is there.
                let posted = unsafe { posted.assume_init_ref() };
                return Some((self.begin_job(seat, posted, new, now), true));
            }
            seat.was_woken.set(false);
            let room = if has_hand { Some(&mut posted) } else { None };
            let taken = seat.queue().take(seat, lowest, room, ended as usize, self.address());
            if let Some(next) = taken {
                seat.fed_last.set(true);
                self.ready.count_one();
                let task = match next {
                    Next::Task(task) => task,
                    Next::Job(level) => {
                        // SAFETY: it is there.
                        let posted = unsafe { posted.assume_init_ref() };
                        self.begin_job(seat, posted, level, now)
                    }
                };
                return Some((task, true));
            }
            if !has_hand && ready == NO_LEVEL {
                no_hand();
            }
        } else {
            self.tell_ended(seat);
        }
        seat.fed_last.set(false);
        self.ready.pop().map(|task| (task, false))
    }

    /// What has ended is counted at once: somebody may wait for it.
    #[inline(always)]
    fn tell_ended(&self, seat: &Seat) {
        let ended = self.pooled_ended.take();
        if ended != 0 {
            seat.queue().ended(ended as usize);
        }
    }
}

/// There is no memory for the task of a job. What waits does so until one of this worker ends, or
/// another takes it; this one gives the others time.
#[cold]
#[inline(never)]
fn no_hand() {
    std::thread::sleep(Duration::from_millis(1));
}
