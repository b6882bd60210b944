//! The current position of a file: behind what was moved, once, whichever way it took. What is right
//! of it through the C API is in tests/c/position_test.cpp; here each rule of `io::position` and
//! `reactor::place` has a test that finds its planted bugs.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::Handle;
use monad_async::error::RawResult;
use monad_async::io::call::Call;
use monad_async::io::file::{File, Parts, UNBUFFERED};
use monad_async::io::ordered::order;
use monad_async::reactor::operation::Op;
use monad_async::uring::kernel::{op, Sqe};
use monad_async::uring::{mask, RingOptions};
use std::ffi::c_void;
use std::fs::{File as Plain, OpenOptions};
use std::mem::{size_of_val, zeroed};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use support::child::alone;
use support::rings::{ring, where_seccomp};
use support::skip::skip;
use support::*;

const BLOCK: usize = 4096;
/// No file of the process grows beyond it: a write comes short there, then is EFBIG.
const LIMIT: usize = 4608;
const HERE: i64 = -1;

/// A block of one letter, at a border of blocks.
#[repr(align(4096))]
struct Block([u8; BLOCK]);

impl Block {
    fn at(&self) -> *const c_void {
        self.0.as_ptr().cast()
    }
}

fn block(letter: u8) -> Box<Block> {
    Box::new(Block([letter; BLOCK]))
}

type MyCall<'a> = Call<'a, Real>;

fn in_task(body: impl Fn(&MyCall) + 'static) {
    in_task_without(0, body);
}

/// On a kernel that lacks so much.
fn in_task_without(mask: u32, body: impl Fn(&MyCall) + 'static) {
    let options = RingOptions { entries: 8, mask, ..Default::default() };
    let Some(kernel) = ring(options) else { return };
    if mask & mask::STREAM_POSITION != 0 {
        assert!(kernel.config().contains("current position of sockets ("), "{}", kernel.config());
    }
    let ex = Handle::new(kernel, true).unwrap();
    let task = new_large_task();
    let body = Rc::new(body);
    set_body(task, move |task| {
        body(&Call { ex: ex.executor(), task, fd: -1, flags: 0 });
        RawResult::success(0)
    });
    succeeds(ex, task);
}

/// A file without a name; `None`: the file system does not know these flags.
fn nameless(flags: i32) -> Option<Plain> {
    let mut how = OpenOptions::new();
    how.read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE | flags);
    how.open(std::env::temp_dir()).inspect_err(|e| skip(format_args!("{flags:#o}: {e}"))).ok()
}

/// Of files in a row: a helper thread writes the rows of the first, the ring those of the second, as
/// each write waits for the disk.
const OF_ROWS: [i32; 2] = [0, libc::O_DSYNC];

fn limit() {
    let limit = libc::rlimit { rlim_cur: LIMIT as u64, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: no handler; reads a record of ours.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        libc::setrlimit(libc::RLIMIT_FSIZE, &limit);
    }
}

fn position(file: &Plain) -> usize {
    seek(file, 0, libc::SEEK_CUR)
}

fn seek(file: &Plain, to: i64, from: i32) -> usize {
    // SAFETY: refers to no memory.
    unsafe { libc::lseek(file.as_raw_fd(), to, from) as usize }
}

fn of<'a>(call: &MyCall<'a>, file: &Plain, flags: u32) -> MyCall<'a> {
    Call { ex: call.ex, task: call.task, fd: file.as_raw_fd(), flags }
}

fn ordered<'a>(call: &MyCall<'a>, file: &Plain) -> MyCall<'a> {
    let file = File { fd: file.as_raw_fd(), flags: 0 };
    let file = order(call.ex, file).unwrap();
    Call { ex: call.ex, task: call.task, fd: file.fd, flags: file.flags }
}

/// The first letters of its blocks.
fn letters(file: &Plain) -> Vec<u8> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let all = std::fs::read(path).unwrap();
    all.chunks(BLOCK).map(|block| block[0]).collect()
}

/// Writes by operations of one row, that are begun together: what they came to.
fn together(call: &MyCall, writes: &[(&[u8], i64)]) -> Vec<RawResult> {
    let plain: Vec<_> = writes.iter().map(|&(data, at)| (data, at, 0)).collect();
    together_as(call, &plain)
}

