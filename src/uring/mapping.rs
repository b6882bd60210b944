//! The memory of a ring, mapped once more: the io-uring crate, which makes the ring, keeps its own
//! mapping to itself, and goes to the kernel's words at every push and for each look.

use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use io_uring::{IoUring, Parameters};

use super::kernel::{Cqe, Sqe};
use super::queues::{Places, Queues};
use crate::error::Errno;
use crate::sys::memory;

/// IORING_OFF_SQ_RING, which has both rings since 5.4, and IORING_OFF_SQES.
const RINGS: i64 = 0;
const SQES: i64 = 0x1000_0000;

/// `struct io_uring_params`, which the crate promises its `Parameters` to be.
#[repr(C)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    _flags: [u32; 8],
    sq: SubmissionOffsets,
    cq: CompletionOffsets,
}

/// `struct io_sqring_offsets`
#[repr(C)]
struct SubmissionOffsets {
    head: u32,
    tail: u32,
    _ring: [u32; 2],
    flags: u32,
    _dropped: u32,
    _array: u32,
    _reserved: u32,
    _user_addr: u64,
}

/// `struct io_cqring_offsets`
#[repr(C)]
struct CompletionOffsets {
    head: u32,
    tail: u32,
    _ring: [u32; 2],
    _overflow: u32,
    cqes: u32,
    _flags: u32,
    _reserved: u32,
    _user_addr: u64,
}

const _: () = assert!(
    size_of::<Params>() == size_of::<Parameters>()
        && align_of::<Params>() == align_of::<Parameters>()
);

pub(super) struct Mapping {
    queues: Queues,
    _rings: Area,
    _sqes: Area,
}

impl Mapping {
    /// # Safety
    /// Nobody else pushes on the ring or takes from it.
    pub(super) unsafe fn new(uring: &IoUring) -> Result<Self, Errno> {
        // SAFETY: a transparent wrapper of that struct, of plain integers (its documentation; size
        // and alignment are asserted above).
        let p = unsafe { &*std::ptr::from_ref(uring.params()).cast::<Params>() };
        let fd = uring.as_raw_fd();
        // The array of indices, where there is one, lies behind the completions.
        let bytes = p.cq.cqes as usize + p.cq_entries as usize * size_of::<Cqe>();
        let rings = Area::new(fd, RINGS, bytes)?;
        let sqes = Area::new(fd, SQES, p.sq_entries as usize * size_of::<Sqe>())?;
        let at = Places {
            sq_head: rings.place(p.sq.head),
            sq_tail: rings.place(p.sq.tail),
            sq_flags: rings.place(p.sq.flags),
            cq_head: rings.place(p.cq.head),
            cq_tail: rings.place(p.cq.tail),
            sqes: sqes.place(0),
            cqes: rings.place(p.cq.cqes),
            sq_entries: p.sq_entries,
            cq_entries: p.cq_entries,
        };
        // SAFETY: where the kernel says that they are; the rest is the caller's word.
        let queues = unsafe { Queues::new(at) };
        Ok(Self { queues, _rings: rings, _sqes: sqes })
    }
}

impl std::ops::Deref for Mapping {
    type Target = Queues;
    #[inline(always)]
    fn deref(&self) -> &Queues {
        &self.queues
    }
}

/// A part of the ring's file.
struct Area {
    at: NonNull<u8>,
    bytes: usize,
}

impl Area {
    fn new(fd: i32, offset: i64, bytes: usize) -> Result<Self, Errno> {
        Ok(Self { at: memory::map_file(fd, offset, bytes)?, bytes })
    }

    fn place<T>(&self, offset: u32) -> NonNull<T> {
        debug_assert!((offset as usize) < self.bytes);
        // SAFETY: within the area, as the kernel lays it out.
        unsafe { self.at.add(offset as usize).cast() }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and used by nobody else.
        unsafe { memory::unmap(self.at, self.bytes) };
    }
}
