//! What a stack overflow says before the process dies of it: one line that names the task.
//!
//! A SIGSEGV whose address lies in the guard of a task's stack, while that task's stack is in use,
//! is ours. The handler writes the line, restores the default action and returns: the instruction
//! faults again, and the core dump shows the frame that overflowed. Any other SIGSEGV goes where
//! it went before us, so that the handlers of the host program, of Rust's std (which names threads
//! that overflow) and of sanitizers keep working. Both kinds of guard raise SIGSEGV; SIGBUS is
//! left alone.
//!
//! The handler may touch: its arguments, atomics, `OnceLock`s that are set before it could need
//! them, memory that is never unmapped. It takes no lock, allocates nothing, and makes do with the
//! 8 KiB that a small alternate stack has.
//!
//! What lies where (`stack`) and what a task is (`task`) are known further up; both floors tell
//! through a hook.

use super::memory;
use super::thread_pointer::ThreadPointer;
use crate::error::{Errno, Res};
use core::mem::zeroed;
use core::ptr::{null, null_mut, NonNull};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use libc::{c_int, c_void, siginfo_t};
use std::sync::OnceLock;

/// The slot around an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hit {
    /// The task's header.
    pub header: *const u8,
    /// The guard reaches from here to `stack_limit`, the stack from there to `stack_base`.
    pub guard_start: usize,
    pub stack_limit: usize,
    pub stack_base: usize,
    /// What the user may count on of the stack.
    pub stack_bytes: usize,
}

/// Finds the slot that an address lies in. Called in a signal handler.
pub type Locate = fn(address: usize) -> Option<Hit>;

/// Says what the task with this header runs, as "user_code 0x.., user_ptr 0x.."; false if it does
/// not run, so that a wild pointer into its guard is not laid at its door. Called in a signal
/// handler; the header is readable, but may be that of a slot that no task has.
pub type Describe = fn(header: *const u8, line: &mut Line) -> bool;

static LOCATE: OnceLock<Locate> = OnceLock::new();
static DESCRIBE: OnceLock<Describe> = OnceLock::new();

/// By the stack pool, before it gives the first slot. The first call counts.
pub fn set_locate(locate: Locate) {
    let _ = LOCATE.set(locate);
}

/// By the task layer, before it makes the first task. The first call counts.
pub fn set_describe(describe: Describe) {
    let _ = DESCRIBE.set(describe);
}

/// The action that was there before ours. Set before ours is installed.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Readies this thread and the process: the thread gets an alternate signal stack if it has none,
/// until it exits; the process gets the handler, once. An executor calls it on its own thread.
/// ENOMEM: no memory for the alternate stack.
pub fn install() -> Res<()> {
    static INSTALLED: OnceLock<Res<()>> = OnceLock::new();
    give_alternate_stack()?;
    *INSTALLED.get_or_init(install_handler)
}

fn install_handler() -> Res<()> {
    // SAFETY: all zeros is a valid sigaction; sigaction reads and writes only those given, and
    // on_fault has the signature that SA_SIGINFO asks for.
    unsafe {
        let mut old: libc::sigaction = zeroed();
        if libc::sigaction(libc::SIGSEGV, null(), &mut old) != 0 {
            return Err(Errno::last());
        }
        let previous = PREVIOUS.get_or_init(|| old);
        // ONSTACK: the stack that overflowed has no room for the handler. The mask and NODEFER are
        // what the previous handler asked for, since it will run inside of ours.
        let mut ours: libc::sigaction = zeroed();
        ours.sa_sigaction = on_fault as *const () as usize;
        ours.sa_mask = previous.sa_mask;
        ours.sa_flags = libc::SA_SIGINFO
            | libc::SA_ONSTACK
            | previous.sa_flags & (libc::SA_NODEFER | libc::SA_RESTART);
        if libc::sigaction(libc::SIGSEGV, &ours, null_mut()) != 0 {
            return Err(Errno::last());
        }
    }
    Ok(())
}

