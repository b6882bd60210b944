//! One test for each rule of the pool's queue, small enough for tests/rust/mutants/pool.rs to run it
//! with a bug in the rule.

#[path = "../support/mod.rs"]
mod support;

use monad_async::capi::metrics::*;
use monad_async::capi::pool::*;
use monad_async::capi::task::*;
use monad_async::error::{Errno, RawResult, Res};
use monad_async::executor::hands::Hands;
use monad_async::executor::jobs::Job;
use monad_async::executor::mailbox::Mailbox;
use monad_async::executor::queue::{Queue, Seat};
use monad_async::executor::remote;
use monad_async::executor::Executor;
use monad_async::task::header::{TaskHead, TaskRef};
use monad_async::uring::kernel::{Cqe, Kernel, Sqe, Wait, Waker};
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::SeqCst};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use support::pool::*;
use support::*;

const HIGH: u8 = 0;
const NORMAL: u8 = 1;
const LOW: u8 = 2;

/// The numbers of its workers' threads.
fn threads_of<const WORKERS: usize>(pool: PoolPtr) -> [i32; WORKERS] {
    std::array::from_fn(|n| thread_of(pool, n))
}

fn left(pool: PoolPtr, what: u32) -> usize {
    // SAFETY: alive.
    unsafe { monad_async_pool_left(pool, what) }.value as usize
}

fn set_level(task: TaskRef, level: u8) {
    // SAFETY: alive.
    let set = unsafe { monad_async_task_set_priorities(task.as_head(), level, NORMAL) };
    assert_eq!(set, RawResult::success(0));
}

/// Tasks that note their numbers in `order`.
fn noting(count: usize, order: &'static Mutex<Vec<usize>>) -> Vec<TaskRef> {
    let tasks: Vec<_> = (0..count).map(|_| new_task()).collect();
    for (n, &task) in tasks.iter().enumerate() {
        set_body(task, move |_| {
            order.lock().unwrap().push(n);
            RawResult::success(0)
        });
    }
    tasks
}

fn submit_all(pool: PoolPtr, tasks: &[TaskRef]) {
    tasks.iter().for_each(|&task| assert_eq!(submit(pool, task), RawResult::success(0)));
}

/// Those that are dismissed end what they have begun. What waits is for those that stay.
#[test]
fn a_worker_that_was_dismissed_begins_nothing() {
    let pool = pool(3);
    let [stays, leave @ ..] = threads_of::<3>(pool);
    let (gate, held) = hold(pool, 3);
    // SAFETY: alive.
    assert_eq!(unsafe { monad_async_pool_resize(pool, 1) }, RawResult::success(0));
    // The one that stays ends none of them before the others are gone, or have begun one.
    let others: &AtomicUsize = leak(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..60).map(|_| new_task()).collect();
    for &task in &tasks {
        set_body(task, move |_| {
            others.fetch_add(usize::from(asleep::number() != stays), SeqCst);
            while others.load(SeqCst) == 0 && !leave.into_iter().all(asleep::is_gone) {
                thread::sleep(Duration::from_micros(100));
            }
            RawResult::success(asleep::number() as isize)
        });
    }
    submit_all(pool, &tasks);
    gate.open.store(true, SeqCst);
    for &task in &tasks {
        assert_eq!(wait(task), RawResult::success(stays as isize));
    }
    end(pool);
    destroy_all(held.into_iter().chain(tasks));
}

/// While many low ones wait, and are begun all the time, what is submitted as high is the next that
/// any worker begins.
#[test]
fn a_high_one_is_next_among_many_low_ones() {
    const WORKERS: usize = 2;
    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    static MAY_END: AtomicUsize = AtomicUsize::new(0);
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    let pool = pool(WORKERS as u32);
    let low: Vec<_> = (0..20_000).map(|_| new_task()).collect();
    for &task in &low {
        set_body(task, |_| {
            BEGUN.fetch_add(1, SeqCst);
            let is_next = |n: usize| (n < MAY_END.load(SeqCst)).then_some(n + 1);
            while ENDED.fetch_update(SeqCst, SeqCst, is_next).is_err() {
                thread::sleep(Duration::from_micros(20));
            }
            RawResult::success(0)
        });
        set_level(task, LOW);
    }
    submit_all(pool, &low);
    let high = new_task();
    set_body(high, |_| RawResult::success(BEGUN.load(SeqCst) as isize));
    set_level(high, HIGH);
    for round in 0..100 {
        // Each worker has one.
        while BEGUN.load(SeqCst) != round + WORKERS {
            thread::sleep(Duration::from_micros(20));
        }
        assert_eq!(submit(pool, high), RawResult::success(0));
        MAY_END.store(round + 1, SeqCst);
        assert_eq!(wait(high).value as usize, round + WORKERS, "a low one was the next");
    }
    MAY_END.store(low.len(), SeqCst);
    quit(pool, RETURN);
    end(pool);
    destroy_all(low.into_iter().chain([high]));
}

