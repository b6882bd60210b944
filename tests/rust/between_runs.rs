//! What the owner's thread does between two runs of its executor, and what those do who are told of
//! an exit: the executor is in the middle of something then.

#[path = "../support/mod.rs"]
mod support;

use core::ffi::c_void;
use monad_async::api::Handle;
use monad_async::capi::buffer::{
    monad_async_recv_stream_begin, monad_async_recv_stream_end, monad_async_recv_stream_next,
    monad_async_view_release, View,
};
use monad_async::capi::channel::*;
use monad_async::capi::condition::*;
use monad_async::capi::event::*;
use monad_async::capi::mutex::*;
use monad_async::capi::semaphore::*;
use monad_async::capi::socket::monad_async_socket_close;
use monad_async::error::RawResult;
use monad_async::executor::grant::Caller;
use monad_async::io::recv_stream::RecvStream;
use monad_async::io::socket::Socket;
use monad_async::reactor::operation::Op;
use monad_async::sync::channel::Channel;
use monad_async::sync::condition::Condition;
use monad_async::sync::event::Event;
use monad_async::sync::mutex::Mutex;
use monad_async::sync::select::{kind, select, Case};
use monad_async::sync::semaphore::Semaphore;
use monad_async::sync::{Local, Shared as ForAll};
use monad_async::task::header::TaskRef;
use monad_async::uring::kernel::{op, Kernel, Sqe};
use monad_async::uring::RingOptions;
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::mem::zeroed;
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;
use std::ptr::{from_ref, null_mut, NonNull};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use support::rings::ring;
use support::skip::skip;
use support::*;

fn is_readable(fd: i32) -> bool {
    let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry of ours.
    unsafe { libc::poll(&mut entry, 1, 0) == 1 }
}

fn run_now(ex: Handle<Real>) {
    let _ = ex.run(usize::MAX, Some(0));
}

fn leaked<T>() -> &'static T {
    // SAFETY: of what is asked for here, zeros are one.
    Box::leak(Box::new(unsafe { zeroed() }))
}

/// A task that waits is ready when its own thread has granted what it waits for: a foreign loop is
/// told.
#[test]
fn a_loop_is_told_of_what_its_own_thread_grants() {
    let ex = executor(0);
    let fd = ex.executor().poll_fd().unwrap();
    let (shared, local) = (leaked::<Event<ForAll>>(), leaked::<Event<Local>>());
    let (of_shared, of_local) = (new_large_task(), new_large_task());
    // SAFETY: the task that runs, and an event that stays.
    set_body(of_shared, move |task| unsafe {
        monad_async_event_wait(task.as_head(), from_ref(shared).cast_mut())
    });
    // SAFETY: as above.
    set_body(of_local, move |task| unsafe {
        monad_async_local_event_wait(task.as_head(), from_ref(local).cast_mut())
    });
    for (task, is_local) in [(of_shared, false), (of_local, true)] {
        ex.attach(task).unwrap();
        run_now(ex);
        assert!(ex.has_work() && !is_readable(fd));
        // SAFETY: as above.
        let set = unsafe {
            match is_local {
                true => monad_async_local_event_set(from_ref(local).cast_mut()),
                false => monad_async_event_set(from_ref(shared).cast_mut()),
            }
        };
        assert_eq!(set, RawResult::success(0));
        assert!(is_readable(fd), "nobody would call `run`");
        run_now(ex);
        assert!(!ex.has_work());
    }
    destroy(ex, [of_shared, of_local]);
}

