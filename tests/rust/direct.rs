//! Direct descriptors where the kernel lacks an operation: by a plain descriptor that is made for the
//! call, or an error that says so; and what the config string says of it.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::Handle;
use monad_async::error::{Errno, RawResult, Res};
use monad_async::executor::reference::Reference;
use monad_async::io::call::Call;
use monad_async::io::file::{self, How};
use monad_async::io::socket::{self, Address};
use monad_async::reactor::operation::Op;
use monad_async::uring::kernel::{op, Sqe};
use monad_async::uring::{mask, RealKernel, RingOptions};
use std::cell::Cell;
use std::rc::Rc;
use support::child::alone;
use support::rings::ring;
use support::skip::skip;
use support::*;

const EOPNOTSUPP: Errno = Errno(libc::EOPNOTSUPP);

fn table(mask: u32) -> Option<RealKernel> {
    let options = RingOptions { entries: 8, direct_descriptors: 4, mask, ..Default::default() };
    let kernel = ring(options)?;
    let lacks = ["plain descriptors", "passed on", "bind and"].map(|s| kernel.config().contains(s));
    let masked = [mask::FD_INSTALL, mask::FD_PASS, mask::SOCKET_OPCODES].map(|b| mask & b != 0);
    for (lacks, masked) in lacks.into_iter().zip(masked) {
        assert!(lacks || !masked, "{}", kernel.config());
    }
    Some(kernel)
}

/// Runs `body` as a task to its end.
fn run(
    ex: Handle<Real>,
    body: impl FnMut(monad_async::task::header::TaskRef) -> RawResult + 'static,
) {
    let task = new_task();
    set_body(task, body);
    ex.attach(task).unwrap();
    while ex.has_work() {
        let _ = ex.run(usize::MAX, None);
    }
    assert_eq!(task.head.result.get(), RawResult::success(0));
    destroy_task(task);
}

/// What is asked of each handle; the kernel of this machine may lack the operations itself.
#[test]
fn the_same_by_a_plain_descriptor_or_an_error() {
    for bits in [0, mask::SOCKET_OPCODES, mask::FD_INSTALL, mask::FD_INSTALL | mask::SOCKET_OPCODES]
    {
        let Some(kernel) = table(bits) else { return };
        let lacks = kernel.config().contains("plain descriptors of direct ones");
        let later = kernel.config().contains("bind and listen");
        let ex = Handle::new(kernel, true).unwrap();
        run(ex, move |task| {
            let how =
                How { flags: (libc::O_RDWR | libc::O_TMPFILE) as u64, mode: 0o600, resolve: 0 };
            // SAFETY: strings and records in place.
            unsafe {
                let f =
                    file::open(ex.executor(), task, libc::AT_FDCWD, c"/tmp".as_ptr(), how, true);
                let f = f.unwrap();
                let call = Call { ex: ex.executor(), task, fd: f.fd, flags: f.flags };
                let mut status: libc::statx = std::mem::zeroed();
                assert_eq!(call.write(c"abc".as_ptr().cast(), 3, 0), Ok(3));
                match call.stat(libc::STATX_SIZE, &mut status) {
                    Err(EOPNOTSUPP) if lacks => assert_eq!(call.to_plain(), Err(EOPNOTSUPP)),
                    told => assert_eq!((told, status.stx_size, lacks), (Ok(()), 3, false)),
                }
                call.close().unwrap();
                assert_eq!(call.close(), Err(Errno(libc::EBADF)));

                let s =
                    socket::open(ex.executor(), task, libc::AF_UNIX, libc::SOCK_STREAM, 0, true);
                let s = s.unwrap();
                let call = Call { fd: s.fd, flags: s.flags, ..call };
                let at = libc::sockaddr { sa_family: libc::AF_UNIX as u16, sa_data: [0; 14] };
                let to = Address { at: &at, length: 2 };
                match call.bind(to).and_then(|()| call.listen(1)) {
                    Err(EOPNOTSUPP) => assert!(later && lacks),
                    bound => assert_eq!((bound, later && lacks), (Ok(()), false)),
                }
                let mut name = at;
                let mut length = 16;
                let told = call.address(false, &mut name, &mut length);
                assert_eq!(told, if lacks { Err(EOPNOTSUPP) } else { Ok(()) });
                call.close().unwrap();
            }
            RawResult::success(0)
        });
        destroy(ex, []);
    }
}

