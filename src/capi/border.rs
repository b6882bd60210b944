//! What the calls have in common at the border: who calls, whose thread it is, what is handed out.

use super::task::TaskPtr;
use super::ExecutorPtr;
use crate::api::{self, Handle};
use crate::error::{Errno, RawResult, Res};
use crate::executor::Executor;
use crate::io::call::{is_elsewhere, Call, DIRECT};
use crate::task::header::TaskRef;
use crate::uring::kernel::Kernel;
use crate::uring::RealKernel;

/// EPERM unless `task` runs, ENOTSUP without a ring.
///
/// # Safety
/// `task` is null or a live handle.
#[inline(always)]
pub(super) unsafe fn caller<'a>(task: TaskPtr) -> Res<(&'a Executor<RealKernel>, TaskRef)> {
    // SAFETY: the caller's.
    let task = unsafe { api::task(task) }?;
    let ex = Handle::<RealKernel>::running(task)?.executor();
    if !ex.kernel().has_ring() {
        return Err(Errno(libc::ENOTSUP));
    }
    Ok((ex, task))
}

/// What a call on a handle needs: as `caller`; EBADF for a handle of nothing; EPERM for a direct
/// one that another executor knows.
///
/// # Safety
/// As `caller`.
#[inline(always)]
pub(super) unsafe fn call<'a>(
    task: TaskPtr,
    fd: i32,
    flags: u32,
    are_flags: bool,
) -> Res<Call<'a, RealKernel>> {
    // SAFETY: the caller's.
    let (ex, task) = unsafe { caller(task) }?;
    if !are_flags {
        return Err(Errno(libc::EINVAL));
    }
    if fd < 0 {
        return Err(Errno(libc::EBADF));
    }
    if flags & DIRECT != 0 && is_elsewhere(ex, flags) {
        return Err(Errno(libc::EPERM));
    }
    Ok(Call { ex, task, fd, flags })
}

/// As `call`, on a plain descriptor whose handle says nothing else, as those of most do. None: it
/// says more, or `call` has an error for it. There may be no ring: what is begun is refused then.
///
/// # Safety
/// As `caller`.
#[inline(always)]
pub(super) unsafe fn plain_call<'a>(
    task: TaskPtr,
    fd: i32,
    flags: u32,
) -> Option<Call<'a, RealKernel>> {
    // By one question: no flag, and no sign.
    if u64::from(flags) << 32 | u64::from(fd as u32) > i32::MAX as u64 {
        return None;
    }
    two_questions();
    // SAFETY: the caller's.
    let task = unsafe { api::task(task) }.ok()?;
    let ex = Handle::<RealKernel>::running(task).ok()?.executor();
    Some(Call { ex, task, fd, flags: 0 })
}

/// Between two questions: the optimiser would make one value of them, and ask for that, which is
/// two instructions more.
#[inline(always)]
fn two_questions() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: no instruction.
    unsafe {
        core::arch::asm!("", options(nomem, nostack, preserves_flags));
    }
}

/// As `plain_call`, on a direct descriptor that the executor knows as its own.
///
/// # Safety
/// As `caller`.
#[inline(always)]
pub(super) unsafe fn direct_call<'a>(
    task: TaskPtr,
    fd: i32,
    flags: u32,
) -> Option<Call<'a, RealKernel>> {
    // SAFETY: the caller's.
    let task = unsafe { api::task(task) }.ok()?;
    let ex = Handle::<RealKernel>::running(task).ok()?.executor();
    // By one question: these flags, and no sign.
    let handle = u64::from(flags) << 32 | u64::from(fd as u32);
    let is_known = handle ^ ex.direct_handle() <= i32::MAX as u64;
    is_known.then_some(Call { ex, task, fd, flags: DIRECT })
}

/// An executor, whose thread this is: else EPERM.
///
/// # Safety
/// `ex` is null or a live handle.
pub(super) unsafe fn mine<'a>(ex: ExecutorPtr) -> Res<&'a Executor<RealKernel>> {
    // SAFETY: the caller's; asked from another thread it is compared by what never changes.
    let ex = unsafe { Handle::<RealKernel>::from_ptr(ex) }?.executor();
    match ex.is_mine() {
        true => Ok(ex),
        false => Err(Errno(libc::EPERM)),
    }
}

/// The executor that something belongs to, whose thread this is: None, null, after its end.
///
/// # Safety
/// As `mine`: what belongs to an executor names it no longer than it lives.
pub(super) unsafe fn owner<'a>(ex: *mut ()) -> Res<Option<&'a Executor<RealKernel>>> {
    if ex.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's.
    unsafe { mine(ex.cast()) }.map(Some)
}

/// Hands something out; `out` stays untouched on an error. EINVAL: null.
///
/// # Safety
/// `out` is null or the caller's to write.
pub(super) unsafe fn give<T>(out: *mut T, make: impl FnOnce() -> Res<T>) -> RawResult {
    if out.is_null() {
        return RawResult::failure(Errno(libc::EINVAL));
    }
    // SAFETY: not null, and the caller's.
    done(make().map(|made| unsafe { out.write(made) }))
}

#[inline(always)]
pub(super) fn of(moved: Res<usize>) -> RawResult {
    moved.map(|n| n as isize).into()
}

#[inline(always)]
pub(super) fn done(r: Res<()>) -> RawResult {
    r.map(|()| 0).into()
}
