//! The C API as a C program has it: every call goes through a pointer that the optimiser knows
//! nothing about, as into a shared library, so that nothing is inlined here that could not be
//! there.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::hint::black_box;
use core::mem::zeroed;
use core::ptr;
use std::ffi::{CStr, CString};

use monad_async::capi::executor::*;
use monad_async::capi::task::*;
use monad_async::capi::ExecutorPtr;
use monad_async::error::RawResult;
use monad_async::executor::head::ExecutorHead;
use monad_async::executor::options::NO_TIME_TRACKING;
use monad_async::task::header::TaskHead;

pub type TaskPtr = *const TaskHead;
pub type Body = unsafe extern "C" fn(TaskPtr) -> RawResult;

struct Table {
    attach: unsafe extern "C" fn(ExecutorPtr, TaskPtr) -> RawResult,
    run: unsafe extern "C" fn(ExecutorPtr, usize, *const libc::timespec) -> RawResult,
    suspend: unsafe extern "C" fn(TaskPtr, u64) -> RawResult,
    io: unsafe extern "C" fn(TaskPtr, *const c_void) -> RawResult,
    cancel: unsafe extern "C" fn(ExecutorPtr, TaskPtr) -> RawResult,
    wake: unsafe extern "C" fn(ExecutorPtr) -> RawResult,
    has_work: unsafe extern "C" fn(ExecutorPtr) -> bool,
    has_exited: unsafe extern "C" fn(TaskPtr) -> bool,
}

struct Opaque(UnsafeCell<Table>);

// SAFETY: never written; the cell only keeps the compiler from knowing that.
unsafe impl Sync for Opaque {}

static TABLE: Opaque = Opaque(UnsafeCell::new(Table {
    attach: monad_async_task_attach,
    run: monad_async_executor_run,
    suspend: monad_async_task_suspend_for_duration,
    io: monad_async_task_io,
    cancel: monad_async_task_cancel,
    wake: monad_async_executor_wake,
    has_work: monad_async_executor_has_work,
    has_exited: monad_async_task_has_exited,
}));

#[inline(always)]
fn api() -> &'static Table {
    // SAFETY: never written.
    unsafe { &*TABLE.0.get() }
}

/// `struct monad_async_executor_attr`, as far as it is used here.
#[repr(C)]
struct ExecutorAttr {
    entries: u32,
    params: [u64; 15],
    flags: u32,
    reserved: [u32; 15],
}

/// An executor, owned. Its methods panic where the C function fails.
pub struct Executor(ExecutorPtr);

impl Executor {
    /// `entries` 0: compute only.
    pub fn new(entries: u32, track: bool) -> Self {
        black_box(TABLE.0.get());
        let flags = if track { 0 } else { NO_TIME_TRACKING };
        // SAFETY: integers only.
        let mut attr: ExecutorAttr = unsafe { zeroed() };
        (attr.entries, attr.flags) = (entries, flags);
        let mut ex = ptr::null_mut();
        // SAFETY: laid out as executor.h says; asserted below.
        let r = unsafe { monad_async_executor_create(&mut ex, (&raw const attr).cast()) };
        if r.error != 0 {
            // SAFETY: a static C string of this thread.
            let why = unsafe { CStr::from_ptr(monad_async_last_create_error()) };
            panic!("no executor: {}", why.to_string_lossy());
        }
        Self(ex)
    }

    pub fn ptr(&self) -> ExecutorPtr {
        self.0
    }

    /// What C sees of it.
    pub fn head(&self) -> &ExecutorHead {
        // SAFETY: ours, and alive; all its fields are Cells.
        unsafe { &*self.0.cast() }
    }

    /// A pass over at most `max` items, waiting for ever if nothing is ready. How many ran.
    #[inline(always)]
    pub fn run(&self, max: usize) -> usize {
        // SAFETY: ours, and alive.
        let r = unsafe { (api().run)(self.0, max, ptr::null()) };
        assert!(r.error == 0, "run: errno {}", r.error);
        r.value as usize
    }

    /// As `run`, without waiting: what it returns, ETIME included.
    #[inline(always)]
    pub fn poll(&self, max: usize) -> RawResult {
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: ours, and alive.
        unsafe { (api().run)(self.0, max, &at_once) }
    }

