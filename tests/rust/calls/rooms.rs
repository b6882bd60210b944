//! The calls of scopes, operation records and parks, legal and illegal.

use super::{TaskPtr, World};
use monad_async::capi::{op as co, scope as cs, task as ct};
use monad_async::executor::scope::Scope;
use monad_async::reactor::operation::Op;
use monad_async::uring::kernel::{op, Sqe};
use std::cell::{RefCell, UnsafeCell};
use std::mem::MaybeUninit;
use std::ptr::{null_mut, NonNull};

const SCOPES: usize = 4;
const OPS: usize = 4;

/// What a task that was interrupted is told.
const INTERRUPTED: [i32; 2] = [libc::ECANCELED, libc::ETIME];

/// Memory that outlives the tasks, and what is known of it.
pub struct Rooms {
    scopes: [UnsafeCell<MaybeUninit<Scope>>; SCOPES],
    /// Whose scopes are entered, in the order of entering, with the executor.
    entered: RefCell<Vec<(TaskPtr, usize)>>,
    /// Who was in each last.
    last: RefCell<[TaskPtr; SCOPES]>,
    ops: Box<[Op; OPS]>,
    /// Who began each last.
    begun: RefCell<[TaskPtr; OPS]>,
    bytes: UnsafeCell<[u8; 64]>,
}

impl Rooms {
    pub fn new() -> Self {
        // SAFETY: records that were zeroed are idle; so says op.h.
        let ops = Box::new(unsafe { std::mem::zeroed() });
        Self {
            scopes: std::array::from_fn(|_| UnsafeCell::new(MaybeUninit::zeroed())),
            entered: RefCell::default(),
            last: RefCell::new([std::ptr::null(); SCOPES]),
            ops,
            begun: RefCell::new([std::ptr::null(); OPS]),
            bytes: UnsafeCell::new([0; 64]),
        }
    }

    /// `task` returns: its scopes are left for it.
    pub fn left(&self, task: TaskPtr) {
        self.entered.borrow_mut().retain(|e| e.0 != task);
    }
}

impl World {
    /// One call of `me`'s body or, null, from outside; `this`: the task that it is made for.
    pub fn step_in_rooms(&self, what: usize, a: usize, b: usize, me: TaskPtr, this: TaskPtr) {
        let mine = !me.is_null() && this == me;
        let of_task = |good: &[i32]| match (this.is_null(), mine) {
            (true, _) => vec![libc::EINVAL],
            (_, true) => good.to_vec(),
            _ => vec![libc::EPERM],
        };
        let interrupted = |good: &[i32]| of_task(&[good, &INTERRUPTED].concat());
        let n = b % OPS;
        let record = (&raw const self.rooms.ops[n]).cast_mut();
        let idle = !self.rooms.ops[n].is_in_flight.get();
        let owner = self.rooms.begun.borrow()[n];
        // SAFETY (all of the unsafe blocks below): each pointer is null, or to a task that was not
        // destroyed, or into memory of the world's, which outlives the tasks.
        match what {
            0 | 1 => self.enter(a, b, mine, this, &of_task),
            2 => self.leave(b, mine, this, &of_task),
            3 => self.fire(b, me),
            4 => {
                // SAFETY: as said above.
                let r = unsafe { ct::monad_async_task_park(this) };
                self.said("park", r, &interrupted(&[0]));
            }
            5 => {
                let task = self.tasks[b % self.tasks.len()].get();
                // SAFETY: as said above.
                let r = unsafe { ct::monad_async_task_unpark(task) };
                self.said("unpark", r, &[if task.is_null() { libc::EINVAL } else { 0 }]);
            }
            6 => {
                // SAFETY: as said above.
                let r = unsafe { ct::monad_async_task_uncancel(this) };
                self.said("uncancel", r, &of_task(&[0]));
                // SAFETY: as said above.
                let asked = unsafe { ct::monad_async_task_cancel_requested(this) };
                self.wrong.set(self.wrong.get() || asked && mine);
            }
            7 => {
                let ns = ct::monad_async_now_ns() + [0, 1, 30_000][b % 3];
                // SAFETY: as said above.
                let r = unsafe { ct::monad_async_task_suspend_until(this, ns) };
                self.said("suspend_until", r, &interrupted(&[0]));
            }
            8 | 9 => self.begin(b, mine, this, &of_task),
            10 => {
                // SAFETY: as said above.
                let r = unsafe { co::monad_async_op_wait(this, record) };
                let want = match (mine, idle, owner == this) {
                    (false, ..) => of_task(&[]),
                    (_, true, _) => vec![libc::ENOENT],
                    (.., false) => vec![libc::EINVAL],
                    _ => interrupted(&[0, libc::EBADF]),
                };
                self.said("op_wait", r, &want);
            }
            11 => {
                let mut taken = null_mut();
                let ops = self.rooms.ops.iter().zip(*self.rooms.begun.borrow());
                let none = ops.filter(|o| o.1 == this && o.0.is_in_flight.get()).count() == 0;
                // SAFETY: as said above.
                let r = unsafe { co::monad_async_op_wait_any(this, &mut taken) };
                let want = if none { of_task(&[libc::ENOENT]) } else { interrupted(&[0]) };
                self.said("op_wait_any", r, &want);
                if (r.error == 0) == taken.is_null() {
                    self.said("op_wait_any: what was taken", r, &[-1]);
                }
            }
            _ => {
                let here = Self::home(owner) == Self::home(me);
                // SAFETY: as said above.
                let r = unsafe { co::monad_async_op_cancel(this, record) };
                let want = match (idle, here) {
                    (true, _) => libc::ENOENT,
                    (_, true) => 0,
                    _ => libc::EPERM,
                };
                self.said("op_cancel", r, &of_task(&[want]));
            }
        }
    }

