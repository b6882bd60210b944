//! Waits that others end: a lock, a channel, a group. One [`Wait`] on the waiter's stack has the
//! same life whatever it waits for: armed; then granted or cancelled, exactly once (see
//! `task::grant`).
//!
//! 1. Who claims a wait has taken it out of its queue, gives the waiter what it waited for, and
//!    wakes it.
//! 2. From the executor's own thread that is a push on the run queue. From another one the wait's
//!    link travels: one message, once. The task does not go on before it has come, so that the
//!    record stays, and nobody touches it after it was posted.
//! 3. A cancel ends the wait for the task alone. The record stays in its queue until the task,
//!    which goes on, takes it out: who meets it there before finds that it cannot be claimed.
//! 4. A thread that runs no task waits on the word itself.

use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::NonNull;

use super::bare::record_of;
use super::free::Free;
use super::mailbox::{kind, Mailbox};
use super::scope::{Scope, NEVER_NS};
use super::watch::by;
use super::Executor;
use crate::atomic::{AtomicUsize, Ordering};
use crate::error::{Errno, Res};
use crate::intrusive::Link;
use crate::sys::{clock, futex, thread};
use crate::task::grant::Grant;
use crate::task::header::{mark, Room, TaskRef, Waits, NORMAL};
use crate::uring::kernel::Kernel;

#[repr(C)]
pub struct Wait {
    link: Link,
    pub(super) word: Grant,
    /// Says which of several things was granted; written by who claimed it, before the wake.
    pub index: Cell<u32>,
    /// None: a thread.
    who: Option<TaskRef>,
    /// The object that it waits for, for those that follow chains of waits; an address. Another
    /// thread that notifies writes it while they read.
    pub(super) object: AtomicUsize,
    /// Completions of operations are looked at as well; see `select`.
    pub watcher: Cell<Option<Watcher>>,
}

/// Whether a wait is for the operation record at this address, too; then the index of that case.
pub type Watcher = unsafe fn(&Wait, *const ()) -> Option<u32>;

const _: () = assert!(offset_of!(Wait, link) == 0);
// A task's room says so already.
const _: () = assert!(offset_of!(Wait, who) == Room::TASK_AT);

impl Wait {
    pub(crate) const OBJECT_AT: usize = offset_of!(Wait, object);
    pub(super) const WATCHER_AT: usize = offset_of!(Wait, watcher);

    #[inline(always)]
    fn new(who: Option<TaskRef>, word: Grant, object: usize) -> Self {
        Self {
            link: Link::new(),
            word,
            index: Cell::new(0),
            who,
            object: AtomicUsize::new(object),
            watcher: Cell::new(None),
        }
    }

    /// # Safety
    /// `link` is that of a wait that was claimed, and not woken yet.
    pub unsafe fn from_link<'a>(link: NonNull<Link>) -> &'a Self {
        // SAFETY: the caller's; `link` is the first field, and was made of a pointer to the record.
        unsafe { link.cast().as_ref() }
    }

    pub fn link(&self) -> NonNull<Link> {
        NonNull::from(self).cast()
    }

    /// ANY THREAD, under the latch of the queue it was found in. True: what it waits for is the
    /// caller's to give, and the wait to be woken.
    #[inline(always)]
    #[must_use]
    pub fn claim(&self) -> bool {
        if self.is_local() {
            self.word.claim_here()
        } else {
            self.claim_shared()
        }
    }

    /// As `claim`, of a task's that who may claim is of this thread. None: of another's, or ended.
    #[inline(always)]
    pub fn claim_here(&self) -> Option<TaskRef> {
        // One that is local and armed is a task's: no thread waits so, see `granted_until`.
        self.word.claim_here().then(|| self.task()).flatten()
    }

    /// By an exchange, which the local form does without: a function of its own, at which the local
    /// path ends.
    #[inline(never)]
    fn claim_shared(&self) -> bool {
        self.word.claim()
    }

    /// Who may claim or cancel is of one thread.
    #[inline(always)]
    pub(super) fn is_local(&self) -> bool {
        self.word.is_local()
    }

    /// Not ended yet, as far as one can see.
    #[inline]
    pub fn is_armed(&self) -> bool {
        self.word.is_armed()
    }

    /// The waiter.
    #[must_use]
    fn cancel(&self) -> bool {
        if self.is_local() {
            self.word.cancel_here()
        } else {
            self.cancel_shared()
        }
    }

