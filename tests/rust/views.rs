//! A hundred thousand idle connections that receive by view on a ring of 64 buffers: what each
//! takes, and that what comes on any of them arrives. Where the process may not have so many
//! descriptors, several streams share a connection, and the test is counted as skipped.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::Handle;
use monad_async::error::RawResult;
use monad_async::io::recv_stream::RecvStream;
use monad_async::reactor::buffers::Buffers;
use monad_async::task::header::{TaskHead, TaskRef};
use monad_async::uring::RingOptions;
use std::cell::Cell;
use std::mem::zeroed;
use std::ptr::NonNull;
use support::child::alone;
use support::rings::ring;
use support::rng::Rng;
use support::skip::skip;
use support::*;

const CONNECTIONS: usize = 100_000;
const BUFFERS: u32 = 64;
const BUFFER_BYTES: u32 = 4096;
/// Of main memory, the kernel's part for the sockets included.
const NEEDED_KIB: usize = 3 << 20;

/// One connection, as its task is told.
struct Seat {
    fd: i32,
    buffers: NonNull<Buffers>,
    ex: Handle<Real>,
    /// What has come, and how many views that was.
    sum: Cell<u64>,
    views: Cell<u32>,
}

unsafe extern "C" fn receives(head: *const TaskHead) -> RawResult {
    // SAFETY: the executor passes the task that runs; its user_ptr is a seat that outlives it. A
    // stream of zeros was never begun, and this one ends before it goes.
    unsafe {
        let task = TaskRef::from_head(head);
        let seat = &*task.head.user_ptr.get().cast::<Seat>();
        let (ex, buffers) = (seat.ex.executor(), seat.buffers.as_ref());
        let stream: RecvStream = zeroed();
        if let Err(e) = stream.begin(ex, task, seat.fd, seat.buffers, 0) {
            return RawResult::failure(e);
        }
        let ended = loop {
            match stream.next(ex, task) {
                Ok(Some(view)) => {
                    let data = std::slice::from_raw_parts(view.data.as_ptr(), view.length);
                    let sum = data.iter().map(|&byte| u64::from(byte)).sum::<u64>();
                    seat.sum.set(seat.sum.get() + sum);
                    seat.views.set(seat.views.get() + 1);
                    let number = buffers.number_of(view.data.as_ptr()).unwrap();
                    buffers.give_back(number);
                    ex.buffer_freed(buffers);
                }
                Ok(None) => break Ok(()),
                Err(e) => break Err(e),
            }
        };
        ended.and(stream.finish(ex, task)).map(|()| 0).into()
    }
}

fn kib(file: &str, name: &str) -> usize {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find(|l| l.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How many descriptors may be open, of `count` that are wanted.
fn may_open(count: usize) -> usize {
    // SAFETY: reads and writes a record of ours.
    unsafe {
        let mut limit: libc::rlimit = zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        let most = libc::rlimit { rlim_cur: count as u64, rlim_max: count as u64 };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &most) == 0 {
            return count;
        }
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
        limit.rlim_cur as usize
    }
}

/// Each that has something to do has done it.
fn settle(ex: Handle<Real>) {
    while ex.run(usize::MAX, Some(0)).is_ok_and(|ran| ran != 0) {}
}

#[test]
fn a_hundred_thousand_idle_connections() {
    alone("a_hundred_thousand_idle_connections", || {
        let sockets = CONNECTIONS.min((may_open(2 * CONNECTIONS + 100) - 100) / 2);
        if sockets < CONNECTIONS {
            skip(format!("the process may have {sockets} connections, which streams share"));
        }
        if kib("/proc/meminfo", "MemAvailable:") < NEEDED_KIB {
            return skip("not enough memory for 100,000 connections");
        }
        let options = RingOptions { entries: 256, ..Default::default() };
        let Some(kernel) = ring(options) else { return };
        let ex = Handle::new(kernel, true).unwrap();
        let buffers = ex.executor().add_buffers(BUFFERS, BUFFER_BYTES).unwrap();
        let mut seats: Vec<Seat> = Vec::with_capacity(CONNECTIONS);
        let mut peers = Vec::with_capacity(CONNECTIONS);
        for n in 0..CONNECTIONS {
            let (sum, views) = (Cell::new(0), Cell::new(0));
            if n >= sockets {
                let fd = seats[n % sockets].fd;
                seats.push(Seat { fd, buffers, ex, sum, views });
                continue;
            }
            let mut ends = [-1; 2];
            let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
            // SAFETY: room for two.
            let made = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) };
            assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
            seats.push(Seat { fd: ends[0], buffers, ex, sum, views });
            peers.push(ends[1]);
        }
        let before = kib("/proc/self/status", "VmRSS:");
        let tasks: Vec<TaskRef> = seats
            .iter()
            .map(|seat| {
                let task = new_task();
                task.head.user_code.set(Some(receives));
                task.head.user_ptr.set(core::ptr::from_ref(seat).cast_mut().cast());
                ex.attach(task).unwrap();
                task
            })
            .collect();
        settle(ex);
        assert_eq!(ex.executor().head.tasks_suspended.get(), CONNECTIONS);
        let bytes = (kib("/proc/self/status", "VmRSS:") - before) * 1024 / CONNECTIONS;
        println!("measured: {bytes} bytes resident for an idle connection");
        #[cfg(not(debug_assertions))]
        assert!(bytes < 6 * 1024, "{bytes} bytes for an idle connection");
        // SAFETY: not removed yet.
        let idle = || unsafe { buffers.as_ref() }.is_idle();
        assert!(idle(), "an idle connection holds a buffer");

        // Many at once, so that most have to wait for a buffer, again and again.
        let mut rng = Rng::new(1, 0);
        let mut expected = vec![0; sockets];
        for _ in 0..20 {
            for _ in 0..500 {
                let at = rng.below(sockets as u32) as usize;
                let byte = rng.below(256) as u8;
                let data = vec![byte; 1 + rng.below(3 * BUFFER_BYTES) as usize];
                // SAFETY: reads `data`.
                let sent = unsafe {
                    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
                    libc::send(peers[at], data.as_ptr().cast(), data.len(), flags)
                };
                assert_eq!(sent, data.len() as isize, "{}", std::io::Error::last_os_error());
                expected[at] += u64::from(byte) * data.len() as u64;
            }
            settle(ex);
        }
        assert!(idle());
        let views = seats.iter().map(|seat| seat.views.get() as usize).sum::<usize>();
        for (at, &expected) in expected.iter().enumerate() {
            let sum = seats[at..].iter().step_by(sockets).map(|seat| seat.sum.get()).sum::<u64>();
            assert_eq!(sum, expected, "connection {at}");
        }
        assert!(views > 10_000, "{views}");
        for peer in peers {
            // SAFETY: ours.
            unsafe { libc::close(peer) };
        }
        while ex.has_work() {
            let _ = ex.run(usize::MAX, None);
        }
        for task in &tasks {
            assert_eq!(task.head.result.get(), RawResult::success(0));
        }
        for seat in &seats[..sockets] {
            // SAFETY: ours.
            unsafe { libc::close(seat.fd) };
        }
        assert!(idle());
        for task in tasks {
            monad_async::api::destroy_task(task).unwrap();
        }
        // SAFETY: given up here.
        assert_eq!(unsafe { ex.executor().remove_buffers(buffers) }, Ok(()));
        destroy(ex, []);
    });
}
