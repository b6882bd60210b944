//! All that either language boundary may see: every call's checks, in one place for both.
//!
//! A caller's mistake is a returned error: null EINVAL, the wrong thread EPERM, from inside a task
//! EDEADLK, the wrong state EBUSY. What cannot be checked is that a handle is alive: that is the
//! caller's word, as with any C handle.

pub mod inspect;
mod io;
pub mod observe;

use core::ffi::c_void;
use core::ptr::NonNull;

use crate::debug;
use crate::error::{Errno, RawResult, Res};
use crate::executor::grant::Caller;
use crate::executor::head::ExecutorHead;
use crate::executor::mailbox::Mailbox;
use crate::executor::reference::Reference;
use crate::executor::scope::Scope;
use crate::executor::{exit, park, queue_ends, remote, Executor};
use crate::sys::thread;
use crate::task::create;
use crate::task::header::{mark, Flags, Task, TaskHead, TaskRef, Waits, PRIORITIES};
use crate::task::state::Run;
use crate::uring::kernel::Kernel;

const EINVAL: Errno = Errno(libc::EINVAL);
const EPERM: Errno = Errno(libc::EPERM);
const ESHUTDOWN: Errno = Errno(libc::ESHUTDOWN);

/// An executor as C holds it.
#[repr(transparent)]
pub struct Handle<K: Kernel>(NonNull<Executor<K>>);

impl<K: Kernel> Clone for Handle<K> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<K: Kernel> Copy for Handle<K> {}

/// The task behind `head`, which the caller says is a live handle or null.
///
/// # Safety
/// `head` is null or came from `create_task` and was not destroyed.
#[inline(always)]
pub unsafe fn task(head: *const TaskHead) -> Res<TaskRef> {
    if head.is_null() {
        return Err(EINVAL);
    }
    // SAFETY: the caller's.
    Ok(unsafe { TaskRef::from_head(head) })
}

/// Who calls: the task behind `head`, which runs on this thread, or the thread if that is null.
/// EPERM: it does not run here; EDEADLK: null inside a task.
///
/// # Safety
/// As `task`.
#[inline(always)]
pub unsafe fn caller<'a, K: Kernel>(head: *const TaskHead) -> Res<Caller<'a, K>> {
    if head.is_null() {
        return Caller::thread();
    }
    // SAFETY: the caller's.
    let task = unsafe { TaskRef::from_head(head) };
    Ok(Caller::task(Handle::running(task)?.executor(), task))
}

/// The mailbox of the executor that runs on this thread.
#[inline(always)]
pub fn here<K: Kernel>() -> Option<&'static Mailbox> {
    let running = NonNull::new(thread::running().cast_mut().cast()).map(Handle::<K>);
    running.map(|this| this.executor().mailbox())
}

pub fn create_task(stack_bytes: usize) -> Res<TaskRef> {
    debug::keep();
    create::create(stack_bytes)
}

pub fn destroy_task(task: TaskRef) -> Res<()> {
    create::destroy(task)
}

impl<K: Kernel> Handle<K> {
    pub fn new(kernel: K, track: bool) -> Res<Self> {
        Ok(Self(NonNull::from(Box::leak(Executor::new(kernel, track)?))))
    }

    /// # Safety
    /// `ex` is null or came from `as_ptr` and was not destroyed.
    #[inline(always)]
    pub unsafe fn from_ptr(ex: *mut Executor<K>) -> Res<Self> {
        NonNull::new(ex).map(Self).ok_or(EINVAL)
    }

    pub fn as_ptr(self) -> *mut Executor<K> {
        self.0.as_ptr()
    }

    #[inline(always)]
    pub fn executor<'a>(self) -> &'a Executor<K> {
        // SAFETY: alive, says the caller of every method; all its state is in Cells or never
        // changes.
        unsafe { self.0.as_ref() }
    }