/// All sleep when many come at once: each that wakes has the next one woken, as long as there is
/// more. Those that come meet, so all must have begun.
#[test]
fn as_many_workers_wake_as_there_is_work_for() {
    const WORKERS: usize = 3;
    static MET: AtomicUsize = AtomicUsize::new(0);
    let pool = pool(WORKERS as u32);
    let tasks: Vec<_> = (0..WORKERS).map(|_| new_task()).collect();
    let heads: Vec<_> = tasks.iter().map(|task| task.as_head()).collect();
    for &task in &tasks {
        set_body(task, |_| {
            MET.fetch_add(1, SeqCst);
            while !MET.load(SeqCst).is_multiple_of(WORKERS) {
                thread::yield_now();
            }
            RawResult::success(0)
        });
    }
    let threads = threads_of::<WORKERS>(pool);
    for _ in 0..20 {
        threads.into_iter().for_each(asleep::until);
        // SAFETY: alive, and so many.
        let put = unsafe { monad_async_pool_submit_many(pool, heads.as_ptr(), heads.len()) };
        assert_eq!(put, RawResult::success(WORKERS as isize));
        until(pool, 0, UNFINISHED);
    }
    end(pool);
    destroy_all(tasks);
}

/// All sleep when one comes: one wakes for it, and no other.
#[test]
fn one_worker_wakes_for_one_task() {
    const WORKERS: usize = 3;
    const ROUNDS: usize = 50;
    static EXECUTORS: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let pool = pool(WORKERS as u32);
    let task = new_task();
    set_body(task, |t| {
        let ex = t.head.current_executor.load(SeqCst);
        EXECUTORS.lock().unwrap().push(ex.addr());
        // SAFETY: the executor that runs here.
        unsafe { monad_async_metrics_start(ex.cast()) }
    });
    for n in 0..WORKERS {
        attach_to(pool, n, task);
        assert_eq!(wait(task), RawResult::success(0));
    }
    let threads = threads_of::<WORKERS>(pool);
    let wakeups = || {
        let executors = EXECUTORS.lock().unwrap();
        let of_one = |&at: &usize| {
            let mut metrics = vec![0u64; 17_968 / 8];
            let ex = ptr::with_exposed_provenance_mut(at);
            // SAFETY: a worker that stays until the pool ends; room for all of them.
            let read = unsafe { monad_async_executor_metrics(ex, metrics.as_mut_ptr().cast()) };
            assert_eq!(read, RawResult::success(0));
            metrics[2] as usize
        };
        executors.iter().map(of_one).sum::<usize>()
    };
    set_body(task, |_| RawResult::success(1));
    threads.into_iter().for_each(asleep::until);
    let before = wakeups();
    for _ in 0..ROUNDS {
        threads.into_iter().for_each(asleep::until);
        assert_eq!(submit(pool, task), RawResult::success(0));
        assert_eq!(wait(task), RawResult::success(1));
    }
    threads.into_iter().for_each(asleep::until);
    let woken = wakeups() - before;
    assert!(woken <= ROUNDS, "{woken} wake-ups for {ROUNDS} tasks");
    assert!(woken > ROUNDS / 2, "not what is to be tested: {woken}");
    end(pool);
    destroy_all([task]);
}

/// Of one priority, what was begun and is ready again takes turns with what is new: neither keeps
/// the other waiting.
#[test]
fn what_has_begun_and_what_is_new_take_turns() {
    static ORDER: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    const YIELDS: usize = 100;
    let pool = pool(1);
    let (gate, held) = hold(pool, 1);
    let begun = new_task();
    set_body(begun, |t| {
        for _ in 0..4 {
            ORDER.lock().unwrap().push(YIELDS);
            // SAFETY: the running task.
            assert_eq!(unsafe { monad_async_task_suspend_for_duration(t.as_head(), 0) }.error, 0);
        }
        RawResult::success(0)
    });
    let new = noting(10, &ORDER);
    submit_all(pool, &[begun]);
    submit_all(pool, &new);
    gate.open.store(true, SeqCst);
    until(pool, 0, UNFINISHED);
    let order = ORDER.lock().unwrap();
    let at = |n: usize| order.iter().position(|&o| o == n).unwrap();
    let last = order.iter().rposition(|&o| o == YIELDS).unwrap();
    assert!(at(0) < last, "what is new waits: {order:?}");
    assert!(last < at(9), "what was begun waits: {order:?}");
    end(pool);
    destroy_all(held.into_iter().chain(new).chain([begun]));
}

