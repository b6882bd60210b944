//! The simulated ring: entries, operations in flight, completions, and cancel requests.

use std::collections::VecDeque;

use crate::model::State;
use crate::ops::{At, Place, OWN};
use crate::program::{End, Io, OnCancel, Op, Temper};
use monad_async::uring::kernel::{Cqe, Sqe};

const F_MORE: u32 = 1 << 1;
const F_NOTIF: u32 = 1 << 3;
/// IORING_OP_ASYNC_CANCEL
const CANCEL: u8 = 14;

#[derive(Clone, Copy)]
pub struct Flight {
    pub place: Place,
    pub user_data: u64,
    pub io: Io,
    pub key: u64,
    pub buffer: *mut u8,
    pub due_ns: u64,
    /// The result is out; the notification that the buffer is free is not.
    pub notify: bool,
    /// Completions of a stream that come before the last.
    pub more: u8,
}

/// What a completion is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum About {
    Operation(Place),
    Request,
    Nobody,
}

#[derive(Default)]
pub struct Ring {
    pub temper: Option<Temper>,
    pub sq: VecDeque<(Sqe, Place)>,
    pub flights: Vec<Flight>,
    pub cq: VecDeque<(Cqe, About)>,
    /// Completions that only an enter brings out: deferred work, or overflow.
    pub backlog: VecDeque<(Cqe, About)>,
    /// Cancel requests not yet answered.
    pub requests: usize,
    /// Items that had run when the oldest of what waits came.
    pub cq_since: Option<u64>,
    pub sq_since: Option<u64>,
    /// Entries that the kernel took since a task ran.
    pub taken: usize,
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
            && self.requests == 0
    }
    pub fn next_due_ns(&self) -> u64 {
        self.flights.iter().map(|f| f.due_ns).min().unwrap_or(u64::MAX)
    }
}

/// What a read leaves in its buffer, and a write must find there.
pub fn pattern(key: u64, at: usize) -> u8 {
    key as u8 ^ at as u8 ^ 0x5a
}

/// The last words a broken promise has.
pub type Verdict = Result<(), String>;

impl State {
    pub fn post_cqe(&mut self, ex: u8, about: About, user_data: u64, res: i32, flags: u32) {
        let garbage = self.ex[ex as usize].ring.temper().garbage;
        if garbage != 0 && self.rng.one_in(garbage) {
            // What people choose: small numbers, addresses; and what ours looked like.
            let at = self.rng.pick(&self.addresses) as u64;
            let own = user_data & !(0xffff << 48) | u64::from(self.rng.below(9)) << 60;
            let nobody =
                [0, 1, 2, 3, 9, 64, u64::MAX, at, at + 2, at + 4, own, 1 << 47, 1 << 47 | 1];
            let nobody = self.rng.pick(&nobody);
            let ours = self.tasks.iter().any(|t| t.ops.iter().any(|op| op.user_data == nobody));
            // Of the answers to requests, none is known from another.
            if !ours && (nobody != own || nobody & 7 != 1) {
                self.put_cqe(ex, Cqe { user_data: nobody, res, flags }, About::Nobody);
            }
        }
        self.put_cqe(ex, Cqe { user_data, res, flags }, about);
    }

    fn put_cqe(&mut self, ex: u8, cqe: Cqe, about: About) {
        let e = &mut self.ex[ex as usize];
        let r = &mut e.ring;
        let temper = r.temper();
        if temper.deferred || !r.backlog.is_empty() || r.cq.len() >= temper.cq_entries {
            r.backlog.push_back((cqe, about));
        } else {
            r.cq.push_back((cqe, about));
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
            let Some((sqe, place)) = self.ex[ex as usize].ring.sq.pop_front() else { break };
            self.ex[ex as usize].ring.taken += 1;
            if sqe.opcode() == CANCEL {
                self.cancel_request(ex, &sqe)?;
            } else {
                self.start_flight(ex, &sqe, place)?;
            }
        }
        self.pump(ex)
    }

