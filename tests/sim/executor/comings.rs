//! Executors that come and go in the middle of a program, while tasks of the other one join theirs,
//! and what goes before: the cancellation of all that is attached.

use crate::kernel::SimKernel;
use crate::model::{Executor, Stage, State};
use crate::world::{trace, World};
use monad_async::api::{self, Handle};
use monad_async::error::Errno;
use monad_async::task::header::mark;

/// Passes that an executor gets to be done with what was cancelled.
const PASSES: usize = 4;

impl World {
    /// It was made, and nobody has begun to destroy it.
    pub fn lives(&self, ex: u8) -> bool {
        self.st.borrow().ex[ex as usize].alive
    }

    /// The executors whose threads are not in a run or a destruction.
    pub fn elsewhere(&self) -> impl Iterator<Item = u8> + '_ {
        let executors = self.program.borrow().executors as u8;
        (0..executors).filter(|&ex| {
            let st = self.st.borrow();
            let e = &st.ex[ex as usize];
            !e.in_run && !e.closing
        })
    }

    pub fn make_executor(&'static self, ex: u8) {
        trace!(self.st.borrow(), "executor {ex} is made");
        let (temper, ring, track) = {
            let program = self.program.borrow();
            (program.tempers[ex as usize], program.ring[ex as usize], program.track)
        };
        // A wake of the one before is none of this one's.
        self.was_woken(ex);
        let handle = Handle::new(SimKernel { world: self, ex, ring }, track);
        self.handles[ex as usize].set(Some(handle.expect("memory for an executor")));
        let e = &mut self.st.borrow_mut().ex[ex as usize];
        *e = Executor { alive: true, ..Executor::default() };
        e.ring.reset(temper);
    }

    /// Destroys the executor, which refuses while something is attached, or makes another.
    pub fn turn(&'static self, ex: u8) {
        if !self.lives(ex) {
            return self.make_executor(ex);
        }
        let idle = {
            let mut st = self.st.borrow_mut();
            // A thread in the middle of attaching knows that the executor lives.
            if st.claims.iter().any(|c| c.1 == ex) {
                return;
            }
            self.check(self.observe(&mut st, ex));
            st.read_mail(ex);
            let idle = st.attached(ex) == 0;
            let e = &mut st.ex[ex as usize];
            (e.alive, e.closing) = (!idle, idle);
            trace!(st, "executor {ex} is destroyed, if {idle}");
            idle
        };
        let r = self.handle(ex).destroy();
        if !idle {
            if r != Err(Errno(libc::EBUSY)) {
                self.check(Err(format!("destroy while tasks are attached: {r:?}")));
            }
            return self.after(ex);
        }
        if r != Ok(()) {
            self.check(Err(format!("destroy of executor {ex}, which is idle: {r:?}")));
        }
        self.handles[ex as usize].set(None);
        self.st.borrow_mut().ex[ex as usize].closing = false;
    }

    /// How a program ends an executor that is still at work.
    pub fn retire(&'static self, ex: u8) {
        if !self.lives(ex) {
            return;
        }
        self.cancel_all(ex);
        for _ in 0..PASSES {
            self.run(ex, usize::MAX, Some(0));
        }
        self.turn(ex);
    }

    /// On the thread of `ex`, in one of its tasks or not.
    pub fn cancel_all(&self, ex: u8) {
        {
            let mut st = self.st.borrow_mut();
            self.check(self.observe(&mut st, ex));
            st.read_mail(ex);
            // Without any but those that another thread is attaching, nobody is looked at.
            if st.ex[ex as usize].has_any() {
                st.cancel_all(ex);
            }
            st.ex[ex as usize].sweeping = true;
        }
        let r = self.handle(ex).cancel_all();
        self.st.borrow_mut().ex[ex as usize].sweeping = false;
        if r != Ok(()) {
            self.check(Err(format!("cancel_all: {r:?}")));
        }
        let st = self.st.borrow();
        for i in 0..st.tasks.len() as u8 {
            let task = self.task(i);
            let here = task.executor() == self.handle(ex).as_ptr().cast();
            // Nobody is looked at next to one that another thread is attaching.
            let arrives = st.tasks[i as usize].stage == Stage::Claimed;
            if here && task.is_attached() && !arrives && !task.has(mark::ASKED) {
                self.check(Err(format!("cancel_all leaves out task {i}: {:?}", api::state(task))));
            }
        }
        drop(st);
        self.after(ex);
    }
}

impl Executor {
    /// Tasks that are not in the mailbox.
    fn has_any(&self) -> bool {
        self.pending + self.suspended + usize::from(self.current.is_some()) != 0
    }
}

impl State {
    /// The executor looks at its mail, if nothing else is attached.
    fn read_mail(&mut self, ex: u8) {
        let e = &self.ex[ex as usize];
        if !e.has_any() && (e.notified || !e.mail.is_empty()) {
            self.take_mail(ex);
        }
    }

    /// One after the other, in the order of the stacks.
    fn cancel_all(&mut self, ex: u8) {
        for i in self.in_pool_order() {
            self.cancel(i, ex);
        }
    }
}
