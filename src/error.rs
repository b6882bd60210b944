//! Errors: a positive errno, and the 16 bytes in which results cross the C border.

use core::ffi::CStr;
use core::hint::black_box;

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

// As in result.h.
const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(RawResult, value) == 0 && offset_of!(RawResult, error) == 8);
    assert!(offset_of!(RawResult, reserved) == 12);
    assert!(size_of::<RawResult>() == 16 && align_of::<RawResult>() == 8);
};

/// What the optimiser cannot see through.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[unsafe(naked)]
extern "C" fn nothing() -> RawResult {
    core::arch::naked_asm!(".cfi_startproc", "xor eax, eax", "xor edx, edx", "ret", ".cfi_endproc",)
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline(always)]
extern "C" fn nothing() -> RawResult {
    RawResult::success(0)
}

impl RawResult {
    pub const fn success(value: isize) -> Self {
        Self::from_words([value as u64, 0])
    }

    // Made of whole words, so that a function that returns another's result, or one of these, has
    // nothing to put together: it ends in the other by a jump.
    pub const fn failure(errno: Errno) -> Self {
        Self::from_words([-1_i64 as u64, errno.0 as u32 as u64])
    }

    /// As `success(0)`, by a call, for a function that ends in other calls besides. With a result
    /// among them that is made in place, each call comes back to the function, which needs a frame
    /// for it; so every end of it is a jump.
    #[inline(always)]
    pub(crate) fn success_by_call() -> Self {
        nothing()
    }

    /// As `failure`, in the same way.
    #[cold]
    #[inline(never)]
    pub(crate) extern "C" fn failure_by_call(errno: Errno) -> Self {
        Self::from_words(black_box(Self::failure(errno).words()))
    }

    /// Whether it is one of a success.
    pub const fn done(self) -> Res<()> {
        match self.error {
            0 => Ok(()),
            error => Err(Errno(error)),
        }
    }

    /// As two registers, or two words of memory, hold it.
    #[inline(always)]
    pub const fn words(self) -> [u64; 2] {
        // SAFETY: 16 bytes without padding (asserted above), and any bits are integers.
        unsafe { core::mem::transmute(self) }
    }

    #[inline(always)]
    pub(crate) const fn from_words(words: [u64; 2]) -> Self {
        // SAFETY: as above.
        unsafe { core::mem::transmute(words) }
    }

    /// The kernel's convention: negative is an errno. (The lowest number has no positive one: it
    /// becomes the highest, which is no errno either.)
    #[inline]
    pub const fn from_kernel(res: i32) -> Self {
        if res >= 0 {
            Self::success(res as isize)
        } else {
            Self::failure(Errno(res.saturating_neg()))
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
    /// The errno of the C library call that just failed on this thread.
    pub fn last() -> Self {
        Self(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }

    /// Static text. The table is written out because `strerror` may return a buffer that another
    /// thread's call overwrites, and changes with the locale.
    pub fn message(self) -> &'static CStr {
        match usize::try_from(self.0) {
            Ok(n) if n < MESSAGES.len() => MESSAGES[n],
            _ => UNKNOWN,
        }
    }
}

impl core::fmt::Display for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} (errno {})", self.message().to_string_lossy(), self.0)
    }
}

impl From<std::io::Error> for Errno {
    fn from(e: std::io::Error) -> Self {
        Self(e.raw_os_error().unwrap_or(libc::EIO))
    }
}

const UNKNOWN: &CStr = c"Unknown error";

