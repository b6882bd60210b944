//! Hostile machines, through the whole executor on the real kernel: features missing, limits
//! reached, signals, fork, and entries of the user's that reach beyond their own task.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::{self, Handle};
use monad_async::capi;
use monad_async::error::{Errno, RawResult};
use monad_async::stack::pool;
use monad_async::task::header::{Flags, TaskRef};
use monad_async::uring::kernel::{op, Sqe};
use monad_async::uring::mask;
use monad_async::uring::{RealKernel, RingOptions};
use std::ffi::CStr;
use std::hint;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;
use support::child::alone;
use support::programme::*;
use support::skip::skip;
use support::*;

/// `None` where the machine has no io_uring: the test is skipped.
fn masked(entries: u32, mask: u32) -> Option<Handle<Real>> {
    match RealKernel::new(&RingOptions { entries, mask, ..RingOptions::default() }) {
        Ok(kernel) => Some(Handle::new(kernel, true).unwrap()),
        Err(e) if matches!(e.errno.0, libc::ENOSYS | libc::EPERM) => {
            skip(format_args!("no io_uring here: {}", e.text));
            None
        }
        Err(e) => panic!("mask {mask:#x}: {e:?}"),
    }
}

fn compute_only() -> Handle<Real> {
    let kernel = RealKernel::new(&RingOptions::default()).unwrap();
    Handle::new(kernel, true).unwrap()
}

/// None, all, each of them.
fn masks() -> impl Iterator<Item = u32> {
    let each = (0..32).map(|b| 1 << b).filter(|b| mask::ALL & b != 0);
    [0, mask::ALL].into_iter().chain(each)
}

#[test]
fn each_kernel_feature_missing_gives_the_same_results() {
    for mask in masks() {
        for entries in [2, 64] {
            let Some(ex) = masked(entries, mask) else { return };
            println!("mask {mask:#x}, {entries} entries");
            run_and_check(ex);
            destroy(ex, []);
        }
    }
}

#[test]
fn three_thousand_completions_at_once_overflow_a_queue_of_four() {
    for mask in [0, mask::ALL] {
        let Some(ex) = masked(2, mask) else { return };
        assert_eq!(flood(ex, 3_000), 3_000);
        destroy(ex, []);
    }
}

/// The ring's own poll, by which other threads wake it, is in the kernel with the users'
/// operations, and IORING_ASYNC_CANCEL_ANY does not tell them apart.
#[test]
fn a_user_who_cancels_everything_does_not_silence_wake_ups() {
    const ALL: u32 = 1 << 0;
    const ANY: u32 = 1 << 2;
    const SYNC_CANCEL: u32 = 24; // IORING_REGISTER_SYNC_CANCEL
    if rings::lacks("6.0") {
        return; // Nothing cancels everything.
    }
    for mask in masks() {
        let Some(ex) = masked(4, mask) else { return };
        let pipe = Pipe::new();
        for round in 0..10 {
            let fd = pipe.reader;
            let readers: Vec<TaskRef> = (0..3).map(|_| new_task()).collect();
            for &r in &readers {
                set_body(r, move |r| read(r, fd, &mut [0; 8]));
            }
            let killer = new_task();
            let victims = readers.clone();
            set_body(killer, move |k| {
                sleep(k, 100_000); // The executor has slept, so its poll is armed.
                                   // Refused of a task, so by the ring's descriptor.
                let entry = Sqe::new(op::ASYNC_CANCEL, -1, 0, 0, 0, ALL | ANY);
                assert_eq!(io(k, &entry).error, libc::EINVAL);
                let request: [u64; 8] =
                    [0, u64::from(ALL | ANY) << 32 | 0xffff_ffff, 0, 0, 0, 0, 0, 0];
                let fd = ex.executor().kernel().real_ring_fd();
                // SAFETY: reads a `struct io_uring_sync_cancel_reg` of our own.
                let canceled = unsafe {
                    libc::syscall(libc::SYS_io_uring_register, fd, SYNC_CANCEL, request.as_ptr(), 1)
                };
                assert!(canceled >= 0, "{}", std::io::Error::last_os_error());
                // Their reads are begun again: nobody asked that of the executor. Now somebody
                // does.
                sleep(k, 100_000);
                for &victim in &victims {
                    assert!(!victim.has_exited());
                    ex.cancel(victim).unwrap();
                }
                RawResult::success(0)
            });
            attach_all(ex, &readers);
            ex.attach(killer).unwrap();
            finish(ex);
            assert_eq!(killer.head.result.get(), OK);
            for &r in &readers {
                assert_eq!(r.head.result.get(), CANCELED, "mask {mask:#x}, round {round}");
            }
            // Woken while it sleeps, by a launch and by a wake.
            let (guest, shared) = (new_task(), Shared(ex));
            set_body(guest, nop);
            let remote = thread::spawn(move || {
                thread::sleep(Duration::from_millis(1));
                shared.get().attach(guest).unwrap();
                while !guest.has_exited() {
                    thread::sleep(Duration::from_micros(100));
                }
                shared.get().wake().unwrap();
            });
            while !guest.has_exited() {
                ex.run(1, None).unwrap();
            }
            assert_eq!(ex.run(1, None), Ok(0));
            remote.join().unwrap();
            for t in readers.into_iter().chain([killer, guest]) {
                destroy_task(t);
            }
        }
        destroy(ex, []);
    }
}

