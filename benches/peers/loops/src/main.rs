//! What one thread's tasks cost in a runtime of Rust's: as loops.cpp measures ours. One round; a
//! line a work: its name, and nanoseconds each.
//!
//!     loops [--test]

#![allow(dead_code, unused_imports)]

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

mod runtime;

/// Tasks that have ended: on one thread, by a load and a store.
static RAN: AtomicUsize = AtomicUsize::new(0);

/// With so many, who waits goes on.
static AWAITED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static WAITER: Cell<Option<Waker>> = const { Cell::new(None) };
}

fn ran() {
    let n = RAN.load(Relaxed) + 1;
    RAN.store(n, Relaxed);
    if n == AWAITED.load(Relaxed) {
        WAITER.take().expect("who waits says so first").wake();
    }
}

/// The sizes of a round.
#[derive(Clone, Copy)]
struct Round {
    times: usize,
    yields: usize,
    nops: usize,
    sleepers: usize,
    sleeps: usize,
    created: usize,
    foreign: usize,
}

const FULL: Round = Round {
    times: 200,
    yields: 2000,
    nops: 400,
    sleepers: 10_000,
    sleeps: 10,
    created: 10_000,
    foreign: 50,
};
const TEST: Round =
    Round { times: 2, yields: 20, nops: 20, sleepers: 100, sleeps: 2, created: 100, foreign: 2 };

const LAUNCHED: usize = 400;
const AMONG: usize = 64;
const FOREIGN: usize = 512;

fn clock(which: libc::clockid_t) -> f64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place for it.
    assert_eq!(unsafe { libc::clock_gettime(which, &mut ts) }, 0);
    ts.tv_sec as f64 * 1e9 + ts.tv_nsec as f64
}

/// CPU time of the process, as some have threads of their own for timers.
fn cpu() -> f64 {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn say(work: &str, ns: f64, each: usize) {
    println!("{work}\t{:.2}", ns / each as f64);
}

/// Puts the calling thread on the n-th processor that the process may use.
fn pin(n: usize) {
    // SAFETY: a set is plain words, and the sizes are its own.
    unsafe {
        let mut all: libc::cpu_set_t = std::mem::zeroed();
        let size = std::mem::size_of_val(&all);
        assert_eq!(libc::sched_getaffinity(libc::getppid(), size, &mut all), 0);
        let Some(cpu) =
            (0..libc::CPU_SETSIZE as usize).filter(|&c| libc::CPU_ISSET(c, &all)).nth(n)
        else {
            return;
        };
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut one);
        libc::sched_setaffinity(0, size, &one);
    }
}

/// To the back of who is ready.
struct Yield(bool);

impl Future for Yield {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn yield_now() -> Yield {
    Yield(false)
}

/// What `main` runs inside the runtime: `spawn` begins a task, `sleep` waits.
trait Spawn: 'static {
    fn spawn(task: impl Future<Output = ()> + Send + 'static);
    fn sleep(time: Duration) -> impl Future<Output = ()> + Send;
}

/// Until so many have ended, and back to none.
struct Ended(usize);

impl Future for Ended {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if RAN.load(Relaxed) == self.0 {
            RAN.store(0, Relaxed);
            AWAITED.store(0, Relaxed);
            return Poll::Ready(());
        }
        WAITER.set(Some(cx.waker().clone()));
        AWAITED.store(self.0, Relaxed);
        Poll::Pending
    }
}

fn ended(tasks: usize) -> Ended {
    Ended(tasks)
}

async fn works<S: Spawn>(round: Round) {
    let begun = cpu();
    for _ in 0..round.times {
        for _ in 0..LAUNCHED {
            S::spawn(async { ran() });
        }
        ended(LAUNCHED).await;
    }
    say("launch", cpu() - begun, round.times * LAUNCHED);

    let begun = cpu();
    for _ in 0..AMONG {
        S::spawn(async move {
            for _ in 0..round.yields {
                yield_now().await;
            }
            ran();
        });
    }
    ended(AMONG).await;
    say("yield", cpu() - begun, round.yields * AMONG);

    let begun = cpu();
    for _ in 0..round.sleepers {
        S::spawn(async move {
            for _ in 0..round.sleeps {
                S::sleep(Duration::from_millis(1)).await;
            }
            ran();
        });
    }
    ended(round.sleepers).await;
    say("sleep", cpu() - begun, round.sleepers * round.sleeps);

    let begun = cpu();
    for _ in 0..round.created {
        S::spawn(async { ran() });
    }
    ended(round.created).await;
    say("creation", cpu() - begun, round.created);
}

fn main() {
    pin(0);
    runtime::run(if std::env::args().any(|a| a == "--test") { TEST } else { FULL });
}
