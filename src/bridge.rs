//! The one border to C++: what the RAII classes need beyond calls of the C API, which is ownership.
//! Thin: each function makes one call. Hot calls do not pass here; the C++ headers call the C API.
//! Creation goes through the C API too, its peer, whose structs the headers fill in.
//!
//! Nothing here returns a `Result`: cxx would make it an exception of a type that the package does
//! not export. Nor a `Box`: one that cannot be had would end the process. Errors are errnos, and
//! become exceptions in the headers.

use core::ffi::c_void;
use core::ptr;

use crate::api::{self, Handle};
use crate::capi::{executor as c_executor, group as c_group, task as c_task, ExecutorPtr};
use crate::error::Errno;
use crate::executor::reference::Reference;
use crate::executor::scope::Scope;
use crate::pool::workers::Pool;
use crate::reactor::buffers::Buffers;
use crate::sync::buffer_set::Set;
use crate::sys::alloc::try_box;
use crate::sys::thread;
use crate::task::header::{TaskHead, TaskRef};
use crate::task::state::Run;
use crate::uring::RealKernel;

#[cxx::bridge(namespace = "monad::async_bridge")]
mod ffi {
    // The structs of the C API. C++ and Rust each declare them; pointers pass through.
    #[namespace = ""]
    unsafe extern "C++" {
        include!("monad/async/buffer.h");
        include!("monad/async/buffer_set.h");
        include!("monad/async/detail/executor_block.hpp");
        include!("monad/async/executor.h");
        include!("monad/async/pool.h");
        include!("monad/async/remote.h");
        include!("monad/async/scope.h");
        include!("monad/async/task.h");
        #[cxx_name = "monad_async_buffer_ring_object"]
        type BufferRing;
        #[cxx_name = "monad_async_buffer_set_object"]
        type BufferSet;
        #[cxx_name = "monad_async_executor_attr"]
        type ExecutorAttr;
        #[cxx_name = "monad_async_executor_head"]
        type ExecutorHead;
        #[cxx_name = "monad_async_pool_object"]
        type Pool;
        #[cxx_name = "monad_async_remote_reference"]
        type Remote;
        #[cxx_name = "monad_async_task_attr"]
        type TaskAttr;
        #[cxx_name = "monad_async_task_head"]
        type TaskHead;
        #[cxx_name = "monad_async_scope"]
        type Scope;
    }

    unsafe extern "C++" {
        #[namespace = "monad::async::v0::detail"]
        #[cxx_name = "executor_block"]
        type Block;
        #[namespace = "monad::async_cpp"]
        unsafe fn executor_ended(block: *mut Block);
    }

    extern "Rust" {
        type Executor;
        unsafe fn open_executor(attr: *const ExecutorAttr, error: &mut i32) -> *mut Executor;
        fn head(self: &Executor) -> *mut ExecutorHead;
        fn is_of_this_process(self: &Executor) -> bool;
        fn refuse_launches(self: &Executor);
        fn cancel_all(self: &mut Executor) -> i32;
        fn awaited(self: &mut Executor) -> *mut TaskHead;
        fn close(self: &mut Executor) -> i32;

        unsafe fn run_on(ex: *mut ExecutorHead, wait_ns: u64, error: &mut i32) -> usize;

        type Task;
        unsafe fn open_task(attr: *const TaskAttr, error: &mut i32) -> *mut Task;
        fn head(self: &Task) -> *mut TaskHead;
        fn run(self: &Task) -> u64;
        fn close(self: &mut Task) -> i32;
        unsafe fn forget_past(task: *mut TaskHead);

        unsafe fn tell_end(ex: *mut ExecutorHead, block: *mut Block);
        unsafe fn set_block_of_pool(pool: *mut Pool, block: *mut Block);
        unsafe fn block_of_pool(ex: *mut ExecutorHead) -> *mut Block;

        unsafe fn spawn_message(remote: *mut Remote, task: *mut TaskHead, on_exit: usize) -> i32;
        unsafe fn scope_has_fired(scope: *const Scope) -> bool;
        unsafe fn ring_is_of_a_parent(ring: *const BufferRing) -> bool;
        unsafe fn set_is_of_a_parent(set: *const BufferSet) -> bool;

        fn process_number() -> u32;
    }

    // C++ takes them back from the pointers.
    impl Box<Executor> {}
    impl Box<Task> {}
}

