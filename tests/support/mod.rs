//! What the tests share: executors on the real kernel, tasks whose body is a closure, and, a file
//! each: chance, processes of their own, skips, and what the tests of rings and of whole programs need.
#![allow(dead_code)]

pub mod asleep;
pub mod child;
pub mod panics;
pub mod pool;
pub mod programme;
pub mod rings;
pub mod rng;
pub mod skip;

use core::ffi::c_void;
use core::ptr::NonNull;
use monad_async::api::{self, Handle};
use monad_async::error::{Errno, RawResult, Res};
use monad_async::task::header::{TaskHead, TaskRef};
use monad_async::uring::kernel::{Kernel, Sqe};
use monad_async::uring::{RealKernel, RingOptions};

/// What a `Kernel` says of a ring that it does not have.
#[allow(unused_macros)]
macro_rules! without_ring {
    () => {
        fn has_ring(&self) -> bool {
            false
        }
        fn sq_space(&self) -> u32 {
            0
        }
        fn sq_pending(&self) -> u32 {
            0
        }
        unsafe fn push(&self, _: &monad_async::uring::kernel::Sqe) {
            unreachable!("there is no ring");
        }
        fn pop(&self) -> Option<monad_async::uring::kernel::Cqe> {
            None
        }
        fn has_completions(&self) -> bool {
            false
        }
        fn needs_enter(&self) -> bool {
            false
        }
    };
}
#[allow(unused_imports)]
pub(crate) use without_ring;

pub type Real = RealKernel;
pub type Body = Box<dyn FnMut(TaskRef) -> RawResult>;

/// An executor or a task, for other threads.
#[derive(Clone, Copy)]
pub struct Shared<T>(pub T);
// SAFETY: only the calls that any thread may make are made through it, while its subject lives.
unsafe impl<T> Send for Shared<T> {}

impl<T> Shared<T> {
    /// A call, and not a field: so a closure takes the whole.
    pub fn get(self) -> T {
        self.0
    }
}

pub fn errno<T>(e: i32) -> Res<T> {
    Err(Errno(e))
}

pub fn executor(entries: u32) -> Handle<Real> {
    let kernel = RealKernel::new(&RingOptions { entries, ..RingOptions::default() })
        .unwrap_or_else(|e| panic!("{}", e.text));
    Handle::new(kernel, true).unwrap()
}

pub fn new_task() -> TaskRef {
    // What is not optimised has frames of several KiB.
    api::create_task(if cfg!(debug_assertions) { 32 << 10 } else { 16 << 10 }).unwrap()
}

/// For bodies that call into the library where a build without optimisation has large frames.
pub fn new_large_task() -> TaskRef {
    api::create_task(64 << 10).unwrap()
}

unsafe extern "C" fn call(head: *const TaskHead) -> RawResult {
    // SAFETY: the executor passes the handle of the task that runs.
    let task = unsafe { TaskRef::from_head(head) };
    // SAFETY: set by `set_body`, and freed only once the task is idle.
    let body = unsafe { &mut *task.head.user_ptr.get().cast::<Body>() };
    body(task)
}

pub fn set_body(task: TaskRef, body: impl FnMut(TaskRef) -> RawResult + 'static) {
    panics::speak_up();
    drop_body(task);
    let body: Box<Body> = Box::new(Box::new(body));
    task.head.user_ptr.set(Box::into_raw(body).cast::<c_void>());
    task.head.user_code.set(Some(call));
}

pub fn drop_body(task: TaskRef) {
    if let Some(old) = NonNull::new(task.head.user_ptr.replace(core::ptr::null_mut())) {
        // SAFETY: only `set_body` writes user_ptr.
        drop(unsafe { Box::from_raw(old.cast::<Body>().as_ptr()) });
    }
}

pub fn destroy_task(task: TaskRef) {
    drop_body(task);
    api::destroy_task(task).unwrap();
}

pub fn destroy<K: Kernel>(ex: Handle<K>, tasks: impl IntoIterator<Item = TaskRef>) {
    for task in tasks {
        destroy_task(task);
    }
    ex.destroy().unwrap();
}

/// The only task of `ex` runs to its end, without an error.
pub fn succeeds<K: Kernel>(ex: Handle<K>, task: TaskRef) {
    ex.attach(task).unwrap();
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
    assert_eq!(task.head.result.get(), RawResult::success(0));
    destroy(ex, [task]);
}

pub fn nop(task: TaskRef) -> RawResult {
    // SAFETY: a NOP refers to no memory.
    unsafe { Handle::<Real>::io(task, &Sqe::zeroed()) }
}
