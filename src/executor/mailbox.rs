//! Where other threads leave what they want of an executor.
//!
//! Mailboxes are never freed, only recycled: an executor on another thread may hold the address of
//! one (to join a task there) longer than its owner lives. A message that arrives at a mailbox's
//! next owner finds its task is not attached there, which is an answer like any other.

use core::cell::Cell;
use core::ffi::c_void;
use core::marker::PhantomPinned;
#[cfg(not(loom))]
use core::mem::offset_of;
use core::ptr::{self, NonNull};
use core::sync::atomic::AtomicU32 as StaticCount;

use super::known;
use crate::atomic::{
    fence, AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, MutexGuard,
    Ordering,
};
use crate::error::Res;
use crate::intrusive::{Chain, Link, MpscQueue, Push};
use crate::sys::alloc;
use crate::sys::backoff::Backoff;
use crate::sys::fork::{ForkLock, Watch};
use crate::sys::futex;
use crate::sys::thread::{self, OwnerNumber};
use crate::task::header::TaskRef;
use crate::task::requests::Requests;
use crate::task::state::{Run, TaskState};
use crate::uring::kernel::Waker;

/// What a link in an inbox is part of.
pub mod kind {
    /// A task to launch.
    pub const LAUNCH: usize = 0;
    /// `join::JoinRecord::link`: tell me when that run has exited.
    pub const JOIN: usize = 1;
    /// The same, answered.
    pub const JOINED: usize = 2;
    /// `join::JoinRecord::unlink`: I no longer want to know.
    pub const UNJOIN: usize = 3;
    /// The same, acknowledged.
    pub const UNJOINED: usize = 4;
    /// `park::ParkRecord::link`: the task is to go on.
    pub const UNPARK: usize = 5;
    /// `grant::Wait::link`: the same.
    pub const GRANT: usize = 6;
    /// `reactor::batch::Batch::link`: its writes are done, as far as they are.
    pub const BATCH: usize = 7;
}

/// So many executors, made one behind the other, are told from each other by a handle.
pub const HOMES: u32 = 0x1fff;

/// What became of a message about a run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Posted {
    Queued,
    /// Its run is over.
    Over,
    /// Its executor is gone, and the run will be seen to be over; or it has found work as it went,
    /// and opens again.
    Closed,
}

/// In this order: who wakes the owner needs the first line alone.
#[repr(C, align(64))]
pub struct Mailbox {
    pub inbox: MpscQueue,
    /// Of a worker of a pool, under the lock of its queue: in the list of those who sleep, who is
    /// behind it.
    pub(super) next_idle: Cell<*const Mailbox>,
    /// That it is in that list. The owner, who alone sets it, may read it without the lock: see
    /// `was_unlisted`.
    pub(super) is_idle: AtomicBool,
    /// The notification is also for who called `run`.
    wake_asked: AtomicBool,
    /// Its owner closed it for good: not to open it again.
    gone: AtomicBool,
    tracks: AtomicBool,
    /// Its owner ends its tasks: no launches by other threads.
    ends: AtomicBool,
    /// The owner's eventfd; negative while it has none.
    eventfd: AtomicI32,
    /// Owners so far.
    epoch: AtomicU64,
    /// A hint, of who roused the owner: where that lies which it is to begin.
    pub(super) first: AtomicUsize,
    // --- line 1
    /// Threads that are about to post what concerns a run of a task: see `post_of_run`. Not those
    /// that hold a pin for longer.
    askers: AtomicUsize,
    owner: OwnerNumber,
    /// The owner, for its address and no more; and, above, whether it tracks time.
    executor: AtomicPtr<c_void>,
    /// `thread::forks` of the owner's process.
    forks: AtomicU32,
    /// Tasks that other threads asked to cancel. A request notifies the inbox.
    pub requests: Requests,
    /// The next spare one, while this is one. Behind the lock of `SPARE`.
    next: Cell<Option<&'static Mailbox>>,
    /// What the kernel calls the owner's thread.
    kernel_thread: AtomicU64,
    /// Which executor this is, for handles: see `Mailbox::home`.
    home: AtomicU32,
    /// The one made before it. Never changes.
    older: *const Mailbox,
    /// Others write to what its owner holds.
    _pinned: PhantomPinned,
}

/// The newest of all mailboxes, which live for ever. Grows under the lock of `SPARE`.
static NEWEST: AtomicPtr<Mailbox> = AtomicPtr::new(ptr::null_mut());

