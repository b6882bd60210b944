//! What each step returns, by a model as simple as can be: queues are vectors of tasks, and the run
//! queue one of each level.

use crate::crossings::Crossings;
use crate::operations::Operation;
use crate::pool::{Left, Pool};
use crate::program::*;
use crate::team::{deadline, Team};
use std::collections::VecDeque;

/// Of a step: its value, or minus the errno.
pub type Out = i64;

const fn err(errno: i32) -> Out {
    -(errno as Out)
}
pub const EPIPE: Out = err(libc::EPIPE);
pub const EBUSY: Out = err(libc::EBUSY);
pub const EAGAIN: Out = err(libc::EAGAIN);
pub const ENOENT: Out = err(libc::ENOENT);
pub const EIO: Out = err(libc::EIO);
const EPERM: Out = err(libc::EPERM);
pub const EDEADLK: Out = err(libc::EDEADLK);
pub const EINVAL: Out = err(libc::EINVAL);
pub const ECANCELED: Out = err(libc::ECANCELED);
pub const ETIME: Out = err(libc::ETIME);
pub const ESRCH: Out = err(libc::ESRCH);
pub const ESHUTDOWN: Out = err(libc::ESHUTDOWN);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Queue {
    Mutex,
    Condition,
    Semaphore,
    Senders(usize),
    Receivers(usize),
    Event,
    Barrier,
    Readers,
    Writers,
    Group,
    Joiners(usize),
    /// For a task to leave the pool's queue.
    Leaves(usize),
    Told(usize),
}

pub struct Entry {
    pub task: usize,
    pub queue: Queue,
    /// Of a semaphore: how many. Of a sender: what.
    what: Out,
    /// Of a select: the case.
    pub case: Out,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Ready,
    /// `armed`: neither granted nor ended by a cancel.
    Waits {
        armed: bool,
    },
    Sleeps,
    /// In the pool's queue.
    Queued,
    /// Or never attached, if there is no result.
    Done,
}

#[derive(Clone)]
pub struct Task {
    pub at: usize,
    pub state: State,
    pub canceled: bool,
    /// What the wait that is over gives; None: it was granted.
    pub outcome: Option<Out>,
    pub given: Out,
    pub in_step: bool,
    pub begun: bool,
    /// Of the last run.
    pub result: Option<Out>,
    pub in_team: bool,
    pub permit: bool,
    pub operations: [Operation; OPS],
    /// Of those, which are done, in order.
    pub completed: Vec<usize>,
    /// It has returned, and its operations have not ended: the result.
    pub closes: Option<Out>,
    pub level: u8,
    /// Which run it is, from 1.
    pub run: u64,
    /// The run came from the pool's queue.
    pub is_pooled: bool,
    /// Somebody is told of its exit.
    pub is_told: bool,
    /// What it waits for has left the pool's queue.
    pub left: bool,
    /// Of that step: which runs it joins, 0 if that is not known yet.
    pub joined: [u64; CASES_MAX],
    /// Of that step: when it times out, and that it has while it was ready.
    pub until: Option<u64>,
    pub fired: bool,
}

impl Task {
    pub fn new(state: State, level: u8) -> Self {
        Self {
            at: 0,
            state,
            canceled: false,
            outcome: None,
            given: 0,
            in_step: false,
            begun: false,
            result: None,
            in_team: false,
            permit: false,
            operations: [Operation::Idle; OPS],
            completed: Vec::new(),
            closes: None,
            level,
            run: 0,
            is_pooled: false,
            is_told: false,
            left: false,
            joined: [0; CASES_MAX],
            until: None,
            fired: false,
        }
    }
}

pub struct Model<'a> {
    pub program: &'a Program,
    pub tasks: Vec<Task>,
    pub team: Team,
    pub pool: Pool,
    pub crossings: &'a mut Crossings,
    /// What the kernel has told, or will tell when the executor sleeps: whose.
    pub posted: Vec<(usize, usize)>,
    pub ended: Vec<(usize, usize)>,
    /// What it is asked to cancel.
    pub cancels: Vec<(usize, usize)>,
    pub begun: u64,
    pub ready: [VecDeque<usize>; 3],
    timers: Vec<(u64, usize)>,
    pub now: u64,
    /// In order of arrival.
    pub entries: Vec<Entry>,
    owner: Option<usize>,
    permits: u64,
    inside: [VecDeque<Out>; 2],
    closed: [bool; 2],
    event: bool,
    met: usize,
    readers: usize,
    writer: Option<usize>,
    left: u64,
    pub log: Vec<(usize, Out)>,
}