    fn enter(
        &self,
        a: usize,
        b: usize,
        mine: bool,
        this: TaskPtr,
        want: &dyn Fn(&[i32]) -> Vec<i32>,
    ) {
        let n = b % SCOPES;
        let entered = self.rooms.entered.borrow().iter().any(|e| e.1 == n);
        let null = a % 16 == 9;
        if entered && !null {
            return;
        }
        let scope = if null { null_mut() } else { self.rooms.scopes[n].get().cast() };
        // Nobody but its deadline ends a shield for sure.
        let (timeout_ns, flags) = match a / 8 % 6 {
            0 => (0, 0),
            1 => (20_000, 0),
            2 => (20_000, 1),
            3 => (0, 1),
            4 => (u64::MAX, if b & 64 == 0 { 0 } else { 2 }),
            _ => (u64::MAX, 0),
        };
        // SAFETY: the world's memory, which is no scope that is entered.
        let r = unsafe { cs::monad_async_scope_enter(this, scope, timeout_ns, flags) };
        let error = if null || flags > 1 { libc::EINVAL } else { 0 };
        self.said("scope_enter", r, &want(&[error]));
        if r.error == 0 && mine {
            self.rooms.entered.borrow_mut().push((this, n));
            self.rooms.last.borrow_mut()[n] = this;
        }
    }

    fn leave(&self, b: usize, mine: bool, this: TaskPtr, want: &dyn Fn(&[i32]) -> Vec<i32>) {
        let innermost = self.rooms.entered.borrow().iter().rfind(|e| e.0 == this).map(|e| e.1);
        let n = if b & 32 == 0 { innermost.unwrap_or(b % SCOPES) } else { b % SCOPES };
        let fits = innermost == Some(n);
        // SAFETY: the world's memory.
        let r = unsafe { cs::monad_async_scope_leave(this, self.rooms.scopes[n].get().cast()) };
        self.said("scope_leave", r, &want(&[if fits { 0 } else { libc::EINVAL }]));
        if r.error == 0 && mine {
            self.rooms.entered.borrow_mut().retain(|e| e.1 != n);
        }
    }

    fn fire(&self, b: usize, me: TaskPtr) {
        let n = b % SCOPES;
        let entered = self.rooms.entered.borrow().iter().find(|e| e.1 == n).map(|e| e.0);
        // SAFETY: the world's memory.
        let r = unsafe { cs::monad_async_scope_cancel(self.rooms.scopes[n].get().cast()) };
        // Left by a task that is with the other executor now, which alone may look at it, unless
        // the scope tells that it was left.
        let last = self.rooms.last.borrow()[n];
        let elsewhere = |task: TaskPtr| {
            // SAFETY: null, or a task that was entered in a scope, whose header stays.
            let attached = unsafe { ct::monad_async_task_is_attached(task.cast_mut()) };
            attached && Self::home(task) != Self::home(me)
        };
        let want: &[i32] = match entered {
            _ if me.is_null() => &[libc::EPERM],
            None if elsewhere(last) => &[libc::EINVAL, libc::EPERM],
            None => &[libc::EINVAL],
            Some(task) if Self::home(task) == Self::home(me) => &[0],
            Some(_) => &[libc::EPERM],
        };
        self.said("scope_cancel", r, want);
    }

    fn begin(&self, b: usize, mine: bool, this: TaskPtr, want: &dyn Fn(&[i32]) -> Vec<i32>) {
        let n = b % OPS;
        let record = &self.rooms.ops[n];
        let busy = record.is_in_flight.get();
        let to = self.rooms.bytes.get() as u64 + 16 * n as u64;
        let kind = b / OPS % 6;
        if !busy {
            record.sqe.set(match kind {
                0 => Sqe::zeroed(),
                1 => Sqe::new(op::READ, self.pipe[0], u64::MAX, to, 16, 0),
                2 => Sqe::new(op::POLL_ADD, self.pipe[0], 0, 0, 1, libc::POLLIN as u32),
                3 => Sqe::new(op::READ, -1, 0, to, 1, 0),
                4 => Sqe::new(op::MSG_RING, self.pipe[0], 0, 0, 0, 0),
                _ => Sqe::new(op::POLL_ADD, self.pipe[0], 0, 0, 0, libc::POLLIN as u32),
            });
        }
        let record = NonNull::from(record).as_ptr();
        // SAFETY: the world's memory; its entry refers to nothing else.
        let r = unsafe { co::monad_async_op_begin(this, record) };
        let good: &[i32] = match (busy, kind) {
            (true, _) => &[libc::EBUSY],
            (_, 4) => &[libc::EINVAL, libc::ENOTSUP],
            _ => &[0, libc::ENOTSUP],
        };
        self.said("op_begin", r, &want(good));
        if r.error == 0 && mine {
            self.rooms.begun.borrow_mut()[n] = this;
        }
    }
}
