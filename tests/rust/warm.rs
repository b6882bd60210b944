//! Which stack a launch runs on, and who has it afterwards. Where the switch is corosensei's, each
//! task stays on its own: then there is nothing to see here.
#![cfg(all(target_arch = "x86_64", not(feature = "asan")))]

#[path = "../support/mod.rs"]
mod support;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use monad_async::api::{self, Handle};
use monad_async::error::RawResult;
use monad_async::executor::free::Free;
use monad_async::executor::grant::Caller;
use monad_async::reactor::operation::Op;
use monad_async::stack::pool::stats;
use monad_async::stack::slab::find;
use monad_async::sync::channel::{Channel, Direction};
use monad_async::sync::mutex::Mutex;
use monad_async::sync::semaphore::Semaphore;
use monad_async::sync::{Local, Shared};
use monad_async::sys::memory::lowest_resident;
use monad_async::task::header::{TaskRef, Waits};
use monad_async::ticks;
use monad_async::uring::kernel::{op, Sqe};
use monad_async::uring::{RealKernel, RingOptions};
use support::child::alone;
use support::rng::Rng;
use support::{destroy, errno, executor, new_task, nop, set_body, Real};

/// The base of the stack that the caller runs on.
fn here() -> usize {
    let on_it = 0u8;
    find((&raw const on_it) as usize).expect("called by a task").stack_base
}

fn finish(ex: Handle<Real>) {
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
}

fn is_touched(task: TaskRef) -> bool {
    let (low, high) = task.stack_bounds();
    lowest_resident(low, high.next_multiple_of(4096)).unwrap().is_some()
}

/// What never suspends takes no stack but the executor's.
#[test]
fn launches_that_do_not_suspend_share_a_stack() {
    alone("launches_that_do_not_suspend_share_a_stack", share_a_stack);
}

fn share_a_stack() {
    let ex = executor(8);
    let tasks: Vec<_> = (0..100).map(|_| new_task()).collect();
    assert!(!tasks.iter().any(|&task| is_touched(task)), "by being created");
    let own: BTreeSet<_> = tasks.iter().map(|task| task.stack_bounds().1).collect();
    assert_eq!(own.len(), 100, "a stack to the name of each");
    let seen = Rc::new(RefCell::new(BTreeSet::new()));
    for &task in &tasks {
        let seen = seen.clone();
        set_body(task, move |task| {
            assert_eq!(task.stack_bounds().1, here());
            seen.borrow_mut().insert(here());
            RawResult::success(0)
        });
        ex.attach(task).unwrap();
    }
    finish(ex);
    assert_eq!(seen.borrow().len(), 1);
    assert!(seen.borrow().is_disjoint(&own));
    destroy(ex, tasks);
}

/// A task stays where it began, whatever is launched since; and what it leaves is the next
/// one's.
#[test]
fn who_suspends_keeps_its_stack() {
    let ex = executor(8);
    let [waiter, other, third] = [new_task(), new_task(), new_task()];
    let at = Rc::new(Cell::new(0));
    let waits = at.clone();
    set_body(waiter, move |task| {
        waits.set(here());
        for _ in 0..3 {
            nop(task);
            assert_eq!(here(), waits.get());
            assert_eq!(task.stack_bounds().1, here());
        }
        RawResult::success(0)
    });
    let is_held = at.clone();
    set_body(other, move |_| {
        assert_ne!(here(), is_held.get());
        RawResult::success(0)
    });
    let is_free = at.clone();
    set_body(third, move |_| {
        assert_eq!(here(), is_free.get(), "the warmest is used next");
        RawResult::success(0)
    });
    ex.attach(waiter).unwrap();
    ex.attach(other).unwrap();
    finish(ex);
    ex.attach(waiter).unwrap();
    finish(ex);
    ex.attach(third).unwrap();
    finish(ex);
    // That it was on a stack of its own says nothing of its next launch.
    ex.attach(waiter).unwrap();
    ex.attach(other).unwrap();
    finish(ex);
    destroy(ex, [waiter, other, third]);
}