/// Somebody was told of the exit of a child, with its result.
pub const TOLD: Out = 1_000_000;
pub const PERMITS: u64 = 1;
pub const PARTIES: u64 = 3;

impl<'a> Model<'a> {
    pub fn predict(program: &'a Program, crossings: &'a mut Crossings) -> Vec<(usize, Out)> {
        let first = |t: usize| {
            let state = if t < program.tasks() { State::Ready } else { State::Done };
            let run = u64::from(t < program.tasks());
            Task { run, ..Task::new(state, program.bodies[t].level) }
        };
        let mut m = Model {
            program,
            tasks: (0..program.bodies.len()).map(first).collect(),
            team: Team::default(),
            pool: Pool::default(),
            crossings,
            posted: Vec::new(),
            ended: Vec::new(),
            cancels: Vec::new(),
            begun: 0,
            ready: Default::default(),
            timers: Vec::new(),
            now: 0,
            entries: Vec::new(),
            owner: None,
            permits: PERMITS,
            inside: Default::default(),
            closed: [false; 2],
            event: false,
            met: 0,
            readers: 0,
            writer: None,
            left: 0,
            log: Vec::new(),
        };
        for t in 0..program.tasks() {
            m.ready[program.bodies[t].level as usize].push_back(t);
        }
        m.run();
        m.log
    }

    fn run(&mut self) {
        loop {
            // A pass: what was posted is looked at before it, and those run that are ready then.
            std::mem::take(&mut self.posted).into_iter().for_each(|of| self.completes(of));
            self.expires();
            if self.program.is_fed {
                if !self.fed_pass() {
                    return;
                }
                continue;
            }
            if self.ready.iter().all(VecDeque::is_empty) && !self.sleeps() {
                return;
            }
            for _ in 0..self.ready.iter().map(VecDeque::len).sum() {
                let Some(t) = self.ready.iter_mut().find_map(VecDeque::pop_front) else { break };
                self.resume(t);
            }
            self.submits();
        }
    }

    /// Nobody is ready: what comes next. False: nobody waits either.
    pub fn sleeps(&mut self) -> bool {
        if !self.ended.is_empty() {
            std::mem::take(&mut self.ended).into_iter().for_each(|of| self.completes(of));
            return true;
        }
        let first = self.timers.iter().map(|t| t.0).min();
        if let Some(first) = first.into_iter().chain(self.first_due()).min() {
            self.now = self.now.max(first);
            self.completes_due();
            self.expires();
            return true;
        }
        let stuck: Vec<usize> =
            (0..self.tasks.len()).filter(|&t| self.tasks[t].state != State::Done).collect();
        stuck.iter().for_each(|&t| self.cancel(t));
        !stuck.is_empty()
    }

    fn expires(&mut self) {
        while let Some(i) = self.due() {
            let (_, t) = self.timers.remove(i);
            self.interrupt(t, ETIME);
        }
    }

    /// The oldest of the earliest that are due.
    fn due(&self) -> Option<usize> {
        let due = (0..self.timers.len()).filter(|&i| self.timers[i].0 <= self.now);
        due.min_by_key(|&i| (self.timers[i].0, i))
    }

    pub fn level(&self, t: usize) -> usize {
        self.tasks[t].level as usize
    }

    pub fn make_ready(&mut self, t: usize) {
        self.tasks[t].state = State::Ready;
        self.ready[self.level(t)].push_back(t);
    }

    pub fn interrupt(&mut self, t: usize, why: Out) {
        self.note_interruption(t, why == ETIME);
        match self.tasks[t].state {
            State::Waits { armed: true } => self.tasks[t].outcome = Some(why),
            State::Sleeps => self.tasks[t].outcome = Some(if why == ETIME { 0 } else { why }),
            State::Ready if why == ETIME => return self.tasks[t].fired = true,
            _ => return,
        }
        self.timers.retain(|&(_, of)| of != t);
        self.make_ready(t);
    }

