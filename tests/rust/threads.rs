//! Several kernel threads at one executor, and executors at each other: launch, wake, cancel, join.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::Handle;
use monad_async::error::{Errno, RawResult};
use monad_async::executor::grant::Caller;
use monad_async::sync::channel::{Channel, Direction};
use monad_async::sync::mutex::Mutex;
use monad_async::sync::semaphore::Semaphore;
use monad_async::sync::{self, event::Event};
use monad_async::sys::affinity;
use monad_async::sys::lock::Lock;
use monad_async::task::header::TaskRef;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;
use support::child::alone;
use support::rng::Rng;
use support::*;

const OK: RawResult = RawResult::success(0);

#[test]
fn launches_from_four_threads_all_run_in_order() {
    const THREADS: usize = 4;
    const ROUNDS: u64 = 2_000;
    const TASKS: usize = 16;
    let ex = executor(8);
    let shared = Shared(ex);
    let left = Arc::new(AtomicU64::new(THREADS as u64));
    let mut threads = Vec::new();
    for _ in 0..THREADS {
        let left = left.clone();
        threads.push(thread::spawn(move || {
            let ex = shared.get();
            let last = Arc::new(AtomicU64::new(0));
            let tasks: Vec<TaskRef> = (0..TASKS).map(|_| new_task()).collect();
            let mut next = 1;
            for _ in 0..ROUNDS {
                for &t in &tasks {
                    while t.head.user_code.get().is_some() && !t.has_exited() {
                        thread::yield_now();
                    }
                    let (last, me) = (last.clone(), next);
                    set_body(t, move |_| {
                        // FIFO of this thread's launches.
                        assert_eq!(last.swap(me, Ordering::Relaxed), me - 1);
                        RawResult::success(me as isize)
                    });
                    next += 1;
                    ex.attach(t).unwrap();
                }
            }
            for t in tasks {
                while !t.has_exited() {
                    thread::yield_now();
                }
                destroy_task(t);
            }
            assert_eq!(last.load(Ordering::Relaxed), ROUNDS * TASKS as u64);
            left.fetch_sub(1, Ordering::Relaxed);
            ex.wake().unwrap();
        }));
    }
    let mut ran = 0;
    while left.load(Ordering::Relaxed) != 0 {
        ran += ex.run(usize::MAX, None).unwrap();
    }
    for t in threads {
        t.join().unwrap();
    }
    assert_eq!(ran as u64, THREADS as u64 * ROUNDS * TASKS as u64);
    destroy(ex, []);
}

#[test]
fn a_wake_ends_the_sleep_and_none_is_lost() {
    for entries in [0, 8] {
        let ex = executor(entries);
        let shared = Shared(ex);
        let turns = Arc::new(AtomicU64::new(0));
        let seen = turns.clone();
        let waker = thread::spawn(move || {
            for turn in 1..=2_000 {
                shared.get().wake().unwrap();
                while seen.load(Ordering::Acquire) < turn {
                    thread::yield_now();
                }
            }
        });
        for turn in 1..=2_000 {
            assert_eq!(ex.run(1, None), Ok(0));
            turns.store(turn, Ordering::Release);
        }
        waker.join().unwrap();
        destroy(ex, []);
    }
}

/// What is left of its tasks may still be cancelled and woken by a reference.
#[test]
fn an_executor_that_ends_its_tasks_is_not_launched_on_by_a_reference() {
    let ex = executor(0);
    let (reference, task) = (Shared(ex.executor().reference().unwrap()), Shared(new_task()));
    set_body(task.get(), |_| OK);
    ex.executor().refuse_launches();
    let other = thread::spawn(move || {
        // SAFETY: the executor lives.
        let reference = unsafe { reference.get().as_ref() };
        assert_eq!(reference.attach(task.get()), Err(Errno(libc::ESHUTDOWN)));
        assert_eq!(reference.wake(), Ok(()));
    });
    other.join().unwrap();
    destroy(ex, [task.get()]);
}

/// The eventfd, the mailbox and the owner that it knows are the parent's.
#[test]
fn a_child_of_fork_is_refused_by_a_reference_of_its_parents() {
    alone("a_child_of_fork_is_refused_by_a_reference_of_its_parents", || {
        let ex = executor(0);
        let reference = ex.executor().reference().unwrap();
        // SAFETY: the executor lives; the child makes one call, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: as above.
            let refused = unsafe { reference.as_ref() }.wake() == Err(Errno(libc::EPERM));
            // SAFETY: ends the process.
            unsafe { libc::_exit(i32::from(!refused)) };
        }
        let mut status = -1;
        // SAFETY: our own child.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
        destroy(ex, []);
    });
}

