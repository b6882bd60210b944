//! Who looks at an executor while it works: a foreign loop (`poll_fd`), a trace, metrics. The hot
//! path tests one byte for all of them, where it tested one for the loop alone; items that are
//! looked at are run by a copy of `run_chunk` of their own.
//!
//! A task that suspends under a trace notes what it waits for in the upper half of `notes`, and the
//! descriptor of an inline operation in `peer`, which that wait does not use: for the event of its
//! wake-up, when `waits` no longer says it.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::ptr;

use super::grant::Wait;
use super::join::JoinRecord;
use super::meter::Meter;
use super::scope::Scope;
use super::Executor;
use crate::atomic::Ordering;
use crate::error::{Errno, Res};
use crate::reactor::operation::Op;
use crate::stack::pool;
use crate::sys::{alloc, thread, valgrind};
use crate::task::annex::note;
use crate::task::header::{Flags, TaskRef, Waits, PRIORITIES};
use crate::ticks;
use crate::trace::{span, Event, Kind, Ring, Whose, Writer};
use crate::uring::kernel::Kernel;

/// Bits of `Executor::watch`.
pub mod by {
    /// A foreign loop watches for work.
    pub const POLLED: u8 = 1 << 0;
    pub const TRACED: u8 = 1 << 1;
    pub const METERED: u8 = 1 << 2;
    /// No onlooker: levels have shares, and each item is picked by them.
    pub const SHARED: u8 = 1 << 3;
    /// No onlooker: time is tracked. Here for who has to ask for both.
    pub const STAMPED: u8 = 1 << 4;
    /// No onlooker: Valgrind has to be told what the kernel writes. Here for who has to ask whether
    /// items are looked at, too.
    pub const VALGRIND: u8 = 1 << 5;
    /// Onlookers, or shares.
    pub const ANY: u8 = POLLED | TRACED | METERED | SHARED;
    /// Who looks at each item.
    pub const ITEMS: u8 = TRACED | METERED | SHARED;
}

/// What `Executor::watch` says of an executor that is made.
pub fn at_first(track: bool) -> u8 {
    let stamped = if track { by::STAMPED } else { 0 };
    stamped | if valgrind::is_here() { by::VALGRIND } else { 0 }
}

/// How a run of a task ended: what it waits for, or one of these.
pub mod ended {
    pub const YIELDED: u8 = 14;
    pub const EXITED: u8 = 15;
}

const REASON_SHIFT: u32 = 4;
/// Of a wake's `what`: whether it was in a call of `run`.
pub const INSIDE_SHIFT: u32 = 4;
const _: () = assert!(Waits::Queue as u8 as u32 <= 13 && note::ALL < 1 << REASON_SHIFT);

/// The trace of an executor, the owner's.
pub struct Trace(UnsafeCell<Option<Writer>>);

impl Trace {
    pub const fn none() -> Self {
        Self(UnsafeCell::new(None))
    }

    /// `f` uses the writer, and nothing else of the executor.
    #[inline(always)]
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Writer) -> T) -> Option<T> {
        // SAFETY: the owner's thread alone gets here, and `f` does not come back.
        unsafe { &mut *self.0.get() }.as_mut().map(f)
    }
}

fn name(task: Option<TaskRef>) -> u64 {
    task.map_or(0, |task| task.addr() as u64)
}

impl<K: Kernel> Executor<K> {
    #[inline(always)]
    pub(super) fn watches(&self, what: u8) -> bool {
        self.watch.get() & what != 0
    }

    fn set_watch(&self, what: u8, on: bool) {
        let others = self.watch.get() & !what;
        self.watch.set(if on { others | what } else { others });
        self.traces_scopes(self.watches(by::TRACED));
    }

