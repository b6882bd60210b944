//! Calls on files where the kernel lacks the operation: on helper threads, with the same results; and
//! what the config string says of it.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::Handle;
use monad_async::capi::scope::{monad_async_scope_enter, monad_async_scope_leave};
use monad_async::error::{Errno, RawResult};
use monad_async::executor::scope::Scope;
use monad_async::io::call::Call;
use monad_async::io::file::{self, File, How, Parts};
use monad_async::io::ordered::order;
use monad_async::io::path::{Path, Walk};
use monad_async::pool::blocking;
use monad_async::uring::{mask, RingOptions};
use std::cell::Cell;
use std::ffi::CString;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;
use support::rings::ring;
use support::*;

/// A pipe whose reader has gone: EPIPE, and the process lives. By the write's own flag, and by a
/// thread of the kernel's.
#[test]
fn no_sigpipe() {
    // Rust's runtime ignores it; as a C program has it.
    // SAFETY: no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    for bits in [0, mask::NO_SIGNAL] {
        let options = RingOptions { entries: 8, mask: bits, ..Default::default() };
        let Some(kernel) = ring(options) else { return };
        let ex = Handle::new(kernel, true).unwrap();
        let task = new_large_task();
        set_body(task, move |task| {
            let (reader, writer) = std::io::pipe().unwrap();
            let call = Call { ex: ex.executor(), task, fd: writer.as_raw_fd(), flags: 0 };
            let part = libc::iovec { iov_base: c"xy".as_ptr().cast_mut().cast(), iov_len: 2 };
            // SAFETY: constants.
            unsafe {
                assert_eq!(call.write(c"x".as_ptr().cast(), 1, -1), Ok(1));
                drop(reader);
                assert_eq!(call.write(c"x".as_ptr().cast(), 1, -1), Err(Errno(libc::EPIPE)));
                let parts = Parts { at: &part, count: 1 };
                assert_eq!(call.writev(parts, -1, 0), Err(Errno(libc::EPIPE)));
            }
            let file = File { fd: writer.as_raw_fd(), flags: 0 };
            let file = order(ex.executor(), file).unwrap();
            let call = Call { flags: file.flags, ..call };
            // SAFETY: constants.
            let r = unsafe { call.write_in_order(c"x".as_ptr().cast(), 1, -1) };
            assert_eq!(r.error, libc::EPIPE);
            RawResult::success(0)
        });
        ex.attach(task).unwrap();
        while ex.has_work() {
            let _ = ex.run(usize::MAX, None);
        }
        assert_eq!(task.head.result.get(), RawResult::success(0));
        destroy(ex, [task]);
    }
}

