//! The calls under test, as the rest of this test makes them.

use crate::kernel::Sim;
use crate::model::{failure, ok, Out};
use monad_async::api::Handle;
use monad_async::error::{Errno, RawResult, Res};
pub use monad_async::executor::scope::Scope;
pub use monad_async::reactor::operation::Op;
use monad_async::task::header::TaskRef;
use monad_async::uring::kernel::Sqe;

type H = Handle<Sim>;

const F_MORE: u32 = 1 << 1;

fn out(r: RawResult) -> Out {
    match r.error {
        0 => ok(r.value as i64),
        e => failure(e),
    }
}

fn said(r: Res<bool>) -> Out {
    r.map_or_else(|Errno(e)| failure(e), |b| ok(b.into()))
}

fn done(r: Res<()>) -> Out {
    said(r.map(|()| false))
}

/// Memory for a scope, with anything in it.
pub fn scope_new() -> Scope {
    // SAFETY: any bytes are a scope that is not entered; the fields are numbers and options.
    unsafe { std::mem::zeroed() }
}

pub fn op_new() -> Op {
    // SAFETY: a record that was zeroed is idle; so says op.h.
    unsafe { std::mem::zeroed() }
}

pub fn sleep(task: TaskRef, ns: u64) -> Out {
    out(H::sleep(task, ns))
}

pub fn sleep_until(task: TaskRef, boot_ns: u64) -> Out {
    out(H::sleep_until(task, boot_ns))
}

pub fn io(task: TaskRef, sqe: &Sqe) -> Out {
    // SAFETY: refers to no memory, as this kernel sees it.
    out(unsafe { H::io(task, sqe) })
}

pub fn enter(task: TaskRef, scope: *mut Scope, timeout_ns: u64, flags: u32) -> Out {
    // SAFETY: in a box, until it has been left.
    done(unsafe { H::enter_scope(task, scope, timeout_ns, flags) })
}

pub fn leave(task: TaskRef, scope: *mut Scope) -> Out {
    // SAFETY: as above.
    said(unsafe { H::leave_scope(task, scope) })
}

pub fn fire(scope: *mut Scope) -> Out {
    // SAFETY: as above.
    done(unsafe { H::cancel_scope(scope) })
}

pub fn cancel(ex: H, task: TaskRef) -> Out {
    done(ex.cancel(task))
}

pub fn uncancel(task: TaskRef) -> Out {
    said(H::uncancel(task))
}

pub fn park(task: TaskRef) -> Out {
    out(H::park(task))
}

pub fn unpark(task: TaskRef) -> Out {
    H::unpark(task);
    ok(0)
}

pub fn join(task: TaskRef, other: TaskRef) -> Out {
    out(H::join(task, other))
}

pub fn begin(task: TaskRef, op: *mut Op, sqe: &Sqe) -> Out {
    // SAFETY: in a box for ever.
    let op = unsafe { &*op };
    if !op.is_in_flight.get() {
        op.sqe.set(*sqe);
    }
    // SAFETY: as above; its entry refers to no memory, as this kernel sees it.
    done(unsafe { H::begin_operation(task, op) })
}

/// What the completion that was taken last has left in the record.
pub fn outcome(op: *mut Op) -> Out {
    // SAFETY: as above.
    let op = unsafe { &*op };
    Out { more: op.cqe_flags.get() & F_MORE != 0, ..out(op.result.get()) }
}

pub fn wait(task: TaskRef, op: *mut Op) -> Out {
    // SAFETY: as above.
    let record = unsafe { &*op };
    let before = record.result.replace(RawResult::failure(Errno(i32::MAX)));
    let r = H::wait_operation(task, record);
    if record.result.get() == r {
        outcome(op)
    } else {
        record.result.set(before);
        out(r)
    }
}

pub fn wait_any(task: TaskRef) -> Res<*mut Op> {
    H::wait_any(task).map(std::ptr::NonNull::as_ptr)
}

pub fn op_cancel(task: TaskRef, op: *mut Op) -> Out {
    // SAFETY: as above.
    done(H::cancel_operation(task, unsafe { &*op }))
}
