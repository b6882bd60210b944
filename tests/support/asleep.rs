//! Threads that sleep: what a test says of who waits holds once that does, and not some time later.

use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// This thread's number.
pub fn number() -> i32 {
    // SAFETY: no preconditions.
    unsafe { libc::gettid() }
}

/// Whether the thread with this number sleeps, or is gone. One that is kept from a processor does not
/// sleep: what it has slept in last, it has left.
pub fn is(number: i32) -> bool {
    let stat = match std::fs::read_to_string(format!("/proc/self/task/{number}/stat")) {
        Ok(stat) => stat,
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => return true,
        Err(e) => panic!("{e}"),
    };
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['S', 'X', 'Z']))
}

/// Whether it is gone.
pub fn is_gone(number: i32) -> bool {
    !std::fs::exists(format!("/proc/self/task/{number}")).unwrap()
}

pub fn until(number: i32) {
    while !is(number) {
        thread::sleep(Duration::from_micros(20));
    }
}

/// A thread that does this.
pub struct Waits<T> {
    number: i32,
    thread: JoinHandle<T>,
}

/// One that does what waits, and sleeps in it by now.
pub fn waits<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> Waits<T> {
    let told = Arc::new(AtomicI32::new(0));
    let thread = {
        let told = told.clone();
        thread::spawn(move || {
            told.store(number(), SeqCst);
            drop(told);
            wait()
        })
    };
    while told.load(SeqCst) == 0 {
        thread::sleep(Duration::from_micros(20));
    }
    let waits = Waits { number: told.load(SeqCst), thread };
    waits.until_asleep();
    waits
}

impl<T> Waits<T> {
    /// What was to wake it has: it sleeps again, or has done all.
    pub fn until_asleep(&self) {
        until(self.number);
    }

    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    pub fn join(self) -> T {
        self.thread.join().unwrap()
    }
}
