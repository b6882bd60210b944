//! Where a debugger finds the tasks of a process: offsets and constants of the slabs and of a
//! switch, by name. Touches nothing; `debug` puts it where a debugger looks.

use core::ffi::c_void;
use core::mem::{offset_of, size_of};

use super::slab::{Shape, Slab, SlotMeta, SLABS};
use super::switch::Switch;

/// The address of the newest slab's address.
pub(crate) const SLABS_AT: *const c_void = (&raw const SLABS).cast();

pub(crate) const SLAB_FIELDS: [(&str, usize); 15] = [
    ("slab.size", size_of::<Slab>()),
    ("slab.next", offset_of!(Slab, next)),
    ("slab.headers_at", offset_of!(Slab, headers_at)),
    ("slab.slots_at", offset_of!(Slab, slots_at)),
    ("slab.slots", offset_of!(Slab, slots)),
    ("slab.carved", offset_of!(Slab, carved)),
    ("slab.header_bytes", offset_of!(Slab, shape) + offset_of!(Shape, header_bytes)),
    ("slab.slot_bytes", offset_of!(Slab, shape) + offset_of!(Shape, slot_bytes)),
    ("slab.guard_bytes", offset_of!(Slab, shape) + offset_of!(Shape, guard_bytes)),
    ("meta.size", size_of::<SlotMeta>()),
    ("meta.generation", offset_of!(SlotMeta, generation)),
    ("switch.size", size_of::<Switch>()),
    ("switch.sp", Switch::SP_AT),
    ("switch.link_below", Switch::LINK_BELOW_BASE),
    // Whether `sp` is where the registers of the suspension are; else it is somewhat above.
    ("switch.by_jumps", cfg!(all(target_arch = "x86_64", not(feature = "asan"))) as usize),
];
