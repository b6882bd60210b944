//! From a task's operation to the kernel: into the submission queue if it has room, else into the
//! queue of the task's I/O priority.

use super::{name, priority, Reactor, TAG_CANCEL, TAG_OPERATION};
use crate::error::{Errno, Res};
use crate::task::header::{TaskRef, Waits};
use crate::uring::kernel::{op, Kernel, Sqe, Wait};

/// How many entries one `submit` moves from the queues, so that a tiny submission queue with
/// thousands waiting cannot keep the executor from its ready tasks.
const BURST: usize = 64;

impl<K: Kernel> Reactor<K> {
    /// Begins `task`'s operation. The task suspends right after.
    ///
    /// # Safety
    /// `sqe` and all it refers to stay valid until the task is woken by `reap` or `cancel`.
    #[inline(always)]
    pub unsafe fn start(&self, task: TaskRef, sqe: &Sqe) {
        debug_assert!(task.waits.get() == Waits::Nothing);
        task.op.set(task.op.get().wrapping_add(1));
        task.opcode.set(sqe.opcode());
        // SAFETY: the caller's promise.
        if self.queued.get() == 0 && unsafe { self.push_operation(task, sqe) } {
            task.waits.set(Waits::Completion);
        } else {
            self.queue(task, sqe);
        }
    }

    /// False if there is no room.
    ///
    /// # Safety
    /// As `start`.
    #[inline(always)]
    unsafe fn push_operation(&self, task: TaskRef, sqe: &Sqe) -> bool {
        let ioprio = priority::of(sqe, task.io_level());
        // SAFETY: the caller's promise.
        unsafe { self.kernel.try_push(sqe, ioprio, name(task, TAG_OPERATION)) }
    }

    #[cold]
    fn queue(&self, task: TaskRef, sqe: &Sqe) {
        task.sqe.set(sqe);
        self.enqueue(task);
        self.queued.set(self.queued.get() + 1);
    }

    fn enqueue(&self, task: TaskRef) {
        let level = task.io_level();
        task.level.set(level);
        task.waits.set(Waits::Entry);
        self.entry_queues[level as usize].push_back(task);
    }

    /// Moves a task that waits for an entry to the queue of its present I/O priority.
    pub fn requeue(&self, task: TaskRef) {
        debug_assert!(task.waits.get() == Waits::Entry);
        self.entry_queues[task.level.get() as usize].remove(task);
        self.enqueue(task);
    }

    /// Takes a task out of the queue it waits in for an entry: its operation never began.
    pub(super) fn unqueue(&self, task: TaskRef) {
        debug_assert!(task.waits.get() == Waits::Entry);
        self.entry_queues[task.level.get() as usize].remove(task);
        self.queued.set(self.queued.get() - 1);
        task.waits.set(Waits::Nothing);
    }

    pub(super) fn queue_cancel(&self, task: TaskRef) {
        debug_assert!(task.waits.get() == Waits::Completion);
        task.waits.set(Waits::CompletionCancelQueued);
        self.cancel_queue.push_back(task);
        self.queued.set(self.queued.get() + 1);
    }

    pub(super) fn unqueue_cancel(&self, task: TaskRef) {
        debug_assert!(task.waits.get() == Waits::CompletionCancelQueued);
        self.cancel_queue.remove(task);
        self.queued.set(self.queued.get() - 1);
        task.waits.set(Waits::Completion);
    }

    /// Hands the kernel what waits for it, cancel requests first, then by I/O priority; at most a
    /// burst. Refusals (EAGAIN, EBUSY, EINTR) leave the rest for the next call. Afterwards what has
    /// completed is visible to `reap`.
    pub fn submit(&self) -> Res<()> {
        let mut moved = 0;
        loop {
            moved += self.fill();
            let pending = self.kernel.sq_pending();
            match self.kernel.enter(Wait::No) {
                Ok(()) => {}
                Err(Errno(libc::EINTR | libc::EAGAIN | libc::EBUSY)) => return Ok(()),
                Err(e) => return Err(e),
            }
            // The kernel took nothing.
            let stuck = self.kernel.sq_pending() == pending;
            if self.queued.get() == 0 || stuck || moved >= BURST {
                return Ok(());
            }
        }
    }

    /// Moves queued entries into the submission queue while it has room.
    fn fill(&self) -> usize {
        let mut moved = 0;
        while self.queued.get() != 0 && self.kernel.sq_space() != 0 {
            if let Some(task) = self.cancel_queue.pop_front() {
                task.waits.set(Waits::Completion);
                self.push_cancel(task);
            } else if let Some(task) = self.entry_queues.iter().find_map(|q| q.pop_front()) {
                task.waits.set(Waits::Completion);
                // SAFETY: the entry lives on the stack of the task, which waits, and `start`'s
                // caller promised the rest.
                let pushed = unsafe { self.push_operation(task, &*task.sqe.get()) };
                debug_assert!(pushed);
            } else {
                break;
            }
            self.queued.set(self.queued.get() - 1);
            moved += 1;
        }
        moved
    }

    /// Asks the kernel to cancel the task's operation; there is room.
    pub(super) fn push_cancel(&self, task: TaskRef) {
        let mut sqe = Sqe::new(op::ASYNC_CANCEL, -1, 0, name(task, TAG_OPERATION), 0, 0);
        sqe.set_user_data(name(task, TAG_CANCEL));
        self.cancels.set(self.cancels.get() + 1);
        // SAFETY: refers to no memory.
        unsafe { self.kernel.push(&sqe) };
    }
}