/// Who waits until so many are left goes on when it is so, and not before.
#[test]
fn a_wait_is_over_when_so_few_are_left() {
    const TASKS: usize = 6;
    for what in [QUEUED, UNFINISHED] {
        let pool = pool(1);
        let (gate, held) = hold(pool, 1);
        // Each task waits until it may end.
        let may_end: &AtomicUsize = leak(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..TASKS).map(|_| new_task()).collect();
        for (n, &task) in tasks.iter().enumerate() {
            set_body(task, move |_| {
                while may_end.load(SeqCst) <= n {
                    thread::sleep(Duration::from_micros(50));
                }
                RawResult::success(0)
            });
        }
        submit_all(pool, &tasks);
        gate.open.store(true, SeqCst);
        until(pool, TASKS - 1, QUEUED); // The first has begun.
        let mut ended = 0;
        for at_most in [4, 2, 1, 0] {
            let at = Shared(pool);
            let waits = asleep::waits(move || until(at.get(), at_most, what));
            // So many have ended, and one has begun.
            let enough = TASKS - at_most - usize::from(what == QUEUED);
            while ended != enough {
                thread::sleep(Duration::from_millis(1));
                waits.until_asleep();
                assert!(!waits.is_over(), "{} are left, not {at_most}", left(pool, what));
                ended += 1;
                // Both wait, and this one is told first.
                let told = asleep::waits(move || until(at.get(), TASKS - ended, UNFINISHED));
                may_end.store(ended, SeqCst);
                told.join();
            }
            waits.join();
            assert!(left(pool, what) <= at_most);
        }
        may_end.store(TASKS, SeqCst);
        end(pool);
        destroy_all(held.into_iter().chain(tasks));
    }
}

/// Who waits for the end of a task that is queued is told when that is cancelled, or handed back.
#[test]
fn who_joins_what_is_queued_is_told_of_its_end() {
    let pool = pool(1);
    let (gate, held) = hold(pool, 1);
    let tasks = [new_task(), new_task()];
    let waits = tasks.map(|task| {
        set_body(task, |_| RawResult::success(1));
        submit_all(pool, &[task]);
        let task = Shared(task);
        asleep::waits(move || wait(task.get()))
    });
    // SAFETY: alive.
    let cancelled = unsafe { monad_async_task_cancel(ptr::null_mut(), tasks[0].as_head()) };
    assert_eq!(cancelled, RawResult::success(0));
    assert_eq!(left(pool, QUEUED), 1);
    assert_eq!(quit(pool, RETURN), 1);
    for waits in waits {
        assert_eq!(waits.join(), RawResult::failure(Errno(libc::ECANCELED)));
    }
    gate.open.store(true, SeqCst);
    end(pool);
    destroy_all(held.into_iter().chain(tasks));
}

/// Those before it are in, those behind it are not.
#[test]
fn the_first_of_many_that_is_refused_ends_the_submission() {
    static ORDER: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let pool = pool(1);
    let (gate, held) = hold(pool, 1);
    let tasks = noting(4, &ORDER);
    let heads = [0, 1, 0, 2, 3].map(|n| tasks[n].as_head());
    // SAFETY: alive, and so many.
    let put = unsafe { monad_async_pool_submit_many(pool, heads.as_ptr(), heads.len()) };
    assert_eq!(put, RawResult::success(2));
    assert!(!tasks[2].is_attached() && !tasks[3].is_attached());
    // SAFETY: as above.
    let none = unsafe { monad_async_pool_submit_many(pool, heads.as_ptr(), heads.len()) };
    assert_eq!(none, RawResult::failure(Errno(libc::EBUSY)));
    assert_eq!(left(pool, QUEUED), 2);
    gate.open.store(true, SeqCst);
    until(pool, 0, UNFINISHED);
    assert_eq!(*ORDER.lock().unwrap(), [0, 1]);
    end(pool);
    destroy_all(held.into_iter().chain(tasks));
}

/// No lock is held until all are in: the first begin while the others come, and in order.
#[test]
fn of_many_the_first_begin_before_the_last_have_come() {
    const MANY: usize = 100;
    const LOOKS: usize = 50_000;
    static ORDER: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let pool = pool(1);
    let tasks = noting(MANY, &ORDER);
    // SAFETY: alive.
    let queue = unsafe { &(*pool).queue };
    let looks: &AtomicUsize = leak(AtomicUsize::new(0));
    let come = tasks.iter().enumerate().map(|(n, &task)| {
        while n == MANY - 1 && ORDER.lock().unwrap().is_empty() {
            if looks.fetch_add(1, SeqCst) >= LOOKS {
                break;
            }
            thread::sleep(Duration::from_micros(100));
        }
        task
    });
    assert_eq!(queue.submit_many(come), (MANY, Ok(())));
    assert!(looks.load(SeqCst) < LOOKS, "none began before all had come");
    until(pool, 0, UNFINISHED);
    assert!(ORDER.lock().unwrap().iter().copied().eq(0..MANY));
    // In a later part, too, one that is refused ends it.
    let (gate, held) = hold(pool, 1);
    let some = tasks[..70].iter().chain(&tasks[69..]).copied();
    assert_eq!(queue.submit_many(some), (70, Err(Errno(libc::EBUSY))));
    assert_eq!(left(pool, QUEUED), 70);
    gate.open.store(true, SeqCst);
    until(pool, 0, UNFINISHED);
    end(pool);
    destroy_all(held.into_iter().chain(tasks));
}

