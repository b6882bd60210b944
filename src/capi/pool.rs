//! pool.h: check, one call into `pool`, map the result.

use core::ffi::c_void;
use core::ptr;

use super::executor::{self as c_executor, ExecutorAttr};
use super::group::tell;
use super::remote::RemotePtr;
use super::task::TaskPtr;
use crate::api;
use crate::error::{Errno, RawResult, Res};
use crate::executor::exit;
use crate::executor::jobs::{Job, JOB_BYTES};
use crate::executor::queue_left::Left;
use crate::executor::scope::{Scope, NEVER_NS, SHIELD};
use crate::pool::cpus::Cpus;
use crate::pool::workers::{self, How, Options, Pool};
use crate::sys::{affinity, thread};
use crate::task::header::{TaskRef, PRIORITIES};
use crate::ticks;
use crate::trace;
use crate::uring::{CreateError, RealKernel};

const EINVAL: Errno = Errno(libc::EINVAL);

/// `monad_async_exit`
type OnExit = super::group::OnExit;

/// `monad_async_pool`
pub(super) type PoolPtr = *mut Pool;

/// `struct monad_async_pool_attr`
#[repr(C)]
pub struct PoolAttr {
    executor: ExecutorAttr,
    cpus: *const u32,
    cpus_count: u32,
    workers: u32,
    trace_bytes: usize,
    stack_size: usize,
    reserved: [u64; 4],
}

// As in pool.h.
const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(PoolAttr, cpus) == 192 && offset_of!(PoolAttr, cpus_count) == 200);
    assert!(offset_of!(PoolAttr, workers) == 204 && offset_of!(PoolAttr, trace_bytes) == 208);
    assert!(offset_of!(PoolAttr, stack_size) == 216 && offset_of!(PoolAttr, reserved) == 224);
    assert!(size_of::<PoolAttr>() == 256);
};

/// # Safety
/// The caller's pool, or null.
unsafe fn object(pool: PoolPtr) -> Res<&'static Pool> {
    // SAFETY: the caller's; pools are never freed.
    let pool = unsafe { pool.as_ref() }.ok_or(EINVAL)?;
    if !pool.queue.is_of_this_process() {
        return Err(Errno(libc::EPERM));
    }
    Ok(pool)
}

unsafe fn create(attr: Option<&PoolAttr>) -> Result<&'static Pool, CreateError> {
    // SAFETY: plain integers, and a pointer that may be null.
    let attr = attr.unwrap_or(const { &unsafe { core::mem::zeroed() } });
    if attr.reserved != [0; 4] {
        return Err(c_executor::invalid(
            "reserved fields of the attributes are not 0: memset them first",
        ));
    }
    if attr.executor.share != [0; 3] {
        return Err(c_executor::invalid("a pool is strict: its workers' levels have no shares"));
    }
    let (ring, track) = c_executor::options(&attr.executor)?;
    let trace_bytes = attr.trace_bytes;
    if trace_bytes != 0 && trace_bytes < trace::BYTES_MIN {
        return Err(c_executor::invalid("a trace takes 4096 bytes at least"));
    }
    let numbers = match attr.cpus.is_null() {
        true => &[],
        // SAFETY: so many, says the caller.
        false => unsafe { core::slice::from_raw_parts(attr.cpus, attr.cpus_count as usize) },
    };
    let no_memory = |errno| CreateError { errno, text: "no memory for the pool".into() };
    let cpus = Cpus::of(numbers).map_err(no_memory)?;
    let workers = match attr.workers {
        0 => affinity::count(),
        n => n,
    };
    ticks::anchor();
    let stack_bytes = attr.stack_size;
    workers::create(Options { ring, track, trace_bytes, stack_bytes }, workers, cpus)
}

/// # Safety
/// See pool.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_pool_create(
    out: *mut PoolPtr,
    attr: *const PoolAttr,
) -> RawResult {
    if out.is_null() {
        return RawResult::failure(EINVAL);
    }
    // SAFETY: null, or the caller's valid attributes.
    match unsafe { create(attr.as_ref()) } {
        Ok(pool) => {
            // SAFETY: not null, and the caller's to write.
            unsafe { *out = ptr::from_ref(pool).cast_mut() };
            RawResult::success(0)
        }
        Err(e) => c_executor::refused(e),
    }
}

