//! Looking at slots: the one behind an address, and all that are in use.

use core::ptr::{null_mut, NonNull};

use super::pool::pool;
use super::slab::{Slab, SLABS};
use super::switch::Switch;
use crate::atomic::Ordering::{Acquire, Relaxed};
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
    let (slab, index) = find_at(address, |s| (s.slots_at, s.shape.slot_bytes))?;
    // SAFETY: of a carved slot.
    Some(unsafe { hit(slab, index) })
}

/// Whether a header begins at an address. As [`find`].
pub(super) fn is_header(address: *const u8) -> bool {
    let at = address as usize;
    let found = find_at(at, |s| (s.headers_at, s.shape.header_bytes));
    // SAFETY: of a carved slot.
    found.is_some_and(|(slab, index)| unsafe { Slab::header(slab, index) }.as_ptr() as usize == at)
}

/// The slot a part of which an address lies in; where the parts of a slab begin, and their size,
/// says `part`.
fn find_at(address: usize, part: impl Fn(&Slab) -> (usize, usize)) -> Option<(NonNull<Slab>, u32)> {
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
                return Some((slab, index as u32));
            }
        }
        at = s.next.cast_mut();
    }
    None
}

/// # Safety
/// `slab` is published; `index` below its `carved`.
unsafe fn hit(slab: NonNull<Slab>, index: u32) -> Hit {
    // SAFETY: published, and the index is that of a carved slot. `open` may be changed by another
    // thread, which then has the stack: nobody runs on it.
    let (s, slot, owner, open) = unsafe {
        let meta = Slab::meta(slab, index).as_ptr();
        let owner = (*meta).owner.load(Relaxed);
        (slab.as_ref(), Slab::slot(slab, index), owner, (&raw const (*meta).open).read_volatile())
    };
    let guard_start = slot.as_ptr() as usize;
    let stack_base = guard_start + s.shape.stack_offset(index);
    // SAFETY: memory, while it is open.
    let launched = if open { unsafe { Switch::launched_at(stack_base) } } else { null_mut() };
    Hit {
        header: if is_header(launched) { launched } else { owner },
        guard_start,
        stack_limit: guard_start + s.shape.guard_bytes,
        stack_base,
        stack_bytes: s.shape.stack_bytes,
    }
}
