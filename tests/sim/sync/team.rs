//! The model of tasks that wait for tasks: a group, joins, parks; and of selects over them.

use crate::model::*;
use crate::operations::Operation;
use crate::program::*;

#[derive(Default)]
pub struct Team {
    /// Children that have not exited, in order.
    pub members: Vec<usize>,
    is_cancelled: bool,
    first_error: Option<Out>,
    pub waiter: Option<usize>,
}

/// When the first time-out of a select is, and which case. Equal ones go by priority, then in order.
pub fn deadline(cases: &[Option<Case>; CASES_MAX]) -> (Option<u64>, usize) {
    let time = |i: usize| match cases[i] {
        Some(Case(What::Timeout(slots), priority)) => Some((slots, priority, i)),
        _ => None,
    };
    let first = (0..CASES_MAX).filter_map(time).min();
    first.map_or((None, 0), |(slots, _, i)| (Some(slots), i))
}

impl Model<'_> {
    /// What is refused before anything else is looked at.
    pub fn refused(&self, t: usize, step: Step) -> Option<Out> {
        let of_join = |other: usize| match self.is_fresh(other) {
            _ if other == t => Some(EDEADLK),
            true => Some(EINVAL),
            false => None,
        };
        match step {
            Step::WaitTeam if self.tasks[t].in_team => Some(EDEADLK),
            Step::WaitTeam if self.team.waiter.is_some() => Some(EBUSY),
            Step::Join(other) if other == t => Some(EDEADLK),
            Step::Select(cases) => cases.iter().flatten().find_map(|&Case(what, _)| match what {
                What::Join(other) => of_join(other),
                What::Op(n) if self.tasks[t].operations[n] == Operation::Idle => Some(ENOENT),
                _ => None,
            }),
            Step::WaitOp(n) if self.tasks[t].operations[n] == Operation::Idle => Some(ENOENT),
            Step::WaitAny if !self.has_operations(t) => Some(ENOENT),
            _ => None,
        }
    }

    /// Was never attached.
    fn is_fresh(&self, t: usize) -> bool {
        self.tasks[t].state == State::Done && self.tasks[t].result.is_none()
    }

    /// A run is over, or never was.
    pub fn exit(&mut self, t: usize, result: Out) {
        self.tasks[t].state = State::Done;
        self.tasks[t].result = Some(result);
        while let Some(entry) = self.take_joiner(t) {
            self.grant(&entry, of_entry(&entry, result));
        }
        if t >= self.program.tasks() + CHILDREN {
            return self.exit_pooled(t, result);
        }
        if !std::mem::take(&mut self.tasks[t].in_team) {
            return;
        }
        self.team.members.retain(|&child| child != t);
        if result < 0 && self.team.first_error.is_none() {
            self.team.first_error = Some(result);
            if !self.program.independent {
                self.cancel_team();
            }
        }
        if !self.program.quiet {
            self.log.push((t, TOLD + result));
        }
        if self.team.members.is_empty() {
            if let Some(waiter) = self.team.waiter.take() {
                if self.tasks[waiter].state == (State::Waits { armed: true }) {
                    self.wake(waiter, 0);
                }
            }
        }
    }

    /// Who joins is told in order, whatever its priority.
    fn take_joiner(&mut self, t: usize) -> Option<Entry> {
        let waits = |e: &Entry| {
            e.queue == Queue::Joiners(t)
                && self.tasks[e.task].state == (State::Waits { armed: true })
        };
        let at = self.entries.iter().position(waits)?;
        let entry = self.entries.remove(at);
        self.entries.retain(|e| e.task != entry.task);
        Some(entry)
    }

    pub fn spawn(&mut self, child: usize) -> Out {
        if self.team.is_cancelled {
            return ECANCELED;
        }
        if self.tasks[child].state != State::Done {
            return EBUSY;
        }
        self.begins(child, State::Ready);
        self.tasks[child].in_team = true;
        self.make_ready(child);
        self.team.members.push(child);
        0
    }

    pub fn spawn_all(&mut self) -> Out {
        for (count, child) in (0..CHILDREN).map(|n| self.program.tasks() + n).enumerate() {
            match self.spawn(child) {
                0 => {}
                error if count == 0 => return error,
                _ => return count as Out,
            }
        }
        CHILDREN as Out
    }

    pub fn cancel_team(&mut self) -> Out {
        if std::mem::replace(&mut self.team.is_cancelled, true) {
            return 0;
        }
        for _ in 0..self.team.members.len() {
            if self.team.members.is_empty() {
                break;
            }
            let child = self.team.members.remove(0);
            self.team.members.push(child);
            self.cancel(child);
        }
        0
    }

    /// Nobody is left, or the wait was interrupted.
    pub fn team_waited(&mut self, t: usize, outcome: Option<Out>) -> Out {
        if self.team.waiter == Some(t) {
            self.team.waiter = None;
        }
        if let Some(error) = outcome {
            return error;
        }
        self.team.is_cancelled = false;
        self.team.first_error.take().unwrap_or(0)
    }

    pub fn join_at_once(&mut self, t: usize, other: usize) -> Option<Out> {
        if self.is_fresh(other) {
            return Some(EINVAL);
        }
        if self.tasks[other].state == State::Done {
            return self.tasks[other].result;
        }
        if self.tasks[other].state == State::Queued {
            self.tasks[t].joined[0] = self.tasks[other].run;
            self.stand(t, Queue::Leaves(other), 0, 0);
            return None;
        }
        self.join_here(t, other)
    }

    /// `other` is under way.
    pub fn join_here(&mut self, t: usize, other: usize) -> Option<Out> {
        let mut next = other;
        while self.tasks[next].state == (State::Waits { armed: true }) {
            match self.step_of(next) {
                Some(Step::Join(joined)) if !self.stands(next, Queue::Joiners(joined)) => break,
                Some(Step::Join(joined)) if joined == t => return Some(EDEADLK),
                Some(Step::Join(joined)) => next = joined,
                Some(Step::WaitTeam) if self.tasks[t].in_team => return Some(EDEADLK),
                _ => break,
            }
        }
        self.stand(t, Queue::Joiners(other), 0, 0);
        None
    }

    /// A child joins `t`, through others it may be.
    pub fn is_joined_by_member(&self, t: usize) -> bool {
        self.team.members.iter().any(|&member| {
            let mut next = member;
            while self.tasks[next].state == (State::Waits { armed: true }) {
                match self.step_of(next) {
                    Some(Step::Join(joined)) if !self.stands(next, Queue::Joiners(joined)) => break,
                    Some(Step::Join(joined)) if joined == t => return true,
                    Some(Step::Join(joined)) => next = joined,
                    _ => break,
                }
            }
            false
        })
    }

    pub fn unpark(&mut self, t: usize) {
        let waits = self.tasks[t].state == (State::Waits { armed: true });
        self.tasks[t].permit = true;
        if waits && self.step_of(t) == Some(Step::Park) {
            self.wake(t, 0);
        }
    }

    pub fn step_of(&self, t: usize) -> Option<Step> {
        self.program.bodies[t].steps.get(self.tasks[t].at).map(|&(step, _)| step)
    }

    pub fn select_at_once(&mut self, t: usize, cases: &[Option<Case>; CASES_MAX]) -> Option<Out> {
        let value = value(t, self.tasks[t].at);
        self.note_ready_at_once(t, cases);
        let mut order: Vec<(u8, usize)> =
            (0..CASES_MAX).filter_map(|i| Some((cases[i]?.1, i))).collect();
        order.sort();
        for &(_, i) in &order {
            let Some(Case(what, _)) = cases[i] else { continue };
            let out = match what {
                What::Send(c) => self.send(c, value),
                What::Recv(c) => self.recv(c),
                What::Join(other) => {
                    self.result_of(other, self.tasks[t].joined[i]).unwrap_or(EAGAIN)
                }
                What::Timeout(0) => 0,
                What::Op(n) => self.take_operation(t, n).unwrap_or(EAGAIN),
                What::Timeout(_) => EAGAIN,
            };
            if out != EAGAIN {
                return Some(of_case(i as Out, out));
            }
        }
        for (i, case) in cases.iter().enumerate() {
            let queue = match case {
                Some(Case(What::Send(c), _)) => Queue::Senders(*c),
                Some(Case(What::Recv(c), _)) => Queue::Receivers(*c),
                Some(Case(What::Join(_) | What::Timeout(_) | What::Op(_), _)) | None => continue,
            };
            self.stand(t, queue, value, SELECT + i as Out);
        }
        let mut over = None;
        for (i, case) in cases.iter().enumerate() {
            let Some(Case(What::Join(other), _)) = *case else { continue };
            let Task { run, state, .. } = self.tasks[other];
            let joined = std::mem::replace(&mut self.tasks[t].joined[i], run);
            if joined != 0 && joined != run {
                self.tasks[t].joined[i] = joined;
                over = over.or(Some(of_case(i as Out, ESRCH)));
                continue;
            }
            let queue =
                if state == State::Queued { Queue::Leaves(other) } else { Queue::Joiners(other) };
            self.stand(t, queue, 0, SELECT + i as Out);
        }
        if over.is_some() {
            self.entries.retain(|e| e.task != t);
        }
        over
    }
}