    /// OWNER'S THREAD, outside its tasks. EXPENSIVE. EINVAL: too little memory; EBUSY: it has a
    /// trace; ENOTSUP: no time tracking.
    ///
    /// # Safety
    /// As [`Ring::lay`], until the trace is stopped or the executor gone.
    pub unsafe fn start_trace(&self, memory: *mut u8, bytes: usize) -> Res<()> {
        if !self.track {
            return Err(Errno(libc::ENOTSUP));
        }
        if self.watches(by::TRACED) {
            return Err(Errno(libc::EBUSY));
        }
        let (process, thread) = thread::ids();
        let whose = Whose {
            executor: self.address() as u64,
            process,
            thread,
            ticks_per_second: ticks::per_second(),
            now: ticks::now(),
        };
        // SAFETY: the caller's.
        let ring = unsafe { Ring::lay(memory, bytes, &whose) }.ok_or(Errno(libc::EINVAL))?;
        ring.set_name(self.name.words());
        pool::for_each_in_use(|header| {
            // SAFETY: headers of slots in use are tasks, or zeros, or what an earlier task left;
            // none of the latter two is attached.
            let task = unsafe { TaskRef::new(header.cast()) };
            if task.state().is_attached_to(self.address()) {
                name_in(ring, task);
                Self::note_wait(task);
            }
        });
        ring.publish();
        // SAFETY: the owner's thread, outside `with`.
        unsafe { *self.trace.0.get() = Some(ring.begin()) };
        self.set_watch(by::TRACED, true);
        Ok(())
    }

    /// What a task of ours waits for that has suspended with no trace: an earlier one's note would
    /// tell of an earlier wait.
    fn note_wait(task: TaskRef) {
        let flags = task.head.flags.get();
        if flags != Flags::AWAITING && flags != Flags::COMPLETED {
            return; // In the inbox, say: not ours to write yet.
        }
        let waits = if flags == Flags::AWAITING { task.waits.get() } else { Waits::Nothing };
        task.notes.set(task.notes.get() & note::ALL | (waits as u8) << REASON_SHIFT);
        if matches!(waits, Waits::Completion | Waits::CompletionCancelQueued) {
            task.peer.set(ptr::without_provenance(u32::MAX as usize)); // Of no descriptor.
        }
    }

    /// OWNER'S THREAD. The memory is the caller's again, and keeps what was recorded. ENOENT: there
    /// is none.
    pub fn stop_trace(&self) -> Res<()> {
        self.set_watch(by::TRACED, false);
        // SAFETY: the owner's thread, outside `with`.
        let writer = unsafe { (*self.trace.0.get()).take() };
        writer.ok_or(Errno(libc::ENOENT))?.ring.withdraw();
        Ok(())
    }

    /// ANY THREAD, and a handler of a signal: the task that runs, and a number that changes with
    /// each item. Two words that the owner stores anyway.
    pub fn glimpse(&self) -> (*const c_void, usize) {
        // SAFETY: words of a live executor. Volatile, not atomic: the owner's stores are plain ones
        // of the hot path, of which this is the only reader elsewhere. A word is whole on every
        // processor that is supported, and what is seen is used as a number alone.
        unsafe {
            let task = self.head.current_task.as_ptr().read_volatile();
            (task.cast(), self.ready.glimpse())
        }
    }

    /// Before its first run. Level l is to have 1 item in `every[l]`; 0: no share. EINVAL: they add
    /// up to more than one.
    pub fn set_shares(&self, every: [u32; PRIORITIES]) -> Res<()> {
        self.shares.set(every)?;
        self.set_watch(by::SHARED, every != [0; PRIORITIES]);
        Ok(())
    }

    /// OWNER'S THREAD. EXPENSIVE. From now on, for its life. ENOTSUP: no time tracking.
    pub fn start_meter(&self) -> Res<()> {
        if !self.track {
            return Err(Errno(libc::ENOTSUP));
        }
        if self.meter().is_none() {
            // SAFETY: zeros are a meter.
            let meter = unsafe { alloc::try_zeroed::<Meter>() }?;
            meter.ticks_per_second.set(ticks::per_second());
            self.publish(&meter);
            self.meter.store(Box::into_raw(meter), Ordering::Release);
            self.set_watch(by::METERED, true);
        }
        Ok(())
    }

