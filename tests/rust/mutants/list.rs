//! The bugs that are planted, each in place of one piece of the source, and the promises that they
//! break. Some were ours, once; their stories stand next to them.

/// A piece of the source, and what a bug would have made of it.
pub struct Mutant {
    pub bug: &'static str,
    pub file: &'static str,
    /// Once in the file, except for spaces and line ends: statements or one expression.
    pub right: &'static str,
    pub wrong: &'static str,
}

/// One that random programs find.
pub const fn of(
    file: &'static str,
    bug: &'static str,
    right: &'static str,
    wrong: &'static str,
) -> Mutant {
    Mutant { bug, file, right, wrong }
}

/// One that the named test finds.
pub const fn found_by(
    file: &'static str,
    bug: &'static str,
    right: &'static str,
    wrong: &'static str,
    test: &'static str,
) -> (Mutant, &'static str) {
    (of(file, bug, right, wrong), test)
}

pub const LOOP: &[Mutant] = &[
    Mutant {
        bug: "a zero-copy send is over when its first completion comes",
        file: "src/reactor/reap.rs",
        right: "cqe.flags & (cqe::MORE | cqe::NOTIF) != 0 && !Self::complete_twice(task, cqe)",
        wrong: "false",
    },
    Mutant {
        bug: "the notification of a zero-copy send overwrites its result",
        file: "src/reactor/reap.rs",
        right: "if cqe.flags & cqe::NOTIF == 0 { record.outcome.set(cqe.res); record.outcome_flags.set(cqe.flags); }",
        wrong: "record.outcome.set(cqe.res); record.outcome_flags.set(cqe.flags);",
    },
    Mutant {
        bug: "an interrupted operation that was cancelled says EINTR",
        file: "src/reactor/operation.rs",
        right: "matches!(res.saturating_neg(), libc::ECANCELED | libc::EINTR | 512..=516)",
        wrong: "matches!(res.saturating_neg(), libc::ECANCELED | 512..=516)",
    },
    Mutant {
        bug: "a cancel that came too late takes the result all the same",
        file: "src/executor/suspend.rs",
        right: "res < 0 && is_not_performed(res)",
        wrong: "res < 0 && is_not_performed(res) || task.has(mark::INTERRUPTED)",
    },
    Mutant {
        bug: "a completion is lost",
        file: "src/executor/run.rs",
        right: "self.wait_over(task, now); ready.push(task);",
        wrong: "if task.op.get() % 7 != 3 { self.wait_over(task, now); ready.push(task); }",
    },
    Mutant {
        bug: "tasks that are ready at once go to the level of the first",
        file: "src/sched/run_queue.rs",
        right: "self.finish(); self.level.set(level);",
        wrong: "if self.batch.get().is_none() { self.level.set(level); }",
    },
    Mutant {
        bug: "of tasks that are ready at once one is counted",
        file: "src/sched/run_queue.rs",
        right: "ready.pushed.set(ready.pushed.get().wrapping_add(self.count.take()));",
        wrong: "ready.pushed.set(ready.pushed.get().wrapping_add(1));",
    },
    Mutant {
        bug: "a cancel is forgotten once a call has returned it",
        file: "src/executor/scope.rs",
        right: "-interruption(task)",
        wrong: "{ let errno = -interruption(task); task.unmark(mark::ASKED); refresh(task); errno }",
    },
    Mutant {
        bug: "an operation for which there is no entry is dropped",
        file: "src/reactor/submit.rs",
        right: "unsafe { self.entry_queues[level as usize].push_back(record.link()) };",
        wrong: "if level != 2 { unsafe { self.entry_queues[level as usize].push_back(record.link()) }; }",
    },
    Mutant {
        bug: "the lowest I/O priority goes first",
        file: "src/reactor/submit.rs",
        right: "self.entry_queues.iter().find_map(|q| q.pop_front())",
        wrong: "self.entry_queues.iter().rev().find_map(|q| q.pop_front())",
    },
    Mutant {
        bug: "an operation goes before those that wait for an entry",
        file: "src/reactor/submit.rs",
        right: "self.later.get() == 0 && unsafe { self.kernel.try_push(&sqe) }",
        wrong: "unsafe { self.kernel.try_push(&sqe) }",
    },
    Mutant {
        bug: "the ring is not entered for completions that wait in it",
        file: "src/reactor/submit.rs",
        right: "pending == 0 && moved == 0 && !self.kernel.needs_enter()",
        wrong: "pending == 0 && moved == 0",
    },
    Mutant {
        bug: "EBUSY from the kernel fails the pass",
        file: "src/reactor/submit.rs",
        right: "self.kernel.enter(Wait::No)",
        wrong: "self.kernel.enter(Wait::No)
            .map_err(|e| if e.0 == libc::EBUSY { Errno(libc::EIO) } else { e })",
    },
    Mutant {
        bug: "a second cancel asks the kernel a second time",
        file: "src/reactor/cancel.rs",
        right: "!record.has(bit::ASKED)",
        wrong: "true",
    },
    Mutant {
        // 3,000 reads through two entries took 50 naps of a millisecond each.
        bug: "the executor naps between two bursts of submissions",
        file: "src/executor/run.rs",
        right: "!self.has_looked(boot_ns) && self.may_sleep()",
        wrong: "!self.has_looked(boot_ns)",
    },
    Mutant {
        bug: "the executor sleeps past its nearest sleeper",
        file: "src/executor/run.rs",
        right: "until.min(self.timers.next_ns().unwrap_or(u64::MAX))",
        wrong: "until",
    },
    Mutant {
        bug: "the executor sleeps past its caller's time-out",
        file: "src/executor/run.rs",
        right: "until.min(self.timers.next_ns().unwrap_or(u64::MAX))",
        wrong: "self.timers.next_ns().unwrap_or(u64::MAX)",
    },
    Mutant {
        bug: "the executor sleeps with mail in its box",
        file: "src/executor/run.rs",
        right: "self.has_mail_left()",
        wrong: "false",
    },
    Mutant {
        bug: "one look takes in what two should",
        file: "src/executor/budget.rs",
        right: "Budget { left: BUDGET, begun, ticks: self.look_ticks }",
        wrong: "Budget { left: 2 * BUDGET, begun, ticks: self.look_ticks }",
    },
    Mutant {
        bug: "a budget that is used up is as one that nobody has touched",
        file: "src/executor/budget.rs",
        right: "self.left == 0 || self.ticks != u64::MAX && late()",
        wrong: "self.ticks != u64::MAX && late()",
    },
    Mutant {
        bug: "what a look has left of the mail is forgotten",
        file: "src/executor/remote.rs",
        right: "self.mail_taken.set(!is_over)",
        wrong: "self.mail_taken.set(!self.walk.get().is_over())",
    },
    Mutant {
        bug: "what a look has left of those that are marked is forgotten",
        file: "src/executor/remote.rs",
        right: "turning.is_empty() && self.walk.get().is_over()",
        wrong: "turning.is_empty()",
    },
    Mutant {
        bug: "a time-out is told while mail is left over",
        file: "src/executor/run.rs",
        right: "if left_over { Ok(false) } else { Err(Errno(libc::ETIME)) }",
        wrong: "Err(Errno(libc::ETIME))",
    },
    Mutant {
        bug: "the executor sleeps on mail that it has begun to read",
        file: "src/executor/asleep.rs",
        right: "self.reactor.could_submit() || self.mail_taken.get() || self.has_woken_joins()",
        wrong: "self.reactor.could_submit() || self.has_woken_joins()",
    },
    Mutant {
        bug: "the mail is looked at only when nothing is ready",
        file: "src/executor/run.rs",
        right: "self.has_mail_left()",
        wrong: "self.ready.is_empty() && self.has_mail_left()",
    },
    Mutant {
        bug: "sleepers are looked at only when nothing is ready",
        file: "src/executor/run.rs",
        right: "!self.timers.is_empty()",
        wrong: "self.ready.is_empty() && !self.timers.is_empty()",
    },
    Mutant {
        bug: "completions that the kernel holds back are not fetched while others run",
        file: "src/executor/run.rs",
        right: "kernel.needs_enter()",
        wrong: "false",
    },
    Mutant {
        bug: "completions wait for 128 items",
        file: "src/executor/run.rs",
        right: "BOUND.min(budget - ran)",
        wrong: "(2 * BOUND).min(budget - ran)",
    },
    Mutant {
        bug: "one item too many runs",
        file: "src/executor/run.rs",
        right: "self.ready.len().max(few).min(max_items)",
        wrong: "self.ready.len().max(few).min(max_items.saturating_add(1))",
    },
    Mutant {
        bug: "what becomes ready in a pass runs in it",
        file: "src/executor/run.rs",
        right: "self.ready.len().max(few).min(max_items)",
        wrong: "max_items",
    },
    Mutant {
        // An error of the kernel's in mid-pass took the place of the number.
        bug: "how many items ran is lost in an error",
        file: "src/executor/run.rs",
        right: "if self.reactor.has_unsubmitted() { (now, _) = self.ask_kernel(now); }",
        wrong: "if self.reactor.has_unsubmitted() { let asked; (now, asked) = self.ask_kernel(now); if let Err(e) = asked { return (now, Err(e)); } }",
    },
    Mutant {
        bug: "a task that was suspended right before a launch is not counted",
        file: "src/executor/run.rs",
        right: "dec(&head.tasks_pending_launch); if one_more { inc(&head.tasks_suspended); }",
        wrong: "dec(&head.tasks_pending_launch);",
    },
    Mutant {
        bug: "a task that was suspended right before a resumption is not counted",
        file: "src/executor/run.rs",
        right: "!one_more",
        wrong: "true",
    },
    Mutant {
        bug: "the time of tasks is counted twice",
        file: "src/executor/run.rs",
        right: "add(total, now.wrapping_sub(begun));",
        wrong: "add(total, 2 * now.wrapping_sub(begun));",
    },
    Mutant {
        bug: "an operation that is done is not counted",
        file: "src/executor/run.rs",
        right: "add(&self.head.total_io_completed, ready.all());",
        wrong: "add(&self.head.total_io_completed, ready.all().min(1));",
    },
    Mutant {
        bug: "an operation that was cancelled is not counted as over",
        file: "src/executor/operations.rs",
        right: "if over { add(&self.head.total_io_completed, 1); }",
        wrong: "if over && record.outcome.get() != -libc::ECANCELED { add(&self.head.total_io_completed, 1); }",
    },
    Mutant {
        bug: "a cancelled launch runs",
        file: "src/executor/cancel.rs",
        right: "self.ready.remove(task); dec(&self.head.tasks_pending_launch);
            self.never_launch(task);",
        wrong: "",
    },
    Mutant {
        bug: "a cancelled operation is taken for over at once",
        file: "src/executor/cancel.rs",
        right: "self.reactor.cancel_inline(task); false",
        wrong: "self.reactor.cancel_inline(task); task.waits.set(Waits::Nothing); true",
    },
    Mutant {
        bug: "a task that was cancelled while it ran sleeps all the same",
        file: "src/executor/suspend.rs",
        right: "if task.has(mark::STOPS) { let stopped = self.stop(task); if stopped != 0 { return stopped; } } if ns != 0 { return self.sleep_for(task, ns); }",
        wrong: "if ns != 0 { return self.sleep_for(task, ns); }",
    },
    Mutant {
        bug: "run does not return when the last task was cancelled",
        file: "src/executor/cancel.rs",
        right: "if self.is_in_run() { self.woken.set(true); }",
        wrong: "",
    },
    Mutant {
        // It was taken out of a list that it was not in yet.
        bug: "a cancel that overtakes the launch is forgotten",
        file: "src/executor/remote.rs",
        right: "task.has(mark::ASKED)",
        wrong: "false",
    },
    Mutant {
        // The mail after the cancel was dealt with before the rest of the mail before it.
        bug: "a cancel by mail looks at newer mail",
        file: "src/executor/remote.rs",
        right: "self.cancel_here(task);",
        wrong: "while self.has_mail_left() { self.collect_mailbox(self.stamp()); }
            self.cancel_here(task);",
    },
    Mutant {
        bug: "a cancel by mail finds a later run of its task",
        file: "src/task/state.rs",
        right: "run == 0 || !self.is_run_attached_to(executor, run)",
        wrong: "run == 0 || !self.is_attached_to(executor)",
    },
    Mutant {
        bug: "a wake-up is forgotten",
        file: "src/executor/remote.rs",
        right: "taken.notified",
        wrong: "false",
    },
    Mutant {
        bug: "a sleeping executor is not woken for mail",
        file: "src/executor/mailbox.rs",
        right: "self.wake(); true",
        wrong: "true",
    },
    Mutant {
        bug: "the newest mail is read first",
        file: "src/intrusive/mpsc.rs",
        right: "(self.done, self.rest) = (entry.as_ptr(), older);",
        wrong: "link.next.set(older); if self.done.is_null() { self.done = entry.as_ptr(); } self.rest = older;",
    },
    Mutant {
        bug: "the lowest priority runs first",
        file: "src/sched/run_queue.rs",
        right: "occupied.trailing_zeros() as usize",
        wrong: "(occupied & 7).ilog2() as usize",
    },
    Mutant {
        bug: "a ready task keeps its place when its priority changes",
        file: "src/executor/attach.rs",
        right: "task.head.cpu.replace(cpu) != cpu",
        wrong: "task.head.cpu.replace(cpu) > 9",
    },
    Mutant {
        bug: "a task that waits for an entry keeps its place when its priority changes",
        file: "src/executor/attach.rs",
        right: "task.head.io.replace(io) != io",
        wrong: "task.head.io.replace(io) > 9",
    },
    Mutant {
        bug: "a sleep ends in half its time",
        file: "src/executor/suspend.rs",
        right: "self.boot_ns_of(now).saturating_add(ns)",
        wrong: "self.boot_ns_of(now).saturating_add(ns / 2)",
    },
    Mutant {
        bug: "a sleeper is woken early",
        file: "src/intrusive/timer_queue.rs",
        right: "first.as_ref().deadline_ns.get() > now_ns",
        wrong: "first.as_ref().deadline_ns.get() > now_ns + 500",
    },
    Mutant {
        bug: "a sleeper waits behind a later one",
        file: "src/intrusive/timer_queue.rs",
        right: "deadline_ns >= first_ns",
        wrong: "true",
    },
    Mutant {
        bug: "who is behind the sleeper that was woken is taken for the earliest",
        file: "src/intrusive/timer_queue.rs",
        right: "if next.deadline_ns.get() < self.others_ns.get() { self.first.set(Some(head)); } else { self.find_first(); }",
        wrong: "self.first.set(Some(head));",
    },
    Mutant {
        bug: "who is behind the sleeper that was taken out is taken for the earliest",
        file: "src/intrusive/timer_queue.rs",
        right: "if next.deadline_ns.get() < self.others_ns.get() { return self.first.set(Some(head)); }",
        wrong: "return self.first.set(Some(head));",
    },
    Mutant {
        bug: "a new head of a lane is not told to who looks at one lane alone",
        file: "src/intrusive/timer_queue.rs",
        right: "self.others_ns.set(self.others_ns.get().min(deadline_ns));",
        wrong: "",
    },
    Mutant {
        bug: "a task that was cancelled yields all the same",
        file: "src/executor/next.rs",
        right: "!task.has(mark::STOPS)",
        wrong: "true",
    },
    Mutant {
        bug: "a yield goes on behind the number of items that was asked for",
        file: "src/executor/next.rs",
        right: "!self.next.is_over(self.ready.popped())",
        wrong: "true",
    },
    Mutant {
        bug: "what is due waits for the next look",
        file: "src/executor/due.rs",
        right: "self.timers.prefetch();",
        wrong: "if self.ready.len() > 1 { match due { Due::Task(task) => self.make_ready(task, now), Due::Other(timer) => self.deadline_passed(unsafe { Scope::from_timer(timer) }), } return now; }",
    },
    Mutant {
        bug: "who joins gets the result of nobody",
        file: "src/executor/join.rs",
        right: "self.result.set(result); self.has_result.set(true);",
        wrong: "self.has_result.set(true);",
    },
    Mutant {
        bug: "a joiner on another executor is not told",
        file: "src/executor/join.rs",
        right: "unsafe { home.post_pinned(record.link(), kind::JOINED) }",
        wrong: "true",
    },
    Mutant {
        bug: "a join that a deadline ends says ECANCELED",
        file: "src/executor/join.rs",
        right: "record.canceled.get()",
        wrong: "false",
    },
    Mutant {
        bug: "an executor is destroyed under its tasks",
        file: "src/executor/shutdown.rs",
        right: "if self.has_work() { return Err((self, Errno(libc::EBUSY))); }",
        wrong: "",
    },
    Mutant {
        bug: "the ring is closed on cancel requests",
        file: "src/executor/shutdown.rs",
        right: "self.settle();",
        wrong: "",
    },
    Mutant {
        bug: "cancel_all does not look at the mail",
        file: "src/executor/shutdown.rs",
        right: "if !self.has_work() { return; }",
        wrong: "if self.attached() == 0 { return; }",
    },
    Mutant {
        bug: "cancel_all leaves out who sleeps",
        file: "src/executor/shutdown.rs",
        right: "let _ = self.cancel(task);",
        wrong: "if task.waits.get() != crate::task::header::Waits::Deadline {
            let _ = self.cancel(task);
        }",
    },
    Mutant {
        bug: "the next owner of a mailbox is not woken",
        file: "src/executor/mailbox.rs",
        right: "mailbox.eventfd.store(waker.eventfd, Ordering::Release);",
        wrong: "",
    },
    Mutant {
        bug: "a message that an executor which is gone refused is waited for",
        file: "src/executor/join.rs",
        right: "unsafe { record.post_unjoin() }",
        wrong: "let _ = unsafe { record.post_unjoin() }; true",
    },
    Mutant {
        bug: "who joins goes on while a message of its is on its way",
        file: "src/executor/join.rs",
        right: "record.owed.get() != 0",
        wrong: "record.owed.get() > 1",
    },
    Mutant {
        bug: "a join by mail finds a later run of its task",
        file: "src/executor/join.rs",
        right: "state.is_run_attached_to(self.address(), run)",
        wrong: "state.is_attached_to(self.address())",
    },
    Mutant {
        bug: "time asleep is counted twice",
        file: "src/executor/run.rs",
        right: "add(&self.head.total_ticks_sleeping, woke.wrapping_sub(now));",
        wrong: "add(&self.head.total_ticks_sleeping, 2 * woke.wrapping_sub(now));",
    },
];
