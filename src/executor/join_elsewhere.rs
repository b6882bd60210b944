//! Joining a task that is not attached to the executor of who joins it: it may be another's, in a
//! queue, or on its way, or its run over. See `join`.

use core::ptr;

use super::grant::Caller;
use super::join::{JoinRecord, Joiner};
use super::known::{look, result_of, Known, CHANGING_NS, GONE};
use super::mailbox::Posted;
use super::queue_left::until_unqueued;
use super::scope::NEVER_NS;
use super::Executor;
use crate::error::{Errno, RawResult};
use crate::sys::backoff::Backoff;
use crate::task::header::{mark, TaskRef};
use crate::task::joins::{self, Joined};
use crate::task::shared::All;
use crate::task::state::Run;
use crate::uring::kernel::Kernel;

/// See `task::joins`: by fences, which a join of a task of this executor does without, where no
/// chain of joins leads to another.
#[inline(never)]
pub(super) fn ask(task: TaskRef, joined: Joined) -> bool {
    let mut backoff = Backoff::new();
    joins::ask(&All, task.addr(), joined, || backoff.wait())
}

impl<K: Kernel> Executor<K> {
    /// As `join`, of one that is not attached here.
    #[inline(never)]
    pub(super) fn join_elsewhere(&self, task: TaskRef, other: TaskRef) -> RawResult {
        // The run that was found in a queue, and left it.
        let (mut meant, mut has_waited) = (None, false);
        let over =
            |meant: Option<Run>, result| meant.map_or(result, |run| result_of(other.state(), run));
        let (run, away) = loop {
            match look(other) {
                Known::Under(run, _) if meant.is_some_and(|meant| meant != run) => {
                    return over(meant, GONE);
                }
                Known::Under(_, away) if !away.is_of_this_process() => {
                    return RawResult::failure(Errno(libc::EPERM)); // The parent's.
                }
                Known::Under(run, away) => break (run, away),
                Known::Never => return RawResult::failure(Errno(libc::EINVAL)),
                Known::Over(result) => return over(meant, result),
                Known::Changing => {
                    let caller = Caller::task(self, task);
                    has_waited = true;
                    if let Some((run, left)) = until_unqueued(&caller, other, meant, NEVER_NS) {
                        match left {
                            Ok(_) => meant = Some(run),
                            Err(e) => return RawResult::failure(e),
                        }
                        continue;
                    }
                    let slept = self.sleep(task, CHANGING_NS);
                    if slept != 0 {
                        return RawResult::from_kernel(slept);
                    }
                }
            }
        };
        // A cancel that came since what was waited for above, and before this goes on, was for no
        // wait: it would be lost.
        if has_waited && task.has(mark::STOPS) {
            let stopped = self.stop(task);
            if stopped != 0 {
                return RawResult::from_kernel(stopped);
            }
        }
        let record = JoinRecord::new(Joiner::Task(task, self.mailbox), other, run, away);
        if ptr::eq(away, self.mailbox) {
            self.join_here(task, other, &record)
        } else {
            self.join_remote(task, &record)
        }
    }

    #[inline(never)]
    fn join_remote(&self, task: TaskRef, record: &JoinRecord) -> RawResult {
        record.owed.set(1);
        loop {
            if !ask(task, record.joined()) {
                return RawResult::failure(Errno(libc::EDEADLK));
            }
            // SAFETY: the record stays until `owed` is 0, which ends the suspension below.
            match unsafe { record.post_join() } {
                Posted::Queued => return self.await_join(task, record),
                Posted::Over => {
                    task.joins().clear();
                    return result_of(record.other.state(), record.run); // Rule 3.
                }
                Posted::Closed => {
                    task.joins().clear();
                    let slept = self.sleep(task, CHANGING_NS);
                    if slept != 0 {
                        return RawResult::from_kernel(slept);
                    }
                    // As above: one that came when the sleep was over.
                    if task.has(mark::STOPS) {
                        let stopped = self.stop(task);
                        if stopped != 0 {
                            return RawResult::from_kernel(stopped);
                        }
                    }
                }
            }
        }
    }
}
