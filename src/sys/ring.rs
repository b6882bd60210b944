//! The real kernel under an executor: an io_uring, or for a compute-only executor nothing but a way
//! to sleep. Owns the ring, its mappings and the wake-up eventfd; touched by the owning thread only.
//!
//! Rules:
//!
//! 1. One thread makes, uses and drops a `RealKernel` (it is not `Send`): SINGLE_ISSUER binds the
//!    ring to it, and so does the registered ring descriptor.
//! 2. No `SubmissionQueue` or `CompletionQueue` of the crate outlives the method that borrowed it,
//!    and no method calls another while it holds one: that is what `*_shared` asks for.
//! 3. Whenever `enter` sleeps, a poll on the eventfd is in flight, or its last completion is in the
//!    completion queue, which ends the sleep at once. So a poll killed by a cancellation of "any"
//!    request, or ended by the kernel, cannot lose a wake.
//! 4. A wake is satisfied by the return of an `enter` that would have slept. One whose completion
//!    shows up at any other time is remembered in `woken`, and the next such `enter` does not sleep.

mod learn;

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{squeue, EnterFlags, IoUring, Submitter};

use super::clock::{boot_ns, NS_PER_S};
use super::kernel::{Cqe, Kernel, Sqe, Wait, Waker};
use super::sleep::Sleeper;
use super::wake::EventFd;
use super::{mask, probe, setup};
use crate::error::Errno;

/// `user_data` of the wake-up poll's completions. No other entry may carry it.
pub const WAKE_USER_DATA: u64 = u64::MAX;

/// What may be chosen about a ring.
#[derive(Clone, Copy, Debug, Default)]
pub struct RingOptions {
    /// Submission entries, rounded up to a power of two; 0: no ring, compute only.
    pub entries: u32,
    /// IORING_SETUP_*, from `io_uring_params`.
    pub flags: u32,
    /// With CQSIZE.
    pub cq_entries: u32,
    /// With ATTACH_WQ.
    pub wq_fd: i32,
    /// TEST ONLY: [`mask`] bits of what to take for refused by the kernel.
    pub mask: u32,
}

/// Why there is no ring: the errno to return, and one sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateError {
    pub errno: Errno,
    pub text: String,
}

/// [`Kernel`] as the running Linux has it.
pub struct RealKernel {
    /// Before `wake`: the poll in flight goes before the descriptor it polls.
    ring: Option<Ring>,
    sleeper: Option<Sleeper>,
    wake: EventFd,
    config: String,
}

impl RealKernel {
    /// EXPENSIVE. On the thread that will use it.
    pub fn new(options: &RingOptions) -> Result<Self, CreateError> {
        let explain = |e| setup::explain(e, options);
        let wake = EventFd::new().map_err(explain)?;
        let release = probe::Release::running();
        if options.entries == 0 {
            let sleeper = Sleeper::new().map_err(explain)?;
            let config = format!(
                "kernel: {release}\nring: none (compute only)\nclock: boot time, timerfd\n\
                 wake: eventfd, ppoll"
            );
            return Ok(Self { ring: None, sleeper: Some(sleeper), wake, config });
        }
        let made = setup::make(options)?;
        if !made.uring.params().is_feature_ext_arg() {
            let text = setup::too_old(&release);
            return Err(CreateError { errno: Errno(libc::ENOSYS), text });
        }
        let (flags, mut dropped) = (made.flags, made.dropped);
        let ring = Ring::new(made.uring, &wake, options.mask, &mut dropped).map_err(explain)?;
        let config = format!(
            "kernel: {release}\n{}",
            ring.describe(&setup::names(flags), &dropped.join(", "))
        );
        Ok(Self { ring: Some(ring), sleeper: None, wake, config })
    }

    /// What was detected and chosen, a line each.
    pub fn config(&self) -> String {
        self.config.clone()
    }

    /// -1 for a compute-only executor.
    pub fn real_ring_fd(&self) -> i32 {
        self.ring.as_ref().map_or(-1, |r| r.uring().as_raw_fd())
    }

    #[inline(always)]
    fn ring(&self) -> &Ring {
        self.ring.as_ref().expect("a compute-only executor pushes nothing")
    }
}

