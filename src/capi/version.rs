//! The version a program runs with, to compare with the one it was compiled with.

use core::ffi::{c_char, CStr};

const VERSION: &CStr = {
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(text) => text,
        Err(_) => unreachable!(),
    }
};

#[no_mangle]
pub extern "C" fn monad_async_version() -> *const c_char {
    VERSION.as_ptr()
}
