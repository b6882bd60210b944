//! blocking.h: check, one call into `pool::blocking`, map the result.

use core::ffi::c_void;

use super::task::TaskPtr;
use crate::api;
use crate::error::{Errno, RawResult};
use crate::pool::blocking;
use crate::uring::RealKernel;

/// `monad_async_blocking_fn`
type BlockingFn = Option<blocking::Function>;

/// # Safety
/// See blocking.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_run_blocking(
    task: TaskPtr,
    function: BlockingFn,
    argument: *mut c_void,
) -> RawResult {
    let Some(function) = function.filter(|_| !task.is_null()) else {
        return RawResult::failure(Errno(libc::EINVAL));
    };
    // SAFETY: the caller's handle.
    match unsafe { api::caller::<RealKernel>(task) } {
        // SAFETY: the caller's function.
        Ok(caller) => unsafe { blocking::run(&caller, function, argument) },
        Err(e) => RawResult::failure(e),
    }
}

#[no_mangle]
pub extern "C" fn monad_async_blocking_set_limits(helpers_max: u32, idle_ns: u64) -> RawResult {
    blocking::set_limits(helpers_max, idle_ns).map(|()| 0).into()
}

#[no_mangle]
pub extern "C" fn monad_async_blocking_helpers() -> u32 {
    blocking::helpers()
}
