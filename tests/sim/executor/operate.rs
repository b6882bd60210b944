//! What a simulated task does with operations, and what it must see of them.

use crate::body::Sim;
use crate::calls;
use crate::levels::Plan;
use crate::model::{failure, DONE};
use crate::ops::{At, OWN};
use crate::program::{Io, Op};
use crate::ring::pattern;
use crate::world::World;
use monad_async::error::RawResult;
use monad_async::task::header::TaskRef;
use monad_async::uring::kernel::Sqe;

/// The entry for it; `at` has 40 bytes.
fn entry(io: Io, at: *mut u8) -> Sqe {
    let opcode = match io.op {
        Op::Nop => 0,
        Op::Poll | Op::Stream(_) => 6,
        Op::Read => 22,
        Op::Write => 23,
        Op::SendZc => 47,
    };
    let len = match io.op {
        Op::Poll => 0,
        // IORING_POLL_ADD_MULTI
        Op::Stream(_) => 1,
        _ => u32::from(io.len),
    };
    let mut sqe = Sqe::new(opcode, 3, 0, at as u64, len, 0);
    if io.drain {
        sqe.0[0] |= 1 << (8 + 1); // IOSQE_IO_DRAIN
    }
    sqe
}

impl World {
    fn has_ring(&self, ex: u8) -> bool {
        self.handle(ex).executor().kernel().ring
    }

    /// A name for the bytes of the next operation, which are written at `at`.
    fn prepare(&self, io: Io, at: *mut u8) -> u64 {
        let mut st = self.st.borrow_mut();
        st.keys += 1;
        for n in 0..40 {
            let write = matches!(io.op, Op::Write | Op::SendZc) && n < usize::from(io.len);
            let byte = if write { pattern(st.keys, n) } else { 0xdd };
            // SAFETY: 40 bytes, which nobody else has now.
            unsafe { at.add(n).write_volatile(byte) };
        }
        st.keys
    }

    pub fn io_step(&self, i: u8, ex: u8, task: TaskRef, io: Io) {
        let mut buffer = [0u8; 40];
        // Not through a reference: what is in flight belongs to the kernel.
        let at = (&raw mut buffer).cast::<u8>();
        let key = self.prepare(io, at);
        let sqe = entry(io, at);
        // SAFETY: the buffer is in this frame, which stays until the call returns.
        let call = || unsafe { Sim::io(task, &sqe) };
        if !self.has_ring(ex) {
            return self.same(i, call(), failure(libc::ENOTSUP));
        }
        if io.drain {
            return self.same(i, call(), failure(libc::EINVAL));
        }
        {
            let mut st = self.st.borrow_mut();
            let op = st.op((i, OWN));
            (op.io, op.key, op.tries) = (Some(io), key, 0);
        }
        let r = self.call(i, task, Plan::Io, call);
        let flights = &self.st.borrow().ex[ex as usize].ring.flights;
        if flights.iter().any(|f| f.place == (i, OWN)) {
            self.check(Err(format!("task {i} goes on while the kernel has its buffer")));
        }
        self.read(i, io, r, at, key);
    }

    /// What was read is what the kernel wrote.
    fn read(&self, i: u8, io: Io, r: RawResult, at: *mut u8, key: u64) {
        let moved = if io.op == Op::Read && r.error == 0 { r.value as usize } else { 0 };
        // SAFETY: within the buffer.
        if (0..moved).any(|n| unsafe { at.add(n).read_volatile() } != pattern(key, n)) {
            self.check(Err(format!("task {i}'s buffer is not what was read")));
        }
    }

    pub fn begin_step(&self, i: u8, ex: u8, task: TaskRef, n: u8, io: Io) {
        let record = self.record(i, n);
        let busy = self.st.borrow_mut().op((i, n)).at != At::Idle;
        if busy {
            return self.said(i, "begin", calls::begin(task, record), libc::EBUSY);
        }
        let at = self.records.borrow()[i as usize].bytes[n as usize].as_ptr().cast();
        let key = self.prepare(io, at);
        record.sqe.set(entry(io, at));
        let expected = match (self.has_ring(ex), io.drain) {
            (false, _) => libc::ENOTSUP,
            (true, true) => libc::EINVAL,
            (true, false) => {
                self.st.borrow_mut().begin_op((i, n), io, key);
                0
            }
        };
        self.said(i, "begin", calls::begin(task, record), expected);
    }

    pub fn wait_step(&self, i: u8, task: TaskRef, n: u8) {
        let record = self.record(i, n);
        if let Some(refused) = self.st.borrow_mut().refuses(i, Some(n)) {
            return self.same(i, calls::wait(task, record), refused);
        }
        let call = || calls::wait(task, record);
        let (r, expected) = self.watch(i, task, Plan::Op(Some(n)), call);
        if expected == DONE {
            self.took(i, n, r);
        } else {
            self.same(i, r, expected);
        }
    }

    pub fn wait_any_step(&self, i: u8, task: TaskRef) {
        let call = || {
            calls::wait_any(task).map(|record| {
                let of = |n: &u8| std::ptr::eq(self.record(i, *n), record);
                (0..OWN).find(of).expect("one of the task's records")
            })
        };
        let none = RawResult::failure;
        if let Some(refused) = self.st.borrow_mut().refuses(i, None) {
            return self.same(i, call().map_or_else(none, |_| DONE), refused);
        }
        let (got, expected) = self.watch(i, task, Plan::Op(None), call);
        self.same(i, got.map_or_else(none, |_| DONE), expected);
        if let Ok(n) = got {
            let first = self.st.borrow_mut().t(i).done.front().copied();
            if first != Some(n) {
                self.check(Err(format!("task {i} is given {n} before {first:?}")));
            }
            self.took(i, n, self.record(i, n).result.get());
        }
    }

    /// The completion of record `n` was taken, with this result.
    fn took(&self, i: u8, n: u8, r: RawResult) {
        let record = self.record(i, n);
        let (io, key, (expected, flags)) = {
            let mut st = self.st.borrow_mut();
            let op = *st.op((i, n));
            (op.io.expect("begun"), op.key, st.take((i, n)))
        };
        self.same(i, r, expected);
        let idle = self.st.borrow_mut().op((i, n)).at == At::Idle;
        let said = (record.result.get(), record.cqe_flags.get(), record.is_in_flight.get());
        if said != (expected, flags, !idle) {
            let text =
                format!("record {n} of task {i}: {said:?}, not {expected:?}, {flags}, {}", !idle);
            self.check(Err(text));
        }
        let at = self.records.borrow()[i as usize].bytes[n as usize].as_ptr().cast();
        self.read(i, io, r, at, key);
    }

    pub fn op_cancel_step(&self, i: u8, ex: u8, task: TaskRef, other: u8, n: u8) {
        let record = self.record(other, n);
        let expected = {
            let mut st = self.st.borrow_mut();
            let (at, there) = (st.op((other, n)).at, st.t(other).ex);
            match (at, there == ex) {
                (At::Idle, _) => libc::ENOENT,
                (_, false) => libc::EPERM,
                (_, true) => {
                    st.cancel_op(other, n);
                    0
                }
            }
        };
        self.said(i, "op_cancel", calls::op_cancel(task, record), expected);
    }
}