    fn start_flight(&mut self, ex: u8, sqe: &Sqe, place: Place) -> Verdict {
        let op = self.op(place);
        let (Some(io), key) = (op.io, op.key) else {
            return Err(format!("{place:?} is submitted, which was not begun"));
        };
        if op.tries < io.trouble.0 {
            op.tries += 1;
            self.post_cqe(ex, About::Operation(place), sqe.user_data(), -io.trouble.1, 0);
            return Ok(());
        }
        let more = if let Op::Stream(more) = io.op { more } else { 0 };
        let due_ns = match io.end {
            End::Never if more == 0 => u64::MAX,
            _ => self.clock_ns + u64::from(io.delay_ns),
        };
        let (buffer, user_data) = (sqe.addr() as *mut u8, sqe.user_data());
        let flight = Flight { place, user_data, io, key, buffer, due_ns, notify: false, more };
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
        let about = About::Operation(f.place);
        if f.more != 0 && res.is_none() {
            let flight = &mut self.ex[ex as usize].ring.flights[at];
            flight.more -= 1;
            let last = flight.more == 0 && f.io.end == End::Never;
            flight.due_ns =
                if last { u64::MAX } else { f.due_ns + 40 + u64::from(f.io.delay_ns / 4) };
            self.post_cqe(ex, about, f.user_data, 1 << (f.more % 8), F_MORE);
            return Ok(());
        }
        let len = i32::from(f.io.len);
        let res = res.unwrap_or(match f.io.end {
            End::Full => len,
            End::Short(less) => (len - i32::from(less)).max(0),
            End::Errno(e) => -e,
            End::Never => -libc::EIO,
        });
        let has_buffer = matches!(f.io.op, Op::Read | Op::Write | Op::SendZc);
        let is_stream = matches!(f.io.op, Op::Stream(_));
        let moved = if has_buffer { res.max(0) as usize } else { 0 };
        for n in 0..moved {
            let expected = pattern(f.key, n);
            // SAFETY: the buffer is a record's, for ever, or on the stack of a task that waits for
            // this operation, which is what this test checks; stacks are never unmapped.
            let byte = unsafe { &mut *f.buffer.add(n) };
            if f.io.op == Op::Read {
                *byte = expected;
            } else if *byte != expected {
                return Err(format!("{:?}: the buffer changed under its operation", f.place));
            }
        }
        let flights = &mut self.ex[ex as usize].ring.flights;
        if f.io.op == Op::SendZc {
            if f.notify {
                flights.remove(at);
                self.post_cqe(ex, about, f.user_data, 0, F_NOTIF);
                return Ok(());
            }
            // A failed one may or may not have a notification.
            if res >= 0 || f.io.len.is_multiple_of(2) {
                flights[at].notify = true;
                flights[at].due_ns = self.clock_ns + 1 + u64::from(f.io.delay_ns / 2);
                self.post_cqe(ex, about, f.user_data, res, F_MORE);
                return Ok(());
            }
        }
        flights.remove(at);
        let res = if has_buffer || res < 0 || is_stream { res } else { 0 };
        self.post_cqe(ex, about, f.user_data, res, 0);
        Ok(())
    }

