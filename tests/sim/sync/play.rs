//! A program on the executor: the objects are the real ones, in either form.

use crate::kernel::{entry, Sim, NOTHING_COMES};
use crate::model::{of_case, value, Out, PARTIES, PERMITS, TOLD};
use crate::program::*;
use monad_async::api::{create_task, destroy_task, Handle};
use monad_async::error::{Errno, RawResult, Res};
use monad_async::executor::exit::hook;
use monad_async::executor::grant::Caller;
use monad_async::executor::hands::Hands;
use monad_async::executor::queue::{Queue, Seat};
use monad_async::executor::queue_left::Left;
use monad_async::executor::scope::Scope;
use monad_async::reactor::operation::Op;
use monad_async::sync::barrier::Barrier;
use monad_async::sync::channel::{Channel, Direction};
use monad_async::sync::condition::Condition;
use monad_async::sync::event::Event;
use monad_async::sync::group::{Group, INDEPENDENT, SHORT_EXITS};
use monad_async::sync::mutex::Mutex;
use monad_async::sync::rw_lock::{Access, RwLock};
use monad_async::sync::select::{kind, select, Case as Record};
use monad_async::sync::semaphore::Semaphore;
use monad_async::sync::wait_group::WaitGroup;
use monad_async::sync::Side;
use monad_async::task::header::{mark, TaskHead, TaskRef};
use monad_async::uring::kernel::Kernel;
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr::NonNull;

const NEVER_NS: u64 = u64::MAX;
const NORMAL: u8 = 1;
const OVER: RawResult = RawResult::success(0);

/// As the initialisers of C make one: zeros, and a number in the second word.
unsafe fn object<T>(second: u64) -> Box<T> {
    // SAFETY: what C gives the library; the caller's T is such an object.
    unsafe {
        let mut memory = Box::new(std::mem::MaybeUninit::<T>::zeroed());
        memory.as_mut_ptr().cast::<u64>().add(1).write(second);
        Box::from_raw(Box::into_raw(memory).cast())
    }
}

struct Stage<S: Side> {
    ex: Handle<Sim>,
    program: Program,
    tasks: Vec<TaskRef>,
    log: RefCell<Vec<(usize, Out)>>,
    mutex: Box<Mutex<S>>,
    condition: Box<Condition<S>>,
    semaphore: Box<Semaphore<S>>,
    channels: [Box<Channel<S>>; 2],
    _storage: Box<[Cell<Out>; CAPACITY_MAX]>,
    event: Box<Event<S>>,
    barrier: Box<Barrier<S>>,
    lock: Box<RwLock<S>>,
    group: Box<WaitGroup<S>>,
    team: Group<Sim>,
    operations: Vec<[Op; OPS]>,
    queue: &'static Queue,
    told: [Box<Event<S>>; POOLED],
}

struct Actor<S: Side> {
    stage: *const Stage<S>,
    index: usize,
}

fn out(r: Res<Out>) -> Out {
    r.unwrap_or_else(|Errno(e)| -Out::from(e))
}

pub fn done(r: Res<()>) -> Out {
    out(r.map(|()| 0))
}

/// What an operation has brought.
pub fn brought(r: RawResult) -> Out {
    out(r.done().map(|()| r.value as Out))
}

/// Of a call that has no time-out of its own: in a scope.
pub fn within<K: Kernel>(
    task: TaskRef,
    timeout: Option<u64>,
    call: impl FnOnce() -> RawResult,
) -> Out {
    let Some(slots) = timeout else { return brought(call()) };
    let mut scope = std::mem::MaybeUninit::<Scope>::zeroed();
    // SAFETY: zeros are a scope that is not entered; it stays until it has been left.
    unsafe {
        let scope = scope.as_mut_ptr();
        Handle::<K>::enter_scope(task, scope, slots * SLOT_NS, 0).expect("the running task");
        let out = brought(call());
        Handle::<K>::leave_scope(task, scope).expect("the innermost one");
        out
    }
}

