//! Registered buffers: memory that the kernel has pinned once, so that a read or a write need not
//! look it up. Here is the memory, and its registration with each ring; who may have a buffer is
//! `sync::buffer_set`'s to say.
//!
//! ```text
//!   Memory   | buffer 0 | buffer 1 | ...                     of one set
//!   Fixed    slots first.. of one ring's table, 1 GiB each   one for each executor of the set
//! ```
//!
//! 1. The table of a ring has room for [`SLOTS`] pieces of memory, all empty at first. Who has
//!    registered a table of their own is left alone: EBUSY.
//! 2. `users` counts the operations in flight on a buffer through this ring. Its own thread alone
//!    writes it, others read it under the set's side: no read-modify-write.
//! 3. A kernel without such tables (before 5.13) does the same reads and writes as ordinary ones:
//!    `first` is NONE then.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr::{self, NonNull};

use super::Reactor;
use crate::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};
use crate::error::{Errno, Res};
use crate::sys::{alloc, memory};
use crate::uring::abi::{op, send_recv};
use crate::uring::kernel::{Kernel, Sqe};

/// Pieces of memory in the table of one ring.
pub const SLOTS: u32 = 256;
/// No place in the table: the buffers are ordinary memory to the kernel.
pub const NONE: u32 = u32::MAX;
/// As much as the kernel takes for one place.
const SLOT_BYTES_MAX: usize = 1 << 30;
const COUNT_MAX: u32 = 1 << 24;

/// The buffers of one set.
pub struct Memory {
    at: NonNull<u8>,
    mapped: usize,
    pub count: u32,
    pub bytes: u32,
    /// Buffers in one place of a table.
    in_slot: u32,
    /// Of each buffer, how often it was claimed, so that an old copy of a claim is told from the
    /// present one; and in bit 0 whether somebody has it. Written behind the set's side.
    turns: Box<[AtomicU32]>,
}

/// The word of a buffer that somebody has, for that time.
#[inline(always)]
fn claimed_for(turn: u16) -> u32 {
    u32::from(turn) << 1 | 1
}

/// `count` of them, or ENOMEM.
pub fn boxed<T>(count: u32, make: impl Fn(u32) -> T) -> Res<Box<[T]>> {
    let mut made = Vec::new();
    made.try_reserve_exact(count as usize).map_err(|_| Errno(libc::ENOMEM))?;
    made.extend((0..count).map(make));
    Ok(made.into_boxed_slice())
}

impl Memory {
    /// EXPENSIVE. EINVAL: none, too many, of no size, or larger than a place.
    pub fn new(count: u32, bytes: u32) -> Res<Self> {
        let fits = bytes != 0 && bytes as usize <= SLOT_BYTES_MAX;
        if count == 0 || count > COUNT_MAX || !fits {
            return Err(Errno(libc::EINVAL));
        }
        let in_slot = count.min((SLOT_BYTES_MAX / bytes as usize) as u32);
        if count.div_ceil(in_slot) > SLOTS {
            return Err(Errno(libc::EINVAL));
        }
        let mapped = (count as usize * bytes as usize).next_multiple_of(memory::page_bytes());
        let turns = boxed(count, |_| AtomicU32::new(0))?;
        Ok(Self { at: memory::map(mapped)?, mapped, count, bytes, in_slot, turns })
    }

    /// Somebody has that buffer from now on: which time it is.
    pub fn claimed(&self, number: u32) -> u16 {
        let word = &self.turns[number as usize];
        let turn = ((word.load(Relaxed) >> 1) as u16).wrapping_add(1);
        word.store(claimed_for(turn), Relaxed);
        turn
    }

    pub fn released(&self, number: u32) {
        let word = &self.turns[number as usize];
        word.store(word.load(Relaxed) & !1, Relaxed);
    }

    pub fn is_claimed(&self, number: u32) -> bool {
        self.turns[number as usize].load(Relaxed) & 1 != 0
    }

    /// It is claimed, for that time.
    #[inline(always)]
    pub fn is_turn(&self, number: u32, turn: u16) -> bool {
        let word = self.turns.get(number as usize);
        word.is_some_and(|word| word.load(Relaxed) == claimed_for(turn))
    }

    /// Places of a table that it takes.
    fn slots(&self) -> u32 {
        self.count.div_ceil(self.in_slot)
    }

    /// What lies in the place `slot` of these.
    fn piece(&self, slot: u32) -> (u64, usize) {
        let first = slot * self.in_slot;
        let count = self.in_slot.min(self.count - first);
        (self.data(first).as_ptr() as u64, count as usize * self.bytes as usize)
    }

