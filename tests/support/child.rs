//! For tests that need a process of their own (limits, guards that kill, process-wide counts): such
//! a test runs itself again as a child. And what tests of stacks share.
#![allow(dead_code)] // Each test program uses its part.

use super::skip;
use monad_async::stack::pool::{release, Slot};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

pub const HEADER: usize = 384;
pub const SMALL: usize = 16 << 10;
const CHILD: &str = "MONAD_ASYNC_TEST_CHILD";

/// Runs `body` in a process of its own: None there, what came of it here.
pub fn child(test: &str, body: impl FnOnce()) -> Option<Output> {
    if std::env::var_os(CHILD).is_some_and(|name| name == test) {
        println!(); // The harness has not ended its line.
        body();
        return None;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, test)
        .output()
        .unwrap();
    Some(output)
}

/// Runs `body`, whose assertions hold, in a process of its own.
pub fn alone(test: &str, body: fn()) {
    let Some(output) = child(test, body) else { return };
    let told = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    skip::pass_on(&said);
    for line in told.lines().filter(|l| l.starts_with("measured: ")) {
        println!("{line}");
    }
    assert!(output.status.success(), "{told}{said}");
    assert!(told.contains("1 passed"), "the child ran another test than {test}: {told}");
}

/// Runs `body`, which dies, in a process of its own: the signal, and what it said.
pub fn dying(test: &str, body: fn()) -> Option<(i32, String)> {
    let output = child(test, || {
        limits();
        body();
        panic!("still alive");
    })?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let signal = output.status.signal();
    Some((signal.unwrap_or_else(|| panic!("{}: {said}", output.status)), said))
}

/// No core dump, and an end to a handler that lets the same fault happen again and again.
fn limits() {
    for (which, most) in [(libc::RLIMIT_CORE, 0), (libc::RLIMIT_CPU, 10)] {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: setrlimit only reads the struct.
        assert_eq!(unsafe { libc::setrlimit(which, &limit) }, 0);
    }
}

pub fn header(slot: &Slot) -> *mut u8 {
    slot.header.as_ptr()
}

/// The bottom and the top of what the slot gives, and the header's first byte.
pub fn touch(slot: &Slot, value: u8) {
    // SAFETY: all three lie in the slot, which is the caller's.
    unsafe {
        header(slot).write(value);
        (slot.stack_base as *mut u8).sub(1).write(value);
        (slot.stack_limit as *mut u8).write(value);
    }
}

pub fn free(slots: Vec<Slot>) {
    for slot in slots {
        // SAFETY: the tests run nothing on the slots they release.
        unsafe { release(slot) };
    }
}

/// Whether a system call can read the byte.
pub fn readable(at: usize) -> bool {
    let mut fds = [0; 2];
    // SAFETY: a pipe of our own; write only reads `at`, and answers EFAULT where it cannot.
    unsafe {
        assert_eq!(libc::pipe(fds.as_mut_ptr()), 0);
        let r = libc::write(fds[1], at as *const libc::c_void, 1);
        libc::close(fds[0]);
        libc::close(fds[1]);
        r == 1
    }
}