static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count_signal(_: i32) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// SIGPROF by the time the process runs, SIGALRM by the time that passes, a thousand a second each.
fn storm(flags: i32, us: i64) {
    // SAFETY: all zeroes is an empty sigaction; the handler only adds to an atomic; the timers are
    // this process's, which the test has to itself.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count_signal as *const () as usize;
        action.sa_flags = flags;
        for (signal, timer) in
            [(libc::SIGPROF, libc::ITIMER_PROF), (libc::SIGALRM, libc::ITIMER_REAL)]
        {
            assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
            let each = libc::timeval { tv_sec: 0, tv_usec: us };
            let value = libc::itimerval { it_interval: each, it_value: each };
            let none: *mut libc::itimerval = std::ptr::null_mut();
            assert_eq!(libc::syscall(libc::SYS_setitimer, timer, &raw const value, none), 0);
        }
    }
}

#[test]
fn a_storm_of_signals_changes_no_result() {
    alone("a_storm_of_signals_changes_no_result", || {
        for flags in [0, libc::SA_RESTART] {
            for (entries, mask) in [(2, 0), (64, 0), (2, mask::ALL)] {
                let Some(ex) = masked(entries, mask) else { return };
                storm(flags, 1_000);
                SIGNALS.store(0, Ordering::Relaxed);
                while SIGNALS.load(Ordering::Relaxed) < 300 {
                    run_and_check(ex);
                    assert_eq!(flood(ex, 300), 300);
                }
                storm(flags, 0);
                destroy(ex, []);
            }
        }
    });
}

/// The process's limit, where the test has the process to itself.
fn limit(which: libc::__rlimit_resource_t, soft: u64) {
    // SAFETY: both read or write a struct of our own.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(which, &mut limit), 0);
        limit.rlim_cur = soft;
        assert_eq!(libc::setrlimit(which, &limit), 0);
    }
}

#[test]
fn no_memory_may_be_locked() {
    alone("no_memory_may_be_locked", || {
        limit(libc::RLIMIT_MEMLOCK, 0);
        // As somebody whom the limit binds: root's capability is gone with its user id.
        // SAFETY: changes who this process is, which it has to itself.
        unsafe { libc::setresuid(65534, 65534, 65534) };
        for entries in [2, 64, 4096] {
            match RealKernel::new(&RingOptions { entries, ..RingOptions::default() }) {
                Ok(kernel) => {
                    let ex = Handle::new(kernel, true).unwrap();
                    run_and_check(ex);
                    destroy(ex, []);
                }
                // Some kernels charge a ring to the limit: before Linux 5.12, and 6.18.
                Err(e) if e.errno.0 == libc::ENOMEM => {
                    let text = e.text.to_string();
                    assert!(text.contains("RLIMIT_MEMLOCK (0 bytes"), "{text}");
                    // The remedies hold: no ring, and a limit that it fits in.
                    let ex = executor(0);
                    let t = new_task();
                    set_body(t, |t| sleep(t, 1_000_000));
                    ex.attach(t).unwrap();
                    finish(ex);
                    destroy(ex, [t]);
                }
                Err(e) => {
                    assert!(matches!(e.errno.0, libc::EPERM | libc::ENOSYS), "{e:?}");
                    skip(&*e.text);
                }
            }
        }
    });
}

