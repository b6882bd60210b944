//! The order in which tasks run, against a model that predicts all of it: a random program is
//! played once by the executor and once by forty lines of queues, and the two logs must be the
//! same.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::Handle;
use monad_async::error::{Errno, RawResult};
use monad_async::task::header::TaskRef;
use monad_async::uring::kernel::{Kernel, Wait, Waker};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use support::rng::Rng;
use support::{destroy, destroy_task, new_task, set_body, without_ring};

const CASES: u64 = if cfg!(debug_assertions) { 3_000 } else { 30_000 };

#[derive(Clone, Copy, Debug)]
enum Op {
    Yield,
    Sleep(u64),
    Launch(usize),
    Cancel(usize),
    Uncancel,
    Priority(usize, u8),
}

struct Program {
    levels: Vec<u8>,
    bodies: Vec<Vec<Op>>,
    /// `max_items` of each pass, or `LOOP`, over and over.
    passes: Vec<usize>,
}

/// In place of a number: a pass of who runs the executor in a loop, which is of so many at least.
const LOOP: usize = 0;
const FEW: usize = 32;

/// (task, step, errno): what each call gave, in the order in which all calls returned.
type Log = Vec<(usize, usize, i32)>;

fn generate(seed: u64) -> Program {
    let mut r = Rng::new(seed, 0);
    // Some programs have more tasks than are looked at between two items, a few than at once.
    let most = if r.one_in(200) { 700 } else { r.pick(&[8, 8, 8, 8, 8, 8, 8, 8, 100]) };
    let n = 1 + r.below(most) as usize;
    let nights = if n > BUDGET { 2 } else { 20 };
    let op = |r: &mut Rng| {
        let other = r.below(n as u32) as usize;
        match r.below(11) {
            10 => Op::Uncancel,
            0..=3 => Op::Yield,
            4..=6 => Op::Sleep(1 + u64::from(r.below(nights))),
            7 => Op::Launch(other),
            8 => Op::Cancel(other),
            _ => Op::Priority(other, r.below(3) as u8),
        }
    };
    Program {
        levels: (0..n).map(|_| r.below(3) as u8).collect(),
        bodies: (0..n).map(|_| (0..r.below(9)).map(|_| op(&mut r)).collect()).collect(),
        passes: (0..5).map(|_| r.pick(&[LOOP, 1, 2, 3, 64, 65, usize::MAX])).collect(),
    }
}

/// Time passes when the executor sleeps, and only then.
struct Clock(Cell<u64>);

impl Kernel for Clock {
    without_ring!();
    fn enter(&self, wait: Wait) -> Result<(), Errno> {
        let Wait::Until { boot_ns } = wait else { panic!("{wait:?}, and nobody would wake us") };
        self.0.set(boot_ns.max(self.0.get()));
        Ok(())
    }
    fn now_boot_ns(&self) -> u64 {
        self.0.get()
    }
    fn waker(&self) -> Waker {
        Waker::of_eventfd(-1)
    }
}

fn play(p: &Rc<Program>) -> Log {
    let ex = Handle::new(Clock(Cell::new(1)), false).unwrap();
    let log = Rc::new(RefCell::new(Log::new()));
    let tasks: Rc<Vec<TaskRef>> = Rc::new(p.levels.iter().map(|_| new_task()).collect());
    for (i, &t) in tasks.iter().enumerate() {
        let (p, log, all) = (p.clone(), log.clone(), Rc::downgrade(&tasks));
        t.head.cpu.set(p.levels[i]);
        set_body(t, move |t| {
            let all = all.upgrade().unwrap();
            for (step, &op) in p.bodies[i].iter().enumerate() {
                if log.borrow().len() >= LIMIT {
                    break;
                }
                let errno = |r: Result<(), Errno>| r.map_or_else(|e| e.0, |()| 0);
                let e = match op {
                    Op::Yield => Handle::<Clock>::sleep(t, 0).error,
                    Op::Sleep(ns) => Handle::<Clock>::sleep(t, ns).error,
                    Op::Launch(other) => errno(ex.attach(all[other])),
                    Op::Cancel(other) => errno(ex.cancel(all[other])),
                    Op::Uncancel => errno(Handle::<Clock>::uncancel(t).map(|_| ())),
                    Op::Priority(other, cpu) => {
                        errno(Handle::<Clock>::set_priorities(all[other], cpu, 1))
                    }
                };
                log.borrow_mut().push((i, step, e));
            }
            RawResult::success(0)
        });
        ex.attach(t).unwrap();
    }
    for &max in p.passes.iter().cycle() {
        if !ex.has_work() {
            break;
        }
        if max == LOOP {
            ex.executor().run_on(None).unwrap();
        } else {
            ex.run(max, None).unwrap();
        }
    }
    destroy(ex, []);
    tasks.iter().for_each(|&t| destroy_task(t));
    Rc::into_inner(log).unwrap().into_inner()
}

/// Items between two looks at what is due, and what is taken in by one.
const BOUND: usize = 64;
const BUDGET: usize = 256;

/// Tasks may launch each other for ever.
const LIMIT: usize = 2_000;

#[derive(Clone, Copy, PartialEq)]
enum At {
    Idle,
    /// In this level's queue, to go on with this errno.
    Ready(usize, i32),
    Asleep(u64, u64),
    Running,
}

