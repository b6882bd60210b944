//! The executor: one thread's loop over ready tasks, the ring, the sleepers and the mailbox.
//!
//! Everything takes `&self` and keeps its state in `Cell`s, because a running task re-enters the
//! executor (to attach, to suspend) while `run` is still further up on the thread's own stack. All
//! of it belongs to the owning thread but for `mailbox`, which never changes, and `owner`, which only the
//! child of a fork changes, in its copy: these any thread may read.

pub mod attach;
pub mod cancel;
pub mod head;
pub mod join;
pub mod mailbox;
pub mod options;
pub mod remote;
pub mod run;
pub mod shutdown;
pub mod suspend;

use core::cell::{Cell, UnsafeCell};
use core::ffi::c_void;

use crate::error::Res;
use crate::reactor::Reactor;
use crate::sched::run_queue::Ready;
use crate::sched::timers::Timers;
use crate::sys::alloc;
use crate::sys::cxx_eh::{self, Exceptions};
use crate::sys::thread::{self, Owner};
use crate::task::header::{Flags, TaskRef};
use crate::ticks;
use crate::uring::kernel::Kernel;
use head::ExecutorHead;
use mailbox::Mailbox;

#[repr(C, align(128))]
pub struct Executor<K: Kernel> {
    pub head: ExecutorHead,
    /// The thread that may use it.
    owner: Owner,
    track: bool,
    /// The owner's C++ exception state, or `no_exceptions`.
    exceptions: *mut Exceptions,
    ready: Ready,
    /// Since when the items that run are of one kind, and which: PENDING_LAUNCH or COMPLETED.
    span: Cell<(u64, Flags)>,
    /// Items run since the kernel was last asked.
    since_enter: Cell<u32>,
    deadlines: Timers,
    reactor: Reactor<K>,
    mailbox: &'static Mailbox,
    /// A wake-up arrived that no `run` has answered yet.
    woken: Cell<bool>,
    no_exceptions: UnsafeCell<Exceptions>,
    /// The owner thread's note of the executor that runs on it.
    running_here: *mut *const c_void,
}

impl<K: Kernel> Executor<K> {
    pub const OWNER_AT: usize = core::mem::offset_of!(Self, owner) + Owner::POINTER_AT;

    /// EXPENSIVE. The calling thread owns it.
    pub fn new(kernel: K, track: bool) -> Res<Box<Self>> {
        let mailbox = mailbox::open(kernel.waker())?;
        let ex = alloc::try_box(Self {
            head: ExecutorHead::default(),
            owner: Owner::nobody(),
            track,
            exceptions: cxx_eh::of_this_thread(),
            ready: Ready::new(),
            span: Cell::new((0, Flags::COMPLETED)),
            since_enter: Cell::new(0),
            deadlines: Timers::new(),
            reactor: Reactor::new(kernel),
            mailbox,
            woken: Cell::new(false),
            no_exceptions: UnsafeCell::new(Exceptions::NONE),
            running_here: thread::running_executor(),
        });
        let mut ex = ex.inspect_err(|_| mailbox.abandon())?;
        if ex.exceptions.is_null() {
            ex.exceptions = ex.no_exceptions.get();
        }
        // SAFETY: in its box, out of which it is not moved.
        unsafe { ex.owner.adopt() };
        Ok(ex)
    }

    /// The calling thread is the one that made it.
    #[inline(always)]
    pub fn is_mine(&self) -> bool {
        self.owner.is_here()
    }

    /// ANY THREAD. The process is the one that made it.
    pub fn is_of_this_process(&self) -> bool {
        self.owner.is_in_this_process()
    }

    #[inline(always)]
    pub fn current_task(&self) -> Option<TaskRef> {
        let head = self.head.current_task.get();
        // SAFETY: set by `run` to a live task.
        (!head.is_null()).then(|| unsafe { TaskRef::from_head(head) })
    }

    #[inline(always)]
    pub fn is_current(&self, task: TaskRef) -> bool {
        self.head.current_task.get() == task.as_head()
    }

    pub fn kernel(&self) -> &K {
        &self.reactor.kernel
    }

    #[inline(always)]
    fn address(&self) -> *mut c_void {
        self as *const Self as *mut c_void
    }

    #[inline(always)]
    fn stamp(&self) -> u64 {
        if self.track {
            ticks::now()
        } else {
            0
        }
    }

    /// Attached tasks, those in the mailbox not counted.
    #[inline(always)]
    fn attached(&self) -> usize {
        let head = &self.head;
        head.tasks_pending_launch.get() + head.tasks_running.get() + head.tasks_suspended.get()
    }

    /// For tests: something is in the mailbox, not looked at yet.
    pub fn has_mail(&self) -> bool {
        self.mailbox.inbox.has_any()
    }

    /// True while a task is attached.
    pub fn has_work(&self) -> bool {
        if self.mailbox.inbox.has_any() {
            self.collect_mailbox();
        }
        self.attached() != 0
    }
}