/// The kernel gives back what a closed ring had some time later: the third or fourth of those that
/// were made one after the other was refused, where each alone fits into the limit.
#[test]
fn one_ring_after_the_other_fits_into_the_limit_of_locked_memory() {
    alone("one_ring_after_the_other_fits_into_the_limit_of_locked_memory", || {
        limit(libc::RLIMIT_MEMLOCK, 64 << 10);
        // As somebody whom the limit binds, and whom no other test is.
        // SAFETY: changes who this process is, which it has to itself.
        unsafe { libc::setresuid(65421, 65421, 65421) };
        let made = || RealKernel::new(&RingOptions { entries: 256, ..RingOptions::default() });
        match made() {
            Ok(first) => drop(first),
            Err(e) => return skip(&*e.text),
        }
        for n in 0..10 {
            assert!(made().is_ok(), "{n}");
        }
    });
}

/// Through the C API: the errno and the sentence. `entries` is the attributes' first field.
fn c_create(entries: u32) -> Result<capi::ExecutorPtr, (i32, String)> {
    let attr = [entries].into_iter().chain([0; 47]).collect::<Vec<u32>>();
    let mut ex = std::ptr::null_mut();
    // SAFETY: 192 bytes of attributes, zeroed except the entries; the sentence is copied at once.
    unsafe {
        let r = capi::executor::monad_async_executor_create(&mut ex, attr.as_ptr().cast());
        if r.error == 0 {
            return Ok(ex);
        }
        let text = CStr::from_ptr(capi::executor::monad_async_last_create_error());
        Err((r.error, text.to_str().unwrap().into()))
    }
}

fn c_destroy(ex: capi::ExecutorPtr) {
    // SAFETY: from `c_create`, given up here.
    assert_eq!(unsafe { capi::executor::monad_async_executor_destroy(ex) }.error, 0);
}

#[test]
fn no_descriptor_left_fails_the_new_and_spares_the_old() {
    alone("no_descriptor_left_fails_the_new_and_spares_the_old", || {
        let Some(ex) = masked(4, 0) else { return };
        let free = Pipe::new();
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count() - 1;
        let first_free = free.reader;
        drop(free);
        let before = open();
        for more in 0..2 {
            limit(libc::RLIMIT_NOFILE, first_free as u64 + more);
            for entries in [0, 8] {
                let made = c_create(entries);
                // One descriptor is enough for neither: the ring, or the timer, and an eventfd.
                let (errno, text) = made.expect_err("made without descriptors");
                assert_eq!(errno, libc::EMFILE, "{text}");
                assert!(text.contains("RLIMIT_NOFILE"), "{text}");
            }
            // What needs a descriptor of its own says so; the rest goes on.
            let (opens, nops) = (new_task(), new_task());
            set_body(opens, move |t| {
                for _ in 0..=more {
                    let root = c"/".as_ptr() as u64;
                    let r = io(t, &Sqe::new(18, libc::AT_FDCWD, 0, root, 0, 0)); // OPENAT
                    if r.error != 0 {
                        return r;
                    }
                }
                OK
            });
            set_body(nops, nop);
            attach_all(ex, &[opens, nops]);
            finish(ex);
            assert_eq!(opens.head.result.get().error, libc::EMFILE);
            assert_eq!(nops.head.result.get(), OK);
            [opens, nops].into_iter().for_each(destroy_task);
            // SAFETY: the one that `opens` got, if it got any.
            unsafe { libc::close(first_free) };
        }
        limit(libc::RLIMIT_NOFILE, 64);
        assert_eq!(open(), before, "a failed create left a descriptor behind");
        for entries in [0, 8] {
            c_destroy(c_create(entries).unwrap());
        }
        run_and_check(ex);
        destroy(ex, []);
    });
}