struct Model<'a> {
    p: &'a Program,
    at: Vec<At>,
    step: Vec<usize>,
    cancelled: Vec<bool>,
    level: Vec<u8>,
    ready: [VecDeque<usize>; 3],
    asleep: BTreeMap<(u64, u64), usize>,
    now_ns: u64,
    sleeps: u64,
    log: Log,
}

impl Model<'_> {
    fn push(&mut self, i: usize, errno: i32) {
        let level = self.level[i] as usize;
        self.at[i] = At::Ready(level, errno);
        self.ready[level].push_back(i);
    }

    fn launch(&mut self, i: usize) -> i32 {
        if self.at[i] != At::Idle {
            return libc::EBUSY;
        }
        (self.step[i], self.cancelled[i]) = (0, false);
        self.push(i, 0);
        0
    }

    fn cancel(&mut self, i: usize) -> i32 {
        match self.at[i] {
            At::Idle => return libc::ENOENT,
            // Step 0, and not begun: it is pending launch.
            At::Ready(level, _) if self.step[i] == 0 => {
                self.ready[level].retain(|&t| t != i);
                self.at[i] = At::Idle;
            }
            At::Ready(..) | At::Running => self.cancelled[i] = true,
            At::Asleep(ns, number) => {
                self.cancelled[i] = true;
                self.asleep.remove(&(ns, number));
                self.push(i, libc::ECANCELED);
            }
        }
        0
    }

    fn priority(&mut self, i: usize, level: u8) {
        let changed = std::mem::replace(&mut self.level[i], level) != level;
        if let (At::Ready(old, errno), true) = (self.at[i], changed) {
            self.ready[old].retain(|&t| t != i);
            self.push(i, errno);
        }
    }

    fn wake(&mut self) {
        for _ in 0..BUDGET {
            let due = self.asleep.first_key_value().filter(|(k, _)| k.0 <= self.now_ns);
            let Some((&key, &i)) = due else { return };
            self.asleep.remove(&key);
            self.push(i, 0);
        }
    }

    /// Runs until it suspends or exits. A step counts as begun when its call is made.
    fn item(&mut self, i: usize, mut errno: i32) {
        self.at[i] = At::Running;
        if self.step[i] != 0 {
            self.log.push((i, self.step[i] - 1, errno));
        }
        while self.step[i] < self.p.bodies[i].len() && self.log.len() < LIMIT {
            let op = self.p.bodies[i][self.step[i]];
            self.step[i] += 1;
            let suspends = matches!(op, Op::Yield | Op::Sleep(_));
            errno = match op {
                _ if suspends && self.cancelled[i] => libc::ECANCELED,
                Op::Yield => return self.push(i, 0),
                Op::Sleep(ns) => {
                    self.sleeps += 1;
                    let key = (self.now_ns + ns, self.sleeps);
                    self.at[i] = At::Asleep(key.0, key.1);
                    self.asleep.insert(key, i);
                    return;
                }
                Op::Launch(other) => self.launch(other),
                Op::Cancel(other) => self.cancel(other),
                Op::Uncancel => {
                    self.cancelled[i] = false;
                    0
                }
                Op::Priority(other, level) => {
                    self.priority(other, level);
                    0
                }
            };
            self.log.push((i, self.step[i] - 1, errno));
        }
        self.at[i] = At::Idle;
    }

    fn pass(&mut self, max: usize) {
        self.wake();
        if self.ready.iter().all(VecDeque::is_empty) {
            self.now_ns = self.asleep.first_key_value().expect("somebody sleeps").0 .0;
            self.wake();
        }
        let ready = self.ready.iter().map(VecDeque::len).sum::<usize>();
        let budget = if max == LOOP { ready.max(FEW) } else { ready.min(max) };
        for n in 0..budget {
            if n % BOUND == 0 && n != 0 && self.ready.iter().any(|q| !q.is_empty()) {
                self.wake();
            }
            let Some(queue) = self.ready.iter_mut().find(|q| !q.is_empty()) else { break };
            let i = queue.pop_front().unwrap();
            let At::Ready(_, errno) = self.at[i] else { panic!("queued, so ready") };
            self.item(i, errno);
        }
    }
}

fn predict(p: &Program) -> Log {
    let n = p.levels.len();
    let mut m = Model {
        p,
        at: vec![At::Idle; n],
        step: vec![0; n],
        cancelled: vec![false; n],
        level: p.levels.clone(),
        ready: Default::default(),
        asleep: BTreeMap::new(),
        now_ns: 1,
        sleeps: 0,
        log: Log::new(),
    };
    (0..n).for_each(|i| assert_eq!(m.launch(i), 0));
    for &max in p.passes.iter().cycle() {
        if m.at.iter().all(|&at| at == At::Idle) {
            break;
        }
        m.pass(max);
    }
    m.log
}

#[test]
fn the_order_is_the_models() {
    let from = std::env::var("SCHEDULER_SEED").ok().map(|s| s.parse().unwrap());
    for seed in from.map_or(0..CASES, |s: u64| s..s + 1) {
        let p = Rc::new(generate(seed));
        let (played, predicted) = (play(&p), predict(&p));
        let differ = played.iter().zip(&predicted).position(|(a, b)| a != b);
        assert!(
            played == predicted,
            "SCHEDULER_SEED={seed}: (task, step, errno) at {differ:?}: {:?}, predicted {:?}",
            differ.map(|at| &played[at..played.len().min(at + 4)]),
            differ.map(|at| &predicted[at..predicted.len().min(at + 4)]),
        );
    }
}
