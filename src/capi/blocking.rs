//! blocking.h: check, one call into `pool::blocking`, map the result.

use core::ffi::{c_char, c_void, CStr};

use super::task::TaskPtr;
use crate::api;
use crate::error::{Errno, RawResult};
use crate::pool::{blocking, resolve};
use crate::sys::names::Hints;
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

/// # Safety
/// See blocking.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_resolve(
    task: TaskPtr,
    host: *const c_char,
    service: *const c_char,
    hints: *const libc::addrinfo,
    list: *mut *mut libc::addrinfo,
) -> RawResult {
    if list.is_null() || task.is_null() || (host.is_null() && service.is_null()) {
        return RawResult::failure(Errno(libc::EINVAL));
    }
    // SAFETY: the caller's handle; null, or the caller's strings and hints.
    let (caller, host, service, hints) = unsafe {
        let string = |s: *const c_char| (!s.is_null()).then(|| CStr::from_ptr(s));
        let hints = hints.as_ref().map(|hints| Hints {
            flags: hints.ai_flags,
            family: hints.ai_family,
            kind: hints.ai_socktype,
            protocol: hints.ai_protocol,
        });
        (api::caller::<RealKernel>(task), string(host), string(service), hints)
    };
    let found = caller
        .map_err(RawResult::failure)
        .and_then(|caller| resolve::resolve(&caller, host, service, hints.as_ref()));
    match found {
        Ok(found) => {
            // SAFETY: not null, and the caller's to write.
            unsafe { *list = found.into_raw() };
            RawResult::success(0)
        }
        Err(failed) => failed,
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
