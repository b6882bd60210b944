//! The pool: every task runs once or is handed back, whatever happens in between; priorities hold
//! across workers; and what others may want of a task that waits in it.

#[path = "../support/mod.rs"]
mod support;

use monad_async::capi::inspect::*;
use monad_async::capi::pool::*;
use monad_async::capi::remote::*;
use monad_async::capi::scope::*;
use monad_async::capi::task::*;
use monad_async::error::{Errno, RawResult};
use monad_async::executor::jobs::Job;
use monad_async::task::header::{Flags, TaskHead};
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::Barrier;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use support::pool::*;
use support::*;

#[test]
fn each_runs_once_and_gives_its_result() {
    let pool = pool(2);
    let tasks: Vec<_> = (0..100).map(|_| new_task()).collect();
    for (n, &task) in tasks.iter().enumerate() {
        set_body(task, move |t| {
            // SAFETY: the running task.
            let slept = unsafe { monad_async_task_suspend_for_duration(t.as_head(), 1000) };
            assert_eq!(slept, RawResult::success(0));
            RawResult::success(n as isize)
        });
    }
    for _ in 0..10 {
        for &task in &tasks {
            assert_eq!(submit(pool, task), RawResult::success(0));
        }
        for (n, &task) in tasks.iter().enumerate() {
            assert_eq!(wait(task), RawResult::success(n as isize));
        }
        until(pool, 0, UNFINISHED);
        // SAFETY: alive.
        assert_eq!(unsafe { monad_async_pool_left(pool, UNFINISHED) }, RawResult::success(0));
    }
    assert_eq!(end(pool), 0);
    destroy_all(tasks);
}

/// A high one is the next that any worker begins, however many low ones came before; and what a
/// worker has begun, which is ready again, does not go before it.
#[test]
fn a_high_one_is_the_next_that_any_worker_begins() {
    let pool = pool(2);
    let (gate, holders) = hold(pool, 2);
    let order: &AtomicUsize = leak(AtomicUsize::new(0));
    let low: Vec<_> = (0..20_000).map(|_| new_task()).collect();
    let high: Vec<_> = (0..10).map(|_| new_task()).collect();
    for (level, tasks) in [(2, &low), (0, &high)] {
        for &task in tasks {
            set_body(task, move |t| {
                let at = order.fetch_add(1, SeqCst);
                if level == 2 {
                    // SAFETY: the running task.
                    let _ = unsafe { monad_async_task_suspend_for_duration(t.as_head(), 0) };
                }
                RawResult::success(at as isize)
            });
            // SAFETY: alive.
            unsafe { monad_async_task_set_priorities(task.as_head(), level, 1) };
            assert_eq!(submit(pool, task), RawResult::success(0));
        }
    }
    gate.open.store(true, SeqCst);
    until(pool, 0, UNFINISHED);
    for (at, &task) in high.iter().enumerate() {
        let began = task.head.result.get().value as usize;
        assert!(began < high.len(), "high {at} began as number {began}");
    }
    end(pool);
    destroy_all(holders.into_iter().chain(low).chain(high));
}

/// Queued, a task is of no executor: it is cancelled, moved, and waited for all the same.
#[test]
fn a_task_that_is_queued_can_be_cancelled_moved_and_joined() {
    let pool = pool(1);
    let (gate, holders) = hold(pool, 1);
    let order: &AtomicU32 = leak(AtomicU32::new(0));
    let [a, b, c] = [(); 3].map(|()| new_task());
    for task in [a, b, c] {
        set_body(task, move |_| RawResult::success(order.fetch_add(1, SeqCst) as isize));
        assert_eq!(submit(pool, task), RawResult::success(0));
        assert_eq!(submit(pool, task), RawResult::failure(Errno(libc::EBUSY)));
        assert_eq!(task.head.flags.get(), Flags::PENDING_LAUNCH);
        // SAFETY: alive.
        assert!(unsafe { monad_async_task_is_queued(task.as_head()) });
        assert!(task.is_attached() && !task.has_exited());
    }
    assert_eq!(monad_async::api::destroy_task(a), Err(Errno(libc::EBUSY)));
    // SAFETY: alive.
    unsafe {
        assert_eq!(monad_async_pool_left(pool, QUEUED), RawResult::success(3));
        assert_eq!(monad_async_task_wait(a.as_head(), 0), RawResult::failure(Errno(libc::ETIME)));
        let timed = monad_async_task_wait(a.as_head(), 2_000_000);
        assert_eq!(timed, RawResult::failure(Errno(libc::ETIME)));
        assert_eq!(monad_async_task_set_priorities(c.as_head(), 0, 1), RawResult::success(0));
        assert_eq!(monad_async_task_cancel(ptr::null_mut(), a.as_head()), RawResult::success(0));
        let again = monad_async_task_cancel(ptr::null_mut(), a.as_head());
        assert_eq!(again, RawResult::failure(Errno(libc::ENOENT)));
    }
    let canceled = RawResult::failure(Errno(libc::ECANCELED));
    assert_eq!(wait(a), canceled);
    assert_eq!((a.head.flags.get(), a.has_exited()), (Flags::IDLE, true));
    // From a task of another executor, and from a plain thread: both wait for `b`.
    let waits = thread::spawn({
        let b = Shared(b);
        move || wait(b.get())
    });
    let ex = executor(8);
    let joiner = new_task();
    // SAFETY: both are alive.
    set_body(joiner, move |t| unsafe { monad_async_task_join(t.as_head(), b.as_head()) });
    ex.attach(joiner).unwrap();
    let _ = ex.run(usize::MAX, Some(0));
    gate.open.store(true, SeqCst);
    while ex.has_work() {
        let _ = ex.run(usize::MAX, Some(SECOND_NS));
    }
    assert_eq!(waits.join().unwrap(), RawResult::success(1));
    assert_eq!(joiner.head.result.get(), RawResult::success(1));
    assert_eq!(wait(c), RawResult::success(0));
    end(pool);
    destroy(ex, [joiner]);
    destroy_all(holders.into_iter().chain([a, b, c]));
}

