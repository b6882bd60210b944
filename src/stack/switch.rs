//! Switching stacks: every launch enters its stack the same way, and every resumption where the
//! task left it. What a stack's base calls is never finished and never unwound.
//!
//! On x86-64 the switch is our own, in `jump`, and a launch may run on any stack: see `task::warm`.
//! Elsewhere and under AddressSanitizer, which must be told of each switch, it is corosensei's, in
//! `routine`, and each task has a stack of its own, on which it waits for launches.
//!
//! ```text
//!   stack_base  +-----------------------------+
//!               | the link to the executor    |
//!               | user_code's frames          |
//!               |            ...              |
//!   sp          | registers of the suspension |  <- while the task is suspended
//!               ~                             ~
//!   stack_limit +-----------------------------+
//!               | guard                       |
//! ```

use core::ptr::NonNull;

use corosensei::stack::valgrind::ValgrindStackRegistration;

use crate::error::RawResult;

#[cfg(all(target_arch = "x86_64", not(feature = "asan")))]
pub use super::own::{Back, Call, Switch};
#[cfg(not(all(target_arch = "x86_64", not(feature = "asan"))))]
pub use super::routine::{Back, Call, Switch};

/// What a task comes back to from a wait that it has left for by `wait_last`, where its outcome is
/// not 0 by then.
pub trait Over {
    /// So far into a task its switch is, its outcome, and what it waits for.
    const SWITCH_AT: usize;
    const OUTCOME_AT: usize;
    const OBJECT_AT: usize;
    /// So far into that is a line of it that is looked at besides the first; 0: none.
    const FAR_AT: usize = 0;

    /// As the function that has waited, of which there is nothing any more: returns to its caller.
    extern "C" fn over(task: NonNull<u8>, object: *const u8) -> RawResult;
}

/// What a task comes back to from an operation that it has left for by `io_last`, where its outcome
/// is below 0 by then.
pub trait Failed {
    /// So far into a task its switch is, its outcome, and the address of its executor; and so far
    /// into that how many handles have been closed.
    const SWITCH_AT: usize;
    const OUTCOME_AT: usize;
    const EXECUTOR_AT: usize;
    const CLOSINGS_AT: usize;

    /// As the function that has waited, of which there is nothing any more: returns to its caller.
    /// How many handles had been closed when it began, and the words that it had kept, the last
    /// first.
    extern "C" fn failed(
        task: NonNull<u8>,
        closings: u64,
        d: u64,
        c: u64,
        b: u64,
        a: u64,
    ) -> RawResult;
}

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
