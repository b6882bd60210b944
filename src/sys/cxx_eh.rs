//! The C++ runtime's exception state: what `__cxa_get_globals` returns is per thread, tasks are
//! not, so a task that leaves with exceptions takes them along. Without a C++ runtime in the
//! process a dummy stands in, which costs less than asking.

use core::ffi::c_void;

/// `__cxa_eh_globals`: the Itanium C++ ABI fixes its layout.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Exceptions {
    pub caught: *mut c_void,
    pub uncaught: u32,
}

impl Exceptions {
    pub const NONE: Exceptions = Exceptions { caught: core::ptr::null_mut(), uncaught: 0 };

    #[inline(always)]
    pub fn is_none(&self) -> bool {
        self.caught.addr() | self.uncaught as usize == 0 // One jump.
    }
}

/// In the place of a thread's, for who asks `is_none` for other reasons, too.
struct Constant(Exceptions);

// SAFETY: never written, and its pointer never followed.
unsafe impl Sync for Constant {}

static SOME: Constant = Constant(Exceptions { caught: core::ptr::null_mut(), uncaught: 1 });

impl Exceptions {
    /// Of which there are some.
    pub(crate) const SOME: *const Exceptions = &raw const SOME.0;
}

extern "C" {
    /// cpp/cxa_globals.cpp: `__cxa_get_globals()` of the calling thread, or null.
    fn monad_async_cxa_globals() -> *mut c_void;
}

/// The calling thread's, valid as long as the thread; null without a C++ runtime.
pub(crate) fn of_this_thread() -> *mut Exceptions {
    // SAFETY: no preconditions.
    unsafe { monad_async_cxa_globals().cast() }
}
