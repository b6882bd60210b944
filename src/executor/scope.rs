//! Scopes, and what interrupts a task: the levels around a call, from the innermost scope out to
//! the task itself, each of which may have fired. `struct monad_async_scope` is a record on the
//! task's stack.
//!
//! ```text
//!   task (fired: asked to be cancelled) <- outer <- ... <- inner scope <- task.scope
//!   a shield is a level that nothing outside it gets past
//! ```
//!
//! 1. A level fires once: what comes later finds it fired. A scope stays fired until it is left,
//!    the task until it exits or takes the cancel back.
//! 2. `mark::INTERRUPTED` says that a level which is not shielded off has fired; it is computed
//!    anew whenever a level fires, or one is entered or left that changes it. So a suspension tests
//!    one byte.
//! 3. A scope's timer is inserted when a call inside first suspends, and stays until the scope is
//!    left or has fired by it. `mark::UNARMED` says that there may be one to insert.
//! 4. So when a scope was entered is asked only of one inside which something suspends. A long
//!    time-out is entered by the coarse clock, with which `sys::coarse` bounds how much of it has
//!    passed. That bound needs to know when the task was resumed: without time tracking every scope
//!    takes a stamp, as short ones do.

use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::{self, NonNull};

use super::next::Ahead;
use super::watch::by;
use super::Executor;
use crate::error::{Errno, Res};
use crate::intrusive::TimerNode;
use crate::stack::headers;
use crate::sys::valgrind;
use crate::task::header::{mark, Flags, TaskRef};
use crate::uring::kernel::{Kernel, Moment};

/// Bits of `monad_async_scope_enter`'s `flags`.
pub(crate) const SHIELD: u32 = 1;

/// The task of a scope that was left open.
const NOBODY: usize = 0;

/// No deadline, in place of a time-out.
pub(crate) const NEVER_NS: u64 = u64::MAX;

/// `monad_async_scope`: scope.h
#[repr(C)]
pub struct Scope {
    pub(super) outer: Cell<*const Scope>,
    /// The address of its task, while it is entered; then that, or `NOBODY`; any bytes, in memory
    /// that never was a scope.
    task: Cell<usize>,
    /// Not written before `unarmed` says that it is not `ALONE`.
    timer: TimerNode,
    timeout_ns: Cell<u64>,
    /// When it was entered, for the time-out: a stamp, or by the coarse clock.
    pub(super) entered: Moment,
    pub(super) shields: Cell<bool>,
    /// Has a deadline, and no timer yet: `unarmed::ANY`, or `ALONE`, by `try_enter`.
    pub(super) unarmed: Cell<u8>,
    /// Was entered by the coarse clock.
    coarse: Cell<bool>,
    /// Written, so that these are one store.
    unused: Cell<u8>,
    /// 0, or the errno that calls inside return.
    fired: Cell<i32>,
}

pub(super) mod unarmed {
    pub const NO: u8 = 0;
    pub const ANY: u8 = 1;
    /// The outermost scope, no shield, by the coarse clock, and not traced.
    pub const ALONE: u8 = 3;
}

// As in scope.h.
const _: () = assert!(size_of::<Scope>() <= 96 && align_of::<Scope>() == 8);

impl Scope {
    /// What a debugger is told: see `debug`.
    pub(crate) const FIELDS: [(&str, usize); 6] = [
        ("scope.outer", offset_of!(Self, outer)),
        ("scope.deadline_ns", offset_of!(Self, timer) + offset_of!(TimerNode, deadline_ns)),
        ("scope.timeout_ns", offset_of!(Self, timeout_ns)),
        ("scope.fired", offset_of!(Self, fired)),
        ("scope.shields", offset_of!(Self, shields)),
        ("scope.unarmed", offset_of!(Self, unarmed)),
    ];

