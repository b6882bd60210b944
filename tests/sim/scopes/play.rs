//! The same program, played by the executor.

use crate::calls::{self, Op, Scope};
use crate::kernel::Sim;
use crate::model::{failure, ok, Out};
use crate::program::*;
use crate::support::{new_large_task, new_task, set_body};
use monad_async::api::Handle;
use monad_async::error::{Errno, RawResult};
use monad_async::task::header::TaskRef;
use monad_async::uring::kernel::{op, Sqe};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// The executor and the tasks, which one program after the other uses.
pub struct Stage {
    shared: Rc<Shared>,
    witness: TaskRef,
}

struct Shared {
    ex: Handle<Sim>,
    subject: TaskRef,
    /// Does what others do, at their times, and then looks in as the janitor.
    actor: TaskRef,
    targets: [TaskRef; TARGETS],
    program: RefCell<Rc<Program>>,
    began_ns: Cell<u64>,
    /// Open ones of the subject, outermost first. What it leaves open is there until it has exited.
    #[allow(clippy::vec_box)] // A scope must not move, and the vector does.
    scopes: RefCell<Vec<Box<Scope>>>,
    ops: RefCell<Box<[Op; OPS]>>,
    log: RefCell<Vec<Out>>,
}

impl Shared {
    /// Since the program began.
    fn now_ns(&self) -> u64 {
        self.ex.executor().kernel().clock_ns.get() - self.began_ns.get()
    }

    fn op(&self, i: u8) -> *mut Op {
        &raw mut self.ops.borrow_mut()[usize::from(i)]
    }

    fn scope(&self, n: u8) -> Option<*mut Scope> {
        self.scopes.borrow_mut().get_mut(usize::from(n)).map(|s| &raw mut **s)
    }

    fn sleep_until(&self, task: TaskRef, ns: u64) -> Out {
        // Both ways, in turn.
        if (ns / SLOT_NS).is_multiple_of(2) {
            calls::sleep(task, ns - self.now_ns())
        } else {
            calls::sleep_until(task, self.began_ns.get() + ns)
        }
    }

    /// The entry of an operation that does so.
    fn sqe(&self, script: Script, place: usize) -> Sqe {
        let mut script = script.begun(self.now_ns(), place);
        script.due_ns = script.due_ns.saturating_add(self.began_ns.get());
        let scripts = &mut *self.ex.executor().kernel().scripts.borrow_mut();
        scripts.push(script);
        let off = scripts.len() as u64 - 1;
        match script.more {
            0 => Sqe::new(op::READ, 3, off, 0, 1, 0),
            // IORING_POLL_ADD_MULTI
            _ => Sqe::new(op::POLL_ADD, 3, off, 0, 1, 0),
        }
    }

    fn subject(&self, task: TaskRef) -> RawResult {
        let program = self.program.borrow().clone();
        for &step in &program.steps {
            let out = self.step(task, step);
            self.log.borrow_mut().push(out);
        }
        RawResult::success(0)
    }

    fn step(&self, task: TaskRef, step: Step) -> Out {
        let open = self.scopes.borrow().len() as u8;
        match step {
            Step::Enter { timeout_ns, shield } => {
                let now_ns = self.now_ns();
                let timeout_ns = timeout_ns.map_or(u64::MAX, |ns| deadline(now_ns, ns) - now_ns);
                self.scopes.borrow_mut().push(Box::new(calls::scope_new()));
                let scope = self.scope(open).expect("pushed");
                calls::enter(task, scope, timeout_ns, u32::from(shield))
            }
            Step::Leave | Step::LeaveOutermost => {
                let which = if step == Step::Leave { open.wrapping_sub(1) } else { 0 };
                let Some(scope) = self.scope(which) else { return ok(0) };
                let out = calls::leave(task, scope);
                if out.error == 0 {
                    self.scopes.borrow_mut().pop();
                }
                out
            }
            Step::Fire(n) => self.scope(n).map_or(ok(0), calls::fire),
            Step::CancelSelf => calls::cancel(self.ex, task),
            Step::Uncancel => calls::uncancel(task),
            Step::Work(ns) => {
                let until_ns = worked(&self.program.borrow(), self.now_ns(), ns);
                self.ex.executor().kernel().clock_ns.set(self.began_ns.get() + until_ns);
                ok(0)
            }
            Step::Yield => calls::sleep(task, 0),
            Step::Sleep(ns) => self.sleep_until(task, at(self.now_ns(), ns, SLEEP)),
            Step::Forever => calls::sleep(task, u64::MAX),
            Step::Io(script) => calls::io(task, &self.sqe(script, OWN)),
            Step::Begin(i, script) => {
                let sqe = self.sqe(script, usize::from(i));
                calls::begin(task, self.op(i), &sqe)
            }
            Step::Wait(i) => calls::wait(task, self.op(i)),
            Step::WaitAny => match calls::wait_any(task) {
                Ok(op) => {
                    // SAFETY: both point into the array.
                    let i = unsafe { op.offset_from(self.op(0)) } as i64;
                    let Out { error, value, more } = calls::outcome(op);
                    Out { error: 0, value: i << 32 | value << 12 | i64::from(error), more }
                }
                Err(Errno(e)) => failure(e),
            },
            Step::OpCancel(i) => calls::op_cancel(task, self.op(i)),
            Step::Park => calls::park(task),
            Step::Unpark => calls::unpark(task),
            Step::Join(i) => calls::join(task, self.targets[usize::from(i)]),
        }
    }