/// An executor that C++ owns. C++ closes it before it drops the box.
pub struct Executor {
    head: ExecutorPtr,
    /// What `cancel_all` cancelled, each with its run. Those that are over are dropped from the
    /// end.
    cancelled: Vec<(TaskRef, Run)>,
}

/// Null, and the errno, where there is none.
///
/// # Safety
/// As `monad_async_executor_create`.
unsafe fn open_executor(attr: *const ffi::ExecutorAttr, error: &mut i32) -> *mut Executor {
    let Ok(mut ex) = try_box(Executor { head: ptr::null_mut(), cancelled: Vec::new() }) else {
        *error = c_executor::no_memory().error;
        return ptr::null_mut();
    };
    // SAFETY: the caller's attributes, in the layout that both sides assert.
    *error = unsafe { c_executor::monad_async_executor_create(&mut ex.head, attr.cast()) }.error;
    if *error == 0 {
        Box::into_raw(ex)
    } else {
        ptr::null_mut()
    }
}

impl Executor {
    fn head(&self) -> *mut ffi::ExecutorHead {
        self.head.cast()
    }

    fn is_of_this_process(&self) -> bool {
        // SAFETY: ours until `close`.
        unsafe { Handle::from_ptr(self.head) }.is_ok_and(Handle::is_of_this_process)
    }

    fn refuse_launches(&self) {
        // SAFETY: as above.
        if let Ok(ex) = unsafe { Handle::from_ptr(self.head) } {
            ex.refuse_launches();
        }
    }

    fn cancel_all(&mut self) -> i32 {
        // SAFETY: as above.
        let Ok(ex) = (unsafe { Handle::from_ptr(self.head) }) else {
            return libc::EINVAL;
        };
        ex.list_attached(&mut self.cancelled);
        ex.cancel_all().map_or_else(|e| e.0, |()| 0)
    }

    /// One of the tasks that `cancel_all` cancelled, and that has not exited since; null without.
    fn awaited(&mut self) -> *mut ffi::TaskHead {
        // SAFETY: as above.
        let Ok(ex) = (unsafe { Handle::from_ptr(self.head) }) else {
            return ptr::null_mut();
        };
        while let Some(&(task, run)) = self.cancelled.last() {
            if ex.has_run(task, run) {
                return task.as_head().cast_mut().cast();
            }
            self.cancelled.pop();
        }
        ptr::null_mut()
    }

    fn close(&mut self) -> i32 {
        // SAFETY: as above; EINVAL the second time.
        let closed = unsafe { Handle::from_ptr(self.head) }.and_then(Handle::destroy);
        closed.map_or_else(
            |e| e.0,
            |()| {
                self.head = ptr::null_mut();
                0
            },
        )
    }
}

/// A pass for who runs the executor in a loop; `u64::MAX` waits for ever. How many items ran; 0,
/// and the errno.
///
/// # Safety
/// Null, or an executor that was not destroyed.
unsafe fn run_on(ex: *mut ffi::ExecutorHead, wait_ns: u64, error: &mut i32) -> usize {
    // SAFETY: the caller's.
    let ex = unsafe { Handle::<RealKernel>::from_ptr(ex.cast()) };
    match ex.and_then(|ex| ex.run_on((wait_ns != u64::MAX).then_some(wait_ns))) {
        Ok(items) => items,
        Err(e) => {
            *error = e.0;
            0
        }
    }
}

/// A task that C++ owns. C++ closes it before it drops the box.
pub struct Task {
    head: *const TaskHead,
}

/// Null, and the errno, where there is none.
///
/// # Safety
/// As `monad_async_task_create`.
unsafe fn open_task(attr: *const ffi::TaskAttr, error: &mut i32) -> *mut Task {
    let Ok(mut task) = try_box(Task { head: ptr::null() }) else {
        *error = libc::ENOMEM;
        return ptr::null_mut();
    };
    // SAFETY: the caller's attributes, in the layout that both sides assert.
    *error = unsafe { c_task::monad_async_task_create(&mut task.head, attr.cast()) }.error;
    if *error == 0 {
        Box::into_raw(task)
    } else {
        ptr::null_mut()
    }
}

/// Of an idle task, what it had of its own. See `TaskRef::begin_anew`.
///
/// # Safety
/// A task that was not destroyed, which the caller alone uses.
unsafe fn forget_past(task: *mut ffi::TaskHead) {
    // SAFETY: the caller's.
    if let Ok(task) = unsafe { api::task(task.cast_const().cast()) } {
        task.forget_past();
    }
}

impl Task {
    fn head(&self) -> *mut ffi::TaskHead {
        self.head.cast_mut().cast()
    }

