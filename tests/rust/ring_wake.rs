//! Waking a sleeping kernel object: from other threads, from signal handlers, before the sleep,
//! while it is busy, and after somebody has cancelled the poll. With a ring on every rung of the
//! setup ladder, and without one.

#[path = "../support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use monad_async::error::Errno;
use monad_async::uring::abi::{cancel, op};
use monad_async::uring::kernel::{Kernel, Sqe, Wait, Waker};
use monad_async::uring::{RealKernel, RingOptions};
use support::rings::*;

/// With every ring, and without one.
fn on_every_kind(test: impl Fn(&RealKernel)) {
    let k = RealKernel::new(&RingOptions::default()).unwrap();
    eprintln!("compute only");
    test(&k);
    on_every_rung(4, test);
}

#[test]
fn a_thread_wakes_a_sleeper_again_and_again() {
    on_every_kind(|k| {
        let (waker, sent, seen) = (k.waker(), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|s| {
            s.spawn(|| {
                for n in 1..=300 {
                    // Varied, so that wakes fall before, in and after the way into the sleep.
                    if n % 3 == 0 {
                        std::thread::sleep(Duration::from_micros(n));
                    }
                    sent.store(n, Ordering::Release);
                    waker.wake();
                    while seen.load(Ordering::Acquire) < n {
                        std::thread::yield_now();
                    }
                }
            });
            while seen.load(Ordering::Relaxed) < 300 {
                enter(k, Wait::Forever);
                assert_eq!(k.pop(), None);
                seen.store(sent.load(Ordering::Acquire), Ordering::Release);
            }
        });
    });
}

/// Also if its completion was taken by the way before, by an `enter` that did not sleep.
#[test]
fn a_wake_before_the_sleep_ends_the_sleep() {
    on_every_kind(|k| {
        for looks in 0..3 {
            for wakes in 1..3 {
                for _ in 0..wakes {
                    k.waker().wake();
                }
                for _ in 0..looks {
                    k.enter(Wait::No).unwrap();
                    assert_eq!(k.pop(), None);
                }
                k.enter(Wait::Forever).unwrap();
                assert_eq!(k.pop(), None);
            }
        }
    });
}

/// The completion that ended the sleep is taken only now, and with it what the eventfd counted.
#[test]
fn a_wake_between_the_end_of_a_sleep_and_the_look_at_its_completion_counts() {
    on_every_kind(|k| {
        for _ in 0..3 {
            k.waker().wake();
            k.enter(Wait::Forever).unwrap();
            k.waker().wake();
            assert_eq!(k.pop(), None);
            k.enter(Wait::Forever).unwrap();
            assert_eq!(k.pop(), None);
        }
    });
}

/// Nobody reads the eventfd of a multishot poll: its counter must not end every later sleep.
#[test]
fn after_a_wake_the_sleeper_comes_to_rest() {
    on_every_kind(|k| {
        for _ in 0..5 {
            k.waker().wake();
        }
        k.enter(Wait::Forever).unwrap();
        assert_eq!(k.pop(), None);
        let enters = sleep_until(k, k.now_boot_ns() + 30 * MS);
        assert!(enters <= 20, "{enters}");
    });
}

/// A wake that has ended a sleep is used up: the next sleep is not cut short by it.
#[test]
fn a_wake_ends_one_sleep() {
    on_every_kind(|k| {
        // An older one counts the time in ticks of its own, and is up to one early.
        if lacks("5.18") {
            return;
        }
        k.waker().wake();
        k.enter(Wait::Forever).unwrap();
        assert_eq!(k.pop(), None);
        // Not at all where the thread was not let run for so long.
        let mut enters = (1..).map(|n| sleep_until(k, k.now_boot_ns() + n * 5 * MS));
        assert_eq!(enters.find(|&n| n != 0), Some(1));
    });
}

#[test]
fn a_flood_of_wakes_loses_no_completion_and_ends() {
    on_every_kind(|k| {
        let (waker, done) = (k.waker(), AtomicBool::new(false));
        std::thread::scope(|s| {
            s.spawn(|| {
                for _ in 0..20_000 {
                    waker.wake();
                }
                done.store(true, Ordering::Release);
                waker.wake();
            });
            let mut n = 0;
            while !done.load(Ordering::Acquire) {
                if k.has_ring() {
                    push(k, &nop(n));
                    assert_eq!(reap(k, 1)[0].user_data, n);
                    n += 1;
                } else {
                    enter(k, Wait::Forever);
                }
            }
        });
        let enters = sleep_until(k, k.now_boot_ns() + 30 * MS);
        assert!(enters <= 20, "{enters}: the sleeper does not come to rest");
    });
}

