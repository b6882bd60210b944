//! The joiner's side and the joined one's, as src/executor/join.rs has them, under the same names.
//! The joiner is the one task of its executor.

use super::{kind, World};
use loom::cell::Cell;
use loom::sync::atomic::Ordering::{Relaxed, Release};
use loom::thread;
use monad_async::intrusive::{Link, MpscQueue};
use monad_async::task::state::{self, Run, TaskState};
use std::ffi::c_void;
use std::ptr::NonNull;

/// On the joiner's stack in truth: gone when the joiner goes on.
pub struct Record {
    link: Link,
    unlink: Link,
    run: Cell<Run>,
    home: Cell<usize>,
    away: Cell<usize>,
    result: Cell<[u64; 2]>,
    canceled: Cell<bool>,
    registered: Cell<bool>,
    owed: Cell<u8>,
    asked: Cell<bool>,
}

pub const CANCELED: [u64; 2] = [0, 125];
pub const GONE: [u64; 2] = [0, 3];

/// What became of the call.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Joining {
    /// Over, with this.
    Over([u64; 2]),
    /// The record travels; `wait`.
    Waits,
    /// Another thread is in the middle of attaching it, or it is on another executor than `B`,
    /// which would be one more of the same story.
    Other,
}

/// What is known of a task that is to be joined.
enum Known {
    Never,
    Over([u64; 2]),
    Under(Run, *mut c_void),
    Changing,
}

fn look(state: TaskState<'_>) -> Known {
    if state.run_state() == state::FRESH {
        return Known::Never;
    }
    if let Some((run, mailbox)) = state.attached_run() {
        return Known::Under(run, mailbox);
    }
    state.settled().map_or(Known::Changing, |(_, result)| Known::Over(result))
}

fn is_under(state: TaskState<'_>, run: Run) -> bool {
    state.attached_run().is_some_and(|(now, _)| now == run)
}

fn result_of(state: TaskState<'_>, run: Run) -> [u64; 2] {
    state.result_of(run).unwrap_or(GONE)
}

impl Record {
    pub fn new() -> Self {
        Self {
            link: Link::new(),
            unlink: Link::new(),
            run: Cell::new(0),
            home: Cell::new(0),
            away: Cell::new(0),
            result: Cell::new([0, 0]),
            canceled: Cell::new(false),
            registered: Cell::new(false),
            owed: Cell::new(0),
            asked: Cell::new(false),
        }
    }

    /// The joiner has gone on, and writes other things there.
    fn overwrite(&self) {
        let Self { link, unlink, run, home, away, result, canceled, registered, owed, asked } =
            self;
        let words = MpscQueue::new();
        for link in [link, unlink] {
            // SAFETY: in no list, if the protocol holds; this one is not looked at again.
            let _ = unsafe { words.push(NonNull::from(link), 0) };
        }
        for cell in [canceled, registered, asked] {
            cell.set(false);
        }
        for cell in [home, away] {
            cell.set(usize::MAX);
        }
        run.set(Run::MAX);
        result.set([0, 0]);
        owed.set(u8::MAX);
    }
}

/// `home`: the joiner.
impl World {
    /// A cancel, by the same thread, follows at once if `cancel`. Which run was meant, and its
    /// result.
    pub fn join(&self, home: usize, cancel: bool) -> (Run, Joining) {
        let joining = self.join_begin(home);
        if joining != Joining::Waits {
            return (self.record.run.get(), joining);
        }
        if cancel {
            self.unjoin_remote();
        }
        let record = &self.record;
        while record.owed.get() != 0 {
            self.collect(home);
            if record.owed.get() != 0 {
                self.sleep(home);
            }
        }
        let (run, result, canceled) =
            (record.run.get(), record.result.get(), record.canceled.get());
        assert!(cancel || !canceled, "nobody asked for it");
        record.overwrite();
        (run, Joining::Over(if canceled { CANCELED } else { result }))
    }

    fn join_begin(&self, home: usize) -> Joining {
        let (run, mailbox) = match look(self.task().state()) {
            Known::Under(run, mailbox) => (run, mailbox),
            Known::Over(result) => return Joining::Over(result),
            Known::Never | Known::Changing => return Joining::Other,
        };
        let away = super::B;
        if mailbox != self.address(away) {
            return Joining::Other;
        }
        self.record.run.set(run);
        self.record.home.set(home);
        self.record.away.set(away);
        self.record.owed.set(1);
        match self.post_of_run(away, &self.record.link, kind::JOIN) {
            true => Joining::Waits,
            false => Joining::Over(result_of(self.task().state(), run)),
        }
    }

    fn unjoin_remote(&self) {
        let record = &self.record;
        if record.asked.replace(true) {
            return;
        }
        record.owed.set(record.owed.get() + 1);
        if !self.post_of_run(record.away.get(), &record.unlink, kind::UNJOIN) {
            record.owed.set(record.owed.get() - 1);
        }
    }

    pub(super) fn join_answered(&self) {
        self.record.owed.set(self.record.owed.get() - 1);
    }

    /// False: the run is over.
    fn post_of_run(&self, ex: usize, link: &Link, kind: usize) -> bool {
        loop {
            self.executors[ex].askers.fetch_add(1, Relaxed);
            let open = self.inbox(ex).pin_open();
            let under = is_under(self.task().state(), self.record.run.get());
            let posted = under && open && self.post(ex, link, kind);
            self.inbox(ex).unpin();
            self.executors[ex].askers.fetch_sub(1, Release);
            if posted || !under {
                return posted;
            }
            thread::yield_now();
        }
    }

    fn post_pinned(&self, ex: usize, link: &Link, kind: usize) -> bool {
        self.inbox(ex).pin();
        let posted = self.post(ex, link, kind);
        self.inbox(ex).unpin();
        posted
    }
}

/// `away`: where the task is, or was.
impl World {
    pub(super) fn join_asked(&self, ex: usize) {
        let (record, state) = (&self.record, self.task().state());
        let run = record.run.get();
        if state.is_run_attached_to(self.address(ex), run) {
            record.registered.set(true);
            self.task().joined.set(true);
        } else if state.is_run_attached_to(self.address(ex), run + 1) {
            self.answer(state.result(), false);
        } else {
            self.answer(result_of(state, run), false);
        }
    }

    /// In `joiners` of its task.
    fn is_registered(&self, ex: usize) -> bool {
        let (record, state) = (&self.record, self.task().state());
        record.registered.get() && state.is_run_attached_to(self.address(ex), record.run.get())
    }

    pub(super) fn unjoin_asked(&self, ex: usize) {
        let (record, home) = (&self.record, self.record.home.get());
        if self.is_registered(ex) {
            record.registered.set(false);
            self.task().joined.set(false);
            self.answer(CANCELED, true);
        }
        assert!(self.post_pinned(home, &record.unlink, kind::UNJOINED));
    }

    pub(super) fn finish_joined(&self) {
        let state = self.task().state();
        let (result, run) = (state.result(), state.run());
        self.task().joined.set(false);
        state.exited();
        assert_eq!(self.record.run.get(), run, "it joined another run");
        self.record.registered.set(false);
        self.answer(result, false);
    }

    fn answer(&self, result: [u64; 2], canceled: bool) {
        self.record.result.set(result);
        self.record.canceled.set(canceled);
        let home = self.record.home.get();
        assert!(self.post_pinned(home, &self.record.link, kind::JOINED));
    }
}
