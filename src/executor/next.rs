//! From a task that suspends straight to the next one that is ready: what `run_chunk` does between
//! two items is done by the task, on its own stack, so that there is a switch less, and the frame
//! of the loop stays untouched.
//!
//! From a launch that ends to the next one without any switch: both run on the executor's stack, so
//! what has called the one calls the other. Any other task that exits goes by way of the loop, as
//! nothing may be published on the stack of who is published: so does one that has suspended, which
//! has kept the stack that it was launched on. But a launch that ends and is joined by one task,
//! which is to run next, is left for that one: what it ran on is the executor's stack, and nobody's
//! who is published.
//!
//! Where the switch is corosensei's every task goes that way.

use core::cell::Cell;

use super::exit::ExitHook;
use super::head::{dec, inc};
use super::Executor;
use crate::stack::switch::Switch;
use crate::sys::cxx_eh::Exceptions;
use crate::task::annex::note;
use crate::task::header::{mark, Flags, TaskRef, Waits};
use crate::task::warm::WarmStacks;
use crate::ticks;
use crate::uring::kernel::Kernel;

/// From so many tasks on, of each of which some eight lines are in use, they do not fit a
/// second-level cache. With fewer, to fetch a header ahead takes longer than to wait for it: 2 to
/// 5 % of a hand-over among 128, and as much among 600.
const MOST: usize = 1024;

/// From so many tasks on they do not fit the nearest caches, and fetching the next while one runs
/// pays for itself. So does it for however few that were in the kernel just now: what it has copied
/// for them has taken their place (64 reads of 4 KiB: 15 to 25 ns of each; a NOP: 2).
pub(super) const MANY: usize = 96;

/// What a task has to know of the chunk of items that it is one of.
pub(super) struct Next {
    /// What `Ready::popped` says at the end of the chunk.
    last: Cell<usize>,
    begun: Cell<u64>,
    /// The tasks are more than the nearest caches hold.
    many: Cell<bool>,
    /// And not because of the kernel: between a task's completion and its turn are too many others
    /// for its header to be near still.
    crowd: Cell<bool>,
    /// They are more than the second-level cache holds.
    most: Cell<bool>,
    /// By whether who asks expects time tracking: the thread's exceptions, if the executor is as
    /// expected and the task that runs has its stack to keep already; else some. So who asks for
    /// exceptions asks for all three at once: four instructions less of each suspension.
    plain: [Cell<*const Exceptions>; 2],
}

/// When a task suspends; None: the loop will say.
#[derive(Clone, Copy)]
pub(super) struct Ahead(pub(super) Option<u64>);

impl Next {
    pub(super) const fn new() -> Self {
        let (last, begun) = (Cell::new(0), Cell::new(0));
        let [many, crowd, most] = [const { Cell::new(false) }; 3];
        Self { last, begun, many, crowd, most, plain: [const { Cell::new(Exceptions::SOME) }; 2] }
    }

    #[inline(always)]
    pub(super) fn begin(&self, last: usize, begun: u64, (many, attached): (bool, usize)) {
        self.last.set(last);
        self.begun.set(begun);
        self.many.set(many);
        self.crowd.set(attached > MANY);
        self.most.set(attached > MOST);
    }

    /// Nothing is in the way of a suspension of the task that runs that a call which ends in the
    /// switch does not look at itself.
    #[inline(always)]
    pub(super) fn is_plain<const TRACK: bool>(&self) -> bool {
        self.is_plain_where(TRACK)
    }

    /// As `is_plain`, for who knows whether time is tracked.
    #[inline(always)]
    pub(super) fn is_plain_where(&self, tracks: bool) -> bool {
        // SAFETY: `SOME`, or the owner thread's, which this is.
        Switch::PASSES && unsafe { (*self.plain[tracks as usize].get()).is_none() }
    }

    /// The chunk is, with so many popped.
    #[inline(always)]
    pub(super) fn is_over(&self, popped: usize) -> bool {
        self.last.get() == popped
    }

    /// It is time to look.
    #[inline(always)]
    pub(super) fn is_late(&self, now: u64, look_ticks: u64) -> bool {
        now.wrapping_sub(self.begun.get()) >= look_ticks
    }

    #[inline(always)]
    pub(super) fn many(&self) -> bool {
        self.many.get()
    }

    #[inline(always)]
    pub(super) fn crowd(&self) -> bool {
        self.crowd.get()
    }

    #[inline(always)]
    pub(super) fn most(&self) -> bool {
        self.most.get()
    }

    /// The loop wants to see each item: the one that was just popped is the last.
    #[inline(always)]
    pub(super) fn is_last(&self, popped: usize) {
        self.last.set(popped);
    }
}

impl<K: Kernel> Executor<K> {
    /// # Safety
    /// As `Switch::resume`.
    #[inline(always)]
    pub(super) unsafe fn resume(&self, task: TaskRef) {
        self.runs_kept();
        // SAFETY: the caller's.
        unsafe { task.switch.resume(&self.back) };
    }

