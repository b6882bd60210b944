//! What a stack overflow says before the process dies of it: one line that names the task.
//!
//! A SIGSEGV is a task's overflow if the stack of the task that runs explains it, in one of three
//! ways:
//!
//! 1. Its address lies in the guard of the stack, and the code that faulted has its frame there.
//! 2. The frame is larger than the guard: it lies beyond it, and so does the address, in the guard
//!    of some stack further down.
//! 3. The kernel could not put a signal's frame on what is left of the stack. Then there is no
//!    address.
//!
//! The handler writes the line, restores the default action and returns: the instruction faults
//! again, or the signal is sent again, and the core dump shows the frame that overflowed. Any other
//! SIGSEGV goes where it went before us, so that the handlers of the host program, of Rust's std
//! (which names threads that overflow) and of sanitizers keep working. Both kinds of guard raise
//! SIGSEGV; SIGBUS is left alone.
//!
//! The handler may touch: its arguments, atomics, what is written before it is installed, memory
//! that is never unmapped. It takes no lock, allocates nothing, and makes do with the 8 KiB that a
//! small alternate stack has.
//!
//! What lies where (`stack`) and what a task is (`task`) are known further up; both floors tell
//! through a hook.

use super::fork::{ForkLock, Watch};
use super::{memory, signal_stack, thread};
use crate::error::{Errno, Res};
use core::cell::UnsafeCell;
use core::mem::{transmute, zeroed, MaybeUninit};
use core::ptr::{null, null_mut};
use core::sync::atomic::{
    AtomicBool, AtomicPtr,
    Ordering::{Acquire, Relaxed, Release},
};
use libc::{c_int, c_void, siginfo_t};

/// The slot around an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hit {
    /// The header of the task that runs on the stack, or last did.
    pub header: *const u8,
    /// The guard reaches from here to `stack_limit`, the stack from there to `stack_base`.
    pub guard_start: usize,
    pub stack_limit: usize,
    pub stack_base: usize,
    /// What the user may count on of the stack.
    pub stack_bytes: usize,
}

/// Finds slots. Called in a signal handler.
pub struct Locate {
    /// The slot that an address lies in, guard included.
    pub around: fn(address: usize) -> Option<Hit>,
    /// Whether a header that was ever given to anybody is at an address.
    pub is_header: fn(at: *const u8) -> bool,
}

/// Says what the task with this header runs, as "user_code 0x.., user_ptr 0x.."; false if it does
/// not run, so that a wild pointer into its guard is not laid at its door. Called in a signal
/// handler; the header is readable, but may be that of a slot that no task has. `here`: the task is
/// known to run on this thread, whatever its header says.
pub type Describe = fn(header: *const u8, here: bool, line: &mut Line) -> bool;

/// An address in the stack on which the task with this header runs, or last ran; called as
/// [`Describe`] is.
pub type StackOf = fn(header: *const u8) -> usize;

static LOCATE: AtomicPtr<Locate> = AtomicPtr::new(null_mut());
static DESCRIBE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static STACK_OF: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// By the stack pool, before it gives the first slot.
pub(crate) fn set_locate(locate: &'static Locate) {
    LOCATE.store(core::ptr::from_ref(locate).cast_mut(), Release);
}

/// By the task layer, before it makes the first task.
pub fn set_describe(describe: Describe) {
    DESCRIBE.store(describe as *mut c_void, Release);
}

/// As [`set_describe`].
pub fn set_stack_of(stack_of: StackOf) {
    STACK_OF.store(stack_of as *mut c_void, Release);
}

fn locate() -> Option<&'static Locate> {
    // SAFETY: null, or what `set_locate` was given.
    unsafe { LOCATE.load(Acquire).as_ref() }
}

fn describe() -> Option<Describe> {
    // SAFETY: null, or what `set_describe` was given; a function's address is not null.
    unsafe { transmute::<*mut c_void, Option<Describe>>(DESCRIBE.load(Acquire)) }
}

fn stack_of() -> Option<StackOf> {
    // SAFETY: as in `describe`.
    unsafe { transmute::<*mut c_void, Option<StackOf>>(STACK_OF.load(Acquire)) }
}

/// The action that was there before ours. Written once, before ours is installed.
struct Previous(UnsafeCell<MaybeUninit<libc::sigaction>>);

// SAFETY: written under the lock of INSTALLED, and read by a handler that is installed afterwards.
unsafe impl Sync for Previous {}

static PREVIOUS: Previous = Previous(UnsafeCell::new(MaybeUninit::uninit()));

/// Whether the handler is there.
static INSTALLED: ForkLock<bool> = ForkLock::new(false);

extern "C" fn before_fork() {
    INSTALLED.hold();
}

extern "C" fn after_fork() {
    INSTALLED.let_go(|_| {});
}

/// What [`install`] could not get, for want of memory or because of a sandbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    Memory,
    SignalStack(Errno),
    Handler(Errno),
}

