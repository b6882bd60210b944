//! The switch of a task by corosensei: elsewhere than on x86-64, and under AddressSanitizer. See
//! `switch`.

use core::cell::{Cell, UnsafeCell};
use core::mem::ManuallyDrop;
use core::num::NonZeroUsize;
use core::ptr::NonNull;

use corosensei::stack::{Stack, StackPointer};
use corosensei::{Coroutine, Yielder};

use super::switch::{Failed, Over};
use crate::error::RawResult;

/// The bounds of a stack that the pool owns.
struct Bounds {
    base: StackPointer,
    limit: StackPointer,
}

// SAFETY: `Switch::new`'s caller promises that the range is writable, 16-aligned at the base,
// guarded below the limit, and used by nobody else until the switch is forgotten.
unsafe impl Stack for Bounds {
    #[inline]
    fn base(&self) -> StackPointer {
        self.base
    }
    #[inline]
    fn limit(&self) -> StackPointer {
        self.limit
    }
}

/// What the base of a stack calls: with the task, at the first launch.
pub type Call = extern "C" fn(*mut u8) -> !;

type Routine = Coroutine<(), (), (), Bounds>;
type Parent = Yielder<(), ()>;

/// Nothing: a coroutine knows who resumed it.
pub struct Back;

impl Back {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self
    }
}

/// One persistent coroutine.
///
/// All methods take `&self`: the switch is entered from the executor's stack, and left from its
/// own, while the other side's borrow is still open.
#[repr(C)]
pub struct Switch {
    /// corosensei's parent link, at the base of the stack.
    back: Cell<*const Parent>,
    /// Where the stack ended when the task last left it.
    sp: Cell<usize>,
    routine: UnsafeCell<ManuallyDrop<Routine>>,
    #[cfg(feature = "tsan")]
    told: crate::sys::tsan::Told,
}

impl Switch {
    pub(super) const SP_AT: usize = core::mem::offset_of!(Switch, sp);
    pub(super) const LINK_BELOW_BASE: usize = 0;

    /// Lays the first frames on the stack. `call` is called with `arg` at the first launch.
    ///
    /// # Safety
    /// `limit..stack_base` is writable memory that nobody else uses until the last `resume` has
    /// returned; `stack_base` is 16-aligned. The switch must be moved to its final, pinned place,
    /// which is `this`, and `settle` be called there, before anything else.
    pub unsafe fn new(
        stack_base: usize,
        limit: usize,
        call: Call,
        arg: *mut u8,
        this: *const Switch,
    ) -> Switch {
        let bounds = Bounds {
            base: NonZeroUsize::new(stack_base).expect("a stack is not at address 0"),
            limit: NonZeroUsize::new(limit).expect("a stack is not at address 0"),
        };
        let routine = Coroutine::with_stack(bounds, move |back: &Parent, ()| {
            // SAFETY: `this` is where the switch was pinned before the first resume; on this stack.
            unsafe {
                (*this).back.set(back);
                (*this).leave();
                base(arg, call)
            }
        });
        Switch {
            routine: UnsafeCell::new(ManuallyDrop::new(routine)),
            back: Cell::new(core::ptr::null()),
            sp: Cell::new(stack_base),
            #[cfg(feature = "tsan")]
            told: crate::sys::tsan::Told::new(),
        }
    }

    /// Runs the coroutine up to where launches find it.
    ///
    /// # Safety
    /// Once, after `new`, at the pinned place.
    pub unsafe fn settle(&self) {
        // SAFETY: not running, so nobody else holds a reference into the routine.
        unsafe { (*self.routine.get()).resume(()) };
    }

    /// Runs the task until it suspends or its body returns.
    ///
    /// # Safety
    /// Settled; called off this stack, by the one thread that runs the task, and not while it runs.
    #[inline(always)]
    pub unsafe fn resume(&self, _: &Back) {
        #[cfg(feature = "tsan")]
        let home = self.told.resumes();
        // SAFETY: the caller's.
        unsafe { self.enter() };
        #[cfg(feature = "tsan")]
        crate::sys::tsan::is_back(home);
    }

    #[inline(always)]
    unsafe fn enter(&self) {
        #[cfg(feature = "asan")]
        crate::sys::lsan::leave_own_stack(stack_pointer());
        // SAFETY: not running, so nobody holds a reference into the routine; `suspend` does not
        // touch it.
        unsafe { (*self.routine.get()).resume(()) };
    }

    /// Leaves the task; returns when it is resumed.
    ///
    /// # Safety
    /// Called on this stack.
    #[inline(always)]
    pub unsafe fn suspend(&self) {
        #[cfg(feature = "tsan")]
        self.told.suspends();
        // SAFETY: the caller's.
        unsafe { self.leave() };
    }

