//! Waiting for data in a buffer, and for a buffer to be free: what a stream does that the kernel
//! ended for the want of one. OWNER'S THREAD.
//!
//! A buffer that is given back wakes one who waits, which begins its stream again. That takes no
//! buffer yet, so while there is one it wakes the next: a stream without data keeps nobody waiting.
//!
//! A wait is in vain where each buffer is with a task that waits so. Where others give back than
//! who received, that is known only once all tasks wait so, and nothing else will ever happen here.

use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::NonNull;

use super::grant::{Caller, Wait};
use super::head::{dec, inc};
use super::scope::NEVER_NS;
use super::Executor;
use crate::atomic::AtomicU32;
use crate::error::{Errno, RawResult, Res};
use crate::intrusive::Link;
use crate::reactor::buffers::Buffers;
use crate::reactor::fixed::{self, Fixed, Memory};
use crate::reactor::operation::Op;
use crate::task::header::TaskRef;
use crate::uring::kernel::{Kernel, Sqe};

/// On the stack of who waits.
#[repr(C)]
struct Hungry<'a> {
    link: Link,
    waits: Cell<bool>,
    /// In vain.
    starves: Cell<bool>,
    wait: &'a Wait,
    task: TaskRef,
    /// What it would receive from.
    from: Handle,
}

/// A descriptor, and whether it is a direct one.
pub type Handle = (i32, bool);

