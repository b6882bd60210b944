//! A pool of the C API, for tests: made, used and ended.
#![allow(dead_code)] // Each test program uses its part.

use super::{asleep, destroy_task, new_task, set_body};
use monad_async::capi::pool::*;
use monad_async::capi::remote::*;
use monad_async::capi::task::*;
use monad_async::error::RawResult;
use monad_async::pool::workers::Pool;
use monad_async::task::header::TaskRef;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

pub type PoolPtr = *mut Pool;

pub const DRAIN: u32 = 0;
pub const RETURN: u32 = 1;
pub const QUEUED: u32 = 0;
pub const UNFINISHED: u32 = 1;
pub const SECOND_NS: u64 = 1_000_000_000;

pub fn attr(workers: u32) -> [u64; 32] {
    let mut attr = [0u64; 32];
    attr[25] = u64::from(workers) << 32;
    attr
}

/// Compute-only.
pub fn pool(workers: u32) -> PoolPtr {
    let mut made = ptr::null_mut();
    // SAFETY: attributes of that size, and memory for the pool.
    let r = unsafe { monad_async_pool_create(&mut made, attr(workers).as_ptr().cast()) };
    assert_eq!(r, RawResult::success(0));
    made
}

pub fn end(pool: PoolPtr) -> isize {
    // SAFETY: from `pool`, and not used any more.
    let r = unsafe { monad_async_pool_destroy(pool) };
    assert_eq!(r.error, 0);
    r.value
}

pub fn submit(pool: PoolPtr, task: TaskRef) -> RawResult {
    // SAFETY: both are alive.
    unsafe { monad_async_pool_submit(pool, task.as_head()) }
}

pub fn wait(task: TaskRef) -> RawResult {
    // SAFETY: alive.
    unsafe { monad_async_task_wait(task.as_head(), 60 * SECOND_NS) }
}

pub fn until(pool: PoolPtr, at_most: usize, what: u32) {
    // SAFETY: alive.
    assert_eq!(unsafe { monad_async_pool_wait(pool, at_most, what) }, RawResult::success(0));
}

pub fn quit(pool: PoolPtr, how: u32) -> isize {
    // SAFETY: alive.
    let r = unsafe { monad_async_pool_quit(pool, how) };
    assert_eq!(r.error, 0);
    r.value
}

pub fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

pub fn destroy_all(tasks: impl IntoIterator<Item = TaskRef>) {
    for task in tasks {
        destroy_task(task);
    }
}

/// A gate that a task keeps its worker at.
#[derive(Default)]
pub struct Gate {
    pub begun: AtomicUsize,
    pub open: AtomicBool,
}

impl Gate {
    pub fn pass(&self) {
        self.begun.fetch_add(1, SeqCst);
        while !self.open.load(SeqCst) {
            thread::sleep(Duration::from_micros(50));
        }
    }

    pub fn wait_for(&self, begun: usize) {
        while self.begun.load(SeqCst) < begun {
            thread::sleep(Duration::from_micros(50));
        }
    }
}

/// One task a worker, which all wait at the gate.
pub fn hold(pool: PoolPtr, workers: usize) -> (&'static Gate, Vec<TaskRef>) {
    let gate: &Gate = leak(Gate::default());
    let tasks: Vec<_> = (0..workers).map(|_| new_task()).collect();
    for &task in &tasks {
        set_body(task, move |_| {
            gate.pass();
            RawResult::success(0)
        });
        assert_eq!(submit(pool, task), RawResult::success(0));
    }
    gate.wait_for(workers);
    (gate, tasks)
}

/// Launches on the executor of the worker with this index.
pub fn attach_to(pool: PoolPtr, index: usize, task: TaskRef) {
    let mut worker = ptr::null_mut();
    // SAFETY: all are alive.
    unsafe {
        assert_eq!(monad_async_pool_worker(pool, index, &mut worker).error, 0);
        assert_eq!(monad_async_remote_attach(worker, task.as_head()).error, 0);
        monad_async_remote_release(worker);
    }
}

/// The number of its thread.
pub fn thread_of(pool: PoolPtr, index: usize) -> i32 {
    let task = new_task();
    set_body(task, |_| RawResult::success(asleep::number() as isize));
    attach_to(pool, index, task);
    let number = wait(task).value as i32;
    destroy_task(task);
    number
}
