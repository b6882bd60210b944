//! The switch on x86-64: two stacks, entered and left by jumps.
//!
//! A switch that pairs a `call` into the task with a `ret` out of it is mispredicted twice for a
//! task that suspends inside a called function, as every caller of the C API does: the CPU's return
//! predictor meets `call resume, ret suspend-function` and `call suspend-function, ret resume`,
//! some 7 ns each. With jumps, the predictor sees only the pairs that are: one task's call of the
//! suspending function, and the next task's return from it.
//!
//! ```text
//!   the executor's stack    the executor               the task's stack
//!   | ...       |           | RIP within `base` |        | the task           |  <- stack base
//!   | saved RBX |           | RSP               | <-.    | RIP within `base`  |
//!   | saved RIP |             `Back`                `----| link               |
//!   | saved RBP |  <- that RSP, while a task runs        | RIP within `base`  |
//!                                                        | frames             |
//!                                                        | saved RBP          |
//!                                                        | saved RBX          |
//!                                    RSP kept in `sp` -> | saved RIP          |
//!                                      while it waits
//! ```
//!
//! What is above the frames is laid once, but for the link and the task, which a launch writes. Who
//! is left for another task of its executor has nothing to tell it: a switch touches a stack only
//! where its frames end. (With the executor's RSP in the link it was copied from stack to stack:
//! four instructions, a store and a line more of each.) The link, what lies there, and `Back` are
//! laid out as frame records, so that a profiler that follows frame pointers gets from the task to
//! the executor.
//!
//! A launch and the end of a run are jumps, too. With a `call` and a `ret` here, a task that has
//! suspended has three returns to make, and not two: of as many entries as the predictor has, the
//! third is another task's (launch, one yield, finish: 1.14 of what it takes now).
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
use core::cell::Cell;
use core::mem::offset_of;

/// Jumps to `$at`, with the operands, and goes on behind `$behind`. A debugger takes the address of
/// a suspension for that of the newest frame, so it must not be the block's end: a `nop` is there.
macro_rules! jump {
    ($at:ident, $behind:literal, $($operands:tt)*) => {
        asm!(
            "lea rax, [rip + 2f]",
            "jmp {at}",
            $behind,
            at = sym $at,
            $($operands)*
            lateout("r12") _, lateout("r13") _, lateout("r14") _, lateout("r15") _,
            clobber_abi("sysv64"),
        )
    };
}

/// Pushes a register, which is the caller's `$of`, to that offset from where its frame begins.
macro_rules! push {
    ($register:literal, $offset:literal) => {
        push!($register, $register, $offset)
    };
    ($register:literal, $of:literal, $offset:literal) => {
        concat!("push ", $register, "\n.cfi_adjust_cfa_offset 8\n.cfi_offset ", $of, ", ", $offset)
    };
}

/// Pops a register, which is the caller's from then on.
macro_rules! pop {
    ($register:literal) => {
        concat!("pop ", $register, "\n.cfi_adjust_cfa_offset -8\n.cfi_same_value ", $register)
    };
}

/// Pops to where the caller goes on.
macro_rules! pop_rip {
    () => {
        "pop rax\n.cfi_adjust_cfa_offset -8\n.cfi_register rip, rax"
    };
}

/// The begin of each function that a block jumps to.
macro_rules! begin {
    () => {
        ".cfi_startproc\n.cfi_def_cfa rsp, 0\n.cfi_register rip, rax"
    };
}

/// What a task that is left keeps on its stack.
macro_rules! suspend {
    () => {
        concat!(push!("rbp", -8), "\n", push!("rbx", -16), "\n", push!("rax", "rip", -24))
    };
}

/// Enters a task whose stack is as `suspend` left it. By every way in, it finds in RDX where its
/// RSP was kept.
macro_rules! resume {
    () => {
        concat!(pop_rip!(), "\n", pop!("rbx"), "\n", pop!("rbp"), "\njmp rax\n.cfi_endproc")
    };
}

/// What the executor keeps on its stack. RCX: where its RSP is kept.
macro_rules! wait_for_task {
    () => {
        concat!(
            push!("rbx", -8),
            "\n",
            push!("rax", "rip", -16),
            "\n",
            push!("rbp", -24),
            "\nmov [rcx], rsp"
        )
    };
}

/// Goes on where the executor waits, whose stack is as `wait_for_task` left it.
macro_rules! back_to_executor {
    () => {
        concat!(
            ".cfi_offset rbp, -24\n.cfi_offset rip, -16\n.cfi_offset rbx, -8\n",
            pop!("rbp"),
            "\n",
            pop_rip!(),
            "\n",
            pop!("rbx"),
            "\njmp rax\n.cfi_endproc"
        )
    };
}