/// Handed back: over, ECANCELED, and never begun; what had begun ends as it does.
#[test]
fn quitting_hands_back_what_has_not_begun_or_drains_it() {
    for how in [RETURN, DRAIN] {
        let pool = pool(2);
        let (gate, holders) = hold(pool, 2);
        let ran: &AtomicUsize = leak(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..50).map(|_| new_task()).collect();
        for &task in &tasks {
            set_body(task, move |_| {
                ran.fetch_add(1, SeqCst);
                RawResult::success(0)
            });
        }
        let heads: Vec<_> = tasks.iter().map(|task| task.as_head()).collect();
        // SAFETY: alive, and so many.
        let put = unsafe { monad_async_pool_submit_many(pool, heads.as_ptr(), heads.len()) };
        assert_eq!(put, RawResult::success(50));
        assert_eq!(quit(pool, how), if how == RETURN { 50 } else { 0 });
        let late = new_task();
        set_body(late, |_| RawResult::success(0));
        assert_eq!(submit(pool, late), RawResult::failure(Errno(libc::ESHUTDOWN)));
        assert!(!late.is_attached());
        gate.open.store(true, SeqCst);
        if how == DRAIN {
            until(pool, 0, UNFINISHED);
        }
        assert_eq!(end(pool), 0);
        assert_eq!(ran.load(SeqCst), if how == RETURN { 0 } else { 50 });
        for &task in &tasks {
            let expected = match how {
                RETURN => RawResult::failure(Errno(libc::ECANCELED)),
                _ => RawResult::success(0),
            };
            assert_eq!((task.head.result.get(), task.has_exited()), (expected, true));
        }
        destroy_all(holders.into_iter().chain(tasks).chain([late]));
    }
}

/// A worker that leaves may have been sent the wake-up for a task: it passes it on, in this pool and
/// in the next that uses its memory. (Lost, every later submission left all workers asleep.)
#[test]
fn a_worker_that_leaves_passes_its_wake_up_on() {
    let task = new_task();
    set_body(task, |_| RawResult::success(3));
    for n in 0..300 {
        let pool = pool(2);
        if n % 2 == 0 {
            assert_eq!(submit(pool, task), RawResult::success(0));
            quit(pool, RETURN);
        } else {
            assert_eq!(submit(pool, task), RawResult::success(0));
            // SAFETY: alive.
            assert_eq!(unsafe { monad_async_pool_resize(pool, 1) }, RawResult::success(0));
            assert_eq!(wait(task), RawResult::success(3), "round {n}");
            for _ in 0..5 {
                assert_eq!(submit(pool, task), RawResult::success(0));
                assert_eq!(wait(task), RawResult::success(3), "round {n}");
            }
        }
        end(pool);
    }
    destroy_all([task]);
}

/// A worker that is dismissed ends what it has begun, and begins nothing more.
#[test]
fn resizing_while_tasks_run() {
    let pool = pool(3);
    let (gate, holders) = hold(pool, 3);
    // SAFETY: alive.
    unsafe {
        let none = monad_async_pool_resize(pool, 0);
        assert_eq!(none, RawResult::failure(Errno(libc::EINVAL)));
        assert_eq!(monad_async_pool_resize(pool, 1), RawResult::success(0));
        assert_eq!(monad_async_pool_workers(pool), RawResult::success(1));
    }
    let task = new_task();
    set_body(task, |_| RawResult::success(5));
    assert_eq!(submit(pool, task), RawResult::success(0));
    thread::sleep(Duration::from_millis(5));
    assert!(task.is_queued(), "begun by a worker that is busy or was dismissed");
    // SAFETY: alive.
    assert_eq!(unsafe { monad_async_pool_resize(pool, 2) }, RawResult::success(0));
    assert_eq!(wait(task), RawResult::success(5)); // By the new one: the others are held.
    gate.open.store(true, SeqCst);
    until(pool, 0, UNFINISHED);
    end(pool);
    destroy_all(holders.into_iter().chain([task]));
}

#[test]
fn a_workers_executor_can_be_launched_on_directly() {
    let pool = pool(2);
    let mut remote = ptr::null_mut();
    let task = new_task();
    set_body(task, |t| {
        // SAFETY: the running task.
        unsafe { monad_async_task_suspend_for_duration(t.as_head(), 2_000_000) }
    });
    // SAFETY: all are alive.
    unsafe {
        let none = monad_async_pool_worker(pool, 2, &mut remote);
        assert_eq!(none, RawResult::failure(Errno(libc::ENOENT)));
        assert_eq!(monad_async_pool_worker(pool, 1, &mut remote), RawResult::success(0));
        assert_eq!(monad_async_remote_attach(remote, task.as_head()), RawResult::success(0));
        // It is none of the pool's own, but its end is waited for.
        assert_eq!(monad_async_pool_left(pool, UNFINISHED), RawResult::success(0));
    }
    end(pool);
    assert!(task.has_exited());
    // SAFETY: alive; the executor is gone.
    unsafe {
        let gone = monad_async_remote_attach(remote, task.as_head());
        assert_eq!(gone, RawResult::failure(Errno(libc::ESHUTDOWN)));
        monad_async_remote_release(remote);
    }
    destroy_all([task]);
}

