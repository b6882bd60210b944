//! Functions that block, on helper threads, while the task that called waits.
//!
//! ```text
//!   calls   level 0..2 ----> call ----> call          on the stacks of the tasks that wait
//!   idle    idle ----> idle                           on the stacks of helpers; the last sleeps
//!                                                     longest, and leaves first
//! ```
//!
//! 1. All of it is behind one lock, which a fork finds free. In the child there is no helper, and
//!    nothing waits.
//! 2. Who takes a call out of its queue claims its wait, under the lock. If that fails, the task
//!    was cancelled, and the function does not run. After it nothing ends the wait but the
//!    function's return: so what it uses stays.
//! 3. A call is put into the queue under the lock, and so is a helper into the list of the idle
//!    ones, who finds no call. So either an idle one is woken for a call, or every helper looks at
//!    the queue again before it sleeps.
//! 4. Waits, helpers and new threads are woken and made with the lock open.

use core::cell::Cell;
use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr::NonNull;
use core::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Release},
};
use std::sync::MutexGuard;

use crate::error::{Errno, RawResult, Res};
use crate::executor::grant::{Caller, Wait};
use crate::executor::scope::NEVER_NS;
use crate::intrusive::{Fifo, Link};
use crate::sys::fork::{ForkLock, Watch};
use crate::sys::{clock, futex, helper, thread};
use crate::task::header::PRIORITIES;
use crate::uring::kernel::Kernel;

/// What runs on a helper.
pub type Function = unsafe extern "C" fn(*mut c_void) -> RawResult;

pub const HELPERS_MAX: u32 = 64;
const IDLE_NS: u64 = 5_000_000_000;

/// On the stack of the task that waits.
#[repr(C)]
struct Call {
    link: Link,
    wait: Wait,
    function: Function,
    argument: *mut c_void,
    /// Written by the helper, before it wakes the task.
    result: Cell<RawResult>,
    is_queued: Cell<bool>,
    wake: unsafe fn(NonNull<Call>),
}

/// On the stack of a helper that sleeps.
#[repr(C)]
struct Idle {
    next: Cell<Option<NonNull<Idle>>>,
    /// 1 once it is out of the list.
    word: AtomicU32,
}

const _: () = assert!(offset_of!(Call, link) == 0);

struct State {
    calls: [Fifo; PRIORITIES],
    idle: Option<NonNull<Idle>>,
    helpers: u32,
    helpers_max: u32,
    idle_ns: u64,
}

// SAFETY: the lists are touched under the lock alone, and their entries stay until they are out.
unsafe impl Send for State {}

static STATE: ForkLock<State> = ForkLock::new(State {
    calls: [Fifo::new(), Fifo::new(), Fifo::new()],
    idle: None,
    helpers: 0,
    helpers_max: HELPERS_MAX,
    idle_ns: IDLE_NS,
});

extern "C" fn before_fork() {
    STATE.hold();
}

extern "C" fn in_parent() {
    STATE.let_go(|_| {});
}

extern "C" fn in_child() {
    STATE.let_go(|state| {
        state.calls = [Fifo::new(), Fifo::new(), Fifo::new()];
        state.idle = None;
        state.helpers = 0;
    });
}

fn lock() -> MutexGuard<'static, State> {
    static WATCH: Watch = Watch::new();
    WATCH.ensure(before_fork, in_parent, in_child);
    STATE.lock()
}

impl State {
    /// # Safety
    /// The call stays until it is out of the queue.
    unsafe fn push(&self, call: &Call, level: u8) {
        call.is_queued.set(true);
        // SAFETY: the caller's; in no list.
        let _ = unsafe { self.calls[level as usize].push_back(NonNull::from(call).cast()) };
    }

    /// The next call that is to run (rule 2).
    fn pop(&self) -> Option<NonNull<Call>> {
        loop {
            let level = self.calls.iter().find(|level| !level.is_empty())?;
            let at = level.pop_front()?.cast::<Call>();
            // SAFETY: a call leaves the queue before it ends.
            let call = unsafe { at.as_ref() };
            call.is_queued.set(false);
            if call.wait.claim() {
                return Some(at);
            }
        }
    }

    /// Whether one helper more is to be made, which counts from here on.
    fn grows(&mut self) -> bool {
        let waits = self.calls.iter().any(|level| !level.is_empty());
        let grows = waits && self.idle.is_none() && self.helpers < self.helpers_max;
        self.helpers += u32::from(grows);
        grows
    }

    /// Takes a call out of the queue it was put in, if it is still there.
    fn remove(&self, call: &Call, level: u8) -> bool {
        let queued = call.is_queued.replace(false);
        if queued {
            // SAFETY: it is in there, says `is_queued`.
            unsafe { self.calls[level as usize].remove(NonNull::from(call).cast()) };
        }
        queued
    }

