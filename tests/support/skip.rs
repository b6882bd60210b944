//! How a Rust test says that it cannot run on this machine: the one way, which tests/tools.sh
//! counts.
#![allow(dead_code)] // Each test program uses its part.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::Write;
use std::sync::Mutex;

/// Says that the calling test cannot run here, and why. The test then returns: for the harness it
/// has passed, and tests/tools.sh counts it as skipped instead, once however often it says so.
///
/// Straight to standard error, since the harness shows what a test prints only where it fails; on a
/// line of its own, though the harness may not have ended its line.
pub fn skip(why: impl Display) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    // In a process of its own (child.rs), the test is the main thread.
    let of_child = std::env::var("MONAD_ASYNC_TEST_CHILD").ok();
    let of_thread = || std::thread::current().name().unwrap_or("a thread").to_owned();
    let test = of_child.unwrap_or_else(of_thread);
    let line = format!("\nskipped: {test}: {why}\n");
    if SAID.lock().unwrap_or_else(|e| e.into_inner()).insert(test) {
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// As `skip`, for a test in whose child process it was said.
pub fn pass_on(standard_error: &str) {
    for line in standard_error.lines().filter(|l| l.starts_with("skipped: ")) {
        let _ = std::io::stderr().write_all(format!("\n{line}\n").as_bytes());
    }
}
