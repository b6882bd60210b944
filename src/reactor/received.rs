//! What a record has brought that receives into buffers of a group, and nobody took yet: a list in
//! the order in which it came, whose places are those of the buffers. OWNER'S THREAD.

use core::ptr::NonNull;

use super::buffers::{Buffers, NONE};
use super::operation::{bit, Op, State};
use crate::task::header::TaskRef;
use crate::uring::abi::{cqe, cqe_buffer};

impl Op {
    /// A completion of a stream into buffers has come; False: it is not ours.
    #[inline(always)]
    pub fn received(&self, res: i32, flags: u32, over: bool) -> bool {
        let Some(buffers) = self.buffers() else { return false };
        let number = (flags >> cqe_buffer::SHIFT) as u16;
        if !buffers.arrived(self.task(), (number, self.last.get()), res, flags) {
            return false;
        }
        if self.first.get() == NONE {
            self.first.set(number);
        }
        self.last.set(number);
        self.pend();
        if over {
            self.state.set(State::Done);
        }
        true
    }

    /// A completion names a buffer that nothing was received into.
    pub(super) fn refuses(&self, flags: u32) -> Option<&Buffers> {
        let buffers = self.buffers()?;
        buffers.refused((flags >> cqe_buffer::SHIFT) as u16);
        Some(buffers)
    }

    /// Takes the oldest that a stream of `task` into `buffers` has brought, which goes on: how
    /// much, and its flags. None: that is not what is pending, and nothing was done.
    #[inline(always)]
    pub fn take_view(&self, task: TaskRef, buffers: &Buffers) -> Option<(i32, u32)> {
        if self.state.get() != State::Kernel || self.first.get() == NONE {
            return None;
        }
        debug_assert!(self.has(bit::STREAM) && self.is_of(task));
        let taken = self.take_buffer(buffers, task);
        self.unpend(task);
        Some(taken)
    }

    /// As `take_view`, where that is data: where it lies, and how much.
    #[inline(always)]
    pub fn take_data(&self, task: TaskRef, buffers: &Buffers) -> Option<(NonNull<u8>, usize)> {
        let number = self.first.get();
        if self.state.get() != State::Kernel || number == NONE {
            return None;
        }
        let bytes = buffers.bytes_in(number);
        if bytes <= 0 {
            return None;
        }
        debug_assert!(self.has(bit::STREAM) && self.is_of(task));
        self.take_buffer(buffers, task);
        self.unpend(task);
        Some((buffers.data(number), bytes as usize))
    }

    /// The oldest that a stream has brought: its result and its flags.
    #[inline(always)]
    pub(super) fn take_buffer(&self, buffers: &Buffers, task: TaskRef) -> (i32, u32) {
        let (res, flags, next) = buffers.taken(self.first.get(), task);
        self.first.set(next);
        if next == NONE {
            self.last.set(NONE);
        }
        (res, flags)
    }

    /// Takes all that is pending, for nobody: buffers go back. Those that were given back to, if it
    /// was some.
    pub fn discard(&self) -> Option<NonNull<Buffers>> {
        let buffers = self.buffers().map(NonNull::from);
        let mut freed = None;
        while self.pending.get() != 0 {
            let over = self.take();
            let number = (self.cqe_flags.get() >> cqe_buffer::SHIFT) as u16;
            if let (Some(buffers), true) = (buffers, self.cqe_flags.get() & cqe::BUFFER != 0) {
                // SAFETY: buffers are not destroyed while one is held.
                if unsafe { buffers.as_ref() }.give_back(number) {
                    freed = Some(buffers);
                }
            }
            if over {
                break;
            }
        }
        freed
    }
}
