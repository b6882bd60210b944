//! How much stack making an executor takes: a thread of a plugin, or a task, may have little.

#[path = "../support/mod.rs"]
mod support;

use monad_async::capi::executor::{
    monad_async_executor_create, monad_async_executor_destroy, ExecutorAttr,
};
use monad_async::stack::pool::acquire;
use std::mem::MaybeUninit;
use support::child::{alone, HEADER};

struct OnSlot(usize, usize);

// SAFETY: a slot's stack has a guard below its limit, and far more than the least size.
unsafe impl corosensei::stack::Stack for OnSlot {
    fn base(&self) -> corosensei::stack::StackPointer {
        self.0.try_into().unwrap()
    }
    fn limit(&self) -> corosensei::stack::StackPointer {
        self.1.try_into().unwrap()
    }
}

/// Bytes of a new stack, which reads as zeros, that `f` writes to.
fn stack_used(f: impl FnOnce()) -> usize {
    let slot = acquire(256 << 10, HEADER).unwrap();
    assert!(slot.known_zero);
    corosensei::on_stack(OnSlot(slot.stack_base, slot.stack_limit), f);
    // SAFETY: the slot's own stack.
    let untouched = (slot.stack_limit..slot.stack_base)
        .take_while(|&at| unsafe { (at as *const u8).read() } == 0)
        .count();
    slot.stack_base - slot.stack_limit - untouched
}

fn create_and_destroy(entries: u32) {
    let mut ex = std::ptr::null_mut();
    let mut attr = MaybeUninit::<ExecutorAttr>::zeroed();
    // SAFETY: zeros are valid attributes; what was made is destroyed.
    unsafe {
        (*attr.as_mut_ptr()).entries = entries;
        if monad_async_executor_create(&mut ex, attr.as_ptr()).error == 0 {
            assert_eq!(monad_async_executor_destroy(ex).error, 0);
        }
    }
}

#[test]
fn an_executor_is_made_on_a_small_stack() {
    alone("an_executor_is_made_on_a_small_stack", || {
        create_and_destroy(0); // What is done once a process.
        let used = [0, 64, 1 << 20].map(|entries| stack_used(|| create_and_destroy(entries)));
        println!("measured: {used:?} bytes of stack with 0, 64, and too many entries");
        // Optimised as the library is shipped it is 5,784; in parts, 8,344.
        let most = if cfg!(debug_assertions) { 16 << 10 } else { 9 << 10 };
        assert!(used.iter().all(|&bytes| bytes < most), "{used:?}, {most} at most");
    });
}
