//! What a simulated task does, and what it must see.

use crate::kernel::SimKernel;
use crate::mail::Mail;
use crate::model::{Cancel, Stage, CANCELED};
use crate::program::{Io, Op, Step};
use crate::ring::{pattern, Verdict};
use crate::world::{trace, World};
use monad_async::api::{self, Handle};
use monad_async::error::{Errno, RawResult};
use monad_async::task::header::{Flags, TaskHead, TaskRef};
use monad_async::uring::kernel::Sqe;

type Sim = Handle<SimKernel>;

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

fn failure(errno: i32) -> RawResult {
    RawResult::failure(Errno(errno))
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

    /// A call that may suspend came back with `r`.
    fn back(&self, i: u8, task: TaskRef, r: RawResult) {
        self.resumed(i, task);
        let expected = self.st.borrow_mut().t(i).outcome;
        self.same(i, r, expected);
    }

    fn same(&self, i: u8, r: RawResult, expected: RawResult) {
        if r != expected {
            self.check(Err(format!("task {i} gets {r:?}, not {expected:?}")));
        }
    }

    /// A cancel came while it ran: what would suspend returns at once.
    fn cancel_is_next(&self, i: u8) -> bool {
        let mut st = self.st.borrow_mut();
        let t = st.t(i);
        let next = t.cancel == Cancel::Next;
        if next {
            t.cancel = Cancel::No;
        }
        next
    }

    fn step(&self, i: u8, task: TaskRef, step: Step) {
        let ex = self.st.borrow_mut().t(i).ex;
        match step {
            Step::Yield => {
                if self.cancel_is_next(i) {
                    return self.same(i, Sim::sleep(task, 0), CANCELED);
                }
                {
                    let mut st = self.st.borrow_mut();
                    st.left(i, Stage::Ready);
                    st.wake(i, RawResult::success(0));
                }
                let r = Sim::sleep(task, 0);
                self.back(i, task, r);
            }
            Step::Sleep(_) | Step::SleepForEver => self.sleep_step(i, ex, task, step),
            Step::Io(io) => self.io_step(i, ex, task, io),
            Step::Join(other) => self.join_step(i, ex, task, other),
            Step::Cancel(other) => {
                let there = self.st.borrow_mut().t(other).ex;
                if there == ex || !self.st.borrow().is_attached(other) {
                    self.cancel_here(other, ex);
                } else {
                    self.cancel_remote(other, there);
                }
            }
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

    fn sleep_step(&self, i: u8, ex: u8, task: TaskRef, step: Step) {
        let ns = match step {
            Step::Sleep(ns) => u64::from(ns),
            _ => u64::MAX,
        };
        if self.cancel_is_next(i) {
            return self.same(i, Sim::sleep(task, ns), CANCELED);
        }
        let began_ns = {
            let mut st = self.st.borrow_mut();
            let now_ns = st.clock_ns;
            if ns == u64::MAX {
                st.left(i, Stage::ForEver);
            } else {
                st.left(i, Stage::Sleep);
                st.ex[ex as usize].dozing = Some((i, now_ns, ns));
            }
            now_ns
        };
        let r = Sim::sleep(task, ns);
        self.back(i, task, r);
        if r.error == 0 && self.st.borrow().clock_ns < began_ns.saturating_add(ns) {
            self.check(Err(format!("task {i} woke early")));
        }
    }

    fn io_step(&self, i: u8, ex: u8, task: TaskRef, io: Io) {
        let opcode = match io.op {
            Op::Nop => 0,
            Op::Poll => 6,
            Op::Read => 22,
            Op::Write => 23,
            Op::SendZc => 47,
        };
        let mut buffer = [0xddu8; 40];
        // The generation that the operation will have is in its pattern.
        let name = (task.addr() as u64) | u64::from(task.op.get().wrapping_add(1)) << 48;
        if matches!(io.op, Op::Write | Op::SendZc) {
            (0..io.len as usize).for_each(|n| buffer[n] = pattern(name, n));
        }
        // Not through a reference: what is in flight belongs to the kernel.
        let at = (&raw mut buffer).cast::<u8>();
        let len = if io.op == Op::Poll { 0 } else { u32::from(io.len) };
        let mut sqe = Sqe::new(opcode, 3, 0, at as u64, len, 0);
        if io.drain {
            sqe.0[0] |= 1 << (8 + 1); // IOSQE_IO_DRAIN
        }
        // SAFETY: the buffer is in this frame, which stays until the call returns.
        let call = || unsafe { Sim::io(task, &sqe) };
        if !self.handle(ex).executor().kernel().ring {
            return self.same(i, call(), failure(libc::ENOTSUP));
        }
        if io.drain {
            return self.same(i, call(), failure(libc::EINVAL));
        }
        if self.cancel_is_next(i) {
            return self.same(i, call(), CANCELED);
        }
        {
            let mut st = self.st.borrow_mut();
            let t = st.t(i);
            t.op = Some(io);
            t.io_level = t.io.min(2);
            let level = t.io_level;
            let e = &mut st.ex[ex as usize];
            // Else `push` takes it from here.
            if e.queued() != 0 || e.ring.sq_space() == 0 {
                e.entries[level as usize].push_back(i);
                e.submitted += 1;
                st.left(i, Stage::Entry);
            }
        }
        let r = call();
        self.back(i, task, r);
        let flights = &self.st.borrow().ex[ex as usize].ring.flights;
        if flights.iter().any(|f| f.task == i) {
            self.check(Err(format!("task {i} goes on while the kernel has its buffer")));
        }
        let moved = if io.op == Op::Read && r.error == 0 { r.value as usize } else { 0 };
        for n in 0..moved {
            // SAFETY: within the buffer.
            if unsafe { at.add(n).read_volatile() } != pattern(name, n) {
                self.check(Err(format!("task {i}'s buffer is not what was read")));
            }
        }
    }

    fn join_step(&self, i: u8, ex: u8, task: TaskRef, other: u8) {
        let join = || Sim::join(task, self.task(other));
        if other == i {
            return self.same(i, join(), failure(libc::EDEADLK));
        }
        if self.cancel_is_next(i) {
            return self.same(i, join(), CANCELED);
        }
        let now = {
            let mut st = self.st.borrow_mut();
            let o = st.t(other);
            match o.stage {
                Stage::Idle if o.fresh => Some(failure(libc::EINVAL)),
                Stage::Idle => Some(o.result),
                _ if o.ex == ex => {
                    o.joiners.push(i);
                    st.left(i, Stage::Join(other));
                    None
                }
                _ => {
                    let run = o.attached;
                    st.post(1 - ex, Mail::Join { joiner: i, other, run });
                    let stage = Stage::Away { other, owed: 1, registered: false, asked: false };
                    st.left(i, stage);
                    None
                }
            }
        };
        let r = join();
        match now {
            Some(expected) => self.same(i, r, expected),
            None => self.back(i, task, r),
        }
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
