//! Programs of which more is due at a time than one look takes in: hundreds of launches by mail,
//! sleepers, completions, joiners, cancels from other threads. A seed in many thousand is one of
//! these. What each pass runs, and in which order, follows from how much a look takes in of each.

use crate::rng::Rng;
use crate::world::fail;
use monad_async::api::{self, Handle};
use monad_async::error::{Errno, RawResult, Res};
use monad_async::executor::remote;
use monad_async::stack::pool;
use monad_async::task::header::{TaskHead, TaskRef};
use monad_async::uring::kernel::{op, Cqe, Kernel, Sqe, Wait, Waker};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// What one look takes in of a kind, what it takes in of cancels by name, and of how much mail it
/// finds out the order.
const BUDGET: usize = 256;
const NAMED: usize = 64;
const TURNED: usize = 1024;
/// Items between two looks.
const BOUND: usize = 64;

const NEVER_NS: u64 = u64::MAX;
const LATE_NS: u64 = 1_000_000;

/// Few, and none before the others have found the bugs that are theirs to find.
pub fn is_one(seed: u64) -> bool {
    seed % 16384 == 16001
}

/// In the order in which they come.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    Launch,
    Sleep,
    Operate,
    Join,
    Cancel,
}

struct Crowd {
    seed: u64,
    clock_ns: Cell<u64>,
    entries: RefCell<VecDeque<u64>>,
    /// Completed, and whether that shows.
    done: RefCell<VecDeque<u64>>,
    shows: Cell<bool>,
    /// Who went on, in that order.
    went_on: RefCell<Vec<usize>>,
    deadlines: RefCell<Vec<u64>>,
    /// Who is joined by all the others.
    joined: Cell<Option<TaskRef>>,
    /// The model: who is due, who is ready, how much of the mail has no order yet, whether those
    /// with names are among who is due.
    due: RefCell<VecDeque<usize>>,
    ready: RefCell<[VecDeque<usize>; 3]>,
    unturned: Cell<usize>,
    named: Cell<bool>,
    levels: Vec<usize>,
}

struct Place {
    crowd: &'static Crowd,
    index: usize,
}

