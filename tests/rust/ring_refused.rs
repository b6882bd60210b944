//! Where the system refuses: each reason has its errno and its sentence, and what can be done
//! without is done without. Seccomp filters bind one thread of the test; limits, a forked child.

#[path = "../support/mod.rs"]
mod support;

use std::ffi::CStr;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::FromRawFd;
use std::path::Path;
use std::process::Command;

use monad_async::capi;
use monad_async::error::RawResult;
use monad_async::io::process;
use monad_async::uring::abi::setup;
use monad_async::uring::kernel::{Kernel, Wait};
use monad_async::uring::{CreateError, RealKernel, RingOptions};
use support::rings::*;
use support::skip;
use support::{executor, new_task, set_body, succeeds};

const FOUR: RingOptions = RingOptions {
    entries: 4,
    flags: 0,
    cq_entries: 0,
    wq_fd: 0,
    max_kernel_workers: [0; 2],
    direct_descriptors: 0,
    mask: 0,
    lacks: 0,
};

fn create_error(o: RingOptions) -> Option<CreateError> {
    RealKernel::new(&o).err()
}

#[test]
fn a_policy_that_forbids_io_uring_is_eperm_or_enosys_and_named() {
    use libc::{EACCES, ENOSYS, EPERM};
    if ring(FOUR).is_none() {
        return;
    }
    let calls = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter];
    for call in calls {
        for (answer, want) in [(EPERM, EPERM), (EACCES, EPERM), (ENOSYS, ENOSYS)] {
            let e = where_seccomp(&[call], answer, || create_error(FOUR)).expect("refused");
            assert_eq!(e.errno.0, want, "{call} answers {answer}: {}", e.text);
            // By the sysctl, of 6.6, a kernel that has no io_uring is told from one that is hidden.
            let tells = want == EPERM || Path::new("/proc/sys/kernel/io_uring_disabled").exists();
            let named = if tells { "seccomp" } else { "or a sandbox hides it" };
            assert!(e.text.contains(named), "{}", e.text);
            assert!(e.text.contains("entries = 0"), "no remedy: {}", e.text);
        }
    }
}

#[test]
fn a_policy_that_forbids_registering_costs_features_only() {
    let works = || {
        let Some(k) = ring(FOUR) else { return };
        let config = k.config();
        for name in ["registered ring (Operation", "boot-time clock (Operation"] {
            assert!(config.contains(name), "{name}: {config}");
        }
        push(&k, &nop(1));
        push(&k, &nop(2));
        push(&k, &nop(3));
        assert_eq!(user_data(&reap(&k, 3)), [1, 2, 3]);
        let deadline = k.now_boot_ns() + 5 * MS;
        sleep_until(&k, deadline);
        k.waker().wake();
        k.enter(Wait::Forever).unwrap();
    };
    where_seccomp(&[libc::SYS_io_uring_register], libc::EPERM, works);
}

/// What was asked for is not done without, as flags are.
#[test]
fn a_wish_that_registering_has_to_grant_is_refused_where_that_is_forbidden() {
    for (o, field) in [
        (RingOptions { direct_descriptors: 4, ..FOUR }, "direct_descriptors"),
        (RingOptions { max_kernel_workers: [1, 0], ..FOUR }, "max_kernel_workers"),
    ] {
        if ring(o).is_none() {
            return;
        }
        let e = where_seccomp(&[libc::SYS_io_uring_register], libc::EPERM, || create_error(o));
        let e = e.expect("refused");
        assert_eq!(e.errno.0, libc::EPERM, "{}", e.text);
        assert!(e.text.contains(field) && e.text.contains("seccomp"), "{}", e.text);
    }
    let most = RingOptions { direct_descriptors: u32::MAX, ..FOUR };
    let e = create_error(most).expect("refused");
    assert_eq!(e.errno.0, libc::EMFILE, "{}", e.text);
    assert!(e.text.contains("direct_descriptors is 4294967295, more than"), "{}", e.text);
}

