//! Entering and leaving a scope, as a caller does who may be wrong: the checks, and the most
//! frequent scopes before all of them. Touches the scope, and of the task its innermost scope and
//! its marks.

use core::ptr::null;

use super::scope::{self, unarmed, Scope, NEVER_NS, SHIELD};
use super::watch::by;
use super::Executor;
use crate::error::{Errno, Res};
use crate::task::header::{mark, TaskRef};
use crate::uring::kernel::Kernel;

impl<K: Kernel> Executor<K> {
    /// Whether who enters and leaves a scope is traced.
    pub(super) fn traces_scopes(&self, is_traced: bool) {
        self.alone_above_ns.set(if is_traced { u64::MAX } else { self.coarse_from_ns });
    }

    /// `task` runs now. EINVAL: null, or flags that are none; EBUSY: it is in that scope.
    ///
    /// # Safety
    /// As `enter_scope`, or null.
    #[inline(always)]
    pub unsafe fn try_enter(
        &self,
        task: TaskRef,
        scope: *mut Scope,
        timeout_ns: u64,
        flags: u32,
    ) -> Res<()> {
        // SAFETY: the caller's.
        if unsafe { self.enters_alone(task, scope, timeout_ns, flags) } {
            return Ok(());
        }
        if Self::is_outermost(task, scope, flags) && !self.watches(by::TRACED) {
            // SAFETY: the caller's.
            unsafe { self.enter_exactly(task, scope, timeout_ns) };
            return Ok(());
        }
        // SAFETY: the caller's.
        unsafe { Self::enter_any(task, scope, timeout_ns, flags, self) }
    }

    /// The most frequent scope: with a long deadline and none around it, and nobody traces it.
    /// False: nothing was done, and `try_enter` is to.
    ///
    /// # Safety
    /// As `try_enter`.
    #[inline(always)]
    pub unsafe fn enters_alone(
        &self,
        task: TaskRef,
        scope: *mut Scope,
        timeout_ns: u64,
        flags: u32,
    ) -> bool {
        // Of `NEVER_NS` it is 0, which is above nothing.
        let is_alone = Self::is_outermost(task, scope, flags)
            && timeout_ns.wrapping_add(1) > self.alone_above_ns.get();
        if is_alone {
            // SAFETY: the caller's.
            unsafe { self.enter_alone(task, scope, timeout_ns) };
        }
        is_alone
    }

    /// One with no scope around it, and no shield.
    #[inline(always)]
    fn is_outermost(task: TaskRef, scope: *mut Scope, flags: u32) -> bool {
        flags == 0 && !scope.is_null() && !task.has(mark::SCOPED)
    }

    /// As `enters_alone` says.
    ///
    /// # Safety
    /// As `enter_scope`.
    #[inline(always)]
    unsafe fn enter_alone(&self, task: TaskRef, scope: *mut Scope, timeout_ns: u64) {
        // SAFETY: the caller's.
        let scope =
            unsafe { Scope::write(scope, task, null(), timeout_ns, false, unarmed::ALONE, true) };
        task.mark(mark::SCOPED | mark::UNARMED);
        // The last: nothing has to be kept until the clock has answered.
        self.reactor.kernel.note_coarsely(&scope.entered);
    }

    /// The same, with a short deadline or none.
    ///
    /// # Safety
    /// As `enter_scope`.
    #[inline(always)]
    unsafe fn enter_exactly(&self, task: TaskRef, scope: *mut Scope, timeout_ns: u64) {
        let timed = timeout_ns != NEVER_NS;
        let unarmed = if timed { unarmed::ANY } else { unarmed::NO };
        // SAFETY: the caller's.
        let scope = unsafe { Scope::write(scope, task, null(), timeout_ns, false, unarmed, false) };
        task.mark(if timed { mark::SCOPED | mark::UNARMED } else { mark::SCOPED });
        if timed {
            self.reactor.kernel.stamp_to(&scope.entered[0]);
        }
    }

    /// # Safety
    /// As `try_enter`.
    #[cold]
    #[inline(never)]
    unsafe fn enter_any(
        task: TaskRef,
        scope: *mut Scope,
        timeout_ns: u64,
        flags: u32,
        ex: &Self,
    ) -> Res<()> {
        if scope.is_null() || flags & !SHIELD != 0 {
            return Err(Errno(libc::EINVAL));
        }
        // A list that leads back to itself would never be left.
        if task.has(mark::SCOPED) && scope::is_entered(task, scope) {
            return Err(Errno(libc::EBUSY));
        }
        // SAFETY: the caller's.
        unsafe { ex.enter_scope(task, scope, timeout_ns, flags) };
        Ok(())
    }

    /// `task` runs now. EINVAL unless it is the innermost scope; whether it has fired.
    ///
    /// # Safety
    /// `scope` may be read, or is null.
    #[inline(always)]
    pub unsafe fn try_leave(&self, task: TaskRef, scope: *const Scope) -> Res<bool> {
        if scope.is_null() || task.scope.get() != scope.cast() {
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: the innermost scope of the task, so entered.
        let entered = unsafe { &*scope };
        // Nothing has suspended in it, so it has no timer; nor has it fired.
        if entered.unarmed.get() == unarmed::ALONE {
            entered.forget(task);
            return Ok(false);
        }
        Ok(Self::leave_entered(task, entered, self))
    }

    /// The innermost scope of `task`; whether it has fired. The arguments are where the caller has
    /// them, here and in `enter_any`: so nothing is moved for what is rare.
    #[inline(never)]
    fn leave_entered(task: TaskRef, scope: &Scope, ex: &Self) -> bool {
        if ex.leaves_alone(task, scope) {
            ex.disarm(scope);
            scope.forget(task);
            return false;
        }
        ex.leave_any(task, scope)
    }

    /// The outermost scope, and no shield, of a task that nothing interrupts: so it has not fired.
    #[inline(always)]
    fn leaves_alone(&self, task: TaskRef, scope: &Scope) -> bool {
        scope.outer.get().is_null()
            && !scope.shields.get()
            && !task.has(mark::INTERRUPTED)
            && !self.watches(by::TRACED)
    }
}

impl Scope {
    /// No scope of `task` any more, which is in none then. That is all that is noted of it: a store
    /// more would be a cycle more. (See `Scope::named`.)
    #[inline(always)]
    fn forget(&self, task: TaskRef) {
        task.scope.set(null());
        task.unmark(mark::UNARMED | mark::SCOPED);
    }
}
