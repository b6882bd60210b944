//! The executor: one thread's loop over ready tasks, the ring, the sleepers and the mailbox.
//!
//! Everything takes `&self` and keeps its state in `Cell`s, because a running task re-enters the
//! executor (to attach, to suspend) while `run` is still further up on the thread's own stack. All
//! of it belongs to the owning thread, except `mailbox`, which never changes, and `owner`, which
//! only the child of a fork changes, in its copy: these any thread may read.

mod asleep;
pub mod attach;
pub mod bare;
pub mod bare_io;
mod budget;
pub mod buffers;
pub mod cancel;
mod closing;
mod due;
mod end;
mod enter;
pub mod exit;
mod feed;
pub mod free;
pub mod grant;
pub mod hands;
pub mod head;
pub mod home;
pub mod intake;
pub mod jobs;
pub mod join;
pub mod join_case;
mod join_elsewhere;
mod known;
pub mod mailbox;
pub mod meter;
mod next;
pub mod operations;
pub mod options;
pub mod ordered;
pub mod park;
mod poll_fd;
pub mod queue;
pub mod queue_ends;
pub mod queue_jobs;
pub mod queue_left;
pub mod queue_many;
mod queue_owner;
pub mod queue_rest;
pub mod queue_row;
mod reaped;
pub mod reference;
pub mod remote;
mod rouse;
pub mod run;
pub mod scope;
pub mod shutdown;
pub mod suspend;
pub mod wait;
pub mod watch;

use core::cell::{Cell, UnsafeCell};
use core::ffi::{c_char, c_void};
use core::marker::PhantomPinned;
use core::ptr::NonNull;

use crate::atomic::AtomicPtr;
use crate::error::Res;
use crate::intrusive::{Chain, Fifo, Reversal};
use crate::reactor::users::Users;
use crate::reactor::Reactor;
use crate::sched::run_queue::Ready;
use crate::sched::shares::Shares;
use crate::sched::timers::Timers;
use crate::stack::asked::Walk;
use crate::stack::switch::Back;
use crate::sys::alloc;
use crate::sys::cxx_eh::{self, Exceptions};
use crate::sys::thread::{self, Owner};
use crate::task::annex::Name;
use crate::task::header::{Flags, TaskRef};
use crate::task::warm::WarmStacks;
use crate::ticks;
use crate::uring::kernel::Kernel;
use head::ExecutorHead;
use mailbox::Mailbox;
use next::Next;
use queue::Queue;
use reference::Reference;
use shutdown::AtEnd;

#[repr(C, align(128))]
pub struct Executor<K: Kernel> {
    pub head: ExecutorHead,
    /// Here, as `home` wants it.
    mailbox: &'static Mailbox,
    /// The thread that may use it.
    owner: Owner,
    track: bool,
    /// See `Executor::direct_handle`.
    direct_handle: u64,
    /// Who looks at it: bits of [`watch::by`].
    watch: Cell<u8>,
    /// The owner's C++ exception state, or `no_exceptions`.
    exceptions: *mut Exceptions,
    ready: Ready,
    /// Since when the items that run are of one kind, and which: PENDING_LAUNCH or COMPLETED.
    span: Cell<(u64, Flags)>,
    next: Next,
    warm: WarmStacks,
    back: Back,
    /// Items run since the kernel was last asked.
    since_enter: Cell<u32>,
    /// A pool's worker: tasks of the pool that have ended, and are not counted yet.
    pooled_ended: Cell<u32>,
    /// When the kernel was last asked, and how long after that it is asked again whatever runs.
    last_enter: Cell<u64>,
    look_ticks: u64,
    timers: Timers,
    reactor: Reactor<K>,
    /// Mail that was taken, and not dealt with: being turned round; in order; whether there is any.
    turning: Cell<Reversal>,
    mail: Cell<Chain>,
    mail_taken: Cell<bool>,
    /// In the middle of it: there is more, for who is told of an exit by that and asks `has_work`.
    more_mail: Cell<bool>,
    /// Launches among what was taken last.
    launches_came: Cell<usize>,
    /// The look at tasks that were marked for the want of a place, and whether to look once more.
    walk: Cell<Walk>,
    walk_again: Cell<bool>,
    /// Records of who joins a task that has exited, not woken yet.
    woken_joins: Fifo,
    reference: Cell<Option<NonNull<Reference>>>,
    /// A wake-up arrived that no `run` has answered yet.
    woken: Cell<bool>,
    batches: ordered::Looks,
    closes: closing::Closes,
    /// A function of the user's is being told of an exit, in the middle of whatever led to that.
    tells: Cell<bool>,
    fed_by: Cell<*const Queue>,
    shares: Shares,
    /// Tasks in the lists of those that wait for a buffer.
    hungry: Cell<usize>,
    /// Called by `destroy`, with what it is of.
    at_end: Cell<Option<AtEnd>>,
    no_exceptions: UnsafeCell<Exceptions>,
    name: Name,
    trace: watch::Trace,
    /// Null, or for its life; any thread reads it.
    meter: AtomicPtr<meter::Meter>,
    /// The shortest time-out for which a scope is entered by the coarse clock. One more than a
    /// time-out that is for `enter_alone` is above `alone_above_ns`: none while scopes are traced.
    coarse_from_ns: u64,
    alone_above_ns: Cell<u64>,
    /// The owner thread's note of the executor that runs on it.
    running_here: *mut *const c_void,
    refusals: Cell<suspend::Refusals>,
    /// Other threads read what the owner writes.
    _pinned: PhantomPinned,
}

