//! The model's mailboxes: what other threads leave, and executors for each other, and what becomes of
//! it when it is read.

use crate::model::{Cancel, Stage, State, CANCELED};
use monad_async::error::{Errno, RawResult};

const GONE: RawResult = RawResult::failure(Errno(libc::ESRCH));

#[derive(Clone, Copy, Debug)]
pub enum Mail {
    Launch(u8),
    Cancel { task: u8, run: u64 },
    Join { joiner: u8, other: u8, run: u64 },
    Joined { joiner: u8, result: RawResult, canceled: bool },
    Unjoin { joiner: u8 },
    Unjoined { joiner: u8 },
}

impl State {
    pub fn post(&mut self, ex: u8, mail: Mail) {
        let e = &mut self.ex[ex as usize];
        e.mail.push_back(mail);
        e.mail_since.get_or_insert(e.items);
    }

    /// The executor has emptied its mailbox.
    pub fn take_mail(&mut self, ex: u8) {
        let e = &mut self.ex[ex as usize];
        e.woken |= std::mem::take(&mut e.notified);
        e.mail_since = None;
        while let Some(mail) = self.ex[ex as usize].mail.pop_front() {
            match mail {
                Mail::Launch(i) if self.t(i).cancel != Cancel::No => self.never_launched(i),
                Mail::Launch(i) => {
                    self.ex[ex as usize].pending += 1;
                    self.push_ready(i);
                }
                Mail::Cancel { task, run } => {
                    if self.t(task).attached == run {
                        self.cancel(task, ex);
                    }
                }
                Mail::Join { joiner, other, run } => {
                    let o = self.t(other);
                    if o.stage != Stage::Idle && o.ex == ex && o.attached == run {
                        o.away_joiners.push(joiner);
                        if let Stage::Away { registered, .. } = &mut self.t(joiner).stage {
                            *registered = true;
                        }
                    } else {
                        // Attached elsewhere again, and its result overwritten any moment; or
                        // another task in its place.
                        let gone = o.fresh || o.stage != Stage::Idle && o.ex != ex;
                        let result = if gone { GONE } else { o.result };
                        self.answer(joiner, result, false);
                    }
                }
                Mail::Joined { joiner, result, canceled } => {
                    let t = self.t(joiner);
                    t.outcome = result;
                    if t.cancel == Cancel::Asked && canceled {
                        t.cancel = Cancel::No;
                    }
                    self.settle(joiner);
                }
                Mail::Unjoin { joiner } => {
                    let Stage::Away { other, registered, .. } = self.t(joiner).stage else {
                        unreachable!("the joiner waits for the answer");
                    };
                    if registered {
                        self.t(other).away_joiners.retain(|&j| j != joiner);
                        self.answer(joiner, CANCELED, true);
                    }
                    let home = self.t(joiner).ex;
                    self.post(home, Mail::Unjoined { joiner });
                }
                Mail::Unjoined { joiner } => self.settle(joiner),
            }
        }
    }

    /// One of the messages that a joiner sent is back.
    fn settle(&mut self, joiner: u8) {
        let t = self.t(joiner);
        let Stage::Away { owed, .. } = &mut t.stage else { unreachable!("it waits") };
        *owed -= 1;
        if *owed == 0 {
            if t.cancel == Cancel::Asked {
                t.cancel = Cancel::Next;
            }
            self.push_ready(joiner);
        }
    }

    pub fn answer(&mut self, joiner: u8, result: RawResult, canceled: bool) {
        let t = self.t(joiner);
        if let Stage::Away { registered, .. } = &mut t.stage {
            *registered = false;
        }
        let home = t.ex;
        self.post(home, Mail::Joined { joiner, result, canceled });
    }
}