    /// The executor that runs `task` at this moment, on this thread. EPERM if there is none.
    #[inline(always)]
    pub(crate) fn running(task: TaskRef) -> Res<Self> {
        // By what this thread notes, not by what the task says: that may be another thread's.
        let head = thread::running_head();
        // SAFETY: a head, though not always of an executor: see `running_head`.
        if unsafe { (*head.cast::<ExecutorHead>()).current_task.get() } != task.as_head() {
            return Err(EPERM);
        }
        // SAFETY: it runs a task, so it is an executor.
        Ok(Self(unsafe { NonNull::new_unchecked(head.cast_mut().cast()) }))
    }

    #[inline(always)]
    pub fn run(self, max_items: usize, timeout_ns: Option<u64>) -> Res<usize> {
        self.may_run()?.run(max_items, timeout_ns)
    }

    /// As [`Executor::run_on`].
    pub(crate) fn run_on(self, timeout_ns: Option<u64>) -> Res<usize> {
        self.may_run()?.run_on(timeout_ns)
    }

    #[inline(always)]
    fn may_run<'a>(self) -> Res<&'a Executor<K>> {
        let ex = self.executor();
        if !ex.is_mine() {
            return Err(EPERM);
        }
        if ex.is_thread_in_run() || ex.tells() {
            return Err(Errno(libc::EDEADLK));
        }
        Ok(ex)
    }

    pub fn wake(self) -> Res<()> {
        if !self.executor().is_of_this_process() {
            return Err(EPERM);
        }
        self.executor().wake();
        Ok(())
    }

    pub fn has_work(self) -> bool {
        self.executor().is_mine() && self.executor().has_work()
    }

    /// ANY THREAD. False in a child after `fork`.
    pub(crate) fn is_of_this_process(self) -> bool {
        self.executor().is_of_this_process()
    }

    pub fn cancel_all(self) -> Res<()> {
        if !self.executor().is_mine() {
            return Err(EPERM);
        }
        self.executor().cancel_all();
        Ok(())
    }

    /// As [`Executor::refuse_launches`].
    pub(crate) fn refuse_launches(self) {
        if self.executor().is_mine() {
            self.executor().refuse_launches();
        }
    }

    /// As [`Executor::list_attached`].
    pub(crate) fn list_attached(self, tasks: &mut Vec<(TaskRef, Run)>) {
        if self.executor().is_mine() {
            self.executor().list_attached(tasks);
        }
    }

    /// OWNER'S THREAD. Whether that run of `task` is under way here.
    pub(crate) fn has_run(self, task: TaskRef, run: Run) -> bool {
        task.state().is_run_attached_to(self.as_ptr().cast(), run)
    }

    pub fn destroy(self) -> Res<()> {
        let ex = self.executor();
        if !ex.is_mine() {
            return Err(EPERM);
        }
        if ex.is_in_run() || ex.tells() {
            return Err(Errno(libc::EDEADLK));
        }
        // SAFETY: made by `new`; the caller gives the handle up, unless it is refused.
        let ex = unsafe { Box::from_raw(self.0.as_ptr()) };
        ex.destroy().map_err(|(ex, e)| {
            Box::leak(ex);
            e
        })
    }

    #[inline(always)]
    pub fn attach(self, task: TaskRef) -> Res<()> {
        let ex = self.executor();
        if ex.is_mine() {
            ex.attach(task)
        } else {
            self.attach_remote(task)
        }
    }

    /// An attach is one by the owner, and nobody is to be told of it.
    #[inline(always)]
    pub(crate) fn attaches_plainly(self) -> bool {
        self.executor().is_mine() && !self.executor().is_watched()
    }

    /// As `attach`, with a hook.
    ///
    /// # Safety
    /// As `exit::attach_hooked`.
    #[inline(always)]
    pub unsafe fn attach_hooked(
        self,
        task: TaskRef,
        on_exit: exit::OnExit,
        of: *const c_void,
    ) -> Res<()> {
        let ex = self.executor();
        // SAFETY: the caller's.
        unsafe {
            if ex.is_mine() {
                ex.attach_hooked(task, on_exit, of)
            } else if !ex.is_of_this_process() {
                Err(EPERM)
            } else if !ex.mailbox().takes_launches() {
                Err(ESHUTDOWN)
            } else {
                exit::attach_hooked(ex.mailbox(), task, on_exit, of)
            }
        }
    }

