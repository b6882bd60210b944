//! Who has which slot: acquire and release, from any thread, under one lock. Creating a task is
//! documented as expensive; nothing on the way of a launch comes here.
//!
//! Invariants, cited by number:
//!
//! 1. **Slots are type-stable.** A slab is never unmapped and a slot's header never moves, so the
//!    pointer to a task that was destroyed may be read (as atomics) for ever. It then shows what
//!    the task left there, zeros, or a newer task in the same slot: compare a number. Zeros mean
//!    that a count kept in the header restarts; [`Slot::generation`] never does.
//! 2. A slot belongs to the holder of its [`Slot`]; between a list and another, to the thread that
//!    is releasing one. Its pages are dropped then, outside the lock.
//! 3. `SlotMeta`s, lists and `carved` change only under the lock.
//! 4. The free lists never touch a slot's own memory: links live in the slab's `SlotMeta`s.
//!
//! **What stays resident.** A free slot keeps its pages (it is *warm*) as long as fewer than 1,024
//! of its shape do, and 64 MiB in all shapes; beyond, its pages are dropped (it is *cold*), or
//! rather those of a shape that was not used for longer. So memory is flat again after a million
//! tasks were destroyed, and a program that creates and destroys few at a time never asks the
//! kernel. Page tables stay: 8 bytes a page of the slot, 88 for a stack of 16 KiB.
//!
//! A stack that was once used deeply is not trimmed while it has an owner, nor while it is warm:
//! how deep it was, only the kernel knows, and asking it costs more than most launches; all warm
//! ones together are bounded.
//!
//! **VMAs.** Where guards take them, the pool leaves the rest of the process a fifth of what it may
//! have: without any, nobody can start a thread or map memory.

use super::backing::Left;
use super::headers;
use super::slab::{Shape, Slab, SlotMeta};
use crate::error::{Errno, Res};
use crate::sys::fork::{ForkLock, Watch};
use crate::sys::memory;
use core::ptr::{null_mut, NonNull};
use core::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::MutexGuard;

pub use super::walk::for_each_in_use;
pub use crate::sys::memory::{guard_kind, GuardKind};

const WARM_SLOTS_MAX: usize = 1024;
const WARM_BYTES_MAX: usize = 64 << 20;
/// Slots that make room for one.
const EVICTED_MAX: usize = 16;
/// More than there are sizes up to `MAX_STACK_BYTES`; a unit test of `slab` counts them.
pub(super) const CLASS_COUNT: usize = 256;

/// A header and a stack, the caller's alone until [`release`]. The picture is in `slab`.
#[derive(Debug)]
#[must_use = "a slot that is not released is lost"]
pub struct Slot {
    /// Start of the header: 128-aligned. `header_bytes` from here are the caller's.
    pub header: NonNull<u8>,
    /// 128-aligned; the stack grows down from here.
    pub stack_base: usize,
    /// Lowest usable address of the stack; page-aligned, and the guard lies below.
    pub stack_limit: usize,
    slab: NonNull<Slab>,
    /// The slot's number in its slab.
    pub index: u32,
    /// Odd; differs from that of every earlier use of the same slot (until it wraps, after two
    /// thousand million uses).
    pub generation: u32,
    /// The stack reads as zeros: never used, or dropped since. Else it holds what the previous task
    /// left. The header may read as zeros or as the previous task's either way.
    pub known_zero: bool,
}

// SAFETY: a Slot is a claim on memory that no thread owns in particular (invariant 2).
unsafe impl Send for Slot {}

impl Slot {
    pub(super) fn slab(&self) -> NonNull<Slab> {
        self.slab
    }

    /// Bytes of stack that user code may count on: what was asked for, rounded up. There is a
    /// little more between `stack_limit` and `stack_base`.
    pub fn stack_bytes(&self) -> usize {
        // SAFETY: a Slot's slab is published, and its shape never changes.
        unsafe { (*self.slab.as_ptr()).shape.stack_bytes }
    }
}