/// A task whose priority is set to what it is keeps its place; the task of a job has its level.
#[test]
fn a_priority_that_is_set_again_moves_nothing() {
    static ORDER: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    static LEVELS: Job = {
        unsafe extern "C" fn code(task: *const TaskHead) -> RawResult {
            // SAFETY: the running task; its level was posted.
            let (level, posted) =
                unsafe { ((*task).cpu.get(), (*task).user_ptr.get().cast::<u8>().read()) };
            assert_eq!(level, posted);
            RawResult::success(0)
        }
        Job { code: Some(code), on_exit: None, returned: None, reserved: 0 }
    };
    let pool = pool(1);
    let (gate, held) = hold(pool, 1);
    let tasks = noting(4, &ORDER);
    submit_all(pool, &tasks);
    set_level(tasks[1], NORMAL);
    set_level(tasks[3], HIGH);
    for level in [LOW, NORMAL, HIGH] {
        // SAFETY: alive; a byte.
        let posted =
            unsafe { monad_async_pool_post(pool, level, &LEVELS, (&raw const level).cast(), 1) };
        assert_eq!(posted, RawResult::success(0));
    }
    gate.open.store(true, SeqCst);
    until(pool, 0, UNFINISHED);
    assert_eq!(*ORDER.lock().unwrap(), [3, 0, 1, 2]);
    end(pool);
    destroy_all(held.into_iter().chain(tasks));
}

/// Jobs that note their numbers, and of which those from `HOLDS` on end when they may.
struct Noted {
    order: Mutex<Vec<usize>>,
    may_end: AtomicUsize,
    /// The number of the thread that began the last one.
    worker: AtomicI32,
}

const HOLDS: usize = 1000;
const MANY: usize = 40;

static NOTES: Job = {
    unsafe extern "C" fn code(task: *const TaskHead) -> RawResult {
        // SAFETY: the running task; these were posted with it.
        let (noted, n) = unsafe { (*task).user_ptr.get().cast::<(&Noted, usize)>().read() };
        noted.worker.store(asleep::number(), SeqCst);
        noted.order.lock().unwrap().push(n);
        while n >= HOLDS + noted.may_end.load(SeqCst) {
            thread::sleep(Duration::from_micros(20));
        }
        RawResult::success(0)
    }
    Job { code: Some(code), on_exit: None, returned: None, reserved: 0 }
};

impl Noted {
    fn post(&'static self, pool: PoolPtr, level: u8, n: usize) {
        let bytes = (self, n);
        let at = (&raw const bytes).cast();
        // SAFETY: alive; the bytes are read during the call.
        let r = unsafe { monad_async_pool_post(pool, level, &NOTES, at, size_of_val(&bytes)) };
        assert_eq!(r, RawResult::success(0));
    }

    fn until_begun(&self, count: usize) {
        while self.order.lock().unwrap().len() < count {
            thread::sleep(Duration::from_micros(20));
        }
    }

    /// A pool whose one worker has begun a job while so many wait: what comes now comes apart.
    fn with(many: usize) -> (PoolPtr, &'static Self) {
        let pool = pool(1);
        let noted: &Self = leak(Self {
            order: Mutex::default(),
            may_end: AtomicUsize::new(0),
            worker: AtomicI32::new(0),
        });
        noted.post(pool, NORMAL, HOLDS);
        noted.until_begun(1);
        // The memory that jobs wait in has held others, up to its end.
        (0..63 * 12).for_each(|n| noted.post(pool, NORMAL, n));
        noted.may_end.store(1, SeqCst);
        until(pool, 0, UNFINISHED);
        noted.order.lock().unwrap().clear();
        noted.post(pool, NORMAL, HOLDS + 1);
        noted.until_begun(1);
        noted.post(pool, NORMAL, HOLDS + 2);
        (0..many).for_each(|n| noted.post(pool, NORMAL, n));
        noted.may_end.store(2, SeqCst);
        noted.until_begun(2);
        (pool, noted)
    }

    /// What has begun behind the two that were held, which end.
    fn rest(&self, count: usize) -> Vec<usize> {
        self.may_end.store(3, SeqCst);
        self.until_begun(count + 2);
        self.order.lock().unwrap()[2..].to_vec()
    }
}

/// Of what comes while many wait the high ones are the next, and the others begin in their turn.
/// (Several chunks of them: those that are joined are not full.)
#[test]
fn what_comes_while_many_wait_begins_in_its_turn() {
    for many in [MANY, 100] {
        comes_while_wait(many);
    }
}

