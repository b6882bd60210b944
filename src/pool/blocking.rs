//! Functions that block, on helper threads, while the task that called waits.
//!
//! Who takes a call out of its queue claims its wait, under the lock of the helpers. If that fails,
//! the task was cancelled, and the function does not run. After it nothing ends the wait but the
//! function's return: so what it uses stays.

use core::cell::Cell;
use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr::NonNull;

use super::helpers::{Job, Kind, WORK};
use crate::error::{Errno, RawResult, Res};
use crate::executor::grant::{Caller, Wait};
use crate::executor::scope::NEVER_NS;
use crate::sys::thread;
use crate::uring::kernel::Kernel;

pub use super::helpers::HELPERS_MAX;

/// What runs on a helper.
pub type Function = unsafe extern "C" fn(*mut c_void) -> RawResult;

/// On the stack of the task that waits.
#[repr(C)]
struct Call {
    job: Job,
    wait: Wait,
    function: Function,
    argument: *mut c_void,
    /// Written by the helper, before it wakes the task.
    result: Cell<RawResult>,
    wake: unsafe fn(&Wait),
}

const _: () = assert!(offset_of!(Call, job) == 0);

static KIND: Kind = Kind { begins, runs, fails };

/// # Safety
/// `job` is that of a call, which leaves the queue before it ends.
unsafe fn begins(job: NonNull<Job>) -> bool {
    // SAFETY: the caller's.
    unsafe { job.cast::<Call>().as_ref() }.wait.claim()
}

/// # Safety
/// `job` is that of a call, whose wait was claimed.
unsafe fn runs(job: NonNull<Job>) -> bool {
    let process = thread::forks();
    // SAFETY: claimed, so it stays until it is woken.
    let call = unsafe { job.cast::<Call>().as_ref() };
    // SAFETY: the word of who called `run`.
    let result = unsafe { (call.function)(call.argument) };
    let here = thread::forks() == process;
    if here {
        finish(call, result);
    }
    here
}

/// # Safety
/// As `runs`.
unsafe fn fails(job: NonNull<Job>, e: Errno) {
    // SAFETY: as in `runs`.
    finish(unsafe { job.cast::<Call>().as_ref() }, RawResult::failure(e));
}

/// Ends a call that was claimed.
fn finish(call: &Call, result: RawResult) {
    call.result.set(result);
    // SAFETY: claimed; the function is that of its kernel.
    unsafe { (call.wake)(&call.wait) };
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
        job: Job::new(&KIND),
        wait: caller.wait(false),
        function,
        argument,
        result: Cell::new(RawResult::default()),
        wake: |wait| wait.wake::<K>(),
    };
    let (level, job) = (call.wait.level(), NonNull::from(&call).cast());
    // SAFETY: in place until the wait is over: it was taken out by then, or is below.
    if let Err(e) = unsafe { WORK.submit(job, level) } {
        return RawResult::failure(e);
    }
    match caller.until_granted(&call.wait, NEVER_NS) {
        Ok(()) => call.result.get(),
        Err(e) => {
            WORK.withdraw(job, level, |_| {});
            RawResult::failure(e)
        }
    }
}

/// ANY THREAD. How many helpers there may be, and how long one stays without work.
pub fn set_limits(helpers_max: u32, idle_ns: u64) -> Res<()> {
    WORK.set_limits(helpers_max, idle_ns)
}

/// How many helpers there are.
pub fn helpers() -> u32 {
    WORK.count()
}

/// How many of those wait for something to do.
pub fn idle_helpers() -> u32 {
    WORK.idle()
}
