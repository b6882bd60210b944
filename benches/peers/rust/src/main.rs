//! Empty tasks to tokio's workers, and elements from thread to thread by its mpsc and by flume, as
//! peers.cpp measures ours.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

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

/// ns a task.
fn spawn(runtime: &tokio::runtime::Runtime, submitters: usize) -> f64 {
    RAN.store(0, Relaxed);
    let begun = Instant::now();
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
        thread::yield_now();
    }
    begun.elapsed().as_nanos() as f64 / TASKS as f64
}

fn single() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// ns an element, from one runtime of one thread to another.
fn mpsc() -> f64 {
    let (to, mut from) = tokio::sync::mpsc::channel::<u64>(CAPACITY);
    let begun = Instant::now();
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
    begun.elapsed().as_nanos() as f64 / ELEMENTS as f64
}

fn flume() -> f64 {
    let (to, from) = flume::bounded::<u64>(CAPACITY);
    let begun = Instant::now();
    let sender = thread::spawn(move || {
        for n in 0..ELEMENTS as u64 {
            to.send(n).unwrap();
        }
    });
    assert_eq!(from.iter().count(), ELEMENTS);
    sender.join().unwrap();
    begun.elapsed().as_nanos() as f64 / ELEMENTS as f64
}

fn main() {
    let rounds = if std::env::args().any(|a| a == "--test") { 1 } else { ROUNDS };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).build().unwrap();
    let measured = |f: &dyn Fn() -> f64| median((0..rounds).map(|_| f()).collect());
    println!(
        "| tokio, multi-thread | {:.0} | {:.0} |",
        measured(&|| spawn(&runtime, 1)),
        measured(&|| spawn(&runtime, 2))
    );
    println!("| tokio mpsc | {:.0} |", measured(&mpsc));
    println!("| flume, two threads | {:.0} |", measured(&flume));
}