/// A task with a large stack launches there, and has nothing to keep when it suspends: who is resumed
/// right behind it was taken for one that had, and waited by the longer way.
#[test]
fn who_has_a_stack_of_its_own_makes_nobody_wait_the_longer_way() {
    let kernel = RealKernel::new(&RingOptions { entries: 8, ..RingOptions::default() })
        .unwrap_or_else(|e| panic!("{}", e.text));
    let ex = Handle::new(kernel, false).unwrap(); // Without a clock: no chunk ends by it.
    let large = api::create_task(2 << 20).unwrap();
    let [first, second] = [new_task(), new_task()];
    let begun = Rc::new(Cell::new(false));
    let is_bare = Rc::new(Cell::new(None));
    let (begins, looks) = (begun.clone(), is_bare.clone());
    set_body(large, move |task| {
        begins.set(true);
        nop(task)
    });
    set_body(first, move |task| {
        assert_eq!(Handle::<Real>::sleep(task, 0).error, 0);
        assert!(begun.get(), "not what is to be tested");
        looks.set(Some(Free::new(ex.executor(), task).bare::<false>().is_some()));
        RawResult::success(0)
    });
    set_body(second, |task| Handle::<Real>::sleep(task, 0));
    ex.attach(first).unwrap();
    ex.attach(second).unwrap();
    assert_eq!(ex.run(2, None), Ok(2));
    large.head.cpu.set(0);
    ex.attach(large).unwrap();
    finish(ex);
    assert_eq!(is_bare.get(), Some(true));
    destroy(ex, [first, second, large]);
}

/// A task that has returned may have operations in flight that write to its stack.
#[test]
fn the_stack_of_a_task_that_is_closing_is_nobody_elses() {
    let ex = executor(8);
    let [closing, other] = [new_task(), new_task()];
    let mut pipe = [0; 2];
    // SAFETY: two descriptors.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    let at = Rc::new(Cell::new(0));
    let closes = at.clone();
    let reads = pipe[0];
    set_body(closing, move |task| {
        closes.set(here());
        let buffer = [0u8; 64];
        // SAFETY: as a C program makes one: all zeroes.
        let record: Op = unsafe { std::mem::zeroed() };
        record.sqe.set(Sqe::new(op::READ, reads, buffer.as_ptr() as u64, 64, 0, 0));
        // SAFETY: on the stack, which stays until the operation is over: what is tested.
        unsafe { ex.executor().begin_operation(task, &record) }.unwrap();
        // Where all of it is in line, what is stored to a record that nobody here reads is left out.
        std::hint::black_box((&record, &buffer));
        RawResult::success(0)
    });
    let is_held = at.clone();
    let ran = Rc::new(Cell::new(false));
    let runs = ran.clone();
    set_body(other, move |_| {
        assert!(closing.is_attached(), "it closes still");
        assert_ne!(here(), is_held.get());
        runs.set(true);
        RawResult::success(0)
    });
    ex.attach(closing).unwrap();
    ex.attach(other).unwrap();
    finish(ex);
    assert!(ran.get());
    // And its next run is one like any other: if that suspends, it keeps its stack.
    let suspends = at.clone();
    set_body(closing, move |task| {
        suspends.set(here());
        nop(task);
        RawResult::success(0)
    });
    set_body(other, move |_| {
        assert_ne!(here(), at.get());
        RawResult::success(0)
    });
    ex.attach(closing).unwrap();
    ex.attach(other).unwrap();
    finish(ex);
    // SAFETY: ours.
    assert_eq!(unsafe { pipe.map(|fd| libc::close(fd)) }, [0; 2]);
    destroy(ex, [closing, other]);
}