    pub fn cancel(&mut self, t: usize) {
        if self.tasks[t].state == State::Queued {
            return self.cancel_queued(t);
        }
        if self.tasks[t].state == State::Done
            || std::mem::replace(&mut self.tasks[t].canceled, true)
        {
            return;
        }
        if !self.tasks[t].begun {
            // Pending launch: never runs.
            self.ready.iter_mut().for_each(|q| q.retain(|&of| of != t));
            self.exit(t, ECANCELED);
            return;
        }
        self.interrupt(t, ECANCELED);
    }

    /// Waiters of a queue whose wait is not over: by level, then in order.
    fn first(&mut self, queue: Queue) -> Option<usize> {
        self.note_passed(queue);
        let of = |i: &usize| {
            let e = &self.entries[*i];
            e.queue == queue && self.tasks[e.task].state == (State::Waits { armed: true })
        };
        (0..self.entries.len()).filter(of).min_by_key(|&i| (self.level(self.entries[i].task), i))
    }

    /// Takes a waiter out, out of all queues that it stands in, to be woken.
    fn take(&mut self, queue: Queue) -> Option<Entry> {
        let entry = self.first(queue)?;
        let entry = self.entries.remove(entry);
        self.entries.retain(|e| e.task != entry.task);
        Some(entry)
    }

    pub fn grant(&mut self, entry: &Entry, given: Out) {
        self.wake(entry.task, given);
    }

    /// The wait of `t` is granted.
    pub fn wake(&mut self, t: usize, given: Out) {
        self.tasks[t].given = given;
        self.timers.retain(|&(_, of)| of != t);
        self.make_ready(t);
    }

    /// One that stands in no queue.
    pub fn entry(&self, task: usize) -> Entry {
        Entry { task, queue: Queue::Group, what: 0, case: 0 }
    }

    pub fn stands(&self, t: usize, queue: Queue) -> bool {
        self.entries.iter().any(|e| e.task == t && e.queue == queue)
    }

    pub fn stand(&mut self, t: usize, queue: Queue, what: Out, case: Out) {
        self.entries.push(Entry { task: t, queue, what, case });
    }

    /// Runs a task until it waits.
    pub fn resume(&mut self, t: usize) {
        self.tasks[t].begun = true;
        loop {
            let Some(&(step, timeout)) = self.program.bodies[t].steps.get(self.tasks[t].at) else {
                if self.owner == Some(t) {
                    self.unlock(); // Those who were notified cannot be cancelled.
                }
                let result = if self.program.bodies[t].fails { EIO } else { 0 };
                if self.closes(t, result) {
                    self.tasks[t].state = State::Waits { armed: false };
                } else {
                    self.exit(t, result);
                }
                return;
            };
            let out = if std::mem::replace(&mut self.tasks[t].in_step, false) {
                self.goes_on(t, step)
            } else {
                self.begin(t, step, timeout)
            };
            match out {
                Some(out) if out < AGAIN / 2 => {
                    self.stand(t, Queue::Mutex, out - AGAIN, NOTIFIED);
                    self.tasks[t].state = State::Waits { armed: false };
                    self.tasks[t].in_step = true;
                    return;
                }
                Some(out) => {
                    self.log.push((t, out));
                    self.timers.retain(|&(_, of)| of != t);
                    let task = &mut self.tasks[t];
                    (task.until, task.fired, task.joined) = (None, false, [0; CASES_MAX]);
                    task.at += 1;
                }
                None => {
                    self.tasks[t].in_step = true;
                    return;
                }
            }
        }
    }

