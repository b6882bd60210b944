//! The kernel that the executors see: what an enter does, and what ends a sleep.

use crate::model::{Stage, State};
use crate::program::Foreign;
use crate::ring::Verdict;
use crate::world::{trace, World, MOMENTS};
use monad_async::error::Errno;
use monad_async::uring::kernel::{Cqe, Kernel, Sqe, Wait, Waker};
use std::sync::atomic::{AtomicU64, Ordering};

/// How often a look is due by time: never, or after each item, as one takes some ticks.
pub static LOOK_TICKS: AtomicU64 = AtomicU64::new(u64::MAX);

const FAULTS: [i32; 5] = [libc::EINTR, libc::EAGAIN, libc::EBUSY, libc::ENOMEM, libc::EBADR];

pub struct SimKernel {
    pub world: &'static World,
    pub ex: u8,
    pub ring: bool,
}

impl World {
    /// True once for any number of wakes.
    pub fn was_woken(&self, ex: u8) -> bool {
        let mut count = [0u8; 8];
        let fd = self.eventfd[ex as usize];
        // SAFETY: reads at most eight bytes into eight of our own.
        unsafe { libc::read(fd, count.as_mut_ptr().cast(), 8) == 8 }
    }

    /// What must hold when executor `ex` asks to sleep.
    fn may_sleep(&self, st: &State, ex: u8, wait: Wait) -> Verdict {
        let e = &st.ex[ex as usize];
        let broken = |what: &str| Err(format!("executor {ex} sleeps ({wait:?}) with {what}"));
        if e.ready_len() != 0 {
            return broken("tasks ready");
        }
        if e.woken {
            return broken("a wake-up to answer");
        }
        if e.mail_since.is_some() && !self.handle(ex).executor().has_mail() {
            return broken("its mail half read");
        }
        if e.could_submit() {
            return broken("operations that the kernel would take");
        }
        if e.current.is_some() {
            return broken("a task running");
        }
        let until_ns = match wait {
            Wait::Until { boot_ns } => boot_ns,
            _ => u64::MAX,
        };
        if e.timers.first().is_some_and(|s| s.0 < until_ns) {
            return broken("something due before");
        }
        if e.timeout_ns.is_some_and(|ns| st.clock_ns.saturating_add(ns) < until_ns) {
            return broken("its caller's time-out before");
        }
        Ok(())
    }

    /// Sleeps until something ends it. The mailbox was empty when the executor lay down, so mail
    /// that is there now came with a wake-up.
    fn sleep(&'static self, ex: u8, wait: Wait) {
        self.doze(ex, wait);
        if self.has_mail(ex) && !self.was_woken(ex) {
            self.check(Err(format!("executor {ex} got mail in its sleep, and no wake-up")));
        }
    }

    fn has_mail(&self, ex: u8) -> bool {
        let st = self.st.borrow();
        st.ex[ex as usize].mail_since.is_some()
    }

    /// Time passes, and others act.
    fn doze(&'static self, ex: u8, wait: Wait) {
        let until_ns = match wait {
            Wait::No => return,
            Wait::Until { boot_ns } => boot_ns,
            Wait::Forever => u64::MAX,
        };
        while !self.has_mail(ex) {
            let target_ns = {
                let mut st = self.st.borrow_mut();
                self.check(st.pump(ex));
                st.flush(ex);
                let temper = st.ex[ex as usize].ring.temper();
                if !st.ex[ex as usize].ring.cq.is_empty()
                    || st.clock_ns >= until_ns
                    || temper.spurious != 0 && st.rng.one_in(temper.spurious)
                {
                    return;
                }
                st.moments += 1;
                if st.moments > MOMENTS {
                    self.check(Err("an executor sleeps for ever".into()));
                }
                let target_ns = self.next_event_ns(&st, ex).min(until_ns);
                let left = self.program.borrow().foreign.len() > st.next_foreign;
                if left && (target_ns == u64::MAX || st.rng.one_in(2)) {
                    None
                } else {
                    Some(target_ns)
                }
            };
            match target_ns {
                None => self.others(),
                Some(target_ns) if self.run_other(ex, target_ns) => {}
                Some(_) if self.post_claimed(1, None) => {}
                Some(u64::MAX) if !self.st.borrow().claims.is_empty() => {}
                Some(u64::MAX) => self.unblock(ex),
                Some(target_ns) => {
                    let mut st = self.st.borrow_mut();
                    let late = if st.rng.one_in(4) { st.rng.below(300) } else { 0 };
                    st.clock_ns = st.clock_ns.max(target_ns) + u64::from(late);
                }
            }
        }
    }