    /// As `claim_shared`.
    #[inline(never)]
    fn cancel_shared(&self) -> bool {
        self.word.cancel()
    }

    /// An operation of the task has a completion. True: the wait was for it, and is claimed.
    pub(super) fn claim_for(&self, op: *const ()) -> bool {
        let Some(watcher) = self.watcher.get() else { return false };
        // SAFETY: who set it says that it is for this wait.
        let index = unsafe { watcher(self, op) };
        index.is_some_and(|index| self.claim_case(index))
    }

    /// The case `index` of the wait happens, if none has.
    pub(super) fn claim_case(&self, index: u32) -> bool {
        let claimed = self.claim();
        if claimed {
            self.index.set(index);
        }
        claimed
    }

    /// 0: it notes none.
    #[inline]
    pub fn object(&self) -> usize {
        // Relaxed: an address to compare with; what is there is the waiter's to keep.
        self.object.load(Ordering::Relaxed)
    }

    #[inline]
    pub fn set_object(&self, object: usize) {
        self.object.store(object, Ordering::Relaxed); // As above.
    }

    /// In which order waiters are served.
    #[inline(always)]
    pub fn level(&self) -> u8 {
        self.who.map_or(NORMAL, TaskRef::cpu_level)
    }

    #[inline(always)]
    pub fn task(&self) -> Option<TaskRef> {
        self.who
    }

    /// ANY THREAD, which has claimed it, as its last touch (rule 2).
    #[inline(always)]
    pub fn wake<K: Kernel>(&self) {
        match self.who {
            Some(task) if self.is_local() || home_of(task).is_mine() => wake_here::<K>(task),
            _ => self.wake_elsewhere(),
        }
    }

    /// As `wake`, of one that is local, by a stamp that was taken already.
    pub fn wake_at<K: Kernel>(&self, now: u64) {
        debug_assert!(self.is_local());
        if let Some(task) = self.who {
            // SAFETY: as in `wake`.
            unsafe { &*task.executor().cast::<Executor<K>>() }.granted_at(task, now);
        }
    }

    #[inline(never)]
    fn wake_elsewhere(&self) {
        match self.who {
            Some(task) => {
                // SAFETY: in no list; the task is attached there until the mail has come.
                let posted = unsafe { home_of(task).post_pinned(self.link(), kind::GRANT) };
                debug_assert!(posted, "its executor has the task attached");
            }
            None => {
                let address = (&raw const self.word) as usize;
                self.word.grant(); // It may be gone: the address is a name.
                futex::wake(address);
            }
        }
    }
}

/// The mailbox of the executor of a task that waits.
#[inline(always)]
pub(super) fn home_of(task: TaskRef) -> &'static Mailbox {
    // SAFETY: attached, and so in no queue; it stays so until the wait is over.
    unsafe { Mailbox::of(task).unwrap_unchecked() }
}

/// As `Wait::wake`, of a wait of this thread's that `Wait::claim_here` found.
#[inline(always)]
pub fn wake_here<K: Kernel>(task: TaskRef) {
    // SAFETY: it waits, so it is attached to the executor of this thread, which is alive.
    unsafe { &*task.executor().cast::<Executor<K>>() }.granted(task);
}

/// Who calls a function of `sync`: a task that runs, or a thread that runs none. Two words, which
/// travel in registers.
#[repr(C)]
pub struct Caller<'a, K: Kernel> {
    /// None: a thread.
    ex: Option<&'a Executor<K>>,
    identity: usize,
}

impl<K: Kernel> Clone for Caller<'_, K> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<K: Kernel> Copy for Caller<'_, K> {}

impl<'a, K: Kernel> Caller<'a, K> {
    /// `task` runs now.
    #[inline(always)]
    pub fn task(ex: &'a Executor<K>, task: TaskRef) -> Self {
        Self { ex: Some(ex), identity: task.addr() }
    }

    /// A thread, outside every task. EDEADLK inside one.
    pub fn thread() -> Res<Self> {
        if !thread::running().is_null() {
            return Err(Errno(libc::EDEADLK));
        }
        Ok(Self { ex: None, identity: (thread::own_number() as usize) << 1 | 1 })
    }

    /// See `of_parts`.
    #[inline(always)]
    pub fn parts(&self) -> (usize, Option<&'a Executor<K>>) {
        (self.identity, self.ex)
    }

    /// Of `parts`, which functions take in an order of their own: see `Free::parts`.
    #[inline(always)]
    pub fn of_parts(identity: usize, ex: Option<&'a Executor<K>>) -> Self {
        Self { ex, identity }
    }

