//! From seed to verdict: sets a program up, drives it, and looks at everything after each pass.

use crate::body::{body, Place};
use crate::kernel::{SimKernel, LOOK_TICKS};
use crate::levels::Level;
use crate::model::{Executor, Stage, State, Task};
use crate::ops::{At, Op};
use crate::program::{Drive, Program, OPS};
use crate::ring::Verdict;
use crate::rng::Rng;
use crate::world::{trace, Records, World};
use monad_async::api::{self, Handle};
use monad_async::error::{Errno, RawResult, Res};
use monad_async::executor::park;
use monad_async::sys::thread;
use monad_async::task::header::{Flags, TaskRef};
use std::sync::atomic::Ordering;

impl World {
    /// A world lives as long as the process: its tasks are used by one program after the other.
    pub fn make() -> &'static World {
        let state = State {
            rng: Rng::new(0, 0),
            clock_ns: 0,
            moments: 0,
            tasks: Vec::new(),
            addresses: Vec::new(),
            pool_order: Vec::new(),
            records: Vec::new(),
            keys: 0,
            ex: [Executor::default(), Executor::default()],
            next_foreign: 0,
            countdown: 0,
            janitor: 0,
            claims: Vec::new(),
            trace: false,
            looks: false,
            ending: false,
        };
        Box::leak(Box::new(World::new(state, Program::new(0))))
    }

    fn new_task(&'static self, index: u8) -> TaskRef {
        let task = api::create_task(64 << 10).expect("memory for a task");
        let place = Box::leak(Box::new(Place { world: self, index }));
        task.head.user_ptr.set((place as *const Place).cast_mut().cast());
        task.head.user_code.set(Some(body));
        task
    }

    /// Plays one program from beginning to end.
    pub fn play(&'static self, program: Program, trace: bool) {
        self.set_up(program, trace);
        let moves = self.program.borrow().drive.len();
        for n in 0..moves {
            let next = self.program.borrow().drive[n];
            if let Some(next) = next {
                trace!(self.st.borrow(), "driver: {next:?}");
                self.drive(next);
            }
        }
        self.finish();
    }

    fn set_up(&'static self, program: Program, trace: bool) {
        while self.tasks.borrow().len() < program.levels.len() {
            let task = self.new_task(self.tasks.borrow().len() as u8);
            self.tasks.borrow_mut().push(task);
            // SAFETY: records that were zeroed are idle; the rest is bytes.
            let records: Records = unsafe { std::mem::zeroed() };
            let records: &'static Records = Box::leak(Box::new(records));
            self.records.borrow_mut().push(records);
            self.scopes.borrow_mut().push(Vec::new());
            let mut st = self.st.borrow_mut();
            st.addresses.push(task.addr());
            st.records.push(&raw const records.ops as usize);
        }
        let mut st = self.st.borrow_mut();
        if st.pool_order.len() != st.addresses.len() {
            st.find_pool_order();
        }
        st.rng = Rng::new(program.seed, 2);
        st.clock_ns = 1_000_000;
        st.moments = 0;
        st.next_foreign = 0;
        st.countdown = program.foreign.first().copied().flatten().map_or(0, |f| f.0);
        st.janitor = 0;
        st.trace = trace;
        st.looks = program.track && program.looks;
        st.ending = false;
        st.tasks.clear();
        for (i, &(cpu, io)) in program.levels.iter().enumerate() {
            let task = self.task(i as u8);
            // What an earlier program left: as a fresh task would be.
            task.head.cpu.set(cpu);
            task.head.io.set(io);
            task.permit().take_any();
            let has_exited = task.has_exited();
            st.tasks.push(Task::new(cpu, io, !has_exited, task.head.result.get()));
        }
        st.ex = [Executor::default(), Executor::default()];
        drop(st);
        LOOK_TICKS.store(if program.looks { 1 } else { u64::MAX }, Ordering::Relaxed);
        let executors = program.executors;
        *self.program.borrow_mut() = program;
        (0..executors as u8).for_each(|ex| self.make_executor(ex));
    }

    fn drive(&'static self, next: Drive) {
        // Where there is no executor, one is made for the occasion.
        if let Drive::Run { ex, .. }
        | Drive::Attach { ex, .. }
        | Drive::Cancel { ex, .. }
        | Drive::Unpark { ex, .. }
        | Drive::HasWork(ex)
        | Drive::CancelAll(ex) = next
        {
            if !self.lives(ex) {
                self.make_executor(ex);
            }
        }
        match next {
            Drive::Run { ex, max, timeout_ns } => {
                self.run(ex, max as usize, timeout_ns.map(u64::from));
            }
            Drive::Attach { task, ex } => self.attach_here(task, ex),
            Drive::Cancel { task, ex } => self.cancel_here(task, ex),
            Drive::Unpark { task, ex } => self.unpark_from(task, ex),
            Drive::Priorities(task, cpu, io) => self.set_priorities(task, cpu, io, None),
            Drive::HasWork(ex) => self.has_work(ex),
            Drive::CancelAll(ex) => self.cancel_all(ex),
            Drive::Turn(ex) => self.turn(ex),
            Drive::Retire(ex) => self.retire(ex),
            Drive::Recreate(i) => self.recreate(i),
            Drive::Pass(ns) => self.st.borrow_mut().clock_ns += u64::from(ns),
        }
    }

    fn recreate(&'static self, i: u8) {
        let task = self.task(i);
        let busy = self.st.borrow().is_attached(i);
        let r = api::destroy_task(task);
        if busy != (r == Err(Errno(libc::EBUSY))) {
            self.check(Err(format!("destroy of task {i}: {r:?}")));
        }
        if !busy {
            let new = self.new_task(i);
            self.tasks.borrow_mut()[i as usize] = new;
            let mut st = self.st.borrow_mut();
            st.addresses[i as usize] = new.addr();
            st.find_pool_order();
            let t = st.t(i);
            (t.fresh, t.cpu, t.io, t.result) = (true, 1, 1, RawResult::default());
            t.permit = false;
            // Messages to the old one never reach the new one.
            t.attached += 1000;
        }
    }

    /// Something was done that may have made the executor take its mail.
    pub fn after(&self, ex: u8) {
        let mut st = self.st.borrow_mut();
        self.check(self.observe(&mut st, ex));
    }

    pub fn attach_here(&self, i: u8, ex: u8) {
        let busy = self.st.borrow().is_attached(i);
        let r = self.handle(ex).attach(self.task(i));
        let expected = if busy { Err(Errno(libc::EBUSY)) } else { Ok(()) };
        if r != expected {
            self.check(Err(format!("attach of task {i}: {r:?}")));
        }
        if !busy {
            let mut st = self.st.borrow_mut();
            st.begin(i, ex);
            st.ex[ex as usize].pending += 1;
            st.push_ready(i);
        }
    }

    /// On the thread of `ex`.
    pub fn cancel_here(&self, i: u8, ex: u8) {
        {
            let mut st = self.st.borrow_mut();
            self.check(self.observe(&mut st, ex));
            let found = st.cancel(i, ex);
            drop(st);
            let r = self.handle(ex).cancel(self.task(i));
            let expected = if found { Ok(()) } else { Err(Errno(libc::ENOENT)) };
            if r != expected {
                self.check(Err(format!("cancel of task {i}: {r:?}, not {expected:?}")));
            }
        }
        self.after(ex);
    }

    /// On the thread of `ex`, which may not be the task's.
    pub fn unpark_from(&self, i: u8, ex: u8) {
        let here = {
            let st = self.st.borrow();
            st.tasks[i as usize].ex == ex || !st.is_attached(i)
        };
        if !here {
            return self.unpark_remote(i);
        }
        {
            let mut st = self.st.borrow_mut();
            self.check(self.observe(&mut st, ex));
            st.unpark(i, true);
        }
        let task = self.task(i);
        if park::unpark(task).is_some() {
            self.handle(ex).executor().unparked(task);
        }
    }

    pub fn set_priorities(&self, i: u8, cpu: u8, io: u8, from: Option<u8>) {
        let elsewhere = {
            let st = self.st.borrow();
            let t = &st.tasks[i as usize];
            t.stage != Stage::Idle && from.is_some_and(|ex| ex != t.ex)
        };
        // From another thread it would be refused; here all is one thread, so it is not tried.
        if elsewhere {
            return;
        }
        let r = Handle::<SimKernel>::set_priorities(self.task(i), cpu, io);
        if r != Ok(()) {
            self.check(Err(format!("set_priorities of task {i}: {r:?}")));
        }
        self.st.borrow_mut().set_priorities(i, cpu, io);
    }

    pub fn has_work(&self, ex: u8) {
        let has = self.handle(ex).has_work();
        self.after(ex);
        let st = self.st.borrow();
        // Not yet those that another thread is attaching.
        let attached = st.attached(ex) - st.claims.iter().filter(|c| c.1 == ex).count();
        if has != (attached != 0) {
            self.check(Err(format!("has_work is {has} with {attached} tasks")));
        }
    }

    /// One pass, and all that must hold after it.
    pub fn run(&self, ex: u8, max: usize, timeout_ns: Option<u64>) {
        let before = {
            let mut st = self.st.borrow_mut();
            self.check(self.observe(&mut st, ex));
            trace!(st, "run {ex}, {max} items, {timeout_ns:?} ns");
            let clock_ns = st.clock_ns;
            let mail = st.ex[ex as usize].mail.len();
            let e = &mut st.ex[ex as usize];
            e.in_run = true;
            e.budget = None;
            e.hard.clear();
            e.timeout_ns = timeout_ns;
            Before { ex, max, timeout_ns, clock_ns, items: e.items, mail }
        };
        // The other executor may be in a run, further up on the stack: on a thread of its own, says
        // the simulation, and each thread notes its own.
        // SAFETY: this thread's note, which lives as long as the thread.
        let r = unsafe {
            let here = thread::running_executor();
            let outer = here.replace(thread::nobody());
            let r = self.handle(ex).run(max, timeout_ns);
            here.write(outer);
            r
        };
        let mut st = self.st.borrow_mut();
        self.check(self.observe(&mut st, ex));
        trace!(st, "run {ex} returns {r:?}");
        st.ex[ex as usize].in_run = false;
        let verdict = self.ran(&mut st, &before, r);
        self.check(verdict);
        st.ex[ex as usize].woken = false;
        let verdict = self.counts(&st, ex);
        self.check(verdict);
    }

    fn ran(&self, st: &mut State, b: &Before, r: Res<usize>) -> Verdict {
        let (clock_ns, due) = (st.clock_ns, b.clock_ns);
        let e = &mut st.ex[b.ex as usize];
        let ran = (e.items - b.items) as usize;
        let ready = e.ready_len();
        match r {
            Ok(n) => {
                let budget = e.budget.unwrap_or(0).min(b.max);
                if n != ran || n > budget || n < budget && ready != 0 {
                    return Err(format!("run says {n} items: {ran} ran, {budget} were to run"));
                }
                if n == 0 && b.max != 0 && e.budget.is_none() && !e.woken {
                    return Err("run returns 0, and was not woken".into());
                }
            }
            Err(Errno(libc::ETIME)) => {
                let early = b.timeout_ns.is_none_or(|ns| clock_ns < due.saturating_add(ns));
                if early || ran != 0 || ready != 0 {
                    return Err(format!("ETIME after {ran} items, {ready} ready"));
                }
            }
            // What has run is more than an error that will come again.
            Err(Errno(n)) if e.hard.contains(&n) && ran == 0 => return Ok(()),
            Err(e) => return Err(format!("run fails: {e}, after {ran} items")),
        }
        if e.mail_since.is_some_and(|s| s < b.items) || e.mail.len() > 1000 + b.mail {
            return Err("what was in the mailbox before the run is there still".into());
        }
        if e.timers.first().is_some_and(|t| t.0 <= due) {
            return Err("what was due before the run is not over".into());
        }
        // A burst at most, of what waited for entries; and the kernel may refuse.
        let temper = e.ring.temper();
        let willing = temper.faults == 0 && !temper.partial && e.ring.taken < 64;
        if willing && (!e.ring.sq.is_empty() || e.could_submit()) {
            return Err("run leaves operations that the kernel would take".into());
        }
        Ok(())
    }

    /// The counters, and what every task says of itself.
    fn counts(&self, st: &State, ex: u8) -> Verdict {
        let head = &self.handle(ex).executor().head;
        let e = &st.ex[ex as usize];
        let real = (
            head.tasks_pending_launch.get(),
            head.tasks_running.get(),
            head.tasks_suspended.get(),
            head.total_io_submitted.get(),
            head.total_io_completed.get(),
        );
        let model = (e.pending, 0, e.suspended, e.submitted, e.completed);
        if real != model {
            return Err(format!("counters say {real:?}, not {model:?}"));
        }
        if !head.current_task.get().is_null() {
            return Err("a current task after run".into());
        }
        let total = head.total_ticks_in_run.get();
        let parts = head.total_ticks_in_task_launch.get()
            + head.total_ticks_in_task_completion.get()
            + head.total_ticks_in_io_uring.get()
            + head.total_ticks_sleeping.get();
        if parts > total || total != 0 && !self.program.borrow().track {
            return Err(format!("of {total} ticks in run, {parts} are accounted for"));
        }
        for (i, t) in st.tasks.iter().enumerate().filter(|(_, t)| t.ex == ex) {
            let task = self.task(i as u8);
            let flags = match t.stage {
                Stage::Idle => Flags::IDLE,
                Stage::Claimed | Stage::Mail => Flags::PENDING_LAUNCH,
                Stage::Ready if t.launch => Flags::PENDING_LAUNCH,
                Stage::Ready => Flags::COMPLETED,
                Stage::Running => Flags::RUNNING,
                _ => Flags::AWAITING,
            };
            let said = api::state(task).0;
            let exited = !t.fresh && t.stage == Stage::Idle;
            let address = self.handle(ex).as_ptr().cast();
            let on = if t.stage == Stage::Idle { std::ptr::null_mut() } else { address };
            if said != flags || task.has_exited() != exited || task.executor() != on {
                return Err(format!("task {i}, {:?}, says {said:?}, exited {exited}", t.stage));
            }
            for (n, op) in t.ops[..OPS].iter().enumerate() {
                let in_flight = self.record(i as u8, n as u8).is_in_flight.get();
                if in_flight != (op.at != At::Idle) {
                    return Err(format!("record {n} of task {i}, {:?}, says {in_flight}", op.at));
                }
            }
            if exited && task.head.result.get() != t.result {
                let result = task.head.result.get();
                return Err(format!("task {i} exited with {result:?}, not {:?}", t.result));
            }
        }
        Ok(())
    }

    fn finish(&'static self) {
        let executors = self.program.borrow().executors as u8;
        loop {
            let (ex, max, timeout_ns) = {
                let mut st = self.st.borrow_mut();
                if (0..executors)
                    .all(|ex| st.attached(ex) == 0 && st.ex[ex as usize].mail.is_empty())
                {
                    break;
                }
                let mut ex = st.rng.below(u32::from(executors)) as u8;
                let idle = st.attached(ex) == 0 && !st.rng.one_in(4);
                if idle || !st.ex[ex as usize].alive {
                    ex = executors - 1 - ex;
                }
                if !st.ex[ex as usize].alive {
                    continue;
                }
                let max = st.rng.pick(&[1, 2, 64, usize::MAX]);
                (ex, max, st.rng.pick(&[None, Some(0), Some(3000)]))
            };
            self.run(ex, max, timeout_ns);
            let mut st = self.st.borrow_mut();
            st.moments += 1;
            // Passes that do not wait let no time pass; a thread that makes them does.
            let ns = st.rng.below(1000);
            st.clock_ns += u64::from(ns);
        }
        self.st.borrow_mut().ending = true;
        for ex in (0..executors).filter(|&ex| self.lives(ex)) {
            self.turn(ex);
            if self.lives(ex) {
                self.check(Err(format!("executor {ex} is idle, and not destroyed")));
            }
        }
    }
}

struct Before {
    ex: u8,
    max: usize,
    timeout_ns: Option<u64>,
    clock_ns: u64,
    items: u64,
    mail: usize,
}

impl Task {
    fn new(cpu: u8, io: u8, fresh: bool, result: RawResult) -> Self {
        Self {
            ex: 0,
            stage: Stage::Idle,
            launch: false,
            level: 0,
            cpu,
            io,
            levels: vec![Level::default()],
            cancel_run: 0,
            outcome: RawResult::default(),
            at_once: None,
            again: false,
            unjoined: false,
            result,
            attached: 0,
            ran: 0,
            fresh,
            joiners: Vec::new(),
            permit: false,
            ops: [Op::default(); OPS + 1],
            in_flight: Vec::new(),
            done: Default::default(),
            life: 0,
            at: 0,
            until: 0,
        }
    }
}
