//! What a simulated task does, and what it must see.

use crate::calls;
use crate::kernel::SimKernel;
use crate::levels::Plan;
use crate::model::{failure, DONE};
use crate::program::Step;
use crate::ring::Verdict;
use crate::world::{trace, World};
use monad_async::api::{self, Handle};
use monad_async::error::{Errno, RawResult, Res};
use monad_async::executor::scope::Scope;
use monad_async::task::header::{Flags, TaskHead, TaskRef};
use monad_async::uring::kernel::Sqe;

pub type Sim = Handle<SimKernel>;

/// `user_ptr` of every task.
pub struct Place {
    pub world: &'static World,
    pub index: u8,
}

/// `user_code` of every task.
pub unsafe extern "C" fn body(head: *const TaskHead) -> RawResult {
    // SAFETY: the executor passes the handle of the task that runs.
    let task = unsafe { TaskRef::from_head(head) };
    // SAFETY: set when the task was made, and leaked.
    let place = unsafe { &*task.head.user_ptr.get().cast::<Place>() };
    place.world.live(place.index, task)
}

impl World {
    fn live(&'static self, i: u8, task: TaskRef) -> RawResult {
        self.resumed(i, task);
        let mut result = {
            let mut st = self.st.borrow_mut();
            let t = st.t(i);
            t.ran += 1;
            RawResult::success(i as isize * 1000 + t.ran as isize)
        };
        self.begin_life(i);
        while let Some(step) = self.next_step(i) {
            trace!(self.st.borrow(), "task {i}: {step:?}");
            if let Step::Exit(e) = step {
                result = failure(e);
                break;
            }
            self.step(i, task, step);
        }
        trace!(self.st.borrow(), "task {i} exits with {result:?}");
        self.st.borrow_mut().exited(i, result);
        result
    }

    fn begin_life(&self, i: u8) {
        let program = self.program.borrow();
        let mut st = self.st.borrow_mut();
        self.scopes.borrow_mut()[i as usize].clear();
        let t = st.t(i);
        (t.at, t.until) = program.lives[i as usize].get(t.life).copied().unwrap_or((0, 0));
        t.life += 1;
    }

    fn next_step(&self, i: u8) -> Option<Step> {
        let program = self.program.borrow();
        let mut st = self.st.borrow_mut();
        let t = st.t(i);
        while t.at < t.until {
            t.at += 1;
            if let Some(step) = program.steps[t.at as usize - 1] {
                return Some(step);
            }
        }
        None
    }

    /// `i` runs, from its beginning or after a suspension.
    fn resumed(&self, i: u8, task: TaskRef) {
        let mut st = self.st.borrow_mut();
        let ex = st.t(i).ex;
        self.check(self.observe(&mut st, ex));
        let verdict = st.picked(i);
        self.check(verdict);
        let verdict = st.bound(ex);
        self.check(verdict);
        trace!(st, "task {i} runs on {ex}");
        let head = &self.handle(ex).executor().head;
        if head.current_task.get() != task.as_head()
            || head.tasks_running.get() != 1
            || api::state(task).0 != Flags::RUNNING
        {
            self.check(Err(format!("task {i} runs, but does not say so")));
        }
    }

    /// A call of `task` that may suspend.
    pub fn call(
        &self,
        i: u8,
        task: TaskRef,
        plan: Plan,
        call: impl FnOnce() -> RawResult,
    ) -> RawResult {
        let (r, expected) = self.watch(i, task, plan, call);
        self.same(i, r, expected);
        r
    }

    /// What a call that may suspend returned, and should have; that it waited for the right thing.
    pub fn watch<T>(
        &self,
        i: u8,
        task: TaskRef,
        plan: Plan,
        call: impl FnOnce() -> T,
    ) -> (T, RawResult) {
        let ex = {
            let mut st = self.st.borrow_mut();
            st.call(i, plan);
            st.t(i).ex
        };
        let r = call();
        if self.st.borrow_mut().ex[ex as usize].arming.take().is_some() {
            self.check(Err(format!("task {i}'s deadlines are not armed by {plan:?}")));
        }
        let at_once = self.st.borrow_mut().t(i).at_once.take();
        let expected = match at_once {
            Some(expected) => expected,
            None => {
                self.resumed(i, task);
                self.st.borrow_mut().returned(i, plan)
            }
        };
        (r, expected)
    }

