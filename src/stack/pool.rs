//! Who has which header and which stack: acquire and release, from any thread, under one lock.
//! Creating a task is documented as expensive; no launch comes here but an executor's first of a
//! size.
//!
//! Invariants, cited by number:
//!
//! 1. **Slots are type-stable.** A slab is never unmapped and a slot's header never moves, so the
//!    pointer to a task that was destroyed may be read (as atomics) for ever. It then shows what
//!    the task left there, zeros, or a newer task in the same slot: compare a number. Zeros mean
//!    that a count kept in the header restarts; [`Slot::generation`] never does.
//! 2. A header belongs to the holder of its [`Header`], a stack to that of its [`Stack`]; between a
//!    list and another, to the thread that is releasing it. Its pages are dropped then, outside the
//!    lock.
//! 3. `SlotMeta`s, lists and `carved` change only under the lock; `registration`, by who has the
//!    stack.
//! 4. The free lists never touch a slot's own memory: links live in the slab's `SlotMeta`s.
//! 5. A class has as many free headers as free stacks, or more: who finds a stack finds a
//!    header. Executors take stacks without.
//!
//! **What stays resident.** A free stack keeps its pages (it is *warm*) as long as fewer than 1,024
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
use crate::atomic::{
    AtomicPtr, MutexGuard,
    Ordering::{Relaxed, Release},
};
use crate::error::{Errno, Res};
use crate::sys::fork::{ForkLock, Watch};
use crate::sys::memory;
use core::mem::MaybeUninit;
use core::ptr::{null_mut, NonNull};

pub use super::claims::{Header, Held, Slot, Stack};
pub use super::walk::for_each_in_use;
pub use crate::sys::memory::{guard_kind, GuardKind};

const WARM_SLOTS_MAX: usize = 1024;
const WARM_BYTES_MAX: usize = 64 << 20;
/// Slots that make room for one.
const EVICTED_MAX: usize = 16;
/// More than there are sizes up to `MAX_STACK_BYTES`; a unit test of `slab` counts them.
pub(super) const CLASS_COUNT: usize = 256;

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
    headers: *mut SlotMeta,
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
    let slot = pool().acquire(shape)?;
    Stack { base: slot.stack_base, meta: slot.stack }.register();
    Ok(slot)
}

/// Takes a slot back. Its header stays readable (invariant 1). ANY THREAD. EXPENSIVE.
///
/// # Safety
/// Nothing runs on the stack any more, and nobody writes to the slot any more.
pub unsafe fn release(slot: Slot) {
    let (header, stack, _) = slot.parts();
    // SAFETY: the caller's.
    unsafe { release_parts(header, stack) };
}

/// As [`release`]; the two need not have come together.
///
/// # Safety
/// As `release`; of one size.
pub unsafe fn release_parts(header: Header, stack: Stack) {
    // SAFETY: the caller's; the Header is proof that its slab is published and the index in it.
    unsafe {
        stack.unregister();
        let meta = Slab::meta(header.slab, header.index);
        let to_drop = pool().release(meta, header.generation, stack.meta);
        drop_stacks(to_drop);
    }
}

