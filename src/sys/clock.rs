//! Two of the system's clocks, read without a system call where the vDSO has them.

pub(crate) const NS_PER_S: u64 = 1_000_000_000;

/// The longest wait that the kernel counts on the monotonic clock. That one stands still while the
/// system is suspended, so the sleeper has to look at the boot-time clock now and then; it is never
/// early, as the boot-time clock advances at least as fast.
pub(crate) const SLICE_NS: u64 = NS_PER_S;

/// No wait asks the kernel for more than 36 years at a time. `io_uring_enter` adds the time to its
/// own clock's in signed 64 bits, unchecked: a wait of 2^63 ns would end at once, in the past.
/// Waits that end early do no harm, as their callers look at the clock again.
const LONGEST_NS: u64 = 1 << 60;

/// How long until a time on the boot-time clock, as far as the kernel can count.
#[inline]
pub fn left_ns(boot_deadline_ns: u64) -> u64 {
    boot_deadline_ns.saturating_sub(boot_ns()).min(LONGEST_NS)
}

/// CLOCK_BOOTTIME: counts on while the system is suspended. Timers are on this one.
#[inline]
pub fn boot_ns() -> u64 {
    read(libc::CLOCK_BOOTTIME)
}

/// CLOCK_MONOTONIC_RAW: no NTP daemon bends it. Frequencies are measured against this one.
#[inline]
pub fn raw_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC_RAW)
}

/// How often CLOCK_MONOTONIC_COARSE moves on; 0: not known.
pub fn coarse_tick_ns() -> u64 {
    let mut tick = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills in a timespec of our own.
    let rc = unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &mut tick) };
    if rc == 0 && tick.tv_sec == 0 {
        tick.tv_nsec as u64
    } else {
        0
    }
}

#[inline(always)]
fn read(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills in a timespec of our own.
    let rc = unsafe { libc::clock_gettime(clock, &mut now) };
    debug_assert_eq!(rc, 0, "both clocks exist since Linux 2.6.39");
    now.tv_sec as u64 * NS_PER_S + now.tv_nsec as u64
}