/// An index is of the moment, a reference stays: fewer workers keep their order, whichever leave, and
/// new ones come last.
#[test]
fn a_resize_keeps_the_order_of_the_workers_that_stay() {
    let cpus = [0u32, 0, 0, 0];
    let mut attr = attr(5);
    attr[24] = cpus.as_ptr() as u64;
    attr[25] |= cpus.len() as u64;
    let mut pool = ptr::null_mut();
    // SAFETY: attributes of that size.
    let made = unsafe { monad_async_pool_create(&mut pool, attr.as_ptr().cast()) };
    assert_eq!(made, RawResult::success(0));
    let workers = |count: usize| {
        let one = |index| {
            let mut remote = ptr::null_mut();
            // SAFETY: the pool is alive, and so is what it has just given.
            unsafe {
                let r = monad_async_pool_worker(pool, index, &mut remote);
                if r.error == 0 {
                    monad_async_remote_release(remote);
                }
                (r.error == 0).then_some(remote)
            }
        };
        assert_eq!(one(count), None);
        (0..count).map(|index| one(index).unwrap()).collect::<Vec<_>>()
    };
    // SAFETY: alive.
    let resize = |count| assert_eq!(unsafe { monad_async_pool_resize(pool, count) }.error, 0);
    let five = workers(5);
    resize(3);
    let three = workers(3);
    let mut rest = five.iter();
    assert!(three.iter().all(|one| rest.any(|other| other == one)), "{three:?} of {five:?}");
    resize(4);
    assert_eq!(workers(4)[..3], three);
    end(pool);
}

/// A pool is waited for, and ended, inside a task of another executor, which goes on.
#[test]
fn inside_a_task_the_calls_suspend() {
    let ex = executor(8);
    let (a, b) = (new_task(), new_task());
    let mine: &AtomicUsize = leak(AtomicUsize::new(pool(1) as usize));
    set_body(a, move |_| {
        let pool = mine.load(SeqCst) as PoolPtr;
        let (gate, holders) = hold(pool, 1);
        let opener = thread::spawn(move || {
            thread::sleep(Duration::from_millis(3));
            gate.open.store(true, SeqCst);
        });
        until(pool, 0, UNFINISHED);
        end(pool);
        opener.join().unwrap();
        destroy_all(holders);
        RawResult::success(0)
    });
    let passes: &AtomicU32 = leak(AtomicU32::new(0));
    set_body(b, move |t| {
        while !a.has_exited() {
            passes.fetch_add(1, SeqCst);
            // SAFETY: the running task.
            let _ = unsafe { monad_async_task_suspend_for_duration(t.as_head(), 100_000) };
        }
        RawResult::success(0)
    });
    ex.attach(a).unwrap();
    ex.attach(b).unwrap();
    while ex.has_work() {
        let _ = ex.run(usize::MAX, Some(SECOND_NS));
    }
    assert!(passes.load(SeqCst) > 0); // While `a` waited.
    destroy(ex, [a, b]);
}

/// A worker's own task cannot wait for the worker's end, nor for its own.
#[test]
fn a_pool_is_not_destroyed_by_its_own_task() {
    let pool = pool(1);
    let at = pool as usize;
    let task = new_task();
    // SAFETY: alive.
    set_body(task, move |_| unsafe {
        let waited = monad_async_pool_wait(at as PoolPtr, 0, UNFINISHED);
        assert_eq!(waited, RawResult::failure(Errno(libc::EDEADLK)));
        monad_async_pool_destroy(at as PoolPtr)
    });
    assert_eq!(submit(pool, task), RawResult::success(0));
    assert_eq!(wait(task), RawResult::failure(Errno(libc::EDEADLK)));
    end(pool);
    destroy_all([task]);
}

/// One thread resizes to two workers, of which each other one cannot be made, as its CPU does not
/// exist; the other to one, which there always is. It took the failure of the first.
#[test]
fn a_resize_is_told_of_its_own_workers() {
    const ROUNDS: usize = 300;
    static CPUS: [u32; 2] = [0, 100_000];
    let mut made = ptr::null_mut();
    let mut attr = attr(1);
    attr[24] = CPUS.as_ptr() as u64;
    attr[25] |= CPUS.len() as u64;
    // SAFETY: attributes of that size, and memory for the pool.
    let r = unsafe { monad_async_pool_create(&mut made, attr.as_ptr().cast()) };
    assert_eq!(r, RawResult::success(0));
    let at = made as usize;
    let together: &Barrier = leak(Barrier::new(2));
    let others: &AtomicI32 = leak(AtomicI32::new(0));
    let other = thread::spawn(move || {
        for _ in 0..ROUNDS {
            together.wait();
            // SAFETY: alive until it is joined.
            others.fetch_or(unsafe { monad_async_pool_resize(at as PoolPtr, 1) }.error, SeqCst);
        }
    });
    let mut failed = 0;
    for _ in 0..ROUNDS {
        together.wait();
        // SAFETY: alive.
        failed += usize::from(unsafe { monad_async_pool_resize(made, 2) }.error == libc::EINVAL);
    }
    other.join().unwrap();
    assert_eq!(others.load(SeqCst), 0);
    assert!(failed >= ROUNDS / 10, "{failed} times");
    end(made);
}

