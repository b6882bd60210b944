//! What the tests of the ring share.
#![allow(dead_code)]

use super::skip;
use monad_async::error::Errno;
use monad_async::uring::abi::op;
use monad_async::uring::kernel::{Cqe, Kernel, Sqe, Wait};
use monad_async::uring::mask;
use monad_async::uring::{RealKernel, RingOptions};

pub const MS: u64 = 1_000_000;

/// None, all, each of them.
pub fn masks() -> impl Iterator<Item = u32> {
    let each = (0..32).map(|b| 1 << b).filter(|b| mask::ALL & b != 0);
    [0, mask::ALL].into_iter().chain(each)
}

/// `None` where the machine has no io_uring: the test is skipped.
pub fn ring(o: RingOptions) -> Option<RealKernel> {
    match RealKernel::new(&o) {
        Ok(k) => Some(k),
        Err(e) if matches!(e.errno.0, libc::ENOSYS | libc::EPERM) => {
            skip::skip(format_args!("no io_uring here: {}", e.text));
            None
        }
        Err(e) if e.text.contains(", which came with Linux") => {
            skip::skip(format_args!("an old kernel: {}", e.text));
            None
        }
        Err(e) => panic!("{o:?}: {e:?}"),
    }
}

/// `test` on a ring of `entries` for every mask; none of its completions may be left behind.
pub fn on_every_rung(entries: u32, test: impl Fn(&RealKernel)) {
    for mask in masks() {
        let Some(k) = ring(RingOptions { entries, mask, ..Default::default() }) else { return };
        eprintln!("mask {mask:#x}");
        test(&k);
        k.enter(Wait::No).unwrap();
        assert_eq!(k.pop(), None);
    }
}

pub fn nop(user_data: u64) -> Sqe {
    let mut sqe = Sqe::new(op::NOP, -1, 0, 0, 0, 0);
    sqe.set_user_data(user_data);
    sqe
}

/// Pushes an entry, making room first if there is none. What it refers to must be static.
pub fn push(k: &RealKernel, sqe: &Sqe) {
    while k.sq_space() == 0 {
        k.enter(Wait::No).unwrap();
    }
    // SAFETY: the tests' entries refer to no memory, or to memory that is leaked.
    unsafe { k.push(sqe) }
}

/// The kernel lacks what came with Linux `version`.
pub fn is_before(version: &str) -> bool {
    let Some(k) = ring(RingOptions { entries: 1, ..Default::default() }) else { return true };
    k.config().contains(&format!("refused by the kernel: came with Linux {version}"))
}

/// True: the same, and the rest of the test is skipped.
pub fn lacks(version: &str) -> bool {
    let lacks = is_before(version);
    if lacks {
        skip::skip(format_args!("a kernel before {version}"));
    }
    lacks
}

/// An `enter` whose interruption by a signal is of no interest.
pub fn enter(k: &RealKernel, wait: Wait) {
    match k.enter(wait) {
        Ok(()) | Err(Errno(libc::EINTR)) => {}
        Err(e) => panic!("{e}"),
    }
}

/// Takes completions until there are `n`, sleeping where there is nothing else to do.
pub fn reap(k: &RealKernel, n: usize) -> Vec<Cqe> {
    let mut got = Vec::new();
    while got.len() < n {
        match k.pop() {
            Some(cqe) => got.push(cqe),
            None if k.needs_enter() => k.enter(Wait::No).unwrap(),
            None => enter(k, Wait::Forever),
        }
    }
    got
}

pub fn user_data(completions: &[Cqe]) -> Vec<u64> {
    let mut u: Vec<u64> = completions.iter().map(|c| c.user_data).collect();
    u.sort_unstable();
    u
}

/// Sleeps until `boot_ns` as an executor does, again and again; how often it took.
pub fn sleep_until(k: &RealKernel, boot_ns: u64) -> u32 {
    let mut enters = 0;
    while k.now_boot_ns() < boot_ns {
        enter(k, Wait::Until { boot_ns });
        assert_eq!(k.pop(), None);
        enters += 1;
    }
    enters
}

/// What `f` gives on a thread of its own, on which the system calls `calls` answer `errno`.
pub fn where_seccomp<T: Send>(
    calls: &[libc::c_long],
    errno: i32,
    f: impl FnOnce() -> T + Send,
) -> T {
    let op = |code: u32, k: u32, jt: u8| libc::sock_filter { code: code as u16, jt, jf: 0, k };
    let load_number = op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0);
    let answer = |k| op(libc::BPF_RET | libc::BPF_K, k, 0);
    let mut filter = vec![load_number];
    for (i, call) in calls.iter().enumerate() {
        let to_refusal = (calls.len() - i) as u8;
        filter.push(op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, *call as u32, to_refusal));
    }
    filter.push(answer(libc::SECCOMP_RET_ALLOW));
    filter.push(answer(libc::SECCOMP_RET_ERRNO | errno as u32));
    std::thread::scope(|s| {
        let confined = s.spawn(|| {
            let program =
                libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
            // SAFETY: a filter of `len` instructions, copied by the kernel; binds this thread only,
            // which ends soon.
            unsafe {
                assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
                let mode = libc::SECCOMP_MODE_FILTER;
                assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program), 0);
            }
            f()
        });
        confined.join().unwrap()
    })
}
