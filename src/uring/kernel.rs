//! The seam to the kernel: what the executor needs of a ring, so that the same loop runs against
//! io_uring and against a simulated kernel.
//!
//! Every method takes `&self`: tasks push entries from their own stacks while the loop that owns
//! the ring is further up on the executor's. All calls come from the owning thread.

pub use super::abi::op;
use super::abi::{sqe as flag, NO_SIGNAL};
use crate::error::Errno;
pub use crate::sys::coarse::Moment;
pub use crate::sys::eventfd::Waker;
use crate::sys::fd;
use crate::ticks;
use core::cell::Cell;

/// One submission queue entry, as the kernel reads it (`struct io_uring_sqe`, 64 bytes).
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub struct Sqe(pub [u64; 8]);

/// One completion (`struct io_uring_cqe`, 16 bytes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Cqe {
    pub user_data: u64,
    pub res: i32,
    pub flags: u32,
}

/// From here on `user_data` is the kernel object's own: `push` gets none, and no completion shows
/// any.
pub(crate) const FIRST_RESERVED_USER_DATA: u64 = u64::MAX - 15;

/// In the `user_data` of a completion: the kernel has taken the beginning of its chain alone, and
/// this entry was not performed. Those of linked entries have no such bit when they are pushed.
pub const CUT: u64 = 1 << 2;

/// How long an [`Kernel::enter`] may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: submit, and collect what is there.
    No,
    /// Until a completion, a wake-up, or this time on the boot-time clock.
    Until { boot_ns: u64 },
    /// Until a completion or a wake-up.
    Forever,
}

impl Sqe {
    pub const fn zeroed() -> Self {
        Self([0; 8])
    }
    #[inline]
    pub const fn opcode(&self) -> u8 {
        self.0[0] as u8
    }
    /// IOSQE_*
    #[inline]
    pub const fn flags(&self) -> u8 {
        (self.0[0] >> 8) as u8
    }
    #[inline]
    pub const fn ioprio(&self) -> u16 {
        (self.0[0] >> 16) as u16
    }
    #[cfg(test)]
    pub(crate) fn set_ioprio(&mut self, v: u16) {
        self.0[0] = (self.0[0] & !(0xffff << 16)) | ((v as u64) << 16);
    }
    #[inline]
    pub const fn fd(&self) -> i32 {
        (self.0[0] >> 32) as i32
    }
    #[inline]
    pub const fn off(&self) -> u64 {
        self.0[1]
    }
    #[inline]
    pub const fn addr(&self) -> u64 {
        self.0[2]
    }
    /// 0, or what becomes a direct descriptor: its index and 1, or INDEX_ALLOC.
    #[inline]
    pub const fn file_index(&self) -> u32 {
        (self.0[5] >> 32) as u32
    }
    #[inline]
    #[allow(clippy::len_without_is_empty)]
    pub const fn len(&self) -> u32 {
        self.0[3] as u32
    }
    #[inline]
    pub(crate) fn set_len(&mut self, bytes: u32) {
        self.0[3] = (self.0[3] >> 32) << 32 | u64::from(bytes);
    }
    /// rw_flags, poll32_events, timeout_flags, ...: the union of per-opcode flags.
    #[inline]
    pub(crate) const fn op_flags(&self) -> u32 {
        (self.0[3] >> 32) as u32
    }
    /// Of those with IOSQE_BUFFER_SELECT.
    #[inline]
    pub(crate) const fn buf_group(&self) -> u16 {
        self.0[5] as u16
    }
    #[inline]
    pub const fn user_data(&self) -> u64 {
        self.0[4]
    }
    #[inline]
    pub fn set_user_data(&mut self, v: u64) {
        self.0[4] = v;
    }
    /// The same entry. Each word is read once, and alone, whatever the optimiser would rather do:
    /// the caller has just written the entry, and a load that is wider than the stores it reads
    /// from waits until they have left the store buffer.
    #[inline(always)]
    pub fn copied(&self) -> Self {
        // SAFETY: a word of ours. Volatile, or two loads become a wider one.
        let word = |i: usize| unsafe { (&raw const self.0[i]).read_volatile() };
        let mut sqe = Self([word(0), 0, 0, 0, 0, word(5), 0, 0]);
        pair::put(&mut sqe.0, 1, [word(1), word(2)]);
        pair::put(&mut sqe.0, 3, [word(3), word(4)]);
        pair::put(&mut sqe.0, 6, [word(6), word(7)]);
        sqe
    }
    /// The same entry with these two fields.
    #[inline(always)]
    pub fn with(self, ioprio: u16, user_data: u64) -> Self {
        self.with_head((self.0[0] & !(0xffff << 16)) | (ioprio as u64) << 16, user_data)
    }
    /// The same entry with this first word and `user_data`. By value, from where the entry is made
    /// to the queue: in memory of its own it would be written once more.
    #[inline(always)]
    pub fn with_head(self, head: u64, user_data: u64) -> Self {
        let [_, off, addr, len, _, group, rest @ ..] = self.0;
        let mut sqe = Self([head, 0, 0, len, user_data, group, 0, 0]);
        pair::put(&mut sqe.0, 1, [off, addr]);
        pair::put(&mut sqe.0, 6, rest);
        sqe
    }
    /// The entry of a write, so that it raises no SIGPIPE: by its own flag, where the kernel knows
    /// that. Else one to the current position, as those to a pipe or a socket are, is performed by
    /// a thread of the kernel's, which takes no such signal.
    pub fn raising_no_signal(mut self, known: bool) -> Self {
        if known {
            self.0[3] |= u64::from(NO_SIGNAL) << 32;
        } else if self.off() == u64::MAX {
            self = self.by_a_worker();
        }
        self
    }
    /// The entry of what would keep this thread waiting in the kernel.
    pub fn by_a_worker(mut self) -> Self {
        self.0[0] |= u64::from(flag::ASYNC) << 8;
        self
    }
    /// IORING_OP_URING_CMD to a direct socket: level and name of an option lie where others have an
    /// address, the value, at an address and of so many bytes, where they have a third one.
    pub fn option(
        fd: i32,
        command: u32,
        (level, name): (i32, i32),
        (value, length): (u64, u32),
    ) -> Self {
        let of = u64::from(level as u32) | u64::from(name as u32) << 32;
        let mut sqe = Self::new(op::URING_CMD, fd, command.into(), of, 0, 0);
        sqe.0[0] |= u64::from(flag::FIXED_FILE) << 8;
        sqe.0[5] = u64::from(length) << 32;
        sqe.0[6] = value;
        sqe
    }
    /// An entry from its leading fields; the rest 0.
    #[inline]
    pub const fn new(opcode: u8, fd: i32, off: u64, addr: u64, len: u32, op_flags: u32) -> Self {
        Self([
            opcode as u64 | ((fd as u32 as u64) << 32),
            off,
            addr,
            len as u64 | ((op_flags as u64) << 32),
            0,
            0,
            0,
            0,
        ])
    }
}

