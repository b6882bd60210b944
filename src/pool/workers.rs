//! The pool: threads with an executor each, which begin the tasks of one queue.
//!
//! ```text
//!   submit --> queue --> worker's executor: run_fed --> exit
//!                    \-> worker's executor ...
//! ```
//!
//! 1. `seats` and `starting` are behind the pool's lock; the queue's lock is taken inside it, never
//!    the other way round. A worker takes its seat off the list before it leaves.
//! 2. A worker that is dismissed begins nothing more, and leaves when what it has begun, and what
//!    was launched on its executor directly, has ended.
//! 3. Pools are never freed, only recycled: see `executor::queue`.
//! 4. In the child of a fork a pool is the parent's: every call is refused before it takes a lock.

use core::cell::Cell;
use core::mem;
use core::ptr::{self, NonNull};
use std::io::Write;
use std::sync::PoisonError;

use super::cpus::{Cpus, Place};
use super::leaving;
use crate::atomic::{Condvar, Mutex, MutexGuard, Ordering::Relaxed};
use crate::error::{Errno, Res};
use crate::executor::grant::Caller;
use crate::executor::hands::Hands;
use crate::executor::queue::{Queue, Seat};
use crate::executor::queue_left::Left;
use crate::executor::reference::Reference;
use crate::executor::Executor;
use crate::sys::backoff::Backoff;
use crate::sys::fork::{ForkLock, Watch};
use crate::sys::{affinity, alloc, helper, signal, stack_overflow, thread};
use crate::task::annex::NAME_BYTES;
use crate::uring::{CreateError, RealKernel, RingOptions};

/// How many workers a pool may have.
pub const WORKERS_MAX: u32 = 4096;

/// After so many passes in a row that the kernel refuses, a millisecond each, a worker counts as
/// one that does not go on: what lacks memory for a moment has some by then.
const REFUSALS: u64 = 1000;

/// Whether a worker that was refused so often in a row has one that sleeps look, too. Now and then,
/// as who is found may be one that tries again just now, and for ever, as one may be refused only
/// later. Not at the first: a worker that is refused every other time would wake others all along.
const fn stirs(refusals: u64) -> bool {
    refusals > 1 && refusals.is_power_of_two() || refusals.is_multiple_of(REFUSALS)
}

/// How to make each worker's executor.
#[derive(Clone, Copy)]
pub struct Options {
    pub ring: RingOptions,
    pub track: bool,
    /// Of each worker's trace; 0: none.
    pub trace_bytes: usize,
    /// Of the tasks that jobs become; 0: the default.
    pub stack_bytes: usize,
}

struct Worker {
    /// On its thread's stack, until it is taken off the list.
    seat: *const Seat,
    /// One of the references to its executor.
    reference: NonNull<Reference>,
    place: Place,
}

