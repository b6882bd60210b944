//! Who may use an object: every thread, behind a latch; or the tasks of one executor, without.

use core::hint::spin_loop;
use core::ptr;

use crate::atomic::{AtomicPtr, Ordering};
use crate::error::{Errno, Res};
use crate::executor::home::Home;
use crate::executor::mailbox::Mailbox;
use crate::sys::backoff::Backoff;
use crate::task::latch::Latch;

pub trait Side {
    /// All users are of one thread.
    const IS_LOCAL: bool;

    /// `here`: the mailbox of the executor that runs on this thread. EPERM: the object is
    /// another's, the parent's where this is the child of a fork.
    fn close(&self, here: Option<&'static Mailbox>) -> Res<()>;

    /// As `close`, where that is a few instructions. False: nothing was done, and not said why.
    #[must_use]
    fn try_close(&self, here: Home) -> bool;

    /// After `close`.
    fn open(&self);
}

/// For every thread.
#[repr(C, align(8))]
pub struct Shared(Latch);

impl Side for Shared {
    const IS_LOCAL: bool = false;

    #[inline(always)]
    fn close(&self, _: Option<&'static Mailbox>) -> Res<()> {
        close_latch(&self.0)
    }

    #[inline(always)]
    fn try_close(&self, _: Home) -> bool {
        self.0.try_close()
    }

    #[inline(always)]
    fn open(&self) {
        self.0.open();
    }
}

impl Shared {
    /// Nobody holds it.
    pub fn open_one() -> Self {
        Self(Latch::new())
    }
}

/// EPERM: its holder is a thread of the parent's, that this child of a fork does not have. What is
/// behind it may be half changed.
#[inline(always)]
pub fn close_latch(latch: &Latch) -> Res<()> {
    if latch.try_close() {
        return Ok(());
    }
    close_slowly(latch)
}

/// Another thread holds it, for some instructions, unless it was interrupted there.
#[cold]
#[inline(never)]
fn close_slowly(latch: &Latch) -> Res<()> {
    /// About as long as the longest that is done under a latch.
    const SPINS: u32 = 200;
    let mut backoff = Backoff::new();
    loop {
        for _ in 0..SPINS {
            if !latch.is_closed() && latch.try_close() {
                return Ok(());
            }
            spin_loop();
        }
        if latch.is_lost() {
            return Err(Errno(libc::EPERM));
        }
        backoff.wait();
    }
}

/// For the tasks of one executor: the one that uses it first.
#[repr(C)]
pub struct Local {
    /// Its mailbox, which outlives it. Read by other threads, to be refused.
    home: AtomicPtr<Mailbox>,
}

impl Side for Local {
    const IS_LOCAL: bool = true;

    #[inline(always)]
    fn close(&self, here: Option<&'static Mailbox>) -> Res<()> {
        match here {
            Some(here) if self.try_close(here.into()) => Ok(()),
            _ => self.close_slowly(self.home.load(Ordering::Relaxed), here),
        }
    }

    #[inline(always)]
    fn try_close(&self, here: Home) -> bool {
        // Relaxed: compared only, but by the thread that has stored it.
        self.home.load(Ordering::Relaxed) == here.as_ptr()
    }

    #[inline(always)]
    fn open(&self) {}
}

impl Local {
    #[cold]
    fn close_slowly(&self, home: *mut Mailbox, here: Option<&'static Mailbox>) -> Res<()> {
        // SAFETY: null, or a mailbox, and they live for ever.
        match (unsafe { home.as_ref() }, here) {
            (None, Some(here)) => {
                self.home.store(ptr::from_ref(here).cast_mut(), Ordering::Relaxed);
                Ok(())
            }
            // Between two runs of the executor.
            (Some(home), None) if home.is_mine() => Ok(()),
            _ => Err(Errno(libc::EPERM)),
        }
    }
}
