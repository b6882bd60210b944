//! How often the processor's counter is read. Each read is a fault here, which is counted.
#![cfg(target_arch = "x86_64")]

#[path = "../support/mod.rs"]
mod support;

use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use monad_async::api::Handle;
use monad_async::error::RawResult;
use monad_async::task::header::TaskRef;
use support::child::alone;
use support::skip::skip;
use support::*;

static READS: AtomicUsize = AtomicUsize::new(0);
/// Where the kernel's own code is, which reads the counter for the time.
static KERNELS: AtomicUsize = AtomicUsize::new(0);

fn set_faults(faults: bool) -> bool {
    let how = if faults { libc::PR_TSC_SIGSEGV } else { libc::PR_TSC_ENABLE };
    // SAFETY: takes no pointer.
    unsafe { libc::prctl(libc::PR_SET_TSC, how, 0, 0, 0) == 0 }
}

/// Reads the counter for who was kept from it.
extern "C" fn on_fault(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel's context of a signal; RIP is at an instruction.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let at = registers[libc::REG_RIP as usize] as usize;
        let bytes = match *(at as *const [u8; 2]) {
            [0x0f, 0x31] => 2,
            [0x0f, 0x01] => 3, // RDTSCP
            _ => libc::abort(),
        };
        set_faults(false);
        let mut processor = 0;
        let now = core::arch::x86_64::__rdtscp(&mut processor);
        set_faults(true);
        registers[libc::REG_RAX as usize] = (now & u64::from(u32::MAX)) as i64;
        registers[libc::REG_RDX as usize] = (now >> 32) as i64;
        if bytes == 3 {
            registers[libc::REG_RCX as usize] = i64::from(processor);
        }
        registers[libc::REG_RIP as usize] += bytes;
        let kernels = KERNELS.load(Ordering::Relaxed);
        if !(kernels..kernels + (64 << 10)).contains(&at) {
            READS.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How often `run` reads it, `ROUNDS` times.
fn reads<T>(run: impl Fn() -> T) -> usize {
    // SAFETY: a handler of our own, which stays until the process ends.
    unsafe {
        KERNELS.store(libc::getauxval(libc::AT_SYSINFO_EHDR) as usize, Ordering::Relaxed);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        assert_eq!(libc::sigaction(libc::SIGSEGV, &action, ptr::null_mut()), 0);
    }
    READS.store(0, Ordering::Relaxed);
    assert!(set_faults(true));
    for _ in 0..ROUNDS {
        let _ = run();
    }
    set_faults(false);
    READS.load(Ordering::Relaxed)
}

const ROUNDS: usize = 100;

/// A task that is alone and waits, once a pass.
fn alone_it_waits(name: &str, waits: fn(TaskRef) -> RawResult) {
    let (ex, task) = (executor(64), new_task());
    set_body(task, move |task| {
        for _ in 0..4 * ROUNDS {
            let _ = waits(task);
        }
        RawResult::success(0)
    });
    ex.attach(task).unwrap();
    let _ = ex.run(usize::MAX, None); // The launch.
    let by_run = reads(|| ex.run(usize::MAX, None));
    let by_run_on = reads(|| ex.executor().run_on(None));
    println!("{name}: {by_run} reads, {by_run_on} where passes go on");
    assert!(by_run >= ROUNDS, "none was seen");
    // One more for each, it was; one less where a deadline has passed before it is waited for.
    assert!(by_run_on < by_run + ROUNDS / 2, "{name}: {by_run_on} reads, and {by_run}");
    while ex.has_work() {
        let _ = ex.run(usize::MAX, None);
    }
    destroy(ex, [task]);
}

/// A pass that goes on has room for another task behind the one that suspends: for that one the
/// suspension was stamped where its call begins, also if there was none, and by the loop again.
#[test]
fn who_is_alone_is_not_stamped_twice() {
    alone("who_is_alone_is_not_stamped_twice", || {
        if !set_faults(false) {
            return skip("PR_SET_TSC is refused");
        }
        alone_it_waits("a NOP", nop);
        alone_it_waits("a deadline", |task| {
            let at_ns = monad_async::sys::clock::boot_ns() + 1_000_000;
            Handle::<Real>::sleep_until(task, at_ns)
        });
    });
}