    fn actor(&self, task: TaskRef) -> RawResult {
        let program = self.program.borrow().clone();
        for &(ns, act) in &program.acts {
            self.wait_until(task, ns);
            if self.subject.has_exited() {
                break;
            }
            let _ = match act {
                Act::Cancel => calls::cancel(self.ex, self.subject),
                Act::Fire(n) => self.scope(n).map_or(ok(0), calls::fire),
                Act::Unpark => calls::unpark(self.subject),
                Act::OpCancel(i) => calls::op_cancel(task, self.op(i)),
            };
        }
        let mut ns = JANITOR_NS;
        while !self.subject.has_exited() {
            self.wait_until(task, ns);
            ns += JANITOR_EVERY_NS;
            let _ = calls::cancel(self.ex, self.subject);
            for scope in (0..).map_while(|n| self.scope(n)) {
                let _ = calls::fire(scope);
            }
        }
        RawResult::success(0)
    }

    /// Whatever it takes: who sleeps here is cancelled when the program is over.
    fn wait_until(&self, task: TaskRef, ns: u64) {
        if ns > self.now_ns() && !self.subject.has_exited() {
            calls::sleep(task, ns - self.now_ns());
        }
    }
}

impl Stage {
    pub fn new(tracked: bool) -> Self {
        let ex = Handle::new(Sim::default(), tracked).expect("memory for an executor");
        let shared = Rc::new(Shared {
            ex,
            subject: new_large_task(),
            actor: new_task(),
            targets: [(); TARGETS].map(new_task_of),
            program: RefCell::new(Rc::new(Program::new(0))),
            began_ns: Cell::new(0),
            scopes: RefCell::default(),
            ops: RefCell::new(Box::new(std::array::from_fn(|_| calls::op_new()))),
            log: RefCell::default(),
        });
        let witness = new_task();
        let s = shared.clone();
        set_body(shared.subject, move |task| s.subject(task));
        let s = shared.clone();
        set_body(shared.actor, move |task| s.actor(task));
        for (i, &target) in shared.targets.iter().enumerate() {
            let s = shared.clone();
            set_body(target, move |task| {
                let ns = s.program.borrow().targets[i];
                calls::sleep(task, ns - s.now_ns());
                RawResult::success(i as isize)
            });
        }
        let s = shared.clone();
        set_body(witness, move |task| {
            let Out { error, .. } = calls::join(task, s.subject);
            s.log.borrow_mut().push(Out { error, value: s.now_ns() as i64, more: false });
            // Nobody else has anything left to do.
            let others = s.targets.iter().chain([&s.actor]);
            for &task in others.filter(|t| t.is_attached()) {
                let _ = calls::cancel(s.ex, task);
            }
            RawResult::success(0)
        });
        Self { shared, witness }
    }

    /// What each call returned, and how many operations were begun; an error if something is left.
    pub fn play(&self, program: &Rc<Program>, garbage: bool) -> Result<(Vec<Out>, u64), String> {
        let s = &*self.shared;
        let kernel = s.ex.executor().kernel();
        let began_ns = kernel.clock_ns.get().next_multiple_of(TICK_NS);
        kernel.clock_ns.set(began_ns);
        kernel.sq_entries.set(program.sq_entries);
        kernel.scripts.borrow_mut().clear();
        kernel.garbage.set(garbage);
        s.began_ns.set(began_ns);
        s.log.borrow_mut().clear();
        // A permit stays from one run to the next, but the next program knows nothing of it.
        s.subject.permit().take_any();
        **s.ops.borrow_mut() = std::array::from_fn(|_| calls::op_new());
        *s.program.borrow_mut() = program.clone();
        let head = &s.ex.executor().head;
        let (submitted, completed) = (head.total_io_submitted.get(), head.total_io_completed.get());
        let cast = s.targets.iter().chain([&s.actor, &s.subject, &self.witness]);
        cast.for_each(|&task| s.ex.attach(task).expect("all are idle"));
        while s.ex.has_work() {
            s.ex.run(usize::MAX, None).map_err(|e| format!("run: {e}"))?;
            if s.now_ns() > 100 * JANITOR_NS {
                return Err("the program does not come to an end".into());
            }
            if !kernel.no_unsubmitted() {
                return Err("run leaves entries in the queue".into());
            }
        }
        s.scopes.borrow_mut().clear();
        let begun = head.total_io_submitted.get() - submitted;
        let ended = head.total_io_completed.get() - completed;
        if begun != ended || !kernel.is_idle() {
            return Err(format!("{begun} operations began, {ended} ended"));
        }
        Ok((s.log.take(), begun))
    }
}

fn new_task_of((): ()) -> TaskRef {
    new_task()
}
