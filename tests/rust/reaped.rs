//! Completions that come many at a time: each task gets what its own operation ended with, once, and
//! those of a level go on in the order of completion, whether they are taken one by one or in runs,
//! and whatever comes in between that is nobody's.
//!
//! tests/rust/mutants plants bugs that this must find.
#![cfg(not(any(loom, miri)))]

#[path = "../support/rng.rs"]
mod rng;

use monad_async::api::{self, Handle};
use monad_async::error::{Errno, RawResult};
use monad_async::task::header::{TaskHead, TaskRef};
use monad_async::uring::kernel::{op, Cqe, Kernel, Sqe, Wait, Waker};
use rng::Rng;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

const SEEDS: u64 = if cfg!(debug_assertions) { 30 } else { 200 };
const TASKS: usize = 150;
const EACH: usize = 20;

const MORE: u32 = 1 << 1;
const NOTIF: u32 = 1 << 3;

struct World {
    rng: RefCell<Rng>,
    entries: RefCell<Vec<u64>>,
    done: RefCell<VecDeque<Cqe>>,
    runs: Cell<usize>,
    /// Who goes on next of each level, and with what.
    expected: RefCell<[VecDeque<(usize, Cqe)>; 3]>,
    /// One that is idle all along, and one that waits for a completion on another executor.
    others: RefCell<Vec<TaskRef>>,
    tasks: RefCell<Vec<TaskRef>>,
}

impl World {
    fn new(seed: u64) -> &'static Self {
        Box::leak(Box::new(Self {
            rng: RefCell::new(Rng::new(seed, 0)),
            entries: RefCell::default(),
            done: RefCell::default(),
            runs: Cell::new(0),
            expected: RefCell::default(),
            others: RefCell::default(),
            tasks: RefCell::default(),
        }))
    }
}

struct Fake(&'static World);

type Sim = Handle<Fake>;

impl World {
    fn below(&self, n: u32) -> u32 {
        self.rng.borrow_mut().below(n)
    }

    fn one_in(&self, n: u32) -> bool {
        self.below(n) == 0
    }

    /// What names no operation that is in flight here.
    fn of_nobody(&self, near: u64) -> Cqe {
        let others = self.others.borrow();
        let other = others[self.below(others.len() as u32) as usize];
        let of_other = other.addr() as u64 | u64::from(other.op.get()) << 48;
        let user_data =
            [near ^ 1 << 48, near | 1, near | 4, of_other, 0, near + (64 << 20), !0 << 7]
                [self.below(7) as usize];
        Cqe { user_data, res: -1, flags: 0 }
    }

    fn complete(&self, user_data: u64, late: &mut Vec<Cqe>) {
        let mut done = self.done.borrow_mut();
        if self.one_in(8) && !self.others.borrow().is_empty() {
            done.push_back(self.of_nobody(user_data));
        }
        let res = if self.one_in(8) { -libc::EIO } else { self.below(1 << 30) as i32 };
        let mut flags = if self.one_in(4) { self.below(1 << 16) << 16 | 1 } else { 0 };
        if self.one_in(16) {
            flags |= MORE;
            late.push(Cqe { user_data, res: 0, flags: NOTIF });
        }
        let cqe = Cqe { user_data, res, flags };
        done.push_back(cqe);
        if flags & MORE == 0 {
            self.ends(cqe);
            if self.one_in(8) {
                done.push_back(Cqe { res: -1, ..cqe }); // Told twice.
            }
        }
    }

    fn ends(&self, cqe: Cqe) {
        let address = cqe.user_data as usize & ((1 << 48) - 1);
        let i = self.tasks.borrow().iter().position(|task| task.addr() == address).unwrap();
        self.expected.borrow_mut()[level(i)].push_back((i, cqe));
    }
}

/// Many of one level in a row.
fn level(i: usize) -> usize {
    [1, 1, 1, 0, 2, 1][i / 10 % 6]
}

impl Kernel for Fake {
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
        self.0.entries.borrow_mut().push(sqe.user_data());
    }
    fn pop(&self) -> Option<Cqe> {
        self.0.done.borrow_mut().pop_front()
    }
    fn has_run(&self) -> bool {
        !self.0.one_in(4)
    }
    fn take_run(&self, max: usize, take: impl FnOnce(&[Cqe]) -> usize) -> usize {
        let mut done = self.0.done.borrow_mut();
        let side = done.len().min(max).min(self.0.below(100) as usize);
        let taken = take(&done.make_contiguous()[..side]);
        self.0.runs.set(self.0.runs.get() + taken / 2);
        done.drain(..taken);
        taken
    }
    fn needs_enter(&self) -> bool {
        false
    }
    fn enter(&self, wait: Wait) -> Result<(), Errno> {
        let mut late = Vec::new();
        for user_data in self.0.entries.take() {
            self.0.complete(user_data, &mut late);
        }
        for cqe in late {
            self.0.done.borrow_mut().push_back(cqe);
            let first = |c: &&Cqe| c.user_data == cqe.user_data && c.flags & MORE != 0;
            let told = *self.0.done.borrow().iter().find(first).unwrap();
            self.0.ends(told);
        }
        assert!(wait == Wait::No || !self.0.done.borrow().is_empty(), "sleeps, with nothing due");
        Ok(())
    }
    fn now_boot_ns(&self) -> u64 {
        1
    }
    fn waker(&self) -> Waker {
        Waker::of_eventfd(-1)
    }
}

