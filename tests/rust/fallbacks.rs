//! Receiving by view, registered buffers and closes where the kernel lacks what they are made of: the
//! same results, and the config string says so. The kernel of this machine is told to lack it by masks.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::Handle;
use monad_async::capi::buffer_set::{
    monad_async_buffers_claim, monad_async_buffers_clone, monad_async_buffers_register,
    monad_async_buffers_release, monad_async_buffers_share, monad_async_buffers_unregister,
    monad_async_file_read_fixed, monad_async_file_write_fixed, Buffer,
};
use monad_async::error::{Errno, RawResult};
use monad_async::io::call::Call;
use monad_async::io::file::File;
use monad_async::io::ordered::order;
use monad_async::io::recv_stream::{RecvStream, NO_WAIT};
use monad_async::reactor::buffers::Buffers;
use monad_async::reactor::operation::Op;
use monad_async::task::header::TaskRef;
use monad_async::uring::abi::setup;
use monad_async::uring::kernel::{op, Cqe, Kernel, Sqe, Wait, Waker};
use monad_async::uring::{mask, RealKernel, RingOptions};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::mem::{size_of_val, zeroed};
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::ptr::{null_mut, NonNull};
use std::rc::Rc;
use support::programme::attach_all;
use support::rings::ring;
use support::*;

const RECEIVING: [u32; 4] =
    [0, mask::RECV_STREAM, mask::BUFFER_RING, mask::BUFFER_RING | mask::RECV_STREAM];

/// More completions than an executor of these tests has in flight. A kernel (5.15.0-204 of Ubuntu)
/// hangs for ever, in the middle of a call, once it has had more than there was room for.
const COMPLETIONS: u32 = 1024;

fn executor_without(mask: u32, entries: u32) -> Option<Handle<Real>> {
    let (flags, cq_entries) = (setup::CQSIZE, COMPLETIONS);
    let kernel = ring(RingOptions { entries, flags, cq_entries, mask, ..Default::default() })?;
    for (bit, name) in [
        (mask::RECV_STREAM, "streams of receives (masked)"),
        (mask::BUFFER_RING, "buffer rings (masked)"),
        (mask::FIXED_TABLE, "registered buffers (masked)"),
        (mask::CLONE_BUFFERS, "shared registered buffers (masked)"),
        (mask::CANCEL_HANDLE, "cancelling by descriptor (masked)"),
        (mask::WAIT_ALL, "transfers in full by one operation (masked)"),
        (mask::CONTROL, "messages with more than data (masked)"),
    ] {
        let dropped = kernel.config().lines().find(|l| l.starts_with("dropped")).unwrap();
        let says = dropped.split(", ").any(|d| d.trim_start_matches("dropped: ") == name);
        assert_eq!(says, mask & bit != 0, "{name} in {dropped}");
    }
    Some(Handle::new(kernel, true).unwrap())
}

fn finish(ex: Handle<Real>) {
    while ex.has_work() {
        let _ = ex.run(usize::MAX, None);
    }
}

/// Nothing happens any more but by others.
fn settle(ex: Handle<Real>) {
    while ex.run(usize::MAX, Some(0)).is_ok_and(|ran| ran != 0) {}
}

fn is_taken(buffers: NonNull<Buffers>) -> bool {
    // SAFETY: not removed yet.
    !unsafe { buffers.as_ref() }.is_idle()
}

/// A task that echoes by view what comes on `fd`, to the end; what it got, joined.
fn echoes(
    ex: Handle<Real>,
    buffers: NonNull<Buffers>,
    fd: i32,
    got: Rc<RefCell<Vec<u8>>>,
) -> TaskRef {
    let task = new_task();
    // SAFETY: zeros are a stream that was never begun.
    let stream: Box<RecvStream> = Box::new(unsafe { zeroed() });
    set_body(task, move |task| {
        let ex = ex.executor();
        // SAFETY: in its box until the task's body goes, which is after its end.
        unsafe { stream.begin(ex, task, fd, buffers, 0) }.unwrap();
        let ended = loop {
            match stream.next(ex, task) {
                Ok(Some(view)) => {
                    // SAFETY: a buffer that we hold, and this much of it is filled.
                    let data =
                        unsafe { std::slice::from_raw_parts(view.data.as_ptr(), view.length) };
                    got.borrow_mut().extend_from_slice(data);
                    // Others run while it is held.
                    let _ = ex.sleep(task, 0);
                    // SAFETY: not removed yet.
                    let buffers = unsafe { buffers.as_ref() };
                    let number = buffers.number_of(view.data.as_ptr()).unwrap();
                    assert!(buffers.give_back(number));
                    ex.buffer_freed(buffers);
                }
                Ok(None) => break RawResult::success(0),
                Err(e) => break RawResult::failure(e),
            }
        };
        stream.finish(ex, task).unwrap();
        ended
    });
    task
}

