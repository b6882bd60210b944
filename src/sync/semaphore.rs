//! `monad_async_semaphore`, and `monad_async_local_semaphore`.

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use super::side::Side;
use super::waiters::{back_from_bare, First, Node, Waiters, Woken, ENDED_AT};
use crate::error::{Errno, RawResult, Res};
use crate::executor::bare::Bare;
use crate::executor::free::{Free, Waiter};
use crate::executor::grant::Caller;
use crate::executor::home::Here;
use crate::executor::mailbox::Mailbox;
use crate::executor::scope::NEVER_NS;
use crate::executor::Executor;
use crate::stack::switch::Over;
use crate::task::header::{TaskRef, NORMAL, PRIORITIES};
use crate::uring::kernel::Kernel;

/// A level behind all, that of who does not say who it is, included.
const NOBODY: usize = PRIORITIES + 1;

#[repr(C)]
pub struct Semaphore<S: Side> {
    side: S,
    permits: Cell<u64>,
    waiters: Waiters,
}

// As in semaphore.h.
const _: () = assert!(size_of::<Semaphore<super::Shared>>() == 64);

impl<S: Side> Semaphore<S> {
    /// Whether `count` permits may be taken by one of that level: nobody waits who comes before it.
    /// None may always be.
    #[inline(always)]
    fn take(&self, count: u64, level: usize) -> bool {
        let first = || self.waiters.first().map_or(NOBODY, Node::level);
        let nobody_waits = || self.waiters.is_empty() || level < first();
        let free = count == 0 || self.permits.get() >= count && nobody_waits();
        if free {
            self.permits.set(self.permits.get() - count);
        }
        free
    }

    /// Serves the first, as long as there are permits: who wants many is not passed by who wants
    /// few.
    fn serve(&self, woken: &mut Woken) {
        while let Some(node) = self.waiters.first() {
            let count = node.data.get() as u64;
            if self.permits.get() < count {
                return;
            }
            self.waiters.remove(node);
            if node.claim() {
                self.permits.set(self.permits.get() - count);
                woken.add(node.wait());
            }
        }
    }

    /// SUSPENDS.
    #[inline(always)]
    pub fn acquire<K: Kernel>(
        &self,
        caller: &Caller<'_, K>,
        count: u64,
        until_ns: u64,
    ) -> RawResult {
        let (identity, ex) = caller.parts();
        let Some(free) = caller.free().filter(|free| self.side.try_close(free.home())) else {
            return Self::acquire_otherwise(identity, self, count, ex, until_ns);
        };
        if self.permits.get() >= count && self.waiters.is_empty() {
            self.permits.set(self.permits.get() - count);
            self.side.open();
            return RawResult::success_by_call();
        }
        if until_ns != NEVER_NS {
            self.side.open();
            return Self::acquire_otherwise(identity, self, count, ex, until_ns);
        }
        let (task, ex) = free.parts();
        // (Enough, and who waits may have been cancelled: `acquire_slowly` looks.)
        if self.permits.get() >= count {
            return Self::acquire_slowly(task, self, count, ex);
        }
        match free.bare::<false>() {
            Some(bare) => self.acquire_bare(bare, count),
            None => Self::acquire_stamped(task, self, count, ex),
        }
    }

