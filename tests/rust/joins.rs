//! Joins across executors at their edges: an executor that goes while it is launched on, more
//! joiners than one look takes in, and who waits for whom. All on one thread, step by step.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::Handle;
use monad_async::error::{Errno, RawResult};
use monad_async::executor::grant::Caller;
use monad_async::executor::hands::Hands;
use monad_async::executor::queue::{Queue, Seat};
use monad_async::executor::remote;
use monad_async::sync::group::{Group, AT_ONCE};
use monad_async::task::annex::TaskLocal;
use monad_async::task::header::{TaskHead, TaskRef};
use monad_async::uring::kernel::{Kernel, Wait, Waker};
use monad_async::uring::RingOptions;
use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Barrier, LazyLock};
use std::thread;
use support::rng::Rng;
use support::*;

/// More than one look wakes.
const CROWD: usize = 300;

const NOTHING: RawResult = RawResult::failure(monad_async::error::Errno(libc::ENOMSG));

/// Tasks that join `other`, and what each got.
fn joiners(other: TaskRef, count: usize) -> (Vec<TaskRef>, Rc<Vec<Cell<RawResult>>>) {
    let got = Rc::new(vec![Cell::new(NOTHING); count]);
    let tasks = (0..count).map(|i| {
        let (task, got) = (new_task(), got.clone());
        set_body(task, move |task| {
            got[i].set(Handle::<Real>::join(task, other));
            RawResult::success(0)
        });
        task
    });
    (tasks.collect(), got)
}

/// As far as it goes without waiting.
fn run_dry(ex: Handle<Real>) {
    for _ in 0..CROWD {
        let _ = ex.run(usize::MAX, Some(0));
    }
}

/// A launch from elsewhere claims the task, then the executor goes, and the launch is refused. Who
/// joined that run in between is told so, and does not get the result of another.
#[test]
fn a_launch_that_is_refused_strands_no_joiner() {
    let (gone, home) = (executor(0), executor(0));
    let task = new_task();
    set_body(task, |_| RawResult::success(3));
    home.attach(task).unwrap();
    run_dry(home);
    let mailbox = gone.executor().mailbox();
    let before = remote::attach_begin(mailbox, task).unwrap();
    let (tasks, got) = joiners(task, 2);
    home.attach(tasks[0]).unwrap();
    run_dry(home); // JOIN is in the mail.
    assert!(!gone.has_work()); // It is in the task's list.
    home.attach(tasks[1]).unwrap();
    run_dry(home); // In the mail, when the executor goes.
    gone.destroy().unwrap();
    assert_eq!(remote::attach_end(mailbox, task, before), errno(libc::ESHUTDOWN));
    run_dry(home);
    for got in got.iter() {
        assert_eq!(got.get().error, libc::ESRCH);
    }
    assert!(!home.has_work());
    // As it was, and fit for the next run.
    assert_eq!(task.head.result.get(), RawResult::success(3));
    let (late, got) = joiners(task, 1);
    home.attach(late[0]).unwrap();
    run_dry(home);
    assert_eq!(got[0].get(), RawResult::success(3));
    home.attach(task).unwrap();
    run_dry(home);
    destroy(home, tasks.into_iter().chain(late).chain([task]));
}

/// An executor whose last task has exited says that it has no work, and its caller comes no more.
#[test]
fn joiners_elsewhere_are_woken_before_an_executor_has_no_work() {
    let (away, home) = (executor(0), executor(0));
    let task = new_task();
    set_body(task, |_| RawResult::success(7));
    away.attach(task).unwrap();
    let (tasks, got) = joiners(task, CROWD);
    for &task in &tasks {
        home.attach(task).unwrap();
    }
    run_dry(home);
    for _ in 0..3 {
        away.run(0, Some(0)).unwrap(); // All of them are in its list.
    }
    while away.has_work() {
        away.run(usize::MAX, Some(0)).unwrap();
    }
    run_dry(home);
    assert!(got.iter().all(|got| got.get() == RawResult::success(7)));
    destroy(away, []);
    destroy(home, tasks.into_iter().chain([task]));
}

