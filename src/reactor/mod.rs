//! Operations in flight: who waits for a submission entry, what the kernel has, what came back.
//!
//! Never imports `sched`: the caller of `reap` says what to do with a woken task.
//!
//! There are two kinds. The **inline** one of a task, which it is suspended in: its in-flight
//! record is the task. A task has one at most, and does not resume before the operation's last
//! completion, so whatever the operation points to outlives it. And **records**
//! ([`operation::Op`]), of which a task may have any number. The entry's `user_data` names either:
//!
//! ```text
//!  63        48 47                        7 6    3 2     0
//! +------------+---------------------------+------+-------+
//! | generation | address of the task       |  0   |   0   |   inline
//! | seal       | address of the record            |   2   |   record
//! | seal       | address of the record            |   6   |   record, not performed: see `CUT`
//! | of what it is to cancel                       |   1   |   cancel request
//! +------------+----------------------------------+-------+
//! ```
//!
//! User addresses fit 48 bits on both architectures (more are only given to those who ask), tasks
//! are 128-aligned, records 8-aligned. The generation counts the task's inline operations, so that
//! a cancel request that waits cannot be taken for a newer operation's.
//!
//! **Completions that are not ours** exist: others may send messages into a ring, and resources may
//! carry tags. What no record of ours issued is dropped. An address is looked up before it is
//! followed (`stack::headers`), and the task there must wait for just this; a record's is sealed
//! with a number that only this reactor knows. Numbers that people choose have no seal.

pub mod batch;
pub mod buffers;
mod cancel;
mod closing;
pub mod fixed;
mod held;
pub mod operation;
mod ordered;
pub mod place;
mod plain;
mod priority;
mod provide;
mod reap;
mod reaped;
mod received;
mod row_of;
pub mod rows;
mod submit;
pub mod users;
pub mod validate;

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr::NonNull;

use crate::atomic::{AtomicU64, Ordering};
use crate::error::{Errno, Res};
use crate::intrusive::Fifo;
use crate::task::header::{Task, TaskRef, PRIORITIES};
use crate::task::list::TaskList;
use crate::uring::kernel::{Kernel, CUT};
use buffers::Buffers;
use closing::Closings;
use fixed::Fixed;
use operation::Op;
use rows::Rows;
use users::Users;

/// What a `user_data` names.
const TAG_INLINE: u64 = 0;
const TAG_CANCEL: u64 = 1;
const TAG_RECORD: u64 = 2;
const TAG_MASK: u64 = 7;
/// Where a reactor's number is in a seal, so many bits of it. That is an odd multiple of how many
/// there were before, so that of those that live together no two have the same.
const SEAL_SHIFT: u32 = 48;
const SEAL_MASK: u64 = 0x7fff;
/// What completes for a record that was in a chain, and not performed.
const TAG_CUT: u64 = TAG_RECORD | CUT;
const ADDRESS_MASK: u64 = (1 << 48) - 1;

const _: () = assert!(align_of::<Task>() > TAG_MASK as usize);
const _: () = assert!(align_of::<Op>() > TAG_MASK as usize);

pub struct Reactor<K> {
    pub kernel: K,
    /// Records that wait for a free submission entry, by I/O priority.
    entry_queues: [Fifo; PRIORITIES],
    /// Cancel requests that wait for one, of inline operations and of records: they go first.
    cancel_queue: TaskList,
    record_cancel_queue: Fifo,
    /// How many wait in the queues above.
    queued: Cell<usize>,
    /// 0: what begins now may go to the kernel as it is. Else something waits, or there is no ring,
    /// or the kernel does not cancel by handle: see `closing`, rule 5.
    later: Cell<usize>,
    /// Cancel requests that the kernel has not answered.
    cancels: Cell<usize>,
    /// What seals records: see `sealed`.
    seal: u64,
    /// Those of its operations that complete as a stream.
    buffers: Cell<Option<NonNull<Buffers>>>,
    /// How many of those have entries that wait for room: see `provide`.
    providing: Cell<usize>,
    /// Registered buffers.
    fixed: Cell<Option<NonNull<Fixed>>>,
    pub closings: Closings,
    users: Users,
    pub rows: Rows,
}