    fn cancel_request(&mut self, ex: u8, sqe: &Sqe) -> Verdict {
        let request = sqe.user_data();
        let flights = &self.ex[ex as usize].ring.flights;
        let Some(at) = flights.iter().position(|f| f.user_data == sqe.addr() && !f.notify) else {
            self.post_cqe(ex, About::Request, request, -libc::ENOENT, 0);
            return Ok(());
        };
        let (mut answered, answer, res) = match flights[at].io.on_cancel {
            OnCancel::Wins(first) => (first, 0, Some(-libc::ECANCELED)),
            OnCancel::Interrupts(errno) => (true, -libc::EALREADY, Some(-errno)),
            OnCancel::Crosses(first) => {
                self.ex[ex as usize].ring.flights[at].more = 0;
                (first, -libc::ENOENT, None)
            }
            OnCancel::Loses => {
                let flight = &mut self.ex[ex as usize].ring.flights[at];
                flight.due_ns = flight.due_ns.min(self.clock_ns + 700);
                if flight.io.end == End::Never {
                    flight.more = 0;
                }
                self.post_cqe(ex, About::Request, request, -libc::EALREADY, 0);
                return Ok(());
            }
        };
        if answered {
            self.post_cqe(ex, About::Request, request, answer, 0);
        }
        self.end_flight(ex, at, res)?;
        if !std::mem::replace(&mut answered, true) {
            self.post_cqe(ex, About::Request, request, answer, 0);
        }
        Ok(())
    }

    /// An entry arrives in the submission queue: is it the next in line?
    pub fn pushed(&mut self, ex: u8, sqe: &Sqe) -> Verdict {
        if self.ex[ex as usize].ring.sq_space() == 0 {
            return Err("pushed into a full submission queue".into());
        }
        let Some((place, cancel)) = self.next_push(ex) else {
            return Err(format!("an entry that nobody waits for: {:#x}", sqe.user_data()));
        };
        let (i, n) = place;
        let (user_data, tag) = (sqe.user_data(), sqe.user_data() & 7);
        if cancel != (sqe.opcode() == CANCEL) {
            return Err(format!(
                "{place:?}, cancel {cancel}, is next, not opcode {}",
                sqe.opcode()
            ));
        }
        if cancel {
            let op = self.op(place);
            if sqe.addr() != op.user_data || tag != 1 {
                return Err(format!("a cancel request for {place:?} names {:#x}", sqe.addr()));
            }
            if !op.request() {
                return Err(format!("a cancel request for {place:?}, not asked for"));
            }
            self.ex[ex as usize].ring.requests += 1;
        } else {
            let at = self.where_is(place);
            let address = (user_data & 0xffff_ffff_fff8) as usize;
            let inline = self.op(place).inline;
            if at.is_some_and(|at| at != address) || tag != if inline { 0 } else { 2 } {
                return Err(format!("{user_data:#x} is submitted before {place:?}"));
            }
            self.op(place).user_data = user_data;
            let ioprio = match (self.op(place).io.map(|io| io.op), self.t(i).io.min(2)) {
                (Some(Op::Read | Op::Write), 0) => 2 << 13,
                (Some(Op::Read | Op::Write), 2) => 2 << 13 | 7,
                _ => 0,
            };
            if sqe.ioprio() != ioprio {
                return Err(format!("task {i}'s {n}: ioprio {}, not {ioprio}", sqe.ioprio()));
            }
        }
        let e = &mut self.ex[ex as usize];
        e.ring.sq.push_back((*sqe, place));
        e.ring.sq_since.get_or_insert(e.items);
        Ok(())
    }

    /// The address that a `user_data` must have; None: on a task's stack.
    fn where_is(&mut self, (i, n): Place) -> Option<usize> {
        if n != OWN {
            return Some(self.records[i as usize] + n as usize * 192);
        }
        self.op((i, n)).inline.then(|| self.addresses[i as usize])
    }

    /// A completion leaves the queue.
    pub fn popped(&mut self, cqe: &Cqe, about: About, ex: u8) -> Verdict {
        match about {
            About::Nobody => {}
            About::Request => self.ex[ex as usize].ring.requests -= 1,
            About::Operation(place) => {
                if self.op(place).at != At::Kernel {
                    return Err(format!("{place:?} ended twice"));
                }
                let (more, notify) = (cqe.flags & F_MORE != 0, cqe.flags & F_NOTIF != 0);
                self.completion(place, cqe.res, cqe.flags, more, notify);
            }
        }
        Ok(())
    }
}
