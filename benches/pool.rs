//! `cargo bench --bench pool`: the pool and what a program would write without it, in one run:
//! empty tasks from one thread and from two to two workers; tasks of 10 us; from the submission to
//! the beginning on a worker that sleeps (`-- --asleep`: that alone); and a ticker while functions
//! block.

mod common;

use common::api::{Executor, Task, TaskPtr};
use core::ffi::c_void;
use monad_async::capi::blocking::monad_async_run_blocking;
use monad_async::capi::pool::*;
use monad_async::capi::task::*;
use monad_async::error::RawResult;
use monad_async::pool::workers::Pool;
use std::collections::VecDeque;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const WORKERS: usize = 2;
const STACK_BYTES: usize = 16 << 10;

type Job = Box<dyn FnOnce() + Send>;

/// What a program writes first: a queue of boxes behind a mutex, and a condition.
#[derive(Default)]
struct Plain {
    jobs: Mutex<(VecDeque<Job>, bool)>,
    some: Condvar,
    done: AtomicUsize,
}

impl Plain {
    fn with_workers(n: usize) -> (Arc<Self>, Vec<thread::JoinHandle<()>>) {
        let plain = Arc::<Self>::default();
        let workers = (0..n).map(|_| {
            let plain = plain.clone();
            thread::spawn(move || plain.work())
        });
        let workers = workers.collect();
        (plain, workers)
    }

    fn work(&self) {
        let mut jobs = self.jobs.lock().unwrap();
        loop {
            if let Some(job) = jobs.0.pop_front() {
                drop(jobs);
                job();
                self.done.fetch_add(1, Release);
                jobs = self.jobs.lock().unwrap();
            } else if jobs.1 {
                return;
            } else {
                jobs = self.some.wait(jobs).unwrap();
            }
        }
    }

    fn submit(&self, job: impl FnOnce() + Send + 'static) {
        self.jobs.lock().unwrap().0.push_back(Box::new(job));
        self.some.notify_one();
    }

    fn wait(&self, done: usize) {
        while self.done.load(Acquire) < done {
            thread::yield_now();
        }
    }

    fn end(&self, workers: Vec<thread::JoinHandle<()>>) {
        self.jobs.lock().unwrap().1 = true;
        self.some.notify_all();
        workers.into_iter().for_each(|w| w.join().unwrap());
    }
}

#[derive(Clone, Copy)]
struct Ours(*mut Pool);

// SAFETY: the calls that are made through it may be made by any thread.
unsafe impl Send for Ours {}

impl Ours {
    fn new() -> Self {
        let mut attr = [0u64; 32];
        attr[25] = (WORKERS as u64) << 32;
        let mut pool = ptr::null_mut();
        // SAFETY: attributes of that size, and a place for the pool.
        let r = unsafe { monad_async_pool_create(&mut pool, attr.as_ptr().cast()) };
        assert_eq!(r.error, 0);
        Self(pool)
    }

    /// A call, and not a field: so a closure takes the whole.
    fn get(self) -> *mut Pool {
        self.0
    }

    fn wait(self) {
        // SAFETY: alive.
        assert_eq!(unsafe { monad_async_pool_wait(self.0, 0, 1) }.error, 0);
    }

    fn end(self) {
        // SAFETY: alive, and not used any more.
        assert_eq!(unsafe { monad_async_pool_destroy(self.0) }.error, 0);
    }
}

unsafe extern "C" fn empty(_: TaskPtr) -> RawResult {
    RawResult::success(0)
}

/// ns a task: `threads` submit `count` each, again and again, from 1,024 tasks of their own.
fn ours_empty(threads: usize, count: usize) -> f64 {
    let pool = Ours::new();
    let begun = Instant::now();
    let all: Vec<_> = (0..threads)
        .map(|_| {
            thread::spawn(move || {
                let pool = pool.get();
                let tasks: Vec<_> =
                    (0..1024).map(|_| Task::new(STACK_BYTES, empty, ptr::null())).collect();
                let begun = Instant::now();
                for n in 0..count {
                    let task = tasks[n % tasks.len()].ptr();
                    // SAFETY: both are alive. A task that has not exited is waited for.
                    while unsafe { monad_async_pool_submit(pool, task) }.error != 0 {
                        thread::yield_now();
                    }
                }
                Ours(pool).wait();
                begun.elapsed()
            })
        })
        .collect();
    let longest = all.into_iter().map(|t| t.join().unwrap()).max().unwrap_or(begun.elapsed());
    pool.end();
    longest.as_nanos() as f64 / (threads * count) as f64
}

