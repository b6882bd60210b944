//! Two threads: launches from one other thread, flat out; and what it takes to wake a sleeper.

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use monad_async::capi::ExecutorPtr;
use monad_async::error::RawResult;
use monad_async::ticks;

use super::api::{self, Executor, Task, TaskPtr};
use super::pin::{self, Pinned};
use super::raw::RawRing;
use super::rounds::{waited_ns, Meter, Sample, Work};

const STACK_BYTES: usize = 16 << 10;

unsafe extern "C" fn empty(_: TaskPtr) -> RawResult {
    RawResult::success(0)
}

/// Handles that another thread may use.
struct Shared {
    ex: ExecutorPtr,
    tasks: Vec<TaskPtr>,
    /// Launches asked for so far, and done.
    wanted: AtomicUsize,
    done: AtomicUsize,
    /// Of the launching thread: for how long another had its processor.
    waited_ns: AtomicU64,
    stop: AtomicBool,
}

// SAFETY: attach and has_exited may be called by any thread; what is pointed to outlives the
// thread.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// One other thread attaches as fast as it can, in turn from a pool of 1,024 tasks, each again as
/// soon as it has exited. Only rounds count in which both threads had a processor whenever they
/// wanted one, except for a twentieth of the time: what the others show is the scheduler's turns.
pub struct Remote {
    ex: Executor,
    tasks: Vec<Task>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Rounds that count although they were disturbed: the machine is too busy for this.
    pub disturbed: usize,
    _pinned: Pinned,
}

pub const POOL: usize = 1024;
/// The launcher waits until so many can be launched again.
const BATCH: usize = 128;