/// A launch that waits behind more mail than one look takes in is no time-out.
#[test]
fn what_one_look_does_not_take_in_is_no_time_out() {
    let (away, home) = (executor(0), executor(0));
    let task = new_task();
    set_body(task, |task| Handle::<Real>::sleep(task, u64::MAX));
    away.attach(task).unwrap();
    away.run(usize::MAX, Some(0)).unwrap();
    let (tasks, _) = joiners(task, CROWD);
    for &task in &tasks {
        home.attach(task).unwrap();
    }
    run_dry(home);
    let late = new_task();
    set_body(late, |_| RawResult::success(0));
    remote::attach(away.executor().mailbox(), late).unwrap();
    assert_eq!(away.run(usize::MAX, Some(0)), Ok(0));
    // A slow machine takes in less at a look.
    let ran = std::iter::repeat_with(|| away.run(usize::MAX, Some(0))).find(|ran| *ran != Ok(0));
    assert_eq!(ran, Some(Ok(1)));
    assert_eq!(away.run(usize::MAX, Some(0)), errno(libc::ETIME));
    away.cancel(task).unwrap();
    run_dry(away);
    run_dry(home);
    destroy(away, [late]);
    destroy(home, tasks.into_iter().chain([task]));
}

/// Of many joiners of a run that is over, the last has not been woken when the task, launched
/// again, joins it: neither waits for ever.
#[test]
fn a_joiner_about_to_be_woken_waits_for_nobody() {
    let ex = executor(0);
    let task = new_task();
    let (tasks, got) = joiners(task, CROWD);
    let last = *tasks.last().unwrap();
    let second = Rc::new(Cell::new(NOTHING));
    let (run, joined) = (Cell::new(0), second.clone());
    set_body(task, move |task| {
        run.set(run.get() + 1);
        if run.get() == 1 {
            Handle::<Real>::sleep(task, 0); // Until all of them wait.
        } else {
            joined.set(Handle::<Real>::join(task, last));
        }
        RawResult::success(run.get())
    });
    // The first to be woken launches it again, ahead of all.
    let (first, again) = (tasks[0], got.clone());
    set_body(first, move |first| {
        again[0].set(Handle::<Real>::join(first, task));
        ex.executor().set_priorities(task, 0, 1);
        ex.attach(task).unwrap();
        RawResult::success(0)
    });
    ex.attach(task).unwrap();
    for &task in &tasks {
        ex.attach(task).unwrap();
    }
    // So that one pass has room for more than the exit.
    let others: Vec<_> = (0..10).map(|_| new_task()).collect();
    for &other in &others {
        set_body(other, |other| {
            (0..9).for_each(|_| _ = Handle::<Real>::sleep(other, 0));
            RawResult::success(0)
        });
        ex.executor().set_priorities(other, 2, 1);
        ex.attach(other).unwrap();
    }
    run_dry(ex);
    assert_eq!(second.get(), RawResult::success(0));
    assert!(got.iter().all(|got| got.get() == RawResult::success(1)));
    destroy(ex, tasks.into_iter().chain(others).chain([task]));
}

/// One look wakes so many of those who joined a task; who joins the next one, alone, is woken behind
/// those that are left, and not at once.
#[test]
fn a_joiner_of_the_next_exit_is_woken_behind_those_that_are_left_of_many() {
    let ex = executor(0);
    let order = Rc::new(RefCell::new(Vec::new()));
    let [many, one] = [new_task(), new_task()];
    for task in [many, one] {
        set_body(task, |task| Handle::<Real>::sleep(task, 0)); // Until all of them wait.
    }
    let joins = |number: usize, other| {
        let (task, order) = (new_task(), order.clone());
        set_body(task, move |task| {
            let r = Handle::<Real>::join(task, other);
            order.borrow_mut().push(number);
            r
        });
        task
    };
    let mut tasks = vec![many];
    tasks.extend((0..CROWD).map(|number| joins(number, many)));
    tasks.extend([one, joins(CROWD, one)]);
    for &task in &tasks {
        ex.attach(task).unwrap();
    }
    run_dry(ex);
    assert!(order.borrow().iter().copied().eq(0..=CROWD), "{:?}", order.borrow());
    destroy(ex, tasks);
}

