//! A switch as the last thing that a launch does, which has ended, or that a call does, whose frame
//! is gone by then. A task that has left
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
//! A task that waits looks at what has become of the wait when it is back, within `has_waited`: in
//! its header, which it finds by RDX (see `jump`). One whose operation the kernel has does so
//! within `has_moved`, and keeps five words until then, for the case that the operation has failed:
//!
//! ```text
//!   | RIP within the caller  |
//!   | saved R15 to R12       |
//!   | four words             |
//!   | handles closed so far  |
//!   | saved RBP, RBX         |
//!   | RIP within `has_moved` |  <- RSP kept in `sp`
//! ```

use core::arch::{asm, naked_asm};
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::jump::{back_to_executor, pop, pop_rip, push, resume};
use super::switch::{Failed, Over, Switch};
use crate::error::RawResult;

/// Keeps four of the caller's registers.
macro_rules! keep {
    () => {
        concat!(
            push!("r15", -16),
            "\n",
            push!("r14", -24),
            "\n",
            push!("r13", -32),
            "\n",
            push!("r12", -40)
        )
    };
}

/// The frame of a task that has left, which begins `$cfa` above RSP, behind the first instruction
/// of the function that it goes on in: an unwinder looks before the address that it finds.
macro_rules! kept {
    ($cfa:literal) => {
        concat!(
            ".cfi_startproc\n.cfi_def_cfa rsp, ",
            $cfa,
            "\n.cfi_offset rip, -8\n",
            ".cfi_offset r15, -16\n.cfi_offset r14, -24\n",
            ".cfi_offset r13, -32\n.cfi_offset r12, -40\nnop"
        )
    };
}

/// What `keep` has kept is the caller's again.
macro_rules! give_back {
    () => {
        concat!(pop!("r12"), "\n", pop!("r13"), "\n", pop!("r14"), "\n", pop!("r15"))
    };
}

/// Resumes a task on its stack, as a suspension left it: see `jump::pass_at`.
macro_rules! resume_there {
    () => {
        concat!(
            ".cfi_def_cfa rsp, 24\n.cfi_offset rip, -24\n.cfi_offset rbx, -16\n",
            ".cfi_offset rbp, -8\n.cfi_same_value r12\n.cfi_same_value r13\n",
            ".cfi_same_value r14\n.cfi_same_value r15\n",
            resume!()
        )
    };
}

/// As `resume_there`, the executor on its own stack: see `jump::leave_at`.
macro_rules! back_there {
    () => {
        concat!(
            ".cfi_def_cfa rsp, 24\n.cfi_same_value r12\n.cfi_same_value r13\n",
            ".cfi_same_value r14\n.cfi_same_value r15\n",
            back_to_executor!()
        )
    };
}

/// As `jump::pass`, as the last thing that a function does: so its caller's registers are saved
/// once, not by the function and again here, and it returns from here, 0 and no error.
///
/// # Safety
/// As `jump::pass`.
#[inline(always)]
pub unsafe fn pass_last(sp: *mut usize, next_sp: *const usize) -> RawResult {
    // SAFETY: the caller's.
    unsafe { pass_last_at(sp, Any::uninit(), next_sp) }
}

/// What nobody looks at, whatever a register holds.
type Any = MaybeUninit<usize>;

/// RDI: where the RSP is kept. RDX: where that of the task is that is entered.
#[unsafe(naked)]
unsafe extern "C" fn pass_last_at(sp: *mut usize, _: Any, next_sp: *const usize) -> RawResult {
    naked_asm!(
        ".cfi_startproc",
        keep!(),
        push!("rbp", -48),
        push!("rbx", -56),
        "lea rax, [rip + {goes_on} + 1]",
        "push rax",
        ".cfi_adjust_cfa_offset 8",
        "mov [rdi], rsp",
        "mov rsp, [rdx]",
        resume_there!(),
        goes_on = sym goes_on,
    )
}

/// Where a task goes on that has left by `pass_last_at`: behind the first instruction, as an
/// unwinder looks before the address that it finds.
#[unsafe(naked)]
unsafe extern "C" fn goes_on() {
    naked_asm!(kept!(40), give_back!(), "xor eax, eax", "xor edx, edx", "ret", ".cfi_endproc",)
}

