//! What ThreadSanitizer is told: what orders memory (see `atomic`), and on which stack a thread is.
//!
//! The tool keeps the frames of what runs in a *fiber*; a thread has one, and each task that has
//! begun another: left and entered right before the stacks are. One takes a megabyte and
//! milliseconds, it makes every acquire and release on its thread dearer (a clock has a place for
//! each of them), and there is room for some 8,000, threads among them. So:
//!
//! 1. A thread makes a fiber when a task launches and none is free, and keeps it for later
//!    launches.
//! 2. Beyond `FIBERS_OF_THREAD` tasks that are suspended, a launch takes one that others have:
//!    their frames add up, of which a fiber holds 65,536, and are mixed where the tool shows them.
//! 3. A fiber never leaves its thread, and each switch orders what came before it: so one that is
//!    used again, or shared, knows of no memory that its thread does not know of when it is
//!    entered. No race goes unseen for it that would be seen with a fiber for each launch.

use core::cell::{Cell, RefCell};
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

extern "C" {
    /// The sanitizer's interface. A program that links this build links ThreadSanitizer.
    fn __tsan_acquire(at: *mut c_void);
    fn __tsan_release(at: *mut c_void);
    fn __tsan_get_current_fiber() -> *mut c_void;
    fn __tsan_create_fiber(flags: u32) -> *mut c_void;
    fn __tsan_destroy_fiber(fiber: *mut c_void);
    fn __tsan_switch_to_fiber(fiber: *mut c_void, flags: u32);
    fn __tsan_set_fiber_name(fiber: *mut c_void, name: *const core::ffi::c_char);
}

/// What came before `release` of this address comes before what follows.
pub fn acquire<T>(at: &T) {
    // SAFETY: the address is a name.
    unsafe { __tsan_acquire(core::ptr::from_ref(at).cast_mut().cast()) };
}

pub fn release<T>(at: &T) {
    // SAFETY: the address is a name.
    unsafe { __tsan_release(core::ptr::from_ref(at).cast_mut().cast()) };
}

const FIBERS_OF_THREAD: usize = 64;
/// Tasks on one fiber: with more, a thread makes another.
const USERS: u32 = 512;
/// Fibers of all threads.
const ROOM: usize = 7_900;

/// Not of `atomic`: it orders nothing, and the tool shall not believe it does.
static MADE: AtomicUsize = AtomicUsize::new(0);

struct Fiber {
    context: *mut c_void,
    /// Tasks that have begun on it, and not ended.
    users: u32,
}

/// A thread's, as long as tasks may run there.
struct Fibers(Vec<Fiber>);

std::thread_local! {
    static FIBERS: RefCell<Fibers> = const { RefCell::new(Fibers(Vec::new())) };
}

impl Fibers {
    /// None: the thread has none, and there is no room.
    fn take(&mut self) -> Option<*mut c_void> {
        let least = (0..self.0.len()).min_by_key(|&i| self.0[i].users);
        let max = if self.0.len() < FIBERS_OF_THREAD { 1 } else { USERS };
        let i = least.filter(|&i| self.0[i].users < max).or_else(|| self.make()).or(least)?;
        self.0[i].users += 1;
        Some(self.0[i].context)
    }

    fn make(&mut self) -> Option<usize> {
        MADE.fetch_update(Relaxed, Relaxed, |made| (made < ROOM).then_some(made + 1)).ok()?;
        // SAFETY: the name is copied.
        let context = unsafe {
            let context = __tsan_create_fiber(0);
            __tsan_set_fiber_name(context, c"task of monad_async".as_ptr());
            context
        };
        self.0.push(Fiber { context, users: 0 });
        Some(self.0.len() - 1)
    }

    fn put(&mut self, context: *mut c_void) {
        if let Some(fiber) = self.0.iter_mut().find(|fiber| fiber.context == context) {
            fiber.users -= 1;
        }
    }
}

/// Those of tasks that have not ended stay: what a thread destroys after this may run them.
impl Drop for Fibers {
    fn drop(&mut self) {
        for fiber in self.0.iter().filter(|fiber| fiber.users == 0) {
            // SAFETY: nobody is on it, nor will be.
            unsafe { __tsan_destroy_fiber(fiber.context) };
            MADE.fetch_sub(1, Relaxed);
        }
    }
}

fn current() -> *mut c_void {
    // SAFETY: it looks.
    unsafe { __tsan_get_current_fiber() }
}

fn switch_to(context: *mut c_void) {
    if context != current() {
        // SAFETY: of this thread. 0: what came before on the one comes before what follows on the
        // other.
        unsafe { __tsan_switch_to_fiber(context, 0) };
    }
}

/// The fibers of a task that runs or is suspended. Any words before its launch.
#[repr(C)]
pub struct Told {
    /// That on which it was suspended: of its launch, or one that its code has made.
    left: Cell<*mut c_void>,
    /// That of who has entered it.
    home: Cell<*mut c_void>,
}

impl Told {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self { left: Cell::new(ptr::null_mut()), home: Cell::new(ptr::null_mut()) }
    }

    /// A launch from the executor's stack; what [`is_back`] is to be given.
    pub fn launches(&self) -> *mut c_void {
        let home = current();
        self.home.set(home);
        self.begins();
        home
    }

    fn begins(&self) {
        let own = FIBERS.try_with(|all| all.borrow_mut().take()).unwrap_or(None);
        // A thread without any leaves the frames of its tasks to its own.
        switch_to(own.unwrap_or(self.home.get()));
    }

    /// As `launches`, for a resumption.
    pub fn resumes(&self) -> *mut c_void {
        let home = current();
        self.home.set(home);
        switch_to(self.left.get());
        home
    }

    pub fn suspends(&self) {
        self.left.set(current());
        switch_to(self.home.get());
    }

    /// From one task to another: see `Switch::pass`.
    pub fn passes(&self, next: &Told) {
        self.left.set(current());
        next.home.set(self.home.get());
        switch_to(next.left.get());
    }

    pub fn passes_to_launch(&self, next: &Told) {
        self.left.set(current());
        next.home.set(self.home.get());
        next.begins();
    }
}

/// On the executor's stack, which was left for a task. One that has ended may tell nothing itself:
/// no call is made on its stack, where operations in flight may lie.
pub fn is_back(home: *mut c_void) {
    let ended = current();
    if ended != home {
        switch_to(home);
        let _ = FIBERS.try_with(|all| all.borrow_mut().put(ended));
    }
}