impl Kernel for RealKernel {
    #[inline]
    fn has_ring(&self) -> bool {
        self.ring.is_some()
    }

    #[inline]
    fn sq_space(&self) -> u32 {
        self.ring.as_ref().map_or(0, Ring::sq_space)
    }

    #[inline]
    fn sq_pending(&self) -> u32 {
        self.ring.as_ref().map_or(0, Ring::sq_pending)
    }

    #[inline]
    unsafe fn push(&self, sqe: &Sqe) {
        debug_assert_ne!(sqe.user_data(), WAKE_USER_DATA);
        // SAFETY: the caller's promise, passed on.
        unsafe { self.ring().push(sqe) }
    }

    #[inline(always)]
    unsafe fn try_push(&self, sqe: &Sqe, ioprio: u16, user_data: u64) -> bool {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.ring().try_push(&sqe.with(ioprio, user_data)) }
    }

    #[inline(always)]
    fn drain(&self, each: impl FnMut(Cqe)) {
        if let Some(ring) = &self.ring {
            ring.drain(each, &self.wake);
        }
    }

    #[inline]
    fn pop(&self) -> Option<Cqe> {
        let ring = self.ring.as_ref()?;
        loop {
            let cqe = ring.take()?;
            if cqe.user_data != WAKE_USER_DATA {
                return Some(cqe);
            }
            ring.wake_completed(cqe, &self.wake);
        }
    }

    #[inline]
    fn needs_enter(&self) -> bool {
        self.ring.as_ref().is_some_and(Ring::needs_enter)
    }

    fn enter(&self, wait: Wait) -> Result<(), Errno> {
        match (&self.ring, &self.sleeper) {
            (Some(ring), _) => ring.enter(wait, &self.wake),
            (None, Some(sleeper)) => sleeper.sleep(&self.wake, wait),
            (None, None) => unreachable!("one of the two is made"),
        }
    }

    #[inline]
    fn now_boot_ns(&self) -> u64 {
        boot_ns()
    }

    fn waker(&self) -> Waker {
        self.wake.waker()
    }
}

/// How a deadline on the boot-time clock reaches the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clock {
    /// As it is (6.12).
    BootAbsolute,
    /// As the time left, which the kernel counts on the boot-time clock.
    BootRelative,
    /// As the time left, on the monotonic clock, which stands still while the system is suspended:
    /// so a second at a time, after which the caller looks again. Never early, as the boot-time
    /// clock advances at least as fast.
    MonotonicSlices,
}

/// How the poll on the eventfd stands (rule 3).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Poll {
    Idle,
    InFlight,
}

struct Ring {
    /// Leaked by `new`, freed by `drop`; `submitter` refers to it.
    uring: NonNull<IoUring>,
    /// The crate keeps the registered descriptor's index in here, so this one must stay.
    submitter: Submitter<'static>,
    clock: Clock,
    multishot: bool,
    no_iowait: EnterFlags,
    registered: bool,
    poll: Cell<Poll>,
    /// Completions taken so far; and up to which of them wakes are satisfied (rule 4).
    taken: Cell<u64>,
    satisfied: Cell<u64>,
    woken: Cell<bool>,
    _owner_only: PhantomData<*mut ()>,
}

const _: () = assert!(
    size_of::<Sqe>() == size_of::<squeue::Entry>()
        && align_of::<Sqe>() == align_of::<squeue::Entry>()
);

