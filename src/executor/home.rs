//! Where an executor is at home: its mailbox's address, by which what belongs to it is compared.
//!
//! Who asks for that of this thread reads it where the thread notes what runs on it, at the same
//! place in every executor, and in what is noted where none runs, where it is of nobody: so there
//! is no question first whether one does (five instructions of each call that is given no task).

use core::mem::offset_of;
use core::ptr::NonNull;

use super::head::ExecutorHead;
use super::mailbox::Mailbox;
use super::Executor;
use crate::sys::thread;
use crate::task::header::TaskRef;
use crate::uring::kernel::Kernel;

/// A handle is a direct descriptor: of the flags of a socket or a file, and of the flags of what
/// opens one.
pub const DIRECT: u32 = 1 << 31;

/// Where the flags of a handle have the number of the executor that knows it: `Mailbox::home`.
pub const HOME_SHIFT: u32 = 16;

/// The address of a mailbox, or of none.
pub type Home = NonNull<Mailbox>;

/// What runs on this thread, if anything does.
pub struct Here<K: Kernel>(NonNull<Executor<K>>);

impl<K: Kernel> Here<K> {
    #[inline(always)]
    pub fn of_this_thread() -> Self {
        const { assert!(offset_of!(Executor<K>, mailbox) == size_of::<ExecutorHead>()) };
        // SAFETY: never null.
        Self(unsafe { NonNull::new_unchecked(thread::running_head().cast_mut().cast()) })
    }

    /// No mailbox's, where nothing runs.
    #[inline(always)]
    pub fn home(&self) -> Home {
        // SAFETY: an executor that lives, or as much of one as this is (cpp/current.cpp).
        unsafe { self.0.byte_add(size_of::<ExecutorHead>()).cast::<Home>().read() }
    }

    /// As a home that is one.
    pub fn mailbox(&self) -> Option<&'static Mailbox> {
        // SAFETY: as asked.
        (!thread::running().is_null()).then(|| unsafe { self.executor() }.mailbox)
    }

    /// # Safety
    /// Its home is that of an executor.
    #[inline(always)]
    pub unsafe fn executor(&self) -> &Executor<K> {
        // SAFETY: the caller's: so it is one, and it lives, as it runs.
        unsafe { self.0.as_ref() }
    }
}

impl<K: Kernel> Executor<K> {
    #[inline(always)]
    pub fn home(&self) -> Home {
        self.mailbox.into()
    }

    /// A direct descriptor that this executor knows: the flags of its handle, above its number.
    #[inline(always)]
    pub fn direct_handle(&self) -> u64 {
        self.direct_handle
    }
}

/// ANY THREAD. Whether `task` is or was attached to its executor last.
#[inline(always)]
pub fn is_of(task: TaskRef, home: Home) -> bool {
    task.state().is_of(home.as_ptr().cast())
}
