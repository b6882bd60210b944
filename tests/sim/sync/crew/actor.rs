//! Steps, as a task of a worker does them, or the thread outside.

use super::model::At;
use super::world::{
    end, give, lock, now_ns, pass, passes, Event, Place, State, GATES, OPENED, OUTSIDE, REFUSED,
};
use super::{Step, ALL, JOBS, RUNS_MAX, TASKS, WORKERS_MAX};
use crate::crew::world::Sim;
use crate::model::Out;
use crate::play::{brought, done, within};
use crate::program::SLOT_NS;
use monad_async::api::Handle;
use monad_async::error::{Errno, RawResult, Res};
use monad_async::executor::exit::hook;
use monad_async::executor::grant::Caller;
use monad_async::executor::jobs::Job;
use monad_async::executor::queue::{Queue, Seat};
use monad_async::pool::blocking;
use monad_async::pool::workers::How;
use monad_async::task::header::{TaskHead, TaskRef};
use std::cell::Cell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::MutexGuard;

const NORMAL: u8 = 1;

/// What all threads of a program use. Written by the thread outside, before there are others.
#[derive(Clone, Copy)]
pub struct Stage {
    pub queue: &'static Queue,
    pub tasks: [TaskRef; TASKS],
}

/// The seats of those that begin tasks, as a pool lists them.
pub static SEATS: [AtomicUsize; WORKERS_MAX + 1] = [const { AtomicUsize::new(0) }; WORKERS_MAX + 1];

/// The tasks that jobs have become.
static JOB_TASKS: [AtomicUsize; JOBS] = [const { AtomicUsize::new(0) }; JOBS];

thread_local! {
    /// Which worker's thread this is, and the stage.
    pub static HERE: Cell<usize> = const { Cell::new(OUTSIDE) };
    pub static STAGE: Cell<Option<Stage>> = const { Cell::new(None) };
}

pub fn stage() -> Stage {
    STAGE.get().expect("set before anybody acts")
}

fn seat(w: usize) -> &'static Seat {
    // SAFETY: a worker takes its seat off before it goes.
    unsafe { &*std::ptr::with_exposed_provenance(SEATS[w].load(SeqCst)) }
}

/// Who acts: the worker that it is, for what is done on its own thread.
fn here() -> Option<usize> {
    Some(HERE.get()).filter(|&who| who != OUTSIDE)
}

/// Which of the two has said what; and that all who were to be woken were.
fn compare(mut state: MutexGuard<'static, State>, step: Step, got: Out, due: Out) {
    state.log.push(Event::Step(HERE.get(), step, got));
    if got != due {
        state.fail(&format!("{step:?} gives {got}, {due} was due"));
    }
    state.settle();
    state.check_wakes();
}

/// Told of the exit of a run.
unsafe extern "C" fn told(_: *const c_void, task: TaskRef, r: RawResult, _: u64) {
    tell(number(task), r);
}

/// Of that of a job, which a worker has done.
unsafe extern "C" fn done_job(head: *const TaskHead, r: RawResult) {
    // SAFETY: its task; the number is where it points to until this returns.
    tell(unsafe { *(*head).user_ptr.get().cast::<usize>() }, r);
}

/// Of one that was handed back.
unsafe extern "C" fn returned(bytes: *mut c_void) {
    // SAFETY: what came with it.
    tell(unsafe { *bytes.cast::<usize>() }, RawResult::failure(Errno(libc::ECANCELED)));
}

static JOB: Job =
    Job { code: Some(job), on_exit: Some(done_job), returned: Some(returned), reserved: 0 };

fn tell(t: usize, r: RawResult) {
    TOLD[t].fetch_add(1, SeqCst);
    RESULTS[t].store(brought(r) as usize, SeqCst);
}

pub static TOLD: [AtomicUsize; ALL] = [const { AtomicUsize::new(0) }; ALL];
pub static RESULTS: [AtomicUsize; ALL] = [const { AtomicUsize::new(0) }; ALL];

fn number(task: TaskRef) -> usize {
    task.head.user_ptr.get().addr()
}

