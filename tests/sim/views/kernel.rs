//! A kernel with sockets that a peer sends to, and buffers to choose from for what comes: of a
//! ring, or, as an older one, of a list that entries add to. An operation completes several times
//! or once, with as much as it likes, late, and never out of its own order; a stream is ended at
//! any time; with no buffer free it says ENOBUFS. It may take a buffer for an error, or for the
//! end. It may say of data that there is more, and then forget the end that was there when it began
//! to wait.

use crate::support::rng::Rng;
use monad_async::api::Handle;
use monad_async::error::Errno;
use monad_async::io::recv_stream::UNIX;
use monad_async::reactor::buffers::Buffers;
use monad_async::task::header::TaskRef;
use monad_async::uring::abi::{cancel, cqe, cqe_buffer, send_recv, sqe as flag};
use monad_async::uring::kernel::{op, Cqe, Kernel, Sqe, Wait, Waker};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ptr::NonNull;
use std::rc::Rc;

/// The first of the sockets' numbers, and how many there are.
pub const FD: i32 = 1000;
pub const SOCKETS: usize = 3;
/// A direct socket, which cannot be asked for its end, does not lose that behind fewer.
const MANY: u32 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// Since 6.0.
    Known,
    /// The first one is refused: with EINVAL, as by a kernel that was taken for a newer one.
    Refused,
    Unknown,
}

/// What goes wrong: one in so many; 0: never.
#[derive(Clone, Copy, Debug)]
pub struct Temper {
    pub streams: Streams,
    /// Since 5.19.
    pub rings: bool,
    /// Since 6.0.
    pub cancels_by_handle: bool,
    pub short: u32,
    /// A stream is ended by what it brings.
    pub ends: u32,
    pub late: u32,
    pub not_performed: u32,
    pub takes_part: u32,
    pub refuses: u32,
    /// A cancel comes too late.
    pub misses: u32,
    /// Of errors, and of the ends of streams: those for which it takes a buffer.
    pub wastes: u32,
    /// 0, `UNIX` or `DIRECT`: of all sockets.
    pub kind: u32,
    /// It says which data is not the last that is there (of a Unix socket since 6.17).
    pub says_more: bool,
    /// Then: the ends of Unix sockets that it does not tell of.
    pub loses: u32,
}

/// A socket; the number may be another's by now.
#[derive(Default)]
pub struct Socket {
    /// What its peer is going to send, and how that ends: 0 or an error.
    to_come: u32,
    pub ends_with: i32,
    sent: u32,
    pub has_ended: bool,
    /// How much of it was received; what of that no task has yet: where it begins, and its length.
    pub read: u32,
    pub chunks: VecDeque<(u32, u32)>,
    /// How much tasks have.
    pub taken: u32,
}

struct Armed {
    sqe: Sqe,
    socket: usize,
    /// The end was there before it began to wait; how many it has brought.
    is_behind: bool,
    brought: u32,
    /// It does not see the end.
    is_lost: bool,
    /// The socket was asked for its end.
    was_asked: bool,
}

/// Buffers of one number: a ring with how many entries are taken, or a list.
struct Group {
    number: u16,
    ring: Option<(u64, u16, u16)>,
    list: VecDeque<(u16, u64, u32)>,
}

