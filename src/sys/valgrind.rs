//! Tells Valgrind what the kernel has written through a ring, of which it knows nothing: without
//! that, everything that was received counts as unset.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Whether Valgrind runs this process.
static IS_HERE: AtomicBool = AtomicBool::new(false);

/// `VG_USERREQ__RUNNING_ON_VALGRIND`
const IS_RUNNING: u64 = 0x1001;
/// `VG_USERREQ__MAKE_MEM_DEFINED`, of memcheck; another tool takes no notice.
const IS_DEFINED: u64 = 0x4d43_0002;

/// Finds out; some nanoseconds.
pub fn look() {
    IS_HERE.store(request([IS_RUNNING, 0, 0, 0, 0, 0]) != 0, Relaxed);
}

/// As `look` has found.
#[inline(always)]
pub fn is_here() -> bool {
    IS_HERE.load(Relaxed)
}

/// These bytes have been written.
#[cold]
#[inline(never)]
pub fn defined(at: u64, bytes: usize) {
    request([IS_DEFINED, at, bytes as u64, 0, 0, 0]);
}

/// What `valgrind.h` calls a client request: instructions that do nothing, which Valgrind takes for
/// a call of its own. 0 without it.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn request(words: [u64; 6]) -> u64 {
    let answer;
    // SAFETY: the turns of rdi add up to 128 bits; the exchange is of a register with itself.
    // Valgrind reads `words`, and writes rdx.
    unsafe {
        core::arch::asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") words.as_ptr(),
            inout("rdx") 0u64 => answer,
            options(nostack),
        );
    }
    answer
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn request(_: [u64; 6]) -> u64 {
    0
}