struct CrowdKernel(&'static Crowd);

impl Kernel for CrowdKernel {
    fn has_ring(&self) -> bool {
        true
    }
    fn sq_space(&self) -> u32 {
        4096
    }
    fn sq_pending(&self) -> u32 {
        self.0.entries.borrow().len() as u32
    }
    unsafe fn push(&self, sqe: &Sqe) {
        self.0.entries.borrow_mut().push_back(sqe.user_data());
    }
    fn pop(&self) -> Option<Cqe> {
        let mut done = self.0.done.borrow_mut();
        let user_data = if self.0.shows.get() { done.pop_front()? } else { return None };
        Some(Cqe { user_data, res: 0, flags: 0 })
    }
    fn has_run(&self) -> bool {
        self.0.shows.get() && (self.0.seed / 16384).is_multiple_of(2)
    }
    fn take_run(&self, max: usize, take: impl FnOnce(&[Cqe]) -> usize) -> usize {
        let mut done = self.0.done.borrow_mut();
        let side = done.len().min(max);
        let all = done.iter().take(side);
        let all: Vec<_> = all.map(|&user_data| Cqe { user_data, res: 0, flags: 0 }).collect();
        let taken = take(&all);
        done.drain(..taken);
        taken
    }
    fn needs_enter(&self) -> bool {
        false
    }
    fn enter(&self, wait: Wait) -> Result<(), Errno> {
        self.0.done.borrow_mut().append(&mut self.0.entries.borrow_mut());
        match wait {
            Wait::No => Ok(()),
            _ => fail(self.0.seed, &format!("sleeps ({wait:?}) with some of a crowd due")),
        }
    }
    fn now_boot_ns(&self) -> u64 {
        self.0.clock_ns.get()
    }
    fn waker(&self) -> Waker {
        Waker::of_eventfd(-1)
    }
}

type Sim = Handle<CrowdKernel>;

unsafe extern "C" fn body(head: *const TaskHead) -> RawResult {
    // SAFETY: the executor passes the handle of the task that runs; set when it was made.
    let (task, place) = unsafe {
        let task = TaskRef::from_head(head);
        (task, &*task.head.user_ptr.get().cast::<Place>())
    };
    let (crowd, i) = (place.crowd, place.index);
    let goes_on = || crowd.went_on.borrow_mut().push(i);
    goes_on();
    let mut results = vec![Sim::sleep_until(task, crowd.deadlines.borrow()[i])];
    goes_on();
    // SAFETY: refers to no memory.
    results.push(unsafe { Sim::io(task, &Sqe::new(op::NOP, -1, 0, 0, 0, 0)) });
    goes_on();
    if crowd.joined.get() == Some(task) {
        results.push(Sim::sleep_until(task, LATE_NS));
        return RawResult::success(7);
    }
    results.extend(crowd.joined.get().map(|joined| Sim::join(task, joined)));
    goes_on();
    let canceled = Sim::sleep(task, NEVER_NS).error;
    goes_on();
    let expected = [0, 0, 7].map(RawResult::success);
    if results != expected || canceled != libc::ECANCELED {
        crowd.wrong(&format!("task {i} of a crowd gets {results:?}, {canceled}"));
    }
    RawResult::success(0)
}

impl Crowd {
    fn wrong(&self, text: &str) -> ! {
        fail(self.seed, text)
    }

    fn make_ready(&self, i: usize) {
        self.ready.borrow_mut()[self.levels[i]].push_back(i);
    }

    fn is_any_ready(&self) -> bool {
        self.ready.borrow().iter().any(|level| !level.is_empty())
    }

    /// The model's look: of each kind of what is due there is one at a time.
    fn look(&self) {
        let more = self.unturned.get() > TURNED;
        self.unturned.set(self.unturned.get().saturating_sub(TURNED));
        let most = if more { 0 } else { BUDGET } + if self.named.take() { NAMED } else { 0 };
        self.take(most);
    }

    fn take(&self, most: usize) {
        let mut due = self.due.borrow_mut();
        let count = most.min(due.len());
        due.drain(..count).for_each(|i| self.make_ready(i));
    }

    /// The model's pass. It is told who goes on, and what `run` returns.
    fn pass(&self, max: usize, waits: bool, mut goes_on: impl FnMut(usize)) -> Res<usize> {
        self.look();
        while max != 0 && !self.is_any_ready() {
            if !waits {
                let over = self.due.borrow().is_empty() && self.unturned.get() == 0;
                return if over { Err(Errno(libc::ETIME)) } else { Ok(0) };
            }
            self.look();
        }
        let items = self.ready.borrow().iter().map(VecDeque::len).sum::<usize>().min(max);
        for ran in 0..items {
            if ran != 0 && ran % BOUND == 0 {
                self.look();
            }
            let next = self.ready.borrow_mut().iter_mut().find_map(VecDeque::pop_front);
            next.into_iter().for_each(&mut goes_on);
        }
        Ok(items)
    }

    /// Passes until all that is due has gone on; in which order.
    fn play(&self, ex: Sim, r: &mut Rng, phase: Phase) -> Vec<usize> {
        let mut all = Vec::new();
        for round in 0.. {
            let is_due = !self.due.borrow().is_empty();
            if !is_due && !self.is_any_ready() {
                break;
            }
            let max = r.pick(&[0, 1, 3, 64, 65, 300, usize::MAX]);
            let waits = r.one_in(3);
            self.went_on.take();
            let ran = ex.run(max, if waits { None } else { Some(0) });
            let mut expected = Vec::new();
            let due = self.pass(max, waits, |i| expected.push(i));
            if ran != due {
                self.wrong(&format!("a pass of a crowd, {phase:?}: {ran:?}, {due:?} were to run"));
            }
            if *self.went_on.borrow() != expected {
                self.wrong(&format!("some of a crowd, {phase:?}, go on in another order"));
            }
            all.append(&mut expected);
            if round > 100_000 {
                self.wrong("a crowd does not end");
            }
        }
        all
    }

    fn is_due(&self, who: impl IntoIterator<Item = usize>) {
        self.due.borrow_mut().extend(who);
    }
}

/// Plays the program of that seed.
pub fn play(seed: u64) {
    let mut r = Rng::new(seed, 3);
    let n = r.pick(&[300, 700, 1500]) + r.below(100) as usize;
    let window = r.pick(&[1, 100]);
    let crowd: &Crowd = Box::leak(Box::new(Crowd {
        seed,
        clock_ns: Cell::new(1),
        entries: RefCell::default(),
        done: RefCell::default(),
        shows: Cell::new(false),
        went_on: RefCell::default(),
        deadlines: RefCell::new((0..n).map(|_| 1000 + u64::from(r.below(window))).collect()),
        joined: Cell::new(None),
        due: RefCell::default(),
        ready: RefCell::default(),
        unturned: Cell::new(0),
        named: Cell::new(false),
        levels: (0..n).map(|_| r.pick(&[0, 1, 1, 1, 2])).collect(),
    }));
    let ex = Handle::new(CrowdKernel(crowd), false).expect("memory for an executor");
    let tasks: Vec<TaskRef> = (0..n)
        .map(|index| {
            let task = api::create_task(16 << 10).expect("memory for a task");
            task.head.user_code.set(Some(body));
            let place = Box::into_raw(Box::new(Place { crowd, index }));
            task.head.user_ptr.set(place.cast());
            task.head.cpu.set(crowd.levels[index] as u8);
            task
        })
        .collect();
    let joined = r.below(n as u32) as usize;
    crowd.joined.set(Some(tasks[joined]));
    // Other threads launch them.
    for &task in &tasks {
        let posted = remote::attach(ex.executor().mailbox(), task);
        posted.unwrap_or_else(|e| crowd.wrong(&format!("an attach is refused: {e:?}")));
    }
    crowd.unturned.set(n);
    crowd.is_due(0..n);
    let launched = crowd.play(ex, &mut r, Phase::Launch);
    // They sleep, and all are late.
    crowd.clock_ns.set(LATE_NS - 1);
    let mut by_deadline = launched;
    by_deadline.sort_by_key(|&i| crowd.deadlines.borrow()[i]);
    crowd.is_due(by_deadline);
    let woken = crowd.play(ex, &mut r, Phase::Sleep);
    // They operate, and all is complete.
    crowd.shows.set(true);
    crowd.is_due(woken);
    let mut joiners = crowd.play(ex, &mut r, Phase::Operate);
    // They join one, which ends.
    joiners.retain(|&i| i != joined);
    crowd.clock_ns.set(LATE_NS);
    let ended = ex.run(usize::MAX, Some(0));
    if ended != Ok(1) {
        crowd.wrong(&format!("who is joined by a crowd: {ended:?}, 1 were to run"));
    }
    crowd.is_due(joiners.iter().copied());
    crowd.take(BUDGET); // By its exit.
    crowd.play(ex, &mut r, Phase::Join);
    // Other threads cancel them: some by their names, the rest by marks.
    for i in (1..joiners.len()).rev() {
        joiners.swap(i, r.below(i as u32 + 1) as usize);
    }
    for &i in &joiners {
        let asked = remote::cancel(None, tasks[i]);
        asked.unwrap_or_else(|e| crowd.wrong(&format!("a cancel is refused: {e:?}")));
    }
    crowd.is_due(joiners.iter().copied().take(NAMED));
    let mut in_order = Vec::new();
    pool::for_each_in_use(|header| {
        let at = header.as_ptr() as usize;
        in_order.extend(tasks.iter().position(|task| task.addr() == at));
    });
    in_order.retain(|i| joiners[NAMED..].contains(i));
    crowd.is_due(in_order);
    crowd.named.set(true);
    crowd.play(ex, &mut r, Phase::Cancel);
    if ex.has_work() || !tasks.iter().all(|task| task.has_exited()) {
        crowd.wrong("some of a crowd are left over");
    }
    for task in tasks {
        // SAFETY: made above, and the task is idle.
        drop(unsafe { Box::from_raw(task.head.user_ptr.get().cast::<Place>()) });
        api::destroy_task(task).expect("it is idle");
    }
    ex.destroy().expect("it is idle");
}