pub struct State {
    pub temper: Temper,
    entries: u32,
    pub rng: RefCell<Rng>,
    pub sockets: RefCell<Vec<Socket>>,
    /// Which socket a number is of.
    pub open: [Cell<Option<usize>>; SOCKETS],
    groups: RefCell<Vec<Group>>,
    /// Buffers that tasks have views of.
    pub held: RefCell<BTreeSet<u64>>,
    sq: RefCell<VecDeque<Sqe>>,
    armed: RefCell<Vec<Armed>>,
    /// Completions that are not posted yet.
    late: RefCell<Vec<Cqe>>,
    cq: RefCell<VecDeque<Cqe>>,
    clock_ns: Cell<u64>,
    /// Sockets whose next view a task waits for; and those that were closed.
    pub awaited: RefCell<Vec<(usize, TaskRef)>>,
    pub closed: RefCell<BTreeSet<usize>>,
    /// From which nothing is to be taken any more.
    pub stopped: RefCell<BTreeSet<usize>>,
    /// What the library has, to be looked at when it sleeps.
    pub buffers: Cell<Option<NonNull<Buffers>>>,
    pub ex: Cell<Option<Handle<Sim>>>,
    /// A task begins an operation, which needs no buffer.
    pub begins: Cell<bool>,
    /// Entries that add to lists; and what was there when it had no buffer for an operation.
    provides: Cell<u64>,
    starved: RefCell<BTreeMap<u64, u64>>,
    pub completions: Cell<u64>,
    /// Ends that it did not tell of.
    pub lost: Cell<u64>,
    pub broken: RefCell<Option<String>>,
}

#[derive(Clone)]
pub struct Sim(pub Rc<State>);

/// What lies at that place of what comes by a socket.
pub fn byte_of(socket: usize, at: u32) -> u8 {
    (socket as u32 * 97 + at * 13 + at / 16) as u8
}

impl Sim {
    pub fn new(seed: u64, temper: Temper, entries: u32) -> Self {
        let sim = Self(Rc::new(State {
            temper,
            entries,
            rng: RefCell::new(Rng::new(seed, 1)),
            sockets: RefCell::default(),
            open: Default::default(),
            groups: RefCell::default(),
            held: RefCell::default(),
            sq: RefCell::default(),
            armed: RefCell::default(),
            late: RefCell::default(),
            cq: RefCell::default(),
            clock_ns: Cell::new(1),
            awaited: RefCell::default(),
            closed: RefCell::default(),
            stopped: RefCell::default(),
            buffers: Cell::new(None),
            ex: Cell::new(None),
            begins: Cell::new(false),
            provides: Cell::new(0),
            starved: RefCell::default(),
            completions: Cell::new(0),
            lost: Cell::new(0),
            broken: RefCell::default(),
        }));
        (0..SOCKETS).for_each(|n| sim.connect(n));
        sim
    }

    pub fn breaks(&self, what: String) {
        self.0.broken.borrow_mut().get_or_insert(what);
    }

    fn below(&self, n: u32) -> u32 {
        self.0.rng.borrow_mut().below(n)
    }

    fn one_in(&self, n: u32) -> bool {
        n != 0 && self.0.rng.borrow_mut().one_in(n)
    }

    /// The number is a new socket's.
    pub fn connect(&self, n: usize) {
        let mut to_come = self.below(30);
        let ends_with = if self.one_in(3) { -libc::ECONNRESET } else { 0 };
        // All has come of some before anybody receives.
        let loses = self.0.temper.loses != 0;
        let sent = if loses && self.one_in(3) { 2 * std::mem::take(&mut to_come) } else { 0 };
        let has_ended = sent != 0;
        let socket = Socket { to_come, ends_with, sent, has_ended, ..Socket::default() };
        self.0.sockets.borrow_mut().push(socket);
        self.0.open[n].set(Some(self.0.sockets.borrow().len() - 1));
    }

    /// Nobody takes what has come by it.
    pub fn drops(&self, socket: usize) {
        let socket = &mut self.0.sockets.borrow_mut()[socket];
        socket.chunks.clear();
        socket.taken = socket.read;
    }

    /// Something is in flight on it.
    pub fn is_armed(&self, socket: usize) -> bool {
        self.0.armed.borrow().iter().any(|armed| armed.socket == socket)
    }

    /// An operation is to receive into buffers.
    pub fn receives(&self) -> bool {
        self.0.armed.borrow().iter().any(|armed| Self::selects(&armed.sqe))
    }

    pub fn is_idle(&self) -> bool {
        let none = self.0.armed.borrow().is_empty() && self.0.late.borrow().is_empty();
        none && self.0.sq.borrow().is_empty()
    }

    /// How many buffers it could choose from.
    pub fn buffers_left(&self) -> usize {
        let groups = self.0.groups.borrow();
        groups.iter().map(|group| group.ring.map_or(group.list.len(), Self::left)).sum()
    }