/// Tasks of sizes that no two of which may stand in for each other, on two executors, that come and
/// go in any order: each finds on its stack what it left there.
#[test]
fn nobody_finds_its_stack_changed() {
    const SIZES: [usize; 5] = [16 << 10, 16 << 10, 64 << 10, 256 << 10, 2 << 20];
    let before = stats().slots_in_use;
    let executors = [executor(64), executor(64)];
    let rng = Rc::new(RefCell::new(Rng::new(1, 0)));
    let mut tasks: Vec<(TaskRef, usize)> = Vec::new();
    for round in 0..400 {
        let size = rng.borrow_mut().pick(&SIZES);
        if tasks.len() < 60 {
            let task = api::create_task(size).unwrap();
            let draws = rng.clone();
            set_body(task, move |task| {
                let mine = here();
                let hit = find(mine - 1).unwrap();
                assert!(hit.stack_bytes >= size && hit.header as usize == task.addr());
                let marks = [task.addr() as u64 ^ draws.borrow_mut().next(); 64];
                let kept = std::hint::black_box(&marks);
                let (first, times) = (kept[0], draws.borrow_mut().below(4));
                for _ in 0..times {
                    let on_a_nop = draws.borrow_mut().one_in(2);
                    let _ = if on_a_nop { nop(task) } else { Handle::<Real>::sleep(task, 0) };
                    assert!(kept.iter().all(|&mark| mark == first) && here() == mine);
                }
                RawResult::success(0)
            });
            tasks.push((task, size));
        }
        for _ in 0..10 {
            let at = rng.borrow_mut().below(tasks.len() as u32) as usize;
            let ex = executors[rng.borrow_mut().below(2) as usize];
            let _ = ex.attach(tasks[at].0); // EBUSY, often.
        }
        let most = rng.borrow_mut().below(12) as usize;
        for ex in executors {
            let _ = ex.run(most, Some(0));
        }
        if round % 3 == 0 {
            let at = rng.borrow_mut().below(tasks.len() as u32) as usize;
            let (task, _) = tasks[at];
            if !task.is_attached() {
                tasks.swap_remove(at);
                support::destroy_task(task);
            } else {
                assert_eq!(api::destroy_task(task), errno(libc::EBUSY));
            }
        }
    }
    executors.into_iter().for_each(finish);
    tasks.into_iter().for_each(|(task, _)| support::destroy_task(task));
    executors.into_iter().for_each(|ex| ex.destroy().unwrap());
    assert!(stats().slots_in_use <= before + 203, "those of the other tests");
}

/// What an executor has taken is the pool's again, and the next executor's.
#[test]
fn an_executor_that_ends_gives_its_stacks_back() {
    alone("an_executor_that_ends_gives_its_stacks_back", gives_back);
}

fn gives_back() {
    let seen = Rc::new(RefCell::new(BTreeSet::new()));
    for _ in 0..50 {
        let ex = executor(8);
        for size in [16 << 10, 64 << 10, 256 << 10] {
            let task = api::create_task(size).unwrap();
            let sees = seen.clone();
            set_body(task, move |_| {
                sees.borrow_mut().insert(here());
                RawResult::success(0)
            });
            ex.attach(task).unwrap();
            finish(ex);
            support::destroy_task(task);
        }
        ex.destroy().unwrap();
    }
    assert!(seen.borrow().len() <= 6, "each executor has others: {}", seen.borrow().len());
}

/// Its own stack is another than the one that it runs on, and either would be somebody else's.
#[test]
fn a_task_that_runs_is_not_destroyed() {
    let ex = executor(8);
    let task = new_task();
    let refused = Rc::new(Cell::new(0));
    let says = refused.clone();
    set_body(task, move |task| {
        says.set(says.get() + usize::from(api::destroy_task(task) == errno(libc::EBUSY)));
        nop(task);
        says.set(says.get() + usize::from(api::destroy_task(task) == errno(libc::EBUSY)));
        RawResult::success(0)
    });
    ex.attach(task).unwrap();
    finish(ex);
    assert_eq!(refused.get(), 2);
    destroy(ex, [task]);
}

/// A launch that forks: the tasks that are ready are the parent's alone, and what calls the next
/// launch is a copy in the child.
#[test]
fn the_child_of_a_fork_launches_nothing() {
    alone("the_child_of_a_fork_launches_nothing", fork_in_a_launch);
}

fn fork_in_a_launch() {
    // Without time tracking, as a fork takes longer than a look may be late.
    let kernel = RealKernel::new(&RingOptions { entries: 8, ..RingOptions::default() });
    let ex = Handle::new(kernel.unwrap_or_else(|e| panic!("{}", e.text)), false).unwrap();
    let tasks: Vec<_> = (0..3).map(|_| new_task()).collect();
    let launched = Rc::new(Cell::new(0));
    let child = Rc::new(Cell::new(-1));
    for (n, &task) in tasks.iter().enumerate() {
        let (launched, child) = (launched.clone(), child.clone());
        set_body(task, move |_| {
            launched.set(launched.get() + 1);
            if n == 0 {
                // SAFETY: the child leaves by `_exit` below.
                child.set(unsafe { libc::fork() });
            }
            RawResult::success(0)
        });
        ex.attach(task).unwrap();
    }
    let ran = ex.run(usize::MAX, None);
    if child.get() == 0 {
        let right = ran == errno(libc::EPERM) && launched.get() == 1;
        // SAFETY: the child ends here.
        unsafe { libc::_exit(i32::from(!right)) };
    }
    assert_eq!((ran, launched.get()), (Ok(3), 3));
    let mut status = 0;
    // SAFETY: a place for the status.
    assert_eq!(unsafe { libc::waitpid(child.get(), &mut status, 0) }, child.get());
    assert_eq!(status, 0, "the child was told, and launched none of the parent's tasks");
    destroy(ex, tasks);
}