fn plain_empty(threads: usize, count: usize) -> f64 {
    let (plain, workers) = Plain::with_workers(WORKERS);
    let begun = Instant::now();
    thread::scope(|s| {
        for _ in 0..threads {
            s.spawn(|| (0..count).for_each(|_| plain.submit(|| {})));
        }
    });
    plain.wait(threads * count);
    let took = begun.elapsed();
    plain.end(workers);
    took.as_nanos() as f64 / (threads * count) as f64
}

fn cpu_ns() -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place for the time.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

/// Of a task that notes when it begins and ends, one such call is outside of what it notes: what is
/// before the time is taken of the first, and what is behind that of the last.
fn cpu_ns_takes() -> u64 {
    const CALLS: u64 = 100_000;
    let begun = cpu_ns();
    (1..CALLS).for_each(|_| {
        std::hint::black_box(cpu_ns());
    });
    (cpu_ns() - begun) / CALLS
}

static INSIDE_NS: AtomicU64 = AtomicU64::new(0);
static CALL_NS: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" fn ten_us(_: TaskPtr) -> RawResult {
    spin_ten_us();
    RawResult::success(0)
}

fn spin_ten_us() {
    let begun = cpu_ns();
    while cpu_ns() - begun < 10_000 {}
    INSIDE_NS.fetch_add(cpu_ns() - begun + CALL_NS.load(Relaxed), Relaxed);
}

/// Which part of the processors' time was inside tasks of 10 us.
fn ours_ten_us(count: usize) -> f64 {
    let pool = Ours::new();
    let tasks: Vec<_> = (0..count).map(|_| Task::new(STACK_BYTES, ten_us, ptr::null())).collect();
    let all: Vec<_> = tasks.iter().map(Task::ptr).collect();
    INSIDE_NS.store(0, Relaxed);
    let begun = Instant::now();
    // SAFETY: alive, and so many.
    unsafe { monad_async_pool_submit_many(pool.get(), all.as_ptr(), all.len()) };
    pool.wait();
    let took = begun.elapsed().as_nanos() as f64;
    pool.end();
    INSIDE_NS.load(Relaxed) as f64 / (took * WORKERS as f64)
}

/// The same of as many threads that do nothing else: what the machine lets them have.
fn threads_ten_us(count: usize) -> f64 {
    let left = AtomicUsize::new(count);
    INSIDE_NS.store(0, Relaxed);
    let begun = Instant::now();
    thread::scope(|s| {
        for _ in 0..WORKERS {
            s.spawn(|| {
                while left.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1)).is_ok() {
                    spin_ten_us();
                }
            });
        }
    });
    let took = begun.elapsed().as_nanos() as f64;
    INSIDE_NS.load(Relaxed) as f64 / (took * WORKERS as f64)
}

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

static BEGAN: AtomicU64 = AtomicU64::new(0);

fn now_ns() -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place for the time.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

unsafe extern "C" fn notes(_: TaskPtr) -> RawResult {
    BEGAN.store(now_ns(), Release);
    RawResult::success(0)
}

/// The middle, and the worst of 100.
fn asleep_to_begin(mut wake: impl FnMut()) -> [f64; 2] {
    let times = (0..200).map(|_| {
        thread::sleep(Duration::from_micros(200)); // So that the other sleeps.
        BEGAN.store(0, Relaxed);
        let begun = now_ns();
        wake();
        while BEGAN.load(Acquire) == 0 {
            thread::yield_now();
        }
        BEGAN.load(Relaxed).saturating_sub(begun) as f64
    });
    let mut times: Vec<_> = times.collect();
    times.sort_by(f64::total_cmp);
    [times[times.len() / 2], times[times.len() * 99 / 100]]
}