/// How much the pool holds, process-wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stats {
    pub slabs: usize,
    pub slots_in_use: usize,
    /// Free slots that keep their pages, and how much memory that may be at most.
    pub slots_warm: usize,
    pub warm_bytes: usize,
}

/// The slots of one shape.
struct Class {
    shape: Shape,
    warm: *mut SlotMeta,
    warm_len: usize,
    cold: *mut SlotMeta,
    /// Where new slots are carved from.
    slab: *mut Slab,
    /// The pool's `clock` when a slot was last acquired or released.
    used: u64,
}

pub(super) struct Pool {
    classes: [Class; CLASS_COUNT],
    class_len: usize,
    stats: Stats,
    /// Slots acquired and released so far.
    clock: u64,
    /// VMAs that slots take, and how many they may; 0: not yet known.
    mappings: usize,
    mappings_max: usize,
}

// SAFETY: the pointers lead to slabs, which are nobody's thread's in particular.
unsafe impl Send for Pool {}

static POOL: ForkLock<Pool> = ForkLock::new(Pool {
    classes: [const { Class::NONE }; CLASS_COUNT],
    class_len: 0,
    stats: Stats { slabs: 0, slots_in_use: 0, slots_warm: 0, warm_bytes: 0 },
    clock: 0,
    mappings: 0,
    mappings_max: 0,
});

extern "C" fn before_fork() {
    POOL.hold();
}

extern "C" fn after_fork() {
    POOL.let_go(|_| {});
}

/// No panic can leave the pool half changed: its only ones are assertions before a change.
pub(super) fn pool() -> MutexGuard<'static, Pool> {
    static WATCH: Watch = Watch::new();
    WATCH.ensure(before_fork, after_fork, after_fork);
    POOL.lock()
}

/// Gives a slot with at least `stack_bytes` of stack (0: the default of 128 KiB) below a header of
/// `header_bytes`. EINVAL: an absurd size. ENOMEM: memory, address space, or, with
/// [`GuardKind::Mprotect`], VMAs end; all slots given so far stay good. ANY THREAD. EXPENSIVE.
pub fn acquire(stack_bytes: usize, header_bytes: usize) -> Res<Slot> {
    let shape = Shape::new(stack_bytes, header_bytes)?;
    pool().acquire(shape)
}

/// Takes a slot back. Its header stays readable (invariant 1). ANY THREAD. EXPENSIVE.
///
/// # Safety
/// Nothing runs on the stack any more, and nobody writes to the slot any more.
pub unsafe fn release(slot: Slot) {
    // SAFETY: the Slot is proof that its slab is published and the index in it.
    let meta = unsafe { Slab::meta(slot.slab, slot.index) };
    let mut to_drop = pool().release(meta, slot.generation);
    // The lock is not held over the system calls: a million releases may come from many threads.
    while let Some(meta) = pop(&mut to_drop) {
        // SAFETY: the slots of this list are ours (invariant 2), and nobody needs their contents.
        let left = unsafe { Slab::drop_stack(Slab::of(meta), (*meta.as_ptr()).index) };
        pool().give(meta, left);
    }
}

pub fn stats() -> Stats {
    pool().stats
}

impl Class {
    const NONE: Self = Self {
        shape: Shape { stack_bytes: 0, guard_bytes: 0, slot_bytes: 0, header_bytes: 0 },
        warm: null_mut(),
        warm_len: 0,
        cold: null_mut(),
        slab: null_mut(),
        used: 0,
    };

    /// Most memory that one free slot may hold.
    fn resident_bytes(&self) -> usize {
        self.shape.slot_bytes - self.shape.guard_bytes
    }
}

/// Makes the slot the first of a list.
///
/// # Safety
/// The SlotMeta is that of a carved slot, which is the caller's (invariant 2).
unsafe fn push(list: &mut *mut SlotMeta, meta: NonNull<SlotMeta>) {
    // SAFETY: by this function's contract.
    unsafe { (*meta.as_ptr()).next = *list };
    *list = meta.as_ptr();
}