impl Remote {
    pub fn new(track: bool) -> Self {
        let cpus = pin::usable(); // Asked before: a thread inherits where its maker is bound.
        let pinned = Pinned::to(cpus.first());
        let ex = Executor::new(64, track);
        let tasks: Vec<_> = (0..POOL).map(|_| Task::new(STACK_BYTES, empty, ptr::null())).collect();
        // The first launch of a task is by its owner, so that each has exited once.
        for task in &tasks {
            ex.attach(task);
        }
        ex.finish();
        let shared = Arc::new(Shared {
            ex: ex.ptr(),
            tasks: tasks.iter().map(Task::ptr).collect(),
            wanted: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            waited_ns: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let theirs = shared.clone();
        let thread = Some(thread::spawn(move || {
            let _pinned = Pinned::to(cpus.get(1));
            launches(&theirs);
        }));
        Self { ex, tasks, shared, thread, disturbed: 0, _pinned: pinned }
    }
}

fn launches(s: &Shared) {
    let mut done = 0;
    loop {
        while s.wanted.load(Acquire) == done {
            if s.stop.load(Relaxed) {
                return;
            }
            thread::park();
        }
        for _ in 0..s.wanted.load(Relaxed) - done {
            // SAFETY: the tasks and their executor outlive this thread.
            unsafe {
                if done % BATCH == 0 {
                    // They exit in order. Looked at seldom: each look takes the task's line from
                    // the executor, which writes there.
                    while !api::has_exited(s.tasks[(done + BATCH - 1) % POOL]) {
                        (0..100).for_each(|_| core::hint::spin_loop());
                    }
                }
                let r = api::attach(s.ex, s.tasks[done % POOL]);
                assert!(r.error == 0, "attach: errno {}", r.error);
            }
            done += 1;
        }
        s.waited_ns.store(waited_ns(), Relaxed);
        s.done.store(done, Release);
    }
}

impl Remote {
    /// A round, and whether it was undisturbed.
    fn one(&mut self) -> (Sample, bool) {
        const LAUNCHES: usize = 8 * 1024;
        let s = &self.shared;
        let before_ns = waited_ns() + s.waited_ns.load(Relaxed);
        let wanted = s.wanted.fetch_add(LAUNCHES, Release) + LAUNCHES;
        self.thread.as_ref().expect("it runs").thread().unpark();
        // The first of them wakes the thread, and is not counted.
        let mut ran = self.ex.run(usize::MAX);
        let meter = Meter::start();
        let first = ran;
        while ran < LAUNCHES {
            ran += self.ex.run(usize::MAX);
        }
        let sample = meter.stop(LAUNCHES - first);
        while s.done.load(Acquire) != wanted {
            thread::yield_now();
        }
        let waited_ns = waited_ns() + s.waited_ns.load(Relaxed) - before_ns;
        (sample, waited_ns as f64 <= sample.wall_ns / 20.0)
    }
}

impl Work for Remote {
    fn round(&mut self) -> Sample {
        const TRIES: usize = 50;
        for _ in 0..TRIES {
            if let (sample, true) = self.one() {
                return sample;
            }
        }
        self.disturbed += 1;
        self.one().0
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// How a sleeping thread is woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum How {
    /// `monad_async_task_attach`, timed until the task's body begins.
    Attach = 1,
    /// `monad_async_executor_wake`, timed until `run` returns.
    Wake,
    /// A write to an eventfd that a bare ring polls, timed until its enter returns.
    Eventfd,
    /// A futex: the least it can take.
    Futex,
    Quit,
}

struct Alarm {
    ex: ExecutorPtr,
    task: TaskPtr,
    eventfd: i32,
    /// A `How`, or 0; the ringer waits for it, the sleeper sets it before it sleeps.
    order: AtomicU32,
    /// What a futex sleeper sleeps on.
    bell: AtomicU32,
    /// When it was rung.
    rung: AtomicU64,
}

// SAFETY: as for `Shared`.
unsafe impl Send for Alarm {}
// SAFETY: as for `Shared`.
unsafe impl Sync for Alarm {}

/// One at a time: this thread sleeps, another wakes it.
pub struct Wakes {
    ex: Executor,
    _task: Task,
    began: Box<AtomicU64>,
    ring: RawRing,
    eventfd: i32,
    alarm: Arc<Alarm>,
    thread: Option<JoinHandle<()>>,
    _pinned: Pinned,
}

unsafe extern "C" fn stamps(task: TaskPtr) -> RawResult {
    // SAFETY: the stamp outlives the task.
    unsafe { api::user::<AtomicU64>(task) }.store(ticks::now(), Relaxed);
    RawResult::success(0)
}

impl Wakes {
    pub fn new(track: bool) -> Self {
        let cpus = pin::usable(); // Asked before: a thread inherits where its maker is bound.
        let pinned = Pinned::to(cpus.first());
        let ex = Executor::new(64, track);
        let began = Box::new(AtomicU64::new(0));
        let task = Task::new(STACK_BYTES, stamps, (&raw const *began).cast::<c_void>());
        // SAFETY: no memory is passed.
        let eventfd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        assert!(eventfd >= 0, "an eventfd");
        let mut ring = RawRing::new();
        ring.poll(eventfd);
        let alarm = Arc::new(Alarm {
            ex: ex.ptr(),
            task: task.ptr(),
            eventfd,
            order: AtomicU32::new(0),
            bell: AtomicU32::new(0),
            rung: AtomicU64::new(0),
        });
        let theirs = alarm.clone();
        let thread = Some(thread::spawn(move || {
            let _pinned = Pinned::to(cpus.get(1));
            rings(&theirs);
        }));
        Self { ex, _task: task, began, ring, eventfd, alarm, thread, _pinned: pinned }
    }

    /// Nanoseconds from just before the waker's call to the sleeper's first step.
    pub fn one(&mut self, how: How) -> f64 {
        self.alarm.rung.store(0, Relaxed);
        self.alarm.bell.store(0, Relaxed);
        self.order(how);
        let woke = match how {
            How::Attach => {
                while self.ex.run(1) == 0 {}
                self.began.load(Relaxed)
            }
            How::Wake => {
                self.ex.run(1);
                ticks::now()
            }
            How::Eventfd => {
                while self.ring.wait() == 0 {}
                ticks::now()
            }
            How::Futex => {
                while self.alarm.bell.load(Acquire) == 0 {
                    futex(&self.alarm.bell, libc::FUTEX_WAIT, 0);
                }
                ticks::now()
            }
            How::Quit => return 0.0,
        };
        let rung = loop {
            match self.alarm.rung.load(Acquire) {
                0 => core::hint::spin_loop(),
                at => break at,
            }
        };
        ticks::to_ns(woke.saturating_sub(rung)) as f64
    }

    fn order(&self, how: How) {
        self.alarm.order.store(how as u32, Release);
        futex(&self.alarm.order, libc::FUTEX_WAKE, 1);
    }

    pub fn round(&mut self, how: How) -> Sample {
        const TIMES: usize = 20;
        let ns = (0..TIMES).map(|_| self.one(how)).sum();
        Sample { wall_ns: ns, cpu_ns: ns, ops: TIMES }
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        self.order(How::Quit);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        // SAFETY: ours.
        unsafe { libc::close(self.eventfd) };
    }
}

/// The other thread.
fn rings(a: &Alarm) {
    loop {
        let order = a.order.swap(0, AcqRel);
        if order == 0 {
            futex(&a.order, libc::FUTEX_WAIT, 0);
            continue;
        }
        if order == How::Quit as u32 {
            return;
        }
        // By then the other has fallen asleep.
        let nap_ticks = ticks::per_second() / 20_000;
        let begun = ticks::now();
        while ticks::now() - begun < nap_ticks {
            core::hint::spin_loop();
        }
        let at = ticks::now();
        if order == How::Futex as u32 {
            a.bell.store(1, Release);
            futex(&a.bell, libc::FUTEX_WAKE, 1);
        } else if order == How::Eventfd as u32 {
            let one = 1u64.to_ne_bytes();
            // SAFETY: writes eight bytes of our own.
            unsafe { libc::write(a.eventfd, one.as_ptr().cast(), 8) };
        } else {
            // SAFETY: executor and task outlive this thread.
            let r = unsafe {
                if order == How::Attach as u32 {
                    api::attach(a.ex, a.task)
                } else {
                    api::wake(a.ex)
                }
            };
            assert!(r.error == 0, "errno {}", r.error);
        }
        a.rung.store(at, Release);
    }
}

fn futex(word: &AtomicU32, op: libc::c_int, value: u32) {
    let none = ptr::null::<libc::timespec>();
    // SAFETY: the word is alive for the call; no time limit.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), op | libc::FUTEX_PRIVATE_FLAG, value, none)
    };
}