/// As above, of a launch that is joined: in the child the joiner is the parent's, and goes on there
/// alone.
#[test]
fn the_child_of_a_fork_wakes_no_joiner() {
    alone("the_child_of_a_fork_wakes_no_joiner", fork_in_a_joined_launch);
}

fn fork_in_a_joined_launch() {
    let kernel = RealKernel::new(&RingOptions { entries: 8, ..RingOptions::default() });
    let ex = Handle::new(kernel.unwrap_or_else(|e| panic!("{}", e.text)), false).unwrap();
    let [joiner, forks] = [new_task(), new_task()];
    let joined = Rc::new(Cell::new(false));
    let child = Rc::new(Cell::new(-1));
    let (pid, went_on) = (child.clone(), joined.clone());
    set_body(forks, move |_| {
        // SAFETY: the child leaves by `_exit` below.
        pid.set(unsafe { libc::fork() });
        RawResult::success(3)
    });
    set_body(joiner, move |task| {
        ex.attach(forks).unwrap();
        let result = Handle::<Real>::join(task, forks);
        went_on.set(true);
        result
    });
    ex.attach(joiner).unwrap();
    let ran = ex.executor().run_on(None);
    if child.get() == 0 {
        let right = ran == errno(libc::EPERM) && !joined.get();
        // SAFETY: the child ends here.
        unsafe { libc::_exit(i32::from(!right)) };
    }
    assert_eq!((ran, joined.get(), joiner.result()), (Ok(3), true, RawResult::success(3)));
    let mut status = 0;
    // SAFETY: a place for the status.
    assert_eq!(unsafe { libc::waitpid(child.get(), &mut status, 0) }, child.get());
    assert_eq!(status, 0, "the child was told, and its joiner did not go on");
    destroy(ex, [joiner, forks]);
}

/// A launch ends, and its joiner is what runs next: no sooner than what is ready before it, with
/// the result, and counted, be it by the loop or without.
#[test]
fn who_joins_a_launch_goes_on_when_that_ends() {
    for track in [false, true] {
        let kernel = RealKernel::new(&RingOptions { entries: 8, ..RingOptions::default() });
        let ex = Handle::new(kernel.unwrap_or_else(|e| panic!("{}", e.text)), track).unwrap();
        let [joiner, child, high, equal, low] = [(); 5].map(|()| new_task());
        let order = Rc::new(RefCell::new(Vec::new()));
        for (name, task, level) in [("high", high, 0), ("equal", equal, 1), ("low", low, 2)] {
            let order = order.clone();
            task.head.cpu.set(level);
            set_body(task, move |_| {
                order.borrow_mut().push(name);
                RawResult::success(0)
            });
        }
        let round = Rc::new(Cell::new(0));
        let (ended, now) = (order.clone(), round.clone());
        set_body(child, move |_| {
            ended.borrow_mut().push("child");
            if let Some(&other) = [high, equal, low].get(now.get()) {
                ex.attach(other).unwrap();
            }
            RawResult::success(10 + now.get() as isize)
        });
        let went_on = order.clone();
        set_body(joiner, move |task| {
            for at in [3, 0, 3, 1, 3, 2, 3] {
                round.set(at);
                ex.attach(child).unwrap();
                assert_eq!(Handle::<Real>::join(task, child), RawResult::success(10 + at as isize));
                went_on.borrow_mut().push("joiner");
                assert!(child.has_exited() && ex.executor().current_task() == Some(task));
                let head = &ex.executor().head;
                assert_eq!(head.tasks_pending_launch.get(), usize::from(low.is_attached()));
                assert_eq!((head.tasks_running.get(), head.tasks_suspended.get()), (1, 0));
            }
            RawResult::success(0)
        });
        ex.attach(joiner).unwrap();
        while ex.has_work() {
            ex.executor().run_on(None).unwrap();
        }
        let expected = "child joiner child high joiner child joiner child equal joiner \
                        child joiner child joiner child joiner low";
        assert_eq!(order.borrow().join(" "), expected);
        let head = &ex.executor().head;
        let parts = head.total_ticks_in_task_launch.get()
            + head.total_ticks_in_task_completion.get()
            + head.total_ticks_in_io_uring.get()
            + head.total_ticks_sleeping.get();
        assert!(parts <= head.total_ticks_in_run.get());
        assert_eq!(child.head.ticks.when_detached.get() != 0, track);
        destroy(ex, [joiner, child, high, equal, low]);
    }
}

