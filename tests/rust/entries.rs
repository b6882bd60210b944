//! What each call on files, names and sockets asks the kernel for, field by field, by the numbers of
//! the kernel's headers and not by ours: what nobody sees of a call that goes well, such as that the
//! data alone is synced, that nothing raises SIGPIPE, or that an exec closes the descriptor.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::Handle;
use monad_async::error::{Errno, RawResult, Res};
use monad_async::io::call::Call;
use monad_async::io::file::{self, How, Parts};
use monad_async::io::path::{Path, Walk};
use monad_async::io::socket::{self, Address};
use monad_async::task::header::TaskRef;
use monad_async::uring::kernel::{Cqe, Kernel, Sqe, Wait, Waker};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use support::*;

/// Notes entries, and ends each with 0.
#[derive(Default)]
struct Notes {
    entries: Rc<RefCell<Vec<Sqe>>>,
    /// As the call of `open` has it, which is on the task's stack.
    how: Rc<RefCell<Vec<[u64; 3]>>>,
    completed: RefCell<VecDeque<Cqe>>,
    submitted: RefCell<Vec<u64>>,
    /// To the first ones, ahead of the zeros.
    answers: RefCell<VecDeque<i32>>,
    knows_no_signal: bool,
}

impl Kernel for Notes {
    fn has_ring(&self) -> bool {
        true
    }
    fn sq_space(&self) -> u32 {
        8
    }
    fn sq_pending(&self) -> u32 {
        self.submitted.borrow().len() as u32
    }
    unsafe fn push(&self, sqe: &Sqe) {
        if sqe.opcode() == OPENAT2 {
            // SAFETY: that of the call, which waits.
            self.how.borrow_mut().push(unsafe { *(sqe.off() as *const [u64; 3]) });
        }
        self.submitted.borrow_mut().push(sqe.user_data());
        self.entries.borrow_mut().push(*sqe);
    }
    fn pop(&self) -> Option<Cqe> {
        self.completed.borrow_mut().pop_front()
    }
    fn needs_enter(&self) -> bool {
        false
    }
    fn enter(&self, _: Wait) -> Result<(), Errno> {
        for user_data in self.submitted.take() {
            let res = self.answers.borrow_mut().pop_front().unwrap_or(0);
            self.completed.borrow_mut().push_back(Cqe { user_data, res, flags: 0 });
        }
        Ok(())
    }
    fn now_boot_ns(&self) -> u64 {
        0
    }
    fn knows_no_signal(&self) -> bool {
        self.knows_no_signal
    }
    fn waker(&self) -> Waker {
        Waker::of_eventfd(-1)
    }
}

// linux/io_uring.h
const OPENAT2: u8 = 28;
const FIXED_FILE: u8 = 1;
const ASYNC: u8 = 1 << 4;

/// A field is left out where it is 0.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
struct Entry {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    fd: i32,
    off: u64,
    addr: u64,
    len: u32,
    op_flags: u32,
    /// `buf_index` and `personality`; above them `file_index`.
    sixth: u64,
    seventh: u64,
}

impl Entry {
    fn of(sqe: &Sqe) -> Self {
        Self {
            opcode: sqe.opcode(),
            flags: sqe.flags(),
            ioprio: sqe.ioprio(),
            fd: sqe.fd(),
            off: sqe.off(),
            addr: sqe.addr(),
            len: sqe.len(),
            op_flags: (sqe.0[3] >> 32) as u32,
            sixth: sqe.0[5],
            seventh: sqe.0[6],
        }
    }
}

/// The entries of what a task calls, and what `open` was asked for.
fn asked(kernel: Notes, call: impl FnOnce(Handle<Notes>, TaskRef) + 'static) -> Vec<Entry> {
    let entries = kernel.entries.clone();
    let ex = Handle::new(kernel, true).unwrap();
    let task = new_large_task();
    let mut call = Some(call);
    set_body(task, move |task| {
        call.take().expect("it runs once")(ex, task);
        RawResult::success(0)
    });
    ex.attach(task).unwrap();
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
    destroy(ex, [task]);
    let entries = entries.take();
    entries.iter().map(Entry::of).collect()
}