    /// So much of a buffer from there on is in it.
    #[inline(always)]
    pub fn has(&self, at: usize, bytes: usize) -> bool {
        at.checked_add(bytes).is_some_and(|end| end <= self.bytes as usize)
    }

    pub fn data(&self, number: u32) -> NonNull<u8> {
        debug_assert!(number < self.count);
        // SAFETY: within the mapping.
        unsafe { self.at.byte_add(number as usize * self.bytes as usize) }
    }

    /// The buffer that all of this lies in.
    pub fn number_of(&self, at: u64, len: usize) -> Option<u32> {
        let offset = (at as usize).checked_sub(self.at.as_ptr() as usize)?;
        let number = offset / self.bytes as usize;
        let fits = offset % self.bytes as usize + len <= self.bytes as usize;
        (number < self.count as usize && fits).then_some(number as u32)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`; registered nowhere any more, and nobody has a buffer.
        unsafe { memory::unmap(self.at, self.mapped) };
    }
}

/// The registration of a set's memory with one ring.
#[repr(C)]
pub struct Fixed {
    quick: Quick,
    memory: NonNull<Memory>,
    /// The executor; null after its end. Written by its thread.
    pub owner: AtomicPtr<c_void>,
    ring: i32,
    first: u32,
    users: Box<[AtomicU32]>,
    /// The reactor's next.
    next: Cell<Option<NonNull<Fixed>>>,
}

/// All that a read asks for most of the time, on one line: a copy of what the memory and its
/// registration say, where that is in one place of the table.
#[repr(C, align(64))]
struct Quick {
    /// As `Fixed::owner`; null, too, where there are more places, or none.
    owner: AtomicPtr<c_void>,
    at: NonNull<u8>,
    turns: NonNull<AtomicU32>,
    users: NonNull<AtomicU32>,
    count: usize,
    bytes: usize,
    index: u64,
}

impl Quick {
    fn new(memory: &Memory, users: &[AtomicU32]) -> Self {
        let first = |words: &[AtomicU32]| NonNull::from(words).cast();
        Self {
            owner: AtomicPtr::new(ptr::null_mut()),
            at: memory.at,
            turns: first(&memory.turns),
            users: first(users),
            count: memory.count as usize,
            bytes: memory.bytes as usize,
            index: 0,
        }
    }
}

impl Fixed {
    pub fn memory(&self) -> &Memory {
        // SAFETY: a set's memory outlives its registrations.
        unsafe { self.memory.as_ref() }
    }

    /// The kernel has it in a table.
    pub fn is_registered(&self) -> bool {
        self.first != NONE
    }

    /// What an entry's `buf_index` is to hold for that buffer.
    pub fn index(&self, number: u32) -> u16 {
        match self.first {
            NONE => u16::MAX,
            // Most sets have one place: no division.
            first if number < self.memory().in_slot => first as u16,
            first => (first + number / self.memory().in_slot) as u16,
        }
    }

    /// `sqe`, with the address, the length and the place of `bytes` from `at` on of the buffer
    /// `number`, which was claimed for that time; and the buffer's count of operations in flight.
    /// None: that is not so, or this is not the executor at `owner`, or not all of the memory is in
    /// one place of its table.
    #[inline(always)]
    pub fn quick_entry(
        &self,
        owner: *mut c_void,
        (number, turn): (u32, u16),
        (at, bytes): (usize, usize),
        mut sqe: Sqe,
    ) -> Option<(Sqe, &AtomicU32)> {
        let (quick, number) = (&self.quick, number as usize);
        if quick.owner.load(Relaxed) != owner || number >= quick.count {
            return None;
        }
        // SAFETY: of a count that is as many as there are; the memory outlives its registrations.
        let (word, users) = unsafe { (quick.turns.add(number).as_ref(), quick.users.add(number)) };
        let fits = at.checked_add(bytes).is_some_and(|end| end <= quick.bytes);
        if word.load(Relaxed) != claimed_for(turn) || !fits {
            return None;
        }
        sqe.0[2] = quick.at.as_ptr() as u64 + (number * quick.bytes + at) as u64;
        sqe.0[3] = bytes as u64;
        sqe.0[5] = quick.index;
        // SAFETY: as above.
        Some((sqe, unsafe { users.as_ref() }))
    }

    /// How many operations are in flight on that buffer.
    pub fn users(&self, number: u32) -> &AtomicU32 {
        &self.users[number as usize]
    }

    /// Operations are in flight through this ring.
    pub fn is_used(&self) -> bool {
        self.users.iter().any(|users| users.load(Relaxed) != 0)
    }

    /// As `users`.
    ///
    /// # Safety
    /// There is a buffer of that number.
    #[inline(always)]
    pub unsafe fn users_unchecked(&self, number: u32) -> &AtomicU32 {
        // SAFETY: the caller's; there is one for each.
        unsafe { self.users.get_unchecked(number as usize) }
    }

    /// `sqe`, which reads or writes that buffer, as the kernel knows it.
    #[inline(always)]
    pub fn entry(&self, number: u32, mut sqe: Sqe) -> Sqe {
        if self.is_registered() {
            sqe.0[5] = sqe.0[5] & !0xffff | u64::from(self.index(number));
            return sqe;
        }
        let plain = match sqe.opcode() {
            op::READ_FIXED => op::READ,
            op::WRITE_FIXED => op::WRITE,
            other => {
                sqe.0[0] &= !(u64::from(send_recv::RECVSEND_FIXED_BUF) << 16);
                other
            }
        };
        sqe.0[0] = sqe.0[0] & !0xff | u64::from(plain);
        sqe.0[5] &= !0xffff;
        sqe
    }
}

/// The entry as it was before `Fixed::entry`, for who begins it again.
pub fn as_given(sqe: &Sqe) -> Sqe {
    let mut sqe = *sqe;
    let opcode = match sqe.opcode() {
        op::READ => op::READ_FIXED,
        op::WRITE => op::WRITE_FIXED,
        other => other,
    };
    sqe.0[0] = sqe.0[0] & !0xff | u64::from(opcode);
    sqe
}

/// One operation more is in flight. The owner's thread.
pub fn used(users: &AtomicU32) {
    users.store(users.load(Relaxed) + 1, Relaxed);
}

/// One less.
pub fn unused(users: &AtomicU32) {
    users.store(users.load(Relaxed) - 1, Relaxed);
}

/// Whether the operation is on a registered buffer.
#[inline(always)]
pub fn is_on_buffer(sqe: &Sqe) -> bool {
    match sqe.opcode() {
        op::READ_FIXED | op::WRITE_FIXED => true,
        op::SEND | op::SEND_ZC => sqe.ioprio() & send_recv::RECVSEND_FIXED_BUF != 0,
        _ => false,
    }
}

impl<K: Kernel> Reactor<K> {
    /// EXPENSIVE. Registers the memory of a set: shared with `like`, a registration of the same
    /// memory with another ring that is alive, if the kernel can. ENOTSUP: there is no ring; EBUSY:
    /// the program has a table of its own; ENOSPC: no place is left; ENOMEM: memory, or the limit
    /// of locked memory.
    ///
    /// # Safety
    /// `memory` outlives the registration.
    pub unsafe fn register_fixed(
        &self,
        owner: *mut c_void,
        memory: NonNull<Memory>,
        like: Option<&Fixed>,
    ) -> Res<NonNull<Fixed>> {
        // SAFETY: the caller's.
        let pieces = unsafe { memory.as_ref() };
        let users = boxed(pieces.count, |_| AtomicU32::new(0))?;
        let mut made = alloc::try_box(Fixed {
            quick: Quick::new(pieces, &users),
            memory,
            owner: AtomicPtr::new(owner),
            ring: self.kernel.ring_fd(),
            first: NONE,
            users,
            next: Cell::new(None),
        })?;
        let slots = pieces.slots();
        match self.kernel.make_fixed_table(SLOTS) {
            Ok(()) => {
                let first = self.free_slots(slots).ok_or(Errno(libc::ENOSPC))?;
                // SAFETY: the memory is mapped until it is unregistered, or the ring closed.
                unsafe { self.fill_slots(first, pieces, like)? };
                made.first = first;
                if slots == 1 {
                    (made.quick.owner, made.quick.index) = (AtomicPtr::new(owner), first.into());
                }
            }
            Err(Errno(libc::EOPNOTSUPP)) => {} // Rule 3.
            Err(e) => return Err(e),
        }
        made.next.set(self.fixed.get());
        let made = NonNull::from(Box::leak(made));
        self.fixed.set(Some(made));
        Ok(made)
    }

    /// # Safety
    /// The memory is mapped until it is unregistered, or the ring closed.
    unsafe fn fill_slots(&self, first: u32, memory: &Memory, like: Option<&Fixed>) -> Res<()> {
        let slots = memory.slots();
        let cloned = like.filter(|like| like.is_registered()).is_some_and(|like| {
            self.kernel.clone_fixed(like.ring, like.first, first, slots).is_ok()
        });
        if cloned {
            return Ok(());
        }
        for slot in 0..slots {
            let (at, bytes) = memory.piece(slot);
            // SAFETY: the caller's.
            let filled = unsafe { self.kernel.set_fixed(first + slot, at, bytes) };
            if let Err(e) = filled {
                (0..slot).for_each(|slot| self.empty_slot(first + slot));
                return Err(e);
            }
        }
        Ok(())
    }

    fn empty_slot(&self, slot: u32) {
        // SAFETY: refers to no memory.
        let _ = unsafe { self.kernel.set_fixed(slot, 0, 0) };
    }

    fn all_fixed(&self) -> impl Iterator<Item = &Fixed> {
        // SAFETY: in the list until they are forgotten.
        core::iter::successors(self.fixed.get(), |at| unsafe { at.as_ref() }.next.get())
            .map(|at| unsafe { at.as_ref() })
    }

    /// The first of so many places of the table that are free.
    fn free_slots(&self, slots: u32) -> Option<u32> {
        let taken = |at: u32| {
            let end = |fixed: &Fixed| fixed.first + fixed.memory().slots();
            let covers = |fixed: &&Fixed| at < end(fixed) && fixed.first < at + slots;
            self.all_fixed().filter(|fixed| fixed.is_registered()).filter(covers).map(end).max()
        };
        let mut at = 0;
        while let Some(end) = taken(at) {
            at = end;
        }
        (at + slots <= SLOTS).then_some(at)
    }

    /// What an entry's `buf_index` holds of the buffer that has this count.
    pub fn index_by_users(&self, users: &AtomicU32) -> Option<u16> {
        let number_in = |fixed: &Fixed| fixed.users.iter().position(|one| ptr::eq(one, users));
        self.all_fixed().find_map(|fixed| Some(fixed.index(number_in(fixed)? as u32)))
    }

    /// The registered buffer that `sqe` is about, if there are any here. EINVAL: not inside one
    /// that somebody has.
    pub fn fixed_of(&self, sqe: &Sqe) -> Res<Option<(&Fixed, u32)>> {
        if self.fixed.get().is_none() {
            return Ok(None);
        }
        for fixed in self.all_fixed() {
            if let Some(number) = fixed.memory().number_of(sqe.addr(), sqe.len() as usize) {
                let claimed = fixed.memory().is_claimed(number);
                return claimed.then_some(Some((fixed, number))).ok_or(Errno(libc::EINVAL));
            }
        }
        Err(Errno(libc::EINVAL))
    }

    /// The memory is no buffer of this ring any more.
    ///
    /// # Safety
    /// From `register_fixed`, not used afterwards, and no operation is in flight on it. The
    /// executor has not ended.
    pub unsafe fn unregister_fixed(&self, at: NonNull<Fixed>) {
        self.forget_fixed(at);
        // SAFETY: leaked by `register_fixed`, out of the list now.
        drop(unsafe { Box::from_raw(at.as_ptr()) });
    }

    /// At the end of the executor: what is left stays its set's, without an owner.
    pub fn forget_all_fixed(&self) {
        while let Some(at) = self.fixed.get() {
            self.forget_fixed(at);
            // SAFETY: its set's, and not freed before that sees this.
            let fixed = unsafe { at.as_ref() };
            fixed.owner.store(ptr::null_mut(), Relaxed);
            fixed.quick.owner.store(ptr::null_mut(), Relaxed);
        }
    }

    fn forget_fixed(&self, at: NonNull<Fixed>) {
        let mut place = &self.fixed;
        while let Some(other) = place.get() {
            // SAFETY: in the list.
            let fixed = unsafe { other.as_ref() };
            if other == at {
                place.set(fixed.next.get());
                if fixed.is_registered() {
                    (0..fixed.memory().slots()).for_each(|n| self.empty_slot(fixed.first + n));
                }
                return;
            }
            // SAFETY: in the list.
            place = unsafe { &other.as_ref().next };
        }
    }
}

/// Frees a registration whose executor has ended.
///
/// # Safety
/// From `register_fixed`, with no owner, and not used afterwards.
pub unsafe fn free(at: NonNull<Fixed>) {
    // SAFETY: the caller's.
    drop(unsafe { Box::from_raw(at.as_ptr()) });
}