fn ours_asleep() -> [f64; 2] {
    let pool = Ours::new();
    let task = Task::new(STACK_BYTES, notes, ptr::null());
    // SAFETY: alive; it has exited, as it has begun and the next is 200 us later.
    let took = asleep_to_begin(|| unsafe {
        while monad_async_pool_submit(pool.get(), task.ptr()).error != 0 {
            thread::yield_now();
        }
    });
    pool.wait();
    pool.end();
    took
}

fn futex_asleep() -> [f64; 2] {
    let word: &core::sync::atomic::AtomicU32 = Box::leak(Box::default());
    let stop: &AtomicBool = Box::leak(Box::default());
    let sleeper = thread::spawn(move || {
        while !stop.load(Relaxed) {
            if word.swap(0, Acquire) == 0 {
                monad_async::sys::futex::wait(word, 0, None);
            } else {
                BEGAN.store(now_ns(), Release);
            }
        }
    });
    let wake = || {
        word.store(1, Release);
        monad_async::sys::futex::wake(word.as_ptr() as usize);
    };
    let took = asleep_to_begin(wake);
    stop.store(true, Relaxed);
    wake();
    sleeper.join().unwrap();
    took
}

#[derive(Default)]
struct HandState {
    jobs: Vec<fn()>,
    sleeps: bool,
    ends: bool,
}

/// What a queue that several may put into takes at least: a lock on both sides of a futex.
#[derive(Default)]
struct ByHand {
    state: Mutex<HandState>,
    word: core::sync::atomic::AtomicU32,
}

impl ByHand {
    fn work(&self) {
        loop {
            let mut state = self.state.lock().unwrap();
            if let Some(job) = state.jobs.pop() {
                drop(state);
                job();
            } else if state.ends {
                return;
            } else {
                state.sleeps = true;
                self.word.store(0, Relaxed);
                drop(state);
                while self.word.load(Acquire) == 0 {
                    monad_async::sys::futex::wait(&self.word, 0, None);
                }
            }
        }
    }

    fn with(&self, change: impl FnOnce(&mut HandState)) {
        let mut state = self.state.lock().unwrap();
        change(&mut state);
        let sleeps = std::mem::take(&mut state.sleeps);
        drop(state);
        if sleeps {
            self.word.store(1, Release);
            monad_async::sys::futex::wake(self.word.as_ptr() as usize);
        }
    }
}

fn by_hand_asleep() -> [f64; 2] {
    let queue: &ByHand = Box::leak(Box::default());
    let worker = thread::spawn(|| queue.work());
    let notes: fn() = || BEGAN.store(now_ns(), Release);
    let took = asleep_to_begin(|| queue.with(|state| state.jobs.push(notes)));
    queue.with(|state| state.ends = true);
    worker.join().unwrap();
    took
}

unsafe extern "C" fn block(_: *mut c_void) -> RawResult {
    thread::sleep(Duration::from_millis(10));
    RawResult::success(0)
}

unsafe extern "C" fn blocks(task: TaskPtr) -> RawResult {
    // SAFETY: the task that runs.
    unsafe { monad_async_run_blocking(task, Some(block), ptr::null_mut()) }
}

static LATE: Mutex<Vec<f64>> = Mutex::new(Vec::new());
static CALLS: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn ticks(task: TaskPtr) -> RawResult {
    while CALLS.load(Relaxed) != 0 {
        let begun = now_ns();
        // SAFETY: the task that runs.
        let r = unsafe { monad_async_task_suspend_for_duration(task, 1_000_000) };
        assert_eq!(r.error, 0);
        LATE.lock().unwrap().push((now_ns() - begun) as f64 - 1e6);
    }
    RawResult::success(0)
}

unsafe extern "C" fn blocks_once(task: TaskPtr) -> RawResult {
    // SAFETY: as `blocks`.
    let r = unsafe { blocks(task) };
    CALLS.fetch_sub(1, Relaxed);
    r
}

