//! The ready tasks: one FIFO a priority and a bitmap of those that are not empty, so that the
//! oldest of the highest priority is found by one instruction.

use core::cell::Cell;
use core::num::NonZeroU32;
use core::ptr::NonNull;

use super::shares::Shares;
use crate::intrusive::{At, Batch, Link};
use crate::task::header::{Flags, Task, TaskHead, TaskRef, Waits, PRIORITIES};
use crate::task::list::{TaskList, TaskLists};

/// The number of what stands behind all levels, and is never empty.
const BEHIND: usize = PRIORITIES;
const LISTS: usize = PRIORITIES + 1;

/// The front of that: as much of a header as is looked at, of a task that is idle for ever. Who
/// looks for a task that was resumed before asks one question of the front, therefore, and not
/// first whether there is one.
#[repr(C, align(16))]
struct Nobody([u64; NOBODY_WORDS]);

const NOBODY_WORDS: usize = (core::mem::offset_of!(Task, link) + size_of::<Link>()) / 8;

static NOBODY: Nobody = Nobody([0; NOBODY_WORDS]);

/// In this order: two counters side by side become one vector, and a load of either then waits for
/// the store of both.
#[repr(C)]
pub struct Ready {
    levels: TaskLists<LISTS>,
    /// Ever, less those that were removed. How many are ready is the difference to `popped`: a pop
    /// and a push store one word each either way, and a pass counts its items by the other.
    pushed: Cell<usize>,
    /// Bit n: level n is not empty. That of `BEHIND` is always set.
    occupied: Cell<u32>,
    popped: Cell<usize>,
}