    /// # Safety
    /// As `WarmStacks::launch`.
    #[inline(always)]
    pub(super) unsafe fn launch(&self, task: TaskRef) {
        self.runs_launch();
        // SAFETY: the caller's.
        unsafe { self.warm.launch(task, launches::<K>, &self.back, || self.runs_kept()) };
    }

    /// A launch is to run: see `Next::plain`.
    #[inline(always)]
    fn runs_launch(&self) {
        self.next.plain[self.track as usize].set(Exceptions::SOME);
    }

    /// What runs from here on was resumed, or has just kept its stack, or launches on its own.
    #[inline(always)]
    pub(super) fn runs_kept(&self) {
        self.next.plain[self.track as usize].set(self.exceptions);
    }

    /// The stamp of a suspension, where the call that suspends begins: what comes after it in the
    /// program runs while the counter is read, and those few nanoseconds are the next item's.
    #[inline(always)]
    pub(super) fn stamp_ahead(&self) -> Ahead {
        if !Switch::PASSES || self.ready.popped() == self.next.last.get() {
            return Ahead(None); // In a chunk of one that would be a stamp more.
        }
        Ahead(Some(self.stamp()))
    }

    /// As `stamp_ahead`, of a task that waits for what no time is asked of: with nobody else ready
    /// it is the loop's turn, which reads the counter itself.
    #[inline(always)]
    pub(super) fn stamp_to_wait(&self) -> Ahead {
        if self.ready.is_empty() {
            return Ahead(None);
        }
        self.stamp_ahead()
    }

    /// `READY`: `task` waits for nothing but its turn.
    ///
    /// Returns when `task`, which is about to suspend, is resumed. False: it is the loop's turn,
    /// and nothing was done.
    #[inline(always)]
    pub(super) fn passes<const READY: bool>(&self, task: TaskRef, now: Ahead) -> bool {
        let Ahead(Some(now)) = now else { return false };
        if now.wrapping_sub(self.next.begun.get()) >= self.look_ticks {
            return false;
        }
        let Some(next) = self.ready.pop() else { return false };
        if self.next.many.get() {
            self.ready.prefetch(self.warm.keeps());
        }
        if READY {
            task.suspended_ready(now);
        } else {
            task.suspended_awaiting(now);
        }
        let flags = next.head.flags.get();
        // A resumption behind others changes nothing.
        if flags != Flags::COMPLETED || self.span.get().1 != Flags::COMPLETED {
            self.spans(flags, now);
        }
        // One that suspends and one that is resumed leave the count as it is.
        if flags == Flags::PENDING_LAUNCH {
            dec(&self.head.tasks_pending_launch);
            inc(&self.head.tasks_suspended);
        }
        next.running(now);
        self.head.current_task.set(next.as_head());
        // SAFETY: on the stack of `task`; `next` was ready, so it does not run, unless it is
        // `task`.
        unsafe {
            if flags == Flags::PENDING_LAUNCH {
                self.runs_launch();
                self.warm.pass_to_launch(task, next, launches::<K>, || self.runs_kept());
            } else {
                task.switch.pass(&next.switch);
            }
        }
        true
    }

    /// The most frequent yield: to one of the same priority that has run before, in the middle of a
    /// chunk, with no exception and no scope to be looked at. All that is asked for the others is
    /// asked here before anything is done, so that no frame is needed. `TRACK`: of an executor that
    /// tracks time; else of one that does not.
    ///
    /// The next task, as which the caller is to go on, by `Switch::pass_last`; None: nothing was
    /// done.
    #[inline(always)]
    pub fn turn<const TRACK: bool>(&self, task: TaskRef) -> Option<TaskRef> {
        // In this order: with time tracking it is asked twice, and the first is the answer then.
        let plain = self.next.is_plain::<TRACK>()
            && !self.next.many()
            && !task.has(mark::STOPS)
            && !self.next.is_over(self.ready.popped());
        if !plain {
            return None;
        }
        let (next, level) = self.ready.front_beside(task)?;
        if TRACK {
            let now = ticks::now();
            if self.span.get().1 != Flags::COMPLETED
                || now.wrapping_sub(self.next.begun.get()) >= self.look_ticks
            {
                return None;
            }
            task.yields();
            task.suspended_ready(now);
            next.running(now);
        } else {
            task.yields();
            next.resumed_unstamped();
        }
        // SAFETY: as was just asked; `task` runs.
        unsafe { self.ready.turn(task, next, level) };
        self.head.current_task.set(next.as_head());
        Some(next)
    }

    /// What is to run where `task`, a launch, has just returned: the next one, if that is a launch
    /// on the same stack. None: it is the loop's turn, and nothing was done.
    #[inline(always)]
    fn next_launch(&self, task: TaskRef) -> Option<TaskRef> {
        if self.next.last.get() == self.ready.popped() {
            return None;
        }
        // No call before this, optimised or not: operations in flight may lie below this frame.
        let marks = task.marks.get();
        if marks & mark::ENDS != 0 {
            return match marks & (mark::SCOPED | mark::OPERATIONS | mark::HOOKED) {
                mark::HOOKED => self.next_after_child(task),
                0 => {
                    self.leave_for_joiner(task);
                    None
                }
                _ => None,
            };
        }
        if !self.may_hand_over() {
            return None;
        }
        if self.track {
            self.next_launch_stamped::<true, false>(task)
        } else {
            self.next_launch_stamped::<false, false>(task)
        }
    }

