//! The frames of a suspended task, in the process: an unwinder that starts on the executor's stack
//! is led to the task's by unwind information that says so. The task's stack is only read.

use super::switch::Switch;
use crate::error::Res;

/// Puts where the frames of the suspended task go on into `pcs`, newest first; how many. ENOTSUP
/// where the switch is not our own.
///
/// # Safety
/// The task of `switch` is suspended, or idle, and stays so; its stack ends at `base`.
#[cfg(all(target_arch = "x86_64", not(feature = "asan")))]
pub unsafe fn suspended(switch: &Switch, base: usize, pcs: &mut [usize]) -> Res<usize> {
    use crate::sys::unwind;

    struct Found<'a> {
        stack: core::ops::Range<usize>,
        pcs: &'a mut [usize],
        count: usize,
    }
    extern "C" fn collect(found: *mut u8) {
        // SAFETY: what `suspended` hands over.
        let found = unsafe { &mut *found.cast::<Found<'_>>() };
        unwind::frames(&mut |frame| {
            if !found.stack.contains(&frame.sp) {
                return found.count == 0; // Of ours, before the task's; or behind its last.
            }
            match found.pcs.get_mut(found.count) {
                Some(pc) => *pc = frame.pc,
                None => return false,
            }
            found.count += 1;
            true
        });
    }
    let mut found = Found { stack: switch.sp()..base + 1, pcs, count: 0 };
    // SAFETY: suspended, so the three registers are at `sp`; `collect` takes what is handed over.
    unsafe { called_from(switch.sp(), collect, (&raw mut found).cast()) };
    Ok(found.count)
}

/// # Safety
/// None: it does nothing.
#[cfg(not(all(target_arch = "x86_64", not(feature = "asan"))))]
pub unsafe fn suspended(_: &Switch, _: usize, _: &mut [usize]) -> Res<usize> {
    Err(crate::error::Errno(libc::ENOTSUP))
}

/// Calls `f(arg)`. Who unwinds from there finds the task that `jump::leave` suspended at `sp` as
/// the caller: what it saved there are the return address, RBX and RBP.
#[cfg(all(target_arch = "x86_64", not(feature = "asan")))]
#[unsafe(naked)]
unsafe extern "C" fn called_from(sp: usize, f: extern "C" fn(*mut u8), arg: *mut u8) {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rbx, -16",
        "mov rbx, rdi",
        ".cfi_def_cfa rbx, 24",
        ".cfi_offset rip, -24",
        ".cfi_offset rbx, -16",
        ".cfi_offset rbp, -8",
        "mov rdi, rdx",
        "call rsi",
        ".cfi_def_cfa rsp, 16",
        ".cfi_offset rip, -8",
        ".cfi_offset rbx, -16",
        ".cfi_same_value rbp",
        "pop rbx",
        ".cfi_def_cfa rsp, 8",
        ".cfi_same_value rbx",
        "ret",
        ".cfi_endproc",
    )
}