impl<K: Kernel> Reactor<K> {
    /// Where it says how many handles have been closed.
    pub const CLOSINGS_AT: usize = core::mem::offset_of!(Self, closings) + Closings::COUNT_AT;

    pub fn new(kernel: K, users: Users) -> Self {
        static REACTORS: AtomicU64 = AtomicU64::new(1);
        // Against accidents, not against enemies: those are in this process already.
        let number = REACTORS.fetch_add(1, Ordering::Relaxed).wrapping_mul(0xd6e8_feb8_6659_fd93);
        let later = !kernel.has_ring() || !kernel.cancels_by_handle();
        let later = Cell::new(usize::from(later));
        Self {
            kernel,
            entry_queues: [Fifo::new(), Fifo::new(), Fifo::new()],
            cancel_queue: TaskList::new(),
            record_cancel_queue: Fifo::new(),
            queued: Cell::new(0),
            later,
            cancels: Cell::new(0),
            seal: 1 << 63 | (number & SEAL_MASK) << SEAL_SHIFT,
            buffers: Cell::new(None),
            providing: Cell::new(0),
            fixed: Cell::new(None),
            closings: Closings::new(),
            users,
            rows: Rows::default(),
        }
    }

    /// Nothing of ours is in the kernel or on its way there, if no task is attached: one that is in
    /// an operation does not exit.
    pub fn is_idle(&self) -> bool {
        self.cancels.get() == 0
    }

    /// Entries wait in the queues, and there is room for them: the last burst had its fill.
    pub fn could_submit(&self) -> bool {
        (self.queued.get() != 0 || !self.rows.is_empty()) && self.kernel.sq_space() != 0
    }

    /// Something waits to be handed to the kernel.
    #[inline(always)]
    pub fn has_unsubmitted(&self) -> bool {
        self.queued.get() != 0 || self.kernel.sq_pending() != 0 || !self.rows.is_empty()
    }

    /// Something waits for room in the submission queue.
    pub fn has_queued(&self) -> bool {
        self.queued.get() != 0
    }

    /// None of them is destroyed in between.
    pub fn all_buffers(&self) -> impl Iterator<Item = &Buffers> {
        // SAFETY: in the list until they are destroyed.
        let at = |at: Option<NonNull<Buffers>>| at.map(|at| unsafe { at.as_ref() });
        core::iter::successors(at(self.buffers.get()), move |buffers| at(buffers.next.get()))
    }

    /// The buffers that are this group.
    pub fn buffers_of(&self, group: u16) -> Option<&Buffers> {
        self.all_buffers().find(|buffers| buffers.group == group)
    }

    /// Registers buffers under a number that is free, and takes them in. ENOTSUP: there is no such
    /// thing here.
    pub fn add_buffers(&self, owner: *mut c_void, count: u32, bytes: u32) -> Res<NonNull<Buffers>> {
        // By a number the two errors are one.
        if !self.kernel.has_ring() {
            return Err(Errno(libc::ENOTSUP));
        }
        for group in validate::FIRST_GROUP..u16::MAX {
            if self.buffers_of(group).is_some() {
                continue;
            }
            let made = Buffers::new(owner, group, count, bytes)?;
            let (at, entries) = made.registration();
            // SAFETY: mapped until `remove_buffers`, or the end of the ring.
            match unsafe { self.kernel.register_buffers(at, entries, group) } {
                Ok(()) => {}
                Err(Errno(libc::EEXIST)) => continue,
                Err(Errno(libc::EOPNOTSUPP)) => made.provide_by_entries(),
                Err(e) => return Err(e),
            }
            made.next.set(self.buffers.get());
            let made = NonNull::from(Box::leak(made));
            self.buffers.set(Some(made));
            // SAFETY: leaked just now.
            self.provide(unsafe { made.as_ref() });
            return Ok(made);
        }
        Err(Errno(libc::ENOSPC))
    }

