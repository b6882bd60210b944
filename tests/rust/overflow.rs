//! A task's stack overflow: the process dies by SIGSEGV, after one line that names the task; and
//! every other fault goes where it went without us. Each test dies in a child.

#[path = "../support/mod.rs"]
mod support;

use monad_async::error::RawResult;
use monad_async::stack::pool::{acquire, Slot};
use monad_async::stack::slab::{find, GUARD_BYTES};
use monad_async::sys::memory::{force_mprotect_guards, signal_frame_bytes};
use monad_async::sys::stack_overflow::{self, Hit};
use monad_async::task::header::TaskRef;
use std::collections::HashSet;
use support::child::{alone, child, dying, free, header, readable, touch, HEADER, SMALL};
use support::{executor, new_task, set_body};

struct OnSlot(usize, usize);

// SAFETY: a slot's stack has a guard below its limit, and far more than the least size.
unsafe impl corosensei::stack::Stack for OnSlot {
    fn base(&self) -> corosensei::stack::StackPointer {
        self.0.try_into().unwrap()
    }
    fn limit(&self) -> corosensei::stack::StackPointer {
        self.1.try_into().unwrap()
    }
}

fn overflow_it() {
    std::hint::black_box(recurse(0));
}

fn run_on(slot: &Slot, f: impl FnOnce()) {
    corosensei::on_stack(OnSlot(slot.stack_base, slot.stack_limit), f);
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 32]);
    if depth == u64::MAX {
        return 0;
    }
    recurse(depth + 1) + std::hint::black_box(frame)[3]
}

fn line_of(at: *const u8, names: &str, bytes: usize) -> String {
    format!(
        "monad_async: task {at:p}{names} overflowed its stack of {bytes} bytes; give it more by \
         stack_size of what it was made by: monad_async_task_attr, monad_async_pool_attr or \
         executor_options\n"
    )
}

/// On a slot with the handler installed, with what the line will say on stdout's side of stderr.
fn overflow_setup() -> Slot {
    stack_overflow::install().unwrap();
    stack_overflow::install().unwrap();
    let slot = acquire(SMALL, HEADER).unwrap();
    // A neighbour on either side: the right one is to be named.
    let _neighbours = (acquire(SMALL, HEADER).unwrap(), acquire(SMALL, HEADER).unwrap());
    eprint!("expected: {}", line_of(header(&slot), "", slot.stack_bytes()));
    slot
}

fn assert_named(outcome: Option<(i32, String)>) {
    let Some((signal, said)) = outcome else { return };
    assert_eq!(signal, libc::SIGSEGV, "{said}");
    let expected = said.lines().find_map(|l| l.strip_prefix("expected: ")).unwrap();
    assert_eq!(said.lines().filter(|&l| l == expected).count(), 1, "{said}");
    assert_eq!(said.matches("overflowed").count(), 2, "{said}");
}

/// Dies by SIGSEGV, and nothing is said of a task.
fn assert_unnamed(outcome: Option<(i32, String)>) {
    let Some((signal, said)) = outcome else { return };
    assert_eq!(signal, libc::SIGSEGV, "{said}");
    assert!(!said.lines().any(|l| l.starts_with("monad_async:")), "{said}");
}

#[test]
fn an_overflow_names_the_task_and_dies_by_sigsegv() {
    assert_named(dying("an_overflow_names_the_task_and_dies_by_sigsegv", || {
        let slot = overflow_setup();
        run_on(&slot, overflow_it);
    }));
}

#[test]
fn an_overflow_is_named_with_mprotect_guards_too() {
    assert_named(dying("an_overflow_is_named_with_mprotect_guards_too", || {
        force_mprotect_guards(true);
        let slot = overflow_setup();
        run_on(&slot, overflow_it);
    }));
}

/// A C frame steps over the pages in between.
#[test]
fn an_overflow_that_skips_pages_is_named() {
    assert_named(dying("an_overflow_that_skips_pages_is_named", || {
        let slot = overflow_setup();
        let at = slot.stack_limit - GUARD_BYTES + 8;
        // SAFETY: the guard, which is to bite.
        run_on(&slot, || unsafe { (at as *mut u8).write_volatile(1) });
    }));
}