/// Calls RDX as if `base` had called it, on the stack whose link is at RSI.
macro_rules! call_from_base {
    () => {
        concat!(
            "lea rsp, [rsi - 8]\n.cfi_def_cfa rsp, 8\n.cfi_offset rip, -8\n",
            ".cfi_same_value rbx\n.cfi_same_value rbp\nmov rbp, rsi\njmp rdx\n.cfi_endproc"
        )
    };
}

pub(super) use {back_to_executor, pop, pop_rip, push, resume};

/// Runs the task whose saved RSP is at `sp` until it leaves.
///
/// # Safety
/// It was kept by [`leave`] on a stack whose link leads to `back`, of the executor that calls.
#[inline(always)]
pub unsafe fn enter(sp: *const usize, back: &Back) {
    // SAFETY: `enter_at` and then `leave_at` restore RSP, RBX and RBP; everything else that the
    // compiler relies on is declared as clobbered. What is below RSP is the compiler's to keep
    // free, as the block may push.
    unsafe {
        jump!(
            enter_at, "2:",
            inout("rcx") back.sp.as_ptr() => _,
            inout("rdx") sp => _,
        );
    }
}

/// Runs `call(arg)` on a stack until it leaves.
///
/// # Safety
/// The stack was laid, `link` is its link, and nothing runs on it; `back` is of the executor that
/// calls, and stays where it is.
#[inline(always)]
pub unsafe fn launch(link: *mut usize, call: Call, arg: *mut u8, back: &Back) {
    // SAFETY: as in `enter`; the stack begins below what was laid.
    unsafe {
        link.write(back.sp.as_ptr() as usize);
        jump!(
            launch_at, "2:",
            inout("rcx") back.sp.as_ptr() => _,
            inout("rsi") link => _,
            inout("rdx") call => _,
            inout("rdi") arg => _,
        );
    }
}

/// Leaves the running task for who entered it; keeps its RSP in `sp`. Returns when it is entered.
///
/// # Safety
/// Called on the task's stack, whose link is `link`.
#[inline(always)]
pub unsafe fn leave(sp: *mut usize, link: *const usize) {
    // SAFETY: as in `enter`, with the two the other way round.
    unsafe {
        jump!(
            leave_at, "2: nop",
            inout("rcx") sp => _,
            inout("rdx") link.read() => _,
        );
    }
}

/// Leaves the running task for who entered it, for good.
///
/// # Safety
/// Called on the task's stack, whose link is `link`.
#[inline(always)]
pub unsafe fn exit(link: *const usize) -> ! {
    // SAFETY: who entered the task finds its registers restored; of this side nothing is kept.
    unsafe {
        asm!(
            "lea rax, [rip + 2f]",
            "jmp {exit_at}",
            "2:",
            "ud2",
            exit_at = sym exit_at,
            in("rdx") link.read(),
            options(noreturn),
        );
    }
}

/// Leaves the running task for another, which then runs as if who entered this one had entered it;
/// keeps the RSP in `sp`. Returns when it is entered.
///
/// # Safety
/// Called on the task's stack; `next_sp` is as for [`enter`], of a task of the same executor, and
/// may be that of the same task.
#[inline(always)]
pub unsafe fn pass(sp: *mut usize, next_sp: *const usize) {
    // SAFETY: as in `leave`.
    unsafe {
        jump!(
            pass_at, "2: nop",
            inout("rcx") sp => _,
            inout("rdx") next_sp => _,
        );
    }
}

/// Leaves the running task for `call(arg)`, which then runs as if who entered this one had launched
/// it; keeps the RSP in `sp`. Returns when it is entered.
///
/// # Safety
/// Called on the stack whose link is `link`; `next_link`, `call` and `arg` are as for [`launch`].
#[inline(always)]
pub unsafe fn pass_to_launch(
    sp: *mut usize,
    link: *const usize,
    next_link: *mut usize,
    call: Call,
    arg: *mut u8,
) {
    // SAFETY: as in `pass` and `launch`.
    unsafe {
        next_link.write(link.read());
        jump!(
            pass_to_launch_at, "2: nop",
            inout("rcx") sp => _,
            inout("rsi") next_link => _,
            inout("rdx") call => _,
            inout("rdi") arg => _,
        );
    }
}

/// RAX: where the caller goes on. RCX: where its RSP is kept. RSI: the link. RDX, RDI: what is
/// called, with what.
#[unsafe(naked)]
unsafe extern "C" fn launch_at() {
    naked_asm!(begin!(), wait_for_task!(), call_from_base!());
}

/// RAX: where the caller goes on. RCX: where its RSP is kept. The rest as for `launch_at`.
#[unsafe(naked)]
unsafe extern "C" fn pass_to_launch_at() {
    naked_asm!(begin!(), suspend!(), "mov [rcx], rsp", call_from_base!());
}

