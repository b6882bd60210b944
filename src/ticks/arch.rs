//! The counter of each architecture, and the frequency that processor or hypervisor state.

#[cfg(all(target_arch = "aarch64", not(miri)))]
pub use aarch64::*;
#[cfg(miri)]
pub use interpreted::*;
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub use x86_64::*;

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86_64 {
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
    pub(crate) fn stated() -> Option<u64> {
        hypervisor(leaf).or_else(|| processor(leaf))
    }

    /// Leaf 0x40000010 holds the counter's kHz by a convention of VMware's that KVM shares; other
    /// hypervisors put other things there.
    pub(crate) fn hypervisor(leaf: impl Fn(u32) -> [u32; 4]) -> Option<u64> {
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
    pub fn processor(leaf: impl Fn(u32) -> [u32; 4]) -> Option<u64> {
        if leaf(0)[0] < 0x15 {
            return None;
        }
        let [denominator, numerator, crystal_hz, _] = leaf(0x15);
        let hz = u64::from(crystal_hz) * u64::from(numerator);
        (hz != 0).then(|| hz.checked_div(denominator.into())).flatten()
    }
}

#[cfg(all(target_arch = "aarch64", not(miri)))]
mod aarch64 {
    use core::arch::asm;

    #[inline(always)]
    pub fn now() -> u64 {
        let ticks: u64;
        // SAFETY: reads a counter that Linux lets every process read.
        unsafe { asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack)) };
        ticks
    }

    pub(crate) fn stated() -> Option<u64> {
        let hz: u64;
        // SAFETY: reads a register that Linux lets every process read.
        unsafe { asm!("mrs {}, cntfrq_el0", out(reg) hz, options(nomem, nostack)) };
        // The upper half is reserved. Firmware is to set the lower one, and some sets it to 0.
        Some(hz & 0xffff_ffff).filter(|&hz| hz != 0)
    }
}

/// Miri has no counter and no raw clock.
#[cfg(miri)]
mod interpreted {
    use std::sync::OnceLock;
    use std::time::Instant;

    pub fn now() -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }

    pub(crate) fn stated() -> Option<u64> {
        Some(1_000_000_000)
    }
}
