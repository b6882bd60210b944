//! task.h: check, one call into `handle`, map the result.

use core::ffi::c_void;

use crate::api::{self, Handle};
use crate::error::{Errno, RawResult, Res};
use crate::executor::wait;
use crate::sys::clock;
use crate::task::header::{TaskHead, TaskRef};
use crate::uring::kernel::{Kernel, Sqe};
use crate::uring::RealKernel;

use super::border::done;
use super::ExecutorPtr;

/// `struct monad_async_task_attr`
#[repr(C)]
pub struct TaskAttr {
    stack_size: usize,
    reserved: [u64; 7],
}

// As in task.h.
const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(TaskAttr, stack_size) == 0 && offset_of!(TaskAttr, reserved) == 8);
    assert!(size_of::<TaskAttr>() == 64);
};

/// `struct io_uring_sqe`: for callers in Rust of any binding's type.
type IoUringSqe = c_void;

/// `monad_async_task`
pub(super) type TaskPtr = *const TaskHead;

/// # Safety
/// See task.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_create(
    out: *mut TaskPtr,
    attr: *const TaskAttr,
) -> RawResult {
    // SAFETY: null, which stands for zeros, or the caller's valid attributes.
    let attr = unsafe { attr.as_ref() }.unwrap_or(&TaskAttr { stack_size: 0, reserved: [0; 7] });
    if out.is_null() || attr.reserved != [0; 7] {
        return RawResult::failure(Errno(libc::EINVAL));
    }
    done(api::create_task(attr.stack_size).map(|task| {
        // SAFETY: not null, and the caller's to write.
        unsafe { *out = task.as_head() };
    }))
}

/// # Safety
/// See task.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_destroy(task: TaskPtr) -> RawResult {
    // SAFETY: the caller's handle.
    done(unsafe { api::task(task) }.and_then(api::destroy_task))
}

/// # Safety
/// See task.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_attach(ex: ExecutorPtr, task: TaskPtr) -> RawResult {
    // SAFETY: the caller's handles.
    let (Ok(ex), Ok(task)) = (unsafe { (Handle::from_ptr(ex), api::task(task)) }) else {
        return RawResult::failure(Errno(libc::EINVAL));
    };
    // One call for all that needs one: so the rest has no frame.
    if !ex.attaches_plainly() {
        return attach_otherwise(ex, task);
    }
    match ex.executor().attach_plain(task) {
        Ok(()) => RawResult::success(0),
        Err(e) => RawResult::failure(e),
    }
}

/// From another thread, or somebody looks.
#[inline(never)]
extern "C" fn attach_otherwise(ex: Handle<RealKernel>, task: TaskRef) -> RawResult {
    done(ex.attach(task))
}

/// # Safety
/// See task.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_suspend_for_duration(
    task: TaskPtr,
    ns: u64,
) -> RawResult {
    // One call for all that needs one: so the rest has no frame.
    if ns == 0 {
        // SAFETY: the caller's handle.
        if let Ok((this, task)) = unsafe { running(task) } {
            return match this.turn::<false>(task) {
                Some(turn) => turn.pass(),
                None => yield_stamped(this, task),
            };
        }
    }
    // SAFETY: the caller's handle.
    unsafe { suspend_otherwise(task, ns) }
}

/// # Safety
/// `task` is null or a live handle.
#[inline(always)]
unsafe fn running(task: TaskPtr) -> Res<(Handle<RealKernel>, TaskRef)> {
    // SAFETY: the caller's.
    let task = unsafe { api::task(task) }?;
    Ok((Handle::running(task)?, task))
}

/// The yields that are left; `task` runs.
#[inline(never)]
extern "C" fn yield_stamped(this: Handle<RealKernel>, task: TaskRef) -> RawResult {
    match this.turn::<true>(task) {
        Some(turn) => turn.pass(),
        None => yield_otherwise(this, task),
    }
}

#[inline(never)]
extern "C" fn yield_otherwise(this: Handle<RealKernel>, task: TaskRef) -> RawResult {
    RawResult::from_kernel(this.executor().sleep(task, 0))
}

/// # Safety
/// See task.h.
#[inline(never)]
unsafe extern "C" fn suspend_otherwise(task: TaskPtr, ns: u64) -> RawResult {
    // SAFETY: the caller's handle.
    match unsafe { running(task) } {
        Ok((this, task)) => RawResult::from_kernel(this.executor().sleep(task, ns)),
        Err(e) => RawResult::failure(e),
    }
}

/// # Safety
/// See task.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_io(task: TaskPtr, sqe: *const IoUringSqe) -> RawResult {
    // As above: what else is to be told comes from a call, so that the result is in registers.
    // SAFETY: the caller's entry.
    if let Some(sqe) = unsafe { sqe.cast::<Sqe>().as_ref() } {
        // SAFETY: the caller's handle.
        if let Ok((this, task)) = unsafe { running(task) } {
            if this.executor().kernel().has_ring() {
                // SAFETY: what the entry refers to is the caller's to keep.
                return RawResult::from_words(unsafe { this.io_on_ring(task, sqe) });
            }
        }
    }
    // SAFETY: as above.
    unsafe { io_otherwise(task, sqe) }
}