struct Tally {
    ran: AtomicU32,
    submitted: AtomicU32,
    returned: AtomicU32,
}

/// 8 threads submit to 4 workers, which are made more and fewer all the time, until the pool quits:
/// each run was once or was handed back: 180,000 runs, optimised a million and a half, in the long
/// form thirty million.
#[test]
fn each_ran_once_or_was_handed_back() {
    let long = std::env::var_os("MONAD_ASYNC_LONG").is_some();
    let total: usize = match long {
        true => 10_000_000,
        false if cfg!(debug_assertions) => 60_000,
        false => 500_000,
    };
    const THREADS: usize = 8;
    const TASKS: usize = 64;
    // The first time it quits with all workers busy, and none of them made or dismissed.
    for (how, is_held) in [(RETURN, true), (RETURN, false), (DRAIN, false)] {
        let pool_at = pool(4) as usize;
        let stop: &AtomicBool = leak(AtomicBool::new(false));
        let mut resizer = Some(thread::spawn(move || {
            let mut n = 0;
            while !stop.load(SeqCst) {
                n = n * 7 % 5 + 1;
                // SAFETY: alive until it is joined. Refused once the pool quits.
                unsafe { monad_async_pool_resize(pool_at as PoolPtr, n) };
                thread::sleep(Duration::from_micros(300));
            }
        }));
        let (each, left_at) = (total / THREADS, total / 10);
        let gate: &Gate = leak(Gate::default());
        let stops_at = if is_held { each - left_at / THREADS } else { usize::MAX };
        let submit = move || submit_all(pool_at as PoolPtr, each, TASKS, (stops_at, gate));
        let submitters: Vec<_> = (0..THREADS).map(|_| thread::spawn(submit)).collect();
        // Quits while they submit.
        let holders = is_held.then(|| {
            gate.wait_for(THREADS);
            stop.store(true, SeqCst);
            resizer.take().into_iter().for_each(|resizer| resizer.join().unwrap());
            // SAFETY: alive.
            assert_eq!(unsafe { monad_async_pool_resize(pool_at as PoolPtr, 4) }.error, 0);
            let holders = hold(pool_at as PoolPtr, 4);
            gate.open.store(true, SeqCst);
            // SAFETY: alive.
            while unsafe { monad_async_pool_left(pool_at as PoolPtr, QUEUED) }.value == 0 {
                thread::sleep(Duration::from_micros(50));
            }
            holders
        });
        while !is_held && submitted() < total - left_at {
            thread::sleep(Duration::from_millis(1));
        }
        let returned = quit(pool_at as PoolPtr, how) as u32;
        if let Some((gate, _)) = &holders {
            gate.open.store(true, SeqCst);
        }
        let tallies: Vec<&Tally> = submitters.into_iter().map(|t| t.join().unwrap()).collect();
        stop.store(true, SeqCst);
        resizer.into_iter().for_each(|resizer| resizer.join().unwrap());
        assert_eq!(end(pool_at as PoolPtr), 0);
        destroy_all(holders.into_iter().flat_map(|(_, tasks)| tasks));
        let sum =
            |f: fn(&Tally) -> &AtomicU32| tallies.iter().map(|t| f(t).load(SeqCst)).sum::<u32>();
        assert_eq!(sum(|t| &t.ran) + sum(|t| &t.returned), sum(|t| &t.submitted));
        assert_eq!(sum(|t| &t.returned), returned);
        assert!(if is_held { returned > 0 } else { how == RETURN || returned == 0 });
        let ran = sum(|t| &t.ran);
        println!("measured: {ran} ran, {returned} were handed back");
        assert!(ran as usize > total / 2);
        SUBMITTED.store(0, SeqCst);
    }
}

static SUBMITTED: AtomicUsize = AtomicUsize::new(0);

fn submitted() -> usize {
    SUBMITTED.load(SeqCst)
}

/// Every other one is a job. Of those the last may not be over when this returns. Passes a gate before
/// the one with that number.
fn submit_all(
    pool: PoolPtr,
    count: usize,
    tasks: usize,
    (stops_at, gate): (usize, &Gate),
) -> &'static Tally {
    let tally: &Tally = leak(Tally {
        ran: AtomicU32::new(0),
        submitted: AtomicU32::new(0),
        returned: AtomicU32::new(0),
    });
    let tasks: Vec<_> = (0..tasks).map(|_| new_task()).collect();
    for &task in &tasks {
        set_body(task, move |_| {
            tally.ran.fetch_add(1, SeqCst);
            RawResult::success(1)
        });
    }
    let mut counted = vec![0; tasks.len()];
    let settle = |at: usize, counted: &mut Vec<u32>| {
        if counted[at] != 0 {
            let result = wait(tasks[at]);
            match result.error {
                0 => assert_eq!(result.value, 1),
                libc::ECANCELED => {
                    tally.returned.fetch_add(1, SeqCst);
                }
                e => panic!("error {e}"),
            }
            counted[at] = 0;
        }
    };
    for n in 0..count {
        if n == stops_at {
            gate.pass();
        }
        let at = n % tasks.len();
        settle(at, &mut counted);
        // SAFETY: alive.
        unsafe { monad_async_task_set_priorities(tasks[at].as_head(), (n % 3) as u8, 1) };
        SUBMITTED.fetch_add(1, SeqCst);
        if n % 2 == 1 {
            // SAFETY: alive, and the tally is never freed.
            match unsafe { post(pool, (n % 3) as u8, &TALLIED, ptr::from_ref(tally)) }.error {
                0 => tally.submitted.fetch_add(1, SeqCst),
                libc::ESHUTDOWN => 0,
                e => panic!("error {e}"),
            };
            continue;
        }
        match submit(pool, tasks[at]).error {
            0 => {
                tally.submitted.fetch_add(1, SeqCst);
                counted[at] = 1;
            }
            libc::ESHUTDOWN => {}
            e => panic!("error {e}"),
        }
    }
    for at in 0..tasks.len() {
        settle(at, &mut counted);
    }
    destroy_all(tasks.iter().copied());
    tally
}