/// # Safety
/// See pool.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_pool_destroy(pool: PoolPtr) -> RawResult {
    let destroy = || -> Res<isize> {
        // SAFETY: the caller's pool.
        let pool = unsafe { object(pool) }?;
        if pool.is_here() {
            return Err(Errno(libc::EDEADLK));
        }
        // SAFETY: the task that runs on this thread, or null.
        let caller = unsafe { api::caller::<RealKernel>(thread::running_task().cast()) }?;
        let returned = if pool.quits() { 0 } else { pool.quit(How::Return) };
        let mut shield = core::mem::MaybeUninit::<Scope>::uninit();
        let inside = caller.executor();
        if let Some((ex, task)) = inside {
            // SAFETY: in place until it is left below.
            unsafe { ex.enter_scope(task, shield.as_mut_ptr(), NEVER_NS, SHIELD) };
        }
        // SAFETY: nobody uses it any more, says the caller.
        let ended = unsafe { pool.end(&caller) };
        if let Some((ex, task)) = inside {
            // SAFETY: entered above, and the innermost one.
            let _ = unsafe { ex.leave_scope(task, shield.as_ptr()) };
        }
        ended.map(|()| returned as isize)
    };
    destroy().into()
}

/// # Safety
/// See pool.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_pool_submit(pool: PoolPtr, task: TaskPtr) -> RawResult {
    let submit = || -> Res<isize> {
        // SAFETY: the caller's pool and handle.
        let (pool, task) = unsafe { (object(pool)?, api::task(task)?) };
        pool.queue.submit(task, || 0).map(|()| 0)
    };
    submit().into()
}

/// # Safety
/// See pool.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_pool_submit_many(
    pool: PoolPtr,
    tasks: *const TaskPtr,
    count: usize,
) -> RawResult {
    let submit = || -> Res<isize> {
        // SAFETY: the caller's pool.
        let pool = unsafe { object(pool) }?;
        if tasks.is_null() || count == 0 {
            return if count == 0 { Ok(0) } else { Err(EINVAL) };
        }
        // SAFETY: so many, says the caller.
        let tasks = unsafe { core::slice::from_raw_parts(tasks, count) };
        // SAFETY: the caller's handles, up to the first that is null.
        let some = tasks.iter().map_while(|&task| unsafe { api::task(task) }.ok());
        match pool.queue.submit_many(some) {
            (0, Err(e)) => Err(e),
            (0, Ok(())) => Err(EINVAL),
            (put, _) => Ok(put as isize),
        }
    };
    submit().into()
}

/// # Safety
/// See pool.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_pool_spawn(
    pool: PoolPtr,
    task: TaskPtr,
    on_exit: OnExit,
) -> RawResult {
    let spawn = || -> Res<isize> {
        // SAFETY: the caller's pool and handle.
        let (pool, task) = unsafe { (object(pool)?, api::task(task)?) };
        let of = on_exit.map_or(ptr::null(), |f| f as *const core::ffi::c_void);
        // SAFETY: `of` is what `tell` takes, a function.
        pool.queue.submit(task, || unsafe { exit::hook(task, tell, of) }).map(|()| 0)
    };
    spawn().into()
}

/// `struct monad_async_pool_job`
pub(super) type PoolJob = Job;

/// # Safety
/// See pool.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_pool_post(
    pool: PoolPtr,
    priority: u8,
    job: *const PoolJob,
    bytes: *const c_void,
    size: usize,
) -> RawResult {
    let post = || -> Res<isize> {
        // SAFETY: the caller's pool and job.
        let (pool, job) = unsafe { (object(pool)?, job.as_ref().ok_or(EINVAL)?) };
        let is_level = usize::from(priority) < PRIORITIES;
        let has_bytes = size == 0 || (size <= JOB_BYTES && !bytes.is_null());
        if job.code.is_none() || job.reserved != 0 || !is_level || !has_bytes {
            return Err(EINVAL);
        }
        // SAFETY: so many, says the caller.
        unsafe { pool.queue.post(job, priority, bytes.cast(), size) }.map(|()| 0)
    };
    post().into()
}