    #[inline(always)]
    unsafe fn leave(&self) {
        self.sp.set(stack_pointer());
        // SAFETY: running, so `back` is set, and lives at the stack's base.
        unsafe { (*self.back.get()).suspend(()) };
    }

    /// Leaves the task; returns when it is launched again.
    ///
    /// # Safety
    /// Called on this stack, by what the base called.
    #[inline(always)]
    pub unsafe fn exit(&self) {
        // SAFETY: the caller's.
        unsafe { self.leave() };
    }

    /// A task can switch to another: not here.
    pub const PASSES: bool = false;
    pub const EXITS_TO: bool = false;
    /// A launch may run on any stack: not here.
    pub const BORROWS: bool = false;

    /// # Safety
    /// None: it does nothing.
    pub unsafe fn lay(_base: usize) {}

    /// # Safety
    /// As `resume`.
    #[inline(always)]
    pub unsafe fn launch(&self, _base: usize, _: Call, _arg: *mut u8, _: &Back) {
        #[cfg(feature = "tsan")]
        let home = self.told.launches();
        // SAFETY: the caller's.
        unsafe { self.enter() };
        #[cfg(feature = "tsan")]
        crate::sys::tsan::is_back(home);
    }

    /// # Safety
    /// Never called: see `PASSES`.
    pub unsafe fn pass_to_launch(&self, _next: &Switch, _base: usize, _: Call, _arg: *mut u8) {
        unreachable!("a coroutine is left for who resumed it");
    }

    /// # Safety
    /// Never called: see `BORROWS`.
    pub unsafe fn hand_over(&self, _next: &Switch, _arg: *mut u8) {
        unreachable!("each task has a stack of its own");
    }

    /// Always on its own.
    pub fn is_on(&self, _base: usize) -> bool {
        true
    }

    /// That of the task's own.
    pub fn stack_base(&self) -> Option<usize> {
        None
    }

    /// # Safety
    /// None: nobody knows.
    pub(super) unsafe fn launched_at(_base: usize) -> *mut u8 {
        core::ptr::null_mut()
    }

    /// # Safety
    /// Never called: see `EXITS_TO`.
    pub unsafe fn exit_to(_next: &Switch) -> ! {
        unreachable!("a coroutine is left for who resumed it");
    }

    /// # Safety
    /// Never called: see `PASSES`.
    pub unsafe fn pass(&self, _next: &Switch) {
        unreachable!("a coroutine is left for who resumed it");
    }

    /// # Safety
    /// Never called: see `PASSES`.
    pub unsafe fn pass_last(&self, _next: &Switch) -> RawResult {
        unreachable!("a coroutine is left for who resumed it");
    }

    /// # Safety
    /// Never called: see `PASSES`.
    pub unsafe fn wait_last<W: Over, const AT: usize>(
        _task: NonNull<u8>,
        _in_next: NonNull<u8>,
    ) -> RawResult {
        unreachable!("a coroutine is left for who resumed it");
    }

    /// # Safety
    /// Never called: see `PASSES`.
    pub unsafe fn io_last<W: Failed, const COUNTED: bool>(
        _task: NonNull<u8>,
        _next: NonNull<u8>,
        _words: [u64; 4],
    ) -> RawResult {
        unreachable!("a coroutine is left for who resumed it");
    }

    /// # Safety
    /// Never called: see `PASSES`.
    pub unsafe fn io_last_leave<W: Failed, const COUNTED: bool>(
        _task: NonNull<u8>,
        _back: &Back,
        _words: [u64; 4],
    ) -> RawResult {
        unreachable!("a coroutine has a frame where it is left");
    }

    /// The hot end of the stack's base: corosensei's parent link.
    #[inline(always)]
    pub fn base(&self) -> usize {
        self.back.get() as usize
    }

    /// Where the stack ended when the task last left it, give or take the saved registers: what to
    /// prefetch before a resume.
    #[inline(always)]
    pub fn sp(&self) -> usize {
        self.sp.get()
    }
}

/// The outermost function of every task, as far as one that unwinds can see: why, says `jump`.
#[unsafe(naked)]
unsafe extern "C" fn base(at: *mut u8, call: extern "C" fn(*mut u8) -> !) -> ! {
    #[cfg(target_arch = "x86_64")]
    core::arch::naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "sub rsp, 8",
        "call rsi",
        "ud2",
        ".cfi_endproc",
    );
    #[cfg(target_arch = "aarch64")]
    core::arch::naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined x30",
        "blr x1",
        "brk #1",
        ".cfi_endproc",
    );
}

#[inline(always)]
fn stack_pointer() -> usize {
    let sp: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: reads a register.
    unsafe {
        core::arch::asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags))
    };
    #[cfg(target_arch = "aarch64")]
    // SAFETY: reads a register.
    unsafe {
        core::arch::asm!("mov {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags))
    };
    sp
}