/// # Safety
/// See task.h.
#[inline(never)]
unsafe extern "C" fn io_otherwise(task: TaskPtr, sqe: *const IoUringSqe) -> RawResult {
    // SAFETY: the caller's handle and entry.
    match unsafe { (api::task(task), sqe.cast::<Sqe>().as_ref()) } {
        // SAFETY: what the entry refers to is the caller's to keep.
        (Ok(task), Some(sqe)) => unsafe { Handle::<RealKernel>::io(task, sqe) },
        (Ok(task), None) => Handle::<RealKernel>::io_without_entry(task),
        (Err(_), _) => RawResult::failure(Errno(libc::EINVAL)),
    }
}

/// # Safety
/// See task.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_suspend_until(task: TaskPtr, boot_ns: u64) -> RawResult {
    // SAFETY: the caller's handle.
    match unsafe { api::task(task) } {
        Ok(task) => Handle::<RealKernel>::sleep_until(task, boot_ns),
        Err(e) => RawResult::failure(e),
    }
}

#[no_mangle]
pub extern "C" fn monad_async_now_ns() -> u64 {
    clock::boot_ns()
}

/// # Safety
/// See task.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_cancel(ex: ExecutorPtr, task: TaskPtr) -> RawResult {
    // SAFETY: the caller's handles.
    match unsafe { (Handle::from_ptr(ex), api::task(task)) } {
        (Ok(ex), Ok(task)) => done(ex.cancel(task)),
        (Err(_), Ok(task)) => done(Handle::<RealKernel>::cancel_anywhere(task)),
        _ => RawResult::failure(Errno(libc::EINVAL)),
    }
}

/// # Safety
/// See task.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_uncancel(task: TaskPtr) -> RawResult {
    // SAFETY: the caller's handle.
    unsafe { api::task(task) }.and_then(Handle::<RealKernel>::uncancel).map(isize::from).into()
}

/// # Safety
/// See task.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_cancel_requested(task: TaskPtr) -> bool {
    // SAFETY: the caller's handle.
    unsafe { api::task(task) }.is_ok_and(Handle::<RealKernel>::cancel_requested)
}

/// # Safety
/// See task.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_interrupted(task: TaskPtr) -> RawResult {
    // SAFETY: the caller's handle.
    done(unsafe { api::task(task) }.and_then(Handle::<RealKernel>::interrupted))
}

/// # Safety
/// See task.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_park(task: TaskPtr) -> RawResult {
    // SAFETY: the caller's handle.
    match unsafe { api::task(task) } {
        Ok(task) => Handle::<RealKernel>::park(task),
        Err(e) => RawResult::failure_by_call(e),
    }
}

/// # Safety
/// See task.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_unpark(task: TaskPtr) -> RawResult {
    // SAFETY: the caller's handle.
    match unsafe { api::task(task) } {
        Ok(task) => Handle::<RealKernel>::unpark(task),
        Err(e) => RawResult::failure_by_call(e),
    }
}

/// # Safety
/// See task.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_wait(other: TaskPtr, timeout_ns: u64) -> RawResult {
    // SAFETY: the caller's handle.
    match unsafe { api::task(other) } {
        Ok(other) => wait::wait(other, timeout_ns),
        Err(e) => RawResult::failure(e),
    }
}

/// # Safety
/// See task.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_join(this: TaskPtr, other: TaskPtr) -> RawResult {
    // SAFETY: the caller's handles.
    match unsafe { (api::task(this), api::task(other)) } {
        (Ok(this), Ok(other)) => Handle::<RealKernel>::join(this, other),
        _ => RawResult::failure(Errno(libc::EINVAL)),
    }
}

/// # Safety
/// See task.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_set_priorities(
    task: TaskPtr,
    cpu: u8,
    io: u8,
) -> RawResult {
    // SAFETY: the caller's handle.
    let task = unsafe { api::task(task) };
    done(task.and_then(|task| Handle::<RealKernel>::set_priorities(task, cpu, io)))
}

/// # Safety
/// See task.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_has_exited(task: TaskPtr) -> bool {
    // SAFETY: the caller's handle.
    unsafe { api::task(task) }.is_ok_and(TaskRef::has_exited)
}

/// # Safety
/// See task.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_is_attached(task: TaskPtr) -> bool {
    // SAFETY: the caller's handle.
    unsafe { api::task(task) }.is_ok_and(TaskRef::is_attached)
}

/// # Safety
/// See task.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_io_cqe_flags(task: TaskPtr) -> u32 {
    // SAFETY: the caller's handle.
    unsafe { api::task(task) }.map_or(0, |task| task.cqe_flags.get())
}
