//! The simulated ring: entries, operations in flight, completions, and cancel requests.

use std::collections::VecDeque;

use crate::model::{Cancel, Stage, State};
use crate::program::{End, Io, OnCancel, Op, Temper};
use monad_async::uring::kernel::{Cqe, Sqe};

const F_MORE: u32 = 1 << 1;
const F_NOTIF: u32 = 1 << 3;

#[derive(Clone, Copy)]
pub struct Flight {
    pub task: u8,
    pub user_data: u64,
    pub io: Io,
    pub buffer: *mut u8,
    pub due_ns: u64,
    /// The result is out; the notification that the buffer is free is not.
    pub notify: bool,
}

#[derive(Default)]
pub struct Ring {
    pub temper: Option<Temper>,
    pub sq: VecDeque<Sqe>,
    pub flights: Vec<Flight>,
    pub cq: VecDeque<Cqe>,
    /// Completions that only an enter brings out: deferred work, or overflow.
    pub backlog: VecDeque<Cqe>,
    /// Cancel requests not yet answered.
    pub requests: Vec<u64>,
    /// Items that had run when the oldest of what waits came.
    pub cq_since: Option<u64>,
    pub sq_since: Option<u64>,
}

impl Ring {
    pub fn reset(&mut self, temper: Temper) {
        *self = Ring { temper: Some(temper), ..Ring::default() };
    }
    pub fn temper(&self) -> Temper {
        self.temper.expect("reset before use")
    }
    pub fn sq_space(&self) -> u32 {
        self.temper().sq_entries - self.sq.len() as u32
    }
    /// Nothing of anyone's is in here.
    pub fn is_idle(&self) -> bool {
        self.sq.is_empty()
            && self.flights.is_empty()
            && self.cq.is_empty()
            && self.backlog.is_empty()
            && self.requests.is_empty()
    }
    pub fn next_due_ns(&self) -> u64 {
        self.flights.iter().map(|f| f.due_ns).min().unwrap_or(u64::MAX)
    }
}

/// What a read leaves in its buffer, and a write must find there.
pub fn pattern(user_data: u64, at: usize) -> u8 {
    (user_data >> 48) as u8 ^ (user_data >> 8) as u8 ^ at as u8 ^ 0x5a
}

/// The last words a broken promise has.
pub type Verdict = Result<(), String>;

impl State {
    pub fn post_cqe(&mut self, ex: u8, user_data: u64, res: i32, flags: u32) {
        let e = &mut self.ex[ex as usize];
        let r = &mut e.ring;
        let temper = r.temper();
        let cqe = Cqe { user_data, res, flags };
        if temper.deferred || !r.backlog.is_empty() || r.cq.len() >= temper.cq_entries {
            r.backlog.push_back(cqe);
        } else {
            r.cq.push_back(cqe);
        }
        r.cq_since.get_or_insert(e.items);
    }

    /// An enter brings out what was held back, as far as there is room.
    pub fn flush(&mut self, ex: u8) {
        let r = &mut self.ex[ex as usize].ring;
        let room = r.temper().cq_entries.saturating_sub(r.cq.len()).min(r.backlog.len());
        r.cq.extend(r.backlog.drain(..room));
    }

    /// The kernel takes so many entries.
    pub fn submit(&mut self, ex: u8, count: usize) -> Verdict {
        for _ in 0..count {
            let Some(sqe) = self.ex[ex as usize].ring.sq.pop_front() else { break };
            if sqe.opcode() == 14 {
                self.cancel_request(ex, &sqe)?;
                continue;
            }
            self.start_flight(ex, &sqe)?;
        }
        self.pump(ex)
    }

    fn start_flight(&mut self, ex: u8, sqe: &Sqe) -> Verdict {
        let task = self.task_of(sqe.user_data())?;
        let Some(io) = self.t(task).op else {
            return Err(format!("an operation of task {task} is submitted, which has none"));
        };
        let due_ns = match io.end {
            End::Never => u64::MAX,
            _ => self.clock_ns + u64::from(io.delay_ns),
        };
        let buffer = sqe.addr() as *mut u8;
        let user_data = sqe.user_data();
        let flight = Flight { task, user_data, io, buffer, due_ns, notify: false };
        self.ex[ex as usize].ring.flights.push(flight);
        Ok(())
    }

    /// Ends what is due, in the order of the due times as far as one look can tell.
    pub fn pump(&mut self, ex: u8) -> Verdict {
        if self.ex[ex as usize].ring.temper.is_none() {
            return Ok(());
        }
        loop {
            let r = &self.ex[ex as usize].ring;
            let Some((at, flight)) = r.flights.iter().enumerate().min_by_key(|(_, f)| f.due_ns)
            else {
                return Ok(());
            };
            if flight.due_ns > self.clock_ns {
                return Ok(());
            }
            self.end_flight(ex, at, None)?;
        }
    }

    fn end_flight(&mut self, ex: u8, at: usize, res: Option<i32>) -> Verdict {
        let f = self.ex[ex as usize].ring.flights[at];
        let len = i32::from(f.io.len);
        let res = res.unwrap_or(match f.io.end {
            End::Full => len,
            End::Short(less) => (len - i32::from(less)).max(0),
            End::Errno(e) => -e,
            End::Never => -libc::EINTR,
        });
        let has_buffer = matches!(f.io.op, Op::Read | Op::Write | Op::SendZc);
        let moved = if has_buffer { res.max(0) as usize } else { 0 };
        for n in 0..moved {
            let expected = pattern(f.user_data, n);
            // SAFETY: the buffer is on the stack of a task that waits for this operation, which is
            // what this test checks; stacks are never unmapped.
            let byte = unsafe { &mut *f.buffer.add(n) };
            if f.io.op == Op::Read {
                *byte = expected;
            } else if *byte != expected {
                return Err(format!("task {}: the buffer changed under its operation", f.task));
            }
        }
        let flights = &mut self.ex[ex as usize].ring.flights;
        if f.io.op == Op::SendZc {
            if f.notify {
                flights.remove(at);
                self.post_cqe(ex, f.user_data, 0, F_NOTIF);
                return Ok(());
            }
            // A failed one may or may not have a notification.
            if res >= 0 || f.io.len.is_multiple_of(2) {
                flights[at].notify = true;
                flights[at].due_ns = self.clock_ns + 1 + u64::from(f.io.delay_ns / 2);
                self.post_cqe(ex, f.user_data, res, F_MORE);
                return Ok(());
            }
        }
        flights.remove(at);
        let res = if has_buffer || res < 0 { res } else { 0 };
        self.post_cqe(ex, f.user_data, res, 0);
        Ok(())
    }

