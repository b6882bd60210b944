//! What each call returns: a model of one task, its levels of cancelling, and its operations.

use crate::ops::{Op, Stage, NONE};
use crate::program::*;

/// What a call gave: an errno or 0, a value, and whether more completions come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Out {
    pub error: i32,
    pub value: i64,
    pub more: bool,
}

pub const fn ok(value: i64) -> Out {
    Out { error: 0, value, more: false }
}

pub const fn failure(error: i32) -> Out {
    Out { error, value: 0, more: false }
}

/// The task itself, which is the first, or a scope.
#[derive(Default)]
pub struct Level {
    /// ECANCELED or ETIME; 0 if it has not fired.
    fired: i32,
    shield: bool,
    deadline_ns: Option<u64>,
    armed: bool,
    /// When it was entered, and its time-out, if that is by the coarse clock.
    coarse: Option<(u64, u64)>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Wait {
    Ready,
    Until(u64),
    Forever,
    Park,
    Join(usize),
    Op(usize),
    Any,
}

pub struct Model<'a> {
    pub p: &'a Program,
    pub now_ns: u64,
    pub levels: Vec<Level>,
    pub ops: Vec<Op>,
    pub completions: u64,
    pub permit: bool,
    pub room: u32,
    pub turns: u64,
    pub waits: Option<Wait>,
    /// How its wait has ended: an errno, or 0.
    pub outcome: Option<i32>,
    pub acts: usize,
    pub janitor_ns: u64,
    pub begun: u64,
    pub log: Vec<Out>,
}

/// The rules, which are all that is to be believed here.
impl Model<'_> {
    /// What a suspending call returns at once: of the levels that have fired, from the innermost
    /// out to the first shield, the outermost decides.
    pub fn effective(&self) -> i32 {
        let mut error = 0;
        for level in self.levels.iter().rev() {
            error = if level.fired != 0 { level.fired } else { error };
            if level.shield {
                break;
            }
        }
        error
    }

    fn fire(&mut self, level: usize, error: i32) {
        if self.levels[level].fired == 0 {
            self.levels[level].fired = error;
        }
        let (Some(waits), None, true) = (self.waits, self.outcome, self.effective() != 0) else {
            return;
        };
        match waits {
            Wait::Op(OWN) => self.ask(OWN),
            _ => self.outcome = Some(self.effective()),
        }
    }

    /// A suspending call, of an operation of its own or not.
    fn call(&mut self, wait: Wait, own: Option<Script>) -> Out {
        if let Some(out) = self.refuses(wait) {
            return out;
        }
        for i in 0..self.levels.len() {
            let late = self.is_late(i);
            if !std::mem::replace(&mut self.levels[i].armed, true) && late {
                self.fire(i, libc::ETIME);
            }
        }
        if self.effective() != 0 {
            return failure(self.effective());
        }
        if own.is_none() && self.is_there(wait) {
            return self.over(wait);
        }
        own.into_iter().for_each(|script| self.begin(OWN, script));
        self.suspend(wait)
    }
}

impl Model<'_> {
    /// A call suspends in it: its time is over. By the coarse clock the deadline is what it is from
    /// now on, if this call is the first.
    fn is_late(&mut self, i: usize) -> bool {
        let now_ns = self.now_ns;
        let level = &mut self.levels[i];
        let Some((entered_ns, timeout_ns)) = level.coarse.take() else {
            return level.deadline_ns.is_some_and(|ns| ns <= now_ns);
        };
        let (later_ns, passed_ns) = coarsely(entered_ns, now_ns);
        let exact_ns = entered_ns + timeout_ns;
        let deadline_ns = now_ns + later_ns + timeout_ns.saturating_sub(passed_ns);
        assert!(deadline_ns >= exact_ns, "early");
        let latest_ns = exact_ns.max(now_ns) + SLACK_NS + TICK_NS + SLOT_NS;
        assert!(deadline_ns < latest_ns, "late");
        level.deadline_ns = Some(deadline_ns);
        passed_ns >= timeout_ns
    }
}

/// What happens while the task is suspended.
impl<'a> Model<'a> {
    /// There is nothing to wait for.
    fn refuses(&self, wait: Wait) -> Option<Out> {
        let over = |o: &Op| o.stage == Stage::Over && o.done.is_empty();
        let none = match wait {
            Wait::Op(i) => i != OWN && over(&self.ops[i]),
            Wait::Any => self.ops[..OPS].iter().all(over),
            _ => false,
        };
        none.then_some(failure(libc::ENOENT))
    }