/// What does not wait.
pub fn act(step: Step) {
    let Stage { queue, tasks } = stage();
    let me = here();
    match step {
        Step::Submit(n) => {
            let is_told = {
                let state = lock();
                if state.model.tasks[n].runs == RUNS_MAX {
                    return;
                }
                state.program.is_told
            };
            // SAFETY: it needs nothing but its task.
            let hook = || unsafe { hook(tasks[n], told, std::ptr::null()) };
            let got = done(queue.submit(tasks[n], || if is_told { hook() } else { 0 }));
            let mut state = lock();
            let due = state.model.submit(n, is_told);
            compare(state, step, got, due);
        }
        Step::SubmitMany(n, count) => {
            let some = {
                let state = lock();
                let may = |n: &usize| state.model.tasks[*n].runs < RUNS_MAX;
                (n..TASKS.min(n + count)).take_while(may).count()
            };
            if some == 0 {
                return;
            }
            let some = n..n + some;
            let got = match queue.submit_many(some.clone().map(|n| tasks[n])) {
                (0, refused) => done(refused),
                (count, _) => count as Out,
            };
            let mut state = lock();
            let due = state.model.submit_many(some);
            compare(state, step, got, due);
        }
        Step::Post(n) => {
            let (n, level) = (TASKS + n, lock().program.levels[TASKS + n]);
            let task = lock().model.tasks[n];
            if task.at != At::Idle || task.runs == RUNS_MAX {
                return;
            }
            // SAFETY: so many bytes, of a number.
            let posted =
                unsafe { queue.post(&JOB, level, (&raw const n).cast(), size_of::<usize>()) };
            let mut state = lock();
            let due = state.model.post(n);
            compare(state, step, done(posted), due);
        }
        Step::SetLevel(n, level) if tasks[n].is_queued() => {
            let got = done(Handle::<Sim>::set_priorities(tasks[n], level, NORMAL));
            let mut state = lock();
            state.model.set_level(n, level);
            compare(state, step, got, 0);
        }
        Step::Cancel(n) => {
            let task = match n.checked_sub(TASKS) {
                None => tasks[n],
                // What waits for a worker has no name yet.
                Some(_) if !matches!(lock().model.tasks[n].at, At::On(_)) => return,
                // SAFETY: that of the worker which does it.
                Some(n) => unsafe {
                    let at = JOB_TASKS[n].load(SeqCst);
                    TaskRef::from_head(std::ptr::with_exposed_provenance(at))
                },
            };
            let _ = Handle::<Sim>::cancel_anywhere(task); // ENOENT: it has exited.
            let mut state = lock();
            state.model.cancel(n, me);
            compare(state, step, 0, 0);
        }
        Step::Finish(n) => finish(n),
        Step::Unpark(n) => {
            let got = done(Handle::<Sim>::unpark(tasks[n]).done());
            let mut state = lock();
            state.model.unpark(n, me);
            compare(state, step, got, 0);
        }
        Step::Hold => pass(HERE.get(), Place::Able),
        Step::Work(slots) => {
            passes(slots * SLOT_NS);
            pass(HERE.get(), Place::Able);
        }
        Step::Grow if me.is_none() => hire(),
        Step::Shrink => {
            let last = {
                let state = lock();
                let seats = &state.model.seats;
                if seats.len() < 2 {
                    return;
                }
                seats[seats.len() - 1]
            };
            queue.dismiss(seat(last));
            let mut state = lock();
            state.model.shrink();
            compare(state, step, 0, 0);
        }
        Step::Quit(how) => {
            queue.close(how == How::Drain);
            let seats = lock().model.seats.clone();
            for w in seats {
                match how {
                    How::Drain => seat(w).wake(),
                    How::Return => queue.dismiss(seat(w)),
                }
            }
            let got = if how == How::Return { queue.cancel_all() as Out } else { 0 };
            let mut state = lock();
            let due = state.model.quit(how, me);
            compare(state, step, got, due);
        }
        _ => {}
    }
}

/// The thread outside has a worker more, whose executor exists when this returns.
pub fn hire() {
    let state = lock();
    let is_new = |w: &usize| SEATS[*w].load(SeqCst) == 0 && state.places[*w] == Place::Away;
    let Some(w) = (1..=WORKERS_MAX).find(is_new).filter(|_| !state.model.is_closed) else { return };
    stage().queue.add_worker();
    give(state, OUTSIDE, w);
}

/// The function that this task has called returns, if it has begun.
pub fn finish(n: usize) {
    let mut state = lock();
    if !state.model.running.contains(&n) {
        return;
    }
    state.model.finish(n, call_value(n));
    state.is_unsettled = true;
    let mut gates = GATES.lock().unwrap();
    gates.open.push(n);
    drop(gates);
    OPENED.notify_all();
    compare(state, Step::Finish(n), 0, 0);
}

fn call_value(n: usize) -> Out {
    7_000 + n as Out
}

const ALIVE: usize = 0x5eed;

/// In the frame of the task that calls.
struct Call {
    task: usize,
    is_alive: AtomicUsize,
}

/// On a helper.
unsafe extern "C" fn blocks(call: *mut c_void) -> RawResult {
    // SAFETY: the task waits for this.
    let call = unsafe { &*call.cast::<Call>() };
    let task = call.task;
    let mut gates = GATES.lock().unwrap();
    gates.begun.push(task);
    while !gates.open.contains(&task) {
        gates = OPENED.wait(gates).unwrap();
    }
    gates.open.retain(|&of| of != task);
    drop(gates);
    if call.is_alive.load(SeqCst) != ALIVE {
        end("what a function uses is gone while it runs", ""); // Who waits for it has the lock.
    }
    RawResult::success(call_value(task) as isize)
}

