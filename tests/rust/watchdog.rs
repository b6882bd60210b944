//! The watchdog's handler with another one that passes signals on to it, as runtimes of other
//! languages have them.

#[path = "../support/mod.rs"]
mod support;

use monad_async::capi::watchdog::{monad_async_watchdog_start, monad_async_watchdog_stop};
use std::mem::zeroed;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use support::child::alone;

static BEFORE: AtomicUsize = AtomicUsize::new(0);
static COUNT: AtomicU32 = AtomicU32::new(0);

extern "C" fn passes_on(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    if COUNT.fetch_add(1, SeqCst) == 100 {
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(9) };
    }
    type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
    // SAFETY: the handler that was there, of that type.
    unsafe { std::mem::transmute::<usize, Handler>(BEFORE.load(SeqCst))(signal, info, context) };
}

fn start() {
    // SAFETY: no callback.
    assert_eq!(unsafe { monad_async_watchdog_start(1_000_000_000, None) }.error, 0);
}

/// Each passed the signal on to the other, until the stack was full.
#[test]
fn a_handler_between_two_starts_is_no_circle() {
    alone("a_handler_between_two_starts_is_no_circle", || {
        start();
        assert_eq!(monad_async_watchdog_stop().error, 0);
        // SAFETY: zeros are an action; ours to read and write.
        unsafe {
            let (mut ours, mut before): (libc::sigaction, libc::sigaction) = (zeroed(), zeroed());
            ours.sa_sigaction = passes_on as *const () as usize;
            ours.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(libc::SIGURG, null(), &mut before), 0);
            BEFORE.store(before.sa_sigaction, SeqCst);
            assert_eq!(libc::sigaction(libc::SIGURG, &ours, null_mut()), 0);
        }
        start();
        // SAFETY: no preconditions.
        assert_eq!(unsafe { libc::raise(libc::SIGURG) }, 0);
        assert_eq!(COUNT.load(SeqCst), 1);
        assert_eq!(monad_async_watchdog_stop().error, 0);
    });
}
