//! `monad_async_group`: tasks of one executor whose ends are awaited together.
//!
//! 1. A child is in the group's list from its spawn until its exit has been published, by its exit
//!    hook.
//! 2. The first child that fails decides the group's error; by default it cancels the others.
//! 3. A group that was cancelled takes no more children until its wait has returned: then it is as
//!    new.
//! 4. Children that come at once are in no list: the caller has them in a row, which stays. Of that
//!    row, a task whose hook names the group is a child.

use core::cell::Cell;
use core::ffi::c_void;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use crate::error::{Errno, RawResult, Res};
use crate::executor::exit::{Children, ExitHook};
use crate::executor::grant::Caller;
use crate::executor::mailbox::Mailbox;
use crate::executor::Executor;
use crate::task::header::{TaskHead, TaskRef};
use crate::uring::kernel::Kernel;

/// A flag of `monad_async_group_init`: a child that fails cancels nobody.
pub const INDEPENDENT: u32 = 1;
/// Another: who is told of exits calls nothing of the library.
pub const SHORT_EXITS: u32 = 2;

/// Another: rule 4.
pub const AT_ONCE: u32 = 4;
/// All there are.
pub const FLAGS: u32 = INDEPENDENT | SHORT_EXITS | AT_ONCE;

pub use crate::executor::exit::OnChildExit as OnExit;
pub(crate) use crate::executor::exit::GROUP_TAG;

#[repr(C)]
pub struct Group<K: Kernel> {
    /// Of its executor; only compared.
    home: Cell<*const Mailbox>,
    executor: Cell<*const c_void>,
    children: Children,
    flags: Cell<u32>,
    is_cancelled: Cell<bool>,
    has_failed: Cell<bool>,
    first_error: Cell<RawResult>,
    /// Rule 4; how many there are.
    row: Cell<*const *const TaskHead>,
    row_len: Cell<usize>,
    _reserved: u64,
    _kernel: PhantomData<fn(K)>,
}

// As in group.h.
const _: () = assert!(size_of::<Group<crate::uring::RealKernel>>() == 104);

const EPERM: Errno = Errno(libc::EPERM);

impl<K: Kernel> Group<K> {
    pub fn new(ex: &Executor<K>, flags: u32) -> Self {
        Self {
            home: Cell::new(ex.mailbox()),
            executor: Cell::new(ptr::from_ref(ex).cast()),
            children: Children::new(flags & AT_ONCE == 0),
            flags: Cell::new(flags),
            is_cancelled: Cell::new(false),
            has_failed: Cell::new(false),
            first_error: Cell::new(RawResult::default()),
            row: Cell::new(ptr::null()),
            row_len: Cell::new(0),
            _reserved: 0,
            _kernel: PhantomData,
        }
    }

    pub fn set_on_exit(&self, on_exit: Option<OnExit>) {
        self.children.set_on_exit(on_exit, self.flags.get() & SHORT_EXITS != 0);
    }

    /// EPERM: the caller's thread is not that of the group's executor.
    fn executor(&self) -> Res<&Executor<K>> {
        // SAFETY: null, or a mailbox, and they live for ever.
        match unsafe { self.home.get().as_ref() } {
            Some(home) if home.is_mine() && ptr::eq(home.executor(), self.executor.get()) => {
                // SAFETY: this thread owns the mailbox, and by the executor that the group is of,
                // not by a later one: so that is there.
                Ok(unsafe { &*self.executor.get().cast() })
            }
            _ => Err(EPERM),
        }
    }

    /// Rule 4.
    #[inline(always)]
    fn at_once(&self) -> bool {
        self.flags.get() & AT_ONCE != 0
    }

    /// Attaches `task`. ECANCELED: the group was cancelled, or a child has failed. EINVAL: its
    /// children come at once.
    pub fn spawn(&self, task: TaskRef) -> Res<()> {
        let ex = self.executor()?;
        if self.at_once() {
            return Err(Errno(libc::EINVAL));
        }
        if self.is_cancelled.get() {
            return Err(Errno(libc::ECANCELED));
        }
        let of = ptr::from_ref(self).cast();
        // SAFETY: a group lives until its children have exited, says group.h.
        unsafe { ex.attach_child(task, Self::exited, of, &self.children) }
    }

