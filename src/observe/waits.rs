//! Who waits for whom, as text: of an executor that would sleep for ever, say.

use core::fmt::{self, Write};

use super::names;
use super::prometheus::Out;
use crate::executor::exit::ExitHook;
use crate::executor::Executor;
use crate::sync::group::GROUP_TAG;
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
    /// The children of the group at that address.
    Group(usize),
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
            None if of as usize & GROUP_TAG == GROUP_TAG => Edge::Group(of as usize & !GROUP_TAG),
            _ => Edge::Other,
        },
        _ => Edge::Other,
    }
}

/// A line for each task of `ex` that is suspended and not ready, then one for each cycle. Sorts
/// `tasks`.
pub fn write<K: Kernel>(
    ex: &Executor<K>,
    tasks: &mut [(TaskRef, Run)],
    out: &mut Out<'_>,
) -> fmt::Result {
    tasks.sort_unstable_by_key(|(task, _)| task.addr());
    let tasks = &*tasks;
    let place = |task: TaskRef| tasks.binary_search_by_key(&task.addr(), |(task, _)| task.addr());
    let all = || tasks.iter().map(|&(task, _)| task);
    let is_ours = |task: TaskRef| place(task).is_ok();
    for task in all().filter(|task| task.head.flags.get() == Flags::AWAITING) {
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
            Edge::Group(_) => writeln!(out, "waits for the children of a group")?,
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
                    None => writeln!(out, "waits for a lock or a channel")?,
                },
                Waits::Closing => writeln!(out, "has returned, its operations are cancelled")?,
                Waits::Queue => writeln!(out, "waits in the queue of a pool")?,
                Waits::Nothing | Waits::Ready | Waits::Join => writeln!(out, "is about to go on")?,
            },
        }
    }
    // Read once: who holds a mutex may change at any time.
    let Some((edges, mut met)) = edges(ex, tasks, |task| place(task).ok()) else { return Ok(()) };
    cycles(&edges, &mut met, |cycle| {
        write!(out, "deadlock: {}", Named(tasks[cycle[0]].0))?;
        for &i in &cycle[1..] {
            write!(out, " -> {}", Named(tasks[i].0))?;
        }
        writeln!(out, " -> {}", Named(tasks[cycle[0]].0))
    })
}

/// Who waits for whom, by their places, in order; and as many zeros as there are tasks. None: no
/// memory.
#[allow(clippy::type_complexity)]
fn edges<K: Kernel>(
    ex: &Executor<K>,
    tasks: &[(TaskRef, Run)],
    place: impl Fn(TaskRef) -> Option<usize>,
) -> Option<(Vec<(usize, usize)>, Vec<u8>)> {
    let (mut edges, mut met, mut children) = (Vec::new(), Vec::new(), Vec::new());
    edges.try_reserve(2 * tasks.len()).ok()?;
    met.try_reserve_exact(tasks.len()).ok()?;
    children.try_reserve_exact(tasks.len()).ok()?;
    met.resize(tasks.len(), 0);
    children.extend(tasks.iter().enumerate().map(|(i, &(task, _))| (ExitHook::of(task).addr(), i)));
    children.sort_unstable();
    for (i, &(task, _)) in tasks.iter().enumerate() {
        match edge(ex, task) {
            Edge::Task(other) | Edge::Mutex(_, other) => {
                edges.extend(place(other).map(|other| (i, other)));
            }
            // A task is the child of one group, and one task waits for a group: no more than tasks.
            Edge::Group(group) => {
                let first = children.partition_point(|&(of, _)| of < group);
                let own = children[first..].iter().take_while(|&&(of, _)| of == group);
                edges.extend(own.map(|&(_, child)| (i, child)));
            }
            Edge::Other => {}
        }
    }
    Some((edges, met))
}

/// Calls `each` with each cycle of those that wait for each other, as far as one walk over all of
/// them finds it; it begins with its lowest. `edges` says who waits for whom, in order. `met` has a
/// zero for each.
fn cycles(
    edges: &[(usize, usize)],
    met: &mut [u8],
    mut each: impl FnMut(&[usize]) -> fmt::Result,
) -> fmt::Result {
    const ON_THE_WAY: u8 = 1;
    const LEFT: u8 = 2;
    // The way: who, and the edge to be looked at next.
    let mut way: Vec<(usize, usize)> = Vec::new();
    let mut cycle = Vec::new();
    if way.try_reserve_exact(met.len()).is_err() || cycle.try_reserve_exact(met.len()).is_err() {
        return Ok(());
    }
    let first_edge = |of: usize| edges.partition_point(|&(from, _)| from < of);
    for begin in 0..met.len() {
        if met[begin] == 0 {
            met[begin] = ON_THE_WAY;
            way.push((begin, first_edge(begin)));
        }
        while let Some((at, edge)) = way.last_mut() {
            match edges.get(*edge).filter(|(from, _)| from == at) {
                None => {
                    met[*at] = LEFT;
                    way.pop();
                }
                Some(&(_, to)) => {
                    *edge += 1;
                    if met[to] == 0 {
                        met[to] = ON_THE_WAY;
                        way.push((to, first_edge(to)));
                    } else if met[to] == ON_THE_WAY {
                        cycle.clear();
                        let from = way.iter().rposition(|&(on, _)| on == to).unwrap_or(0);
                        cycle.extend(way[from..].iter().map(|&(on, _)| on));
                        let lowest = (0..cycle.len()).min_by_key(|&i| cycle[i]).unwrap_or(0);
                        cycle.rotate_left(lowest);
                        each(&cycle)?;
                    }
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_cycle_is_said_once_whoever_waits_for_it() {
        let cycles = |count: usize, edges: &[(usize, usize)]| {
            let mut found = Vec::new();
            let found_one = |cycle: &[usize]| {
                found.push(cycle.to_vec());
                Ok(())
            };
            super::cycles(edges, &mut vec![0; count], found_one).unwrap();
            found
        };
        assert!(cycles(0, &[]).is_empty());
        assert!(cycles(3, &[(0, 1), (1, 2)]).is_empty());
        assert_eq!(cycles(1, &[(0, 0)]), [[0]]);
        // 0 and 5 wait for the cycle of 3, 1 and 4; 6 and 7 wait for each other; 2 for nobody.
        let edges = [(0, 3), (1, 4), (3, 1), (4, 3), (5, 0), (6, 7), (7, 6)];
        assert_eq!(cycles(8, &edges), [vec![1, 4, 3], vec![6, 7]]);
        // 0 waits for its children, 1 to 3, of which 2 waits for it.
        assert_eq!(cycles(4, &[(0, 1), (0, 2), (0, 3), (2, 0)]), [[0, 2]]);
        // A million in a row, all of whom wait for the two at its end.
        let mut row: Vec<_> = (1..1_000_000).map(|i| (i - 1, i)).collect();
        row.push((999_999, 999_998));
        assert_eq!(cycles(1_000_000, &row), [[999_998, 999_999]]);
    }
}
