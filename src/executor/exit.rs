//! Exits that somebody is told of: a group of its children's, and who has spawned a task and let it
//! go.
//!
//! A hook lies at the base of its task's stack: see `task::annex`.
//!
//! 1. The hook is written before the run can exit: by the executor's own thread right before its
//!    attach, by another one after its claim, before it says that the task is attached: from then
//!    on the executor may mark it. `mark::HOOKED` says that this run has one.
//! 2. It is taken, and leaves its list, before the exit is published, and is called after: the task
//!    is anybody's then, and the function may attach it again, or destroy it.
//! 3. It is called on the executor's thread, never on the task's stack.
//! 4. A child of a group that succeeded, with others left, is counted out between two launches,
//!    where nobody is told of each, or by a function that calls nothing of the library.

use core::cell::Cell;
use core::ffi::c_void;
use core::mem::{offset_of, MaybeUninit};
use core::ptr::{self, NonNull};

use super::grant::Wait;
use super::join::{JoinRecord, Joiner};
use super::mailbox::Mailbox;
use super::{remote, Executor};
use crate::error::{RawResult, Res};
use crate::intrusive::{Circular, Link};
use crate::task::annex::HOOK_BYTES;
use crate::task::header::{mark, TaskHead, TaskRef, Waits};
use crate::task::joins::CHAIN_MAX;
use crate::uring::kernel::Kernel;

/// What is told: the hook's `of`, the task, the result of its run, and the stamp of its end.
pub type OnExit = unsafe extern "C" fn(*const c_void, TaskRef, RawResult, u64);

#[repr(C)]
pub struct ExitHook {
    /// For a list of whom `of` is.
    link: Link,
    /// Of one whose link is in a list.
    task: MaybeUninit<TaskRef>,
    /// Those it is one of, whose list its link is in, if they have one; null: of none.
    among: *const Children,
    on_exit: OnExit,
    of: *const c_void,
}

/// Tasks whose ends are counted, and whose hooks are in one list, unless somebody else has them all
/// in a row.
#[repr(C)]
pub struct Children {
    list: Circular,
    count: Cell<usize>,
    /// Rule 4 holds of them.
    is_quiet: Cell<bool>,
    is_listed: bool,
    on_exit: Cell<Option<OnChildExit>>,
    /// Who waits for them, if somebody does.
    pub waiter: Cell<Option<NonNull<Wait>>>,
}

/// In the address of a group that a wait notes as its object. Odd: no lock.
pub(crate) const GROUP_TAG: usize = 3;

/// Told of each child that has exited.
pub type OnChildExit = unsafe extern "C" fn(*const TaskHead, RawResult);

impl Children {
    pub fn new(is_listed: bool) -> Self {
        Self {
            list: Circular::new(),
            count: Cell::new(0),
            is_quiet: Cell::new(true),
            is_listed,
            on_exit: Cell::new(None),
            waiter: Cell::new(None),
        }
    }

    /// Those that `task`, one of this executor's, is one of.
    fn of(task: TaskRef) -> Option<&'static Self> {
        if !task.has(mark::HOOKED) {
            return None;
        }
        // SAFETY: it has a hook; null, or a list that lives until the task has exited.
        unsafe { task.annex().cast::<ExitHook>().as_ref().among.as_ref() }
    }

    /// The task that waits for them; none, where that wait was cancelled.
    fn waiter(&self) -> Option<TaskRef> {
        // SAFETY: who waits takes it out before it goes on.
        let wait = unsafe { self.waiter.get()?.as_ref() };
        wait.task().filter(|_| wait.is_armed())
    }

    /// How many have not exited.
    #[inline(always)]
    pub fn count(&self) -> usize {
        self.count.get()
    }

    /// `is_short`: it may be called between two launches.
    pub fn set_on_exit(&self, on_exit: Option<OnChildExit>, is_short: bool) {
        self.on_exit.set(on_exit);
        self.is_quiet.set(is_short || on_exit.is_none());
    }

    pub fn on_exit(&self) -> Option<OnChildExit> {
        self.on_exit.get()
    }

    /// The oldest, which becomes the youngest.
    pub fn turn(&self) -> Option<TaskRef> {
        let link = self.list.front()?;
        // SAFETY: in the list, which is one of hooks.
        unsafe {
            self.list.remove(link);
            self.list.push_back(link);
            Some(link.cast::<ExitHook>().as_ref().task.assume_init())
        }
    }

    /// Uncounted.
    ///
    /// # Safety
    /// The run of `task` has not begun, and nobody else uses it.
    #[inline(always)]
    unsafe fn add<const LISTED: bool>(&self, task: TaskRef, on_exit: OnExit, of: *const c_void) {
        // SAFETY: the caller's; it leaves the list before the exit is published.
        unsafe {
            ExitHook::write_but_link(task, on_exit, of, self);
            if LISTED {
                let hook = task.annex().cast::<ExitHook>();
                (&raw mut (*hook.as_ptr()).task).write(MaybeUninit::new(task));
                self.list.push_back(hook.cast());
            }
        }
    }

    /// # Safety
    /// The hook of `task` names these.
    #[inline(always)]
    unsafe fn remove(&self, task: TaskRef) {
        if self.is_listed {
            // SAFETY: so it is in the list.
            unsafe { self.list.remove(task.annex().cast()) };
        }
        self.count.set(self.count.get() - 1);
    }
}