    /// Attaches several, by one stamp, up to the first that is null; how many were attached: those
    /// before the first that was refused, whose error comes with it. ECANCELED: none, as in
    /// `spawn`. EBUSY: none, as children that came at once are left.
    ///
    /// # Safety
    /// Tasks that live until they have exited; of a group whose children come at once the slice and
    /// all of them stay until none is left, and they are attached to nothing else.
    pub unsafe fn spawn_many(&self, tasks: &[*const TaskHead]) -> (usize, Res<()>) {
        let ex = match self.executor() {
            Ok(ex) => ex,
            Err(e) => return (0, Err(e)),
        };
        if self.is_cancelled.get() {
            return (0, Err(Errno(libc::ECANCELED)));
        }
        let of = ptr::from_ref(self).cast();
        // SAFETY: the caller's; a group lives until its children have exited, says group.h.
        unsafe {
            let some =
                tasks.iter().map_while(|&head| (!head.is_null()).then(|| TaskRef::from_head(head)));
            if !self.at_once() {
                return ex.attach_children::<true>(some, Self::exited, of, &self.children);
            }
            if self.count() != 0 {
                return (0, Err(Errno(libc::EBUSY)));
            }
            let spawned = ex.attach_children::<false>(some, Self::exited, of, &self.children);
            self.row.set(tasks.as_ptr());
            self.row_len.set(spawned.0);
            spawned
        }
    }

    /// # Safety
    /// `of` is the group that `task` was spawned in.
    unsafe extern "C" fn exited(of: *const c_void, task: TaskRef, result: RawResult, now: u64) {
        // SAFETY: the caller's.
        let this = unsafe { &*of.cast::<Self>() };
        if result.error != 0 && !this.has_failed.replace(true) {
            this.first_error.set(result);
            if this.flags.get() & INDEPENDENT == 0 {
                let _ = this.cancel();
            }
        }
        if let Some(on_exit) = this.children.on_exit() {
            // SAFETY: the caller's function, with the handle it expects.
            unsafe { on_exit(task.as_head(), result) };
        }
        if this.children.count() == 0 {
            this.wake(now);
        }
    }

    fn wake(&self, now: u64) {
        if let Some(wait) = self.children.waiter.take() {
            // SAFETY: its task waits, and takes it out before it goes on otherwise.
            let wait = unsafe { wait.as_ref() };
            if wait.claim() {
                wait.wake_at::<K>(now);
            }
        }
    }

    /// Cancels all children. O(children).
    pub fn cancel(&self) -> Res<()> {
        let ex = self.executor()?;
        if self.is_cancelled.replace(true) {
            return Ok(());
        }
        if self.at_once() {
            self.cancel_row(ex);
            return Ok(());
        }
        // Each goes to the back before it is cancelled: that may end it, or any other, as who is
        // told of an exit may cancel, too.
        for _ in 0..self.children.count() {
            let Some(child) = self.children.turn() else { break };
            let _ = ex.cancel(child);
        }
        Ok(())
    }

    #[cold]
    fn cancel_row(&self, ex: &Executor<K>) {
        let of = ptr::from_ref(self).cast();
        for n in 0..self.row_len.get() {
            if self.children.count() == 0 {
                return; // Without a child, the row may be gone.
            }
            // SAFETY: there are children, so it stays, and so do they.
            let task = unsafe { TaskRef::from_head(*self.row.get().add(n)) };
            if ExitHook::of(task) == of {
                let _ = ex.cancel(task);
            }
        }
    }

    /// SUSPENDS until no child is left: the first error, if there was one. EBUSY: another task
    /// waits; EDEADLK: the caller is a child, or a child waits for the caller.
    pub fn wait(&self, caller: &Caller<'_, K>) -> Res<RawResult> {
        let ex = self.executor()?;
        let Some((here, task)) = caller.executor().filter(|(here, _)| ptr::eq(*here, ex)) else {
            return Err(EPERM);
        };
        if ExitHook::of(task) == ptr::from_ref(self).cast() {
            return Err(Errno(libc::EDEADLK));
        }
        if self.children.waiter.get().is_some() {
            return Err(Errno(libc::EBUSY));
        }
        caller.start()?;
        if self.children.count() != 0 {
            let of = ptr::from_ref(self).cast();
            if here.is_awaited_by_child(task, of) {
                return Err(Errno(libc::EDEADLK));
            }
            let wait = caller.wait(true);
            wait.set_object(ptr::from_ref(self).addr() | GROUP_TAG);
            self.children.waiter.set(Some(NonNull::from(&wait)));
            let waited = here.await_grant(task, &wait);
            // Another's by now, if this one was woken before that came.
            if self.children.waiter.get() == Some(NonNull::from(&wait)) {
                self.children.waiter.set(None);
            }
            waited?;
        }
        let failed = self.has_failed.replace(false);
        self.is_cancelled.set(false);
        Ok(if failed { self.first_error.get() } else { RawResult::success(0) })
    }

    /// How many children have not exited.
    pub fn count(&self) -> usize {
        self.children.count()
    }
}
