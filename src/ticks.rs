//! The processor's tick counter: read it, learn its frequency, convert to nanoseconds. Touches no
//! memory but two statics that are written once.
//!
//! Reading is `rdtsc` (x86_64) or CNTVCT_EL0 (aarch64), unfenced: neighbouring instructions may move
//! across it by some nanoseconds, and a fence would cost as much as the read. Both counters have one
//! constant rate and one value for all processors on every machine of the last decade; where they
//! have not (a guest without invariant TSC), tick fields are as wrong as the counter.
//!
//! The frequency is what processor or hypervisor state, if a measurement agrees: CPUID in a guest
//! may describe the machine that the guest was started on and not the one it moved to. Where they
//! state none, or a wrong one, it is measured. Executors take an [`anchor`] when created, and the
//! measurement counts from there, so that by the time somebody asks there is seldom a wait.

use std::sync::OnceLock;
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
    rate().per_second
}

/// Nanoseconds in `ticks`, rounded down; saturates at 2^64. Waits as [`per_second`] does.
#[inline]
pub fn to_ns(ticks: u64) -> u64 {
    rate().to_ns(ticks)
}

/// ANY THREAD. Starts the measurement of the frequency; about a microsecond the first time.
pub fn anchor() {
    let _ = ANCHOR.get_or_init(Pair::take);
}

static ANCHOR: OnceLock<Pair> = OnceLock::new();
static RATE: OnceLock<Rate> = OnceLock::new();

#[inline]
fn rate() -> &'static Rate {
    RATE.get_or_init(|| Rate::new(frequency()))
}

/// `ns = ticks * mult >> shift`, with as many bits in `mult` as fit.
#[derive(Debug)]
struct Rate {
    per_second: u64,
    mult: u64,
    shift: u32,
}

impl Rate {
    fn new(per_second: u64) -> Self {
        let per_second = per_second.max(1);
        // 2^30 > 10^9, so that at 1 Hz and above the quotient stays under 2^64 with shift <= 34
        // and one bit more for every halving of it.
        let shift = (34 + per_second.ilog2()).min(90);
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

    /// Ticks per second since, and how long that is. `None` if the system was suspended meanwhile
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

fn frequency() -> u64 {
    settle(*ANCHOR.get_or_init(Pair::take), arch::stated())
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

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod arch {
    use core::arch::x86_64::{__cpuid, _rdtsc};

    #[inline(always)]
    pub fn now() -> u64 {
        // SAFETY: every x86_64 has it; only a process that forbade it itself (PR_SET_TSC) traps.
        unsafe { _rdtsc() }
    }

    /// As eax, ebx, ecx, edx.
    fn leaf(n: u32) -> [u32; 4] {
        // Safe in newer compilers.
        #[allow(unused_unsafe)]
        // SAFETY: every x86_64 has the instruction.
        let r = unsafe { __cpuid(n) };
        [r.eax, r.ebx, r.ecx, r.edx]
    }

    /// By the hypervisor, which knows what it runs this guest with; else by the processor.
    pub fn stated() -> Option<u64> {
        hypervisor(leaf).or_else(|| processor(leaf))
    }

    /// Leaf 0x40000010 holds the counter's kHz by a convention of VMware's that KVM shares; other
    /// hypervisors put other things there.
    pub(super) fn hypervisor(leaf: impl Fn(u32) -> [u32; 4]) -> Option<u64> {
        if leaf(1)[2] & (1 << 31) == 0 {
            return None;
        }
        let [max, b, c, d] = leaf(0x4000_0000);
        let mut name = [0; 12];
        for (to, from) in name.chunks_exact_mut(4).zip([b, c, d]) {
            to.copy_from_slice(&from.to_le_bytes());
        }
        if max < 0x4000_0010 || ![b"VMwareVMware", b"KVMKVMKVM\0\0\0"].contains(&&name) {
            return None;
        }
        let [khz, ..] = leaf(0x4000_0010);
        (khz != 0).then_some(u64::from(khz) * 1000)
    }

    /// Leaf 0x15: the crystal's frequency and the counter's ratio to it. Complete on few.
    pub(super) fn processor(leaf: impl Fn(u32) -> [u32; 4]) -> Option<u64> {
        if leaf(0)[0] < 0x15 {
            return None;
        }
        let [denominator, numerator, crystal_hz, _] = leaf(0x15);
        let hz = u64::from(crystal_hz) * u64::from(numerator);
        (hz != 0).then(|| hz.checked_div(denominator.into())).flatten()
    }
}

#[cfg(all(target_arch = "aarch64", not(miri)))]
mod arch {
    use core::arch::asm;

    #[inline(always)]
    pub fn now() -> u64 {
        let ticks: u64;
        // SAFETY: reads a counter that Linux lets every process read.
        unsafe { asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack)) };
        ticks
    }

    pub fn stated() -> Option<u64> {
        let hz: u64;
        // SAFETY: reads a register that Linux lets every process read.
        unsafe { asm!("mrs {}, cntfrq_el0", out(reg) hz, options(nomem, nostack)) };
        // The upper half is reserved. Firmware is to set the lower one, and some sets it to 0.
        Some(hz & 0xffff_ffff).filter(|&hz| hz != 0)
    }
}

/// Miri has no counter and no raw clock.
#[cfg(miri)]
mod arch {
    use std::sync::OnceLock;
    use std::time::Instant;

    pub fn now() -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }

    pub fn stated() -> Option<u64> {
        Some(super::NS)
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