/// How late a ticker of 1 ms is in the median and in the worst of 100, during 1,000 calls of 10 ms
/// by 64 helpers: a task's, and a plain thread's.
fn ticker() -> [(f64, f64); 2] {
    let late = |v: &mut Vec<f64>| {
        v.sort_by(f64::total_cmp);
        (v[v.len() / 2] / 1e3, v[v.len() * 99 / 100] / 1e3)
    };
    let run = |with_task: bool| {
        CALLS.store(1000, Relaxed);
        let ex = Executor::new(64, true);
        let calls: Vec<_> =
            (0..1000).map(|_| Task::new(STACK_BYTES, blocks_once, ptr::null())).collect();
        let ticker = Task::new(64 << 10, ticks, ptr::null());
        if with_task {
            ex.attach(&ticker);
        }
        let thread = (!with_task).then(|| {
            thread::spawn(|| {
                while CALLS.load(Relaxed) != 0 {
                    let begun = now_ns();
                    thread::sleep(Duration::from_millis(1));
                    LATE.lock().unwrap().push((now_ns() - begun) as f64 - 1e6);
                }
            })
        });
        for call in &calls {
            ex.attach(call);
        }
        ex.finish();
        if let Some(thread) = thread {
            thread.join().unwrap();
        }
        late(&mut std::mem::take(&mut LATE.lock().unwrap()))
    };
    [run(true), run(false)]
}

/// Prints it.
fn asleep() {
    // In turns, as what a wake-up takes changes from minute to minute.
    let turns: Vec<_> =
        (0..21).map(|_| [ours_asleep(), futex_asleep(), by_hand_asleep()]).collect();
    let of = |what: fn(&[[f64; 2]; 3]) -> f64| median(turns.iter().map(what).collect());
    println!(
        "submit to begin, asleep: {:.0} ns, a bare futex {:.0} ns; {:.2} of it (1.1); a queue by \
         hand, with a lock, {:.0} ns, {:.2} of it",
        of(|t| t[0][0]),
        of(|t| t[1][0]),
        of(|t| t[0][0] / t[1][0]),
        of(|t| t[2][0]),
        of(|t| t[2][0] / t[1][0]),
    );
    println!(
        "  the worst of 100: {:.0} ns, a bare futex {:.0} ns, a queue by hand {:.0} ns",
        of(|t| t[0][1]),
        of(|t| t[1][1]),
        of(|t| t[2][1]),
    );
}

fn main() {
    if std::env::args().any(|a| a == "--asleep") {
        return asleep();
    }
    let quick = std::env::args().any(|a| a == "--test");
    let (rounds, count) = if quick { (1, 1000) } else { (5, 300_000) };
    for threads in [1, 2] {
        let (mut ours, mut plain) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(ours_empty(threads, count));
            plain.push(plain_empty(threads, count));
        }
        let (ours, plain) = (median(ours), median(plain));
        println!(
            "empty tasks, {threads} to {WORKERS}: {ours:.0} ns, boxes behind a mutex {plain:.0} \
             ns; {:.2} of it",
            ours / plain
        );
    }
    CALL_NS.store(cpu_ns_takes(), Relaxed);
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(ours_ten_us(count / 30));
        plain.push(threads_ten_us(count / 30));
    }
    let (ours, plain) = (median(ours), median(plain));
    println!(
        "tasks of 10 us: {:.1}% of the processors' time (95); two threads that do nothing else \
         {:.1}%; {:.2} of it; {} ns of each task are the call by which it looks at its clock",
        ours * 100.0,
        plain * 100.0,
        ours / plain,
        CALL_NS.load(Relaxed)
    );
    if quick {
        return;
    }
    asleep();
    let [task, plain] = ticker();
    println!(
        "1 ms ticker during 1,000 calls of 10 ms: late by {:.0} us, worst of 100 {:.0}; a thread \
         {:.0}, {:.0}",
        task.0, task.1, plain.0, plain.1
    );
}