    fn left((at, _, head): (u64, u16, u16)) -> usize {
        // SAFETY: the ring stays until it is unregistered: its tail is in its first entry.
        let tail = unsafe { ((at + 14) as *const u16).read_volatile() };
        tail.wrapping_sub(head).into()
    }

    /// Changes with each buffer that it is given.
    fn given(&self) -> u64 {
        let groups = self.0.groups.borrow();
        let ring = groups.iter().find_map(|group| group.ring);
        // The tail.
        ring.map_or(self.0.provides.get(), |ring| Self::left(ring) as u64 + u64::from(ring.2))
    }

    fn take_buffer(&self, number: u16) -> Option<(u16, u64, u32)> {
        let mut groups = self.0.groups.borrow_mut();
        let group = groups.iter_mut().find(|group| group.number == number)?;
        let buffer = match &mut group.ring {
            None => group.list.pop_front()?,
            Some(ring) => {
                let left = Self::left(*ring);
                if left > ring.1.into() {
                    self.breaks("more buffers than there are".into());
                }
                if left == 0 {
                    return None;
                }
                let at = (ring.0 + u64::from(ring.2 & (ring.1 - 1)) * 16) as *const u64;
                ring.2 = ring.2.wrapping_add(1);
                // SAFETY: an entry below the tail, which is the kernel's to read.
                let [address, rest] = unsafe { [at.read_volatile(), at.add(1).read_volatile()] };
                ((rest >> 32) as u16, address, rest as u32)
            }
        };
        if self.0.held.borrow().contains(&buffer.1) {
            self.breaks("the kernel has a buffer that a task has a view of".into());
        }
        Some(buffer)
    }

    /// Behind what has completed for the same.
    fn post(&self, sqe: &Sqe, res: i32, flags: u32) {
        let user_data = sqe.user_data();
        let cqe = Cqe { user_data, res, flags };
        let waits = self.0.late.borrow().iter().any(|late| late.user_data == user_data);
        if waits || self.one_in(self.0.temper.late) {
            self.0.late.borrow_mut().push(cqe);
        } else {
            self.0.cq.borrow_mut().push_back(cqe);
        }
        self.0.completions.set(self.0.completions.get() + 1);
    }

    fn post_late(&self) -> bool {
        let count = self.0.late.borrow().len() as u32;
        if count == 0 {
            return false;
        }
        let any = self.0.late.borrow()[self.below(count) as usize].user_data;
        let at = self.0.late.borrow().iter().position(|late| late.user_data == any);
        let cqe = self.0.late.borrow_mut().remove(at.expect("just seen"));
        self.0.cq.borrow_mut().push_back(cqe);
        true
    }

    fn selects(sqe: &Sqe) -> bool {
        sqe.opcode() == op::RECV && sqe.flags() & flag::BUFFER_SELECT != 0
    }

    fn group_of(sqe: &Sqe) -> u16 {
        sqe.0[5] as u16
    }

    fn is_stream(sqe: &Sqe) -> bool {
        sqe.opcode() == op::RECV && sqe.ioprio() & send_recv::RECV_MULTISHOT != 0
    }

    fn does_not_wait(sqe: &Sqe) -> bool {
        sqe.opcode() == op::RECV && (sqe.0[3] >> 32) as i32 & libc::MSG_DONTWAIT != 0
    }

    /// The last completion: an error, or the end. Kernels up to 5.19 keep the buffer that they
    /// took.
    fn post_last(&self, sqe: &Sqe, res: i32) {
        let wastes = Self::selects(sqe) && self.one_in(self.0.temper.wastes);
        let buffer = wastes.then(|| self.take_buffer(Self::group_of(sqe))).flatten();
        let flags = buffer.map_or(0, |(number, ..)| brings(number));
        self.post(sqe, res, flags);
    }

