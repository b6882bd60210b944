//! The real kernel under an executor: an io_uring ([`ring`](super::ring)), or for a compute-only
//! executor nothing but a way to sleep. This file is the face; it touches no system call itself.
//!
//! One thread makes, uses and drops a `RealKernel` (it is not `Send`): SINGLE_ISSUER binds the ring
//! to it, and so does the registered ring descriptor.

use std::cell::{Cell, OnceCell};

use super::kernel::{op, Cqe, Kernel, Sqe, Wait, Waker, FIRST_RESERVED_USER_DATA};
use super::options::{CreateError, RingOptions};
use super::poll_fd::PollFd;
use super::ring::Ring;
use super::sleeper::Sleeper;
use super::wakeup::Wakeup;
use super::{abi, features, mask, refusal, setup};
use crate::error::Errno;
use crate::sys::coarse::{Coarse, Moment};
use crate::sys::fd;
use crate::sys::host;
use crate::sys::reckoner::Reckoner;
use crate::sys::text::{text, Text};
use crate::sys::valgrind;

/// [`Kernel`] as the running Linux has it.
pub struct RealKernel {
    way: Way,
    config: Text,
    clock: Reckoner,
    coarse: Coarse,
    poll_fd: OnceCell<PollFd>,
}

// One of them a thread, and the larger one is the one whose queues are to be near.
#[allow(clippy::large_enum_variant)]
enum Way {
    Ring(Ring),
    ComputeOnly(Sleeper),
}

impl RealKernel {
    /// EXPENSIVE. On the thread that will use it.
    pub fn new(options: &RingOptions) -> Result<Self, CreateError> {
        let explain = |e| refusal::explain(e, options);
        let release = host::Release::running();
        valgrind::look();
        if options.entries == 0 {
            setup::check_without_ring(options)?;
            let way = Way::ComputeOnly(Sleeper::new().map_err(explain)?);
            let config: Text = text!(
                "kernel: {release}\nring: none (compute only)\nclock: boot time, timerfd\n\
                 wake: futex; with a deadline eventfd, ppoll"
            );
            return Ok(Self::of(way, config));
        }
        let made = setup::make(options)?;
        if !made.uring.params().is_feature_ext_arg() {
            let text = refusal::too_old(&release);
            return Err(CreateError { errno: Errno(libc::ENOSYS), text });
        }
        let wakeup = Wakeup::new().map_err(|e| refusal::explain_eventfd(e, options))?;
        let (flags, mut dropped) = (made.flags, made.dropped);
        let mut ring = Ring::new(made.uring, wakeup).map_err(explain)?;
        ring.submits_all = flags & abi::setup::SUBMIT_ALL != 0;
        let asked = abi::setup::COOP_TASKRUN | abi::setup::DEFER_TASKRUN;
        ring.tells_by_itself = flags & asked == 0;
        if options.mask & mask::TAKES_FEW != 0 {
            ring.offers_max = 2;
        }
        features::learn(&mut ring, options, &mut dropped);
        features::register_wishes(&ring, options)?;
        features::first_poll(&ring, options.mask, &mut dropped).map_err(explain)?;
        let config: Text = text!(
            "kernel: {release}\n{}",
            features::describe(&ring, &setup::names(flags), &dropped)
        );
        Ok(Self::of(Way::Ring(ring), config))
    }

    fn of(way: Way, config: Text) -> Self {
        let clock = Reckoner::new();
        let coarse = Coarse::new(clock.is_counter());
        Self { way, config, clock, coarse, poll_fd: OnceCell::new() }
    }

    /// What was detected and chosen, a line each.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// -1 for a compute-only executor.
    pub fn real_ring_fd(&self) -> i32 {
        self.ring().map_or(-1, Ring::fd)
    }

    #[inline(always)]
    pub(super) fn ring(&self) -> Option<&Ring> {
        match &self.way {
            Way::Ring(ring) => Some(ring),
            Way::ComputeOnly(_) => None,
        }
    }
}

/// By as many completions as this a run of them is ahead of one at a time, as measured.
const RUN: u32 = 32;

impl Kernel for RealKernel {
    #[inline]
    fn has_ring(&self) -> bool {
        self.ring().is_some()
    }

    #[inline(always)]
    fn sq_space(&self) -> u32 {
        self.ring().map_or(0, Ring::sq_space)
    }

