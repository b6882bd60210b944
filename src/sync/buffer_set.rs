//! `monad_async_buffer_set`: who may have a registered buffer, and who waits for one. What the
//! kernel is told is `reactor::fixed`.
//!
//! ```text
//!    Set  Set      a handle for each executor: its registration, and what was claimed through it
//!      \  /
//!      Core        the memory; behind the side: what is free, who has what, who waits
//! ```
//!
//! 1. All of the core is behind its side: the thread of the one executor, or, once it was shared, a
//!    latch.
//! 2. Buffers are chained by who has them, from buckets of a hash: so when a task begins to wait,
//!    what it has is found without a look at all. `stuck` counts the buffers of tasks that wait
//!    here; when those are all, nobody would ever go on.
//! 3. A buffer with operations in flight is not given back.

use core::cell::Cell;
use core::ptr::{self, NonNull};

pub use super::buffer_core::Claim;
use super::buffer_core::{Core, NONE};
use super::side::Side;
use super::waiters::{Node, Woken};
use crate::atomic::{AtomicU32, Ordering};
use crate::error::{Errno, Res};
use crate::executor::grant::Caller;
use crate::executor::Executor;
use crate::reactor::fixed::{self, Fixed, Memory};
use crate::sys::alloc;
use crate::task::header::TaskRef;
use crate::uring::kernel::{Kernel, Sqe};

/// A handle of one executor.
pub struct Set {
    core: NonNull<Core>,
    fixed: NonNull<Fixed>,
    /// Buffers claimed through it, and tasks that wait to. Behind the side.
    claimed: Cell<u32>,
    waiting: Cell<u32>,
    /// The core's next.
    next: Cell<Option<NonNull<Set>>>,
}

/// On the stack of who waits.
struct Wanted<'a> {
    set: &'a Set,
    given: Cell<Claim>,
}

impl Core {
    fn all(&self) -> impl Iterator<Item = &Set> {
        // SAFETY: in the list until they are gone; behind the side.
        core::iter::successors(self.sets.get(), |at| unsafe { at.as_ref() }.next.get())
            .map(|at| unsafe { at.as_ref() })
    }

    /// Operations are in flight on it, through whatever ring.
    fn is_used(&self, number: u32) -> bool {
        self.all().any(|set| set.fixed().users(number).load(Ordering::Relaxed) != 0)
    }
}

impl Set {
    fn core(&self) -> &Core {
        // SAFETY: it lives as long as its handles.
        unsafe { self.core.as_ref() }
    }

    pub fn fixed(&self) -> &Fixed {
        // SAFETY: freed with this.
        unsafe { self.fixed.as_ref() }
    }

    pub fn memory(&self) -> &Memory {
        &self.core().memory
    }

    /// The executor; null after its end.
    pub fn owner(&self) -> *const () {
        self.fixed().owner.load(Ordering::Relaxed).cast_const().cast()
    }

    fn is_of<K: Kernel>(&self, ex: &Executor<K>) -> bool {
        ptr::eq(self.owner(), ptr::from_ref(ex).cast())
    }

    /// EXPENSIVE. OWNER'S THREAD. What `Reactor::register_fixed` says.
    pub fn register<K: Kernel>(ex: &Executor<K>, count: u32, bytes: u32) -> Res<NonNull<Self>> {
        if !ex.kernel().has_ring() {
            return Err(Errno(libc::ENOTSUP));
        }
        let core = Core::new(count, bytes)?;
        let made = Self::join(ex, core, None);
        if made.is_err() {
            // SAFETY: leaked just now, and nobody has it.
            drop(unsafe { Box::from_raw(core.as_ptr()) });
        }
        made
    }

    /// EXPENSIVE. OWNER'S THREAD of `ex`. A handle to the same buffers. EPERM: not shared.
    pub fn clone_to<K: Kernel>(&self, ex: &Executor<K>) -> Res<NonNull<Self>> {
        if !ex.kernel().has_ring() {
            return Err(Errno(libc::ENOTSUP));
        }
        if !self.core().is_shared() {
            return Err(Errno(libc::EPERM));
        }
        let like = (!self.owner().is_null()).then(|| self.fixed());
        Self::join(ex, self.core, like)
    }

    fn join<K: Kernel>(
        ex: &Executor<K>,
        core: NonNull<Core>,
        like: Option<&Fixed>,
    ) -> Res<NonNull<Self>> {
        // SAFETY: the core is alive; its memory outlives the registration, which a handle has.
        let (core_ref, memory) = unsafe { (core.as_ref(), NonNull::from(&core.as_ref().memory)) };
        // SAFETY: as above.
        let fixed = unsafe { ex.register_fixed(memory, like) }?;
        let made = alloc::try_box(Self {
            core,
            fixed,
            claimed: Cell::new(0),
            waiting: Cell::new(0),
            next: Cell::new(None),
        });
        let made = made.inspect_err(|_| {
            // SAFETY: made just now.
            unsafe { ex.unregister_fixed(fixed) };
        })?;
        core_ref.refs.fetch_add(1, Ordering::Relaxed);
        let made = Box::leak(made);
        made.close();
        made.next.set(core_ref.sets.get());
        core_ref.sets.set(Some(NonNull::from(&*made)));
        made.open();
        Ok(NonNull::from(made))
    }