/// Linux's errnos by number: the same numbers on x86_64 and aarch64. 41 and 58 name nothing.
static MESSAGES: [&CStr; 134] = [
    c"Success",
    c"Operation not permitted",
    c"No such file or directory",
    c"No such process",
    c"Interrupted system call",
    c"Input/output error",
    c"No such device or address",
    c"Argument list too long",
    c"Exec format error",
    c"Bad file descriptor",
    c"No child processes",
    c"Resource temporarily unavailable",
    c"Cannot allocate memory",
    c"Permission denied",
    c"Bad address",
    c"Block device required",
    c"Device or resource busy",
    c"File exists",
    c"Invalid cross-device link",
    c"No such device",
    c"Not a directory",
    c"Is a directory",
    c"Invalid argument",
    c"Too many open files in system",
    c"Too many open files",
    c"Inappropriate ioctl for device",
    c"Text file busy",
    c"File too large",
    c"No space left on device",
    c"Illegal seek",
    c"Read-only file system",
    c"Too many links",
    c"Broken pipe",
    c"Numerical argument out of domain",
    c"Numerical result out of range",
    c"Resource deadlock avoided",
    c"File name too long",
    c"No locks available",
    c"Function not implemented",
    c"Directory not empty",
    c"Too many levels of symbolic links",
    UNKNOWN,
    c"No message of desired type",
    c"Identifier removed",
    c"Channel number out of range",
    c"Level 2 not synchronized",
    c"Level 3 halted",
    c"Level 3 reset",
    c"Link number out of range",
    c"Protocol driver not attached",
    c"No CSI structure available",
    c"Level 2 halted",
    c"Invalid exchange",
    c"Invalid request descriptor",
    c"Exchange full",
    c"No anode",
    c"Invalid request code",
    c"Invalid slot",
    UNKNOWN,
    c"Bad font file format",
    c"Device not a stream",
    c"No data available",
    c"Timer expired",
    c"Out of streams resources",
    c"Machine is not on the network",
    c"Package not installed",
    c"Object is remote",
    c"Link has been severed",
    c"Advertise error",
    c"Srmount error",
    c"Communication error on send",
    c"Protocol error",
    c"Multihop attempted",
    c"RFS specific error",
    c"Bad message",
    c"Value too large for defined data type",
    c"Name not unique on network",
    c"File descriptor in bad state",
    c"Remote address changed",
    c"Can not access a needed shared library",
    c"Accessing a corrupted shared library",
    c".lib section in a.out corrupted",
    c"Attempting to link in too many shared libraries",
    c"Cannot exec a shared library directly",
    c"Invalid or incomplete multibyte or wide character",
    c"Interrupted system call should be restarted",
    c"Streams pipe error",
    c"Too many users",
    c"Socket operation on non-socket",
    c"Destination address required",
    c"Message too long",
    c"Protocol wrong type for socket",
    c"Protocol not available",
    c"Protocol not supported",
    c"Socket type not supported",
    c"Operation not supported",
    c"Protocol family not supported",
    c"Address family not supported by protocol",
    c"Address already in use",
    c"Cannot assign requested address",
    c"Network is down",
    c"Network is unreachable",
    c"Network dropped connection on reset",
    c"Software caused connection abort",
    c"Connection reset by peer",
    c"No buffer space available",
    c"Transport endpoint is already connected",
    c"Transport endpoint is not connected",
    c"Cannot send after transport endpoint shutdown",
    c"Too many references: cannot splice",
    c"Connection timed out",
    c"Connection refused",
    c"Host is down",
    c"No route to host",
    c"Operation already in progress",
    c"Operation now in progress",
    c"Stale file handle",
    c"Structure needs cleaning",
    c"Not a XENIX named type file",
    c"No XENIX semaphores available",
    c"Is a named type file",
    c"Remote I/O error",
    c"Disk quota exceeded",
    c"No medium found",
    c"Wrong medium type",
    c"Operation canceled",
    c"Required key not available",
    c"Key has expired",
    c"Key has been revoked",
    c"Key was rejected by service",
    c"Owner died",
    c"State not recoverable",
    c"Operation not possible due to RF-kill",
    c"Memory page has hardware error",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_result_of_the_kernel_is_a_value_or_a_positive_errno() {
        for res in [0, 1, i32::MAX] {
            assert_eq!(RawResult::from_kernel(res), RawResult::success(res as isize));
        }
        for (res, errno) in [(-1, 1), (-i32::MAX, i32::MAX), (i32::MIN, i32::MAX)] {
            assert_eq!(RawResult::from_kernel(res), RawResult::failure(Errno(errno)));
        }
    }

    /// Against glibc's own table, in the C locale, which a Rust program starts in.
    #[cfg(all(target_env = "gnu", not(miri)))]
    #[test]
    fn messages_are_those_of_the_c_library() {
        for n in (0..134).filter(|n| ![41, 58].contains(n)) {
            let mut buf = [0u8; 128];
            // SAFETY: the buffer is ours and its length is given.
            let rc = unsafe { libc::strerror_r(n, buf.as_mut_ptr().cast(), buf.len()) };
            assert_eq!(rc, 0);
            assert_eq!(Errno(n).message(), CStr::from_bytes_until_nul(&buf).unwrap(), "errno {n}");
        }
    }

    #[test]
    fn numbers_outside_the_table_have_a_message() {
        for n in [-1, 41, 58, 134, 4095, i32::MIN, i32::MAX] {
            assert_eq!(Errno(n).message(), UNKNOWN);
        }
    }
}
