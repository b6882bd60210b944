//! Where the executors meet the simulation: the kernel they see, and all that other threads do at
//! the moments when the executors look away. One thread plays all parts, so a seed is enough to see
//! the same again.
//!
//! A moment is a call of the kernel's that the executor makes where another thread could have got
//! in between. At each, the model is brought up to date first, then others act: through the calls
//! that any thread may make, or by a pass of the other executor.

use std::cell::{Cell, RefCell};

use crate::kernel::SimKernel;
use crate::mail::Mail;
use crate::model::{Stage, State, Timer, DONE};
use crate::program::{Foreign, Program, OPS};
use crate::ring::Verdict;
use monad_async::api::{self, Handle};
use monad_async::error::Errno;
use monad_async::executor::scope::Scope;
use monad_async::executor::{park, remote};
use monad_async::reactor::operation::Op;
use monad_async::task::header::{Flags, TaskRef, Waits};

/// More moments than any program needs: who asks for more runs in circles.
pub const MOMENTS: u64 = 2_000_000;

pub struct Records {
    pub ops: [Op; OPS],
    pub bytes: [Cell<[u8; 40]>; OPS],
}

pub struct World {
    pub st: RefCell<State>,
    pub program: RefCell<Program>,
    pub handles: [Cell<Option<Handle<SimKernel>>>; 2],
    pub tasks: RefCell<Vec<TaskRef>>,
    /// Of each task: its records, their bytes, and its open scopes, outermost first. What is left
    /// open stays where it is until the next life.
    pub records: RefCell<Vec<&'static Records>>,
    #[allow(clippy::vec_box)] // A scope must not move, and the vector does.
    pub scopes: RefCell<Vec<Vec<Box<Scope>>>>,
    /// How a sleeping executor is woken: the real thing, so that a wake that is not sent is missed.
    pub eventfd: [i32; 2],
}

macro_rules! trace {
    ($st:expr, $($arg:tt)*) => {
        if $st.trace {
            eprintln!("{:>8} {}", $st.clock_ns, format!($($arg)*));
        }
    };
}
pub(crate) use trace;

/// Ends the process: a task's stack cannot be unwound, and an executor that broke a promise is not
/// to be trusted to come back.
pub fn fail(seed: u64, text: &str) -> ! {
    eprintln!("\nbroken promise, seed {seed}: {text}");
    // SAFETY: no preconditions.
    unsafe { libc::_exit(crate::hunt::BROKEN) }
}

impl World {
    pub fn new(state: State, program: Program) -> Self {
        // SAFETY: no memory is passed.
        let eventfd = || unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        Self {
            st: RefCell::new(state),
            program: RefCell::new(program),
            handles: [Cell::new(None), Cell::new(None)],
            tasks: RefCell::default(),
            records: RefCell::default(),
            scopes: RefCell::default(),
            eventfd: [eventfd(), eventfd()],
        }
    }

    pub fn check(&self, verdict: Verdict) {
        if let Err(text) = verdict {
            fail(self.program.borrow().seed, &text);
        }
    }

    pub fn task(&self, i: u8) -> TaskRef {
        self.tasks.borrow()[i as usize]
    }

