//! The nth allocation fails, for every n, through create, attach, run, I/O, cancel and destroy: an
//! error or success, no leak, no abort.

#[path = "../support/mod.rs"]
mod support;

use core::ffi::CStr;
use monad_async::api::{self, Handle};
use monad_async::capi::blocking::{
    monad_async_blocking_helpers, monad_async_blocking_set_limits, monad_async_resolve,
    monad_async_run_blocking,
};
use monad_async::capi::buffer_set::{monad_async_buffers_register, monad_async_buffers_unregister};
use monad_async::capi::executor::{
    monad_async_executor_config_string, monad_async_executor_create, monad_async_executor_destroy,
    monad_async_free, monad_async_last_create_error, ExecutorAttr,
};
use monad_async::capi::file::{monad_async_file_close, monad_async_file_set_ordered};
use monad_async::capi::pool::{monad_async_pool_create, monad_async_pool_destroy};
use monad_async::error::RawResult;
use monad_async::io::file::File;
use monad_async::task::header::{TaskHead, TaskRef};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::mem::zeroed;
use std::ptr::null_mut;
use std::sync::{Mutex, PoisonError};
use support::nop;

thread_local! {
    /// Allocations of this thread until the one that fails; negative: none does.
    static LEFT: Cell<i64> = const { Cell::new(-1) };
    static FAILED: Cell<bool> = const { Cell::new(false) };
    /// Blocks that this thread allocated and did not free.
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

/// The tests take turns: mailboxes are kept for the next executor, and one that the other test has
/// taken would look like a leak.
static TURN: Mutex<()> = Mutex::new(());

struct Failing;

// SAFETY: passes on to the system's allocator, or says null, which any allocator may.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let left = LEFT.get();
        if left == 0 {
            FAILED.set(true);
            return null_mut();
        }
        if left > 0 {
            LEFT.set(left - 1);
        }
        LIVE.set(LIVE.get() + 1);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - 1);
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

/// Runs `story` with the nth allocation failing, for n = 0, 1, ... until none was asked for.
fn for_every_allocation(mut story: impl FnMut()) -> i64 {
    for n in 0.. {
        FAILED.set(false);
        LEFT.set(n);
        story();
        LEFT.set(-1);
        if !FAILED.get() {
            return n;
        }
        assert!(n < 1000, "the story asks for ever more memory");
    }
    unreachable!()
}

unsafe extern "C" fn body(head: *const TaskHead) -> RawResult {
    // SAFETY: the executor passes the handle of the task that runs.
    let task = unsafe { TaskRef::from_head(head) };
    nop(task);
    Handle::<support::Real>::sleep(task, 1000)
}

fn whole_story(entries: u32) {
    // SAFETY: zeros are valid attributes.
    let mut attr: ExecutorAttr = unsafe { zeroed() };
    attr.entries = entries;
    let mut ex = null_mut();
    // SAFETY: both are valid.
    let r = unsafe { monad_async_executor_create(&mut ex, &attr) };
    if r.error != 0 {
        assert_eq!(r.error, libc::ENOMEM);
        // SAFETY: a static or thread's string.
        let text = unsafe { CStr::from_ptr(monad_async_last_create_error()) };
        assert!(!text.is_empty());
        return;
    }
    // SAFETY: alive.
    let handle = unsafe { Handle::from_ptr(ex) }.unwrap();
    // SAFETY: alive; null, or ours to free.
    unsafe { monad_async_free(monad_async_executor_config_string(ex).cast()) };
    if let Ok(task) = api::create_task(0) {
        task.head.user_code.set(Some(body));
        handle.attach(task).unwrap();
        while handle.has_work() {
            handle.run(usize::MAX, None).unwrap();
        }
        assert!(task.has_exited());
        api::destroy_task(task).unwrap();
    }
    // SAFETY: alive until here.
    assert_eq!(unsafe { monad_async_executor_destroy(ex) }.error, 0);
}

#[test]
fn from_create_to_destroy() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for entries in [0, 8] {
        // What is made once a process, or kept for the next executor, is not a leak.
        whole_story(entries);
        whole_story(entries);
        let before = LIVE.get();
        let n = for_every_allocation(|| whole_story(entries));
        assert_eq!(LIVE.get(), before, "leaked");
        println!("entries {entries}: {n} allocations, each has failed once");
        assert!(n > 0);
    }
}