/// Posts a job with one word.
///
/// # Safety
/// As the job wants it.
unsafe fn post<T>(pool: PoolPtr, level: u8, job: &'static Job, word: *const T) -> RawResult {
    // SAFETY: alive; the word is read during the call.
    unsafe { monad_async_pool_post(pool, level, job, (&raw const word).cast(), size_of_val(&word)) }
}

/// What came with the job of a task.
///
/// # Safety
/// The running task's, or one's that is told of, of a job that `post` posted.
unsafe fn posted_with<'a, T>(task: *const TaskHead) -> &'a T {
    // SAFETY: the caller's.
    unsafe { &**(*task).user_ptr.get().cast::<*const T>() }
}

/// Half of `submit_all`'s: what the task of a job and its end count is one.
static TALLIED: Job = {
    unsafe extern "C" fn code(task: *const TaskHead) -> RawResult {
        // SAFETY: the running task; some of them suspend, so that a worker has several.
        unsafe {
            if posted_with::<Tally>(task).ran.load(SeqCst).is_multiple_of(8) {
                let _ = monad_async_task_suspend_for_duration(task, 1000);
            }
        }
        RawResult::success(7)
    }
    unsafe extern "C" fn on_exit(task: *const TaskHead, result: RawResult) {
        assert_eq!(result, RawResult::success(7));
        // SAFETY: told of its end.
        unsafe { posted_with::<Tally>(task) }.ran.fetch_add(1, SeqCst);
    }
    unsafe extern "C" fn returned(bytes: *mut c_void) {
        // SAFETY: the word that was posted.
        unsafe { &**bytes.cast::<*const Tally>() }.returned.fetch_add(1, SeqCst);
    }
    Job { code: Some(code), on_exit: Some(on_exit), returned: Some(returned), reserved: 0 }
};

/// Tasks and jobs of one priority begin in the order in which they came, also where a task was
/// taken out or moved; and what is of a higher one before them.
#[test]
fn jobs_and_tasks_keep_their_order() {
    static BEGUN: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    static NOTES: Job = {
        unsafe extern "C" fn code(task: *const TaskHead) -> RawResult {
            // SAFETY: the running task; a number was posted in the place of an address.
            let n = unsafe { (*task).user_ptr.get().cast::<usize>().read() };
            BEGUN.lock().unwrap().push(n);
            RawResult::success(0)
        }
        Job { code: Some(code), on_exit: None, returned: None, reserved: 0 }
    };
    const COUNT: usize = 1000; // Some chunks.
    let pool = pool(1);
    let (gate, held) = hold(pool, 1);
    let mut tasks = Vec::new();
    for n in 0..COUNT {
        if n % 3 == 0 {
            let task = new_task();
            set_body(task, move |_| {
                BEGUN.lock().unwrap().push(n);
                RawResult::success(0)
            });
            assert_eq!(submit(pool, task), RawResult::success(0));
            tasks.push(task);
        } else {
            let number = ptr::without_provenance::<u8>(n);
            // SAFETY: a number, and it is read as one.
            assert_eq!(unsafe { post(pool, 1, &NOTES, number) }, RawResult::success(0));
        }
    }
    // SAFETY: alive; as above.
    unsafe {
        assert_eq!(post(pool, 0, &NOTES, ptr::without_provenance::<u8>(COUNT)).error, 0);
        assert_eq!(monad_async_pool_left(pool, QUEUED).value as usize, COUNT + 1);
        assert_eq!(monad_async_task_cancel(ptr::null_mut(), tasks[1].as_head()).error, 0);
        assert_eq!(monad_async_task_set_priorities(tasks[2].as_head(), 2, 1).error, 0);
    }
    gate.open.store(true, SeqCst);
    until(pool, 0, UNFINISHED);
    let mut expected = vec![COUNT];
    expected.extend((0..COUNT).filter(|&n| n != 3 && n != 6));
    expected.push(6);
    assert_eq!(*BEGUN.lock().unwrap(), expected);
    assert_eq!(end(pool), 0);
    destroy_all(tasks.into_iter().chain(held));
}