struct Place(&'static World, usize);

unsafe extern "C" fn body(head: *const TaskHead) -> RawResult {
    // SAFETY: the executor passes the handle of the task that runs; set when it was made.
    let (task, place) = unsafe {
        let task = TaskRef::from_head(head);
        (task, &*task.head.user_ptr.get().cast::<Place>())
    };
    let &Place(world, me) = place;
    for _ in 0..EACH {
        // SAFETY: refers to no memory.
        let result = unsafe { Sim::io(task, &Sqe::new(op::NOP, -1, 0, 0, 0, 0)) };
        let (who, cqe) = world.expected.borrow_mut()[level(me)].pop_front().expect("goes on twice");
        assert_eq!(who, me, "of a level another is next");
        assert_eq!(result, RawResult::from_kernel(cqe.res));
        assert_eq!(task.cqe_flags.get(), cqe.flags);
    }
    RawResult::success(0)
}

fn new_task(world: &'static World, index: usize) -> TaskRef {
    let task = api::create_task(64 << 10).unwrap();
    task.head.user_code.set(Some(body));
    task.head.user_ptr.set(Box::into_raw(Box::new(Place(world, index))).cast());
    task
}

#[test]
fn each_gets_its_own_and_in_order() {
    let mut runs = 0;
    for seed in 0..SEEDS {
        let world = World::new(seed);
        let ex = Sim::new(Fake(world), seed % 2 == 0).unwrap();
        let tasks: Vec<_> = (0..TASKS).map(|i| new_task(world, i)).collect();
        let idle = new_task(world, 0);
        let apart = World::new(seed);
        let elsewhere = Sim::new(Fake(apart), false).unwrap();
        let waits = new_task(apart, 0);
        apart.tasks.borrow_mut().push(waits);
        elsewhere.attach(waits).unwrap();
        elsewhere.run(1, Some(0)).unwrap();
        world.others.borrow_mut().extend([idle, waits]);
        *world.tasks.borrow_mut() = tasks.clone();
        for (i, &task) in tasks.iter().enumerate() {
            task.head.cpu.set(level(i) as u8);
            ex.attach(task).unwrap();
        }
        while ex.has_work() {
            ex.run(usize::MAX, None).unwrap();
        }
        while elsewhere.has_work() {
            elsewhere.run(usize::MAX, None).unwrap();
        }
        assert!(tasks.iter().all(|task| task.has_exited()), "seed {seed}");
        assert!(world.expected.borrow().iter().all(|level| level.is_empty()), "seed {seed}");
        runs += world.runs.get();
        for task in tasks.into_iter().chain([idle, waits]) {
            // SAFETY: made above, and the task is idle.
            drop(unsafe { Box::from_raw(task.head.user_ptr.get().cast::<Place>()) });
            api::destroy_task(task).unwrap();
        }
        ex.destroy().unwrap();
        elsewhere.destroy().unwrap();
    }
    assert!(runs > 1000, "{runs}: runs are taken");
}
