//! More bugs that are planted: one or more for each rule of cancels, scopes, operations and parks.

use crate::list::Mutant;

pub const RULES: &[Mutant] = &[
    Mutant {
        bug: "a record is over when its first completion comes",
        file: "src/reactor/reap.rs",
        right: "cqe.flags & cqe::MORE != 0",
        wrong: "false",
    },
    Mutant {
        bug: "an errno that the kernel keeps to itself leaves",
        file: "src/reactor/operation.rs",
        right: "matches!(res.saturating_neg(), libc::ECANCELED | libc::EINTR | 512..=516)",
        wrong: "matches!(res.saturating_neg(), libc::ECANCELED | libc::EINTR)",
    },
    Mutant {
        bug: "uncancel does not take effect",
        file: "src/executor/scope.rs",
        right: "task.unmark(mark::ASKED); refresh(task); asked",
        wrong: "task.unmark(mark::ASKED); asked",
    },
    Mutant {
        bug: "the innermost level decides",
        file: "src/executor/scope.rs",
        right: "if scope.fired.get() != 0 { errno = scope.fired.get(); }",
        wrong: "if scope.fired.get() != 0 && errno == 0 { errno = scope.fired.get(); }",
    },
    Mutant {
        bug: "a shield keeps nothing off",
        file: "src/executor/scope.rs",
        right: "if scope.shields.get() { return errno; }",
        wrong: "",
    },
    Mutant {
        bug: "a shield keeps its own deadline off",
        file: "src/executor/scope.rs",
        right: "if scope.fired.get() != 0 { errno = scope.fired.get(); }",
        wrong: "if scope.fired.get() != 0 && !scope.shields.get() { errno = scope.fired.get(); }",
    },
    Mutant {
        bug: "a cancel from outside is taken for a time-out",
        file: "src/executor/scope.rs",
        right: "if task.has(mark::ASKED) { libc::ECANCELED } else { errno }",
        wrong: "if errno == 0 && task.has(mark::ASKED) { libc::ECANCELED } else { errno }",
    },
    Mutant {
        bug: "a scope that its deadline fired is cancelled",
        file: "src/executor/scope.rs",
        right: "unsafe { scope.as_ref() }.ok_or(Errno(libc::EINVAL))?",
        wrong: "{ let scope = unsafe { scope.as_ref() }.ok_or(Errno(libc::EINVAL))?; scope.fired.set(0); scope }",
    },
    Mutant {
        bug: "a deadline is taken for a cancel",
        file: "src/executor/scope.rs",
        right: "self.fire(task, scope, libc::ETIME);",
        wrong: "self.fire(task, scope, libc::ECANCELED);",
    },
    Mutant {
        bug: "of several deadlines the innermost is armed",
        file: "src/executor/scope.rs",
        right: "for scope in scopes(task) { if scope.unarmed.take() { has_fired |= !self.arm(scope, now); } }",
        wrong: "for scope in scopes(task).take(1) { if scope.unarmed.take() { has_fired |= !self.arm(scope, now); } }",
    },
    Mutant {
        bug: "a deadline is early by what the counter may be wrong",
        file: "src/executor/scope.rs",
        right: "passed_ns - passed_ns / 512",
        wrong: "passed_ns",
    },
    Mutant {
        bug: "a deadline that has passed suspends",
        file: "src/executor/scope.rs",
        right: "if left_ns == 0 { scope.fired.set(libc::ETIME); return false; }",
        wrong: "",
    },
    Mutant {
        bug: "a deadline that has passed is noticed by the suspension after the next",
        file: "src/executor/scope.rs",
        right: "if has_fired { refresh(task); }",
        wrong: "",
    },
    Mutant {
        bug: "what a scope did lasts when it is left",
        file: "src/executor/scope.rs",
        right: "if task.has(mark::INTERRUPTED) || scope.shields.get() { refresh(task); } else if scope.outer.get().is_null() { task.unmark(mark::UNARMED | mark::SCOPED); }",
        wrong: "",
    },
    Mutant {
        bug: "an outer scope has no deadline any more when an inner one is left",
        file: "src/executor/scope.rs",
        right: "if task.has(mark::INTERRUPTED) || scope.shields.get() { refresh(task); } else if scope.outer.get().is_null() { task.unmark(mark::UNARMED | mark::SCOPED); }",
        wrong: "if task.has(mark::INTERRUPTED) || scope.shields.get() { refresh(task); } else { task.unmark(mark::UNARMED | mark::SCOPED); }",
    },
    Mutant {
        bug: "a shield is noticed late",
        file: "src/executor/scope.rs",
        right: "if shields { refresh(task); } else { task.mark(if timed { mark::SCOPED | mark::UNARMED } else { mark::SCOPED }); }",
        wrong: "task.mark(if timed { mark::SCOPED | mark::UNARMED } else { mark::SCOPED });",
    },
    Mutant {
        bug: "any scope may be left",
        file: "src/executor/scope.rs",
        right: "scope.is_null() || task.scope.get() != scope.cast()",
        wrong: "scope.is_null()",
    },
    Mutant {
        bug: "the operation after one that was cancelled cannot be",
        file: "src/executor/scope.rs",
        right: "task.unmark(mark::OPERATION_ASKED);",
        wrong: "",
    },
    Mutant {
        bug: "a scope left open is no mistake",
        file: "src/executor/end.rs",
        right: "task.set_result(RawResult::failure(Errno(libc::EINVAL)));",
        wrong: "",
    },
    Mutant {
        bug: "an exit does not wait for operations",
        file: "src/executor/end.rs",
        right: "task.has(mark::OPERATIONS) && self.close_operations(task)",
        wrong: "task.has(mark::OPERATIONS) && self.close_operations(task) && false",
    },
    Mutant {
        bug: "an exit does not cancel operations",
        file: "src/executor/operations.rs",
        right: "if self.reactor.cancel_record(record) { add(&self.head.total_io_completed, 1); }",
        wrong: "if record.state.get() == State::Queued && self.reactor.cancel_record(record) { add(&self.head.total_io_completed, 1); }",
    },
    Mutant {
        bug: "run does not return when the last task's operations have ended",
        file: "src/executor/end.rs",
        right: "if self.is_in_run() { self.woken.set(true); }",
        wrong: "",
    },
    Mutant {
        bug: "two unparks end two parks",
        file: "src/executor/park.rs",
        right: "task.park.take_any();",
        wrong: "",
    },

    Mutant {
        bug: "a park that was cancelled takes a permit",
        file: "src/executor/park.rs",
        right: "task.outcome.get() == 0",
        wrong: "true",
    },
    Mutant {
        bug: "a cancel ends a park that an unpark has ended",
        file: "src/executor/park.rs",
        right: "task.park.disarm(task.peer.get() as usize)",
        wrong: "task.park.disarm(task.peer.get() as usize) || true",
    },
    Mutant {
        bug: "a cancelled task parks",
        file: "src/executor/park.rs",
        right: "if task.has(mark::STOPS) { let stopped = self.stop(task); if stopped != 0 { return stopped; } }",
        wrong: "",
    },
    Mutant {
        bug: "an unpark from elsewhere is lost",
        file: "src/executor/remote.rs",
        right: "self.unparked(ParkRecord::task_of(link))",
        wrong: "()",
    },
    Mutant {
        bug: "a wait takes a completion though its task is cancelled",
        file: "src/executor/operations.rs",
        right: "if task.has(mark::STOPS) { let stopped = self.stop(task); if stopped != 0 { return stopped; } }",
        wrong: "",
    },
    Mutant {
        bug: "of a poll's events the last are told",
        file: "src/reactor/operation.rs",
        right: "self.outcome.get() | res",
        wrong: "res",
    },
    Mutant {
        bug: "the flags are another completion's",
        file: "src/reactor/operation.rs",
        right: "self.cqe_flags.set(flags);",
        wrong: "",
    },
    Mutant {
        bug: "a wait that is cancelled cancels its operation",
        file: "src/executor/operations.rs",
        right: "record.has(bit::INTERNAL)",
        wrong: "true",
    },
    Mutant {
        bug: "a wait is ended by another operation",
        file: "src/executor/operations.rs",
        right: "task.peer.get().is_null() || ptr::eq(task.peer.get().cast(), record)",
        wrong: "true",
    },
    Mutant {
        bug: "what is over is cancelled after all",
        file: "src/reactor/cancel.rs",
        right: "record.has(bit::CANCEL_QUEUED)",
        wrong: "false",
    },
    Mutant {
        bug: "what nobody cancelled is given back",
        file: "src/reactor/reap.rs",
        right: "is_not_performed(res) && !record.has(bit::ASKED) && record.retries.get() < RETRIES_MAX",
        wrong: "false",
    },
    Mutant {
        bug: "what was cancelled is begun again",
        file: "src/reactor/reap.rs",
        right: "is_not_performed(res) && !record.has(bit::ASKED) && record.retries.get() < RETRIES_MAX",
        wrong: "is_not_performed(res) && record.retries.get() < RETRIES_MAX",
    },
    Mutant {
        bug: "the kernel is asked for ever",
        file: "src/reactor/reap.rs",
        right: "is_not_performed(res) && !record.has(bit::ASKED) && record.retries.get() < RETRIES_MAX",
        wrong: "is_not_performed(res) && !record.has(bit::ASKED)",
    },
    Mutant {
        bug: "a call that was cancelled begins its operation again",
        file: "src/executor/suspend.rs",
        right: "if task.has(mark::INTERRUPTED) { return -scope::interruption(task); }",
        wrong: "",
    },
    Mutant {
        bug: "an operation record goes before those that wait for an entry",
        file: "src/reactor/submit.rs",
        right: "self.later.get() == 0 && self.push_record(record, sqe, task)",
        wrong: "self.push_record(record, sqe, task)",
    },
    Mutant {
        bug: "an error is a plain completion",
        file: "src/reactor/reap.rs",
        right: "!record.is_plain(State::Kernel) || flagged | (cqe.res as u32 & SIGN) != 0",
        wrong: "!record.is_plain(State::Kernel) || flagged != 0",
    },
    Mutant {
        bug: "what becomes of a stream is a plain completion",
        file: "src/reactor/reap.rs",
        right: "!record.is_plain(State::Kernel) || flagged | (cqe.res as u32 & SIGN) != 0",
        wrong: "record.state.get() != State::Kernel || cqe.res < 0",
    },
    Mutant {
        bug: "any completion is a task's",
        file: "src/reactor/reap.rs",
        right: "!(waits && ours)",
        wrong: "!waits",
    },
    Mutant {
        bug: "any completion is a record's",
        file: "src/reactor/mod.rs",
        right: "address.wrapping_sub(1) >= ADDRESS_MASK",
        wrong: "false",
    },
    Mutant {
        bug: "beyond 64 requests to cancel the rest is forgotten",
        file: "src/executor/remote.rs",
        right: "!all",
        wrong: "false",
    },
    Mutant {
        bug: "a pass that runs nothing submits nothing",
        file: "src/executor/run.rs",
        right: "if max_items == 0 { return self.leave_run(now, Ok(0)); }",
        wrong: "if max_items == 0 { return (now, Ok(0)); }",
    },
    Mutant {
        bug: "a pass that ran leaves operations behind",
        file: "src/executor/run.rs",
        right: "self.leave_run(now, Ok(ran))",
        wrong: "(now, Ok(ran))",
    },
    Mutant {
        bug: "a look is due by the number of items alone",
        file: "src/executor/run.rs",
        right: "now.wrapping_sub(begun) < self.look_ticks",
        wrong: "true",
    },
    Mutant {
        bug: "a later joiner gets the result of nobody",
        file: "src/executor/join.rs",
        right: "if !self.has_result.replace(true) { self.result.set(result); }",
        wrong: "self.has_result.set(true);",
    },
    Mutant {
        bug: "the result of a later run is given to who joined an earlier",
        file: "src/task/state.rs",
        right: "(last == run).then_some(result)",
        wrong: "Some(result)",
    },
    Mutant {
        bug: "two tasks join each other for ever",
        file: "src/executor/join.rs",
        right: "self.would_wait_for_ever(task, other)",
        wrong: "false",
    },
    Mutant {
        bug: "wait_any gives the second",
        file: "src/executor/operations.rs",
        right: "task.completed.front().ok_or(ENOENT)?",
        wrong: "{
            let first = task.completed.front().ok_or(ENOENT)?;
            unsafe { task.completed.after(first) }.unwrap_or(first)
        }",
    },
    Mutant {
        bug: "an executor that is idle is not destroyed",
        file: "src/executor/shutdown.rs",
        right: "if self.has_work() {
            return Err((self, Errno(libc::EBUSY)));
        }",
        wrong: "return Err((self, Errno(libc::EBUSY)));",
    },
    Mutant {
        bug: "a small number answers a cancel request",
        file: "src/reactor/reap.rs",
        right: "self.is_request(cqe.user_data)",
        wrong: "true",
    },
];
