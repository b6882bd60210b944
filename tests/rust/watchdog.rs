//! The watchdog's handler with another one that passes signals on to it, as runtimes of other
//! languages have them; and the workers of a pool.

#[path = "../support/mod.rs"]
mod support;

use monad_async::capi::pool::{
    monad_async_pool_create, monad_async_pool_destroy, monad_async_pool_post, monad_async_pool_wait,
};
use monad_async::capi::watchdog::{monad_async_watchdog_start, monad_async_watchdog_stop};
use monad_async::error::RawResult;
use monad_async::executor::jobs::Job;
use monad_async::executor::Executor;
use monad_async::observe::watchdog::Report;
use monad_async::pool::workers::Pool;
use monad_async::task::header::{TaskHead, TaskRef};
use std::mem::zeroed;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::Mutex;
use support::child::alone;
use support::Real;

static BEFORE: AtomicUsize = AtomicUsize::new(0);
static COUNT: AtomicU32 = AtomicU32::new(0);

extern "C" fn passes_on(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    if COUNT.fetch_add(1, SeqCst) == 100 {
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(9) };
    }
    type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
    // SAFETY: the handler that was there, of that type.
    unsafe { std::mem::transmute::<usize, Handler>(BEFORE.load(SeqCst))(signal, info, context) };
}

fn start() {
    // SAFETY: no callback.
    assert_eq!(unsafe { monad_async_watchdog_start(1_000_000_000, None) }.error, 0);
}

/// Each passed the signal on to the other, until the stack was full.
#[test]
fn a_handler_between_two_starts_is_no_circle() {
    alone("a_handler_between_two_starts_is_no_circle", || {
        start();
        assert_eq!(monad_async_watchdog_stop().error, 0);
        // SAFETY: zeros are an action; ours to read and write.
        unsafe {
            let (mut ours, mut before): (libc::sigaction, libc::sigaction) = (zeroed(), zeroed());
            ours.sa_sigaction = passes_on as *const () as usize;
            ours.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(libc::SIGURG, null(), &mut before), 0);
            BEFORE.store(before.sa_sigaction, SeqCst);
            assert_eq!(libc::sigaction(libc::SIGURG, &ours, null_mut()), 0);
        }
        start();
        // SAFETY: no preconditions.
        assert_eq!(unsafe { libc::raise(libc::SIGURG) }, 0);
        assert_eq!(COUNT.load(SeqCst), 1);
        assert_eq!(monad_async_watchdog_stop().error, 0);
    });
}

/// A pool with one worker has done these jobs, all of one kind.
fn done_by_a_worker(job: &'static Job, count: usize) {
    let mut attr = [0u64; 32];
    attr[25] = 1 << 32;
    let mut pool: *mut Pool = null_mut();
    // SAFETY: attributes of that size, and memory for the pool; no bytes go with the jobs.
    unsafe {
        assert_eq!(monad_async_pool_create(&mut pool, attr.as_ptr().cast()).error, 0);
        for _ in 0..count {
            assert_eq!(monad_async_pool_post(pool, 1, job, null(), 0).error, 0);
        }
        assert_eq!(monad_async_pool_wait(pool, 0, 1).error, 0);
        assert_eq!(monad_async_pool_destroy(pool).error, 0);
    }
}

/// The jobs of a worker are one task as a rule: each is another item all the same, or a worker that
/// does many short ones would be one that has been kept for long.
#[test]
fn each_job_is_an_item() {
    static SEEN: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());
    unsafe extern "C" fn looks(task: *const TaskHead) -> RawResult {
        // SAFETY: the running task, and its executor.
        unsafe {
            let ex = TaskRef::from_head(task).executor().cast::<Executor<Real>>();
            let (task, items) = (*ex).glimpse();
            SEEN.lock().unwrap().push((task.addr(), items));
        }
        RawResult::success(0)
    }
    static LOOKS: Job = Job { code: Some(looks), on_exit: None, returned: None, reserved: 0 };
    done_by_a_worker(&LOOKS, 100);
    let mut seen = SEEN.lock().unwrap();
    assert_eq!(seen.len(), 100);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 100, "two jobs look like one");
}

/// A worker's thread takes no signals of the program's, but that of the watchdog.
#[test]
fn a_worker_of_a_pool_tells_its_frames() {
    static TOLD: AtomicUsize = AtomicUsize::new(usize::MAX);
    unsafe extern "C" fn tell(report: *const Report) {
        // SAFETY: a report.
        TOLD.store(unsafe { (*report).count }, SeqCst);
    }
    unsafe extern "C" fn spins(_: *const TaskHead) -> RawResult {
        while TOLD.load(SeqCst) == usize::MAX {
            std::hint::spin_loop();
        }
        RawResult::success(0)
    }
    static SPINS: Job = Job { code: Some(spins), on_exit: None, returned: None, reserved: 0 };
    alone("a_worker_of_a_pool_tells_its_frames", || {
        // SAFETY: a callback of that type.
        assert_eq!(unsafe { monad_async_watchdog_start(10_000_000, Some(tell)) }.error, 0);
        // Without frames where the thread was not let run for a second.
        for _ in 0..5 {
            TOLD.store(usize::MAX, SeqCst);
            done_by_a_worker(&SPINS, 1);
            if TOLD.load(SeqCst) != 0 {
                break;
            }
        }
        assert_eq!(monad_async_watchdog_stop().error, 0);
        assert_ne!(TOLD.load(SeqCst), 0);
    });
}
