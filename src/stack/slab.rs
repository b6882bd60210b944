//! Where things lie: the shape of a slot, the slab that slots are carved from, and the list of
//! all slabs. Who looks there is `walk`; who may have which slot is `pool`'s business.
//!
//! ```text
//!             one slab: one range of addresses, never unmapped
//!  low   +------+--------------+-------------+-------------+--------+-----+----------+
//!        | Slab | SlotMeta [n] | headers [n] | annexes [n] | slot 0 | ... | slot n-1 |   whole
//!        |      | a bit each   |             |             |        |     |          |   pages
//!        +------+--------------+-------------+-------------+--------+-----+----------+
//!
//!             one slot, the place of a stack: an odd number of pages
//!  low   +---------+--------------------------------------+---------+  high
//!        | guard   |  . . . free stack              <---- | colour  |
//!        +---------+--------------------------------------+---------+
//!                  ^ stack_limit               stack_base ^         ^ end of a page
//! ```
//!
//! Header i and stack i are carved at the same time; after that each has an owner of its own, as
//! tasks exchange stacks with executors (`task::warm`). A task that never suspended takes its
//! header and nothing of its stack; creating it takes no malloc.
//!
//! **Dense headers.** A header at the top of its own slot costs a miss of the translation cache at
//! each of the two times it is touched: when its task becomes ready, and when it runs. Side by side
//! against that, thread CPU time: a sleep among 10,000 0.61 of it, a resumption among 1,000,000
//! 0.59, a launch of 1,024 0.82, a yield among 64 0.92. Huge pages added nothing.
//!
//! **Colour.** Stacks that begin at the same place in every page would all map to the same few sets
//! of the first-level cache (64 sets of 64 bytes: one page). So slot i's stack begins `COLOURS[i %
//! len]` bytes lower. Touching 7 lines each of 64, 256, 1,024 slots: 3.5, 7.8, 7.9 ns a slot with
//! colours, 12.6, 12.6, 33 ns without.
//!
//! **Odd.** With an even number of pages a slot, the one hot page of every slot falls into half or
//! less of the sets of the translation cache. Same measurement, 64 slots: 3.5 ns with 8 pages a
//! slot, 1.8 ns with 9.
//!
//! **Guard.** 16 KiB rather than one page: Rust, and C built with stack clash protection, touch
//! every page as their frame grows, but a plain C frame may step over a page without touching it.
//! A million stacks of 16 KiB with guards of 4, 16, 64 KiB: 260, 300, 480 ns each to create, and
//! 39, 63, 157 MB of page tables, next to the 4,096 MB of the slots' own pages. 16 KiB costs half a
//! percent and holds the frames that real C has (a PATH_MAX buffer and then some); 64 KiB would
//! hold few more for five times the price.

use super::switch::Registration;
use super::walk;
use crate::atomic::{
    AtomicPtr, AtomicU32, AtomicU64,
    Ordering::{Relaxed, Release},
};
use crate::error::{Errno, Res};
use crate::intrusive::marks::{Marks, IN_WORD};
use crate::sys::memory::{self, GuardKind, Reserved};
use crate::sys::stack_overflow::{self, Locate};
use core::mem::{size_of, MaybeUninit};
use core::ptr::NonNull;

pub use super::walk::find;

/// What 0 asks for.
pub(crate) const DEFAULT_STACK_BYTES: usize = 128 << 10;
/// No stack is smaller; larger where a signal frame would not leave room, see [`Shape::new`].
pub(crate) const MIN_STACK_BYTES: usize = 16 << 10;
/// Beyond it a size is a mistake, not a wish.
pub(crate) const MAX_STACK_BYTES: usize = 1 << 40;
/// Rounded up to whole pages. See the top of this file.
pub const GUARD_BYTES: usize = 16 << 10;
/// Next to each header, for what few tasks need: `task::annex`. A multiple of 16.
pub const ANNEX_BYTES: usize = 64;
/// Headers start at multiples of it: two lines, what the adjacent-line prefetcher fetches.
pub const HEADER_ALIGN: usize = 128;
/// How much address space one mapping takes, unless a single slot needs more.
const SLAB_BYTES: usize = 64 << 20;
/// Below it a stack is rounded up to pages, above it to one of 8 sizes a doubling, so that the
/// slabs of a size nobody asks for any more are few.
const EXACT_PAGES: usize = 16;

const COLOUR_COUNT: usize = 21;
/// Leaves the hot end of the stack (1 KiB and more) in the slot's last page.
pub(crate) const COLOUR_MAX: usize = (COLOUR_COUNT - 1) * HEADER_ALIGN;
const _: () = assert!(COLOUR_MAX + 1024 <= 4096);
/// How far slot i's stack is moved down. Neighbours are 8 steps, 1 KiB, apart.
pub const COLOURS: [u16; COLOUR_COUNT] = {
    let mut table = [0; COLOUR_COUNT];
    let mut i = 0;
    while i < COLOUR_COUNT {
        table[i] = ((i * 8) % COLOUR_COUNT * HEADER_ALIGN) as u16;
        i += 1;
    }
    table
};

