//! The processor's tick counter: read it, learn its frequency, convert to nanoseconds. Touches no
//! memory but two statics that are written once, without a lock: a child of `fork` would wait for
//! ever for a thread of its parent's that is measuring.
//!
//! Reading is `rdtsc` (x86_64) or CNTVCT_EL0 (aarch64), unfenced: neighbouring instructions may
//! move across it by some nanoseconds, and a fence would cost as much as the read. Both counters
//! have one constant rate and one value for all processors on every machine of the last decade;
//! where they have not (a guest without invariant TSC), tick fields are as wrong as the counter.
//!
//! The frequency is what processor or hypervisor state, if a measurement agrees: CPUID in a guest
//! may describe the machine that the guest was started on and not the one it moved to. Where they
//! state none, or a wrong one, it is measured. Executors take an [`anchor`] when created, and the
//! measurement counts from there, so that by the time somebody asks there is seldom a wait.

mod arch;

use core::sync::atomic::{AtomicU64, AtomicU8, Ordering};
use std::time::Duration;

#[cfg(not(miri))]
use crate::sys::clock::{boot_ns, raw_ns};

/// The counter now.
#[inline(always)]
pub fn now() -> u64 {
    arch::now()
}

/// Ticks in a second, right to 0.1%. The first call in the process may wait: 10 ms at most, none if
/// an [`anchor`] was taken 10 ms ago; after that, a load.
pub fn per_second() -> u64 {
    Rate::known().per_second
}

/// The same, if somebody has asked before. Never waits.
pub fn known_per_second() -> Option<u64> {
    // Acquire: as in `Rate::known`.
    (MULT.load(Ordering::Acquire) != 0).then(|| PER_SECOND.load(Ordering::Relaxed))
}

/// Nanoseconds in `ticks`, rounded down; saturates at 2^64. Waits as [`per_second`] does.
#[inline]
pub fn to_ns(ticks: u64) -> u64 {
    Rate::known().to_ns(ticks)
}

/// ANY THREAD. Starts the measurement of the frequency; about a microsecond the first time.
pub fn anchor() {
    ANCHOR.get_or_take();
}

static ANCHOR: Anchor = Anchor::new();

/// The frequency; 0: not known. Threads may measure at the same time: the first to be done tells
/// all.
static PER_SECOND: AtomicU64 = AtomicU64::new(0);
/// `Rate::mult` of it, a little later.
static MULT: AtomicU64 = AtomicU64::new(0);

/// `ns = ticks * mult >> shift`, with as many bits in `mult` as fit.
#[derive(Debug)]
struct Rate {
    per_second: u64,
    mult: u64,
    shift: u32,
}

impl Rate {
    /// The rate of the process. May wait.
    #[inline]
    fn known() -> Self {
        // Acquire: a thread that sees the one sees the other.
        match MULT.load(Ordering::Acquire) {
            0 => Self::learn(),
            mult => {
                let per_second = PER_SECOND.load(Ordering::Relaxed);
                Self { per_second, mult, shift: Self::shift(per_second) }
            }
        }
    }

    #[cold]
    fn learn() -> Self {
        let per_second = frequency().max(1);
        let first =
            PER_SECOND.compare_exchange(0, per_second, Ordering::Relaxed, Ordering::Relaxed);
        let rate = Self::new(first.err().unwrap_or(per_second));
        MULT.store(rate.mult, Ordering::Release);
        rate
    }

    /// 2^30 > 10^9, so that at 1 Hz and above `mult` stays under 2^64 with 34, and one bit more for
    /// every halving of it.
    #[inline]
    fn shift(per_second: u64) -> u32 {
        (34 + per_second.max(1).ilog2()).min(90)
    }

    fn new(per_second: u64) -> Self {
        let per_second = per_second.max(1);
        let shift = Self::shift(per_second);
        let mult = (u128::from(NS) << shift) / u128::from(per_second);
        Self { per_second, mult: u64::try_from(mult).expect("see shift"), shift }
    }

    #[inline]
    fn to_ns(&self, ticks: u64) -> u64 {
        let ns = (u128::from(ticks) * u128::from(self.mult)) >> self.shift;
        u64::try_from(ns).unwrap_or(u64::MAX)
    }
}

const NS: u64 = 1_000_000_000;
/// Long enough to tell a stated frequency from a wrong one, and to measure one. A pair is good to
/// less than 1 us even on a busy machine: 0.1% of the one, 0.01% of the other.
const CHECK_NS: u64 = 1_000_000;
const MEASURE_NS: u64 = 10_000_000;

