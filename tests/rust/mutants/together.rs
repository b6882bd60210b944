//! Bugs that are planted into what tasks wait for of each other, one or more for each rule. The random
//! programs of tests/sim/sync must notice.

use crate::list::{of, Mutant};

const WAITERS: &str = "src/sync/waiters.rs";
const MUTEX: &str = "src/sync/mutex.rs";
const CONDITION: &str = "src/sync/condition.rs";
const SEMAPHORE: &str = "src/sync/semaphore.rs";
const EVENT: &str = "src/sync/event.rs";
const BARRIER: &str = "src/sync/barrier.rs";
const LOCK: &str = "src/sync/rw_lock.rs";
const GROUP: &str = "src/sync/wait_group.rs";
const CHANNEL: &str = "src/sync/channel.rs";
const HERE: &str = "src/sync/transfer_here.rs";
const SELECT: &str = "src/sync/select.rs";
const WAIT: &str = "src/executor/cancel.rs";
const BARE: &str = "src/executor/bare.rs";
const OPERATIONS: &str = "src/executor/operations.rs";
const GRANT: &str = "src/executor/grant.rs";
const TEAM: &str = "src/sync/group.rs";
const HOOK: &str = "src/executor/exit.rs";
const EXIT: &str = "src/executor/join.rs";
const JOIN: &str = "src/executor/join_case.rs";
const NEXT: &str = "src/executor/next.rs";
const PARK: &str = "src/executor/park.rs";
const ELSEWHERE: &str = "src/executor/join_elsewhere.rs";
const PLAIN: &str = "src/reactor/plain.rs";
const CANCEL: &str = "src/reactor/cancel.rs";
const QUEUE: &str = "src/executor/queue.rs";
const ENDS: &str = "src/executor/queue_ends.rs";
const LEFT: &str = "src/executor/queue_left.rs";
const FEED: &str = "src/executor/feed.rs";

