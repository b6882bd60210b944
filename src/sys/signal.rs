//! A signal that the library sends to a thread of the process, and catches. What is not ours goes
//! to the handler that was there before.

use core::ffi::{c_int, c_void};
use core::mem::zeroed;
use core::ptr::{null, null_mut};
use core::sync::atomic::{
    AtomicPtr, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::error::{Errno, Res};

/// By which a thread is asked for the backtrace of its task. Ignored by default.
pub const BACKTRACE: c_int = libc::SIGURG;

/// How often ours is installed anew, above handlers that were installed since.
const TIMES: usize = 8;

/// The function that is asked first.
static FIRST: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static INSTALLED: AtomicUsize = AtomicUsize::new(0);
/// Of the handler before each of ours: address and flags.
static PREVIOUS: [AtomicUsize; TIMES] = [const { AtomicUsize::new(libc::SIG_DFL) }; TIMES];
static PREVIOUS_FLAGS: [AtomicUsize; TIMES] = [const { AtomicUsize::new(0) }; TIMES];

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// A function each time: a handler that was installed since may pass signals on to the one before,
/// which is ours. Were the one above it the same, each would pass them on to the other for ever.
const OURS: [Handler; TIMES] = [
    on_signal::<0>,
    on_signal::<1>,
    on_signal::<2>,
    on_signal::<3>,
    on_signal::<4>,
    on_signal::<5>,
    on_signal::<6>,
    on_signal::<7>,
];

/// `first` says whether the signal was ours. Where ours is installed already, and is the last,
/// nothing is changed; nor after `TIMES`. On the alternate stack, where the thread has one; system
/// calls that can be are restarted. One caller at a time.
pub fn catch(signal: c_int, first: fn() -> bool) -> Res<()> {
    FIRST.store(first as *mut c_void, Release);
    // SAFETY: all zeros is a valid sigaction; sigaction reads and writes only those given, and
    // ours have the signature that SA_SIGINFO asks for.
    unsafe {
        let mut previous: libc::sigaction = zeroed();
        if libc::sigaction(signal, null(), &mut previous) != 0 {
            return Err(Errno::last());
        }
        let n = INSTALLED.load(Relaxed);
        let is_ours = OURS.iter().any(|&ours| previous.sa_sigaction == ours as usize);
        if is_ours || n == TIMES {
            return Ok(());
        }
        PREVIOUS[n].store(previous.sa_sigaction, Relaxed);
        PREVIOUS_FLAGS[n].store(previous.sa_flags as usize, Relaxed);
        let mut ours: libc::sigaction = zeroed();
        ours.sa_sigaction = OURS[n] as usize;
        ours.sa_mask = previous.sa_mask;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        if libc::sigaction(signal, &ours, null_mut()) != 0 {
            return Err(Errno::last());
        }
        INSTALLED.store(n + 1, Relaxed);
    }
    Ok(())
}

/// The calling thread, which may have it blocked, takes it from now on.
pub fn take(signal: c_int) {
    // SAFETY: zeros are room for a set, which the first call fills in; the rest concerns the
    // calling thread, and fails for no signal that there is.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, null_mut());
    }
}

/// To a thread of this process, by the kernel's number.
pub fn send(thread: u64, signal: c_int) -> Res<()> {
    let sent = super::fd::quietly(|| {
        // SAFETY: plain numbers.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread as c_int, signal) as c_int }
    });
    sent.map(drop)
}

extern "C" fn on_signal<const N: usize>(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    // SAFETY: the C library's pointer to this thread's errno is valid for the thread's life.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let saved = unsafe { *errno };
    let first = FIRST.load(Acquire);
    // SAFETY: null, or stored by `catch`.
    let ours =
        !first.is_null() && unsafe { core::mem::transmute::<*mut c_void, fn() -> bool>(first)() };
    let previous = PREVIOUS[N].load(Relaxed);
    if !ours && ![libc::SIG_DFL, libc::SIG_IGN].contains(&previous) {
        let with_info = PREVIOUS_FLAGS[N].load(Relaxed) & libc::SA_SIGINFO as usize != 0;
        type Plain = extern "C" fn(c_int);
        // SAFETY: the address of a handler, of the type that its flags say.
        unsafe {
            if with_info {
                core::mem::transmute::<usize, Handler>(previous)(signal, info, context);
            } else {
                core::mem::transmute::<usize, Plain>(previous)(signal);
            }
        }
    }
    // SAFETY: as above.
    unsafe { *errno = saved };
}
