//! Buffers that the kernel chooses from, for operations that complete as a stream: its ring of
//! them, and what became of each. OWNER'S THREAD.
//!
//! ```text
//!            the kernel takes it       its completion is taken         released
//!   FREE ------------------------> UNTAKEN -----------------> HELD --------------> FREE
//!                                     |  nobody took it                              ^
//!                                     `----------------------------------------------'
//! ```
//!
//! 1. A buffer has one outstanding completion at most: so completions that nobody took yet are kept
//!    here, a place a buffer, and none is ever without a place. Those of one record are a list.
//! 2. The ring's memory is the kernel's to read from registration to the end of the ring or the
//!    unregistration; its tail is ours to write.
//! 3. A buffer is not given back before its data is of no use: by who released the view, or when
//!    the record's task has exited.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr;
use core::ptr::NonNull;

use crate::atomic::{
    AtomicPtr, AtomicU16,
    Ordering::{Relaxed, Release},
};
use crate::error::{Errno, Res};
use crate::intrusive::Fifo;
use crate::sys::memory;
use crate::task::header::TaskRef;
use crate::task::state;
use crate::uring::kernel::Sqe;

use super::validate;

/// `struct io_uring_buf`; the last word of the first one is the ring's tail.
#[repr(C)]
struct Entry {
    address: Cell<u64>,
    bytes: Cell<u32>,
    number: Cell<u16>,
    tail: AtomicU16,
}

const _: () = assert!(size_of::<Entry>() == 16);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Is {
    /// Not given to the kernel yet.
    New,
    Free,
    /// Filled for a record of this task.
    Untaken(TaskRef),
    /// By the run that has taken it, as far as is known: see `passes`.
    Held(TaskRef, state::Run),
}

struct Place {
    is: Cell<Is>,
    /// UNTAKEN: the next of the record's.
    next: Cell<u16>,
    res: Cell<i32>,
    flags: Cell<u32>,
}

/// Buffers that lie behind each other.
pub(super) struct Run {
    pub first: u16,
    pub count: u16,
}

/// No buffer's number.
pub(super) const NONE: u16 = u16::MAX;
/// Of bytes that are no power of two.
const NO_SHIFT: u8 = u8::MAX;
/// As many as the kernel takes.
const COUNT_MAX: u32 = 1 << 15;

/// Buffers of one size, registered as a group.
pub struct Buffers {
    /// The executor; null after its end.
    owner: AtomicPtr<c_void>,
    pub group: u16,
    count: u16,
    bytes: u32,
    /// Of the bytes, as a power of two.
    shift: u8,
    entries: NonNull<Entry>,
    memory: NonNull<u8>,
    mapped: [usize; 2],
    tail: Cell<u16>,
    /// The kernel has no rings of them: see `provide`.
    is_provided: Cell<bool>,
    /// Then: the first of a list of those that are free, and not the kernel's yet; its last.
    unprovided: Cell<[u16; 2]>,
    /// And entries for them wait for room.
    pub(super) waits: Cell<bool>,
    free: Cell<u32>,
    /// Records in flight that receive into them.
    pub streams: Cell<u32>,
    places: Vec<Place>,
    /// Who waits for one to be free; see `executor::buffers`.
    pub hungry: Fifo,
    /// Others give back than who has taken: who holds which is not known, from then on.
    pub passes: Cell<bool>,
    /// One was given back, or somebody has begun to wait, since it was seen who has them.
    pub has_news: Cell<bool>,
    /// The executor's next.
    pub next: Cell<Option<NonNull<Buffers>>>,
}

impl Buffers {
    /// EXPENSIVE. EINVAL: not a power of two, too many, or of no size.
    pub fn new(owner: *mut c_void, group: u16, count: u32, bytes: u32) -> Res<Box<Self>> {
        if !count.is_power_of_two() || count > COUNT_MAX || bytes == 0 || bytes > i32::MAX as u32 {
            return Err(Errno(libc::EINVAL));
        }
        let page = memory::page_bytes();
        let ring_bytes = (count as usize * size_of::<Entry>()).next_multiple_of(page);
        let data_bytes = (count as usize)
            .checked_mul(bytes as usize)
            .and_then(|n| n.checked_next_multiple_of(page))
            .ok_or(Errno(libc::ENOMEM))?;
        let mut places = Vec::new();
        places.try_reserve_exact(count as usize).map_err(|_| Errno(libc::ENOMEM))?;
        places.extend((0..count).map(|_| Place {
            is: Cell::new(Is::New),
            next: Cell::new(NONE),
            res: Cell::new(0),
            flags: Cell::new(0),
        }));
        let entries = memory::map(ring_bytes)?;
        let data = memory::map(data_bytes).inspect_err(|_| {
            // SAFETY: mapped just now.
            unsafe { memory::unmap(entries, ring_bytes) };
        })?;
        let made = crate::sys::alloc::try_box(Self {
            owner: AtomicPtr::new(owner),
            group,
            count: count as u16,
            bytes,
            shift: if bytes.is_power_of_two() { bytes.trailing_zeros() as u8 } else { NO_SHIFT },
            entries: entries.cast(),
            memory: data,
            mapped: [ring_bytes, data_bytes],
            tail: Cell::new(0),
            is_provided: Cell::new(false),
            unprovided: Cell::new([NONE; 2]),
            waits: Cell::new(false),
            free: Cell::new(0),
            streams: Cell::new(0),
            places,
            hungry: Fifo::new(),
            passes: Cell::new(false),
            has_news: Cell::new(false),
            next: Cell::new(None),
        });
        let made = made.inspect_err(|_| {
            // SAFETY: mapped just now.
            unsafe {
                memory::unmap(entries, ring_bytes);
                memory::unmap(data, data_bytes);
            }
        })?;
        (0..count as u16).for_each(|number| made.put(number));
        Ok(made)
    }