    /// The task that calls, if nothing stands in the way of its next suspension.
    #[inline(always)]
    pub fn free(&self) -> Option<Free<'a, K>> {
        let (ex, task) = self.executor()?;
        (!task.has(mark::STOPS)).then(|| Free::new(ex, task))
    }

    /// The mailbox of the executor that runs here.
    #[inline(always)]
    pub fn mailbox(&self) -> Option<&'static Mailbox> {
        self.ex.map(|ex| ex.mailbox)
    }

    #[inline(always)]
    pub fn executor(&self) -> Option<(&'a Executor<K>, TaskRef)> {
        let ex = self.ex?;
        // SAFETY: with an executor it was made by `task`, of that task's address.
        Some((ex, unsafe { TaskRef::from_head(self.identity as *const _) }))
    }

    /// Nothing else is ready on this thread, as far as it knows.
    pub fn has_nothing_else(&self) -> bool {
        self.ex.is_none_or(|ex| ex.ready.is_empty() && !ex.is_fed())
    }

    /// Of the boot-time clock.
    pub fn now_ns(&self) -> u64 {
        self.ex.map_or_else(clock::boot_ns, |ex| ex.reactor.kernel.now_boot_ns())
    }

    /// What tells it from every other owner of a lock: the task's address, or a thread's number,
    /// odd. Never 0.
    #[inline(always)]
    pub fn identity(&self) -> usize {
        self.identity
    }

    /// At the start of a call that may suspend: the error, if a level of the task has fired.
    #[inline(always)]
    pub fn start(&self) -> Res<()> {
        match self.executor() {
            Some((ex, task)) if task.has(mark::INTERRUPTED) => Err(ex.refused_at_start(task)),
            _ => Ok(()),
        }
    }

    /// A record to wait by. `is_local`: all that may end the wait are of this thread.
    #[inline(always)]
    pub fn wait(&self, is_local: bool) -> Wait {
        self.wait_for(is_local, 0)
    }

    /// As `wait`; the record notes `object`.
    #[inline(always)]
    pub fn wait_for(&self, is_local: bool, object: usize) -> Wait {
        let word = if is_local { Grant::armed_here() } else { Grant::armed() };
        Wait::new(self.who(), word, object)
    }

    /// As `wait`, which neither a cancel nor a deadline ends.
    pub fn wait_for_sure(&self, is_local: bool) -> Wait {
        let word = if is_local { Grant::claimed_here() } else { Grant::claimed() };
        Wait::new(self.who(), word, 0)
    }

    #[inline(always)]
    fn who(&self) -> Option<TaskRef> {
        self.executor().map(|(_, task)| task)
    }

    /// SUSPENDS, or blocks, until `wait`, which others can reach, is granted. ETIME at `until_ns`
    /// of the boot-time clock, ECANCELED or what a scope's end says, EPERM to a thread where tasks
    /// alone may wait: then it was not, and never is.
    pub fn until_granted(&self, wait: &Wait, until_ns: u64) -> Res<()> {
        match self.executor() {
            Some((ex, task)) if until_ns == NEVER_NS => ex.await_grant(task, wait),
            _ => self.granted_in_time(wait, until_ns),
        }
    }

    #[inline(never)]
    fn granted_in_time(&self, wait: &Wait, until_ns: u64) -> Res<()> {
        self.granted_until(wait, until_ns)?.then_some(()).ok_or(Errno(libc::ETIME))
    }

    /// As `until_granted`; false: `until_ns` came first, before any level around the call fired.
    #[inline(never)]
    pub fn granted_until(&self, wait: &Wait, until_ns: u64) -> Res<bool> {
        match self.executor() {
            Some((ex, task)) => ex.await_grant_until(task, wait, until_ns),
            // No task: it would wait for itself.
            None if wait.is_local() && wait.cancel() => Err(Errno(libc::EPERM)),
            None => Ok(block(wait, until_ns)),
        }
    }
}

/// False: too late.
fn block(wait: &Wait, until_ns: u64) -> bool {
    while let Some((word, seen)) = wait.word.futex_word() {
        let left_ns = match until_ns {
            NEVER_NS => None,
            at_ns => match at_ns.saturating_sub(clock::boot_ns()) {
                0 if wait.cancel() => return false,
                0 => None, // Claimed: the grant is a few instructions away.
                ns => Some(ns),
            },
        };
        futex::wait(word, seen, left_ns);
    }
    true
}

