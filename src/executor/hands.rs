//! The tasks of a worker of a pool that do jobs: as many as were ever under way at a time, kept for
//! the next ones.

use core::cell::Cell;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use super::jobs::{Bytes, JobExit, Posted, JOB_BYTES};
use crate::error::{RawResult, Res};
use crate::sys::alloc;
use crate::task::create;
use crate::task::header::TaskRef;

/// A task, and room for what came with its job.
pub struct Hand {
    task: TaskRef,
    on_exit: Cell<Option<JobExit>>,
    bytes: Cell<Bytes>,
    next: Cell<*const Hand>,
    /// Where it goes when it is free.
    home: *const Hands,
}

/// At a worker's seat; its thread's alone.
pub struct Hands {
    free: Cell<*const Hand>,
    stack_bytes: usize,
}

impl Hands {
    pub fn new(stack_bytes: usize) -> Self {
        Self { free: Cell::new(ptr::null()), stack_bytes }
    }

    /// Has one free. ENOMEM: there is none, and no memory for another.
    #[inline(always)]
    pub fn ensure(&self) -> Res<()> {
        if self.free.get().is_null() {
            return self.make();
        }
        Ok(())
    }

    /// EXPENSIVE.
    #[cold]
    #[inline(never)]
    fn make(&self) -> Res<()> {
        let task = create::create(self.stack_bytes)?;
        let hand = alloc::try_box(Hand {
            task,
            on_exit: Cell::new(None),
            bytes: Cell::new([MaybeUninit::zeroed(); JOB_BYTES / 8]),
            next: Cell::new(ptr::null()),
            home: self,
        });
        match hand {
            Ok(hand) => self.give(Box::leak(hand)),
            Err(e) => {
                let _ = create::destroy(task);
                return Err(e);
            }
        }
        Ok(())
    }

    fn give(&self, hand: &'static Hand) {
        hand.next.set(self.free.get());
        self.free.set(hand);
    }

    /// After `ensure`.
    pub(super) fn take(&self) -> &'static Hand {
        // SAFETY: leaked by `make`, and freed by `drop` alone.
        let hand = unsafe { &*self.free.get() };
        self.free.set(hand.next.get());
        hand
    }
}

impl Drop for Hands {
    /// None is under way: the executor is gone.
    fn drop(&mut self) {
        while let Some(hand) = NonNull::new(self.free.get().cast_mut()) {
            // SAFETY: leaked by `make`, and in no list any more after the next line.
            let hand = unsafe { Box::from_raw(hand.as_ptr()) };
            self.free.set(hand.next.get());
            let _ = create::destroy(hand.task);
        }
    }
}

impl Hand {
    pub(super) fn take_up(&self, posted: &Posted) {
        self.on_exit.set(posted.job.on_exit);
        let to = self.bytes.as_ptr().cast::<MaybeUninit<u64>>();
        for (n, from) in posted.bytes.iter().enumerate() {
            // Word by word, as they have just been stored: a load of two words would wait until
            // both are in the cache. So volatile, which the compiler does not join.
            // SAFETY: as many words; nobody else has the hand.
            unsafe { to.add(n).write(ptr::read_volatile(from)) };
        }
    }

    pub(super) fn task(&self) -> TaskRef {
        self.task
    }

    pub(super) fn bytes(&self) -> *mut c_void {
        self.bytes.as_ptr().cast()
    }

    pub(super) fn address(&self) -> *const c_void {
        ptr::from_ref(self).cast()
    }
}

/// `exit::OnExit` of all of them.
///
/// # Safety
/// `of` is the hand of `task`.
pub(super) unsafe extern "C" fn done(of: *const c_void, task: TaskRef, result: RawResult, _: u64) {
    // SAFETY: the caller's; hands are freed when their worker leaves.
    let hand = unsafe { &*of.cast::<Hand>() };
    if let Some(on_exit) = hand.on_exit.get() {
        // SAFETY: the caller's function, which is told of its task.
        unsafe { on_exit(task.as_head(), result) };
    }
    // SAFETY: a seat stays as long as its executor has tasks.
    unsafe { &*hand.home }.give(hand);
}
