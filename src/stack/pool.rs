//! Who has which slot: acquire and release, from any thread, under one lock. Creating a task is
//! documented as expensive; nothing on the way of a launch comes here.
//!
//! Invariants, cited by number:
//!
//! 1. **Slots are type-stable.** A slab is never unmapped and a slot's header never moves, so the
//!    pointer to a task that was destroyed may be read (as atomics) for ever. It then shows what
//!    the task left there, zeros, or a newer task in the same slot: compare a number. Zeros mean
//!    that a count kept in the header restarts; [`Slot::generation`] never does.
//! 2. A slot belongs to whoever holds its [`Slot`]; between release and the free list, to the
//!    thread that is releasing it. Its pages are dropped then, outside the lock.
//! 3. `SlotMeta`s, lists and `carved` change only under the lock.
//! 4. The free lists never touch a slot's own memory: links live in the slab's `SlotMeta`s.
//!
//! **What stays resident.** A free slot keeps its pages (it is *warm*) as long as fewer than 1,024
//! of its shape do, and 64 MiB in all shapes; beyond, its pages are dropped (it is *cold*). So
//! memory is flat again after a million tasks were destroyed, and a program that creates and
//! destroys few at a time never asks the kernel. Page tables stay: 8 bytes a page
//! of the slot, 88 for a stack of 16 KiB.

use super::headers;
use super::slab::{self, Shape, Slab, SlotMeta};
use crate::error::{Errno, Res};
use crate::sys::fork::{ForkLock, Watch};
use crate::sys::memory;
use core::ptr::{null_mut, NonNull};
use core::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::MutexGuard;

pub use crate::sys::memory::{guard_kind, GuardKind};

const WARM_SLOTS_MAX: usize = 1024;
const WARM_BYTES_MAX: usize = 64 << 20;
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
}

struct Pool {
    classes: [Class; CLASS_COUNT],
    class_len: usize,
    stats: Stats,
}

// SAFETY: the pointers lead to slabs, which are nobody's thread's in particular.
unsafe impl Send for Pool {}

static POOL: ForkLock<Pool> = ForkLock::new(Pool {
    classes: [const { Class::NONE }; CLASS_COUNT],
    class_len: 0,
    stats: Stats { slabs: 0, slots_in_use: 0, slots_warm: 0, warm_bytes: 0 },
});

extern "C" fn before_fork() {
    POOL.hold();
}

extern "C" fn after_fork() {
    POOL.let_go(|_| {});
}

/// No panic can leave the pool half changed: its only ones are assertions before a change.
fn pool() -> MutexGuard<'static, Pool> {
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
    if pool().release(meta, slot.generation) {
        return;
    }
    // The lock is not held over the system call: a million releases may come from many threads.
    // SAFETY: the slot is ours (invariant 2), and by this function's contract nobody needs its
    // contents; the guard below is not part of the range.
    let dropped = unsafe {
        let shape = &(*slot.slab.as_ptr()).shape;
        let stack = Slab::slot(slot.slab, slot.index).add(shape.guard_bytes);
        memory::drop_pages(stack, shape.slot_bytes - shape.guard_bytes)
    };
    pool().give(meta, dropped.is_ok());
}

/// Calls `f` with the header of every slot in use. EXPENSIVE: looks at all that were ever carved,
/// under the lock, so `f` may neither acquire nor release. A slot whose owner has not filled in its
/// header yet shows what an earlier one left (invariant 1).
pub fn for_each_in_use(mut f: impl FnMut(NonNull<u8>)) {
    let _pool = pool();
    slab::for_each(|slab| {
        // SAFETY: published slabs live as long as the process, and their shape never changes.
        let s = unsafe { slab.as_ref() };
        for index in 0..s.carved.load(Relaxed) {
            // SAFETY: a carved slot's SlotMeta is initialised, and the pool is locked
            // (invariant 3); the header lies in its slot.
            unsafe {
                if (*Slab::meta(slab, index).as_ptr()).generation % 2 == 1 {
                    f(Slab::header(slab, index));
                }
            }
        }
    });
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
    };

    /// Most memory that one free slot may hold.
    fn resident_bytes(&self) -> usize {
        self.shape.slot_bytes - self.shape.guard_bytes
    }
}

/// Takes the newest of a list of free slots.
fn pop(list: &mut *mut SlotMeta) -> Option<NonNull<SlotMeta>> {
    let meta = NonNull::new(*list)?;
    // SAFETY: lists hold SlotMetas of carved slots, which live as long as the process; the pool is
    // locked (invariant 3), since only it has lists.
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
        let class = &mut self.classes[i];
        let (meta, known_zero) = if let Some(meta) = pop(&mut class.warm) {
            class.warm_len -= 1;
            self.stats.slots_warm -= 1;
            self.stats.warm_bytes -= class.resident_bytes();
            (meta, false)
        } else if let Some(meta) = pop(&mut class.cold) {
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
            memory::guard(Slab::slot(slab, index), s.shape.guard_bytes)?;
            let meta = Slab::meta(slab, index);
            meta.write(SlotMeta { next: null_mut(), index, generation: 0, cold: false });
            // Release: who sees the slot carved may read its header.
            s.carved.store(index + 1, Release);
            headers::add(Slab::header(slab, index), s.shape.header_bytes);
            Ok(meta)
        }
    }

    /// True: the slot is free, with its pages. False: the caller drops the pages, then calls
    /// [`Pool::give`].
    fn release(&mut self, meta: NonNull<SlotMeta>, generation: u32) -> bool {
        // SAFETY: the SlotMeta is that of a carved slot, and the pool is locked (invariant 3).
        let (m, i) = unsafe { (&mut *meta.as_ptr(), Slab::of(meta).as_ref().class as usize) };
        assert!(m.generation == generation, "a slot was released twice");
        m.generation = generation.wrapping_add(1);
        self.stats.slots_in_use -= 1;
        let class = &self.classes[i];
        let bytes = self.stats.warm_bytes + class.resident_bytes();
        let stays = class.warm_len < WARM_SLOTS_MAX && bytes <= WARM_BYTES_MAX;
        if stays {
            self.give(meta, false);
        }
        stays
    }

    /// Puts a slot on the list of those whose pages were dropped, or not.
    fn give(&mut self, meta: NonNull<SlotMeta>, dropped: bool) {
        // SAFETY: as in `release`; the slot is on no list.
        let (m, i) = unsafe { (&mut *meta.as_ptr(), Slab::of(meta).as_ref().class as usize) };
        let class = &mut self.classes[i];
        let list = if dropped { &mut class.cold } else { &mut class.warm };
        m.next = *list;
        *list = meta.as_ptr();
        if !dropped {
            class.warm_len += 1;
            self.stats.slots_warm += 1;
            self.stats.warm_bytes += class.resident_bytes();
        } else {
            m.cold = true;
            // SAFETY: the SlotMeta is that of a carved slot, and the pool is locked (invariant 3).
            unsafe { Slab::drop_cold_headers(Slab::of(meta), m.index) };
        }
    }
}

impl Slab {
    fn has_room(&self) -> bool {
        self.carved.load(Relaxed) < self.slots
    }
}
