//! Bugs that are planted into what tasks wait for of each other, one or more for each rule. The random
//! programs of tests/sim/sync must notice.

use crate::list::Mutant;

const fn of(
    file: &'static str,
    bug: &'static str,
    right: &'static str,
    wrong: &'static str,
) -> Mutant {
    Mutant { bug, file, right, wrong }
}

const WAITERS: &str = "src/sync/waiters.rs";
const MUTEX: &str = "src/sync/mutex.rs";
const CONDITION: &str = "src/sync/condition.rs";
const SEMAPHORE: &str = "src/sync/semaphore.rs";
const EVENT: &str = "src/sync/event.rs";
const BARRIER: &str = "src/sync/barrier.rs";
const LOCK: &str = "src/sync/rw_lock.rs";
const GROUP: &str = "src/sync/wait_group.rs";
const CHANNEL: &str = "src/sync/channel.rs";
const SELECT: &str = "src/sync/select.rs";
const GRANT: &str = "src/executor/grant.rs";

/// One a line: the file, the bug, what is right, what is wrong.
#[rustfmt::skip]
pub const TOGETHER: &[Mutant] = &[
    of(WAITERS, "waiters are served in order alone", "wait.level()", "1"),
    of(WAITERS, "who was cancelled is served", "self.is_claimed.get() || self.wait().claim()", "true"),
    of(WAITERS, "who was notified is claimed twice", "self.is_claimed.get() || self.wait().claim()", "self.wait().claim()"),
    of(WAITERS, "a grant does not say of which case", "self.wait().index.set(self.index);", ""),
    of(MUTEX, "a mutex is locked twice", "self.owner() == me || self.closes_cycle(caller)", "self.closes_cycle(caller)"),
    of(MUTEX, "anybody unlocks", "self.owner() != caller.identity()", "false"),
    of(MUTEX, "an unlock hands over to nobody", "self.set_owner(next.map_or(0, |node| identity(node.wait(), node)));", "self.set_owner(0);"),
    of(CONDITION, "who is notified has the mutex, whoever has it", "unsafe { &*place.mutex }.hand_to(here, &place.node, &mut woken)?;", "woken.add(place.node.wait());"),
    of(CONDITION, "a wait that has ended does not lock again", "mutex.lock_for_sure(caller);", ""),
    of(CONDITION, "one notification is for all", "0..count", "0..usize::MAX"),
    of(SEMAPHORE, "who wants few passes who wants many", "self.permits.get() >= count && self.waiters.first().is_none()", "self.permits.get() >= count"),
    of(SEMAPHORE, "permits are given and kept", "self.permits.set(self.permits.get() - count); woken.add(node.wait());", "woken.add(node.wait());"),
    of(EVENT, "a reset does nothing", "self.is_set.replace(false)", "self.is_set.get()"),
    of(EVENT, "a set wakes nobody", "self.waiters.claim_all(&mut woken);", ""),
    of(BARRIER, "who leaves still counts", "self.waiting.set(self.waiting.get() - 1);", ""),
    of(BARRIER, "who met and was cancelled is told that it left", "self.waiters.remove(&node)", "{ self.waiters.remove(&node); true }"),
    of(BARRIER, "a barrier serves once", "self.waiting.set(0);", ""),
    of(LOCK, "readers pass a writer", "self.writer.get() == 0 && self.to_write.first().is_none()", "self.writer.get() == 0"),
    of(LOCK, "no writer after readers", "(before == Read || writes < reads)", "(writes < reads)"),
    of(LOCK, "a writer's priority does not count", "(before == Read || writes < reads)", "(before == Read)"),
    of(LOCK, "who keeps readers waiting and leaves still does", "self.serve(Write, &mut woken);", ""),
    of(GROUP, "a wait group is done too early", "left == 0", "left <= 1"),
    of(CHANNEL, "a channel that is closed takes more", "if self.is_closed.get() { return Attempt::Closed; }", ""),
    of(CHANNEL, "who waits when it is closed is told that all went well", "node.is_refused.set(true);", ""),
    of(CHANNEL, "an element is not counted", "self.sending.advance(self.capacity.get());", ""),
    of(CHANNEL, "an element is received twice", "self.receiving.advance(self.capacity.get());", ""),
    of(CHANNEL, "who receives is passed", "self.receivers.claim()", "None::<&Node>"),
    of(SELECT, "a case that lost stays", "channel.dequeue(way, node);", ""),
    of(SELECT, "a case of a closed channel says that all went well", "if refused { RawResult::failure(EPIPE) } else { result }", "result"),
    of(GRANT, "a cancel takes back what was granted", "stopped != 0 && wait.cancel()", "stopped != 0"),
    of(GRANT, "a claimed wait is cancelled", "Self::wait_of(task).is_some_and(Wait::cancel)", "{ let _ = Self::wait_of(task).map(Wait::cancel); true }"),
    of(GRANT, "who was cancelled waits all the same", "task.has(mark::INTERRUPTED)", "false"),
];
