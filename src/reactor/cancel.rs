//! Cancelling operations. A request is an entry like others: it goes to the kernel behind what it
//! is to cancel, and before anything that could bear the same name.

use super::operation::{bit, Op, State};
use super::{name, Reactor};
use crate::task::header::{mark, TaskRef, Waits};
use crate::uring::kernel::Kernel;

impl<K: Kernel> Reactor<K> {
    /// `task` waits for its inline operation: asks the kernel, and `reap` will say how it went.
    pub fn cancel_inline(&self, task: TaskRef) {
        if task.has(mark::OPERATION_ASKED) {
            return;
        }
        task.mark(mark::OPERATION_ASKED);
        if self.has_room() {
            self.push_cancel(name(task));
        } else {
            task.waits.set(Waits::CompletionCancelQueued);
            self.cancel_queue.push_back(task);
            self.count_queued(1);
        }
    }

    /// Cancels a record in flight. True: it waited for an entry, and is over at once, with
    /// ECANCELED.
    pub fn cancel_record(&self, record: &Op) -> bool {
        match record.state.get() {
            State::Queued => {
                self.unqueue(record);
                record.completed(-libc::ECANCELED, 0, true);
                return true;
            }
            State::Row => {
                self.leave_row(record);
                record.completed(record.withdrawn(), 0, true);
                return true;
            }
            State::Kernel | State::Listed if !record.has(bit::ASKED) => {
                self.unlist(record);
                record.set(bit::ASKED);
                if self.has_room() {
                    self.push_cancel(self.sealed(record));
                } else {
                    record.set(bit::CANCEL_QUEUED);
                    // SAFETY: not queued so far, and in place while in flight.
                    unsafe { self.record_cancel_queue.push_back(record.cancel()) };
                    self.count_queued(1);
                }
            }
            _ => {}
        }
        false
    }

    /// Takes a record out of its row.
    fn leave_row(&self, record: &Op) {
        let row = self.rows.at(record.row()).expect("it stays while it has records");
        // SAFETY: its state says that it waits there.
        unsafe { row.waiting.remove(record.link()) };
    }

    fn has_room(&self) -> bool {
        self.queued.get() == 0 && self.kernel.sq_space() != 0
    }

    /// False if none waits. There is room.
    pub(super) fn push_queued_cancel(&self) -> bool {
        if let Some(task) = self.cancel_queue.pop_front() {
            task.waits.set(Waits::Completion);
            self.push_cancel(name(task));
        } else if let Some(link) = self.record_cancel_queue.pop_front() {
            // SAFETY: only records in flight are in that queue.
            let record = unsafe { Op::from_cancel(link) };
            record.clear(bit::CANCEL_QUEUED);
            self.push_cancel(self.sealed(record));
        } else {
            return false;
        }
        true
    }

    /// The inline operation is over before its request was made.
    #[cold]
    pub(super) fn unqueue_cancel(&self, task: TaskRef) {
        self.cancel_queue.remove(task);
        self.count_queued(-1);
        task.waits.set(Waits::Completion);
    }

    /// The same for a record.
    pub(super) fn unqueue_record_cancel(&self, record: &Op) {
        if record.has(bit::CANCEL_QUEUED) {
            record.clear(bit::CANCEL_QUEUED);
            // SAFETY: the bit says so.
            unsafe { self.record_cancel_queue.remove(record.cancel()) };
            self.count_queued(-1);
        }
    }
}