    fn cancel(&self, sqe: &Sqe) {
        let by_file = (sqe.0[3] >> 32) as u32 & cancel::FD != 0;
        if by_file && !self.0.temper.cancels_by_handle {
            self.breaks("a cancel by the handle".into());
        }
        let now = by_file.then(|| self.socket_of(sqe.fd())).flatten();
        let mut found = 0;
        let mut at = 0;
        while at < self.0.armed.borrow().len() {
            let (head, socket) = {
                let armed = &self.0.armed.borrow()[at];
                (armed.sqe, armed.socket)
            };
            let meant = match by_file {
                true => Some(socket) == now,
                false => head.user_data() == sqe.addr(),
            };
            // It has no wake-up to come before the cancel does.
            let is_behind = self.0.armed.borrow()[at].is_behind && self.loses(&head);
            if meant && (is_behind || !self.one_in(self.0.temper.misses)) {
                self.0.armed.borrow_mut().remove(at);
                self.post_last(&head, -libc::ECANCELED);
                found += 1;
            } else {
                at += 1;
            }
        }
        self.post(sqe, if found == 0 { -libc::ENOENT } else { found }, 0);
    }

    fn socket_of(&self, fd: i32) -> Option<usize> {
        self.0.open.get((fd - FD) as usize)?.get()
    }

    fn provide(&self, sqe: &Sqe) {
        let group = Self::group_of(sqe);
        let mut groups = self.0.groups.borrow_mut();
        if !groups.iter().any(|other| other.number == group) {
            groups.push(Group { number: group, ring: None, list: VecDeque::new() });
        }
        let list = &mut groups.iter_mut().find(|other| other.number == group).unwrap().list;
        for n in 0..sqe.fd() as u64 {
            let number = (sqe.off() + n) as u16;
            if list.iter().any(|buffer| buffer.0 == number) {
                self.breaks("a buffer was handed to the kernel twice".into());
            }
            list.push_back((number, sqe.addr() + n * u64::from(sqe.len()), sqe.len()));
        }
        self.post(sqe, 0, 0);
    }

    /// It takes an entry, and does what need not wait.
    fn submit(&self, sqe: Sqe) {
        match sqe.opcode() {
            op::NOP => self.post(&sqe, 0, 0),
            op::ASYNC_CANCEL => self.cancel(&sqe),
            op::CLOSE => {
                let fd = if sqe.file_index() != 0 { sqe.file_index() as i32 - 1 } else { sqe.fd() };
                let was = self.0.open[(fd - FD) as usize].take();
                self.post(&sqe, if was.is_some() { 0 } else { -libc::EBADF }, 0);
            }
            op::PROVIDE_BUFFERS => self.provide(&sqe),
            op::REMOVE_BUFFERS => {
                let group = Self::group_of(&sqe);
                let before = self.buffers_left() as i32;
                self.0.groups.borrow_mut().retain(|other| other.number != group);
                self.post(&sqe, before, 0);
            }
            op::RECV | op::POLL_ADD => {
                let Some(socket) = self.socket_of(sqe.fd()) else {
                    return self.post(&sqe, -libc::EBADF, 0);
                };
                if Self::is_stream(&sqe) && self.0.temper.streams != Streams::Known {
                    return self.post(&sqe, -libc::EINVAL, 0);
                }
                if !self.0.temper.rings && sqe.opcode() == op::RECV && !Self::does_not_wait(&sqe) {
                    self.breaks("a receive that waits keeps a buffer".into());
                }
                if sqe.opcode() == op::RECV && sqe.len() == 0 && !Self::is_stream(&sqe) {
                    self.breaks("a receive of nothing is taken for the end".into());
                }
                self.arm(sqe, socket);
            }
            opcode => self.breaks(format!("an entry of opcode {opcode}")),
        }
    }