/// What a child finds: every call that could disturb the parent is refused, and its own executor
/// works. Its exit code names the first surprise.
fn in_the_child(ex: Handle<Real>, attached: [TaskRef; 3], idle: TaskRef) -> i32 {
    let eperm = Err(Errno(libc::EPERM));
    let refused = [
        ex.run(usize::MAX, Some(0)).map(|_| ()) == eperm,
        ex.run(0, None).map(|_| ()) == eperm,
        ex.attach(idle) == eperm,
        ex.wake() == eperm,
        ex.destroy() == eperm,
        ex.cancel_all() == eperm,
        !ex.has_work(),
        attached.iter().all(|&t| ex.cancel(t) == eperm),
        attached.iter().all(|&t| api::destroy_task(t) == errno(libc::EBUSY)),
        attached.iter().all(|&t| Handle::<Real>::set_priorities(t, 0, 0) == eperm),
        attached.iter().all(|&t| sleep(t, 0).error == libc::EPERM),
        attached.iter().all(|&t| nop(t).error == libc::EPERM),
    ];
    if let Some(i) = refused.iter().position(|held| !held) {
        return 10 + i as i32;
    }
    let own = executor(4);
    let t = new_task();
    set_body(t, nop);
    if own.attach(t).is_err() || own.run(1, None) != Ok(1) || own.run(1, None) != Ok(1) {
        return 1;
    }
    if t.head.result.get() != OK || api::destroy_task(t).is_err() || own.destroy().is_err() {
        return 2;
    }
    // The idle task is the child's own copy, as any of its memory.
    i32::from(api::destroy_task(idle).is_err()) * 3
}

/// Runs `f` in a forked child; its exit code.
fn forked(f: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child leaves by `_exit`, and does nothing that another thread's locks could stop:
    // glibc frees those of its allocator.
    unsafe {
        match libc::fork() {
            0 => libc::_exit(f()),
            child => {
                let mut status = 0;
                assert_eq!(libc::waitpid(child, &mut status, 0), child);
                assert!(libc::WIFEXITED(status), "the child died: {status:#x}");
                libc::WEXITSTATUS(status)
            }
        }
    }
}

#[test]
fn fork_in_flight_gives_the_child_errors_and_costs_the_parent_nothing() {
    alone("fork_in_flight_gives_the_child_errors_and_costs_the_parent_nothing", || {
        for mask in masks() {
            let Some(ex) = masked(4, mask) else { return };
            let pipe = Pipe::new();
            let fd = pipe.reader;
            let [reader, sleeper, pending, idle] = [(); 4].map(|()| new_task());
            set_body(reader, move |t| {
                let mut to = [0; 8];
                let r = read(t, fd, &mut to);
                success(if to[..5] == *b"hello" { r.value as usize } else { 0 })
            });
            set_body(pending, nop);
            set_body(idle, nop);
            ex.attach(reader).unwrap();
            let mut ns = 20_000_000;
            loop {
                set_body(sleeper, move |t| sleep(t, ns));
                ex.attach(sleeper).unwrap();
                while ex.run(usize::MAX, Some(0)).is_ok() {}
                if !sleeper.has_exited() {
                    break;
                }
                ns *= 2; // The machine is slow.
            }
            ex.attach(pending).unwrap();
            for _ in 0..3 {
                let child = forked(|| in_the_child(ex, [reader, sleeper, pending], idle));
                assert_eq!(child, 0, "mask {mask:#x}");
            }
            pipe.write(b"hello");
            finish(ex);
            assert_eq!(reader.head.result.get(), success(5));
            assert_eq!(sleeper.head.result.get(), OK);
            assert_eq!(pending.head.result.get(), OK);
            run_and_check(ex);
            destroy(ex, [reader, sleeper, pending, idle]);
        }
    });
}

