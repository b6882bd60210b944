//! The model's mailboxes: what other threads leave, and executors for each other, and what becomes
//! of it when it is read.

use crate::model::{failure, Stage, State, CANCELED};
use monad_async::error::RawResult;
use monad_async::stack::pool;

const GONE: RawResult = failure(libc::ESRCH);
/// Places for tasks that other threads ask to cancel; beyond them all tasks are looked at.
const REQUESTS: usize = 64;
/// Messages of one look.
const BUDGET: usize = 256;

#[derive(Clone, Copy, Debug)]
pub enum Mail {
    Launch(u8),
    Join { joiner: u8, other: u8, run: u64 },
    Joined { joiner: u8, result: RawResult, canceled: bool },
    Unjoin { joiner: u8 },
    Unjoined { joiner: u8 },
    Unpark(u8),
}

impl State {
    pub fn post(&mut self, ex: u8, mail: Mail) {
        let e = &mut self.ex[ex as usize];
        e.mail.push_back(mail);
        e.mail_since.get_or_insert(e.items);
    }

    pub fn notify(&mut self, ex: u8) {
        let e = &mut self.ex[ex as usize];
        e.notified = true;
        e.mail_since.get_or_insert(e.items);
    }

    /// Another thread asks to cancel the run of `i` that is under way; what the call returns.
    pub fn ask_cancel(&mut self, i: u8, ex: Option<u8>) -> bool {
        if !self.is_attached(i) || ex.is_some_and(|ex| ex != self.tasks[i as usize].ex) {
            return false;
        }
        let t = self.t(i);
        let (run, ex) = (t.attached, t.ex);
        if t.cancel_run < run {
            t.cancel_run = run;
            self.ex[ex as usize].requests.push(i);
            self.notify(ex);
        }
        true
    }

    /// The executor has emptied its mailbox, or taken as much as it takes at once.
    pub fn take_mail(&mut self, ex: u8) {
        let e = &mut self.ex[ex as usize];
        if std::mem::take(&mut e.notified) {
            e.woken |= std::mem::take(&mut e.wake_asked);
            self.take_requests(ex);
        }
        for _ in 0..BUDGET {
            let Some(mail) = self.ex[ex as usize].mail.pop_front() else { break };
            self.read(ex, mail);
        }
        let e = &mut self.ex[ex as usize];
        e.mail_since = (!e.mail.is_empty()).then_some(e.items);
    }

    fn take_requests(&mut self, ex: u8) {
        let requests = std::mem::take(&mut self.ex[ex as usize].requests);
        let mut order: Vec<u8> = requests.iter().take(REQUESTS).copied().collect();
        let marked = requests.get(REQUESTS..).unwrap_or_default();
        order.extend(self.in_pool_order().into_iter().filter(|i| marked.contains(i)));
        for i in order {
            let t = self.t(i);
            if t.cancel_run == t.attached && t.stage != Stage::Idle && t.ex == ex {
                t.cancel_run = 0;
                self.cancel(i, ex);
            }
        }
    }

    /// All tasks, in the order of their stacks.
    pub fn in_pool_order(&self) -> Vec<u8> {
        self.pool_order.iter().copied().filter(|&i| usize::from(i) < self.tasks.len()).collect()
    }

    /// Tasks were made. (Later the pool may be locked, by an executor that looks through it.)
    pub fn find_pool_order(&mut self) {
        let mut order = Vec::new();
        pool::for_each_in_use(|header| {
            let at = header.as_ptr() as usize;
            order.extend(self.addresses.iter().position(|&a| a == at));
        });
        self.pool_order = order.into_iter().map(|i| i as u8).collect();
    }

    fn read(&mut self, ex: u8, mail: Mail) {
        match mail {
            Mail::Launch(i) if self.t(i).levels[0].fired != 0 => self.never_launched(i),
            Mail::Launch(i) => {
                self.ex[ex as usize].pending += 1;
                self.push_ready(i);
            }
            Mail::Unpark(i) => self.unparked(i),
            Mail::Join { joiner, other, run } => {
                let o = self.t(other);
                let attached = o.stage != Stage::Idle;
                if attached && o.ex == ex && o.attached == run {
                    o.joiners.push((joiner, true));
                    if let Stage::Away { registered, .. } = &mut self.t(joiner).stage {
                        *registered = true;
                    }
                } else {
                    // The next run has not overwritten it, if it is ours to overwrite.
                    let next = attached && o.ex == ex && o.attached == run + 1;
                    let kept = next && o.stage != Stage::Closing;
                    let over = !attached && !o.fresh && o.attached == run;
                    let result = if kept || over { o.result } else { GONE };
                    self.answer(joiner, result, false);
                }
            }
            Mail::Joined { joiner, result, canceled } => {
                let t = self.t(joiner);
                t.outcome = result;
                t.unjoined = canceled;
                self.settle(joiner);
            }
            Mail::Unjoin { joiner } => {
                let Stage::Away { other, registered, .. } = self.t(joiner).stage else {
                    unreachable!("the joiner waits for the answer");
                };
                if registered {
                    self.t(other).joiners.retain(|j| j.0 != joiner);
                    self.answer(joiner, CANCELED, true);
                }
                let home = self.t(joiner).ex;
                self.post(home, Mail::Unjoined { joiner });
            }
            Mail::Unjoined { joiner } => self.settle(joiner),
        }
    }

    /// One of the messages that a joiner sent is back.
    fn settle(&mut self, joiner: u8) {
        let t = self.t(joiner);
        let Stage::Away { owed, .. } = &mut t.stage else { unreachable!("it waits") };
        *owed -= 1;
        if *owed == 0 {
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