/// A hundred connections, idle between messages, on a ring of four buffers, with two entries of the
/// submission queue, so that buffers wait to be handed to the kernel.
#[test]
fn many_connections_and_few_buffers() {
    const CONNECTIONS: usize = 100;
    for bits in RECEIVING {
        let Some(ex) = executor_without(bits, 2) else { return };
        let buffers = ex.executor().add_buffers(4, 16).unwrap();
        let pairs: Vec<_> = (0..CONNECTIONS).map(|_| UnixStream::pair().unwrap()).collect();
        let got: Vec<_> = pairs.iter().map(|_| Rc::new(RefCell::new(Vec::new()))).collect();
        let each = pairs.iter().zip(&got);
        let tasks: Vec<TaskRef> =
            each.map(|(pair, got)| echoes(ex, buffers, pair.0.as_raw_fd(), got.clone())).collect();
        attach_all(ex, &tasks);
        let mut expected = vec![Vec::new(); CONNECTIONS];
        for round in 0..3 {
            settle(ex);
            assert!(!is_taken(buffers), "an idle connection holds a buffer: mask {bits:#x}");
            for (i, pair) in pairs.iter().enumerate() {
                // Some are longer than a buffer.
                let text = format!("{i} in round {round}, {}", "x".repeat(i % 40));
                (&pair.1).write_all(text.as_bytes()).unwrap();
                expected[i].extend_from_slice(text.as_bytes());
            }
        }
        let (_kept, ends): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        settle(ex);
        drop(ends);
        finish(ex);
        for (i, task) in tasks.iter().enumerate() {
            assert_eq!(*got[i].borrow(), expected[i], "connection {i}, mask {bits:#x}");
            assert_eq!(task.head.result.get(), RawResult::success(0));
        }
        // SAFETY: given up here.
        assert_eq!(unsafe { ex.executor().remove_buffers(buffers) }, Ok(()));
        // Its number is the next one's, and its memory is not the kernel's any more.
        let again = ex.executor().add_buffers(2, 64).unwrap();
        let (here, there) = UnixStream::pair().unwrap();
        (&there).write_all(b"again").unwrap();
        drop(there);
        let got = Rc::new(RefCell::new(Vec::new()));
        let last = echoes(ex, again, here.as_raw_fd(), got.clone());
        ex.attach(last).unwrap();
        finish(ex);
        assert_eq!((last.head.result.get().error, &**got.borrow()), (0, &b"again"[..]));
        // SAFETY: as above.
        assert_eq!(unsafe { ex.executor().remove_buffers(again) }, Ok(()));
        destroy(ex, tasks.into_iter().chain([last]));
    }
}

/// A consumer that keeps all its views: no buffer without waiting, EDEADLK to one that would wait
/// for itself; a cancel loses nothing.
#[test]
fn all_views_are_kept() {
    for bits in RECEIVING {
        let Some(ex) = executor_without(bits, 8) else { return };
        let buffers = ex.executor().add_buffers(2, 8).unwrap();
        let (here, there) = UnixStream::pair().unwrap();
        let fd = here.as_raw_fd();
        let task = new_task();
        let checked = Rc::new(Cell::new(false));
        let out = checked.clone();
        set_body(task, move |task| {
            let ex = ex.executor();
            // SAFETY: zeros are a stream that was never begun; it ends in here.
            let stream: RecvStream = unsafe { zeroed() };
            let begin = |flags| {
                // SAFETY: in place until it has ended.
                unsafe { stream.begin(ex, task, fd, buffers, flags) }.unwrap();
            };
            // SAFETY: not removed yet.
            let of = unsafe { buffers.as_ref() };
            (&there).write_all(b"0123456789abcdefXYZ").unwrap();
            let mut views = Vec::new();
            for flags in [NO_WAIT, 0] {
                begin(flags);
                while views.len() < 2 {
                    views.push(stream.next(ex, task).unwrap().unwrap());
                }
                let full = stream.next(ex, task).err();
                let expected = if flags == NO_WAIT { libc::ENOBUFS } else { libc::EDEADLK };
                assert_eq!(full, Some(Errno(expected)), "mask {bits:#x}");
                stream.finish(ex, task).unwrap();
            }
            for view in views {
                assert_eq!(view.length, 8);
                assert!(of.give_back(of.number_of(view.data.as_ptr()).unwrap()));
                ex.buffer_freed(of);
            }
            begin(0);
            let last = stream.next(ex, task).unwrap().unwrap();
            // SAFETY: a buffer that we hold.
            let data = unsafe { std::slice::from_raw_parts(last.data.as_ptr(), last.length) };
            assert_eq!(data, b"XYZ");
            assert!(of.give_back(of.number_of(last.data.as_ptr()).unwrap()));
            ex.buffer_freed(of);
            stream.finish(ex, task).unwrap();
            out.set(true);
            RawResult::success(0)
        });
        ex.attach(task).unwrap();
        finish(ex);
        assert!(checked.get());
        // SAFETY: given up here.
        assert_eq!(unsafe { ex.executor().remove_buffers(buffers) }, Ok(()));
        destroy(ex, [task]);
    }
}

