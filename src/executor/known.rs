//! What a look from outside tells of a task: whether a run of it is under way, where, and what came
//! of the last. Any thread may look; what it sees may be over the next moment.

use super::mailbox::Mailbox;
use crate::error::{Errno, RawResult};
use crate::task::header::TaskRef;
use crate::task::state::{self, Run, TaskState};

/// The run is over, and a later one may be overwriting its result.
pub(super) const GONE: RawResult = RawResult::failure(Errno(libc::ESRCH));

pub(super) fn result_of(state: TaskState<'_>, run: Run) -> RawResult {
    state.result_of(run).map_or(GONE, RawResult::from_words)
}

/// What is known of a task that is to be joined.
pub(super) enum Known {
    Never,
    Over(RawResult),
    Under(Run, &'static Mailbox),
    /// Another thread is in the middle of attaching it.
    Changing,
}

/// ANY THREAD.
pub(super) fn look(other: TaskRef) -> Known {
    let task_state = other.state();
    if task_state.run_state() == state::FRESH {
        return Known::Never;
    }
    if let Some((run, mailbox)) = task_state.attached_run() {
        // SAFETY: attached, so it was set, and mailboxes live for ever.
        return Known::Under(run, unsafe { &*mailbox.cast::<Mailbox>() });
    }
    task_state
        .settled()
        .map_or(Known::Changing, |(_, result)| Known::Over(RawResult::from_words(result)))
}

/// The run is still under way. Its executor's mailbox may be closed all the same: for the moment in
/// which an executor that is about to go finds that a launch has crossed the close, and opens it
/// again.
pub(super) fn is_under(state: TaskState<'_>, run: Run) -> bool {
    state.attached_run().is_some_and(|(now, _)| now == run)
}

/// For another thread's handful of instructions: not a yield, as that one may be of a lower
/// priority than this thread.
pub(super) const CHANGING_NS: u64 = 20_000;
