//! The switch on x86-64: two stacks, entered and left by jumps.
//!
//! A switch that pairs a `call` into the task with a `ret` out of it is mispredicted twice for a
//! task that suspends inside a called function, as every caller of the C API does: the CPU's return
//! predictor meets `call resume, ret suspend-function` and `call suspend-function, ret resume`,
//! some 7 ns each. With jumps, the predictor sees only the pairs that are: one task's call of the
//! suspending function, and the next task's return from it.
//!
//! ```text
//!   the executor's stack               the task's stack
//!   | ...         |                    | within `base`      |  <- stack base
//!   | saved RBX   |                    | link               |  <- holds the executor's RSP
//!   | saved RIP   |                    | the body           |     while the task runs
//!   | saved RBP   |  <- RSP kept in    | what `base` calls  |
//!   |             |     the link       | frames             |
//!                                      | saved RBP          |
//!                                      | saved RBX          |
//!                                      | saved RIP          |  <- RSP kept in `sp` while it waits
//! ```
//!
//! The link and what lies there are laid out as frame records, so that a profiler that follows
//! frame pointers gets from the task to the executor.
//!
//! **Unwinding.** A signal may arrive at any instruction, and its handler may unwind: a sampling
//! profiler does. So each instruction's unwind information is exact, which an `asm!` block in the
//! middle of a function cannot have: where the frame of that function lies is the compiler's
//! secret. So the blocks only load a return address into RAX and jump to a function of this file,
//! whose frame begins where RSP points and is known from there. An unwinder that is in one of them
//! finds, before RSP changes stacks, the side that is left, and behind it the side that is entered.
//! [`base`] is the outermost frame: a backtrace of a task ends there. It does not go on into the
//! executor, as libunwind and gdb take a frame on another stack for corrupt unless it claims to be
//! a signal's, and then libunwind looks for the kernel's registers there, above the end of the
//! stack.
//!
//! tests/c/unwind_test.cpp unwinds at every instruction.

use core::arch::{asm, naked_asm};

/// Runs the task whose saved RSP is `sp` until it leaves.
///
/// # Safety
/// `sp` was kept by [`leave`] on a stack whose link is `link`, or is what [`lay`] returned for it,
/// and is used for the first time.
#[inline(always)]
pub unsafe fn enter(sp: usize, link: *mut usize) {
    // SAFETY: `enter_at` and then `leave_at` restore RSP, RBX and RBP; everything else that the
    // compiler relies on is declared as clobbered. What is below RSP is the compiler's to keep
    // free, as the block may push.
    unsafe {
        asm!(
            "lea rax, [rip + 2f]",
            "jmp {enter_at}",
            "2:",
            enter_at = sym enter_at,
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
/// Called on the task's stack, whose link is `link`.
#[inline(always)]
pub unsafe fn leave(sp: *mut usize, link: *mut usize) {
    // SAFETY: as in `enter`, with the two the other way round.
    unsafe {
        asm!(
            "lea rax, [rip + 2f]",
            "jmp {leave_at}",
            "2:",
            // A debugger takes the address of a suspension for that of the newest frame, so it must
            // not be the block's end.
            "nop",
            leave_at = sym leave_at,
            inout("rcx") sp => _,
            inout("rdx") link => _,
            lateout("r12") _, lateout("r13") _, lateout("r14") _, lateout("r15") _,
            clobber_abi("sysv64"),
        );
    }
}

/// Leaves the running task for another, which then runs as if who entered this one had entered it;
/// keeps the RSP in `sp`. Returns when it is entered.
///
/// # Safety
/// Called on the stack whose link is `link`; `next_sp` and `next_link` are as for [`enter`], and
/// may be those of the same task.
#[inline(always)]
pub unsafe fn pass(
    sp: *mut usize,
    link: *const usize,
    next_sp: *const usize,
    next_link: *mut usize,
) {
    // SAFETY: as in `leave`. The link of a task that runs holds the executor's RSP.
    unsafe {
        next_link.write(link.read());
        asm!(
            "lea rax, [rip + 2f]",
            "jmp {pass_at}",
            "2:",
            "nop",
            pass_at = sym pass_at,
            inout("rcx") sp => _,
            inout("rdx") next_sp => _,
            lateout("r12") _, lateout("r13") _, lateout("r14") _, lateout("r15") _,
            clobber_abi("sysv64"),
        );
    }
}

/// RAX: where the caller goes on. RDX: the task's saved RSP. RSI: the link.
#[unsafe(naked)]
unsafe extern "C" fn enter_at() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_def_cfa rsp, 0",
        ".cfi_register rip, rax",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rbx, -8",
        "push rax",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rip, -16",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rbp, -24",
        "mov [rsi], rsp",
        "mov rsp, rdx",
        // The task's stack, as `leave_at` left it.
        ".cfi_offset rip, -24",
        ".cfi_offset rbx, -16",
        ".cfi_offset rbp, -8",
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
    );
}

/// RAX: where the caller goes on. RCX: where its RSP is kept. RDX: the link.
#[unsafe(naked)]
unsafe extern "C" fn leave_at() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_def_cfa rsp, 0",
        ".cfi_register rip, rax",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rbp, -8",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rbx, -16",
        "push rax",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rip, -24",
        "mov [rcx], rsp",
        "mov rsp, [rdx]",
        // The executor's stack, as `enter_at` left it.
        ".cfi_offset rbp, -24",
        ".cfi_offset rip, -16",
        ".cfi_offset rbx, -8",
        "pop rbp",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value rbp",
        "pop rax",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_register rip, rax",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value rbx",
        "jmp rax",
        ".cfi_endproc",
    );
}