impl<K: Kernel> Executor<K> {
    pub(crate) const OWNER_AT: usize = core::mem::offset_of!(Self, owner) + Owner::POINTER_AT;

    /// EXPENSIVE. The calling thread owns it.
    pub fn new(kernel: K, track: bool) -> Res<Box<Self>> {
        let users = Users::new()?;
        let mailbox = mailbox::open(kernel.waker())?;
        let coarse_from_ns = if track { kernel.coarse_from_ns() } else { u64::MAX };
        let ex = alloc::try_box(Self {
            head: ExecutorHead::default(),
            mailbox,
            owner: Owner::nobody(),
            track,
            direct_handle: u64::from(home::DIRECT | mailbox.home() << home::HOME_SHIFT) << 32,
            watch: Cell::new(watch::at_first(track)),
            exceptions: cxx_eh::of_this_thread(),
            ready: Ready::new(),
            span: Cell::new((0, Flags::COMPLETED)),
            next: Next::new(),
            warm: WarmStacks::new(),
            back: Back::new(),
            since_enter: Cell::new(0),
            pooled_ended: Cell::new(0),
            last_enter: Cell::new(0),
            look_ticks: if track { K::look_ticks() } else { u64::MAX },
            timers: Timers::new(),
            reactor: Reactor::new(kernel, users),
            turning: Cell::new(Reversal::NONE),
            mail: Cell::new(Chain::EMPTY),
            mail_taken: Cell::new(false),
            more_mail: Cell::new(false),
            launches_came: Cell::new(0),
            walk: Cell::new(Walk::OVER),
            walk_again: Cell::new(false),
            woken_joins: Fifo::new(),
            reference: Cell::new(None),
            woken: Cell::new(false),
            batches: ordered::Looks::default(),
            closes: closing::Closes::new(),
            tells: Cell::new(false),
            fed_by: Cell::new(core::ptr::null()),
            shares: Shares::default(),
            hungry: Cell::new(0),
            at_end: Cell::new(None),
            no_exceptions: UnsafeCell::new(Exceptions::NONE),
            name: Name::default(),
            trace: watch::Trace::none(),
            meter: AtomicPtr::new(core::ptr::null_mut()),
            coarse_from_ns,
            alone_above_ns: Cell::new(coarse_from_ns),
            running_here: thread::running_executor(),
            refusals: Cell::default(),
            _pinned: PhantomPinned,
        });
        let listed = |mut ex: Box<Self>| {
            ex.closes.make_lists()?;
            if !ex.kernel().cancels_by_handle() {
                ex.reactor.closings.make_lists()?;
            }
            Ok(ex)
        };
        let mut ex = ex.and_then(listed).inspect_err(|_| mailbox.abandon())?;
        if ex.exceptions.is_null() {
            ex.exceptions = ex.no_exceptions.get();
        }
        mailbox.set_executor(ex.address(), track);
        // SAFETY: in its box, out of which it is not moved.
        unsafe { ex.owner.adopt() };
        Ok(ex)
    }

    /// The calling thread is the one that made it.
    #[inline(always)]
    pub(crate) fn is_mine(&self) -> bool {
        self.owner.is_here()
    }

    /// ANY THREAD. The process is the one that made it.
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.owner.is_in_this_process()
    }

    #[inline(always)]
    pub fn current_task(&self) -> Option<TaskRef> {
        let head = self.head.current_task.get();
        // SAFETY: set by `run` to a live task.
        (!head.is_null()).then(|| unsafe { TaskRef::from_head(head) })
    }

    pub fn kernel(&self) -> &K {
        &self.reactor.kernel
    }

    pub fn name(&self) -> &Name {
        &self.name
    }

    /// # Safety
    /// As [`Name::set`].
    pub unsafe fn set_name(&self, text: *const c_char) {
        // SAFETY: the caller's.
        unsafe { self.name.set(text) };
        self.renamed();
    }

    #[inline(always)]
    pub(crate) fn address(&self) -> *mut c_void {
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
        self.has_mail_left()
    }

    pub(super) fn has_woken_joins(&self) -> bool {
        !self.woken_joins.is_empty()
    }

    /// OWNER'S THREAD. The caller is told of an exit: neither `run` nor `destroy` may be called.
    #[inline(always)]
    pub fn tells(&self) -> bool {
        self.tells.get()
    }

    /// True while a task is attached. To who is told of an exit also while mail is left, which may
    /// be of no task.
    #[inline(always)]
    pub fn has_work(&self) -> bool {
        if self.attached() != 0 {
            return true;
        }
        if !self.is_mine() {
            return false; // The child of a fork: those who ask are in the parent.
        }
        if self.more_mail.get() {
            return true;
        }
        let has_some = || self.has_mail_left() || self.has_woken_joins();
        // In this order: who no longer asks has left what there is.
        (has_some() || self.mailbox.has_askers() || has_some())
            && (self.tells() || self.has_late_work())
    }

    /// The caller may not come again: who joins what has exited is woken, and who is about to ask
    /// for it is waited for, a handful of instructions of another thread's. A notification is left
    /// for `run`: other threads may notify as fast as this could take them.
    #[cold]
    #[inline(never)]
    fn has_late_work(&self) -> bool {
        loop {
            while self.has_posts() || self.has_woken_joins() {
                let now = self.stamp();
                if self.has_posts() {
                    self.collect_mailbox(now);
                }
                self.wake_joiners(now);
                if self.attached() != 0 {
                    return true;
                }
            }
            self.mailbox.await_askers();
            if !self.has_posts() {
                return false;
            }
        }
    }
}