/// Where few are ready, a pass of a loop goes on with what becomes so: up to a bound.
#[test]
fn a_pass_of_a_loop_runs_what_becomes_ready() {
    let ex = executor(8);
    let task = new_task();
    set_body(task, |task| {
        for _ in 0..35 {
            Handle::<Real>::sleep(task, 0);
        }
        RawResult::success(0)
    });
    ex.attach(task).unwrap();
    assert_eq!(ex.run(usize::MAX, None), Ok(1));
    assert_eq!(ex.executor().run_on(None), Ok(32));
    assert_eq!(ex.executor().run_on(None), Ok(3));
    assert!(!ex.has_work());
    assert_eq!(ex.executor().run_on(Some(0)), errno(libc::ETIME));
    destroy(ex, [task]);
}

/// Not beyond the time to look for other things, with time tracking: who runs the loop may have had
/// its time, or been told to stop.
#[test]
fn a_pass_of_a_loop_ends_when_it_is_late() {
    let ex = executor(8);
    let task = new_task();
    set_body(task, |task| {
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(2));
            Handle::<Real>::sleep(task, 0);
        }
        RawResult::success(0)
    });
    ex.attach(task).unwrap();
    for _ in 0..4 {
        assert!(ex.has_work());
        assert_eq!(ex.executor().run_on(None), Ok(1));
    }
    assert!(!ex.has_work());
    destroy(ex, [task]);
}

/// Of a task that looks at nothing but how its wait has ended; the next one ends otherwise. Often: a
/// wait has a frame where it is time for a look, as when the thread was kept from its processor.
#[test]
fn a_close_ends_waits_without_a_frame() {
    (0..20).for_each(|_| closes_end_waits_without_a_frame());
}

fn closes_end_waits_without_a_frame() {
    let ex = executor(8);
    // SAFETY: zeros are a channel that is not set up.
    let channel: &'static Channel<Shared> = Box::leak(unsafe { Box::new(std::mem::zeroed()) });
    channel.set_up(std::ptr::null_mut(), 0, 8).unwrap();
    // SAFETY: zeros are a semaphore without permits.
    let gate: &'static Semaphore<Shared> = Box::leak(unsafe { Box::new(std::mem::zeroed()) });
    let turn = |t| assert_eq!(Handle::<Real>::sleep(t, 0), RawResult::success(0));
    let tasks = [new_task(), new_task(), new_task(), new_task()];
    let [closes, yields, receives, sends] = tasks;
    for (task, way) in [(receives, Direction::Receive), (sends, Direction::Send)] {
        // Each at a channel of its own: they would meet.
        // SAFETY: as above.
        let own: &'static Channel<Shared> = Box::leak(unsafe { Box::new(std::mem::zeroed()) });
        own.set_up(std::ptr::null_mut(), 0, 8).unwrap();
        let at = if way == Direction::Send { own } else { channel };
        set_body(task, move |t| {
            turn(t); // Who has not suspended before has a frame.
            let mut element = 7_u64;
            let caller = Caller::task(ex.executor(), t);
            // SAFETY: an element, or room for one.
            let r = unsafe { at.transfer(&caller, way, (&raw mut element).cast(), u64::MAX) };
            assert_eq!(r.error, libc::EPIPE);
            assert_eq!(gate.acquire(&caller, 1, u64::MAX), RawResult::success(0));
            RawResult::success(0)
        });
        if way == Direction::Send {
            set_body(closes, move |t| {
                (0..4).for_each(|_| turn(t));
                for channel in [channel, own] {
                    let caller = Caller::task(ex.executor(), t);
                    assert_eq!(channel.close::<RealKernel>(caller.mailbox()), Ok(true));
                }
                (0..4).for_each(|_| turn(t));
                assert_eq!(gate.release::<RealKernel>(2), RawResult::success(0));
                RawResult::success(0)
            });
        }
    }
    set_body(yields, move |t| {
        (0..20).for_each(|_| turn(t));
        RawResult::success(0)
    });
    tasks.iter().for_each(|&task| ex.attach(task).unwrap());
    while ex.has_work() {
        ex.run(usize::MAX, Some(0)).unwrap();
    }
    destroy(ex, tasks);
}