    /// The executor; null after its end.
    pub fn owner(&self) -> *mut c_void {
        // Relaxed: another thread compares it at most.
        self.owner.load(Relaxed)
    }

    /// At the end of the executor: they stay for the views that are out, until they are freed.
    pub(super) fn disown(&self) {
        self.owner.store(ptr::null_mut(), Relaxed);
    }

    /// EBUSY: one is held.
    ///
    /// # Safety
    /// Leaked, without an owner or out of its list, and not used afterwards.
    pub unsafe fn free(at: NonNull<Self>) -> Res<()> {
        // SAFETY: the caller's.
        if !unsafe { at.as_ref() }.is_idle() {
            return Err(Errno(libc::EBUSY));
        }
        // SAFETY: as above.
        drop(unsafe { Box::from_raw(at.as_ptr()) });
        Ok(())
    }

    /// Where the kernel finds its ring, and how many entries that has.
    pub fn registration(&self) -> (u64, u16) {
        (self.entries.as_ptr() as u64, self.count)
    }

    #[inline(always)]
    fn place(&self, number: u16) -> &Place {
        debug_assert!(number < self.count);
        // SAFETY: there are `count`; the kernel's numbers, and a caller's, are looked at first.
        unsafe { self.places.get_unchecked(number as usize) }
    }

    pub fn data(&self, number: u16) -> NonNull<u8> {
        debug_assert!(number < self.count);
        // SAFETY: within the mapping.
        unsafe { self.memory.byte_add(number as usize * self.bytes as usize) }
    }

    /// The number of the buffer that lies there.
    #[inline(always)]
    pub fn number_of(&self, data: *const u8) -> Option<u16> {
        let offset = data.addr().wrapping_sub(self.memory.addr().get());
        let (number, exact) = match self.shift {
            NO_SHIFT => (offset / self.bytes as usize, offset.is_multiple_of(self.bytes as usize)),
            shift => (offset >> shift, offset & (self.bytes as usize - 1) == 0),
        };
        (exact && number < self.count as usize).then_some(number as u16)
    }

    /// The kernel has at least one to choose.
    pub fn has_free(&self) -> bool {
        self.free.get() != 0
    }

    /// All are free.
    pub fn is_idle(&self) -> bool {
        self.free.get() == u32::from(self.count)
    }

    /// To the kernel.
    #[inline(always)]
    fn put(&self, number: u16) {
        self.put_at(number, self.data(number));
    }

    /// The same, of one that lies at `data`.
    #[inline(always)]
    fn put_at(&self, number: u16, data: NonNull<u8>) {
        let place = self.place(number);
        debug_assert!(place.is.get() != Is::Free);
        place.is.set(Is::Free);
        self.free.set(self.free.get() + 1);
        if self.is_provided.get() {
            return self.add_unprovided(number);
        }
        let at = (self.tail.get() & (self.count - 1)) as usize;
        // SAFETY: within the ring; the kernel reads it once the tail below tells of it (rule 2).
        let (entry, first) = unsafe { (self.entries.add(at).as_ref(), self.entries.as_ref()) };
        entry.address.set(data.as_ptr() as u64);
        entry.bytes.set(self.bytes);
        entry.number.set(number);
        self.tail.set(self.tail.get().wrapping_add(1));
        // Release: the entry.
        first.tail.store(self.tail.get(), Release);
    }

    fn add_unprovided(&self, number: u16) {
        let [first, last] = self.unprovided.get();
        self.place(number).next.set(NONE);
        if first == NONE {
            return self.unprovided.set([number; 2]);
        }
        self.place(last).next.set(number);
        self.unprovided.set([first, number]);
    }

