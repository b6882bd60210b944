//! The switch of a task by `jump`. See `switch`.

use core::cell::Cell;
use core::ptr::NonNull;

pub use super::jump::{Back, Call};
use super::switch::{Failed, Over};
use super::{jump, pass_last};
use crate::error::RawResult;

/// Where a task runs, and where it stands there.
///
/// All methods take `&self`: the switch is entered from the executor's stack, and left from its
/// own, while the other side's borrow is still open.
#[repr(C)]
pub struct Switch {
    /// Of the stack that it runs on, or last ran on.
    link: Cell<*mut usize>,
    /// Where the stack ended when the task last left it.
    sp: Cell<usize>,
}

impl Switch {
    pub(super) const SP_AT: usize = core::mem::offset_of!(Switch, sp);
    /// Where the link is, whose address is the first word of a switch; 0: not there.
    pub(super) const LINK_BELOW_BASE: usize = jump::LINK_BELOW_BASE;

    /// A task can switch to another.
    pub const PASSES: bool = true;
    /// What ends can be left for another task. ThreadSanitizer is told by who entered it.
    pub const EXITS_TO: bool = cfg!(not(feature = "tsan"));
    /// A launch may run on any stack.
    pub const BORROWS: bool = true;

    /// Of a task whose stack has this base. The stack is not touched.
    ///
    /// # Safety
    /// None here: as `routine`.
    pub unsafe fn new(base: usize, _limit: usize, _: Call, _: *mut u8, _: *const Switch) -> Switch {
        Switch { link: Cell::new(Self::link_of(base)), sp: Cell::new(base) }
    }

    /// The task is where launches find it from the beginning.
    ///
    /// # Safety
    /// Once, after `new`, at the pinned place.
    pub unsafe fn settle(&self) {}

    #[inline(always)]
    fn link_of(base: usize) -> *mut usize {
        (base - jump::LINK_BELOW_BASE) as *mut usize
    }

    /// Makes a stack one that launches may run on.
    ///
    /// # Safety
    /// `base` is that of a stack of the pool's that is the caller's, and on which nothing runs.
    #[inline(always)]
    pub unsafe fn lay(base: usize) {
        // SAFETY: the caller's.
        unsafe { jump::lay(Self::link_of(base)) };
    }

    /// Runs `call(arg)` as the task, on the stack with this base, until it suspends or exits.
    ///
    /// # Safety
    /// As `lay`, and laid; called off any task's stack. `call` leaves by `exit`. `back` is the
    /// executor's, and stays.
    #[inline(always)]
    pub unsafe fn launch(&self, base: usize, call: Call, arg: *mut u8, back: &Back) {
        let link = Self::link_of(base);
        self.link.set(link);
        // SAFETY: the caller's.
        unsafe {
            jump::note(link, arg);
            #[cfg(feature = "tsan")]
            let home = jump::told(link).launches();
            jump::launch(link, call, arg, back);
            #[cfg(feature = "tsan")]
            crate::sys::tsan::is_back(home);
        }
    }

    /// Leaves the task for the launch of `next`, as in `pass` and `launch`; returns when it is
    /// resumed.
    ///
    /// # Safety
    /// Called on this stack; `next` is not this switch. The rest as for `launch`.
    #[inline(always)]
    pub unsafe fn pass_to_launch(&self, next: &Switch, base: usize, call: Call, arg: *mut u8) {
        let link = Self::link_of(base);
        next.link.set(link);
        // SAFETY: the caller's.
        unsafe {
            jump::note(link, arg);
            #[cfg(feature = "tsan")]
            jump::told(self.link.get()).passes_to_launch(jump::told(link));
            jump::pass_to_launch(self.sp.as_ptr(), self.link.get(), link, call, arg);
        }
    }

    /// `next` is launched where this one, which has ended, ran: all of a launch but the switch.
    ///
    /// # Safety
    /// Called on the stack of this one, by what was launched, which is to run `next` with `arg`.
    #[inline(always)]
    pub unsafe fn hand_over(&self, next: &Switch, arg: *mut u8) {
        let link = self.link.get();
        next.link.set(link);
        // SAFETY: the stack was laid, as there was a launch.
        unsafe { jump::note(link, arg) };
    }

    /// It runs, or last ran, on the stack with this base; 0: false.
    #[inline(always)]
    pub fn is_on(&self, base: usize) -> bool {
        self.link.get() as usize == base.wrapping_sub(jump::LINK_BELOW_BASE)
    }

    /// The base of the stack that it runs on, or last ran on.
    #[inline(always)]
    pub fn stack_base(&self) -> Option<usize> {
        // SAFETY: the field of a live switch. Volatile, as its executor may change it at any time.
        let link = unsafe { self.link.as_ptr().read_volatile() };
        Some(link as usize + jump::LINK_BELOW_BASE)
    }