/// Puts back the action that was there before ours, where ours is still the process's. One that was
/// installed since, and passes on to ours, keeps ours in place: nobody could tell it.
pub fn uninstall() {
    let Some(previous) = PREVIOUS.get() else { return };
    // SAFETY: all zeros is a valid sigaction; sigaction reads and writes only those given.
    unsafe {
        let mut now: libc::sigaction = zeroed();
        if libc::sigaction(libc::SIGSEGV, null(), &mut now) == 0
            && now.sa_sigaction == on_fault as *const () as usize
        {
            libc::sigaction(libc::SIGSEGV, previous, null_mut());
        }
    }
}

extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives both, valid for the handler's time. A positive code is a fault that
    // the processor raised on this thread; only then is there an address.
    let ours = unsafe {
        let fault = (*info).si_code > 0;
        fault && report((*info).si_addr() as usize, stack_pointer(context))
    };
    if ours {
        restore_default(signal);
    } else {
        chain(signal, info, context);
    }
}

/// Writes the line if the fault is a task's stack overflow.
fn report(address: usize, stack_pointer: usize) -> bool {
    let Some(hit) = LOCATE.get().and_then(|locate| locate(address)) else { return false };
    // In the guard, by code that runs on the stack above it. A large frame moves the stack pointer
    // first and touches its far end later, so the pointer may already be beyond the guard.
    let reach = hit.guard_start.saturating_sub(1 << 20)..hit.stack_base;
    if address >= hit.stack_limit || !reach.contains(&stack_pointer) {
        return false;
    }
    let mut line = Line::new();
    line.text("monad_async: task ").hex(hit.header as usize);
    if let Some(describe) = DESCRIBE.get() {
        line.text(" (");
        if !describe(hit.header, &mut line) {
            return false;
        }
        line.text(")");
    }
    line.text(" overflowed its stack of ").decimal(hit.stack_bytes);
    line.text(" bytes; give it more by monad_async_task_attr.stack_size\n");
    // SAFETY: the line's own bytes. One write, so that lines of several processes do not mix. What
    // could be done where it fails?
    unsafe { libc::write(2, line.bytes().as_ptr().cast(), line.bytes().len()) };
    true
}

/// Of the code that faulted.
///
/// # Safety
/// `context` is what the kernel gave a SA_SIGINFO handler.
unsafe fn stack_pointer(context: *mut c_void) -> usize {
    // SAFETY: by this function's contract.
    let machine = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    #[cfg(target_arch = "x86_64")]
    let pointer = machine.gregs[libc::REG_RSP as usize] as usize;
    #[cfg(target_arch = "aarch64")]
    let pointer = machine.sp as usize;
    pointer
}

/// Does what would have been done without us.
fn chain(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    static SPENT: AtomicBool = AtomicBool::new(false);
    // Set before the handler was installed.
    let Some(previous) = PREVIOUS.get() else { return restore_default(signal) };
    let once = previous.sa_flags & libc::SA_RESETHAND != 0;
    let action = match previous.sa_sigaction {
        action if once && action > libc::SIG_IGN && SPENT.swap(true, Relaxed) => libc::SIG_DFL,
        action => action,
    };
    // SAFETY: info is the kernel's, see on_fault. A previous handler is called the way its flags
    // say, with what the kernel gave us.
    unsafe {
        let fault = (*info).si_code > 0;
        match action {
            // The kernel would not let a fault be ignored either.
            libc::SIG_IGN if !fault => {}
            libc::SIG_DFL | libc::SIG_IGN => {
                restore_default(signal);
                if !fault {
                    // kill() does not happen again by itself. Delivered when the handler returns.
                    libc::raise(signal);
                }
            }
            action if previous.sa_flags & libc::SA_SIGINFO != 0 => {
                type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
                core::mem::transmute::<usize, Handler>(action)(signal, info, context);
            }
            action => core::mem::transmute::<usize, extern "C" fn(c_int)>(action)(signal),
        }
    }
}

fn restore_default(signal: c_int) {
    // SAFETY: all zeros is a valid sigaction: SIG_DFL, nothing masked.
    unsafe {
        let default: libc::sigaction = zeroed();
        libc::sigaction(signal, &default, null_mut());
    }
}

/// One line of text in a fixed buffer; what does not fit is cut off. ASYNC-SIGNAL-SAFE.
pub struct Line {
    bytes: [u8; 256],
    len: usize,
}