/// Takes the newest of a list of slots.
fn pop(list: &mut *mut SlotMeta) -> Option<NonNull<SlotMeta>> {
    let meta = NonNull::new(*list)?;
    // SAFETY: lists hold SlotMetas of carved slots, which live as long as the process; the pool is
    // locked (invariant 3), or the list is of slots that are the caller's (invariant 2).
    *list = unsafe { (*meta.as_ptr()).next };
    Some(meta)
}

impl Pool {
    fn class(&mut self, shape: Shape) -> Res<usize> {
        let known = &self.classes[..self.class_len];
        if let Some(i) = known.iter().position(|c| c.shape == shape) {
            return Ok(i);
        }
        // Only a caller that invents header sizes gets here; the task layer has one.
        let class = self.classes.get_mut(self.class_len).ok_or(Errno(libc::ENOMEM))?;
        class.shape = shape;
        self.class_len += 1;
        Ok(self.class_len - 1)
    }

    fn acquire(&mut self, shape: Shape) -> Res<Slot> {
        let i = self.class(shape)?;
        self.touch(i);
        let (meta, known_zero) = if let Some(meta) = self.pop_warm(i) {
            (meta, false)
        } else if let Some(meta) = pop(&mut self.classes[i].cold) {
            // SAFETY: of a carved slot, on no list, and the pool is locked (invariant 3).
            unsafe {
                if let Err(e) = self.open(Slab::of(meta), (*meta.as_ptr()).index, meta) {
                    push(&mut self.classes[i].cold, meta);
                    return Err(e);
                }
            }
            (meta, true)
        } else {
            (self.carve(i)?, true)
        };
        self.stats.slots_in_use += 1;
        // SAFETY: the SlotMeta is that of a carved slot, on no list any more, and the pool is
        // locked (invariant 3); all addresses lie in its slab.
        unsafe {
            let m = &mut *meta.as_ptr();
            assert!(m.generation % 2 == 0, "a free slot was in use");
            m.generation = m.generation.wrapping_add(1);
            let slab = Slab::of(meta);
            let slot = Slab::slot(slab, m.index);
            m.cold = false;
            Ok(Slot {
                header: Slab::header(slab, m.index),
                stack_base: slot.as_ptr() as usize + shape.stack_offset(m.index),
                stack_limit: slot.as_ptr() as usize + shape.guard_bytes,
                slab,
                index: m.index,
                generation: m.generation,
                known_zero,
            })
        }
    }

    /// A slot that nobody had before. On an error nothing has changed, so the next call tries
    /// the same one again.
    fn carve(&mut self, class: usize) -> Res<NonNull<SlotMeta>> {
        let c = &mut self.classes[class];
        let slab = match NonNull::new(c.slab) {
            // SAFETY: slabs live as long as the process.
            Some(slab) if unsafe { slab.as_ref() }.has_room() => slab,
            _ => {
                let slab = Slab::create(c.shape, class as u32)?;
                c.slab = slab.as_ptr();
                self.stats.slabs += 1;
                slab
            }
        };
        // SAFETY: the slot was never given to anybody, so its contents and its SlotMeta are the
        // pool's, which is locked (invariant 3); the index is in range since the slab has room.
        unsafe {
            let s = slab.as_ref();
            let index = s.carved.load(Relaxed);
            let meta = Slab::meta(slab, index);
            meta.write(SlotMeta {
                next: null_mut(),
                index,
                generation: 0,
                cold: false,
                open: false,
            });
            self.open(slab, index, meta)?;
            // Release: who sees the slot carved may read its header.
            s.carved.store(index + 1, Release);
            headers::add(Slab::header(slab, index), s.shape.header_bytes);
            Ok(meta)
        }
    }

