//! process.h: check, one call below, map the result.

use super::task::TaskPtr;
use crate::api::{self, Handle};
use crate::error::{Errno, RawResult, Res};
use crate::executor::Executor;
use crate::io::process;
use crate::sys::process::Ended;
use crate::task::header::TaskRef;
use crate::uring::kernel::Kernel;
use crate::uring::RealKernel;

/// # Safety
/// `task` is null or a live handle.
unsafe fn caller<'a>(task: TaskPtr) -> Res<(&'a Executor<RealKernel>, TaskRef)> {
    // SAFETY: the caller's.
    let task = unsafe { api::task(task) }?;
    let ex = Handle::<RealKernel>::running(task)?.executor();
    if !ex.kernel().has_ring() {
        return Err(Errno(libc::ENOTSUP));
    }
    Ok((ex, task))
}

/// # Safety
/// See process.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_process_wait(
    task: TaskPtr,
    pid: i32,
    info: *mut Ended,
) -> RawResult {
    if info.is_null() || pid <= 0 {
        return RawResult::failure(Errno(libc::EINVAL));
    }
    // SAFETY: the caller's handle.
    unsafe { caller(task) }
        .and_then(|(ex, task)| process::wait(ex, task, pid))
        .map(|ended| {
            // SAFETY: not null, and the caller's to write.
            unsafe { info.write(ended) };
            0
        })
        .into()
}

/// # Safety
/// See process.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_signal_wait(
    task: TaskPtr,
    set: *const libc::sigset_t,
) -> RawResult {
    if set.is_null() {
        return RawResult::failure(Errno(libc::EINVAL));
    }
    // SAFETY: the caller's handle and set.
    unsafe { caller(task).and_then(|(ex, task)| process::signal(ex, task, set)) }
        .map(|number| number as isize)
        .into()
}