    /// After a wait. None: it waits again.
    fn goes_on(&mut self, t: usize, step: Step) -> Option<Out> {
        if std::mem::take(&mut self.tasks[t].left) {
            return self.goes_on_after_leaving(t, step);
        }
        if let Step::Select(cases) = step {
            self.note_ready_together(t, &cases);
        }
        let outcome = self.tasks[t].outcome.take();
        match step {
            Step::WaitTeam => return Some(self.team_waited(t, outcome)),
            Step::Park if outcome.is_none() => {
                self.tasks[t].permit = false;
                return Some(0);
            }
            Step::WaitOp(n) if outcome.is_none() => return self.take_operation(t, n),
            Step::WaitAny if outcome.is_none() => return self.take_any(t),
            Step::EndOp(n) => {
                let over = self.take_operation(t, n).map(|_| 0);
                if over.is_none() {
                    self.tasks[t].state = State::Waits { armed: true };
                }
                return over;
            }
            Step::WaitQueued(_) | Step::WaitUnfinished(_) => {
                self.pool.waits.retain(|of| of.task != t)
            }
            _ => {}
        }
        if let Step::Yield | Step::Sleep(_) = step {
            return Some(outcome.unwrap_or(0));
        }
        let Some(e) = outcome else {
            return Some(std::mem::take(&mut self.tasks[t].given));
        };
        let stood = self.entries.iter().any(|e| e.task == t);
        self.entries.retain(|e| e.task != t);
        match step {
            // Its own time-out.
            Step::Select(cases) if e == ETIME => {
                return Some(of_case(deadline(&cases).1 as Out, 0));
            }
            Step::Meet if !stood => return Some(0), // They had met.
            Step::Meet => self.met -= 1,
            Step::Acquire(_) => self.serve_semaphore(),
            Step::Read | Step::Write => self.serve_lock_after_leaving(),
            Step::CondWait => return Some(self.lock_again(t, e)),
            _ => {}
        }
        Some(e)
    }

    /// After a condition's wait has ended by itself. (Where the mutex is somebody's, the task waits
    /// once more: that it then is is what `given` says.)
    fn lock_again(&mut self, t: usize, e: Out) -> Out {
        if self.owner.is_none() {
            self.owner = Some(t);
            return e;
        }
        AGAIN + e
    }

    /// None: it waits.
    fn begin(&mut self, t: usize, step: Step, timeout: Option<u64>) -> Option<Out> {
        if let Some(refused) = self.refused(t, step) {
            return Some(refused);
        }
        let timeout = match step {
            Step::Select(cases) => deadline(&cases).0,
            Step::EndOp(_) => None,
            _ => timeout,
        };
        self.tasks[t].until = timeout.map(|slots| self.now + slots * SLOT_NS);
        let waits = !matches!(
            step,
            Step::TryLock
                | Step::Unlock
                | Step::Notify(_)
                | Step::TryAcquire(_)
                | Step::Release(_)
                | Step::TrySend(_)
                | Step::TryRecv(_)
                | Step::Close(_)
                | Step::EventSet
                | Step::EventReset
                | Step::TryRead
                | Step::TryWrite
                | Step::EndRead
                | Step::EndWrite
                | Step::GroupAdd
                | Step::GroupDone
                | Step::Cancel(_)
                | Step::Work(_)
                | Step::Spawn(_)
                | Step::SpawnAll
                | Step::CancelTeam
                | Step::Unpark(_)
                | Step::Begin(..)
                | Step::TakeOp(_)
                | Step::Complete(..)
                | Step::CancelOp(_)
                | Step::EndOp(_)
                | Step::Submit(_)
                | Step::SubmitAll
                | Step::Attach(_)
                | Step::SetLevel(..)
                | Step::CancelQueue
                | Step::CloseQueue
        );
        if step == Step::CondWait && self.owner != Some(t) {
            return Some(EPERM);
        }
        if waits && self.tasks[t].canceled {
            return Some(ECANCELED);
        }
        let in_scope = matches!(step, Step::Join(_) | Step::Park | Step::WaitOp(_) | Step::WaitAny);
        if timeout == Some(0) && in_scope {
            return Some(ETIME); // A scope that is over.
        }
        let now = self.at_once(t, step);
        if now.is_some() {
            return now;
        }
        match (step, timeout) {
            (Step::Yield, _) | (Step::Sleep(0), _) => {
                self.make_ready(t);
                return None;
            }
            (Step::Sleep(slots), _) => {
                self.timers.push((self.now + slots * SLOT_NS, t));
                self.tasks[t].state = State::Sleeps;
                return None;
            }
            _ => {}
        }
        self.waits(t, step)
    }

    /// It stands where it waits. Some: its time is over already.
    pub fn waits(&mut self, t: usize, step: Step) -> Option<Out> {
        if let Some(until) = self.tasks[t].until {
            if until <= self.now {
                self.tasks[t].outcome = Some(ETIME);
                self.tasks[t].state = State::Waits { armed: false };
                let out = self.goes_on(t, step);
                self.tasks[t].state = State::Ready;
                return out;
            }
            self.timers.push((until, t));
        }
        self.tasks[t].state = State::Waits { armed: true };
        None
    }