/// An executor without a table: each call that would make a direct descriptor says ENFILE, as the
/// kernel does that could have one. Where it could not, before 5.19, files said ENXIO, and sockets
/// what the kernel says of operations that it does not know.
#[test]
fn without_a_table_nothing_is_direct() {
    for mask in [0, mask::DIRECT_TABLE] {
        let Some(kernel) = ring(RingOptions { entries: 8, mask, ..Default::default() }) else {
            return;
        };
        let lacks = kernel.config().contains("direct descriptors (");
        assert!(lacks || mask == 0, "{}", kernel.config());
        let ex = Handle::new(kernel, true).unwrap();
        run(ex, move |task| {
            let how = How { flags: libc::O_RDONLY as u64, mode: 0, resolve: 0 };
            let ex = ex.executor();
            // SAFETY: strings and records in place.
            unsafe {
                let f = file::open(ex, task, libc::AT_FDCWD, c"/dev/null".as_ptr(), how, true);
                assert_eq!(f.err(), Some(Errno(libc::ENFILE)));
                let s = socket::open(ex, task, libc::AF_UNIX, libc::SOCK_STREAM, 0, true);
                assert_eq!(s.err(), Some(Errno(libc::ENFILE)));
                if lacks {
                    // Before anybody connects.
                    let call = Call { ex, task, fd: 0, flags: 0 };
                    let none = core::ptr::null_mut();
                    let s = call.accept(none, none.cast(), true);
                    assert_eq!(s.err(), Some(Errno(libc::ENFILE)));
                    // So do operations; what would close one says what a close says.
                    for (opcode, error) in [(op::OPENAT2, libc::ENFILE), (op::CLOSE, libc::EBADF)] {
                        // SAFETY: as a C program makes one: all zeroes.
                        let record: Op = std::mem::zeroed();
                        let mut sqe = Sqe::new(opcode, 0, 0, 0, 0, 0);
                        sqe.0[5] = 1 << 32;
                        record.sqe.set(sqe);
                        let begun = ex.begin_operation(task, &record);
                        assert_eq!(begun.err(), Some(Errno(error)));
                    }
                }
            }
            RawResult::success(0)
        });
        destroy(ex, []);
    }
}

#[test]
fn passed_or_an_error() {
    for bits in [0, mask::FD_PASS] {
        let (Some(here), Some(there)) = (table(bits), table(0)) else { return };
        let lacks = here.config().contains("direct descriptors passed on");
        let here = Handle::new(here, true).unwrap();
        let there = Handle::new(there, true).unwrap();
        let to = there.executor().reference().unwrap();
        let index = Rc::new(Cell::new(Err(Errno(0)) as Res<i32>));
        let out = index.clone();
        run(here, move |task| {
            let ex = here.executor();
            let s = socket::open(ex, task, libc::AF_UNIX, libc::SOCK_STREAM, 0, true).unwrap();
            let call = Call { ex, task, fd: s.fd, flags: s.flags };
            // SAFETY: held until below.
            out.set(call.pass(unsafe { to.as_ref() }).map(|(index, _)| index));
            call.close().unwrap();
            RawResult::success(0)
        });
        // SAFETY: held until here.
        unsafe { Reference::release(to) };
        match index.get() {
            Err(e) => assert!(lacks && e == EOPNOTSUPP, "{e}"),
            Ok(fd) => run(there, move |task| {
                let ex = there.executor();
                let flags = monad_async::io::call::DIRECT;
                assert_eq!(Call { ex, task, fd, flags }.close(), Ok(()));
                RawResult::success(0)
            }),
        }
        destroy(here, []);
        destroy(there, []);
    }
}

