//! What the tasks share, and what each does with it.

use core::ffi::c_void;
use monad_async::api::Handle;
use monad_async::capi::buffer::*;
use monad_async::capi::buffer_set::*;
use monad_async::capi::file::*;
use monad_async::capi::socket::*;
use monad_async::error::RawResult;
use monad_async::executor::scope::Scope;
use monad_async::io::file::File;
use monad_async::io::recv_stream::RecvStream;
use monad_async::io::socket::Socket;
use monad_async::reactor::buffers::Buffers;
use monad_async::sync::buffer_set::Set;
use monad_async::task::header::TaskRef;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::CString;
use std::mem::{zeroed, MaybeUninit};
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::support::rng::Rng;
use super::support::*;
use super::{DIRECT, PAIRS, TASKS};

/// The longest that a scope gives a task.
const LONGEST_NS: u32 = 400_000;

/// buffer.h
#[repr(C)]
struct Seen {
    data: *const u8,
    length: usize,
    ring: *mut c_void,
}

/// One end sends, the other receives; each byte says its place in the stream.
pub struct Pair {
    pub from: Socket,
    pub to: Socket,
    pub sent: Cell<u64>,
    pub received: Cell<u64>,
    /// Somebody sends, or receives: the order of bytes of two at a time would not be known.
    pub sends: Cell<bool>,
    pub receives: Cell<bool>,
    /// A receive that was interrupted may have taken bytes: never, says the contract.
    pub closed: Cell<bool>,
}

pub struct World {
    pub ex: Handle<Real>,
    pub tasks: Vec<TaskRef>,
    pub pairs: RefCell<Vec<Rc<Pair>>>,
    pub listener: Socket,
    pub port: u16,
    pub path: CString,
    pub ordered: Cell<File>,
    /// Numbers of records that were acknowledged, in the order of the calls.
    pub acknowledged: RefCell<VecDeque<u64>>,
    pub next_record: Cell<u64>,
    pub set: *mut Set,
    pub views: *mut Buffers,
    pub has_direct: bool,
    pub done: Cell<u64>,
    pub cut_short: Cell<u64>,
}

/// Every other one would not wait, but by poll.
pub fn connected() -> Rc<Pair> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    let kind = kind | [0, libc::SOCK_NONBLOCK][MADE.fetch_add(1, SeqCst) as usize % 2];
    let mut fds = [0; 2];
    // SAFETY: two descriptors are written.
    let r = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) };
    assert_eq!(r, 0);
    Rc::new(Pair {
        from: Socket { fd: fds[0], flags: 0 },
        to: Socket { fd: fds[1], flags: 0 },
        sent: Cell::new(0),
        received: Cell::new(0),
        sends: Cell::new(false),
        receives: Cell::new(false),
        closed: Cell::new(false),
    })
}

fn byte_at(place: u64) -> u8 {
    (place % 251) as u8
}

/// How many bytes; of a call that finishes short transfers they are counted with an error, too.
#[track_caller]
fn moved(r: RawResult, most: usize) -> usize {
    assert!(r.value <= most as isize && (r.value >= 0 || r.error != 0), "{r:?}");
    r.value.max(0) as usize
}

impl World {
    /// The value; None: interrupted, timed out, or its handle closed.
    #[track_caller]
    fn outcome(&self, r: RawResult, allowed: &[i32]) -> Option<usize> {
        if r.error == 0 {
            self.done.set(self.done.get() + 1);
            return Some(r.value as usize);
        }
        let ends = [libc::ECANCELED, libc::ETIME];
        assert!(ends.contains(&r.error) || allowed.contains(&r.error), "{r:?}");
        self.cut_short.set(self.cut_short.get() + 1);
        None
    }

    fn pick(&self, rng: &mut Rng) -> Rc<Pair> {
        self.pairs.borrow()[rng.below(PAIRS as u32) as usize].clone()
    }

    fn send(&self, me: TaskRef, rng: &mut Rng) {
        let pair = self.pick(rng);
        if pair.closed.get() || pair.sends.replace(true) {
            return;
        }
        let (from, count) = (pair.sent.get(), 1 + rng.below(200) as usize);
        let data: Vec<u8> = (0..count as u64).map(|n| byte_at(from + n)).collect();
        // SAFETY: the data stays until the call returns.
        let r = unsafe {
            match rng.below(2) {
                0 => {
                    monad_async_socket_send(me.as_head(), pair.from, data.as_ptr().cast(), count, 0)
                }
                _ => monad_async_socket_send_all(
                    me.as_head(),
                    pair.from,
                    data.as_ptr().cast(),
                    count,
                ),
            }
        };
        pair.sent.set(from + moved(r, count) as u64);
        self.outcome(r, &[libc::EPIPE]);
        pair.sends.set(false);
    }