/// Two words that are stored as one: what an item costs is stores.
mod pair {
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn put(words: &mut [u64; 8], at: usize, pair: [u64; 2]) {
        use core::arch::x86_64::{_mm_set_epi64x, _mm_storeu_si128};
        let to = words[at..at + 2].as_mut_ptr().cast();
        // SAFETY: two words of ours; every processor of this kind has the instruction.
        unsafe { _mm_storeu_si128(to, _mm_set_epi64x(pair[1] as i64, pair[0] as i64)) };
    }

    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    pub(super) fn put(words: &mut [u64; 8], at: usize, pair: [u64; 2]) {
        words[at..at + 2].copy_from_slice(&pair);
    }
}

/// A ring, or nothing but a way to sleep (`has_ring() == false`: compute-only).
pub trait Kernel {
    /// False for a compute-only executor: `push` is never called.
    fn has_ring(&self) -> bool;

    /// Entries that may be pushed before the next `enter`.
    fn sq_space(&self) -> u32;

    /// Entries pushed and not yet taken by the kernel.
    fn sq_pending(&self) -> u32;

    /// Copies `sqe` into the submission queue. The caller has seen `sq_space() > 0`.
    ///
    /// # Safety
    /// All memory the entry refers to stays valid until its last completion.
    unsafe fn push(&self, sqe: &Sqe);

    /// The hot way in: if there is room, as `push`; else false, and nothing is done.
    ///
    /// # Safety
    /// As `push`; there is a ring.
    #[inline(always)]
    unsafe fn try_push(&self, sqe: &Sqe) -> bool {
        if self.sq_space() == 0 {
            return false;
        }
        // SAFETY: there is room; the caller answers for the rest.
        unsafe { self.push(sqe) };
        true
    }

    /// There is room for one entry: as `sq_space`, of who knows that there is a ring.
    ///
    /// # Safety
    /// There is.
    #[inline(always)]
    unsafe fn has_room(&self) -> bool {
        self.sq_space() != 0
    }