/// The sizes of a slot; slots of one shape are interchangeable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// What the caller may count on; never less than asked for.
    pub stack_bytes: usize,
    pub guard_bytes: usize,
    /// Guard and all.
    pub slot_bytes: usize,
    pub header_bytes: usize,
}

impl Shape {
    /// EINVAL: an absurd size.
    pub fn new(stack_bytes: usize, header_bytes: usize) -> Res<Self> {
        if stack_bytes > MAX_STACK_BYTES || header_bytes > memory::page_bytes() {
            return Err(Errno(libc::EINVAL));
        }
        Ok(Self::with(
            stack_bytes,
            header_bytes,
            memory::page_bytes(),
            memory::signal_frame_bytes(),
        ))
    }

    /// The sizes are checked, so nothing here overflows.
    fn with(asked: usize, header_bytes: usize, page: usize, signal_frame: usize) -> Self {
        // A signal that arrives while the task runs is delivered on the task's stack, unless its
        // handler has a stack of its own; that must not by itself overflow a small one.
        let least = MIN_STACK_BYTES.max(signal_frame + (8 << 10));
        let asked = if asked == 0 { DEFAULT_STACK_BYTES } else { asked }.max(least);
        let mut stack_pages = asked.div_ceil(page);
        if stack_pages > EXACT_PAGES {
            let step = (stack_pages - 1).ilog2() - 3;
            stack_pages = stack_pages.div_ceil(1 << step) << step;
        }
        let header_bytes = header_bytes.next_multiple_of(HEADER_ALIGN);
        let top_pages = COLOUR_MAX.div_ceil(page);
        let guard_pages = GUARD_BYTES.div_ceil(page);
        Self {
            stack_bytes: stack_pages * page,
            guard_bytes: guard_pages * page,
            slot_bytes: ((stack_pages + top_pages + guard_pages) | 1) * page,
            header_bytes,
        }
    }
}

/// What the pool knows of header i and of stack i. Outlives their pages.
pub(super) struct SlotMeta {
    /// In a list of free stacks.
    pub next: *mut SlotMeta,
    /// In the list of free headers.
    pub next_header: *mut SlotMeta,
    /// Whose stack it was when it was acquired; null, free or an executor's.
    pub owner: AtomicPtr<u8>,
    pub index: u32,
    /// Odd: the header is in use. Grows by one with each acquire and each release, and is never set
    /// back.
    pub generation: u32,
    /// While the stack is in use.
    pub registration: MaybeUninit<Registration>,
    /// The stack is memory: see `backing`.
    pub open: bool,
}

/// The start of a slab; `SlotMeta`s follow, and the words of `asked`. All but these, `carved` and
/// `opened` are written before the slab is published and never again, and a slab is never unmapped.
#[repr(C)]
pub(super) struct Slab {
    pub next: *const Slab,
    pub shape: Shape,
    /// Offset of header 0.
    pub headers_at: usize,
    /// Offset of annex 0.
    pub annexes_at: usize,
    /// Offset of slot 0.
    pub slots_at: usize,
    pub slots: u32,
    /// The pool's number of the shape.
    pub class: u32,
    /// How its slots are guarded.
    pub guards: GuardKind,
    /// mlockall locked it when it was mapped.
    pub locked: bool,
    /// Slots below it were given to somebody. Written under the pool's lock.
    pub carved: AtomicU32,
    /// Slots below it are memory, with guards that take no VMA. Written under the pool's lock.
    pub opened: AtomicU32,
}

/// All slabs, newest first. Only ever grows, so that a signal handler may walk it.
pub(super) static SLABS: AtomicPtr<Slab> = AtomicPtr::new(core::ptr::null_mut());