/// One a line: the file, the bug, what is right, what is wrong.
#[rustfmt::skip]
pub const TOGETHER: &[Mutant] = &[
    of(WAITERS, "waiters are served in order alone", "wait.level()", "1"),
    of(WAITERS, "who was cancelled is served", "self.has(is::CLAIMED) || self.wait().claim()", "true"),
    of(WAITERS, "who was notified is claimed twice", "self.has(is::CLAIMED) || self.wait().claim()", "self.wait().claim()"),
    of(WAITERS, "a grant does not say of which case", "self.wait().index.set(self.index);", ""),
    of(WAITERS, "who was cancelled is served by its own thread", "(is_mine && task.waits.get() == Waits::Grant).then_some(task)", "is_mine.then_some(task)"),
    of(WAITERS, "who was cancelled in a select is served by its own thread", "wait.claim_here()", "wait.task()"),
    of(WAITERS, "a grant of its own thread does not say of which case", "wait.index.set(node.index);", ""),
    of(MUTEX, "a mutex is locked twice", "self.owner() == waiter.caller().identity()", "false"),
    of(MUTEX, "anybody unlocks", "*self.owner.as_ptr() != caller.identity()", "false"),
    of(MUTEX, "an unlock hands over to nobody", "self.set_owner(next.map_or(0, |node| identity(node.wait(), node)));", "self.set_owner(0);"),
    of(MUTEX, "an unlock of a local mutex hands over to nobody", "self.set_owner(task.addr());", "self.set_owner(0);"),
    of(MUTEX, "who tries has another's mutex", "let locked = self.owner() == 0; if locked { self.set_owner(caller.identity()); } self.side.open(); locked", "self.set_owner(caller.identity()); self.side.open(); true"),
    of(CONDITION, "who is notified has the mutex at once", "unsafe { &*place.mutex }.hand_to(here, &place.node, &mut woken)?;", "woken.add(place.node.wait());"),
    of(CONDITION, "a wait that has ended does not lock again", "mutex.lock_for_sure(caller);", ""),
    of(CONDITION, "one notification is for all", "0..count", "0..usize::MAX"),
    of(SEMAPHORE, "who wants few passes who wants many", "self.permits.get() >= count && nobody_waits()", "self.permits.get() >= count"),
    of(SEMAPHORE, "who comes before all who wait waits for them", "level < first()", "first() == NOBODY"),
    of(SEMAPHORE, "who comes behind others of its level passes them", "level < first()", "level <= first()"),
    of(SEMAPHORE, "whoever comes for permits is of normal priority", "task.map_or(NORMAL, TaskRef::cpu_level) as usize", "{ let _ = task; NORMAL as usize }"),
    of(SEMAPHORE, "permits are given and kept", "self.permits.set(self.permits.get() - count); woken.add(node.wait());", "woken.add(node.wait());"),
    of(SEMAPHORE, "more is given than there is", "node.data.get() as u64 == count", "true"),
    of(SEMAPHORE, "a release of its own thread serves one", "self.permits.get() == 0", "true"),
    of(SEMAPHORE, "a release to several serves nobody", "self.serve(&mut woken); self.side.open(); woken.wake::<K>(); RawResult::success_by_call()", "self.side.open(); woken.wake::<K>(); RawResult::success_by_call()"),
    of(SEMAPHORE, "a release serves nobody", "self.waiters.claim_here(home, wanted)", "{ let _ = (home, wanted); First::Nobody }"),
    of(SEMAPHORE, "who tries passes who waits", "let taken = self.take(count, PRIORITIES); self.side.open(); taken", "let taken = self.permits.get() >= count; if taken { self.permits.set(self.permits.get() - count); } self.side.open(); taken"),
    of(EVENT, "a reset does nothing", "self.is_set.replace(false)", "self.is_set.get()"),
    of(EVENT, "a set wakes nobody", "self.waiters.claim_all(&mut woken);", ""),
    of(BARRIER, "who leaves still counts", "self.waiting.set(self.waiting.get() - 1);", ""),
    of(BARRIER, "who met and was cancelled is told that it left", "self.waiters.remove(&node)", "{ self.waiters.remove(&node); true }"),
    of(BARRIER, "a barrier serves once", "self.waiting.set(0);", ""),
    of(LOCK, "readers pass a writer", "self.writer.get() == 0 && self.to_write.first().is_none()", "self.writer.get() == 0"),
    of(LOCK, "no writer after readers", "(before == Read || writes < reads)", "(writes < reads)"),
    of(LOCK, "a writer's priority does not count", "(before == Read || writes < reads)", "(before == Read)"),
    of(LOCK, "who keeps readers waiting and leaves still does", "self.serve(Write, &mut woken);", ""),
    of(LOCK, "who tries to read passes a writer that waits", "let taken = self.take(access, caller.identity()); self.side.open(); taken", "let taken = if access == Read { let free = self.writer.get() == 0; if free { self.readers.set(self.readers.get() + 1); } free } else { self.take(access, caller.identity()) }; self.side.open(); taken"),
    of(LOCK, "anybody ends a write", "self.writer.get() == caller.identity()", "true"),
    of(GROUP, "a wait group is done too early", "left == 0", "left <= 1"),
    of(CHANNEL, "a channel that is closed takes more", "if self.is_closed() { return Attempt::Closed; }", ""),
    of(CHANNEL, "who waits when it is closed is told that all went well", "node.refuse(EPIPE);", ""),
    of(CHANNEL, "an element is not counted", "self.sending.advance(self.capacity.get());", ""),
    of(CHANNEL, "an element is received twice", "self.receiving.advance(self.capacity.get());", ""),
    of(CHANNEL, "who receives is passed", "self.receivers.claim()", "None::<&Node>"),
    of(HERE, "a local channel that is closed takes more", "if this.is_closed() { this.side.open(); return RawResult::failure_by_call(EPIPE); }", ""),
    of(HERE, "who receives from a local channel is passed", "other.claim_here((!S::IS_LOCAL).then_some(free.home()), |_| true)", "if is_sent { First::Nobody } else { other.claim_here((!S::IS_LOCAL).then_some(free.home()), |_| true) }"),
    of(HERE, "an element stays with a sender that waits at a local channel", "if is_sent { (at, element) } else { (element, at) }", "if is_sent { (at, element) } else { (element, element) }"),
    of(HERE, "a sender that waits at a local channel is passed", "!this.senders.is_empty()", "false"),
    of(SELECT, "a case that lost stays", "channel.dequeue(way, node);", ""),
    of(SELECT, "a case of a closed channel says that all went well", "if refused { RawResult::failure(EPIPE) } else { result }", "result"),
    of(HERE, "who is cancelled while it waits at a channel without a frame stays in the queue", "(*channel.cast::<Channel<S>>()).withdraw(caller, direction, node, e)", "(*channel.cast::<Channel<S>>()).withdraw(caller, direction.other(), node, e)"),
    of(WAITERS, "who waits without a frame is in no queue", "is::QUEUED | is::IN_HEADER", "is::IN_HEADER"),
    of(MUTEX, "a local mutex is locked twice", "owner == identity", "false"),
    of(MUTEX, "who waits without a frame has a mutex that it was not given", "(*mutex.cast::<Mutex<S>>()).withdraw(caller, node, e)", "{ (*mutex.cast::<Mutex<S>>()).withdraw(caller, node, e); RawResult::success(0) }"),
    of(SEMAPHORE, "who waits without a frame has a permit that it was not given", "(*semaphore.cast::<Semaphore<S>>()).withdraw(caller, node, e)", "{ (*semaphore.cast::<Semaphore<S>>()).withdraw(caller, node, e); RawResult::success(0) }"),
    of(BARE, "the record of a wait without a frame stays as it was", "(&raw mut (*at.as_ptr()).word).write(Grant::armed());", ""),
    of(BARE, "what a task without a record waits for is what it waited for before", "(&raw mut (*at.as_ptr()).object).write(AtomicUsize::new(object.expose_provenance()));", ""),
    of(BARE, "who waits without a record takes its place from another object", "object_at.write(object.map_addr(|address| address & !1));", ""),
    of(BARE, "who was cancelled without a record is served", "bits.set(bits.get() & !MADE_LATER);", "let _ = bits;"),
    of(WAITERS, "who waits at the usual level is served before the highest", "self.levels.at(0).is_empty()", "true"),
    of(WAITERS, "who waits in a header is taken for one that waits without a record", "byte == (is::BARE >> 8) as u8", "byte & (is::IN_HEADER >> 8) as u8 != 0"),
    of(BARE, "a record that is made late is made again", "task.peer.set(at.as_ptr().cast()); compiler_fence(Release);", ""),
    of(BARE, "a task without a record has that of its last wait", "self.task.peer.set(core::ptr::null());", ""),
    of(BARE, "who waits without a frame takes its place from another object", "task.room_ptr().byte_add(Room::OBJECT_AT).cast::<*const u8>().write(object)", "{ let _ = object; }"),
    of(WAIT, "who was cancelled without a frame has what it waited for", "task.ended.set(-super::scope::interruption(task));", ""),
    of(CHANNEL, "who would hand over does not see that a channel is closed", "self.state.get() == 0", "self.state.get() & !is::CLOSED == 0"),
    of(GRANT, "a cancel takes back what was granted", "stopped != 0 && wait.cancel()", "stopped != 0"),
    of(GRANT, "a claimed wait is cancelled", "Self::wait_of(task).is_some_and(Wait::cancel)", "{ let _ = Self::wait_of(task).map(Wait::cancel); true }"),
    of(GRANT, "who was cancelled waits all the same", "task.has(mark::INTERRUPTED)", "false"),
    of(TEAM, "a child that fails cancels nobody", "let _ = this.cancel();", ""),
    of(TEAM, "a child that fails cancels others that are independent", "this.flags.get() & INDEPENDENT == 0", "true"),
    of(TEAM, "the last error of a group is told", "result.error != 0 && !this.has_failed.replace(true)", "{ this.has_failed.set(true); result.error != 0 }"),
    of(TEAM, "a child outlives its group", "self.children.count() != 0", "self.children.count() > 1"),
    of(TEAM, "the end of a group is told too early", "this.children.count() == 0", "this.children.count() <= 1"),
    of(TEAM, "the end of a group wakes nobody", "this.wake(now);", ""),
    of(TEAM, "nobody is told of a child's exit", "unsafe { on_exit(task.as_head(), result) };", ""),
    of(TEAM, "a group that was cancelled takes a child", "if self.is_cancelled.get() { return Err(Errno(libc::ECANCELED)); }", ""),
    of(TEAM, "a group that was cancelled takes several", "return (0, Err(Errno(libc::ECANCELED)));", ""),
    of(HOOK, "of several children one counts", "children.count.set(children.count.get() + attached);", "children.count.set(children.count.get() + 1);"),
    of(TEAM, "a cancel of a group leaves a child out", "0..self.children.count()", "1..self.children.count()"),
    of(TEAM, "a child waits for its group", "ExitHook::of(task) == ptr::from_ref(self).cast()", "false"),
    of(TEAM, "two wait for a group", "self.children.waiter.get().is_some()", "false"),
    of(TEAM, "who waits for a child that joins it", "here.is_awaited_by_child(task, of)", "false"),
    of(TEAM, "who goes on takes another's place as the waiter", "self.children.waiter.get() == Some(NonNull::from(&wait))", "true"),
    of(TEAM, "an error of a group is told for ever", "self.has_failed.replace(false)", "self.has_failed.get()"),
    of(TEAM, "a group that was waited for is cancelled still", "self.is_cancelled.set(false);", ""),
    of(HOOK, "children that begin together are not told of", "self.attach_uncounted(task, now, HAS_HOOK);", "self.attach_uncounted(task, now, mark::HOOKED);"),
    of(HOOK, "a hook is another run's, too", "task.unmark(mark::HOOKED);", ""),
    of(HOOK, "a child that has exited stays in its group", "self.list.remove(task.annex().cast())", "false"),
    of(HOOK, "of several children the refused ones are passed over", "if refused.is_err() { break; }", "if refused.is_err() { continue; }"),
    of(HOOK, "the last child of a group leaves quietly", "among.count.get() != 1", "true"),
    of(HOOK, "a child that failed leaves quietly", "task.result().error == 0", "true"),
    of(HOOK, "a child leaves quietly where somebody is told of each", "among.is_quiet.get()", "true"),
    of(NEXT, "who is told between two launches is not", "unsafe { on_exit(task.as_head(), result) };", ""),
    of(NEXT, "a child that is joined leaves quietly", "!task.joiners.is_empty()", "false"),
    of(EXIT, "an exit is told and not published", "task.unmark(mark::JOINED); task.state().exited();", "task.unmark(mark::JOINED); if told.is_none() { task.state().exited(); }"),
    of(EXIT, "of those who join one is woken", "self.woken_joins.append(joiners);", "if let Some(first) = joiners.pop_front() { let _ = unsafe { self.woken_joins.push_back(first) }; }"),
    of(EXIT, "a child joins who waits for it", "other.waits.get() == Waits::Grant && Self::awaits_child(other, task)", "false"),
    of(JOIN, "a select says that another case happened", "wait.claim_case(index)", "wait.claim_case(0)"),
    of(JOIN, "a task that was joined wakes no select", "wait.wake::<K>();", ""),
    of(SELECT, "a join that is over is waited for", "Executor::<K>::join_result(other, case.joined.get())", "None"),
    of(SELECT, "a time-out of nothing is waited for", "(case.timeout_ns == 0).then_some(RawResult::success(0))", "None"),
    of(SELECT, "the last time-out counts", "by_priority.iter().filter(|i| time(i).is_some()).min_by_key(time)", "by_priority.iter().filter(|i| time(i).is_some()).max_by_key(time)"),
    of(SELECT, "the cases of a select go in order alone", "Some(case.priority)", "Some(0u8)"),
    of(SELECT, "an operation that has completed is waited for", "caller.executor()?.0.take_completion(op)", "None"),
    of(SELECT, "an operation that lost is taken", "caller.executor().filter(|_| won)", "caller.executor()"),
    of(SELECT, "an operation that won is there to be taken again", "completed.and_then(|(ex, _)| ex.take_completion(op)).unwrap_or(result)", "completed.map_or(result, |_| result)"),
    of(SELECT, "a select that waits hears of no operation", "selecting.wait.watcher.set(Some(watches));", ""),
    of(OPERATIONS, "an operation wakes who waits for another case alone", "Self::wait_of(task).filter(is_for_it).is_some()", "{ let _ = Self::wait_of(task).filter(is_for_it); true }"),
    of(OPERATIONS, "who waits for one operation goes on when another has ended", "task.peer.get().is_null() || ptr::eq(task.peer.get().cast(), record)", "true"),
    of(OPERATIONS, "who waits for any operation is not woken", "task.peer.get().is_null() || ptr::eq(task.peer.get().cast(), record)", "ptr::eq(task.peer.get().cast(), record)"),
    of(OPERATIONS, "a cancel does not end the wait for an operation", "task.waits.set(Waits::Nothing); true", "false"),
    of(OPERATIONS, "who waits for any operation looks at no cancel that came before", "if task.has(mark::STOPS) { let stopped = self.stop(task); if stopped != 0 { return stopped; } }", ""),
    of(OPERATIONS, "what is waited for is there to be waited for again", "self.take(task, record); record.result.get()", "if record.pending.get() != 1 { self.take(task, record); } RawResult::from_kernel(record.outcome.get())"),
    of(OPERATIONS, "the end of an operation is not waited for once more after a cancel", "if record.pending.get() == 0 { self.suspend_for(task, Some(record)); } self.discard(record);", "if record.pending.get() == 0 { self.suspend_for(task, Some(record)); if record.pending.get() == 0 { break; } } self.discard(record);"),
    of(CANCEL, "a cancel of an operation asks nobody", "!record.has(bit::ASKED)", "false"),
    of(PLAIN, "who has taken its last operation is marked as if it had some", "task.unmark(mark::OPERATIONS);", ""),
    of(ELSEWHERE, "a cancel between a pool's queue and its worker is lost", "has_waited && task.has(mark::STOPS)", "false"),
    of(LEFT, "a task that is queued again is taken for the run that was joined", "meant.is_some_and(|meant| meant != run)", "false"),
    of(LEFT, "who was cancelled is told that a task has left", "unsafe { self.wait.as_ref() }.claim_case(self.index)", "{ let _ = unsafe { self.wait.as_ref() }.claim_case(self.index); true }"),
    of(LEFT, "a task that has left is another case", "wait.index = index;", ""),
    of(LEFT, "who waits for a task to leave a queue is listed for good", "unsafe { task.joiners.remove(NonNull::from(wait).cast()) };", ""),
    of(LEFT, "who waits for fewest goes on first", "u64::MAX - at_most as u64", "at_most as u64"),
    of(LEFT, "what has begun is not unfinished", "[self.queued, self.queued + self.begun, self.workers]", "[self.queued, self.queued, self.workers]"),
    of(JOIN, "a case is for any run", "joined.get() != 0 && joined.get() != run", "false"),
    of(SELECT, "a task that leaves a pool's queue has exited", "return won", "return false"),
    of(QUEUE, "who is submitted and let go is told to nobody", "task.marks.set(fill() | mark::JOINED);", "{ fill(); task.marks.set(mark::JOINED); }"),
    of(QUEUE, "who waits for a task to leave is not told of its begin", "state.leaves(*task, &satisfied);", ""),
    of(QUEUE, "a queue that is closed takes a task", "if state.closed { drop(state); refuse(task, before); return Err(Errno(libc::ESHUTDOWN)); }", ""),
    of(ENDS, "who is cancelled in a queue and let go is told to nobody", "told.call(self.task, RawResult::failure(ECANCELED));", ""),
    of(ENDS, "a priority that changes in a queue moves nothing", "if cpu_changed { state.remove(task); state.push(task); }", ""),
    of(ENDS, "a priority that stays moves to the end of its queue", "task.head.cpu.replace(cpu) != cpu", "{ task.head.cpu.set(cpu); true }"),
    of(FEED, "what is new at a level begins first, always", "new == ready && !seat.fed_last.get()", "new == ready"),
    of(FEED, "what is new at a level begins last", "new == ready && !seat.fed_last.get()", "new == ready && ready == NO_LEVEL"),
    of(HOOK, "who is let go is told to nobody", "ExitHook::write(task, on_exit, of); self.attach_at(task, self.stamp(), HAS_HOOK);", "ExitHook::write(task, on_exit, of); self.attach_at(task, self.stamp(), mark::JOINED);"),
    of(PARK, "a permit is taken and kept", "if task.permit().take() { return 0; }", "if task.permit().take() { let _ = task.permit().unpark(); return 0; }"),
    of(PARK, "a permit of its own thread is lost", "task.permit().leave_here();", ""),
    of(PARK, "a park without a frame that was cancelled ends well", "outcome != PARKED", "outcome > PARKED"),
    of(PARK, "an unpark wakes nobody", "self.ready_last(task)", "{ let _ = task; RawResult::success(0) }"),
];