impl Ready {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        let nobody: *const Link =
            (&raw const NOBODY).wrapping_byte_add(core::mem::offset_of!(Task, link)).cast();
        // SAFETY: within a static.
        let nobody = unsafe { NonNull::new_unchecked(nobody.cast_mut()) };
        Self {
            levels: TaskLists::ending_in(nobody),
            pushed: Cell::new(0),
            occupied: Cell::new(1 << BEHIND),
            popped: Cell::new(0),
        }
    }

    #[inline(always)]
    pub fn len(&self) -> usize {
        self.pushed.get().wrapping_sub(self.popped.get())
    }

    /// How many `pop` has given so far; wraps.
    #[inline(always)]
    pub fn popped(&self) -> usize {
        self.popped.get()
    }

    /// An item runs that was not in here: to those who look from outside it is another all the
    /// same.
    #[inline(always)]
    pub fn count_one(&self) {
        self.pushed.set(self.pushed.get().wrapping_add(1));
        self.popped.set(self.popped.get().wrapping_add(1));
    }

    /// As `popped`, from another thread.
    ///
    /// # Safety
    /// The queue stays while it is read.
    pub unsafe fn glimpse(&self) -> usize {
        // SAFETY: the caller's; a word of our own.
        unsafe { self.popped.as_ptr().read_volatile() }
    }

    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.occupied.get() == 1 << BEHIND
    }

    /// The highest level that has one; `PRIORITIES` without.
    #[inline(always)]
    pub fn level(&self) -> u8 {
        // SAFETY: one bit is always set.
        unsafe { NonZeroU32::new_unchecked(self.occupied.get()) }.trailing_zeros() as u8
    }

    /// The front of the highest level, which is `NOBODY` where none is ready, and that level.
    #[inline(always)]
    fn first(&self) -> (TaskRef, u8) {
        let level = self.level();
        // SAFETY: a bit stands for a level, and only those of levels that are not empty are set.
        (unsafe { self.at(level).front().unwrap_unchecked() }, level)
    }

    /// # Safety
    /// There is such a level.
    #[inline(always)]
    unsafe fn at(&self, level: u8) -> TaskList<At<'_, LISTS>> {
        // SAFETY: the caller's.
        unsafe { self.levels.at_unchecked(level as usize) }
    }

    /// Behind all that are ready at its level. The task is in no list.
    #[inline(always)]
    pub fn push(&self, task: TaskRef) {
        debug_assert!(task.waits.get() == Waits::Nothing);
        self.push_over(task);
    }

    /// As `push`; whatever its `waits` said is over.
    #[inline(always)]
    pub fn push_over(&self, task: TaskRef) {
        self.push_over_in(task, task.cpu_level());
    }

    /// As `push_over`, where `level` is what the task asks for.
    #[inline(always)]
    pub fn push_over_in(&self, task: TaskRef, level: u8) {
        task.wait_in(Waits::Ready, level);
        self.push_in(task, level);
    }

    /// As `push`, of one that says that it is ready, and at which level.
    #[inline(always)]
    pub fn push_in(&self, task: TaskRef, level: u8) {
        debug_assert!(task.waits.get() == Waits::Ready);
        debug_assert!((level as usize) < PRIORITIES);
        if self.levels.at(level as usize).push_back(task).0 {
            self.occupied.set(apart(self.occupied.get()) | 1 << level);
        }
        self.pushed.set(self.pushed.get().wrapping_add(1));
    }

    /// For tasks that become ready one after another, with nothing between that looks at the queue.
    #[inline(always)]
    pub fn several(&self) -> Several<'_> {
        let (count, finished) = (Cell::new(0), Cell::new(0));
        Several { ready: self, batch: Cell::new(None), level: Cell::new(0), count, finished }
    }

    /// The oldest of the highest level.
    #[inline(always)]
    pub fn pop(&self) -> Option<TaskRef> {
        self.pop_if(|_| true).map(|(task, _)| task)
    }

    /// As `pop`, if it is wanted; and the one behind it at its level.
    #[inline(always)]
    pub fn pop_if(
        &self,
        wanted: impl FnOnce(TaskRef) -> bool,
    ) -> Option<(TaskRef, Option<TaskRef>)> {
        if self.is_empty() {
            return None;
        }
        let occupied = self.occupied.get();
        let list_of = occupied.trailing_zeros() as usize;
        // SAFETY: a bit stands for a level, and only those of levels that are not empty are set.
        let (list, task) = unsafe {
            let list = self.levels.at_unchecked(list_of);
            let front = list.front().unwrap_unchecked();
            (list, front)
        };
        if !wanted(task) {
            return None;
        }
        // SAFETY: it is the front.
        let then = unsafe { list.take_front(task) };
        if then.is_none() {
            self.occupied.set(occupied & (occupied - 1));
        }
        self.popped.set(self.popped.get().wrapping_add(1));
        task.waits.set(Waits::Nothing);
        Some((task, then))
    }

    /// The oldest of the highest level, which stays, and that level, if it was resumed before, or
    /// is to be for the first time.
    #[inline(always)]
    pub fn front_to_resume(&self) -> Option<(TaskRef, u8)> {
        let (task, level) = self.first();
        is_to_be_resumed(task).then_some((task, level))
    }

    /// As `pop`, of what `front_to_resume` has given; the one behind it at its level.
    ///
    /// # Safety
    /// Nothing was pushed or taken out since.
    #[inline(always)]
    pub unsafe fn take(&self, (task, level): (TaskRef, u8)) -> Option<TaskRef> {
        // SAFETY: the caller's.
        let then = unsafe { self.at(level).take_front(task) };
        if then.is_none() {
            let occupied = self.occupied.get();
            self.occupied.set(occupied & (occupied - 1));
        }
        self.popped.set(self.popped.get().wrapping_add(1));
        task.waits.set(Waits::Nothing);
        then
    }

    /// As `front_to_resume`, if it is of the level that `task`, which runs, asks for: then `push`
    /// of the one and `pop` of the other are `turn`.
    #[inline(always)]
    pub fn front_beside(&self, task: TaskRef) -> Option<(TaskRef, u8)> {
        // By the queue's word for it, not by the task's: the load of the front need not wait for
        // that of the task. (A task may ask for `BEHIND`, of which none is to be resumed.)
        let (front, level) = self.first();
        (level == task.cpu_asked() && is_to_be_resumed(front)).then_some((front, level))
    }

    /// `task` goes behind all of `level`, the highest that is not empty, and its front is taken.
    ///
    /// # Safety
    /// They are; `task` is in no list.
    #[inline(always)]
    pub unsafe fn turn(&self, task: TaskRef, front: TaskRef, level: u8) {
        debug_assert!(u32::from(level) == self.occupied.get().trailing_zeros());
        task.waits.set(Waits::Ready);
        task.level.set(level);
        // SAFETY: the caller's.
        unsafe { self.at(level).turn(task, front) };
        self.count_one();
        front.waits.set(Waits::Nothing);
    }

    /// As `pop`, by shares.
    pub fn pop_by(&self, shares: &Shares) -> Option<TaskRef> {
        if self.is_empty() {
            return None;
        }
        let task = self.levels.at(shares.pick(self.occupied.get())).front()?;
        self.remove(task);
        // As `pop` counts: `remove` has taken one off the others.
        self.pushed.set(self.pushed.get().wrapping_add(1));
        self.popped.set(self.popped.get().wrapping_add(1));
        Some(task)
    }

    /// Fetches the stack of the task that `pop` would give, and the header of the one after it,
    /// whose stack is fetched next time: two steps, as where the stack is stands in the header.
    /// `keeps`: launches suspend, of late.
    #[inline(always)]
    pub fn prefetch(&self, keeps: bool) {
        if self.is_empty() {
            return;
        }
        let (next, _) = self.first();
        next.prefetch_stack(keeps);
        let _ = self.prefetch_behind(next);
    }

    /// The second step of `prefetch`, where `next` is that task; the one behind it.
    #[inline(always)]
    pub fn prefetch_behind(&self, next: TaskRef) -> Option<TaskRef> {
        TaskList::after(next).inspect(|after| after.prefetch_header())
    }

    /// Takes out a task whose `waits` is Ready.
    pub fn remove(&self, task: TaskRef) {
        debug_assert!(task.waits.get() == Waits::Ready);
        let level = task.level.get() as usize;
        let list = self.levels.at(level);
        list.remove(task);
        if list.is_empty() {
            self.occupied.set(self.occupied.get() & !(1 << level));
        }
        self.pushed.set(self.pushed.get().wrapping_sub(1));
        task.waits.set(Waits::Nothing);
    }
}