fn comes_while_wait(many: usize) {
    const COUNT: usize = 300;
    let (pool, noted) = Noted::with(many);
    (many..COUNT).for_each(|n| noted.post(pool, NORMAL, n));
    noted.post(pool, LOW, COUNT + 2);
    (COUNT..COUNT + 2).for_each(|n| noted.post(pool, HIGH, n));
    let begun = noted.rest(COUNT + 3);
    let expected: Vec<_> = [COUNT, COUNT + 1].into_iter().chain(0..COUNT).collect();
    assert_eq!((&begun[..COUNT + 2], begun[COUNT + 2]), (&expected[..], COUNT + 2));
    // All of it is taken, and a worker that sleeps is woken again.
    asleep::until(noted.worker.load(SeqCst));
    noted.post(pool, NORMAL, 0);
    noted.until_begun(2 + COUNT + 4);
    end(pool);
}

#[test]
fn what_comes_while_many_wait_keeps_its_place_among_tasks() {
    let (pool, noted) = Noted::with(MANY);
    (MANY..MANY + 10).for_each(|n| noted.post(pool, NORMAL, n));
    let task = new_task();
    set_body(task, |_| {
        noted.order.lock().unwrap().push(MANY + 10);
        RawResult::success(0)
    });
    assert_eq!(submit(pool, task), RawResult::success(0));
    noted.post(pool, NORMAL, MANY + 11);
    assert_eq!(noted.rest(MANY + 12), (0..MANY + 12).collect::<Vec<_>>());
    end(pool);
    destroy_all([task]);
}

#[test]
fn what_comes_while_many_wait_is_counted_and_handed_back() {
    let (pool, noted) = Noted::with(MANY);
    (0..20).for_each(|n| noted.post(pool, NORMAL, n));
    assert_eq!((left(pool, QUEUED), left(pool, UNFINISHED)), (MANY + 20, MANY + 21));
    noted.may_end.store(3, SeqCst);
    until(pool, 0, UNFINISHED);
    end(pool);
    let (pool, noted) = Noted::with(MANY);
    (0..20).for_each(|n| noted.post(pool, LOW, n));
    assert_eq!(quit(pool, RETURN) as usize, MANY + 20);
    noted.may_end.store(3, SeqCst);
    end(pool);
}

/// Who waits for few to be left counts what came while many waited, and so does who drains.
#[test]
fn who_waits_waits_for_what_comes_while_many_wait() {
    let (pool, noted) = Noted::with(MANY);
    (0..20).for_each(|n| noted.post(pool, NORMAL, n));
    let at = pool as usize;
    let waits = asleep::waits(move || {
        until(at as PoolPtr, MANY + 10, QUEUED);
        noted.order.lock().unwrap().len()
    });
    noted.may_end.store(3, SeqCst);
    assert!(waits.join() > 2 + 8, "the tenth is about to begin");
    end(pool);
    let (pool, noted) = Noted::with(MANY);
    (0..20).for_each(|n| noted.post(pool, NORMAL, n));
    assert_eq!(quit(pool, DRAIN), 0);
    noted.may_end.store(3, SeqCst);
    end(pool);
    assert_eq!(noted.order.lock().unwrap().len(), 2 + MANY + 20);
}

/// While many wait a worker takes them without the lock, one that is held up among them. Who waits
/// for that one to begin is told, who counts sees what was taken and what has ended, and what is
/// higher is the next.
#[test]
fn what_is_taken_without_the_lock_is_counted_and_lets_higher_ones_go_first() {
    const COUNT: usize = 140;
    const HELD: usize = 70;
    for (awaited, counted) in [(true, true), (false, true), (false, false)] {
        let (pool, noted) = Noted::with(MANY);
        let held = |n| if n == HELD { HOLDS + 3 } else { n };
        (MANY..COUNT).for_each(|n| noted.post(pool, NORMAL, held(n)));
        noted.may_end.store(3, SeqCst);
        if awaited {
            until(pool, COUNT - HELD - 1, QUEUED);
        } else {
            noted.until_begun(2 + HELD + 1);
        }
        let waits = COUNT - HELD - 1;
        if counted {
            assert_eq!((left(pool, QUEUED), left(pool, UNFINISHED)), (waits, waits + 1));
        }
        noted.post(pool, HIGH, COUNT);
        noted.may_end.store(4, SeqCst);
        noted.until_begun(2 + COUNT + 1); // Who waits for the pool looks at all of it first.
        until(pool, 0, UNFINISHED);
        let mut expected: Vec<_> = (0..COUNT).map(held).collect();
        expected.insert(HELD + 1, COUNT);
        assert_eq!(noted.order.lock().unwrap()[2..], expected);
        end(pool);
    }
}

