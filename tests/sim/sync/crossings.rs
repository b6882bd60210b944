//! What the programs have crossed: which waits were interrupted with which, whether the grant came
//! first, and which cases of a select were ready in the same pass. All of it must have been.

use crate::model::*;
use crate::operations::Operation;
use crate::program::*;
use std::fmt;

/// Of waits, by what is waited for.
const KINDS: [&str; 20] = [
    "mutex",
    "condition",
    "semaphore",
    "send",
    "receive",
    "event",
    "barrier",
    "read",
    "write",
    "wait group",
    "select",
    "group",
    "park",
    "join",
    "operation",
    "any operation",
    "few queued",
    "few unfinished",
    "told of an exit",
    "join of what is queued",
];

/// Places there.
const FEW_QUEUED: usize = 16;
const OF_QUEUED: usize = 19;

const CASES: [&str; What::KINDS] = ["send", "receive", "join", "time-out", "operation"];

fn kind(step: Step) -> Option<usize> {
    Some(match step {
        Step::Lock => 0,
        Step::CondWait => 1,
        Step::Acquire(_) => 2,
        Step::Send(_) => 3,
        Step::Recv(_) => 4,
        Step::EventWait => 5,
        Step::Meet => 6,
        Step::Read => 7,
        Step::Write => 8,
        Step::GroupWait => 9,
        Step::Select(_) => 10,
        Step::WaitTeam => 11,
        Step::Park => 12,
        Step::Join(_) => 13,
        Step::WaitOp(_) => 14,
        Step::WaitAny => 15,
        Step::WaitQueued(_) => 16,
        Step::WaitUnfinished(_) => 17,
        Step::WaitTold(_) => 18,
        _ => return None,
    })
}

const N: usize = KINDS.len();
const M: usize = CASES.len();

/// What was crossed by fewer programs is rare.
const FEW: u64 = 20;

#[derive(Clone, Default)]
pub struct Crossings {
    /// By a cancel or a time-out: of the one, while the other waits.
    interrupted: [[[u64; N]; N]; 2],
    /// A cancel comes when the wait is granted, and its task has not gone on.
    granted_first: [u64; N],
    /// Who serves meets a wait that is interrupted, and whose task has not gone on.
    interrupted_first: [u64; N],
    /// Before a select waits: of the one case, the other being ready too.
    at_once: [[u64; M]; M],
    /// While it waits: the one happened, and the other could, too, before the task went on.
    together: [[u64; M]; M],
}

impl Crossings {
    /// The last program crossed what fewer had crossed `before`.
    pub fn have_more_that_is_rare(&self, before: &Self) -> bool {
        let more = |now: &[u64], before: &[u64]| {
            now.iter().zip(before).any(|(now, before)| *before < FEW && now > before)
        };
        more(
            self.interrupted.as_flattened().as_flattened(),
            before.interrupted.as_flattened().as_flattened(),
        ) || more(&self.granted_first, &before.granted_first)
            || more(&self.interrupted_first, &before.interrupted_first)
            || more(self.at_once.as_flattened(), before.at_once.as_flattened())
            || more(self.together.as_flattened(), before.together.as_flattened())
    }

    /// What has not been crossed.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        let mut none = |count: u64, text: String| {
            if count == 0 {
                missing.push(text);
            }
        };
        for (a, of) in KINDS.iter().enumerate() {
            for (b, other) in KINDS.iter().enumerate() {
                if (*of, *other) == ("group", "group") {
                    continue; // One task waits for it at a time.
                }
                none(self.interrupted[0][a][b], format!("{of}, cancelled next to {other}"));
                // A pass begins all that is queued before it looks at the time again.
                let queued = [a, b].iter().any(|kind| [FEW_QUEUED, OF_QUEUED].contains(kind));
                let timed_out = u64::from(queued) + self.interrupted[1][a][b];
                none(timed_out, format!("{of}, timed out next to {other}"));
            }
            none(self.granted_first[a], format!("{of}, granted and then cancelled"));
            // A join leaves its list when it is interrupted; the others have no queue.
            let queued = !["group", "park", "join", "operation", "any operation"].contains(of)
                && !of.starts_with("few");
            none(u64::from(!queued) + self.interrupted_first[a], format!("{of}, passed over"));
        }
        for (a, one) in CASES.iter().enumerate() {
            for (b, other) in CASES.iter().enumerate() {
                none(self.at_once[a][b], format!("select: {one} and {other} at once"));
                // All that is due is looked at in one go, before any task runs, and operations
                // first.
                let never = *other == "time-out" || (*one, *other) == ("time-out", "operation");
                none(
                    u64::from(never) + self.together[a][b],
                    format!("select: {one}, then {other}"),
                );
            }
        }
        missing
    }
}

