//! One program: what its tasks do, and what must hold of it.
//!
//! 1. What comes by a socket is seen once, in order, by who receives from it then; a cancel of a
//!    call and a deadline lose nothing. The end comes behind all of it, and stays.
//! 2. A buffer that a task has a view of is nobody else's: the kernel does not write to it, and it
//!    is given back once. At the end all are the kernel's.
//! 3. A stream that ended for the want of a buffer begins again when there is one, not before, and
//!    none waits while there is one.
//! 4. EDEADLK is told if all tasks wait for a buffer, with no deadline, or if those do that have
//!    received what is out, of buffers that nobody else has released; ENOBUFS if there is none.
//! 5. A stream that has ended is not in the kernel; nor is one begun again on what has the number
//!    of its socket by now. One that waits is ended, and begun anew, only where the end is there.
//!    One that was stopped is not begun again, and hands out all that was taken off its socket.
//! 6. A ring of buffers with views out is not destroyed, one without streams and views is.

use crate::kernel::{byte_of, Sim, Streams, Temper, FD, SOCKETS};
use crate::support::rng::Rng;
use crate::support::*;
use monad_async::api::Handle;
use monad_async::error::{Errno, RawResult};
use monad_async::executor::scope::Scope;
use monad_async::io::call::{Call, DIRECT};
use monad_async::io::recv_stream::{Received, RecvStream, NO_WAIT, PASSES, UNIX};
use monad_async::reactor::buffers::Buffers;
use monad_async::reactor::operation::Op;
use monad_async::task::header::TaskRef;
use monad_async::uring::abi::{cqe, cqe_buffer, send_recv, sqe as flag};
use monad_async::uring::kernel::{op, Kernel, Sqe, Wait};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem::zeroed;
use std::ptr::NonNull;
use std::rc::Rc;

pub struct Broken(pub String);

/// What a program came to.
pub struct Played {
    pub views: u64,
    pub deadlocks: u64,
    /// Ends that the kernel did not tell of: of Unix sockets, of direct ones.
    pub lost: [u64; 2],
}

const TASKS: usize = 4;
const STEPS: u32 = 5;
const GONE: u8 = 0xee;

/// What a task has received, and not given back.
struct View {
    at: NonNull<u8>,
    /// As it was when it came.
    bytes: Vec<u8>,
    /// Who has received it.
    by: TaskRef,
}