/// The same, each with flags of its own.
fn together_as(call: &MyCall, writes: &[(&[u8], i64, i32)]) -> Vec<RawResult> {
    let ops: Vec<Op> = writes
        .iter()
        .map(|(data, at, flags)| {
            let (from, bytes) = (data.as_ptr() as u64, size_of_val(*data) as u32);
            let mut sqe = Sqe::new(op::WRITE, call.fd, *at as u64, from, bytes, *flags as u32);
            sqe.set_user_data(0x6f72_6465 << 32 | u64::from(call.flags & 0xffff));
            // SAFETY: zeros are an operation.
            let op: Op = unsafe { zeroed() };
            op.sqe.set(sqe);
            op
        })
        .collect();
    for op in &ops {
        // SAFETY: in place until they are over, below.
        unsafe { Handle::<Real>::begin_operation(call.task, op) }.unwrap();
    }
    ops.iter().map(|op| Handle::<Real>::wait_operation(call.task, op)).collect()
}

/// The ring's kernel leaves the position where it was behind a write that comes short: the next one
/// lay over it.
#[test]
fn behind_what_came_short() {
    alone("behind_what_came_short", || {
        limit();
        in_task(|call| {
            let data = block(b'a');
            let plain = nameless(0).unwrap();
            // SAFETY: the block has as much.
            unsafe {
                let by = of(call, &plain, 0);
                assert_eq!(by.write(data.at(), 1000, HERE), Ok(1000));
                assert_eq!(by.write(data.at(), BLOCK, HERE), Ok(LIMIT - 1000));
            }
            assert_eq!(position(&plain), LIMIT);
            for flags in OF_ROWS {
                let in_row = nameless(flags).unwrap();
                let by = ordered(call, &in_row);
                // SAFETY: as above.
                unsafe {
                    assert_eq!(by.write_in_order(data.at(), 1000, HERE), RawResult::success(1000));
                    let r = by.write_in_order(data.at(), BLOCK, HERE);
                    assert_eq!((r.error, r.value), (libc::EFBIG, (LIMIT - 1000) as isize));
                }
                assert_eq!(position(&in_row), LIMIT);
            }
        });
    });
}

/// Several that go on are one for the kernel, and it is that one that comes short: what the first
/// of them wanted says nothing.
#[test]
fn behind_what_came_short_as_one() {
    alone("behind_what_came_short_as_one", || {
        limit();
        in_task(|call| {
            for flags in OF_ROWS {
                let (file, data) = (nameless(flags).unwrap(), block(b'a'));
                let by = ordered(call, &file);
                let results = together(&by, &[(&data.0[..1000], HERE); 8]);
                let told: Vec<_> = results.iter().map(|r| r.value).collect();
                assert_eq!(told, [1000, 1000, 1000, 1000, 608, 0, 0, 0]);
                assert_eq!(position(&file), LIMIT);
            }
        });
    });
}

/// In the middle of a file, which ends far behind: the kernel has moved it, and nobody does again.
#[test]
fn of_what_was_whole() {
    in_task(|call| {
        let data = block(b'a');
        for (in_row, flags) in [(false, 0)].into_iter().chain(OF_ROWS.map(|flags| (true, flags))) {
            let file = nameless(flags).unwrap();
            file.write_all_at(&[b'x'; 10 * BLOCK], 0).unwrap();
            // SAFETY: the block has as much.
            unsafe {
                let (from, bytes) = (data.at(), BLOCK);
                if in_row {
                    let r = ordered(call, &file).write_in_order(from, bytes, HERE);
                    assert_eq!(r, RawResult::success(BLOCK as isize));
                } else {
                    assert_eq!(of(call, &file, 0).write(from, bytes, HERE), Ok(BLOCK));
                }
            }
            assert_eq!(position(&file), BLOCK, "in a row: {in_row}");
        }
    });
}