/// Who is told of an exit may end other tasks that wait to be launched, and is no task itself.
#[test]
fn an_exit_hook_may_cancel_and_does_not_suspend() {
    use core::ffi::c_void;
    use monad_async::api::Handle as H;
    use std::cell::RefCell;

    struct Told {
        ex: H<Real>,
        others: RefCell<Vec<TaskRef>>,
        log: RefCell<Vec<i32>>,
    }
    unsafe extern "C" fn on_exit(of: *const c_void, task: TaskRef, result: RawResult, _: u64) {
        // SAFETY: what the hook was written with.
        let told = unsafe { &*of.cast::<Told>() };
        told.log.borrow_mut().push(result.error);
        assert!(told.ex.executor().current_task().is_none());
        assert_eq!(H::<Real>::sleep(task, 0).error, libc::EPERM);
        let next = told.others.borrow_mut().pop();
        if let Some(next) = next {
            told.ex.cancel(next).unwrap();
        }
    }
    let ex = executor(0);
    let tasks: Vec<_> = (0..5).map(|_| new_task()).collect();
    let others = tasks[1..].to_vec();
    let told = Told { ex, others: others.into(), log: RefCell::default() };
    for &task in &tasks {
        set_body(task, |_| RawResult::success(0));
        // SAFETY: `told` is there until all have exited.
        unsafe { ex.executor().attach_hooked(task, on_exit, (&raw const told).cast()) }.unwrap();
    }
    while ex.has_work() {
        ex.run(usize::MAX, Some(0)).unwrap();
    }
    let canceled = libc::ECANCELED;
    assert_eq!(*told.log.borrow(), [0, canceled, canceled, canceled, canceled]);
    destroy(ex, tasks);
}

/// `monad_async_task_local`.
#[repr(C)]
struct Local {
    next: *const TaskLocal,
    /// Its task.
    key: *const TaskHead,
    destroy: unsafe extern "C" fn(*const TaskLocal),
}

unsafe extern "C" fn yields(local: *const TaskLocal) {
    // SAFETY: a record of ours, of the task that runs.
    let task = unsafe { TaskRef::from_head((*local.cast::<Local>()).key) };
    assert_eq!(Handle::<Real>::sleep(task, 0), RawResult::success(0));
}

/// The join of a run comes to be looked at once the next one has returned, and ends what it has of
/// its own: it got the next one's result.
#[test]
fn a_join_that_meets_the_next_run_at_its_end_gets_its_own_result() {
    // Without time tracking: no look comes early, however long the first run takes.
    let ex = Handle::new(Real::new(&RingOptions::default()).unwrap(), false).unwrap();
    let (task, again, third) = (new_task(), new_task(), new_task());
    task.head.cpu.set(0); // Launched again, it is the next.
    let (asks, asked) = mpsc::channel();
    let at = Shared(task);
    let joined = thread::spawn(move || {
        let (home, task) = (executor(0), at.get());
        let (joiners, got) = joiners(task, 1);
        home.attach(joiners[0]).unwrap();
        asks.send(()).unwrap();
        while home.has_work() {
            home.run(usize::MAX, None).unwrap();
        }
        destroy(home, joiners);
        got[0].get()
    });
    let mut local = Local { next: ptr::null(), key: task.as_head(), destroy: yields };
    let mut run = 0;
    set_body(task, move |me| {
        run += 1;
        if run == 1 {
            asked.recv().unwrap();
            while !ex.executor().has_mail() {
                thread::yield_now();
            }
        } else {
            let at = (&raw mut local).cast::<TaskLocal>();
            // SAFETY: a record of that kind, which stays until it has ended.
            Handle::<Real>::add_local(me, unsafe { &*at }).unwrap();
        }
        RawResult::success(run)
    });
    set_body(again, move |_| {
        ex.attach(task).unwrap();
        RawResult::success(0)
    });
    set_body(third, |_| RawResult::success(0));
    for task in [task, again, third] {
        ex.attach(task).unwrap();
    }
    // The first run, and the second until it yields at its end: with no look in between.
    assert_eq!(ex.run(usize::MAX, Some(0)), Ok(3));
    assert!(task.is_attached());
    run_dry(ex);
    assert_eq!(joined.join().unwrap(), RawResult::success(1));
    assert!(!ex.has_work());
    destroy(ex, [task, again, third]);
}

/// Its clock goes on when the test says so, and it does not wait.
struct Stepped(Rc<Cell<u64>>);

const WOULD_SLEEP: Errno = Errno(libc::EACCES);