/// Who waits without a frame at an object of its own executor has a record once somebody looks for
/// it: who asks what it waits for, who cancels it. The second time, too, where the last one was.
#[test]
fn who_waits_without_a_record_is_cancelled() {
    let ex = executor(8);
    // SAFETY: zeros are a mutex that is not locked.
    let mutex: &'static Mutex<Local> = Box::leak(unsafe { Box::new(std::mem::zeroed()) });
    let turn = |t| assert_eq!(Handle::<Real>::sleep(t, 0), RawResult::success(0));
    let tasks = [new_task(), new_task(), new_task()];
    let [owns, waits, yields] = tasks;
    let canceled = Rc::new(Cell::new(0));
    let seen = canceled.clone();
    set_body(waits, move |t| {
        turn(t); // Who has not suspended before has a frame.
        for _ in 0..2 {
            let caller = Caller::task(ex.executor(), t);
            assert_eq!(mutex.lock(&caller, u64::MAX).error, libc::ECANCELED);
            canceled.set(canceled.get() + 1);
            assert_eq!(Handle::<Real>::uncancel(t), Ok(true));
        }
        RawResult::success(0)
    });
    set_body(owns, move |t| {
        let caller = Caller::task(ex.executor(), t);
        assert_eq!(mutex.lock(&caller, u64::MAX), RawResult::success(0));
        for nth in 0..2 {
            (0..3).for_each(|_| turn(t));
            assert_eq!(seen.get(), nth);
            let (what, of, _) = ex.executor().waits_for(waits);
            assert_eq!((what, of), (Waits::Grant, std::ptr::from_ref(mutex) as u64));
            ex.cancel(waits).unwrap();
        }
        (0..3).for_each(|_| turn(t));
        assert_eq!(seen.get(), 2);
        assert_eq!(mutex.unlock(&caller), RawResult::success(0));
        RawResult::success(0)
    });
    set_body(yields, move |t| {
        (0..20).for_each(|_| turn(t));
        RawResult::success(0)
    });
    tasks.iter().for_each(|&task| ex.attach(task).unwrap());
    while ex.has_work() {
        ex.run(usize::MAX, Some(0)).unwrap();
    }
    destroy(ex, tasks);
}

/// A launch that calls the next one counts as the loop does.
#[test]
fn no_more_is_launched_than_was_asked_for() {
    let ex = executor(8);
    let tasks: Vec<_> = (0..10).map(|_| new_task()).collect();
    for &task in &tasks {
        set_body(task, |_| RawResult::success(0));
        ex.attach(task).unwrap();
    }
    for (asked, left) in [(1, 9), (4, 5), (0, 5), (3, 2), (9, 0)] {
        let before = tasks.iter().filter(|task| !task.has_exited()).count();
        assert_eq!(ex.run(asked, Some(0)).unwrap(), before - left);
        assert_eq!(tasks.iter().filter(|task| !task.has_exited()).count(), left);
    }
    destroy(ex, tasks);
}

/// A task that has suspended is on its own stack when it exits, which is nobody's to launch on.
#[test]
fn a_launch_behind_one_that_has_suspended_runs_elsewhere() {
    let ex = executor(8);
    let [waiter, other, last] = [new_task(), new_task(), new_task()];
    let at = Rc::new(Cell::new(0));
    let (waits, is_held) = (at.clone(), at);
    set_body(waiter, move |task| {
        waits.set(here());
        let _ = Handle::<Real>::sleep(task, 0);
        RawResult::success(0)
    });
    set_body(other, move |_| {
        ex.attach(last).unwrap();
        RawResult::success(0)
    });
    let elsewhere = Rc::new(Cell::new(false));
    let is_elsewhere = elsewhere.clone();
    set_body(last, move |_| {
        is_elsewhere.set(here() != is_held.get());
        RawResult::success(0)
    });
    ex.attach(waiter).unwrap();
    ex.attach(other).unwrap();
    finish(ex);
    assert!(elsewhere.get());
    destroy(ex, [waiter, other, last]);
}

