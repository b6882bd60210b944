//! Counts what the calling thread allocates: this program's own `malloc` and its like, which Rust's
//! allocator, the C library itself and everything linked to it then call, and glibc's behind them.

use std::cell::Cell;
use std::ffi::c_void;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// By this thread, so far.
pub fn allocations() -> u64 {
    COUNT.with(Cell::get)
}

fn count() {
    // Without a destructor, so there from the thread's first step to its last.
    COUNT.with(|c| c.set(c.get() + 1));
}

extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(n: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(old: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_memalign(align: usize, size: usize) -> *mut c_void;
}

// SAFETY of all below: glibc's functions, with the caller's arguments, after a count.

#[no_mangle]
unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    count();
    // SAFETY: see above.
    unsafe { __libc_malloc(size) }
}

#[no_mangle]
unsafe extern "C" fn calloc(n: usize, size: usize) -> *mut c_void {
    count();
    // SAFETY: see above.
    unsafe { __libc_calloc(n, size) }
}

#[no_mangle]
unsafe extern "C" fn realloc(old: *mut c_void, size: usize) -> *mut c_void {
    count();
    // SAFETY: see above.
    unsafe { __libc_realloc(old, size) }
}

#[no_mangle]
unsafe extern "C" fn memalign(align: usize, size: usize) -> *mut c_void {
    count();
    // SAFETY: see above.
    unsafe { __libc_memalign(align, size) }
}

#[no_mangle]
unsafe extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
    count();
    // SAFETY: see above.
    unsafe { __libc_memalign(align, size) }
}

#[no_mangle]
unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, align: usize, size: usize) -> i32 {
    if !align.is_power_of_two() || !align.is_multiple_of(size_of::<*mut c_void>()) {
        return libc::EINVAL;
    }
    count();
    // SAFETY: see above; `out` is the caller's to write.
    unsafe {
        let at = __libc_memalign(align, size);
        if at.is_null() {
            return libc::ENOMEM;
        }
        *out = at;
    }
    0
}