/// The child of a task that forks and ends there too: it runs nothing else of the parent's, and
/// takes nothing from the ring that they share.
#[test]
fn fork_inside_a_task_that_ends_in_the_child() {
    alone("fork_inside_a_task_that_ends_in_the_child", || {
        let Some(ex) = masked(8, 0) else { return };
        let forks = new_task();
        let others: Vec<_> = (0..50).map(|_| new_task()).collect();
        set_body(forks, |t| {
            // SAFETY: the child goes on with its copy of this stack, and leaves by `_exit` below.
            match unsafe { libc::fork() } {
                0 => success(0),
                child => {
                    nop(t);
                    success(child as usize)
                }
            }
        });
        let parent = std::process::id();
        for t in &others {
            set_body(*t, move |t| {
                let ran = (0..20).all(|_| nop(t) == OK && std::process::id() == parent);
                success(ran.into())
            });
        }
        attach_all(ex, &[forks]);
        attach_all(ex, &others);
        loop {
            let ran = ex.run(usize::MAX, None);
            if std::process::id() != parent {
                let told = ran == errno(libc::EPERM) && ex.run(1, None) == errno(libc::EPERM);
                let none = others.iter().all(|t| t.head.flags.get() != Flags::IDLE);
                // SAFETY: ends the child, and nothing else.
                unsafe { libc::_exit(i32::from(!(told && none))) };
            }
            ran.unwrap();
            if !ex.has_work() {
                break;
            }
        }
        let mut status = 0;
        // SAFETY: waits for the child.
        unsafe { libc::waitpid(forks.head.result.get().value as i32, &mut status, 0) };
        assert_eq!(status, 0);
        for t in &others {
            assert_eq!(t.head.result.get(), success(1));
        }
        destroy(ex, [forks]);
        others.into_iter().for_each(destroy_task);
    });
}

/// Another thread has the stack pool locked nearly always: a child that is forked then must
/// not find it locked for ever.
#[test]
fn fork_while_another_thread_holds_the_pool() {
    alone("fork_while_another_thread_holds_the_pool", || {
        let done = AtomicBool::new(false);
        let many: Vec<_> = (0..1000).map(|_| new_task()).collect();
        thread::scope(|s| {
            s.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    pool::for_each_in_use(|header| {
                        hint::black_box(header);
                    });
                }
            });
            for _ in 0..50 {
                let child = forked(|| {
                    let (ex, t) = (compute_only(), new_task());
                    set_body(t, |t| sleep(t, 0));
                    attach_all(ex, &[t]);
                    finish(ex);
                    let ran = t.head.result.get() == OK;
                    destroy(ex, [t]);
                    i32::from(!ran)
                });
                assert_eq!(child, 0);
            }
            done.store(true, Ordering::Relaxed);
        });
        many.into_iter().for_each(destroy_task);
    });
}

static CHILD: AtomicI32 = AtomicI32::new(-1);

#[test]
fn fork_inside_a_task() {
    alone("fork_inside_a_task", || {
        let Some(ex) = masked(4, 0) else { return };
        let t = new_task();
        set_body(t, move |t| {
            // The child is on a copy of this task's stack, and must not leave it for the parent's
            // loop.
            let child = forked(|| {
                let held = sleep(t, 0).error == libc::EPERM
                    && sleep(t, 1).error == libc::EPERM
                    && nop(t).error == libc::EPERM
                    && Handle::<Real>::join(t, t).error == libc::EPERM
                    && ex.cancel(t) == errno(libc::EPERM);
                i32::from(!held)
            });
            CHILD.store(child, Ordering::Relaxed);
            nop(t)
        });
        ex.attach(t).unwrap();
        finish(ex);
        assert_eq!(CHILD.load(Ordering::Relaxed), 0);
        assert_eq!(t.head.result.get(), OK);
        destroy(ex, [t]);
    });
}