/// It asks the kernel for no more, which would take off the socket what is another's to receive.
#[test]
fn a_stream_that_is_stopped_leaves_what_comes_on_its_socket() {
    for bits in RECEIVING {
        let Some(ex) = executor_without(bits, 8) else { return };
        let buffers = ex.executor().add_buffers(2, 8).unwrap();
        let (here, mut there) = UnixStream::pair().unwrap();
        let fd = here.as_raw_fd();
        let task = new_task();
        set_body(task, move |task| {
            let ex = ex.executor();
            // SAFETY: zeros are a stream that was never begun; it ends in here.
            let stream: RecvStream = unsafe { zeroed() };
            // SAFETY: in place until it has ended.
            unsafe { stream.begin(ex, task, fd, buffers, 0) }.unwrap();
            let _ = ex.sleep(task, 0); // The kernel has it.
            stream.stop(ex).unwrap();
            assert!(stream.next(ex, task).unwrap().is_none(), "mask {bits:#x}");
            stream.finish(ex, task).unwrap();
            let mut room = [0_u8; 8];
            let call = Call { ex, task, fd, flags: 0 };
            // SAFETY: room of our own.
            unsafe { call.recv_exact(room.as_mut_ptr().cast(), 3) }
        });
        ex.attach(task).unwrap();
        settle(ex);
        there.write_all(b"abc").unwrap();
        finish(ex);
        assert_eq!(task.head.result.get(), RawResult::success(3), "mask {bits:#x}");
        // SAFETY: given up here.
        assert_eq!(unsafe { ex.executor().remove_buffers(buffers) }, Ok(()));
        destroy(ex, [task]);
    }
}

#[test]
fn registered_buffers_and_their_clones() {
    for bits in [0, mask::CLONE_BUFFERS, mask::FIXED_TABLE, mask::FIXED_TABLE | mask::CLONE_BUFFERS]
    {
        let (Some(ex), Some(other)) = (executor_without(bits, 8), executor_without(bits, 8)) else {
            return;
        };
        let name = std::env::temp_dir().join(format!("monad_async_fixed_{}", std::process::id()));
        let file = std::fs::File::options();
        let file = file.clone().read(true).write(true).create(true).truncate(true).open(&name);
        let file = file.unwrap();
        std::fs::remove_file(name).unwrap();
        let fd = file.as_raw_fd();
        let (mut set, mut clone) = (null_mut(), null_mut());
        // SAFETY: executors of this thread, and ours to write.
        unsafe {
            let r = monad_async_buffers_register(ex.as_ptr().cast(), &mut set, 2, 4096);
            assert_eq!(r, RawResult::success(0));
            assert_eq!(monad_async_buffers_share(set), RawResult::success(0));
            let r = monad_async_buffers_clone(other.as_ptr().cast(), &mut clone, set);
            assert_eq!(r, RawResult::success(0), "mask {bits:#x}");
        }
        for (turn, (on, of)) in [(ex, set), (other, clone)].into_iter().enumerate() {
            let task = new_task();
            set_body(task, move |task| {
                let file = File { fd, flags: 0 };
                // SAFETY: the task that runs, and memory in place.
                unsafe {
                    let mut buffer: Buffer = zeroed();
                    let r = monad_async_buffers_claim(task.as_head(), of, &mut buffer);
                    assert_eq!(r, RawResult::success(0));
                    let at = (turn * 5) as i64;
                    let data: *mut u8 = (&raw const buffer).cast::<*mut u8>().read();
                    data.copy_from(c"hello".as_ptr().cast(), 5);
                    let wrote =
                        monad_async_file_write_fixed(task.as_head(), file, &buffer, 0, 5, at);
                    assert_eq!(wrote, RawResult::success(5), "mask {bits:#x}");
                    let read = monad_async_file_read_fixed(task.as_head(), file, &buffer, 8, 5, at);
                    assert_eq!(read, RawResult::success(5));
                    assert_eq!(std::slice::from_raw_parts(data.add(8), 5), b"hello");
                    monad_async_buffers_release(&mut buffer)
                }
            });
            on.attach(task).unwrap();
            finish(on);
            assert_eq!(task.head.result.get(), RawResult::success(0));
            destroy_task(task);
        }
        // SAFETY: given up here.
        unsafe {
            assert_eq!(monad_async_buffers_unregister(clone), RawResult::success(0));
            assert_eq!(monad_async_buffers_unregister(set), RawResult::success(0));
        }
        destroy(ex, []);
        destroy(other, []);
    }
}