#[test]
fn a_compute_only_executor_makes_no_call_of_io_uring() {
    let calls = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
    where_seccomp(&calls, libc::EPERM, || {
        let k = RealKernel::new(&RingOptions::default()).unwrap();
        k.waker().wake();
        k.enter(Wait::Forever).unwrap();
        sleep_until(&k, k.now_boot_ns() + 2 * MS);
    });
    let e = where_seccomp(&[libc::SYS_timerfd_create], libc::EPERM, || {
        create_error(RingOptions::default())
    });
    let e = e.expect("refused");
    assert_eq!(e.errno.0, libc::EPERM);
    assert!(e.text.contains("timerfd"), "{}", e.text);
}

/// What ends the sleep of a ring that there is.
#[test]
fn a_policy_that_forbids_eventfds_is_named_as_such() {
    if ring(FOUR).is_none() {
        return;
    }
    for answer in [libc::EPERM, libc::ENOSYS] {
        let e = where_seccomp(&[libc::SYS_eventfd2], answer, || create_error(FOUR));
        let CreateError { errno, text } = e.expect("refused");
        assert_eq!(errno.0, answer, "{text}");
        assert!(text.contains("allow eventfd2") && !text.contains("io_uring"), "{text}");
    }
}

/// A child is waited for where there are no descriptors of processes: a policy says so of a call that
/// it does not know by either errno.
#[test]
fn a_policy_that_forbids_descriptors_of_processes_costs_nothing() {
    if ring(FOUR).is_none() {
        return;
    }
    for answer in [libc::EPERM, libc::ENOSYS] {
        let mut child = Command::new("sleep").arg("0.01").spawn().unwrap();
        let pid = child.id() as i32;
        where_seccomp(&[libc::SYS_pidfd_open], answer, || {
            let (ex, task) = (executor(4), new_task());
            set_body(task, move |task| match process::wait(ex.executor(), task, pid) {
                Ok(_) => RawResult::success(0),
                Err(e) => RawResult::failure(e),
            });
            succeeds(ex, task);
        });
        assert!(child.try_wait().is_err(), "reaped");
    }
}

#[test]
fn wrong_wishes_are_einval_and_named() {
    use setup::{ATTACH_WQ, CQSIZE, IOPOLL, SQPOLL};
    let Some(k) = ring(FOUR) else { return };
    let stdin = RingOptions { flags: ATTACH_WQ, wq_fd: 0, ..FOUR };
    let closed = RingOptions { flags: ATTACH_WQ, wq_fd: 1 << 20, ..FOUR };
    for (o, words) in [
        (RingOptions { flags: SQPOLL | IOPOLL, ..FOUR }, "IOPOLL SQPOLL in"),
        (RingOptions { flags: 1 << 31, ..FOUR }, "0x80000000"),
        (RingOptions { flags: CQSIZE, cq_entries: 2, ..FOUR }, "cq_entries is 2"),
        (RingOptions { flags: CQSIZE, cq_entries: 0, ..FOUR }, "cq_entries is 0"),
        (stdin, "wq_fd (0)"),
        (closed, "wq_fd (1048576)"),
    ] {
        let e = create_error(o).unwrap_or_else(|| panic!("{o:?} is taken"));
        assert_eq!(e.errno.0, libc::EINVAL, "{o:?}: {}", e.text);
        assert!(e.text.contains(words), "{o:?}: {}", e.text);
    }
    let none = RingOptions::default();
    for o in [
        RingOptions { direct_descriptors: 1, ..none },
        RingOptions { max_kernel_workers: [0, 1], ..none },
    ] {
        let e = create_error(o).unwrap_or_else(|| panic!("{o:?} is taken"));
        assert_eq!(e.errno.0, libc::EINVAL, "{o:?}: {}", e.text);
        assert!(
            e.text.contains("direct_descriptors are for executors with io_uring"),
            "{}",
            e.text
        );
    }
    // And right ones are followed.
    let wq_fd = k.real_ring_fd();
    let all = setup::CLAMP
        | ATTACH_WQ
        | setup::SUBMIT_ALL
        | setup::COOP_TASKRUN
        | setup::TASKRUN_FLAG
        | setup::SINGLE_ISSUER
        | setup::DEFER_TASKRUN
        | setup::NO_SQARRAY;
    let o = RingOptions { flags: all | CQSIZE, cq_entries: 100, wq_fd, ..FOUR };
    let config = ring(o).unwrap().config().to_owned();
    assert!(config.contains("ring: 4 submission entries, 128 completion entries"), "{config}");
    // Of some megabytes.
    match RealKernel::new(&RingOptions { entries: u32::MAX, ..FOUR }) {
        Ok(k) => assert!(k.config().contains("ring: 32768 submission entries"), "{}", k.config()),
        Err(e) if e.errno.0 == libc::ENOMEM => skip::skip(format_args!("{}", e.text)),
        Err(e) => panic!("{e:?}"),
    }
}

