//! The calls of references to executors, which may have gone, and of a thread that waits for a task.

use super::{TaskPtr, World};
use monad_async::capi::{remote as cr, task as ct, ExecutorPtr};
use monad_async::executor::reference::Reference;
use std::cell::{Cell, RefCell};
use std::ptr::{null_mut, NonNull};

const REMOTES: usize = 3;

/// References, and what is known of them.
#[derive(Default)]
pub struct Elsewhere {
    remotes: [Cell<Option<NonNull<Reference>>>; REMOTES],
    /// Whose each is; null: gone.
    of: [Cell<Option<NonNull<()>>>; REMOTES],
    /// Tasks that were launched by one, and may be in the mail of their executor.
    pub posted: RefCell<Vec<TaskPtr>>,
    /// Tasks that were cancelled since their launch.
    asked: RefCell<Vec<TaskPtr>>,
}

impl Elsewhere {
    /// `ex` was destroyed.
    pub fn gone(&self, ex: ExecutorPtr) {
        for of in &self.of {
            of.set(of.get().filter(|of| of.as_ptr().cast() != ex));
        }
    }

    /// How many tasks `ex` need not count yet.
    pub fn posted_to(&self, ex: ExecutorPtr) -> usize {
        self.posted.borrow().iter().filter(|task| World::home(**task) == ex.cast()).count()
    }

    /// Launched anew.
    pub fn attached(&self, task: TaskPtr) {
        self.asked.borrow_mut().retain(|&other| other != task);
    }

    pub fn canceled(&self, task: TaskPtr) {
        self.asked.borrow_mut().push(task);
    }

    /// The task may be over as soon as its executor looks at its mail.
    pub fn is_asked(&self, task: TaskPtr) -> bool {
        self.asked.borrow().contains(&task)
    }

    pub fn end(&self) {
        for remote in self.remotes.iter().filter_map(Cell::take) {
            // SAFETY: held until here.
            unsafe { cr::monad_async_remote_release(remote.as_ptr()) };
        }
    }
}

impl World {
    /// One call, of a task's body or from outside.
    pub fn step_elsewhere(&self, what: usize, a: usize, b: usize) {
        let (ex, task) = (self.executors[a % 3].get(), self.tasks[b % self.tasks.len()].get());
        let n = b / 8 % REMOTES;
        let (place, of) = (&self.elsewhere.remotes[n], &self.elsewhere.of[n]);
        let remote = if a % 32 == 31 { None } else { place.get() };
        let remote = remote.map_or(null_mut(), NonNull::as_ptr);
        let gone = of.get().is_none();
        let owner = of.get().map_or(null_mut(), |of| of.as_ptr());
        // SAFETY (all of the unsafe blocks below): each pointer is null, a task or an executor that
        // was not destroyed, or a reference that is held.
        match what {
            0 if place.get().is_none() => {
                let mut remote = null_mut();
                // SAFETY: as said above.
                let r = unsafe { cr::monad_async_remote_acquire(ex, &mut remote) };
                self.said("remote_acquire", r, &[if ex.is_null() { libc::EINVAL } else { 0 }]);
                place.set(NonNull::new(remote));
                of.set(NonNull::new(ex.cast()));
            }
            0 if a & 64 == 0 => {
                // SAFETY: as said above; the one that was taken is given back.
                unsafe { cr::monad_async_remote_release(cr::monad_async_remote_retain(remote)) };
            }
            0 => {
                let held = place.take().map_or(null_mut(), NonNull::as_ptr);
                // SAFETY: as said above, until here.
                unsafe { cr::monad_async_remote_release(held) };
                of.set(None);
            }
            1 | 2 => {
                let busy = !Self::home(task).is_null();
                // SAFETY: as said above.
                let code = unsafe { task.as_ref() }.is_some_and(|t| t.user_code.get().is_some());
                // SAFETY: as said above.
                let r = unsafe { cr::monad_async_remote_attach(remote, task) };
                let want = match () {
                    () if remote.is_null() || task.is_null() => libc::EINVAL,
                    () if gone => libc::ESHUTDOWN,
                    () if !busy && !code => libc::EINVAL,
                    () if busy => libc::EBUSY,
                    () => 0,
                };
                self.said(
                    "remote_attach",
                    r,
                    &[want, if busy && !code { libc::EINVAL } else { want }],
                );
                if r.error == 0 {
                    let mut posted = self.elsewhere.posted.borrow_mut();
                    posted.retain(|&other| other != task);
                    posted.push(task);
                    self.elsewhere.attached(task);
                }
            }
            3 => {
                let there = !gone && Self::home(task) == owner.cast();
                // SAFETY: as said above.
                let r = unsafe { cr::monad_async_remote_cancel(remote, task) };
                let want = match () {
                    () if remote.is_null() || task.is_null() => libc::EINVAL,
                    () if gone => libc::ESHUTDOWN,
                    () if there => 0,
                    () => libc::ENOENT,
                };
                self.said("remote_cancel", r, &[want]);
                if r.error == 0 {
                    self.elsewhere.canceled(task);
                }
            }
            4 => {
                // SAFETY: as said above.
                let r = unsafe { cr::monad_async_remote_wake(remote) };
                let want = match () {
                    () if remote.is_null() => libc::EINVAL,
                    () if gone => libc::ESHUTDOWN,
                    () => 0,
                };
                self.said("remote_wake", r, &[want]);
            }
            _ => self.wait(task, [0, 1000, u64::MAX][a % 3]),
        }
    }

    /// All executors are this thread's: nobody could end what it would wait for.
    fn wait(&self, task: TaskPtr, timeout_ns: u64) {
        let inside = !self.running.get().1.is_null();
        // SAFETY: null, or a task that was not destroyed.
        let (r, exited) = unsafe {
            let r = ct::monad_async_task_wait(task, timeout_ns);
            (r, !task.is_null() && ct::monad_async_task_has_exited(task))
        };
        let want = match () {
            () if task.is_null() => libc::EINVAL,
            () if inside => libc::EDEADLK,
            () if !Self::home(task).is_null() => libc::EDEADLK,
            // SAFETY: as above; idle.
            () if exited => unsafe { (*task).result.get() }.error,
            () => libc::EINVAL,
        };
        self.said("task_wait", r, &[want]);
        // SAFETY: as above.
        if exited && !inside && r != unsafe { (*task).result.get() } {
            self.said("task_wait: another result", r, &[-1]);
        }
    }
}