/// RAX: where the caller goes on. RCX: where its RSP is kept. RDX: where the task's is.
#[unsafe(naked)]
unsafe extern "C" fn enter_at() {
    naked_asm!(
        begin!(),
        wait_for_task!(),
        "mov rsp, [rdx]",
        // The task's stack, as `leave_at` left it.
        ".cfi_offset rip, -24",
        ".cfi_offset rbx, -16",
        ".cfi_offset rbp, -8",
        resume!(),
    );
}

/// RAX: where the caller goes on. RCX: where its RSP is kept. RDX: where the executor's is.
#[unsafe(naked)]
unsafe extern "C" fn leave_at() {
    naked_asm!(begin!(), suspend!(), "mov [rcx], rsp", "mov rsp, [rdx]", back_to_executor!());
}

/// RAX: where the caller would go on. RDX: where the executor's RSP is kept.
#[unsafe(naked)]
unsafe extern "C" fn exit_at() {
    naked_asm!(begin!(), "mov rsp, [rdx]", ".cfi_adjust_cfa_offset 24", back_to_executor!());
}

/// RAX: where the caller goes on. RCX: where its RSP is kept. RDX: where that of the task is that
/// is entered.
#[unsafe(naked)]
unsafe extern "C" fn pass_at() {
    naked_asm!(
        begin!(),
        suspend!(),
        "mov [rcx], rsp",
        // The other task's stack, as this function or `leave_at` left it: so the three are where
        // they were just put on this one.
        "mov rsp, [rdx]",
        resume!(),
    );
}

/// The outermost function of every task, as far as one that unwinds can see. Nobody comes here.
#[unsafe(naked)]
unsafe extern "C" fn base() {
    naked_asm!(
        ".cfi_startproc",
        // Nobody called it.
        ".cfi_undefined rip",
        // What it calls returns behind this, or so it seems.
        "nop",
        "ud2",
        ".cfi_endproc",
    );
}

/// Where an executor keeps its RSP while a task runs; a frame record, behind that of a stack.
#[repr(C)]
pub struct Back {
    sp: Cell<usize>,
    rip: usize,
}

impl Back {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self { sp: Cell::new(0), rip: within_base() }
    }

    /// Where the executor's RSP is kept.
    #[inline(always)]
    pub(super) fn sp(&self) -> *const usize {
        self.sp.as_ptr()
    }
}

fn within_base() -> usize {
    base as *const () as usize + 1
}

/// What runs on a stack at a launch; it leaves by [`exit`].
pub type Call = extern "C" fn(*mut u8) -> !;

/// The hot end of the stack: in one line.
#[repr(C, align(16))]
struct Top {
    _align: usize,
    /// The return address of what runs there: 8 above a multiple of 16, as where a function is
    /// called.
    ret: usize,
    link: usize,
    /// The return address that belongs to `link` as a frame record.
    rip: usize,
    /// What the launch was given.
    arg: *mut u8,
    #[cfg(not(feature = "tsan"))]
    _align_too: usize,
    #[cfg(feature = "tsan")]
    told: crate::sys::tsan::Told,
}

pub const LINK_BELOW_BASE: usize = size_of::<Top>() - offset_of!(Top, link);

const _: () = assert!(size_of::<Top>() == 48 || cfg!(feature = "tsan"));
const _: () = assert!(offset_of!(Top, ret) == 8);

fn top(link: *mut usize) -> *mut Top {
    link.wrapping_byte_sub(offset_of!(Top, link)).cast()
}

/// Lays the end of a stack.
///
/// # Safety
/// The link of a stack of the pool's that is the caller's, and on which nothing runs.
pub unsafe fn lay(link: *mut usize) {
    let rip = within_base();
    // SAFETY: by this function's contract; a stack begins at a multiple of 128.
    unsafe {
        (*top(link)).ret = rip;
        (*top(link)).rip = rip;
    }
}

/// Notes what the next launch is given, for [`launched_at`].
///
/// # Safety
/// As [`lay`].
#[inline(always)]
pub unsafe fn note(link: *mut usize, arg: *mut u8) {
    // SAFETY: by this function's contract.
    unsafe { (*top(link)).arg = arg };
}

/// What the last launch on a stack was given; any word, without one.
///
/// # Safety
/// The end of the stack is memory.
pub unsafe fn launched_at(link: *mut usize) -> *mut u8 {
    // SAFETY: the caller's.
    unsafe { (*top(link)).arg }
}

/// What ThreadSanitizer is told of what runs on a stack.
///
/// # Safety
/// The link of a stack that lives, and that this thread runs tasks on.
#[cfg(feature = "tsan")]
pub unsafe fn told<'a>(link: *mut usize) -> &'a crate::sys::tsan::Told {
    // SAFETY: the caller's. Any words will do.
    unsafe { &(*top(link)).told }
}
