//! One million tasks suspended at once: made, suspended, resumed in random order by cancels and
//! then by timers, destroyed; what each costs. Optimised builds only, and with the memory it needs.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::Handle;
use monad_async::error::RawResult;
use monad_async::sys::memory::{guard_kind, GuardKind};
use monad_async::task::header::{TaskHead, TaskRef};
use std::cell::Cell;
use std::time::Instant;
use support::child::alone;
use support::rng::Rng;
use support::skip::skip;
use support::*;

const N: usize = 1_000_000;
const NEEDED_KIB: usize = 8 << 20;

/// What a task is told, and what it says.
struct Seat {
    index: u32,
    sleep_ns: u64,
    cancelled_at: Cell<u32>,
    expired_at: Cell<u32>,
    turn: *const Cell<u32>,
}

unsafe extern "C" fn body(head: *const TaskHead) -> RawResult {
    // SAFETY: the executor passes the task that runs; its user_ptr is a seat that outlives it, and
    // all of this is one thread's.
    let (task, seat) = unsafe {
        let task = TaskRef::from_head(head);
        (task, &*task.head.user_ptr.get().cast::<Seat>())
    };
    let next = || {
        // SAFETY: as above.
        let turn = unsafe { &*seat.turn };
        turn.set(turn.get() + 1);
        turn.get()
    };
    if Handle::<Real>::sleep(task, u64::MAX).error != libc::ECANCELED {
        return RawResult::success(-1);
    }
    seat.cancelled_at.set(next());
    Handle::<Real>::uncancel(task).unwrap();
    let r = Handle::<Real>::sleep(task, seat.sleep_ns);
    seat.expired_at.set(next());
    RawResult { value: seat.index as isize, ..r }
}

fn kib(file: &str, name: &str) -> usize {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find(|l| l.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn resident_kib() -> usize {
    kib("/proc/self/status", "VmRSS:")
}

fn shuffled(n: usize) -> Vec<u32> {
    let (mut order, mut rng): (Vec<u32>, _) = ((0..n as u32).collect(), Rng::new(1, 0));
    for i in (1..n).rev() {
        order.swap(i, rng.below(i as u32 + 1) as usize);
    }
    order
}

#[test]
fn one_million_suspended_tasks() {
    if cfg!(debug_assertions) {
        skip("for the optimised build (cargo test --release)");
        return;
    }
    let available = kib("/proc/meminfo", "MemAvailable:");
    if guard_kind() == GuardKind::Mprotect || available < NEEDED_KIB {
        skip(format_args!("{:?}, {available} KiB of memory, {NEEDED_KIB} needed", guard_kind()));
        return;
    }
    alone("one_million_suspended_tasks", million);
}

fn million() {
    let ex = executor(64);
    let (turn, order) = (Cell::new(0), shuffled(N));
    let mut rng = Rng::new(2, 0);
    let seats: Vec<Seat> = (0..N)
        .map(|i| Seat {
            index: i as u32,
            sleep_ns: 1 + u64::from(rng.below(500_000_000)),
            cancelled_at: Cell::new(0),
            expired_at: Cell::new(0),
            turn: &turn,
        })
        .collect();
    let before = resident_kib();
    let mut began = Instant::now();
    let mut each_ns = || {
        let ns = began.elapsed().as_nanos() as usize / N;
        began = Instant::now();
        ns
    };
    let tasks: Vec<TaskRef> = (0..N).map(|_| new_task()).collect();
    let create = each_ns();
    for (task, seat) in tasks.iter().zip(&seats) {
        task.head.user_code.set(Some(body));
        task.head.user_ptr.set((&raw const *seat).cast_mut().cast());
        ex.attach(*task).unwrap();
    }
    let mut launched = 0;
    while launched < N {
        launched += ex.run(usize::MAX, Some(0)).unwrap();
    }
    let suspend = each_ns();
    let full = resident_kib();
    assert_eq!(ex.executor().head.tasks_suspended.get(), N);
    for &i in &order {
        ex.cancel(tasks[i as usize]).unwrap();
    }
    let cancel = each_ns();
    let mut resumed = 0;
    while resumed < N {
        resumed += ex.run(N - resumed, Some(0)).unwrap();
    }
    let resume = each_ns();
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
    let sleep = each_ns();
    for (at, &i) in order.iter().enumerate() {
        let (seat, task) = (&seats[i as usize], tasks[i as usize]);
        assert_eq!(task.head.result.get(), RawResult::success(i as isize));
        // Resumed in the order of the cancels, each once; except for those whose timers were due by
        // then, all after the last.
        assert!(seat.cancelled_at.get() > at as u32);
        assert!(seat.expired_at.get() > seat.cancelled_at.get());
    }
    assert!(order.windows(2).all(|w| {
        seats[w[0] as usize].cancelled_at.get() < seats[w[1] as usize].cancelled_at.get()
    }));
    assert_eq!(turn.get() as usize, 2 * N);
    each_ns();
    tasks.into_iter().for_each(|t| monad_async::api::destroy_task(t).unwrap());
    let destroy = each_ns();
    let after = resident_kib();
    ex.destroy().unwrap();
    println!(
        "measured: 1,000,000 tasks of 16 KiB, a task: {} bytes resident; create {create} ns, launch \
         and suspend {suspend} ns, cancel {cancel} ns, resume in random order {resume} ns, sleep up \
         to 0.5 s and exit {sleep} ns, destroy {destroy} ns; resident {} -> {} -> {} MiB",
        (full - before) * 1024 / N,
        before >> 10,
        full >> 10,
        after >> 10
    );
    assert!((full - before) * 1024 / N < 8192, "more than two pages a task");
    assert!(after < before + (256 << 10), "{after} KiB left, {before} before");
}