/// What the counter and the clocks said at one moment.
#[derive(Clone, Copy, Debug)]
struct Pair {
    ticks: u64,
    raw_ns: u64,
    boot_ns: u64,
}

impl Pair {
    /// The clocks are read between two reads of the counter; of several tries the tightest counts,
    /// as no interrupt and no hypervisor came between in that one.
    fn take() -> Self {
        let one = || {
            let before = now();
            let (raw_ns, boot_ns) = (raw_ns(), boot_ns());
            let width = now().saturating_sub(before);
            (width, Self { ticks: before + width / 2, raw_ns, boot_ns })
        };
        let mut best = one();
        for _ in 0..15 {
            let next = one();
            if next.0 < best.0 {
                best = next;
            }
        }
        best.1
    }

    /// Ticks per second since, and how long that is. `None` if the system was suspended in between
    /// for long enough to matter: the counter may have gone on, or back to 0, and the clock not.
    fn rate_since(&self, start: &Pair) -> Option<(u64, u64)> {
        let elapsed_ns = self.raw_ns.saturating_sub(start.raw_ns);
        let ticks = self.ticks.checked_sub(start.ticks)?;
        let suspended_ns = self.boot_ns.saturating_sub(start.boot_ns).saturating_sub(elapsed_ns);
        // NTP may speed the boot-time clock up by 500 parts in a million.
        if elapsed_ns == 0 || suspended_ns > elapsed_ns / 1250 + 100_000 {
            return None;
        }
        let rate = u128::from(ticks) * u128::from(NS) / u128::from(elapsed_ns);
        Some((u64::try_from(rate).ok()?, elapsed_ns))
    }
}

/// The pair that the measurement counts from, taken once a process.
struct Anchor {
    state: AtomicU8,
    ticks: AtomicU64,
    raw_ns: AtomicU64,
    boot_ns: AtomicU64,
}

impl Anchor {
    const NONE: u8 = 0;
    /// A thread is about to write it; in the child of a fork perhaps one that the child has not.
    const CLAIMED: u8 = 1;
    const TAKEN: u8 = 2;

    const fn new() -> Self {
        let [ticks, raw_ns, boot_ns] = [const { AtomicU64::new(0) }; 3];
        Self { state: AtomicU8::new(Self::NONE), ticks, raw_ns, boot_ns }
    }

    /// Waits for nobody: a pair of the caller's own is as good, and at worst a later one.
    fn get_or_take(&self) -> Pair {
        match self.state.compare_exchange(
            Self::NONE,
            Self::CLAIMED,
            Ordering::Relaxed,
            Ordering::Acquire,
        ) {
            Ok(_) => {
                let pair = Pair::take();
                self.ticks.store(pair.ticks, Ordering::Relaxed);
                self.raw_ns.store(pair.raw_ns, Ordering::Relaxed);
                self.boot_ns.store(pair.boot_ns, Ordering::Relaxed);
                self.state.store(Self::TAKEN, Ordering::Release);
                pair
            }
            Err(Self::TAKEN) => Pair {
                ticks: self.ticks.load(Ordering::Relaxed),
                raw_ns: self.raw_ns.load(Ordering::Relaxed),
                boot_ns: self.boot_ns.load(Ordering::Relaxed),
            },
            Err(_) => Pair::take(),
        }
    }
}

fn frequency() -> u64 {
    settle(ANCHOR.get_or_take(), arch::stated())
}

/// The stated frequency if it is within 0.05% of the measured one, else the measured one.
fn settle(mut start: Pair, mut stated: Option<u64>) -> u64 {
    let mut spoiled = 0;
    loop {
        let needed_ns = if stated.is_some() { CHECK_NS } else { MEASURE_NS };
        let elapsed_ns = match Pair::take().rate_since(&start) {
            Some((measured, elapsed_ns)) if elapsed_ns >= needed_ns => match stated {
                Some(hz) if hz.abs_diff(measured) <= hz / 2000 => return hz,
                Some(_) => {
                    stated = None;
                    continue;
                }
                None => return measured,
            },
            Some((_, elapsed_ns)) => elapsed_ns,
            // Clocks that never move together are no clocks, and there is no third to ask.
            None if spoiled == 4 => return stated.unwrap_or(NS),
            None => {
                spoiled += 1;
                start = Pair::take();
                0
            }
        };
        std::thread::sleep(Duration::from_nanos(needed_ns - elapsed_ns));
    }
}

#[cfg(miri)]
fn raw_ns() -> u64 {
    now()
}