    fn arm(&self, sqe: Sqe, socket: usize) {
        let is_behind = self.0.sockets.borrow()[socket].has_ended;
        let [is_lost, was_asked] = [false; 2];
        let armed = Armed { sqe, socket, is_behind, brought: 0, is_lost, was_asked };
        self.0.armed.borrow_mut().push(armed);
        let is_unix = self.0.temper.kind == UNIX;
        if !is_unix || !self.loses(&sqe) || is_behind || !self.one_in(4) {
            return;
        }
        // All that is there comes at once, and the rest with the end, before it waits for those.
        let is_it = |armed: &Armed| armed.sqe.user_data() == sqe.user_data();
        loop {
            let at = self.0.armed.borrow().iter().position(is_it);
            match at.filter(|&at| self.is_ready(&self.0.armed.borrow()[at])) {
                Some(at) => self.complete(at),
                None => break,
            }
        }
        if let Some(armed) = self.0.armed.borrow_mut().iter_mut().find(|armed| is_it(armed)) {
            let socket = &mut self.0.sockets.borrow_mut()[socket];
            socket.sent += std::mem::take(&mut socket.to_come);
            socket.has_ended = true;
            armed.is_behind = true;
        }
    }

    fn loses(&self, sqe: &Sqe) -> bool {
        self.0.temper.loses != 0 && Self::is_stream(sqe)
    }

    /// A peer sends something, or has sent all.
    fn send(&self) -> bool {
        let first = self.below(self.0.sockets.borrow().len() as u32) as usize;
        let mut sockets = self.0.sockets.borrow_mut();
        let count = sockets.len();
        let at = (first..first + count).map(|n| n % count).find(|&n| !sockets[n].has_ended);
        let Some(socket) = at.map(|n| &mut sockets[n]) else { return false };
        if socket.to_come == 0 {
            socket.has_ended = true;
            return true;
        }
        let bytes = (1 + self.below(7)).min(socket.to_come);
        socket.to_come -= bytes;
        socket.sent += bytes;
        true
    }

    fn is_ready(&self, armed: &Armed) -> bool {
        let socket = &self.0.sockets.borrow()[armed.socket];
        let is_ready = socket.has_ended && !armed.is_lost || Self::does_not_wait(&armed.sqe);
        is_ready || socket.sent != socket.read
    }

    /// One that is ready completes, for the last time or not.
    fn receive(&self) -> bool {
        let ready: Vec<usize> = {
            let armed = self.0.armed.borrow();
            (0..armed.len()).filter(|&n| self.is_ready(&armed[n])).collect()
        };
        if ready.is_empty() {
            return false;
        }
        self.complete(ready[self.below(ready.len() as u32) as usize]);
        true
    }

    fn complete(&self, at: usize) {
        let mut armed = self.0.armed.borrow_mut().remove(at);
        let (sqe, id) = (armed.sqe, armed.socket);
        if self.one_in(self.0.temper.not_performed) {
            let errno = self.0.rng.borrow_mut().pick(&[libc::EINTR, libc::ECANCELED, 512]);
            return self.post_last(&sqe, -errno);
        }
        if sqe.opcode() == op::POLL_ADD {
            return self.post(&sqe, libc::POLLIN.into(), 0);
        }
        let (left, ends_with) = {
            let socket = &self.0.sockets.borrow()[id];
            (socket.sent - socket.read, socket.has_ended.then_some(socket.ends_with))
        };
        if left == 0 && (ends_with.is_some() || Self::does_not_wait(&sqe)) {
            return self.post_last(&sqe, ends_with.unwrap_or(-libc::EAGAIN));
        }
        let Some((number, address, room)) = self.take_buffer(Self::group_of(&sqe)) else {
            self.0.starved.borrow_mut().insert(sqe.user_data(), self.given());
            return self.post(&sqe, -libc::ENOBUFS, 0);
        };
        let most = left.min(room);
        let bytes = if self.one_in(self.0.temper.short) { 1 + self.below(most) } else { most };
        {
            let socket = &mut self.0.sockets.borrow_mut()[id];
            for n in 0..bytes {
                // SAFETY: in a buffer that is the kernel's.
                unsafe {
                    (address as *mut u8).add(n as usize).write(byte_of(id, socket.read + n));
                }
            }
            socket.chunks.push_back((socket.read, bytes));
            socket.read += bytes;
        }
        let goes_on = Self::is_stream(&sqe) && !self.one_in(self.0.temper.ends);
        let mut flags = brings(number) | if goes_on { cqe::MORE } else { 0 };
        let is_last = bytes == left;
        if self.0.temper.says_more && !is_last {
            flags |= cqe::SOCK_NONEMPTY;
        }
        self.post(&sqe, bytes as i32, flags);
        if goes_on {
            armed.brought += 1;
            let many = self.0.temper.kind == UNIX || armed.brought > MANY;
            if is_last && armed.is_behind && many && self.loses(&sqe) {
                armed.is_lost = self.one_in(self.0.temper.loses);
                self.0.lost.set(self.0.lost.get() + u64::from(armed.is_lost));
            }
            self.0.armed.borrow_mut().push(armed);
        }
    }