impl<K: Kernel> Executor<K> {
    /// False: too late, by no level but this call's own.
    fn await_grant_until(&self, task: TaskRef, wait: &Wait, until_ns: u64) -> Res<bool> {
        let mut scope = core::mem::MaybeUninit::<Scope>::uninit();
        let left_ns = match until_ns {
            NEVER_NS => NEVER_NS,
            at_ns => at_ns.saturating_sub(self.reactor.kernel.now_boot_ns()),
        };
        // SAFETY: in place until it is left below.
        unsafe { self.enter_scope(task, scope.as_mut_ptr(), left_ns, 0) };
        let granted = self.await_grant(task, wait);
        // SAFETY: entered above, and the innermost one.
        let fired = unsafe { self.leave_scope(task, scope.as_ptr()) };
        match granted {
            Ok(()) => Ok(true),
            Err(Errno(libc::ETIME)) if fired == Ok(true) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// SUSPENDS. `task` runs now; others can reach `wait`.
    #[inline(always)]
    pub fn await_grant(&self, task: TaskRef, wait: &Wait) -> Res<()> {
        if task.has(mark::STOPS) {
            let stopped = self.stop_at(task, super::next::Ahead(None)); // Others have `wait`.
            if stopped != 0 && wait.cancel() {
                return Err(Errno(-self.refused(task, stopped))); // Nobody grants it now.
            }
        }
        match self.await_grant_at_once(task, wait) {
            0 => Ok(()),
            e => Err(Errno(-e)),
        }
    }

    /// As `await_grant`, where nothing stands in the way. 0, or a negative errno.
    #[inline(always)]
    pub(super) fn await_grant_at_once(&self, task: TaskRef, wait: &Wait) -> i32 {
        task.peer.set(core::ptr::from_ref(wait).cast());
        task.waits.set(Waits::Grant);
        task.head.outcome.set(0);
        task.awaits();
        self.leave(task);
        match task.head.outcome.get() {
            0 => 0,
            _ => task.ended.replace(0),
        }
    }

    /// What a task waits for by a record; see `Waits::Grant`.
    pub fn wait_of(task: TaskRef) -> Option<&'static Wait> {
        if task.waits.get() != Waits::Grant {
            return None;
        }
        if task.peer.get().is_null() {
            return Some(record_of(task));
        }
        // SAFETY: the record of a task that waits so is on its stack, or in its header; no use
        // outlives the wait.
        Some(unsafe { &*task.peer.get().cast::<Wait>() })
    }

    /// The wait of a task that waits so on this executor.
    pub fn waits_here(&self, task: TaskRef) -> Option<&Wait> {
        let here = task.state().is_attached_to(self.address());
        here.then(|| Self::wait_of(task)).flatten()
    }

    /// A level of the task has fired. False: the wait is claimed, and its grant on the way (rule
    /// 1).
    pub(super) fn cancel_grant(&self, task: TaskRef) -> bool {
        let over = Self::wait_of(task).is_some_and(Wait::cancel);
        if over {
            task.waits.set(Waits::Nothing);
        }
        over
    }

    /// The task of ours is to go on: its wait is granted.
    #[inline(always)]
    pub fn granted(&self, task: TaskRef) {
        self.granted_at(task, self.stamp());
    }

    #[inline(always)]
    fn granted_at(&self, task: TaskRef, now: u64) {
        debug_assert!(task.waits.get() == Waits::Grant);
        self.ready_again(task, now);
    }

    /// What a task of ours waits for in no list has come. The thread may be between two runs.
    #[inline(always)]
    pub(super) fn ready_again(&self, task: TaskRef, now: u64) {
        if self.watches(by::TRACED | by::POLLED) {
            return self.ready_again_watched(task, now);
        }
        task.completed(now);
        self.ready.push_over(task);
    }

    #[cold]
    #[inline(never)]
    pub(super) fn ready_again_watched(&self, task: TaskRef, now: u64) {
        task.waits.set(Waits::Nothing);
        self.make_ready(task, now);
        self.tell_poll_fd();
    }

    /// GRANT has arrived.
    ///
    /// # Safety
    /// `link` is that of a wait of a task of ours.
    pub(super) unsafe fn grant_arrived(&self, link: NonNull<Link>) {
        // SAFETY: the caller's.
        if let Some(task) = unsafe { Wait::from_link(link) }.task() {
            debug_assert!(task.state().is_attached_to(self.address()));
            self.granted(task);
        }
    }
}
