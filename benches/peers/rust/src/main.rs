//! Empty tasks to tokio's workers, and elements from thread to thread by its mpsc and by flume, as
//! peers.cpp measures ours.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const WORKERS: usize = 2;
const ROUNDS: usize = 15;
const TASKS: usize = 100_000;
const ELEMENTS: usize = 1_000_000;
const CAPACITY: usize = 256;

static RAN: AtomicUsize = AtomicUsize::new(0);

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

fn cpu_ns() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place for the time.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 * 1e9 + t.tv_nsec as f64
}

/// Until all tasks have run.
fn spawn(runtime: &tokio::runtime::Runtime, submitters: usize) -> usize {
    RAN.store(0, Relaxed);
    thread::scope(|s| {
        for _ in 0..submitters {
            s.spawn(|| {
                for _ in 0..TASKS / submitters {
                    runtime.spawn(async {
                        RAN.fetch_add(1, Relaxed);
                    });
                }
            });
        }
    });
    while RAN.load(Relaxed) != TASKS / submitters * submitters {
        thread::sleep(Duration::from_micros(20));
    }
    TASKS
}

fn single() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// Elements from one runtime of one thread to another.
fn mpsc() -> usize {
    let (to, mut from) = tokio::sync::mpsc::channel::<u64>(CAPACITY);
    let sender = thread::spawn(move || {
        single().block_on(async move {
            for n in 0..ELEMENTS as u64 {
                to.send(n).await.unwrap();
            }
        });
    });
    let received = single().block_on(async move {
        let mut count = 0;
        while from.recv().await.is_some() {
            count += 1;
        }
        count
    });
    sender.join().unwrap();
    assert_eq!(received, ELEMENTS);
    ELEMENTS
}

fn flume() -> usize {
    let (to, from) = flume::bounded::<u64>(CAPACITY);
    let sender = thread::spawn(move || {
        for n in 0..ELEMENTS as u64 {
            to.send(n).unwrap();
        }
    });
    assert_eq!(from.iter().count(), ELEMENTS);
    sender.join().unwrap();
    ELEMENTS
}

/// "name | ns wall | ns CPU", the medians.
fn measure(rounds: usize, name: &str, work: impl Fn() -> usize) {
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (begun, cpu_begun) = (Instant::now(), cpu_ns());
        let count = work() as f64;
        wall.push(begun.elapsed().as_nanos() as f64 / count);
        cpu.push((cpu_ns() - cpu_begun) / count);
    }
    let is_one = thread::available_parallelism().is_ok_and(|n| n.get() == 1);
    let place = if is_one { ", one processor" } else { "" };
    println!("{name}{place} | {:.0} | {:.0}", median(wall), median(cpu));
}

fn main() {
    let mut arguments: Vec<_> = std::env::args().skip(1).collect();
    let rounds = if arguments.first().is_some_and(|a| a == "--test") { 1 } else { ROUNDS };
    arguments.retain(|a| a != "--test");
    let part = arguments.first().map_or("", String::as_str);
    let measure = |name: &str, work: &dyn Fn() -> usize| {
        if name.contains(part) {
            measure(rounds, name, work);
        }
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).build().unwrap();
    measure("tokio multi-thread, 1 to 2", &|| spawn(&runtime, 1));
    measure("tokio multi-thread, 2 to 2", &|| spawn(&runtime, 2));
    measure("tokio mpsc, channel", &mpsc);
    measure("flume, two threads, channel", &flume);
}
