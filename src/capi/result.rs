//! result.h and ticks.h.

use core::ffi::c_char;

use crate::error::{Errno, RawResult};
use crate::ticks;

#[no_mangle]
pub extern "C" fn monad_async_result_message(r: RawResult) -> *const c_char {
    Errno(r.error).message().as_ptr()
}

#[no_mangle]
pub extern "C" fn monad_async_get_ticks_count() -> u64 {
    ticks::now()
}

#[no_mangle]
pub extern "C" fn monad_async_ticks_per_second() -> u64 {
    ticks::per_second()
}

#[no_mangle]
pub extern "C" fn monad_async_ticks_to_ns(count: u64) -> u64 {
    ticks::to_ns(count)
}