    /// The argument of the launch that was the last on a stack, if one was: else any word.
    ///
    /// # Safety
    /// The stack is memory.
    pub(super) unsafe fn launched_at(base: usize) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe { jump::launched_at(Self::link_of(base)) }
    }

    /// Runs the task until it suspends or exits.
    ///
    /// # Safety
    /// Suspended; called off this stack, by the one thread that runs the task, and
    /// not while it runs; `back` is what it was launched with.
    #[inline(always)]
    pub unsafe fn resume(&self, back: &Back) {
        // SAFETY: `sp` was kept by the last `suspend`.
        unsafe {
            #[cfg(feature = "tsan")]
            let home = jump::told(self.link.get()).resumes();
            jump::enter(self.sp.as_ptr(), back);
            #[cfg(feature = "tsan")]
            crate::sys::tsan::is_back(home);
        };
    }

    /// Leaves the task; returns when it is resumed.
    ///
    /// # Safety
    /// Called on this stack.
    #[inline(always)]
    pub unsafe fn suspend(&self) {
        // SAFETY: on this stack, whose link it is.
        unsafe {
            #[cfg(feature = "tsan")]
            jump::told(self.link.get()).suspends();
            jump::leave(self.sp.as_ptr(), self.link.get());
        };
    }

    /// Leaves the task; does not return.
    ///
    /// # Safety
    /// Called on this stack, by what was launched.
    #[inline(always)]
    pub unsafe fn exit(&self) {
        // SAFETY: as in `suspend`.
        unsafe { jump::exit(self.link.get()) }
    }

    /// Leaves what runs here, for good, for `next`, for which it is then as if `resume` had been
    /// called where that was entered.
    ///
    /// # Safety
    /// Called on a task's stack, by what was launched; `next` is suspended, of the same executor.
    #[inline(always)]
    pub unsafe fn exit_to(next: &Switch) -> ! {
        // SAFETY: as in `pass`.
        unsafe { pass_last::exit_to(next.sp.as_ptr()) }
    }

    /// Leaves the task for `next`, for which it is then as if `resume` had been called where it was
    /// for this one; returns when it is resumed.
    ///
    /// # Safety
    /// Called on this stack; `next` is this switch or is suspended, of the same executor.
    #[inline(always)]
    pub unsafe fn pass(&self, next: &Switch) {
        // SAFETY: on this stack, and the other's `sp` was kept.
        unsafe {
            #[cfg(feature = "tsan")]
            jump::told(self.link.get()).passes(jump::told(next.link.get()));
            jump::pass(self.sp.as_ptr(), next.sp.as_ptr());
        };
    }

    /// As `pass`, in the place of the calling function's return: see `pass_last`.
    ///
    /// # Safety
    /// As `pass`.
    #[inline(always)]
    pub unsafe fn pass_last(&self, next: &Switch) -> RawResult {
        // SAFETY: on this stack; the other's `sp` was kept.
        unsafe {
            #[cfg(feature = "tsan")]
            jump::told(self.link.get()).passes(jump::told(next.link.get()));
            pass_last::pass_last(self.sp.as_ptr(), next.sp.as_ptr())
        }
    }

    /// As `pass_last`, of a task that waits: 0 and no error if its outcome is 0 when it is resumed,
    /// else what `W` says of it and of what is noted in the task.
    ///
    /// # Safety
    /// As `pass`; of the switches of two tasks, of the kind that `W` is for.
    #[inline(always)]
    pub unsafe fn wait_last<W: Over, const AT: usize>(
        task: NonNull<u8>,
        in_next: NonNull<u8>,
    ) -> RawResult {
        // SAFETY: as in `pass_last`; that is where it is.
        unsafe {
            #[cfg(feature = "tsan")]
            let of = |task: NonNull<u8>| &*task.as_ptr().add(W::SWITCH_AT).cast::<Switch>();
            #[cfg(feature = "tsan")]
            jump::told(of(task).link.get()).passes(jump::told(of(in_next.byte_sub(AT)).link.get()));
            pass_last::wait_last::<W, AT>(task, in_next)
        }
    }

    /// As `pass_last`, of a task whose operation is with the kernel: its outcome, and no error, if
    /// that is not below 0 when it is resumed, else what `W` says of it, and of the words, which
    /// are kept. `COUNTED`: the last of them is the address of a count, of 32 bits, from which 1 is
    /// taken if the outcome is not below 0.
    ///
    /// # Safety
    /// As `wait_last`; the count stays.
    #[inline(always)]
    pub unsafe fn io_last<W: Failed, const COUNTED: bool>(
        task: NonNull<u8>,
        next: NonNull<u8>,
        words: [u64; 4],
    ) -> RawResult {
        // SAFETY: as in `wait_last`.
        unsafe {
            let of = |task: NonNull<u8>| &*task.as_ptr().add(W::SWITCH_AT).cast::<Switch>();
            #[cfg(feature = "tsan")]
            jump::told(of(task).link.get()).passes(jump::told(of(next).link.get()));
            pass_last::io_last::<W, COUNTED>(task, of(next).sp.as_ptr(), words)
        }
    }

    /// As `io_last`, of a task that leaves for who entered it, with this `back`.
    ///
    /// # Safety
    /// As `io_last` and `suspend`.
    #[inline(always)]
    pub unsafe fn io_last_leave<W: Failed, const COUNTED: bool>(
        task: NonNull<u8>,
        back: &Back,
        words: [u64; 4],
    ) -> RawResult {
        // SAFETY: as in `wait_last`; on the task's stack, whose link leads there.
        unsafe {
            #[cfg(feature = "tsan")]
            let switch = &*task.as_ptr().add(W::SWITCH_AT).cast::<Switch>();
            #[cfg(feature = "tsan")]
            jump::told(switch.link.get()).suspends();
            pass_last::io_last_leave::<W, COUNTED>(task, back.sp(), words)
        }
    }

    /// The hot end of the stack's base: the link.
    #[inline(always)]
    pub fn base(&self) -> usize {
        self.link.get() as usize
    }

    /// Where the stack ended when the task last left it: what to prefetch before a resume.
    #[inline(always)]
    pub fn sp(&self) -> usize {
        self.sp.get()
    }
}