struct State {
    options: Options,
    cpus: Cpus,
    /// How many workers were ever made.
    made: usize,
    seats: Vec<Worker>,
    /// How many there are to be, says who resized it last.
    wanted: usize,
    resizes: usize,
    /// Threads that have not said yet whether they have an executor.
    starting: u32,
    quits: bool,
    /// `thread::forks` of the process that let go of it, and the next spare one.
    spare: (u32, Option<&'static Pool>),
}

// SAFETY: seats are touched under the lock alone, and stay until they are off the list; references
// are counted.
unsafe impl Send for State {}

/// What becomes of the workers that one call of `resize` makes: on its stack, behind the pool's
/// lock, until none of them is starting any more. So a call is told of its own failures alone.
struct Making {
    starting: Cell<u32>,
    failed: Cell<Option<CreateError>>,
}

/// For the thread of one of them.
struct MadeBy(NonNull<Making>);

// SAFETY: used under the lock alone, and before it is counted out of `starting`.
unsafe impl Send for MadeBy {}

/// `struct monad_async_pool_object`
pub struct Pool {
    pub queue: Queue,
    state: Mutex<State>,
    started: Condvar,
}

static SPARE: ForkLock<Option<&'static Pool>> = ForkLock::new(None);

extern "C" fn before_fork() {
    SPARE.hold();
}

extern "C" fn in_parent() {
    SPARE.let_go(|_| {});
}

/// Their locks may be held by threads that the child does not have.
extern "C" fn in_child() {
    SPARE.let_go(|first| *first = None);
}

fn spare() -> MutexGuard<'static, Option<&'static Pool>> {
    static WATCH: Watch = Watch::new();
    WATCH.ensure(before_fork, in_parent, in_child);
    SPARE.lock()
}

fn no_memory(errno: Errno) -> CreateError {
    CreateError { errno, text: "no memory for the pool.".into() }
}

fn no_hand(errno: Errno) -> CreateError {
    CreateError { errno, text: "no task for what is posted, with a stack of that size.".into() }
}

/// EXPENSIVE. With so many workers, whose executors exist when it returns.
pub fn create(options: Options, workers: u32, cpus: Cpus) -> Result<&'static Pool, CreateError> {
    let state = State {
        options,
        cpus,
        made: 0,
        seats: Vec::new(),
        wanted: 0,
        resizes: 0,
        starting: 0,
        quits: false,
        spare: (0, None),
    };
    let mut first = spare();
    let pool = match *first {
        Some(pool) => {
            let mut old = pool.lock();
            *first = old.spare.1;
            *old = state;
            drop((old, first));
            pool
        }
        None => {
            drop(first);
            let pool =
                Pool { queue: Queue::new(), state: Mutex::new(state), started: Condvar::new() };
            Box::leak(alloc::try_box(pool).map_err(no_memory)?)
        }
    };
    pool.queue.open(options.track);
    match pool.resize(workers) {
        Ok(()) => Ok(pool),
        Err(e) => {
            pool.quit(How::Return);
            let mut backoff = Backoff::new();
            while pool.queue.workers() != 0 {
                backoff.wait();
            }
            pool.recycle();
            Err(e)
        }
    }
}