    fn check_received(&self, pair: &Pair, data: &[u8]) {
        for &byte in data {
            let place = pair.received.replace(pair.received.get() + 1);
            assert_eq!(byte, byte_at(place), "byte {place} of a stream");
        }
        assert!(pair.received.get() <= pair.sent.get() + 200);
    }

    fn receive(&self, me: TaskRef, rng: &mut Rng) {
        let pair = self.pick(rng);
        if pair.closed.get() || pair.receives.replace(true) {
            return;
        }
        let mut data = [0_u8; 256];
        let count = 1 + rng.below(255) as usize;
        // SAFETY: the room stays until the call returns.
        let r = unsafe {
            let to: *mut c_void = data.as_mut_ptr().cast();
            match rng.below(3) {
                0 => monad_async_socket_recv_exact(me.as_head(), pair.to, to, count),
                _ => monad_async_socket_recv(me.as_head(), pair.to, to, count, 0),
            }
        };
        self.check_received(&pair, &data[..moved(r, count)]);
        self.outcome(r, &[]);
        pair.receives.set(false);
    }

    /// By view: one stream begun, some views taken and kept for a while, and ended.
    fn receive_by_view(&self, me: TaskRef, rng: &mut Rng) {
        let pair = self.pick(rng);
        if pair.closed.get() || pair.receives.replace(true) {
            return;
        }
        // SAFETY: zeros were never begun; ended before it goes, and so are the views.
        unsafe {
            let mut stream: RecvStream = zeroed();
            let begun =
                monad_async_recv_stream_begin(me.as_head(), &mut stream, pair.to, self.views, 0);
            if self.outcome(begun, &[]).is_some() {
                let mut kept: Vec<Seen> = Vec::new();
                for _ in 0..rng.below(5) {
                    let mut view: Seen = zeroed();
                    let r = monad_async_recv_stream_next(&mut stream, (&raw mut view).cast());
                    // EDEADLK: all tasks that are left wait for a buffer.
                    match self.outcome(r, &[libc::EDEADLK, libc::ENOBUFS]) {
                        Some(n) if n != 0 => {
                            let data = std::slice::from_raw_parts(view.data, view.length);
                            self.check_received(&pair, data);
                            kept.push(view);
                        }
                        _ => break,
                    }
                    if rng.one_in(2) {
                        Handle::<Real>::sleep(me, u64::from(rng.below(2)) * 20_000);
                    }
                    if rng.one_in(2) {
                        kept.drain(..).for_each(|mut view| {
                            let r = monad_async_view_release((&raw mut view).cast());
                            assert_eq!(r.error, 0);
                        });
                    }
                }
                // What came and was not taken is lost with the stream: nobody can go on behind it.
                let ended = monad_async_recv_stream_end(&mut stream);
                assert!(ended.error == 0, "{ended:?}");
                for mut view in kept {
                    assert_eq!(monad_async_view_release((&raw mut view).cast()).error, 0);
                }
            }
        }
        self.close_pair(me, &pair);
        pair.receives.set(false);
    }

    /// Who is in a call on it gets ECANCELED; the next one has new ones, often of the same numbers.
    fn close_pair(&self, me: TaskRef, pair: &Rc<Pair>) {
        if pair.closed.replace(true) {
            return;
        }
        let at = self.pairs.borrow().iter().position(|p| Rc::ptr_eq(p, pair)).unwrap();
        for socket in [pair.to, pair.from] {
            // SAFETY: the running task.
            let r = unsafe { monad_async_socket_close(me.as_head(), socket) };
            assert_eq!(r.error, 0, "a close is shielded");
        }
        self.pairs.borrow_mut()[at] = connected();
    }

    fn connect_and_accept(&self, me: TaskRef, rng: &mut Rng) {
        // SAFETY: what is passed stays until the calls return.
        unsafe {
            let mut got = Socket { fd: -1, flags: 0 };
            if rng.one_in(2) {
                let (at, null) = (me.as_head(), ptr::null_mut());
                let flags = self.kind(rng);
                let r = monad_async_socket_accept(
                    at,
                    self.listener,
                    &mut got,
                    null,
                    null.cast(),
                    flags,
                );
                self.outcome(r, &[]);
            } else {
                let (kind, at) = (libc::SOCK_STREAM, me.as_head());
                let r =
                    monad_async_socket_open(at, &mut got, libc::AF_INET, kind, 0, self.kind(rng));
                if self.outcome(r, &[]).is_some() {
                    let mut to: libc::sockaddr_in = zeroed();
                    to.sin_family = libc::AF_INET as u16;
                    to.sin_port = self.port.to_be();
                    to.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
                    let length = size_of::<libc::sockaddr_in>() as u32;
                    let r = monad_async_socket_connect(at, got, (&raw const to).cast(), length);
                    self.outcome(r, &[]);
                }
            }
            if got.fd >= 0 {
                assert_eq!(monad_async_socket_close(me.as_head(), got).error, 0);
            }
        }
    }

