//! event.h: check, one call into `sync`, map the result.

use super::sync::{of, with};
use super::task::TaskPtr;
use crate::error::RawResult;
use crate::executor::scope::NEVER_NS;
use crate::sync::event::Event;
use crate::sync::{Local, Shared};
use crate::uring::RealKernel;

/// `monad_async_event`
type SharedEvent = Event<Shared>;

/// `monad_async_local_event`
type LocalEvent = Event<Local>;
/// # Safety
/// See event.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_event_wait(task: TaskPtr, e: *mut SharedEvent) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, e, |caller, e| e.wait(caller, NEVER_NS).map(|()| 0)) }
}

/// # Safety
/// See event.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_event_wait_until(
    task: TaskPtr,
    e: *mut SharedEvent,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, e, |caller, e| e.wait(caller, boot_ns).map(|()| 0)) }
}

/// # Safety
/// See event.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_event_set(e: *mut SharedEvent) -> RawResult {
    // SAFETY: the caller's object.
    unsafe { of(e, |here, e| e.set::<RealKernel>(here).map(|()| 0)) }
}

/// # Safety
/// See event.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_event_reset(e: *mut SharedEvent) -> RawResult {
    // SAFETY: the caller's object.
    unsafe { of(e, |here, e| e.reset(here).map(isize::from)) }
}

/// # Safety
/// See event.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_event_is_set(e: *mut SharedEvent) -> RawResult {
    // SAFETY: the caller's object.
    unsafe { of(e, |here, e| e.is_set(here).map(isize::from)) }
}

/// # Safety
/// See event.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_event_wait(
    task: TaskPtr,
    e: *mut LocalEvent,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, e, |caller, e| e.wait(caller, NEVER_NS).map(|()| 0)) }
}

/// # Safety
/// See event.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_event_wait_until(
    task: TaskPtr,
    e: *mut LocalEvent,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, e, |caller, e| e.wait(caller, boot_ns).map(|()| 0)) }
}

/// # Safety
/// See event.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_event_set(e: *mut LocalEvent) -> RawResult {
    // SAFETY: the caller's object.
    unsafe { of(e, |here, e| e.set::<RealKernel>(here).map(|()| 0)) }
}

/// # Safety
/// See event.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_event_reset(e: *mut LocalEvent) -> RawResult {
    // SAFETY: the caller's object.
    unsafe { of(e, |here, e| e.reset(here).map(isize::from)) }
}

/// # Safety
/// See event.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_event_is_set(e: *mut LocalEvent) -> RawResult {
    // SAFETY: the caller's object.
    unsafe { of(e, |here, e| e.is_set(here).map(isize::from)) }
}
