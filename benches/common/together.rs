//! Tasks that hand something to each other, two by two, as a C program has them.

use core::cell::{Cell, UnsafeCell};
use core::ffi::c_void;
use core::hint::black_box;
use core::mem::zeroed;
use core::ptr;

use monad_async::capi::channel::*;
use monad_async::capi::mutex::*;
use monad_async::capi::semaphore::*;
use monad_async::capi::task::*;
use monad_async::error::RawResult;

use super::api::{self, Executor, Task, TaskPtr};
use super::rounds::{Meter, Sample, Work};

const STACK_BYTES: usize = 16 << 10;
/// So many are ready in each pass.
const PAIRS: usize = 64;
const PASSES: usize = 32;

/// Memory for any of the objects, all zeros.
#[repr(C, align(8))]
struct Object(UnsafeCell<[u64; 32]>);

impl Object {
    fn at<T>(&self) -> *mut T {
        self.0.get().cast()
    }
}

/// What two tasks share. In this order: what a body looks at and counts for itself takes no line
/// besides those of the object.
#[repr(C)]
struct Pair {
    go: Cell<bool>,
    /// Hand-overs.
    count: Cell<usize>,
    tasks: Cell<[TaskPtr; 2]>,
    objects: [Object; 2],
}

/// Which of the two runs, and the pair. (The tasks are known by then.)
unsafe fn pair<'a>(task: TaskPtr) -> (&'a Pair, usize) {
    // SAFETY: the pair outlives its tasks.
    let pair: &Pair = unsafe { api::user(task) };
    (pair, usize::from(pair.tasks.get()[1] == task))
}

impl Pair {
    fn counted(&self) {
        self.count.set(self.count.get() + 1);
    }
}

#[inline(always)]
fn good(r: RawResult) {
    // By a call: what is formatted in place is in memory first, each time.
    #[cold]
    fn failed(errno: i32) -> ! {
        panic!("errno {errno}")
    }
    if r.error != 0 {
        failed(r.error);
    }
}

macro_rules! hand_over {
    ($name:ident, $lock:ident, $unlock:ident) => {
        unsafe extern "C" fn $name(task: TaskPtr) -> RawResult {
            // SAFETY: the task that runs, and an object of this kind.
            unsafe {
                let (pair, _) = pair(task);
                let mutex = pair.objects[0].at();
                let lock = black_box($lock as unsafe extern "C" fn(_, _) -> _);
                let unlock = black_box($unlock as unsafe extern "C" fn(_, _) -> _);
                good(lock(task, mutex));
                good(api::suspend(task, 0)); // The other comes, and waits.
                while pair.go.get() {
                    pair.counted();
                    good(unlock(task, mutex));
                    good(lock(task, mutex));
                }
                good($unlock(task, mutex));
            }
            RawResult::success(0)
        }
    };
}
hand_over!(local_mutex, monad_async_local_mutex_lock, monad_async_local_mutex_unlock);
hand_over!(mutex, monad_async_mutex_lock, monad_async_mutex_unlock);

// One permit for the two of them: each hand-over suspends who gave it away, as a mutex's does.
macro_rules! turns {
    ($name:ident, $acquire:ident, $release:ident) => {
        unsafe extern "C" fn $name(task: TaskPtr) -> RawResult {
            // SAFETY: as above.
            unsafe {
                let (pair, own) = pair(task);
                let (mine, others) = (pair.objects[own].at(), pair.objects[1 - own].at());
                let release = black_box($release as unsafe extern "C" fn(_, u64) -> _);
                let acquire = black_box($acquire as unsafe extern "C" fn(_, _, u64) -> _);
                if own == 0 {
                    good(release(mine, 1));
                }
                while pair.go.get() {
                    good(acquire(task, mine, 1));
                    pair.counted();
                    good(release(others, 1));
                }
            }
            RawResult::success(0)
        }
    };
}
turns!(local_semaphore, monad_async_local_semaphore_acquire, monad_async_local_semaphore_release);
turns!(semaphore, monad_async_semaphore_acquire, monad_async_semaphore_release);