    /// The innermost one of `task` from now on: all of it but when it was entered, and the timer.
    ///
    /// # Safety
    /// `scope` is memory for one, which stays in place until it is left.
    #[inline(always)]
    pub(super) unsafe fn write<'a>(
        scope: *mut Self,
        task: TaskRef,
        outer: *const Self,
        timeout_ns: u64,
        shields: bool,
        unarmed: u8,
        coarse: bool,
    ) -> &'a Self {
        // SAFETY: the caller's; each field is memory of its own, and holds any bytes.
        let scope = unsafe {
            if unarmed != unarmed::ALONE {
                TimerNode::write_of_another_kind(&raw mut (*scope).timer);
            }
            &*scope
        };
        scope.outer.set(outer);
        scope.task.set(task.addr());
        scope.timeout_ns.set(timeout_ns);
        scope.shields.set(shields);
        scope.unarmed.set(unarmed);
        scope.coarse.set(coarse);
        scope.unused.set(0);
        scope.fired.set(0);
        task.scope.set(ptr::from_ref(scope).cast());
        scope
    }

    /// The thread of its task's executor.
    pub(crate) fn has_fired(&self) -> bool {
        self.fired.get() != 0
    }

    /// For tests: the errno that it has fired with, or 0.
    pub fn fired(&self) -> i32 {
        self.fired.get()
    }

    /// The task that it names. What was left, or never was a scope, may name any: who is told of
    /// one looks whether that is in it.
    fn named(&self) -> Option<TaskRef> {
        let named = ptr::with_exposed_provenance(self.task.get());
        // SAFETY: a header lies there.
        headers::contains(self.task.get()).then(|| unsafe { TaskRef::from_head(named) })
    }

    /// No timer so far, though it has a deadline: it has one from now on, which is not inserted.
    /// False: that was so already, or it has no deadline.
    #[inline(always)]
    fn takes_timer(&self) -> bool {
        let unarmed = self.unarmed.take();
        if unarmed == unarmed::ALONE {
            // SAFETY: its own memory, which nobody has looked at so far.
            unsafe { TimerNode::write_of_another_kind(self.timer_ptr().as_ptr()) };
        }
        unarmed != unarmed::NO
    }

    /// # Safety
    /// `timer` is the timer of a scope that is entered.
    pub(super) unsafe fn from_timer<'a>(timer: NonNull<TimerNode>) -> &'a Self {
        // SAFETY: the caller's; an entered scope stays where it is.
        unsafe { timer.byte_sub(offset_of!(Self, timer)).cast().as_ref() }
    }

    fn timer_ptr(&self) -> NonNull<TimerNode> {
        // SAFETY: within the record.
        unsafe { NonNull::from(self).byte_add(offset_of!(Self, timer)).cast() }
    }
}

/// The scopes that `task` is in, innermost first. Its executor's thread.
fn scopes(task: TaskRef) -> impl Iterator<Item = &'static Scope> {
    // SAFETY: scopes that are entered stay where they are until they are left; so says scope.h. Not
    // one of the iterator's uses outlives that.
    let at = |scope: *const Scope| unsafe { scope.as_ref() };
    core::iter::successors(at(task.scope.get().cast()), move |scope| at(scope.outer.get()))
}

/// One of those that `task` is in.
pub(crate) fn is_entered(task: TaskRef, scope: *const Scope) -> bool {
    scopes(task).any(|entered| core::ptr::eq(entered, scope))
}

/// The errno that a suspending call of `task` returns at once; 0: none. The outermost level that
/// has fired decides: a cancel from outside is not lost in a time-out.
pub(super) fn interruption(task: TaskRef) -> i32 {
    let mut errno = 0;
    for scope in scopes(task) {
        if scope.fired.get() != 0 {
            errno = scope.fired.get();
        }
        if scope.shields.get() {
            return errno;
        }
    }
    if task.has(mark::ASKED) {
        libc::ECANCELED
    } else {
        errno
    }
}

/// Computes the marks anew, after a change of the levels.
fn refresh(task: TaskRef) {
    task.unmark(mark::INTERRUPTED | mark::UNARMED | mark::SCOPED);
    let mut marks = 0;
    for scope in scopes(task) {
        marks |= mark::SCOPED;
        if scope.unarmed.get() != unarmed::NO {
            marks |= mark::UNARMED;
        }
    }
    if interruption(task) != 0 {
        marks |= mark::INTERRUPTED;
    } else {
        // Its next operation is another one: the kernel was not asked to cancel that.
        task.unmark(mark::OPERATION_ASKED);
    }
    task.mark(marks);
}