/// A slot whose pages were dropped has still its guard.
#[test]
fn an_overflow_of_a_reused_stack_is_named() {
    assert_named(dying("an_overflow_of_a_reused_stack_is_named", || {
        let slots: Vec<_> = (0..3000).map(|_| acquire(SMALL, HEADER).unwrap()).collect();
        free(slots);
        let mut warm: Vec<_> = (0..1024).map(|_| acquire(SMALL, HEADER).unwrap()).collect();
        assert!(warm.iter().all(|s| !s.known_zero));
        let slot = overflow_setup();
        assert!(slot.known_zero && slot.generation == 3);
        warm.clear();
        run_on(&slot, overflow_it);
    }));
}

/// Runs `f` deep down, where less than `left` bytes of the stack are left.
#[inline(never)]
fn run_deep_down(limit: usize, left: usize, f: &dyn Fn()) {
    let frame = std::hint::black_box([0u8; 64]);
    if frame.as_ptr() as usize - limit < left {
        f();
    } else {
        run_deep_down(limit, left, f);
    }
    std::hint::black_box(frame);
}

extern "C" fn on_signal(_: i32) {}

/// A handler without SA_ONSTACK runs on the task's stack; here there is no room for what the kernel
/// puts there. It sends SIGSEGV without an address instead.
fn take_a_signal_deep_down(limit: usize) {
    // SAFETY: a handler with the right signature.
    unsafe { libc::signal(libc::SIGUSR1, on_signal as *const () as usize) };
    // Less than the least that a kernel puts there: the registers of SSE alone, and 700 bytes.
    run_deep_down(limit, 1000, &|| {
        // SAFETY: sends this thread a signal, by as little stack as can be.
        unsafe {
            let (process, thread) = (libc::getpid(), libc::syscall(libc::SYS_gettid));
            libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGUSR1);
        }
    });
}

#[test]
fn an_overflow_by_a_signals_frame_is_named() {
    assert_named(dying("an_overflow_by_a_signals_frame_is_named", || {
        let slot = overflow_setup();
        run_on(&slot, || take_a_signal_deep_down(slot.stack_limit));
    }));
}

/// A task of an executor: the names, and what it dies of.
fn assert_task_named(outcome: Option<(i32, String)>) {
    let Some((signal, said)) = outcome else { return };
    assert_eq!(signal, libc::SIGSEGV, "{said}");
    let expected = said.lines().find_map(|l| l.strip_prefix("expected: ")).unwrap();
    assert_eq!(
        said.matches(&format!("monad_async: task {expected} (user_code 0x")).count(),
        1,
        "{said}"
    );
    let called = ", called \"the [2Jsecond\") overflowed its stack of";
    assert_eq!(said.matches(called).count(), 1, "{said}");
}

/// Of three tasks, runs `body` in the second with the slot below the stack that it runs on, a
/// task's, and that stack's own. It is the executor's, or, where the task has suspended before, its
/// own.
fn in_a_task_that(suspends: bool, body: impl Fn(TaskRef, Hit, Hit) + 'static) {
    stack_overflow::install().unwrap();
    let ex = executor(8);
    let tasks = [new_task(), new_task(), new_task()];
    set_body(tasks[1], move |task| {
        if suspends {
            support::nop(task);
        }
        let own = find((&raw const task) as usize).unwrap();
        assert_eq!(own.header, task.addr() as *const u8);
        assert_eq!(task.stack_bounds(), (own.stack_limit, own.stack_base));
        body(task, find(own.guard_start - 1).unwrap(), own);
        RawResult::success(0)
    });
    // What clears a terminal is not written to one.
    // SAFETY: a string.
    unsafe { tasks[1].set_name(c"the \x1b[2Jsecond".as_ptr()) }.unwrap();
    eprintln!("expected: {:#x}", tasks[1].addr());
    ex.attach(tasks[1]).unwrap();
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
}

fn in_a_task(body: impl Fn(TaskRef, Hit, Hit) + 'static) {
    in_a_task_that(false, body);
}

#[test]
fn a_task_that_has_no_room_for_a_signal_is_named() {
    assert_task_named(dying("a_task_that_has_no_room_for_a_signal_is_named", || {
        in_a_task(|_, _, own| take_a_signal_deep_down(own.stack_limit));
    }));
}

#[test]
fn a_task_that_has_no_room_for_a_signal_after_a_suspension_is_named() {
    let name = "a_task_that_has_no_room_for_a_signal_after_a_suspension_is_named";
    assert_task_named(dying(name, || {
        in_a_task_that(true, |_, _, own| take_a_signal_deep_down(own.stack_limit));
    }));
}