macro_rules! elements {
    ($name:ident, $send:ident, $recv:ident, $close:ident) => {
        unsafe extern "C" fn $name(task: TaskPtr) -> RawResult {
            // SAFETY: as above.
            unsafe {
                let (pair, own) = pair(task);
                let (channel, mut element) = (pair.objects[0].at(), 0u64);
                let at: *mut c_void = (&raw mut element).cast();
                if own == 0 {
                    let send = black_box($send as unsafe extern "C" fn(_, _, _) -> _);
                    while pair.go.get() {
                        good(send(task, channel, at));
                    }
                    good($close(channel));
                } else {
                    let recv = black_box($recv as unsafe extern "C" fn(_, _, _) -> _);
                    loop {
                        let r: RawResult = recv(task, channel, at);
                        if r.error != 0 {
                            break;
                        }
                        pair.counted();
                    }
                }
            }
            RawResult::success(0)
        }
    };
}
elements!(
    local_channel,
    monad_async_local_channel_send,
    monad_async_local_channel_recv,
    monad_async_local_channel_close
);
elements!(channel, monad_async_channel_send, monad_async_channel_recv, monad_async_channel_close);

/// One permit, as above.
unsafe extern "C" fn park(task: TaskPtr) -> RawResult {
    // SAFETY: as above.
    unsafe {
        let (pair, own) = pair(task);
        let other = pair.tasks.get()[1 - own];
        let unpark = black_box(monad_async_task_unpark as unsafe extern "C" fn(_) -> _);
        let park = black_box(monad_async_task_park as unsafe extern "C" fn(_) -> _);
        if own == 0 {
            good(unpark(task));
        }
        while pair.go.get() {
            good(park(task));
            pair.counted();
            good(unpark(other));
        }
    }
    RawResult::success(0)
}

/// 64 pairs that hand something on, driven by passes of `run`.
pub struct Together {
    // Dropped first: it waits for the tasks to exit.
    ex: Executor,
    _tasks: Vec<Task>,
    /// In place: the tasks know them by address.
    pairs: Box<[Pair]>,
}

impl Together {
    fn new(track: bool, body: api::Body, set_up: impl Fn(&Pair)) -> Self {
        let ex = Executor::new(64, track);
        // SAFETY: plain numbers.
        let objects = || unsafe { zeroed() };
        let pair = || Pair {
            go: Cell::new(true),
            count: Cell::new(0),
            tasks: Cell::new([ptr::null(); 2]),
            objects: objects(),
        };
        let pairs: Box<[Pair]> = (0..PAIRS).map(|_| pair()).collect();
        let mut all = Vec::new();
        for pair in &pairs {
            set_up(pair);
            let user = ptr::from_ref(pair).cast();
            let tasks = [(); 2].map(|()| Task::new(STACK_BYTES, body, user));
            pair.tasks.set([tasks[0].ptr(), tasks[1].ptr()]);
            tasks.iter().for_each(|task| ex.attach(task));
            all.extend(tasks);
        }
        let this = Self { ex, _tasks: all, pairs };
        for _ in 0..4 {
            this.ex.run(usize::MAX);
        }
        this
    }

    pub fn mutex(track: bool, local: bool) -> Self {
        Self::new(track, if local { local_mutex } else { mutex }, |_| {})
    }

    pub fn semaphore(track: bool, local: bool) -> Self {
        Self::new(track, if local { local_semaphore } else { semaphore }, |_| {})
    }

    /// Each sender meets its receiver.
    pub fn channel(track: bool, local: bool) -> Self {
        Self::new(track, if local { local_channel } else { channel }, move |pair| {
            let (storage, object) = (ptr::null_mut(), &pair.objects[0]);
            // SAFETY: memory for a channel.
            good(unsafe {
                if local {
                    monad_async_local_channel_init(object.at(), storage, 0, 8)
                } else {
                    monad_async_channel_init(object.at(), storage, 0, 8)
                }
            });
        })
    }

    pub fn park(track: bool) -> Self {
        Self::new(track, park, |_| {})
    }

    fn count(&self) -> usize {
        self.pairs.iter().map(|pair| pair.count.get()).sum()
    }
}

impl Work for Together {
    fn round(&mut self) -> Sample {
        let before = self.count();
        let meter = Meter::start();
        for _ in 0..PASSES {
            self.ex.run(usize::MAX);
        }
        let mut sample = meter.stop(1);
        sample.ops = self.count() - before;
        assert!(sample.ops >= PASSES * PAIRS / 2, "{} hand-overs", sample.ops);
        sample
    }
}

impl Drop for Together {
    fn drop(&mut self) {
        self.pairs.iter().for_each(|pair| pair.go.set(false));
        self.ex.finish();
    }
}