impl Slab {
    /// Maps and publishes a slab: of 64 MiB, or of less where the kernel has no more, or of more
    /// where one slot needs it. Under the pool's lock.
    pub fn create(shape: Shape, class: u32) -> Res<NonNull<Slab>> {
        stack_overflow::set_locate(&Locate { around: walk::find, is_header: walk::is_header });
        let page = memory::page_bytes();
        let mut slots = (SLAB_BYTES / shape.slot_bytes).max(1);
        loop {
            let words_at = size_of::<Slab>() + slots * size_of::<SlotMeta>();
            let words_end = words_at + slots.div_ceil(IN_WORD as usize) * size_of::<u64>();
            let headers_at = words_end.next_multiple_of(page);
            let annexes_at = (headers_at + slots * shape.header_bytes).next_multiple_of(page);
            let slots_at = (annexes_at + slots * ANNEX_BYTES).next_multiple_of(page);
            match Self::map(slots_at, slots_at + slots * shape.slot_bytes) {
                Ok(Reserved { at, locked }) => {
                    let slab = at.cast::<Slab>();
                    // SAFETY: fresh memory, page-aligned, large enough, and nobody else's yet.
                    unsafe {
                        slab.write(Slab {
                            next: SLABS.load(Relaxed),
                            shape,
                            headers_at,
                            annexes_at,
                            slots_at,
                            slots: slots as u32,
                            class,
                            guards: memory::guard_kind(),
                            locked,
                            carved: AtomicU32::new(0),
                            opened: AtomicU32::new(0),
                        });
                    }
                    // Release: who sees the slab sees its fields.
                    SLABS.store(slab.as_ptr(), Release);
                    return Ok(slab);
                }
                // Under a tight limit many small slabs still fit where a large one does not.
                Err(_) if slots > 1 => slots = (slots / 4).max(1),
                Err(e) => return Err(e),
            }
        }
    }

    /// Address space, of which what lies before the slots is memory.
    fn map(slots_at: usize, bytes: usize) -> Res<Reserved> {
        let reserved = memory::reserve(bytes)?;
        // SAFETY: just reserved; if it cannot be opened, nobody uses it.
        unsafe {
            if let Err(e) = memory::open(reserved.at, slots_at) {
                memory::unmap(reserved.at, bytes);
                return Err(e);
            }
            if reserved.locked {
                memory::lock_what_is_touched(reserved.at, slots_at);
            }
        }
        Ok(reserved)
    }

    /// # Safety
    /// `slab` is published; `index` below its `slots`, or their end.
    pub(crate) unsafe fn meta(slab: NonNull<Slab>, index: u32) -> NonNull<SlotMeta> {
        // SAFETY: the SlotMetas follow the Slab in its mapping, `slots` of them.
        unsafe { slab.add(1).cast::<SlotMeta>().add(index as usize) }
    }

    /// Which of its slots somebody wants something of: see `asked`.
    ///
    /// # Safety
    /// `slab` is published.
    pub(crate) unsafe fn asked<'a>(slab: NonNull<Slab>) -> Marks<'a> {
        const { assert!(size_of::<SlotMeta>().is_multiple_of(align_of::<AtomicU64>())) };
        // SAFETY: the words follow the SlotMetas; zeros at first, and never unmapped.
        Marks::new(unsafe {
            let slots = slab.as_ref().slots;
            let words = Slab::meta(slab, slots).cast::<AtomicU64>();
            core::slice::from_raw_parts(words.as_ptr(), slots.div_ceil(IN_WORD) as usize)
        })
    }

    /// The slab of a `SlotMeta`: the way back from [`Slab::meta`].
    ///
    /// # Safety
    /// `meta` is that of a carved slot: its index is set.
    pub unsafe fn of(meta: NonNull<SlotMeta>) -> NonNull<Slab> {
        // SAFETY: as in `meta`.
        unsafe { meta.sub((*meta.as_ptr()).index as usize).cast::<Slab>().sub(1) }
    }

    /// Lowest address of the slot: its guard.
    ///
    /// # Safety
    /// `slab` is published; `index` below its `slots`.
    pub unsafe fn slot(slab: NonNull<Slab>, index: u32) -> NonNull<u8> {
        // SAFETY: slots lie in the slab's mapping, `slots` of them from `slots_at`.
        unsafe {
            let s = &*slab.as_ptr();
            slab.cast::<u8>().add(s.slots_at + index as usize * s.shape.slot_bytes)
        }
    }
}

impl Slab {
    /// Header of the slot.
    ///
    /// # Safety
    /// `slab` is published; `index` below its `slots`.
    pub unsafe fn header(slab: NonNull<Slab>, index: u32) -> NonNull<u8> {
        // SAFETY: headers lie in the slab's mapping, `slots` of them from `headers_at`.
        unsafe {
            let s = &*slab.as_ptr();
            slab.cast::<u8>().add(s.headers_at + index as usize * s.shape.header_bytes)
        }
    }

    /// Annex of the header.
    ///
    /// # Safety
    /// `slab` is published; `index` below its `slots`.
    pub unsafe fn annex(slab: NonNull<Slab>, index: u32) -> NonNull<u8> {
        // SAFETY: annexes lie in the slab's mapping, `slots` of them from `annexes_at`.
        unsafe {
            let s = &*slab.as_ptr();
            slab.cast::<u8>().add(s.annexes_at + index as usize * ANNEX_BYTES)
        }
    }

