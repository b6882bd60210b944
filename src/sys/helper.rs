//! Threads that the library makes for itself. They take none of the program's signals, but those
//! that a fault of their own raises and that of profilers.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Errno, Res};

const KEPT: [libc::c_int; 8] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
    libc::SIGPROF,
];

/// What resolvers and the like need; only what is touched becomes memory.
const STACK_BYTES: usize = 2 << 20;

/// Runs `f` on a new thread, which nobody joins. EXPENSIVE. EAGAIN: no more threads; ENOMEM.
pub fn spawn(name: &str, f: impl FnOnce() + Send + 'static) -> Res<()> {
    stay_loaded();
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the sets are ours, and `sigfillset` initialises the one that is read. The new thread
    // begins with the mask of the one that makes it.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        for signal in KEPT {
            libc::sigdelset(all.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
    }
    let made = std::thread::Builder::new().name(name.into()).stack_size(STACK_BYTES).spawn(f);
    // SAFETY: written by the call above, which fails for no valid `how`.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    made.map(drop).map_err(Errno::from)
}

/// A plugin with the archive inside must not be unloaded under a thread that sleeps in its code. So
/// from its first helper on it never is, as the shared library never is.
fn stay_loaded() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.load(Ordering::Relaxed) {
        return;
    }
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    let here = stay_loaded as fn() as *const c_void;
    // SAFETY: any address may be asked for; zeros are a valid `Dl_info`. The name is the loader's.
    // Of a program itself nothing comes, or a handle that is never closed.
    unsafe {
        if libc::dladdr(here, info.as_mut_ptr()) != 0 {
            let flags = libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
            let name = info.assume_init().dli_fname;
            if !name.is_null() {
                libc::dlopen(name, flags);
            }
        }
    }
    DONE.store(true, Ordering::Relaxed);
}
