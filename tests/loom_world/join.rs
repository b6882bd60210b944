//! The joiner's side and the joined one's, as src/executor/join.rs has them, under the same names. The
//! joiner is the one task of its executor.

use super::{kind, World};
use loom::cell::Cell;
use monad_async::intrusive::{Link, MpscQueue};
use monad_async::task::state;
use std::ptr::NonNull;

/// On the joiner's stack in truth: gone when the joiner goes on.
pub struct Record {
    link: Link,
    unlink: Link,
    seq: Cell<u64>,
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
    /// Another thread is in the middle of attaching it, or it is on another executor than `B`, which
    /// would be one more of the same story.
    Other,
}

impl Record {
    pub fn new() -> Self {
        Self {
            link: Link::new(),
            unlink: Link::new(),
            seq: Cell::new(0),
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
        let Self { link, unlink, seq, home, away, result, canceled, registered, owed, asked } =
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
        seq.set(u64::MAX);
        result.set([0, 0]);
        owed.set(u8::MAX);
    }
}

/// `home`: the joiner.
impl World {
    /// A cancel, by the same thread, follows at once if `cancel`. Which run was meant, and its result.
    pub fn join(&self, home: usize, cancel: bool) -> (u64, Joining) {
        let joining = self.join_begin(home);
        if joining != Joining::Waits {
            return (0, joining);
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
        let (seq, result, canceled) =
            (record.seq.get(), record.result.get(), record.canceled.get());
        assert!(cancel || !canceled, "nobody asked for it");
        record.overwrite();
        (seq, Joining::Over(if canceled { CANCELED } else { result }))
    }

    fn join_begin(&self, home: usize) -> Joining {
        let state = self.task.state();
        match state.run_state() {
            state::ATTACHED => {}
            state::EXITED => {
                return state.settled_result().map_or(Joining::Other, Joining::Over);
            }
            _ => return Joining::Other,
        }
        let mailbox = state.mailbox();
        let away = super::B;
        if mailbox != self.address(away) {
            return Joining::Other;
        }
        self.record.seq.set(state.seq());
        self.record.home.set(home);
        self.record.away.set(away);
        self.record.owed.set(1);
        if !self.post_pinned(away, &self.record.link, kind::JOIN) {
            return Joining::Over(state.settled_result().unwrap_or(GONE));
        }
        Joining::Waits
    }

    fn unjoin_remote(&self) {
        let record = &self.record;
        if record.asked.replace(true) {
            return;
        }
        record.owed.set(record.owed.get() + 1);
        if !self.post_pinned(record.away.get(), &record.unlink, kind::UNJOIN) {
            record.owed.set(record.owed.get() - 1);
        }
    }

    pub(super) fn join_answered(&self) {
        self.record.owed.set(self.record.owed.get() - 1);
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
        let (record, state) = (&self.record, self.task.state());
        if state.is_attached_to(self.address(ex)) && state.seq() == record.seq.get() {
            record.registered.set(true);
            self.task.joined.set(true);
        } else if state.is_of(self.address(ex)) {
            self.answer(state.result(), false);
        } else {
            self.answer(state.settled_result().unwrap_or(GONE), false);
        }
    }

    pub(super) fn unjoin_asked(&self) {
        let (record, home) = (&self.record, self.record.home.get());
        if record.registered.replace(false) {
            self.task.joined.set(false);
            self.answer(CANCELED, true);
        }
        assert!(self.post_pinned(home, &record.unlink, kind::UNJOINED));
    }

    pub(super) fn finish_joined(&self) {
        let state = self.task.state();
        let (result, seq) = (state.result(), state.seq());
        self.task.joined.set(false);
        state.exited();
        assert_eq!(self.record.seq.get(), seq, "it joined another run");
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