/// What a job posts above its own level is the next, though the worker could take others without
/// the lock: nothing has shut those off.
#[test]
fn what_a_short_job_posts_above_it_is_the_next() {
    const COUNT: usize = 140;
    static POSTS: Job = {
        unsafe extern "C" fn code(task: *const TaskHead) -> RawResult {
            // SAFETY: the running task; these were posted with it.
            let (noted, n, pool) =
                unsafe { (*task).user_ptr.get().cast::<(&Noted, usize, PoolPtr)>().read() };
            noted.order.lock().unwrap().push(n);
            noted.post(pool, HIGH, n + HOLDS / 2);
            RawResult::success(0)
        }
        Job { code: Some(code), on_exit: None, returned: None, reserved: 0 }
    };
    let (pool, noted) = Noted::with(MANY);
    for n in MANY..COUNT {
        if n % 10 == 5 {
            let bytes = (noted, n, pool);
            let at = (&raw const bytes).cast();
            // SAFETY: alive; the bytes are read during the call.
            let r = unsafe { monad_async_pool_post(pool, NORMAL, &POSTS, at, size_of_val(&bytes)) };
            assert_eq!(r, RawResult::success(0));
        } else {
            noted.post(pool, NORMAL, n);
        }
    }
    let is_one = |n: &usize| *n >= MANY && n % 10 == 5;
    let more = (0..COUNT).filter(is_one).count();
    let expected: Vec<_> = (0..COUNT)
        .flat_map(|n| if is_one(&n) { vec![n, n + HOLDS / 2] } else { vec![n] })
        .collect();
    assert_eq!(noted.rest(COUNT + more), expected);
    end(pool);
}

/// Somebody waits for the whole pool, too.
#[test]
fn of_several_that_wait_the_first_is_told_in_time() {
    const COUNT: usize = 140;
    const HELD: usize = 70;
    let (pool, noted) = Noted::with(MANY);
    let at = pool as usize;
    let whole = asleep::waits(move || until(at as PoolPtr, 0, UNFINISHED));
    (MANY..COUNT).for_each(|n| noted.post(pool, NORMAL, if n == HELD { HOLDS + 3 } else { n }));
    noted.may_end.store(3, SeqCst);
    until(pool, COUNT - HELD - 1, QUEUED); // Nobody else lets it go on.
    noted.may_end.store(4, SeqCst);
    whole.join();
    assert_eq!(noted.order.lock().unwrap().len(), 2 + COUNT);
    end(pool);
}

/// A job posts its children as the last that is left: who waits for all waits for those.
#[test]
fn who_waits_for_all_waits_for_what_the_last_one_posts() {
    for _ in 0..3 {
        let (pool, noted) = Noted::with(MANY);
        (0..9).for_each(|n| noted.post(pool, NORMAL, n));
        noted.post(pool, NORMAL, HOLDS + 3);
        noted.may_end.store(3, SeqCst);
        noted.until_begun(2 + MANY + 10);
        let at = pool as usize;
        let whole = asleep::waits(move || {
            until(at as PoolPtr, 0, UNFINISHED);
            noted.may_end.load(SeqCst)
        });
        noted.post(pool, NORMAL, HOLDS + 4);
        noted.may_end.store(4, SeqCst);
        noted.until_begun(2 + MANY + 11);
        whole.until_asleep(); // It would be told by now.
        noted.may_end.store(5, SeqCst);
        assert_eq!(whole.join(), 5, "told before the last one had ended");
        end(pool);
    }
}

/// What comes while somebody waits for few to be left is counted.
#[test]
fn who_waits_waits_for_what_comes_after() {
    let (pool, noted) = Noted::with(MANY);
    (0..20).for_each(|n| noted.post(pool, NORMAL, if n == 5 { HOLDS + 3 } else { n }));
    let at = pool as usize;
    let waits = asleep::waits(move || {
        until(at as PoolPtr, 30, QUEUED);
        noted.order.lock().unwrap().len()
    });
    (0..20).for_each(|n| noted.post(pool, NORMAL, n));
    noted.may_end.store(3, SeqCst);
    noted.until_begun(2 + MANY + 6); // The last of them is held.
    waits.until_asleep(); // It would be told by now.
    noted.may_end.store(4, SeqCst);
    assert!(waits.join() > 2 + 48, "the fiftieth is about to begin");
    end(pool);
}

