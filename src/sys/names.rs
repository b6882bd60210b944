//! The name service of the C library.

use core::mem;
use core::ptr::{self, NonNull};
use std::ffi::CStr;

use crate::error::{Errno, RawResult};

/// What kinds of addresses are wanted: the plain fields of a `struct addrinfo`.
#[derive(Clone, Copy)]
pub struct Hints {
    pub flags: i32,
    pub family: i32,
    pub kind: i32,
    pub protocol: i32,
}

/// A list of addresses, which is freed with it.
pub struct List(NonNull<libc::addrinfo>);

// SAFETY: memory of its own, of which the C library does not ask which thread frees it.
unsafe impl Send for List {}

impl List {
    /// To be freed by `freeaddrinfo`.
    pub fn into_raw(self) -> *mut libc::addrinfo {
        let list = self.0.as_ptr();
        mem::forget(self);
        list
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: from `getaddrinfo`, and ours.
        unsafe { libc::freeaddrinfo(self.0.as_ptr()) };
    }
}

/// Why there is no list.
#[derive(Clone, Copy)]
pub struct Failure {
    /// EAI_*; 0: none of those.
    code: i32,
    errno: Errno,
}

impl Failure {
    pub fn of(errno: Errno) -> Self {
        Self { code: 0, errno }
    }

    /// The errno that comes nearest; the value is the EAI_ number.
    pub fn result(self) -> RawResult {
        let mut result = RawResult::failure(self.errno);
        result.value = self.code as isize;
        result
    }
}

/// Blocks for as long as the name service takes.
pub fn find(
    host: Option<&CStr>,
    service: Option<&CStr>,
    hints: Option<&Hints>,
) -> Result<List, Failure> {
    let hints = hints.map(|hints| {
        // SAFETY: integers and null pointers.
        let mut info: libc::addrinfo = unsafe { mem::zeroed() };
        info.ai_flags = hints.flags;
        info.ai_family = hints.family;
        info.ai_socktype = hints.kind;
        info.ai_protocol = hints.protocol;
        info
    });
    let mut list = ptr::null_mut();
    // SAFETY: null or strings, null or hints, and a place for the list.
    let code = unsafe {
        libc::getaddrinfo(
            host.map_or(ptr::null(), CStr::as_ptr),
            service.map_or(ptr::null(), CStr::as_ptr),
            hints.as_ref().map_or(ptr::null(), ptr::from_ref),
            &mut list,
        )
    };
    let errno = match code {
        0 => libc::ENOENT, // Not with an empty list.
        libc::EAI_SYSTEM => Errno::last().0,
        libc::EAI_MEMORY => libc::ENOMEM,
        libc::EAI_AGAIN => libc::EAGAIN,
        libc::EAI_FAIL => libc::EIO,
        libc::EAI_BADFLAGS => libc::EINVAL,
        libc::EAI_FAMILY | libc::EAI_SOCKTYPE => libc::EAFNOSUPPORT,
        _ => libc::ENOENT, // No such host or service, or one without such an address.
    };
    match NonNull::new(list) {
        Some(list) if code == 0 => Ok(List(list)),
        _ => Err(Failure { code, errno: Errno(errno) }),
    }
}