    #[inline(always)]
    fn sq_pending(&self) -> u32 {
        self.ring().map_or(0, Ring::sq_pending)
    }

    #[inline]
    unsafe fn push(&self, sqe: &Sqe) {
        debug_assert!(sqe.user_data() < FIRST_RESERVED_USER_DATA);
        let ring = self.ring().expect("nothing is pushed on a compute-only executor");
        // SAFETY: the caller's promise, passed on.
        unsafe { ring.push(sqe) }
    }

    #[inline(always)]
    unsafe fn try_push(&self, sqe: &Sqe) -> bool {
        debug_assert!(sqe.user_data() < FIRST_RESERVED_USER_DATA);
        // SAFETY: the caller's promises, passed on.
        unsafe { self.ring().unwrap_unchecked().try_push(*sqe) }
    }

    #[inline(always)]
    unsafe fn has_room(&self) -> bool {
        // SAFETY: the caller's.
        unsafe { self.ring().unwrap_unchecked() }.has_room()
    }

    #[inline(always)]
    unsafe fn push_words(&self, head: u64, user_data: u64, with: impl Fn(usize) -> u64) {
        debug_assert!(user_data < FIRST_RESERVED_USER_DATA);
        let word = |n| match n {
            0 => head,
            4 => user_data,
            n => with(n),
        };
        // SAFETY: the caller's promises, passed on.
        unsafe { self.ring().unwrap_unchecked().push_words(word) }
    }

    #[inline(always)]
    fn has_completions(&self) -> bool {
        self.ring().is_some_and(Ring::has_completions)
    }

    #[inline(always)]
    fn for_each_completion(&self, max: usize, each: impl FnMut(Cqe)) -> usize {
        self.ring().map_or(0, |ring| ring.for_each_completion(max, each))
    }

    #[inline(always)]
    fn has_run(&self) -> bool {
        self.ring().is_some_and(|ring| ring.visible() >= RUN)
    }

    #[inline(always)]
    fn take_run(&self, max: usize, take: impl FnOnce(&[Cqe]) -> usize) -> usize {
        self.ring().map_or(0, |ring| ring.take_run(max, take))
    }

    #[inline]
    fn pop(&self) -> Option<Cqe> {
        self.ring()?.pop()
    }

    #[inline(always)]
    fn needs_enter(&self) -> bool {
        self.ring().is_some_and(Ring::needs_enter)
    }

    fn enter(&self, wait: Wait) -> Result<(), Errno> {
        match &self.way {
            Way::Ring(ring) => ring.enter(wait),
            Way::ComputeOnly(sleeper) => sleeper.sleep(wait),
        }
    }

    #[inline(always)]
    fn sleeps_on_words(&self) -> bool {
        self.ring().is_none()
    }

    fn enter_linked(&self, completions: u32) -> Result<(), Errno> {
        self.ring().map_or(Ok(()), |ring| ring.enter_linked(completions))
    }

    fn is_beside_others(&self) -> bool {
        !valgrind::is_here()
    }

    #[inline]
    fn now_boot_ns(&self) -> u64 {
        self.clock.now_boot_ns()
    }

    #[inline]
    fn now_or_later_boot_ns(&self) -> u64 {
        self.clock.now_or_later_boot_ns()
    }

    #[inline]
    fn boot_ns_at(&self, now: u64) -> u64 {
        self.clock.boot_ns_at(now)
    }

    #[inline]
    fn stamp(&self) -> u64 {
        self.clock.stamp()
    }

    #[inline(always)]
    fn stamp_to(&self, at: &Cell<u64>) {
        self.clock.stamp_to(at);
    }

    fn coarse_from_ns(&self) -> u64 {
        self.coarse.from_ns()
    }

    #[inline(always)]
    fn note_coarsely(&self, moment: &Moment) {
        self.coarse.note(moment);
    }

    #[inline(always)]
    fn passed_coarsely_ns(&self, moment: &Moment, resumed: u64, now: u64) -> u64 {
        self.coarse.passed_ns(moment, resumed, now)
    }

    #[inline]
    fn since(&self, stamp: u64) -> (u64, u64) {
        self.clock.since(stamp)
    }

    #[inline(always)]
    fn since_at(&self, stamp: u64, now: u64) -> (u64, u64) {
        self.clock.since_at(stamp, now)
    }

