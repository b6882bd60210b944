//! The ring against the running kernel: what the executor relies on, on every rung of the setup
//! ladder. Where the machine has no io_uring the tests that need it say so and are counted.

use monad_async::error::Errno;
use monad_async::sys::kernel::{Cqe, Kernel, Sqe, Wait};
use monad_async::sys::mask;
use monad_async::sys::ring::{RealKernel, RingOptions};

const NOP: u8 = 0;
const MS: u64 = 1_000_000;

/// All bits, each bit, and none.
fn masks() -> impl Iterator<Item = u32> {
    let each = (0..32).map(|b| 1 << b).filter(|b| mask::ALL & b != 0);
    [0, mask::ALL].into_iter().chain(each)
}

fn ring(o: RingOptions) -> Option<RealKernel> {
    static SKIPPED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    match RealKernel::new(&o) {
        Ok(k) => Some(k),
        Err(e) if matches!(e.errno.0, libc::ENOSYS | libc::EPERM) => {
            let n = SKIPPED.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            eprintln!("SKIPPED ({n} so far): no io_uring here: {}", e.text);
            None
        }
        Err(e) => panic!("{o:?}: {e:?}"),
    }
}

fn nop(user_data: u64) -> Sqe {
    let mut sqe = Sqe::new(NOP, -1, 0, 0, 0, 0);
    sqe.set_user_data(user_data);
    sqe
}

/// Pushes an entry that refers to no memory, making room first if there is none.
fn push(k: &RealKernel, sqe: &Sqe) {
    while k.sq_space() == 0 {
        k.enter(Wait::No).unwrap();
    }
    // SAFETY: the tests' entries refer to no memory.
    unsafe { k.push(sqe) }
}

/// Takes completions until there are `n`, sleeping where there is nothing else to do.
fn reap(k: &RealKernel, n: usize) -> Vec<Cqe> {
    let mut got = Vec::new();
    while got.len() < n {
        match k.pop() {
            Some(cqe) => got.push(cqe),
            None if k.needs_enter() => k.enter(Wait::No).unwrap(),
            None => match k.enter(Wait::Forever) {
                Ok(()) | Err(Errno(libc::EINTR)) => {}
                Err(e) => panic!("{e}"),
            },
        }
    }
    got
}

#[test]
fn nops_complete_in_order_through_a_queue_of_two() {
    for mask in masks() {
        let Some(k) = ring(RingOptions { entries: 2, mask, ..Default::default() }) else { return };
        assert_eq!((k.sq_space(), k.sq_pending()), (2, 0), "the wake-up poll takes no entry");
        for i in 0..100 {
            push(&k, &nop(i));
        }
        let got: Vec<u64> = reap(&k, 100).iter().map(|c| c.user_data).collect();
        assert_eq!(got, (0..100).collect::<Vec<_>>(), "mask {mask:#x}");
        assert_eq!(k.pop(), None);
    }
}

#[test]
fn nothing_is_lost_when_the_completion_queue_overflows() {
    for mask in masks() {
        let Some(k) = ring(RingOptions { entries: 64, mask, ..Default::default() }) else { return };
        for i in 0..3000 {
            push(&k, &nop(i));
        }
        k.enter(Wait::No).unwrap();
        let mut got: Vec<u64> = reap(&k, 3000).iter().map(|c| c.user_data).collect();
        got.sort_unstable();
        assert_eq!(got, (0..3000).collect::<Vec<_>>(), "mask {mask:#x}");
        assert_eq!(k.sq_pending(), 0);
        assert!(!k.needs_enter());
    }
}

#[test]
fn a_sleep_ends_at_its_time_and_not_before() {
    for mask in masks() {
        let Some(k) = ring(RingOptions { entries: 4, mask, ..Default::default() }) else { return };
        for ms in [0, 1, 3, 20] {
            let deadline = k.now_boot_ns() + ms * MS;
            // Nothing else is in flight, so nothing else ends the sleep; a signal would.
            while k.enter(Wait::Until { boot_ns: deadline }) == Err(Errno(libc::EINTR)) {}
            assert!(k.now_boot_ns() >= deadline, "mask {mask:#x}: early");
        }
        let past = k.now_boot_ns() - MS;
        k.enter(Wait::Until { boot_ns: past }).unwrap();
        k.enter(Wait::Until { boot_ns: 0 }).unwrap();
    }
}
