//! What interrupts a task, in the model: the levels around its calls, which fire once, and what a
//! call makes of that.

use crate::mail::Mail;
use crate::model::{failure, remove, Stage, State, Timer, DONE};
use crate::ops::OWN;
use monad_async::error::RawResult;

/// The task itself, or a scope.
#[derive(Clone, Copy, Debug, Default)]
pub struct Level {
    /// ECANCELED or ETIME; 0 if it has not fired.
    pub fired: i32,
    pub shield: bool,
    pub entered_ns: u64,
    pub timeout_ns: Option<u64>,
    pub unarmed: bool,
}

/// What a suspending call is about to wait for.
#[derive(Clone, Copy, Debug)]
pub enum Plan {
    Yield,
    Sleep(u64),
    /// Not decided before the clock is read.
    Until(u64),
    ForEver,
    Io,
    Op(Option<u8>),
    Park,
    Join(u8),
}

/// The running task is in a call that arms the deadlines of these scopes first.
#[derive(Clone, Debug)]
pub struct Arming {
    pub task: u8,
    pub plan: Plan,
    pub depths: Vec<u8>,
    /// Whether this is over is looked at before.
    pub until_ns: Option<u64>,
}

impl State {
    /// What a suspending call of `i` returns at once: from the innermost level out to the first
    /// shield, the outermost that has fired decides.
    pub fn effective(&self, i: u8) -> i32 {
        let mut errno = 0;
        for level in self.tasks[i as usize].levels.iter().rev() {
            if level.fired != 0 {
                errno = level.fired;
            }
            if level.shield {
                break;
            }
        }
        errno
    }

    /// A suspending call of `i` begins.
    pub fn call(&mut self, i: u8, plan: Plan) {
        self.t(i).at_once = None;
        let levels = self.t(i).levels.iter().enumerate().rev();
        let depths: Vec<u8> = levels.filter(|l| l.1.unarmed).map(|l| l.0 as u8).collect();
        if depths.is_empty() && !matches!(plan, Plan::Until(_)) {
            return self.wait(i, plan);
        }
        let ex = self.t(i).ex as usize;
        let until_ns = if let Plan::Until(ns) = plan { Some(ns) } else { None };
        self.ex[ex].arming = Some(Arming { task: i, plan, depths, until_ns });
    }

    /// The executor has read the clock, to arm a deadline if it is about that.
    pub fn armed(&mut self, ex: u8) {
        let clock_ns = self.clock_ns;
        let e = &mut self.ex[ex as usize];
        let Some(arming) = &mut e.arming else { return };
        let i = arming.task;
        if let Some(until_ns) = arming.until_ns.take() {
            if until_ns <= clock_ns {
                arming.plan = Plan::Yield;
            }
            if arming.depths.is_empty() {
                let plan = arming.plan;
                e.arming = None;
                self.wait(i, plan);
            }
            return;
        }
        let (plan, depth) = (arming.plan, arming.depths.remove(0));
        let last = arming.depths.is_empty();
        let level = &mut self.tasks[i as usize].levels[depth as usize];
        level.unarmed = false;
        let deadline_ns = level.entered_ns + level.timeout_ns.expect("it has a deadline");
        if deadline_ns <= clock_ns {
            level.fired = libc::ETIME;
        } else {
            e.put_timer(deadline_ns, Timer::Scope(i, depth));
        }
        if last {
            self.ex[ex as usize].arming = None;
            self.wait(i, plan);
        }
    }

    /// What the call returns at once; else `i` waits.
    fn wait(&mut self, i: u8, plan: Plan) {
        let errno = self.effective(i);
        if errno != 0 {
            return self.t(i).at_once = Some(failure(errno));
        }
        let clock_ns = self.clock_ns;
        match plan {
            Plan::Yield => {
                self.left(i, Stage::Ready);
                self.wake(i, DONE);
            }
            Plan::Sleep(ns) => {
                self.left(i, Stage::Sleep);
                let ex = self.t(i).ex as usize;
                self.ex[ex].dozing = Some((i, clock_ns, ns));
            }
            Plan::Until(ns) => {
                self.left(i, Stage::Sleep);
                let ex = self.t(i).ex as usize;
                self.ex[ex].put_timer(ns, Timer::Task(i));
            }
            Plan::ForEver => self.left(i, Stage::ForEver),
            Plan::Io => self.begin_own(i),
            Plan::Op(op) => {
                let t = self.t(i);
                let ready = op.map_or(!t.done.is_empty(), |op| t.ops[op as usize].pending);
                if ready {
                    t.at_once = Some(DONE);
                } else {
                    self.left(i, Stage::Op(op));
                }
            }
            Plan::Park if std::mem::take(&mut self.t(i).permit) => self.t(i).at_once = Some(DONE),
            Plan::Park => self.left(i, Stage::Park { claimed: false }),
            Plan::Join(other) => self.join(i, other),
        }
    }

    fn join(&mut self, i: u8, other: u8) {
        let ex = self.t(i).ex;
        let circle = self.waits_for(other, i);
        let o = self.t(other);
        match o.stage {
            Stage::Idle if o.fresh => self.t(i).at_once = Some(failure(libc::EINVAL)),
            Stage::Idle => self.t(i).at_once = Some(self.t(other).result),
            _ if circle => {
                self.t(i).at_once = Some(failure(libc::EDEADLK));
            }
            _ if o.ex == ex => {
                self.t(other).joiners.push((i, false));
                self.left(i, Stage::Join(other));
            }
            _ => {
                let run = o.attached;
                self.post(1 - ex, Mail::Join { joiner: i, other, run });
                self.left(i, Stage::Away { other, run, owed: 1, registered: false, asked: false });
            }
        }
    }