    #[inline(always)]
    pub fn attach(&self, task: &Task) {
        // SAFETY: both ours, and alive.
        let r = unsafe { attach(self.0, task.0) };
        assert!(r.error == 0, "attach: errno {}", r.error);
    }

    pub fn has_work(&self) -> bool {
        // SAFETY: ours, and alive.
        unsafe { (api().has_work)(self.0) }
    }

    pub fn cancel(&self, task: &Task) {
        // SAFETY: both ours, and alive.
        unsafe { (api().cancel)(self.0, task.0) };
    }

    pub fn finish(&self) {
        while self.has_work() {
            self.run(usize::MAX);
        }
    }

    pub fn config(&self) -> String {
        // SAFETY: ours, and alive; the string is ours to free.
        unsafe {
            let text = monad_async_executor_config_string(self.0);
            let copy = CString::from(CStr::from_ptr(text));
            monad_async_free(text.cast());
            copy.to_string_lossy().into_owned()
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.finish();
        // SAFETY: ours, and given up here.
        let r = unsafe { monad_async_executor_destroy(self.0) };
        assert!(r.error == 0 || std::thread::panicking(), "destroy: errno {}", r.error);
    }
}

/// A task, owned. Drop it after its executor: it must have exited by then.
pub struct Task(TaskPtr);

impl Task {
    pub fn new(stack_bytes: usize, body: Body, user: *const c_void) -> Self {
        let attr: [u64; 8] = [stack_bytes as u64, 0, 0, 0, 0, 0, 0, 0];
        let mut task = ptr::null();
        // SAFETY: `attr` is laid out as task.h says: the stack's size, then zeros.
        let r = unsafe { monad_async_task_create(&mut task, attr.as_ptr().cast()) };
        assert!(r.error == 0, "no task: errno {}", r.error);
        let this = Self(task);
        this.head().user_code.set(Some(body));
        this.head().user_ptr.set(user.cast_mut());
        this
    }

    pub fn ptr(&self) -> TaskPtr {
        self.0
    }

    pub fn head(&self) -> &TaskHead {
        // SAFETY: ours, and alive; all its fields are Cells.
        unsafe { &*self.0 }
    }

    #[inline(always)]
    pub fn has_exited(&self) -> bool {
        // SAFETY: ours, and alive.
        unsafe { has_exited(self.0) }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // SAFETY: ours, and given up here.
        let r = unsafe { monad_async_task_destroy(self.0) };
        assert!(r.error == 0 || std::thread::panicking(), "destroy: errno {}", r.error);
    }
}

/// What a task's `user_ptr` points to, seen from its body.
///
/// # Safety
/// `task` is the task that runs, its `user_ptr` a `T` that outlives its run.
#[inline(always)]
pub unsafe fn user<'a, T>(task: TaskPtr) -> &'a T {
    // SAFETY: the caller's.
    unsafe { &*(*task).user_ptr.get().cast() }
}

/// # Safety
/// `task` is the task that runs.
#[inline(always)]
pub unsafe fn suspend(task: TaskPtr, ns: u64) -> RawResult {
    // SAFETY: the caller's.
    unsafe { (api().suspend)(task, ns) }
}

/// # Safety
/// `task` is the task that runs.
#[inline(always)]
pub unsafe fn nop(task: TaskPtr) -> RawResult {
    let sqe = [0u64; 8];
    // SAFETY: the caller's; an entry of zeros is a NOP.
    unsafe { (api().io)(task, sqe.as_ptr().cast()) }
}

/// # Safety
/// Both are alive.
#[inline(always)]
pub unsafe fn attach(ex: ExecutorPtr, task: TaskPtr) -> RawResult {
    // SAFETY: the caller's.
    unsafe { (api().attach)(ex, task) }
}

/// # Safety
/// It is alive.
#[inline(always)]
pub unsafe fn has_exited(task: TaskPtr) -> bool {
    // SAFETY: the caller's.
    unsafe { (api().has_exited)(task) }
}

/// # Safety
/// It is alive.
#[inline(always)]
pub unsafe fn wake(ex: ExecutorPtr) -> RawResult {
    // SAFETY: the caller's.
    unsafe { (api().wake)(ex) }
}

const _: () = assert!(size_of::<ExecutorAttr>() == 192);
const _: () = assert!(core::mem::offset_of!(ExecutorAttr, flags) == 128);