impl<S: Side> Stage<S> {
    fn step(&self, t: usize, at: usize) -> Out {
        let (task, ex) = (self.tasks[t], self.ex.executor());
        let caller = &Caller::task(ex, task);
        let here = Some(ex.mailbox());
        let (step, timeout) = self.program.bodies[t].steps[at];
        let until = timeout.map_or(NEVER_NS, |slots| caller.now_ns() + slots * SLOT_NS);
        let mut element = value(t, at);
        let to: *mut u8 = (&raw mut element).cast();
        let (send, receive) = (Direction::Send, Direction::Receive);
        let transfer = |channel: usize, way, waits: bool| {
            let channel = &self.channels[channel];
            // SAFETY: an element, or memory for one, until the call returns.
            let r = unsafe {
                match waits {
                    true => channel.transfer(caller, way, to, until).done(),
                    false => channel.try_transfer::<Sim>(here, way, to),
                }
            };
            // SAFETY: what was received, or what was to be sent.
            out(r.map(|()| if way == receive { unsafe { to.cast::<Out>().read() } } else { 0 }))
        };
        match step {
            Step::Lock => done(self.mutex.lock(caller, until).done()),
            Step::TryLock => done(self.mutex.try_lock(caller)),
            Step::Unlock => done(self.mutex.unlock(caller).done()),
            Step::CondWait => done(self.condition.wait(caller, &self.mutex, until)),
            Step::Notify(count) => done(self.condition.notify::<Sim>(here, count)),
            Step::Acquire(n) => done(self.semaphore.acquire(caller, n, until).done()),
            Step::TryAcquire(n) => done(self.semaphore.try_acquire(here, n)),
            Step::Release(n) => done(self.semaphore.release::<Sim>(n).done()),
            Step::Send(c) => transfer(c, send, true),
            Step::Recv(c) => transfer(c, receive, true),
            Step::TrySend(c) => transfer(c, send, false),
            Step::TryRecv(c) => transfer(c, receive, false),
            Step::Close(c) => out(self.channels[c].close::<Sim>(here).map(Out::from)),
            Step::EventWait => done(self.event.wait(caller, until)),
            Step::EventSet => done(self.event.set::<Sim>(here)),
            Step::EventReset => out(self.event.reset(here).map(Out::from)),
            Step::Meet => out(self.barrier.wait(caller, until).map(Out::from)),
            Step::Read => done(self.lock.lock(caller, Access::Read, until)),
            Step::Write => done(self.lock.lock(caller, Access::Write, until)),
            Step::TryRead => done(self.lock.try_lock(caller, Access::Read)),
            Step::TryWrite => done(self.lock.try_lock(caller, Access::Write)),
            Step::EndRead => done(self.lock.unlock(caller, Access::Read)),
            Step::EndWrite => done(self.lock.unlock(caller, Access::Write)),
            Step::GroupAdd => done(self.group.add(here, 1)),
            Step::GroupDone => done(self.group.done::<Sim>(here, 1)),
            Step::GroupWait => done(self.group.wait(caller, until)),
            Step::Select(cases) => self.select(caller, t, &cases, value(t, at)),
            Step::Begin(n, slots) => {
                let record = &self.operations[t][n];
                if !record.is_in_flight.get() {
                    let due_ns = caller.now_ns() + slots * SLOT_NS;
                    record.sqe.set(entry(t * OPS + n, due_ns, value(t, at)));
                }
                // SAFETY: it outlives its task, and refers to no memory, as this kernel sees it.
                done(unsafe { Handle::<Sim>::begin_operation(task, record) })
            }
            Step::TakeOp(n) => match ex.take_completion(&self.operations[t][n]) {
                Some(result) => brought(result),
                None => -Out::from(libc::EAGAIN),
            },
            Step::Complete(other, n) => {
                ex.kernel().complete(other * OPS + n);
                0
            }
            Step::WaitOp(n) => within::<Sim>(task, timeout, || {
                Handle::<Sim>::wait_operation(task, &self.operations[t][n])
            }),
            Step::WaitAny => within::<Sim>(task, timeout, || {
                // SAFETY: one of the task's.
                let result = |op: NonNull<Op>| unsafe { op.as_ref() }.result.get();
                Handle::<Sim>::wait_any(task).map_or_else(RawResult::failure, result)
            }),
            Step::CancelOp(n) => {
                done(Handle::<Sim>::cancel_operation(task, &self.operations[t][n]))
            }
            Step::EndOp(n) => done(Handle::<Sim>::end_operation(task, &self.operations[t][n])),
            Step::Submit(n) => self.begins(n, |task| {
                // SAFETY: the actors live until all have exited.
                let hook = || unsafe { hook(task, told::<S>, task.head.user_ptr.get()) };
                self.queue.submit(task, || if self.program.is_told { hook() } else { 0 })
            }),
            Step::SubmitAll => {
                let (count, submitted) =
                    self.queue.submit_many((0..POOLED).map(|n| self.pooled(n)));
                (0..count).for_each(|n| self.is_told_no_more(n));
                if count == 0 {
                    done(submitted)
                } else {
                    count as Out
                }
            }
            Step::Attach(n) => self.begins(n, |task| match self.program.is_told {
                // SAFETY: as above.
                true => unsafe { self.ex.attach_hooked(task, told::<S>, task.head.user_ptr.get()) },
                false => self.ex.attach(task),
            }),
            Step::SetLevel(n, level) if self.pooled(n).is_queued() => {
                done(Handle::<Sim>::set_priorities(self.pooled(n), level, NORMAL))
            }
            Step::SetLevel(..) => 0,
            Step::WaitQueued(at_most) => self.until_left(caller, at_most, Left::Queued, timeout),
            Step::WaitUnfinished(at_most) => {
                self.until_left(caller, at_most, Left::Unfinished, timeout)
            }
            Step::WaitTold(n) => done(self.told[n].wait(caller, until)),
            Step::CancelQueue => self.queue.cancel_all() as Out,
            Step::CloseQueue => {
                self.queue.close(false);
                0
            }
            Step::Spawn(child) => done(self.team.spawn(self.child(child))),
            Step::SpawnAll => {
                let row: [_; CHILDREN] = std::array::from_fn(|c| self.child(c).as_head());
                // SAFETY: they live as long as the stage; the group lists its children.
                match unsafe { self.team.spawn_many(&row) } {
                    (0, Err(Errno(e))) => -Out::from(e),
                    (count, _) => count as Out,
                }
            }
            Step::CancelTeam => done(self.team.cancel()),
            Step::WaitTeam => within::<Sim>(task, timeout, || {
                self.team.wait(caller).unwrap_or_else(RawResult::failure)
            }),
            Step::Join(other) => {
                within::<Sim>(task, timeout, || Handle::<Sim>::join(task, self.tasks[other]))
            }
            Step::Park => within::<Sim>(task, timeout, || Handle::<Sim>::park(task)),
            Step::Unpark(other) => {
                Handle::<Sim>::unpark(self.tasks[other]);
                0
            }
            Step::Yield => done(Handle::<Sim>::sleep(task, 0).done()),
            Step::Sleep(slots) => done(Handle::<Sim>::sleep(task, slots * SLOT_NS).done()),
            Step::Work(slots) => {
                ex.kernel().passes(slots * SLOT_NS);
                0
            }
            Step::Cancel(other) => {
                let _ = Handle::<Sim>::cancel_anywhere(self.tasks[other]); // ENOENT: it has exited.
                0
            }
        }
    }