/// As `pass_last`, of a task that waits: 0 and no error if its outcome is 0 when it is resumed,
/// else what `W` says of it.
///
/// # Safety
/// As `jump::pass`, of two tasks of the kind that `W` is for; `in_next`: so far into the other.
#[inline(always)]
pub unsafe fn wait_last<W: Over, const AT: usize>(
    task: NonNull<u8>,
    in_next: NonNull<u8>,
) -> RawResult {
    // SAFETY: the caller's; computes an address. (At the end of a function as long as those that
    // end in this the optimiser takes two instructions for it.)
    unsafe {
        let next_sp: *const usize;
        asm!(
            "lea {0}, [{1} + {sp}]",
            out(reg) next_sp,
            in(reg) in_next.as_ptr(),
            sp = const W::SWITCH_AT + Switch::SP_AT - AT,
            options(nostack, preserves_flags),
        );
        wait_last_at::<W>(task, Any::uninit(), next_sp)
    }
}

/// RDI: the task that is left, as C's functions have it. RDX: where the RSP of the task is kept
/// that is entered.
#[unsafe(naked)]
unsafe extern "C" fn wait_last_at<W: Over>(
    task: NonNull<u8>,
    _: Any,
    next_sp: *const usize,
) -> RawResult {
    naked_asm!(
        ".cfi_startproc",
        keep!(),
        push!("rbp", -48),
        push!("rbx", -56),
        "lea rax, [rip + {has_waited} + 1]",
        "push rax",
        ".cfi_adjust_cfa_offset 8",
        "mov [rdi + {sp}], rsp",
        "mov rsp, [rdx]",
        resume_there!(),
        has_waited = sym has_waited::<W>,
        sp = const W::SWITCH_AT + Switch::SP_AT,
    )
}

/// As `goes_on`, of a task that has left by `wait_last_at`. RDX: where its RSP was kept.
#[unsafe(naked)]
unsafe extern "C" fn has_waited<W: Over>() {
    naked_asm!(
        kept!(40),
        give_back!(),
        "cmp dword ptr [rdx + {outcome}], 0",
        "jne 2f",
        "xor eax, eax",
        "xor edx, edx",
        "ret",
        "2:",
        "lea rdi, [rdx + {task}]",
        "mov rsi, [rdx + {object}]",
        "jmp {over}",
        ".cfi_endproc",
        outcome = const W::OUTCOME_AT as isize - (W::SWITCH_AT + Switch::SP_AT) as isize,
        task = const -((W::SWITCH_AT + Switch::SP_AT) as isize),
        object = const W::OBJECT_AT as isize - (W::SWITCH_AT + Switch::SP_AT) as isize,
        over = sym W::over,
    )
}

/// As `pass_last`, of a task whose operation is with the kernel: see `Switch::io_last`.
///
/// # Safety
/// As there.
#[inline(always)]
pub unsafe fn io_last<W: Failed, const COUNTED: bool>(
    task: NonNull<u8>,
    next_sp: *const usize,
    [a, b, c, d]: [u64; 4],
) -> RawResult {
    // SAFETY: the caller's.
    unsafe {
        match COUNTED {
            true => counted_last_at::<W>(task, a, b, c, d, next_sp),
            false => io_last_at::<W>(task, a, b, c, d, next_sp),
        }
    }
}

/// As `io_last`; leaves the task for who entered it, whose RSP is at `back`.
///
/// # Safety
/// As there, but for the other task.
#[inline(always)]
pub unsafe fn io_last_leave<W: Failed, const COUNTED: bool>(
    task: NonNull<u8>,
    back: *const usize,
    [a, b, c, d]: [u64; 4],
) -> RawResult {
    // SAFETY: the caller's.
    unsafe {
        match COUNTED {
            true => counted_leave_at::<W>(task, a, b, c, d, back),
            false => io_leave_at::<W>(task, a, b, c, d, back),
        }
    }
}

/// Keeps the words of an operation, and how many handles have been closed.
macro_rules! keep_words {
    () => {
        concat!(
            "push rsi\n.cfi_adjust_cfa_offset 8\npush rdx\n.cfi_adjust_cfa_offset 8\n",
            "push rcx\n.cfi_adjust_cfa_offset 8\npush r8\n.cfi_adjust_cfa_offset 8\n",
            "mov rax, [rdi + {executor}]\npush qword ptr [rax + {closings}]\n",
            ".cfi_adjust_cfa_offset 8"
        )
    };
}