    /// What the step does without waiting; if it has to wait, the task stands in its queue.
    fn at_once(&mut self, t: usize, step: Step) -> Option<Out> {
        Some(match step {
            Step::Lock if self.owner == Some(t) => EDEADLK,
            Step::Lock | Step::TryLock if self.owner.is_none() => {
                self.owner = Some(t);
                0
            }
            Step::TryLock => EBUSY,
            Step::Lock => {
                self.stand(t, Queue::Mutex, 0, 0);
                return None;
            }
            Step::Unlock if self.owner != Some(t) => EPERM,
            Step::Unlock => {
                self.unlock();
                0
            }
            Step::CondWait => {
                self.stand(t, Queue::Condition, 0, 0);
                self.unlock();
                return None;
            }
            Step::Notify(count) => {
                let mut moved = Vec::new();
                while moved.len() < count {
                    let Some(entry) = self.take(Queue::Condition) else { break };
                    self.timers.retain(|&(_, of)| of != entry.task);
                    self.tasks[entry.task].state = State::Waits { armed: false };
                    moved.push(entry);
                }
                for entry in moved {
                    if self.owner.is_none() {
                        self.owner = Some(entry.task);
                        self.grant(&entry, 0);
                    } else {
                        self.entries.push(Entry { queue: Queue::Mutex, case: NOTIFIED, ..entry });
                    }
                }
                0
            }
            Step::Acquire(n) | Step::TryAcquire(n) => {
                let first = self.first(Queue::Semaphore);
                // Who tries does not say who it is.
                let comes_before = |i: usize| {
                    let level = self.level(self.entries[i].task);
                    matches!(step, Step::Acquire(_)) && self.level(t) < level
                };
                if self.permits >= n && first.is_none_or(comes_before) {
                    self.permits -= n;
                    0
                } else if let Step::TryAcquire(_) = step {
                    EAGAIN
                } else {
                    self.stand(t, Queue::Semaphore, n as Out, 0);
                    return None;
                }
            }
            Step::Release(n) => {
                self.permits += n;
                self.serve_semaphore();
                0
            }
            Step::Send(c) | Step::TrySend(c) => {
                let value = value(t, self.tasks[t].at);
                match self.send(c, value) {
                    EAGAIN if step == Step::Send(c) => {
                        self.stand(t, Queue::Senders(c), value, 0);
                        return None;
                    }
                    out => out,
                }
            }
            Step::Recv(c) | Step::TryRecv(c) => match self.recv(c) {
                EAGAIN if step == Step::Recv(c) => {
                    self.stand(t, Queue::Receivers(c), 0, 0);
                    return None;
                }
                out => out,
            },
            Step::Select(cases) => return self.select_at_once(t, &cases),
            Step::Spawn(child) => self.spawn(self.program.tasks() + child),
            Step::SpawnAll => self.spawn_all(),
            Step::CancelTeam => self.cancel_team(),
            Step::WaitTeam if self.team.members.is_empty() => self.team_waited(t, None),
            Step::WaitTeam if self.is_joined_by_member(t) => EDEADLK,
            Step::WaitTeam => {
                self.team.waiter = Some(t);
                return None;
            }
            Step::Join(other) => return self.join_at_once(t, other),
            Step::Park if self.tasks[t].permit => {
                self.tasks[t].permit = false;
                0
            }
            Step::Park => return None,
            Step::Unpark(other) => {
                self.unpark(other);
                0
            }
            Step::Close(c) => {
                let was_open = !std::mem::replace(&mut self.closed[c], true);
                for queue in [Queue::Receivers(c), Queue::Senders(c)] {
                    while let Some(entry) = self.take(queue) {
                        self.grant(&entry, of_entry(&entry, EPIPE));
                    }
                }
                was_open.into()
            }
            Step::EventWait if self.event => 0,
            Step::EventWait => {
                self.stand(t, Queue::Event, 0, 0);
                return None;
            }
            Step::EventSet => {
                self.event = true;
                self.wake_all(Queue::Event);
                0
            }
            Step::EventReset => std::mem::take(&mut self.event).into(),
            Step::Meet if self.met + 1 == PARTIES as usize => {
                self.met = 0;
                self.note_passed(Queue::Barrier);
                while let Some(i) = self.first_standing(Queue::Barrier) {
                    let entry = self.entries.remove(i);
                    if self.tasks[entry.task].state == (State::Waits { armed: true }) {
                        self.grant(&entry, 0);
                    }
                }
                1
            }
            Step::Meet => {
                self.met += 1;
                self.stand(t, Queue::Barrier, 0, 0);
                return None;
            }
            Step::Read | Step::Write | Step::TryRead | Step::TryWrite => {
                return self.lock_at_once(t, step);
            }
            Step::EndRead if self.readers == 0 => EPERM,
            Step::EndRead => {
                self.readers -= 1;
                if self.readers == 0 {
                    self.serve_lock(true);
                }
                0
            }
            Step::EndWrite if self.writer != Some(t) => EPERM,
            Step::EndWrite => {
                self.writer = None;
                self.serve_lock(false);
                0
            }
            Step::GroupAdd => {
                self.left += 1;
                0
            }
            Step::GroupDone if self.left == 0 => EINVAL,
            Step::GroupDone => {
                self.left -= 1;
                if self.left == 0 {
                    self.wake_all(Queue::Group);
                }
                0
            }
            Step::GroupWait if self.left == 0 => 0,
            Step::GroupWait => {
                self.stand(t, Queue::Group, 0, 0);
                return None;
            }
            Step::Work(slots) => {
                self.now += slots * SLOT_NS;
                0
            }
            Step::Cancel(other) => {
                self.cancel(other);
                0
            }
            Step::Begin(n, slots) => self.begin_operation(t, n, slots),
            Step::TakeOp(n) => self.take_operation(t, n).unwrap_or(EAGAIN),
            Step::Complete(other, n) => self.post(other, n),
            Step::WaitOp(n) => return self.take_operation(t, n),
            Step::WaitAny => return self.take_any(t),
            Step::CancelOp(n) => self.cancel_operation(t, n),
            Step::EndOp(n) if self.cancel_operation(t, n) == ENOENT => 0,
            Step::EndOp(n) => return self.take_operation(t, n).map(|_| 0),
            Step::Submit(n) => self.submit(n),
            Step::SubmitAll => self.submit_all(),
            Step::Attach(n) => self.attach(n),
            Step::SetLevel(n, level) => self.set_level(n, level),
            Step::WaitQueued(at_most) => return self.wait_left(t, Left::Queued, at_most),
            Step::WaitUnfinished(at_most) => return self.wait_left(t, Left::Unfinished, at_most),
            Step::WaitTold(n) if self.pool.told[n] => 0,
            Step::WaitTold(n) => {
                self.stand(t, Queue::Told(n), 0, 0);
                return None;
            }
            Step::CancelQueue => self.cancel_queue(),
            Step::CloseQueue => {
                self.pool.closed = true;
                0
            }
            Step::Yield | Step::Sleep(_) => return None,
        })
    }