    /// From now on each is handed to the kernel by an entry; none is its yet.
    pub(super) fn provide_by_entries(&self) {
        self.is_provided.set(true);
        self.unprovided.set([NONE; 2]);
        (0..self.count).for_each(|number| self.add_unprovided(number));
    }

    /// Each is handed to the kernel by an entry.
    pub fn is_provided(&self) -> bool {
        self.is_provided.get()
    }

    /// As the kernel is to be given it: one before 6.0 takes no length for no bytes, which would be
    /// the end of the stream.
    pub fn entry(&self, mut sqe: Sqe) -> Sqe {
        if sqe.len() == 0 && validate::receives_once(&sqe) {
            sqe.set_len(self.bytes);
        }
        sqe
    }

    #[inline]
    pub(super) fn has_unprovided(&self) -> bool {
        self.unprovided.get()[0] != NONE
    }

    /// The first of those, and those behind it that lie behind it. There are some.
    pub(super) fn take_unprovided(&self) -> Run {
        let [first, last] = self.unprovided.get();
        let mut count = 1;
        let mut next = self.place(first).next.replace(NONE);
        while next != NONE && next == first + count {
            next = self.place(next).next.replace(NONE);
            count += 1;
        }
        self.unprovided.set([next, last]);
        Run { first, count }
    }

    pub(super) fn bytes(&self) -> u32 {
        self.bytes
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// The kernel has filled one, for the record of `task` whose list ends with `last`. False: no
    /// such completion is ours.
    #[inline(always)]
    pub(super) fn arrived(
        &self,
        task: TaskRef,
        (number, last): (u16, u16),
        res: i32,
        flags: u32,
    ) -> bool {
        if number >= self.count || self.place(number).is.get() != Is::Free {
            return false;
        }
        let place = self.place(number);
        place.is.set(Is::Untaken(task));
        place.next.set(NONE);
        place.res.set(res);
        place.flags.set(flags);
        self.free.set(self.free.get() - 1);
        if last != NONE {
            self.place(last).next.set(number);
        }
        true
    }

    /// The kernel took one, and has not filled it: it gets it back.
    pub(super) fn refused(&self, number: u16) {
        if number < self.count && self.place(number).is.get() == Is::Free {
            self.place(number).is.set(Is::New);
            self.free.set(self.free.get() - 1);
            self.put(number);
        }
    }

    /// The result that came with it.
    #[inline(always)]
    pub(super) fn bytes_in(&self, number: u16) -> i32 {
        self.place(number).res.get()
    }

    /// What came with it, and the next of the record's; `holder` has it from now on.
    #[inline(always)]
    pub(super) fn taken(&self, number: u16, holder: TaskRef) -> (i32, u32, u16) {
        let place = self.place(number);
        debug_assert!(matches!(place.is.get(), Is::Untaken(_)));
        place.is.set(Is::Held(holder, holder.state().run()));
        (place.res.get(), place.flags.get(), place.next.get())
    }

    /// Its completion was taken, and it was not given back.
    #[inline(always)]
    pub fn is_held(&self, number: u16) -> bool {
        number < self.count && matches!(self.place(number).is.get(), Is::Held(..))
    }

    /// Its data is of no use any more. False: nobody holds it.
    pub fn give_back(&self, number: u16) -> bool {
        if !self.is_held(number) {
            return false;
        }
        self.put(number);
        true
    }

    /// As `give_back`, what lies at `data`, by `task`, or outside tasks.
    #[inline(always)]
    pub fn release(&self, data: *mut u8, task: Option<TaskRef>) -> bool {
        let (Some(number), Some(data)) = (self.number_of(data), NonNull::new(data)) else {
            return false;
        };
        let is = self.place(number).is.get();
        if !matches!(is, Is::Held(..)) {
            return false;
        }
        let taken_by = |task: TaskRef| is == Is::Held(task, task.state().run());
        if !task.is_some_and(taken_by) {
            self.passes.set(true);
        }
        self.put_at(number, data);
        true
    }

    /// No buffer is free, and each is known to be with a task for which `waits` says so: data that
    /// a waiting task has not taken keeps its buffer as a view does. What an earlier run of it has
    /// taken is with others. O(buffers), if there is news.
    pub fn are_all_with(&self, waits: impl Fn(TaskRef) -> bool) -> bool {
        !self.passes.get()
            && !self.has_free()
            && self.has_news.replace(false)
            && self.places.iter().all(|place| match place.is.get() {
                Is::Held(task, run) if task.state().run() != run => false,
                Is::Held(task, _) | Is::Untaken(task) => waits(task),
                Is::New | Is::Free => false,
            })
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        let [ring_bytes, data_bytes] = self.mapped;
        // SAFETY: mapped by `new`; unregistered, and no record in flight receives into them.
        unsafe {
            memory::unmap(self.entries.cast(), ring_bytes);
            memory::unmap(self.memory, data_bytes);
        }
    }
}