impl Refused {
    pub fn errno(self) -> Errno {
        match self {
            Self::Memory => Errno(libc::ENOMEM),
            Self::SignalStack(errno) | Self::Handler(errno) => errno,
        }
    }

    pub fn sentence(self) -> &'static str {
        match self {
            Self::Memory => "no memory for the signal stack on which a stack overflow is reported",
            Self::SignalStack(_) => {
                "sigaltstack fails, which gives a thread the stack on which a stack overflow is \
                 reported: does a seccomp filter forbid it?"
            }
            Self::Handler(_) => {
                "rt_sigaction fails, which installs the handler of SIGSEGV that reports a stack \
                 overflow: does a seccomp filter forbid it?"
            }
        }
    }
}

/// Readies this thread and the process: the thread gets an alternate signal stack if it has none,
/// until it exits; the process gets the handler, once. An executor calls it on its own thread.
pub fn install() -> Result<(), Refused> {
    static WATCH: Watch = Watch::new();
    signal_stack::give().map_err(|errno| match errno.0 {
        libc::ENOMEM => Refused::Memory,
        _ => Refused::SignalStack(errno),
    })?;
    WATCH.ensure(before_fork, after_fork, after_fork);
    let mut installed = INSTALLED.lock();
    if !*installed {
        install_handler().map_err(Refused::Handler)?;
        *installed = true;
    }
    Ok(())
}

/// Under the lock of INSTALLED, until it succeeds.
fn install_handler() -> Res<()> {
    // SAFETY: all zeros is a valid sigaction; sigaction reads and writes only those given, and
    // on_fault has the signature that SA_SIGINFO asks for. Nobody reads PREVIOUS yet.
    unsafe {
        let mut previous: libc::sigaction = zeroed();
        if libc::sigaction(libc::SIGSEGV, null(), &mut previous) != 0 {
            return Err(Errno::last());
        }
        (*PREVIOUS.0.get()).write(previous);
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
pub(crate) fn uninstall() {
    if !*INSTALLED.lock() {
        return;
    }
    // SAFETY: all zeros is a valid sigaction; sigaction reads and writes only those given.
    // Installed, so PREVIOUS is written.
    unsafe {
        let mut now: libc::sigaction = zeroed();
        if libc::sigaction(libc::SIGSEGV, null(), &mut now) == 0
            && now.sa_sigaction == on_fault as *const () as usize
        {
            libc::sigaction(libc::SIGSEGV, (*PREVIOUS.0.get()).as_ptr(), null_mut());
        }
    }
}

extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives both, valid for the handler's time.
    let (code, address, stack_pointer) =
        unsafe { ((*info).si_code, (*info).si_addr() as usize, stack_pointer(context)) };
    let by_kernel = code == SI_KERNEL;
    // A positive code is a fault of this thread; only then is there an address.
    if code > 0 && report(&Fault { address, stack_pointer, by_kernel }) {
        die(signal, code);
    } else {
        chain(signal, info, context);
    }
}

/// `si_code` where the kernel could not deliver another signal, or where the processor says nothing
/// of an address.
const SI_KERNEL: c_int = 0x80;

struct Fault {
    address: usize,
    /// In the code that faulted.
    stack_pointer: usize,
    by_kernel: bool,
}

impl Hit {
    /// How far below the guard a frame is believed to be this stack's, if nothing else says so.
    const REACH: usize = 1 << 20;

    /// 1: in the guard, by code that runs on the stack above it. A large frame moves the stack
    /// pointer first and touches its far end later, so the pointer may already be beyond the guard.
    fn holds_in_its_guard(&self, fault: &Fault) -> bool {
        let reach = self.guard_start.saturating_sub(Self::REACH)..self.stack_base;
        (self.guard_start..self.stack_limit).contains(&fault.address)
            && reach.contains(&fault.stack_pointer)
    }

    /// 2: both the frame and the address that it touched are below the stack, the frame no higher
    /// than the address (give or take a red zone and the word that a call pushes), and the address
    /// among stacks or close by.
    fn has_a_frame_at(&self, fault: &Fault, locate: &Locate) -> bool {
        let close = self.guard_start.saturating_sub(Self::REACH);
        fault.stack_pointer < self.stack_limit
            && fault.address < self.stack_limit
            && fault.stack_pointer <= fault.address + 256
            && (fault.address >= close || (locate.around)(fault.address).is_some())
    }

    /// 3: with the stack pointer where it is, a signal's frame reaches into the guard.
    fn has_no_room_for_a_signal(&self, fault: &Fault) -> bool {
        let needed = memory::signal_frame_bytes() + 256;
        fault.by_kernel
            && (self.guard_start..self.stack_limit + needed).contains(&fault.stack_pointer)
    }
}

/// The stack of the task that runs on this thread.
fn of_running_task(locate: &Locate) -> Option<Hit> {
    let header = thread::running_task().cast();
    if !(locate.is_header)(header) {
        return None;
    }
    Some(Hit { header, ..(locate.around)(stack_of()?(header))? })
}

/// The stack that overflowed, if one did, and whether its task is known to run on this thread.
fn overflowed(fault: &Fault) -> Option<(Hit, bool)> {
    let locate = locate()?;
    if let Some(hit) = of_running_task(locate) {
        if hit.holds_in_its_guard(fault)
            || hit.has_a_frame_at(fault, locate)
            || hit.has_no_room_for_a_signal(fault)
        {
            return Some((hit, true));
        }
    }
    let at = if fault.by_kernel { fault.stack_pointer } else { fault.address };
    let hit = (locate.around)(at)?;
    let explained = hit.holds_in_its_guard(fault) || hit.has_no_room_for_a_signal(fault);
    explained.then_some((hit, false))
}

/// Writes the line if the fault is a task's stack overflow.
fn report(fault: &Fault) -> bool {
    let Some((hit, here)) = overflowed(fault) else { return false };
    let mut line = Line::new();
    line.text("monad_async: task ").hex(hit.header as usize);
    if let Some(describe) = describe() {
        line.text(" (");
        if !describe(hit.header, here, &mut line) {
            return false;
        }
        line.text(")");
    }
    line.text(" overflowed its stack of ").decimal(hit.stack_bytes);
    line.text(" bytes; give it more by stack_size of what it was made by: ");
    line.text("monad_async_task_attr, monad_async_pool_attr or executor_options\n");
    // SAFETY: the line's own bytes. One write, so that lines of several processes do not mix. What
    // could be done where it fails?
    unsafe { libc::write(2, line.bytes().as_ptr().cast(), line.bytes().len()) };
    true
}

/// The stack pointer of the code that faulted.
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
    // SAFETY: written before the handler was installed, and not since.
    let previous = unsafe { (*PREVIOUS.0.get()).assume_init_ref() };
    let once = previous.sa_flags & libc::SA_RESETHAND != 0;
    let action = match previous.sa_sigaction {
        action if once && action > libc::SIG_IGN && SPENT.swap(true, Relaxed) => libc::SIG_DFL,
        action => action,
    };
    // SAFETY: info is the kernel's, see on_fault. A previous handler is called the way its flags
    // say, with what the kernel gave us.
    unsafe {
        let code = (*info).si_code;
        match action {
            // The kernel would not let a fault be ignored either.
            libc::SIG_IGN if code <= 0 => {}
            libc::SIG_DFL | libc::SIG_IGN => die(signal, code),
            action if previous.sa_flags & libc::SA_SIGINFO != 0 => {
                type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
                core::mem::transmute::<usize, Handler>(action)(signal, info, context);
            }
            action => core::mem::transmute::<usize, extern "C" fn(c_int)>(action)(signal),
        }
    }
}