const _: () = assert!(size_of::<ExitHook>() <= HOOK_BYTES && offset_of!(ExitHook, link) == 0);

/// An exit looks for who is to be told where it looks for joiners.
const HAS_HOOK: u8 = mark::HOOKED | mark::JOINED;

impl ExitHook {
    pub(crate) const OF_AT: usize = offset_of!(Self, of);

    /// The run of `task` has not begun, and nobody else uses it.
    #[inline(always)]
    pub(super) fn write(task: TaskRef, on_exit: OnExit, of: *const c_void) {
        // SAFETY: the annex is the run's, which has not begun (rule 1).
        unsafe { Self::write_but_link(task, on_exit, of, ptr::null()) };
    }

    /// Three stores: link and task are what they were, for who puts it into a list to write.
    ///
    /// # Safety
    /// The run of `task` has not begun, and nobody else uses it; `among` is null, or those it
    /// becomes one of.
    #[inline(always)]
    unsafe fn write_but_link(
        task: TaskRef,
        on_exit: OnExit,
        of: *const c_void,
        among: *const Children,
    ) {
        let hook = task.annex().cast::<Self>().as_ptr();
        // SAFETY: the annex is the run's: memory of a slab, where any bytes will do for the rest.
        unsafe {
            (&raw mut (*hook).among).write(among);
            (&raw mut (*hook).on_exit).write(on_exit);
            (&raw mut (*hook).of).write(of);
        }
    }

    /// Rule 4, of a task with a hook that has returned.
    #[inline(always)]
    pub(super) fn may_leave_quietly(task: TaskRef) -> bool {
        // SAFETY: it has a hook.
        let hook = unsafe { task.annex().cast::<Self>().as_ref() };
        // SAFETY: null, or what it is in.
        let among = unsafe { hook.among.as_ref() };
        among.is_some_and(|among| among.is_quiet.get() && among.count.get() != 1)
            && task.result().error == 0
    }