/// Stacks above 1 MiB are no executor's: each such task launches on its own, also behind another.
#[test]
fn large_stacks_are_launched_on_by_their_tasks() {
    let ex = executor(8);
    let tasks: Vec<_> = (0..3).map(|_| api::create_task(2 << 20).unwrap()).collect();
    let ran = Rc::new(Cell::new(0));
    for &task in &tasks {
        let (own, runs) = (task.stack_bounds().1, ran.clone());
        set_body(task, move |_| {
            assert_eq!(here(), own);
            runs.set(runs.get() + 1);
            RawResult::success(0)
        });
    }
    for round in 1..3 {
        for &task in &tasks {
            ex.attach(task).unwrap();
        }
        finish(ex);
        assert_eq!(ran.get(), 3 * round);
    }
    destroy(ex, tasks);
}

/// Many that yield to each other, and run for longer at a time than lies between two looks: a timer of
/// a higher priority is seen at once, and not when each of them had its turn.
#[test]
fn a_look_that_is_due_is_taken_between_two_yields() {
    const LONG_NS: u64 = 300_000;
    let ex = executor(0);
    let (yields, over) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    let tasks: Vec<_> = (0..20).map(|_| new_task()).collect();
    for &task in &tasks[1..] {
        let (yields, over) = (yields.clone(), over.clone());
        set_body(task, move |task| {
            while !over.get() {
                let begun = ticks::now();
                while ticks::to_ns(ticks::now() - begun) < LONG_NS {}
                yields.set(yields.get() + 1);
                assert_eq!(Handle::<Real>::sleep(task, 0), RawResult::success(0));
            }
            RawResult::success(0)
        });
    }
    let most = Rc::new(Cell::new(0));
    let seen = most.clone();
    set_body(tasks[0], move |task| {
        // Until each has yielded before.
        while yields.get() < 40 {
            let before = yields.get();
            assert_eq!(Handle::<Real>::sleep(task, 1), RawResult::success(0));
            seen.set(seen.get().max(yields.get() - before));
        }
        over.set(true);
        RawResult::success(0)
    });
    tasks[0].head.cpu.set(0);
    for &task in &tasks {
        ex.attach(task).unwrap();
    }
    finish(ex);
    assert!((1..=2).contains(&most.get()), "{} yields before it ran", most.get());
    destroy(ex, tasks);
}

/// Launches among tasks that yield: who yields to one that has run before, as the first thing that it
/// suspends for, keeps the stack that it was launched on, too.
#[test]
fn who_yields_to_one_that_has_run_keeps_its_stack() {
    // Where time is tracked, a launch ends the items that such a yield is among.
    let kernel = RealKernel::new(&RingOptions::default()).unwrap_or_else(|e| panic!("{}", e.text));
    let ex = Handle::new(kernel, false).unwrap();
    let taken = Rc::new(RefCell::new(BTreeSet::new()));
    let launches: Vec<_> = (0..30).map(|_| new_task()).collect();
    for &task in &launches {
        let taken = taken.clone();
        set_body(task, move |task| {
            assert!(taken.borrow_mut().insert(here()), "another's, which has not returned");
            assert_eq!(Handle::<Real>::sleep(task, 0), RawResult::success(0));
            assert!(taken.borrow_mut().remove(&here()));
            RawResult::success(0)
        });
    }
    let left = Rc::new(RefCell::new(launches.clone()));
    let tasks: Vec<_> = (0..10).map(|_| new_task()).collect();
    for &task in &tasks {
        let left = left.clone();
        set_body(task, move |task| {
            loop {
                let Some(next) = left.borrow_mut().pop() else { break };
                ex.attach(next).unwrap();
                for _ in 0..3 {
                    assert_eq!(Handle::<Real>::sleep(task, 0), RawResult::success(0));
                }
            }
            RawResult::success(0)
        });
        ex.attach(task).unwrap();
    }
    finish(ex);
    assert!(left.borrow().is_empty() && taken.borrow().is_empty());
    destroy(ex, launches.into_iter().chain(tasks));
}