/// Drops the pages of a list of stacks. The pool's lock is not held over the system calls: a
/// million releases may come from many threads.
///
/// # Safety
/// The stacks are the caller's (invariant 2), and nobody needs their contents.
pub(super) unsafe fn drop_stacks(mut to_drop: *mut SlotMeta) {
    while let Some(meta) = pop(&mut to_drop) {
        // SAFETY: the caller's.
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
        headers: null_mut(),
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

/// Makes the stack the first of a list.
///
/// # Safety
/// The SlotMeta is that of a carved slot, which is the caller's (invariant 2).
unsafe fn push(list: &mut *mut SlotMeta, meta: NonNull<SlotMeta>) {
    // SAFETY: by this function's contract.
    unsafe { (*meta.as_ptr()).next = *list };
    *list = meta.as_ptr();
}

/// Takes the newest of a list of stacks.
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
        let (stack, known_zero) = self.acquire_stack(i)?;
        let meta = self.pop_header(i);
        self.stats.slots_in_use += 1;
        let stack_base = Self::stack_base(stack);
        // SAFETY: the SlotMetas are those of carved slots, on no list any more, and the pool is
        // locked (invariant 3); all addresses lie in their slabs.
        unsafe {
            let m = &mut *meta.as_ptr();
            assert!(m.generation.is_multiple_of(2), "a free header was in use");
            m.generation = m.generation.wrapping_add(1);
            let slab = Slab::of(meta);
            let header = Slab::header(slab, m.index);
            (*stack.as_ptr()).owner.store(header.as_ptr(), Relaxed);
            Ok(Slot {
                header,
                stack_base,
                stack_limit: shape.stack_limit(stack_base),
                stack,
                slab,
                index: m.index,
                generation: m.generation,
                known_zero,
            })
        }
    }

    /// A stack of a class, and whether it reads as zeros.
    pub(super) fn acquire_stack(&mut self, i: usize) -> Res<(NonNull<SlotMeta>, bool)> {
        self.touch(i);
        if let Some(meta) = self.pop_warm(i) {
            return Ok((meta, false));
        }
        let Some(meta) = pop(&mut self.classes[i].cold) else { return Ok((self.carve(i)?, true)) };
        // SAFETY: of a carved slot, on no list, and the pool is locked (invariant 3).
        unsafe {
            if let Err(e) = self.open(Slab::of(meta), (*meta.as_ptr()).index, meta) {
                push(&mut self.classes[i].cold, meta);
                return Err(e);
            }
        }
        Ok((meta, true))
    }

    /// Who has a stack of the class gets a header (invariant 5).
    fn pop_header(&mut self, class: usize) -> NonNull<SlotMeta> {
        let list = &mut self.classes[class].headers;
        let meta = NonNull::new(*list).expect("as many free headers as free stacks");
        // SAFETY: as in `pop`.
        *list = unsafe { (*meta.as_ptr()).next_header };
        meta
    }

    /// # Safety
    /// The SlotMeta is that of a carved slot, whose header is the caller's.
    unsafe fn push_header(&mut self, class: usize, meta: NonNull<SlotMeta>) {
        let list = &mut self.classes[class].headers;
        // SAFETY: the caller's.
        unsafe { (*meta.as_ptr()).next_header = *list };
        *list = meta.as_ptr();
    }

    /// The base of a stack that was carved.
    pub(super) fn stack_base(meta: NonNull<SlotMeta>) -> usize {
        // SAFETY: a carved slot's SlotMeta, whose index never changes; its slab is published.
        unsafe {
            let (slab, index) = (Slab::of(meta), (*meta.as_ptr()).index);
            Slab::slot(slab, index).as_ptr() as usize + slab.as_ref().shape.stack_offset(index)
        }
    }

    /// A stack that nobody had before; its header goes to the free ones. On an error nothing has
    /// changed, so the next call tries the same one again.
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
                next_header: null_mut(),
                owner: AtomicPtr::new(null_mut()),
                index,
                generation: 0,
                registration: MaybeUninit::uninit(),
                open: false,
            });
            self.open(slab, index, meta)?;
            // Release: who sees the slot carved may read its header.
            s.carved.store(index + 1, Release);
            headers::add(Slab::header(slab, index), s.shape.header_bytes);
            self.push_header(class, meta);
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

    /// Takes header and stack back. The list returned is of stacks that the caller drops before
    /// each goes to [`Pool::give`].
    ///
    /// # Safety
    /// Both are the caller's (invariant 2).
    unsafe fn release(
        &mut self,
        header: NonNull<SlotMeta>,
        generation: u32,
        stack: NonNull<SlotMeta>,
    ) -> *mut SlotMeta {
        // SAFETY: SlotMetas of carved slots, and the pool is locked (invariant 3).
        unsafe {
            let (m, slab) = (&mut *header.as_ptr(), Slab::of(header));
            assert!(m.generation == generation, "a slot was released twice");
            m.generation = generation.wrapping_add(1);
            self.stats.slots_in_use -= 1;
            self.push_header(slab.as_ref().class as usize, header);
            let to_drop = self.release_stack(stack);
            if !to_drop.is_null() {
                Slab::drop_free_headers(slab, (*header.as_ptr()).index);
            }
            to_drop
        }
    }

    /// As `release`.
    ///
    /// # Safety
    /// The stack is the caller's (invariant 2).
    pub(super) unsafe fn release_stack(&mut self, meta: NonNull<SlotMeta>) -> *mut SlotMeta {
        // SAFETY: the SlotMeta is that of a carved slot, and the pool is locked (invariant 3).
        let (m, i) = unsafe { (&*meta.as_ptr(), Slab::of(meta).as_ref().class as usize) };
        m.owner.store(null_mut(), Relaxed);
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

    /// Puts a stack on the list of those that are as it was left.
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
        // SAFETY: as above, and the pool is locked (invariant 3).
        unsafe {
            push(&mut class.cold, meta);
            Slab::drop_free_headers(slab, m.index);
        }
    }
}

impl Slab {
    fn has_room(&self) -> bool {
        self.carved.load(Relaxed) < self.slots
    }
}
