//! Memory in a task's header for the record of a wait without a frame: a `grant::Wait`, or a
//! `park::ParkRecord`.
//!
//! ```text
//!   +0   two words of a link: who posts the record writes them
//!   +16  what the record is
//!   +24  the task
//!   +32  what else the record is
//!   +48  what is waited for
//! ```

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::ptr::{self, NonNull};

use crate::stack::switch::Switch;

/// Zeros at first, except for the task; none where no wait is without a frame.
#[repr(C)]
pub struct Room(UnsafeCell<[*mut c_void; Room::WORDS]>);

impl Room {
    const WORDS: usize = if Switch::PASSES { 7 } else { 0 };
    /// Where each record names its task: so a wait has nothing to write there.
    pub const TASK_AT: usize = 24;
    /// What is waited for, behind the record: for who comes back with an error.
    pub const OBJECT_AT: usize = 48;

    pub fn of(task: NonNull<c_void>) -> Self {
        let mut words = [ptr::null_mut(); Self::WORDS];
        if let Some(word) = words.get_mut(Self::TASK_AT / size_of::<usize>()) {
            *word = task.as_ptr();
        }
        Self(UnsafeCell::new(words))
    }
}
