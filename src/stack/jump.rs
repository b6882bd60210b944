//! The switch in steady state, on x86-64: corosensei's frames, entered and left by jumps.
//!
//! corosensei pairs a `call` into the task with a `ret` out of it. A task that suspends inside a
//! called function, which every caller of the C API does, breaks that pair twice: the CPU's return
//! predictor meets `call resume, ret suspend-function` and `call suspend-function, ret resume`, and
//! both returns are mispredicted, some 7 ns each. With jumps, the predictor sees only the pairs that
//! are: one task's call of the suspending function, and the next task's return from it.
//!
//! The frames are corosensei's to the byte, so that its unwind information for the base of the stack
//! holds, for debuggers and for exceptions:
//!
//! ```text
//!   the executor's stack               the task's stack
//!   | ...         |                    | initial function |  <- stack base
//!   | saved RBX   |                    | parent link      |  <- `link`: holds the executor's RSP
//!   | saved RIP   |                    | frames           |     while the task runs
//!   | saved RBP   |  <- RSP kept in    | saved RBP        |
//!   |             |     the link       | saved RBX        |
//!                                      | saved RIP        |  <- RSP kept in `sp` while it waits
//! ```
//!
//! The first suspension after the stack was laid returns into corosensei's own `resume`, which wants
//! the task's RSP in RSI.

use core::arch::asm;

/// Runs the task whose saved RSP is `sp` until it leaves.
///
/// # Safety
/// `sp` was kept by [`leave`] on a stack whose parent link is `link`, and is used for the first time.
#[inline(always)]
pub unsafe fn enter(sp: usize, link: *mut usize) {
    // SAFETY: saves what the compiler does not know to be changed, RBX and RBP, and declares all
    // else that it relies on as clobbered; what is below RSP is the compiler's to keep free, as the
    // block may push.
    unsafe {
        asm!(
            "push rbx",
            "lea rax, [rip + 2f]",
            "push rax",
            "push rbp",
            "mov [rsi], rsp",
            "mov rsp, rdx",
            "pop rax",
            "pop rbx",
            "pop rbp",
            "jmp rax",
            "2:",
            // `leave` has popped RBP and the address above.
            "pop rbx",
            inout("rsi") link => _,
            inout("rdx") sp => _,
            lateout("r12") _, lateout("r13") _, lateout("r14") _, lateout("r15") _,
            clobber_abi("sysv64"),
        );
    }
}

/// Leaves the running task for who entered it; keeps its RSP in `sp`. Returns when it is entered.
///
/// # Safety
/// Called on the task's stack, whose parent link is `link`.
#[inline(always)]
pub unsafe fn leave(sp: *mut usize, link: *mut usize) {
    // SAFETY: as in `enter`.
    unsafe {
        asm!(
            "push rbp",
            "push rbx",
            "lea rax, [rip + 2f]",
            "push rax",
            "mov rsi, rsp",
            "mov [rcx], rsp",
            "mov rsp, [rdx]",
            "pop rbp",
            "pop rax",
            "jmp rax",
            "2:",
            // `enter` has popped all three. An unwinder takes the address of a suspension for that
            // of a signal's, so it must not be the block's end.
            "nop",
            inout("rcx") sp => _,
            inout("rdx") link => _,
            lateout("r12") _, lateout("r13") _, lateout("r14") _, lateout("r15") _,
            clobber_abi("sysv64"),
        );
    }
}
