//! Which thread is this, in a load; and what a fork does to those who ask.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr;

use super::fork::{ForkLock, Watch};
use crate::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Reads a word of the calling thread's that cpp/current.cpp declares: thread-local variables that
/// stable Rust cannot declare so that they are found in one load.
macro_rules! own_word {
    ($name:literal, $slot:expr) => {{
        #[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
        {
            extern "C" {
                /// Only its name is used.
                #[link_name = $name]
                static WORD: u64;
            }
            let word: u64;
            // SAFETY: reads a variable of the thread.
            #[cfg(target_arch = "x86_64")]
            unsafe {
                core::arch::asm!(
                    "mov {it}, qword ptr [rip + {name}@GOTTPOFF]",
                    "mov {it}, qword ptr fs:[{it}]",
                    name = sym WORD,
                    it = out(reg) word,
                    options(nostack, preserves_flags, readonly, pure),
                )
            };
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            unsafe {
                core::arch::asm!(
                    "adrp {it}, :gottprel:{name}",
                    "ldr {it}, [{it}, :gottprel_lo12:{name}]",
                    "mrs {tp}, tpidr_el0",
                    "ldr {it}, [{tp}, {it}]",
                    name = sym WORD,
                    it = out(reg) word,
                    tp = out(reg) _,
                    options(nostack, preserves_flags, readonly, pure),
                )
            };
            word
        }
        #[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
        // SAFETY: a variable of the thread.
        unsafe {
            *$slot
        }
    }};
}

/// The calling thread's number; 0: it has none yet. No other thread of the process gets it, before
/// or after: a thread pointer, say, is soon the next thread's.
#[inline(always)]
pub fn number() -> u64 {
    own_word!("monad_async_thread", number_slot())
}

/// What the kernel calls this process and this thread.
pub fn ids() -> (u64, u64) {
    // SAFETY: take no pointer.
    unsafe { (libc::getpid() as u64, libc::syscall(libc::SYS_gettid) as u64) }
}

/// The calling thread's number, given to it if it had none.
pub fn own_number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let slot = number_slot();
    // SAFETY: a variable of the thread.
    unsafe {
        if *slot == 0 {
            *slot = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        }
        *slot
    }
}

fn number_slot() -> *mut u64 {
    #[cfg(not(miri))]
    // SAFETY: no preconditions.
    unsafe {
        monad_async_thread_slot()
    }
    #[cfg(miri)]
    {
        std::thread_local!(static NUMBER: Cell<u64> = const { Cell::new(0) });
        NUMBER.with(Cell::as_ptr)
    }
}

/// What debuggers know a thread by; a later thread may have the same.
fn pointer() -> usize {
    // SAFETY: no preconditions. In the C libraries of Linux it is the thread pointer.
    unsafe { libc::pthread_self() as usize }
}

/// Not a thread's number, nor that of one that has none.
const NOBODY: u64 = u64::MAX;

/// A thread's number, for those that look from outside: 0 is no owner.
#[derive(Debug)]
pub struct OwnerNumber(AtomicU64);

impl OwnerNumber {
    pub const fn nobody() -> Self {
        Self(AtomicU64::new(NOBODY))
    }

    /// From here on the calling thread. EXPENSIVE the first time.
    pub(crate) fn set_here(&self) {
        self.0.store(own_number(), Ordering::Relaxed);
    }

    pub(crate) fn set_nobody(&self) {
        self.0.store(NOBODY, Ordering::Relaxed);
    }

    /// Whether it is the calling thread. A thread without a number owns nothing: 0 is never stored.
    #[inline(always)]
    pub fn is_here(&self) -> bool {
        // Relaxed: its own store a thread sees, and what others store is not its number.
        self.0.load(Ordering::Relaxed) == number()
    }

    fn is_nobody(&self) -> bool {
        self.0.load(Ordering::Relaxed) == NOBODY
    }
}

/// The thread that what it is part of belongs to. In the child of a fork that is nobody: what
/// belongs to the parent's threads, a ring above all, is the parent's. So the child's copies say
/// so, each of them, and a caller that asks need not ask about forks as well.
#[repr(C)]
pub struct Owner {
    number: OwnerNumber,
    /// For debuggers, its thread pointer; 0: nobody.
    pointer: AtomicUsize,
    next: Cell<*const Owner>,
    prev: Cell<*const Owner>,
}

/// The first of the list of all that belong to somebody.
struct First(*const Owner);

// SAFETY: the list is touched under its lock, and its entries are unlinked before they go.
unsafe impl Send for First {}

static OWNERS: ForkLock<First> = ForkLock::new(First(ptr::null()));

extern "C" fn before_fork() {
    OWNERS.hold();
}

extern "C" fn in_parent() {
    OWNERS.let_go(|_| {});
}