/// What may wait, as a task.
fn wait(task: TaskRef, t: usize, step: Step, timeout: Option<u64>) {
    let (w, queue) = (HERE.get(), stage().queue);
    let due = {
        let mut state = lock();
        state.is_unsettled = step == Step::Call;
        state.model.begins(t, w, step, timeout, now_ns())
    };
    let caller = || -> Caller<'static, Sim> {
        let ex = task.head.current_executor.load(SeqCst).cast();
        // SAFETY: the one that runs here.
        let ex = unsafe { Handle::<Sim>::from_ptr(ex) }.expect("an executor");
        Caller::task(ex.executor(), task)
    };
    let unit = |r: Res<()>| r.map_or_else(RawResult::failure, |()| RawResult::success(0));
    let got = match step {
        Step::Sleep(slots) => done(Handle::<Sim>::sleep(task, slots * SLOT_NS).done()),
        Step::Park => within::<Sim>(task, timeout, || Handle::<Sim>::park(task)),
        Step::Join(n) => {
            within::<Sim>(task, timeout, || Handle::<Sim>::join(task, stage().tasks[n]))
        }
        Step::Wait(what, at_most) => {
            within::<Sim>(task, timeout, || unit(queue.until_left(&caller(), at_most, what)))
        }
        _ => {
            let call = Call { task: t, is_alive: AtomicUsize::new(ALIVE) };
            let argument = (&raw const call).cast_mut().cast();
            // SAFETY: it stays until the function has returned.
            let run = || unsafe { blocking::run(&caller(), blocks, argument) };
            let got = within::<Sim>(task, timeout, run);
            call.is_alive.store(0, SeqCst);
            got
        }
    };
    let due = match due {
        Some(out) => out,
        None => {
            item(w, t);
            lock().model.goes_on(t)
        }
    };
    compare(lock(), step, got, due);
}

/// A task begins, or goes on.
fn item(w: usize, t: usize) {
    let mut state = lock();
    state.log.push(Event::Item(w, t));
    state.settle();
    state.model.item(w, t);
    state.check_wakes();
}

pub unsafe extern "C" fn body(head: *const TaskHead) -> RawResult {
    // SAFETY: the executor passes the handle of the task that runs.
    let task = unsafe { TaskRef::from_head(head) };
    acts(task, number(task))
}

unsafe extern "C" fn job(head: *const TaskHead) -> RawResult {
    // SAFETY: as above; the number came with it.
    let (task, t) = unsafe { (TaskRef::from_head(head), *(*head).user_ptr.get().cast::<usize>()) };
    JOB_TASKS[t - TASKS].store(head.expose_provenance(), SeqCst);
    acts(task, t)
}

fn acts(task: TaskRef, t: usize) -> RawResult {
    let w = HERE.get();
    item(w, t);
    let count = lock().program.bodies[t].len();
    for at in 0..count {
        let (step, timeout) = lock().program.bodies[t][at];
        if lock().passes_between() {
            pass(w, Place::Able);
        }
        match step {
            // One that is over as it begins may or may not keep a helper from it.
            Step::Call => wait(task, t, step, timeout.map(|slots| slots.max(1))),
            Step::Join(n) if stage().tasks[n].is_queued() => {}
            Step::Wait(..) | Step::Sleep(_) | Step::Park | Step::Join(_) => {
                wait(task, t, step, timeout);
            }
            _ => act(step),
        }
    }
    let mut state = lock();
    state.log.push(Event::Ended(t));
    RawResult::success(state.model.ends(w, t) as isize)
}

/// A worker's life, as `pool::workers` has it.
pub fn work(w: usize, stage: Stage) {
    HERE.set(w);
    STAGE.set(Some(stage));
    let queue = stage.queue;
    let ex = Handle::new(Sim(w), lock().program.tracks).expect("an executor");
    let seat = Seat::new(queue, ex.executor().mailbox(), super::play::hands());
    seat.hands.ensure().expect("a task");
    SEATS[w].store((&raw const seat).expose_provenance(), SeqCst);
    let mut state = lock();
    state.model.begins_work(w);
    state.places[w] = Place::Able;
    give(state, w, OUTSIDE); // Who hired it.
    loop {
        pass(w, Place::Able);
        let mut state = lock();
        state.log.push(Event::Pass(w));
        state.settle();
        state.model.passes(w, now_ns());
        drop(state);
        let ran = ex.executor().run_fed(&seat);
        let mut state = lock();
        state.settle();
        match ran {
            Ok(()) => {
                state.log.push(Event::Returned(w));
                state.model.returned(w, seat.is_leaving());
            }
            Err(REFUSED) => {} // It tries again.
            Err(e) => state.fail(&format!("worker {w}: {e:?}")),
        }
        state.check_wakes();
        drop(state);
        if seat.is_leaving() && !ex.has_work() {
            queue.leave(&seat);
            let mut state = lock();
            state.log.push(Event::Left(w));
            state.model.left(w);
            state.check_wakes();
            drop(state);
            break;
        }
    }
    if ex.destroy().is_err() {
        lock().fail("a worker that leaves has something to do");
    }
    SEATS[w].store(0, SeqCst);
    drop(seat);
    queue.remove_worker();
}