/// A job has neither the name nor the permit of the one before, whose task it has.
#[test]
fn a_job_begins_with_nothing() {
    static TASKS: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    static FIRST: Job = {
        unsafe extern "C" fn code(task: *const TaskHead) -> RawResult {
            // SAFETY: the running task.
            unsafe {
                TASKS.lock().unwrap().push(task.addr());
                assert_eq!(monad_async_task_name(task, ptr::null_mut(), 0), 0);
                assert_eq!(monad_async_task_set_name(task, c"first".as_ptr()).error, 0);
                monad_async_task_unpark(task)
            }
        }
        Job { code: Some(code), on_exit: None, returned: None, reserved: 0 }
    };
    static SECOND: Job = {
        unsafe extern "C" fn code(task: *const TaskHead) -> RawResult {
            // SAFETY: the running task.
            unsafe {
                TASKS.lock().unwrap().push(task.addr());
                assert_eq!(monad_async_task_name(task, ptr::null_mut(), 0), 0);
                let mut room = [0u64; 12];
                let scope = room.as_mut_ptr().cast();
                assert_eq!(monad_async_scope_enter(task, scope, 1_000_000, 0).error, 0);
                assert_eq!(monad_async_task_park(task).error, libc::ETIME);
                monad_async_scope_leave(task, scope);
            }
            RawResult::success(0)
        }
        Job { code: Some(code), on_exit: None, returned: None, reserved: 0 }
    };
    let pool = pool(1);
    for job in [&FIRST, &SECOND] {
        // SAFETY: alive; no bytes.
        let r = unsafe { monad_async_pool_post(pool, 1, job, ptr::null(), 0) };
        assert_eq!(r, RawResult::success(0));
        until(pool, 0, UNFINISHED);
    }
    assert_eq!(end(pool), 0);
    let tasks = TASKS.lock().unwrap();
    assert_eq!(tasks.len(), 2);
    assert_eq!(tasks[0], tasks[1], "not what is to be tested");
}

/// Jobs that wait for each other: each is a task of its own, and more of them are under way than
/// ever were.
#[test]
fn jobs_suspend() {
    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    const COUNT: usize = 200;
    static MEETS: Job = {
        unsafe extern "C" fn code(task: *const TaskHead) -> RawResult {
            BEGUN.fetch_add(1, SeqCst);
            while BEGUN.load(SeqCst) < COUNT {
                // SAFETY: the running task.
                let r = unsafe { monad_async_task_suspend_for_duration(task, 100_000) };
                assert_eq!(r.error, 0);
            }
            ENDED.fetch_add(1, SeqCst);
            RawResult::success(0)
        }
        Job { code: Some(code), on_exit: None, returned: None, reserved: 0 }
    };
    let pool = pool(2);
    for _ in 0..COUNT {
        // SAFETY: alive; no bytes.
        let r = unsafe { monad_async_pool_post(pool, 1, &MEETS, ptr::null(), 0) };
        assert_eq!(r, RawResult::success(0));
    }
    until(pool, 0, UNFINISHED);
    assert_eq!(ENDED.load(SeqCst), COUNT);
    assert_eq!(end(pool), 0);
}

#[test]
fn mistakes_are_told() {
    let mut made = ptr::null_mut();
    // SAFETY: attributes of that size; wrong ones.
    unsafe {
        let einval = RawResult::failure(Errno(libc::EINVAL));
        assert_eq!(monad_async_pool_create(ptr::null_mut(), ptr::null()), einval);
        let mut wrong = attr(1);
        wrong[31] = 1;
        assert_eq!(monad_async_pool_create(&mut made, wrong.as_ptr().cast()), einval);
        let mut wrong = attr(1);
        wrong[18] = 100; // A share of the highest level.
        assert_eq!(monad_async_pool_create(&mut made, wrong.as_ptr().cast()), einval);
        let cpus = [100_000u32];
        let mut wrong = attr(1);
        wrong[24] = cpus.as_ptr() as u64;
        wrong[25] |= 1;
        assert_eq!(monad_async_pool_create(&mut made, wrong.as_ptr().cast()), einval);
        assert_eq!(monad_async_pool_submit(ptr::null_mut(), ptr::null()), einval);
        let pool = pool(1);
        assert_eq!(monad_async_pool_submit(pool, ptr::null::<TaskHead>()), einval);
        let nothing = [ptr::null::<TaskHead>(); 2];
        assert_eq!(monad_async_pool_submit_many(pool, nothing.as_ptr(), 2), einval);
        assert_eq!(monad_async_pool_submit_many(pool, ptr::null(), 1), einval);
        assert_eq!(monad_async_pool_submit_many(pool, ptr::null(), 0), RawResult::success(0));
        assert_eq!(monad_async_pool_wait(pool, 0, 9), einval);
        assert_eq!(monad_async_pool_quit(pool, 9), einval);
        assert_eq!(monad_async_pool_post(pool, 1, ptr::null(), ptr::null(), 0), einval);
        let none = Job { code: None, on_exit: None, returned: None, reserved: 0 };
        assert_eq!(post(pool, 1, leak(none), ptr::null::<u8>()), einval);
        let newer = Job { code: TALLIED.code, on_exit: None, returned: None, reserved: 1 };
        assert_eq!(post(pool, 1, leak(newer), ptr::null::<u8>()), einval);
        assert_eq!(post(pool, 3, &TALLIED, ptr::null::<u8>()), einval);
        let bytes = [0u8; 49];
        assert_eq!(monad_async_pool_post(pool, 1, &TALLIED, bytes.as_ptr().cast(), 49), einval);
        assert_eq!(monad_async_pool_post(pool, 1, &TALLIED, ptr::null(), 1), einval);
        let task = new_task();
        task.head.user_code.set(None);
        assert_eq!(submit(pool, task), einval);
        end(pool);
        destroy_all([task]);
    }
}