/// Of what so few are to be left.
fn what(what: u32) -> Res<Left> {
    match what {
        0 => Ok(Left::Queued),
        1 => Ok(Left::Unfinished),
        _ => Err(EINVAL),
    }
}

/// # Safety
/// See pool.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_pool_wait(
    pool: PoolPtr,
    at_most: usize,
    of: u32,
) -> RawResult {
    let wait = || -> Res<isize> {
        // SAFETY: the caller's pool; the task that runs on this thread, or null.
        let (pool, caller) =
            unsafe { (object(pool)?, api::caller::<RealKernel>(thread::running_task().cast())?) };
        let what = what(of)?;
        let is_left = caller.executor().is_some_and(|(ex, task)| ex.took(task, &pool.queue));
        if what == Left::Unfinished && at_most == 0 && is_left {
            return Err(Errno(libc::EDEADLK));
        }
        pool.queue.until_left(&caller, at_most, what).map(|()| 0)
    };
    wait().into()
}

/// # Safety
/// See pool.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_pool_left(pool: PoolPtr, of: u32) -> RawResult {
    let left = || -> Res<isize> {
        // SAFETY: the caller's pool.
        let (queued, begun) = unsafe { object(pool) }?.queue.counts();
        Ok(match what(of)? {
            Left::Queued => queued as isize,
            _ => (queued + begun) as isize,
        })
    };
    left().into()
}

/// # Safety
/// See pool.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_pool_resize(pool: PoolPtr, workers: u32) -> RawResult {
    // SAFETY: the caller's pool.
    match unsafe { object(pool) } {
        Ok(pool) => match pool.resize(workers) {
            Ok(()) => RawResult::success(0),
            Err(e) => c_executor::refused(e),
        },
        Err(e) => RawResult::failure(e),
    }
}

/// # Safety
/// See pool.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_pool_quit(pool: PoolPtr, how: u32) -> RawResult {
    let quit = || -> Res<isize> {
        // SAFETY: the caller's pool.
        let pool = unsafe { object(pool) }?;
        let how = match how {
            0 => How::Drain,
            1 => How::Return,
            _ => return Err(EINVAL),
        };
        Ok(pool.quit(how) as isize)
    };
    quit().into()
}

/// # Safety
/// See pool.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_pool_workers(pool: PoolPtr) -> RawResult {
    // SAFETY: the caller's pool.
    unsafe { object(pool) }.map(|pool| pool.workers() as isize).into()
}

/// # Safety
/// See pool.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_pool_kernel_error(
    pool: PoolPtr,
    index: *mut usize,
) -> RawResult {
    let asked = || -> Res<isize> {
        // SAFETY: the caller's pool.
        let Some((at, errno)) = unsafe { object(pool) }?.refused() else { return Ok(0) };
        if !index.is_null() {
            // SAFETY: the caller's to write.
            unsafe { *index = at };
        }
        Ok(errno.0 as isize)
    };
    asked().into()
}

/// # Safety
/// See pool.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_pool_worker(
    pool: PoolPtr,
    index: usize,
    remote: *mut RemotePtr,
) -> RawResult {
    let worker = || -> Res<isize> {
        // SAFETY: the caller's pool.
        let pool = unsafe { object(pool) }?;
        if remote.is_null() {
            return Err(EINVAL);
        }
        let reference = pool.worker(index)?;
        // SAFETY: not null, and the caller's to write.
        unsafe { *remote = reference.as_ptr() };
        Ok(0)
    };
    worker().into()
}

/// # Safety
/// See pool.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_is_queued(task: TaskPtr) -> bool {
    // SAFETY: the caller's handle.
    unsafe { api::task(task) }.is_ok_and(TaskRef::is_queued)
}