impl Kernel for Stepped {
    without_ring!();
    fn enter(&self, wait: Wait) -> Result<(), Errno> {
        if wait == Wait::No {
            Ok(())
        } else {
            Err(WOULD_SLEEP)
        }
    }
    fn now_boot_ns(&self) -> u64 {
        self.0.get()
    }
    fn stamp(&self) -> u64 {
        self.0.get()
    }
    fn ns_since(&self, stamp: u64) -> u64 {
        self.0.get() - stamp
    }
    fn look_ticks() -> u64 {
        u64::MAX
    }
    fn waker(&self) -> Waker {
        Waker::of_eventfd(-1)
    }
}

/// Where the task is that is joined.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Here,
    Elsewhere,
    /// In the queue of a pool, whose worker is the other executor.
    Queue,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    HerePasses,
    TherePasses,
    Finish,
    Again,
    Cancel,
    CancelOther,
    TimePasses,
}

const ACTS: [Act; 10] = [
    Act::HerePasses,
    Act::HerePasses,
    Act::TherePasses,
    Act::TherePasses,
    Act::Finish,
    Act::Finish,
    Act::Again,
    Act::Cancel,
    Act::CancelOther,
    Act::TimePasses,
];

/// Two executors, a task here that joins another, and what became of both.
struct Pair {
    clock: Rc<Cell<u64>>,
    here: Handle<Stepped>,
    there: Handle<Stepped>,
    seat: Seat,
    place: Place,
    joiner: TaskRef,
    other: TaskRef,
    /// Of each run of the other; None: it is not over, or was never begun.
    ends: Rc<RefCell<Vec<RawResult>>>,
    /// The run that was meant, and what the join gave.
    meant: Rc<Cell<usize>>,
    got: Rc<Cell<RawResult>>,
    finish: Rc<Cell<bool>>,
}

const DEADLINE_NS: u64 = 1000;
const CANCELED: RawResult = RawResult::failure(Errno(libc::ECANCELED));

fn is_idle(task: TaskRef) -> bool {
    !task.is_attached() && !task.is_queued()
}

impl Pair {
    fn new(place: Place, is_timed: bool, crosses: bool) -> Self {
        static QUEUE: LazyLock<Queue> = LazyLock::new(Queue::new);
        let clock = Rc::new(Cell::new(1));
        let [here, there] = [0, 1].map(|_| Handle::new(Stepped(clock.clone()), true).unwrap());
        QUEUE.open(true);
        QUEUE.add_worker();
        let seat = Seat::new(&QUEUE, there.executor().mailbox(), Hands::new(64 << 10));
        let (joiner, other) = (new_task(), new_task());
        let ends = Rc::new(RefCell::new(Vec::new()));
        let meant = Rc::new(Cell::new(0));
        let (got, finish) = (Rc::new(Cell::new(NOTHING)), Rc::new(Cell::new(false)));
        let (runs, run, out) = (ends.clone(), meant.clone(), got.clone());
        set_body(joiner, move |task| {
            let mut scope = MaybeUninit::uninit();
            let timeout_ns = if is_timed { DEADLINE_NS } else { u64::MAX };
            run.set(runs.borrow().len() - 1);
            // SAFETY: in place until it is left.
            unsafe {
                Handle::<Stepped>::enter_scope(task, scope.as_mut_ptr(), timeout_ns, 0).unwrap();
                out.set(Handle::<Stepped>::join(task, other));
                Handle::<Stepped>::leave_scope(task, scope.as_ptr()).unwrap();
            }
            RawResult::success(7)
        });
        let (runs, ends_now) = (ends.clone(), finish.clone());
        set_body(other, move |task| {
            let mut ended = RawResult::success(0);
            if crosses {
                ended = Handle::<Stepped>::join(task, joiner);
            }
            while !crosses && !ends_now.get() && ended.error == 0 {
                ended = Handle::<Stepped>::park(task);
            }
            ends_now.set(false);
            let run = runs.borrow().len() - 1;
            if ended.error == 0 {
                ended = RawResult::success(100 + run as isize);
            }
            runs.borrow_mut()[run] = ended;
            ended
        });
        let pair =
            Self { clock, here, there, seat, place, joiner, other, ends, meant, got, finish };
        pair.begin();
        pair.here.attach(joiner).unwrap();
        pair
    }

    /// The other one's next run. Cancelled before it begins, that ends so.
    fn begin(&self) {
        self.ends.borrow_mut().push(CANCELED);
        match self.place {
            Place::Here => self.here.attach(self.other).unwrap(),
            Place::Elsewhere => self.there.attach(self.other).unwrap(),
            Place::Queue => self.seat.queue().submit(self.other, || 0).unwrap(),
        }
    }