/// What happens to tasks that have not begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    Drain,
    Return,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// EXPENSIVE. ANY THREAD. Until it has so many workers, or an error says why not.
    pub fn resize(&'static self, workers: u32) -> Result<(), CreateError> {
        let invalid =
            |errno, text: &'static str| CreateError { errno: Errno(errno), text: text.into() };
        if workers == 0 || workers > WORKERS_MAX {
            return Err(invalid(libc::EINVAL, "a pool has 1 to 4096 workers"));
        }
        if !self.queue.is_of_this_process() {
            return Err(invalid(libc::EPERM, "the pool is another process's"));
        }
        let quits = || invalid(libc::ESHUTDOWN, "the pool has been told to quit");
        let mut state = self.lock();
        if state.quits {
            return Err(quits());
        }
        // For all that may be starting, too: they are never more than were wanted at some time.
        let room = state.seats.try_reserve(workers as usize);
        room.map_err(|_| no_memory(Errno(libc::ENOMEM)))?;
        state.wanted = workers as usize;
        state.resizes += 1;
        let mine = state.resizes;
        let making = Making { starting: Cell::new(0), failed: Cell::new(None) };
        let mut failed = None;
        // Another thread may want another number by the time the new ones are there.
        loop {
            failed = making.failed.take().or(failed);
            if state.quits && making.starting.get() == 0 {
                return Err(quits());
            }
            while !state.quits && state.seats.len() > state.wanted {
                let at = state.cpus.too_many(state.seats.iter().map(|worker| worker.place));
                let worker = state.seats.remove(at);
                state.cpus.give_back(worker.place);
                self.dismiss(&worker);
            }
            // (What another call wants since is that one's to make, and to tell of.)
            while !state.quits
                && state.resizes == mine
                && state.seats.len() + (state.starting as usize) < state.wanted
                && failed.is_none()
            {
                failed = self.start(&mut state, &making);
            }
            if state.starting == 0 {
                return failed.map_or(Ok(()), Err);
            }
            state = self.started.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Under the lock: makes one worker's thread; or why there is none.
    fn start(&'static self, state: &mut State, making: &Making) -> Option<CreateError> {
        let place = state.cpus.take();
        state.made += 1;
        let number = state.made;
        state.starting += 1;
        making.starting.set(making.starting.get() + 1);
        let (options, by) = (state.options, MadeBy(NonNull::from(making)));
        self.queue.add_worker();
        let spawned = helper::spawn(c"pool", move || work(self, by, &options, place, number));
        spawned.err().map(|errno| {
            self.queue.remove_worker();
            state.cpus.give_back(place);
            state.starting -= 1;
            making.starting.set(making.starting.get() - 1);
            CreateError { errno, text: "no thread for a worker of the pool.".into() }
        })
    }

    /// Under the lock; it is off the list.
    fn dismiss(&self, worker: &Worker) {
        // SAFETY: rule 1: it cannot take itself off before we let go of the lock.
        self.queue.dismiss(unsafe { &*worker.seat });
        // SAFETY: the list's.
        unsafe { Reference::release(worker.reference) };
    }

    /// ANY THREAD. No task is taken any more. How many were handed back: their runs are over,
    /// ECANCELED, and never began. Workers leave by rule 2.
    pub fn quit(&self, how: How) -> usize {
        let mut state = self.lock();
        state.quits = true;
        self.queue.close(how == How::Drain);
        if how == How::Drain {
            for worker in &state.seats {
                // SAFETY: as in `dismiss`.
                unsafe { &*worker.seat }.wake();
            }
            return 0;
        }
        for worker in mem::take(&mut state.seats) {
            self.dismiss(&worker);
        }
        drop(state);
        self.queue.cancel_all()
    }

    /// It was told to.
    pub fn quits(&self) -> bool {
        self.lock().quits
    }

    /// The calling thread is a worker's, in one of its tasks, or at its end.
    pub fn is_here(&self) -> bool {
        let running = thread::running().cast::<Executor<RealKernel>>();
        // SAFETY: null, or the executor that runs here.
        unsafe { running.as_ref() }.is_some_and(|ex| ex.is_fed_by(&self.queue))
            || leaving::is_leaving(self)
    }

    /// ANY THREAD. How many workers there are that begin tasks.
    pub fn workers(&self) -> usize {
        self.lock().seats.len()
    }

    /// ANY THREAD. The first worker whose executor the kernel refuses to go on, and why.
    pub fn refused(&self) -> Option<(usize, Errno)> {
        let state = self.lock();
        state.seats.iter().enumerate().find_map(|(index, worker)| {
            // SAFETY: as in `dismiss`.
            let errno = unsafe { &*worker.seat }.refused.load(Relaxed);
            (errno != 0).then_some((index, Errno(errno)))
        })
    }

    /// ANY THREAD. One more reference to the executor of a worker.
    pub fn worker(&self, index: usize) -> Res<NonNull<Reference>> {
        let state = self.lock();
        let worker = state.seats.get(index).ok_or(Errno(libc::ENOENT))?;
        // SAFETY: the list holds one.
        unsafe { worker.reference.as_ref() }.retain();
        Ok(worker.reference)
    }

    /// SUSPENDS, or blocks, until all workers have left, which were told to.
    ///
    /// # Safety
    /// Nobody uses the pool any more.
    pub unsafe fn end(&'static self, caller: &Caller<'_, RealKernel>) -> Res<()> {
        self.queue.until_left(caller, 0, Left::Workers)?;
        self.recycle();
        Ok(())
    }

    fn recycle(&'static self) {
        self.queue.free();
        let mut first = spare();
        self.lock().spare = (thread::forks(), *first);
        *first = Some(self);
    }
}

/// A worker's life.
fn work(pool: &'static Pool, by: MadeBy, options: &Options, place: Place, number: usize) {
    signal::take(signal::BACKTRACE); // Helpers take none; this one runs tasks.
    let mut trace = Vec::new(); // Outlives the executor.
    let started = |failed: Option<CreateError>, worker: Option<Worker>| {
        let mut state = pool.lock();
        state.starting -= 1;
        // SAFETY: its `resize` waits until this one is counted out.
        let making = unsafe { by.0.as_ref() };
        making.starting.set(making.starting.get() - 1);
        if failed.is_some() {
            making.failed.set(failed);
        }
        match worker {
            // Room was made by who counts it as starting.
            Some(worker) if !state.quits => state.seats.push(worker),
            Some(worker) => pool.dismiss(&worker),
            None => state.cpus.give_back(place),
        }
        pool.started.notify_all();
    };
    let mut ex = match executor(options, place, number, &mut trace) {
        Ok(ex) => ex,
        Err(e) => {
            started(Some(e), None);
            return pool.queue.remove_worker();
        }
    };
    let reference = match ex.reference() {
        Ok(reference) => reference,
        Err(e) => {
            started(Some(no_memory(e)), None);
            let _ = ex.destroy();
            return pool.queue.remove_worker();
        }
    };
    let seat = Seat::new(&pool.queue, ex.mailbox(), Hands::new(options.stack_bytes));
    if let Err(e) = seat.hands.ensure() {
        started(Some(no_hand(e)), None);
        // SAFETY: just acquired.
        unsafe { Reference::release(reference) };
        let _ = ex.destroy();
        return pool.queue.remove_worker();
    }
    started(None, Some(Worker { seat: &seat, reference, place }));
    let mut backoff = Backoff::new();
    let mut refusals = 0_u64;
    loop {
        let ran = ex.run_fed(&seat);
        if !ex.is_of_this_process() {
            // A task forked, and this is the child: everything here is the parent's.
            mem::forget((ex, trace, seat));
            return;
        }
        match ran {
            Ok(()) => {
                backoff = Backoff::new();
                if seat.refused.load(Relaxed) != 0 {
                    seat.refused.store(0, Relaxed);
                }
                if refusals >= REFUSALS {
                    pool.queue.not_refused();
                }
                refusals = 0;
            }
            // The kernel's: a sandbox may forbid what it has allowed before. It may not last.
            Err(errno) => {
                seat.refused.store(errno.0, Relaxed);
                refusals += 1;
                if stirs(refusals) {
                    pool.queue.stir();
                }
                if refusals == REFUSALS {
                    pool.queue.refused(errno);
                }
                backoff.wait();
            }
        }
        if seat.is_leaving() && !ex.has_work() {
            leave(pool, &seat);
            match ex.destroy() {
                Ok(()) => break,
                Err((back, _)) => ex = back, // Launched on it directly, at the last moment.
            }
        }
    }
    if refusals >= REFUSALS {
        pool.queue.not_refused();
    }
    drop(seat); // Its hands, before somebody counts what is left.
    leaving::count_out(pool);
}

/// A worker that leaves on its own takes itself off the list.
fn leave(pool: &Pool, seat: &Seat) {
    let mut state = pool.lock();
    if let Some(at) = state.seats.iter().position(|worker| ptr::eq(worker.seat, seat)) {
        let worker = state.seats.remove(at);
        // SAFETY: the list's.
        unsafe { Reference::release(worker.reference) };
    }
    pool.queue.leave(seat);
}

/// Called "pool worker" and its number. It records a trace into `trace`, if one is asked for.
fn executor(
    options: &Options,
    place: Place,
    number: usize,
    trace: &mut Vec<u64>,
) -> Result<Box<Executor<RealKernel>>, CreateError> {
    if let Some((_, cpu)) = place {
        affinity::pin(cpu).map_err(|errno| CreateError {
            errno,
            text: "a CPU of the pool does not exist, or this process may not use it".into(),
        })?;
    }
    stack_overflow::install().map_err(|refused| CreateError {
        errno: refused.errno(),
        text: refused.sentence().into(),
    })?;
    let words = options.trace_bytes / size_of::<u64>();
    trace.try_reserve_exact(words).map_err(|_| no_memory(Errno(libc::ENOMEM)))?;
    let ex = Executor::new(RealKernel::new(&options.ring)?, options.track).map_err(no_memory)?;
    let mut name = [0; NAME_BYTES + 1];
    // It fits.
    let _ = write!(&mut name[..NAME_BYTES], "pool worker {number}");
    // SAFETY: a zero is left at the end.
    unsafe { ex.set_name(name.as_ptr().cast()) };
    if words != 0 {
        // SAFETY: so many words, which stay where they are until the executor is gone.
        let begun = unsafe { ex.start_trace(trace.as_mut_ptr().cast(), words * 8) };
        if let Err(errno) = begun {
            let _ = ex.destroy();
            let text = "the traces of a pool's workers need time tracking.";
            return Err(CreateError { errno, text: text.into() });
        }
    }
    Ok(ex)
}

#[cfg(test)]
mod tests {
    use super::{stirs, REFUSALS};

    #[test]
    fn who_sleeps_is_asked_now_and_then_for_ever() {
        let asked: Vec<u64> = (1..=64).filter(|&n| stirs(n)).collect();
        assert_eq!(asked, [2, 4, 8, 16, 32, 64]);
        assert!((1..=100).all(|n| stirs(n * REFUSALS)));
    }
}
