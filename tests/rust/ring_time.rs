//! Waits against the clock: in time namespaces, whose boot time is not the host's (every container
//! that CRIU restores is in one), and waits longer than the kernel can count.

#[path = "../support/mod.rs"]
mod support;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use monad_async::error::Errno;
use monad_async::uring::kernel::{Kernel, Wait};
use monad_async::uring::{mask, RealKernel, RingOptions};
use support::child::alone;
use support::rings::*;
use support::skip::skip;

/// Not for Linux in common C libraries.
const CLONE_NEWTIME: libc::c_int = 0x80;

/// Without a ring, and with one whose kernel counts waits on either clock.
fn on_every_clock(test: impl Fn(&RealKernel)) {
    let compute_only = RingOptions::default();
    let boot = RingOptions { entries: 4, ..compute_only };
    let monotonic = RingOptions { mask: mask::BOOT_CLOCK, ..boot };
    for options in [compute_only, boot, monotonic] {
        let Some(k) = ring(options) else { return };
        println!("{}", k.config());
        test(&k);
    }
}

/// Nothing but the wake-up ends waits of an hour, and of all that 64 bits can say. The kernel's sum
/// of its clock and the longest ones is in the past: the sleeper spun.
fn long_waits_last() {
    on_every_clock(|k| {
        let now_ns = k.now_boot_ns();
        let left_ns = [3_600_000_000_000, (1 << 63) - 1, 1 << 63, u64::MAX];
        for boot_ns in left_ns.map(|ns: u64| now_ns.saturating_add(ns)).into_iter().chain([1 << 63])
        {
            let (waker, woken) = (k.waker(), AtomicBool::new(false));
            std::thread::scope(|s| {
                s.spawn(|| {
                    std::thread::sleep(Duration::from_millis(100));
                    woken.store(true, Ordering::Release);
                    waker.wake();
                });
                enter(k, Wait::Until { boot_ns });
                assert!(woken.load(Ordering::Acquire), "the wait until {boot_ns} ns ends early");
            });
            assert_eq!(k.pop(), None);
        }
    });
}

/// A wait of 30 ms is over before two seconds are, which a thread counts on another clock: it ends
/// the wait then, and the test says so.
fn short_waits_end() {
    on_every_clock(|k| {
        let (waker, over) = (k.waker(), Arc::new(AtomicBool::new(false)));
        let shared = over.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(2));
            if !shared.swap(true, Ordering::AcqRel) {
                waker.wake();
            }
        });
        let enters = sleep_until(k, k.now_boot_ns() + 30 * MS);
        assert!(enters <= 20, "{enters}: the sleeper does not come to rest");
        assert!(!over.swap(true, Ordering::AcqRel), "30 ms take longer than two seconds");
    });
}

#[test]
fn waits_longer_than_the_kernel_counts_end_by_a_wake_up_only() {
    long_waits_last();
}

const FAILED: i32 = 101;

/// Runs `f` in a forked child: what it returned, or FAILED.
fn forked(f: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child leaves by `_exit`, and does nothing that another thread's locks could stop:
    // glibc frees those of its allocator.
    unsafe {
        match libc::fork() {
            0 => libc::_exit(catch_unwind(AssertUnwindSafe(f)).unwrap_or(FAILED)),
            child => {
                let mut status = 0;
                assert_eq!(libc::waitpid(child, &mut status, 0), child);
                if libc::WIFEXITED(status) {
                    libc::WEXITSTATUS(status)
                } else {
                    FAILED
                }
            }
        }
    }
}

/// Runs `test` where the boot time is `offset_s` more than the host's: 0, FAILED, or the errno for
/// which there is no such place.
fn in_a_namespace(offset_s: i64, test: fn()) -> i32 {
    let errno = || std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    forked(|| {
        // SAFETY: concerns the children of this process, which has none.
        if unsafe { libc::unshare(CLONE_NEWTIME) } != 0 {
            return errno();
        }
        let offsets = format!("boottime {offset_s} 0\n");
        if let Err(e) = std::fs::write("/proc/self/timens_offsets", offsets) {
            return e.raw_os_error().unwrap_or(libc::EIO);
        }
        forked(|| {
            test();
            0
        })
    })
}

fn in_each_namespace(test: fn()) {
    for offset_s in [3, 1_000_000, -60] {
        println!("offset {offset_s} s");
        match in_a_namespace(offset_s, test) {
            0 => {}
            FAILED => panic!("with an offset of {offset_s} s"),
            // Not for everybody, before Linux 5.6, or the host has been up for less than a minute.
            errno => skip(format_args!("no time namespace with {offset_s} s: {}", Errno(errno))),
        }
    }
}

#[test]
fn short_waits_are_right_in_time_namespaces() {
    alone("short_waits_are_right_in_time_namespaces", || in_each_namespace(short_waits_end));
}

#[test]
fn long_waits_are_right_in_time_namespaces() {
    alone("long_waits_are_right_in_time_namespaces", || in_each_namespace(long_waits_last));
}
