//! `monad_async_semaphore`, and `monad_async_local_semaphore`.

use core::cell::Cell;

use super::side::Side;
use super::waiters::{Node, Waiters, Woken};
use crate::error::{Errno, RawResult, Res};
use crate::executor::grant::Caller;
use crate::executor::mailbox::Mailbox;
use crate::uring::kernel::Kernel;

#[repr(C)]
pub struct Semaphore<S: Side> {
    side: S,
    permits: Cell<u64>,
    waiters: Waiters,
}

// As in semaphore.h.
const _: () = assert!(size_of::<Semaphore<super::Shared>>() == 64);

impl<S: Side> Semaphore<S> {
    /// Whether `count` permits may be taken past all who wait.
    #[inline(always)]
    fn take(&self, count: u64) -> bool {
        let nobody_waits = || self.waiters.is_empty() || self.waiters.first().is_none();
        let free = self.permits.get() >= count && nobody_waits();
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
        if let Err(e) = caller.start().and_then(|()| self.side.close(caller.mailbox())) {
            return RawResult::failure(e);
        }
        if self.take(count) {
            self.side.open();
            return RawResult::success(0);
        }
        self.acquire_slowly(*caller, count, until_ns)
    }

    /// Waits its turn; the side is closed. Of C's kind: a C function ends in it by a jump.
    #[inline(never)]
    extern "C" fn acquire_slowly<K: Kernel>(
        &self,
        caller: Caller<'_, K>,
        count: u64,
        until_ns: u64,
    ) -> RawResult {
        let wait = caller.wait(S::IS_LOCAL);
        let node = Node::new(&wait, 0, count as usize);
        // SAFETY: taken out before this returns: by who serves it, or below.
        unsafe { self.waiters.push(&node) };
        self.side.open();
        match caller.until_granted_inline(&wait, until_ns) {
            Ok(()) => RawResult::success(0),
            Err(e) => RawResult::failure(self.withdraw(&caller, &node, e)),
        }
    }

    /// Out of those who wait; `e` is why.
    #[cold]
    #[inline(never)]
    fn withdraw<K: Kernel>(&self, caller: &Caller<'_, K>, node: &Node, e: Errno) -> Errno {
        let mut woken = Woken::none();
        if let Err(e) = self.side.close(caller.mailbox()) {
            return e;
        }
        self.waiters.remove(node);
        self.serve(&mut woken);
        self.side.open();
        woken.wake::<K>();
        e
    }

    /// EAGAIN: not so many, or others wait.
    pub fn try_acquire(&self, here: Option<&'static Mailbox>, count: u64) -> Res<()> {
        self.side.close(here)?;
        let taken = self.take(count);
        self.side.open();
        taken.then_some(()).ok_or(Errno(libc::EAGAIN))
    }

    /// EOVERFLOW: more than can be counted.
    #[inline(always)]
    pub fn release<K: Kernel>(&self, here: Option<&'static Mailbox>, count: u64) -> RawResult {
        if let Err(e) = self.side.close(here) {
            return RawResult::failure(e);
        }
        let Some(sum) = self.permits.get().checked_add(count) else {
            self.side.open();
            return RawResult::failure(Errno(libc::EOVERFLOW));
        };
        self.permits.set(sum);
        if self.waiters.is_empty() {
            self.side.open();
            return RawResult::success(0);
        }
        self.release_slowly::<K>()
    }

    /// There are permits, and somebody waits; the side is closed. Of C's kind: a C function ends
    /// in it by a jump.
    #[inline(never)]
    extern "C" fn release_slowly<K: Kernel>(&self) -> RawResult {
        let mut woken = Woken::none();
        self.serve(&mut woken);
        self.side.open();
        woken.wake::<K>();
        RawResult::success(0)
    }
}
