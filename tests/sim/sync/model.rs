//! What each step returns, by a model as simple as can be: queues are vectors of tasks, and the run
//! queue one of each level.

use crate::crossings::Crossings;
use crate::operations::Operation;
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
}

pub struct Entry {
    pub task: usize,
    pub queue: Queue,
    /// Of a semaphore: how many. Of a sender: what.
    what: Out,
    /// Of a select: the case.
    case: Out,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Ready,
    /// `armed`: neither granted nor ended by a cancel.
    Waits {
        armed: bool,
    },
    Sleeps,
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
    pub operation: Operation,
    /// It has returned, and its operation has not ended: the result.
    pub closes: Option<Out>,
}

impl Task {
    pub fn new(state: State) -> Self {
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
            operation: Operation::Idle,
            closes: None,
        }
    }
}

pub struct Model<'a> {
    pub program: &'a Program,
    pub tasks: Vec<Task>,
    pub team: Team,
    pub crossings: &'a mut Crossings,
    /// What the kernel has told, or will tell when the executor sleeps: whose.
    pub posted: Vec<usize>,
    pub ended: Vec<usize>,
    pub closing: Vec<usize>,
    pub begun: u64,
    ready: [VecDeque<usize>; 3],
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
        let first = |t| if t < program.tasks() { State::Ready } else { State::Done };
        let mut m = Model {
            program,
            tasks: (0..program.bodies.len()).map(|t| Task::new(first(t))).collect(),
            team: Team::default(),
            crossings,
            posted: Vec::new(),
            ended: Vec::new(),
            closing: Vec::new(),
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
            std::mem::take(&mut self.posted).into_iter().for_each(|t| self.completes(t));
            for _ in 0..self.ready.iter().map(VecDeque::len).sum() {
                let Some(t) = self.ready.iter_mut().find_map(VecDeque::pop_front) else { break };
                self.resume(t);
            }
            self.submits();
            if !self.posted.is_empty() || self.ready.iter().any(|q| !q.is_empty()) {
                continue;
            }
            if !self.ended.is_empty() {
                std::mem::take(&mut self.ended).into_iter().for_each(|t| self.completes(t));
                continue;
            }
            let first = self.timers.iter().map(|t| t.0).min();
            if let Some(first) = first.into_iter().chain(self.first_due()).min() {
                self.now = self.now.max(first);
                self.completes_due();
                while let Some(i) = self.due() {
                    let (_, t) = self.timers.remove(i);
                    self.interrupt(t, ETIME);
                }
                continue;
            }
            let stuck: Vec<usize> =
                (0..self.tasks.len()).filter(|&t| self.tasks[t].state != State::Done).collect();
            if stuck.is_empty() {
                return;
            }
            stuck.into_iter().for_each(|t| self.cancel(t));
        }
    }

    /// The oldest of the earliest that are due.
    fn due(&self) -> Option<usize> {
        let due = (0..self.timers.len()).filter(|&i| self.timers[i].0 <= self.now);
        due.min_by_key(|&i| (self.timers[i].0, i))
    }

    fn level(&self, t: usize) -> usize {
        self.program.bodies[t].level as usize
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
            _ => return,
        }
        self.timers.retain(|&(_, of)| of != t);
        self.make_ready(t);
    }

    pub fn cancel(&mut self, t: usize) {
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

    pub fn stand(&mut self, t: usize, queue: Queue, what: Out, case: Out) {
        self.entries.push(Entry { task: t, queue, what, case });
    }

    /// Runs a task until it waits.
    fn resume(&mut self, t: usize) {
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
                Some(self.goes_on(t, step))
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
                    self.tasks[t].at += 1;
                }
                None => {
                    self.tasks[t].in_step = true;
                    return;
                }
            }
        }
    }

    /// After a wait.
    fn goes_on(&mut self, t: usize, step: Step) -> Out {
        if let Step::Select(cases) = step {
            self.note_ready_together(t, &cases);
        }
        let outcome = self.tasks[t].outcome.take();
        match step {
            Step::WaitTeam => return self.team_waited(t, outcome),
            Step::Park if outcome.is_none() => {
                self.tasks[t].permit = false;
                return 0;
            }
            _ => {}
        }
        if let Step::Yield | Step::Sleep(_) = step {
            return outcome.unwrap_or(0);
        }
        let Some(e) = outcome else {
            return std::mem::take(&mut self.tasks[t].given);
        };
        let stood = self.entries.iter().any(|e| e.task == t);
        self.entries.retain(|e| e.task != t);
        match step {
            // Its own time-out.
            Step::Select(cases) if e == ETIME => return of_case(deadline(&cases).1 as Out, 0),
            Step::Meet if !stood => return 0, // They had met.
            Step::Meet => self.met -= 1,
            Step::Acquire(_) => self.serve_semaphore(),
            Step::Read | Step::Write => self.serve_lock_after_leaving(),
            Step::CondWait => return self.lock_again(t, e),
            _ => {}
        }
        e
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
        let timeout = if let Step::Select(cases) = step { deadline(&cases).0 } else { timeout };
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
                | Step::Spawn(_)
                | Step::SpawnAll
                | Step::CancelTeam
                | Step::Unpark(_)
                | Step::Begin(_)
                | Step::TakeOp
                | Step::Complete(_)
        );
        if step == Step::CondWait && self.owner != Some(t) {
            return Some(EPERM);
        }
        if waits && self.tasks[t].canceled {
            return Some(ECANCELED);
        }
        if timeout == Some(0) && matches!(step, Step::Join(_) | Step::Park) {
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
            (_, Some(slots)) => {
                if slots == 0 {
                    self.tasks[t].outcome = Some(ETIME);
                    self.tasks[t].state = State::Waits { armed: false };
                    let out = self.goes_on(t, step);
                    self.tasks[t].state = State::Ready;
                    return Some(out);
                }
                self.timers.push((self.now + slots * SLOT_NS, t));
            }
            _ => {}
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
                if self.permits >= n && self.first(Queue::Semaphore).is_none() {
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
            Step::Cancel(other) => {
                self.cancel(other);
                0
            }
            Step::Begin(slots) => self.begin_operation(t, slots),
            Step::TakeOp => self.take_operation(t).unwrap_or(EAGAIN),
            Step::Complete(other) => self.post(other),
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

    fn wake_all(&mut self, queue: Queue) {
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
    (t as Out + 1) * 1000 + at as Out
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