    pub fn record(&self, i: u8, n: u8) -> &'static Op {
        &self.records.borrow()[i as usize].ops[n as usize]
    }

    /// The scope at this depth; the task itself is at depth 0.
    pub fn scope(&self, i: u8, depth: u8) -> Option<*const Scope> {
        let scopes = self.scopes.borrow();
        scopes[i as usize].get(depth as usize - 1).map(|s| &raw const **s)
    }

    fn scope_fired(&self, i: u8, depth: u8) -> bool {
        let scopes = self.scopes.borrow();
        scopes[i as usize].get(depth as usize - 1).is_some_and(|s| s.fired() != 0)
    }

    pub fn handle(&self, ex: u8) -> Handle<SimKernel> {
        self.handles[ex as usize].get().expect("the program has this executor")
    }

    /// A moment of executor `ex`.
    pub fn moment(&'static self, ex: u8) {
        {
            let mut st = self.st.borrow_mut();
            if st.ending {
                return self.check(st.pump(ex));
            }
            st.moments += 1;
            if st.moments > MOMENTS {
                self.check(Err("the program does not come to an end".into()));
            }
            if !st.ex[ex as usize].closing {
                self.check(self.observe(&mut st, ex));
            }
            self.check(st.pump(ex));
        }
        self.post_claimed(1, None);
        {
            let mut st = self.st.borrow_mut();
            if st.countdown != 0 {
                st.countdown -= 1;
                return;
            }
        }
        self.others();
    }

    /// Threads in the middle of attaching a task, to this executor or to any, get on by so many
    /// moments; true if one is through.
    pub fn post_claimed(&self, moments: u32, to: Option<u8>) -> bool {
        let mut st = self.st.borrow_mut();
        let meant = |c: &(u8, u8, u32, u8)| to.is_none_or(|ex| ex == c.1);
        let mut at = None;
        for (n, c) in st.claims.iter_mut().enumerate().filter(|(_, c)| meant(c)) {
            c.2 = c.2.saturating_sub(moments);
            at = at.or((c.2 == 0).then_some(n));
        }
        let Some(at) = at else { return false };
        let (i, ex, _, before) = st.claims.remove(at);
        trace!(st, "another thread: posts task {i} to {ex}");
        st.t(i).stage = Stage::Mail;
        st.post(ex, Mail::Launch(i));
        drop(st);
        let mailbox = self.handle(ex).executor().mailbox();
        if remote::attach_end(mailbox, self.task(i), before).is_err() {
            self.check(Err(format!("executor {ex} lives, and refuses task {i}")));
        }
        true
    }

    /// What the executor took in since the last moment.
    pub fn observe(&self, st: &mut State, ex: u8) -> Verdict {
        let Some(handle) = self.handles[ex as usize].get() else { return Ok(()) };
        if let Some(i) = st.ex[ex as usize].ended.take() {
            if api::state(self.task(i)).0 != Flags::COMPLETED {
                let is = api::state(self.task(i));
                return Err(format!(
                    "task {i}'s operation ended, and the task was not woken: {is:?}"
                ));
            }
        }
        if let Some(arming) = &st.ex[ex as usize].arming {
            let i = arming.task;
            if api::state(self.task(i)).0 != Flags::RUNNING {
                return Err(format!("task {i}'s deadlines are not armed by {:?}", arming.plan));
            }
        }
        self.catch_up(st, ex)?;
        let e = &st.ex[ex as usize];
        if let Some((i, at_ns, ns)) = e.dozing {
            let task = self.task(i);
            if api::state(task).1 == Waits::Deadline {
                let deadline_ns = task.timer.deadline_ns.get();
                if deadline_ns < at_ns + ns || deadline_ns > st.clock_ns + ns {
                    return Err(format!("task {i} sleeps {ns} ns from {at_ns} to {deadline_ns}"));
                }
                let e = &mut st.ex[ex as usize];
                e.dozing = None;
                e.put_timer(deadline_ns, Timer::Task(i));
            }
        }
        let e = &st.ex[ex as usize];
        if (e.notified || !e.mail.is_empty()) && !handle.executor().has_mail() {
            trace!(st, "ex {ex} takes its mail: {:?}", e.mail);
            st.take_mail(ex);
        }
        self.expired(st, ex)
    }

    /// Tasks that ran inside their calls, as the kernel did not perform their operations.
    fn catch_up(&self, st: &mut State, ex: u8) -> Verdict {
        loop {
            let e = &st.ex[ex as usize];
            let Some(i) = e.ready.iter().find_map(|q| q.front().copied()) else { return Ok(()) };
            let waits = api::state(self.task(i)).0 == Flags::COMPLETED;
            if waits || !st.tasks[i as usize].again || st.effective(i) != 0 {
                return Ok(());
            }
            trace!(st, "task {i} runs on {ex}, to operate again");
            st.begun_again(i)?;
        }
    }

    fn expired(&self, st: &mut State, ex: u8) -> Verdict {
        let mut gone = 0;
        while let Some(&(due_ns, timer)) = st.ex[ex as usize].timers.first() {
            let collected = |timer: Timer| match timer {
                Timer::Task(i) => api::state(self.task(i)).0 == Flags::COMPLETED,
                Timer::Scope(i, depth) => self.scope_fired(i, depth),
            };
            if !collected(timer) {
                let later = st.ex[ex as usize].timers.iter().find(|t| collected(t.1));
                if let (true, Some(later)) = (gone == 0, later) {
                    return Err(format!("{later:?} is over, and {timer:?} of {due_ns} is not"));
                }
                break;
            }
            let e = &mut st.ex[ex as usize];
            if due_ns > e.read_ns {
                return Err(format!("{timer:?} of {due_ns} is over at {}", e.read_ns));
            }
            e.due_since = None;
            e.timers.remove(0);
            gone += 1;
            trace!(st, "ex {ex}: {timer:?} is over");
            match timer {
                Timer::Task(i) => st.wake(i, DONE),
                Timer::Scope(i, depth) => st.fire(i, depth, libc::ETIME),
            }
        }
        Ok(())
    }

    /// Another thread's turn.
    pub fn others(&'static self) {
        let next = self.st.borrow().next_foreign;
        let program = self.program.borrow();
        let Some(action) = program.foreign.get(next).copied() else { return };
        let after = program.foreign.get(next + 1).copied().flatten();
        drop(program);
        {
            let mut st = self.st.borrow_mut();
            st.next_foreign += 1;
            st.countdown = after.map_or(0, |(gap, _)| gap);
        }
        if let Some((_, action)) = action {
            self.act(action);
        }
        // What takes no time happens now.
        if matches!(after, Some((0, _))) {
            self.others();
        }
    }

    pub fn act(&'static self, action: Foreign) {
        trace!(self.st.borrow(), "another thread: {action:?}");
        // A caller of an executor knows that it lives.
        match action {
            Foreign::Wake(ex) if self.lives(ex) => self.wake(ex),
            Foreign::Attach { task, ex, slow } if self.lives(ex) => {
                self.attach_remote(task, ex, slow)
            }
            Foreign::Cancel { task, ex } if ex.is_none_or(|ex| self.lives(ex)) => {
                self.cancel_remote(task, ex);
            }
            Foreign::Unpark(task) => self.unpark_remote(task),
            Foreign::Storm(ex) if self.lives(ex) => self.storm(ex),
            Foreign::Wake(_)
            | Foreign::Attach { .. }
            | Foreign::Storm(_)
            | Foreign::Cancel { .. } => {}
            Foreign::Run { max } => {
                for ex in self.elsewhere() {
                    if self.lives(ex) {
                        self.run(ex, max as usize, Some(0));
                    }
                }
            }
            Foreign::Turn => self.elsewhere().for_each(|ex| self.turn(ex)),
            Foreign::Retire => self.elsewhere().for_each(|ex| self.retire(ex)),
        }
    }

    fn storm(&self, ex: u8) {
        let n = self.st.borrow().tasks.len() as u32;
        if n > 64 && self.st.borrow_mut().rng.one_in(3) {
            // More than there are places for such requests.
            return (0..n as u8).for_each(|i| self.cancel_remote(i, Some(ex)));
        }
        for _ in 0..n.min(8) * 2 {
            let mut st = self.st.borrow_mut();
            let i = st.rng.below(n) as u8;
            let slow = st.rng.pick(&[0, 0, 1, 100]);
            let (idle, there) = (st.t(i).stage == Stage::Idle, st.t(i).ex);
            let unpark = st.rng.one_in(4);
            drop(st);
            if unpark {
                self.unpark_remote(i);
            } else if idle {
                self.attach_remote(i, ex, slow);
            } else if there == ex {
                self.cancel_remote(i, Some(ex));
            }
        }
    }

    pub fn wake(&self, ex: u8) {
        {
            let mut st = self.st.borrow_mut();
            st.ex[ex as usize].wake_asked = true;
            st.notify(ex);
        }
        if self.handle(ex).wake().is_err() {
            self.check(Err("wake is refused".into()));
        }
    }

    pub fn attach_remote(&self, i: u8, ex: u8, slow: u32) {
        let busy = self.st.borrow().is_attached(i);
        let mailbox = self.handle(ex).executor().mailbox();
        let r = match slow {
            0 => remote::attach(mailbox, self.task(i)).map(|()| 0),
            _ => remote::attach_begin(mailbox, self.task(i)),
        };
        if r.is_err() != busy || r.is_err_and(|e| e != Errno(libc::EBUSY)) {
            self.check(Err(format!("attach of task {i} from elsewhere: {r:?}")));
        }
        if let Ok(before) = r {
            let mut st = self.st.borrow_mut();
            st.begin(i, ex);
            if slow == 0 {
                st.t(i).stage = Stage::Mail;
                st.post(ex, Mail::Launch(i));
            } else {
                st.t(i).stage = Stage::Claimed;
                st.claims.push((i, ex, slow, before));
            }
        }
    }

    /// At that executor, or wherever it is attached.
    pub fn cancel_remote(&self, i: u8, ex: Option<u8>) {
        let mailbox = ex.map(|ex| self.handle(ex).executor().mailbox());
        let found = self.st.borrow_mut().ask_cancel(i, ex);
        let r = remote::cancel(mailbox, self.task(i));
        let expected = if found { Ok(()) } else { Err(Errno(libc::ENOENT)) };
        if r != expected {
            self.check(Err(format!("cancel of task {i} from elsewhere: {r:?}, not {expected:?}")));
        }
    }

    pub fn unpark_remote(&self, i: u8) {
        self.st.borrow_mut().unpark(i, false);
        if let Some(parked) = park::unpark(self.task(i)) {
            parked.post();
        }
    }
}