    /// As `push`, of the entry with these two words; `with` gives each other one, once. Each is
    /// moved alone: two that are made a pair first are an instruction more.
    ///
    /// # Safety
    /// As `push`; there is a ring.
    #[inline(always)]
    unsafe fn push_words(&self, head: u64, user_data: u64, with: impl Fn(usize) -> u64) {
        let [off, addr, len, group, six, seven] = [1, 2, 3, 5, 6, 7].map(with);
        let sqe = Sqe([head, off, addr, len, user_data, group, six, seven]);
        // SAFETY: the caller's.
        unsafe { self.push(&sqe) };
    }

    /// A completion may be visible without a system call; false: none is.
    #[inline(always)]
    fn has_completions(&self) -> bool {
        true
    }

    /// Oldest completion that is visible without a system call.
    fn pop(&self) -> Option<Cqe>;

    /// Completions that are visible without a system call, oldest first, `max` at most; the rest
    /// stay. `each` does not call the kernel. How many it were.
    #[inline(always)]
    fn for_each_completion(&self, max: usize, mut each: impl FnMut(Cqe)) -> usize {
        for taken in 0..max {
            let Some(cqe) = self.pop() else { return taken };
            each(cqe);
        }
        max
    }

    /// So many completions are visible that `take_run` pays for itself.
    #[inline(always)]
    fn has_run(&self) -> bool {
        false
    }

    /// Shows the oldest completions, as many as lie side by side, `max` at most, to `take`, which
    /// says how many of them, the oldest first, are taken, and does not call the kernel: so many.
    /// `take` leaves those whose `user_data` is reserved.
    #[inline(always)]
    fn take_run(&self, _max: usize, _take: impl FnOnce(&[Cqe]) -> usize) -> usize {
        0
    }

    /// True if completions wait inside the kernel for an `enter` (deferred task work, overflow).
    fn needs_enter(&self) -> bool;

    /// Submits what is pending, as much as the kernel takes, and makes what completed visible to
    /// `pop`; sleeps as `wait` says if no completion is there. Returns for any reason, early too: a
    /// completion, a wake-up, the time, a signal (`EINTR`), a refusal (`EAGAIN`, `EBUSY`): the
    /// caller looks again, nothing is lost. Entries not taken stay pending, in order; those that
    /// are linked to one that was taken complete with [`CUT`].
    fn enter(&self, wait: Wait) -> Result<(), Errno>;

    /// A sleep without a deadline may be on a word of the executor's, by a futex, in place of
    /// `enter`: there is nothing else to wait for. Then `waker` does not end it.
    #[inline(always)]
    fn sleeps_on_words(&self) -> bool {
        false
    }

    /// As `enter` without waiting, where entries that were pushed are linked: what follows another
    /// begins in here, up to so many completions, as far as none has to wait.
    fn enter_linked(&self, _completions: u32) -> Result<(), Errno> {
        self.enter(Wait::No)
    }

    /// Other threads go on while this one looks for what they bring.
    fn is_beside_others(&self) -> bool {
        false
    }

    /// CLOCK_BOOTTIME, or the simulation's.
    fn now_boot_ns(&self) -> u64;

    /// The same, or some microseconds later, but never earlier: from where the time of a wait that
    /// begins now counts. Cheaper where the clock was read a moment ago.
    #[inline]
    fn now_or_later_boot_ns(&self) -> u64 {
        self.now_boot_ns()
    }

    /// A moment, for `ns_since`: cheaper than the clock.
    #[inline]
    fn stamp(&self) -> u64 {
        ticks::now()
    }

    /// The same, to `at`, as the last thing that the caller does.
    #[inline(always)]
    fn stamp_to(&self, at: &Cell<u64>) {
        at.set(self.stamp());
    }

    /// There is a coarse clock, cheaper than a `stamp`, and good enough for a time-out of so many
    /// nanoseconds; `u64::MAX`: there is none.
    fn coarse_from_ns(&self) -> u64 {
        u64::MAX
    }

    /// Notes the time on it.
    fn note_coarsely(&self, _moment: &Moment) {}

    /// Nanoseconds since such a `moment`, or some less: see `sys::coarse`. `resumed` is the stamp
    /// of the resumption of the task that has noted it, and runs still; `now` is one of this
    /// moment.
    fn passed_coarsely_ns(&self, _moment: &Moment, _resumed: u64, _now: u64) -> u64 {
        0
    }

    /// Nanoseconds since a `stamp`, right to a thousandth.
    fn ns_since(&self, stamp: u64) -> u64 {
        ticks::to_ns(ticks::now().wrapping_sub(stamp))
    }

    /// `now_or_later_boot_ns`, for who has just read the counter.
    fn boot_ns_at(&self, _now: u64) -> u64 {
        self.now_or_later_boot_ns()
    }