/// Pinned workers run where they were told to.
#[test]
fn workers_stay_on_their_cpus() {
    let cpus = [0u32];
    let mut attr = attr(2);
    attr[24] = cpus.as_ptr() as u64;
    attr[25] |= 1;
    let mut made = ptr::null_mut();
    // SAFETY: attributes of that size.
    let r = unsafe { monad_async_pool_create(&mut made, attr.as_ptr().cast()) };
    if r.error == libc::EINVAL {
        return skip::skip("this process may not use CPU 0");
    }
    let tasks: Vec<_> = (0..20).map(|_| new_task()).collect();
    for &task in &tasks {
        // SAFETY: no preconditions.
        set_body(task, |_| RawResult::success(unsafe { libc::sched_getcpu() } as isize));
        assert_eq!(submit(made, task), RawResult::success(0));
    }
    for &task in &tasks {
        assert_eq!(wait(task), RawResult::success(0));
    }
    end(made);
    destroy_all(tasks);
}

/// Those that a resize made were told CPUs by how many had ever been made: two had one, and nobody
/// the other.
#[test]
fn after_a_resize_too_each_worker_has_a_cpu_of_its_own() {
    static MET: AtomicUsize = AtomicUsize::new(0);
    let cpus = [0u32, 1];
    let mut attr = attr(2);
    attr[24] = cpus.as_ptr() as u64;
    attr[25] |= 2;
    let mut made = ptr::null_mut();
    // SAFETY: attributes of that size.
    let r = unsafe { monad_async_pool_create(&mut made, attr.as_ptr().cast()) };
    if r.error == libc::EINVAL {
        return skip::skip("this process may not use CPUs 0 and 1");
    }
    let tasks = [new_task(), new_task()];
    for round in 1..=8 {
        for task in tasks {
            set_body(task, |_| {
                // A worker has one of the two as long as the other has not met it.
                let met = MET.fetch_add(1, SeqCst) / 2 * 2 + 2;
                while MET.load(SeqCst) < met {
                    thread::yield_now();
                }
                // SAFETY: no preconditions.
                RawResult::success(unsafe { libc::sched_getcpu() } as isize)
            });
            assert_eq!(submit(made, task), RawResult::success(0));
        }
        let mut used = tasks.map(|task| wait(task).value);
        used.sort_unstable();
        assert_eq!(used, [0, 1], "round {round}");
        // Four on two, and back; and one more than is left.
        let between = if round % 2 == 0 { 4 } else { 1 };
        assert_eq!((resize(made, between), resize(made, 2)), (0, 0));
    }
    end(made);
    destroy_all(tasks);
}

fn resize(pool: PoolPtr, workers: u32) -> i32 {
    // SAFETY: alive.
    unsafe { monad_async_pool_resize(pool, workers) }.error
}

fn workers(pool: PoolPtr) -> isize {
    // SAFETY: alive.
    unsafe { monad_async_pool_workers(pool) }.value
}

/// The one that came first went on making its workers, and the pool had those of both.
#[test]
fn the_later_of_two_that_resize_at_a_time_counts() {
    let (mut met, mut rounds) = (0, 0);
    // On one processor they meet seldom.
    while rounds < 50 || met == 0 && rounds < 2000 {
        rounds += 1;
        let pool = pool(1);
        let other = Shared(pool);
        let first = thread::spawn(move || assert_eq!(resize(other.get(), 24), 0));
        // Who wakes up comes between: one that looks again and again is run when the other is done.
        while workers(pool) == 1 {
            thread::sleep(Duration::from_micros(20));
        }
        met += u32::from(workers(pool) < 24);
        assert_eq!(resize(pool, 2), 0);
        assert_eq!(workers(pool), 2);
        first.join().unwrap();
        assert_eq!(workers(pool), 2);
        end(pool);
    }
    println!("{met} of {rounds} met");
    assert!(met > 0);
}

fn process_cpu_ns() -> u64 {
    // SAFETY: zeros are a time, to which the clock's is written.
    unsafe {
        let mut at: libc::timespec = std::mem::zeroed();
        assert_eq!(libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut at), 0);
        at.tv_sec as u64 * 1_000_000_000 + at.tv_nsec as u64
    }
}