    /// Makes the stack of a slot memory, if it is not.
    ///
    /// # Safety
    /// As [`Slab::open_stack`]; `meta` is the slot's.
    unsafe fn open(&mut self, slab: NonNull<Slab>, index: u32, meta: NonNull<SlotMeta>) -> Res<()> {
        // SAFETY: published; the SlotMeta is initialised, and the pool is locked (invariant 3).
        let (s, m) = unsafe { (slab.as_ref(), &mut *meta.as_ptr()) };
        if m.open {
            return Ok(());
        }
        let mappings = s.mappings_each();
        if mappings != 0 && self.mappings_max == 0 {
            self.mappings_max = memory::mappings_max() / 5 * 4;
        }
        if mappings != 0 && self.mappings + mappings > self.mappings_max {
            return Err(Errno(libc::ENOMEM));
        }
        // SAFETY: by this function's contract.
        unsafe { Slab::open_stack(slab, index) }?;
        m.open = true;
        self.mappings += mappings;
        Ok(())
    }

    fn touch(&mut self, class: usize) {
        self.clock += 1;
        self.classes[class].used = self.clock;
    }

    fn pop_warm(&mut self, class: usize) -> Option<NonNull<SlotMeta>> {
        let class = &mut self.classes[class];
        let meta = pop(&mut class.warm)?;
        class.warm_len -= 1;
        self.stats.slots_warm -= 1;
        self.stats.warm_bytes -= class.resident_bytes();
        Some(meta)
    }

    /// Takes a slot back. The list returned is of slots whose stacks the caller drops before each
    /// goes to [`Pool::give`].
    fn release(&mut self, meta: NonNull<SlotMeta>, generation: u32) -> *mut SlotMeta {
        // SAFETY: the SlotMeta is that of a carved slot, and the pool is locked (invariant 3).
        let (m, i) = unsafe { (&mut *meta.as_ptr(), Slab::of(meta).as_ref().class as usize) };
        assert!(m.generation == generation, "a slot was released twice");
        m.generation = generation.wrapping_add(1);
        self.stats.slots_in_use -= 1;
        self.touch(i);
        let mut to_drop = null_mut();
        if self.classes[i].warm_len < WARM_SLOTS_MAX && self.make_room(i, &mut to_drop) {
            self.give(meta, Left::Contents);
        } else {
            // SAFETY: carved, and on no list.
            unsafe { push(&mut to_drop, meta) };
        }
        to_drop
    }

    /// Whether one more slot of the class may stay warm, if those of classes that were not used for
    /// longer go: a few at a time, onto `to_drop`.
    fn make_room(&mut self, class: usize, to_drop: &mut *mut SlotMeta) -> bool {
        for _ in 0..EVICTED_MAX {
            let bytes = self.stats.warm_bytes + self.classes[class].resident_bytes();
            if bytes <= WARM_BYTES_MAX {
                return true;
            }
            let others = self.classes[..self.class_len].iter().enumerate();
            let oldest = others
                .filter(|(i, c)| *i != class && !c.warm.is_null())
                .min_by_key(|(_, c)| c.used)
                .map(|(i, _)| i);
            let Some(meta) = oldest.and_then(|i| self.pop_warm(i)) else { return false };
            // SAFETY: carved, and on no list any more.
            unsafe { push(to_drop, meta) };
        }
        false
    }

    /// Puts a slot on the list of those that are as it was left.
    fn give(&mut self, meta: NonNull<SlotMeta>, left: Left) {
        // SAFETY: as in `release`; the slot is on no list.
        let (m, slab) = unsafe { (&mut *meta.as_ptr(), Slab::of(meta)) };
        // SAFETY: published.
        let s = unsafe { slab.as_ref() };
        let class = &mut self.classes[s.class as usize];
        if left == Left::Contents {
            // SAFETY: as above.
            unsafe { push(&mut class.warm, meta) };
            class.warm_len += 1;
            self.stats.slots_warm += 1;
            self.stats.warm_bytes += class.resident_bytes();
            return;
        }
        if left == Left::Addresses {
            m.open = false;
            self.mappings -= s.mappings_each();
        }
        m.cold = true;
        // SAFETY: as above, and the pool is locked (invariant 3).
        unsafe {
            push(&mut class.cold, meta);
            Slab::drop_cold_headers(slab, m.index);
        }
    }
}

impl Slab {
    fn has_room(&self) -> bool {
        self.carved.load(Relaxed) < self.slots
    }
}