/// What a forked child, which has first done `limit`, gets: the errno and the text.
fn in_a_child(o: RingOptions, limit: impl FnOnce()) -> (i32, String) {
    let mut fds = [0; 2];
    // SAFETY: fills in two descriptors of our own.
    assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    // SAFETY: the child allocates, which glibc allows after fork, writes to a pipe, and leaves
    // without running anything of the parent's.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        limit();
        let (errno, text) = match RealKernel::new(&o) {
            Ok(_) => (0, String::new()),
            Err(e) => (e.errno.0, e.text.to_string()),
        };
        let line = format!("{errno} {text}");
        // SAFETY: writes our own bytes; then ends the child.
        unsafe {
            libc::write(fds[1], line.as_ptr().cast(), line.len());
            libc::_exit(0);
        }
    }
    // SAFETY: our own descriptors; the file takes over the one that stays.
    let mut read = unsafe {
        libc::close(fds[1]);
        std::fs::File::from_raw_fd(fds[0])
    };
    let mut line = String::new();
    read.read_to_string(&mut line).unwrap();
    // SAFETY: waits for our own child.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    let (errno, text) = line.split_once(' ').expect("the child's line");
    (errno.parse().unwrap(), text.to_owned())
}

macro_rules! limit {
    ($resource:ident, $n:expr) => {{
        let limit = libc::rlimit { rlim_cur: $n, rlim_max: $n };
        // SAFETY: reads an rlimit of our own.
        unsafe { libc::setrlimit(libc::$resource, &limit) };
    }};
}

#[test]
fn no_descriptors_left_is_emfile() {
    if ring(FOUR).is_none() {
        return;
    }
    for o in [FOUR, RingOptions::default()] {
        let (errno, text) = in_a_child(o, || limit!(RLIMIT_NOFILE, 3));
        assert_eq!(errno, libc::EMFILE, "{text}");
        assert!(text.contains("RLIMIT_NOFILE lets it have (3)"), "{text}");
    }
}

#[test]
fn no_memory_is_enomem() {
    if ring(FOUR).is_none() {
        return;
    }
    // The mappings of a large ring take 3 MB; the allocator must still get its own.
    let used = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
    };
    let large = RingOptions { entries: 32768, ..FOUR };
    let (errno, text) = in_a_child(large, || limit!(RLIMIT_AS, used() + (1 << 20)));
    assert_eq!(errno, libc::ENOMEM, "{text}");
    assert!(text.contains("32768 entries") && text.contains("RLIMIT_MEMLOCK"), "{text}");
}

#[test]
fn a_policy_that_forbids_the_report_of_overflows_is_named() {
    for (call, name) in
        [(libc::SYS_rt_sigaction, "rt_sigaction"), (libc::SYS_sigaltstack, "sigaltstack")]
    {
        let (error, text) = where_seccomp(&[call], libc::EPERM, || {
            let mut ex = std::ptr::null_mut();
            let attr = MaybeUninit::<capi::executor::ExecutorAttr>::zeroed();
            // SAFETY: zeros are valid attributes; the sentence is this thread's.
            unsafe {
                let r = capi::executor::monad_async_executor_create(&mut ex, attr.as_ptr());
                let text = CStr::from_ptr(capi::executor::monad_async_last_create_error());
                (r.error, text.to_str().unwrap().to_owned())
            }
        });
        assert_eq!(error, libc::EPERM, "{text}");
        assert!(text.starts_with(name) && text.contains("seccomp"), "{text}");
    }
}
