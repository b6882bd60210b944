//! Errors: a positive errno, and the 16 bytes in which results cross the C border.

use core::ffi::CStr;

/// A positive errno.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Errno(pub i32);

/// What fallible functions inside the crate return.
pub type Res<T> = Result<T, Errno>;

/// `monad_async_result`: returned in two registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct RawResult {
    pub value: isize,
    pub error: i32,
    pub reserved: i32,
}

const _: () = assert!(size_of::<RawResult>() == 16 && align_of::<RawResult>() == 8);

impl RawResult {
    pub const fn success(value: isize) -> Self {
        Self { value, error: 0, reserved: 0 }
    }

    pub const fn failure(errno: Errno) -> Self {
        Self { value: -1, error: errno.0, reserved: 0 }
    }

    /// The kernel's convention: negative is an errno.
    #[inline]
    pub const fn from_kernel(res: i32) -> Self {
        if res >= 0 {
            Self::success(res as isize)
        } else {
            Self::failure(Errno(-res))
        }
    }
}

impl From<Res<isize>> for RawResult {
    #[inline]
    fn from(r: Res<isize>) -> Self {
        match r {
            Ok(value) => Self::success(value),
            Err(e) => Self::failure(e),
        }
    }
}

impl Errno {
    /// Of the C library call that just failed on this thread.
    pub fn last() -> Self {
        Self(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }

    /// Static text. The table is written out because `strerror` may return a buffer that another
    /// thread's call overwrites.
    pub fn message(self) -> &'static CStr {
        match self.0 {
            0 => c"Success",
            _ => c"Unknown error",
        }
    }
}