const _: () = assert!(offset_of!(Hungry<'static>, link) == 0);

impl<K: Kernel> Executor<K> {
    /// EXPENSIVE.
    pub fn add_buffers(&self, count: u32, bytes: u32) -> Res<NonNull<Buffers>> {
        self.reactor.add_buffers(self.address(), count, bytes)
    }

    /// EBUSY: in use.
    ///
    /// # Safety
    /// From `add_buffers`, and not used afterwards.
    pub unsafe fn remove_buffers(&self, buffers: NonNull<Buffers>) -> Res<()> {
        // SAFETY: the caller's.
        if unsafe { buffers.as_ref() }.hungry.front().is_some() {
            return Err(Errno(libc::EBUSY));
        }
        // SAFETY: the caller's.
        unsafe { self.reactor.remove_buffers(buffers) }
    }

    /// EXPENSIVE. As `Reactor::register_fixed`.
    ///
    /// # Safety
    /// As there.
    pub unsafe fn register_fixed(
        &self,
        memory: NonNull<Memory>,
        like: Option<&Fixed>,
    ) -> Res<NonNull<Fixed>> {
        // SAFETY: the caller's.
        unsafe { self.reactor.register_fixed(self.address(), memory, like) }
    }

    /// EXPENSIVE.
    ///
    /// # Safety
    /// As `Reactor::unregister_fixed`.
    pub unsafe fn unregister_fixed(&self, at: NonNull<Fixed>) {
        // SAFETY: the caller's.
        unsafe { self.reactor.unregister_fixed(at) };
    }

    /// What an entry's `buf_index` holds of the registered buffer that has this count, and is in
    /// use here, so that it stays.
    pub(crate) fn buffer_index(&self, users: &AtomicU32) -> u16 {
        self.reactor.index_by_users(users).expect("a buffer in use stays registered")
    }

    /// SUSPENDS. An entry that was filled by hand, maybe on a registered buffer of ours, which is
    /// in use then. EINVAL: not inside one that somebody has.
    ///
    /// # Safety
    /// As `io`.
    pub unsafe fn io_on_buffer(&self, task: TaskRef, sqe: &Sqe) -> Res<i32> {
        let on = if fixed::is_on_buffer(sqe) { self.reactor.fixed_of(sqe)? } else { None };
        let on_buffer;
        let (entry, users) = match on {
            Some((set, number)) => {
                on_buffer = set.entry(number, *sqe);
                (&on_buffer, Some(set.users(number)))
            }
            None => (sqe, None),
        };
        if let Some(users) = users {
            fixed::used(users);
        }
        // One call, in line: unoptimised, each takes 2.5 KiB of the task's stack.
        // SAFETY: the caller's; the buffer stays its claimer's while in use.
        let res = unsafe { self.io(task, entry) };
        if let Some(users) = users {
            fixed::unused(users);
        }
        Ok(res)
    }

    /// As `wait_operation`, of a stream into `buffers`. A view, how much and its flags, or how the
    /// wait or the record has ended.
    #[inline(always)]
    pub fn wait_view(
        &self,
        task: TaskRef,
        record: &Op,
        buffers: &Buffers,
    ) -> Result<(i32, u32), RawResult> {
        if let Err(e) = record.may_be_awaited_by(task) {
            return Err(RawResult::failure(e));
        }
        match self.await_record(task, Some(record)) {
            0 => {}
            e => return Err(RawResult::from_kernel(e)),
        }
        if let Some(view) = record.take_view(task, buffers) {
            return Ok(view);
        }
        self.take(task, record);
        Err(record.result.get())
    }

    /// As `wait_view`, of a stream of `task` that is in flight: data that it has brought. None:
    /// something else, which nobody has taken.
    #[inline(always)]
    pub fn wait_data(
        &self,
        task: TaskRef,
        record: &Op,
        buffers: &Buffers,
    ) -> Res<Option<(NonNull<u8>, usize)>> {
        debug_assert!(record.may_be_awaited_by(task).is_ok());
        match self.await_record(task, Some(record)) {
            0 => Ok(record.take_data(task, buffers)),
            e => Err(Errno(-e)),
        }
    }

    /// One of `buffers` is free: who waits longest has its turn.
    pub fn buffer_freed(&self, buffers: &Buffers) {
        self.reactor.provide(buffers);
        buffers.has_news.set(true);
        while let Some(link) = buffers.hungry.pop_front() {
            // SAFETY: in the list, so on the stack of a task that waits.
            let hungry = unsafe { link.cast::<Hungry<'_>>().as_ref() };
            if self.feeds(hungry) {
                return;
            }
        }
    }

    /// Who was in the list, and is not any more, goes on. False: its wait was over.
    fn feeds(&self, hungry: &Hungry<'_>) -> bool {
        hungry.waits.set(false);
        dec(&self.hungry);
        let waited = hungry.wait.claim();
        if waited {
            hungry.wait.wake::<K>();
        }
        waited
    }

    /// Nothing is ready, and somebody waits for a buffer. Where nobody is left to give one back,
    /// who has waited shortest is told. True: it is ready. O(buffers), each by who waits, where
    /// something has changed since.
    #[cold]
    pub(super) fn tell_hungry(&self, until: u64) -> bool {
        let mut all_wait = until == u64::MAX && self.timers.next_ns().is_none();
        all_wait &= self.hungry.get() == self.attached() && self.has_no_mail();
        if self.more_mail.get() || self.is_fed() || self.reactor.has_unsubmitted() {
            all_wait = false;
        }
        self.reactor.all_buffers().any(|buffers| {
            let (mut youngest, all) = (None, &buffers.hungry);
            // SAFETY: as above.
            let hungry = |link: NonNull<Link>| unsafe { link.cast::<Hungry<'_>>().as_ref() };
            let waits = |task| all.any(|link| hungry(link).task == task);
            let in_vain = || all_wait || buffers.are_all_with(waits);
            if all.is_empty() || !in_vain() {
                return false;
            }
            all.any(|link| {
                youngest = Some(link);
                false
            });
            youngest.is_some_and(|link| {
                // SAFETY: found in it.
                unsafe { all.remove(link) };
                hungry(link).starves.set(true);
                self.feeds(hungry(link))
            })
        })
    }

    /// A handle is about to be closed: who would receive from it, and waits for a buffer, goes on.
    pub(super) fn buffers_close(&self, handle: Handle) {
        for buffers in self.reactor.all_buffers() {
            let waiting = buffers.hungry.take_all();
            while let Some(link) = waiting.pop_front() {
                // SAFETY: as above; out of one list, and into the other.
                unsafe {
                    let hungry = link.cast::<Hungry<'_>>().as_ref();
                    if hungry.from != handle {
                        let _ = buffers.hungry.push_back(link);
                        continue;
                    }
                    self.reactor.closings.found();
                    self.feeds(hungry);
                }
            }
        }
    }

    /// SUSPENDS until a buffer may be free, or `from` is closed. `task` runs now. EDEADLK: nobody
    /// is left to give one back.
    pub fn await_buffer(&self, task: TaskRef, buffers: &Buffers, from: Handle) -> Res<()> {
        let caller = Caller::task(self, task);
        let wait = caller.wait(true);
        // Odd: no lock, for those that follow chains of those.
        wait.set_object(core::ptr::from_ref(buffers).addr() | 1);
        let (waits, starves) = (Cell::new(true), Cell::new(false));
        let hungry = Hungry { link: Link::new(), waits, starves, wait: &wait, task, from };
        let link = NonNull::from(&hungry).cast();
        // SAFETY: in place until it is out of the list: taken out by who wakes us, or below.
        unsafe { buffers.hungry.push_back(link) };
        inc(&self.hungry);
        buffers.has_news.set(true);
        let granted = caller.until_granted(&wait, NEVER_NS);
        if hungry.waits.get() {
            // SAFETY: it says that it is in that list.
            unsafe { buffers.hungry.remove(link) };
            dec(&self.hungry);
        }
        if hungry.starves.get() {
            return Err(Errno(libc::EDEADLK));
        }
        granted
    }

    /// A stream has begun again, which takes no buffer, or has ended: the next has its turn, too.
    pub fn stream_begun(&self, buffers: &Buffers) {
        if buffers.has_free() {
            self.buffer_freed(buffers);
        }
    }
}
