//! What others may want of a task that waits in a queue: to cancel it, or to change its priority.

use core::mem::MaybeUninit;

use super::exit::Told;
use super::jobs::Next;
use super::queue::{Queue, State, NO_LEVEL};
use super::queue_left::wake_all;
use crate::error::{RawResult, Res};
use crate::intrusive::Fifo;
use crate::sys::backoff::Backoff;
use crate::sys::lock::Guard;
use crate::task::header::{TaskRef, ECANCELED};
use crate::task::queued::Place;
use crate::task::state::Run;

impl Queue {
    /// ANY THREAD. Runs `f`, if that run of `task` is in here.
    pub(super) fn with_queued<T>(
        &self,
        task: TaskRef,
        run: Run,
        f: impl FnOnce(&mut State) -> T,
    ) -> Option<(T, Guard<'_, State>)> {
        let mut state = self.lock();
        // Under the lock: rule 2.
        if task.state().queued_run() != Some((run, self.address())) {
            return None;
        }
        let done = f(&mut state);
        self.note(&state);
        Some((done, state))
    }

    /// ANY THREAD. The run ends without having begun: ECANCELED. False: it is not in here.
    fn cancel(&self, task: TaskRef, run: Run) -> bool {
        let Some((ended, mut state)) = self.with_queued(task, run, |state| {
            state.remove(task);
            self.end(state, task)
        }) else {
            return false;
        };
        let satisfied = state.satisfied();
        satisfied.append(ended.waiters.take_all());
        drop(state);
        ended.tell();
        wake_all(&satisfied);
        true
    }

    /// ANY THREAD. Ends all that are in here, each as `cancel` does; how many they were.
    pub fn cancel_all(&self) -> usize {
        let mut count = 0;
        loop {
            let mut state = self.lock_row();
            let mut job = MaybeUninit::uninit();
            let ended = match state.pop(NO_LEVEL, Some(&mut job)) {
                Some(Next::Task(task)) => Ok(self.end(&mut state, task)),
                // SAFETY: it is there.
                Some(Next::Job(_)) => Err(unsafe { job.assume_init() }),
                None => break,
            };
            self.note(&state);
            let satisfied = state.satisfied();
            if let Ok(ended) = &ended {
                satisfied.append(ended.waiters.take_all());
            }
            drop(state);
            match ended {
                Ok(ended) => ended.tell(),
                Err(job) => job.give_back(),
            }
            wake_all(&satisfied);
            count += 1;
        }
        count
    }

    /// Under the lock; `task` was taken out.
    fn end(&self, state: &mut State, task: TaskRef) -> OverUnbegun {
        task.set_result(RawResult::failure(ECANCELED));
        task.head.ticks.when_detached.set(self.stamp());
        let told = Told::take(task);
        let waiters = Fifo::new();
        state.leaves(task, &waiters);
        task.set_pooled(false);
        task.marks.set(0);
        task.exited();
        task.state().exited();
        OverUnbegun { task, told, waiters }
    }
}

/// A run that has ended in the queue: who is told of it, with the lock open.
struct OverUnbegun {
    task: TaskRef,
    told: Option<Told>,
    /// Who waited for it to leave, claimed.
    waiters: Fifo,
}

impl OverUnbegun {
    fn tell(self) {
        if let Some(told) = self.told {
            told.call(self.task, RawResult::failure(ECANCELED));
        }
    }
}

/// Where a task is queued, and which run of it. None: it is in no queue, and so, if a run of it is
/// under way, attached by now: a cancel that came while a worker takes it was lost, before there
/// was `Place::Leaving`.
pub(super) fn queue_of(task: TaskRef) -> Option<(Run, &'static Queue)> {
    let mut backoff = Backoff::new();
    loop {
        match task.state().place_of_run() {
            // SAFETY: read in the task.
            Place::Queue(run, at) => return Some((run, unsafe { Queue::from_ptr(at) })),
            Place::Leaving => backoff.wait(),
            Place::Elsewhere => return None,
        }
    }
}

/// ANY THREAD. Ends the run of a task that is in a queue. None: it is in none, and so it is
/// attached by now, or its run is over.
pub fn cancel_queued(task: TaskRef) -> Option<Res<()>> {
    while let Some((run, queue)) = queue_of(task) {
        if let Err(e) = queue.check_process() {
            return Some(Err(e));
        }
        if queue.cancel(task, run) {
            return Some(Ok(()));
        }
    }
    None
}

/// ANY THREAD. Moves a task that is in a queue to the end of its new level. None: it is in none.
pub fn set_priorities_queued(task: TaskRef, cpu: u8, io: u8) -> Option<Res<()>> {
    while let Some((run, queue)) = queue_of(task) {
        if let Err(e) = queue.check_process() {
            return Some(Err(e));
        }
        let moved = queue.with_queued(task, run, |state| {
            let cpu_changed = task.head.cpu.replace(cpu) != cpu;
            task.head.io.set(io);
            if cpu_changed {
                state.remove(task);
                state.push(task);
            }
        });
        if moved.is_some() {
            return Some(Ok(()));
        }
    }
    None
}