/// The words that were kept are of no use: returns the outcome, in EAX.
macro_rules! moved {
    () => {
        concat!("add rsp, 40\n.cfi_adjust_cfa_offset -40\n", give_back!(), "\nxor edx, edx\nret")
    };
}

/// Calls `failed` in the place of the function that has waited, with what was kept.
macro_rules! failed {
    () => {
        concat!(
            "lea rdi, [rdx + {task}]\n",
            "pop rsi\n.cfi_adjust_cfa_offset -8\npop rdx\n.cfi_adjust_cfa_offset -8\n",
            "pop rcx\n.cfi_adjust_cfa_offset -8\npop r8\n.cfi_adjust_cfa_offset -8\n",
            "pop r9\n.cfi_adjust_cfa_offset -8\n",
            give_back!(),
            "\njmp {failed}\n.cfi_endproc"
        )
    };
}

/// The ends of a wait with words: `$leaves` by which a task leaves, or `$leaves_all`, for the
/// executor, and `$comes` at which it goes on. `$over`: what else is done where the outcome is not
/// below 0.
///
/// `$leaves`: RDI: the task that is left, as C's functions have it. R9: where the RSP of the task,
/// or of the executor, is kept that is entered. The rest: what is kept; of a read that is where it
/// was when that was called.
///
/// `$comes`: as `goes_on`. RDX: where its RSP was kept.
macro_rules! with_words {
    ($leaves:ident, $leaves_all:ident, $comes:ident, $over:literal) => {
        with_words!($leaves, $comes, resume_there);
        with_words!($leaves_all, $comes, back_there);

        #[unsafe(naked)]
        unsafe extern "C" fn $comes<W: Failed>() {
            naked_asm!(
                kept!(80),
                "mov eax, [rdx + {outcome}]",
                "test eax, eax",
                "js 2f",
                $over,
                ".cfi_remember_state",
                moved!(),
                // The assembler does not count back.
                ".cfi_restore_state\n.cfi_def_cfa_offset 80",
                "2:",
                failed!(),
                outcome = const W::OUTCOME_AT as isize - (W::SWITCH_AT + Switch::SP_AT) as isize,
                task = const -((W::SWITCH_AT + Switch::SP_AT) as isize),
                failed = sym W::failed,
            )
        }
    };
    ($leaves:ident, $comes:ident, $enters:ident) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $leaves<W: Failed>(
            task: NonNull<u8>,
            a: u64,
            b: u64,
            c: u64,
            d: u64,
            next_sp: *const usize,
        ) -> RawResult {
            naked_asm!(
                ".cfi_startproc",
                keep!(),
                keep_words!(),
                push!("rbp", -88),
                push!("rbx", -96),
                "lea rax, [rip + {comes} + 1]",
                "push rax",
                ".cfi_adjust_cfa_offset 8",
                "mov [rdi + {sp}], rsp",
                "mov rdx, r9",
                "mov rsp, [rdx]",
                $enters!(),
                comes = sym $comes::<W>,
                sp = const W::SWITCH_AT + Switch::SP_AT,
                executor = const W::EXECUTOR_AT,
                closings = const W::CLOSINGS_AT,
            )
        }
    };
}

with_words!(io_last_at, io_leave_at, has_moved, "");
// The last word is the address of a count.
with_words!(
    counted_last_at,
    counted_leave_at,
    has_moved_counted,
    "mov rcx, [rsp + 8]\ndec dword ptr [rcx]"
);

/// Leaves the running task, for good, for another, which then runs as if who entered this one had
/// entered it.
///
/// # Safety
/// Called on a task's stack; `next_sp` is as for `jump::pass`, of another stack.
#[inline(always)]
pub unsafe fn exit_to(next_sp: *const usize) -> ! {
    // SAFETY: as in `jump::pass`; of this side nothing is kept.
    unsafe {
        asm!(
            "lea rax, [rip + 2f]",
            "jmp {exit_to_at}",
            "2:",
            "ud2",
            exit_to_at = sym exit_to_at,
            in("rdx") next_sp,
            options(noreturn),
        );
    }
}

/// RAX: where the caller would go on. RDX: where the RSP of the task is kept that is entered.
#[unsafe(naked)]
unsafe extern "C" fn exit_to_at() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_def_cfa rsp, 0",
        ".cfi_register rip, rax",
        // The other task's stack, as a suspension left it: see `jump::pass_at`.
        "mov rsp, [rdx]",
        ".cfi_adjust_cfa_offset 24",
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
