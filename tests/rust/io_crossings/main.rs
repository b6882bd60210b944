//! Real files and sockets, used by tasks at random, with deadlines, cancels from another thread and
//! closes that cross every call: no byte is lost or seen twice, a descriptor of a failed call is not
//! leaked, what is closed says so, and all buffers are there at the end. Assertions of the core
//! stand guard, as this is a debug build.

#[path = "../../support/mod.rs"]
mod support;
mod world;

use monad_async::api::Handle;
use monad_async::capi::buffer::*;
use monad_async::capi::buffer_set::*;
use monad_async::capi::file::*;
use monad_async::capi::socket::*;
use monad_async::error::RawResult;
use monad_async::io::file::File;
use monad_async::io::socket::Socket;
use monad_async::task::header::TaskRef;
use monad_async::uring::{mask, RingOptions};
use std::cell::Cell;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::FileExt;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use support::rings::{is_before, ring};
use support::rng::Rng;
use support::*;
use world::{connected, World};

const TASKS: usize = 12;
const STEPS: u32 = 150;
/// Connected pairs of sockets that all share.
const PAIRS: usize = 3;
const BUFFERS: u32 = 4;
const BUFFER_BYTES: u32 = 64;
/// For direct descriptors: as many as tasks, none of which has more than one.
const PLACES: usize = TASKS;
/// A direct descriptor, and an ordered file: socket.h, file.h.
const DIRECT: u32 = 1 << 31;
const ORDERED: u32 = 1 << 30;

/// Of this process, by number, with what each is.
fn descriptors() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> =
        entries.map(|path| format!("{path:?} {:?}", fs::read_link(&path))).collect();
    all.retain(|name| !name.contains("/fd\"")); // The folder that is being read.
    all.sort();
    all
}

fn cross(seed: u64, mask: u32) {
    let has_direct = mask == 0 && !is_before("5.19");
    let direct_descriptors = if has_direct { PLACES as u32 } else { 0 };
    let options = RingOptions { entries: 4, mask, direct_descriptors, ..RingOptions::default() };
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
    let world = Rc::new(World {
        ex,
        tasks: (0..TASKS).map(|_| api_task()).collect(),
        pairs: (0..PAIRS).map(|_| connected()).collect::<Vec<_>>().into(),
        listener: Socket { fd: listener.as_raw_fd(), flags: 0 },
        port: listener.local_addr().unwrap().port(),
        path: CString::new(directory.to_str().unwrap()).unwrap(),
        ordered: Cell::new(File { fd: ordered.as_raw_fd(), flags: 0 }),
        acknowledged: Default::default(),
        next_record: Cell::new(1),
        set,
        views,
        has_direct,
        done: Cell::new(0),
        cut_short: Cell::new(0),
    });
    let set_up = new_task();
    let of_task = world.clone();
    set_body(set_up, move |me| {
        let world = &of_task;
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
    for (i, &task) in world.tasks.iter().enumerate() {
        let (of_task, mut rng) = (world.clone(), Rng::new(seed, i as u64));
        task.head.cpu.set(rng.below(3) as u8);
        set_body(task, move |me| {
            for _ in 0..STEPS {
                of_task.step(me, &mut rng);
            }
            RawResult::success(0)
        });
        ex.attach(task).unwrap();
    }
    let over = Arc::new(AtomicBool::new(false));
    let (until, tasks) = (over.clone(), Shared(world.tasks.clone()));
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
    if world.has_direct {
        set_body(set_up, |me| {
            let none = Socket { fd: -1, flags: 0 };
            let mut all = [none; PLACES];
            for socket in &mut all {
                let (kind, at) = (libc::SOCK_STREAM, me.as_head());
                // SAFETY: the running task, and a handle to write.
                let r =
                    unsafe { monad_async_socket_open(at, socket, libc::AF_INET, kind, 0, DIRECT) };
                assert_eq!(r.error, 0, "a place for a direct descriptor is leaked");
            }
            for socket in all {
                // SAFETY: the running task.
                assert_eq!(unsafe { monad_async_socket_close(me.as_head(), socket) }.error, 0);
            }
            RawResult::success(0)
        });
        ex.attach(set_up).unwrap();
        while ex.has_work() {
            ex.run(usize::MAX, None).unwrap();
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