    #[inline(never)]
    fn attach_remote(self, task: TaskRef) -> Res<()> {
        if !self.executor().is_of_this_process() {
            return Err(EPERM);
        }
        let mailbox = self.executor().mailbox();
        if !mailbox.takes_launches() {
            return Err(ESHUTDOWN);
        }
        remote::attach(mailbox, task)
    }

    pub fn cancel(self, task: TaskRef) -> Res<()> {
        let ex = self.executor();
        if ex.is_mine() {
            ex.cancel(task)
        } else if !ex.is_of_this_process() {
            Err(EPERM)
        } else {
            remote::cancel(Some(ex.mailbox()), task)
        }
    }

    /// Wherever it is attached.
    pub fn cancel_anywhere(task: TaskRef) -> Res<()> {
        // In this order: a run leaves a queue for an executor, and does not come back.
        if let Some(done) = queue_ends::cancel_queued(task) {
            return done;
        }
        match Self::of(task) {
            Some(this) => this.executor().cancel(task),
            None => remote::cancel(None, task),
        }
    }

    /// The executor of the calling thread that has `task` attached.
    fn of(task: TaskRef) -> Option<Self> {
        // Only one of our own is known to be there still: so its address comes from a mailbox that
        // is ours, and not from the task, which another thread may be attaching elsewhere.
        let mailbox = Mailbox::of(task).filter(|mailbox| mailbox.is_mine())?;
        let executor = mailbox.executor();
        let here = task.state().is_attached_to(executor);
        here.then(|| NonNull::new(executor.cast::<Executor<K>>()).map(Self)).flatten()
    }

    /// A yield of `task`, which runs here, if it is one of the most: see `Executor::turn`. The way
    /// to go on, in the place of the caller's return. None: nothing was done.
    #[inline(always)]
    pub fn turn<const TRACK: bool>(self, task: TaskRef) -> Option<Turn> {
        self.executor().turn::<TRACK>(task).map(|next| Turn { task, next })
    }

    #[inline(always)]
    pub fn sleep(task: TaskRef, ns: u64) -> RawResult {
        let this = match Self::running(task) {
            Ok(this) => this,
            Err(e) => return RawResult::failure(e),
        };
        if ns == 0 {
            if let Some(turn) = this.turn::<false>(task).or_else(|| this.turn::<true>(task)) {
                return turn.pass();
            }
        }
        RawResult::from_kernel(this.executor().sleep(task, ns))
    }

    pub fn sleep_until(task: TaskRef, boot_ns: u64) -> RawResult {
        match Self::running(task) {
            Ok(this) => RawResult::from_kernel(this.executor().sleep_until(task, boot_ns)),
            Err(e) => RawResult::failure(e),
        }
    }

    #[inline(always)]
    pub fn park(task: TaskRef) -> RawResult {
        match Self::running(task) {
            Ok(this) => this.executor().park(task),
            Err(e) => RawResult::failure_by_call(e),
        }
    }

    /// ANY THREAD. Wait-free.
    #[inline(always)]
    pub fn unpark(task: TaskRef) -> RawResult {
        let running = NonNull::new(thread::running().cast_mut().cast()).map(Self);
        match running.and_then(|this| this.executor().unpark_here(task)) {
            Some(result) => result,
            None => Self::unpark_anywhere(task),
        }
    }

    #[inline(never)]
    extern "C" fn unpark_anywhere(task: TaskRef) -> RawResult {
        let Some(parked) = park::unpark(task) else { return RawResult::success_by_call() };
        // Parked, so attached to the executor of that thread.
        match NonNull::new(task.executor().cast::<Executor<K>>()).map(Self) {
            Some(this) if parked.is_here() => this.executor().unparked(task),
            _ => parked.post(),
        }
        RawResult::success_by_call()
    }

