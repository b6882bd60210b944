//! The ring itself: `io_uring_enter` in its two forms (collect, sleep), and closing it. Its queues
//! are in `queues.rs`, what makes a sleep end on a wake is in `wakeup.rs`. Touched by the owning
//! thread only.
//!
//! Rules:
//!
//! 1. No `SubmissionQueue` or `CompletionQueue` of the crate is made: the queues are `Queues`'
//!    alone. Each enter publishes what was pushed, and sees what was taken.
//! 2. Whenever `enter` sleeps in `io_uring_enter`, a poll on the eventfd is in flight, or its last
//!    completion is in the completion queue, which ends the sleep at once. So a poll that somebody
//!    cancelled, or the kernel ended, cannot lose a wake.
//! 3. A wake is satisfied by the return of an `enter` that would have slept. One whose completion
//!    shows up at any other time is remembered in `woken`, and the next such `enter` does not
//!    sleep.
//! 4. No entry carries IOSQE_IO_DRAIN: it, and whatever is pushed behind it, would wait for that
//!    poll for ever. Tasks that ask for one are refused.
//!
//! Two mechanisms of waking a ring that sleeps were measured against each other, alternating, on a
//! quiet pair of processors (virtual machine, Linux 6.18, DEFER_TASKRUN), from the waker's call to
//! the sleeper's return, p10 / p50 / p90:
//!
//! | | latency, ns | the waker's call, ns |
//! |---|---|---|
//! | write to an eventfd, multishot poll on it | 940 / 1,000 / 1,200 | 1,580 / 1,660 / 1,900 |
//! | MSG_RING by io_uring_register (6.13) | 1,010 / 1,140 / 1,500 | 1,640 / 1,780 / 2,200 |
//!
//! So the eventfd it is. It also cannot fail, allocates nothing in the kernel, and any number of
//! wakes take a bounded number of completions, where each MSG_RING takes memory and one completion.

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, Submitter};

use super::chain;
use super::fixed::FixedTable;
use super::given_back;
use super::kernel::{Cqe, Sqe, Wait, Waker, FIRST_RESERVED_USER_DATA};
use super::mapping::Mapping;
use super::streams;
use super::wakeup::Wakeup;
use crate::error::Errno;
use crate::sys::clock::{boot_ns, left_ns, NS_PER_S, SLICE_NS};
use crate::sys::fd::with_errno_kept;
use crate::sys::{alloc, valgrind};

/// What the kernel counts the time left until a deadline on. Never an absolute time:
/// `io_uring_enter` takes one for the host's, and a process in a time namespace has another boot
/// time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// The boot-time clock (6.12).
    Boot,
    /// The monotonic clock, which stands still while the system is suspended: so a second at a
    /// time, after which the caller looks again. Never early, as the boot-time clock advances at
    /// least as fast.
    MonotonicSlices,
}

pub(super) struct Ring {
    /// Leaked by `new`, freed by `drop`; `submitter` refers to it.
    uring: NonNull<IoUring>,
    /// The crate keeps the registered descriptor's index in here, so this one must stay.
    pub(super) submitter: Submitter<'static>,
    pub(super) clock: Clock,
    pub(super) no_iowait: EnterFlags,
    pub(super) registered: bool,
    pub(super) knows_no_signal: bool,
    pub(super) receives_in_streams: bool,
    pub(super) cancels_by_handle: bool,
    pub(super) waits_in_open: bool,
    /// Whatever the kernel says.
    pub(super) lacks_buffer_rings: bool,
    /// An `enter` takes all that is offered, a bad entry too.
    pub(super) submits_all: bool,
    /// A completion is in the queue, and its descriptor readable, before anybody asks for it.
    pub(super) tells_by_itself: bool,
    /// As many entries as an `enter` offers at most: see [`mask::TAKES_FEW`](super::mask).
    pub(super) offers_max: u32,
    /// What becomes of sockets at the current position: bits of `streams`.
    pub(super) streams: u8,
    queues: Mapping,
    /// Those that the kernel performs, a bit each.
    pub(super) opcodes: u64,
    /// Completions taken so far; and up to which of them wakes are satisfied (rule 3).
    taken: Cell<u64>,
    satisfied: Cell<u64>,
    pub(super) wakeup: Wakeup,
    pub(super) fixed: FixedTable,
    _owner_only: PhantomData<*mut ()>,
}

impl Ring {
    /// Uses nothing yet that a kernel might lack, and has no poll in flight.
    pub(super) fn new(uring: IoUring, wakeup: Wakeup) -> Result<Self, Errno> {
        // SAFETY: rule 1.
        let queues = unsafe { Mapping::new(&uring) }?;
        let uring = NonNull::from(Box::leak(alloc::try_box(uring)?));
        // SAFETY: leaked, so valid until `drop` frees it, after the last use of `submitter`.
        let submitter = unsafe { uring.as_ref() }.submitter();
        Ok(Self {
            uring,
            submitter,
            clock: Clock::MonotonicSlices,
            no_iowait: EnterFlags::empty(),
            registered: false,
            knows_no_signal: false,
            receives_in_streams: false,
            cancels_by_handle: false,
            waits_in_open: false,
            lacks_buffer_rings: false,
            submits_all: false,
            tells_by_itself: false,
            offers_max: u32::MAX,
            streams: 0,
            queues,
            opcodes: 0,
            taken: Cell::new(0),
            satisfied: Cell::new(0),
            wakeup,
            fixed: FixedTable::new(),
            _owner_only: PhantomData,
        })
    }