/// ASYNC_CANCEL of any request takes the poll with it. It has to be armed again before the next
/// sleep; on the way it may be that the queue is full, and that the counter is above zero already.
#[test]
fn a_wake_survives_the_cancellation_of_everything() {
    on_every_rung(1, |k| {
        if lacks("6.0") {
            return; // Nothing cancels all of them.
        }
        for n in 0..20 {
            let mut all = Sqe::new(op::ASYNC_CANCEL, -1, 0, 0, 0, cancel::ALL | cancel::ANY);
            all.set_user_data(1);
            push(k, &all);
            assert!(reap(k, 1)[0].res >= 0);
            if n % 2 == 0 {
                // The only entry is taken when the sleep wants to arm the poll.
                push(k, &nop(2));
                assert_eq!(user_data(&reap(k, 1)), [2]);
                push(k, &all);
                reap(k, 1);
            }
            let (waker, woken) = (k.waker(), AtomicBool::new(false));
            if n % 3 == 0 {
                waker.wake();
            }
            std::thread::scope(|s| {
                s.spawn(|| {
                    std::thread::sleep(Duration::from_millis(1));
                    woken.store(true, Ordering::Release);
                    waker.wake();
                });
                while !woken.load(Ordering::Acquire) {
                    enter(k, Wait::Forever);
                    assert_eq!(k.pop(), None);
                }
            });
        }
    });
}

static HANDLER_WAKES: AtomicI32 = AtomicI32::new(-1);
static HANDLER_RAN: AtomicBool = AtomicBool::new(false);

extern "C" fn wake_from_handler(_: i32) {
    HANDLER_RAN.store(true, Ordering::Release);
    Waker::of_eventfd(HANDLER_WAKES.load(Ordering::Acquire)).wake();
}

/// On whichever thread the signal runs: here it is the sleeper's, whose sleep it also interrupts.
#[test]
fn a_signal_handler_wakes() {
    // SAFETY: all zeroes is an empty sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = wake_from_handler as *const () as usize;
    // SAFETY: the handler is async-signal-safe; nothing else in this binary uses SIGUSR1.
    assert_eq!(unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) }, 0);
    // SAFETY: no preconditions.
    let sleeper = unsafe { libc::pthread_self() };
    on_every_kind(|k| {
        HANDLER_WAKES.store(k.waker().eventfd, Ordering::Release);
        HANDLER_RAN.store(false, Ordering::Release);
        let first = std::thread::scope(|s| {
            s.spawn(|| {
                std::thread::sleep(Duration::from_millis(2));
                // SAFETY: the sleeper waits for this thread.
                unsafe { libc::pthread_kill(sleeper, libc::SIGUSR1) };
            });
            let first = k.enter(Wait::Forever);
            assert!(matches!(first, Ok(()) | Err(Errno(libc::EINTR))), "{first:?}");
            assert!(HANDLER_RAN.load(Ordering::Acquire));
            first
        });
        // Should the interruption have come first, the wake still counts, for this one.
        if first.is_err() {
            enter(k, Wait::Forever);
        }
    });
}

#[test]
fn compute_only_sleeps_to_its_time_and_submits_nothing() {
    let k = RealKernel::new(&RingOptions::default()).unwrap();
    assert!(!k.has_ring());
    assert_eq!((k.sq_space(), k.sq_pending(), k.pop()), (0, 0, None));
    assert!(!k.needs_enter());
    assert_eq!(k.real_ring_fd(), -1);
    assert!(k.config().contains("compute only"), "{}", k.config());
    k.enter(Wait::No).unwrap();
    for ms in [0, 1, 20] {
        let deadline = k.now_boot_ns() + ms * MS;
        while k.enter(Wait::Until { boot_ns: deadline }) == Err(Errno(libc::EINTR)) {}
        assert!(k.now_boot_ns() >= deadline);
    }
    k.enter(Wait::Until { boot_ns: 0 }).unwrap();
}

/// A call of a task never touches errno: nor does a sleep that a signal ends.
#[test]
fn a_sleep_that_a_signal_ends_leaves_errno_alone() {
    extern "C" fn nothing(_: i32) {}
    // SAFETY: all zeroes is an empty sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    // SAFETY: the handler does nothing; nothing else in this binary uses SIGUSR2.
    assert_eq!(unsafe { libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut()) }, 0);
    // SAFETY: no preconditions.
    let sleeper = unsafe { libc::pthread_self() };
    on_every_kind(|k| {
        let over = AtomicBool::new(false);
        std::thread::scope(|s| {
            s.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    // SAFETY: the sleeper waits for this thread.
                    unsafe { libc::pthread_kill(sleeper, libc::SIGUSR2) };
                    std::thread::sleep(Duration::from_micros(100));
                }
            });
            // SAFETY: this thread's own.
            let errno = unsafe { &mut *libc::__errno_location() };
            *errno = 12345;
            let mut ended = 0;
            while ended != 3 {
                let boot_ns = k.now_boot_ns() + 1000 * MS;
                ended += i32::from(k.enter(Wait::Until { boot_ns }) == Err(Errno(libc::EINTR)));
            }
            while ended != 6 {
                ended += i32::from(k.enter(Wait::Forever) == Err(Errno(libc::EINTR)));
            }
            let left = std::mem::replace(errno, 0);
            over.store(true, Ordering::Release);
            assert_eq!(left, 12345);
        });
    });
}
