//! The ring against the running kernel, on every rung of the setup ladder: submission, completion,
//! time. Where the machine has no io_uring, the tests say so and are counted.

#[path = "../support/mod.rs"]
mod support;

use monad_async::error::Errno;
use monad_async::uring::abi::{file, op, register, sqe};
use monad_async::uring::kernel::{Kernel, Sqe, Wait};
use monad_async::uring::mask;
use monad_async::uring::RingOptions;
use support::rings::*;

#[test]
fn nops_complete_in_order_through_a_queue_of_two() {
    on_every_rung(2, |k| {
        // An older one puts what overflowed behind what completes while it takes that back; before
        // 5.18, as below.
        if lacks("6.0") {
            return;
        }
        assert_eq!((k.sq_space(), k.sq_pending()), (2, 0), "the wake-up poll takes no entry");
        for i in 0..100 {
            push(k, &nop(i));
        }
        let got: Vec<u64> = reap(k, 100).iter().map(|c| c.user_data).collect();
        assert_eq!(got, (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn nothing_is_lost_when_the_completion_queue_overflows() {
    on_every_rung(64, |k| {
        // An older one takes no entries while completions wait outside of the queue.
        if lacks("5.18") {
            return;
        }
        for i in 0..3000 {
            push(k, &nop(i));
        }
        k.enter(Wait::No).unwrap();
        assert_eq!(user_data(&reap(k, 3000)), (0..3000).collect::<Vec<_>>());
        assert_eq!(k.sq_pending(), 0);
        assert!(!k.needs_enter());
    });
}

/// An executor that has enough to run never sleeps, and asks only where it is told to.
#[test]
fn what_overflowed_is_announced() {
    on_every_rung(64, |k| {
        // An older one takes no entries while completions wait outside of the queue.
        if lacks("5.18") {
            return;
        }
        for i in 0..400 {
            push(k, &nop(i));
        }
        k.enter(Wait::No).unwrap();
        let mut got = 0;
        loop {
            match k.pop() {
                Some(_) => got += 1,
                None if k.needs_enter() => k.enter(Wait::No).unwrap(),
                None => break,
            }
        }
        assert_eq!(got, 400);
    });
}

#[test]
fn a_sleep_ends_at_its_time_and_not_before() {
    on_every_rung(4, |k| {
        // An older one counts in ticks of its own, and is up to one early.
        if lacks("5.18") {
            return;
        }
        for ms in [0, 1, 3, 20] {
            let deadline = k.now_boot_ns() + ms * MS;
            // Nothing else is in flight, so nothing else ends the sleep; a signal would.
            while k.enter(Wait::Until { boot_ns: deadline }) == Err(Errno(libc::EINTR)) {}
            assert!(k.now_boot_ns() >= deadline, "early");
        }
        let past = k.now_boot_ns() - MS;
        k.enter(Wait::Until { boot_ns: past }).unwrap();
        k.enter(Wait::Until { boot_ns: 0 }).unwrap();
    });
}

/// Task work that the kernel holds back until an `enter` has to be announced, or has to be visible
/// without: a completion that comes from elsewhere, while this thread makes no system call.
#[test]
fn what_completes_meanwhile_is_visible_or_announced() {
    static BYTE: [u8; 1] = [0];
    on_every_rung(4, |k| {
        let (rx, tx) = pipe();
        let into = Box::leak(Box::new([0u8; 1]));
        let mut read = Sqe::new(op::READ, rx, u64::MAX, into.as_mut_ptr() as u64, 1, 0);
        read.set_user_data(5);
        push(k, &read);
        k.enter(Wait::No).unwrap();
        assert_eq!(k.pop(), None);
        let cqe = std::thread::scope(|s| {
            s.spawn(|| {
                // SAFETY: writes one static byte.
                assert_eq!(unsafe { libc::write(tx, BYTE.as_ptr().cast(), 1) }, 1);
            });
            loop {
                match k.pop() {
                    Some(cqe) => break cqe,
                    None if k.needs_enter() => k.enter(Wait::No).unwrap(),
                    None => std::hint::spin_loop(),
                }
            }
        });
        assert_eq!((cqe.user_data, cqe.res), (5, 1));
        close([rx, tx]);
    });
}

/// A thread registers sixteen ring descriptors; those beyond do without, and dropping a ring makes
/// room.
#[test]
fn a_thread_can_have_more_rings_than_it_can_register() {
    let o = RingOptions { entries: 4, ..Default::default() };
    let Some(_one) = ring(o) else { return };
    if lacks("5.18") {
        return;
    }
    for _ in 0..3 {
        let rings: Vec<_> = (0..20).map(|_| ring(o).unwrap()).collect();
        let registered = |k: &&_| RealKernel::config(k).contains("registered_ring");
        assert_eq!(rings.iter().filter(registered).count(), 15, "{}", rings[19].config());
        for k in &rings {
            push(k, &nop(9));
            assert_eq!(reap(k, 1)[0].user_data, 9);
        }
    }
}

/// As `wanted` of the two kinds, the kernel's limits on its workers for this thread.
fn max_workers(k: &RealKernel, mut wanted: [u32; 2]) -> [u32; 2] {
    let (fd, what) = (k.real_ring_fd(), register::IOWQ_MAX_WORKERS);
    // SAFETY: reads and writes two numbers of our own.
    let rc =
        unsafe { libc::syscall(libc::SYS_io_uring_register, fd, what, wanted.as_mut_ptr(), 2) };
    assert_eq!(rc, 0, "{}", std::io::Error::last_os_error());
    wanted
}

#[test]
fn the_kernels_workers_are_as_few_as_asked_for() {
    let o = RingOptions { entries: 4, ..Default::default() };
    let Some(k) = ring(o) else { return };
    if lacks("5.18") {
        return; // It would wait for what is in flight.
    }
    // Both zero: asks.
    let [files, others] = max_workers(&k, [0, 0]);
    drop(k);
    for most in [[1, 2], [0, 3], [2, 0], [0, 0]] {
        let k = ring(RingOptions { max_kernel_workers: most, ..o }).unwrap();
        let is = max_workers(&k, [0, 0]);
        for (is, want) in is.into_iter().zip(most) {
            assert!(want == 0 || is == want, "{is} of {most:?}");
        }
        push(&k, &nop(1));
        assert_eq!(reap(&k, 1)[0].user_data, 1);
        max_workers(&k, [files, others]);
    }
}

/// The direct descriptor that the kernel picks for `/`, or its negative errno.
fn open_direct(k: &RealKernel) -> i32 {
    let root = c"/".as_ptr() as u64;
    let mut open = Sqe::new(op::OPENAT, libc::AT_FDCWD, 0, root, 0, 0);
    open.0[5] = u64::from(file::INDEX_ALLOC) << 32;
    push(k, &open);
    reap(k, 1)[0].res
}

#[test]
fn a_table_of_direct_descriptors_has_the_places_asked_for() {
    for direct_descriptors in [1, 3, 64] {
        let o = RingOptions { entries: 4, direct_descriptors, ..Default::default() };
        let Some(k) = ring(o) else { return };
        for place in 0..direct_descriptors {
            assert_eq!(open_direct(&k), place as i32);
        }
        assert_eq!(open_direct(&k), -libc::ENFILE);
        // One of them, as an operation names it.
        let mut fsync = Sqe::new(op::FSYNC, 0, 0, 0, 0, 0);
        fsync.0[0] |= u64::from(sqe::FIXED_FILE) << 8;
        push(&k, &fsync);
        assert_eq!(reap(&k, 1)[0].res, 0);
    }
    let k = ring(RingOptions { entries: 4, ..Default::default() }).unwrap();
    assert_eq!(open_direct(&k), -libc::ENFILE, "none were asked for");
}

#[test]
fn the_config_string_tells_what_was_dropped() {
    let Some(k) = ring(RingOptions { entries: 5, ..Default::default() }) else { return };
    if lacks("6.1") {
        return;
    }
    let config = k.config();
    assert!(config.contains("ring: 8 submission entries, 16 completion entries"), "{config}");
    eprintln!("{config}");
    let mask = mask::ALL;
    let k = ring(RingOptions { entries: 5, mask, ..Default::default() }).unwrap();
    let config = k.config();
    for name in ["DEFER_TASKRUN (masked)", "registered ring (masked)", "in slices", "one-shot"] {
        assert!(config.contains(name), "{name}: {config}");
    }
    assert!(config.contains("\nflags: \n"), "{config}");
    // What stands on the flags that are gone goes too, and says why.
    let mask = mask::SINGLE_ISSUER;
    let config =
        ring(RingOptions { entries: 5, mask, ..Default::default() }).unwrap().config().to_owned();
    assert!(config.contains("DEFER_TASKRUN (needs"), "{config}");
    assert!(config.contains("COOP_TASKRUN"), "{config}");
}

use monad_async::uring::RealKernel;

fn pipe() -> (i32, i32) {
    let mut fds = [0; 2];
    // SAFETY: fills in two descriptors of our own.
    assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    (fds[0], fds[1])
}

fn close(fds: [i32; 2]) {
    for fd in fds {
        // SAFETY: the test's own descriptor.
        unsafe { libc::close(fd) };
    }
}
