//! Hints to the CPU's caches. Any address will do: a hint does not fault.

#[inline(always)]
pub fn line(address: usize) {
    // Miri knows no prefetch.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch reads nothing the program can see, and does not fault.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(
            address as *const i8,
        )
    };
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{}]", in(reg) address,
            options(nostack, preserves_flags, readonly))
    };
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = address;
}

/// As `line`, of memory about to be written: takes the line from the other processors at once.
#[inline(always)]
pub(crate) fn line_to_write(address: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: as in `line`. A processor without PREFETCHW takes it for a no-op.
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) address,
            options(nostack, preserves_flags, readonly))
    };
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("prfm pstl1keep, [{}]", in(reg) address,
            options(nostack, preserves_flags, readonly))
    };
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = address;
}

/// Of elements in a row that one thread writes and another reads, the one at `next` is the next of
/// the caller's: asks for a line that it will come to, once a line, if the other thread is `far`
/// elements from there, so that it is taken from nobody who still uses it.
#[inline(always)]
pub(crate) fn ahead(next: usize, element_bytes: usize, writes: bool, far: impl FnOnce() -> usize) {
    const LINE: usize = 64;
    const AHEAD: usize = 2 * LINE;
    let is_first_of_line = next % LINE < element_bytes;
    if is_first_of_line && far().saturating_mul(element_bytes) > 2 * AHEAD {
        let line_ahead = next.wrapping_add(AHEAD);
        if writes {
            line_to_write(line_ahead);
        } else {
            line(line_ahead);
        }
    }
}
