//! Of the model: tasks of workers that join each other, on one worker and across.

use super::model::{At, Mail, Model};
use super::ALL;
use crate::model::{Out, ECANCELED, EDEADLK, EINVAL, ESRCH, ETIME};

#[derive(Clone, Copy)]
pub struct Join {
    other: usize,
    run: u32,
    /// The worker of that run.
    at: usize,
    /// What it has brought: that of the run, or nothing, if it was withdrawn.
    out: Option<Out>,
    /// Messages about it that are on their way.
    owed: u32,
    /// It is withdrawn, or needs not be.
    is_asked: bool,
}

impl Model {
    /// `t`, on worker `w`, joins one that is not queued. None: it waits.
    pub fn begins_join(&mut self, t: usize, w: usize, other: usize) -> Option<Out> {
        let of = self.tasks[other];
        let At::On(at) = of.at else {
            if of.runs == 0 {
                return Some(EINVAL);
            }
            self.see("a join of what is over");
            return Some(of.result);
        };
        if self.closes_ring(t, (other, of.runs)) {
            return Some(EDEADLK);
        }
        self.tasks[t].word = Some((other, of.runs));
        let owed = u32::from(at != w);
        let join = Join { other, run: of.runs, at, out: None, owed, is_asked: false };
        self.tasks[t].join = Some(join);
        if at == w {
            self.see("a join of a task of its own worker");
            self.joiners[other].push(t);
        } else {
            self.see("a join of a task of another worker");
            self.send(at, Mail::Join(t));
        }
        None
    }

    fn closes_ring(&mut self, t: usize, of: (usize, u32)) -> bool {
        let mut next = of;
        let mut workers = vec![self.tasks[t].at];
        for _ in 0..ALL {
            let (task, run) = next;
            if self.tasks[task].runs != run {
                return false;
            }
            workers.push(self.tasks[task].at);
            let Some(word) = self.tasks[task].word else {
                return false;
            };
            if word.0 == t {
                let is_ring = word.1 == self.tasks[t].runs;
                if is_ring {
                    self.see("a ring of joins is refused");
                    if workers.iter().any(|at| *at != workers[0]) {
                        self.see("a ring of joins of several workers is refused");
                    }
                }
                return is_ring;
            }
            next = word;
        }
        false
    }

    fn send(&mut self, w: usize, mail: Mail) {
        self.workers[w].mail.push(mail);
        self.workers[w].is_due = true;
    }

    /// A cancel, or its time, meets one that joins. Whether the wait is over with that.
    pub fn interrupt_join(&mut self, t: usize, w: usize, is_cancel: bool) -> bool {
        self.see(if is_cancel { "a join is cancelled" } else { "a join is out of time" });
        self.tasks[t].word = None;
        let Some(join) = self.tasks[t].join.as_mut() else { return true };
        let Join { other, run, at, .. } = *join;
        if at == w {
            self.tasks[t].join = None;
            self.joiners[other].retain(|&of| of != t);
            return true;
        }
        self.tasks[t].until_ns = u64::MAX;
        if std::mem::replace(&mut join.is_asked, true) {
            return false;
        }
        let is_under = self.tasks[other].at == At::On(at) && self.tasks[other].runs == run;
        if is_under {
            join.owed += 1;
            self.send(at, Mail::Unjoin(t));
            self.see("a join of another worker's task is cancelled");
        } else {
            self.see("a join is answered as it is cancelled");
        }
        false
    }

    /// Worker `w` takes in what concerns a join.
    pub fn of_joins(&mut self, mail: Mail, w: usize) {
        match mail {
            Mail::Join(t) => {
                let Some(Join { other, run, .. }) = self.tasks[t].join else { return };
                let of = self.tasks[other];
                if of.at == At::On(w) && of.runs == run {
                    self.joiners[other].push(t);
                    return;
                }
                // Its result is there until the next one writes its own.
                let is_next_here = of.at == At::On(w) && of.runs == run + 1;
                let is_last = of.at == At::Idle && of.runs == run;
                self.see("a join finds a run over");
                self.answer(t, Some(if is_next_here || is_last { of.result } else { ESRCH }));
            }
            Mail::Unjoin(t) => {
                let Some(Join { other, .. }) = self.tasks[t].join else { return };
                if self.joiners[other].contains(&t) {
                    self.joiners[other].retain(|&of| of != t);
                    self.answer(t, None);
                }
                self.send_home(t, Mail::Unjoined(t));
            }
            Mail::Joined(t) | Mail::Unjoined(t) => {
                let Some(join) = self.tasks[t].join.as_mut() else { return };
                join.owed -= 1;
                if join.owed == 0 {
                    self.make_ready(t, w);
                }
            }
            _ => {}
        }
    }

    fn answer(&mut self, t: usize, out: Option<Out>) {
        if let Some(join) = self.tasks[t].join.as_mut() {
            join.out = out;
        }
        self.send_home(t, Mail::Joined(t));
    }

    fn send_home(&mut self, t: usize, mail: Mail) {
        if let At::On(home) = self.tasks[t].at {
            self.send(home, mail);
        }
    }

    /// `other` has ended on `w`.
    pub fn tell_joiners(&mut self, other: usize, w: usize, result: Out) {
        for t in std::mem::take(&mut self.joiners[other]) {
            if self.tasks[t].at == At::On(w) {
                if let Some(join) = self.tasks[t].join.as_mut() {
                    join.out = Some(result);
                }
                self.make_ready(t, w);
            } else {
                self.answer(t, Some(result));
            }
        }
    }

    /// It goes on: what its join has brought, if it was in one that nobody has taken it out of.
    pub fn joined(&mut self, t: usize) {
        self.tasks[t].word = None;
        if let Some(Join { out, .. }) = self.tasks[t].join.take() {
            let why = if self.tasks[t].is_canceled { ECANCELED } else { ETIME };
            self.tasks[t].out = out.unwrap_or(why);
        }
    }
}
