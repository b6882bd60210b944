//! The model's operations: what the kernel does with them, as their scripts say.

use crate::model::{Model, Out};
use crate::program::*;
use std::collections::VecDeque;

/// How often an operation that nobody cancelled is begun again.
const AGAIN: u8 = 100;

#[derive(Clone, Copy, PartialEq)]
pub enum Stage {
    /// Idle, or all its completions have come.
    Over,
    /// Waits for an entry.
    Queued,
    /// In the submission queue.
    Pushed,
    Flight,
}

#[derive(Clone)]
pub struct Op {
    pub script: Script,
    pub stage: Stage,
    /// Completions that nobody took.
    pub done: VecDeque<Out>,
    pub asked: bool,
    /// The kernel has been told so.
    pub told: bool,
    /// When the kernel gets what ends it: what is in the submission queue, cancel requests that
    /// wait, entries that wait; each in order.
    pub turn: (u8, u64),
    pub due_ns: u64,
    pub more: u8,
    /// Which of all completions the first of `done` was.
    pub order: u64,
}

pub const NONE: Script = Script {
    due_ns: 0,
    remainder: 0,
    end: End::Never,
    on_cancel: OnCancel::Loses,
    trouble: (0, 0),
    more: 0,
};

impl Op {
    pub fn new(script: Script, stage: Stage) -> Self {
        let done = VecDeque::new();
        let (due_ns, more) = (script.due_ns, script.more);
        Self {
            script,
            stage,
            done,
            asked: false,
            told: false,
            turn: (0, 0),
            due_ns,
            more,
            order: 0,
        }
    }
}

/// Operations.
impl Model<'_> {
    pub fn begin(&mut self, i: usize, script: Script) {
        self.begun += 1;
        let script = script.begun(self.now_ns, i);
        let stage = if self.room != 0 { Stage::Pushed } else { Stage::Queued };
        self.room = self.room.saturating_sub(1);
        self.turns += 1;
        let turn = (2 * u8::from(stage == Stage::Queued), self.turns);
        self.ops[i] = Op { turn, ..Op::new(script, stage) };
    }

    /// The kernel gets all that was begun.
    pub fn submit(&mut self) {
        self.room = self.p.sq_entries;
        let mut order: Vec<usize> = (0..=OPS).collect();
        order.sort_by_key(|&i| self.ops[i].turn);
        for i in order {
            let Op { stage, asked, told, .. } = self.ops[i];
            if stage == Stage::Flight && asked && !told {
                self.kernel_cancel(i);
            }
            if !matches!(stage, Stage::Queued | Stage::Pushed) {
                continue;
            }
            self.ops[i].stage = Stage::Flight;
            let (times, _) = self.ops[i].script.trouble;
            match self.ops[i].asked {
                // Its own trouble is taken for the cancel that comes right after it.
                true if times != 0 => self.end(i, -libc::ECANCELED),
                true => self.kernel_cancel(i),
                // Of a stream, it is not known what has happened already.
                false if times > AGAIN || times != 0 && self.ops[i].more != 0 => {
                    self.end(i, -libc::EAGAIN);
                }
                false => {}
            }
        }
    }

    pub fn op_cancel(&mut self, i: usize) {
        match self.ops[i].stage {
            Stage::Over => {}
            Stage::Queued => self.end(i, -libc::ECANCELED),
            Stage::Pushed | Stage::Flight => self.ask(i),
        }
    }

    pub fn ask(&mut self, i: usize) {
        if std::mem::replace(&mut self.ops[i].asked, true) {
            return;
        }
        // The request takes an entry; while the task is suspended, it leaves it again.
        let waits = u8::from(self.room == 0);
        self.room -= u32::from(self.waits.is_none() && self.room != 0);
        self.turns += 1;
        if self.ops[i].stage == Stage::Flight || self.ops[i].script.trouble.0 == 0 {
            self.ops[i].turn = (waits, self.turns);
        }
        self.ops[i].told = false;
        if self.ops[i].stage == Stage::Flight && self.waits.is_some() {
            self.kernel_cancel(i);
        }
    }

    fn kernel_cancel(&mut self, i: usize) {
        let o = &mut self.ops[i];
        o.told = true;
        match o.script.on_cancel {
            _ if o.due_ns <= self.now_ns && o.script.end != End::Never => {}
            OnCancel::Ends(_) => self.end(i, -libc::ECANCELED),
            OnCancel::Crosses => {
                o.more = 0;
                self.come(i);
            }
            OnCancel::Loses if o.script.end == End::Never => {
                (o.due_ns, o.more) = (o.script.after_all(self.now_ns), 0);
            }
            OnCancel::Loses => {}
        }
    }

    /// Its next completion comes.
    pub fn come(&mut self, i: usize) {
        let o = &mut self.ops[i];
        if o.more != 0 {
            o.more -= 1;
            let value = 1 << o.more;
            let last = o.more == 0 && o.script.end == End::Never;
            o.due_ns = if last { u64::MAX } else { o.due_ns + 2 * SLOT_NS };
            return self.done(i, Out { error: 0, value, more: true });
        }
        match o.script.end {
            End::Full(value) => self.end(i, value),
            End::Errno(e) => self.end(i, -e),
            End::Never => self.end(i, 0),
        }
    }

    fn end(&mut self, i: usize, res: i32) {
        self.ops[i].stage = Stage::Over;
        let effective = self.effective();
        let error = match res {
            // What the call is over by is what interrupts it.
            _ if i == OWN && -res == libc::ECANCELED => effective,
            _ => (-res).max(0),
        };
        self.done(i, Out { error, value: i64::from(res.max(0)), more: false });
    }

    fn done(&mut self, i: usize, out: Out) {
        let o = &mut self.ops[i];
        self.completions += 1;
        if o.done.is_empty() {
            o.order = self.completions;
        }
        match o.done.back_mut() {
            // Of a poll, what nobody took yet is one.
            Some(last) if out.error == 0 => {
                (last.value, last.more) = (last.value | out.value, out.more);
            }
            Some(last) => *last = out,
            None => o.done.push_back(out),
        }
        self.settle();
    }
}
