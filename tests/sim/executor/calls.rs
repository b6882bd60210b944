//! The calls of the new rooms, as simulated tasks make them.

use crate::body::Sim;
use monad_async::error::{RawResult, Res};
use monad_async::executor::scope::Scope;
use monad_async::reactor::operation::Op;
use monad_async::task::header::TaskRef;

fn said(r: Res<bool>) -> RawResult {
    r.map_or_else(RawResult::failure, |b| RawResult::success(b.into()))
}

pub fn scope_new() -> Box<Scope> {
    // SAFETY: any bytes are a scope that is not entered; the fields are numbers and options.
    Box::new(unsafe { std::mem::zeroed() })
}

pub fn sleep_until(task: TaskRef, boot_ns: u64) -> RawResult {
    Sim::sleep_until(task, boot_ns)
}

pub fn enter(task: TaskRef, scope: *mut Scope, timeout_ns: u64, flags: u32) -> Res<()> {
    // SAFETY: in a box, until the next life of the task.
    unsafe { Sim::enter_scope(task, scope, timeout_ns, flags) }
}

pub fn leave(task: TaskRef, scope: *const Scope) -> RawResult {
    // SAFETY: as above.
    said(unsafe { Sim::leave_scope(task, scope) })
}

pub fn fire(scope: *const Scope) -> Res<()> {
    // SAFETY: as above.
    unsafe { Sim::cancel_scope(scope) }
}

pub fn uncancel(task: TaskRef) -> RawResult {
    said(Sim::uncancel(task))
}

pub fn park(task: TaskRef) -> RawResult {
    Sim::park(task)
}

pub fn begin(task: TaskRef, record: &Op) -> Res<()> {
    // SAFETY: records and their bytes are there for ever.
    unsafe { Sim::begin_operation(task, record) }
}

pub fn wait(task: TaskRef, record: &Op) -> RawResult {
    Sim::wait_operation(task, record)
}

pub fn wait_any(task: TaskRef) -> Res<*const Op> {
    Sim::wait_any(task).map(|op| op.as_ptr().cast_const())
}

pub fn op_cancel(task: TaskRef, record: &Op) -> Res<()> {
    Sim::cancel_operation(task, record)
}
