//! Buffers for the kernel to choose from where it has no rings of them (before 5.19): each is
//! handed to it by an entry. Entries that wait for room go before all others, so that an operation
//! never misses a buffer that was free when it was begun.

use super::buffers::Buffers;
use super::{Reactor, TAG_CANCEL};
use crate::uring::kernel::{op, Kernel, Sqe, Wait};

impl<K: Kernel> Reactor<K> {
    /// Hands over what is free and not the kernel's yet.
    #[inline]
    pub fn provide(&self, buffers: &Buffers) {
        if buffers.has_unprovided() {
            self.provide_now(buffers);
        }
    }

    #[cold]
    #[inline(never)]
    fn provide_now(&self, buffers: &Buffers) {
        if buffers.waits.get() {
            return;
        }
        if self.queued.get() == 0 && self.push_provided(buffers) {
            return;
        }
        buffers.waits.set(true);
        self.providing.set(self.providing.get() + 1);
        self.count_queued(1);
    }

    /// False: there is no room for all.
    fn push_provided(&self, buffers: &Buffers) -> bool {
        while buffers.has_unprovided() {
            if self.kernel.sq_space() == 0 {
                return false;
            }
            let run = buffers.take_unprovided();
            let (at, bytes) = (buffers.data(run.first).as_ptr() as u64, buffers.bytes());
            let mut sqe =
                Sqe::new(op::PROVIDE_BUFFERS, run.count.into(), run.first.into(), at, bytes, 0);
            sqe.0[5] = buffers.group.into();
            self.push_quietly(buffers, sqe);
        }
        true
    }

    /// There is room. Its answer is counted, as that of a cancel request, and says nothing.
    fn push_quietly(&self, buffers: &Buffers, mut sqe: Sqe) {
        let address = core::ptr::from_ref(buffers) as u64;
        sqe.set_user_data(self.seal(address) | TAG_CANCEL);
        self.cancels.set(self.cancels.get() + 1);
        // SAFETY: the kernel notes the buffers' addresses; they are mapped until `withdraw`.
        unsafe { self.kernel.push(&sqe) };
    }

    /// Those that wait for room; how many entries.
    pub(super) fn fill_provided(&self) -> usize {
        if self.providing.get() == 0 {
            return 0;
        }
        let before = self.kernel.sq_pending();
        let mut next = self.buffers.get();
        while let Some(at) = next {
            // SAFETY: in the list until they are destroyed.
            let buffers = unsafe { at.as_ref() };
            next = buffers.next.get();
            if buffers.waits.get() && self.push_provided(buffers) {
                self.provides_no_more(buffers);
            }
        }
        (self.kernel.sq_pending() - before) as usize
    }

    fn provides_no_more(&self, buffers: &Buffers) {
        buffers.waits.set(false);
        self.providing.set(self.providing.get() - 1);
        self.count_queued(-1);
    }

    /// Takes them back, before they are unmapped; all are free. EXPENSIVE. False: the kernel does
    /// not take the entry now, and they stay its. Such a kernel performs an entry as it takes it
    /// (nothing of ours makes it one for a thread of its own), so what it has taken it has done.
    pub(super) fn withdraw(&self, buffers: &Buffers) -> bool {
        const TRIES: u32 = 1000;
        if buffers.waits.get() {
            self.provides_no_more(buffers);
        }
        let mut sqe = Sqe::new(op::REMOVE_BUFFERS, buffers.count().into(), 0, 0, 0, 0);
        sqe.0[5] = buffers.group.into();
        for _ in 0..TRIES {
            if self.kernel.sq_space() != 0 {
                self.push_quietly(buffers, sqe);
                while self.kernel.sq_pending() != 0 && self.kernel.enter(Wait::No).is_ok() {}
                if self.kernel.sq_pending() == 0 {
                    return true;
                }
                // It takes the entry with the next ones: they are its again behind that.
                buffers.provide_by_entries();
                break;
            }
            let _ = self.kernel.enter(Wait::No);
        }
        self.provide(buffers);
        false
    }
}
