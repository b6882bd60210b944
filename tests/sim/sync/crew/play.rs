//! A program: its threads, and what the one outside does, to the end.

use super::actor::{act, body, finish, hire, work, Stage, RESULTS, SEATS, STAGE, TOLD};
use super::model::{At, SEEN};
use super::world::{self, lock, pass, Place, LOOKS_MAX, OUTSIDE};
use super::{Program, Step, ALL, TASKS, WORKERS_MAX};
use monad_async::api::{create_task, destroy_task};
use monad_async::executor::hands::Hands;
use monad_async::executor::queue::Queue;
use monad_async::pool::blocking;
use monad_async::pool::workers::How;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::LazyLock;

const STACK_BYTES: usize = 64 << 10;
/// No helper leaves for want of work.
const NEVER_NS: u64 = u64::MAX;
/// Times that nobody can go on, before a program has to be over.
const ROUNDS_MAX: u32 = 100;

/// Queues are never freed.
static QUEUE: LazyLock<Queue> = LazyLock::new(Queue::new);

pub fn hands() -> Hands {
    Hands::new(STACK_BYTES)
}

/// For threads of the program.
#[derive(Clone, Copy)]
struct ForAll(Stage);
// SAFETY: one thread goes on at a time.
unsafe impl Send for ForAll {}

impl ForAll {
    fn get(self) -> Stage {
        self.0
    }
}

pub fn play(program: Program, seed: u64, is_told: bool) {
    let tasks: [_; TASKS] = std::array::from_fn(|_| create_task(STACK_BYTES).expect("a task"));
    for (t, task) in tasks.iter().enumerate() {
        task.head.cpu.set(program.levels[t]);
        task.head.user_code.set(Some(body));
        task.head.user_ptr.set(std::ptr::without_provenance_mut(t));
    }
    TOLD.iter().for_each(|told| told.store(0, SeqCst));
    blocking::set_limits(program.helpers, NEVER_NS).expect("limits");
    let mut looks = 0;
    while blocking::helpers() > program.helpers || blocking::helpers() != blocking::idle_helpers() {
        looks += 1;
        lock().check(looks < LOOKS_MAX, "helpers that are too many stay");
        std::thread::yield_now();
    }
    let workers = program.workers;
    let stage = Stage { queue: &QUEUE, tasks };
    stage.queue.open(program.tracks);
    lock().begin(program, seed);
    STAGE.set(Some(stage));
    let for_all = ForAll(stage);
    std::thread::scope(|scope| {
        for w in 1..=WORKERS_MAX {
            scope.spawn(move || {
                let stage = for_all.get();
                while world::until_hired(w) {
                    if catch_unwind(AssertUnwindSafe(|| work(w, stage))).is_err() {
                        lock().fail("a worker panicked");
                    }
                    pass(w, Place::Away);
                }
            });
        }
        (0..workers).for_each(|_| hire());
        let outside = lock().program.outside.clone();
        for step in outside {
            act(step);
            pass(OUTSIDE, Place::Able);
        }
        ends();
        world::is_over();
    });
    let mut state = lock();
    state.check(stage.queue.counts() == (0, 0), "in the queue, or begun, at the end");
    state.check(stage.queue.workers() == 0, "workers are left");
    for t in 0..ALL {
        let task = state.model.tasks[t];
        let is_told = TOLD[t].load(SeqCst) == task.told as usize;
        state.check(is_told, "somebody was told of an exit twice, or never");
        let last = RESULTS[t].load(SeqCst) as i64;
        state.check(!task.is_told || last == task.result, "told of another result");
    }
    if is_told {
        println!("{:?}", state.log);
    }
    let seen = std::mem::take(&mut state.model.seen);
    for at in seen {
        *state.seen.entry(SEEN[at]).or_default() += 1;
    }
    drop(state);
    tasks.into_iter().for_each(|task| destroy_task(task).expect("exited"));
}

/// Until all tasks and all workers have ended. As long as somebody can go on, that is waited for.
fn ends() {
    for _ in 0..ROUNDS_MAX {
        pass(OUTSIDE, Place::Away);
        let mut state = lock();
        state.model.stands_still();
        state.check_wakes();
        let running = state.model.running.clone();
        let is_idle = state.model.tasks.iter().all(|task| task.at == At::Idle);
        drop(state);
        if let Some(&n) = running.first() {
            finish(n);
        } else if !is_idle {
            (0..ALL).for_each(|n| act(Step::Cancel(n)));
        } else if (1..=WORKERS_MAX).all(|w| SEATS[w].load(SeqCst) == 0) {
            return;
        } else {
            act(Step::Quit(How::Drain));
        }
    }
    lock().fail("nobody ends it");
}
