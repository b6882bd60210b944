//! Looking at slots: the one behind an address, and all that are in use.

use core::ptr::{null_mut, NonNull};
use core::sync::atomic::Ordering::{Acquire, Relaxed};

use super::pool::pool;
use super::slab::{Slab, SLABS};
use crate::sys::stack_overflow::Hit;

/// Slots that are looked at while the pool is locked.
const LOOK_AT_ONCE: u32 = 256;

/// Calls `f` with the header of every slot that is in use all the time; of others, perhaps.
/// EXPENSIVE: looks at all that were ever carved. The pool is not locked while `f` runs, so `f`
/// sees of a slot that another thread acquires or releases what invariant 1 says.
pub fn for_each_in_use(mut f: impl FnMut(NonNull<u8>)) {
    let mut found = [null_mut(); LOOK_AT_ONCE as usize];
    for_each(|slab| {
        // SAFETY: published slabs live as long as the process.
        let s = unsafe { slab.as_ref() };
        let mut next = 0;
        while next < s.carved.load(Relaxed) {
            let mut count = 0;
            {
                let _pool = pool();
                let end = s.carved.load(Relaxed).min(next + LOOK_AT_ONCE);
                for index in next..end {
                    // SAFETY: a carved slot's SlotMeta is initialised, and the pool is locked
                    // (invariant 3); the header lies in its slot.
                    unsafe {
                        if (*Slab::meta(slab, index).as_ptr()).generation % 2 == 1 {
                            found[count] = Slab::header(slab, index).as_ptr();
                            count += 1;
                        }
                    }
                }
                next = end;
            }
            found[..count].iter().filter_map(|&header| NonNull::new(header)).for_each(&mut f);
        }
    });
}

/// All slabs, newest first.
pub(super) fn for_each(mut f: impl FnMut(NonNull<Slab>)) {
    // Acquire: pairs with the Release in `create`.
    let mut at = SLABS.load(Acquire);
    while let Some(slab) = NonNull::new(at) {
        f(slab);
        // SAFETY: a published slab is never unmapped, and `next` never changes again.
        at = unsafe { slab.as_ref() }.next.cast_mut();
    }
}

/// The slot that an address lies in, guard included; None outside carved slots. ASYNC-SIGNAL-SAFE;
/// time grows with the number of slabs.
pub fn find(address: usize) -> Option<Hit> {
    find_at(address, |s| (s.slots_at, s.shape.slot_bytes))
}

/// The slot whose header is at an address. As [`find`].
pub(super) fn find_by_header(header: *const u8) -> Option<Hit> {
    find_at(header as usize, |s| (s.headers_at, s.shape.header_bytes))
}

/// The slot a part of which an address lies in; where the parts of a slab begin, and their size,
/// says `part`.
fn find_at(address: usize, part: impl Fn(&Slab) -> (usize, usize)) -> Option<Hit> {
    // Acquire: pairs with the Release in `create`.
    let mut at = SLABS.load(Acquire);
    while let Some(slab) = NonNull::new(at) {
        // SAFETY: a published slab is never unmapped, and what is read here never changes again
        // except for `carved`, an atomic.
        let s = unsafe { &*slab.as_ptr() };
        let (parts_at, part_bytes) = part(s);
        if let Some(offset) = address.checked_sub(slab.as_ptr() as usize + parts_at) {
            let index = offset / part_bytes;
            if index < s.carved.load(Relaxed) as usize {
                // SAFETY: the index is that of a carved slot.
                return Some(unsafe { hit(slab, index as u32) });
            }
        }
        at = s.next.cast_mut();
    }
    None
}

/// # Safety
/// `slab` is published; `index` below its `carved`.
unsafe fn hit(slab: NonNull<Slab>, index: u32) -> Hit {
    // SAFETY: published, and the index is that of a carved slot.
    let (s, slot, header) =
        unsafe { (slab.as_ref(), Slab::slot(slab, index), Slab::header(slab, index)) };
    let guard_start = slot.as_ptr() as usize;
    Hit {
        header: header.as_ptr(),
        guard_start,
        stack_limit: guard_start + s.shape.guard_bytes,
        stack_base: guard_start + s.shape.stack_offset(index),
        stack_bytes: s.shape.stack_bytes,
    }
}
