//! The ring against the running kernel, on every rung of the setup ladder: submission, completion,
//! time. Where the machine has no io_uring, the tests say so and are counted.

mod rings;
#[path = "support/skip.rs"]
mod skip;

use monad_async::error::Errno;
use monad_async::uring::kernel::{Kernel, Sqe, Wait};
use monad_async::uring::mask;
use monad_async::uring::RingOptions;
use rings::*;

#[test]
fn nops_complete_in_order_through_a_queue_of_two() {
    on_every_rung(2, |k| {
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
        let mut read = Sqe::new(READ, rx, u64::MAX, into.as_mut_ptr() as u64, 1, 0);
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

#[test]
fn the_config_string_tells_what_was_dropped() {
    let Some(k) = ring(RingOptions { entries: 5, ..Default::default() }) else { return };
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