    fn until_left(
        &self,
        caller: &Caller<'_, Sim>,
        at_most: usize,
        what: Left,
        timeout: Option<u64>,
    ) -> Out {
        let task = caller.executor().expect("a task's").1;
        within::<Sim>(task, timeout, || {
            self.queue.until_left(caller, at_most, what).map_or_else(RawResult::failure, |()| OVER)
        })
    }

    /// A run of the nth that is for the pool, whose end nobody was told of.
    fn begins(&self, n: usize, begin: impl FnOnce(TaskRef) -> Res<()>) -> Out {
        let begun = begin(self.pooled(n));
        if begun.is_ok() {
            self.is_told_no_more(n);
        }
        done(begun)
    }

    fn is_told_no_more(&self, n: usize) {
        let _ = self.told[n].reset(Some(self.ex.executor().mailbox()));
    }

    fn pooled(&self, n: usize) -> TaskRef {
        self.tasks[self.program.tasks() + CHILDREN + n]
    }

    fn child(&self, n: usize) -> TaskRef {
        self.tasks[self.program.tasks() + n]
    }

    fn select(
        &self,
        caller: &Caller<'_, Sim>,
        t: usize,
        cases: &[Option<Case>; CASES_MAX],
        value: Out,
    ) -> Out {
        let kinds = match S::IS_LOCAL {
            true => (kind::LOCAL_SEND, kind::LOCAL_RECEIVE),
            false => (kind::SEND, kind::RECEIVE),
        };
        let cases: Vec<Case> = cases.iter().flatten().copied().collect();
        let null = std::ptr::null_mut();
        let channel = |c: usize| (&raw const *self.channels[c]).cast_mut().cast::<u8>();
        // An element each: what a case that lost received, or gave away, would be seen.
        let elements: [Cell<Out>; CASES_MAX] = std::array::from_fn(|_| Cell::new(0));
        let record = |(i, &Case(what, priority)): (usize, &Case)| {
            let element = elements[i].as_ptr().cast();
            let record = match what {
                What::Send(c) => {
                    elements[i].set(value);
                    Record::new(kinds.0, channel(c), element, 0)
                }
                What::Recv(c) => Record::new(kinds.1, channel(c), element, 0),
                What::Join(other) => {
                    let head = self.tasks[other].as_head().cast_mut().cast();
                    Record::new(kind::JOIN, head, null, 0)
                }
                What::Op(n) => {
                    let record = (&raw const self.operations[t][n]).cast_mut().cast();
                    Record::new(kind::OPERATION, record, null, 0)
                }
                What::Timeout(slots) => Record::new(kind::TIMEOUT, null, null, slots * SLOT_NS),
            };
            record.with_priority(priority)
        };
        let records: Vec<Record> = cases.iter().enumerate().map(record).collect();
        // SAFETY: the objects are what their kinds say, and the elements live as long.
        let won = match unsafe { select(caller, &records) } {
            Ok(won) => Some(won),
            Err(Errno(e)) => return -Out::from(e),
        };
        for (i, &Case(what, _)) in cases.iter().enumerate() {
            let unchanged = if let What::Send(_) = what { value } else { 0 };
            assert!(won == Some(i) || elements[i].get() == unchanged, "case {i} left a trace");
        }
        let won = won.unwrap_or_default();
        of_case(
            won as Out,
            match (cases[won].0, brought(records[won].result())) {
                (What::Recv(_), 0) => elements[won].get(),
                (_, out) => out,
            },
        )
    }
}