impl Ring {
    fn new(
        uring: IoUring,
        wake: &EventFd,
        mask: u32,
        dropped: &mut Vec<String>,
    ) -> Result<Self, Errno> {
        let uring = NonNull::from(Box::leak(Box::new(uring)));
        // SAFETY: leaked, so valid until `drop` frees it, after the last use of `submitter`.
        let submitter = unsafe { uring.as_ref() }.submitter();
        let mut ring = Self {
            uring,
            submitter,
            clock: Clock::MonotonicSlices,
            multishot: mask & mask::MULTISHOT_POLL == 0,
            no_iowait: EnterFlags::empty(),
            registered: false,
            poll: Cell::new(Poll::Idle),
            taken: Cell::new(0),
            satisfied: Cell::new(0),
            woken: Cell::new(false),
            _owner_only: PhantomData,
        };
        ring.try_register(mask, dropped);
        ring.try_clock(mask, dropped);
        if !ring.uring().params().is_feature_no_iowait() {
            dropped.push("NO_IOWAIT (refused by the kernel)".to_owned());
        } else if mask & mask::NO_IOWAIT != 0 {
            dropped.push("NO_IOWAIT (masked)".to_owned());
        } else {
            ring.no_iowait = EnterFlags::NO_IOWAIT;
        }
        ring.first_poll(wake, mask, dropped)?;
        Ok(ring)
    }

    #[inline(always)]
    fn uring(&self) -> &IoUring {
        // SAFETY: valid until `drop`.
        unsafe { self.uring.as_ref() }
    }

    #[inline]
    fn sq_space(&self) -> u32 {
        // SAFETY: rule 2.
        let sq = unsafe { self.uring().submission_shared() };
        (sq.capacity() - sq.len()) as u32
    }

    #[inline]
    fn sq_pending(&self) -> u32 {
        // SAFETY: rule 2.
        unsafe { self.uring().submission_shared() }.len() as u32
    }

    /// # Safety
    /// As [`Kernel::push`].
    #[inline]
    unsafe fn push(&self, sqe: &Sqe) {
        // SAFETY: the caller's promise, passed on.
        let pushed = unsafe { self.try_push(sqe) };
        assert!(pushed, "the caller has seen room in the submission queue");
    }

    /// # Safety
    /// As [`Kernel::push`].
    #[inline(always)]
    unsafe fn try_push(&self, sqe: &Sqe) -> bool {
        // SAFETY: both are the kernel's 64 bytes of plain integers, of one alignment (asserted
        // above); any bits are valid.
        let entry = unsafe { &*std::ptr::from_ref(sqe).cast::<squeue::Entry>() };
        // SAFETY: rule 2; the memory behind the entry is the caller's promise.
        unsafe { self.uring().submission_shared().push(entry) }.is_ok()
    }

    /// As `take` until there is none, with the queue borrowed once. (Neither `each` nor
    /// `wake_completed` touches the queue: rule 2.)
    #[inline(always)]
    fn drain(&self, mut each: impl FnMut(Cqe), wake: &EventFd) {
        let mut taken = self.taken.get();
        // SAFETY: rule 2.
        for cqe in unsafe { self.uring().completion_shared() } {
            taken += 1;
            let cqe = Cqe { user_data: cqe.user_data(), res: cqe.result(), flags: cqe.flags() };
            if cqe.user_data != WAKE_USER_DATA {
                each(cqe);
            } else {
                self.taken.set(taken);
                self.wake_completed(cqe, wake);
            }
        }
        self.taken.set(taken);
    }

    #[inline]
    fn take(&self) -> Option<Cqe> {
        // SAFETY: rule 2.
        let cqe = unsafe { self.uring().completion_shared() }.next()?;
        self.taken.set(self.taken.get() + 1);
        Some(Cqe { user_data: cqe.user_data(), res: cqe.result(), flags: cqe.flags() })
    }

    #[inline]
    fn needs_enter(&self) -> bool {
        // SAFETY: rule 2.
        let sq = unsafe { self.uring().submission_shared() };
        sq.taskrun() || sq.cq_overflow()
    }