    fn there_passes(&self) {
        match self.there.executor().run_fed(&self.seat) {
            Ok(()) | Err(WOULD_SLEEP) => {}
            Err(e) => panic!("{e}"),
        }
    }

    fn here_passes(&self) {
        let _ = self.here.run(usize::MAX, Some(0));
    }

    fn pass(&self) {
        for _ in 0..4 {
            self.here_passes();
            self.there_passes();
        }
    }
}

/// A task joins another, that is here, on another executor, or in a pool's queue, in which it may be
/// again, or joins the first; cancels of either and a deadline cross, in any order of what the two
/// executors do. The join gives the result of the run that was meant, or what ended it by then; and it
/// ends nobody but who joins.
#[test]
fn joins_here_elsewhere_and_in_a_queue_crossed_with_stops() {
    const PROGRAMS: u64 = 12_000;
    let mut seen = [0; 6];
    for seed in 0..PROGRAMS {
        let r = &mut Rng::new(seed, 3);
        let place = r.pick(&[Place::Here, Place::Elsewhere, Place::Queue, Place::Queue]);
        let (is_timed, crosses) = (r.one_in(3), r.one_in(4));
        let pair = Pair::new(place, is_timed, crosses);
        let (joiner, other) = (pair.joiner, pair.other);
        let (mut is_canceled, mut is_other_canceled) = (false, false);
        let mut acts = Vec::new();
        for _ in 0..r.below(14) {
            let act = r.pick(&ACTS);
            acts.push(act);
            match act {
                Act::HerePasses => pair.here_passes(),
                Act::TherePasses => pair.there_passes(),
                Act::Finish => {
                    pair.finish.set(true);
                    assert_eq!(Handle::<Stepped>::unpark(other).error, 0);
                }
                Act::Again if is_idle(other) && !crosses => pair.begin(),
                Act::Again => {}
                Act::Cancel => is_canceled |= Handle::<Stepped>::cancel_anywhere(joiner).is_ok(),
                Act::CancelOther => {
                    is_other_canceled |= Handle::<Stepped>::cancel_anywhere(other).is_ok();
                }
                Act::TimePasses => pair.clock.set(pair.clock.get() + DEADLINE_NS),
            }
        }
        let what = || format!("seed {seed}, {place:?}, {is_timed}, {crosses}: {acts:?}");
        pair.pass();
        if is_timed {
            pair.clock.set(pair.clock.get() + DEADLINE_NS + DEADLINE_NS / 100);
            pair.pass();
        }
        // What was stopped goes on by itself.
        assert!(is_idle(joiner) || !(is_canceled || is_timed), "it waits on: {}", what());
        pair.finish.set(true);
        assert_eq!(Handle::<Stepped>::unpark(other).error, 0);
        pair.pass();
        assert!(is_idle(joiner) && is_idle(other), "they wait: {}", what());
        let (got, ends) = (pair.got.get(), pair.ends.borrow());
        let meant = ends[pair.meant.get()];
        // Never begun: it was cancelled before.
        let began = got != NOTHING;
        assert!(began || joiner.head.result.get() == CANCELED, "{}", what());
        let is_last = pair.meant.get() + 1 == ends.len();
        let fits = !began
            || got == meant
            || (got.error == libc::ECANCELED && is_canceled)
            || (got.error == libc::ETIME && is_timed)
            || (got.error == libc::ESRCH && !is_last)
            || (got.error == libc::EDEADLK && crosses);
        assert!(fits, "{got:?}, {meant:?} was meant: {}", what());
        for end in ends.iter().filter(|end| end.error != 0) {
            let fits = match end.error {
                libc::ECANCELED => is_other_canceled || (crosses && is_canceled),
                error => error == libc::EDEADLK && crosses,
            };
            assert!(fits, "{end:?} of the other: {}", what());
        }
        let is_told = got.error == libc::EDEADLK || ends[0].error == libc::EDEADLK;
        seen[0] += usize::from(is_told && place != Place::Here);
        seen[1] += usize::from(got == meant && place == Place::Queue && got.error == 0);
        seen[2] += usize::from(got == meant && place == Place::Elsewhere && got.error == 0);
        seen[3] += usize::from(got.error == libc::ECANCELED && got != meant);
        seen[4] += usize::from(got.error == libc::ETIME);
        seen[5] += usize::from(got.error == libc::EDEADLK);
        drop(ends);
        pair.seat.queue().close(true);
        while !pair.seat.is_leaving() {
            pair.there_passes();
        }
        pair.seat.queue().leave(&pair.seat);
        assert_eq!(pair.seat.queue().counts(), (0, 0));
        destroy(pair.here, [joiner, other]);
        pair.there.destroy().unwrap();
        pair.seat.queue().remove_worker();
    }
    assert!(seen.iter().all(|&times| times > 10), "not seen: {seen:?}");
}

