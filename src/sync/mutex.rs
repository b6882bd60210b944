//! `monad_async_mutex`, and `monad_async_local_mutex`.

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use super::awaited::{Awaited, Awaits, Who};
use super::side::Side;
use super::waiters::{back_from_bare, First, Node, Waiters, Woken, ENDED_AT};
use crate::atomic::{AtomicUsize, Ordering};
use crate::error::{Errno, RawResult, Res};
use crate::executor::bare::Bare;
use crate::executor::free::{Free, Waiter};
use crate::executor::grant::{Caller, Wait};
use crate::executor::mailbox::Mailbox;
use crate::executor::scope::NEVER_NS;
use crate::executor::Executor;
use crate::stack::switch::Over;
use crate::sys::fd;
use crate::sys::text::Text;
use crate::task::header::TaskRef;
use crate::uring::kernel::Kernel;

const EPERM: Errno = Errno(libc::EPERM);

#[repr(C)]
pub struct Mutex<S: Side> {
    pub(super) side: S,
    /// `Caller::identity`; 0: free. Not free while anybody waits.
    /// Changes behind the side alone; atomic for those who follow a cycle, who read it without.
    owner: AtomicUsize,
    waiters: Waiters,
    flags: Cell<u32>,
    _reserved: [u32; 5],
}

// As in mutex.h.
const _: () = assert!(size_of::<Mutex<super::Shared>>() == 88);
// The ninth word, in its initialisers.
const _: () = assert!(core::mem::offset_of!(Mutex<super::Shared>, flags) == 64);
const _: () = assert!(size_of::<Mutex<super::Local>>() == 88);

/// A flag of `monad_async_mutex_init`: cycles of locks are looked for.
pub const CHECKED: u32 = 1;

/// How far a chain of owners that wait is followed.
const CHAIN_MAX: usize = 64;

fn identity(wait: &Wait, node: &Node) -> usize {
    match wait.task() {
        Some(task) => task.addr(),
        None => node.data.get(),
    }
}

impl<S: Side> Mutex<S> {
    /// Behind the side; or a number to compare with.
    #[inline(always)]
    fn owner(&self) -> usize {
        self.owner.load(Ordering::Relaxed) // As above.
    }

    #[inline(always)]
    fn set_owner(&self, owner: usize) {
        // Relaxed: behind the side.
        self.owner.store(owner, Ordering::Relaxed);
    }

    #[inline(always)]
    fn is_not_of<K: Kernel>(&self, caller: &Caller<'_, K>) -> bool {
        // SAFETY: behind the side, without which nobody writes. (An atomic load is an instruction
        // of its own, which the comparison does without.)
        unsafe { *self.owner.as_ptr() != caller.identity() }
    }

    pub fn set_flags(&self, flags: u32) {
        self.flags.set(flags);
    }

    /// SUSPENDS. EDEADLK: it is the caller's already, or, checked, a cycle of locks would close.
    #[inline(always)]
    pub fn lock<K: Kernel>(&self, caller: &Caller<'_, K>, until_ns: u64) -> RawResult {
        let (identity, ex) = caller.parts();
        let Some(free) = caller.free().filter(|free| self.side.try_close(free.home())) else {
            return Self::lock_otherwise(identity, self, ex, until_ns);
        };
        let owner = self.owner();
        if owner == 0 {
            self.set_owner(identity);
            self.side.open();
            return RawResult::success_by_call();
        }
        if until_ns != NEVER_NS {
            self.side.open();
            return Self::lock_otherwise(identity, self, ex, until_ns);
        }
        let (task, ex) = free.parts();
        if owner == identity || self.flags.get() & CHECKED != 0 {
            return Self::lock_slowly(task, self, ex);
        }
        match free.bare::<false>() {
            Some(bare) => self.lock_bare(bare),
            None => Self::lock_stamped(task, self, ex),
        }
    }