    pub fn same(&self, i: u8, r: RawResult, expected: RawResult) {
        if r != expected {
            self.check(Err(format!("task {i} gets {r:?}, not {expected:?}")));
        }
    }

    /// As `same`, of what does not suspend.
    pub fn said(&self, i: u8, what: &str, r: Res<()>, expected: i32) {
        if r.map_or_else(|e| e.0, |()| 0) != expected {
            self.check(Err(format!("{what} of task {i}: {r:?}, not {expected}")));
        }
    }

    fn step(&self, i: u8, task: TaskRef, step: Step) {
        let ex = self.st.borrow_mut().t(i).ex;
        match step {
            Step::Yield => drop(self.call(i, task, Plan::Yield, || Sim::sleep(task, 0))),
            Step::Sleep(_) | Step::SleepUntil(_) | Step::SleepForEver => {
                self.sleep_step(i, task, step);
            }
            Step::Io(io) => self.io_step(i, ex, task, io),
            Step::Begin(n, io) => self.begin_step(i, ex, task, n, io),
            Step::Wait(n) => self.wait_step(i, task, n),
            Step::WaitAny => self.wait_any_step(i, task),
            Step::OpCancel { task: other, op } => self.op_cancel_step(i, ex, task, other, op),
            Step::Join(other) => self.join_step(i, task, other),
            Step::Cancel(other) => {
                let there = self.st.borrow_mut().t(other).ex;
                if there == ex || !self.st.borrow().is_attached(other) {
                    self.cancel_here(other, ex);
                } else {
                    self.cancel_remote(other, Some(there));
                }
            }
            Step::Uncancel | Step::Enter { .. } | Step::Leave | Step::LeaveOutermost => {
                self.scope_step(i, task, step);
            }
            Step::Fire { task: other, depth } => self.fire_step(i, ex, other, depth + 1),
            Step::Park => drop(self.call(i, task, Plan::Park, || calls::park(task))),
            Step::Unpark(other) => self.unpark_from(other, ex),
            Step::Attach { task: other, ex: there } => {
                if there == ex {
                    self.attach_here(other, ex);
                } else if self.lives(there) {
                    self.attach_remote(other, there, 0);
                }
            }
            Step::Priorities(other, cpu, io) => self.set_priorities(other, cpu, io, Some(ex)),
            Step::WritePriority(cpu) => {
                task.head.cpu.set(cpu);
                self.st.borrow_mut().t(i).cpu = cpu;
            }
            Step::Wake(there) if self.lives(there) => self.wake(there),
            Step::Wake(_) => {}
            Step::HasWork => self.has_work(ex),
            Step::CancelAll => self.cancel_all(ex),
            Step::Misuse(n) => self.misuse(n, i, ex, task),
            Step::Exit(_) => unreachable!("dealt with by the caller"),
        }
    }

    fn sleep_step(&self, i: u8, task: TaskRef, step: Step) {
        let began_ns = self.st.borrow().clock_ns;
        let (r, until_ns) = match step {
            Step::Sleep(ns) => {
                let ns = u64::from(ns);
                let r = self.call(i, task, Plan::Sleep(ns), || Sim::sleep(task, ns));
                (r, began_ns + ns)
            }
            Step::SleepUntil(ns) => {
                let until_ns = began_ns + u64::from(ns);
                let call = || calls::sleep_until(task, until_ns);
                (self.call(i, task, Plan::Until(until_ns), call), until_ns)
            }
            _ => {
                self.call(i, task, Plan::ForEver, || Sim::sleep(task, u64::MAX));
                return;
            }
        };
        if r == DONE && self.st.borrow().clock_ns < until_ns {
            self.check(Err(format!("task {i} woke early")));
        }
    }