/// What is only appended to goes to the end, wherever the position was; and that is the end then.
#[test]
fn of_what_is_appended() {
    alone("of_what_is_appended", || {
        limit();
        in_task(|call| {
            let (file, data) = (nameless(libc::O_APPEND).unwrap(), block(b'a'));
            let by = of(call, &file, 0);
            // SAFETY: the block has as much.
            unsafe {
                assert_eq!(by.write(data.at(), BLOCK, HERE), Ok(BLOCK));
                for at in [10, 4500] {
                    file.set_len(BLOCK as u64).unwrap();
                    seek(&file, at, libc::SEEK_SET);
                    assert_eq!(by.write(data.at(), BLOCK, HERE), Ok(LIMIT - BLOCK));
                    assert_eq!(position(&file), LIMIT, "from {at}");
                }
            }
        });
    });
}

/// The ring does not move the position of a file with O_DIRECT while the disk is at work. A file that is read and appended to
/// is read where it is, not at its end.
#[test]
fn with_o_direct() {
    in_task(|call| {
        for append in [0, libc::O_APPEND] {
            let Some(file) = nameless(libc::O_DIRECT | append) else { return };
            let by = of(call, &file, UNBUFFERED);
            let mut to = block(0);
            // Again: what makes a file longer some file systems do at once, and the ring moves it. So it
            // does with what a disk has done before the call to it returns, as on a busy machine.
            for _ in 0..if append == 0 { 16 } else { 1 } {
                seek(&file, 0, libc::SEEK_SET);
                for (n, letter) in (b'a'..=b'd').enumerate() {
                    let data = block(letter);
                    // SAFETY: the block has as much.
                    assert_eq!(unsafe { by.write(data.at(), BLOCK, HERE) }, Ok(BLOCK));
                    assert_eq!(position(&file), (n + 1) * BLOCK);
                }
            }
            for _ in 0..16 {
                seek(&file, 0, libc::SEEK_SET);
                for (n, letter) in (b'a'..=b'd').enumerate() {
                    let room = to.0.as_mut_ptr().cast();
                    // SAFETY: the block has as much.
                    assert_eq!(unsafe { by.read(room, BLOCK, HERE) }, Ok(BLOCK));
                    assert_eq!((to.0[0], position(&file)), (letter, (n + 1) * BLOCK));
                }
            }
        }
    });
}

/// A pipe with that flag has no position: what is written to it is a packet.
#[test]
fn with_o_direct_of_a_pipe() {
    in_task(|call| {
        let mut ends = [-1; 2];
        // SAFETY: room for two; the block and the buffer have as much.
        unsafe {
            assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_DIRECT | libc::O_CLOEXEC), 0);
            let end = |fd| Call { ex: call.ex, task: call.task, fd, flags: UNBUFFERED };
            assert_eq!(end(ends[1]).write(block(b'a').at(), 3, HERE), Ok(3));
            let mut to = [0u8; 8];
            assert_eq!(end(ends[0]).read(to.as_mut_ptr().cast(), 8, HERE), Ok(3));
            for fd in ends {
                libc::close(fd);
            }
        }
    });
}

/// A row's writes of such a file are handed over with the places that they come to: one behind the
/// other from where the position is when the row goes, and those that have a place of their own
/// there.
#[test]
fn with_o_direct_in_a_row() {
    in_task(|call| {
        let Some(file) = nameless(libc::O_DIRECT) else { return };
        let by = ordered(call, &file);
        let [a, b, c, d, e] = [b'a', b'b', b'c', b'd', b'e'].map(block);
        let rows: [(&[_], usize); 2] = [
            // Two are in the kernel at once, and so are those behind them.
            (&[(&a.0[..], HERE), (&b.0[..], HERE), (&c.0[..], 5 * BLOCK as i64)], 2 * BLOCK),
            (&[(&d.0[..], HERE), (&e.0[..], HERE)], 3 * BLOCK),
        ];
        for (writes, behind) in rows {
            for r in together(&by, writes) {
                assert_eq!(r, RawResult::success(BLOCK as isize));
            }
            assert_eq!(position(&file), behind);
            seek(&file, BLOCK as i64, libc::SEEK_SET);
        }
        assert_eq!(letters(&file), [b'a', b'd', b'e', 0, 0, b'c']);
    });
}

