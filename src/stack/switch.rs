//! Switching stacks: a task's stack has one entry, made once with the task, that is resumed for
//! every launch and every resumption, never finished and never unwound. Its body is a loop, so that
//! a launch is a plain switch into a frame that already exists.
//!
//! On x86-64 the switch is our own, in `jump`; elsewhere and under AddressSanitizer, which must be
//! told of each switch, it is corosensei's, in `routine`.
//!
//! ```text
//!   stack_base  +-----------------------------+
//!               | the link to the executor    |
//!               | the loop's frame            |  <- while the task is idle, it is suspended here
//!               | user_code's frames          |
//!               |            ...              |
//!   sp          | registers of the suspension |  <- while the task is suspended
//!               ~                             ~
//!   stack_limit +-----------------------------+
//!               | guard                       |
//! ```

use corosensei::stack::valgrind::ValgrindStackRegistration;

#[cfg(all(target_arch = "x86_64", not(feature = "asan")))]
pub use super::own::Switch;
#[cfg(not(all(target_arch = "x86_64", not(feature = "asan"))))]
pub use super::routine::Switch;

/// Tells Valgrind and LeakSanitizer of a stack for as long as it lives; a few instructions of
/// nothing elsewhere.
pub struct Registration {
    _valgrind: ValgrindStackRegistration,
    #[cfg(feature = "asan")]
    _lsan: crate::sys::lsan::Root,
}

impl Registration {
    pub fn new(base: usize, limit: usize) -> Self {
        Self {
            _valgrind: ValgrindStackRegistration::new(limit as *mut u8, base - limit),
            #[cfg(feature = "asan")]
            _lsan: crate::sys::lsan::Root::new(limit, base),
        }
    }
}

/// What the base of the stack calls: the first launch, and all later ones. Nothing unwinds out of
/// it, as nothing unwinds out of a body. `at` is that of a `(Body, *const Switch)` that stays for
/// good.
pub(super) extern "C" fn launches<Body: Fn()>(at: *mut u8) -> ! {
    // SAFETY: who laid the stack put both there; the switch is where the caller of `new` promised.
    let (body, this) = unsafe { &*at.cast::<(Body, *const Switch)>() };
    loop {
        body();
        // SAFETY: on this stack.
        unsafe { (**this).suspend() };
    }
}