#[cfg(miri)]
fn boot_ns() -> u64 {
    now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(s: f64, hz: f64) -> Pair {
        let ns = (s * 1e9) as u64;
        Pair { ticks: (s * hz) as u64, raw_ns: ns, boot_ns: ns }
    }

    #[test]
    fn conversion_is_exact_to_a_part_in_a_billion_over_all_ticks() {
        for hz in [1, 1000, 19_200_000, 24_000_000, NS, 2_599_999_999, 6_000_000_000, u64::MAX] {
            let r = Rate::new(hz);
            for ticks in [0, 1, 100, hz / 3, hz, hz.saturating_mul(86_400 * 365), u64::MAX] {
                let exact = u128::from(ticks) * u128::from(NS) / u128::from(hz);
                let exact = u64::try_from(exact).unwrap_or(u64::MAX);
                let got = r.to_ns(ticks);
                assert!(exact.abs_diff(got) <= exact / 1_000_000_000 + 1, "{ticks} at {hz}: {got}");
            }
        }
    }

    #[test]
    fn the_counter_advances_and_to_ns_follows() {
        let before = now();
        std::thread::sleep(Duration::from_millis(2));
        assert!(to_ns(now() - before) >= 1_990_000);
    }

    #[test]
    fn a_suspend_spoils_a_measurement() {
        let (start, end) = (pair(1.0, 2e9), pair(3.0, 2e9));
        assert_eq!(end.rate_since(&start), Some((2_000_000_000, 2 * NS)));
        let slept = Pair { boot_ns: end.boot_ns + NS, ..end };
        assert_eq!(slept.rate_since(&start), None);
        let reset = Pair { ticks: 5, ..end };
        assert_eq!(reset.rate_since(&start), None);
    }

    #[cfg(not(miri))]
    fn measured_over(ms: u64) -> u64 {
        let start = Pair::take();
        std::thread::sleep(Duration::from_millis(ms));
        Pair::take().rate_since(&start).expect("not suspended in a test").0
    }

    #[cfg(not(miri))]
    #[test]
    fn the_frequency_is_right_to_a_thousandth() {
        let measured = measured_over(200);
        let hz = per_second();
        assert!(hz.abs_diff(measured) <= measured / 1000, "{hz}, measured {measured}");
        assert_eq!(hz, per_second());
    }

    /// A guest moved to a machine of another frequency: what CPUID says is then simply not so.
    #[cfg(not(miri))]
    #[test]
    fn a_wrong_or_missing_statement_is_replaced_by_a_measurement() {
        let right = measured_over(200);
        for stated in [None, Some(right * 2), Some(right + right / 500), Some(1)] {
            let hz = settle(Pair::take(), stated);
            assert!(hz.abs_diff(right) <= right / 1000, "{stated:?}: {hz}, measured {right}");
        }
        // Near enough is believed: a crystal is better than 10 ms of looking at it.
        let near = right + right / 10_000;
        assert_eq!(settle(Pair::take(), Some(near)), near);
    }

    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[test]
    fn hypervisor_leaves_count_only_under_a_name_that_gives_them_this_meaning() {
        let leaves = |name: &'static [u8; 12], max: u32| {
            move |n: u32| {
                let word = |i: usize| u32::from_le_bytes(name[i..i + 4].try_into().unwrap());
                match n {
                    1 => [0, 0, 1 << 31, 0],
                    0x4000_0000 => [max, word(0), word(4), word(8)],
                    0x4000_0010 => [2_600_000, 0, 0, 0],
                    _ => [0; 4],
                }
            }
        };
        let hz = Some(2_600_000_000);
        assert_eq!(arch::hypervisor(leaves(b"KVMKVMKVM\0\0\0", 0x4000_0010)), hz);
        assert_eq!(arch::hypervisor(leaves(b"VMwareVMware", 0x4000_0010)), hz);
        assert_eq!(arch::hypervisor(leaves(b"KVMKVMKVM\0\0\0", 0x4000_0001)), None);
        assert_eq!(arch::hypervisor(leaves(b"Microsoft Hv", 0x4000_0010)), None);
        assert_eq!(
            arch::processor(|n| if n == 0 { [0x15; 4] } else { [2, 216, 24_000_000, 0] }),
            Some(2_592_000_000)
        );
        assert_eq!(arch::processor(|n| if n == 0 { [0x15; 4] } else { [2, 216, 0, 0] }), None);
        assert_eq!(arch::processor(|n| if n == 0 { [0x15; 4] } else { [0, 216, 1, 0] }), None);
        assert_eq!(arch::processor(|_| [0x14; 4]), None);
    }
}