    pub(super) fn fd(&self) -> i32 {
        self.uring().as_raw_fd()
    }

    pub(super) fn waker(&self) -> Waker {
        self.wakeup.waker()
    }

    #[inline(always)]
    pub(super) fn uring(&self) -> &IoUring {
        // SAFETY: valid until `drop`.
        unsafe { self.uring.as_ref() }
    }

    #[inline(always)]
    pub(super) fn sq_space(&self) -> u32 {
        self.queues.space()
    }

    #[inline(always)]
    pub(super) fn sq_pending(&self) -> u32 {
        self.queues.pending()
    }

    /// # Safety
    /// As [`Kernel::push`](super::kernel::Kernel::push).
    #[inline]
    pub(super) unsafe fn push(&self, sqe: &Sqe) {
        // SAFETY: the caller's promise, passed on.
        let pushed = unsafe { self.try_push(*sqe) };
        assert!(pushed, "the caller has seen room in the submission queue");
    }

    /// # Safety
    /// As [`Kernel::push`](super::kernel::Kernel::push).
    #[inline(always)]
    pub(super) unsafe fn try_push(&self, sqe: Sqe) -> bool {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.queues.try_push(sqe) }
    }

    #[inline(always)]
    pub(super) fn has_room(&self) -> bool {
        self.queues.has_room()
    }

    /// # Safety
    /// As [`Kernel::push_words`](super::kernel::Kernel::push_words), of all eight.
    #[inline(always)]
    pub(super) unsafe fn push_words(&self, word: impl Fn(usize) -> u64) {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.queues.push_words(word) }
    }

    /// As `pop` until there is none, `max` times at most.
    #[inline(always)]
    pub(super) fn for_each_completion(&self, max: usize, mut each: impl FnMut(Cqe)) -> usize {
        let taken = self.queues.drain(max, |index, cqe| {
            if cqe.user_data < FIRST_RESERVED_USER_DATA {
                each(cqe);
            } else {
                let before = self.taken.get() + u64::from(self.queues.behind(index));
                self.wakeup.completed(cqe, before < self.satisfied.get());
            }
        });
        self.taken.set(self.taken.get() + taken as u64);
        taken
    }

    /// As `Queues::take_run`: what is taken has no `user_data` of the kernel object's own.
    #[inline(always)]
    pub(super) fn take_run(&self, max: usize, take: impl FnOnce(&[Cqe]) -> usize) -> usize {
        let taken = self.queues.take_run(max, take);
        self.taken.set(self.taken.get() + taken as u64);
        taken
    }

    #[inline]
    pub(super) fn pop(&self) -> Option<Cqe> {
        loop {
            let cqe = self.take()?;
            if cqe.user_data < FIRST_RESERVED_USER_DATA {
                return Some(cqe);
            }
            self.wakeup.completed(cqe, self.taken.get() <= self.satisfied.get());
        }
    }

    #[inline]
    pub(super) fn take(&self) -> Option<Cqe> {
        let cqe = self.queues.take()?;
        self.taken.set(self.taken.get() + 1);
        Some(cqe)
    }

    #[inline(always)]
    pub(super) fn has_completions(&self) -> bool {
        self.visible() != 0
    }

    /// Completions that `pop` would find.
    #[inline(always)]
    pub(super) fn visible(&self) -> u32 {
        self.queues.visible()
    }

    /// Why this is enough whatever the setup flags: see the table in `setup.rs`.
    #[inline(always)]
    pub(super) fn needs_enter(&self) -> bool {
        self.queues.needs_enter()
    }

    pub(super) fn enter(&self, wait: Wait) -> Result<(), Errno> {
        if wait == Wait::No || self.wakeup.take_woken() {
            return self.collect();
        }
        let result = self.sleep(wait);
        if result.is_err_and(refused) {
            // Something must complete first. Its memory may be what is missing, so wait for it;
            // not long, as nothing says that it is, and as the poll may be among the refused.
            let _ = self.enter_until(0, soon(wait));
        }
        self.satisfied.set(self.taken.get() + u64::from(self.visible()));
        result
    }

    pub(super) fn push_poll(&self) {
        // SAFETY: refers to no memory.
        unsafe { self.push(&self.wakeup.arm()) };
    }

    /// Rule 2.
    fn sleep(&self, wait: Wait) -> Result<(), Errno> {
        if !self.wakeup.is_in_flight() {
            if self.sq_space() == 0 {
                self.collect()?;
                if self.sq_space() == 0 {
                    return Err(Errno(libc::EAGAIN));
                }
            }
            self.push_poll();
        }
        self.enter_until(self.sq_pending(), wait)
    }

    /// No completion is there: a later one is told by a registered eventfd.
    pub(super) fn is_quiet(&self) -> bool {
        self.visible() == 0 && !self.needs_enter()
    }

    /// Submits and collects without sleeping.
    fn collect(&self) -> Result<(), Errno> {
        let result = self.enter_now(self.sq_pending());
        if result.is_err_and(refused) {
            // A refused submission has collected nothing.
            let _ = self.enter_now(0);
        }
        result
    }

    /// With DEFER_TASKRUN, an `enter` that asks for no completion begins one follower at most.
    pub(super) fn enter_linked(&self, completions: u32) -> Result<(), Errno> {
        let wanted = self.visible() + completions;
        let result = self.enter_for(self.sq_pending(), wanted, Wait::Until { boot_ns: 0 });
        if result.is_err_and(refused) {
            let _ = self.enter_now(0);
        }
        result
    }

    #[inline(always)]
    fn publish(&self) {
        if self.streams != 0 {
            streams::place(&self.queues, self.streams);
        }
        self.queues.publish();
    }

    pub(super) fn enter_now(&self, to_submit: u32) -> Result<(), Errno> {
        let flags = EnterFlags::GETEVENTS.bits();
        let offered = to_submit.min(self.offers_max);
        self.publish();
        // SAFETY: what is in the queue was pushed under `push`'s promise; no argument.
        let taken = with_errno_kept(|| unsafe {
            self.submitter.enter::<libc::sigset_t>(offered, 0, flags, None)
        });
        self.outcome(to_submit, taken)
    }

    /// Until one completion is there, or the time.
    fn enter_until(&self, to_submit: u32, wait: Wait) -> Result<(), Errno> {
        if valgrind::is_here() {
            return self.enter_looking(to_submit, wait);
        }
        self.enter_for(to_submit, 1, wait)
    }

    /// Until so many completions are there, or the time.
    fn enter_for(&self, to_submit: u32, wanted: u32, wait: Wait) -> Result<(), Errno> {
        let mut flags = EnterFlags::GETEVENTS | self.no_iowait;
        if to_submit > self.offers_max {
            return self.enter_now(to_submit);
        }
        let Wait::Until { boot_ns: at_ns } = wait else {
            self.publish();
            // SAFETY: as in `enter_now`.
            let taken = with_errno_kept(|| unsafe {
                self.submitter.enter::<libc::sigset_t>(to_submit, wanted, flags.bits(), None)
            });
            return self.outcome(to_submit, taken);
        };
        flags |= EnterFlags::EXT_ARG;
        let ns = match self.clock {
            Clock::Boot => left_ns(at_ns),
            Clock::MonotonicSlices => left_ns(at_ns).min(SLICE_NS),
        };
        let ts = Timespec::new().sec(ns / NS_PER_S).nsec((ns % NS_PER_S) as u32);
        let args = SubmitArgs::new().timespec(&ts);
        self.publish();
        // SAFETY: as in `enter_now`; the argument is what EXT_ARG says, alive for the call.
        let taken = with_errno_kept(|| unsafe {
            self.submitter.enter(to_submit, wanted, flags.bits(), Some(&args))
        });
        self.outcome(to_submit, taken)
    }

    /// Of an enter with so many entries.
    #[inline]
    fn outcome(&self, to_submit: u32, taken: io::Result<usize>) -> Result<(), Errno> {
        self.queues.taken();
        match taken {
            Ok(taken) => {
                let taken = taken as u32;
                if taken < to_submit && taken != 0 {
                    chain::cut(&self.queues);
                }
                Ok(())
            }
            // The time is up: that is one of the reasons to return.
            Err(e) if e.raw_os_error() == Some(libc::ETIME) => Ok(()),
            Err(e) => Err(Errno::from(e)),
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.registered {
            // The registration holds the ring open, and a place of sixteen in this thread's table.
            let _ = self.submitter.unregister_ring_fd();
        }
        // SAFETY: `new` leaked it from a box; the only other reference, `submitter`, has no `drop`
        // and is not used any more.
        drop(unsafe { Box::from_raw(self.uring.as_ptr()) });
        given_back::note_close();
    }
}

/// The kernel took nothing: no memory for requests, or the completion queue has overflown.
fn refused(e: Errno) -> bool {
    matches!(e.0, libc::EAGAIN | libc::EBUSY)
}

fn soon(wait: Wait) -> Wait {
    let soon_ns = boot_ns().saturating_add(1_000_000);
    match wait {
        Wait::Until { boot_ns } => Wait::Until { boot_ns: boot_ns.min(soon_ns) },
        Wait::No | Wait::Forever => Wait::Until { boot_ns: soon_ns },
    }
}