    /// OWNER'S THREAD. From now on other executors may have handles. EBUSY: a task waits.
    pub fn share(&self) -> Res<()> {
        if self.core().is_shared() {
            return Ok(());
        }
        if self.core().waiters.first().is_some() {
            return Err(Errno(libc::EBUSY));
        }
        self.core().is_shared.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// OWNER'S THREAD; any, after the end of the executor. EXPENSIVE. EBUSY: a buffer was claimed
    /// through it, a task waits, or an operation of this executor is in flight on a buffer, whoever
    /// claimed that.
    ///
    /// # Safety
    /// Not used afterwards. `ex` is its executor, if that has not ended.
    pub unsafe fn unregister<K: Kernel>(at: NonNull<Self>, ex: Option<&Executor<K>>) -> Res<()> {
        // SAFETY: the caller's.
        let set = unsafe { at.as_ref() };
        let core = set.core();
        set.close();
        if set.claimed.get() != 0 || set.waiting.get() != 0 || set.fixed().is_used() {
            set.open();
            return Err(Errno(libc::EBUSY));
        }
        let mut place = &core.sets;
        while let Some(other) = place.get() {
            if other == at {
                place.set(set.next.get());
                break;
            }
            // SAFETY: in the list.
            place = unsafe { &other.as_ref().next };
        }
        set.open();
        // SAFETY: nothing is in flight through it: just seen, and its own thread alone begins
        // operations.
        unsafe {
            match ex {
                Some(ex) => ex.unregister_fixed(set.fixed),
                None => fixed::free(set.fixed),
            }
        }
        let core = set.core;
        // SAFETY: leaked by `join`; the last handle frees the core, which nobody else has.
        unsafe {
            drop(Box::from_raw(at.as_ptr()));
            // Release and acquire: all that the others did comes before the end.
            if core.as_ref().refs.fetch_sub(1, Ordering::AcqRel) == 1 {
                drop(Box::from_raw(core.as_ptr()));
            }
        }
        Ok(())
    }

    /// Behind the side from here on: the owner's thread, or who has closed the latch.
    #[inline(always)]
    fn close(&self) {
        if self.core().is_shared() {
            self.close_shared_set();
        }
    }

    /// By an exchange: a function of its own, at which the local path ends.
    #[inline(never)]
    fn close_shared_set(&self) {
        // EPERM in the child of a fork alone, to which a set is nothing but memory.
        let _ = self.core().latch.close(None);
    }

    #[inline(always)]
    fn open(&self) {
        if self.core().is_shared() {
            self.core().latch.open();
        }
    }

    /// Every thread may use what was claimed; else the owner's alone.
    pub fn is_shared(&self) -> bool {
        self.core().is_shared()
    }

    /// Behind the side.
    fn claimed_by(&self, number: u32, task: Option<TaskRef>) -> Claim {
        self.claimed.set(self.claimed.get() + 1);
        self.core().claim(number, task)
    }

    /// SUSPENDS until there is one. EDEADLK: all are with tasks that wait for one more. EPERM:
    /// another executor's, or no task.
    pub fn claim<K: Kernel>(&self, caller: &Caller<'_, K>, until_ns: u64) -> Res<Claim> {
        let (ex, task) = caller.executor().ok_or(Errno(libc::EPERM))?;
        if !self.is_of(ex) {
            return Err(Errno(libc::EPERM));
        }
        caller.start()?;
        self.close();
        if let Some(number) = self.core().take_free() {
            let claim = self.claimed_by(number, Some(task));
            self.open();
            return Ok(claim);
        }
        self.claim_slowly(caller, task, until_ns)
    }

    #[inline(never)]
    fn claim_slowly<K: Kernel>(
        &self,
        caller: &Caller<'_, K>,
        task: TaskRef,
        until_ns: u64,
    ) -> Res<Claim> {
        let core = self.core();
        core.set_stuck(task, true);
        if core.stuck.get() == core.memory.count {
            core.set_stuck(task, false);
            self.open();
            return Err(Errno(libc::EDEADLK));
        }
        let given = Cell::new(Claim { number: NONE, turn: 0 });
        let wanted = Wanted { set: self, given };
        let wait = caller.wait(!core.is_shared());
        let node = Node::new(&wait, 0, ptr::from_ref(&wanted).expose_provenance());
        // SAFETY: taken out before this returns: by who serves it, or below.
        unsafe { core.waiters.push(&node) };
        self.waiting.set(self.waiting.get() + 1);
        self.open();
        match caller.until_granted(&wait, until_ns) {
            Ok(()) => Ok(wanted.given.get()),
            Err(e) => {
                self.close();
                core.waiters.remove(&node);
                core.set_stuck(task, false);
                self.waiting.set(self.waiting.get() - 1);
                self.open();
                Err(e)
            }
        }
    }

    /// Without waiting. `task` runs on its executor. EAGAIN: none, or others wait.
    pub fn try_claim<K: Kernel>(&self, ex: &Executor<K>, task: TaskRef) -> Res<Claim> {
        if !self.is_of(ex) {
            return Err(Errno(libc::EPERM));
        }
        self.close();
        let taken = self.core().take_free();
        let claim = taken.map(|number| self.claimed_by(number, Some(task)));
        self.open();
        claim.ok_or(Errno(libc::EAGAIN))
    }

    /// EINVAL: no such claim. EBUSY: operations are in flight on it.
    pub fn release<K: Kernel>(&self, claim: Claim) -> Res<()> {
        let core = self.core();
        let mut woken = Woken::none();
        self.close();
        let released = match () {
            () if !core.is_claimed(claim) => Err(Errno(libc::EINVAL)),
            () if core.is_used(claim.number) => Err(Errno(libc::EBUSY)),
            () => {
                self.pass_on(claim.number, &mut woken);
                Ok(())
            }
        };
        self.open();
        woken.wake::<K>();
        released
    }

    /// To the first that waits, or to those that are free.
    fn pass_on(&self, number: u32, woken: &mut Woken) {
        let core = self.core();
        core.unchain(number);
        self.claimed.set(self.claimed.get() - 1);
        let Some(node) = core.waiters.claim() else {
            core.memory.released(number);
            core.place(number).next.set(core.free.get());
            core.free.set(number);
            return;
        };
        let wanted = ptr::with_exposed_provenance::<Wanted<'_>>(node.data.get());
        // SAFETY: on the stack of a task that waits, and goes on once it is woken.
        let wanted = unsafe { &*wanted };
        let task = node.wait().task();
        if let Some(task) = task {
            core.set_stuck(task, false);
        }
        wanted.set.waiting.set(wanted.set.waiting.get() - 1);
        wanted.given.set(wanted.set.claimed_by(number, task));
        woken.add(node.wait());
    }

    /// It is that task's from now on; None: nobody's who waits. EDEADLK, and nothing changed: all
    /// would be with tasks that wait for one more.
    pub fn give(&self, claim: Claim, task: Option<TaskRef>) -> Res<()> {
        let core = self.core();
        self.close();
        let given = match () {
            () if !core.is_claimed(claim) => Err(Errno(libc::EINVAL)),
            () if !core.hand_over(claim.number, task) => Err(Errno(libc::EDEADLK)),
            () => Ok(()),
        };
        self.open();
        given
    }

    /// The registration of these buffers with `ex`. EINVAL: no such claim; EPERM: there is none.
    #[inline(always)]
    fn registration<K: Kernel>(&self, ex: &Executor<K>, claim: Claim) -> Res<&Fixed> {
        if !self.is_of(ex) {
            return self.shared_registration(ex, claim);
        }
        if !self.core().is_claimed(claim) {
            return Err(Errno(libc::EINVAL));
        }
        Ok(self.fixed())
    }

    #[inline(never)]
    fn shared_registration<K: Kernel>(&self, ex: &Executor<K>, claim: Claim) -> Res<&Fixed> {
        if !self.is_shared() {
            return Err(Errno(libc::EPERM));
        }
        if !self.core().is_claimed(claim) {
            return Err(Errno(libc::EINVAL));
        }
        self.close();
        let set = self.core().all().find(|set| set.is_of(ex));
        self.open();
        // Its executor's thread is this one: so it stays.
        set.map(Set::fixed).ok_or(Errno(libc::EPERM))
    }

    /// As `entry`, by what is so most of the time: a claim of this handle's executor, of a set that
    /// has one place in its table: a read by a direct descriptor. None: that is for `entry`.
    #[inline(always)]
    pub fn read_entry<K: Kernel>(
        &self,
        ex: &Executor<K>,
        claim: Claim,
        part: (usize, usize),
        sqe: Sqe,
    ) -> Option<(Sqe, &AtomicU32)> {
        let owner = ptr::from_ref(ex).cast_mut().cast();
        self.fixed().quick_entry(owner, (claim.number, claim.turn), part, sqe)
    }

    /// The entry `sqe` for `bytes` of a buffer from `at` on; and the buffer's count of operations
    /// in flight, for `fixed::used` and `unused` around this one. EINVAL: not inside.
    #[inline(always)]
    pub fn entry<K: Kernel>(
        &self,
        ex: &Executor<K>,
        claim: Claim,
        (at, bytes): (usize, usize),
        sqe: Sqe,
    ) -> Res<(Sqe, &AtomicU32)> {
        let fixed = self.registration(ex, claim)?;
        if !self.memory().has(at, bytes) {
            return Err(Errno(libc::EINVAL));
        }
        let mut sqe = fixed.entry(claim.number, sqe);
        sqe.0[2] = self.memory().data(claim.number).as_ptr() as u64 + at as u64;
        sqe.0[3] = sqe.0[3] & !0xffff_ffff | bytes as u64;
        // SAFETY: the claim is one, says `registration`.
        Ok((sqe, unsafe { fixed.users_unchecked(claim.number) }))
    }
}