/// The thread of an executor that is not in a run would wait for itself where only tasks of it may
/// wait: refused, and nothing is left behind.
#[test]
fn a_thread_does_not_wait_at_what_is_its_own_tasks() {
    let ex = executor(0);
    let (m, s) = (leaked::<Mutex<Local>>(), leaked::<Semaphore<Local>>());
    let (c, e) = (leaked::<Condition<Local>>(), leaked::<Event<Local>>());
    let owner = new_large_task();
    // SAFETY: the task that runs, and objects that stay.
    set_body(owner, move |task| unsafe {
        let (m, task) = (from_ref(m).cast_mut(), task.as_head());
        assert_eq!(monad_async_local_mutex_lock(task, m).error, 0);
        assert_eq!(monad_async_local_event_reset(from_ref(e).cast_mut()).error, 0);
        assert_eq!(monad_async_local_semaphore_release(from_ref(s).cast_mut(), 0).error, 0);
        let c = from_ref(c).cast_mut();
        assert_eq!(monad_async_local_condition_notify_one(c).error, 0);
        assert_eq!(monad_async_local_event_wait(task, from_ref(e).cast_mut()).error, 0);
        monad_async_local_mutex_unlock(task, m)
    });
    ex.attach(owner).unwrap();
    run_now(ex);
    let (m, s) = (from_ref(m).cast_mut(), from_ref(s).cast_mut());
    let (c, e) = (from_ref(c).cast_mut(), from_ref(e).cast_mut());
    // SAFETY: no task; objects that stay.
    unsafe {
        let none = std::ptr::null();
        assert_eq!(monad_async_local_mutex_lock(none, m).error, libc::EPERM);
        assert_eq!(monad_async_local_mutex_lock_until(none, m, u64::MAX - 1).error, libc::EPERM);
        assert_eq!(monad_async_local_event_wait(none, e).error, libc::EPERM);
        assert_eq!(monad_async_local_semaphore_acquire(none, s, 1).error, libc::EPERM);
        assert_eq!(monad_async_local_event_set(e).error, 0);
        assert_eq!(monad_async_local_semaphore_release(s, 1).error, 0);
        assert_eq!(monad_async_local_semaphore_try_acquire(s, 1).error, 0);
        run_now(ex);
        assert!(!ex.has_work());
        assert_eq!(monad_async_local_mutex_lock(none, m).error, 0);
        assert_eq!(monad_async_local_condition_wait(none, c, m).error, libc::EPERM);
        assert_eq!(monad_async_local_mutex_unlock(none, m).error, 0);
    }
    destroy(ex, [owner]);
}

/// What is told of an exit: a closure.
type Told<'a> = RefCell<Box<dyn FnMut() + 'a>>;

unsafe extern "C" fn on_exit(of: *const c_void, _: TaskRef, _: RawResult, _: u64) {
    // SAFETY: what the hook was written with.
    unsafe { &*of.cast::<Told<'_>>() }.borrow_mut()();
}

/// Nobody grants it: it was taken for a wait for what a thread cannot wait for.
#[test]
fn a_thread_selects_from_time_alone() {
    const NS: u64 = 1_000_000;
    let caller = Caller::<Real>::thread().unwrap();
    let after = |ns| Case::new(kind::TIMEOUT, null_mut(), null_mut(), ns);
    let begun_ns = caller.now_ns();
    // SAFETY: refer to nothing.
    assert_eq!(unsafe { select(&caller, &[after(1 << 60), after(NS)]) }, Ok(1));
    assert!(caller.now_ns() - begun_ns >= NS);
}

/// Calls that free or run the executor, in the middle of a cancel outside its runs.
#[test]
fn who_is_told_of_an_exit_neither_runs_nor_destroys_the_executor() {
    let ex = executor(0);
    let task = new_task();
    set_body(task, |_| RawResult::success(0));
    let answers = Cell::new(None);
    let told: Told<'_> = RefCell::new(Box::new(|| {
        answers.set(Some((ex.run(usize::MAX, Some(0)), ex.has_work(), ex.destroy())));
    }));
    // SAFETY: it is told before this returns.
    unsafe { ex.attach_hooked(task, on_exit, (&raw const told).cast()) }.unwrap();
    ex.cancel(task).unwrap();
    assert_eq!(answers.get(), Some((errno(libc::EDEADLK), false, errno(libc::EDEADLK))));
    destroy(ex, [task]);
}

