//! An executor made while its thread is on its way out: in the destructor of a thread-local, which
//! is also when the destructors of a C++ program's statics run on its main thread.

use core::ffi::c_void;
use monad_async::capi::executor::{
    monad_async_executor_create, monad_async_executor_destroy, ExecutorAttr,
};
use std::cell::Cell;
use std::sync::atomic::{AtomicI32, Ordering};

static LATE: AtomicI32 = AtomicI32::new(-1);

fn create_and_destroy() -> i32 {
    // SAFETY: all zeros are the attributes of a compute-only executor.
    let attr: ExecutorAttr = unsafe { std::mem::zeroed() };
    let mut ex = std::ptr::null_mut();
    // SAFETY: both are ours; destroyed on the thread that made it.
    unsafe {
        let created = monad_async_executor_create(&mut ex, &attr);
        if created.error != 0 {
            return created.error;
        }
        monad_async_executor_destroy(ex).error
    }
}

struct OnTheWayOut(Cell<bool>);
impl Drop for OnTheWayOut {
    fn drop(&mut self) {
        if self.0.get() {
            LATE.store(create_and_destroy(), Ordering::Release);
        }
    }
}
thread_local!(static LAST: OnTheWayOut = const { OnTheWayOut(Cell::new(false)) });

extern "C" fn body(_: *mut c_void) -> *mut c_void {
    // Touched first, so destroyed last: after the alternate signal stack that the first create gave.
    LAST.with(|last| last.0.set(true));
    assert_eq!(create_and_destroy(), 0);
    std::ptr::null_mut()
}

/// Not a thread of std's, which has an alternate signal stack already.
#[test]
fn a_thread_on_its_way_out_may_create_an_executor() {
    // SAFETY: a thread of our own, with the signature that pthreads ask for, which is joined.
    unsafe {
        let mut thread = std::mem::zeroed();
        assert_eq!(
            libc::pthread_create(&mut thread, std::ptr::null(), body, std::ptr::null_mut()),
            0
        );
        assert_eq!(libc::pthread_join(thread, std::ptr::null_mut()), 0);
    }
    assert_eq!(LATE.load(Ordering::Acquire), 0);
}
