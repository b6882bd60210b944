//! group.h: check, one call into `sync`, map the result.

use core::ffi::c_void;

use super::remote::RemotePtr;
use super::task::TaskPtr;
use super::ExecutorPtr;
use crate::api::{self, Handle};
use crate::error::{Errno, RawResult, Res};
use crate::executor::exit;
use crate::executor::reference::Reference;
use crate::sync::group::{self, FLAGS};
use crate::task::header::TaskRef;
use crate::uring::RealKernel;

/// `monad_async_group`
type Group = group::Group<RealKernel>;

/// `monad_async_exit`
pub(crate) type OnExit = Option<group::OnExit>;

const EINVAL: Errno = Errno(libc::EINVAL);

/// # Safety
/// The caller's group, or null.
unsafe fn object<'a>(group: *mut Group) -> Res<&'a Group> {
    // SAFETY: the caller's.
    unsafe { group.as_ref() }.ok_or(EINVAL)
}

/// # Safety
/// See group.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_group_init(
    task: TaskPtr,
    group: *mut Group,
    flags: u32,
) -> RawResult {
    let init = || -> Res<isize> {
        if task.is_null() || group.is_null() || flags & !FLAGS != 0 {
            return Err(EINVAL);
        }
        // SAFETY: the caller's handle.
        let caller = unsafe { api::caller::<RealKernel>(task) }?;
        let (ex, _) = caller.executor().ok_or(EINVAL)?;
        // SAFETY: the caller's memory.
        unsafe { group.write(group::Group::new(ex, flags)) };
        Ok(0)
    };
    init().into()
}

/// # Safety
/// See group.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_group_on_exit(
    group: *mut Group,
    on_exit: OnExit,
) -> RawResult {
    // SAFETY: the caller's group.
    let group = unsafe { object(group) };
    group.map(|group| group.set_on_exit(on_exit)).map(|()| 0).into()
}

/// # Safety
/// See group.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_group_spawn(group: *mut Group, task: TaskPtr) -> RawResult {
    // SAFETY: the caller's group and handle.
    match unsafe { (object(group), api::task(task)) } {
        (Ok(group), Ok(task)) => group.spawn(task).map(|()| 0).into(),
        (Err(e), _) | (_, Err(e)) => RawResult::failure(e),
    }
}

/// # Safety
/// See group.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_group_spawn_many(
    group: *mut Group,
    tasks: *const TaskPtr,
    count: usize,
) -> RawResult {
    let spawn = || -> Res<isize> {
        // SAFETY: the caller's group.
        let group = unsafe { object(group) }?;
        if tasks.is_null() || count == 0 {
            return if count == 0 { Ok(0) } else { Err(EINVAL) };
        }
        // SAFETY: so many, and handles or null, says the caller.
        match unsafe { group.spawn_many(core::slice::from_raw_parts(tasks.cast(), count)) } {
            (0, Err(e)) => Err(e),
            (0, Ok(())) => Err(EINVAL),
            (spawned, _) => Ok(spawned as isize),
        }
    };
    spawn().into()
}

/// # Safety
/// See group.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_group_cancel(group: *mut Group) -> RawResult {
    // SAFETY: the caller's group.
    unsafe { object(group) }.and_then(group::Group::cancel).map(|()| 0).into()
}

/// # Safety
/// See group.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_group_wait(this: TaskPtr, group: *mut Group) -> RawResult {
    let wait = || -> Res<RawResult> {
        // SAFETY: the caller's handle and group.
        let (group, caller) = unsafe { (object(group)?, api::caller::<RealKernel>(this)?) };
        group.wait(&caller)
    };
    wait().unwrap_or_else(RawResult::failure)
}

/// # Safety
/// See group.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_group_count(group: *mut Group) -> RawResult {
    // SAFETY: the caller's group.
    unsafe { object(group) }.map(|group| group.count() as isize).into()
}

/// # Safety
/// `of` is a `group::OnExit`, or null.
pub(super) unsafe extern "C" fn tell(
    of: *const c_void,
    task: TaskRef,
    result: RawResult,
    _now: u64,
) {
    // SAFETY: the caller's; an option of a function is a pointer that may be null.
    let on_exit = unsafe { core::mem::transmute::<*const c_void, OnExit>(of) };
    if let Some(on_exit) = on_exit {
        // SAFETY: the caller's function, with the handle it expects.
        unsafe { on_exit(task.as_head(), result) };
    }
}

/// # Safety
/// See group.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_spawn(
    ex: ExecutorPtr,
    task: TaskPtr,
    on_exit: OnExit,
) -> RawResult {
    let spawn = || -> Res<isize> {
        // SAFETY: the caller's handles.
        let (ex, task) = unsafe { (Handle::from_ptr(ex)?, api::task(task)?) };
        let of = on_exit.map_or(core::ptr::null(), |f| f as *const c_void);
        // SAFETY: `of` is what `tell` takes, a function.
        unsafe { ex.attach_hooked(task, tell, of)? };
        Ok(0)
    };
    spawn().into()
}

/// # Safety
/// See group.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_remote_spawn(
    remote: RemotePtr,
    task: TaskPtr,
    on_exit: OnExit,
) -> RawResult {
    let spawn = || -> Res<isize> {
        // SAFETY: the caller's handles.
        let (remote, task) = unsafe { (remote.as_ref().ok_or(EINVAL)?, api::task(task)?) };
        let of = on_exit.map_or(core::ptr::null(), |f| f as *const c_void);
        // SAFETY: `of` is what `tell` takes, a function.
        remote.with_launches(|mailbox| unsafe { exit::attach_hooked(mailbox, task, tell, of) })?;
        Ok(0)
    };
    spawn().into()
}

/// As `monad_async_remote_spawn`, of a message by a task: also to an executor that ends its tasks,
/// one of which may wait for it.
///
/// # Safety
/// The same.
pub(crate) unsafe fn spawn_message(remote: &Reference, task: TaskPtr, on_exit: OnExit) -> Res<()> {
    // SAFETY: the caller's handle.
    let task = unsafe { api::task(task)? };
    let of = on_exit.map_or(core::ptr::null(), |f| f as *const c_void);
    // SAFETY: as above.
    remote.with_mailbox(|mailbox| unsafe { exit::attach_hooked(mailbox, task, tell, of) })
}