/// Ends the process by the default action, once the handler has returned.
fn die(signal: c_int, code: c_int) {
    // SAFETY: all zeros is a valid sigaction: SIG_DFL, nothing masked.
    unsafe {
        let default: libc::sigaction = zeroed();
        libc::sigaction(signal, &default, null_mut());
        if code <= 0 || code == SI_KERNEL {
            // Neither a kill() nor a signal that could not be delivered happens again by itself.
            libc::raise(signal);
        }
    }
}

/// One line of text in a fixed buffer; what does not fit is cut off, but its end.
/// ASYNC-SIGNAL-SAFE.
pub struct Line {
    bytes: [u8; Self::BYTES],
    len: usize,
}

impl Line {
    const BYTES: usize = 512;

    const fn new() -> Self {
        Self { bytes: [0; Self::BYTES], len: 0 }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub fn text(&mut self, text: &str) -> &mut Self {
        text.bytes().for_each(|b| self.push(b));
        self
    }

    /// A name that others gave, up to its zero: what would move a terminal's cursor is left out.
    pub(crate) fn name(&mut self, name: &[u8]) -> &mut Self {
        let bytes = name.iter().take_while(|&&b| b != 0);
        bytes.filter(|b| !b.is_ascii_control()).for_each(|&b| self.push(b));
        self
    }

    fn push(&mut self, byte: u8) {
        let room = Self::BYTES - usize::from(byte != b'\n');
        if self.len < room {
            self.bytes[self.len] = byte;
            self.len += 1;
        }
    }

    /// With "0x", as `%p` prints it.
    pub fn hex(&mut self, value: usize) -> &mut Self {
        self.text("0x").digits(value, 16)
    }

    pub(crate) fn decimal(&mut self, value: usize) -> &mut Self {
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
        line.text("\n");
        assert_eq!(line.bytes().len(), Line::BYTES);
        assert!(line.bytes().ends_with(b"\n"));
    }
}