impl fmt::Display for Crossings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = |table: &[[u64; N]; N]| {
            let crossed = table.iter().flatten().copied().filter(|&count| count != 0);
            crossed.min()
        };
        write!(
            f,
            "measured: each pair of {N} waits crossed {} times at least by a cancel, {} by a \
             time-out; pairs of cases at once {:?}, during the wait {:?}",
            least(&self.interrupted[0]).unwrap_or(0),
            least(&self.interrupted[1]).unwrap_or(0),
            self.at_once,
            self.together,
        )
    }
}

impl Model<'_> {
    fn wait_kind(&self, t: usize) -> Option<usize> {
        let waits_to_leave = self.entries.iter().any(|e| {
            let to_leave = matches!(e.queue, Queue::Leaves(_));
            e.task == t && e.case == 0 && to_leave
        });
        let step = self.step_of(t);
        if waits_to_leave || self.tasks[t].left && matches!(step, Some(Step::Join(_))) {
            return Some(OF_QUEUED);
        }
        step.and_then(kind)
    }

    /// `t` is about to be interrupted, if it waits.
    pub fn note_interruption(&mut self, t: usize, timed_out: bool) {
        let Some(own) = self.wait_kind(t) else { return };
        let task = &self.tasks[t];
        match task.state {
            State::Ready if task.in_step && task.outcome.is_none() => {
                self.crossings.granted_first[own] += 1;
            }
            State::Waits { armed: true } => {
                for other in (0..self.tasks.len()).filter(|&other| other != t) {
                    let waits = matches!(self.tasks[other].state, State::Waits { .. });
                    if let Some(kind) = self.wait_kind(other).filter(|_| waits) {
                        self.crossings.interrupted[usize::from(timed_out)][own][kind] += 1;
                    }
                }
            }
            _ => {}
        }
    }

    /// Somebody looks for whom to serve.
    pub fn note_passed(&mut self, queue: Queue) {
        for i in 0..self.entries.len() {
            let (t, stands) = (self.entries[i].task, self.entries[i].queue == queue);
            if let Some(own) =
                self.wait_kind(t).filter(|_| stands && self.tasks[t].outcome.is_some())
            {
                self.crossings.interrupted_first[own] += 1;
            }
        }
    }

    fn is_ready(&mut self, t: usize, what: What) -> bool {
        match what {
            What::Send(c) => self.could_send(c),
            What::Recv(c) => self.could_recv(c),
            What::Join(other) => self.tasks[other].state == State::Done,
            What::Timeout(slots) => slots == 0,
            What::Op(n) => matches!(self.tasks[t].operations[n], Operation::Done(_)),
        }
    }

    pub fn note_ready_at_once(&mut self, t: usize, cases: &[Option<Case>; CASES_MAX]) {
        let ready: Vec<usize> = (0..CASES_MAX)
            .filter(|&i| cases[i].is_some_and(|Case(what, _)| self.is_ready(t, what)))
            .collect();
        for &i in &ready {
            for &j in ready.iter().filter(|&&j| j != i) {
                if let (Some(Case(one, _)), Some(Case(other, _))) = (cases[i], cases[j]) {
                    self.crossings.at_once[one.kind()][other.kind()] += 1;
                }
            }
        }
    }

    /// A select goes on.
    pub fn note_ready_together(&mut self, t: usize, cases: &[Option<Case>; CASES_MAX]) {
        let won = match self.tasks[t].outcome {
            None => (self.tasks[t].given + 1000) / 10_000 - 1,
            Some(ETIME) => crate::team::deadline(cases).1 as Out,
            Some(_) => return,
        };
        let Some(Case(one, _)) = cases[won as usize] else { return };
        for i in (0..CASES_MAX).filter(|&i| i as Out != won) {
            let Some(Case(other, _)) = cases[i] else { continue };
            if self.is_ready(t, other) {
                self.crossings.together[one.kind()][other.kind()] += 1;
            }
        }
    }
}
