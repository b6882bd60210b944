//! Threads that the library makes for itself. They take none of the program's signals, but those
//! that a fault of their own raises and that of profilers. They may run where who makes them may,
//! or might before the library pinned it.

use core::ffi::{c_void, CStr};
use core::mem::MaybeUninit;
use core::ptr;

use super::affinity::{self, Mask};
use super::alloc;
use crate::atomic::{AtomicBool, Ordering};
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
pub fn spawn<F: FnOnce() + Send + 'static>(name: &'static CStr, f: F) -> Res<()> {
    let start = alloc::try_box(Start { name, mask: affinity::before_pin(), f })?;
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
    let made = create(start);
    // SAFETY: written by the call above, which fails for no valid `how`.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    made
}

struct Start<F> {
    name: &'static CStr,
    mask: Option<Mask>,
    f: F,
}

/// Not by `std::thread`, which would take twice our own thread-local storage in every program.
fn create<F: FnOnce()>(start: Box<Start<F>>) -> Res<()> {
    let mut attr = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    // SAFETY: the attributes are initialised first, and destroyed; both values set are valid. What
    // `start` points to is the new thread's; where there is none it is taken back.
    unsafe {
        if libc::pthread_attr_init(attr.as_mut_ptr()) != 0 {
            return Err(Errno(libc::ENOMEM));
        }
        let start = Box::into_raw(start);
        libc::pthread_attr_setstacksize(attr.as_mut_ptr(), STACK_BYTES);
        libc::pthread_attr_setdetachstate(attr.as_mut_ptr(), libc::PTHREAD_CREATE_DETACHED);
        let r = libc::pthread_create(thread.as_mut_ptr(), attr.as_ptr(), begin::<F>, start.cast());
        libc::pthread_attr_destroy(attr.as_mut_ptr());
        if r != 0 {
            drop(Box::from_raw(start));
            return Err(Errno(r));
        }
    }
    Ok(())
}

/// A panic that leaves `f` aborts, as every one does that would leave a C function.
extern "C" fn begin<F: FnOnce()>(start: *mut c_void) -> *mut c_void {
    // SAFETY: `create` gave it to this thread alone.
    let start = unsafe { *Box::from_raw(start.cast::<Start<F>>()) };
    // SAFETY: the thread's own, and a string.
    unsafe { libc::pthread_setname_np(libc::pthread_self(), start.name.as_ptr()) };
    if let Some(mask) = start.mask {
        let _ = mask.adopt(); // What it might use may be taken away by now.
    }
    (start.f)();
    ptr::null_mut()
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