/// ANY THREAD. Of the process, with an owner or without.
pub fn for_each(mut each: impl FnMut(&'static Mailbox)) {
    // SAFETY: null, or a mailbox.
    let at = |mailbox: *const Mailbox| unsafe { mailbox.as_ref() };
    let mut next = at(NEWEST.load(Ordering::Acquire));
    while let Some(mailbox) = next {
        next = at(mailbox.older);
        each(mailbox);
    }
}

/// Mailboxes without an owner.
static SPARE: ForkLock<Option<&'static Mailbox>> = ForkLock::new(None);

extern "C" fn before_fork() {
    SPARE.hold();
}

extern "C" fn in_parent() {
    SPARE.let_go(|_| {});
}

/// Each may be pinned by a thread that the child does not have: it makes its own.
extern "C" fn in_child() {
    SPARE.let_go(|first| *first = None);
}

fn spare() -> MutexGuard<'static, Option<&'static Mailbox>> {
    static WATCH: Watch = Watch::new();
    WATCH.ensure(before_fork, in_parent, in_child);
    SPARE.lock()
}

#[cfg(not(loom))]
const _: () = assert!(offset_of!(Mailbox, eventfd) < 64 && offset_of!(Mailbox, first) < 64);

// SAFETY: the inbox is made for many threads; links in it belong to the thread that the rules in
// `intrusive::mpsc` say. `next` is behind a lock, `next_idle` behind a queue's.
unsafe impl Sync for Mailbox {}
// SAFETY: as above.
unsafe impl Send for Mailbox {}

/// A mailbox that takes messages, whose owner `waker` wakes.
pub fn open(waker: Waker) -> Res<&'static Mailbox> {
    let mailbox = match take_spare() {
        Some(mailbox) => mailbox,
        None => {
            let inbox = MpscQueue::new();
            let _ = inbox.close();
            let newest = spare();
            let mailbox: &Mailbox = Box::leak(alloc::try_box(Mailbox {
                inbox,
                requests: Requests::new(),
                askers: AtomicUsize::new(0),
                wake_asked: AtomicBool::new(false),
                gone: AtomicBool::new(true),
                epoch: AtomicU64::new(0),
                first: AtomicUsize::new(0),
                eventfd: AtomicI32::new(-1),
                next_idle: Cell::new(ptr::null()),
                is_idle: AtomicBool::new(false),
                owner: OwnerNumber::nobody(),
                forks: AtomicU32::new(0),
                executor: AtomicPtr::new(ptr::null_mut()),
                tracks: AtomicBool::new(false),
                ends: AtomicBool::new(false),
                next: Cell::new(None),
                kernel_thread: AtomicU64::new(0),
                home: AtomicU32::new(0),
                older: NEWEST.load(Ordering::Relaxed),
                _pinned: PhantomPinned,
            })?);
            NEWEST.store(ptr::from_ref(mailbox).cast_mut(), Ordering::Release);
            drop(newest);
            mailbox
        }
    };
    // Who pins it finds none from now on, or `set_executor`'s. All of it is released by `reopen`.
    mailbox.executor.store(ptr::null_mut(), Ordering::Relaxed);
    mailbox.eventfd.store(waker.eventfd, Ordering::Release);
    mailbox.owner.set_here();
    mailbox.kernel_thread.store(thread::ids().1, Ordering::Relaxed);
    mailbox.home.store(next_home(), Ordering::Relaxed);
    mailbox.forks.store(thread::forks(), Ordering::Relaxed);
    mailbox.epoch.fetch_add(1, Ordering::Release);
    mailbox.gone.store(false, Ordering::Relaxed);
    mailbox.inbox.reopen();
    Ok(mailbox)
}

/// 1 to `HOMES`, round and round.
fn next_home() -> u32 {
    static MADE: StaticCount = StaticCount::new(0);
    MADE.fetch_add(1, core::sync::atomic::Ordering::Relaxed) % HOMES + 1
}

fn take_spare() -> Option<&'static Mailbox> {
    let mut first = spare();
    let mailbox = first.take()?;
    *first = mailbox.next.take();
    Some(mailbox)
}