/// `word`, in a register: to set a bit there takes any other, in memory RCX, which what is inlined
/// around it may want for itself.
#[inline(always)]
fn apart(word: u32) -> u32 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    let word = {
        let mut word = word;
        // SAFETY: no instruction: the optimiser knows nothing of a value that comes from here.
        unsafe {
            core::arch::asm!(
                "/* {0:e} */",
                inout(reg) word,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        word
    };
    word
}

/// Not pending launch; not so of `NOBODY`.
#[inline(always)]
fn is_to_be_resumed(front: TaskRef) -> bool {
    let head: *const TaskHead = front.as_head();
    // SAFETY: in the header of a task, or in `NOBODY`; no reference to the whole is made.
    unsafe { (&raw const (*head).flags).cast::<Flags>().read() == Flags::COMPLETED }
}

/// Tasks on their way into the queue: those of one level in a row are a batch, so that each costs
/// fewer stores than a push.
pub struct Several<'a> {
    ready: &'a Ready,
    batch: Cell<Option<Batch>>,
    level: Cell<u8>,
    count: Cell<usize>,
    /// Those that are in the queue.
    finished: Cell<u64>,
}

impl Several<'_> {
    /// As `Ready::push`, from the next `finish` on; whatever its `waits` said is over.
    #[inline(always)]
    pub fn push(&self, task: TaskRef) {
        // That of the one before is a level: so what is the same needs no look whether it is one.
        if task.cpu_asked() != self.level.get() {
            let level = task.cpu_level();
            self.finish();
            self.level.set(level);
        }
        task.wait_in(Waits::Ready, self.level.get());
        self.count.set(self.count.get() + 1);
        // SAFETY: in no list; it lives until it has exited, and is in one from `finish` on.
        let batch = unsafe { Batch::with(self.batch.get(), task.link_ptr()) };
        self.batch.set(Some(batch));
    }

    /// As `push`, of so many that have become ready one after another, at that level, and say so.
    #[inline(always)]
    pub fn push_run(&self, (batch, count, level): (Batch, usize, u8)) -> usize {
        self.finish();
        self.count.set(count);
        self.batch.set(Some(batch));
        self.level.set(level);
        count
    }

    /// All that were pushed are in the queue.
    #[inline(always)]
    pub fn finish(&self) {
        let Some(batch) = self.batch.take() else { return };
        let (ready, level) = (self.ready, self.level.get());
        ready.levels.at(level as usize).append_batch(batch);
        ready.occupied.set(ready.occupied.get() | 1 << level);
        self.finished.set(self.finished.get() + self.count.get() as u64);
        ready.pushed.set(ready.pushed.get().wrapping_add(self.count.take()));
    }

    /// How many were pushed, ever; all of them are in the queue.
    #[inline(always)]
    pub fn all(&self) -> u64 {
        self.finished.get()
    }
}

impl Drop for Several<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.finish();
    }
}
