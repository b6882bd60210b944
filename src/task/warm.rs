//! Which stack a launch runs on. Each task has a stack to its name, reserved when it is created;
//! but a launch begins on one of the executor's, the one that the launch before it has just left
//! and that is in the nearest cache. Most launches end there. One that suspends keeps it:
//!
//! ```text
//!                    the task has     it runs on     the executor has
//!   idle             A                               W
//!   launched         A                W              W
//!   suspends         W                W              A
//!   resumed          W                W              A
//!   exits            A                               W  <- the executor's again, if it is warmer
//! ```
//!
//! So tasks that run to their end take their header, and nothing of a stack. At an exit there is an
//! exchange only where no launch has ended on the executor's since it got it: with one at every
//! exit, tasks that are resumed in their order find stacks in none (a sleep among 10,000: 1.15).
//!
//! 1. An exchange is of two words, of stacks of one size; it cannot fail.
//! 2. Who has A while the task runs on W is the task: it may be destroyed only once it has exited.
//! 3. The exchange at an exit comes before the exit is published; after that the task is others'.
//! 4. A task that has returned while operations are in flight suspends, too: they may be on its
//!    stack.

use core::cell::Cell;

use super::header::TaskRef;
use crate::stack::pool::{Held, Stack};
use crate::stack::switch::{Back, Call, Switch};

/// An executor has a stack of the first sizes of the process, one fewer than this: it is made on a
/// small stack, where each takes its two words.
const SIZES: usize = 8;
/// Tasks with larger stacks launch on their own: an executor's stays as deep as it once was used.
const LARGEST_BYTES: usize = 1 << 20;
/// Not one of an executor's sizes.
const NO_SIZE: u8 = SIZES as u8 - 1;

/// With the number of a stack's size, while the task has a run under way: it runs, or has run, on
/// its own stack, where nobody else launches.
const OWN: u8 = 1 << 7;

/// The number of a stack's size.
pub(super) fn size_of_stack(stack: &Stack) -> u8 {
    if stack.bytes() > LARGEST_BYTES {
        return NO_SIZE;
    }
    stack.class().min(NO_SIZE as usize) as u8
}

#[inline(always)]
fn is_on_its_own(task: TaskRef) {
    task.stack_size.set(task.stack_size.get() | OWN);
}

/// An executor's stacks, one a size; each is taken at the first launch of its size.
pub struct WarmStacks {
    of: [Held; SIZES],
    /// Bit n: there was no memory for that of size n; it is not asked for again.
    refused: Cell<u64>,
    /// The launch before suspended, and so, most likely, does the next; and the executor's stack is
    /// one that nobody has just used.
    keeps: Cell<bool>,
}

impl WarmStacks {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        let refused = Cell::new(1 << NO_SIZE);
        Self { of: [const { Held::none() }; SIZES], refused, keeps: Cell::new(false) }
    }

    #[inline(always)]
    fn of(&self, task: TaskRef) -> &Held {
        &self.of[(task.stack_size.get() & (SIZES as u8 - 1)) as usize]
    }

    /// The launch before suspended, which takes the stack of the task from the next but one.
    #[inline(always)]
    pub fn keeps(&self) -> bool {
        self.keeps.get()
    }

    /// Runs the task from its launch until it suspends or exits: `call`, where launches borrow a
    /// stack. `on_own` is called before, where this one has nothing to keep.
    ///
    /// # Safety
    /// Called on the executor's stack; the task is pending launch there. `back` is the executor's.
    #[inline(always)]
    pub unsafe fn launch(&self, task: TaskRef, call: Call, back: &Back, on_own: impl FnOnce()) {
        let (base, at) = (self.next(task, on_own), task.addr() as *mut u8);
        // SAFETY: laid, and nothing runs there: it is the executor's, or the task's own.
        unsafe { task.switch.launch(base, call, at, back) };
    }

    /// Leaves the task, which has kept its stack, for the launch of `next`; returns when it is
    /// resumed.
    ///
    /// # Safety
    /// Called on its stack; `next` is as in `launch`.
    #[inline(always)]
    pub unsafe fn pass_to_launch(
        &self,
        task: TaskRef,
        next: TaskRef,
        call: Call,
        on_own: impl FnOnce(),
    ) {
        let (base, at) = (self.next(next, on_own), next.addr() as *mut u8);
        // SAFETY: as in `launch`.
        unsafe { task.switch.pass_to_launch(&next.switch, base, call, at) };
    }

    /// `next`, pending launch, launches where `task` runs: on the executor's stack, which the
    /// launch of `task` did not keep.
    #[inline(always)]
    pub fn launches_there(&self, next: TaskRef, task: TaskRef) -> bool {
        debug_assert!(next.stack_size.get() & OWN == 0, "it has not begun");
        next.stack_size.get() == task.stack_size.get()
    }

    /// The base of the stack on which a task launches; `on_own`: it is the task's own.
    #[inline(always)]
    fn next(&self, task: TaskRef, on_own: impl FnOnce()) -> usize {
        if !Switch::BORROWS {
            return 0;
        }
        debug_assert!(task.stack_size.get() & OWN == 0, "it has not begun");
        match self.of(task).laid_base() {
            0 => {
                let base = self.first(task);
                if Self::has_kept(task) {
                    on_own();
                }
                base
            }
            base => base,
        }
    }

    /// As `next`, of the first task of its size.
    #[cold]
    #[inline(never)]
    fn first(&self, task: TaskRef) -> usize {
        let (warm, bit) = (self.of(task), 1u64 << task.stack_size.get());
        if self.refused.get() & bit == 0 {
            match task.stack.look(|own| own.acquire_another()) {
                Some(Ok(stack)) => warm.put(stack),
                _ => self.refused.set(self.refused.get() | bit),
            }
        }
        let held = if warm.base() != 0 { warm } else { &task.stack };
        if warm.base() == 0 {
            is_on_its_own(task);
        }
        held.lay();
        held.laid_base()
    }

    /// The task is about to suspend. True: it has not done so before.
    #[inline(always)]
    pub fn keep(&self, task: TaskRef) -> bool {
        let keeps = Switch::BORROWS && task.stack_size.get() & OWN == 0;
        if keeps {
            self.exchange(task);
        }
        keeps
    }

    /// The task has suspended before, or runs on its own stack all along: `keep` has nothing to do.
    #[inline(always)]
    pub fn has_kept(task: TaskRef) -> bool {
        task.stack_size.get() & OWN != 0
    }

    /// In line: a call in the middle of a suspension would have each of them save two registers.
    #[inline(always)]
    fn exchange(&self, task: TaskRef) {
        let warm = self.of(task);
        warm.exchange(&task.stack);
        warm.lay();
        is_on_its_own(task);
        self.keeps.set(true);
    }

    /// The task has exited, long after it left its stack.
    pub fn forget(&self, task: TaskRef) {
        task.stack_size.set(task.stack_size.get() & !OWN);
    }

    /// The task has exited, and nothing of it is left on its stack.
    #[inline(always)]
    pub fn give_back(&self, task: TaskRef) {
        if !Switch::BORROWS {
            return;
        }
        let size = task.stack_size.get();
        task.stack_size.set(size & !OWN);
        if !self.keeps.get() {
            return; // The executor's is warm.
        }
        self.keeps.set(false);
        let warm = self.of(task);
        if size & OWN != 0 && warm.base() != 0 {
            warm.exchange(&task.stack);
        }
    }
}

impl Drop for WarmStacks {
    fn drop(&mut self) {
        for stack in self.of.iter().filter_map(Held::take) {
            // SAFETY: no task runs on it.
            unsafe { stack.release() };
        }
    }
}