    /// A direct descriptor, or a plain one.
    fn kind(&self, rng: &mut Rng) -> u32 {
        if self.has_direct && rng.one_in(2) {
            DIRECT
        } else {
            0
        }
    }

    fn use_file(&self, me: TaskRef, rng: &mut Rng) {
        // SAFETY: what is passed stays until the calls return.
        unsafe {
            let mut file = File { fd: -1, flags: 0 };
            let flags = libc::O_RDWR | libc::O_TMPFILE;
            let r = monad_async_file_open(
                me.as_head(),
                &mut file,
                libc::AT_FDCWD,
                self.path.as_ptr(),
                flags,
                0o600,
                0,
                self.kind(rng),
            );
            if self.outcome(r, &[]).is_none() {
                assert_eq!(file.fd, -1, "a failed open has left something");
                return;
            }
            let data = [rng.below(256) as u8; 100];
            let r = monad_async_file_write_all(me.as_head(), file, data.as_ptr().cast(), 100, 0);
            if self.outcome(r, &[]).is_some() {
                let mut got = [0_u8; 100];
                let to = got.as_mut_ptr().cast();
                let r = monad_async_file_read_all(me.as_head(), file, to, 100, 0);
                if let Some(n) = self.outcome(r, &[]) {
                    assert_eq!((n, got), (100, data));
                }
                if rng.one_in(2) {
                    self.use_registered(me, file, data[0]);
                }
            }
            assert_eq!(monad_async_file_close(me.as_head(), file).error, 0);
        }
    }

    /// # Safety
    /// `file` holds a hundred times that byte.
    unsafe fn use_registered(&self, me: TaskRef, file: File, byte: u8) {
        // SAFETY: the running task's, as above.
        unsafe {
            let mut buffer: MaybeUninit<Buffer> = MaybeUninit::zeroed();
            let r = monad_async_buffers_claim(me.as_head(), self.set, buffer.as_mut_ptr());
            if self.outcome(r, &[]).is_none() {
                return;
            }
            let r = monad_async_file_read_fixed(me.as_head(), file, buffer.as_ptr(), 8, 50, 10);
            if let Some(n) = self.outcome(r, &[]) {
                let data = buffer.as_ptr().cast::<*const u8>().read();
                let got = std::slice::from_raw_parts(data.add(8), n);
                assert!(n == 50 && got.iter().all(|&b| b == byte));
            }
            assert_eq!(monad_async_buffers_release(buffer.as_mut_ptr()).error, 0);
        }
    }

    /// Appended in the order of the calls, or left out.
    fn append(&self, me: TaskRef) {
        let number = self.next_record.replace(self.next_record.get() + 1);
        let record = [number, !number];
        // SAFETY: the record stays until the call returns.
        let r = unsafe {
            let file = self.ordered.get();
            monad_async_file_write(me.as_head(), file, record.as_ptr().cast(), 16, -1)
        };
        if let Some(n) = self.outcome(r, &[]) {
            assert_eq!(n, 16);
            self.acknowledged.borrow_mut().push_back(number);
        }
    }

    pub fn step(&self, me: TaskRef, rng: &mut Rng) {
        let mut scope = MaybeUninit::<Scope>::uninit();
        let timeout_ns = u64::from(rng.below(LONGEST_NS));
        // SAFETY: in place until it is left, and the innermost one then.
        unsafe { Handle::<Real>::enter_scope(me, scope.as_mut_ptr(), timeout_ns, 0) }.unwrap();
        match rng.below(14) {
            0..4 => self.send(me, rng),
            4..7 => self.receive(me, rng),
            7 => self.receive_by_view(me, rng),
            8 => self.connect_and_accept(me, rng),
            9 | 10 => self.use_file(me, rng),
            11 | 12 => self.append(me),
            _ if rng.one_in(4) => self.close_pair(me, &self.pick(rng)),
            _ => _ = self.ex.cancel(self.tasks[rng.below(TASKS as u32) as usize]),
        }
        // SAFETY: entered above.
        unsafe { Handle::<Real>::leave_scope(me, scope.as_ptr()) }.unwrap();
        if Handle::<Real>::cancel_requested(me) {
            Handle::<Real>::uncancel(me).unwrap();
        }
    }
}
