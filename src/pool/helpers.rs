//! Threads that run what blocks: made on demand, up to a bound; idle ones leave after a while.
//!
//! ```text
//!   jobs    level 0..2 ----> job ----> job            in the memory of who asked
//!   idle    idle ----> idle                           on the stacks of helpers; the last sleeps
//!                                                     longest, and leaves first
//! ```
//!
//! 1. All of it is behind one lock, which a fork finds free. In the child there is no helper, and
//!    nothing waits.
//! 2. Who takes a job out of the queue asks it, under the lock, whether it begins (`Kind::begins`).
//!    If not, who asked for it was interrupted, and it does not run.
//! 3. A job is put into the queue under the lock, and so is a helper into the list of the idle
//!    ones, who finds no job. So either an idle one is woken for a job, or every helper looks at
//!    the queue again before it sleeps.
//! 4. Jobs end, helpers and new threads are woken and made with the lock open.

use core::cell::Cell;
use core::ffi::CStr;
use core::mem::offset_of;
use core::ptr::NonNull;

use crate::atomic::{
    AtomicU32, MutexGuard,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::error::{Errno, Res};
use crate::intrusive::{Fifo, Link};
use crate::sys::fork::{ForkLock, Watch};
use crate::sys::patience::{Patience, LOOK_NS};
use crate::sys::{clock, futex, helper, thread};
use crate::task::header::PRIORITIES;

pub const HELPERS_MAX: u32 = 64;
const IDLE_NS: u64 = 5_000_000_000;

/// What helpers do with a job. All are called once at most; `begins` under the lock.
pub(crate) struct Kind {
    /// False: nobody wants it any more, and it may be gone once the lock is open.
    pub begins: unsafe fn(NonNull<Job>) -> bool,
    /// Of one that has begun. False: it forked, and this is the child.
    pub runs: unsafe fn(NonNull<Job>) -> bool,
    /// Of one that has begun: there is no helper for it.
    pub fails: unsafe fn(NonNull<Job>, Errno),
}

/// The first field of what is to run.
#[repr(C)]
pub(crate) struct Job {
    link: Link,
    is_queued: Cell<bool>,
    kind: &'static Kind,
}

const _: () = assert!(offset_of!(Job, link) == 0);

impl Job {
    pub fn new(kind: &'static Kind) -> Self {
        Self { link: Link::new(), is_queued: Cell::new(false), kind }
    }
}

/// On the stack of a helper that sleeps.
#[repr(C)]
struct Idle {
    next: Cell<Option<NonNull<Idle>>>,
    word: AtomicU32,
}

/// Of `Idle::word`: in the list, and looks, or sleeps or is about to; out of the list.
const LOOKS: u32 = 0;
const SLEEPS: u32 = 1;
const OUT: u32 = 2;

/// A helper that is out of the list of the idle ones, and where it sleeps, if it does.
#[must_use]
struct Roused(Option<usize>);

impl Roused {
    /// With the lock open (rule 4).
    fn wake(self) {
        if let Some(address) = self.0 {
            futex::wake(address);
        }
    }
}

impl Idle {
    /// Out of the list.
    fn rouse(&self) -> Roused {
        let address = self.word.as_ptr() as usize;
        // Release: our last touch; the helper may go on at once. Relaxed: nothing is read of it.
        Roused((self.word.swap(OUT, Release) == SLEEPS).then_some(address))
    }
}

struct State {
    jobs: [Fifo; PRIORITIES],
    idle: Option<NonNull<Idle>>,
    helpers: u32,
    helpers_max: u32,
    idle_ns: u64,
}

// SAFETY: the lists are touched under the lock alone, and their entries stay until they are out.
unsafe impl Send for State {}

pub(crate) struct Helpers {
    state: ForkLock<State>,
    name: &'static CStr,
    /// Jobs come soon after each other, and are short: see `LOOK_NS`.
    looks: bool,
}

/// For functions that block.
pub(super) static WORK: Helpers = Helpers::new(c"blocking", false);
/// For name services: a slow one does not keep the others waiting.
pub(super) static NAMES: Helpers = Helpers::new(c"resolve", false);
/// For rows of ordered writes, which are to go on whatever else blocks.
pub(crate) static ROWS: Helpers = Helpers::new(c"ordered", true);

extern "C" fn before_fork() {
    WORK.state.hold();
    NAMES.state.hold();
    ROWS.state.hold();
}

extern "C" fn in_parent() {
    WORK.state.let_go(|_| {});
    NAMES.state.let_go(|_| {});
    ROWS.state.let_go(|_| {});
}

extern "C" fn in_child() {
    for helpers in [&WORK, &NAMES, &ROWS] {
        helpers.state.let_go(|state| {
            state.jobs = [Fifo::new(), Fifo::new(), Fifo::new()];
            state.idle = None;
            state.helpers = 0;
        });
    }
}

impl State {
    /// # Safety
    /// The job stays until it is out of the queue.
    unsafe fn push(&self, at: NonNull<Job>, level: u8) {
        // SAFETY: the caller's; in no list.
        unsafe {
            at.as_ref().is_queued.set(true);
            let _ = self.jobs[level as usize].push_back(at.cast());
        }
    }

    /// The next job that is to run (rule 2).
    fn pop(&self) -> Option<NonNull<Job>> {
        loop {
            let level = self.jobs.iter().find(|level| !level.is_empty())?;
            let at = level.pop_front()?.cast::<Job>();
            // SAFETY: a job leaves the queue before it ends.
            unsafe {
                at.as_ref().is_queued.set(false);
                if (at.as_ref().kind.begins)(at) {
                    return Some(at);
                }
            }
        }
    }

    /// Whether one helper more is to be made, which counts from here on.
    fn grows(&mut self) -> bool {
        let waits = self.jobs.iter().any(|level| !level.is_empty());
        let grows = waits && self.idle.is_none() && self.helpers < self.helpers_max;
        self.helpers += u32::from(grows);
        grows
    }

    /// Takes a job out of the queue it was put in, if it is still there.
    fn remove(&self, at: NonNull<Job>, level: u8) -> bool {
        // SAFETY: the caller's, in its memory.
        let queued = unsafe { at.as_ref() }.is_queued.replace(false);
        if queued {
            // SAFETY: it is in there, says `is_queued`.
            unsafe { self.jobs[level as usize].remove(at.cast()) };
        }
        queued
    }

    /// Takes the helper out that slept last.
    fn pop_idle(&mut self) -> Option<Roused> {
        let at = self.idle?;
        // SAFETY: a helper leaves the list before it goes on.
        let idle = unsafe { at.as_ref() };
        self.idle = idle.next.get();
        Some(idle.rouse())
    }

    /// The same with the one that has slept longest.
    fn pop_oldest_idle(&mut self) -> Option<Roused> {
        let mut oldest = self.idle?;
        // SAFETY: as above; in the list, behind the lock.
        while let Some(next) = unsafe { oldest.as_ref() }.next.get() {
            oldest = next;
        }
        // SAFETY: as above.
        let idle = unsafe { oldest.as_ref() };
        self.remove_idle(idle);
        Some(idle.rouse())
    }

    fn remove_idle(&mut self, idle: &Idle) {
        let at = NonNull::from(idle);
        if self.idle == Some(at) {
            self.idle = idle.next.get();
            return;
        }
        let mut before = self.idle;
        // SAFETY: as above.
        while let Some(entry) = before.map(|at| unsafe { at.as_ref() }) {
            if entry.next.get() == Some(at) {
                entry.next.set(idle.next.get());
                return;
            }
            before = entry.next.get();
        }
    }
}

impl Helpers {
    const fn new(name: &'static CStr, looks: bool) -> Self {
        let state = State {
            jobs: [Fifo::new(), Fifo::new(), Fifo::new()],
            idle: None,
            helpers: 0,
            helpers_max: HELPERS_MAX,
            idle_ns: IDLE_NS,
        };
        Self { state: ForkLock::new(state), name, looks }
    }

    fn lock(&'static self) -> MutexGuard<'static, State> {
        static WATCH: Watch = Watch::new();
        WATCH.ensure(before_fork, in_parent, in_child);
        self.state.lock()
    }

    /// Runs `f` under the lock.
    pub fn locked<T>(&'static self, f: impl FnOnce() -> T) -> T {
        let _state = self.lock();
        f()
    }

    /// Has a helper run a job. EXPENSIVE: a lock, and a system call, or a new thread. An error: it
    /// has begun, and nobody runs it or ends it.
    ///
    /// # Safety
    /// It stays until it has ended, or was withdrawn.
    pub unsafe fn submit(&'static self, at: NonNull<Job>, level: u8) -> Res<()> {
        let mut state = self.lock();
        // SAFETY: the caller's.
        unsafe { state.push(at, level) };
        let idle = state.pop_idle();
        let grows = idle.is_none() && state.grows();
        drop(state);
        if let Some(idle) = idle {
            idle.wake();
        }
        if grows {
            return self.make_helper(Some(at));
        }
        Ok(())
    }

    /// Takes a job out that has not begun, and calls `f` under the lock, with whether it had not.
    pub fn withdraw<T>(&'static self, at: NonNull<Job>, level: u8, f: impl FnOnce(bool) -> T) -> T {
        let state = self.lock();
        f(state.remove(at, level))
    }

    /// Makes the helper that `grows` has counted. If it cannot be, the others do its work; without
    /// any, nobody would, and each job that waits is told: but the caller's own by the error, as
    /// who asked for it does not wait yet.
    fn make_helper(&'static self, own: Option<NonNull<Job>>) -> Res<()> {
        let Err(e) = helper::spawn(self.name, || self.help()) else { return Ok(()) };
        let mut told = Ok(());
        let mut state = self.lock();
        state.helpers -= 1;
        while state.helpers == 0 {
            let Some(job) = state.pop() else { break };
            if Some(job) == own {
                told = Err(e);
                continue;
            }
            drop(state);
            // SAFETY: it has begun.
            unsafe { (job.as_ref().kind.fails)(job, e) };
            state = self.lock();
        }
        told
    }

    /// A helper's life.
    fn help(&'static self) {
        let process = thread::forks();
        let mut patience = Patience::default();
        let mut state = self.lock();
        while state.helpers <= state.helpers_max {
            if let Some(job) = state.pop() {
                let grows = state.grows();
                drop(state);
                if grows {
                    let _ = self.make_helper(None); // This one goes on.
                }
                // SAFETY: it has begun, and so it stays until it ends.
                let here = unsafe { (job.as_ref().kind.runs)(job) };
                if !here || thread::forks() != process {
                    return; // It forked, and this is the child: who asked is the parent's.
                }
                state = self.lock();
                continue;
            }
            let idle = Idle { next: Cell::new(state.idle), word: AtomicU32::new(LOOKS) };
            state.idle = Some(NonNull::from(&idle));
            let since_ns = clock::boot_ns();
            let until_ns = since_ns.saturating_add(state.idle_ns);
            drop(state);
            if self.looks && patience.looks() {
                let mut looked_ns = 0;
                while idle.word.load(Acquire) == LOOKS && looked_ns < LOOK_NS {
                    std::thread::yield_now(); // Who waits for this processor gets it.
                    looked_ns = clock::boot_ns().saturating_sub(since_ns);
                }
                patience.looked(true, looked_ns);
            }
            // Acquire: pairs with `rouse`. Relaxed: it says no more than that it sleeps.
            let sleeps = idle.word.compare_exchange(LOOKS, SLEEPS, Relaxed, Acquire).is_ok();
            let mut now_ns = clock::boot_ns();
            // Acquire: as above.
            while sleeps && idle.word.load(Acquire) == SLEEPS && now_ns < until_ns {
                futex::wait(&idle.word, SLEEPS, Some(until_ns - now_ns));
                now_ns = clock::boot_ns();
            }
            patience.came(now_ns.saturating_sub(since_ns));
            state = self.lock();
            if idle.word.load(Acquire) != OUT {
                state.remove_idle(&idle);
                break;
            }
        }
        state.helpers -= 1;
    }

    /// ANY THREAD. How many helpers there may be, and how long one stays without work. Those that
    /// are too many leave as soon as they are idle.
    pub fn set_limits(&'static self, helpers_max: u32, idle_ns: u64) -> Res<()> {
        if helpers_max == 0 {
            return Err(Errno(libc::EINVAL));
        }
        let mut state = self.lock();
        state.helpers_max = helpers_max;
        state.idle_ns = idle_ns;
        // What jobs wait for is made, and makes more.
        let grows = state.grows();
        let helpers = state.helpers;
        drop(state);
        if grows {
            let _ = self.make_helper(None); // Who waits for one is told.
        }
        // All look again: they leave, or sleep by the new time. One that sleeps again at once is
        // the last, and the first to be woken; so each in turn, the one that slept longest first.
        for _ in 0..helpers {
            let Some(idle) = self.lock().pop_oldest_idle() else { break };
            idle.wake();
        }
        Ok(())
    }

    /// How many helpers there are.
    pub fn count(&'static self) -> u32 {
        self.lock().helpers
    }

    /// How many of them have ended what they did, and have found nothing to do.
    pub fn idle(&'static self) -> u32 {
        let state = self.lock();
        let mut count = 0;
        let mut next = state.idle;
        // SAFETY: a helper leaves the list before it goes on.
        while let Some(idle) = next.map(|at| unsafe { at.as_ref() }) {
            count += 1;
            next = idle.next.get();
        }
        count
    }
}
