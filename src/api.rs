//! All that either language boundary may see: every call's checks, in one place for both.
//!
//! A caller's mistake is a returned error: null EINVAL, the wrong thread EPERM, from inside a task
//! EDEADLK, the wrong state EBUSY. What cannot be checked is that a handle is alive: that is the
//! caller's word, as with any C handle.

use core::ptr::NonNull;

use crate::debug;
use crate::error::{Errno, RawResult, Res};
use crate::executor::mailbox::Mailbox;
use crate::executor::Executor;
use crate::reactor::validate;
use crate::sys::thread;
use crate::task::create;
use crate::task::header::{Flags, Task, TaskHead, TaskRef, Waits, PRIORITIES};
use crate::uring::kernel::{Kernel, Sqe};

const EINVAL: Errno = Errno(libc::EINVAL);
const EPERM: Errno = Errno(libc::EPERM);

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
        // SAFETY: alive, says the caller of every method; all its state is in Cells or never changes.
        unsafe { self.0.as_ref() }
    }

    /// The executor that runs `task` at this moment, on this thread. EPERM if there is none.
    #[inline(always)]
    fn running(task: TaskRef) -> Res<Self> {
        // By what this thread notes, not by what the task says: that may be another thread's.
        let this = Self(NonNull::new(thread::running().cast_mut().cast()).ok_or(EPERM)?);
        if !this.executor().is_current(task) {
            return Err(EPERM);
        }
        Ok(this)
    }

    #[inline(always)]
    pub fn run(self, max_items: usize, timeout_ns: Option<u64>) -> Res<usize> {
        let ex = self.executor();
        if !ex.is_mine() {
            return Err(EPERM);
        }
        if ex.is_thread_in_run() {
            return Err(Errno(libc::EDEADLK));
        }
        ex.run(max_items, timeout_ns)
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
    pub fn is_of_this_process(self) -> bool {
        self.executor().is_of_this_process()
    }

    pub fn cancel_all(self) -> Res<()> {
        if !self.executor().is_mine() {
            return Err(EPERM);
        }
        self.executor().cancel_all();
        Ok(())
    }

    pub fn destroy(self) -> Res<()> {
        let ex = self.executor();
        if !ex.is_mine() {
            return Err(EPERM);
        }
        if ex.is_in_run() {
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

    #[inline(never)]
    fn attach_remote(self, task: TaskRef) -> Res<()> {
        if !self.executor().is_of_this_process() {
            return Err(EPERM);
        }
        self.executor().attach_remote(task)
    }

    pub fn cancel(self, task: TaskRef) -> Res<()> {
        let ex = self.executor();
        if ex.is_mine() {
            ex.cancel(task)
        } else if !ex.is_of_this_process() {
            Err(EPERM)
        } else {
            ex.cancel_remote(task)
        }
    }

    #[inline(always)]
    pub fn sleep(task: TaskRef, ns: u64) -> RawResult {
        match Self::running(task) {
            Ok(this) => RawResult::from_kernel(this.executor().sleep(task, ns)),
            Err(e) => RawResult::failure(e),
        }
    }

    /// # Safety
    /// `sqe` and what it refers to stay valid until the call returns.
    #[inline(always)]
    pub unsafe fn io(task: TaskRef, sqe: &Sqe) -> RawResult {
        let this = match Self::running(task) {
            Ok(this) => this,
            Err(e) => return RawResult::failure(e),
        };
        let ex = this.executor();
        if !ex.kernel().has_ring() {
            return RawResult::failure(Errno(libc::ENOTSUP));
        }
        if let Err(e) = validate::completes_once(sqe) {
            return RawResult::failure(e);
        }
        // SAFETY: the caller's.
        RawResult::from_kernel(unsafe { ex.io(task, sqe) })
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
        if task.is_attached() {
            // Only one of our own is known to be there still.
            if !Mailbox::of(task).is_some_and(Mailbox::is_mine) {
                return Err(EPERM);
            }
            let ex = NonNull::new(task.executor().cast::<Executor<K>>()).ok_or(EPERM)?;
            let ex = Self(ex).executor();
            if !ex.is_mine() {
                return Err(EPERM);
            }
            ex.set_priorities(task, cpu, io);
        } else {
            task.head.cpu.set(cpu);
            task.head.io.set(io);
        }
        Ok(())
    }
}

/// For tests: what a task is doing.
pub fn state(task: TaskRef) -> (Flags, Waits) {
    (task.head.flags.get(), task.waits.get())
}

const _: () = assert!(core::mem::offset_of!(Task, head) == 0);