    /// Takes the helper out that slept last; what `futex::wake` is to be told.
    fn pop_idle(&mut self) -> Option<usize> {
        let at = self.idle?;
        // SAFETY: a helper leaves the list before it goes on.
        let idle = unsafe { at.as_ref() };
        self.idle = idle.next.get();
        let address = idle.word.as_ptr() as usize;
        // Release: our last touch; the helper may go on at once.
        idle.word.store(1, Release);
        Some(address)
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

/// Wakes the task of a call, whose executor is of one kind of kernel.
///
/// # Safety
/// The call was claimed, and its result is written.
unsafe fn wake<K: Kernel>(call: NonNull<Call>) {
    // SAFETY: the caller's. It may be gone once it is woken.
    unsafe { call.as_ref() }.wait.wake::<K>();
}

/// SUSPENDS until `function` has returned on a helper. EXPENSIVE: a lock, and a system call, or a
/// new thread. ECANCELED or ETIME: it had not begun, and never runs. EAGAIN, ENOMEM: no helper.
///
/// # Safety
/// `function` may be called with `argument` on another thread.
pub unsafe fn run<K: Kernel>(
    caller: &Caller<'_, K>,
    function: Function,
    argument: *mut c_void,
) -> RawResult {
    if let Err(e) = caller.start() {
        return RawResult::failure(e);
    }
    let call = Call {
        link: Link::new(),
        wait: caller.wait(false),
        function,
        argument,
        result: Cell::new(RawResult::default()),
        is_queued: Cell::new(false),
        wake: wake::<K>,
    };
    let level = call.wait.level();
    let mut state = lock();
    // SAFETY: in place until the wait is over: it was taken out by then, or is below.
    unsafe { state.push(&call, level) };
    let idle = state.pop_idle();
    let grows = idle.is_none() && state.grows();
    drop(state);
    if let Some(address) = idle {
        futex::wake(address);
    }
    if grows {
        make_helper();
    }
    match caller.until_granted(&call.wait, NEVER_NS) {
        Ok(()) => call.result.get(),
        Err(e) => {
            lock().remove(&call, level);
            RawResult::failure(e)
        }
    }
}

/// Makes the helper that `grows` has counted. If it cannot be, the others do its work; without any,
/// nobody would, and each call that waits is told.
fn make_helper() {
    let Err(e) = helper::spawn("blocking", help) else { return };
    let mut state = lock();
    state.helpers -= 1;
    while state.helpers == 0 {
        let Some(call) = state.pop() else { break };
        drop(state);
        finish(call, RawResult::failure(e));
        state = lock();
    }
}

/// Ends a call that was claimed.
fn finish(at: NonNull<Call>, result: RawResult) {
    // SAFETY: claimed, so it stays until it is woken (rule 2).
    unsafe {
        at.as_ref().result.set(result);
        (at.as_ref().wake)(at);
    }
}

/// A helper's life.
fn help() {
    let process = thread::forks();
    let mut state = lock();
    while state.helpers <= state.helpers_max {
        if let Some(at) = state.pop() {
            let grows = state.grows();
            drop(state);
            if grows {
                make_helper();
            }
            // SAFETY: claimed, so it stays until it is woken (rule 2).
            let call = unsafe { at.as_ref() };
            // SAFETY: the word of who called `run`.
            let result = unsafe { (call.function)(call.argument) };
            if thread::forks() != process {
                return; // The function forked, and this is the child: the task is the parent's.
            }
            finish(at, result);
            state = lock();
            continue;
        }
        let idle = Idle { next: Cell::new(state.idle), word: AtomicU32::new(0) };
        state.idle = Some(NonNull::from(&idle));
        let until_ns = clock::boot_ns().saturating_add(state.idle_ns);
        drop(state);
        let mut left_ns = until_ns.saturating_sub(clock::boot_ns());
        // Acquire: pairs with `pop_idle`.
        while idle.word.load(Acquire) == 0 && left_ns != 0 {
            futex::wait(&idle.word, 0, Some(left_ns));
            left_ns = until_ns.saturating_sub(clock::boot_ns());
        }
        state = lock();
        if idle.word.load(Acquire) == 0 {
            state.remove_idle(&idle);
            break;
        }
    }
    state.helpers -= 1;
}

/// ANY THREAD. How many helpers there may be, and how long one stays without work. Those that are
/// too many leave as soon as they are idle.
pub fn set_limits(helpers_max: u32, idle_ns: u64) -> Res<()> {
    if helpers_max == 0 {
        return Err(Errno(libc::EINVAL));
    }
    let mut state = lock();
    state.helpers_max = helpers_max;
    state.idle_ns = idle_ns;
    // All look again: they leave, or sleep by the new time. What calls wait for is made, and makes
    // more.
    let mut woken = Vec::new();
    while let Some(address) = state.pop_idle() {
        woken.push(address);
    }
    let grows = state.grows();
    drop(state);
    if grows {
        make_helper();
    }
    woken.into_iter().for_each(futex::wake);
    Ok(())
}

/// How many helpers there are.
pub fn helpers() -> u32 {
    lock().helpers
}
