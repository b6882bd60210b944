//! Real files and sockets, used by tasks at random, with deadlines, cancels from another thread and
//! closes that cross every call: no byte is lost or seen twice, a descriptor of a failed call is not
//! leaked, what is closed says so, and all buffers are there at the end. Assertions of the core
//! stand guard, as this is a debug build.

#[path = "../support/mod.rs"]
mod support;

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
use monad_async::task::header::TaskRef;
use monad_async::uring::{mask, RingOptions};
use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::CString;
use std::fs;
use std::mem::{zeroed, MaybeUninit};
use std::os::unix::fs::FileExt;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use support::rings::ring;
use support::rng::Rng;
use support::*;

const TASKS: usize = 12;
const STEPS: u32 = 150;
const LONGEST_NS: u32 = 400_000;
/// Connected pairs of sockets that all share.
const PAIRS: usize = 3;
const BUFFERS: u32 = 4;
const BUFFER_BYTES: u32 = 64;
/// A direct descriptor, and an ordered file: socket.h, file.h.
const ORDERED: u32 = 0x4000_0000;

/// buffer.h
#[repr(C)]
struct Seen {
    data: *const u8,
    length: usize,
    ring: *mut c_void,
}

/// One end sends, the other receives; each byte says its place in the stream.
struct Pair {
    from: Socket,
    to: Socket,
    sent: Cell<u64>,
    received: Cell<u64>,
    /// Somebody sends, or receives: the order of bytes of two at a time would not be known.
    sends: Cell<bool>,
    receives: Cell<bool>,
    /// A receive that was interrupted may have taken bytes: never, says the contract.
    closed: Cell<bool>,
}

struct World {
    ex: Handle<Real>,
    tasks: Vec<TaskRef>,
    pairs: std::cell::RefCell<Vec<std::rc::Rc<Pair>>>,
    listener: Socket,
    port: u16,
    path: CString,
    ordered: Cell<File>,
    /// Numbers of records that were acknowledged, in the order of the calls.
    acknowledged: std::cell::RefCell<VecDeque<u64>>,
    next_record: Cell<u64>,
    set: *mut monad_async::sync::buffer_set::Set,
    views: *mut monad_async::reactor::buffers::Buffers,
    done: Cell<u64>,
    cut_short: Cell<u64>,
}