#[test]
fn what_the_ring_lacks_is_done_on_helpers() {
    let dir = std::env::temp_dir().join(format!("monad_async_files_{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let name = |n: &str| CString::new(dir.join(n).to_str().unwrap()).unwrap();
    for bits in [0, mask::FILE_OPCODES] {
        let options = RingOptions { entries: 8, mask: bits, ..Default::default() };
        let Some(kernel) = ring(options) else { return };
        let lacks = bits != 0;
        let config = kernel.config().to_string();
        let line = config.lines().find(|l| l.starts_with("on helper threads: ")).unwrap();
        if lacks {
            assert_eq!(line, "on helper threads: mkdir symlink link truncate");
        }
        let helped: Vec<String> = line.split(' ').map(String::from).collect();
        let ex = Handle::new(kernel, true).unwrap();
        let task = new_large_task();
        let done = Rc::new(Cell::new(false));
        let (out, [d, a, b, c]) = (done.clone(), ["d", "d/a", "b", "c"].map(name));
        let file = dir.join("d/a");
        set_body(task, move |task| {
            let walk = Walk { ex: ex.executor(), task };
            let at = |path: &CString| Path { directory: libc::AT_FDCWD, path: path.as_ptr() };
            // By the ring, or without it.
            let counted = |name: &str, call: &mut dyn FnMut()| {
                let submitted = || ex.executor().head.total_io_submitted.get();
                let before = submitted();
                call();
                let by_ring = !helped.iter().any(|helped| helped == name);
                assert_eq!(submitted() - before == 1, by_ring, "{name} of {helped:?}");
            };
            // SAFETY: strings that live as long as the calls.
            unsafe {
                counted("mkdir", &mut || assert_eq!(walk.mkdir(at(&d), 0o700), Ok(())));
                assert_eq!(walk.mkdir(at(&d), 0o700), Err(Errno(libc::EEXIST)));
                fs::write(&file, "hello").unwrap();
                counted("link", &mut || assert_eq!(walk.link(at(&a), at(&b), 0), Ok(())));
                let to = c"b".as_ptr();
                counted("symlink", &mut || assert_eq!(walk.symlink(to, at(&c)), Ok(())));
            }
            assert!(blocking::helpers() != 0 || !lacks);
            let open = fs::OpenOptions::new().write(true).open(&file).unwrap();
            let fd = open.as_raw_fd();
            let call = Call { ex: ex.executor(), task, fd, flags: 0 };
            counted("truncate", &mut || assert_eq!(call.truncate(2), Ok(())));
            assert_eq!(call.truncate(-1), Err(Errno(libc::EINVAL)));
            assert_eq!(fs::read(&file).unwrap(), b"he");
            assert_eq!(fs::metadata(&file).unwrap().nlink(), 2);
            out.set(true);
            RawResult::success(0)
        });
        ex.attach(task).unwrap();
        while ex.has_work() {
            let _ = ex.run(usize::MAX, None);
        }
        assert!(done.get());
        destroy(ex, [task]);
        fs::remove_dir_all(dir.join("d")).unwrap();
        fs::remove_file(dir.join("b")).unwrap();
        fs::remove_file(dir.join("c")).unwrap();
    }
    fs::remove_dir(&dir).unwrap();
}

/// Before Linux 5.12 a thread of the kernel's waited for the other end of a FIFO, out of reach of a
/// cancel; since then one of those that open what is to be made or cut waits for it.
#[test]
fn no_fifo_is_waited_for() {
    let name = std::env::temp_dir().join(format!("monad_async_fifo_{}", std::process::id()));
    let path = CString::new(name.to_str().unwrap()).unwrap();
    for bits in [0, mask::CONTROL, mask::ALL] {
        // SAFETY: a string.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        let options = RingOptions { entries: 8, mask: bits, ..Default::default() };
        let Some(kernel) = ring(options) else { return };
        let ex = Handle::new(kernel, true).unwrap();
        let (task, done) = (new_large_task(), Rc::new(Cell::new(false)));
        let (out, path) = (done.clone(), path.clone());
        set_body(task, move |task| {
            let opens = |flags: i32| {
                let how = How { flags: flags as u64, mode: 0, resolve: 0 };
                let mut scope = MaybeUninit::<Scope>::uninit();
                // SAFETY: the task that runs; a string; the scope is in place until it is left.
                unsafe {
                    let head = task.as_head();
                    let r = monad_async_scope_enter(head, scope.as_mut_ptr(), 2_000_000_000, 0);
                    assert_eq!(r, RawResult::success(0));
                    let at = libc::AT_FDCWD;
                    let opened = file::open(ex.executor(), task, at, path.as_ptr(), how, false);
                    monad_async_scope_leave(head, scope.as_mut_ptr());
                    opened.map(|file| file.fd)
                }
            };
            // SAFETY: refer to no memory.
            let status = |fd| unsafe { libc::fcntl(fd, libc::F_GETFL) };
            let nonblock = |fd| status(fd) & libc::O_NONBLOCK != 0;
            let closes = |fd| Call { ex: ex.executor(), task, fd, flags: 0 }.close().unwrap();
            let enxio = Err(Errno(libc::ENXIO));
            for more in [0, libc::O_CREAT, libc::O_TRUNC] {
                assert_eq!(opens(libc::O_WRONLY | more), enxio, "{more:#o}, mask {bits:#x}");
            }
            let reader = opens(libc::O_RDONLY).unwrap();
            assert!(!nonblock(reader), "mask {bits:#x}");
            for more in [0, libc::O_CREAT, libc::O_APPEND, libc::O_APPEND | libc::O_CREAT] {
                let fd = opens(libc::O_WRONLY | more).unwrap();
                assert!(!nonblock(fd), "{more:#o}, mask {bits:#x}");
                assert_eq!(status(fd) & libc::O_APPEND, more & libc::O_APPEND);
                closes(fd);
                let fd = opens(libc::O_WRONLY | more | libc::O_NONBLOCK).unwrap();
                assert!(nonblock(fd), "{more:#o}, mask {bits:#x}");
                closes(fd);
            }
            closes(reader);
            let fd = opens(libc::O_PATH).unwrap();
            closes(fd);
            out.set(true);
            RawResult::success(0)
        });
        ex.attach(task).unwrap();
        while ex.has_work() {
            let _ = ex.run(usize::MAX, None);
        }
        assert!(done.get());
        destroy(ex, [task]);
        fs::remove_file(&name).unwrap();
    }
}

/// Whoever holds a lease on a file is told, and has time to give it up.
#[test]
fn a_lease_is_waited_for() {
    // What its holder is told by.
    // SAFETY: no handler.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
    let name = std::env::temp_dir().join(format!("monad_async_lease_{}", std::process::id()));
    let path = CString::new(name.to_str().unwrap()).unwrap();
    for bits in [0, mask::CONTROL] {
        fs::write(&name, "x").unwrap();
        let held = fs::File::open(&name).unwrap();
        let lease = |kind: i32| {
            // SAFETY: refers to no memory.
            unsafe { libc::fcntl(held.as_raw_fd(), libc::F_SETLEASE, kind) }
        };
        if lease(libc::F_RDLCK) != 0 {
            skip::skip(format_args!("no leases on {}", name.display()));
            return;
        }
        let options = RingOptions { entries: 8, mask: bits, ..Default::default() };
        let Some(kernel) = ring(options) else { return };
        let ex = Handle::new(kernel, true).unwrap();
        let (task, path) = (new_large_task(), path.clone());
        set_body(task, move |task| {
            let flags = (libc::O_WRONLY | libc::O_TRUNC) as u64;
            let how = How { flags, mode: 0, resolve: 0 };
            // SAFETY: a string.
            let opened = unsafe {
                file::open(ex.executor(), task, libc::AT_FDCWD, path.as_ptr(), how, false)
            };
            let call = Call { ex: ex.executor(), task, fd: opened.unwrap().fd, flags: 0 };
            call.close().map(|()| 0).into()
        });
        ex.attach(task).unwrap();
        // Asked for once, the lease is to be given up: then it is being waited for.
        while lease_of(&held) == libc::F_RDLCK {
            let _ = ex.run(usize::MAX, Some(1_000_000));
        }
        let _ = ex.run(usize::MAX, Some(20_000_000));
        assert!(task.is_attached(), "{:?}, mask {bits:#x}", task.head.result.get());
        assert_eq!(lease(libc::F_UNLCK), 0);
        while ex.has_work() {
            let _ = ex.run(usize::MAX, None);
        }
        assert_eq!(task.head.result.get(), RawResult::success(0), "mask {bits:#x}");
        destroy(ex, [task]);
    }
    fs::remove_file(&name).unwrap();
}

/// What it is to become, where somebody waits for that.
fn lease_of(file: &fs::File) -> i32 {
    // SAFETY: refers to no memory.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLEASE) }
}