/// What one write of a row appends is behind the end, and so is the position for the next one: that
/// lay over what was there.
#[test]
fn with_o_direct_appended_in_a_row() {
    in_task(|call| {
        let Some(file) = nameless(libc::O_DIRECT) else { return };
        let by = ordered(call, &file);
        let [a, b, c, d] = [b'a', b'b', b'c', b'd'].map(block);
        let before = together(&by, &[(&a.0[..], 0), (&a.0[..], BLOCK as i64)]);
        let appends = libc::RWF_APPEND;
        let row = [(&b.0[..], HERE, appends), (&c.0[..], 0, 0), (&d.0[..], HERE, 0)];
        for r in before.into_iter().chain(together_as(&by, &row)) {
            assert_eq!(r, RawResult::success(BLOCK as isize));
        }
        assert_eq!(position(&file), 4 * BLOCK);
        assert_eq!(letters(&file), [b'c', b'a', b'b', b'd']);
    });
}

/// An older kernel takes the current position for one, and a socket has none: ESPIPE. It was told to
/// who called with an entry of its own, and to who wrote in a row.
#[test]
fn of_a_socket() {
    [0, mask::STREAM_POSITION, mask::ALL].into_iter().for_each(sockets_have_none);
}

/// Where none can be made to ask it, the kernel is taken for one that refuses them.
#[test]
fn of_a_socket_where_none_can_be_asked() {
    where_seccomp(&[libc::SYS_socket], libc::EMFILE, || sockets_have_none(mask::STREAM_POSITION));
}

fn sockets_have_none(bits: u32) {
    in_task_without(bits, |call| {
        let (here, there) = UnixStream::pair().unwrap();
        let file = File { fd: there.as_raw_fd(), flags: 0 };
        let by = Call { ex: call.ex, task: call.task, fd: here.as_raw_fd(), flags: 0 };
        let from = c"abcdefgh".as_ptr().cast::<c_void>();
        let mut to = [0_u8; 16];
        let room = to.as_mut_ptr().cast::<c_void>();
        let part = |at: *const c_void| libc::iovec { iov_base: at.cast_mut(), iov_len: 2 };
        // SAFETY: a string, and room for sixteen.
        unsafe {
            let out = Call { fd: file.fd, ..by };
            assert_eq!(out.write(from, 2, HERE), Ok(2));
            assert_eq!(out.writev(Parts { at: &part(from.byte_add(2)), count: 1 }, HERE, 0), Ok(2));
            let own = Sqe::new(op::WRITE, out.fd, HERE as u64, from.byte_add(4) as u64, 2, 0);
            assert_eq!(Handle::<Real>::io(call.task, &own), RawResult::success(2));
            let file = order(call.ex, file).unwrap();
            let row = Call { flags: file.flags, ..out };
            assert_eq!(row.write_in_order(from.byte_add(6), 2, HERE), RawResult::success(2));
            // More than one, which are linked.
            for r in together(&row, &[(b"ij", HERE), (b"kl", HERE), (b"mn", HERE)]) {
                assert_eq!(r, RawResult::success(2));
            }

            assert_eq!(by.read(room, 2, HERE), Ok(2));
            assert_eq!(by.readv(Parts { at: &part(room.byte_add(2)), count: 1 }, HERE, 0), Ok(2));
            let own = |at: usize, len| {
                Sqe::new(op::READ, by.fd, HERE as u64, room.byte_add(at) as u64, len, 0)
            };
            assert_eq!(Handle::<Real>::io(call.task, &own(4, 2)), RawResult::success(2));
            let op: Op = zeroed();
            op.sqe.set(own(6, 8));
            for _ in 0..2 {
                Handle::<Real>::begin_operation(call.task, &op).unwrap();
                let r = Handle::<Real>::wait_operation(call.task, &op);
                assert_eq!((r, op.sqe.get().off()), (RawResult::success(8), HERE as u64));
                assert_eq!(&to[..14], b"abcdefghijklmn");
                assert_eq!(out.write(from.cast::<u8>().add(6).cast(), 2, HERE), Ok(2));
                assert_eq!(row.write_in_order(c"ijklmn".as_ptr().cast(), 6, HERE).value, 6);
            }
            row.close_in_order().unwrap();
            // What is no socket has a position still.
            let plain = nameless(0).unwrap();
            for n in 1..=2 {
                assert_eq!(of(call, &plain, 0).write(from, 2, HERE), Ok(2));
                assert_eq!(position(&plain), 2 * n);
            }
        }
        std::mem::forget(there);
    });
}