    /// Drops the pages around header `index` and around its annex in which nobody has any more.
    /// Under the pool's lock.
    ///
    /// # Safety
    /// `slab` is published; `index` below its `carved`.
    pub(crate) unsafe fn drop_free_headers(slab: NonNull<Slab>, index: u32) {
        // SAFETY: published.
        let s = unsafe { slab.as_ref() };
        // SAFETY: the caller's; so many of these bytes lie there.
        unsafe {
            Self::drop_free(slab, index, s.headers_at, s.shape.header_bytes);
            Self::drop_free(slab, index, s.annexes_at, ANNEX_BYTES);
        }
    }

    /// Things and pages meet every few pages only, so they go by such groups: of 3 pages, for
    /// headers of 384 bytes.
    ///
    /// # Safety
    /// As `drop_free_headers`; `bytes` of each header's lie side by side from `at` on.
    unsafe fn drop_free(slab: NonNull<Slab>, index: u32, at: usize, bytes: usize) {
        // SAFETY: published.
        let s = unsafe { slab.as_ref() };
        let page = memory::page_bytes();
        // The greatest power of two in `bytes` divides the page, as both are such multiples.
        let group_bytes = (bytes >> bytes.trailing_zeros()) * page.max(1 << bytes.trailing_zeros());
        let group_slots = (group_bytes / bytes) as u32;
        let first = index / group_slots * group_slots;
        let end = (first + group_slots).min(s.slots);
        let carved = end.min(s.carved.load(Relaxed));
        // SAFETY: SlotMetas of carved slots are initialised, and the pool is locked.
        let is_free = |i| unsafe { (*Slab::meta(slab, i).as_ptr()).generation.is_multiple_of(2) };
        if (first..carved).all(is_free) {
            // SAFETY: whole pages, or up to the end of the last of its kind, in which nothing else
            // is; their headers are free, and one that reads as zeros is what the pool promises.
            unsafe {
                let from = slab.cast::<u8>().add(at + first as usize * bytes);
                let bytes = ((end - first) as usize * bytes).next_multiple_of(page);
                // An error leaves them as they are, which costs memory and nothing else.
                let _ = memory::drop_pages(from, bytes);
            }
        }
    }
}

impl Shape {
    /// The lowest address of the stack with this base.
    pub(super) fn stack_limit(&self, stack_base: usize) -> usize {
        // The colour is less than a page.
        let end = stack_base.next_multiple_of(memory::page_bytes());
        end - self.slot_bytes + self.guard_bytes
    }

    /// From the slot's lowest address to the base of its stack.
    pub(super) fn stack_offset(&self, index: u32) -> usize {
        self.slot_bytes - COLOURS[index as usize % COLOUR_COUNT] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_holds_what_was_asked_and_stays_odd() {
        for page in [4096, 16384, 65536] {
            for frame in [2048, 11952, 40000] {
                let mut sizes = std::collections::BTreeSet::new();
                let mut asked = 1usize;
                while asked <= MAX_STACK_BYTES {
                    for asked in [asked - 1, asked, asked + 1, asked + asked / 3] {
                        let s = Shape::with(asked, 384, page, frame);
                        let told = if asked == 0 { DEFAULT_STACK_BYTES } else { asked };
                        assert!(s.stack_bytes >= told && s.stack_bytes >= frame + 8192);
                        assert!(s.stack_bytes.is_multiple_of(page));
                        assert!(s.guard_bytes >= GUARD_BYTES);
                        assert_eq!(s.slot_bytes / page % 2, 1);
                        if told > MIN_STACK_BYTES.max(frame + 8192).max(EXACT_PAGES * page) {
                            assert!(s.stack_bytes <= told + told / 8 + page, "{told} {s:?}");
                        }
                        for i in 0..COLOUR_COUNT as u32 {
                            let usable = s.stack_offset(i) - s.guard_bytes;
                            assert!(usable >= s.stack_bytes);
                            assert!(s.stack_offset(i).is_multiple_of(HEADER_ALIGN));
                        }
                        sizes.insert(s.stack_bytes);
                    }
                    asked *= 2;
                }
                assert!(sizes.len() < super::super::pool::CLASS_COUNT, "{} sizes", sizes.len());
            }
        }
    }

    #[test]
    fn colours_are_all_different_and_leave_the_page_to_the_task() {
        let set: std::collections::BTreeSet<_> = COLOURS.iter().collect();
        assert_eq!(set.len(), COLOUR_COUNT);
        for pair in COLOURS.windows(2) {
            assert!(pair[0].abs_diff(pair[1]) >= 512, "neighbours {pair:?} share lines");
        }
    }

    #[test]
    fn absurd_sizes_are_refused() {
        for bytes in [MAX_STACK_BYTES + 1, usize::MAX, usize::MAX - 4095] {
            assert_eq!(Shape::new(bytes, 384), Err(Errno(libc::EINVAL)));
        }
        assert_eq!(Shape::new(0, usize::MAX), Err(Errno(libc::EINVAL)));
    }
}