/// Who has pinned an executor asks for a wake-up as that ends: its mailbox is another's next, whose
/// `run` returned for it.
#[test]
fn a_wake_that_comes_late_is_not_the_next_owners() {
    alone("a_wake_that_comes_late_is_not_the_next_owners", || {
        let first = executor(0);
        let mailbox = first.executor().mailbox();
        let (shared, is_pinned) = (Shared(first), Arc::new(Barrier::new(2)));
        let may_end = is_pinned.clone();
        let late = thread::spawn(move || {
            let ex = shared.get();
            mailbox.pinned(|| {
                is_pinned.wait();
                loop {
                    let is_open = mailbox.inbox.pin_open();
                    mailbox.inbox.unpin();
                    if !is_open {
                        break;
                    }
                    thread::yield_now();
                }
                ex.executor().wake();
            });
        });
        may_end.wait();
        destroy(first, []);
        late.join().unwrap();
        let next = executor(0);
        assert!(std::ptr::eq(next.executor().mailbox(), mailbox));
        let task = new_task();
        mailbox.request(task); // Mail that asks for no return: the task is not attached.
        assert_eq!(next.run(1, Some(0)), errno(libc::ETIME));
        destroy(next, [task]);
    });
}

#[test]
fn two_executors_launch_on_each_other() {
    const ROUNDS: u64 = 5_000;
    let barrier = Arc::new(Barrier::new(2));
    let (to_a, from_b) = mpsc::channel::<Shared<Handle<Real>>>();
    let (to_b, from_a) = mpsc::channel::<Shared<Handle<Real>>>();
    let side = |tx: mpsc::Sender<Shared<Handle<Real>>>,
                rx: mpsc::Receiver<Shared<Handle<Real>>>,
                barrier: Arc<Barrier>| {
        move || {
            let ex = executor(4);
            tx.send(Shared(ex)).unwrap();
            let other = rx.recv().unwrap().get();
            let ran = Arc::new(AtomicU64::new(0));
            let guests: Vec<TaskRef> = (0..8).map(|_| new_task()).collect();
            for &g in &guests {
                let ran = ran.clone();
                set_body(g, move |g| {
                    ran.fetch_add(1, Ordering::Relaxed);
                    nop(g)
                });
            }
            // A task here that launches guests there, and joins each.
            let host = new_task();
            let to_join = guests.clone();
            set_body(host, move |host| {
                for round in 0..ROUNDS {
                    let g = to_join[round as usize % to_join.len()];
                    other.attach(g).unwrap();
                    assert_eq!(Handle::<Real>::join(host, g), OK);
                    assert!(g.has_exited());
                }
                OK
            });
            ex.attach(host).unwrap();
            while !host.has_exited() {
                ex.run(usize::MAX, None).unwrap();
            }
            assert_eq!(ran.load(Ordering::Relaxed), ROUNDS);
            // Keep serving the other side until it is done too.
            let done = Arc::new(AtomicBool::new(false));
            let (flag, me) = (done.clone(), Shared(ex));
            let waiter = thread::spawn(move || {
                barrier.wait();
                flag.store(true, Ordering::Release);
                me.get().wake().unwrap();
            });
            while !done.load(Ordering::Acquire) {
                ex.run(usize::MAX, None).unwrap();
            }
            waiter.join().unwrap();
            while ex.has_work() {
                ex.run(usize::MAX, None).unwrap();
            }
            for t in guests.into_iter().chain([host]) {
                destroy_task(t);
            }
            ex.destroy().unwrap();
        }
    };
    let a = thread::spawn(side(to_b, from_b, barrier.clone()));
    let b = thread::spawn(side(to_a, from_a, barrier));
    a.join().unwrap();
    b.join().unwrap();
}

