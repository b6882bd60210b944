//! trace.h: check, one call into `api`, map the result.

use core::ffi::{c_int, c_void};

use super::ExecutorPtr;
use crate::api::{observe, Handle};
use crate::error::RawResult;

/// # Safety
/// See trace.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_trace_start(
    ex: ExecutorPtr,
    memory: *mut c_void,
    bytes: usize,
) -> RawResult {
    // SAFETY: the caller's handle and memory.
    unsafe { Handle::from_ptr(ex).and_then(|ex| ex.start_trace(memory.cast(), bytes)) }
        .map(|()| 0)
        .into()
}

/// # Safety
/// See trace.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_trace_stop(ex: ExecutorPtr) -> RawResult {
    // SAFETY: the caller's handle.
    unsafe { Handle::from_ptr(ex) }.and_then(Handle::stop_trace).map(|()| 0).into()
}

/// # Safety
/// See trace.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_trace_write(ex: ExecutorPtr, fd: c_int) -> RawResult {
    // SAFETY: the caller's handle.
    match unsafe { Handle::from_ptr(ex) } {
        Ok(ex) => ex.write_trace(fd),
        Err(_) => observe::write_all_traces(fd),
    }
    .map(|()| 0)
    .into()
}

/// # Safety
/// See trace.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_trace_write_memory(
    memory: *const c_void,
    bytes: usize,
    fd: c_int,
) -> RawResult {
    // SAFETY: the caller's memory.
    unsafe { observe::write_memory(memory.cast(), bytes, fd) }.map(|()| 0).into()
}