    /// As `acquire`, of more permits than there are, with time tracking; of C's kind: see
    /// `acquire_slowly`.
    #[inline(never)]
    extern "C" fn acquire_stamped<K: Kernel>(
        task: TaskRef,
        this: &Self,
        count: u64,
        ex: &Executor<K>,
    ) -> RawResult {
        match Free::new(ex, task).bare::<true>() {
            Some(bare) => this.acquire_bare(bare, count),
            None => Self::acquire_slowly(task, this, count, ex),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn acquire_bare<K: Kernel, const TRACK: bool>(
        &self,
        bare: Bare<'_, K, TRACK>,
        count: u64,
    ) -> RawResult {
        let (at, noted) = (ptr::from_ref(self).cast(), (0, Some(count as usize)));
        let open = || self.side.open();
        self.waiters.wait_bare::<K, Acquires<K, S>, TRACK>(S::IS_LOCAL, bare, noted, at, open)
    }

    /// As `acquire`: for any caller, at any time.
    #[cold]
    #[inline(never)]
    extern "C" fn acquire_otherwise<K: Kernel>(
        identity: usize,
        this: &Self,
        count: u64,
        ex: Option<&Executor<K>>,
        until_ns: u64,
    ) -> RawResult {
        let caller = Caller::of_parts(identity, ex);
        if let Err(e) = caller.start().and_then(|()| this.side.close(caller.mailbox())) {
            return RawResult::failure(e);
        }
        this.take_or_wait(&(caller, until_ns), count)
    }

    /// Of C's kind: a C function ends in it by a jump, so that of a task that suspends in here no
    /// return is left but the one to the user's function.
    #[inline(never)]
    extern "C" fn acquire_slowly<K: Kernel>(
        task: TaskRef,
        this: &Self,
        count: u64,
        ex: &Executor<K>,
    ) -> RawResult {
        this.take_or_wait(&Free::new(ex, task), count)
    }

    /// The side is closed.
    #[inline(always)]
    fn take_or_wait<K: Kernel>(&self, waiter: &impl Waiter<K>, count: u64) -> RawResult {
        let task = waiter.caller().executor().map(|(_, task)| task);
        if self.take(count, task.map_or(NORMAL, TaskRef::cpu_level) as usize) {
            self.side.open();
            return RawResult::success(0);
        }
        let noted = (0, count as usize);
        let open = || self.side.open();
        self.waiters.wait_turn(S::IS_LOCAL, waiter, noted, open, |node, e| match e {
            0 => RawResult::success(0),
            e => self.withdraw(waiter.caller(), node, e),
        })
    }

    /// Out of those who wait; `e` is why.
    #[cold]
    #[inline(never)]
    extern "C" fn withdraw<K: Kernel>(
        &self,
        caller: Caller<'_, K>,
        node: &Node,
        e: i32,
    ) -> RawResult {
        let mut woken = Woken::none();
        if let Err(e) = self.side.close(caller.mailbox()) {
            return RawResult::failure(e);
        }
        self.waiters.remove(node);
        self.serve(&mut woken);
        self.side.open();
        woken.wake::<K>();
        RawResult::failure(Errno(-e))
    }

    /// EAGAIN: not so many, or others wait.
    pub fn try_acquire(&self, here: Option<&'static Mailbox>, count: u64) -> Res<()> {
        self.side.close(here)?;
        let taken = self.take(count, PRIORITIES);
        self.side.open();
        taken.then_some(()).ok_or(Errno(libc::EAGAIN))
    }

    /// EOVERFLOW: more than can be counted.
    #[inline(always)]
    pub fn release<K: Kernel>(&self, count: u64) -> RawResult {
        let here = Here::<K>::of_this_thread();
        if !self.side.try_close(here.home()) {
            return self.release_otherwise::<K>(count);
        }
        self.add(&here, count)
    }

    /// As `release`, wherever.
    #[cold]
    #[inline(never)]
    extern "C" fn release_otherwise<K: Kernel>(&self, count: u64) -> RawResult {
        match self.side.close(Here::<K>::of_this_thread().mailbox()) {
            Ok(()) => self.add_otherwise::<K>(count),
            Err(e) => RawResult::failure(e),
        }
    }

    /// The side is closed. Most often somebody waits for as many as are given, and there are no
    /// others: those are not counted in, and out again.
    #[inline(always)]
    fn add<K: Kernel>(&self, here: &Here<K>, count: u64) -> RawResult {
        let home = (!S::IS_LOCAL).then_some(here.home());
        let wanted = |node: &Node| self.permits.get() == 0 && node.data.get() as u64 == count;
        match self.waiters.claim_here(home, wanted) {
            First::Nobody => {
                let Some(sum) = self.permits.get().checked_add(count) else {
                    self.side.open();
                    return RawResult::failure_by_call(Errno(libc::EOVERFLOW));
                };
                self.permits.set(sum);
                self.side.open();
                RawResult::success_by_call()
            }
            First::Here(_, task) => {
                self.side.open();
                // SAFETY: the task that was found is of it.
                unsafe { here.executor() }.granted_last(task)
            }
            First::Other => self.add_otherwise::<K>(count),
        }
    }

    /// As `add`, wherever. Of C's kind: a C function ends in it by a jump.
    #[inline(never)]
    extern "C" fn add_otherwise<K: Kernel>(&self, count: u64) -> RawResult {
        let Some(sum) = self.permits.get().checked_add(count) else {
            self.side.open();
            return RawResult::failure(Errno(libc::EOVERFLOW));
        };
        self.permits.set(sum);
        let mut woken = Woken::none();
        self.serve(&mut woken);
        self.side.open();
        woken.wake::<K>();
        RawResult::success_by_call()
    }
}

/// Who comes back from a wait for a semaphore without a permit.
struct Acquires<K, S>(PhantomData<(K, S)>);

impl<K: Kernel, S: Side> Over for Acquires<K, S> {
    const SWITCH_AT: usize = TaskRef::SWITCH_AT;
    const OUTCOME_AT: usize = ENDED_AT;
    const OBJECT_AT: usize = TaskRef::OBJECT_AT;

    #[cold]
    extern "C" fn over(task: NonNull<u8>, semaphore: *const u8) -> RawResult {
        // SAFETY: called where such a wait ends; the semaphore is the waiter's to keep.
        unsafe {
            let (caller, node, e) = back_from_bare::<K>(task);
            (*semaphore.cast::<Semaphore<S>>()).withdraw(caller, node, e)
        }
    }
}