/// A launch that was cancelled before it came is over as it comes: who is told of that, in the
/// middle of the mail, asks whether there is more. None of what has come is lost.
#[test]
fn who_is_told_of_an_exit_asks_for_more_work() {
    const MANY: usize = 600; // More than one look takes in.
    let ex = executor(0);
    let ran = Rc::new(Cell::new(0));
    let tasks: Vec<TaskRef> = (0..MANY).map(|_| new_task()).collect();
    for &task in &tasks {
        let ran = ran.clone();
        set_body(task, move |_| {
            ran.set(ran.get() + 1);
            RawResult::success(0)
        });
    }
    let first = new_task();
    set_body(first, |_| RawResult::success(0));
    let has_work = Cell::new(false);
    let told: Told<'_> = RefCell::new(Box::new(|| {
        let (ex, tasks) = (Shared(ex), Shared(tasks.as_slice()));
        std::thread::scope(|s| {
            s.spawn(move || tasks.get().iter().for_each(|&task| ex.get().attach(task).unwrap()));
        });
        has_work.set(ex.get().has_work());
    }));
    let (there, at) = (Shared((ex, first)), Shared((&raw const told).cast::<c_void>()));
    std::thread::scope(|s| {
        s.spawn(move || {
            let (ex, first) = there.get();
            // SAFETY: it is told before this test returns.
            unsafe { ex.attach_hooked(first, on_exit, at.get()) }.unwrap();
            ex.cancel(first).unwrap();
        });
    });
    run_now(ex);
    assert!(has_work.get());
    while ex.has_work() {
        run_now(ex);
    }
    assert_eq!(ran.get(), MANY);
    drop(told);
    destroy(ex, tasks.into_iter().chain([first]));
}

/// Three receive by view on a ring of one buffer. One holds it; of the two that wait, the first
/// has its socket closed: it is told so, and the buffer is the other's.
#[test]
fn who_waits_for_a_buffer_is_told_of_the_close_and_keeps_nobody_waiting() {
    let Some(kernel) = ring(RingOptions { entries: 16, ..Default::default() }) else { return };
    let ex = Handle::new(kernel, true).unwrap();
    let buffers = ex.executor().add_buffers(1, 64).unwrap();
    let results: Rc<RefCell<Vec<(usize, i32)>>> = Rc::default();
    let (peers, sockets): (Vec<_>, Vec<_>) = (0..3)
        .map(|_| {
            let (mut peer, socket) = UnixStream::pair().unwrap();
            peer.write_all(b"x").unwrap();
            (peer, Socket { fd: socket.into_raw_fd(), flags: 0 })
        })
        .unzip();
    let goes_on = Rc::new(Cell::new(false));
    let mut tasks = Vec::new();
    for (n, &socket) in sockets.iter().enumerate() {
        let (results, goes_on) = (results.clone(), goes_on.clone());
        let task = new_large_task();
        set_body(task, move |task| {
            let stream = from_ref(leaked::<RecvStream>()).cast_mut();
            let view = from_ref(leaked::<View>()).cast_mut();
            // SAFETY: the task that runs; a stream, a view and buffers that stay.
            unsafe {
                let begun = monad_async_recv_stream_begin(
                    task.as_head(),
                    stream,
                    socket,
                    buffers.as_ptr(),
                    0,
                );
                assert_eq!(begun.error, 0);
                let next = monad_async_recv_stream_next(stream, view);
                results.borrow_mut().push((n, next.error));
                while n == 0 && !goes_on.get() {
                    Handle::<Real>::sleep(task, 0);
                }
                if next.error == 0 {
                    assert_eq!(monad_async_view_release(view).error, 0);
                }
                assert_eq!(monad_async_recv_stream_end(stream).error, 0);
            }
            RawResult::success(0)
        });
        ex.attach(task).unwrap();
        (0..20).for_each(|_| run_now(ex));
        tasks.push(task);
    }
    assert_eq!(*results.borrow(), [(0, 0)]);
    let closer = new_large_task();
    let closed = sockets[1];
    // SAFETY: the task that runs.
    set_body(closer, move |task| unsafe { monad_async_socket_close(task.as_head(), closed) });
    ex.attach(closer).unwrap();
    (0..20).for_each(|_| run_now(ex));
    assert_eq!(*results.borrow(), [(0, 0), (1, libc::ECANCELED)]);
    goes_on.set(true);
    (0..200).for_each(|_| run_now(ex));
    assert_eq!(*results.borrow(), [(0, 0), (1, libc::ECANCELED), (2, 0)]);
    assert!(!ex.has_work());
    drop(peers);
    // SAFETY: all streams have ended; descriptors of ours.
    unsafe {
        ex.executor().remove_buffers(buffers).unwrap();
        libc::close(sockets[0].fd);
        libc::close(sockets[2].fd);
    }
    destroy(ex, tasks.into_iter().chain([closer]));
}