    /// Whom to tell, once the exit is published.
    ///
    /// # Safety
    /// `may_leave_quietly`, as of now.
    #[inline(always)]
    pub(super) unsafe fn leave_quietly(task: TaskRef) -> Option<OnChildExit> {
        task.unmark(HAS_HOOK);
        // SAFETY: the caller's.
        unsafe {
            let among = &*task.annex().cast::<Self>().as_ref().among;
            among.remove(task);
            among.on_exit.get()
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
        // SAFETY: null, or what it is in.
        unsafe {
            if let Some(among) = hook.among.as_ref() {
                among.remove(task);
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
    /// `other`, which is suspended here, waits for the group of `task`, or for that of a task which
    /// waits for the group of `task`, and so on.
    #[cold]
    #[inline(never)]
    pub(super) fn awaits_child(other: TaskRef, task: TaskRef) -> bool {
        // A wait for a group has its record.
        let waits = other.waits.get() == Waits::Grant && !other.peer.get().is_null();
        let object = waits.then(|| Self::wait_of(other)).flatten().map_or(0, Wait::object);
        let mut next = Some(task).filter(|_| object & GROUP_TAG == GROUP_TAG);
        for _ in 0..CHAIN_MAX {
            let Some((child, among)) = next.and_then(|task| Some((task, Children::of(task)?)))
            else {
                return false;
            };
            if ExitHook::of(child).addr() | GROUP_TAG == object {
                return true;
            }
            next = among.waiter();
        }
        false
    }

    /// A child of the group at `of` waits for `task`, which runs here: see `is_joined_by_child`,
    /// or for the group that `task` is a child of, and so on. Where nobody on that way is joined,
    /// no more is looked at.
    pub fn is_awaited_by_child(&self, task: TaskRef, of: *const c_void) -> bool {
        let mut awaited = task;
        for _ in 0..CHAIN_MAX {
            if awaited.joiners.front().is_some() {
                return self.is_joined_by_child(awaited, of);
            }
            let Some(waiter) = Children::of(awaited).and_then(Children::waiter) else {
                return false;
            };
            if ExitHook::of(waiter) == of {
                return true;
            }
            awaited = waiter;
        }
        false
    }

    /// A child of the group at `of` waits for `task`, one of this executor's: it joins that, or one
    /// that does, or one whose group has such a child, and so on. What waits on other executors,
    /// and in a wait for several things, is not followed.
    #[cold]
    #[inline(never)]
    fn is_joined_by_child(&self, task: TaskRef, of: *const c_void) -> bool {
        let mut found = [task; CHAIN_MAX];
        let (mut seen, mut count) = (0, 1);
        while seen != count {
            let joined = found[seen];
            seen += 1;
            let mut link = joined.joiners.front();
            let mut waiter = Children::of(joined).and_then(Children::waiter);
            loop {
                let other = match link {
                    Some(at) => {
                        // SAFETY: only records of joiners that wait are in this list.
                        let record = unsafe { JoinRecord::from_link(at) };
                        // SAFETY: it is in the list.
                        link = NonNull::new(unsafe { at.as_ref() }.peek_next());
                        match record.joiner {
                            Joiner::Task(other, home) if ptr::eq(home, self.mailbox) => other,
                            _ => continue,
                        }
                    }
                    None => match waiter.take() {
                        None => break,
                        Some(other) => other,
                    },
                };
                if ExitHook::of(other) == of {
                    return true;
                }
                if count == CHAIN_MAX {
                    return false;
                }
                found[count] = other;
                count += 1;
            }
        }
        false
    }

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
        ExitHook::write(task, on_exit, of);
        self.attach_at(task, self.stamp(), HAS_HOOK);
        Ok(())
    }

    /// OWNER'S THREAD. As `attach_hooked`, of a child more.
    ///
    /// # Safety
    /// As `attach_hooked`, and `children`, which are listed, live until all have exited.
    #[inline(always)]
    pub unsafe fn attach_child(
        &self,
        task: TaskRef,
        on_exit: OnExit,
        of: *const c_void,
        children: &Children,
    ) -> Res<()> {
        self.may_attach(task)?;
        // SAFETY: the caller's.
        unsafe { children.add::<true>(task, on_exit, of) };
        children.count.set(children.count.get() + 1);
        self.attach_at(task, self.stamp(), HAS_HOOK);
        Ok(())
    }

    /// OWNER'S THREAD. As `attach_child`, of several, by one stamp; how many were attached: those
    /// before the first that was refused, whose error comes with it. `LISTED`, as they are.
    ///
    /// # Safety
    /// As `attach_child`, but that they need be listed only where it says so.
    #[inline(always)]
    pub unsafe fn attach_children<const LISTED: bool>(
        &self,
        tasks: impl Iterator<Item = TaskRef>,
        on_exit: OnExit,
        of: *const c_void,
        children: &Children,
    ) -> (usize, Res<()>) {
        let now = self.stamp();
        let mut attached = 0;
        let mut refused = Ok(());
        for task in tasks {
            refused = self.may_attach(task);
            if refused.is_err() {
                break;
            }
            // SAFETY: the caller's.
            unsafe { children.add::<LISTED>(task, on_exit, of) };
            self.attach_uncounted(task, now, HAS_HOOK);
            attached += 1;
        }
        children.count.set(children.count.get() + attached);
        self.head.tasks_pending_launch.set(self.head.tasks_pending_launch.get() + attached);
        (attached, refused)
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