/// Told of a child: its exit is published, nothing of it is left, and no task runs.
unsafe extern "C" fn exited<S: Side>(head: *const TaskHead, r: RawResult) {
    // SAFETY: the stage outlives its tasks.
    let (stage, t) = unsafe {
        let actor = &*(*head).user_ptr.get().cast::<Actor<S>>();
        (&*actor.stage, actor.index)
    };
    let task = stage.tasks[t];
    assert!(task.has_exited() && !task.is_attached() && !task.has(mark::HOOKED));
    // It may call what it likes, except for a short one, which is told between two launches.
    assert!(stage.program.short || stage.ex.executor().current_task().is_none());
    assert_eq!(task.head.result.get(), r);
    stage.log.borrow_mut().push((t, TOLD + done(r.done())));
}

/// Told of one that was let go, or submitted: as of what stands behind a future.
unsafe extern "C" fn told<S: Side>(of: *const c_void, task: TaskRef, r: RawResult, _: u64) {
    // SAFETY: the actor of the task; the stage outlives its tasks.
    let (stage, t) = unsafe {
        let actor = &*of.cast::<Actor<S>>();
        (&*actor.stage, actor.index)
    };
    assert!(task == stage.tasks[t] && task.has_exited() && !task.is_attached());
    assert_eq!(task.head.result.get(), r);
    stage.log.borrow_mut().push((t, TOLD + done(r.done())));
    let n = t - stage.program.tasks() - CHILDREN;
    let here = Some(stage.ex.executor().mailbox());
    stage.told[n].set::<Sim>(here).expect("of this executor");
}

