//! Exits that somebody is told of: a group of its children's, and who has spawned a task and let it
//! go.
//!
//! A hook lies at the base of its task's stack: see `task::annex`.
//!
//! 1. The hook is written before the run can exit: by the executor's own thread right after its
//!    attach, by another one after its claim, before it says that the task is attached: from then
//!    on the executor may mark it. `mark::HOOKED` says that this run has one.
//! 2. It is taken, and leaves its list, before the exit is published, and is called after: the task
//!    is anybody's then, and the function may attach it again, or destroy it.
//! 3. It is called on the executor's thread, never on the task's stack.

use core::cell::Cell;
use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr::{self, NonNull};

use super::mailbox::Mailbox;
use super::{remote, Executor};
use crate::error::{RawResult, Res};
use crate::intrusive::{Circular, Link};
use crate::task::annex::HOOK_BYTES;
use crate::task::header::{mark, TaskRef};
use crate::uring::kernel::Kernel;

/// What is told: the hook's `of`, the task, the result of its run, and the stamp of its end.
pub type OnExit = unsafe extern "C" fn(*const c_void, TaskRef, RawResult, u64);

#[repr(C)]
pub struct ExitHook {
    /// For a list of whom `of` is.
    link: Link,
    task: TaskRef,
    /// That its link is in; null: in none.
    list: Cell<*const Circular>,
    on_exit: OnExit,
    of: *const c_void,
}

const _: () = assert!(size_of::<ExitHook>() <= HOOK_BYTES && offset_of!(ExitHook, link) == 0);

/// An exit looks for who is to be told where it looks for joiners.
const HAS_HOOK: u8 = mark::HOOKED | mark::JOINED;

impl ExitHook {
    pub(crate) const OF_AT: usize = offset_of!(Self, of);

    /// # Safety
    /// `link` is that of a hook.
    pub unsafe fn task_of(link: NonNull<Link>) -> TaskRef {
        // SAFETY: the caller's; `link` is the first field.
        unsafe { link.cast::<Self>().as_ref() }.task
    }

    /// The run of `task` has not begun, and nobody else uses it.
    pub(super) fn write(task: TaskRef, on_exit: OnExit, of: *const c_void) {
        // SAFETY: the annex is the run's, which has not begun (rule 1).
        unsafe {
            task.annex().cast::<Self>().write(Self {
                link: Link::new(),
                task,
                list: Cell::new(ptr::null()),
                on_exit,
                of,
            })
        };
    }

    /// Puts the hook of a task of ours into a list, which it leaves before the exit is published.
    ///
    /// # Safety
    /// It was written for the run under way; the list lives until that has exited.
    pub unsafe fn enlist(task: TaskRef, list: &Circular) {
        let hook = task.annex().cast::<Self>();
        // SAFETY: the caller's; in no list.
        unsafe {
            hook.as_ref().list.set(list);
            list.push_back(hook.cast());
        }
    }

    /// Whom the run under way of a task of ours tells.
    pub fn of(task: TaskRef) -> *const c_void {
        if !task.has(mark::HOOKED) {
            return ptr::null();
        }
        // SAFETY: it has a hook.
        unsafe { task.annex().cast::<Self>().as_ref() }.of
    }
}

/// A hook that was taken out, to be called once the exit is published.
pub(super) struct Told(OnExit, *const c_void, u64);

impl Told {
    /// The run of `task` is about to be over.
    pub(super) fn take(task: TaskRef) -> Option<Self> {
        if !task.has(mark::HOOKED) {
            return None;
        }
        task.unmark(mark::HOOKED);
        // SAFETY: it has a hook.
        let hook = unsafe { task.annex().cast::<ExitHook>().as_ref() };
        // SAFETY: null, or the list that it is in.
        unsafe {
            if let Some(list) = hook.list.get().as_ref() {
                list.remove(task.annex().cast());
            }
        }
        Some(Self(hook.on_exit, hook.of, task.head.ticks.when_detached.get()))
    }

    pub(super) fn call(self, task: TaskRef, result: RawResult) {
        // SAFETY: `of` lives until it is told, by the word of who wrote the hook.
        unsafe { (self.0)(self.1, task, result, self.2) };
    }
}

impl<K: Kernel> Executor<K> {
    /// OWNER'S THREAD. As `attach`, with a hook.
    ///
    /// # Safety
    /// `of` is what `on_exit` takes, and lives until it has been told.
    #[inline(always)]
    pub unsafe fn attach_hooked(
        &self,
        task: TaskRef,
        on_exit: OnExit,
        of: *const c_void,
    ) -> Res<()> {
        self.may_attach(task)?;
        // SAFETY: the caller's.
        unsafe { self.attach_hooked_at(task, self.stamp(), on_exit, of) };
        Ok(())
    }

    #[inline(always)]
    unsafe fn attach_hooked_at(&self, task: TaskRef, now: u64, on_exit: OnExit, of: *const c_void) {
        self.attach_at(task, now);
        ExitHook::write(task, on_exit, of);
        task.mark(HAS_HOOK);
    }

    /// OWNER'S THREAD. As `attach_hooked`, and `ExitHook::enlist`, of several, by one stamp; how
    /// many were attached: those before the first that was refused, whose error comes with it.
    ///
    /// # Safety
    /// As of those two.
    pub unsafe fn attach_all_hooked(
        &self,
        tasks: impl Iterator<Item = TaskRef>,
        on_exit: OnExit,
        of: *const c_void,
        list: &Circular,
    ) -> (usize, Res<()>) {
        let now = self.stamp();
        let mut attached = 0;
        for task in tasks {
            if let Err(e) = self.may_attach(task) {
                return (attached, Err(e));
            }
            // SAFETY: the caller's.
            unsafe {
                self.attach_hooked_at(task, now, on_exit, of);
                ExitHook::enlist(task, list);
            }
            attached += 1;
        }
        (attached, Ok(()))
    }
}

/// Writes the hook of a run of a task that is claimed; the marks that say so.
///
/// # Safety
/// As `attach_hooked`.
pub unsafe fn hook(task: TaskRef, on_exit: OnExit, of: *const c_void) -> u8 {
    ExitHook::write(task, on_exit, of);
    HAS_HOOK
}

/// ANY THREAD. As `remote::attach`, with a hook.
///
/// # Safety
/// As `attach_hooked`.
pub unsafe fn attach_hooked(
    mailbox: &'static Mailbox,
    task: TaskRef,
    on_exit: OnExit,
    of: *const c_void,
) -> Res<()> {
    let before = remote::attach_begin_with(mailbox, task, || {
        ExitHook::write(task, on_exit, of);
        HAS_HOOK
    })?;
    remote::attach_end(mailbox, task, before)
}