    /// Something happens. False: nothing can.
    fn step(&self) -> bool {
        match self.below(4) {
            0 => self.send() || self.receive() || self.post_late(),
            1 => self.post_late() || self.receive() || self.send(),
            _ => self.receive() || self.post_late() || self.send(),
        }
    }

    /// A task that waits for data ends its stream only where the end is there.
    fn ends_what_has_ended(&self, sqe: &Sqe, task: TaskRef) {
        let by_file = (sqe.0[3] >> 32) as u32 & cancel::FD != 0;
        let goes_on = |armed: &Armed| {
            let is_meant = !by_file && armed.sqe.user_data() == sqe.addr();
            let is_awaited = self.0.awaited.borrow().contains(&(armed.socket, task));
            let is_over = self.0.sockets.borrow()[armed.socket].has_ended
                || !self.0.open.iter().any(|open| open.get() == Some(armed.socket));
            is_meant && is_awaited && !is_over
        };
        if self.0.temper.kind == UNIX && self.0.armed.borrow().iter().any(goes_on) {
            self.breaks("a stream is ended that goes on".into());
        }
    }

    /// What must hold when the executor has nothing else to do.
    fn look(&self) {
        // SAFETY: not removed yet.
        let Some(buffers) = self.0.buffers.get().map(|at| unsafe { at.as_ref() }) else { return };
        let is_quiet = self.0.late.borrow().is_empty() && self.0.cq.borrow().is_empty();
        let waits_in_vain = |(id, _): &&(usize, TaskRef)| {
            self.0.closed.borrow().contains(id) && !self.is_armed(*id)
        };
        if is_quiet && self.0.sq.borrow().is_empty() {
            if let Some((id, _)) = self.0.awaited.borrow().iter().find(waits_in_vain) {
                self.breaks(format!("a stream waits on socket {id}, which was closed"));
            }
        }
        if buffers.has_free() && buffers.hungry.front().is_some() {
            self.breaks("a stream waits for a buffer, and there is one".into());
        }
    }
}

fn brings(number: u16) -> u32 {
    cqe::BUFFER | u32::from(number) << cqe_buffer::SHIFT
}