/// Once a socket lingers, each direct one was closed by a thread of the kernel's; now that one alone.
#[test]
fn a_socket_is_asked_whether_it_lingers() {
    alone("a_socket_is_asked_whether_it_lingers", || {
        let Some(kernel) = table(0) else { return };
        let can_be_asked = !kernel.config().contains("plain descriptors of direct ones");
        let ex = Handle::new(kernel, true).unwrap();
        run(ex, move |task| {
            let open = || {
                let ex = ex.executor();
                let s = socket::open(ex, task, libc::AF_INET, libc::SOCK_STREAM, 0, true).unwrap();
                Call { ex, task, fd: s.fd, flags: s.flags }
            };
            let (lingers, others) = (open(), [open(), open()]);
            let set = libc::linger { l_onoff: 1, l_linger: 5 };
            let (at, length) = ((&raw const set).cast(), size_of_val(&set) as u32);
            // SAFETY: of that size.
            match unsafe { lingers.option_set(libc::SOL_SOCKET, libc::SO_LINGER, at, length) } {
                Err(EOPNOTSUPP) if !can_be_asked => skip("no options of direct sockets"),
                set => set.unwrap(),
            }
            others.iter().for_each(|s| s.close().unwrap());
            assert!(!can_be_asked || kernel_workers() == 0, "{}", kernel_workers());
            lingers.close().unwrap();
            assert!(!can_be_asked || kernel_workers() == 1, "{}", kernel_workers());
            RawResult::success(0)
        });
        destroy(ex, []);
    });
}

/// Threads of the kernel's that work for this process; they stay for some seconds.
fn kernel_workers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default()
    };
    tasks.map(name).filter(|name| name.starts_with("iou-wrk")).count()
}

/// The second close of a direct descriptor was performed behind the first one and what got its place
/// next, which it closed. (In the order of the tasks' I/O priorities, as the ring is full.)
#[test]
fn a_second_close_at_once_closes_nothing_else() {
    let mask = mask::CANCEL_HANDLE; // Nothing comes between that would be waited for.
    let options = RingOptions { entries: 2, direct_descriptors: 1, mask, ..Default::default() };
    let Some(kernel) = ring(options) else { return };
    let ex = Handle::new(kernel, true).unwrap();
    let opens =
        move |task| socket::open(ex.executor(), task, libc::AF_UNIX, libc::SOCK_STREAM, 0, true);
    let first = Rc::new(Cell::new(None));
    let out = first.clone();
    run(ex, move |task| {
        out.set(Some(opens(task).unwrap()));
        RawResult::success(0)
    });
    let first = first.take().unwrap();
    let fills = move |task| {
        // SAFETY: refers to no memory.
        let res = unsafe { ex.executor().io(task, Sqe::new(op::NOP, -1, 0, 0, 0, 0)) };
        assert_eq!(res, 0);
        RawResult::success(0)
    };
    let closes = move |task| {
        let call = Call { ex: ex.executor(), task, fd: first.fd, flags: first.flags };
        call.close().map(|()| 0).into()
    };
    let uses = move |task| {
        let got = opens(task).unwrap();
        assert_eq!(got.fd, first.fd, "the only place there is");
        // Others are through by then.
        for _ in 0..100 {
            ex.executor().sleep(task, 0);
        }
        let call = Call { ex: ex.executor(), task, fd: got.fd, flags: got.flags };
        let is_there = call.shutdown(libc::SHUT_RD);
        assert_eq!(is_there, Ok(()), "closed by another's second close");
        call.close().map(|()| 0).into()
    };
    let tasks: Vec<_> = (0..5).map(|_| new_task()).collect();
    set_body(tasks[0], fills);
    set_body(tasks[1], fills);
    set_body(tasks[2], closes);
    set_body(tasks[3], closes);
    set_body(tasks[4], uses);
    for (task, level) in tasks.iter().zip([1, 1, 0, 2, 1]) {
        task.head.io.set(level);
    }
    for &task in &tasks {
        ex.attach(task).unwrap();
    }
    while ex.has_work() {
        let _ = ex.run(usize::MAX, None);
    }
    let errors: Vec<_> = tasks.iter().map(|task| task.head.result.get().error).collect();
    assert_eq!(errors, [0, 0, 0, libc::EBADF, 0]);
    destroy(ex, tasks);
}
