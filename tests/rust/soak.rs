//! Mixed load for long: sleeps, NOPs, reads of a file, sockets, launches and cancels of another
//! thread, joins, tasks that come and go. At the end nothing is left, all operations are accounted
//! for, and memory is no more than it was early on. Six seconds; an hour with MONAD_ASYNC_LONG=1.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::Handle;
use monad_async::error::RawResult;
use monad_async::task::header::TaskRef;
use std::cell::{Cell, RefCell};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use support::child::alone;
use support::programme::*;
use support::rng::Rng;
use support::*;

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What all tasks share. A step that goes wrong ends its task, and says so here.
struct World {
    stop: Cell<bool>,
    rng: RefCell<Rng>,
    steps: Cell<u64>,
    wrong: RefCell<Vec<String>>,
}

impl World {
    fn random(&self, below: u64) -> u64 {
        u64::from(self.rng.borrow_mut().below(below as u32))
    }

    /// Whether `r` is one of `good`; ECANCELED never surprises here.
    fn good(&self, what: &str, r: RawResult, good: &[RawResult]) -> bool {
        self.steps.set(self.steps.get() + 1);
        let good = good.contains(&r) || r == CANCELED;
        if !good {
            self.wrong.borrow_mut().push(format!("{what}: {r:?}"));
        }
        good
    }
}

/// `n` tasks that do `step` until the world stops.
fn workers(
    world: &Rc<World>,
    tasks: &mut Vec<TaskRef>,
    n: usize,
    step: impl Fn(&World, TaskRef) -> bool + Clone + 'static,
) {
    for _ in 0..n {
        let (t, world, step) = (new_task(), world.clone(), step.clone());
        set_body(t, move |t| {
            while !world.stop.get() && step(&world, t) {
                // A victim goes on, or every call of it would return at once from here on.
                let _ = Handle::<Real>::uncancel(t);
            }
            OK
        });
        tasks.push(t);
    }
}

#[test]
fn mixed_load_leaves_nothing_behind() {
    alone("mixed_load_leaves_nothing_behind", soak);
}