/// Tasks on several executors, each of which joins one, and what became of it.
struct Crew {
    clock: Rc<Cell<u64>>,
    executors: Vec<Handle<Stepped>>,
    tasks: Vec<TaskRef>,
    /// Whom each joins.
    whom: Vec<usize>,
    /// Those that have called, in that order.
    order: Rc<RefCell<Vec<usize>>>,
    got: Rc<Vec<Cell<RawResult>>>,
    canceled: Rc<RefCell<Vec<usize>>>,
    /// Somebody was refused for a ring of which one had been cancelled.
    is_late: Rc<Cell<bool>>,
}

impl Crew {
    fn new(r: &mut Rng) -> Self {
        let clock = Rc::new(Cell::new(1));
        let number = 1 + r.below(3);
        let executors: Vec<_> =
            (0..number).map(|_| Handle::new(Stepped(clock.clone()), true).unwrap()).collect();
        let tasks: Vec<_> = (0..2 + r.below(5)).map(|_| new_task()).collect();
        let whom: Vec<_> = tasks.iter().map(|_| r.below(tasks.len() as u32) as usize).collect();
        let order = Rc::new(RefCell::new(Vec::new()));
        let got = Rc::new(vec![Cell::new(NOTHING); tasks.len()]);
        let (canceled, is_late) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(false)));
        for (i, &task) in tasks.iter().enumerate() {
            let (other, order, got) = (tasks[whom[i]], order.clone(), got.clone());
            let (whom, canceled, is_late) = (whom.clone(), canceled.clone(), is_late.clone());
            set_body(task, move |task| {
                order.borrow_mut().push(i);
                got[i].set(Handle::<Stepped>::join(task, other));
                let chain = std::iter::successors(Some(i), |&task| Some(whom[task]));
                let has = |task: &usize| canceled.borrow().contains(task);
                if got[i].get().error == libc::EDEADLK && chain.take(whom.len()).any(|t| has(&t)) {
                    is_late.set(true);
                }
                RawResult::success(i as isize)
            });
            executors[r.below(number) as usize].attach(task).unwrap();
        }
        Self { clock, executors, tasks, whom, order, got, canceled, is_late }
    }

    /// Those that would wait for themselves, through others, as each ring's.
    fn rings(&self) -> Vec<Vec<usize>> {
        let ring = |from: usize| {
            let mut ring = vec![from];
            let mut next = self.whom[from];
            while next != from && ring.len() <= self.whom.len() {
                ring.push(next);
                next = self.whom[next];
            }
            (next == from && ring.iter().min() == Some(&from)).then_some(ring)
        };
        (0..self.whom.len()).filter_map(ring).collect()
    }
}

