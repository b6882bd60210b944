//! Operations in the model: the one of a call, and records, of which a task has some.

use crate::model::{failure, remove, Stage, State, DONE};
use crate::program::{Io, Op as Code, OPS};
use monad_async::error::RawResult;

/// The place of the operation that a call waits for.
pub const OWN: u8 = OPS as u8;

/// Whose operation, and which.
pub type Place = (u8, u8);

/// How often the kernel is asked to perform an operation that nobody cancelled.
const RETRIES: u32 = 100;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum At {
    #[default]
    Idle,
    /// Waits for a submission entry.
    Queued,
    Kernel,
    /// Its last completion is to be taken.
    Done,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Op {
    pub io: Option<Io>,
    pub at: At,
    /// Names its bytes.
    pub key: u64,
    /// Goes with its task, not with a record.
    pub inline: bool,
    /// The queue it waits in.
    level: u8,
    pub asked: bool,
    /// The kernel was told so.
    requested: bool,
    /// A completion is to be taken: this.
    pub pending: bool,
    pub res: i32,
    pub flags: u32,
    retries: u32,
    /// How often the kernel has had it.
    pub tries: u8,
    pub user_data: u64,
}

/// What the kernel says of what it did not perform.
pub fn is_not_performed(res: i32) -> bool {
    matches!(-res, libc::ECANCELED | libc::EINTR | 512..=516)
}

impl State {
    pub fn op(&mut self, (i, n): Place) -> &mut Op {
        &mut self.tasks[i as usize].ops[n as usize]
    }

    /// Nobody waits, and there is room besides what is pushed at this moment.
    fn has_room(&self, ex: u8) -> bool {
        let e = &self.ex[ex as usize];
        e.queued() == 0 && e.ring.sq_space() as usize > e.due_pushes.len()
    }

    /// The running task begins the operation of its call, which `io` of its record says.
    pub fn begin_own(&mut self, i: u8) {
        let ex = self.t(i).ex;
        let op = self.op((i, OWN));
        *op = Op { io: op.io, key: op.key, tries: op.tries, ..Op::default() };
        self.ex[ex as usize].submitted += 1;
        if self.has_room(ex) {
            let op = self.op((i, OWN));
            (op.inline, op.at) = (true, At::Kernel);
            self.ex[ex as usize].due_pushes.push_back(((i, OWN), false));
        } else {
            self.t(i).in_flight.push(OWN);
            self.enqueue((i, OWN));
        }
        self.left(i, Stage::Io);
    }

    /// The running task begins a record.
    pub fn begin_op(&mut self, place: Place, io: Io, key: u64) {
        let ex = self.t(place.0).ex;
        *self.op(place) = Op { io: Some(io), key, ..Op::default() };
        self.ex[ex as usize].submitted += 1;
        self.t(place.0).in_flight.push(place.1);
        if self.has_room(ex) {
            self.op(place).at = At::Kernel;
            self.ex[ex as usize].due_pushes.push_back((place, false));
        } else {
            self.enqueue(place);
        }
    }

    fn enqueue(&mut self, place: Place) {
        let t = self.t(place.0);
        let (ex, level) = (t.ex as usize, t.io.min(2));
        let op = self.op(place);
        (op.at, op.level) = (At::Queued, level);
        self.ex[ex].entries[level as usize].push_back(place);
    }

    fn unqueue(&mut self, place: Place) {
        let (ex, level) = (self.t(place.0).ex as usize, self.op(place).level as usize);
        remove(&mut self.ex[ex].entries[level], place);
    }

    /// The I/O priority of `i` has changed.
    pub fn requeue(&mut self, i: u8) {
        for n in self.t(i).in_flight.clone() {
            if self.op((i, n)).at == At::Queued {
                self.unqueue((i, n));
                self.enqueue((i, n));
            }
        }
    }

    /// Asks the kernel to end it, once; one that the kernel does not have is over at once: true.
    fn ask(&mut self, place: Place) -> bool {
        let ex = self.t(place.0).ex;
        let room = self.has_room(ex);
        let op = self.op(place);
        match op.at {
            At::Queued => {
                self.unqueue(place);
                self.brought(place, -libc::ECANCELED, 0, true);
                return true;
            }
            At::Kernel if !op.asked => {
                op.asked = true;
                let which = usize::from(!op.inline);
                let e = &mut self.ex[ex as usize];
                if room {
                    e.due_pushes.push_back((place, true));
                } else {
                    e.cancels[which].push_back(place);
                }
            }
            _ => {}
        }
        false
    }

    pub fn cancel_op(&mut self, i: u8, n: u8) {
        if self.ask((i, n)) {
            self.came((i, n), true);
        }
    }

    /// `i` has returned: all its operations are cancelled. True: some have yet to end.
    pub fn close_ops(&mut self, i: u8) -> bool {
        for n in self.t(i).in_flight.clone() {
            if self.ask((i, n)) {
                let ex = self.t(i).ex as usize;
                self.ex[ex].completed += 1;
            }
            if self.op((i, n)).pending {
                self.take((i, n));
            }
        }
        !self.t(i).in_flight.is_empty()
    }

    /// A completion, `over` the last, waits to be taken.
    fn brought(&mut self, place: Place, res: i32, flags: u32, over: bool) {
        let op = self.op(place);
        let first = !std::mem::replace(&mut op.pending, true);
        // Of a poll: the events of all.
        op.res = if first || res < 0 { res } else { op.res | res };
        op.flags = flags;
        if over {
            op.at = At::Done;
        }
        if first {
            self.t(place.0).done.push_back(place.1);
        }
    }

    /// The one that waits for it goes on.
    fn came(&mut self, place: Place, over: bool) {
        let (i, n) = place;
        let ex = self.t(i).ex as usize;
        self.ex[ex].completed += u64::from(over);
        match self.t(i).stage {
            Stage::Io if n == OWN => {
                let (result, _) = self.take(place);
                self.own_ended(i, result);
            }
            Stage::Op(None) => self.wake(i, DONE),
            Stage::Op(Some(m)) if m == n => self.wake(i, DONE),
            Stage::Closing => {
                self.take(place);
                if self.t(i).in_flight.is_empty() {
                    let result = self.t(i).result;
                    let e = &mut self.ex[ex];
                    e.suspended -= 1;
                    e.woken |= e.in_run;
                    self.finish(i, result);
                }
            }
            _ => {}
        }
    }

    /// What it gave, and the flags with it.
    pub fn take(&mut self, (i, n): Place) -> (RawResult, u32) {
        let t = self.t(i);
        remove(&mut t.done, n);
        let op = &mut t.ops[n as usize];
        op.pending = false;
        let taken = (RawResult::from_kernel(op.res), op.flags);
        if op.at == At::Done {
            op.at = At::Idle;
            t.in_flight.retain(|&m| m != n);
        }
        taken
    }

    /// The operation of a call is over. What the kernel did not perform is begun again once the
    /// task runs, unless it is interrupted then.
    fn own_ended(&mut self, i: u8, result: RawResult) {
        self.t(i).again = is_not_performed(-result.error);
        self.wake(i, result);
    }

    /// A completion leaves the queue; true: its operation has no more.
    pub fn completion(&mut self, place: Place, res: i32, flags: u32, more: bool, notify: bool) {
        let ex = self.t(place.0).ex as usize;
        let op = self.op(place);
        if !notify {
            (op.res, op.flags) = (if op.is_stream() { op.res } else { res }, flags);
        }
        let (inline, asked, last) = (op.inline, op.asked, op.res);
        if op.is_stream() {
            if !more {
                self.ex[ex].cancels[1].retain(|&p| p != place);
            }
            self.brought(place, outcome(res, asked), flags, !more);
            return self.came(place, !more);
        }
        if more {
            return;
        }
        let which = usize::from(!inline);
        self.ex[ex].cancels[which].retain(|&p| p != place);
        if inline {
            self.op(place).at = At::Idle;
            self.ex[ex].completed += 1;
            self.ex[ex].ended = Some(place.0);
            return self.own_ended(place.0, RawResult::from_kernel(last));
        }
        let op = self.op(place);
        if is_not_performed(last) && !asked && op.retries < RETRIES {
            op.retries += 1;
            return self.enqueue(place);
        }
        let flags = op.flags;
        if place.1 == OWN {
            self.ex[ex].ended = Some(place.0);
        }
        self.brought(place, outcome(last, asked), flags, true);
        self.came(place, true);
    }

    /// What a wait for a record, or for any, must answer before anything else.
    pub fn refuses(&mut self, i: u8, n: Option<u8>) -> Option<RawResult> {
        let t = self.t(i);
        let none = n.map_or(t.in_flight.is_empty(), |n| t.ops[n as usize].at == At::Idle);
        none.then_some(failure(libc::ENOENT))
    }

    /// An entry arrives in the submission queue: what it is, and whether that is the next in line.
    pub fn next_push(&mut self, ex: u8) -> Option<(Place, bool)> {
        let e = &mut self.ex[ex as usize];
        if let Some(due) = e.due_pushes.pop_front() {
            return Some(due);
        }
        if let Some(place) = e.cancels.iter_mut().find_map(|q| q.pop_front()) {
            return Some((place, true));
        }
        let place = e.entries.iter_mut().find_map(|q| q.pop_front())?;
        self.op(place).at = At::Kernel;
        Some((place, false))
    }
}

impl Op {
    pub fn is_stream(&self) -> bool {
        matches!(self.io.map(|io| io.op), Some(Code::Stream(_)))
    }

    /// The kernel is asked to cancel it: once.
    pub fn request(&mut self) -> bool {
        self.at == At::Kernel && self.asked && !std::mem::replace(&mut self.requested, true)
    }
}

/// What the kernel's word is to who began the operation.
fn outcome(res: i32, asked: bool) -> i32 {
    match is_not_performed(res) {
        true if asked => -libc::ECANCELED,
        true => -libc::EAGAIN,
        false => res,
    }
}