    fn is_there(&self, wait: Wait) -> bool {
        match wait {
            Wait::Ready => self.waits.is_some(),
            Wait::Until(ns) => self.waits.is_some() && ns <= self.now_ns,
            Wait::Forever => false,
            Wait::Park => self.permit,
            Wait::Join(i) => self.p.targets[i] <= self.now_ns,
            Wait::Op(i) => !self.ops[i].done.is_empty(),
            Wait::Any => self.ops[..OPS].iter().any(|o| !o.done.is_empty()),
        }
    }

    /// What a call returns once it is there.
    fn over(&mut self, wait: Wait) -> Out {
        match wait {
            Wait::Ready | Wait::Until(_) | Wait::Forever => ok(0),
            Wait::Park => {
                self.permit = false;
                ok(0)
            }
            Wait::Join(i) => ok(i as i64),
            Wait::Op(i) => self.take(i),
            Wait::Any => {
                let done = (0..OPS).filter(|&i| !self.ops[i].done.is_empty());
                let first = done.min_by_key(|&i| self.ops[i].order).expect("one is there");
                let Out { error, value, more } = self.take(first);
                // Which it was, and what it gave.
                let value = (first as i64) << 32 | value << 12 | i64::from(error);
                Out { error: 0, value, more }
            }
        }
    }

    fn take(&mut self, i: usize) -> Out {
        let out = self.ops[i].done.pop_front().expect("one is there");
        self.completions += 1;
        self.ops[i].order = self.completions;
        out
    }

    fn suspend(&mut self, wait: Wait) -> Out {
        (self.waits, self.outcome) = (Some(wait), None);
        self.settle();
        self.submit();
        loop {
            self.look();
            if let Some(errno) = self.outcome {
                self.waits = None;
                return if errno == 0 { self.over(wait) } else { failure(errno) };
            }
            self.now_ns = self.next_ns();
        }
    }

    /// Everything that is due: completions, then deadlines, then what others do.
    fn look(&mut self) {
        while let Some(i) = (0..=OPS)
            .filter(|&i| self.ops[i].stage == Stage::Flight && self.ops[i].due_ns <= self.now_ns)
            .min_by_key(|&i| self.ops[i].due_ns)
        {
            self.come(i);
        }
        while let Some(i) = (0..self.levels.len())
            .filter(|&i| self.is_due(i))
            .min_by_key(|&i| self.levels[i].deadline_ns)
        {
            self.fire(i, libc::ETIME);
        }
        self.settle();
        while self.p.acts.get(self.acts).is_some_and(|a| a.0 <= self.now_ns) {
            self.acts += 1;
            self.act(self.p.acts[self.acts - 1].1);
        }
        if self.janitor_ns <= self.now_ns {
            self.janitor_ns += JANITOR_EVERY_NS;
            assert!(self.janitor_ns < 100 * JANITOR_NS, "the program does not come to an end");
            (0..self.levels.len()).for_each(|i| self.fire(i, libc::ECANCELED));
        }
    }

    fn is_due(&self, i: usize) -> bool {
        let level = &self.levels[i];
        level.armed && level.fired == 0 && level.deadline_ns.is_some_and(|ns| ns <= self.now_ns)
    }

    /// What the task waits for may have come.
    pub fn settle(&mut self) {
        if self.outcome.is_none() && self.waits.is_some_and(|waits| self.is_there(waits)) {
            self.outcome = Some(0);
        }
    }

    fn next_ns(&self) -> u64 {
        let flights = self.ops.iter().filter(|o| o.stage == Stage::Flight).map(|o| o.due_ns);
        let armed = self.levels.iter().filter(|l| l.armed && l.fired == 0);
        let act = self.p.acts.get(self.acts).map(|a| a.0);
        let waits = match self.waits {
            Some(Wait::Until(ns)) => Some(ns),
            Some(Wait::Join(i)) => Some(self.p.targets[i]),
            _ => None,
        };
        let next = flights.chain(armed.filter_map(|l| l.deadline_ns)).chain(act).chain(waits);
        next.chain([self.janitor_ns]).min().expect("not empty")
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Cancel => self.fire(0, libc::ECANCELED),
            Act::Fire(n) if usize::from(n) + 1 < self.levels.len() => {
                self.fire(usize::from(n) + 1, libc::ECANCELED);
            }
            Act::Fire(_) => {}
            Act::Unpark => {
                self.permit = true;
                self.settle();
            }
            Act::OpCancel(i) => self.op_cancel(usize::from(i)),
        }
    }
}