    fn unlock(&mut self) {
        self.note_passed(Queue::Mutex);
        // Those who were notified are claimed already, so they are not armed.
        let of = |i: &usize| {
            let e = &self.entries[*i];
            let armed = self.tasks[e.task].state == (State::Waits { armed: true });
            e.queue == Queue::Mutex && (armed || e.case == NOTIFIED)
        };
        let first = (0..self.entries.len())
            .filter(of)
            .min_by_key(|&i| (self.level(self.entries[i].task), i));
        self.owner = first.map(|i| self.entries[i].task);
        if let Some(i) = first {
            let entry = self.entries.remove(i);
            self.grant(&entry, entry.what);
        }
    }

    fn serve_semaphore(&mut self) {
        while let Some(i) = self.first(Queue::Semaphore) {
            let n = self.entries[i].what as u64;
            if self.permits < n {
                return;
            }
            self.permits -= n;
            if let Some(entry) = self.take(Queue::Semaphore) {
                self.grant(&entry, 0);
            }
        }
    }

    pub fn send(&mut self, c: usize, value: Out) -> Out {
        if self.closed[c] {
            return EPIPE;
        }
        if let Some(entry) = self.take(Queue::Receivers(c)) {
            self.grant(&entry, of_entry(&entry, value));
            return 0;
        }
        if self.inside[c].len() < self.program.capacity[c] {
            self.inside[c].push_back(value);
            return 0;
        }
        EAGAIN
    }