/// An address that nobody follows.
const AT: u64 = 0x1000;
const TO: u64 = 0x2000;

fn at<T>() -> *mut T {
    AT as *mut T
}

type Asks = fn(&Call<'_, Notes>, &Walk<'_, Notes>) -> Res<()>;

macro_rules! unsafely {
    (|$call:pat_param, $walk:pat_param| $asks:expr) => {
        // SAFETY: nothing of what it refers to is looked at, as nobody performs it.
        |$call, $walk| unsafe { $asks }
    };
}

/// By descriptor 5: what is called, and what it is to ask for.
fn calls() -> Vec<(&'static str, Asks, Entry)> {
    let e = Entry { fd: 5, ..Entry::default() };
    let data = Entry { addr: AT, len: 9, ..e };
    let sent = (libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) as u32;
    let named = |directory: i32| Entry { fd: directory, addr: AT, ..e };
    fn moved(r: Res<usize>) -> Res<()> {
        r.map(drop)
    }
    fn name(path: u64, directory: i32) -> Path {
        Path { directory, path: path as *const _ }
    }
    fn parts() -> Parts {
        Parts { at: at(), count: 2 }
    }
    /// That of 0 bytes is the end, and no error.
    fn told(r: RawResult) -> Res<()> {
        assert_eq!((r.value, r.error), (0, 0));
        Ok(())
    }
    vec![
        (
            "read",
            unsafely!(|c, _| moved(c.read(at(), 9, 70))),
            Entry { opcode: 22, off: 70, ..data },
        ),
        (
            "write",
            unsafely!(|c, _| moved(c.write(at(), 9, 70))),
            Entry { opcode: 23, off: 70, ..data },
        ),
        (
            "write at the current position",
            unsafely!(|c, _| moved(c.write(at(), 9, -1))),
            Entry { opcode: 23, flags: ASYNC, off: u64::MAX, ..data },
        ),
        (
            "readv",
            unsafely!(|c, _| moved(c.readv(parts(), 70, libc::RWF_HIPRI))),
            Entry { opcode: 1, off: 70, len: 2, op_flags: 1, ..data },
        ),
        (
            "writev",
            unsafely!(|c, _| moved(c.writev(parts(), -1, libc::RWF_DSYNC))),
            Entry { opcode: 2, flags: ASYNC, off: u64::MAX, len: 2, op_flags: 2, ..data },
        ),
        ("sync", |c, _| c.sync(false), Entry { opcode: 3, ..e }),
        ("sync_data", |c, _| c.sync(true), Entry { opcode: 3, op_flags: 1, ..e }),
        (
            "sync_range",
            |c, _| c.sync_range(70, 9, 2),
            Entry { opcode: 8, off: 70, len: 9, op_flags: 2, ..e },
        ),
        (
            "allocate",
            |c, _| c.allocate(3, 70, 9),
            Entry { opcode: 17, off: 70, addr: 9, len: 3, ..e },
        ),
        ("truncate", |c, _| c.truncate(70), Entry { opcode: 55, off: 70, ..e }),
        (
            "advise",
            |c, _| c.advise(70, 9, libc::POSIX_FADV_WILLNEED),
            Entry { opcode: 24, off: 70, len: 9, op_flags: 3, ..e },
        ),
        (
            "a path's stat",
            unsafely!(|_, w| w.stat(name(AT, 4), libc::AT_EMPTY_PATH, 0x200, TO as *mut _)),
            Entry { opcode: 21, off: TO, len: 0x200, op_flags: 0x1000, ..named(4) },
        ),
        (
            "unlink",
            unsafely!(|_, w| w.unlink(name(AT, 4), libc::AT_REMOVEDIR)),
            Entry { opcode: 36, op_flags: 0x200, ..named(4) },
        ),
        (
            "rename",
            unsafely!(|_, w| w.rename(name(AT, 4), name(TO, 6), libc::RENAME_NOREPLACE)),
            Entry { opcode: 35, off: TO, len: 6, op_flags: 1, ..named(4) },
        ),
        (
            "mkdir",
            unsafely!(|_, w| w.mkdir(name(AT, 4), 0o750)),
            Entry { opcode: 37, len: 0o750, ..named(4) },
        ),
        (
            "link",
            unsafely!(|_, w| w.link(name(AT, 4), name(TO, 6), libc::AT_SYMLINK_FOLLOW)),
            Entry { opcode: 39, off: TO, len: 6, op_flags: 0x400, ..named(4) },
        ),
        (
            "symlink",
            unsafely!(|_, w| w.symlink(AT as *const _, name(TO, 6))),
            Entry { opcode: 38, off: TO, ..named(6) },
        ),
        (
            "recv",
            unsafely!(|c, _| moved(c.recv(at(), 9, libc::MSG_PEEK))),
            Entry { opcode: 27, op_flags: 2, ..data },
        ),
        (
            "send",
            unsafely!(|c, _| moved(c.send(at(), 9, libc::MSG_MORE))),
            Entry { opcode: 26, op_flags: 0x8000 | sent, ..data },
        ),
        (
            "recv_exact",
            unsafely!(|c, _| told(c.recv_exact(at(), 9))),
            Entry { opcode: 27, op_flags: libc::MSG_WAITALL as u32, ..data },
        ),
        (
            "send_all",
            unsafely!(|c, _| told(c.send_all(at(), 9))),
            Entry { opcode: 26, op_flags: sent, ..data },
        ),
        (
            "recvmsg",
            unsafely!(|c, _| moved(c.recvmsg(at(), libc::MSG_TRUNC))),
            Entry { opcode: 10, len: 1, op_flags: 0x4000_0020, ..data },
        ),
        (
            "sendmsg",
            unsafely!(|c, _| moved(c.sendmsg(at(), 0))),
            Entry { opcode: 9, len: 1, op_flags: sent, ..data },
        ),
        (
            "accept",
            unsafely!(|c, _| c.accept(at(), TO as *mut _, false).map(drop)),
            Entry { opcode: 13, off: TO, addr: AT, op_flags: 0o2000000, ..e },
        ),
        (
            "connect",
            unsafely!(|c, _| c.connect(Address { at: at(), length: 16 })),
            Entry { opcode: 16, off: 16, addr: AT, ..e },
        ),
        ("shutdown", |c, _| c.shutdown(libc::SHUT_WR), Entry { opcode: 34, len: 1, ..e }),
        (
            "poll",
            |c, _| moved(c.poll(libc::POLLIN | libc::POLLPRI)),
            Entry { opcode: 6, op_flags: 3, ..e },
        ),
    ]
}