unsafe extern "C" fn body<S: Side>(head: *const TaskHead) -> RawResult {
    // SAFETY: the stage outlives its tasks.
    let (stage, t) = unsafe {
        let actor = &*(*head).user_ptr.get().cast::<Actor<S>>();
        (&*actor.stage, actor.index)
    };
    for at in 0..stage.program.bodies[t].steps.len() {
        let out = stage.step(t, at);
        stage.log.borrow_mut().push((t, out));
        let task = stage.tasks[t];
        assert_eq!(task.has(mark::OPERATIONS), !task.operations.is_empty());
    }
    let _ = stage.mutex.unlock(&Caller::task(stage.ex.executor(), stage.tasks[t]));
    match stage.program.bodies[t].fails {
        true => RawResult::failure(Errno(libc::EIO)),
        false => RawResult::success(0),
    }
}

thread_local! {
    /// One for all programs, one after the other: queues are never freed.
    static QUEUE: &'static Queue = Box::leak(Box::new(Queue::new()));
}

pub fn play<S: Side>(program: &Program) -> Vec<(usize, Out)> {
    let independent = if program.independent { INDEPENDENT } else { 0 };
    let flags = independent | if program.short { SHORT_EXITS } else { 0 };
    let ex = Handle::new(Sim::default(), false).expect("an executor");
    let storage = Box::new(std::array::from_fn(|_| Cell::new(0)));
    // SAFETY: such objects.
    let stage = unsafe {
        Stage::<S> {
            ex,
            program: program.clone(),
            tasks: program.bodies.iter().map(|_| create_task(64 << 10).expect("a task")).collect(),
            log: RefCell::default(),
            mutex: object(0),
            condition: object(0),
            semaphore: object(PERMITS),
            channels: [object(0), object(0)],
            _storage: storage,
            event: object(0),
            barrier: object(PARTIES),
            lock: object(0),
            group: object(0),
            team: Group::new(ex.executor(), flags),
            // Zeroed records are idle; so says op.h.
            operations: program.bodies.iter().map(|_| std::mem::zeroed()).collect(),
            queue: QUEUE.with(|queue| *queue),
            told: [object(0), object(0)],
        }
    };
    if !program.quiet {
        stage.team.set_on_exit(Some(exited::<S>));
    }
    for (c, channel) in stage.channels.iter().enumerate() {
        let storage = stage._storage.as_ptr().cast_mut().cast();
        channel.set_up(storage, program.capacity[c], size_of::<Out>()).expect("room");
    }
    let actors: Vec<_> =
        (0..stage.tasks.len()).map(|index| Actor { stage: &raw const stage, index }).collect();
    for (t, task) in stage.tasks.iter().enumerate() {
        task.head.cpu.set(program.bodies[t].level);
        task.head.user_code.set(Some(body::<S>));
        task.head.user_ptr.set((&raw const actors[t]).cast_mut().cast());
        if t < program.tasks() {
            ex.attach(*task).expect("idle");
        }
    }
    stage.queue.open(false);
    let seat = Seat::new(stage.queue, ex.executor().mailbox(), Hands::new(64 << 10));
    let mut rounds = 0;
    while ex.has_work() || stage.queue.counts().0 != 0 {
        let is_stuck = if program.is_fed {
            ex.executor().run_fed(&seat) == Err(NOTHING_COMES)
        } else {
            ex.run(usize::MAX, Some(1 << 40)) == Err(Errno(libc::ETIME))
        };
        if is_stuck {
            stage.tasks.iter().for_each(|&task| _ = ex.cancel(task));
            rounds += 1;
            assert!(rounds < 4, "nobody ends it: {:?}", stage.log.borrow());
        }
    }
    assert_eq!(stage.queue.counts(), (0, 0), "in the queue, or begun");
    stage.queue.leave(&seat);
    assert_eq!(stage.team.count(), 0, "of children that have exited");
    stage.tasks.iter().for_each(|&task| destroy_task(task).expect("exited"));
    ex.destroy().expect("idle");
    stage.log.take()
}