/// All who wait until few are left used to be looked at behind the queue's lock, for each task; and
/// later for each that one of them waited for.
#[test]
fn who_waits_for_the_end_takes_no_time_before() {
    const TASKS: usize = 4_000;
    let pool = pool(1);
    let tasks: Vec<_> = (0..TASKS).map(|_| new_task()).collect();
    for &task in &tasks {
        set_body(task, |_| RawResult::success(0));
    }
    let drained_ns = || {
        let (gate, held) = hold(pool, 1);
        tasks.iter().for_each(|&task| assert_eq!(submit(pool, task).error, 0));
        let before = process_cpu_ns();
        gate.open.store(true, SeqCst);
        // SAFETY: alive.
        while unsafe { monad_async_pool_left(pool, UNFINISHED) }.value != 0 {
            thread::sleep(Duration::from_millis(1));
        }
        let ns = process_cpu_ns() - before;
        destroy_all(held);
        ns
    };
    let alone_ns = (0..3).map(|_| drained_ns()).min().unwrap();
    let ex = executor(0);
    let waiters: Vec<_> = (0..TASKS / 2).map(|_| new_task()).collect();
    let crowded_ns = |step: usize| {
        // The first waits for the fewest, then in turn, so that nothing comes in order.
        for (n, &task) in waiters.iter().enumerate() {
            let at_most = n * 701 % waiters.len() * step;
            set_body(task, move |_| {
                until(pool, at_most, UNFINISHED);
                RawResult::success(0)
            });
        }
        let (gate, held) = hold(pool, 1);
        tasks.iter().for_each(|&task| assert_eq!(submit(pool, task).error, 0));
        waiters.iter().for_each(|&task| ex.attach(task).unwrap());
        while ex.run(usize::MAX, Some(0)).is_ok() {}
        let before = process_cpu_ns();
        gate.open.store(true, SeqCst);
        // SAFETY: alive. Who waits is woken, and goes on below.
        while unsafe { monad_async_pool_left(pool, UNFINISHED) }.value != 0 {
            thread::sleep(Duration::from_millis(1));
        }
        let ns = process_cpu_ns() - before;
        while ex.has_work() {
            ex.run(usize::MAX, None).unwrap();
        }
        destroy_all(held);
        ns
    };
    // The time is the process's, and other tests take some; what was wrong took 33 times as long.
    let least = |step: usize| (0..5).map(|_| crowded_ns(step)).min().unwrap();
    let (same_ns, each_ns) = (least(0), least(2));
    println!(
        "measured: 4,000 tasks {alone_ns} ns, with 2,000 that wait for their end {same_ns} ns, \
         each for another number {each_ns}"
    );
    assert!(same_ns.max(each_ns) < 12 * alone_ns, "{alone_ns}, {same_ns}, {each_ns}");
    destroy(ex, waiters);
    destroy_all(tasks);
    end(pool);
}

/// From here on, and for all threads, the kernel answers so.
fn forbid(call: libc::c_long, errno: i32) -> bool {
    let code = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let (load, jump) = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, libc::BPF_JMP | libc::BPF_JEQ);
    let filter = [
        code(load, 0, 0, 0),
        code(jump | libc::BPF_K, 0, 1, call as u32),
        code(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        code(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the program, which is only read, outlives the calls.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                libc::SECCOMP_FILTER_FLAG_TSYNC,
                &program,
            ) == 0
    }
}

/// A pool of two workers that have rings, where the kernel has them.
fn with_rings() -> Option<PoolPtr> {
    let mut attr = attr(2);
    attr[0] = 8;
    let mut pool = ptr::null_mut();
    // SAFETY: attributes of that size, and memory for the pool.
    let r = unsafe { monad_async_pool_create(&mut pool, attr.as_ptr().cast()) };
    (r.error == 0).then_some(pool)
}

/// A sandbox that closes behind a pool: its workers took the kernel's EPERM for the child of a fork,
/// and were gone without a word.
#[test]
fn a_pool_ends_where_its_rings_are_forbidden() {
    support::child::alone("a_pool_ends_where_its_rings_are_forbidden", || {
        let Some(pool) = with_rings() else { return skip::skip("no io_uring") };
        // SAFETY: alive.
        let refused = |index| unsafe { monad_async_pool_kernel_error(pool, index) };
        let mut index = 9;
        assert_eq!((refused(&mut index), index), (RawResult::success(0), 9));
        if !forbid(libc::SYS_io_uring_enter, libc::EPERM) {
            return skip::skip("no seccomp");
        }
        // One that waits for ever is killed.
        // SAFETY: no preconditions.
        unsafe { libc::alarm(60) };
        let tasks = [new_task(), new_task()];
        for task in tasks {
            set_body(task, |task| {
                // SAFETY: the running task.
                unsafe { monad_async_task_suspend_for_duration(task.as_head(), 1_000_000) }
            });
            assert_eq!(submit(pool, task), RawResult::success(0));
        }
        until(pool, 0, UNFINISHED);
        for out in [ptr::null_mut(), &raw mut index] {
            while refused(out) != RawResult::success(libc::EPERM as isize) {
                thread::sleep(Duration::from_micros(50));
            }
        }
        assert!(index < 2);
        end(pool);
        destroy_all(tasks);
    });
}

/// All workers are refused, and a task of theirs waits for the kernel: who waited for that did so
/// for ever. One of them fell asleep before, and has to be asked.
#[test]
fn who_waits_for_a_pool_that_cannot_go_on_is_told_why() {
    support::child::alone("who_waits_for_a_pool_that_cannot_go_on_is_told_why", || {
        let Some(pool) = with_rings() else { return skip::skip("no io_uring") };
        for n in 0..2 {
            asleep::until(thread_of(pool, n));
        }
        if !forbid(libc::SYS_io_uring_enter, libc::EPERM) {
            return skip::skip("no seccomp");
        }
        // One that waits for ever is killed.
        // SAFETY: no preconditions.
        unsafe { libc::alarm(60) };
        let task = new_task();
        set_body(task, |task| {
            let nop = [0u64; 8];
            // SAFETY: the running task, and an entry.
            unsafe { monad_async_task_io(task.as_head(), nop.as_ptr().cast()) }
        });
        assert_eq!(submit(pool, task), RawResult::success(0));
        // SAFETY: alive.
        let wait = |what| unsafe { monad_async_pool_wait(pool, 0, what) };
        // What waits is begun; the first who waits for its end does so until all have been refused
        // for long, the second finds that.
        assert_eq!(wait(QUEUED), RawResult::success(0));
        assert_eq!(wait(UNFINISHED).error, libc::EPERM);
        assert_eq!(wait(UNFINISHED).error, libc::EPERM);
        assert_eq!(wait(QUEUED), RawResult::success(0));
        // Its end would be waited for, too: the process ends instead.
    });
}