#[test]
fn of_each_call() {
    for (name, call, expected) in calls() {
        let got = asked(Notes::default(), move |ex, task| {
            let ex = ex.executor();
            let _ = call(&Call { ex, task, fd: 5, flags: 0 }, &Walk { ex, task });
        });
        assert_eq!(got, [expected], "{name}");
    }
}

/// Of direct ones the same with its flag, where there is a descriptor at all.
#[test]
fn of_each_call_on_a_direct_descriptor() {
    for (name, call, expected) in calls().into_iter().filter(|(.., e)| e.fd == 5) {
        let got = asked(Notes::default(), move |ex, task| {
            let ex = ex.executor();
            let _ = call(&Call { ex, task, fd: 5, flags: socket::DIRECT }, &Walk { ex, task });
        });
        assert_eq!(got, [Entry { flags: expected.flags | FIXED_FILE, ..expected }], "{name}");
    }
}

/// RWF_NOSIGNAL, which came with Linux 6.18, in place of a thread of the kernel's.
#[test]
fn writes_raise_no_signal_by_their_own_flag_where_there_is_one() {
    let writes = calls().into_iter().filter(|(.., e)| matches!(e.opcode, 2 | 23));
    for (name, call, expected) in writes {
        let kernel = Notes { knows_no_signal: true, ..Notes::default() };
        let got = asked(kernel, move |ex, task| {
            let ex = ex.executor();
            let _ = call(&Call { ex, task, fd: 5, flags: 0 }, &Walk { ex, task });
        });
        let op_flags = expected.op_flags | 0x100;
        assert_eq!(got, [Entry { flags: 0, op_flags, ..expected }], "{name}");
    }
}