/// ENOTSUP and what an older kernel says are one number.
#[test]
fn no_buffers_without_a_ring() {
    let kernel = RealKernel::new(&RingOptions::default()).unwrap();
    let ex = Handle::new(kernel, true).unwrap();
    assert_eq!(ex.executor().add_buffers(4, 16).err(), Some(Errno(libc::ENOTSUP)));
    destroy(ex, []);
}

#[test]
fn no_table_of_direct_descriptors() {
    if ring(RingOptions { entries: 8, ..Default::default() }).is_none() {
        return;
    }
    let mask = mask::DIRECT_TABLE;
    let options = RingOptions { entries: 8, direct_descriptors: 4, mask, ..Default::default() };
    let Err(refused) = RealKernel::new(&options) else { panic!("made") };
    assert_eq!(refused.errno.0, libc::EOPNOTSUPP);
    let text = refused.text.to_string();
    assert!(text.contains("5.19") && text.contains("direct_descriptors to 0"), "{text}");
}

/// What tasks have in flight on a handle ends when it is closed, whether the kernel cancels by handle
/// or, before 6.0, one by one: calls, records, and ordered writes to a pipe that nobody reads, behind
/// which `close` would wait for ever. What is in flight on another descriptor of the same file goes on.
#[test]
fn a_close_ends_what_is_in_flight() {
    const WRITES: usize = 5;
    for (bits, entries) in
        [0, mask::CANCEL_HANDLE, mask::ALL].into_iter().flat_map(|m| [(m, 2), (m, 16)])
    {
        let Some(ex) = executor_without(bits, entries) else { return };
        let (reader, mut feeder) = std::io::pipe().unwrap();
        let other = reader.try_clone().unwrap();
        let (here, _there) = UnixStream::pair().unwrap();
        let (unread, mut full) = std::io::pipe().unwrap();
        // SAFETY: a descriptor of our own.
        let size = unsafe { libc::fcntl(full.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
        full.write_all(&vec![b'-'; size.max(1) as usize]).unwrap();
        let read = |fd: i32| {
            let task = new_task();
            set_body(task, move |task| {
                let mut room = [0_u8; 8];
                let call = Call { ex: ex.executor(), task, fd, flags: 0 };
                // SAFETY: room of our own.
                match unsafe { call.read(room.as_mut_ptr().cast(), room.len(), -1) } {
                    Ok(n) => RawResult::success(n as isize),
                    Err(e) => RawResult::failure(e),
                }
            });
            task
        };
        // In this order, as all are taken: descriptors, which the closes below take.
        let (fd, row_fd, socket) = (reader.into_raw_fd(), full.into_raw_fd(), here.into_raw_fd());
        let mut ended: Vec<TaskRef> = (0..3).map(|_| read(fd)).chain([read(socket)]).collect();
        let polls = new_task();
        set_body(polls, move |task| {
            let call = Call { ex: ex.executor(), task, fd: socket, flags: 0 };
            call.poll(libc::POLLIN).map_or_else(RawResult::failure, |_| RawResult::success(0))
        });
        let record = new_task();
        set_body(record, move |task| {
            let mut room = [0_u8; 8];
            // SAFETY: as a C program makes one: all zeroes; in place until it was waited for.
            unsafe {
                let record: Op = zeroed();
                record.sqe.set(Sqe::new(op::READ, fd, u64::MAX, room.as_mut_ptr() as u64, 8, 0));
                ex.executor().begin_operation(task, &record).unwrap();
                ex.executor().wait_operation(task, &record)
            }
        });
        ended.extend([polls, record]);
        let bystander = read(other.as_raw_fd());
        let ordered: Rc<Cell<Option<File>>> = Rc::default();
        let out = ordered.clone();
        let orders = new_large_task();
        set_body(orders, move |_| {
            out.set(Some(order(ex.executor(), File { fd: row_fd, flags: 0 }).unwrap()));
            RawResult::success(0)
        });
        ex.attach(orders).unwrap();
        finish(ex);
        let file = ordered.take().unwrap();
        let writes: Vec<TaskRef> = (0..WRITES).map(|_| new_task()).collect();
        for &task in &writes {
            set_body(task, move |task| {
                let call = Call { ex: ex.executor(), task, fd: file.fd, flags: file.flags };
                // SAFETY: a constant.
                unsafe { call.write_in_order(c"x".as_ptr().cast(), 1, -1) }
            });
        }
        ended.extend(writes);
        attach_all(ex, &ended);
        ex.attach(bystander).unwrap();
        settle(ex);
        let over = ended.iter().position(|task| !task.is_attached());
        let result = over.map(|n| (n, ended[n].head.result.get()));
        assert_eq!(result, None, "they wait");
        let closes = new_large_task();
        set_body(closes, move |task| {
            let call = Call { ex: ex.executor(), task, fd, flags: 0 };
            assert_eq!(call.close(), Ok(()));
            assert_eq!(Call { fd: socket, ..call }.close(), Ok(()));
            let call = Call { ex: ex.executor(), task, fd: file.fd, flags: file.flags };
            assert_eq!(call.close_in_order(), Ok(()));
            RawResult::success(0)
        });
        ex.attach(closes).unwrap();
        while ended.iter().any(|task| task.is_attached()) {
            let _ = ex.run(usize::MAX, None);
        }
        let errors: Vec<_> = ended.iter().map(|task| task.head.result.get().error).collect();
        let canceled = |&e: &i32| e == libc::ECANCELED;
        assert!(errors.iter().all(canceled), "{bits:#x} {entries}: {errors:?}");
        assert!(bystander.is_attached());
        feeder.write_all(b"ab").unwrap();
        finish(ex);
        assert_eq!(bystander.head.result.get(), RawResult::success(2));
        assert_eq!(closes.head.result.get(), RawResult::success(0));
        destroy(ex, ended.into_iter().chain([bystander, orders, closes]));
        drop((other, unread));
    }
}

/// Whether all that is sent is one operation, or one for what there is at a time, a cancel in the
/// middle tells how much was moved, and the rest is there for the next one.
#[test]
fn what_was_moved_before_a_cancel_is_told() {
    const BYTES: usize = 1 << 20;
    for bits in [0, mask::WAIT_ALL, mask::ALL] {
        let Some(ex) = executor_without(bits, 8) else { return };
        let (here, there) = UnixStream::pair().unwrap();
        let operations = || ex.executor().head.total_io_submitted.get();
        let fd = here.as_raw_fd();
        let one = |receives: bool| {
            let task = new_task();
            set_body(task, move |task| {
                let call = Call { ex: ex.executor(), task, fd, flags: 0 };
                let mut data = vec![b'-'; BYTES];
                // SAFETY: memory of ours, until the call has returned.
                unsafe {
                    if !receives {
                        return call.send_all(data.as_ptr().cast(), BYTES);
                    }
                    let r = call.recv_exact(data.as_mut_ptr().cast(), 10);
                    assert_eq!(&data[..r.value as usize], &b"abcdefgh"[..r.value as usize]);
                    r
                }
            });
            ex.attach(task).unwrap();
            settle(ex);
            task
        };
        let cancel = |task: TaskRef| {
            ex.cancel(task).unwrap();
            finish(ex);
            let r = task.head.result.get();
            destroy_task(task);
            assert_eq!(r.error, libc::ECANCELED, "mask {bits:#x}");
            r.value as usize
        };

        let before = operations();
        let receives = one(true);
        for part in [&b"abc"[..], b"de", b"fgh"] {
            (&there).write_all(part).unwrap();
            settle(ex);
        }
        assert_eq!(cancel(receives), 8, "mask {bits:#x}");
        if bits & mask::WAIT_ALL != 0 {
            assert_eq!(operations() - before, 4);
        }

        let sends = one(false);
        there.set_nonblocking(true).unwrap();
        let mut arrived = 0;
        let mut room = vec![0; 64 << 10];
        let mut drain = || {
            while let Ok(n) = (&there).read(&mut room) {
                arrived += n;
            }
            arrived
        };
        // Each time either has room, or there is something to take.
        let rounds = (0..BYTES).take_while(|_| drain() < BYTES / 2).map(|_| settle(ex)).count();
        assert!(rounds < BYTES, "no more comes, mask {bits:#x}");
        let sent = cancel(sends);
        assert_eq!(drain(), sent, "mask {bits:#x}");
        assert!(sent < BYTES);
        destroy(ex, []);
    }
}

/// Waits for room, or for a message; then a descriptor has come with it. A close ends it. Where the
/// ring refuses messages with more than data, too (Linux before 5.12).
#[test]
fn a_descriptor_comes_with_a_message() {
    /// Of what is sent or has come: one byte, and room for a descriptor.
    struct Message {
        byte: u8,
        part: libc::iovec,
        control: [u64; 3],
        head: libc::msghdr,
    }
    impl Message {
        fn new(byte: u8) -> Box<Self> {
            // SAFETY: plain data.
            let mut new: Box<Self> = Box::new(unsafe { zeroed() });
            new.byte = byte;
            new.part = libc::iovec { iov_base: (&raw mut new.byte).cast(), iov_len: 1 };
            new.head.msg_iov = &raw mut new.part;
            new.head.msg_iovlen = 1;
            new.head.msg_control = new.control.as_mut_ptr().cast();
            new.head.msg_controllen = size_of_val(&new.control);
            new
        }
        fn descriptor(&mut self) -> &mut i32 {
            // SAFETY: there is room for a header and a descriptor.
            unsafe {
                let header = libc::CMSG_FIRSTHDR(&self.head);
                assert!(!header.is_null(), "nothing has come with it");
                &mut *libc::CMSG_DATA(header).cast()
            }
        }
    }
    const COUNT: i32 = 2_000;
    let alone = mask::CONTROL | mask::FILE_OPCODES;
    for (bits, waits_for_room) in
        [(0, false), (0, true), (alone, false), (alone, true), (mask::ALL, true)]
    {
        let Some(ex) = executor_without(bits, 8) else { return };
        let (here, there) = UnixStream::pair().unwrap();
        let (from, to) = (here.as_raw_fd(), there.as_raw_fd());
        let sends = new_task();
        set_body(sends, move |task| {
            let call = Call { ex: ex.executor(), task, fd: from, flags: 0 };
            for n in 0..COUNT {
                let mut message = Message::new(n as u8);
                // SAFETY: ours; the header lies in the room for it.
                let sent = unsafe {
                    let header = libc::CMSG_FIRSTHDR(&message.head);
                    (*header).cmsg_level = libc::SOL_SOCKET;
                    (*header).cmsg_type = libc::SCM_RIGHTS;
                    (*header).cmsg_len = libc::CMSG_LEN(4) as usize;
                    *message.descriptor() = from;
                    call.sendmsg(&message.head, 0)
                };
                assert_eq!(sent, Ok(1), "mask {bits:#x}");
            }
            // With room for more, of which there is none.
            let mut plain = Message::new(7);
            plain.head.msg_controllen = 0;
            // SAFETY: ours.
            assert_eq!(unsafe { call.sendmsg(&plain.head, 0) }, Ok(1), "mask {bits:#x}");
            RawResult::success(0)
        });
        let takes = new_task();
        set_body(takes, move |task| {
            let call = Call { ex: ex.executor(), task, fd: to, flags: 0 };
            for n in 0..COUNT {
                let mut message = Message::new(0);
                // SAFETY: ours.
                unsafe {
                    assert_eq!(call.recvmsg(&mut message.head, 0), Ok(1), "mask {bits:#x}");
                    assert_eq!(message.byte, n as u8);
                    assert_eq!(libc::close(*message.descriptor()), 0);
                }
            }
            let mut plain = Message::new(0);
            // SAFETY: as above.
            assert_eq!(unsafe { call.recvmsg(&mut plain.head, 0) }, Ok(1), "mask {bits:#x}");
            assert_eq!((plain.byte, plain.head.msg_controllen), (7, 0));
            // SAFETY: as above.
            let none = unsafe { call.recvmsg(&mut Message::new(0).head, libc::MSG_DONTWAIT) };
            assert_eq!(none, Err(Errno(libc::EAGAIN)), "mask {bits:#x}");
            // SAFETY: as above.
            let closed = unsafe { call.recvmsg(&mut Message::new(0).head, 0) };
            assert_eq!(closed, Err(Errno(libc::ECANCELED)), "mask {bits:#x}");
            RawResult::success(0)
        });
        let [first, then] = if waits_for_room { [sends, takes] } else { [takes, sends] };
        ex.attach(first).unwrap();
        settle(ex);
        assert!(first.is_attached(), "it waits");
        ex.attach(then).unwrap();
        while sends.is_attached() {
            let _ = ex.run(usize::MAX, None);
        }
        settle(ex);
        let (closes, to) = (new_task(), there.into_raw_fd());
        set_body(closes, move |task| {
            let call = Call { ex: ex.executor(), task, fd: to, flags: 0 };
            assert_eq!(call.close(), Ok(()));
            RawResult::success(0)
        });
        ex.attach(closes).unwrap();
        finish(ex);
        destroy(ex, [sends, takes, closes]);
    }
}

/// A datagram socket that has no room for one more, with its name.
fn full() -> (UnixDatagram, libc::sockaddr_un, libc::socklen_t) {
    let to = UnixDatagram::unbound().unwrap();
    // SAFETY: zeros are an address without a name.
    let mut name: libc::sockaddr_un = unsafe { zeroed() };
    name.sun_family = libc::AF_UNIX as u16;
    let mut size = size_of_val(&name) as libc::socklen_t;
    // SAFETY: an address of its family alone, which the kernel completes; and room for it.
    unsafe {
        let family = size_of_val(&name.sun_family) as libc::socklen_t;
        assert_eq!(libc::bind(to.as_raw_fd(), (&raw const name).cast(), family), 0);
        assert_eq!(libc::getsockname(to.as_raw_fd(), (&raw mut name).cast(), &mut size), 0);
    }
    let address = to.local_addr().unwrap();
    // By several, each of which has room of its own left.
    let fills = || {
        let from = UnixDatagram::unbound().unwrap();
        from.set_nonblocking(true).unwrap();
        (0..8).filter(|_| from.send_to_addr(b"-", &address).is_ok()).count()
    };
    while fills() != 0 {}
    (to, name, size)
}

/// Of an unconnected datagram socket poll tells that it has room itself, and not whether who is to
/// receive has: between two tries the task sleeps, longer each time. By a call, and by the ring.
#[test]
fn who_is_told_of_room_that_there_is_not_pauses() {
    for bits in [0, mask::CONTROL | mask::FILE_OPCODES, mask::ALL] {
        let Some(ex) = executor_without(bits, 8) else { return };
        let (to, name, size) = full();
        let from = UnixDatagram::unbound().unwrap();
        let sends = new_task();
        let fd = from.as_raw_fd();
        set_body(sends, move |task| {
            let call = Call { ex: ex.executor(), task, fd, flags: 0 };
            let mut part = libc::iovec { iov_base: c"xyz".as_ptr().cast_mut().cast(), iov_len: 3 };
            let mut control = 0_u64;
            // SAFETY: plain data.
            let mut head: libc::msghdr = unsafe { zeroed() };
            head.msg_name = (&raw const name).cast_mut().cast();
            head.msg_namelen = size;
            head.msg_iov = &raw mut part;
            head.msg_iovlen = 1;
            // None of it is used.
            head.msg_control = (&raw mut control).cast();
            // SAFETY: ours.
            unsafe { call.sendmsg(&head, 0) }.map(|n| n as isize).into()
        });
        ex.attach(sends).unwrap();
        // It pauses for 10 ms soon.
        let tries = (0..1000).take_while(|_| ex.run(usize::MAX, Some(0)).is_ok()).count();
        assert!(tries < 1000, "mask {bits:#x}: it asks all the time");
        assert!(sends.is_attached(), "{:?}", sends.head.result.get());
        assert_eq!(to.recv(&mut [0; 8]).unwrap(), 1);
        finish(ex);
        assert_eq!(sends.head.result.get(), RawResult::success(3), "mask {bits:#x}");
        assert_eq!(last_of(&to), b"xyz", "mask {bits:#x}");
        destroy(ex, [sends]);
    }
}

/// The last message that it has.
fn last_of(to: &UnixDatagram) -> Vec<u8> {
    to.set_nonblocking(true).unwrap();
    let mut last = Vec::new();
    let mut room = [0; 8];
    while let Ok(bytes) = to.recv(&mut room) {
        last = room[..bytes].to_vec();
    }
    last
}

/// A ring that waits for the room of another's socket has taken what it is to send by then: it sent
/// a message of nothing (Linux 6.18).
#[test]
fn a_message_that_waits_for_room_is_sent_whole() {
    for (bits, all) in
        [0, mask::WAIT_ALL, mask::ALL].into_iter().flat_map(|m| [(m, false), (m, true)])
    {
        let Some(ex) = executor_without(bits, 8) else { return };
        let (to, ..) = full();
        let from = UnixDatagram::unbound().unwrap();
        from.connect_addr(&to.local_addr().unwrap()).unwrap();
        let (sends, fd) = (new_task(), from.as_raw_fd());
        set_body(sends, move |task| {
            let call = Call { ex: ex.executor(), task, fd, flags: 0 };
            let data = c"xyz".as_ptr().cast();
            // SAFETY: a constant.
            unsafe {
                match all {
                    true => call.send_all(data, 3),
                    false => call.send(data, 3, 0).map(|n| n as isize).into(),
                }
            }
        });
        ex.attach(sends).unwrap();
        settle(ex);
        assert!(sends.is_attached(), "{:?}", sends.head.result.get());
        assert_eq!(to.recv(&mut [0; 8]).unwrap(), 1);
        finish(ex);
        assert_eq!(sends.head.result.get(), RawResult::success(3), "mask {bits:#x}");
        assert_eq!(last_of(&to), b"xyz", "mask {bits:#x}");
        destroy(ex, [sends]);
    }
}

/// Who waits for a queued error by a call is not woken by data, of which there may be any amount.
#[test]
fn a_queued_error_is_waited_for_beside_data() {
    let Some(ex) = executor_without(mask::CONTROL | mask::FILE_OPCODES, 8) else { return };
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let fd = socket.as_raw_fd();
    let on = 1;
    // SAFETY: reads a number of ours.
    let set = unsafe {
        let at = (&raw const on).cast();
        libc::setsockopt(fd, libc::SOL_IP, libc::IP_RECVERR, at, size_of_val(&on) as u32)
    };
    assert_eq!(set, 0);
    socket.send_to(b"data", socket.local_addr().unwrap()).unwrap();
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let takes = new_task();
    set_body(takes, move |task| {
        let call = Call { ex: ex.executor(), task, fd, flags: 0 };
        let mut room = [0_u8; 8];
        let mut part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
        let mut control = [0_u64; 32];
        // SAFETY: plain data.
        let mut head: libc::msghdr = unsafe { zeroed() };
        head.msg_iov = &raw mut part;
        head.msg_iovlen = 1;
        head.msg_control = control.as_mut_ptr().cast();
        head.msg_controllen = size_of_val(&control);
        // SAFETY: ours.
        match unsafe { call.recvmsg(&mut head, libc::MSG_ERRQUEUE) } {
            Ok(n) => RawResult::success(n as isize),
            Err(e) => RawResult::failure(e),
        }
    });
    ex.attach(takes).unwrap();
    settle(ex);
    assert_eq!(ex.run(usize::MAX, Some(20_000_000)), errno(libc::ETIME), "it goes on");
    assert!(takes.is_attached(), "{:?}", takes.head.result.get());
    socket.send_to(b"error", nobody).unwrap();
    finish(ex);
    assert_eq!(takes.head.result.get(), RawResult::success(5));
    destroy(ex, [takes]);
}

/// A kernel without rings of buffers, which may have no memory for entries.
#[derive(Default)]
struct Old {
    submitted: RefCell<Vec<Sqe>>,
    completed: RefCell<VecDeque<Cqe>>,
    /// The numbers that it may choose from, of one group.
    has: Rc<RefCell<Vec<u64>>>,
    has_no_memory: Rc<Cell<bool>>,
}

impl Kernel for Old {
    fn has_ring(&self) -> bool {
        true
    }
    fn sq_space(&self) -> u32 {
        4 - self.sq_pending()
    }
    fn sq_pending(&self) -> u32 {
        self.submitted.borrow().len() as u32
    }
    unsafe fn push(&self, sqe: &Sqe) {
        self.submitted.borrow_mut().push(*sqe);
    }
    fn pop(&self) -> Option<Cqe> {
        self.completed.borrow_mut().pop_front()
    }
    fn needs_enter(&self) -> bool {
        false
    }
    fn enter(&self, _: Wait) -> Result<(), Errno> {
        if self.has_no_memory.get() {
            return Err(Errno(libc::EAGAIN));
        }
        for sqe in self.submitted.take() {
            let mut has = self.has.borrow_mut();
            // In the place of a descriptor: how many.
            let count = sqe.fd() as u64;
            match sqe.opcode() {
                op::PROVIDE_BUFFERS => has.extend(sqe.off()..sqe.off() + count),
                op::REMOVE_BUFFERS => drop(has.drain(..)),
                _ => panic!("operation {}", sqe.opcode()),
            }
            let user_data = sqe.user_data();
            self.completed.borrow_mut().push_back(Cqe { user_data, res: 0, flags: 0 });
        }
        Ok(())
    }
    fn now_boot_ns(&self) -> u64 {
        0
    }
    unsafe fn register_buffers(&self, _: u64, _: u16, _: u16) -> Result<(), Errno> {
        Err(Errno(libc::EOPNOTSUPP))
    }
    fn waker(&self) -> Waker {
        Waker::of_eventfd(-1)
    }
}

/// Buffers are to be destroyed, and the kernel has no memory to take them back: EBUSY. It took the
/// entry later, and those who received into them found none any more.
#[test]
fn buffers_that_could_not_be_destroyed_are_the_kernels_again() {
    for pending in [false, true] {
        let kernel = Old::default();
        let (has, has_no_memory) = (kernel.has.clone(), kernel.has_no_memory.clone());
        let ex = Handle::new(kernel, true).unwrap();
        let sorted = || {
            assert_eq!(ex.run(usize::MAX, Some(0)), errno(libc::ETIME));
            has.borrow_mut().sort();
            has.borrow().clone()
        };
        has_no_memory.set(pending);
        let buffers = ex.executor().add_buffers(8, 64).unwrap();
        if !pending {
            assert_eq!(sorted(), (0..8).collect::<Vec<_>>());
        }
        has_no_memory.set(true);
        for _ in 0..3 {
            // SAFETY: from there, and used no more once that succeeds.
            assert_eq!(unsafe { ex.executor().remove_buffers(buffers) }, errno(libc::EBUSY));
        }
        has_no_memory.set(false);
        assert_eq!(sorted(), (0..8).collect::<Vec<_>>());
        // SAFETY: as above.
        assert_eq!(unsafe { ex.executor().remove_buffers(buffers) }, Ok(()));
        assert!(sorted().is_empty());
        ex.destroy().unwrap();
    }
}
