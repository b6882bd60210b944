//! A signal that the library sends to a thread of the process, and catches. What is not ours goes
//! to the handler that was there before.

use core::ffi::{c_int, c_void};
use core::mem::zeroed;
use core::ptr::{null, null_mut};
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::error::{Errno, Res};

/// The function that is asked first; of the handler before ours, address and flags; and whether
/// ours was ever installed.
static FIRST: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static PREVIOUS: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
static PREVIOUS_FLAGS: AtomicUsize = AtomicUsize::new(0);
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// `first` says whether the signal was ours. Once: a later call leaves it as it is, also behind a
/// handler that was installed since and may pass signals on to ours: behind that again, each would
/// pass them on to the other for ever. On the alternate stack, where the thread has one; system
/// calls that can be are restarted.
pub fn catch(signal: c_int, first: fn() -> bool) -> Res<()> {
    FIRST.store(first as *mut c_void, Release);
    // SAFETY: all zeros is a valid sigaction; sigaction reads and writes only those given, and
    // `on_signal` has the signature that SA_SIGINFO asks for.
    unsafe {
        let mut previous: libc::sigaction = zeroed();
        if libc::sigaction(signal, null(), &mut previous) != 0 {
            return Err(Errno::last());
        }
        let is_ours = previous.sa_sigaction == on_signal as *const () as usize;
        let passes_on = ![libc::SIG_DFL, libc::SIG_IGN].contains(&previous.sa_sigaction);
        if is_ours || (passes_on && INSTALLED.load(Relaxed)) {
            return Ok(());
        }
        PREVIOUS.store(previous.sa_sigaction, Relaxed);
        PREVIOUS_FLAGS.store(previous.sa_flags as usize, Relaxed);
        let mut ours: libc::sigaction = zeroed();
        ours.sa_sigaction = on_signal as *const () as usize;
        ours.sa_mask = previous.sa_mask;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        if libc::sigaction(signal, &ours, null_mut()) != 0 {
            return Err(Errno::last());
        }
        INSTALLED.store(true, Relaxed);
    }
    Ok(())
}

/// To a thread of this process, by the kernel's number.
pub fn send(thread: u64, signal: c_int) -> Res<()> {
    let sent = super::fd::quietly(|| {
        // SAFETY: plain numbers.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread as c_int, signal) as c_int }
    });
    sent.map(drop)
}

extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the C library's pointer to this thread's errno is valid for the thread's life.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let saved = unsafe { *errno };
    let first = FIRST.load(Acquire);
    // SAFETY: null, or stored by `catch`.
    let ours =
        !first.is_null() && unsafe { core::mem::transmute::<*mut c_void, fn() -> bool>(first)() };
    let previous = PREVIOUS.load(Relaxed);
    if !ours && ![libc::SIG_DFL, libc::SIG_IGN].contains(&previous) {
        let with_info = PREVIOUS_FLAGS.load(Relaxed) & libc::SA_SIGINFO as usize != 0;
        type Plain = extern "C" fn(c_int);
        type Full = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
        // SAFETY: the address of a handler, of the type that its flags say.
        unsafe {
            if with_info {
                core::mem::transmute::<usize, Full>(previous)(signal, info, context);
            } else {
                core::mem::transmute::<usize, Plain>(previous)(signal);
            }
        }
    }
    // SAFETY: as above.
    unsafe { *errno = saved };
}