/// RAX: where the caller goes on. RCX: where its RSP is kept. RDX: where that of the task is that
/// is entered.
#[unsafe(naked)]
unsafe extern "C" fn pass_at() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_def_cfa rsp, 0",
        ".cfi_register rip, rax",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rbp, -8",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rbx, -16",
        "push rax",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rip, -24",
        "mov [rcx], rsp",
        // The other task's stack, as this function or `leave_at` left it: so the three are where
        // they were just put on this one.
        "mov rsp, [rdx]",
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
    );
}

/// The outermost function of every task. RBX: its argument; on top of the stack: what it calls.
#[unsafe(naked)]
unsafe extern "C" fn base() {
    naked_asm!(
        ".cfi_startproc",
        // Nobody called it.
        ".cfi_undefined rip",
        // It is entered behind this, at what an unwinder takes for the return address of a call.
        "nop",
        "mov rdi, rbx",
        "call [rsp]",
        "ud2",
        ".cfi_endproc",
    );
}

/// What a task that was never entered has on its stack, from the saved RSP up.
#[repr(C)]
struct Laid {
    rip: usize,
    rbx: *mut u8,
    rbp: *mut Top,
    /// 16-aligned, as a stack is where a function is called.
    call: extern "C" fn(*mut u8) -> !,
    _align: usize,
}

/// The hot end of the stack.
#[repr(C)]
struct Top {
    link: usize,
    /// The return address that belongs to `link` as a frame record.
    rip: usize,
}

/// Lays the first frame on a stack: entered for the first time, the task runs `call(body)`. Returns
/// the RSP to enter it with, and the link.
///
/// # Safety
/// The 1 KiB below `base_of_stack`, a multiple of 16, is writable memory that nobody else uses;
/// `Body` fits into half of it.
pub unsafe fn lay<Body>(
    base_of_stack: usize,
    body: Body,
    call: extern "C" fn(*mut u8) -> !,
) -> (usize, *mut usize) {
    debug_assert!(base_of_stack.is_multiple_of(16) && size_of::<Body>() <= 512);
    // SAFETY: below the base there is room for all three, by this function's contract.
    unsafe {
        let top = (base_of_stack as *mut Top).sub(1);
        let rip = base as *const () as usize + 1;
        top.write(Top { link: 0, rip });
        let place = top as usize - size_of::<Body>();
        let place = (place & !(align_of::<Body>().max(16) - 1)) as *mut Body;
        place.write(body);
        let laid = place.cast::<Laid>().byte_sub(size_of::<Laid>());
        laid.write(Laid { rip, rbx: place.cast(), rbp: top, call, _align: 0 });
        (laid as usize, &raw mut (*top).link)
    }
}
