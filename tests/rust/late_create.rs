//! An executor made while its thread is on its way out: in the destructor of a thread-local, which
//! is also when the destructors of a C++ program's statics run on its main thread; and in that of a
//! key of pthreads, before and after the thread's signal stack has been taken back.

use core::ffi::c_void;
use monad_async::capi::executor::{
    monad_async_executor_create, monad_async_executor_destroy, ExecutorAttr,
};
use std::cell::Cell;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

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
    LAST.with(|last| last.0.set(true));
    assert_eq!(create_and_destroy(), 0);
    std::ptr::null_mut()
}

/// How many rounds of destructors the key's ran in.
static ROUNDS: AtomicI32 = AtomicI32::new(0);
static KEY: AtomicU32 = AtomicU32::new(0);

fn set_key() {
    let key = KEY.load(Ordering::Relaxed) as libc::pthread_key_t;
    // SAFETY: the key that the test made.
    assert_eq!(unsafe { libc::pthread_setspecific(key, std::ptr::dangling_mut()) }, 0);
}

/// Asks for another round, as long as pthreads grants one (4 rounds), so that there is a create
/// after whatever the library's own destructor does.
unsafe extern "C" fn in_each_round(_: *mut c_void) {
    assert_eq!(create_and_destroy(), 0);
    if ROUNDS.fetch_add(1, Ordering::Relaxed) < 2 {
        set_key();
    }
}

extern "C" fn body_with_key(_: *mut c_void) -> *mut c_void {
    set_key();
    assert_eq!(create_and_destroy(), 0);
    std::ptr::null_mut()
}

/// Not a thread of std's, which has an alternate signal stack already.
fn run_thread(body: extern "C" fn(*mut c_void) -> *mut c_void) {
    // SAFETY: a thread of our own, with the signature that pthreads ask for, which is joined.
    unsafe {
        let mut thread = std::mem::zeroed();
        assert_eq!(
            libc::pthread_create(&mut thread, std::ptr::null(), body, std::ptr::null_mut()),
            0
        );
        assert_eq!(libc::pthread_join(thread, std::ptr::null_mut()), 0);
    }
}

#[test]
fn a_thread_on_its_way_out_may_create_an_executor() {
    run_thread(body);
    assert_eq!(LATE.load(Ordering::Acquire), 0);
}

#[test]
fn a_destructor_of_pthreads_may_create_an_executor() {
    let mut key = 0;
    // SAFETY: writes the key; the destructor takes any value.
    assert_eq!(unsafe { libc::pthread_key_create(&mut key, Some(in_each_round)) }, 0);
    KEY.store(key, Ordering::Relaxed);
    run_thread(body_with_key);
    assert_eq!(ROUNDS.load(Ordering::Acquire), 3);
}