    /// EBUSY: a record receives into them, or a buffer is held.
    ///
    /// # Safety
    /// From `add_buffers`, and not used afterwards.
    pub unsafe fn remove_buffers(&self, at: NonNull<Buffers>) -> Res<()> {
        // SAFETY: the caller's.
        let buffers = unsafe { at.as_ref() };
        if buffers.streams.get() != 0 || !buffers.is_idle() {
            return Err(Errno(libc::EBUSY));
        }
        if buffers.is_provided() && !self.withdraw(buffers) {
            return Err(Errno(libc::EBUSY));
        }
        // SAFETY: as above.
        unsafe {
            self.forget_buffers(at);
            Buffers::free(at)
        }
    }

    /// At the end of the executor: those that are left have no owner then.
    pub fn disown_buffers(&self) {
        while let Some(at) = self.buffers.get() {
            // SAFETY: no task is attached, so no record is in flight.
            unsafe {
                self.forget_buffers(at);
                at.as_ref().disown();
            }
        }
    }

    /// # Safety
    /// In the list; no record receives into them.
    unsafe fn forget_buffers(&self, at: NonNull<Buffers>) {
        // SAFETY: the caller's.
        let buffers = unsafe { at.as_ref() };
        if !buffers.is_provided() {
            self.kernel.unregister_buffers(buffers.group);
        }
        let mut place = &self.buffers;
        while let Some(other) = place.get() {
            if other == at {
                place.set(buffers.next.get());
                break;
            }
            // SAFETY: in the list.
            place = unsafe { &other.as_ref().next };
        }
    }

    /// The `user_data` of a record.
    #[inline(always)]
    fn sealed(&self, op: &Op) -> u64 {
        TAG_RECORD | self.seal(core::ptr::from_ref(op) as u64)
    }

    /// The address of a record with its seal: this reactor's number, and the low bits of the
    /// address, which so are there twice. Never 0: what people choose is small, or an address.
    #[inline(always)]
    fn seal(&self, address: u64) -> u64 {
        (address | spread(address)) ^ self.seal
    }

    /// The record that `user_data` names; None: it names none of ours, or is `CUT`.
    #[inline(always)]
    fn record_of(&self, user_data: u64) -> Option<&Op> {
        let bare = user_data ^ (self.seal | TAG_RECORD);
        let address = bare ^ spread(bare);
        // By one question: it has the tag, and nothing is left in the place of a seal, as in
        // `unsealed`; nor is it 0, of which one less has neither.
        let around = TAG_MASK << (u64::BITS - SEAL_SHIFT) | ((1 << (u64::BITS - SEAL_SHIFT)) - 1);
        let rest = address.wrapping_sub(1).rotate_left(u64::BITS - SEAL_SHIFT) & around;
        if rest != TAG_MASK << (u64::BITS - SEAL_SHIFT) {
            return None;
        }
        // SAFETY: as in `unsealed`.
        Some(unsafe { &*(address as *const Op) })
    }

    /// The record that `user_data`, with the tag of one, names; None if it is not ours.
    #[inline(always)]
    fn unsealed(&self, user_data: u64) -> Option<&Op> {
        debug_assert!(user_data & TAG_MASK == TAG_RECORD);
        let bare = user_data ^ self.seal ^ TAG_RECORD;
        let address = bare ^ spread(bare);
        // Anything but its low bits, twice, is left in the place of a seal that is another's.
        if address.wrapping_sub(1) >= ADDRESS_MASK {
            return None;
        }
        // SAFETY: not 0. This reactor has sealed the address, and each seal is used for one
        // operation, which is in flight until its last completion: so a record is there.
        Some(unsafe { &*(address as *const Op) })
    }
}

/// The low bits of a record's address, of which the lowest three are 0, in the place of a seal.
#[inline(always)]
fn spread(address: u64) -> u64 {
    address << (SEAL_SHIFT - 2) >> 1
}

#[inline(always)]
fn name(task: TaskRef) -> u64 {
    task.addr() as u64 | TAG_INLINE | (task.op.get() as u64) << 48
}