    #[inline(always)]
    fn may_hand_over(&self) -> bool {
        // SAFETY: the owner thread's; who finds that it is not does not use them.
        let plain = unsafe { (*self.exceptions).is_none() };
        plain && !self.warm.keeps() && self.is_of_this_process()
    }

    /// `task`, a launch that somebody joins, has just returned. Does not, if that is one task of
    /// ours, and is to run next; else nothing was done.
    #[inline(always)]
    fn leave_for_joiner(&self, task: TaskRef) {
        if !Switch::EXITS_TO || WarmStacks::has_kept(task) || task.notes(note::POOLED) {
            return;
        }
        let Some((joiner, record)) = self.only_joiner(task) else { return };
        // SAFETY: the owner thread's; who finds that it is not does not use them.
        let throws = unsafe { !(*self.exceptions).is_none() };
        let plain = !throws && self.is_of_this_process();
        if !plain || joiner.cpu_level() >= self.ready.level() {
            return;
        }
        let now = self.stamp();
        if self.next.is_late(now, self.look_ticks) {
            return;
        }
        task.returned(now);
        self.spans(Flags::COMPLETED, now);
        // It is on the executor's stack, which is that of nobody who waits.
        self.warm.give_back(task);
        task.joiners.take_all();
        record.tell(task.result());
        joiner.waits.set(Waits::Nothing);
        joiner.completed(now);
        self.ready.count_one();
        dec(&self.head.tasks_suspended);
        joiner.running(now);
        self.runs_kept();
        self.head.current_task.set(joiner.as_head());
        task.unmark(mark::JOINED);
        task.exited();
        // The last touch, as in `next_launch_stamped`.
        task.state().exited();
        // SAFETY: on that stack, called by `launches`; the joiner is suspended.
        unsafe { Switch::exit_to(&joiner.switch) }
    }

    /// As `next_launch`, of a task that has a hook.
    #[inline(always)]
    fn next_after_child(&self, task: TaskRef) -> Option<TaskRef> {
        let is_joined = !task.joiners.is_empty();
        if is_joined || !ExitHook::may_leave_quietly(task) || !self.may_hand_over() {
            return None;
        }
        if self.track {
            self.next_launch_stamped::<true, true>(task)
        } else {
            self.next_launch_stamped::<false, true>(task)
        }
    }

    /// The rest of it. Without time tracking all stamps are 0, as the attach has left them, and no
    /// time runs out.
    #[inline(always)]
    fn next_launch_stamped<const TRACK: bool, const CHILD: bool>(
        &self,
        task: TaskRef,
    ) -> Option<TaskRef> {
        let mut now = 0;
        let (next, then) = self.ready.pop_if(|next| {
            if next.head.flags.get() != Flags::PENDING_LAUNCH
                || !self.warm.launches_there(next, task)
            {
                return false;
            }
            if TRACK {
                now = ticks::now();
            }
            !TRACK || now.wrapping_sub(self.next.begun.get()) < self.look_ticks
        })?;
        let told = if CHILD {
            let result = task.result();
            // SAFETY: it may, says `next_after_child`, since when nobody else ran.
            unsafe { ExitHook::leave_quietly(task) }.map(|on_exit| (on_exit, result))
        } else {
            None
        };
        if let Some(then) = then {
            if self.next.many.get() {
                let _ = self.ready.prefetch_behind(then); // A launch, most likely.
            }
        }
        if TRACK {
            task.returned(now);
        }
        // SAFETY: on the stack of `task`, called by `launches`.
        unsafe { task.switch.hand_over(&next.switch, next.addr() as *mut u8) };
        task.exited();
        // The last touch: another thread may launch it at once. The stack is the executor's, and of
        // the task nothing is left on it.
        task.state().exited();
        if let Some((on_exit, result)) = told {
            // SAFETY: the caller's of `Group::set_on_exit`, with the handle it expects.
            unsafe { on_exit(task.as_head(), result) };
        }
        dec(&self.head.tasks_pending_launch);
        if TRACK {
            next.running(now);
        } else {
            next.running_unstamped();
        }
        self.head.current_task.set(next.as_head());
        Some(next)
    }
}

/// What is called on a stack that launches borrow. While a task runs, its frame holds the task
/// alone, as it is part of the stack that a task keeps: with the executor, too, one line more is
/// touched by each resumption (a sleep among 10,000: 1.13).
pub(super) extern "C" fn launches<K: Kernel>(task: *mut u8) -> ! {
    // SAFETY: what it was launched with.
    let mut task = unsafe { TaskRef::from_head(task.cast()) };
    loop {
        task.performs();
        // SAFETY: its executor runs it, so it is of this kind and lives.
        let ex = unsafe { &*task.executor().cast::<Executor<K>>() };
        match ex.next_launch(task) {
            Some(next) => task = next,
            // SAFETY: on its stack, which it does not come back to.
            None => unsafe { task.switch.exit() },
        }
    }
}