/// On reads and writes alone, as elsewhere the field means something else: best effort's first and
/// last.
#[test]
fn with_the_io_priority_of_the_task() {
    for (level, ioprio) in [(0, 2 << 13), (1, 0), (2, 2 << 13 | 7)] {
        for (name, call, expected) in calls() {
            let got = asked(Notes::default(), move |ex, task| {
                task.head.io.set(level);
                let ex = ex.executor();
                let _ = call(&Call { ex, task, fd: 5, flags: 0 }, &Walk { ex, task });
            });
            let carries = matches!(expected.opcode, 1 | 2 | 22 | 23);
            let ioprio = if carries { ioprio } else { 0 };
            assert_eq!(got, [Entry { ioprio, ..expected }], "{name} at {level}");
        }
    }
}

#[test]
fn of_open() {
    let created = (libc::O_RDWR | libc::O_CREAT) as u64;
    let temporary = (libc::O_RDWR | libc::O_TMPFILE) as u64;
    let read = libc::O_RDONLY as u64;
    let closes = libc::O_CLOEXEC as u64;
    // A FIFO, which a thread of the kernel's would wait for.
    let at_once = closes | libc::O_NONBLOCK as u64;
    // What means nothing the kernel refuses: a mode where nothing is made.
    for (flags, mode, passed, more) in [
        (read, 0o640, 0, closes),
        (created, 0o640, 0o640, at_once),
        (libc::O_TRUNC as u64, 0, 0, at_once),
        (temporary, 0o6, 0o6, closes),
    ] {
        let kernel = Notes::default();
        let how = kernel.how.clone();
        let got = asked(kernel, move |ex, task| {
            let how = How { flags, mode, resolve: 8 };
            // SAFETY: nobody performs it.
            unsafe { file::open(ex.executor(), task, 4, at(), how, false) }.unwrap();
        });
        let [entry] = got[..] else { panic!("{got:?}") };
        let expected = Entry { opcode: OPENAT2, fd: 4, addr: AT, len: 24, ..Entry::default() };
        assert_eq!(Entry { off: 0, ..entry }, expected);
        assert_eq!(how.take(), [[flags | more, passed, 8]]);
    }
}

/// A device that takes nothing, and has no error for it, would be asked for ever.
#[test]
fn what_takes_nothing_ends_a_write_of_all() {
    asked(Notes::default(), |ex, task| {
        let call = Call { ex: ex.executor(), task, fd: 5, flags: 0 };
        // SAFETY: nobody performs it.
        let r = unsafe { call.write_all(at(), 9, 0) };
        assert_eq!((r.value, r.error), (0, libc::EIO));
    });
}

/// What is sent, and asked for, where the first answers are these.
fn sent(answers: &[i32], fd: i32, flags: u32, all: bool) -> Vec<Entry> {
    let kernel = Notes::default();
    kernel.answers.borrow_mut().extend(answers);
    asked(kernel, move |ex, task| {
        let call = Call { ex: ex.executor(), task, fd, flags };
        // SAFETY: nobody performs it.
        let moved = unsafe {
            match all {
                true => call.send_all(at(), 9),
                false => call.send(at(), 9, 0).map(|n| n as isize).into(),
            }
        };
        assert_eq!((moved.value, moved.error), (9, 0));
    })
}