/// Moves the stack pointer down to `at`, as the prologue of a large frame does without
/// -fstack-clash-protection, and calls a function from there.
#[cfg(target_arch = "x86_64")]
unsafe fn call_from(at: usize) {
    // SAFETY: the stack pointer is restored, if the call returns.
    unsafe {
        std::arch::asm!(
            "mov r12, rsp",
            "mov rsp, {at}",
            "call {f}",
            "mov rsp, r12",
            at = in(reg) at,
            f = sym nothing,
            out("r12") _,
            clobber_abi("sysv64"),
        );
    }
}

#[cfg(target_arch = "x86_64")]
extern "C" fn nothing() {}

/// A frame so large that it ends in the guard of the stack below: of a task that does not run.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_frame_that_ends_in_the_guard_of_a_neighbour_is_named() {
    assert_task_named(dying("a_frame_that_ends_in_the_guard_of_a_neighbour_is_named", || {
        // SAFETY: dies, which is the point.
        in_a_task(|_, below, _| unsafe { call_from(below.stack_limit - 64) });
    }));
}

/// What a task calls to suspend needs stack, too, and by then it does not count as running any
/// more.
#[test]
fn an_overflow_in_a_call_that_suspends_is_named() {
    assert_task_named(dying("an_overflow_in_a_call_that_suspends_is_named", || {
        in_a_task(|task, _, own| {
            for left in (0..3000).rev().step_by(16) {
                run_deep_down(own.stack_limit, left, &|| {
                    support::nop(task);
                });
            }
        });
    }));
}

/// The stack pointer is where it should be: not an overflow, whatever the address.
#[test]
fn a_wild_pointer_of_a_task_into_the_guard_of_a_neighbour_is_not_an_overflow() {
    assert_unnamed(dying(
        "a_wild_pointer_of_a_task_into_the_guard_of_a_neighbour_is_not_an_overflow",
        || {
            in_a_task(|_, below, _| {
                // SAFETY: dies, which is the point.
                unsafe { ((below.stack_limit - 64) as *mut u8).write_volatile(1) };
            });
        },
    ));
}

#[test]
fn the_hook_says_what_the_task_runs() {
    let outcome = dying("the_hook_says_what_the_task_runs", || {
        stack_overflow::set_describe(|header, _, line| {
            // SAFETY: a test's header: it holds one byte.
            let first = unsafe { header.read() };
            line.text("user_code ").hex(first as usize).text(", user_ptr ").hex(usize::MAX);
            true
        });
        let slot = overflow_setup();
        touch(&slot, 0xab);
        let names = " (user_code 0xab, user_ptr 0xffffffffffffffff)";
        eprint!("expected: {}", line_of(header(&slot), names, slot.stack_bytes()));
        run_on(&slot, overflow_it);
    });
    let Some((signal, said)) = outcome else { return };
    assert_eq!(signal, libc::SIGSEGV);
    let expected = said.lines().filter_map(|l| l.strip_prefix("expected: ")).nth(1).unwrap();
    assert!(said.lines().any(|l| l == expected), "{said}");
}

#[test]
fn a_task_that_does_not_run_is_not_named() {
    assert_unnamed(dying("a_task_that_does_not_run_is_not_named", || {
        stack_overflow::set_describe(|_, _, _| false);
        let slot = overflow_setup();
        run_on(&slot, overflow_it);
    }));
}

#[test]
fn a_null_pointer_is_not_an_overflow() {
    assert_unnamed(dying("a_null_pointer_is_not_an_overflow", || {
        let slot = overflow_setup();
        let null = std::hint::black_box(8usize) as *mut u8;
        // SAFETY: dies, which is the point.
        run_on(&slot, || unsafe { null.write_volatile(1) });
    }));
}

#[test]
fn a_wild_pointer_into_a_guard_is_not_an_overflow() {
    assert_unnamed(dying("a_wild_pointer_into_a_guard_is_not_an_overflow", || {
        let slot = overflow_setup();
        // SAFETY: dies, which is the point: from the thread's own stack.
        unsafe { ((slot.stack_limit - 8) as *mut u8).write_volatile(1) };
    }));
}

#[test]
fn a_signal_that_is_sent_kills() {
    assert_unnamed(dying("a_signal_that_is_sent_kills", || {
        // As in a C program, where std installed nothing.
        // SAFETY: restores the default action.
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
        let _slot = overflow_setup();
        // SAFETY: sends this thread a signal, as kill() would: no fault that happens again.
        unsafe { libc::raise(libc::SIGSEGV) };
    }));
}