    fn cancel_request(&mut self, ex: u8, sqe: &Sqe) -> Verdict {
        let request = sqe.user_data();
        let flights = &self.ex[ex as usize].ring.flights;
        let Some(at) = flights.iter().position(|f| f.user_data == sqe.addr() && !f.notify) else {
            self.post_cqe(ex, request, -libc::ENOENT, 0);
            return Ok(());
        };
        let (mut answered, answer, res) = match flights[at].io.on_cancel {
            OnCancel::Wins(first) => (first, 0, Some(-libc::ECANCELED)),
            OnCancel::Interrupts => (true, -libc::EALREADY, Some(-libc::EINTR)),
            OnCancel::Crosses(first) => (first, -libc::ENOENT, None),
            OnCancel::Loses => {
                let due_ns = &mut self.ex[ex as usize].ring.flights[at].due_ns;
                *due_ns = (*due_ns).min(self.clock_ns + 700);
                self.post_cqe(ex, request, -libc::EALREADY, 0);
                return Ok(());
            }
        };
        if answered {
            self.post_cqe(ex, request, answer, 0);
        }
        self.end_flight(ex, at, res)?;
        if !std::mem::replace(&mut answered, true) {
            self.post_cqe(ex, request, answer, 0);
        }
        Ok(())
    }

    /// An entry arrives in the submission queue: is it the next in line?
    pub fn pushed(&mut self, ex: u8, sqe: &Sqe) -> Verdict {
        let task = self.task_of(sqe.user_data())?;
        let running = self.ex[ex as usize].current == Some(task);
        let e = &mut self.ex[ex as usize];
        if e.ring.sq_space() == 0 {
            return Err("pushed into a full submission queue".into());
        }
        let t = &mut self.tasks[task as usize];
        if sqe.opcode() == 14 {
            if e.cancels.front() != Some(&task) {
                return Err(format!("a cancel request for task {task} that is not the next"));
            }
            e.cancels.pop_front();
            if t.stage != Stage::Flight || t.cancel != Cancel::Asked {
                return Err(format!("a cancel request for task {task}, not asked for"));
            }
            if e.ring.requests.contains(&sqe.user_data()) {
                return Err(format!("a second cancel request for task {task}"));
            }
            e.ring.requests.push(sqe.user_data());
        } else {
            if sqe.flags() & 2 != 0 {
                return Err(format!("task {task}'s drain reaches the kernel"));
            }
            if !e.cancels.is_empty() {
                return Err(format!("task {task}'s entry goes before a cancel request"));
            }
            let next = e.entries.iter_mut().find(|q| !q.is_empty());
            match (t.stage, next) {
                (Stage::Running, None) if running => {
                    e.submitted += 1;
                    e.suspended += 1;
                    e.current = None;
                }
                (Stage::Entry, Some(queue)) if queue[0] == task => {
                    queue.pop_front();
                }
                (stage, next) => {
                    return Err(format!(
                        "task {task}'s entry ({stage:?}) goes before that of {next:?}"
                    ))
                }
            }
            t.stage = Stage::Flight;
            let ioprio = match (t.op.map(|io| io.op), t.io.min(2)) {
                (Some(Op::Read | Op::Write), 0) => 2 << 13,
                (Some(Op::Read | Op::Write), 2) => 2 << 13 | 7,
                _ => 0,
            };
            if sqe.ioprio() != ioprio {
                return Err(format!("task {task}'s ioprio is {}, not {ioprio}", sqe.ioprio()));
            }
        }
        e.ring.sq.push_back(*sqe);
        e.ring.sq_since.get_or_insert(e.items);
        Ok(())
    }

    /// A completion leaves the queue.
    pub fn popped(&mut self, ex: u8, cqe: &Cqe) -> Verdict {
        let task = self.task_of(cqe.user_data)?;
        if cqe.user_data & 7 != 0 {
            let requests = &mut self.ex[ex as usize].ring.requests;
            let Some(at) = requests.iter().position(|&r| r == cqe.user_data) else {
                return Err("the simulation answered a request twice".into());
            };
            requests.remove(at);
            return Ok(());
        }
        if cqe.flags & F_MORE != 0 {
            self.t(task).sent = cqe.res;
            return Ok(());
        }
        let res = if cqe.flags & F_NOTIF != 0 { self.t(task).sent } else { cqe.res };
        if self.t(task).stage != Stage::Flight {
            return Err(format!("task {task}'s operation ended twice"));
        }
        self.completed(task, res);
        Ok(())
    }

    fn task_of(&self, user_data: u64) -> Result<u8, String> {
        let address = (user_data & 0xffff_ffff_ff80) as usize;
        let found = self.addresses.iter().position(|&a| a == address);
        match found {
            Some(i) if i < self.tasks.len() => Ok(i as u8),
            _ => Err(format!("user_data {user_data:#x} names no task")),
        }
    }
}
