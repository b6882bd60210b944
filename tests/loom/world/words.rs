//! The words of a task that threads share, of one that was never launched.

use loom::sync::atomic::{AtomicPtr, AtomicU64, AtomicU8};
use monad_async::task::state::{self, TaskState};
use std::ffi::c_void;
use std::ptr::null_mut;

pub struct Words {
    run_state: AtomicU8,
    run: AtomicU64,
    mailbox: AtomicPtr<c_void>,
    executor: AtomicPtr<c_void>,
    result: [AtomicU64; 2],
    cancel_run: AtomicU64,
}

impl Words {
    pub fn fresh() -> Self {
        Self {
            run_state: AtomicU8::new(state::FRESH),
            run: AtomicU64::new(0),
            mailbox: AtomicPtr::new(null_mut()),
            executor: AtomicPtr::new(null_mut()),
            result: [AtomicU64::new(0), AtomicU64::new(0)],
            cancel_run: AtomicU64::new(0),
        }
    }

    pub fn state(&self) -> TaskState<'_> {
        let Self { run_state, run, mailbox, executor, result, cancel_run } = self;
        TaskState { run_state, run, mailbox, executor, result, cancel_run }
    }
}