impl Kernel for Sim {
    fn has_ring(&self) -> bool {
        true
    }
    fn sq_space(&self) -> u32 {
        self.0.entries - self.0.sq.borrow().len() as u32
    }
    fn sq_pending(&self) -> u32 {
        self.0.sq.borrow().len() as u32
    }
    fn close_socket(&self, fd: i32) -> Option<i32> {
        let was = self.0.open[(fd - FD) as usize].take();
        Some(if was.is_some() { 0 } else { -libc::EBADF })
    }
    unsafe fn push(&self, sqe: &Sqe) {
        assert_ne!(self.sq_space(), 0);
        if sqe.opcode() == op::PROVIDE_BUFFERS {
            self.0.provides.set(self.0.provides.get() + 1);
        }
        let task = self.0.ex.get().and_then(|ex| ex.executor().current_task());
        if let (op::ASYNC_CANCEL, Some(task)) = (sqe.opcode(), task) {
            self.ends_what_has_ended(sqe, task);
        }
        // What a task begins again, in a call of its own.
        let by_task = task.is_some();
        if by_task && Self::selects(sqe) {
            let starved = self.0.starved.borrow_mut().remove(&sqe.user_data());
            // SAFETY: not removed yet.
            let buffers = self.0.buffers.get().map(|at| unsafe { at.as_ref() });
            let has_none = buffers.is_some_and(|buffers| !buffers.has_free());
            if has_none && starved == Some(self.given()) && !self.0.begins.get() {
                self.breaks("a stream was begun again without a buffer".into());
            }
        }
        let receives = matches!(sqe.opcode(), op::RECV | op::POLL_ADD);
        let socket = if receives { self.socket_of(sqe.fd()) } else { None };
        if socket.is_some_and(|id| self.0.stopped.borrow().contains(&id)) {
            self.breaks("a stream that was stopped is begun again".into());
        }
        self.0.sq.borrow_mut().push_back(*sqe);
    }
    fn pop(&self) -> Option<Cqe> {
        self.0.cq.borrow_mut().pop_front()
    }
    fn needs_enter(&self) -> bool {
        false
    }
    fn enter(&self, wait: Wait) -> Result<(), Errno> {
        if self.one_in(self.0.temper.refuses) {
            return Err(Errno(libc::EAGAIN));
        }
        let mut n = self.0.sq.borrow().len();
        if self.one_in(self.0.temper.takes_part) {
            n = self.below(n as u32 + 1) as usize;
        }
        for _ in 0..n {
            let sqe = self.0.sq.borrow_mut().pop_front().expect("there are so many");
            self.submit(sqe);
        }
        (0..self.below(5)).for_each(|_| {
            self.step();
        });
        self.0.clock_ns.set(self.0.clock_ns.get() + 100);
        match wait {
            Wait::No => return Ok(()),
            Wait::Until { boot_ns } => {
                if self.0.cq.borrow().is_empty() && (self.one_in(2) || !self.step()) {
                    self.0.clock_ns.set(self.0.clock_ns.get().max(boot_ns));
                }
            }
            Wait::Forever => {
                while self.0.cq.borrow().is_empty() {
                    if !self.step() {
                        self.breaks("it sleeps for ever".into());
                        return Err(Errno(libc::EBADFD));
                    }
                }
            }
        }
        self.look();
        Ok(())
    }
    fn now_boot_ns(&self) -> u64 {
        self.0.clock_ns.set(self.0.clock_ns.get() + 10);
        self.0.clock_ns.get()
    }
    fn stamp(&self) -> u64 {
        self.0.clock_ns.get()
    }
    fn ns_since(&self, stamp: u64) -> u64 {
        self.stamp() - stamp
    }
    fn look_ticks() -> u64 {
        u64::MAX
    }
    fn cancels_by_handle(&self) -> bool {
        self.0.temper.cancels_by_handle
    }
    fn receives_in_streams(&self) -> bool {
        self.0.temper.streams != Streams::Unknown
    }
    fn has_ended(&self, fd: i32) -> bool {
        if self.0.temper.kind != UNIX {
            self.breaks("a socket is asked for its end that is none of Unix's".into());
        }
        let Some(id) = self.socket_of(fd) else { return true };
        let mut armed = self.0.armed.borrow_mut();
        let mut of_it = armed.iter_mut().filter(|armed| armed.socket == id);
        if of_it.any(|armed| std::mem::replace(&mut armed.was_asked, true)) {
            self.breaks("a socket is asked for its end again".into());
        }
        self.0.sockets.borrow()[id].has_ended
    }
    unsafe fn register_buffers(&self, at: u64, entries: u16, group: u16) -> Result<(), Errno> {
        if !self.0.temper.rings {
            return Err(Errno(libc::EOPNOTSUPP));
        }
        let ring = Some((at, entries, 0));
        self.0.groups.borrow_mut().push(Group { number: group, ring, list: VecDeque::new() });
        Ok(())
    }
    fn unregister_buffers(&self, group: u16) {
        self.0.groups.borrow_mut().retain(|other| other.number != group);
    }
    fn waker(&self) -> Waker {
        Waker::of_eventfd(-1)
    }
}