    /// As `lock`, of one that is another's, with time tracking; of C's kind: see `lock_slowly`.
    #[inline(never)]
    extern "C" fn lock_stamped<K: Kernel>(
        task: TaskRef,
        this: &Self,
        ex: &Executor<K>,
    ) -> RawResult {
        match Free::new(ex, task).bare::<true>() {
            Some(bare) => this.lock_bare(bare),
            None => Self::lock_slowly(task, this, ex),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn lock_bare<K: Kernel, const TRACK: bool>(&self, bare: Bare<'_, K, TRACK>) -> RawResult {
        let at = ptr::from_ref(self);
        // (Whose the node is the wait says, of a task.)
        let (noted, open) = ((at as usize, None), || self.side.open());
        self.waiters.wait_bare::<K, Locks<K, S>, TRACK>(S::IS_LOCAL, bare, noted, at.cast(), open)
    }

    /// As `lock`: for any caller, at any time.
    #[cold]
    #[inline(never)]
    extern "C" fn lock_otherwise<K: Kernel>(
        identity: usize,
        this: &Self,
        ex: Option<&Executor<K>>,
        until_ns: u64,
    ) -> RawResult {
        let caller = Caller::of_parts(identity, ex);
        if let Err(e) = caller.start().and_then(|()| this.side.close(caller.mailbox())) {
            return RawResult::failure(e);
        }
        if this.owner() == 0 {
            this.set_owner(caller.identity());
            this.side.open();
            return RawResult::success(0);
        }
        this.wait_turn(&(caller, until_ns))
    }

    /// Of C's kind: a C function ends in it by a jump, so that of a task that suspends in here no
    /// return is left but the one to the user's function.
    #[inline(never)]
    extern "C" fn lock_slowly<K: Kernel>(
        task: TaskRef,
        this: &Self,
        ex: &Executor<K>,
    ) -> RawResult {
        this.wait_turn(&Free::new(ex, task))
    }

    /// It is somebody's; the side is closed.
    #[inline(always)]
    fn wait_turn<K: Kernel>(&self, waiter: &impl Waiter<K>) -> RawResult {
        if self.owner() == waiter.caller().identity() {
            self.side.open();
            return RawResult::failure(Errno(libc::EDEADLK));
        }
        if self.flags.get() & CHECKED != 0 {
            return self.wait_checked(waiter);
        }
        self.wait_for_owner(waiter)
    }

    /// As `wait_turn`, of another's.
    #[inline(always)]
    fn wait_for_owner<K: Kernel>(&self, waiter: &impl Waiter<K>) -> RawResult {
        let caller = waiter.caller();
        let noted = (ptr::from_ref(self) as usize, caller.identity());
        let open = || self.side.open();
        self.waiters.wait_turn(S::IS_LOCAL, waiter, noted, open, |node, e| match e {
            0 => RawResult::success(0),
            e => self.withdraw(caller, node, e),
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
        if let Err(e) = self.side.close(caller.mailbox()) {
            return RawResult::failure(e);
        }
        self.waiters.remove(node);
        self.side.open();
        RawResult::failure(Errno(-e))
    }

    /// EBUSY: it is somebody's.
    pub fn try_lock<K: Kernel>(&self, caller: &Caller<'_, K>) -> Res<()> {
        self.side.close(caller.mailbox())?;
        let locked = self.owner() == 0;
        if locked {
            self.set_owner(caller.identity());
        }
        self.side.open();
        locked.then_some(()).ok_or(Errno(libc::EBUSY))
    }

    /// EPERM: it is not the caller's.
    #[inline(always)]
    pub fn unlock<K: Kernel>(&self, caller: &Caller<'_, K>) -> RawResult {
        let closes = |(ex, _): &(&Executor<K>, TaskRef)| self.side.try_close(ex.home());
        let Some((ex, _)) = caller.executor().filter(closes) else {
            let (identity, ex) = caller.parts();
            return Self::unlock_otherwise(identity, self, ex);
        };
        if self.is_not_of(caller) {
            self.side.open();
            return RawResult::failure_by_call(EPERM);
        }
        let here = (!S::IS_LOCAL).then_some(ex.home());
        match self.waiters.claim_here(here, |_| true) {
            First::Nobody => {
                self.set_owner(0);
                self.side.open();
                RawResult::success_by_call()
            }
            First::Here(_, task) => {
                self.set_owner(task.addr());
                self.side.open();
                ex.granted_last(task)
            }
            First::Other => Self::unlock_to_other::<K>(caller.identity(), self),
        }
    }

    /// The side is closed.
    #[inline(never)]
    extern "C" fn unlock_to_other<K: Kernel>(_identity: usize, this: &Self) -> RawResult {
        this.hand_on::<K>(ptr::null());
        RawResult::success_by_call()
    }

    /// As `unlock`: for any caller.
    #[cold]
    #[inline(never)]
    extern "C" fn unlock_otherwise<K: Kernel>(
        identity: usize,
        this: &Self,
        ex: Option<&Executor<K>>,
    ) -> RawResult {
        let caller = Caller::of_parts(identity, ex);
        this.unlock_to_wait(&caller, ptr::null()).map(|_| 0).into()
    }

    /// As `unlock`, by one that may be among those who wait already, by `own`. True: it was the
    /// next, and still has it.
    pub(super) fn unlock_to_wait<K: Kernel>(
        &self,
        caller: &Caller<'_, K>,
        own: *const Wait,
    ) -> Res<bool> {
        self.side.close(caller.mailbox())?;
        if self.is_not_of(caller) {
            self.side.open();
            return Err(EPERM);
        }
        Ok(self.hand_on::<K>(own))
    }

    /// To the next that waits, or to nobody; the side is closed. True: it has `own`.
    #[inline(always)]
    fn hand_on<K: Kernel>(&self, own: *const Wait) -> bool {
        let next = self.waiters.claim();
        self.set_owner(next.map_or(0, |node| identity(node.wait(), node)));
        self.side.open();
        let Some(node) = next else { return false };
        let kept = ptr::eq(node.wait(), own);
        if !kept {
            node.wait().wake::<K>();
        }
        kept
    }

    /// EPERM unless it is the caller's.
    pub fn check_owner<K: Kernel>(&self, caller: &Caller<'_, K>) -> Res<()> {
        self.side.close(caller.mailbox())?;
        let mine = self.owner() == caller.identity();
        self.side.open();
        mine.then_some(()).ok_or(EPERM)
    }

    /// Locks it again, whatever has become of the caller's scopes.
    pub fn lock_for_sure<K: Kernel>(&self, caller: &Caller<'_, K>) {
        if self.side.close(caller.mailbox()).is_err() {
            return; // It was this caller's a moment ago.
        }
        if self.owner() == 0 {
            self.set_owner(caller.identity());
            return self.side.open();
        }
        let wait = caller.wait_for_sure(S::IS_LOCAL);
        let node = Node::new(&wait, 0, caller.identity());
        node.set_claimed();
        // SAFETY: taken out before this returns, by who unlocks.
        unsafe { self.waiters.push(&node) };
        self.side.open();
        let granted = caller.until_granted(&wait, u64::MAX);
        debug_assert!(granted.is_ok(), "nothing else ends such a wait");
    }

    /// `node`, whose wait is claimed and in no queue, is given the mutex, now or in its turn.
    pub(super) fn hand_to(
        &self,
        here: Option<&'static Mailbox>,
        node: &Node,
        woken: &mut Woken,
    ) -> Res<()> {
        self.side.close(here)?;
        let wait = node.wait();
        wait.set_object(ptr::from_ref(self) as usize);
        if self.owner() == 0 {
            self.set_owner(identity(wait, node));
            woken.add(wait);
        } else {
            node.set_claimed();
            // SAFETY: in no queue; its waiter waits until who unlocks has taken it out.
            unsafe { self.waiters.push(node) };
        }
        self.side.open();
        Ok(())
    }

    /// As `wait_turn`, of another's that looks for cycles.
    #[inline(never)]
    fn wait_checked<K: Kernel>(&self, waiter: &impl Waiter<K>) -> RawResult {
        let caller = waiter.caller();
        let me = caller.identity();
        let awaits = Awaits::new(me, &self.owner);
        // SAFETY: taken out below, before this returns.
        if unsafe { self.closes_cycle(&caller, &awaits) } {
            return RawResult::failure(Errno(libc::EDEADLK));
        }
        let done = self.wait_for_owner(waiter);
        awaits.take_out();
        done
    }

    /// Says which, and the side is open. False: the record is among those that wait.
    ///
    /// # Safety
    /// The record stays in place until it is taken out.
    #[inline(never)]
    unsafe fn closes_cycle<K: Kernel>(&self, caller: &Caller<'_, K>, awaits: &Awaits) -> bool {
        let mut chain = [caller.identity(); CHAIN_MAX];
        let mut all = Awaited::close();
        let Some(count) = self.cycle(caller, &all, &mut chain) else {
            // SAFETY: the caller's.
            unsafe { all.put_in(awaits) };
            return false;
        };
        let said = told(&all, &chain[..count]);
        drop(all);
        // Not behind the side: who reads it may take any time, or not listen.
        self.side.open();
        let _ = fd::write_all(libc::STDERR_FILENO, said.as_bytes());
        true
    }

    /// The caller is about to wait for the owner, who waits for the caller, through others it may
    /// be, all of whose mutexes are checked: how many they are, which are in `chain` then.
    fn cycle<K: Kernel>(
        &self,
        caller: &Caller<'_, K>,
        all: &Awaited,
        chain: &mut [usize; CHAIN_MAX],
    ) -> Option<usize> {
        let mut owner = self.owner();
        for n in 1..CHAIN_MAX {
            chain[n] = owner;
            owner = Self::owner_for(caller, all, owner)?;
            if owner == chain[0] {
                return Some(n + 1);
            }
        }
        None
    }

    /// Whose the mutex is that somebody waits for. Of a task of the caller's executor that is asked
    /// itself, as its record stays until it runs; so it is seen, too, where it gets one back from a
    /// condition.
    fn owner_for<K: Kernel>(
        caller: &Caller<'_, K>,
        all: &Awaited,
        identity: usize,
    ) -> Option<usize> {
        if identity & 1 != 0 {
            return all.owner_for(identity);
        }
        if identity == 0 {
            return None; // Another thread is just giving it to somebody.
        }
        // SAFETY: the identity of a task, and their headers are never unmapped.
        let task = unsafe { TaskRef::from_head(identity as *const _) };
        match caller.executor() {
            Some((ex, _)) if task.state().is_attached_to(ex.address()) => {
                let wait = ex.waits_here(task)?;
                // SAFETY: the object of a wait of a task of ours that is suspended.
                unsafe { owner_of(wait.object()) }.filter(|&owner| owner != identity)
            }
            _ => all.owner_for(identity),
        }
    }
}

/// Who comes back from a wait for a mutex without it.
struct Locks<K, S>(PhantomData<(K, S)>);

impl<K: Kernel, S: Side> Over for Locks<K, S> {
    const SWITCH_AT: usize = TaskRef::SWITCH_AT;
    const OUTCOME_AT: usize = ENDED_AT;
    const OBJECT_AT: usize = TaskRef::ROOM_AT + Wait::OBJECT_AT; // Where the record notes it.

    #[cold]
    extern "C" fn over(task: NonNull<u8>, mutex: *const u8) -> RawResult {
        // SAFETY: called where such a wait ends; the mutex is the waiter's to keep.
        unsafe {
            let (caller, node, e) = back_from_bare::<K>(task);
            (*mutex.cast::<Mutex<S>>()).withdraw(caller, node, e)
        }
    }
}

/// What a wait notes as its object: 0: nothing; odd: another kind.
fn is_mutex(object: usize) -> bool {
    object != 0 && object & 1 == 0
}

/// Whose the mutex is that a wait notes: an identity, or 0. None: it notes another object.
///
/// # Safety
/// `object` is what the wait of a suspended task notes.
pub unsafe fn owner_of(object: usize) -> Option<usize> {
    // SAFETY: a mutex, as it is even; its waiter keeps it. Of either form, as they are alike.
    is_mutex(object).then(|| unsafe { &*(object as *const Mutex<super::Shared>) }.owner())
}

pub(crate) const OWNER_AT: usize = core::mem::offset_of!(Mutex<super::Shared>, owner);
const _: () = assert!(OWNER_AT == core::mem::offset_of!(Mutex<super::Local>, owner));

/// A line for each task, or thread, of the cycle. Those that are in no list are of the caller's
/// executor.
#[cold]
fn told(all: &Awaited, chain: &[usize]) -> Text<16384> {
    let who = |n: usize| all.who(chain[n]).unwrap_or_else(|| Who::of(chain[n]));
    let mut said = Text::new();
    for n in 0..chain.len() {
        let (waits, holds) = (who(n), who((n + 1) % chain.len()));
        let line = format_args!("monad_async: {waits} waits for a mutex that {holds} holds\n");
        said.item("", line);
    }
    said
}