/// A ring that waits for the room of another's socket of datagrams sends nothing, with success: it
/// waits for that of a stream alone, and holds the socket meanwhile; a task does for others.
#[test]
fn who_has_no_room_waits_as_the_socket_wants() {
    const SEND: u8 = 26;
    let now = (libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) as u32;
    let later = libc::MSG_NOSIGNAL as u32;
    let no_room = -libc::EAGAIN;
    let send =
        |fd, op_flags| Entry { opcode: SEND, fd, addr: AT, len: 9, op_flags, ..<_>::default() };
    let poll = |fd| Entry { opcode: 6, fd, op_flags: libc::POLLOUT as u32, ..<_>::default() };
    let (stream, _end) = std::os::unix::net::UnixStream::pair().unwrap();
    let fd = stream.as_raw_fd();
    assert_eq!(sent(&[no_room, 9], fd, 0, false), [send(fd, now), send(fd, later)]);
    // One that others have told not to wait.
    let polled = [send(fd, now), send(fd, later), poll(fd), send(fd, now)];
    assert_eq!(sent(&[no_room, no_room, 4, 9], fd, 0, false), polled);
    let (datagrams, _end) = std::os::unix::net::UnixDatagram::pair().unwrap();
    let fd = datagrams.as_raw_fd();
    let polled = [send(fd, now), poll(fd), send(fd, now)];
    assert_eq!(sent(&[no_room, 4, 9], fd, 0, false), polled);
    // What a direct one is, the ring is asked for: SO_TYPE; here it does not know.
    let got = sent(&[no_room, -libc::EOPNOTSUPP, 4, 9], 5, socket::DIRECT, false);
    let opcodes: Vec<_> = got.iter().map(|e| (e.opcode, e.flags)).collect();
    let [by_direct, polls, asks] = [SEND, 6, 46].map(|opcode| (opcode, FIXED_FILE));
    assert_eq!(opcodes, [by_direct, asks, polls, by_direct]);
}

/// What was sent in part is no message: for the rest the ring may wait.
#[test]
fn the_rest_of_what_is_sent_whole_is_one_operation() {
    let got = sent(&[4, 5], 5, 0, true);
    let asked: Vec<_> = got.iter().map(|e| (e.opcode, e.addr, e.len, e.op_flags)).collect();
    let now = (libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) as u32;
    let whole = (libc::MSG_NOSIGNAL | libc::MSG_WAITALL) as u32;
    assert_eq!(asked, [(26, AT, 9, now), (26, AT + 4, 5, whole)]);
}

/// An error that is queued is told of by POLLERR, which nobody has to ask for: data would wake who
/// waits for one again and again.
#[test]
fn who_waits_for_a_queued_error_waits_for_no_data() {
    let receives: [(u8, Asks); 2] = [
        (10, unsafely!(|c, _| c.recvmsg(at(), libc::MSG_ERRQUEUE).map(drop))),
        (27, unsafely!(|c, _| c.recv(at(), 9, libc::MSG_ERRQUEUE).map(drop))),
    ];
    for (opcode, receive) in receives {
        let kernel = Notes::default();
        kernel.answers.borrow_mut().extend([-libc::EAGAIN, 8, 9]);
        let got = asked(kernel, move |ex, task| {
            let ex = ex.executor();
            let call = Call { ex, task, fd: 5, flags: 0 };
            assert_eq!(receive(&call, &Walk { ex, task }), Ok(()));
        });
        let asked: Vec<_> = got.iter().map(|e| e.opcode).collect();
        assert_eq!(asked, [opcode, 6, opcode]);
        assert_eq!(got[1].op_flags, 0);
    }
}