impl<K: Kernel> Executor<K> {
    /// `task` runs now.
    ///
    /// # Safety
    /// `scope` is memory for a scope, which stays in place and the library's until it is left.
    pub unsafe fn enter_scope(
        &self,
        task: TaskRef,
        scope: *mut Scope,
        timeout_ns: u64,
        flags: u32,
    ) {
        let kernel = &self.reactor.kernel;
        let timed = timeout_ns != NEVER_NS;
        let coarse = timed && timeout_ns >= self.coarse_from_ns; // Rule 4.
        let unarmed = if timed { unarmed::ANY } else { unarmed::NO };
        let shields = flags & SHIELD != 0;
        let outer = task.scope.get().cast();
        // SAFETY: the caller's.
        let scope =
            unsafe { Scope::write(scope, task, outer, timeout_ns, shields, unarmed, coarse) };
        if self.watches(by::TRACED) {
            self.watched_scope(task, scope, 0, timeout_ns);
        }
        if shields {
            refresh(task);
        } else {
            task.mark(if timed { mark::SCOPED | mark::UNARMED } else { mark::SCOPED });
        }
        if coarse {
            kernel.note_coarsely(&scope.entered);
        } else if timed {
            kernel.stamp_to(&scope.entered[0]);
        }
    }

    /// `task` runs now. EINVAL unless it is the innermost scope; whether it has fired.
    ///
    /// # Safety
    /// `scope` may be read.
    pub unsafe fn leave_scope(&self, task: TaskRef, scope: *const Scope) -> Res<bool> {
        if scope.is_null() || task.scope.get() != scope.cast() {
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: the innermost scope of the task, so entered.
        Ok(self.leave_any(task, unsafe { &*scope }))
    }

    /// The innermost scope of `task`; whether it has fired.
    pub(super) fn leave_any(&self, task: TaskRef, scope: &Scope) -> bool {
        self.close_scope(task, scope);
        if self.watches(by::TRACED) {
            self.watched_scope(task, scope, 1, scope.fired.get() as u64);
        }
        // Who is not interrupted is not by leaving, unless that was a shield. An outer scope may be
        // without a timer still: whether it is, the next suspension sees.
        if task.has(mark::INTERRUPTED) || scope.shields.get() {
            refresh(task);
        } else if scope.outer.get().is_null() {
            task.unmark(mark::UNARMED | mark::SCOPED);
        }
        scope.fired.get() != 0
    }

    fn close_scope(&self, task: TaskRef, scope: &Scope) {
        scope.takes_timer();
        self.disarm(scope);
        scope.task.set(NOBODY);
        task.scope.set(scope.outer.get().cast());
    }

    #[inline(always)]
    pub(super) fn disarm(&self, scope: &Scope) {
        if scope.timer.is_inserted() {
            self.timers.remove_node(scope.timer_ptr());
        }
    }

    /// `task` has returned with scopes open. True if there were any.
    #[cold]
    pub(super) fn close_scopes(&self, task: TaskRef) -> bool {
        let open = !task.scope.get().is_null();
        while let Some(scope) = scopes(task).next() {
            // In a frame that is gone, and that nothing has overwritten.
            if valgrind::is_here() {
                valgrind::defined(ptr::from_ref(scope).addr() as u64, size_of::<Scope>());
            }
            self.close_scope(task, scope);
        }
        refresh(task);
        open
    }

    /// A task of ours cancels a scope. EINVAL: not entered; EPERM: a task of another executor is in
    /// it, or was.
    ///
    /// # Safety
    /// `scope` may be read.
    pub unsafe fn cancel_scope(&self, scope: *const Scope) -> Res<()> {
        // SAFETY: the caller's.
        let scope = unsafe { scope.as_ref() }.ok_or(Errno(libc::EINVAL))?;
        let task = scope.named().ok_or(Errno(libc::EINVAL))?;
        if !task.state().is_attached_to(self.address()) {
            return Err(Errno(if task.is_attached() { libc::EPERM } else { libc::EINVAL }));
        }
        if !is_entered(task, scope) {
            return Err(Errno(libc::EINVAL));
        }
        self.fire(task, scope, libc::ECANCELED);
        Ok(())
    }

    /// The deadline of a scope has passed.
    pub(super) fn deadline_passed(&self, scope: &Scope) {
        if let Some(task) = scope.named() {
            self.fire(task, scope, libc::ETIME);
        }
    }

    fn fire(&self, task: TaskRef, scope: &Scope, errno: i32) {
        if scope.fired.get() != 0 {
            return; // Rule 1.
        }
        scope.fired.set(errno);
        if self.watches(by::TRACED) {
            self.watched_scope(task, scope, 2, errno as u64);
        }
        scope.takes_timer();
        self.disarm(scope);
        self.levels_changed(task);
    }

    /// A level of `task` has fired.
    pub(super) fn levels_changed(&self, task: TaskRef) {
        refresh(task);
        if task.has(mark::INTERRUPTED) && task.head.flags.get() == Flags::AWAITING {
            self.cancel_wait(task);
        }
    }

    /// `task` runs now, and took its cancel back. Whether there was one.
    pub fn uncancel(&self, task: TaskRef) -> bool {
        let asked = task.has(mark::ASKED);
        task.unmark(mark::ASKED);
        refresh(task);
        asked
    }

    /// What a suspending call of the running task must not pass by: arms what is not armed; then
    /// the errno to return, negative, or 0. MAY SUSPEND before it returns an errno: see `refused`.
    #[cold]
    #[inline(never)]
    pub(super) fn stop(&self, task: TaskRef) -> i32 {
        match self.stop_at(task, Ahead(None)) {
            0 => 0,
            stopped => self.refused(task, stopped),
        }
    }

    /// The same, for who has just taken the stamp of the suspension, maybe. Does not suspend.
    #[cold]
    #[inline(never)]
    pub(super) fn stop_at(&self, task: TaskRef, now: Ahead) -> i32 {
        if task.has(mark::UNARMED) {
            let mut has_fired = false;
            for scope in scopes(task) {
                if scope.takes_timer() {
                    has_fired |= !self.arm(task, scope, now);
                }
            }
            task.unmark(mark::UNARMED);
            if has_fired {
                refresh(task);
            }
        }
        if !task.has(mark::INTERRUPTED) {
            return 0;
        }
        task.cqe_flags.set(0);
        -interruption(task)
    }

    /// Before `task` suspends where nothing interrupts it: what its scopes have noted is of now.
    pub(super) fn arm_all(&self, task: TaskRef) {
        if task.has(mark::UNARMED) {
            let flags = task.cqe_flags.get();
            self.stop_at(task, Ahead(None));
            task.cqe_flags.set(flags);
        }
    }

    /// `task` runs now. What a call of its would return at once if it had to suspend, or 0; a
    /// deadline that has passed since the last look at the timers counts.
    #[cold]
    pub fn interrupted(&self, task: TaskRef) -> i32 {
        // Arms what is not armed; the flags stay those of the last operation.
        let flags = task.cqe_flags.get();
        self.stop_at(task, Ahead(None));
        task.cqe_flags.set(flags);
        let is_timed = |scope: &&Scope| scope.timer.is_inserted();
        if scopes(task).any(|scope| is_timed(&scope)) {
            let now_ns = self.reactor.kernel.now_boot_ns();
            for scope in scopes(task).filter(is_timed) {
                if scope.timer.deadline_ns.get() <= now_ns {
                    self.deadline_passed(scope);
                }
            }
        }
        interruption(task)
    }

    /// Inserts the timer of a scope. False: it is due, and has fired.
    #[inline(always)]
    fn arm(&self, task: TaskRef, scope: &Scope, now: Ahead) -> bool {
        let kernel = &self.reactor.kernel;
        let (passed_ns, now_ns) = if scope.coarse.get() {
            let Ahead(Some(now)) = now else { return self.arm_now(task, scope) };
            let resumed = task.head.ticks.when_resumed.get();
            (kernel.passed_coarsely_ns(&scope.entered, resumed, now), kernel.boot_ns_at(now))
        } else {
            let (passed_ns, now_ns) = match now {
                Ahead(Some(now)) if self.track => kernel.since_at(scope.entered[0].get(), now),
                _ => kernel.since(scope.entered[0].get()),
            };
            // Never early, though the counter's rate is known to a thousandth only.
            (passed_ns - passed_ns / 512, now_ns)
        };
        let left_ns = scope.timeout_ns.get().saturating_sub(passed_ns);
        if left_ns == 0 {
            scope.fired.set(libc::ETIME);
            return false;
        }
        let deadline_ns = now_ns.saturating_add(left_ns);
        // SAFETY: not inserted, and in place until the scope is left, which takes it out.
        unsafe { self.timers.insert_node(scope.timer_ptr(), deadline_ns) };
        true
    }

    #[cold]
    #[inline(never)]
    fn arm_now(&self, task: TaskRef, scope: &Scope) -> bool {
        self.arm(task, scope, Ahead(Some(self.stamp())))
    }
}
