//! Claims on what the pool gave: a header, a stack, and both as they come. What a holder may do,
//! and what is released how, says `pool`.

use core::cell::Cell;
use core::ptr::{null_mut, NonNull};

use super::pool::{drop_stacks, pool, Pool};
use super::slab::{Shape, Slab, SlotMeta};
use super::switch::{Registration, Switch};
use crate::error::Res;

/// A stack, its holder's alone.
#[derive(Debug)]
#[must_use = "a stack that is not released is lost"]
pub struct Stack {
    /// 128-aligned; the stack grows down from here.
    pub base: usize,
    pub(super) meta: NonNull<SlotMeta>,
}

/// A header, its holder's alone.
#[derive(Debug)]
#[must_use = "a header that is not released is lost"]
pub struct Header {
    pub(super) slab: NonNull<Slab>,
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// A header and a stack, the caller's alone until `pool::release`. The picture is in `slab`.
#[derive(Debug)]
#[must_use = "a slot that is not released is lost"]
pub struct Slot {
    /// Start of the header: 128-aligned. `header_bytes` from here are the caller's.
    pub header: NonNull<u8>,
    /// 128-aligned; the stack grows down from here.
    pub stack_base: usize,
    /// Lowest usable address of the stack; page-aligned, and the guard lies below.
    pub stack_limit: usize,
    pub(super) stack: NonNull<SlotMeta>,
    pub(super) slab: NonNull<Slab>,
    /// The header's number in its slab.
    pub index: u32,
    /// Odd; differs from that of every earlier use of the same header (until it wraps, after two
    /// thousand million uses).
    pub generation: u32,
    /// The stack reads as zeros: never used, or dropped since. Else it holds what the previous task
    /// left. The header may read as zeros or as the previous task's either way.
    pub known_zero: bool,
}

// SAFETY: claims on memory that no thread owns in particular (invariant 2).
unsafe impl Send for Slot {}
// SAFETY: as above.
unsafe impl Send for Stack {}
// SAFETY: as above.
unsafe impl Send for Header {}

impl Slot {
    /// Bytes of stack that user code may count on: what was asked for, rounded up. There is a
    /// little more between `stack_limit` and `stack_base`.
    pub fn stack_bytes(&self) -> usize {
        // SAFETY: a Slot's slab is published, and its shape never changes.
        unsafe { (*self.slab.as_ptr()).shape.stack_bytes }
    }

    /// The two apart, and the header's annex.
    pub fn parts(self) -> (Header, Stack, NonNull<u8>) {
        let Self { slab, index, generation, .. } = self;
        // SAFETY: a Slot's slab is published and the index in it.
        let annex = unsafe { Slab::annex(slab, index) };
        let stack = Stack { base: self.stack_base, meta: self.stack };
        (Header { slab, index, generation }, stack, annex)
    }
}

impl Stack {
    /// Stacks of one number may stand in for each other.
    pub fn class(&self) -> usize {
        // SAFETY: that of a carved slot; published slabs never change their class.
        unsafe { Slab::of(self.meta).as_ref().class as usize }
    }

    pub fn bytes(&self) -> usize {
        self.shape().stack_bytes
    }

    /// The lowest address of a stack of this size with another base.
    pub fn limit_of(&self, base: usize) -> usize {
        self.shape().stack_limit(base)
    }

    fn shape(&self) -> &'static Shape {
        // SAFETY: that of a carved slot; slabs live as long as the process.
        unsafe { &(*Slab::of(self.meta).as_ptr()).shape }
    }

    /// Another of the same size, an executor's. As `pool::acquire`.
    pub fn acquire_another(&self) -> Res<Self> {
        let meta = pool().acquire_stack(self.class())?.0;
        let another = Self { base: Pool::stack_base(meta), meta };
        another.register();
        Ok(another)
    }

    /// Takes one back that an executor has.
    ///
    /// # Safety
    /// As `pool::release`.
    pub unsafe fn release(self) {
        // SAFETY: the caller's.
        unsafe {
            self.unregister();
            let to_drop = pool().release_stack(self.meta);
            drop_stacks(to_drop);
        }
    }

    pub(super) fn register(&self) {
        // SAFETY: ours (invariant 3).
        unsafe {
            let known = Registration::new(self.base, self.limit_of(self.base));
            (*self.meta.as_ptr()).registration.write(known);
        }
    }

    /// # Safety
    /// Once after `register`.
    pub(super) unsafe fn unregister(&self) {
        // SAFETY: ours (invariant 3), and written.
        unsafe { (*self.meta.as_ptr()).registration.assume_init_drop() };
    }
}

/// A stack that may be exchanged for another of its size, or none.
pub struct Held {
    /// With [`BARE`], until a launch on it may be next.
    base: Cell<usize>,
    meta: Cell<*mut SlotMeta>,
}

/// A bit of [`Held::base`]: the stack was not laid. Known without touching it.
const BARE: usize = 1;

impl Held {
    pub(crate) const BASE_AT: usize = core::mem::offset_of!(Held, base);

    pub const fn none() -> Self {
        Self { base: Cell::new(0), meta: Cell::new(null_mut()) }
    }

    pub fn new(stack: Stack) -> Self {
        let held = Self::none();
        held.put(stack);
        held
    }

    /// The stack's base; 0 without one.
    #[inline(always)]
    pub fn base(&self) -> usize {
        self.base.get() & !BARE
    }

    /// As `base`, of one that was laid.
    #[inline(always)]
    pub fn laid_base(&self) -> usize {
        debug_assert!(self.base.get() & BARE == 0);
        self.base.get()
    }

    /// A task that runs on the stack with this base runs on this one.
    #[inline(always)]
    pub fn is(&self, switch: &Switch) -> bool {
        switch.is_on(self.base.get()) // One that is bare is nobody's to run on.
    }

    /// Both hold stacks of one size.
    #[inline(always)]
    pub fn exchange(&self, other: &Self) {
        self.base.swap(&other.base);
        self.meta.swap(&other.meta);
    }

    /// Launches may run on it from now on. It is the caller's, and nothing runs on it.
    #[inline(always)]
    pub fn lay(&self) {
        if self.base.get() & BARE != 0 {
            self.base.set(self.base());
            // SAFETY: a stack of the pool's; the rest by this function's contract.
            unsafe { Switch::lay(self.base()) };
        }
    }

    pub fn put(&self, stack: Stack) {
        self.base.set(stack.base | BARE);
        self.meta.set(stack.meta.as_ptr());
    }

    pub fn take(&self) -> Option<Stack> {
        let base = self.base.replace(0) & !BARE;
        NonNull::new(self.meta.replace(null_mut())).map(|meta| Stack { base, meta })
    }

    /// Asks the stack something; it stays where it is.
    pub fn look<T>(&self, f: impl FnOnce(&Stack) -> T) -> Option<T> {
        let meta = NonNull::new(self.meta.get())?;
        Some(f(&Stack { base: self.base(), meta }))
    }
}