    fn enter(&self, wait: Wait, wake: &EventFd) -> Result<(), Errno> {
        if wait == Wait::No {
            return self.collect();
        }
        if self.woken.replace(false) {
            return self.collect();
        }
        let result =
            self.ensure_poll(wake).and_then(|()| self.enter_until(self.sq_pending(), wait));
        if result.is_err_and(refused) {
            // Something must complete first. Its memory may be what is missing, so wait for it;
            // not long, as nothing says that it is, and as the poll may be among the refused.
            let _ = self.enter_until(0, soon(wait));
        }
        // SAFETY: rule 2.
        let visible = unsafe { self.uring().completion_shared() }.len() as u64;
        self.satisfied.set(self.taken.get() + visible);
        result
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

    fn enter_now(&self, to_submit: u32) -> Result<(), Errno> {
        let flags = EnterFlags::GETEVENTS.bits();
        // SAFETY: what is in the queue was pushed under `push`'s promise; no argument.
        outcome(unsafe { self.submitter.enter::<libc::sigset_t>(to_submit, 0, flags, None) })
    }

    fn enter_until(&self, to_submit: u32, wait: Wait) -> Result<(), Errno> {
        let mut flags = EnterFlags::GETEVENTS | self.no_iowait;
        let Wait::Until { boot_ns: at_ns } = wait else {
            // SAFETY: as in `enter_now`.
            return outcome(unsafe {
                self.submitter.enter::<libc::sigset_t>(to_submit, 1, flags.bits(), None)
            });
        };
        flags |= EnterFlags::EXT_ARG;
        let ns = match self.clock {
            Clock::BootAbsolute => {
                flags |= EnterFlags::ABS_TIMER;
                at_ns
            }
            Clock::BootRelative => at_ns.saturating_sub(boot_ns()),
            Clock::MonotonicSlices => at_ns.saturating_sub(boot_ns()).min(NS_PER_S),
        };
        let ts = Timespec::new().sec(ns / NS_PER_S).nsec((ns % NS_PER_S) as u32);
        let args = SubmitArgs::new().timespec(&ts);
        // SAFETY: as in `enter_now`; the argument is what EXT_ARG says, alive for the call.
        outcome(unsafe { self.submitter.enter(to_submit, 1, flags.bits(), Some(&args)) })
    }

    /// Rule 3.
    fn ensure_poll(&self, wake: &EventFd) -> Result<(), Errno> {
        if self.poll.get() == Poll::InFlight {
            return Ok(());
        }
        if self.sq_space() == 0 {
            self.collect()?;
            if self.sq_space() == 0 {
                return Err(Errno(libc::EAGAIN));
            }
        }
        self.push_poll(wake);
        Ok(())
    }

    fn push_poll(&self, wake: &EventFd) {
        const POLL_ADD: u8 = 6;
        const POLL_ADD_MULTI: u32 = 1;
        let multi = if self.multishot { POLL_ADD_MULTI } else { 0 };
        let mut sqe = Sqe::new(POLL_ADD, wake.fd(), 0, 0, multi, libc::POLLIN as u32);
        sqe.set_user_data(WAKE_USER_DATA);
        // SAFETY: a poll refers to no memory; the eventfd outlives the ring.
        unsafe { self.push(&sqe) };
        self.poll.set(Poll::InFlight);
    }

    /// A wake, or the end of the poll by other means.
    #[cold]
    fn wake_completed(&self, cqe: Cqe, wake: &EventFd) {
        const CQE_F_MORE: u32 = 1 << 1;
        let mut woken = self.taken.get() > self.satisfied.get();
        if cqe.flags & CQE_F_MORE == 0 {
            self.poll.set(Poll::Idle);
        }
        if !self.multishot {
            // A new poll would find the counter above zero for ever. This completion stands for one
            // write; more were later ones, which no `enter` has returned for yet.
            woken |= wake.drain() > 1;
        }
        if woken {
            self.woken.set(true);
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
    }
}

/// The time is up: that is one of the reasons to return.
fn outcome(result: io::Result<usize>) -> Result<(), Errno> {
    match result {
        Ok(_) => Ok(()),
        Err(e) if e.raw_os_error() == Some(libc::ETIME) => Ok(()),
        Err(e) => Err(Errno::from(e)),
    }
}

/// The kernel took nothing: no memory for requests, or the completion queue has overflown.
fn refused(e: Errno) -> bool {
    matches!(e.0, libc::EAGAIN | libc::EBUSY)
}

fn soon(wait: Wait) -> Wait {
    let soon_ns = boot_ns() + 1_000_000;
    match wait {
        Wait::Until { boot_ns } => Wait::Until { boot_ns: boot_ns.min(soon_ns) },
        Wait::No | Wait::Forever => Wait::Until { boot_ns: soon_ns },
    }
}