/// Several workers, and several who post: each job begins once, and those of one thread that one
/// worker begins are in order.
#[test]
fn several_take_without_the_lock_each_job_once() {
    const COUNT: usize = 20_000;
    static RAN: Mutex<Vec<(i32, u64)>> = Mutex::new(Vec::new());
    static JOB: Job = {
        unsafe extern "C" fn code(task: *const TaskHead) -> RawResult {
            // SAFETY: the running task; these were posted with it.
            let n = unsafe { (*task).user_ptr.get().cast::<u64>().read() };
            RAN.lock().unwrap().push((asleep::number(), n));
            RawResult::success(0)
        }
        Job { code: Some(code), on_exit: None, returned: None, reserved: 0 }
    };
    let pool = pool(3);
    let at = pool as usize;
    thread::scope(|s| {
        for poster in 0..2_u64 {
            s.spawn(move || {
                for n in 0..COUNT as u64 {
                    let n = poster << 32 | n;
                    // SAFETY: alive; the bytes are read during the call.
                    let r = unsafe {
                        monad_async_pool_post(at as PoolPtr, NORMAL, &JOB, (&raw const n).cast(), 8)
                    };
                    assert_eq!(r, RawResult::success(0));
                    if n % 1000 == 0 {
                        until(at as PoolPtr, 100, QUEUED);
                    }
                }
            });
        }
    });
    until(pool, 0, UNFINISHED);
    end(pool);
    let ran = RAN.lock().unwrap();
    let mut all: Vec<_> = ran.iter().map(|(_, n)| *n).collect();
    all.sort_unstable();
    let expected = (0..2).flat_map(|poster| (0..COUNT as u64).map(move |n| poster << 32 | n));
    assert!(all.into_iter().eq(expected), "one is lost, or ran twice");
    let mut last = std::collections::HashMap::new();
    for &(worker, n) in ran.iter() {
        let before = last.insert((worker, n >> 32), n);
        assert!(before.is_none_or(|before| before < n), "{n:x} begins after a younger one");
    }
}

/// Neither more workers nor fewer: those that are there drain it.
#[test]
fn what_was_told_to_quit_is_not_resized() {
    for how in [DRAIN, RETURN] {
        let pool = pool(2);
        quit(pool, how);
        for workers in [1, 3] {
            // SAFETY: alive.
            let resized = unsafe { monad_async_pool_resize(pool, workers) };
            assert_eq!(resized, RawResult::failure(Errno(libc::ESHUTDOWN)));
        }
        end(pool);
    }
}

/// A kernel that calls something when its executor would sleep, and refuses from then on; or one
/// whose executor, with time tracking, has no time to begin anything. `has_ring`: says that it has
/// one, and so its worker begins nothing right behind its sleep.
struct Odd<const REFUSES: bool> {
    asleep: Cell<Option<Box<dyn FnOnce()>>>,
    has_ring: bool,
}

impl<const REFUSES: bool> Odd<REFUSES> {
    fn new(asleep: impl FnOnce() + 'static, has_ring: bool) -> Self {
        Self { asleep: Cell::new(Some(Box::new(asleep))), has_ring }
    }
}

impl<const REFUSES: bool> Kernel for Odd<REFUSES> {
    fn has_ring(&self) -> bool {
        self.has_ring
    }
    fn sq_space(&self) -> u32 {
        0
    }
    fn sq_pending(&self) -> u32 {
        0
    }
    unsafe fn push(&self, _: &Sqe) {
        unreachable!("nothing is asked of it");
    }
    fn pop(&self) -> Option<Cqe> {
        None
    }
    fn has_completions(&self) -> bool {
        false
    }
    fn needs_enter(&self) -> bool {
        false
    }
    fn enter(&self, _: Wait) -> Result<(), Errno> {
        if let Some(f) = self.asleep.take() {
            f();
        }
        if REFUSES {
            return Err(Errno(libc::EPERM));
        }
        Ok(())
    }
    fn now_boot_ns(&self) -> u64 {
        0
    }
    fn stamp(&self) -> u64 {
        0
    }
    fn ns_since(&self, _: u64) -> u64 {
        0
    }
    fn look_ticks() -> u64 {
        if REFUSES {
            u64::MAX
        } else {
            0
        }
    }
    fn waker(&self) -> Waker {
        Waker::of_eventfd(-1)
    }
}

/// Of two workers that sleep the one that fell asleep last is woken for a task, and does not begin
/// it: then the other one is woken.
fn has_another_woken<const REFUSES: bool>(ends: Res<()>) {
    let queue: &Queue = leak(Queue::new());
    queue.open(false);
    let task = new_task();
    set_body(task, |_| RawResult::success(0));
    let other = Executor::new(Odd::<REFUSES>::new(|| (), false), true).unwrap();
    let others = Seat::new(queue, other.mailbox(), Hands::new(0));
    let submits = move || queue.submit(task, || 0).unwrap();
    let woken = Executor::new(Odd::<REFUSES>::new(submits, !REFUSES), true).unwrap();
    let seat = Seat::new(queue, woken.mailbox(), Hands::new(0));
    assert!(queue.rest(&others));
    assert_eq!(woken.run_fed(&seat), ends);
    assert_eq!(queue.counts(), (1, 0));
    // It returns at once if it was woken.
    assert_eq!(other.run(1, Some(0)), Ok(0), "the other one sleeps on");
    queue.leave(&others);
    assert_eq!(queue.cancel_all(), 1);
    for ex in [other, woken] {
        assert!(ex.destroy().is_ok());
    }
    destroy_all([task]);
}