/// How many processes there are in the line from the first one that had an owner to this one, by
/// forks; not 0.
static FORKS: Line = Line(AtomicU32::new(1));

/// Of its own: each close of a latch reads it.
#[repr(align(64))]
struct Line(AtomicU32);

/// Differs between a process and its children, if it has an [`Owner`]. Never 0.
#[inline(always)]
pub fn forks() -> u32 {
    FORKS.0.load(Ordering::Relaxed)
}

extern "C" fn in_child() {
    FORKS.0.fetch_add(1, Ordering::Relaxed);
    OWNERS.let_go(|first| {
        let mut next = first.0;
        // SAFETY: entries of the list are valid.
        while let Some(owner) = unsafe { next.as_ref() } {
            owner.number.set_nobody();
            owner.pointer.store(0, Ordering::Relaxed);
            next = owner.next.get();
        }
    });
    // If a task forked, it is on a copy of its stack, and the executor is not the child's. Nor is
    // anything else that has the number of the thread that forked.
    // SAFETY: variables of the one thread that the child has.
    unsafe {
        *running_executor() = nobody();
        *number_slot() = 0;
    }
}

impl Owner {
    pub(crate) const POINTER_AT: usize = core::mem::offset_of!(Owner, pointer);

    /// Nobody, yet.
    pub const fn nobody() -> Self {
        Self {
            number: OwnerNumber::nobody(),
            pointer: AtomicUsize::new(0),
            next: Cell::new(ptr::null()),
            prev: Cell::new(ptr::null()),
        }
    }

    /// From here on the calling thread. EXPENSIVE.
    ///
    /// # Safety
    /// Once; it stays where it is until it is dropped.
    pub(crate) unsafe fn adopt(&self) {
        static WATCH: Watch = Watch::new();
        WATCH.ensure(before_fork, in_parent, in_child);
        let mut first = OWNERS.lock();
        self.number.set_here();
        self.pointer.store(pointer(), Ordering::Relaxed);
        self.next.set(first.0);
        // SAFETY: entries of the list are valid.
        if let Some(next) = unsafe { first.0.as_ref() } {
            next.prev.set(self);
        }
        first.0 = self;
    }

    /// Whether it is the calling thread.
    #[inline(always)]
    pub fn is_here(&self) -> bool {
        self.number.is_here()
    }

    /// Whether it is a thread of this process at all.
    pub(crate) fn is_in_this_process(&self) -> bool {
        !self.number.is_nobody()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let mut first = OWNERS.lock();
        let (next, prev) = (self.next.get(), self.prev.get());
        // SAFETY: entries of the list are valid; one that is in none has no neighbours.
        unsafe {
            if let Some(next) = next.as_ref() {
                next.prev.set(prev);
            }
            match prev.as_ref() {
                Some(prev) => prev.next.set(next),
                None if ptr::eq(first.0, self) => first.0 = next,
                None => {}
            }
        }
    }
}

extern "C" {
    /// cpp/current.cpp, and of the C API.
    fn monad_async_task_current() -> *const c_void;
    /// cpp/current.cpp: the calling thread's note of the executor that runs on it.
    fn monad_async_running_slot() -> *mut *const c_void;
    /// cpp/current.cpp: the head of an executor that runs nothing, and where that is at home. Only
    /// its address is used here.
    static monad_async_nobody: [u64; 12];
    /// cpp/current.cpp: the calling thread's number.
    #[cfg(not(miri))]
    fn monad_async_thread_slot() -> *mut u64;
}

/// The calling thread's note: the executor inside whose `run` it is, or null.
#[inline(always)]
pub fn running() -> *const c_void {
    let head = running_head();
    if ptr::eq(head, nobody()) {
        return ptr::null();
    }
    head
}

/// The head of the executor inside whose `run` the calling thread is, or else of `nobody`: in both
/// cases one whose `current_task` may be read, and the word behind it, see `executor::home`.
#[inline(always)]
pub(crate) fn running_head() -> *const c_void {
    own_word!("monad_async_running", running_executor().cast::<u64>()) as *const c_void
}

/// What a thread notes that is in no run: the head of an executor that runs no task, ever.
#[inline(always)]
pub fn nobody() -> *const c_void {
    (&raw const monad_async_nobody).cast()
}

/// Where the calling thread notes which executor runs on it, `nobody` outside `run`; valid as long
/// as the thread. It serves `monad_async_task_current`, so it lies where a C function finds it in
/// one load.
pub fn running_executor() -> *mut *const c_void {
    // SAFETY: no preconditions.
    unsafe { monad_async_running_slot() }
}

/// The task that runs on the calling thread, or null. ASYNC-SIGNAL-SAFE.
pub(crate) fn running_task() -> *const c_void {
    // SAFETY: no preconditions.
    unsafe { monad_async_task_current() }
}