    fn next_event_ns(&self, st: &State, ex: u8) -> u64 {
        let other = &st.ex[1 - ex as usize];
        let mut next_ns = st.ex[ex as usize].ring.next_due_ns();
        if other.alive && !other.in_run {
            let sleeper_ns = other.timers.first().map_or(u64::MAX, |s| s.0);
            next_ns = next_ns.min(other.ring.next_due_ns()).min(sleeper_ns);
        }
        next_ns
    }

    /// Lets the other executor do what it has to do now.
    fn run_other(&self, ex: u8, _until_ns: u64) -> bool {
        let max = {
            let mut st = self.st.borrow_mut();
            let clock_ns = st.clock_ns;
            let max = st.rng.pick(&[1, 2, 100]);
            let o = &mut st.ex[1 - ex as usize];
            if !o.alive || o.in_run {
                return false;
            }
            let busy = o.ready_len() != 0
                || o.mail_since.is_some()
                || o.could_submit()
                || !o.ring.sq.is_empty()
                || !o.ring.cq.is_empty()
                || !o.ring.backlog.is_empty()
                || o.ring.next_due_ns() <= clock_ns
                || o.timers.first().is_some_and(|s| s.0 <= clock_ns);
            if !busy {
                return false;
            }
            max
        };
        self.run(1 - ex, max, Some(0));
        true
    }

    /// Nothing will ever happen by itself: cancels what waits for ever.
    fn unblock(&'static self, ex: u8) {
        let stuck = {
            let mut st = self.st.borrow_mut();
            st.janitor += 1;
            if st.janitor > 10_000 {
                self.check(Err("cancelled tasks stay suspended".into()));
            }
            let n = st.tasks.len();
            let from = st.rng.below(n as u32) as usize;
            let waits = |i: &usize| {
                let t = &st.tasks[*i];
                let waits = match t.stage {
                    Stage::ForEver | Stage::Join(_) | Stage::Op(_) | Stage::Io => true,
                    Stage::Park { claimed } => !claimed,
                    Stage::Away { asked, .. } => !asked,
                    _ => false,
                };
                waits && t.levels[0].fired == 0
            };
            let stuck = (from..from + n).map(|i| i % n).find(waits);
            if stuck.is_none() && st.attached(ex) != 0 {
                let mine = st.tasks.iter().enumerate().filter(|t| t.1.ex == ex);
                let mine: Vec<_> = mine.map(|(i, t)| (i, t.stage)).collect();
                self.check(Err(format!("executor {ex} sleeps for ever with {mine:?}")));
            }
            stuck.map(|i| (i as u8, st.tasks[i].ex))
        };
        match stuck {
            Some((task, ex)) => self.act(Foreign::Cancel { task, ex: Some(ex) }),
            None => self.act(Foreign::Wake(ex)),
        }
    }

    fn enter(&'static self, ex: u8, wait: Wait) -> Result<(), Errno> {
        self.moment(ex);
        let fault = {
            let mut st = self.st.borrow_mut();
            let closing = st.ex[ex as usize].closing;
            if wait != Wait::No && !closing {
                let verdict = self.may_sleep(&st, ex, wait);
                self.check(verdict);
            }
            let temper = st.ex[ex as usize].ring.temper();
            let mut fault = 0;
            if temper.faults != 0 && st.rng.one_in(temper.faults) {
                fault = st.rng.pick(&FAULTS);
                if matches!(fault, libc::ENOMEM | libc::EBADR) && (!temper.nomem || closing) {
                    fault = libc::EAGAIN;
                }
                // What completions were dropped is learned by who waits for some.
                if fault == libc::EBADR && wait == Wait::No {
                    fault = 0;
                }
            }
            let have = st.ex[ex as usize].ring.sq.len();
            let take = match fault {
                0 if temper.partial => 1 + st.rng.below(have as u32 + 1) as usize,
                0 | libc::EINTR | libc::EBADR => have,
                _ => 0,
            };
            let verdict = st.submit(ex, take);
            self.check(verdict);
            if fault == 0 || st.rng.one_in(2) {
                st.flush(ex);
            }
            let e = &mut st.ex[ex as usize];
            if matches!(fault, libc::ENOMEM | libc::EBADR) {
                e.hard.push(fault);
            }
            e.ring.sq_since = (!e.ring.sq.is_empty()).then_some(e.items);
            let nap = matches!(fault, libc::EAGAIN | libc::EBUSY) && wait != Wait::No;
            if nap {
                st.clock_ns += 1_000;
            }
            trace!(st, "ex {ex} enters, {wait:?}, fault {fault}");
            fault
        };
        if fault == 0 {
            if wait != Wait::No {
                self.sleep(ex, wait);
            }
            self.moment(ex);
            Ok(())
        } else {
            Err(Errno(fault))
        }
    }
}

