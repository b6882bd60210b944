//! The ready tasks: one FIFO a priority and a bitmap of those that are not empty, so that the
//! oldest of the highest priority is found by one instruction.

use core::cell::Cell;

use super::shares::Shares;
use crate::intrusive::Batch;
use crate::task::header::{TaskRef, Waits, PRIORITIES};
use crate::task::list::TaskList;

/// In this order: two counters side by side become one vector, and a load of either then waits for
/// the store of both.
#[repr(C)]
pub struct Ready {
    levels: [TaskList; PRIORITIES],
    /// Ever, less those that were removed. How many are ready is the difference to `popped`: a pop
    /// and a push store one word each either way, and a pass counts its items by the other.
    pushed: Cell<usize>,
    /// Bit n: `levels[n]` is not empty.
    occupied: Cell<u32>,
    popped: Cell<usize>,
}

impl Ready {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            levels: [TaskList::new(), TaskList::new(), TaskList::new()],
            pushed: Cell::new(0),
            occupied: Cell::new(0),
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
        self.occupied.get() == 0
    }

    /// The highest level that has one; `PRIORITIES` without.
    #[inline(always)]
    pub fn level(&self) -> u8 {
        (self.occupied.get() | 1 << PRIORITIES).trailing_zeros() as u8
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
        if self.levels[level as usize].push_back(task).0 {
            self.occupied.set(self.occupied.get() | 1 << level);
        }
        self.pushed.set(self.pushed.get().wrapping_add(1));
    }

    /// For tasks that become ready one after another, with nothing between that looks at the queue.
    #[inline(always)]
    pub fn several(&self) -> Several<'_> {
        Several { ready: self, batch: Cell::new(None), level: Cell::new(0), count: Cell::new(0) }
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
        let occupied = self.occupied.get();
        if occupied == 0 {
            return None;
        }
        // SAFETY: a bit stands for a level, and only those of levels that are not empty are set.
        let (list, task) = unsafe {
            let list = self.levels.get_unchecked(occupied.trailing_zeros() as usize);
            (list, list.front().unwrap_unchecked())
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

    /// The oldest of the highest level, which stays, and that level.
    #[inline(always)]
    pub fn front(&self) -> Option<(TaskRef, u8)> {
        let level = self.occupied.get().trailing_zeros();
        // None: of no task there is no list.
        let list = self.levels.get(level as usize)?;
        // SAFETY: a bit stands for a level, and only those of levels that are not empty are set.
        Some((unsafe { list.front().unwrap_unchecked() }, level as u8))
    }

    /// As `pop`, of what `front` has given; the one behind it at its level.
    ///
    /// # Safety
    /// Nothing was pushed or taken out since.
    #[inline(always)]
    pub unsafe fn take(&self, (task, level): (TaskRef, u8)) -> Option<TaskRef> {
        // SAFETY: the caller's.
        let then = unsafe { self.levels.get_unchecked(level as usize).take_front(task) };
        if then.is_none() {
            let occupied = self.occupied.get();
            self.occupied.set(occupied & (occupied - 1));
        }
        self.popped.set(self.popped.get().wrapping_add(1));
        task.waits.set(Waits::Nothing);
        then
    }

    /// The oldest, if it is of the level that `task`, which runs, asks for: then `push` of the one
    /// and `pop` of the other are `turn`.
    #[inline(always)]
    pub fn front_beside(&self, task: TaskRef) -> Option<(TaskRef, u8)> {
        // By the queue's word for it, not by the task's: the load of the front need not wait for
        // that of the task.
        let level = self.occupied.get().trailing_zeros();
        if level != u32::from(task.cpu_asked()) {
            return None;
        }
        // None: none is ready, and `task` asks for the level that there is a bit too many for.
        let list = self.levels.get(level as usize)?;
        // SAFETY: a bit stands for a level, and only those of levels that are not empty are set.
        let front = unsafe { list.front().unwrap_unchecked() };
        Some((front, level as u8))
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
        unsafe { self.levels.get_unchecked(level as usize).turn(task, front) };
        self.count_one();
        front.waits.set(Waits::Nothing);
    }

    /// As `pop`, by shares.
    pub fn pop_by(&self, shares: &Shares) -> Option<TaskRef> {
        let occupied = self.occupied.get();
        if occupied == 0 {
            return None;
        }
        let task = self.levels[shares.pick(occupied)].front()?;
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
        let Some(list) = self.levels.get(self.occupied.get().trailing_zeros() as usize) else {
            return;
        };
        if let Some(next) = list.front() {
            next.prefetch_stack(keeps);
            self.prefetch_behind(next);
        }
    }

    /// The second step of `prefetch`, where `next` is that task.
    #[inline(always)]
    pub fn prefetch_behind(&self, next: TaskRef) {
        if let Some(after) = TaskList::after(next) {
            after.prefetch_header();
        }
    }

    /// Takes out a task whose `waits` is Ready.
    pub fn remove(&self, task: TaskRef) {
        debug_assert!(task.waits.get() == Waits::Ready);
        let level = task.level.get() as usize;
        self.levels[level].remove(task);
        if self.levels[level].is_empty() {
            self.occupied.set(self.occupied.get() & !(1 << level));
        }
        self.pushed.set(self.pushed.get().wrapping_sub(1));
        task.waits.set(Waits::Nothing);
    }
}

/// Tasks on their way into the queue: those of one level in a row are a batch, so that each costs
/// fewer stores than a push.
pub struct Several<'a> {
    ready: &'a Ready,
    batch: Cell<Option<Batch>>,
    level: Cell<u8>,
    count: Cell<usize>,
}

impl Several<'_> {
    /// As `Ready::push`, from the next `finish` on; whatever its `waits` said is over.
    #[inline(always)]
    pub fn push(&self, task: TaskRef) {
        let level = task.cpu_level();
        task.wait_in(Waits::Ready, level);
        if level != self.level.get() {
            self.finish();
            self.level.set(level);
        }
        self.count.set(self.count.get() + 1);
        // SAFETY: in no list; it lives until it has exited, and is in one from `finish` on.
        let batch = unsafe { Batch::with(self.batch.get(), task.link_ptr()) };
        self.batch.set(Some(batch));
    }

    /// All that were pushed are in the queue.
    #[inline(always)]
    pub fn finish(&self) {
        let Some(batch) = self.batch.take() else { return };
        let (ready, level) = (self.ready, self.level.get());
        ready.levels[level as usize].append_batch(batch);
        ready.occupied.set(ready.occupied.get() | 1 << level);
        ready.pushed.set(ready.pushed.get().wrapping_add(self.count.take()));
    }
}

impl Drop for Several<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.finish();
    }
}