/// Plays the task, and says what each call returned, and at last when and how it exited.
pub fn predict(p: &Program) -> (Vec<Out>, u64) {
    let mut m = Model {
        p,
        now_ns: 0,
        levels: vec![Level::default()],
        ops: vec![Op::new(NONE, Stage::Over); OPS + 1],
        completions: 0,
        permit: false,
        room: p.sq_entries,
        turns: 0,
        waits: None,
        outcome: None,
        acts: 0,
        janitor_ns: JANITOR_NS,
        begun: 0,
        log: Vec::new(),
    };
    for &step in &p.steps {
        let out = m.step(step);
        m.log.push(out);
    }
    let result = m.exit();
    let now_ns = m.now_ns;
    m.log.push(Out { error: result, value: now_ns as i64, more: false });
    (m.log, m.begun)
}

impl Model<'_> {
    fn step(&mut self, step: Step) -> Out {
        match step {
            Step::Enter { timeout_ns, shield } => {
                let deadline_ns = timeout_ns.map(|ns| deadline(self.now_ns, ns));
                let is_coarse = |&ns: &u64| self.p.tracked && ns >= COARSE_FROM_NS;
                let timeout_ns = deadline_ns.map(|ns| ns - self.now_ns).filter(is_coarse);
                let coarse = timeout_ns.map(|ns| (self.now_ns, ns));
                self.levels.push(Level { fired: 0, shield, deadline_ns, armed: false, coarse });
                ok(0)
            }
            Step::Leave if self.levels.len() == 1 => ok(0),
            Step::LeaveOutermost if self.levels.len() > 2 => failure(libc::EINVAL),
            Step::LeaveOutermost if self.levels.len() == 1 => ok(0),
            Step::Leave | Step::LeaveOutermost => {
                ok(i64::from(self.levels.pop().expect("one is left").fired != 0))
            }
            Step::Fire(n) if usize::from(n) + 1 < self.levels.len() => {
                self.fire(usize::from(n) + 1, libc::ECANCELED);
                ok(0)
            }
            Step::Fire(_) => ok(0),
            Step::CancelSelf => {
                self.fire(0, libc::ECANCELED);
                ok(0)
            }
            Step::Uncancel => ok(i64::from(std::mem::take(&mut self.levels[0].fired) != 0)),
            Step::Work(ns) => {
                self.now_ns = worked(self.p, self.now_ns, ns);
                ok(0)
            }
            Step::Yield => self.call(Wait::Ready, None),
            Step::Sleep(ns) => self.call(Wait::Until(at(self.now_ns, ns, SLEEP)), None),
            Step::Forever => self.call(Wait::Forever, None),
            Step::Io(script) => self.call(Wait::Op(OWN), Some(script)),
            Step::Begin(i, script) => {
                let o = &self.ops[usize::from(i)];
                if o.stage != Stage::Over || !o.done.is_empty() {
                    return failure(libc::EBUSY);
                }
                self.begin(usize::from(i), script);
                ok(0)
            }
            Step::Wait(i) => self.call(Wait::Op(usize::from(i)), None),
            Step::WaitAny => self.call(Wait::Any, None),
            Step::OpCancel(i) => {
                let o = &self.ops[usize::from(i)];
                if o.stage == Stage::Over && o.done.is_empty() {
                    return failure(libc::ENOENT);
                }
                self.op_cancel(usize::from(i));
                ok(0)
            }
            Step::Park => self.call(Wait::Park, None),
            Step::Unpark => {
                self.permit = true;
                ok(0)
            }
            Step::Join(i) => self.call(Wait::Join(usize::from(i)), None),
        }
    }

    /// Its errno. What is open is closed, what is in flight is cancelled and awaited.
    fn exit(&mut self) -> i32 {
        let open = self.levels.len() > 1;
        self.levels.truncate(1);
        (0..OPS).for_each(|i| self.op_cancel(i));
        if self.ops.iter().any(|o| o.stage != Stage::Over) {
            self.submit();
        }
        while self.ops.iter().any(|o| o.stage != Stage::Over) {
            self.look();
            if self.ops.iter().all(|o| o.stage == Stage::Over) {
                break;
            }
            self.now_ns = self.next_ns();
        }
        if open {
            libc::EINVAL
        } else {
            0
        }
    }
}
