//! The switch of a task by `jump`. See `switch`.

use core::cell::Cell;

use super::jump;
use super::switch::launches;

/// One persistent coroutine.
///
/// All methods take `&self`: the switch is entered from the executor's stack, and left from its
/// own, while the other side's borrow is still open.
#[repr(C)]
pub struct Switch {
    link: *mut usize,
    /// Where the stack ended when the task last left it.
    sp: Cell<usize>,
}

impl Switch {
    pub(super) const SP_AT: usize = core::mem::offset_of!(Switch, sp);

    /// Lays the first frame on the stack. `body` is called at every launch; when it returns the
    /// switch is back where the next launch finds it.
    ///
    /// # Safety
    /// `limit..base` is writable memory that nobody else uses until the last `resume` has returned;
    /// `base` is 16-aligned. The switch must be moved to its final, pinned place, which is `this`,
    /// and `settle` be called there, before anything else.
    pub unsafe fn new<Body: Fn() + 'static>(
        base: usize,
        _limit: usize,
        body: Body,
        this: *const Switch,
    ) -> Switch {
        // SAFETY: by this function's contract; any stack has more than 1 KiB.
        let (sp, link) = unsafe { jump::lay(base, (body, this), launches::<Body>) };
        Switch { link, sp: Cell::new(sp) }
    }

    /// The task is where launches find it from the beginning.
    ///
    /// # Safety
    /// Once, after `new`, at the pinned place.
    pub unsafe fn settle(&self) {}

    /// Runs the task until it suspends or its body returns.
    ///
    /// # Safety
    /// Settled; called off this stack, by the one thread that runs the task, and not while it runs.
    #[inline(always)]
    pub unsafe fn resume(&self) {
        // SAFETY: `sp` was laid, or kept by the last `suspend`.
        unsafe { jump::enter(self.sp.get(), self.link) };
    }

    /// Leaves the task; returns when it is resumed.
    ///
    /// # Safety
    /// Called on this stack.
    #[inline(always)]
    pub unsafe fn suspend(&self) {
        // SAFETY: on this stack, whose link it is.
        unsafe { jump::leave(self.sp.as_ptr(), self.link) };
    }

    /// A task can switch to another.
    pub const PASSES: bool = true;

    /// Leaves the task for `next`, for which it is then as if `resume` had been called where it was
    /// for this one; returns when it is resumed.
    ///
    /// # Safety
    /// Called on this stack; `next` is this switch or may be resumed.
    #[inline(always)]
    pub unsafe fn pass(&self, next: &Switch) {
        // SAFETY: on this stack, and the other's `sp` was laid or kept.
        unsafe { jump::pass(self.sp.as_ptr(), self.link, next.sp.as_ptr(), next.link) };
    }

    /// The hot end of the stack's base: the link.
    #[inline(always)]
    pub fn base(&self) -> usize {
        self.link as usize
    }

    /// Where the stack ended when the task last left it: what to prefetch before a resume.
    #[inline(always)]
    pub fn sp(&self) -> usize {
        self.sp.get()
    }
}
