//! Bugs that are planted into a pool of several workers and into what blocks on helpers, one or more
//! for each rule. The random programs of tests/sim/sync/crew must notice.

use crate::list::{of, Mutant};

const QUEUE: &str = "src/executor/queue.rs";
const ENDS: &str = "src/executor/queue_ends.rs";
const LEFT: &str = "src/executor/queue_left.rs";
const MANY: &str = "src/executor/queue_many.rs";
const REST: &str = "src/executor/queue_rest.rs";
const POSTS: &str = "src/executor/queue_jobs.rs";
const JOBS: &str = "src/executor/jobs.rs";
const HANDS: &str = "src/executor/hands.rs";
const ASLEEP: &str = "src/executor/asleep.rs";
const ROUSE: &str = "src/executor/rouse.rs";
const FEED: &str = "src/executor/feed.rs";
const PARK: &str = "src/executor/park.rs";
const API: &str = "src/api.rs";
const GRANT: &str = "src/executor/grant.rs";
const HELPERS: &str = "src/pool/helpers.rs";
const BLOCKING: &str = "src/pool/blocking.rs";
const JOIN: &str = "src/executor/join.rs";
const RING: &str = "src/task/joins.rs";

/// One a line: the file, the bug, what is right, what is wrong.
#[rustfmt::skip]
pub const CREW: &[Mutant] = &[
    // Priority is strict across workers.
    of(QUEUE, "a low priority begins before a high one, on any worker", "(u32::from(self.levels.occupied()) | 1 << NO_LEVEL).trailing_zeros() as u8", "self.levels.occupied().checked_ilog2().map_or(NO_LEVEL, |level| level as u8)"),
    of(FEED, "what is ready on a worker goes before a higher priority that waits", "new < ready || (takes_turns && new != NO_LEVEL)", "ready == NO_LEVEL && new != NO_LEVEL"),
    of(FEED, "what waits goes before a higher priority that is ready", "new < ready || (takes_turns && new != NO_LEVEL)", "new != NO_LEVEL"),
    of(JOBS, "what was posted begins after the tasks that came later", "!has_jobs || ahead(self.jobs[level as usize].number())", "true"),
    // One is woken at a time, as long as there is need.
    of(QUEUE, "two are woken for one task", "self.note(&state); let woken = state.wake_one_for(task.addr()); drop(state); woken.wake(); Ok(())", "self.note(&state); let woken = state.wake_one_for(task.addr()); state.waking = ptr::null(); let more = state.wake_one(); drop(state); woken.wake(); more.wake(); Ok(())"),
    of(MANY, "nobody is woken for several tasks that come at once", "let woken = state.wake_one_for(first); drop(state); woken.wake(); put += part.len;", "drop(state); put += part.len;"),
    of(POSTS, "nobody is woken for what is posted", "let woken = state.wake_one_for(newest); drop(state); woken.wake(); return Ok(());", "drop(state); return Ok(());"),
    of(REST, "while one is on its way another is woken", "self.waking.is_null() && self.queued != 0", "self.queued != 0"),
    of(REST, "one is woken for nothing", "self.waking.is_null() && self.queued != 0", "self.waking.is_null()"),
    of(REST, "nobody notes who was woken", "mailbox.is_idle.store(false, Relaxed); self.waking = mailbox;", "mailbox.is_idle.store(false, Relaxed);"),
    of(REST, "who has looked is waited for", "if ptr::eq(self.waking, seat.mailbox) { self.waking = ptr::null(); }", ""),
    of(REST, "who wakes for something of its own leaves what waits", "if begins { Woken(None) } else { state.wake_one() }", "Woken(None)"),
    of(ASLEEP, "a worker with a sleeper naps past its time", "self.has_nothing_else() && !(self.woken.get() || self.hungry.get() != 0 || self.watches(by::ITEMS))", "!(self.woken.get() || self.hungry.get() != 0 || self.watches(by::ITEMS))"),
    of(FEED, "who was woken and cannot go on keeps that to itself, among several", "if slept.is_ok() { self.ready.level() } else { 0 }", "self.ready.level()"),
    // Fewer workers, and the end of all.
    of(QUEUE, "who was dismissed begins tasks", "self.leaves.load(Relaxed)", "false"),
    of(REST, "who was dismissed sleeps on", "self.pass_on(seat); seat.wake();", "self.pass_on(seat);"),
    of(REST, "a drain has no end", "if state.drains { seat.leaves.store(true, Relaxed); return false; }", ""),
    of(FEED, "a worker that leaves does not wait for what it has begun", "is_over || !seat.queue().rest(seat)", "seat.is_leaving() || !seat.queue().rest(seat)"),
    of(QUEUE, "a drain loses a task", "state.closed = true; state.drains |= drains;", "state.closed = true; state.drains |= drains; if drains { let _ = state.pop(NO_LEVEL, None); self.note(&state); }"),
    of(QUEUE, "a drain keeps the queue open", "state.closed = true; state.drains |= drains;", "state.closed = !drains; state.drains |= drains;"),
    of(ENDS, "what is handed back first is all", "state.pop(NO_LEVEL, Some(&mut job))", "if count == 1 { None } else { state.pop(NO_LEVEL, Some(&mut job)) }"),
    of(ENDS, "what is handed back is not counted", "count += 1;", ""),
    of(ENDS, "what is handed back is so twice", "Ok(self.end(&mut state, task))", "{ let ended = self.end(&mut state, task); if count == 0 { state.push(task); } Ok(ended) }"),
    of(ENDS, "what was posted is handed back to nobody", "job.give_back()", "drop(job)"),
    of(HANDS, "nobody is told of the end of what was posted", "unsafe { on_exit(task.as_head(), result) };", ""),
    // A wait until so few are left.
    of(LEFT, "a wait is over when fewer are left", "first.is_some_and(|most| most <= deadline(left[what]))", "first.is_some_and(|most| most < deadline(left[what]))"),
    of(LEFT, "a wait is over one too early", "state.left()[what as usize] <= at_most", "state.left()[what as usize] <= at_most + 1"),
    of(LEFT, "who was cancelled is told that few are left", "wait.left.claim()", "{ let _ = wait.left.claim(); true }"),
    of(LEFT, "who was cancelled is listed for good", "unsafe { state.waits[what as usize].remove(wait.node()) };", ""),
    of(LEFT, "what has begun counts as over", "[self.queued, self.queued + self.begun, self.workers]", "[self.queued, self.queued, self.workers]"),
    of(LEFT, "what ends on a worker is not counted", "state.begun -= count;", ""),
    of(ENDS, "a cancel in the queue ends no wait", "satisfied.append(ended.waiters.take_all()); drop(state); ended.tell(); wake_all(&satisfied); true", "let leavers = ended.waiters.take_all(); satisfied.take_all(); satisfied.append(leavers); drop(state); ended.tell(); wake_all(&satisfied); true"),
    // Permits from other workers.
    of(API, "a permit from another worker wakes nobody", "parked.is_here()", "true"),
    of(PARK, "the permit that ended a park in a scope is there for the next, too", "if task.head.outcome.get() == 0 { task.permit().take_any(); }", ""),
    // Waking who was taken out of those who sleep.
    of(ROUSE, "a worker that sleeps in its ring is not woken", "self.mailbox.wake();", ""),
    of(JOBS, "a priority that has no task left counts, after a cancel", "tasks.remove(task); if tasks.is_empty() { clear(&self.with_tasks, level); }", "tasks.remove(task);"),
    of(JOBS, "a priority that has no task left counts", "if tasks.is_empty() { clear(&self.with_tasks, level); } return task.map(Next::Task);", "return task.map(Next::Task);"),
    of(JOBS, "a priority that has no job left counts", "if jobs.is_empty() { clear(&self.with_jobs, level); }", ""),
    // Joins, on one worker and across.
    of(RING, "a ring of joins across workers is refused to nobody", "joined.task() == me", "false"),
    of(JOIN, "a ring of joins on one worker is refused to nobody", "other.waits.get() == Waits::Join && !self.may_join(task, other, joined)", "false"),
    of(JOIN, "a join that comes from another worker finds no run", "state.is_run_attached_to(self.address(), run)", "false"),
    of(JOIN, "who joins another worker's task goes on before all that it sent is back", "record.owed.get() != 0", "false"),
    of(JOIN, "a cancel of a join of another worker's task is not answered", "if self.is_registered(record) { self.unregister(record); answer(record, RawResult::failure(ECANCELED), true); }", ""),
    of(JOIN, "a join of another worker's task is out of time, and says cancelled", "if reason != 0 { reason } else { ECANCELED.0 }", "ECANCELED.0"),
    of(JOIN, "a join on one worker that is cancelled is listed for good", "self.unregister(record); task.waits.set(Waits::Nothing); true", "task.waits.set(Waits::Nothing); true"),
    of(JOIN, "a join of another worker's task brings nothing", "record.result.set(result); record.canceled.set(canceled);", "record.canceled.set(canceled);"),
    // Functions on helpers.
    of(HELPERS, "a function of a low priority begins first", "self.jobs.iter().find(|level| !level.is_empty())", "self.jobs.iter().rev().find(|level| !level.is_empty())"),
    of(HELPERS, "one helper does it all", "waits && self.idle.is_none() && self.helpers < self.helpers_max", "waits && self.helpers == 0"),
    of(HELPERS, "helpers that are too many stay", "state.helpers <= state.helpers_max", "true"),
    of(HELPERS, "a helper that sleeps is not woken", "if let Some(idle) = idle { idle.wake(); }", ""),
    of(HELPERS, "a helper that looked and sleeps now is taken for one that looks", "self.word.swap(OUT, Release) == SLEEPS", "self.word.swap(OUT, Release) == LOOKS"),
    of(HELPERS, "a call that was withdrawn stays in the queue", "unsafe { self.jobs[level as usize].remove(at.cast()) };", ""),
    of(BLOCKING, "the function of who was cancelled begins", "unsafe { job.cast::<Call>().as_ref() }.wait.claim()", "{ let _ = unsafe { job.cast::<Call>().as_ref() }.wait.claim(); true }"),
    of(BLOCKING, "the result of a function is lost", "call.result.set(result);", ""),
    of(BLOCKING, "who was cancelled leaves its call in the queue", "WORK.withdraw(job, level, |_| {});", ""),
    of(BLOCKING, "the result of a function is given twice", "unsafe { (call.wake)(&call.wait) };", "{ let wait = NonNull::from(&call.wait); unsafe { (call.wake)(wait.as_ref()); (call.wake)(wait.as_ref()); } }"),
    of(BLOCKING, "who waits goes on before the function returns", "unsafe { (call.function)(call.argument) }", "{ finish(call, RawResult::success(0)); return unsafe { (call.function)(call.argument) }.error == 0; }"),
    of(GRANT, "who is cancelled does not wait for its function", "Self::wait_of(task).is_some_and(Wait::cancel)", "{ let _ = Self::wait_of(task).map(Wait::cancel); true }"),
];