impl Kernel for SimKernel {
    fn has_ring(&self) -> bool {
        self.ring
    }

    fn sq_space(&self) -> u32 {
        self.world.st.borrow().ex[self.ex as usize].ring.sq_space()
    }

    fn sq_pending(&self) -> u32 {
        self.world.st.borrow().ex[self.ex as usize].ring.sq.len() as u32
    }

    unsafe fn push(&self, sqe: &Sqe) {
        let w = self.world;
        let mut st = w.st.borrow_mut();
        // Cancels that came by mail push their requests while the mail is read.
        w.check(w.observe(&mut st, self.ex));
        trace!(st, "ex {} pushes opcode {} for {:#x}", self.ex, sqe.opcode(), sqe.user_data());
        let verdict = st.pushed(self.ex, sqe);
        w.check(verdict);
        let on = st.rng.pick(&[0, 1, 100]);
        let sweeping = st.ex[self.ex as usize].sweeping;
        drop(st);
        // More mail may come while mail is read; the rest of what is read may write to the other.
        if !sweeping {
            w.post_claimed(on, Some(self.ex));
        }
    }

    fn pop(&self) -> Option<Cqe> {
        let w = self.world;
        w.moment(self.ex);
        let mut st = w.st.borrow_mut();
        let e = &mut st.ex[self.ex as usize];
        let Some((cqe, about)) = e.ring.cq.pop_front() else {
            e.ring.cq_since = (!e.ring.backlog.is_empty()).then_some(e.items);
            return None;
        };
        // One look takes so many at most: what is left came with it.
        e.ring.cq_since = Some(e.items);
        trace!(st, "ex {} takes {cqe:x?}, {about:?}", self.ex);
        let verdict = st.popped(&cqe, about, self.ex);
        w.check(verdict);
        Some(cqe)
    }

    fn needs_enter(&self) -> bool {
        self.world.moment(self.ex);
        !self.world.st.borrow().ex[self.ex as usize].ring.backlog.is_empty()
    }

    fn enter(&self, wait: Wait) -> Result<(), Errno> {
        self.world.enter(self.ex, wait)
    }

    fn now_boot_ns(&self) -> u64 {
        self.world.moment(self.ex);
        let mut st = self.world.st.borrow_mut();
        let step = st.ex[self.ex as usize].ring.temper().step_ns;
        st.clock_ns += if step == 0 { 0 } else { u64::from(st.rng.below(step)) };
        let now_ns = st.clock_ns;
        st.ex[self.ex as usize].read_ns = now_ns;
        st.armed(self.ex);
        now_ns
    }

    fn stamp(&self) -> u64 {
        self.world.st.borrow().clock_ns
    }

    /// By a counter that is as fast as the executor must expect: what is not early by it never is.
    fn ns_since(&self, stamp: u64) -> u64 {
        let ns = self.stamp() - stamp;
        ns + ns / 511
    }

    fn look_ticks() -> u64 {
        LOOK_TICKS.load(Ordering::Relaxed)
    }

    fn waker(&self) -> Waker {
        Waker::of_eventfd(self.world.eventfd[self.ex as usize])
    }
}

impl Drop for SimKernel {
    fn drop(&mut self) {
        let st = self.world.st.borrow();
        if !st.ex[self.ex as usize].ring.is_idle() {
            self.world.check(Err("the ring is closed with something in it".into()));
        }
    }
}