impl Line {
    const fn new() -> Self {
        Self { bytes: [0; 256], len: 0 }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub fn text(&mut self, text: &str) -> &mut Self {
        for &b in text.as_bytes() {
            if self.len < self.bytes.len() {
                self.bytes[self.len] = b;
                self.len += 1;
            }
        }
        self
    }

    /// With "0x", as `%p` prints it.
    pub fn hex(&mut self, value: usize) -> &mut Self {
        self.text("0x").digits(value, 16)
    }

    pub fn decimal(&mut self, value: usize) -> &mut Self {
        self.digits(value, 10)
    }

    fn digits(&mut self, mut value: usize, base: usize) -> &mut Self {
        let mut reversed = [0u8; 20];
        let mut n = 0;
        loop {
            reversed[n] = b"0123456789abcdef"[value % base];
            n += 1;
            value /= base;
            if value == 0 {
                break;
            }
        }
        for i in (0..n).rev() {
            self.text((reversed[i] as char).encode_utf8(&mut [0; 4]));
        }
        self
    }
}

/// The alternate signal stack that the thread got from us: where its mapping begins.
static ALTERNATE: ThreadPointer = ThreadPointer::new(take_alternate_stack);

/// The kernel's frame, and plenty for a handler further down the chain.
fn alternate_stack_bytes() -> usize {
    (memory::signal_frame_bytes() + (48 << 10)).next_multiple_of(memory::page_bytes())
}

fn current_alternate_stack() -> libc::stack_t {
    // SAFETY: all zeros is a valid stack_t; sigaltstack only writes it.
    unsafe {
        let mut current: libc::stack_t = zeroed();
        let r = libc::sigaltstack(null(), &mut current);
        debug_assert_eq!(r, 0);
        current
    }
}

fn give_alternate_stack() -> Res<()> {
    if current_alternate_stack().ss_flags & libc::SS_DISABLE == 0 {
        return Ok(());
    }
    // It may be there from an earlier call, and have been taken off by somebody since.
    let guard_bytes = memory::page_bytes();
    let at = match NonNull::new(ALTERNATE.get().cast::<u8>()) {
        Some(at) => at,
        None => {
            let at = memory::map(guard_bytes + alternate_stack_bytes())?;
            // SAFETY: as `take_alternate_stack` wants it.
            if let Err(e) = unsafe { ALTERNATE.set(at.as_ptr().cast()) } {
                // SAFETY: nobody else has its address.
                unsafe { memory::unmap(at, guard_bytes + alternate_stack_bytes()) };
                return Err(e);
            }
            at
        }
    };
    // SAFETY: the mapping is this thread's own and lives until the thread exits, which takes it off
    // first.
    unsafe {
        memory::guard(at, guard_bytes)?;
        let stack = libc::stack_t {
            ss_sp: at.add(guard_bytes).as_ptr().cast(),
            ss_flags: 0,
            ss_size: alternate_stack_bytes(),
        };
        match libc::sigaltstack(&stack, null_mut()) {
            0 => Ok(()),
            _ => Err(Errno::last()),
        }
    }
}

/// At the thread's exit. One that is given later still is taken too: pthreads looks several times.
///
/// # Safety
/// `at` is what the thread has set as `ALTERNATE`.
unsafe extern "C" fn take_alternate_stack(at: *mut c_void) {
    let Some(at) = NonNull::new(at.cast::<u8>()) else { return };
    let guard_bytes = memory::page_bytes();
    // SAFETY: the mapping is ours; the kernel no longer uses it once it is taken off, or if somebody
    // put another in its place. Nobody else has its address.
    unsafe {
        if current_alternate_stack().ss_sp == at.add(guard_bytes).as_ptr().cast() {
            let off = libc::stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
            if libc::sigaltstack(&off, null_mut()) != 0 {
                return; // A handler runs on it, and ends the thread from there.
            }
        }
        memory::unmap(at, guard_bytes + alternate_stack_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_off_rather_than_overrun() {
        let mut line = Line::new();
        line.text("a ").decimal(0).text(" ").decimal(usize::MAX).text(" ").hex(0xdead_beef);
        assert_eq!(line.bytes(), b"a 0 18446744073709551615 0xdeadbeef");
        for _ in 0..100 {
            line.text("monad");
        }
        assert_eq!(line.bytes().len(), 256);
    }
}