    /// `ns_since`, or 0 of 2 us and less, and `now_or_later_boot_ns`, by one look at the counter.
    fn since(&self, stamp: u64) -> (u64, u64) {
        let now_ns = self.now_or_later_boot_ns();
        (self.ns_since(stamp), now_ns)
    }

    /// The same, for who has just read the counter.
    fn since_at(&self, stamp: u64, _now: u64) -> (u64, u64) {
        self.since(stamp)
    }

    /// How many ticks may pass at most, with time tracking, between two looks at completions,
    /// timers and mail, in between two items.
    fn look_ticks() -> u64 {
        const LOOKS_PER_SECOND: u64 = 5_000; // One each 200 us.
        ticks::per_second() / LOOKS_PER_SECOND
    }

    /// Knows writes that raise no SIGPIPE.
    fn knows_no_signal(&self) -> bool {
        true
    }

    /// Leaves the current position of a regular file where it was when a write there comes short
    /// (6.0): it has one of its threads try the rest, and forgets to move it when that fails.
    fn leaves_position(&self) -> bool {
        false
    }

    /// An open that has to wait does so in a thread that no cancel reaches (before 5.12).
    fn waits_in_open(&self) -> bool {
        false
    }

    /// Whether it performs such operations.
    fn knows(&self, _opcode: u8) -> bool {
        true
    }

    /// `enter` takes all that was pushed, whatever is wrong with an entry.
    fn submits_all(&self) -> bool {
        true
    }

    /// It cancels all that is in flight on a handle, by one entry (6.0).
    fn cancels_by_handle(&self) -> bool {
        true
    }

    /// A receive may complete as a stream (6.0).
    fn receives_in_streams(&self) -> bool {
        true
    }

    /// Closes a socket by its descriptor at once, past the ring, and whatever was pushed: 0, or
    /// `-errno`. None: an entry has to do it.
    fn close_socket(&self, _fd: i32) -> Option<i32> {
        None
    }

    /// The peer of a socket sends no more, whatever of that is there still.
    fn has_ended(&self, fd: i32) -> bool {
        fd::has_ended(fd)
    }

    /// A ring of `entries` buffers at `at`, which the kernel chooses from for operations of that
    /// group (5.19). ENOTSUP: not here; EOPNOTSUPP: an older kernel; EEXIST: there is that group.
    ///
    /// # Safety
    /// The memory is the kernel's to read until `unregister_buffers` or the end of the ring.
    unsafe fn register_buffers(&self, _at: u64, _entries: u16, _group: u16) -> Result<(), Errno> {
        Err(Errno(libc::ENOTSUP))
    }

    fn unregister_buffers(&self, _group: u16) {}

    /// The ring's descriptor; -1 without.
    fn ring_fd(&self) -> i32 {
        -1
    }

    /// Sees to a table of registered buffers with so many empty places (5.13). ENOTSUP: not here;
    /// EOPNOTSUPP: an older kernel; EBUSY: the program has registered one of its own.
    fn make_fixed_table(&self, _places: u32) -> Result<(), Errno> {
        Err(Errno(libc::ENOTSUP))
    }

    /// What lies in a place of that table; 0 bytes: nothing.
    ///
    /// # Safety
    /// The memory is the kernel's to read and write until the place has something else, and no
    /// operation on it is in flight, or the end of the ring.
    unsafe fn set_fixed(&self, _place: u32, _at: u64, _bytes: usize) -> Result<(), Errno> {
        Err(Errno(libc::ENOTSUP))
    }

    /// So many places from `place` on hold what those of another ring hold from `from` on, pinned
    /// once for both (6.13).
    fn clone_fixed(&self, _ring: i32, _from: u32, _place: u32, _count: u32) -> Result<(), Errno> {
        Err(Errno(libc::ENOTSUP))
    }

    /// Closes a direct descriptor, by a call of its own.
    fn close_direct(&self, _index: u32) {}

    /// EXPENSIVE the first time. A descriptor for a foreign loop, readable whenever a `run` has
    /// something to do, as the next four keep it. ENOTSUP in a simulation.
    fn poll_fd(&self) -> Result<i32, Errno> {
        Err(Errno(libc::ENOTSUP))
    }

    /// Not readable any more.
    fn poll_take(&self) {}

    /// Readable, with an edge.
    fn poll_kick(&self) {}

    /// No completion is there, visible or inside the kernel.
    fn is_quiet(&self) -> bool {
        !self.needs_enter()
    }

    /// Readable from that time on; `None`: not by time.
    fn poll_deadline(&self, _boot_ns: Option<u64>) {}

    /// Wakes an `enter` that sleeps, or makes the next one that would sleep return at once.
    fn waker(&self) -> Waker;
}
