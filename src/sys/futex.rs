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

/// Where the kernel looks for the lower half of a word of 64 bits.
const LOW: usize = if cfg!(target_endian = "big") { 4 } else { 0 };

/// As `wait`, without a limit, for the lower half of a word of 64 bits, at its address.
#[inline(always)]
pub fn wait_low(address: usize, expected: u32) {
    call(address + LOW, libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, expected);
}

/// Wakes who waits so. Also in a signal handler: errno is not touched.
#[inline(always)]
pub fn wake_low(address: usize) {
    call(address + LOW, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1);
}

/// In line: the C library's function is a page, a line and an entry of a table more, none of which
/// is in the caches of who has slept.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn call(address: usize, op: libc::c_int, value: u32) {
    // SAFETY: the kernel takes the address for a name, or reads there alone, and refuses what is no
    // memory; no time limit is passed.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") libc::SYS_futex => _,
            in("rdi") address,
            in("rsi") op,
            in("rdx") value,
            in("r10") 0_usize,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn call(address: usize, op: libc::c_int, value: u32) {
    let never = core::ptr::null::<libc::timespec>();
    // SAFETY: the C library's pointer to this thread's errno is valid for the thread's life; the
    // kernel takes the address for a name, or reads there alone.
    unsafe {
        let errno = libc::__errno_location();
        let saved = *errno;
        libc::syscall(libc::SYS_futex, address, op, value, never);
        *errno = saved;
    }
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