/// Cancels of another thread at tasks in every state; each task says how its waits ended, and every
/// cancel that found it attached is accounted for.
#[test]
fn cancels_from_another_thread_have_one_outcome() {
    const TASKS: usize = 64;
    const ROUNDS: usize = 300;
    let ex = executor(4);
    let shared = Shared(ex);
    let tasks: Vec<TaskRef> = (0..TASKS).map(|_| new_task()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let targets = tasks.clone();
    let stopped = stop.clone();
    let canceller = thread::spawn(move || {
        let mut rng = Rng::new(1, 0);
        while !stopped.load(Ordering::Relaxed) {
            // ENOENT between two runs.
            let asked = shared.get().cancel(rng.pick(&targets));
            assert!(matches!(asked, Ok(()) | Err(Errno(libc::ENOENT))), "{asked:?}");
            if rng.one_in(7) {
                thread::yield_now();
            }
        }
    });
    let (mut real, mut canceled) = (0u64, 0u64);
    for round in 0..ROUNDS {
        for (i, &t) in tasks.iter().enumerate() {
            set_body(t, move |t| {
                let r = match (i + round) % 4 {
                    0 => Handle::<Real>::sleep(t, 200_000),
                    1 => nop(t),
                    2 => Handle::<Real>::sleep(t, 0),
                    // Only a cancel ends this one.
                    _ => Handle::<Real>::sleep(t, u64::MAX),
                };
                assert!(r == OK || r.error == libc::ECANCELED, "{r:?}");
                RawResult::success(r.error as isize)
            });
            ex.attach(t).unwrap();
        }
        while ex.has_work() {
            ex.run(usize::MAX, None).unwrap();
        }
        for &t in &tasks {
            assert!(t.has_exited());
            match t.head.result.get() {
                OK => real += 1,
                RawResult { error: 0, value, .. } => {
                    assert_eq!(value, libc::ECANCELED as isize);
                    canceled += 1;
                }
                r => {
                    assert_eq!(r.error, libc::ECANCELED, "never launched");
                    canceled += 1;
                }
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    canceller.join().unwrap();
    assert_eq!(real + canceled, (TASKS * ROUNDS) as u64);
    assert!(real != 0 && canceled != 0, "{real} real, {canceled} canceled: nothing was tried");
    destroy(ex, tasks);
}

/// A join of a task on another executor, cancelled at any moment, while that executor's tasks exit
/// and the executor itself is destroyed and made anew.
#[test]
fn a_remote_join_survives_cancel_and_the_other_executors_end() {
    const ROUNDS: usize = 400;
    let ex = executor(4);
    let (mut joined, mut canceled) = (0, 0);
    let joiner = new_task();
    for round in 0..ROUNDS {
        let (tx, rx) = mpsc::channel::<TaskRef>();
        let (go, gone) = mpsc::channel::<()>();
        let away = thread::spawn(move || {
            let ex = executor(if round % 2 == 0 { 0 } else { 4 });
            let t = new_task();
            set_body(t, move |t| {
                Handle::<Real>::sleep(t, (round as u64 % 5) * 20_000);
                RawResult::success(7)
            });
            ex.attach(t).unwrap();
            tx.send(t).unwrap();
            while ex.has_work() {
                ex.run(usize::MAX, None).unwrap();
            }
            ex.destroy().unwrap();
            gone.recv().unwrap();
            destroy_task(t);
        });
        let other = rx.recv().unwrap();
        set_body(joiner, move |me| Handle::<Real>::join(me, other));
        ex.attach(joiner).unwrap();
        let wait = (round as u64 % 7) * 15_000;
        while ex.has_work() {
            match ex.run(usize::MAX, Some(wait)) {
                Err(e) if e.0 == libc::ETIME => ex.cancel(joiner).unwrap(),
                r => {
                    r.unwrap();
                }
            }
        }
        match joiner.head.result.get() {
            RawResult { value: 7, error: 0, .. } => joined += 1,
            r => {
                assert_eq!(r.error, libc::ECANCELED);
                canceled += 1;
            }
        }
        go.send(()).unwrap();
        away.join().unwrap();
    }
    println!("{joined} joined, {canceled} canceled");
    assert!(joined != 0);
    destroy(ex, [joiner]);
}

/// Threads that wake one task as often as they like, in every way that there is, leave one message:
/// one item runs, and (debug) none arrives for a wait that is over.
#[test]
fn all_who_wake_a_task_leave_one_message() {
    const THREADS: usize = 4;
    const EACH: usize = 500;
    let ex = executor(4);
    let (parks, waits) = (new_task(), new_task());
    // SAFETY: zeros are an event that is not set, and a semaphore without permits.
    let event: &'static Event<sync::Shared> = Box::leak(unsafe { Box::new(std::mem::zeroed()) });
    set_body(parks, Handle::<Real>::park);
    set_body(waits, move |t| {
        let waited = event.wait(&Caller::task(ex.executor(), t), u64::MAX);
        waited.map_or_else(RawResult::failure, |()| RawResult::success(1))
    });
    for _ in 0..20 {
        [parks, waits].iter().for_each(|&task| ex.attach(task).unwrap());
        assert_eq!(ex.run(usize::MAX, Some(0)), Ok(2));
        let all = Shared((parks, waits, event));
        let threads = [(); THREADS].map(|()| {
            thread::spawn(move || {
                let (parks, waits, event) = all.get();
                for _ in 0..EACH {
                    Handle::<Real>::unpark(parks);
                    event.set::<Real>(None).unwrap();
                    let _ = Handle::<Real>::cancel_anywhere(waits);
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let mut ran = 0;
        while ex.has_work() {
            ran += ex.run(usize::MAX, Some(0)).unwrap_or(0);
        }
        assert_eq!(ran, 2);
        assert_eq!(waits.head.result.get(), RawResult::success(1));
        event.reset(None).unwrap();
    }
    destroy(ex, [parks, waits]);
}

/// They yield to each other once they know that they share it: no element is lost by that, or
/// received twice.
#[test]
fn two_threads_on_one_processor_take_turns() {
    const ELEMENTS: u64 = 100_000;
    let cpu = affinity::here().expect("a processor");
    for capacity in [1, 2, 7, 256] {
        let storage = vec![0_u64; capacity].leak();
        // SAFETY: zeros are an empty channel.
        let channel: Box<Channel<sync::Shared>> = unsafe { Box::new(std::mem::zeroed()) };
        let channel: Shared<&'static _> = Shared(Box::leak(channel));
        let at = storage.as_mut_ptr().cast();
        channel.get().set_up(at, capacity, size_of::<u64>()).unwrap();
        let transfer = move |caller: &Caller<'_, Real>, direction, element: &mut u64| {
            let element = std::ptr::from_mut(element).cast();
            // SAFETY: an element, or memory for one.
            unsafe { channel.get().transfer(caller, direction, element, u64::MAX) }
        };
        let sender = thread::spawn(move || {
            affinity::pin(cpu).unwrap();
            let ex = executor(0);
            let task = new_task();
            set_body(task, move |task| {
                let caller = Caller::task(ex.executor(), task);
                for mut n in 0..ELEMENTS {
                    assert_eq!(transfer(&caller, Direction::Send, &mut n), OK);
                }
                OK
            });
            ex.attach(task).unwrap();
            while ex.has_work() {
                ex.run(usize::MAX, None).unwrap();
            }
            destroy(ex, [task]);
            channel.get().close::<Real>(None).unwrap();
        });
        let receiver = thread::spawn(move || {
            affinity::pin(cpu).unwrap();
            let caller = Caller::thread().unwrap();
            let (mut received, mut wrong, mut element) = (0, 0, u64::MAX);
            while transfer(&caller, Direction::Receive, &mut element) == OK {
                wrong += usize::from(element != received);
                received += 1;
            }
            (received, wrong)
        });
        sender.join().unwrap();
        assert_eq!(receiver.join().unwrap(), (ELEMENTS, 0));
    }
}

/// Tasks of two executors, many enough that they wait without a frame, at the same thread-safe
/// objects: who grants to a task of the other executor has to send it mail.
#[test]
fn tasks_of_two_executors_wait_at_the_same_objects() {
    const TASKS: usize = 16;
    const ROUNDS: u64 = 500;
    const NEVER: u64 = u64::MAX;
    struct Objects {
        mutex: Mutex<sync::Shared>,
        semaphore: Semaphore<sync::Shared>,
        channel: Channel<sync::Shared>,
        inside: Cell<u64>,
        received: AtomicU64,
    }
    // SAFETY: zeros are an unlocked mutex, a semaphore without permits, and a channel.
    let objects: &'static Objects = Box::leak(unsafe { Box::new(std::mem::zeroed()) });
    objects.channel.set_up(std::ptr::null_mut(), 0, 8).unwrap();
    assert_eq!(objects.semaphore.release::<Real>(3), OK);
    let all = Shared(objects);
    let together = Arc::new(Barrier::new(2));
    let threads = [0, 1].map(|_| {
        let together = together.clone();
        thread::spawn(move || {
            let ex = executor(8);
            let objects = all.get();
            let tasks: Vec<_> = (0..TASKS).map(|_| new_task()).collect();
            for (n, &task) in tasks.iter().enumerate() {
                set_body(task, move |t| {
                    let caller = Caller::task(ex.executor(), t);
                    for round in 1..=ROUNDS {
                        assert_eq!(objects.mutex.lock(&caller, NEVER), OK);
                        objects.inside.set(objects.inside.get() + 1);
                        if round % 4 == 0 {
                            assert_eq!(Handle::<Real>::sleep(t, 0), OK);
                        }
                        assert_eq!(objects.mutex.unlock(&caller), OK);
                        assert_eq!(objects.semaphore.acquire(&caller, 1, NEVER), OK);
                        assert_eq!(Handle::<Real>::sleep(t, 0), OK);
                        assert_eq!(objects.semaphore.release::<Real>(1), OK);
                        let mut element = round;
                        let at = (&raw mut element).cast();
                        let way = [Direction::Send, Direction::Receive][n % 2];
                        // SAFETY: an element, or room for one.
                        let moved = unsafe { objects.channel.transfer(&caller, way, at, NEVER) };
                        assert_eq!(moved, OK);
                        if n % 2 == 1 {
                            objects.received.fetch_add(element, Ordering::Relaxed);
                        }
                    }
                    OK
                });
                ex.attach(task).unwrap();
            }
            together.wait();
            while ex.has_work() {
                ex.run(usize::MAX, None).unwrap();
            }
            destroy(ex, tasks);
        })
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(objects.inside.get(), 2 * TASKS as u64 * ROUNDS);
    let sum = TASKS as u64 * ROUNDS * (ROUNDS + 1) / 2;
    assert_eq!(objects.received.load(Ordering::Relaxed), sum);
}

/// Two unparks before a task that has left its park without a frame runs again: one permit.
#[test]
fn two_unparks_end_one_park_without_a_frame() {
    let ex = executor(8);
    let (parks, unparks, yields) = (new_task(), new_task(), new_task());
    let ended: &'static Cell<u32> = Box::leak(Box::new(Cell::new(0)));
    let turn = |t| assert_eq!(Handle::<Real>::sleep(t, 0), OK);
    set_body(parks, move |t| {
        turn(t); // Who has not suspended before has a frame.
        for _ in 0..2 {
            assert_eq!(Handle::<Real>::park(t), OK);
            ended.set(ended.get() + 1);
        }
        OK
    });
    set_body(unparks, move |t| {
        (0..3).for_each(|_| turn(t));
        for n in 0..2 {
            assert_eq!(ended.get(), n);
            assert_eq!(Handle::<Real>::unpark(parks), OK);
            assert_eq!(Handle::<Real>::unpark(parks), OK);
            (0..3).for_each(|_| turn(t));
        }
        OK
    });
    set_body(yields, move |t| {
        (0..20).for_each(|_| turn(t));
        OK
    });
    [parks, unparks, yields].iter().for_each(|&task| ex.attach(task).unwrap());
    while ex.has_work() {
        ex.run(usize::MAX, Some(0)).unwrap();
    }
    assert_eq!(ended.get(), 2);
    destroy(ex, [parks, unparks, yields]);
}

/// `sys::lock`: who finds it held for long sleeps. Three do when it is opened: each is woken, and none
/// takes it while another has it.
#[test]
fn one_at_a_time_has_a_lock_and_who_sleeps_is_woken() {
    let lock: &Lock<u32> = Box::leak(Box::new(Lock::new(0)));
    for round in 1..=20 {
        let mut held = lock.lock();
        let sleep = [(); 3].map(|()| {
            asleep::waits(move || {
                let mut count = lock.lock();
                let seen = *count;
                thread::sleep(Duration::from_micros(200));
                *count = seen + 1;
            })
        });
        *held += 1;
        drop(held);
        sleep.into_iter().for_each(asleep::Waits::join);
        assert_eq!(*lock.lock(), 4 * round);
    }
    thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| (0..2000).for_each(|_| *lock.lock() += 1));
        }
    });
    assert_eq!(*lock.lock(), 8080);
}