    /// The number of its run that is under way, or was the last. A load; any thread.
    fn run(&self) -> u64 {
        // SAFETY: ours until `close`.
        unsafe { api::task(self.head) }.map_or(0, |task| task.state().run())
    }

    fn close(&mut self) -> i32 {
        // SAFETY: ours until `close`; EINVAL the second time.
        let closed = unsafe { api::task(self.head) }.and_then(api::destroy_task);
        closed.map_or_else(
            |e| e.0,
            |()| {
                self.head = ptr::null();
                0
            },
        )
    }
}

unsafe extern "C" fn ended(block: *mut c_void) {
    // SAFETY: `tell_end`'s.
    unsafe { ffi::executor_ended(block.cast()) };
}

/// Has the executor tell `block` of its end.
///
/// # Safety
/// An executor that was not destroyed; the calling thread owns it.
unsafe fn tell_end(ex: *mut ffi::ExecutorHead, block: *mut ffi::Block) {
    // SAFETY: the caller's.
    if let Ok(ex) = unsafe { Handle::<RealKernel>::from_ptr(ex.cast()) } {
        // SAFETY: the function takes a block, on the executor's thread.
        unsafe { ex.executor().set_at_end(Some((ended, block.cast()))) };
    }
}

/// # Safety
/// A pool that was not destroyed; `block` stays until its workers have left.
unsafe fn set_block_of_pool(pool: *mut ffi::Pool, block: *mut ffi::Block) {
    // SAFETY: the caller's.
    if let Some(pool) = unsafe { pool.cast::<Pool>().as_ref() } {
        pool.queue.set_note(block.cast());
    }
}

/// Of the pool whose worker's executor it is; null: of none.
///
/// # Safety
/// As `tell_end`.
unsafe fn block_of_pool(ex: *mut ffi::ExecutorHead) -> *mut ffi::Block {
    // SAFETY: the caller's.
    let ex = unsafe { Handle::<RealKernel>::from_ptr(ex.cast()) };
    ex.map_or(ptr::null_mut(), |ex| ex.executor().note_of_queue().cast())
}

/// See `capi::group::spawn_message`. `on_exit`: the address of a `monad_async_exit`.
///
/// # Safety
/// As `monad_async_remote_spawn`.
unsafe fn spawn_message(remote: *mut ffi::Remote, task: *mut ffi::TaskHead, on_exit: usize) -> i32 {
    // SAFETY: an `Option` of a function is its address, or 0.
    let on_exit = unsafe { core::mem::transmute::<usize, c_group::OnExit>(on_exit) };
    // SAFETY: the caller's reference and handle.
    let sent = unsafe {
        match remote.cast::<Reference>().as_ref() {
            Some(remote) => c_group::spawn_message(remote, task.cast_const().cast(), on_exit),
            None => Err(Errno(libc::EINVAL)),
        }
    };
    sent.map_or_else(|e| e.0, |()| 0)
}

/// Whether the process forked since its executor was made, and this is the child.
///
/// # Safety
/// `ring` was not destroyed.
unsafe fn ring_is_of_a_parent(ring: *const ffi::BufferRing) -> bool {
    // SAFETY: the caller's.
    let owner = unsafe { ring.cast::<Buffers>().as_ref() }.map_or(ptr::null_mut(), Buffers::owner);
    is_of_a_parent(owner)
}

/// As `ring_is_of_a_parent`.
///
/// # Safety
/// `set` was not unregistered.
unsafe fn set_is_of_a_parent(set: *const ffi::BufferSet) -> bool {
    // SAFETY: the caller's.
    let owner = unsafe { set.cast::<Set>().as_ref() }.map_or(ptr::null(), Set::owner);
    is_of_a_parent(owner.cast_mut().cast())
}

/// Of an executor that has not ended, or null.
fn is_of_a_parent(ex: *mut c_void) -> bool {
    // SAFETY: it has not ended, or would not be named.
    unsafe { Handle::<RealKernel>::from_ptr(ex.cast()) }.is_ok_and(|ex| !ex.is_of_this_process())
}

/// # Safety
/// `scope` is entered, or was; its task's executor's thread.
unsafe fn scope_has_fired(scope: *const ffi::Scope) -> bool {
    // SAFETY: the caller's.
    unsafe { scope.cast::<Scope>().as_ref() }.is_some_and(Scope::has_fired)
}

/// Differs between a process and its children.
fn process_number() -> u32 {
    thread::forks()
}
