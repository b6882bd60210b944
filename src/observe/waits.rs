//! Who waits for whom, as text: of an executor that would sleep for ever, say.

use core::fmt::{self, Write};

use super::names;
use super::prometheus::Out;
use crate::executor::Executor;
use crate::sync::mutex;
use crate::task::header::{Flags, TaskRef, Waits};
use crate::task::named::Named;
use crate::task::state::Run;
use crate::uring::kernel::Kernel;

/// Of what a suspended task waits.
enum Edge {
    Task(TaskRef),
    /// A mutex that a task holds.
    Mutex(u64, TaskRef),
    Other,
}

fn edge<K: Kernel>(ex: &Executor<K>, task: TaskRef) -> Edge {
    if task.head.flags.get() != Flags::AWAITING {
        return Edge::Other;
    }
    let (waits, of, _) = ex.waits_for(task);
    match waits {
        // SAFETY: a join names a task; headers are never unmapped.
        Waits::Join => Edge::Task(unsafe { TaskRef::from_head(of as *const _) }),
        // SAFETY: the object of a wait of a suspended task.
        Waits::Grant => match unsafe { mutex::owner_of(of as usize) } {
            Some(owner) if owner != 0 && owner & 1 == 0 => {
                // SAFETY: the identity of a task, as it is even.
                Edge::Mutex(of, unsafe { TaskRef::from_head(owner as *const _) })
            }
            _ => Edge::Other,
        },
        _ => Edge::Other,
    }
}

fn next<K: Kernel>(ex: &Executor<K>, task: TaskRef) -> Option<TaskRef> {
    match edge(ex, task) {
        Edge::Task(other) | Edge::Mutex(_, other) => Some(other),
        Edge::Other => None,
    }
}

/// A line for each task of `ex` that is suspended and not ready, then one for each cycle.
pub fn write<K: Kernel>(
    ex: &Executor<K>,
    tasks: &[(TaskRef, Run)],
    out: &mut Out<'_>,
) -> fmt::Result {
    let tasks = || tasks.iter().map(|&(task, _)| task);
    let is_ours = |task: TaskRef| tasks().any(|ours| ours == task);
    for task in tasks().filter(|task| task.head.flags.get() == Flags::AWAITING) {
        write!(out, "{}: ", Named(task))?;
        let (waits, of, operation) = ex.waits_for(task);
        match edge(ex, task) {
            Edge::Task(other) if is_ours(other) => writeln!(out, "joins {}", Named(other))?,
            Edge::Task(other) => {
                writeln!(out, "joins task {:#x} of another executor", other.addr())?;
            }
            Edge::Mutex(mutex, owner) if is_ours(owner) => {
                writeln!(out, "waits for mutex {mutex:#x}, which {} holds", Named(owner))?;
            }
            Edge::Mutex(mutex, owner) => {
                let owner = owner.addr();
                writeln!(out, "waits for mutex {mutex:#x}, which task {owner:#x} holds")?;
            }
            Edge::Other => match waits {
                Waits::Completion | Waits::CompletionCancelQueued => {
                    let opcode = names::opcode(operation as u8);
                    writeln!(out, "in {opcode}")?;
                }
                Waits::Operation if of != 0 => {
                    let (opcode, fd) = (names::opcode(operation as u8), (operation >> 32) as i32);
                    writeln!(out, "waits for its operation {of:#x}, {opcode} of {fd}")?;
                }
                Waits::Operation => writeln!(out, "waits for any of its operations")?,
                Waits::Deadline => writeln!(out, "sleeps until {of} ns")?,
                Waits::Forever => writeln!(out, "sleeps for ever")?,
                Waits::Park => writeln!(out, "is parked")?,
                // SAFETY: as in `edge`.
                Waits::Grant => match unsafe { mutex::owner_of(of as usize) } {
                    Some(_) => writeln!(out, "waits for mutex {of:#x}, which a thread holds")?,
                    None => writeln!(out, "waits for a lock, a channel or a group")?,
                },
                Waits::Closing => writeln!(out, "has returned, its operations are cancelled")?,
                Waits::Queue => writeln!(out, "waits in the queue of a pool")?,
                Waits::Nothing | Waits::Ready | Waits::Join => writeln!(out, "is about to go on")?,
            },
        }
    }
    for task in tasks() {
        cycle(ex, task, tasks().count(), is_ours, out)?;
    }
    Ok(())
}

/// Says it if `task` waits for itself, through others, and is the lowest of them.
fn cycle<K: Kernel>(
    ex: &Executor<K>,
    task: TaskRef,
    most: usize,
    is_ours: impl Fn(TaskRef) -> bool,
    out: &mut Out<'_>,
) -> fmt::Result {
    let mut at = task;
    for _ in 0..most {
        match next(ex, at).filter(|&other| is_ours(other)) {
            None => return Ok(()),
            Some(other) if other == task => {
                write!(out, "deadlock: {}", Named(task))?;
                let mut at = task;
                while let Some(other) = next(ex, at) {
                    write!(out, " -> {}", Named(other))?;
                    if other == task {
                        break;
                    }
                    at = other;
                }
                return writeln!(out);
            }
            Some(other) if other.addr() < task.addr() => return Ok(()),
            Some(other) => at = other,
        }
    }
    Ok(())
}