    pub fn could_send(&mut self, c: usize) -> bool {
        let waited_for = self.armed(Queue::Receivers(c));
        self.closed[c] || waited_for || self.inside[c].len() < self.program.capacity[c]
    }

    pub fn could_recv(&mut self, c: usize) -> bool {
        self.closed[c] || !self.inside[c].is_empty() || self.armed(Queue::Senders(c))
    }

    fn armed(&self, queue: Queue) -> bool {
        let waits = |t: usize| self.tasks[t].state == (State::Waits { armed: true });
        self.entries.iter().any(|e| e.queue == queue && waits(e.task))
    }

    pub fn recv(&mut self, c: usize) -> Out {
        if let Some(value) = self.inside[c].pop_front() {
            if let Some(entry) = self.take(Queue::Senders(c)) {
                self.inside[c].push_back(entry.what);
                self.grant(&entry, of_entry(&entry, 0));
            }
            return value;
        }
        if let Some(entry) = self.take(Queue::Senders(c)) {
            self.grant(&entry, of_entry(&entry, 0));
            return entry.what;
        }
        if self.closed[c] {
            EPIPE
        } else {
            EAGAIN
        }
    }

    pub fn wake_all(&mut self, queue: Queue) {
        while let Some(entry) = self.take(queue) {
            self.grant(&entry, 0);
        }
    }

    fn first_standing(&self, queue: Queue) -> Option<usize> {
        let of = |i: &usize| self.entries[*i].queue == queue;
        (0..self.entries.len()).filter(of).min_by_key(|&i| (self.level(self.entries[i].task), i))
    }

    fn lock_at_once(&mut self, t: usize, step: Step) -> Option<Out> {
        let reads = matches!(step, Step::Read | Step::TryRead);
        let free = self.writer.is_none() && self.first(Queue::Writers).is_none();
        if free && reads {
            self.readers += 1;
            return Some(0);
        }
        if free && self.readers == 0 && self.first(Queue::Readers).is_none() {
            self.writer = Some(t);
            return Some(0);
        }
        match step {
            Step::TryRead | Step::TryWrite => Some(EBUSY),
            _ if self.writer == Some(t) => Some(EDEADLK),
            _ => {
                self.stand(t, if reads { Queue::Readers } else { Queue::Writers }, 0, 0);
                None
            }
        }
    }

    /// Nobody reads or writes: whose turn it is.
    fn serve_lock(&mut self, after_readers: bool) {
        let level = |m: &mut Self, q| m.first(q).map(|i| m.level(m.entries[i].task));
        let (reads, writes) = (level(self, Queue::Readers), level(self, Queue::Writers));
        let writer_first = match (reads, writes) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(r), Some(w)) => after_readers || w < r,
        };
        if writer_first {
            if let Some(entry) = self.take(Queue::Writers) {
                self.writer = Some(entry.task);
                self.grant(&entry, 0);
            }
            return;
        }
        while let Some(entry) = self.take(Queue::Readers) {
            self.readers += 1;
            self.grant(&entry, 0);
        }
    }

    /// A waiter was cancelled: it may have kept readers waiting.
    fn serve_lock_after_leaving(&mut self) {
        if self.writer.is_some() {
            return;
        }
        if self.first(Queue::Writers).is_none() {
            while let Some(entry) = self.take(Queue::Readers) {
                self.readers += 1;
                self.grant(&entry, 0);
            }
        } else if self.readers == 0 {
            self.serve_lock(true);
        }
    }
}

/// What a task sends at a step.
pub fn value(t: usize, at: usize) -> Out {
    (t as Out + 1) * 100 + at as Out
}

/// Was notified, and waits for the mutex.
const NOTIFIED: Out = -1;
/// The mutex is to be locked first.
const AGAIN: Out = -1_000_000;
/// The case of a select, plus its index.
pub const SELECT: Out = 1;

/// What a select returns: 10,000 a case, and what the case gave.
pub fn of_case(case: Out, out: Out) -> Out {
    (case + 1) * 10_000 + out
}

pub fn of_entry(entry: &Entry, out: Out) -> Out {
    match entry.case {
        0 => out,
        case => of_case(case - SELECT, out),
    }
}
