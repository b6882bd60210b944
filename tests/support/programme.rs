//! A program of tasks that uses a bit of everything, for tests that run it under faults and
//! compare: whatever the machine does to it, each task's result is the same.
//!
//! Failures are gathered as results and compared by the caller: a panic on a task's stack would end
//! the process without saying which task it was.
#![allow(dead_code)] // Each test program uses its part.

use super::*;
use monad_async::api::Handle;
use monad_async::error::RawResult;
use monad_async::sys::clock::boot_ns;
use monad_async::task::header::TaskRef;
use monad_async::uring::kernel::{op, Sqe};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

pub const OK: RawResult = RawResult::success(0);
pub const CANCELED: RawResult = RawResult { value: -1, error: libc::ECANCELED, reserved: 0 };
/// No result of the kernel's: a task's own check failed.
const WRONG: i32 = 9_999;

pub fn success(value: usize) -> RawResult {
    RawResult::success(value as isize)
}

fn wrong() -> RawResult {
    RawResult { value: -1, error: WRONG, reserved: 0 }
}

pub struct Pipe {
    pub reader: i32,
    pub writer: i32,
}

impl Pipe {
    pub fn new() -> Self {
        let mut fds = [0; 2];
        // SAFETY: fills in two descriptors of our own.
        assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
        Self { reader: fds[0], writer: fds[1] }
    }

    pub fn write(&self, bytes: &[u8]) {
        // SAFETY: writes bytes that are there.
        let wrote = unsafe { libc::write(self.writer, bytes.as_ptr().cast(), bytes.len()) };
        assert_eq!(wrote, bytes.len() as isize);
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // SAFETY: our own descriptors.
        unsafe {
            libc::close(self.reader);
            libc::close(self.writer);
        }
    }
}

pub fn io(task: TaskRef, sqe: &Sqe) -> RawResult {
    // SAFETY: the tests' entries refer to the task's own stack, or to nothing.
    unsafe { Handle::<Real>::io(task, sqe) }
}

pub fn sleep(task: TaskRef, ns: u64) -> RawResult {
    Handle::<Real>::sleep(task, ns)
}

pub fn read(task: TaskRef, fd: i32, to: &mut [u8]) -> RawResult {
    io(task, &Sqe::new(op::READ, fd, u64::MAX, to.as_mut_ptr() as u64, to.len() as u32, 0))
}

pub fn write(task: TaskRef, fd: i32, from: &[u8]) -> RawResult {
    io(task, &Sqe::new(op::WRITE, fd, u64::MAX, from.as_ptr() as u64, from.len() as u32, 0))
}

pub fn poll_in(task: TaskRef, fd: i32) -> RawResult {
    io(task, &Sqe::new(op::POLL_ADD, fd, 0, 0, 0, libc::POLLIN as u32))
}

pub fn finish(ex: Handle<Real>) {
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
}

pub fn attach_all(ex: Handle<Real>, tasks: &[TaskRef]) {
    for &t in tasks {
        ex.attach(t).unwrap();
    }
}

fn task(body: impl FnMut(TaskRef) -> RawResult + 'static) -> TaskRef {
    // A signal's handler runs on its stack, too.
    let t = new_large_task();
    set_body(t, body);
    t
}

fn each(n: usize, mut step: impl FnMut(usize) -> RawResult) -> RawResult {
    for i in 0..n {
        let r = step(i);
        if r.error != 0 {
            return r;
        }
    }
    success(n)
}

fn read_byte(task: TaskRef, fd: i32, want: u8) -> RawResult {
    let mut byte = [!want];
    match read(task, fd, &mut byte) {
        RawResult { value: 1, error: 0, .. } if byte[0] == want => OK,
        r if r.error != 0 => r,
        _ => wrong(),
    }
}

