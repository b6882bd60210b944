//! Waiting for another thread to make a few steps more. It may be one that this thread keeps from
//! its processor: under SCHED_FIFO, to yield lets no thread of a lower priority on. So the wait
//! soon becomes a sleep.

use std::time::Duration;

/// How often to yield before the first sleep. The other thread runs as a rule.
const YIELDS: u32 = 16;
const FIRST_SLEEP_NS: u64 = 1_000;
const LONGEST_SLEEP_NS: u64 = 1_000_000;

pub struct Backoff {
    yields: u32,
    sleep_ns: u64,
}

impl Backoff {
    pub const fn new() -> Self {
        Self { yields: 0, sleep_ns: FIRST_SLEEP_NS }
    }

    /// Gives the other thread time: more each time, a millisecond at most.
    pub fn wait(&mut self) {
        if self.yields < YIELDS {
            self.yields += 1;
            return std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_nanos(self.sleep_ns));
        self.sleep_ns = LONGEST_SLEEP_NS.min(self.sleep_ns * 2);
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// The calling thread, on the first processor that it may have, with a real-time priority or
    /// without.
    fn on_one_processor(real_time: bool) -> bool {
        // SAFETY: all zeroes is an empty set and a parameter; concerns the calling thread only.
        unsafe {
            let mut all: libc::cpu_set_t = std::mem::zeroed();
            let mut one: libc::cpu_set_t = std::mem::zeroed();
            let size = size_of::<libc::cpu_set_t>();
            assert_eq!(libc::sched_getaffinity(0, size, &mut all), 0);
            let first = (0..libc::CPU_SETSIZE as usize).find(|&cpu| libc::CPU_ISSET(cpu, &all));
            libc::CPU_SET(first.expect("a processor"), &mut one);
            assert_eq!(libc::sched_setaffinity(0, size, &one), 0);
            let param = libc::sched_param { sched_priority: 1 };
            !real_time || libc::sched_setscheduler(0, libc::SCHED_FIFO, &param) == 0
        }
    }

    #[test]
    fn a_thread_of_a_lower_priority_gets_on() {
        let (started, done) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|s| {
            s.spawn(|| {
                on_one_processor(false);
                while !started.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
                done.store(true, Ordering::Release);
            });
            s.spawn(|| {
                if !on_one_processor(true) {
                    println!("skipped: no real-time priority: {}", std::io::Error::last_os_error());
                }
                started.store(true, Ordering::Release);
                let (mut backoff, mut waits) = (Backoff::new(), 0);
                while !done.load(Ordering::Acquire) {
                    backoff.wait();
                    waits += 1;
                }
                // A thread that only yields does so a million times, until the kernel stops it.
                assert!(waits < 1_000, "{waits} waits");
            });
        });
    }
}
