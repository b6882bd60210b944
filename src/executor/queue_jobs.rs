//! Jobs that are put into the queue of a pool, and begin as tasks of a worker.

use core::mem::MaybeUninit;

use super::exit::ExitHook;
use super::hands;
use super::intake::Put;
use super::jobs::{Bytes, Chunk, Job, Posted, JOB_BYTES};
use super::queue::{self, Queue, Seat};
use super::Executor;
use crate::error::{Errno, Res};
use crate::task::header::{mark, TaskRef, Waits, NORMAL};
use crate::uring::kernel::Kernel;

/// Word by word, as they are written to the queue next: a copy by other sizes would be a call, and
/// the loads of what it has stored would wait until that is in the cache.
///
/// # Safety
/// `from` are so many bytes, `JOB_BYTES` at most.
#[inline(always)]
unsafe fn bytes_of(from: *const u8, size: usize) -> Bytes {
    let mut bytes: Bytes = [MaybeUninit::zeroed(); JOB_BYTES / 8];
    let words = size / 8;
    for (n, to) in bytes.iter_mut().enumerate() {
        if n < words {
            // SAFETY: the caller's.
            *to = unsafe { from.cast::<MaybeUninit<u64>>().add(n).read_unaligned() };
        }
    }
    let rest = size % 8;
    if rest != 0 {
        // SAFETY: the caller's; there is a word more than those.
        unsafe {
            let to = bytes.as_mut_ptr().add(words).cast();
            from.add(words * 8).copy_to_nonoverlapping(to, rest);
        }
    }
    bytes
}

impl Queue {
    /// ANY THREAD. Puts a job at the end of a level. ESHUTDOWN: closed.
    ///
    /// # Safety
    /// `from` are so many bytes, `JOB_BYTES` at most.
    pub unsafe fn post(
        &self,
        job: &'static Job,
        level: u8,
        from: *const u8,
        size: usize,
    ) -> Res<()> {
        if self.parts() {
            self.fetch_intake();
        } else {
            self.fetch::<{ queue::JOB_BYTES }>();
        }
        self.check_process()?;
        debug_assert!(size <= JOB_BYTES);
        // SAFETY: the caller's.
        let bytes = unsafe { bytes_of(from, size) };
        let mut chunk = None;
        loop {
            // Who brings a chunk leaves it in the queue.
            if chunk.is_none() && self.parts() {
                let posted = Posted { job, number: 0, bytes };
                if let Put::Done = self.put_apart(posted, level) {
                    return Ok(());
                }
            }
            let mut state = self.lock_whole();
            if let Some(chunk) = chunk.take() {
                state.levels.spare.push(chunk);
            }
            if state.closed {
                return Err(Errno(libc::ESHUTDOWN));
            }
            let number = state.number.wrapping_add(1);
            let posted = Posted { job, number, bytes };
            if !state.levels.push_job(posted, level) {
                let is_first = state.levels.has_no_chunk();
                drop(state);
                chunk = Some(Chunk::new()?);
                // One more is needed where jobs come in two places: see `intake`.
                if is_first {
                    let more = Chunk::new();
                    more.into_iter().for_each(|more| self.add_to_intake(more));
                }
                continue;
            }
            state.number = number;
            state.queued += 1;
            self.note(&state);
            let newest = state.levels.newest_job(level);
            let woken = state.wake_one_for(newest);
            drop(state);
            woken.wake();
            return Ok(());
        }
    }

    /// EXPENSIVE. Its workers have left, and nothing is in it: frees what it has.
    pub fn free(&self) {
        let state = self.lock_whole();
        self.empty_intake(&state);
        let all = state.levels.close();
        drop(state);
        all.free();
    }
}

impl<K: Kernel> Executor<K> {
    /// The worker's thread, outside its tasks: the task that is to do a job which was taken, ready
    /// to be launched. There is a hand.
    #[inline(never)]
    pub(super) fn begin_job(&self, seat: &Seat, posted: &Posted, level: u8, now: u64) -> TaskRef {
        let hand = seat.hands.take();
        hand.take_up(posted);
        let task = hand.task();
        task.begin_anew();
        task.head.cpu.set(level);
        task.head.io.set(NORMAL);
        task.head.user_code.set(posted.job.code);
        task.head.user_ptr.set(hand.bytes());
        ExitHook::write(task, hands::done, hand.address());
        task.set_pooled(true);
        let mailbox = core::ptr::from_ref(self.mailbox).cast_mut().cast();
        task.prepare(
            self.address(),
            mailbox,
            now,
            (Waits::Nothing, 0),
            mark::HOOKED | mark::JOINED,
        );
        task
    }
}