    /// ANY THREAD.
    #[inline(always)]
    pub fn meter(&self) -> Option<&Meter> {
        // Acquire: pairs with `start_meter`.
        // SAFETY: null, or one that stays as long as the executor.
        unsafe { self.meter.load(Ordering::Acquire).as_ref() }
    }

    /// The executor is being destroyed.
    pub(super) fn drop_meter(&self) {
        let meter = self.meter.swap(ptr::null_mut(), Ordering::Relaxed);
        if !meter.is_null() {
            // SAFETY: made by `start_meter`; nobody reads it when the executor goes.
            drop(unsafe { Box::from_raw(meter) });
        }
    }

    fn publish(&self, meter: &Meter) {
        let head = &self.head;
        for (to, from) in [
            (&meter.tasks_pending_launch, &head.tasks_pending_launch),
            (&meter.tasks_running, &head.tasks_running),
            (&meter.tasks_suspended, &head.tasks_suspended),
        ] {
            to.set(from.get() as u64);
        }
        for (to, from) in [
            (&meter.ticks_in_run, &head.total_ticks_in_run),
            (&meter.ticks_in_task_launch, &head.total_ticks_in_task_launch),
            (&meter.ticks_in_io_uring, &head.total_ticks_in_io_uring),
            (&meter.ticks_sleeping, &head.total_ticks_sleeping),
            (&meter.ticks_in_task_completion, &head.total_ticks_in_task_completion),
            (&meter.io_submitted, &head.total_io_submitted),
            (&meter.io_completed, &head.total_io_completed),
        ] {
            to.set(from.get());
        }
    }

    /// Its trace, for readers. In a signal handler too.
    pub fn trace(&self) -> Option<Ring> {
        // SAFETY: changes where the trace starts and stops, which is the caller's to order.
        unsafe { (*self.trace.0.get()).as_ref() }.map(|writer| writer.ring)
    }

    /// The executor has another name.
    pub(super) fn renamed(&self) {
        if self.watches(by::TRACED) {
            self.trace.with(|writer| writer.ring.set_name(self.name.words()));
        }
    }

    /// A task of ours has another name.
    pub fn named(&self, task: TaskRef) {
        if self.watches(by::TRACED) {
            self.trace.with(|writer| name_in(writer.ring, task));
        }
    }

    #[inline]
    fn record(&self, kind: Kind, what: u8, task: u64, at: (u64, u64), abc: [u64; 3]) {
        let ((from, to), [a, b, c]) = (at, abc);
        self.trace.with(|writer| writer.push(Event { kind, what, task, from, to, a, b, c }));
    }

    /// A run of the executor begins.
    #[cold]
    #[inline(never)]
    pub(super) fn watched_run(&self) {
        if self.watches(by::POLLED) {
            self.end_rest();
        }
    }