/// What its task has left behind, to end with it.
enum Forgotten {
    Stream(#[allow(dead_code)] Box<RecvStream>),
    Op(#[allow(dead_code)] Box<Op>),
}

struct World {
    ex: Handle<Sim>,
    sim: Sim,
    buffers: Cell<NonNull<Buffers>>,
    sizes: (u32, u32),
    rng: RefCell<Rng>,
    tasks: RefCell<Vec<TaskRef>>,
    /// Somebody receives from a socket of that number, or closes it.
    is_used: [Cell<bool>; SOCKETS],
    is_closing: [Cell<bool>; SOCKETS],
    has_begun: [Cell<bool>; TASKS],
    was_cancelled: [Cell<bool>; TASKS],
    /// Views that any task gives back.
    passed: RefCell<VecDeque<View>>,
    held: Cell<u32>,
    /// Who has received each of those.
    receivers: RefCell<Vec<TaskRef>>,
    /// Others release them than who has received them.
    passes: Cell<bool>,
    is_in_next: RefCell<Vec<TaskRef>>,
    /// Begun, and not ended by their tasks.
    streams: Cell<u32>,
    forgotten: RefCell<Vec<Forgotten>>,
    alive: Cell<usize>,
    /// In a call of `next`; in a scope with a deadline.
    in_next: Cell<usize>,
    deadlines: Cell<u32>,
    views: Cell<u64>,
    deadlocks: Cell<u64>,
}

impl World {
    fn below(&self, n: u32) -> u32 {
        self.rng.borrow_mut().below(n)
    }

    fn one_in(&self, n: u32) -> bool {
        self.below(n) == 0
    }

    fn buffers(&self) -> &Buffers {
        // SAFETY: replaced when it is removed.
        unsafe { self.buffers.get().as_ref() }
    }

    fn pause(&self, task: TaskRef) {
        let ns = self.rng.borrow_mut().pick(&[0, 0, 500, 5000]);
        let _ = self.ex.executor().sleep(task, ns);
    }

    /// What has come by a socket is the next that was sent there.
    fn seen(&self, socket: usize, data: NonNull<u8>, length: usize) -> View {
        // SAFETY: a view, which is ours.
        let bytes = unsafe { std::slice::from_raw_parts(data.as_ptr(), length) }.to_vec();
        {
            let socket_now = &mut self.sim.0.sockets.borrow_mut()[socket];
            let chunk = socket_now.chunks.pop_front();
            let from = socket_now.taken;
            let right = (0..length as u32).map(|n| byte_of(socket, from + n)).eq(bytes.clone());
            if chunk != Some((from, length as u32)) || !right {
                self.sim.breaks(format!("what came by {socket} at {from}: {chunk:?}, {bytes:?}"));
            }
            socket_now.taken += length as u32;
        }
        if !self.sim.0.held.borrow_mut().insert(data.as_ptr() as u64) {
            self.sim.breaks("two views of one buffer".into());
        }
        self.held.set(self.held.get() + 1);
        self.views.set(self.views.get() + 1);
        let by = self.ex.executor().current_task().expect("a task");
        self.receivers.borrow_mut().push(by);
        View { at: data, bytes, by }
    }

    fn release(&self, view: View) {
        let View { at, bytes, by } = view;
        // SAFETY: until it is given back it is ours.
        let data = unsafe { std::slice::from_raw_parts_mut(at.as_ptr(), bytes.len()) };
        if *data != *bytes {
            self.sim.breaks("a view was written to".into());
        }
        data.fill(GONE);
        self.sim.0.held.borrow_mut().remove(&(at.as_ptr() as u64));
        self.held.set(self.held.get() - 1);
        let mut receivers = self.receivers.borrow_mut();
        let found = receivers.iter().position(|&other| other == by).expect("it is out");
        receivers.swap_remove(found);
        drop(receivers);
        let who = self.ex.executor().current_task();
        self.passes.set(self.passes.get() || who != Some(by));
        let buffers = self.buffers();
        if !buffers.release(at.as_ptr(), who) {
            return self.sim.breaks("a view that is out is not taken back".into());
        }
        let number = buffers.number_of(at.as_ptr());
        if number.is_some_and(|number| buffers.give_back(number)) {
            self.sim.breaks("a view was given back twice".into());
        }
        if buffers.release(at.as_ptr(), who) {
            self.sim.breaks("a view was given back twice".into());
        }
        self.ex.executor().buffer_freed(buffers);
    }

    fn release_passed(&self, most: usize) {
        for _ in 0..most {
            let Some(view) = self.passed.borrow_mut().pop_front() else { return };
            self.release(view);
        }
    }

    /// To somebody else, or back.
    fn part_with(&self, view: View) {
        match self.below(3) {
            0 => self.passed.borrow_mut().push_back(view),
            _ => self.release(view),
        }
    }

    /// A task's cancel came, or the socket was closed.
    fn may_be_cancelled(&self, me: usize, n: usize, socket: usize) -> bool {
        let is_closed = self.is_closing[n].get() || self.sim.0.open[n].get() != Some(socket);
        self.was_cancelled[me].get() || is_closed
    }

    fn all_has_come(&self, socket: usize) -> bool {
        let sockets = self.sim.0.sockets.borrow();
        let socket = &sockets[socket];
        socket.has_ended && socket.chunks.is_empty()
    }

    /// The next view, maybe with a deadline. None: over, with it.
    fn next(
        &self,
        (me, task): (usize, TaskRef),
        (n, socket): (usize, usize),
        stream: &RecvStream,
        (kept, no_wait, stopped): (&mut Vec<View>, bool, bool),
    ) -> Option<()> {
        let ex = self.ex.executor();
        let timed = self.one_in(5);
        // SAFETY: any bytes are a scope that is not entered.
        let mut scope: Box<Scope> = Box::new(unsafe { zeroed() });
        if timed {
            let ns = u64::from(self.below(4000));
            self.deadlines.set(self.deadlines.get() + 1);
            // SAFETY: in its box until it is left.
            unsafe { ex.enter_scope(task, &mut *scope, ns, 0) };
        }
        self.in_next.set(self.in_next.get() + 1);
        self.sim.0.awaited.borrow_mut().push((socket, task));
        self.is_in_next.borrow_mut().push(task);
        let next = stream.next(ex, task);
        let waits = |by: &TaskRef| self.is_in_next.borrow().contains(by);
        let known = !self.passes.get() && self.receivers.borrow().iter().all(waits);
        self.is_in_next.borrow_mut().retain(|&other| other != task);
        let all_wait = self.in_next.get() == self.alive.get();
        self.in_next.set(self.in_next.get() - 1);
        self.sim.0.awaited.borrow_mut().retain(|&other| other != (socket, task));
        let has_free = self.buffers().has_free();
        if timed {
            self.deadlines.set(self.deadlines.get() - 1);
            // SAFETY: entered above.
            let left = unsafe { ex.leave_scope(task, &*scope) };
            assert!(left.is_ok());
        }
        let wrong = |what: &str| {
            self.sim.breaks(format!("{what}, of socket {socket}: {:?}", next.as_ref().err()));
            None
        };
        match next {
            Ok(Some(Received { data, length })) => {
                let view = self.seen(socket, data, length);
                match self.below(3) {
                    0 => self.release(view),
                    1 => kept.push(view),
                    _ => self.part_with(view),
                }
                Some(())
            }
            Ok(None) => {
                let ends_with = self.sim.0.sockets.borrow()[socket].ends_with;
                if stopped && !self.sim.0.sockets.borrow()[socket].chunks.is_empty() {
                    return wrong("what was taken before the stop is lost");
                }
                if !stopped && (!self.all_has_come(socket) || ends_with != 0) {
                    return wrong("an end that is none");
                }
                let again = stream.next(ex, task);
                let stays = matches!(again, Ok(None));
                if stays {
                    None
                } else {
                    wrong("an end that does not stay")
                }
            }
            Err(Errno(libc::ETIME)) if timed => Some(()),
            Err(Errno(libc::ECANCELED)) if self.may_be_cancelled(me, n, socket) => {
                if self.was_cancelled[me].take() {
                    ex.uncancel(task);
                    return Some(());
                }
                None
            }
            Err(Errno(libc::ENOBUFS)) if no_wait && !has_free => {
                self.pause(task);
                Some(())
            }
            Err(Errno(libc::EDEADLK)) => {
                let in_vain = known || (all_wait && self.deadlines.get() == 0);
                if !in_vain || has_free || no_wait {
                    return wrong("a deadlock that is none");
                }
                self.deadlocks.set(self.deadlocks.get() + 1);
                kept.drain(..).for_each(|view| self.release(view));
                self.release_passed(usize::MAX);
                Some(())
            }
            Err(Errno(libc::ECONNRESET)) => {
                let ends_with = self.sim.0.sockets.borrow()[socket].ends_with;
                let right = self.all_has_come(socket) && ends_with == -libc::ECONNRESET;
                if right {
                    None
                } else {
                    wrong("a reset that is none")
                }
            }
            Err(_) => wrong("an error of nobody's"),
        }
    }

    /// A socket that nobody uses.
    fn unused(&self) -> Option<(usize, usize)> {
        let n = self.below(SOCKETS as u32) as usize;
        if self.is_closing[n].get() || self.is_used[n].replace(true) {
            return None;
        }
        Some((n, self.sim.0.open[n].get().expect("nobody closes it")))
    }

    fn ended(&self, n: usize, socket: usize) {
        if self.sim.is_armed(socket) {
            self.sim.breaks("what has ended is in the kernel".into());
        }
        self.sim.drops(socket);
        self.sim.0.stopped.borrow_mut().remove(&socket);
        self.streams.set(self.streams.get() - 1);
        self.is_used[n].set(false);
    }

    fn receive(&self, me: usize, task: TaskRef) {
        let Some((n, socket)) = self.unused() else { return };
        let ex = self.ex.executor();
        // SAFETY: zeros are a stream that was never begun.
        let stream: Box<RecvStream> = Box::new(unsafe { zeroed() });
        let no_wait = self.one_in(4);
        self.streams.set(self.streams.get() + 1);
        self.sim.0.begins.set(true);
        let passes = self.one_in(3);
        self.passes.set(self.passes.get() || passes);
        let kind = self.sim.0.temper.kind;
        let flags = kind | if no_wait { NO_WAIT } else { 0 } | if passes { PASSES } else { 0 };
        // SAFETY: in its box until it has ended, or its task has exited.
        let begun = unsafe { stream.begin(ex, task, FD + n as i32, self.buffers.get(), flags) };
        self.sim.0.begins.set(false);
        assert_eq!(begun, Ok(()));
        let mut kept = Vec::new();
        let most = if kind == DIRECT && self.sim.0.temper.loses != 0 { 40 } else { 8 };
        for _ in 0..1 + self.below(most) {
            let on = (&mut kept, no_wait, false);
            if self.next((me, task), (n, socket), &stream, on).is_none() {
                break;
            }
            if self.one_in(4) {
                self.pause(task);
            }
            if self.one_in(3) {
                kept.drain(..).for_each(|view| self.part_with(view));
            }
        }
        if self.one_in(3) {
            assert_eq!(stream.stop(ex), Ok(()));
            self.sim.0.stopped.borrow_mut().insert(socket);
            loop {
                let on = (&mut kept, no_wait, true);
                if self.next((me, task), (n, socket), &stream, on).is_none() {
                    break;
                }
            }
        }
        if self.one_in(8) {
            self.forgotten.borrow_mut().push(Forgotten::Stream(stream));
        } else {
            assert_eq!(stream.finish(ex, task), Ok(()));
            self.ended(n, socket);
        }
        if self.one_in(2) {
            self.pause(task);
        }
        kept.drain(..).for_each(|view| self.part_with(view));
    }

    /// By an operation.
    fn by_hand(&self, me: usize, task: TaskRef) {
        if !self.sim.0.temper.rings {
            return; // It would keep a buffer.
        }
        let Some((n, socket)) = self.unused() else { return };
        let ex = self.ex.executor();
        let mut sqe = Sqe::new(op::RECV, FD + n as i32, 0, 0, 0, 0);
        sqe.0[0] |= u64::from(flag::BUFFER_SELECT) << 8;
        sqe.0[5] = self.buffers().group.into();
        let temper = self.sim.0.temper;
        if temper.kind == DIRECT {
            sqe.0[0] |= u64::from(flag::FIXED_FILE) << 8;
        }
        // Such an operation is not told of an end that is lost.
        if temper.streams == Streams::Known && temper.loses == 0 && self.one_in(2) {
            sqe.0[0] |= u64::from(send_recv::RECV_MULTISHOT) << 16;
        }
        // SAFETY: zeros are an operation.
        let op: Box<Op> = Box::new(unsafe { zeroed() });
        op.sqe.set(sqe);
        self.streams.set(self.streams.get() + 1);
        self.sim.0.begins.set(true);
        // SAFETY: in its box until it is over.
        let begun = unsafe { Handle::<Sim>::begin_operation(task, &op) };
        self.sim.0.begins.set(false);
        assert_eq!(begun, Ok(()));
        let forgets = self.one_in(3);
        let mut views = Vec::new();
        while op.is_in_flight.get() && (!forgets || self.one_in(2)) {
            let result = ex.wait_operation(task, &op);
            if result.error == libc::ECANCELED && self.was_cancelled[me].take() {
                ex.uncancel(task);
                let _ = ex.end_operation(task, &op);
                break;
            }
            let flags = op.cqe_flags.get();
            if flags & cqe::BUFFER != 0 && result.error != 0 {
                self.sim.breaks("an error brings a buffer".into());
            }
            if flags & cqe::BUFFER != 0 {
                let data = self.buffers().data((flags >> cqe_buffer::SHIFT) as u16);
                if result.value == 0 {
                    self.buffers().give_back((flags >> cqe_buffer::SHIFT) as u16);
                    ex.buffer_freed(self.buffers());
                } else {
                    views.push(self.seen(socket, data, result.value as usize));
                }
            }
            match result.error {
                0 | libc::ENOBUFS | libc::ECONNRESET | libc::EAGAIN => {}
                libc::ECANCELED if self.may_be_cancelled(me, n, socket) => {}
                e => self.sim.breaks(format!("an operation's error: {e}")),
            }
            views.drain(..).for_each(|view| self.part_with(view));
        }
        if op.is_in_flight.get() {
            self.forgotten.borrow_mut().push(Forgotten::Op(op));
        } else {
            self.ended(n, socket);
        }
    }

    /// Closes a socket, whoever receives from it; another one has its number then.
    fn close(&self, task: TaskRef) {
        let n = self.below(SOCKETS as u32) as usize;
        if self.is_closing[n].replace(true) {
            return;
        }
        let socket = self.sim.0.open[n].get().expect("nobody else closes it");
        let flags = self.sim.0.temper.kind & DIRECT;
        let call = Call { ex: self.ex.executor(), task, fd: FD + n as i32, flags };
        if let Err(e) = call.close_socket() {
            self.sim.breaks(format!("a close: {e}"));
        }
        self.sim.0.closed.borrow_mut().insert(socket);
        self.sim.connect(n);
        self.is_closing[n].set(false);
    }

    /// Makes new buffers, if nobody uses these.
    fn renew(&self) {
        let is_held = self.held.get() != 0 || self.sim.receives();
        if !is_held && self.streams.get() != 0 {
            return;
        }
        let legacy = !self.sim.0.temper.rings;
        // SAFETY: replaced below.
        match unsafe { self.ex.executor().remove_buffers(self.buffers.get()) } {
            Ok(()) if is_held => self.sim.breaks("buffers went that are in use".into()),
            Ok(()) => {
                self.sim.0.buffers.set(None);
                let (count, bytes) = self.sizes;
                let made = self.ex.executor().add_buffers(count, bytes).expect("as before");
                self.buffers.set(made);
                self.passes.set(false);
                self.sim.0.buffers.set(Some(made));
            }
            Err(Errno(libc::EBUSY)) if is_held || legacy => {}
            Err(e) => self.sim.breaks(format!("buffers that nobody uses stay: {e}")),
        }
    }

    fn step(&self, me: usize, task: TaskRef) {
        match self.below(16) {
            0..=7 => self.receive(me, task),
            8 | 9 => self.by_hand(me, task),
            10 => self.release_passed(2),
            11 => self.close(task),
            12 => {
                let other = self.below(TASKS as u32) as usize;
                if self.has_begun[other].get() && self.ex.cancel(self.tasks.borrow()[other]).is_ok()
                {
                    self.was_cancelled[other].set(true);
                }
            }
            13 => self.renew(),
            _ => self.pause(task),
        }
        if self.was_cancelled[me].take() {
            self.ex.executor().uncancel(task);
        }
    }
}

fn temper(rng: &mut Rng) -> Temper {
    let often = |rng: &mut Rng| rng.pick(&[0, 0, 3, 20]);
    let rings = rng.below(4) != 0;
    let loses = if rings { rng.pick(&[0, 0, 1, 2]) } else { 0 };
    let kind = if loses == 0 { rng.pick(&[0, UNIX, DIRECT]) } else { rng.pick(&[UNIX, DIRECT]) };
    Temper {
        streams: match rings {
            _ if loses != 0 => Streams::Known,
            true => rng.pick(&[Streams::Known, Streams::Known, Streams::Refused, Streams::Unknown]),
            false => rng.pick(&[Streams::Refused, Streams::Unknown]),
        },
        rings,
        cancels_by_handle: rings && rng.below(3) != 0,
        short: often(rng),
        ends: often(rng),
        late: rng.pick(&[0, 2, 5]),
        not_performed: rng.pick(&[0, 0, 5]),
        takes_part: often(rng),
        refuses: rng.pick(&[0, 0, 5]),
        misses: often(rng),
        wastes: rng.pick(&[0, 2]),
        kind,
        says_more: loses != 0 || rng.below(2) != 0,
        loses,
    }
}

pub fn play(seed: u64) -> Result<Played, Broken> {
    let mut rng = Rng::new(seed, 0);
    let temper = temper(&mut rng);
    let sim = Sim::new(seed, temper, rng.pick(&[1, 2, 4, 16]));
    let ex = Handle::new(sim.clone(), false).unwrap();
    sim.0.ex.set(Some(ex));
    // A direct socket's end is lost behind many.
    let (counts, bytes) = match temper.kind {
        DIRECT if temper.loses != 0 => ([8, 16, 32, 32], [1, 1, 2, 3]),
        _ => ([1, 2, 2, 4], [1, 3, 4, 8]),
    };
    let sizes = (rng.pick(&counts), rng.pick(&bytes));
    let buffers = ex.executor().add_buffers(sizes.0, sizes.1).unwrap();
    sim.0.buffers.set(Some(buffers));
    let world = Rc::new(World {
        ex,
        sim: sim.clone(),
        buffers: Cell::new(buffers),
        sizes,
        rng: RefCell::new(rng),
        tasks: RefCell::default(),
        is_used: Default::default(),
        is_closing: Default::default(),
        has_begun: Default::default(),
        was_cancelled: Default::default(),
        passed: RefCell::default(),
        held: Cell::new(0),
        receivers: RefCell::default(),
        passes: Cell::new(false),
        is_in_next: RefCell::default(),
        streams: Cell::new(0),
        forgotten: RefCell::default(),
        alive: Cell::new(TASKS),
        in_next: Cell::new(0),
        deadlines: Cell::new(0),
        views: Cell::new(0),
        deadlocks: Cell::new(0),
    });
    for me in 0..TASKS {
        let (task, of_body) = (new_large_task(), world.clone());
        world.tasks.borrow_mut().push(task);
        set_body(task, move |task| {
            of_body.has_begun[me].set(true);
            for _ in 0..STEPS {
                of_body.step(me, task);
            }
            of_body.release_passed(usize::MAX);
            of_body.alive.set(of_body.alive.get() - 1);
            RawResult::success(0)
        });
    }
    let tasks = world.tasks.borrow().clone();
    tasks.iter().for_each(|&task| ex.attach(task).unwrap());
    let mut passes = 0;
    while ex.has_work() {
        let _ = ex.run(usize::MAX, None);
        passes += 1;
        if passes > 20_000 {
            // The tasks cannot go on, and are left where they are.
            return Err(Broken("a program that does not end".into()));
        }
        if let Some(text) = sim.0.broken.borrow_mut().take() {
            return Err(Broken(text));
        }
    }
    let broken = |text: &str| Err(Broken(text.into()));
    if !world.buffers().is_idle() {
        return broken("a buffer did not come back");
    }
    let mut removed = Err(Errno(libc::EBUSY));
    for _ in 0..100 {
        while !sim.is_idle() || sim.sq_pending() != 0 {
            let _ = sim.enter(Wait::No);
            let _ = ex.run(usize::MAX, Some(0));
            passes += 1;
            if passes > 20_000 {
                return broken("something is left in the kernel");
            }
        }
        if sim.buffers_left() != sizes.0 as usize {
            return broken("a buffer is not the kernel's at the end");
        }
        sim.0.buffers.set(None);
        // SAFETY: given up here.
        removed = unsafe { ex.executor().remove_buffers(world.buffers.get()) };
        if removed.is_ok() || temper.rings {
            break;
        }
    }
    if removed.is_err() {
        return broken("buffers that nobody uses stay at the end");
    }
    if let Some(text) = sim.0.broken.borrow_mut().take() {
        return Err(Broken(text));
    }
    while ex.has_work() || !sim.is_idle() {
        let _ = sim.enter(Wait::No);
        let _ = ex.run(usize::MAX, Some(0));
    }
    let lost = [UNIX, DIRECT].map(|kind| if kind == temper.kind { sim.0.lost.get() } else { 0 });
    let played = Played { views: world.views.get(), deadlocks: world.deadlocks.get(), lost };
    destroy(ex, tasks);
    Ok(played)
}