/// Tasks on up to three executors join each other as it comes, in any order of what those do: of each
/// ring the last to join is refused, and nobody else. Where some are cancelled it is one at most, and
/// whoever is left over ends.
#[test]
fn of_each_ring_of_joins_the_last_is_refused_on_any_executors() {
    const PROGRAMS: u64 = 6_000;
    // Rings on one executor, on two and on three; of three tasks and more; and with a cancel.
    let mut seen = [0; 5];
    for seed in 0..PROGRAMS {
        let r = &mut Rng::new(seed, 4);
        let crew = Crew::new(r);
        let homes: Vec<_> = crew.tasks.iter().map(|task| task.executor()).collect();
        let mut cancels = if r.one_in(3) { 1 + r.below(2) } else { 0 };
        let is_calm = cancels == 0;
        for _ in 0..40 {
            let _ = r.pick(&crew.executors).run(1 + r.below(2) as usize, Some(0));
            if cancels != 0 && r.one_in(6) {
                cancels -= 1;
                let canceled = r.below(crew.tasks.len() as u32) as usize;
                crew.canceled.borrow_mut().push(canceled);
                let _ = Handle::<Stepped>::cancel_anywhere(crew.tasks[canceled]);
            }
        }
        for _ in 0..8 {
            for ex in &crew.executors {
                let _ = ex.run(usize::MAX, Some(0));
            }
        }
        let what =
            || format!("seed {seed}: {:?} in the order {:?}", crew.whom, crew.order.borrow());
        let order = crew.order.borrow();
        let is_refused = |task: usize| crew.got[task].get().error == libc::EDEADLK;
        assert!(crew.tasks.iter().all(|&task| is_idle(task)), "they wait: {}", what());
        let rings = crew.rings();
        for ring in &rings {
            let last = order.iter().rev().find(|task| ring.contains(task));
            let refused: Vec<_> = ring.iter().filter(|&&task| is_refused(task)).collect();
            if is_calm {
                assert_eq!(refused, [last.unwrap()], "{}", what());
                let mut on: Vec<_> = ring.iter().map(|&task| homes[task]).collect();
                on.sort_unstable();
                on.dedup();
                seen[on.len() - 1] += usize::from(ring.len() > 1);
                seen[3] += usize::from(ring.len() > 2 && on.len() > 1);
            } else {
                assert!(refused.len() <= 1, "{}", what());
                seen[4] += 1 - refused.len();
            }
        }
        assert!(!crew.is_late.get(), "a ring with one that was cancelled: {}", what());
        let in_none = |task: &usize| !rings.iter().flatten().any(|member| member == task);
        let stray = (0..crew.tasks.len()).filter(in_none).find(|&task| is_refused(task));
        assert_eq!(stray, None, "{}", what());
        drop(order);
        crew.executors.iter().for_each(|ex| assert!(!ex.has_work(), "{}", what()));
        crew.clock.set(crew.clock.get() + 1);
        destroy(crew.executors[0], crew.tasks);
        crew.executors[1..].iter().for_each(|ex| ex.destroy().unwrap());
    }
    assert!(seen.iter().all(|&times| times > 10), "not seen: {seen:?}");
}

/// Two and three threads, a task each that joins the next one's, at the same moment: one is refused,
/// and all end.
#[test]
fn of_tasks_on_threads_that_join_each_other_at_once_one_is_refused() {
    const ROUNDS: usize = 500;
    for threads in [2, 3] {
        let tasks: Vec<_> = (0..threads).map(|_| new_task()).collect();
        let barrier = Arc::new(Barrier::new(threads));
        let refused = Arc::new(AtomicUsize::new(0));
        let on_thread = |i: usize| {
            let (barrier, refused) = (barrier.clone(), refused.clone());
            let (mine, other) = (Shared(tasks[i]), Shared(tasks[(i + 1) % threads]));
            thread::spawn(move || {
                let (ex, mine, other) = (executor(0), mine.get(), other.get());
                let told = refused.clone();
                set_body(mine, move |task| {
                    let got = Handle::<Real>::join(task, other);
                    assert!([0, libc::EDEADLK].contains(&got.error), "{got:?}");
                    told.fetch_add(usize::from(got.error != 0), Ordering::Relaxed);
                    RawResult::success(0)
                });
                for round in 1..=ROUNDS {
                    ex.attach(mine).unwrap();
                    barrier.wait();
                    while ex.has_work() {
                        ex.run(usize::MAX, None).unwrap();
                    }
                    barrier.wait();
                    assert_eq!(refused.load(Ordering::Relaxed), round);
                    barrier.wait();
                }
                destroy(ex, []);
            })
        };
        let all: Vec<_> = (0..threads).map(on_thread).collect();
        all.into_iter().for_each(|thread| thread.join().unwrap());
        tasks.into_iter().for_each(destroy_task);
    }
}