#[test]
fn a_cancel_from_another_thread_takes_none() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let ex = support::executor(0);
    let task = support::new_task();
    task.head.user_code.set(Some(body));
    ex.attach(task).unwrap();
    struct Shared(Handle<support::Real>, TaskRef);
    // SAFETY: used for a call that any thread may make.
    unsafe impl Send for Shared {}
    let shared = Shared(ex, task);
    std::thread::spawn(move || {
        let Shared(ex, task) = { shared };
        LEFT.set(0);
        let asked = ex.cancel(task);
        LEFT.set(-1);
        assert_eq!(asked, Ok(()), "it takes no memory");
    })
    .join()
    .unwrap();
    while ex.has_work() {
        ex.run(1, None).unwrap();
    }
    assert_eq!(task.head.result.get().error, libc::ECANCELED);
    api::destroy_task(task).unwrap();
    ex.destroy().unwrap();
}

/// Success, or ENOMEM. True: success.
fn worked(r: RawResult) -> bool {
    assert!(r.error == 0 || r.error == libc::ENOMEM, "{r:?}");
    r.error == 0
}

unsafe extern "C" fn blocks(_: *mut core::ffi::c_void) -> RawResult {
    RawResult::success(0)
}

unsafe extern "C" fn helped(head: *const TaskHead) -> RawResult {
    const LONG_NS: u64 = 60_000_000_000;
    assert!(worked(monad_async_blocking_set_limits(1, LONG_NS)), "none is idle");
    // SAFETY: the task that runs, and its memory.
    unsafe {
        worked(monad_async_run_blocking(head, Some(blocks), null_mut()));
        let mut list = null_mut();
        let host = c"127.0.0.1".as_ptr();
        if worked(monad_async_resolve(head, host, c"80".as_ptr(), core::ptr::null(), &mut list)) {
            libc::freeaddrinfo(list);
        }
        let fd = libc::open(c"/proc/self/exe".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        let mut file = File { fd, flags: 0 };
        worked(monad_async_file_set_ordered(head, &mut file));
        assert_eq!(monad_async_file_close(head, file).error, 0);
        let ex = TaskRef::from_head(head).executor();
        let mut set = null_mut();
        if worked(monad_async_buffers_register(ex.cast(), &mut set, 2, 4096)) {
            assert_eq!(monad_async_buffers_unregister(set).error, 0);
        }
        // The helper is asked to look again, and leaves.
        worked(monad_async_blocking_set_limits(1, 0));
    }
    RawResult::success(0)
}

/// What is done on threads of the library's own, and what else is made in a task.
#[test]
fn helpers_rows_and_buffers() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let story = || {
        let failing = LEFT.replace(-1);
        let ex = support::executor(8);
        let task = api::create_task(64 << 10).unwrap();
        task.head.user_code.set(Some(helped));
        ex.attach(task).unwrap();
        LEFT.set(failing);
        while ex.has_work() {
            ex.run(usize::MAX, None).unwrap();
        }
        LEFT.set(-1);
        assert_eq!(task.head.result.get(), RawResult::success(0));
        api::destroy_task(task).unwrap();
        ex.destroy().unwrap();
        while monad_async_blocking_helpers() != 0 {
            assert_eq!(monad_async_blocking_set_limits(1, 0).error, 0);
            std::thread::yield_now();
        }
    };
    story();
    let n = for_every_allocation(story);
    assert!(n > 8, "{n}");
}

#[test]
fn a_pool() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let n = for_every_allocation(|| {
        let mut pool = null_mut();
        // SAFETY: zeros are attributes: 2 workers.
        let r = unsafe {
            let mut attr: [u32; 64] = [0; 64];
            (attr[51], attr[50]) = (2, 1);
            let cpus = [0u32];
            attr.as_mut_ptr().cast::<*const u32>().add(24).write_unaligned(cpus.as_ptr());
            monad_async_pool_create(&mut pool, attr.as_ptr().cast())
        };
        if worked(r) {
            // SAFETY: made above.
            assert_eq!(unsafe { monad_async_pool_destroy(pool) }.error, 0);
        }
    });
    assert!(n >= 3, "{n}");
}