fn soak() {
    let seconds = if std::env::var_os("MONAD_ASYNC_LONG").is_some() { 3_600 } else { 6 };
    let ex = executor(32);
    let world = Rc::new(World {
        stop: Cell::new(false),
        rng: Rng::new(1, 0).into(),
        steps: Cell::new(0),
        wrong: RefCell::default(),
    });
    let mut tasks = Vec::new();
    workers(&world, &mut tasks, 100, |w, t| w.good("sleep", sleep(t, w.random(5_000_000)), &[OK]));
    workers(&world, &mut tasks, 50, |w, t| {
        w.good("nop", nop(t), &[OK]) && w.good("yield", sleep(t, 0), &[OK])
    });
    let file = Rc::new(std::fs::File::open("/proc/self/exe").unwrap());
    let fd = file.as_raw_fd();
    workers(&world, &mut tasks, 20, move |w, t| {
        // Not on the stack, of which an unoptimised build leaves little.
        let (mut to, at) = (vec![0u8; 4096], 4096 * w.random(16));
        let sqe = monad_async::uring::kernel::Sqe::new(22, fd, at, to.as_mut_ptr() as u64, 4096, 0);
        w.good("read", io(t, &sqe), &[success(4096)]) && w.good("pause", sleep(t, 100_000), &[OK])
    });
    // Echoes: one asks, one answers; the end of the one ends the other.
    for _ in 0..10 {
        let (asks, answers) = UnixStream::pair().unwrap();
        let (a, b) = (asks.as_raw_fd(), answers.as_raw_fd());
        let asks = RefCell::new(Some(asks));
        let (t, w) = (new_task(), world.clone());
        set_body(t, move |t| {
            let mut n = 0u8;
            while !w.stop.get() {
                n = n.wrapping_add(1);
                let mut got = [!n];
                if !w.good("ask", write(t, a, &[n]), &[success(1)])
                    || !w.good("hear", read(t, a, &mut got), &[success(1)])
                    || !w.good("heard right", success(got[0].into()), &[success(n.into())])
                {
                    break;
                }
            }
            asks.take();
            OK
        });
        tasks.push(t);
        let (t, w) = (new_task(), world.clone());
        set_body(t, move |t| {
            let _open = &answers;
            let mut byte = [0];
            while read(t, b, &mut byte) == success(1) {
                w.good("answer", write(t, b, &byte), &[success(1)]);
            }
            OK
        });
        tasks.push(t);
    }
    // Tasks that are made, launched, joined or cancelled, and destroyed.
    workers(&world, &mut tasks, 20, move |w, t| {
        let child = new_task();
        let nap = w.random(300_000);
        set_body(child, move |c| {
            let r = sleep(c, nap);
            if r == OK {
                nop(c)
            } else {
                r
            }
        });
        ex.attach(child).unwrap();
        if w.random(3) == 0 {
            sleep(t, w.random(300_000));
            let _ = ex.cancel(child); // ENOENT: it was faster.
        }
        let held = w.good("join", Handle::<Real>::join(t, child), &[OK]);
        destroy_task(child);
        held
    });
    // Another thread launches, and cancels whom it likes.
    static STOP: AtomicBool = AtomicBool::new(false);
    let launched = Arc::new(AtomicU64::new(0));
    let victims: Vec<TaskRef> = tasks[..100].to_vec();
    let keeper = new_task();
    set_body(keeper, |t| sleep(t, u64::MAX));
    let (shared, count) = (Shared(ex), launched.clone());
    attach_all(ex, &tasks);
    ex.attach(keeper).unwrap();
    let remote = thread::spawn(move || {
        let ex = shared.get();
        let guests: Vec<TaskRef> = (0..16).map(|_| new_task()).collect();
        guests.iter().for_each(|&g| set_body(g, nop));
        let mut turn = 0;
        while !STOP.load(Ordering::Relaxed) {
            for &g in &guests {
                if g.head.result.get() != OK {
                    break;
                }
                ex.attach(g).unwrap();
                count.fetch_add(1, Ordering::Relaxed);
            }
            let _ = ex.cancel(victims[turn % victims.len()]); // ENOENT: it has stopped.
            turn += 1;
            while !guests.iter().all(|g| g.has_exited()) {
                thread::sleep(Duration::from_micros(50));
            }
        }
        let failed = guests.iter().filter(|g| g.head.result.get() != OK).count();
        ex.cancel(keeper).unwrap();
        guests.into_iter().for_each(destroy_task);
        failed
    });
    let (began, total) = (Instant::now(), Duration::from_secs(seconds));
    let (mut early, mut late) = (0, 0);
    let mut next_look = total / 20;
    while began.elapsed() < total {
        ex.run(usize::MAX, Some(10_000_000)).unwrap();
        if began.elapsed() >= next_look {
            let third = if began.elapsed() < total / 3 { &mut early } else { &mut late };
            *third = resident_kib().max(*third);
            next_look += total / 20;
        }
    }
    world.stop.set(true);
    STOP.store(true, Ordering::Relaxed);
    finish(ex);
    assert_eq!(remote.join().unwrap(), 0, "guests failed");
    let wrong = world.wrong.take();
    assert!(
        wrong.is_empty(),
        "{} steps went wrong: {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(8)]
    );
    let head = &ex.executor().head;
    assert_eq!(head.total_io_submitted.get(), head.total_io_completed.get());
    assert_eq!(head.tasks_suspended.get() + head.tasks_pending_launch.get(), 0);
    let launched = launched.load(Ordering::Relaxed);
    println!(
        "measured: {seconds} s: {} steps, {} operations, {launched} launches from elsewhere; \
         resident at most {early} KiB in the first third, {late} KiB after",
        world.steps.get(),
        head.total_io_completed.get()
    );
    assert!(launched != 0 && world.steps.get() != 0);
    assert!(late <= early + 2_048, "memory grows: {early} -> {late} KiB");
    tasks.push(keeper);
    destroy(ex, tasks);
}