/// std's handler was there first, and must go on naming threads.
#[test]
fn a_thread_that_overflows_is_still_named_by_std() {
    let outcome = dying("a_thread_that_overflows_is_still_named_by_std", || {
        let _slot = overflow_setup();
        let thread = std::thread::Builder::new().name("victim".into());
        let _ = thread.spawn(|| recurse(0)).unwrap().join();
    });
    let Some((signal, said)) = outcome else { return };
    assert_eq!(signal, libc::SIGABRT, "{said}");
    assert!(said.contains("'victim'") && said.contains("has overflowed its stack"), "{said}");
    assert!(!said.lines().any(|l| l.starts_with("monad_async:")), "{said}");
}

#[test]
fn the_handlers_of_the_program_still_run() {
    let outcome = child("the_handlers_of_the_program_still_run", || {
        extern "C" fn handler(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
            // SAFETY: the kernel's info; _exit ends the process at once.
            unsafe { libc::_exit(if (*info).si_addr() as usize == 8 { 77 } else { 78 }) };
        }
        // SAFETY: a handler with the signature that SA_SIGINFO asks for.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut()), 0);
        }
        let slot = overflow_setup();
        let null = std::hint::black_box(8usize) as *mut u8;
        // SAFETY: faults, which is the point.
        run_on(&slot, || unsafe { null.write_volatile(1) });
    });
    if let Some(output) = outcome {
        assert_eq!(output.status.code(), Some(77), "{output:?}");
    }
}

/// SA_RESETHAND and no SA_SIGINFO, and SIGSEGV by kill: handled once, then fatal.
#[test]
fn a_handler_for_one_time_runs_one_time() {
    let outcome = dying("a_handler_for_one_time_runs_one_time", || {
        extern "C" fn handler(_: i32) {
            // SAFETY: writes its own bytes.
            unsafe { libc::write(2, c"once\n".as_ptr().cast(), 5) };
        }
        // SAFETY: a handler with the signature of one without SA_SIGINFO.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_RESETHAND;
            assert_eq!(libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut()), 0);
        }
        let _slot = overflow_setup();
        // SAFETY: sends this thread a signal, twice.
        unsafe {
            libc::raise(libc::SIGSEGV);
            eprintln!("between");
            libc::raise(libc::SIGSEGV);
        }
    });
    let Some((signal, said)) = outcome else { return };
    assert_eq!(signal, libc::SIGSEGV);
    assert_eq!(
        (said.matches("once\n").count(), said.matches("between\n").count()),
        (1, 1),
        "{said}"
    );
}

fn alternate_stack() -> libc::stack_t {
    // SAFETY: all zeros is a valid stack_t; sigaltstack only writes it.
    unsafe {
        let mut stack = std::mem::zeroed();
        assert_eq!(libc::sigaltstack(std::ptr::null(), &mut stack), 0);
        stack
    }
}

#[test]
fn a_thread_without_an_alternate_stack_gets_one_until_it_exits() {
    alone("a_thread_without_an_alternate_stack_gets_one_until_it_exits", || {
        let kept = std::thread::spawn(|| {
            let before = alternate_stack().ss_sp as usize;
            stack_overflow::install().unwrap();
            (before, alternate_stack().ss_sp as usize)
        });
        let (before, after) = kept.join().unwrap();
        assert_eq!(before, after, "a thread that has one keeps it");

        let mut addresses = HashSet::new();
        for _ in 0..100 {
            let given = std::thread::spawn(|| {
                let off = libc::stack_t {
                    ss_sp: std::ptr::null_mut(),
                    ss_flags: libc::SS_DISABLE,
                    ss_size: 0,
                };
                // SAFETY: takes std's alternate stack off; nothing runs on it.
                assert_eq!(unsafe { libc::sigaltstack(&off, std::ptr::null_mut()) }, 0);
                stack_overflow::install().unwrap();
                let stack = alternate_stack();
                assert_eq!(stack.ss_flags & libc::SS_DISABLE, 0);
                assert!(stack.ss_size >= signal_frame_bytes() + (256 << 10));
                let low = stack.ss_sp as usize;
                assert!(readable(low) && !readable(low - 1));
                stack_overflow::install().unwrap();
                assert_eq!(alternate_stack().ss_sp, stack.ss_sp, "one a thread");
                stack.ss_sp as usize
            });
            addresses.insert(given.join().unwrap());
        }
        let left = addresses.iter().filter(|&&at| readable(at)).count();
        assert!(left < 10, "{left} alternate stacks were left behind");
    });
}