/// A word says of whom a task joins 54 bits of the number of its run. Who has gone on joins nobody,
/// when that one is so many runs further.
#[test]
fn who_joined_many_runs_ago_joins_nobody() {
    let (here, there) = (executor(0), executor(0));
    let [waits, runs] = [new_task(), new_task()];
    set_body(runs, |task| Handle::<Real>::sleep(task, 0));
    set_body(waits, move |task| {
        assert_eq!(Handle::<Real>::join(task, runs), RawResult::success(0));
        Handle::<Real>::park(task)
    });
    here.attach(runs).unwrap();
    there.attach(waits).unwrap();
    [there, here, there].into_iter().for_each(run_dry);
    assert!(runs.has_exited() && waits.is_attached());
    runs.run.fetch_add((1 << 54) - 1, Ordering::Relaxed);
    let got = Rc::new(Cell::new(NOTHING));
    let joined = got.clone();
    set_body(runs, move |task| {
        joined.set(Handle::<Real>::join(task, waits));
        RawResult::success(0)
    });
    here.attach(runs).unwrap();
    run_dry(here);
    assert_eq!(got.get(), NOTHING, "it waits");
    assert_eq!(Handle::<Real>::unpark(waits).error, 0);
    [there, here].into_iter().for_each(run_dry);
    assert_eq!(got.get(), RawResult::success(0));
    destroy(here, [runs]);
    destroy(there, [waits]);
}

/// The same while who joined has not gone on, its executor being late: its word is that of the run
/// before, and of the number the lower bits are those of this one. Of a header that the kernel forgot
/// they are so at once.
#[test]
fn who_joined_a_run_of_a_like_number_is_not_waited_for() {
    for further in [1_u64 << 22, 1 << 32, 1 << 40] {
        for joined_here in [false, true] {
            let (here, there) = (executor(0), executor(0));
            let [waits, runs] = [new_task(), new_task()];
            set_body(runs, |task| Handle::<Real>::sleep(task, 0));
            set_body(waits, move |task| Handle::<Real>::join(task, runs));
            // Who joins here is woken in the pass in which the run ends, and not run in it.
            let first = if joined_here { there } else { here };
            first.attach(runs).unwrap();
            there.attach(waits).unwrap();
            there.run(usize::MAX, Some(0)).unwrap();
            while !runs.has_exited() {
                first.run(1, Some(0)).unwrap();
            }
            assert!(waits.is_attached(), "it has not gone on");
            runs.run.fetch_add(further - 1, Ordering::Relaxed);
            let got = Rc::new(Cell::new(NOTHING));
            let joined = got.clone();
            set_body(runs, move |task| {
                joined.set(Handle::<Real>::join(task, waits));
                RawResult::success(0)
            });
            here.attach(runs).unwrap();
            run_dry(here);
            assert_eq!(got.get(), NOTHING, "{further} {joined_here}: it waits");
            [there, here].into_iter().for_each(run_dry);
            assert_eq!(got.get(), RawResult::success(0));
            destroy(here, [runs]);
            destroy(there, [waits]);
        }
    }
}

/// Of a group that has its children in a row: those that are its own are cancelled, and no others.
#[test]
fn children_that_come_at_once_are_cancelled_by_their_row() {
    let ex = executor(0);
    let [sleeps, leaves, waits] = [new_task(), new_task(), new_large_task()];
    set_body(sleeps, Handle::<Real>::park);
    set_body(leaves, |_| RawResult::success(0));
    set_body(waits, move |task| {
        let group = Group::<monad_async::uring::RealKernel>::new(ex.executor(), AT_ONCE);
        let row = [sleeps.as_head(), leaves.as_head()];
        // SAFETY: both live until they have exited, as does the row.
        unsafe {
            assert_eq!(group.spawn_many(&row), (2, Ok(())));
            assert_eq!(group.spawn_many(&row), (0, Err(Errno(libc::EBUSY))));
        }
        assert_eq!(group.spawn(waits), Err(Errno(libc::EINVAL)));
        Handle::<Real>::sleep(task, 0);
        // It is its own master now.
        assert!(leaves.has_exited());
        set_body(leaves, Handle::<Real>::park);
        ex.attach(leaves).unwrap();
        Handle::<Real>::sleep(task, 0);
        group.cancel().unwrap();
        group.wait(&Caller::task(ex.executor(), task)).unwrap()
    });
    ex.attach(waits).unwrap();
    run_dry(ex);
    assert!(waits.has_exited() && sleeps.has_exited(), "it waits");
    assert_eq!(waits.head.result.get().error, libc::ECANCELED);
    assert!(leaves.is_attached());
    assert_eq!(Handle::<Real>::unpark(leaves).error, 0);
    run_dry(ex);
    assert_eq!(leaves.head.result.get(), RawResult::success(0));
    destroy(ex, [sleeps, leaves, waits]);
}