impl Mailbox {
    /// ANY THREAD. The mailbox of the executor that `task` is or was attached to last.
    pub fn of(task: TaskRef) -> Option<&'static Self> {
        // SAFETY: null, or a mailbox, and they live for ever.
        unsafe { task.state().mailbox().cast::<Self>().as_ref() }
    }

    /// ANY THREAD. `task` is or was attached to its executor last.
    #[inline(always)]
    pub fn has(&self, task: TaskRef) -> bool {
        ptr::eq(task.state().mailbox().cast_const().cast(), self)
    }

    /// ANY THREAD. The number by which a handle that only one executor knows names it: of 8,191
    /// that are made one behind the other no two have the same.
    pub fn home(&self) -> u32 {
        self.home.load(Ordering::Relaxed)
    }

    /// The calling thread owns it.
    pub(crate) fn is_mine(&self) -> bool {
        self.owner.is_here()
    }

    /// ANY THREAD. False in the child of a fork.
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.forks.load(Ordering::Relaxed) == thread::forks()
    }

    /// ANY THREAD. The caller vouches for the owner's life until this returns.
    ///
    /// # Safety
    /// As `MpscQueue::push`, and `kind` is what the link is part of. False: closed, refused.
    pub unsafe fn post(&self, link: NonNull<Link>, kind: usize) -> bool {
        // SAFETY: the caller's.
        match unsafe { self.inbox.push(link, kind) } {
            Push::Queued => true,
            Push::MustWake => {
                self.wake();
                true
            }
            Push::Closed => false,
        }
    }

    /// ANY THREAD. As `post`, where nobody vouches for the owner: its `close` waits for us.
    ///
    /// # Safety
    /// As `post`.
    pub unsafe fn post_pinned(&self, link: NonNull<Link>, kind: usize) -> bool {
        // SAFETY: the caller's; the pin keeps the owner.
        self.pinned(|| unsafe { self.post(link, kind) })
    }

    /// ANY THREAD. As `post_pinned`, of several, in this order; the owner is woken once, when all
    /// are there.
    ///
    /// # Safety
    /// As `post`, each.
    pub unsafe fn post_all_pinned(&self, links: &[NonNull<Link>], kind: usize) -> bool {
        self.pinned(|| {
            let mut wakes = false;
            // SAFETY: the caller's; the pin keeps the owner.
            let posted = links.iter().all(|&link| match unsafe { self.inbox.push(link, kind) } {
                Push::Queued => true,
                Push::MustWake => {
                    wakes = true;
                    true
                }
                Push::Closed => false,
            });
            if wakes {
                self.wake();
            }
            posted
        })
    }

    /// ANY THREAD. What concerns a run of a task, to the executor that had it attached: refused
    /// once that run is over, as the executor may be one that nobody runs any more. Its
    /// `await_askers` finds what was posted: it either sees who asks, and waits, or has made the
    /// end of the run visible (the fences order the one's write and look against the other's).
    ///
    /// # Safety
    /// As `post`.
    pub(super) unsafe fn post_of_run(
        &self,
        link: NonNull<Link>,
        kind: usize,
        state: TaskState<'_>,
        run: Run,
    ) -> Posted {
        // Relaxed: the fence in `pin_open` comes before the look at the run.
        self.askers.fetch_add(1, Ordering::Relaxed);
        let open = self.inbox.pin_open();
        let posted = if !known::is_under(state, run) {
            Posted::Over
        // SAFETY: the caller's; the pin keeps the owner.
        } else if open && unsafe { self.post(link, kind) } {
            Posted::Queued
        } else {
            Posted::Closed
        };
        self.inbox.unpin();
        // Release: what was posted.
        self.askers.fetch_sub(1, Ordering::Release);
        posted
    }

    /// The owner, with nothing attached: something was posted, or nobody is about to post what
    /// concerns a run that is over. One ask of each thread at most is waited for: who is refused
    /// has seen the end of the run, and does not ask for it again; who is not has posted.
    pub(crate) fn await_askers(&self) {
        let mut backoff = Backoff::new();
        while !self.inbox.has_entries() && self.has_askers() {
            backoff.wait();
        }
    }

    /// The owner: somebody may be about to post what concerns a run that is over. A function of its
    /// own: the local path ends here, at the fence.
    #[inline(never)]
    pub(crate) fn has_askers(&self) -> bool {
        // See `post_of_run`.
        fence(Ordering::SeqCst);
        // Acquire: pairs with who asked last.
        self.askers.load(Ordering::Acquire) != 0
    }

    /// ANY THREAD, also in a signal handler. Has a `run` that sleeps, or the next one, return.
    pub(crate) fn ask_wake(&self) {
        // Released by the notification.
        self.wake_asked.store(true, Ordering::Relaxed);
        self.notify();
    }

    /// The owner, notified. Whether `run` is to return.
    pub(crate) fn take_wake(&self) -> bool {
        // Relaxed: acquired with the notification. An exchange, so that none is lost that comes
        // now.
        self.wake_asked.swap(false, Ordering::Relaxed)
    }

    /// ANY THREAD. Has the owner look at a task's header. Pinned, or the caller vouches for the
    /// owner.
    pub fn request(&self, task: TaskRef) {
        self.requests.add(task.addr(), || {
            if let Some(place) = task.place() {
                place.mark();
            }
        });
        self.notify();
    }

    /// ANY THREAD. Fetches what `rouse` and `ask_wake` use, for who calls them or was woken so.
    #[inline(always)]
    pub(super) fn prefetch(&self) {
        self.inbox.prefetch();
    }

    fn notify(&self) {
        if self.inbox.notify() {
            self.wake();
        }
    }

    /// The owner, before anybody knows of it.
    pub(crate) fn set_executor(&self, executor: *mut c_void, tracks: bool) {
        // Released by whatever lets others know of it.
        self.tracks.store(tracks, Ordering::Relaxed);
        self.ends.store(false, Ordering::Relaxed);
        // Release: the executor itself, for who finds it here.
        self.executor.store(executor, Ordering::Release);
    }

    /// While the owner is kept by a pin, or the caller's word.
    pub fn executor(&self) -> *mut c_void {
        self.executor.load(Ordering::Relaxed)
    }

    /// While the owner is pinned: null if it is being made.
    pub fn executor_made(&self) -> *mut c_void {
        // Acquire: pairs with `set_executor`.
        self.executor.load(Ordering::Acquire)
    }

    /// As `executor`.
    pub(crate) fn tracks(&self) -> bool {
        self.tracks.load(Ordering::Relaxed)
    }

    /// The owner. Other threads launch no more from here on; what they post besides
    /// comes in, as the tasks that are left may wait for it.
    pub(crate) fn refuse_launches(&self) {
        // Relaxed: who has not seen it yet launches one more.
        self.ends.store(true, Ordering::Relaxed);
    }

    /// ANY THREAD. Whether the calling thread may launch.
    pub(crate) fn takes_launches(&self) -> bool {
        !self.ends.load(Ordering::Relaxed) || self.is_mine()
    }

    /// While the owner is pinned.
    pub fn kernel_thread(&self) -> u64 {
        self.kernel_thread.load(Ordering::Relaxed)
    }

    pub fn epoch(&self) -> u64 {
        // Acquire: pairs with `open`.
        self.epoch.load(Ordering::Acquire)
    }

    /// ANY THREAD. Keeps the owner of that epoch while `f` runs, which may post; None if it is
    /// gone.
    pub fn with_owner<T>(&self, epoch: u64, f: impl FnOnce() -> T) -> Option<T> {
        // In this order: the pin, which is visible to a `close` that comes after the look; the look
        // at the word, which shows a `close` that came before, or a later `open`; then whose it is.
        let open = self.inbox.pin_open();
        let done = (open && self.epoch() == epoch).then(f);
        self.inbox.unpin();
        done
    }

    /// ANY THREAD. Keeps its owner alive while `f` runs.
    pub fn pinned<T>(&self, f: impl FnOnce() -> T) -> T {
        self.inbox.pin();
        let done = f();
        self.inbox.unpin();
        done
    }

    #[cold]
    pub(super) fn wake(&self) {
        if self.inbox.is_on_word() {
            futex::wake_low(self.inbox.name());
        } else {
            Waker::of_eventfd(self.eventfd.load(Ordering::Acquire)).wake();
        }
    }

    /// The owner leaves: no message comes in any more; what came before is returned. Call `recycle`
    /// once it is dealt with.
    pub fn close(&self) -> Chain {
        self.inbox.close()
    }

    /// The owner has closed it, and does not open it again.
    pub(crate) fn set_gone(&self) {
        // Release: what the owner did with its last mail.
        self.gone.store(true, Ordering::Release);
    }

    /// ANY THREAD that was refused. What its owner did is visible then.
    pub(crate) fn is_gone(&self) -> bool {
        // Acquire: pairs with `set_gone`.
        self.gone.load(Ordering::Acquire)
    }

    /// The mailbox of no executor.
    pub(crate) fn abandon(&'static self) {
        let none = self.close();
        debug_assert!(none.is_empty());
        self.set_gone();
        self.recycle();
    }

    /// Waits until no foreign thread is about to wake the owner (a handful of instructions of
    /// theirs), then gives the mailbox to the next executor.
    pub(crate) fn recycle(&'static self) {
        let mut backoff = Backoff::new();
        while self.inbox.pinned() {
            backoff.wait();
        }
        // Of one who held a pin and came late: the next owner was not asked.
        self.wake_asked.store(false, Ordering::Relaxed);
        self.eventfd.store(-1, Ordering::Release);
        self.owner.set_nobody();
        let mut first = spare();
        self.next.set(*first);
        *first = Some(self);
    }
}