/// Runs the program on `ex`: what each task returned, and before it what each should.
pub fn run(ex: Handle<Real>) -> Vec<(RawResult, RawResult)> {
    let (talk, silence) = (Rc::new(Pipe::new()), Rc::new(Pipe::new()));
    let mut expected = Vec::new();
    let mut tasks = Vec::new();
    let mut add = |want: RawResult, t: TaskRef| {
        expected.push(want);
        tasks.push(t);
        t
    };
    for i in 0..60 {
        add(success(20), task(move |t| each(20, |_| nop(t))));
        // Sleeps: never early.
        add(
            success(3),
            task(move |t| {
                each(3, |_| {
                    let (ns, began) = (200_000 + i * 10_000, boot_ns());
                    match sleep(t, ns) {
                        r if r == OK && boot_ns() - began < ns => wrong(),
                        r => r,
                    }
                })
            }),
        );
        add(success(10), task(|t| each(10, |_| sleep(t, 0))));
    }
    // A conversation over a pipe: each byte arrives, once, in order.
    let (from, to) = (talk.reader, talk.writer);
    add(success(100), task(move |t| each(100, |i| read_byte(t, from, i as u8))));
    add(success(100), task(move |t| each(100, |i| write(t, to, &[i as u8]))));
    // Reads that only a cancel ends, and a wait for one of them.
    let fd = silence.reader;
    let stuck: Vec<TaskRef> =
        (0..8).map(|_| add(CANCELED, task(move |t| read(t, fd, &mut [0; 8])))).collect();
    let last = stuck[7];
    add(CANCELED, task(move |t| Handle::<Real>::join(t, last)));
    add(
        success(8),
        task(move |t| {
            sleep(t, 3_000_000);
            each(8, |i| ex.cancel(stuck[i]).err().map_or(OK, RawResult::failure))
        }),
    );
    // Launches of another thread, which then ends the wait that keeps the executor here for it.
    let keeper = add(CANCELED, task(|t| sleep(t, u64::MAX)));
    attach_all(ex, &tasks);
    let (shared, guests_ran) = (Shared(ex), Arc::new(AtomicUsize::new(0)));
    let count = guests_ran.clone();
    let remote = thread::spawn(move || {
        let ex = shared.get();
        let guests: Vec<TaskRef> = (0..8).map(|_| new_task()).collect();
        for _ in 0..10 {
            for &g in &guests {
                let count = count.clone();
                set_body(g, move |g| {
                    count.fetch_add(1, Ordering::Relaxed);
                    nop(g)
                });
                ex.attach(g).unwrap();
            }
            while !guests.iter().all(|g| g.has_exited()) {
                thread::sleep(Duration::from_micros(200));
            }
        }
        let failed = guests.iter().filter(|g| g.head.result.get() != OK).count();
        ex.cancel(keeper).unwrap();
        guests.into_iter().for_each(destroy_task);
        failed
    });
    finish(ex);
    assert_eq!(remote.join().unwrap(), 0, "guests failed");
    assert_eq!(guests_ran.load(Ordering::Relaxed), 80);
    let got = tasks.iter().map(|t| t.head.result.get());
    let outcome = expected.iter().copied().zip(got).collect();
    tasks.into_iter().for_each(destroy_task);
    outcome
}

/// The program, and that each task returned what it should.
pub fn run_and_check(ex: Handle<Real>) {
    for (i, (want, got)) in run(ex).into_iter().enumerate() {
        assert_eq!(got, want, "task {i}");
    }
}

/// `n` tasks poll one pipe, and all complete at once; how many got it.
pub fn flood(ex: Handle<Real>, n: usize) -> usize {
    let (pipe, got) = (Pipe::new(), Rc::new(Cell::new(0)));
    let fd = pipe.reader;
    let tasks: Vec<TaskRef> = (0..n)
        .map(|_| {
            let got = got.clone();
            task(move |t| {
                let r = poll_in(t, fd);
                got.set(got.get() + usize::from(r == success(libc::POLLIN as usize)));
                r
            })
        })
        .collect();
    attach_all(ex, &tasks);
    while ex.run(usize::MAX, Some(0)).is_ok() {}
    assert_eq!(got.get(), 0);
    pipe.write(&[1]);
    finish(ex);
    tasks.into_iter().for_each(destroy_task);
    got.get()
}