    fn join_step(&self, i: u8, task: TaskRef, other: u8) {
        let join = || Sim::join(task, self.task(other));
        if other == i {
            return self.same(i, join(), failure(libc::EDEADLK));
        }
        self.call(i, task, Plan::Join(other), join);
    }

    fn scope_step(&self, i: u8, task: TaskRef, step: Step) {
        let open = self.st.borrow_mut().t(i).levels.len() as u8 - 1;
        match step {
            Step::Uncancel => {
                let was = self.st.borrow_mut().uncancel(i);
                self.same(i, calls::uncancel(task), RawResult::success(was.into()));
            }
            Step::Enter { timeout_ns, shield } => {
                let timeout_ns = timeout_ns.map(u64::from);
                let scopes = &mut self.scopes.borrow_mut()[i as usize];
                scopes.push(calls::scope_new());
                let scope: *mut Scope = &mut **scopes.last_mut().expect("pushed");
                self.st.borrow_mut().enter(i, timeout_ns, shield);
                let ns = timeout_ns.unwrap_or(u64::MAX);
                self.said(i, "enter", calls::enter(task, scope, ns, shield.into()), 0);
            }
            _ if open == 0 => {}
            Step::LeaveOutermost if open > 1 => {
                let scope = self.scope(i, 1).expect("open");
                self.same(i, calls::leave(task, scope.cast_mut()), failure(libc::EINVAL));
            }
            _ => {
                let scope = self.scope(i, open).expect("open");
                let fired = self.st.borrow_mut().leave(i).expect("open");
                let r = calls::leave(task, scope.cast_mut());
                self.same(i, r, RawResult::success(fired.into()));
                self.scopes.borrow_mut()[i as usize].pop();
            }
        }
    }

    /// A scope of a task of the same executor; what was left open is not entered any more.
    fn fire_step(&self, i: u8, ex: u8, other: u8, depth: u8) {
        let Some(scope) = self.scope(other, depth) else { return };
        let expected = {
            let mut st = self.st.borrow_mut();
            let t = st.t(other);
            let is_open = usize::from(depth) < t.levels.len();
            match (is_open, t.ex == ex) {
                (false, _) => libc::EINVAL,
                (true, false) => libc::EPERM,
                (true, true) => {
                    st.fire(other, depth, libc::ECANCELED);
                    0
                }
            }
        };
        self.said(i, "scope_cancel", calls::fire(scope.cast_mut()), expected);
    }

    fn misuse(&self, n: u8, i: u8, ex: u8, task: TaskRef) {
        let handle = self.handle(ex);
        let next = (i + 1) % self.st.borrow().tasks.len() as u8;
        // One of the other executor may be running, further up on this thread.
        let same_ex = self.st.borrow_mut().t(next).ex == ex;
        let other = if same_ex { self.task(next) } else { task };
        let mut link = Sqe::zeroed();
        link.0[0] |= 1 << (8 + 2);
        let refused = |is: bool, what: &str| -> Verdict {
            if is {
                Ok(())
            } else {
                Err(format!("{what} from within a task is not refused"))
            }
        };
        self.check(match n {
            0 => refused(handle.run(1, Some(0)) == Err(Errno(libc::EDEADLK)), "run"),
            1 => refused(handle.destroy() == Err(Errno(libc::EDEADLK)), "destroy"),
            2 => refused(api::destroy_task(task) == Err(Errno(libc::EBUSY)), "destroy of itself"),
            3 => refused(handle.attach(task) == Err(Errno(libc::EBUSY)), "attach of itself"),
            4 if other != task => {
                refused(Sim::sleep(other, 0) == failure(libc::EPERM), "another's sleep")
            }
            5 if other != task => {
                refused(Sim::join(other, task) == failure(libc::EPERM), "another's join")
            }
            6 if handle.executor().kernel().ring => {
                // SAFETY: refers to no memory.
                refused(unsafe { Sim::io(task, &link) } == failure(libc::EINVAL), "a link")
            }
            _ => refused(
                Sim::set_priorities(task, 3, 0) == Err(Errno(libc::EINVAL)),
                "a level that does not exist",
            ),
        });
    }
}