/// Every other one would not wait, but by poll.
fn pair() -> std::rc::Rc<Pair> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    let kind = kind | [0, libc::SOCK_NONBLOCK][MADE.fetch_add(1, SeqCst) as usize % 2];
    let mut fds = [0; 2];
    // SAFETY: two descriptors are written.
    let r = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) };
    assert_eq!(r, 0);
    std::rc::Rc::new(Pair {
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

/// How many bytes; of a call that finishes short transfers they are counted beside an error, too.
#[track_caller]
fn moved(r: RawResult, most: usize) -> usize {
    assert!(r.value <= most as isize && (r.value >= 0 || r.error != 0), "{r:?}");
    r.value.max(0) as usize
}

/// Of this process, by number, with what each is.
fn descriptors() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> =
        entries.map(|path| format!("{path:?} {:?}", fs::read_link(&path))).collect();
    all.retain(|name| !name.contains("/fd\"")); // The folder that is being read.
    all.sort();
    all
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

    fn pick(&self, rng: &mut Rng) -> std::rc::Rc<Pair> {
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
                    // EDEADLK: the youngest of those who wait for a buffer, all of which are kept.
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
    fn close_pair(&self, me: TaskRef, pair: &std::rc::Rc<Pair>) {
        if pair.closed.replace(true) {
            return;
        }
        let at = self.pairs.borrow().iter().position(|p| std::rc::Rc::ptr_eq(p, pair)).unwrap();
        for socket in [pair.to, pair.from] {
            // SAFETY: the running task.
            let r = unsafe { monad_async_socket_close(me.as_head(), socket) };
            assert_eq!(r.error, 0, "a close is shielded");
        }
        self.pairs.borrow_mut()[at] = self::pair();
    }

    fn connect_and_accept(&self, me: TaskRef, rng: &mut Rng) {
        // SAFETY: what is passed stays until the calls return.
        unsafe {
            let mut got = Socket { fd: -1, flags: 0 };
            if rng.one_in(2) {
                let (at, null) = (me.as_head(), ptr::null_mut());
                let r =
                    monad_async_socket_accept(at, self.listener, &mut got, null, null.cast(), 0);
                self.outcome(r, &[]);
            } else {
                let (kind, at) = (libc::SOCK_STREAM, me.as_head());
                let r = monad_async_socket_open(at, &mut got, libc::AF_INET, kind, 0, 0);
                if self.outcome(r, &[]).is_some() {
                    let mut to: libc::sockaddr_in = zeroed();
                    to.sin_family = libc::AF_INET as u16;
                    to.sin_port = self.port.to_be();
                    to.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
                    let length = size_of::<libc::sockaddr_in>() as u32;
                    let r = monad_async_socket_connect(at, got, (&raw const to).cast(), length);
                    self.outcome(r, &[libc::EINTR]);
                }
            }
            if got.fd >= 0 {
                assert_eq!(monad_async_socket_close(me.as_head(), got).error, 0);
            }
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
                0,
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

    fn step(&self, me: TaskRef, rng: &mut Rng) {
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

fn cross(seed: u64, mask: u32) {
    let options = RingOptions { entries: 4, mask, ..RingOptions::default() };
    let before = descriptors();
    let Some(kernel) = ring(options) else { return };
    let ex = Handle::new(kernel, true).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = std::env::temp_dir();
    let log = directory.join(format!("monad_async_crossings_{}", std::process::id()));
    let ordered = fs::OpenOptions::new()
        .append(true)
        .read(true)
        .create(true)
        .truncate(false)
        .open(&log)
        .unwrap();
    fs::remove_file(&log).unwrap();
    let (mut set, mut views) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: memory for handles.
    unsafe {
        let at = ex.as_ptr();
        assert_eq!(monad_async_buffers_register(at, &mut set, 2, 4096).error, 0);
        let r = monad_async_buffer_ring_create(at, &mut views, BUFFERS, BUFFER_BYTES);
        assert_eq!(r.error, 0);
    }
    use std::os::fd::AsRawFd;
    let world = Arc::new(Shared(World {
        ex,
        tasks: (0..TASKS).map(|_| api_task()).collect(),
        pairs: (0..PAIRS).map(|_| pair()).collect::<Vec<_>>().into(),
        listener: Socket { fd: listener.as_raw_fd(), flags: 0 },
        port: listener.local_addr().unwrap().port(),
        path: CString::new(directory.to_str().unwrap()).unwrap(),
        ordered: Cell::new(File { fd: ordered.as_raw_fd(), flags: 0 }),
        acknowledged: Default::default(),
        next_record: Cell::new(1),
        set,
        views,
        done: Cell::new(0),
        cut_short: Cell::new(0),
    }));
    let set_up = new_task();
    let of_task = world.clone();
    set_body(set_up, move |me| {
        let world = &of_task.0;
        let mut file = world.ordered.get();
        // SAFETY: the running task, and a handle to write.
        let r = unsafe { monad_async_file_set_ordered(me.as_head(), &mut file) };
        assert!(r.error == 0 && file.flags & ORDERED != 0);
        world.ordered.set(file);
        r
    });
    ex.attach(set_up).unwrap();
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
    for (i, &task) in world.0.tasks.iter().enumerate() {
        let (of_task, mut rng) = (world.clone(), Rng::new(seed, i as u64));
        task.head.cpu.set(rng.below(3) as u8);
        set_body(task, move |me| {
            for _ in 0..STEPS {
                of_task.0.step(me, &mut rng);
            }
            RawResult::success(0)
        });
        ex.attach(task).unwrap();
    }
    let over = Arc::new(AtomicBool::new(false));
    let (until, tasks) = (over.clone(), Shared(world.0.tasks.clone()));
    let canceller = thread::spawn(move || {
        let (tasks, mut rng) = (tasks.get(), Rng::new(seed, 1000));
        while !until.load(SeqCst) {
            let _ = Handle::<Real>::cancel_anywhere(tasks[rng.below(TASKS as u32) as usize]);
            thread::sleep(std::time::Duration::from_micros(u64::from(rng.below(300))));
        }
    });
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
    over.store(true, SeqCst);
    canceller.join().unwrap();
    let world = &world.0;
    // The log: whole records, each once, in the order of the calls, with all that were acknowledged.
    let bytes = ordered.metadata().unwrap().len();
    assert_eq!(bytes % 16, 0, "a record is torn");
    let mut log = vec![0_u8; bytes as usize];
    ordered.read_exact_at(&mut log, 0).unwrap();
    let mut last = 0;
    let mut acknowledged = world.acknowledged.borrow_mut();
    for record in log.chunks(16) {
        let word = |at: usize| u64::from_ne_bytes(record[at..at + 8].try_into().unwrap());
        let number = word(0);
        assert!(word(8) == !number && number > last, "{number} behind {last}");
        last = number;
        if let Some(at) = acknowledged.iter().position(|&a| a == number) {
            acknowledged.remove(at);
        }
    }
    assert!(acknowledged.is_empty(), "acknowledged and not there: {acknowledged:?}");
    for pair in world.pairs.borrow().iter() {
        // SAFETY: nobody uses them any more.
        unsafe {
            libc::close(pair.from.fd);
            libc::close(pair.to.fd);
        }
    }
    println!(
        "seed {seed}, mask {mask:x}: {} done, {} cut short, {} records",
        world.done.get(),
        world.cut_short.get(),
        log.len() / 16
    );
    // SAFETY: nobody has any of it any more.
    unsafe {
        assert_eq!(monad_async_buffers_unregister(world.set).error, 0);
        assert_eq!(monad_async_buffer_ring_destroy(world.views).error, 0);
    }
    let tasks = world.tasks.clone();
    destroy(ex, tasks.into_iter().chain([set_up]));
    drop((listener, ordered));
    assert_eq!(descriptors(), before, "descriptors are leaked");
}

/// With the stack that a test's prints take.
fn api_task() -> TaskRef {
    monad_async::api::create_task(64 << 10).unwrap()
}

/// `MONAD_ASYNC_CROSSINGS=n`: so many seeds; `MONAD_ASYNC_SEED`: from that one on. A seed says what
/// each does, and not when.
#[test]
fn calls_deadlines_cancels_and_closes_cross() {
    let number = |name, default| {
        std::env::var(name).map_or(default, |text: String| text.parse().expect("a number"))
    };
    let first = number("MONAD_ASYNC_SEED", 1);
    for seed in first..first + number("MONAD_ASYNC_CROSSINGS", 4) {
        // A kernel that has all, an old one, and those between.
        let masks = [0, mask::ALL, mask::RECV_STREAM, mask::BUFFER_RING | mask::RECV_STREAM];
        cross(seed, masks[seed as usize % masks.len()]);
    }
}
