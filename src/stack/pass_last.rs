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
//!
//! A task that waits has two words more there, and looks at what has become of the wait when it is
//! back:
//!
//! ```text
//!   | RIP within the caller  |
//!   | saved R15 to R12       |
//!   | object, switch         |
//!   | saved RBP, RBX         |
//!   | RIP within `has_waited`|  <- RSP kept in `sp`
//! ```

use core::arch::naked_asm;
use core::ptr::NonNull;

use super::switch::{Over, Switch};
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

/// As `pass_last`, of a task that waits: 0 and no error if its outcome is 0 when it is resumed,
/// else what `W` says of it and `object`.
///
/// # Safety
/// As `jump::pass`; the switch is that of a task, as `W` has it.
#[inline(always)]
pub unsafe fn wait_last<W: Over>(
    switch: NonNull<Switch>,
    next: &Switch,
    object: *const u8,
) -> RawResult {
    // SAFETY: the caller's.
    unsafe { wait_last_at::<W>(switch, next, object) }
}

/// RDI: the switch of the task that is left. RSI: of the one that is entered. RDX: the object.
#[unsafe(naked)]
unsafe extern "C" fn wait_last_at<W: Over>(
    switch: NonNull<Switch>,
    next: &Switch,
    object: *const u8,
) -> RawResult {
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
        "push rdx",
        ".cfi_adjust_cfa_offset 8",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rbp, -64",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rbx, -72",
        "lea rax, [rip + {has_waited} + 1]",
        "push rax",
        ".cfi_adjust_cfa_offset 8",
        "mov [rdi + {sp}], rsp",
        // The other task's stack, as a suspension left it: see `jump::pass_at`.
        "mov rsp, [rsi + {sp}]",
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
        has_waited = sym has_waited::<W>,
        sp = const Switch::SP_AT,
    )
}

/// As `goes_on`, of a task that has left by `wait_last_at`.
#[unsafe(naked)]
unsafe extern "C" fn has_waited<W: Over>() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_def_cfa rsp, 56",
        ".cfi_offset rip, -8",
        ".cfi_offset r15, -16",
        ".cfi_offset r14, -24",
        ".cfi_offset r13, -32",
        ".cfi_offset r12, -40",
        "nop",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        "pop rsi",
        ".cfi_adjust_cfa_offset -8",
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
        "cmp dword ptr [rdi - {outcome_below}], 0",
        "jne {over}",
        "xor eax, eax",
        "xor edx, edx",
        "ret",
        ".cfi_endproc",
        outcome_below = const W::OUTCOME_BELOW,
        over = sym W::over,
    )
}