    /// `from` joins `to`, through others it may be. Who is told that a run is over, or was cancelled
    /// and waits for the answer, joins nobody.
    fn waits_for(&self, from: u8, to: u8) -> bool {
        let mut next = from;
        loop {
            next = match self.tasks[next as usize].stage {
                Stage::Join(other) => other,
                Stage::Away { other, run, asked: false, .. }
                    if self.tasks[other as usize].attached == run =>
                {
                    other
                }
                _ => return false,
            };
            if next == to {
                return true;
            }
        }
    }

    pub fn enter(&mut self, i: u8, timeout_ns: Option<u64>, shield: bool) {
        let entered_ns = self.clock_ns;
        let unarmed = timeout_ns.is_some();
        self.t(i).levels.push(Level { fired: 0, shield, entered_ns, timeout_ns, unarmed });
    }

    /// The innermost; whether it has fired. None without any.
    pub fn leave(&mut self, i: u8) -> Option<bool> {
        let depth = self.t(i).levels.len() - 1;
        if depth == 0 {
            return None;
        }
        self.unarm(i, depth as u8);
        self.t(i).levels.pop().map(|l| l.fired != 0)
    }

    /// Whether any was open.
    pub fn close_scopes(&mut self, i: u8) -> bool {
        let open = self.t(i).levels.len() > 1;
        while self.leave(i).is_some() {}
        open
    }

    fn unarm(&mut self, i: u8, depth: u8) {
        let ex = self.t(i).ex as usize;
        self.ex[ex].timers.retain(|t| t.1 != Timer::Scope(i, depth));
    }

    /// Level `depth` of `i` fires, unless it has.
    pub fn fire(&mut self, i: u8, depth: u8, errno: i32) {
        let level = &mut self.t(i).levels[depth as usize];
        if level.fired != 0 {
            return;
        }
        (level.fired, level.unarmed) = (errno, false);
        self.unarm(i, depth);
        self.interrupt(i);
    }

    /// Ends what `i` waits for, if one of its levels says so.
    fn interrupt(&mut self, i: u8) {
        let errno = self.effective(i);
        if errno == 0 {
            return;
        }
        let ex = self.t(i).ex;
        match self.t(i).stage {
            Stage::Sleep => self.ex[ex as usize].timers.retain(|t| t.1 != Timer::Task(i)),
            Stage::ForEver | Stage::Op(_) | Stage::Park { claimed: false } => {}
            Stage::Io => return self.cancel_op(i, OWN),
            Stage::Join(other) => {
                self.t(other).joiners.retain(|j| j.0 != i);
            }
            Stage::Away { asked: false, other, run, owed, registered } => {
                // Where there is no executor any more, or the run is over, the answer is on its way.
                let o = self.t(other);
                let under = o.stage != Stage::Idle && o.attached == run;
                let sent = under && self.ex[1 - ex as usize].alive;
                let owed = owed + u8::from(sent);
                self.t(i).stage = Stage::Away { other, run, owed, registered, asked: true };
                if sent {
                    self.post(1 - ex, Mail::Unjoin { joiner: i });
                }
                return;
            }
            _ => return,
        }
        self.wake(i, failure(errno));
    }

    /// On the thread of `ex`. What the call returns.
    pub fn cancel(&mut self, i: u8, ex: u8) -> bool {
        if !self.is_attached(i) || self.t(i).ex != ex {
            return false;
        }
        let t = self.t(i);
        if t.stage == Stage::Ready && t.launch {
            let level = t.level as usize;
            let e = &mut self.ex[ex as usize];
            remove(&mut e.ready[level], i);
            e.pending -= 1;
            self.never_launched(i);
        } else {
            // Where the request has overtaken the launch, it never begins.
            self.fire(i, 0, libc::ECANCELED);
        }
        true
    }

    /// Whether it had been cancelled.
    pub fn uncancel(&mut self, i: u8) -> bool {
        std::mem::take(&mut self.t(i).levels[0].fired) != 0
    }

    /// `here`: from the thread of its executor.
    pub fn unpark(&mut self, i: u8, here: bool) {
        let t = self.t(i);
        t.permit = true;
        if t.stage != (Stage::Park { claimed: false }) {
            return;
        }
        if here {
            return self.unparked(i);
        }
        t.stage = Stage::Park { claimed: true };
        let ex = t.ex;
        self.post(ex, Mail::Unpark(i));
    }

    /// The park of `i` is over: a permit is there.
    pub fn unparked(&mut self, i: u8) {
        self.wake(i, DONE);
    }

    /// `i` goes on after a call that suspended: what that returns.
    pub fn returned(&mut self, i: u8, plan: Plan) -> RawResult {
        let errno = self.effective(i);
        let t = self.t(i);
        match plan {
            Plan::Park if t.outcome == DONE => t.permit = false,
            Plan::Join(_) if std::mem::take(&mut t.unjoined) => {
                t.outcome = failure(if errno == 0 { libc::ECANCELED } else { errno });
            }
            Plan::Io if std::mem::take(&mut t.again) => t.outcome = failure(errno),
            _ => {}
        }
        t.outcome
    }

    /// `i` runs inside its call: its operation is begun again.
    pub fn begun_again(&mut self, i: u8) -> Result<(), String> {
        self.picked(i)?;
        self.t(i).again = false;
        self.begin_own(i);
        Ok(())
    }
}