    /// It has ended.
    #[cold]
    #[inline(never)]
    pub(super) fn watched_return(&self, begun: u64, now: u64) {
        if !self.is_mine() {
            return; // The child of a fork: the trace is the parent's.
        }
        if self.watches(by::TRACED) {
            self.record(Kind::Span, span::RUN, 0, (begun, now), [0; 3]);
        }
        if let Some(meter) = self.meter() {
            self.publish(meter);
        }
        if self.watches(by::POLLED) {
            self.rest();
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn watched_span(&self, what: u8, from: u64, to: u64) {
        if let Some(meter) = self.meter() {
            let count = if what == span::SLEEP { &meter.sleeps } else { &meter.enters };
            count.add(1);
        }
        self.record(Kind::Span, what, 0, (from, to), [0; 3]);
    }

    /// Attached, by this thread.
    #[cold]
    #[inline(never)]
    pub(super) fn watched_attach(&self, task: TaskRef) {
        if self.watches(by::TRACED) {
            self.watched_launch(task, false);
        }
        self.tell_poll_fd();
    }

    #[cold]
    #[inline(never)]
    pub(super) fn watched_launch(&self, task: TaskRef, elsewhere: bool) {
        self.named_before(task);
        let at = task.head.ticks_when_attached.get();
        let by = if elsewhere { 0 } else { self.doer() };
        let level = u64::from(task.cpu_level());
        self.record(Kind::Launch, elsewhere.into(), name(Some(task)), (at, at), [by, level, 0]);
    }

    fn named_before(&self, task: TaskRef) {
        if task.notes(note::NAMED) {
            self.named(task);
        }
    }

    /// A task is about to run: when it became ready.
    #[inline(always)]
    pub(super) fn watched_begin(&self, task: TaskRef, now: u64) -> u64 {
        self.trace.with(|writer| writer.ring.set_running(task.addr() as u64, now));
        let is_launch = task.head.flags.get() == Flags::PENDING_LAUNCH;
        let ready = match is_launch {
            true => task.head.ticks_when_attached.get(),
            false => task.head.ticks.when_suspended_completed.get(),
        };
        if let Some(meter) = self.meter() {
            meter.launches.add(is_launch.into());
            // Another processor's counter may be ahead by some ticks.
            meter.ready[usize::from(task.cpu_level())].record(now.saturating_sub(ready));
        }
        ready
    }

    /// A task has run, and has suspended or returned.
    #[inline(always)]
    pub(super) fn watched_end(&self, task: TaskRef, ready: u64, from: u64, to: u64) {
        if !(self.watches(by::TRACED) && self.is_mine()) {
            return;
        }
        let (what, b, c) = match task.head.flags.get() {
            Flags::RUNNING => (ended::EXITED, task.result().words()[0], task.result().words()[1]),
            Flags::COMPLETED => (ended::YIELDED, 0, 0),
            _ => {
                let waits = task.waits.get();
                let (b, c) = self.detail(task, waits);
                (waits as u8, b, c)
            }
        };
        task.notes.set(task.notes.get() & note::ALL | what << REASON_SHIFT);
        self.trace.with(|writer| writer.ring.set_running(0, 0));
        self.record(Kind::Run, what, name(Some(task)), (from, to), [ready, b, c]);
    }

    /// What a suspended task of ours waits for; see `detail`.
    pub fn waits_for(&self, task: TaskRef) -> (Waits, u64, u64) {
        let waits = task.waits.get();
        let (of, operation) = self.detail(task, waits);
        (waits, of, operation)
    }

    /// Of what a task waits, as far as one can say: an address or a number, and opcode and
    /// descriptor of an operation.
    fn detail(&self, task: TaskRef, waits: Waits) -> (u64, u64) {
        let peer = task.peer.get();
        let operation = |opcode: u8, fd: i32| u64::from(fd as u32) << 32 | u64::from(opcode);
        match waits {
            Waits::Completion | Waits::CompletionCancelQueued => {
                (0, operation(task.opcode.get(), peer.addr() as i32))
            }
            // SAFETY: null, or the record that the task waits for, which is in flight.
            Waits::Operation => match unsafe { peer.cast::<Op>().as_ref() } {
                Some(record) => {
                    let sqe = record.sqe.get();
                    (peer.addr() as u64, operation(sqe.opcode(), sqe.fd()))
                }
                None => (0, 0),
            },
            // SAFETY: such a wait names its record, on the task's stack.
            Waits::Join => (name(Some(unsafe { (*peer.cast::<JoinRecord>()).other() })), 0),
            Waits::Grant => (Self::wait_of(task).map_or(0, Wait::object) as u64, 0),
            Waits::Deadline => (task.timer.deadline_ns.get(), 0),
            _ => (0, 0),
        }
    }

    /// What a task of ours waited for is there, or will not come.
    #[cold]
    #[inline(never)]
    pub(super) fn watched_wake(&self, task: TaskRef, now: u64) {
        let what = task.notes.get() >> REASON_SHIFT;
        let operation = [Waits::Completion, Waits::CompletionCancelQueued].map(|w| w as u8);
        let c = match operation.contains(&what) {
            true => self.detail(task, Waits::Completion).1,
            false => 0,
        };
        let since = task.head.ticks.when_suspended_awaiting.get();
        let mut outcome = task.head.outcome.get();
        if what == Waits::Grant as u8 {
            outcome = task.ended.get(); // Who waits so may not write the other.
        } else if what == Waits::Park as u8 {
            outcome = outcome.min(0); // Above it is what a park begins with, see `park_bare`.
        }
        let (outcome, by) = (outcome as i64 as u64, self.doer());
        let what = what | u8::from(self.is_in_run()) << INSIDE_SHIFT;
        self.record(Kind::Wake, what, name(Some(task)), (since, now), [by, outcome, c]);
    }

    /// The operations of a task that has returned are over.
    #[cold]
    #[inline(never)]
    pub(super) fn watched_closed(&self, task: TaskRef, now: u64) {
        let since = task.head.ticks.when_suspended_awaiting.get();
        self.record(Kind::Wake, Waits::Closing as u8, name(Some(task)), (since, now), [0; 3]);
    }

    /// Who is told of the exit of `task` wakes and launches others in its name, as no task runs.
    #[cold]
    #[inline(never)]
    pub(super) fn watched_told(&self, task: TaskRef, tell: impl FnOnce()) {
        let set = |task, since| self.trace.with(|writer| writer.ring.set_running(task, since));
        let before = self.trace().map_or((0, 0), Ring::running);
        set(name(Some(task)), task.head.ticks.when_detached.get());
        tell();
        set(before.0, before.1);
    }

    /// Who does this: the task that runs, or has just exited; 0: none.
    fn doer(&self) -> u64 {
        let running = || self.trace().map_or(0, |ring| ring.running().0);
        self.current_task().map_or_else(running, |task| task.addr() as u64)
    }

    /// The inline operation of the task that runs.
    #[cold]
    #[inline(never)]
    pub(super) fn watched_io(&self, task: TaskRef, opcode: u8, fd: i32) {
        if let Some(meter) = self.meter() {
            meter.operation(opcode);
        }
        task.peer.set(ptr::without_provenance(fd as u32 as usize));
    }

    #[cold]
    #[inline(never)]
    pub(super) fn watched_operation(&self, record: &Op, kind: Kind, over: bool) {
        let sqe = record.sqe.get();
        if let (Some(meter), Kind::Begin) = (self.meter(), kind) {
            meter.operation(sqe.opcode());
        }
        if !self.watches(by::TRACED) {
            return;
        }
        let at = ticks::now();
        let result = match kind {
            Kind::Begin => u64::from(sqe.fd() as u32),
            _ => record.outcome.get() as i64 as u64,
        };
        let address = ptr::from_ref(record).addr() as u64;
        let what = sqe.opcode();
        let task = name(Some(record.task()));
        self.record(kind, what, task, (at, at), [address, result, over.into()]);
    }

    #[cold]
    #[inline(never)]
    pub(super) fn watched_cancel(&self, task: TaskRef) {
        let at = ticks::now();
        let by = self.doer();
        self.record(Kind::Cancel, 0, name(Some(task)), (at, at), [by, 0, 0]);
    }

    /// 0: entered; 1: left; 2: fired.
    #[cold]
    #[inline(never)]
    pub(super) fn watched_scope(&self, task: TaskRef, scope: &Scope, what: u8, value: u64) {
        let at = ticks::now();
        let address = ptr::from_ref(scope).addr() as u64;
        self.record(Kind::Scope, what, name(Some(task)), (at, at), [address, value, 0]);
    }
}

fn name_in(ring: Ring, task: TaskRef) {
    if let Some(name) = task.name() {
        ring.name_task(task.addr() as u64, name.words());
    }
}