    pub fn uncancel(task: TaskRef) -> Res<bool> {
        Ok(Self::running(task)?.executor().uncancel(task))
    }

    /// The running task; false for another.
    #[inline(always)]
    pub fn cancel_requested(task: TaskRef) -> bool {
        Self::running(task).is_ok() && task.has(mark::ASKED)
    }

    pub fn interrupted(task: TaskRef) -> Res<()> {
        match Self::running(task)?.executor().interrupted(task) {
            0 => Ok(()),
            errno => Err(Errno(errno)),
        }
    }

    /// # Safety
    /// As `Executor::try_enter`.
    #[inline(always)]
    pub unsafe fn enter_scope(
        task: TaskRef,
        scope: *mut Scope,
        timeout_ns: u64,
        flags: u32,
    ) -> Res<()> {
        // SAFETY: the caller's.
        unsafe { Self::running(task)?.executor().try_enter(task, scope, timeout_ns, flags) }
    }

    /// Whether that was done by what is the most frequent; if not, it is for `enter_scope`.
    ///
    /// # Safety
    /// As `Executor::try_enter`.
    #[inline(always)]
    pub(crate) unsafe fn enters_alone(
        task: TaskRef,
        scope: *mut Scope,
        timeout_ns: u64,
        flags: u32,
    ) -> bool {
        Self::running(task).is_ok_and(|this| {
            // SAFETY: the caller's.
            unsafe { this.executor().enters_alone(task, scope, timeout_ns, flags) }
        })
    }

    /// # Safety
    /// As `Executor::try_leave`.
    #[inline(always)]
    pub unsafe fn leave_scope(task: TaskRef, scope: *const Scope) -> Res<bool> {
        // SAFETY: the caller's.
        unsafe { Self::running(task)?.executor().try_leave(task, scope) }
    }

    /// # Safety
    /// As `Executor::cancel_scope`.
    pub unsafe fn cancel_scope(scope: *const Scope) -> Res<()> {
        if scope.is_null() {
            return Err(EINVAL);
        }
        let this = Self(NonNull::new(thread::running().cast_mut().cast()).ok_or(EPERM)?);
        // SAFETY: the caller's.
        unsafe { this.executor().cancel_scope(scope) }
    }

    /// One more reference to the executor.
    pub fn reference(self) -> Res<NonNull<Reference>> {
        if !self.executor().is_mine() {
            return Err(EPERM);
        }
        self.executor().reference()
    }

    pub fn join(task: TaskRef, other: TaskRef) -> RawResult {
        match Self::running(task) {
            Ok(this) => this.executor().join(task, other),
            Err(e) => RawResult::failure(e),
        }
    }

    /// EINVAL for a level that does not exist; EPERM from another thread while attached.
    pub fn set_priorities(task: TaskRef, cpu: u8, io: u8) -> Res<()> {
        if cpu as usize >= PRIORITIES || io as usize >= PRIORITIES {
            return Err(EINVAL);
        }
        if let Some(done) = queue_ends::set_priorities_queued(task, cpu, io) {
            return done;
        }
        if task.is_attached() {
            let ex = Self::of(task).ok_or(EPERM)?.executor();
            ex.set_priorities(task, cpu, io);
        } else {
            task.head.cpu.set(cpu);
            task.head.io.set(io);
        }
        Ok(())
    }
}

/// Who has yielded, and who runs from here on.
#[must_use]
pub struct Turn {
    task: TaskRef,
    next: TaskRef,
}

impl Turn {
    /// The last thing that the caller does: returns when its task is resumed.
    #[inline(always)]
    pub fn pass(self) -> RawResult {
        // SAFETY: made on the stack of `task`, which runs; `next` was ready, so it does not.
        unsafe { self.task.switch.pass_last(&self.next.switch) }
    }
}

/// For tests: what a task is doing.
pub fn state(task: TaskRef) -> (Flags, Waits) {
    (task.head.flags.get(), task.waits.get())
}

const _: () = assert!(core::mem::offset_of!(Task, head) == 0);
