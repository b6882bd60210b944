//! A thread waits for a word to change.

use super::clock::NS_PER_S;
use crate::atomic::AtomicU32;

/// While `word` is `expected`, and for `timeout_ns` at most (None: for ever). Early for any reason.
pub fn wait(word: &AtomicU32, expected: u32, timeout_ns: Option<u64>) {
    // A day is as good as longer: the caller looks again.
    let limit = timeout_ns.map(|ns| ns.min(24 * 3600 * NS_PER_S)).map(|ns| libc::timespec {
        tv_sec: (ns / NS_PER_S) as libc::time_t,
        tv_nsec: (ns % NS_PER_S) as libc::c_long,
    });
    let limit = limit.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
    let op = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: a word that lives for the call, and null or a time of our own.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), op, expected, limit) };
}

/// Wakes the thread that waits for the word at `address`, which need not exist any more: then
/// nobody waits.
pub fn wake(address: usize) {
    wake_some(address, 1);
}

/// Wakes all of them.
pub fn wake_all(address: usize) {
    wake_some(address, i32::MAX);
}

fn wake_some(address: usize, count: i32) {
    let op = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the kernel takes the address for a name.
    unsafe { libc::syscall(libc::SYS_futex, address, op, count) };
}
