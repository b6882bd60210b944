//! Who uses a plain descriptor: what a close asks, so that it needs no answer of the kernel's where
//! nobody else does.
//!
//! Of each number one word says which task has begun operations on it since it was last closed:
//! none, one, or it is not known. A task that runs has no operation of a call in flight, so where
//! it alone has begun some, nothing of that number is in the kernel, or in the submission queue on
//! its way there. At the end of an operation nothing is done.
//!
//! 1. It is noted before the entry is pushed, whatever the operation: also of those that have
//!    another number in that place, or a direct descriptor's. Then a close asks in vain.
//! 2. What goes on while its task runs, as a record of the caller's does, is nobody's that is
//!    known.
//! 3. The word is cleared before the entry of a close is pushed: what is noted from then on comes
//!    behind that, and so is for what has the number next. What was in the queue before is with the
//!    old file by then. What the close itself begins is noted, too, as others may close the same
//!    number in that time; where that is all once it is over, the word is cleared again: else the
//!    next user of the number would be the second one, and every later one.
//! 4. A descriptor that is closed past this leaves its word as it is: that tells of too much, and
//!    so costs the next close of that number, and nothing else.
//! 5. Of what an entry names besides its own descriptor nothing is noted, as `splice`, `epoll_ctl`
//!    and a message with `SCM_RIGHTS` do: the kernel looks for that when it performs the entry,
//!    maybe behind any close. So it is for the caller to keep that open.
//! 6. A number of more than 16 bits is noted by its lowest ones, which tells of too much; what is
//!    asked, and cleared, is never of such a one.

use core::cell::Cell;
use core::ptr::NonNull;

use crate::error::Res;
use crate::sys::memory;
use crate::task::header::TaskRef;

/// As many as a `u16` tells apart. Of larger numbers nothing is known, see rule 6.
const NUMBERS: usize = 1 << u16::BITS;
const BYTES: usize = NUMBERS * size_of::<usize>();

const NOBODY: usize = 0;
/// More than one task, or a record: no header's address.
const SEVERAL: usize = 1;

/// Takes memory as numbers are used: a page each 512 of them.
pub struct Users(NonNull<Cell<usize>>);

impl Users {
    /// ENOMEM.
    pub fn new() -> Res<Self> {
        memory::map(BYTES).map(|at| Self(at.cast()))
    }

    #[inline(always)]
    fn of(&self, fd: i32) -> &Cell<usize> {
        // SAFETY: mapped, so many words, until the drop; zeros are words.
        unsafe { self.0.add(usize::from(fd as u16)).as_ref() }
    }

    /// `task` begins an operation by whose end it does not run.
    #[inline(always)]
    pub(super) fn add(&self, fd: i32, task: TaskRef) {
        let user = self.of(fd);
        let (was, is) = (user.get(), task.addr());
        if was != is && was != SEVERAL {
            user.set(if was == NOBODY { is } else { SEVERAL });
        }
    }

    /// Rule 2.
    #[inline(always)]
    pub(super) fn add_any(&self, fd: i32) {
        self.of(fd).set(SEVERAL);
    }

    /// `task` runs, and nobody else can have an operation in flight on it.
    pub(super) fn has_no_other(&self, fd: i32, task: TaskRef) -> bool {
        u16::try_from(fd).is_ok() && [NOBODY, task.addr()].contains(&self.of(fd).get())
    }

    /// Rule 3.
    pub(super) fn clear(&self, fd: i32) {
        if u16::try_from(fd).is_ok() {
            self.of(fd).set(NOBODY);
        }
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        // SAFETY: from `map`, and used by nobody any more.
        unsafe { memory::unmap(self.0.cast(), BYTES) }
    }
}