    fn submits_all(&self) -> bool {
        self.ring().is_some_and(|ring| ring.submits_all)
    }

    fn knows_no_signal(&self) -> bool {
        self.ring().is_some_and(|ring| ring.knows_no_signal)
    }

    fn close_socket(&self, fd: i32) -> Option<i32> {
        self.ring().map(|_| fd::close_told(fd))
    }

    fn leaves_position(&self) -> bool {
        self.knows(op::SEND_ZC) // As new.
    }

    fn waits_in_open(&self) -> bool {
        self.ring().is_some_and(|ring| ring.waits_in_open)
    }

    fn cancels_by_handle(&self) -> bool {
        self.ring().is_none_or(|ring| ring.cancels_by_handle)
    }

    fn receives_in_streams(&self) -> bool {
        self.ring().is_some_and(|ring| ring.receives_in_streams)
    }

    fn knows(&self, opcode: u8) -> bool {
        self.ring().is_some_and(|ring| ring.opcodes >> opcode & 1 != 0)
    }

    unsafe fn register_buffers(&self, at: u64, entries: u16, group: u16) -> Result<(), Errno> {
        let ring = self.ring().ok_or(Errno(libc::ENOTSUP))?;
        if ring.lacks_buffer_rings {
            return Err(Errno(libc::EOPNOTSUPP));
        }
        // SAFETY: the caller's.
        match unsafe { ring.submitter.register_buf_ring_with_flags(at, entries, group, 0) } {
            Ok(()) => Ok(()),
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Err(Errno(libc::EOPNOTSUPP)),
            Err(e) => Err(Errno::from(e)),
        }
    }

    fn unregister_buffers(&self, group: u16) {
        if let Some(ring) = self.ring() {
            let _ = ring.submitter.unregister_buf_ring(group);
        }
    }

    fn ring_fd(&self) -> i32 {
        self.real_ring_fd()
    }

    fn make_fixed_table(&self, places: u32) -> Result<(), Errno> {
        let ring = self.ring().ok_or(Errno(libc::ENOTSUP))?;
        ring.fixed.make(&ring.submitter, places)
    }

    unsafe fn set_fixed(&self, place: u32, at: u64, bytes: usize) -> Result<(), Errno> {
        let ring = self.ring().ok_or(Errno(libc::ENOTSUP))?;
        // SAFETY: the caller's.
        unsafe { ring.fixed.set(&ring.submitter, place, at, bytes) }
    }

    fn clone_fixed(&self, ring: i32, from: u32, place: u32, count: u32) -> Result<(), Errno> {
        let this = self.ring().ok_or(Errno(libc::ENOTSUP))?;
        this.fixed.share(&this.submitter, ring, from, place, count)
    }

    fn close_direct(&self, index: u32) {
        if let Some(ring) = self.ring() {
            let _ = ring.submitter.register_files_update(index, &[-1]);
        }
    }

    fn poll_fd(&self) -> Result<i32, Errno> {
        if let Some(made) = self.poll_fd.get() {
            return Ok(made.fd());
        }
        let made = PollFd::new(self.waker())?;
        match self.ring() {
            // A kernel before 5.18 has whoever registers wait until nothing is in flight.
            Some(ring) if ring.tells_by_itself => made.watch(ring.fd())?,
            Some(ring) => ring.submitter.register_eventfd(made.eventfd())?,
            None => {}
        }
        Ok(self.poll_fd.get_or_init(|| made).fd())
    }

    fn poll_take(&self) {
        if let Some(poll_fd) = self.poll_fd.get() {
            poll_fd.take();
        }
    }

    fn poll_kick(&self) {
        if let Some(poll_fd) = self.poll_fd.get() {
            poll_fd.kick();
        }
    }

    fn is_quiet(&self) -> bool {
        self.ring().is_none_or(Ring::is_quiet)
    }

    fn poll_deadline(&self, boot_ns: Option<u64>) {
        if let Some(poll_fd) = self.poll_fd.get() {
            poll_fd.set_deadline(boot_ns);
        }
    }

    fn waker(&self) -> Waker {
        match &self.way {
            Way::Ring(ring) => ring.waker(),
            Way::ComputeOnly(sleeper) => sleeper.waker(),
        }
    }
}