/// A worker is woken for a task of low priority, and one of high priority comes by its mail before it
/// has looked: that one begins first. (Who was woken for what waits in the queue need not look
/// at anything else, if there is nothing.)
#[test]
fn mail_of_a_higher_priority_goes_before_what_a_worker_was_woken_for() {
    static ORDER: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let queue: &Queue = leak(Queue::new());
    queue.open(false);
    let tasks = noting(2, &ORDER);
    let (low, high) = (tasks[0], tasks[1]);
    set_level(low, LOW);
    set_level(high, HIGH);
    let mailbox: &Cell<Option<&'static Mailbox>> = leak(Cell::new(None));
    let come = move || {
        queue.submit(low, || 0).unwrap();
        remote::attach(mailbox.get().unwrap(), high).unwrap();
    };
    let ex = Executor::new(Odd::<false>::new(come, false), false).unwrap();
    mailbox.set(Some(ex.mailbox()));
    let seat = Seat::new(queue, ex.mailbox(), Hands::new(0));
    while ORDER.lock().unwrap().len() < 2 {
        assert_eq!(ex.run_fed(&seat), Ok(()));
    }
    assert_eq!(*ORDER.lock().unwrap(), [1, 0]);
    queue.leave(&seat);
    queue.ended(0);
    assert!(ex.destroy().is_ok());
    destroy_all(tasks);
}

/// A kernel that calls something when its executor would sleep, and something else when that has
/// looked at its mail.
struct Steps {
    asleep: Cell<Option<Box<dyn FnOnce()>>>,
    looked: Cell<Option<Box<dyn FnOnce()>>>,
    slept: Cell<bool>,
}

impl Kernel for Steps {
    fn has_ring(&self) -> bool {
        false
    }
    fn sq_space(&self) -> u32 {
        0
    }
    fn sq_pending(&self) -> u32 {
        0
    }
    unsafe fn push(&self, _: &Sqe) {
        unreachable!("there is no ring");
    }
    fn pop(&self) -> Option<Cqe> {
        None
    }
    fn needs_enter(&self) -> bool {
        if self.slept.get() {
            self.looked.take().into_iter().for_each(|f| f());
        }
        false
    }
    fn enter(&self, _: Wait) -> Result<(), Errno> {
        self.slept.set(true);
        if let Some(f) = self.asleep.take() {
            f();
        }
        Ok(())
    }
    fn now_boot_ns(&self) -> u64 {
        0
    }
    fn waker(&self) -> Waker {
        Waker::of_eventfd(-1)
    }
}

/// As above; but what comes by mail does so when the worker, woken for what waits and by mail that makes
/// nothing ready, has looked at that, and is about to sleep once more. As where it comes before a
/// worker's first sleep: that one went on without a look, and the low one began.
#[test]
fn mail_that_comes_before_a_sleep_goes_before_what_a_worker_is_woken_for() {
    static ORDER: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let queue: &Queue = leak(Queue::new());
    queue.open(false);
    let tasks = noting(2, &ORDER);
    let (low, high) = (tasks[0], tasks[1]);
    set_level(low, LOW);
    set_level(high, HIGH);
    let mailbox: &Cell<Option<&'static Mailbox>> = leak(Cell::new(None));
    let kernel = Steps {
        asleep: Cell::new(Some(Box::new(move || {
            queue.submit(low, || 0).unwrap();
            mailbox.get().unwrap().request(high); // Which is not attached.
        }))),
        looked: Cell::new(Some(Box::new(move || {
            remote::attach(mailbox.get().unwrap(), high).unwrap();
        }))),
        slept: Cell::new(false),
    };
    let ex = Executor::new(kernel, false).unwrap();
    mailbox.set(Some(ex.mailbox()));
    let seat = Seat::new(queue, ex.mailbox(), Hands::new(0));
    while ORDER.lock().unwrap().len() < 2 {
        assert_eq!(ex.run_fed(&seat), Ok(()));
    }
    assert_eq!(*ORDER.lock().unwrap(), [1, 0]);
    queue.leave(&seat);
    queue.ended(0);
    assert!(ex.destroy().is_ok());
    destroy_all(tasks);
}

/// It kept the wake-up, and the other worker slept for as long as nothing more was submitted.
#[test]
fn who_cannot_go_on_has_another_woken() {
    has_another_woken::<true>(errno(libc::EPERM));
}

/// As where a third worker takes the task first. If something of its own came to it right then, it
/// ran that, and nobody was woken until it was over.
#[test]
fn who_begins_nothing_has_another_woken() {
    has_another_woken::<false>(Ok(()));
}