/// A task ends without a look at what its operation has opened.
#[test]
fn both_ends_of_a_pipe_that_nobody_takes_are_closed() {
    let Some(kernel) = ring(RingOptions { entries: 8, ..Default::default() }) else { return };
    if !kernel.knows(op::PIPE) {
        return skip(format_args!("no pipes from this kernel's ring"));
    }
    let ex = Handle::new(kernel, true).unwrap();
    let task = new_large_task();
    let (ends, record) = (leaked::<[Cell<i32>; 2]>(), leaked::<Op>());
    set_body(task, move |task| {
        record.sqe.set(Sqe::new(op::PIPE, 0, 0, ends.as_ptr() as u64, 0, 0));
        // SAFETY: both stay.
        unsafe { ex.executor().begin_operation(task, record) }.unwrap();
        while record.pending.get() == 0 {
            Handle::<Real>::sleep(task, 100_000);
        }
        assert!(ends[0].get() > 2 && ends[1].get() > 2);
        RawResult::success(0)
    });
    ex.attach(task).unwrap();
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
    // Other tests open descriptors, but no pipes.
    for end in ends {
        // SAFETY: plain numbers.
        let mut status: libc::stat = unsafe { zeroed() };
        // SAFETY: our own record.
        let is_there = unsafe { libc::fstat(end.get(), &mut status) } == 0;
        assert!(!is_there || status.st_mode & libc::S_IFMT != libc::S_IFIFO);
    }
    destroy(ex, [task]);
}

/// The task that waits for the element that is moved.
static WAITS: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn move_and_cancel(to: *mut c_void, from: *mut c_void, bytes: usize) {
    // SAFETY: an element, and memory for one.
    unsafe { std::ptr::copy_nonoverlapping(from.cast::<u8>(), to.cast(), bytes) };
    if let Some(task) = NonNull::new(WAITS.swap(0, Relaxed) as *mut u8) {
        // SAFETY: its address, and it lives.
        let task = unsafe { TaskRef::from_head(task.as_ptr().cast()) };
        Handle::<Real>::cancel_anywhere(task).unwrap();
    }
}

/// What moves an element may cancel who waits for it: that has it, then.
#[test]
fn a_waiter_is_cancelled_while_its_element_is_moved() {
    for receives in [true, false] {
        let ex = executor(0);
        let channel: &'static Channel<Local> = leaked();
        let (first, second) = (new_large_task(), new_large_task());
        // SAFETY: zeros are none; without room, no storage is needed.
        unsafe {
            let at = std::ptr::from_ref(channel).cast_mut();
            monad_async_local_channel_init(at, null_mut(), 0, 8);
            monad_async_local_channel_set_relocate(at, Some(move_and_cancel));
        }
        let end = move |task: TaskRef, receives: bool| {
            let (at, mut element) = (std::ptr::from_ref(channel).cast_mut(), 7_u64);
            let (task, element) = (task.as_head(), (&raw mut element).cast());
            // SAFETY: the task that runs, and an element that stays.
            unsafe {
                match receives {
                    true => monad_async_local_channel_recv(task, at, element),
                    false => monad_async_local_channel_send(task, at, element),
                }
            }
        };
        set_body(first, move |task| end(task, receives));
        set_body(second, move |task| {
            WAITS.store(first.as_head().addr(), Relaxed);
            let moved = end(task, !receives);
            assert_eq!(WAITS.load(Relaxed), 0);
            moved
        });
        for task in [first, second] {
            ex.attach(task).unwrap();
        }
        for _ in 0..10 {
            run_now(ex);
        }
        for task in [first, second] {
            assert!(task.has_exited());
            assert_eq!(task.head.result.get(), RawResult::success(0), "{receives}");
        }
        destroy(ex, [first, second]);
    }
}
