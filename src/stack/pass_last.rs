//! A switch as the last thing that a call does, whose frame is gone by then. A task that has left
//! so has its caller's registers above what every suspension leaves, and no frame of the function
//! that it has called; what `jump` says of unwinding holds here, too:
//!
//! ```text
//!   | RIP within the caller  |
//!   | saved R15 to R12       |
//!   | saved RBP, RBX         |
//!   | RIP within `goes_on`   |  <- RSP kept in `sp`
//! ```

use core::arch::naked_asm;

use crate::error::RawResult;

/// As `jump::pass`, as the last thing that a function does: so its caller's registers are saved
/// once, not by the function and again here, and it returns from here, 0 and no error. The link was
/// copied.
///
/// # Safety
/// As `jump::pass`.
#[inline(always)]
pub unsafe fn pass_last(sp: *mut usize, next_sp: *const usize) -> RawResult {
    // SAFETY: the caller's.
    unsafe { pass_last_at(sp, next_sp) }
}

/// RDI: where the RSP is kept. RSI: where that of the task is that is entered.
#[unsafe(naked)]
unsafe extern "C" fn pass_last_at(sp: *mut usize, next_sp: *const usize) -> RawResult {
    naked_asm!(
        ".cfi_startproc",
        "push r15",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset r15, -16",
        "push r14",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset r14, -24",
        "push r13",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset r13, -32",
        "push r12",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset r12, -40",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rbp, -48",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rbx, -56",
        "lea rax, [rip + {goes_on} + 1]",
        "push rax",
        ".cfi_adjust_cfa_offset 8",
        "mov [rdi], rsp",
        // The other task's stack, as a suspension left it: see `jump::pass_at`.
        "mov rsp, [rsi]",
        ".cfi_def_cfa rsp, 24",
        ".cfi_offset rip, -24",
        ".cfi_offset rbx, -16",
        ".cfi_offset rbp, -8",
        ".cfi_same_value r12",
        ".cfi_same_value r13",
        ".cfi_same_value r14",
        ".cfi_same_value r15",
        "pop rax",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_register rip, rax",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value rbx",
        "pop rbp",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value rbp",
        "jmp rax",
        ".cfi_endproc",
        goes_on = sym goes_on,
    )
}

/// Where a task goes on that has left by `pass_last_at`: behind the first instruction, as an
/// unwinder looks before the address that it finds.
#[unsafe(naked)]
unsafe extern "C" fn goes_on() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_def_cfa rsp, 40",
        ".cfi_offset rip, -8",
        ".cfi_offset r15, -16",
        ".cfi_offset r14, -24",
        ".cfi_offset r13, -32",
        ".cfi_offset r12, -40",
        "nop",
        "pop r12",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value r12",
        "pop r13",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value r13",
        "pop r14",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value r14",
        "pop r15",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value r15",
        "xor eax, eax",
        "xor edx, edx",
        "ret",
        ".cfi_endproc",
    )
}
