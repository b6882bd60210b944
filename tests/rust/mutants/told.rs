//! Bugs that are planted in what a foreign loop is told, in what becomes of a call whose handle was
//! closed, in whom an exit wakes when, and in mailboxes that are another executor's next. The named
//! test of tests/rust/poll_fd.rs, close.rs, entries.rs, blocking.rs, joins.rs or threads.rs finds
//! each. So it does what calls ask the kernel for, how names are resolved, what closes that linger,
//! sets of buffers that are in use, and `sys::lock`.

use crate::list::{found_by as of, Mutant};

const LOOP: &str = "src/executor/poll_fd.rs";
const CALL: &str = "src/io/call.rs";
const CLOSE_HANDLE: &str = "src/executor/closing.rs";
const FILE: &str = "src/io/file.rs";

pub const POLL_FD: &[(Mutant, &str)] = &[
    of(
        LOOP,
        "a loop sleeps though mail came before the executor did",
        "self.mailbox.inbox.try_sleep()",
        "(self.mailbox.inbox.try_sleep() || true)",
        "mail_that_comes_before_the_executor_is_asleep_is_told",
    ),
    of(
        LOOP,
        "a loop sleeps though something has completed",
        "kernel.is_quiet()",
        "true",
        "what_completes_before_the_descriptor_is_emptied_is_told",
    ),
];

const EACH: &str = "of_each_call";

/// What a call asks the kernel for.
pub const ENTRIES: &[(Mutant, &str)] = &[
    of(
        FILE,
        "data alone is synced where all was to be, and all where data was",
        "if data { fsync::DATASYNC } else { 0 }",
        "if data { 0 } else { fsync::DATASYNC }",
        EACH,
    ),
    of(
        "src/io/socket.rs",
        "an accepted connection is inherited",
        "if direct { 0 } else { libc::SOCK_CLOEXEC }",
        "0",
        EACH,
    ),
    of(FILE, "an opened file is inherited", "how.flags | CLOEXEC", "how.flags", "of_open"),
    of(
        "src/reactor/priority.rs",
        "a low I/O priority is a high one",
        "if ioprio != 0 && sqe.ioprio() == 0 && is_read_or_write(sqe.opcode()) { ioprio } else { sqe.ioprio() }",
        "if ioprio != 0 && sqe.ioprio() == 0 && is_read_or_write(sqe.opcode()) { IOPRIO[2 - level as usize] } else { sqe.ioprio() }",
        "with_the_io_priority_of_the_task",
    ),
];

const NAME: &str = "a_name_is_resolved_as_it_was_asked_for_while_no_helper_is_free";
const RESOLVE: &str = "src/pool/resolve.rs";

pub const NAMES: &[(Mutant, &str)] = &[
    of(RESOLVE, "a name is resolved without its hints", "hints.copied()", "None", NAME),
    of(RESOLVE, "a name is resolved without its service", "copy(service)", "copy(None)", NAME),
    of(
        RESOLVE,
        "a name waits for a helper that works",
        "NAMES.submit(job, level)",
        "super::helpers::WORK.submit(job, level)",
        NAME,
    ),
];

const READ: &str = "a_read_that_waited_by_a_poll_does_not_go_on_by_the_number_of_a_closed_handle";

const AT_ONCE: &str =
    "a_close_of_what_nobody_uses_does_not_suspend_where_the_kernel_closes_at_once";
const SUSPENDS: &str = "a_close_of_what_somebody_uses_suspends";
const PAST: &str = "a_socket_that_nobody_else_uses_is_closed_past_the_ring";
const BEHIND: &str = "a_socket_that_another_task_uses_is_closed_by_the_ring_behind_that";
const USERS: &str = "src/reactor/users.rs";

pub const CLOSE: &[(Mutant, &str)] = &[
    of(
        FILE,
        "a helper reads what has the number of the handle that the call was for",
        "self.goes_on(begun)?;",
        "",
        READ,
    ),
    of(
        CALL,
        "a read that has polled reads what has the number of the handle it was for",
        "self.io(&poll)?; self.goes_on(begun)?;",
        "self.io(&poll)?;",
        READ,
    ),
    of(
        FILE,
        "a read by a descriptor with O_NONBLOCK asks for ever for what the ring never reads",
        "calls::is_regular(fd)",
        "false",
        "a_file_that_the_ring_does_not_wait_for_is_read_by_a_helper",
    ),
    of(
        CLOSE_HANDLE,
        "a destructor suspends in the middle of what a shared_ptr does",
        "lingers || self.has_found(this)",
        "true",
        AT_ONCE,
    ),
    of(
        CLOSE_HANDLE,
        "a close does not ask the kernel before it suspends",
        "let _ = self.reactor.submit();",
        "",
        AT_ONCE,
    ),
    of(
        CLOSE_HANDLE,
        "a close returns while others are in calls on that handle",
        "!waits && !is_listed && self.has_found(this)",
        "false",
        SUSPENDS,
    ),
    of(
        CLOSE_HANDLE,
        "each close of a socket is a call of the ring's",
        "!direct && self.reactor.is_used_by_none_but(task, fd)",
        "false",
        PAST,
    ),
    of(
        USERS,
        "a close does not see what another task has in the submission queue",
        "[NOBODY, task.addr()].contains(&self.of(fd).get())",
        "{ let _ = task; true }",
        BEHIND,
    ),
    of(
        USERS,
        "of several tasks that use a socket the last one is taken for the only one",
        "if was == NOBODY { is } else { SEVERAL }",
        "{ let _ = was; is }",
        BEHIND,
    ),
    of(
        USERS,
        "a close does not see a record of its own task",
        "self.of(fd).set(SEVERAL);",
        "self.of(fd).set(NOBODY);",
        "a_socket_with_a_record_in_flight_is_closed_by_the_ring",
    ),
    of(
        CLOSE_HANDLE,
        "what an earlier socket was used for is the next one's, too",
        "self.reactor.forget_users(fd);",
        "",
        "the_next_one_of_a_number_is_nobodys_so_far",
    ),
    of(
        CLOSE_HANDLE,
        "the entry that closes a socket is taken for a use of the next one",
        "self.reactor.close_is_over(task, fd);",
        "",
        "the_next_one_of_a_number_that_was_closed_by_the_ring_is_nobodys_so_far",
    ),
    of(
        "src/reactor/reap.rs",
        "a close does not learn that it has found something",
        "res > 0",
        "res > 1",
        SUSPENDS,
    ),
    of(
        CLOSE_HANDLE,
        "a close that the kernel would not perform for a moment has failed",
        "record.retries.get() == RETRIES_MAX",
        "record.retries.get() > RETRIES_MAX",
        "a_close_that_was_not_performed_at_once_is_begun_again_until_it_is",
    ),
    of(
        CLOSE_HANDLE,
        "a close that lingers keeps all tasks waiting",
        "entry = entry.by_a_worker();",
        "",
        LINGERS,
    ),
    of(
        CLOSE_HANDLE,
        "a close that lingers keeps all tasks waiting, of a direct descriptor",
        "self.lingers(task, fd, direct)",
        "(!direct && self.lingers(task, fd, direct))",
        LINGERS,
    ),
    of(
        CLOSE_HANDLE,
        "where one lingers a thread is woken for each close",
        "self.lingers(task, fd, direct)",
        "(direct && self.lingers(task, fd, direct) || !direct)",
        LINGERS,
    ),
    of(
        CLOSE_HANDLE,
        "where one lingers a thread is woken for each close of a direct descriptor",
        "fd::is_for_a_time(&set)",
        "true",
        LINGERS,
    ),
    of(
        CLOSE_HANDLE,
        "where one lingers a thread is woken for each close of a direct file",
        "let lingers = fd::lingers(plain); fd::close(plain); lingers",
        "fd::close(plain); true",
        LINGERS,
    ),
    of(
        CLOSE_HANDLE,
        "a socket that does not tell whether it lingers is taken for one that does not",
        "unsafe { self.plain_lingers(task, fd) }",
        "false",
        LINGERS,
    ),
    of(
        CLOSE_HANDLE,
        "a kernel that cannot be asked closes what lingers itself",
        "!self.reactor.kernel.knows(op::FIXED_FD_INSTALL)",
        "false",
        LINGERS,
    ),
    of(
        CLOSE_HANDLE,
        "a close takes away what has the place of what another task has closed meanwhile",
        "direct && self.is_closed_since(fd, true, begun)",
        "false",
        "of_two_closes_of_a_direct_one_that_is_asked_one_is_done",
    ),
    of(
        CLOSE_HANDLE,
        "each close of a direct descriptor asks it whether it lingers",
        "fd::may_linger()",
        "(direct || fd::may_linger())",
        LINGERS,
    ),
    of(
        "src/sys/fd.rs",
        "who resets its connection on a close is taken to linger",
        "set.l_onoff != 0 && set.l_linger != 0",
        "set.l_onoff != 0",
        LINGERS,
    ),
    of(
        "src/sys/fd.rs",
        "a time without its flag is taken for one to linger",
        "set.l_onoff != 0 && set.l_linger != 0",
        "set.l_linger != 0",
        LINGERS,
    ),
    of(
        CLOSE_HANDLE,
        "a direct one is closed while its close is under way",
        "self.closes.has(fd, direct)",
        "false",
        SECOND,
    ),
    of(
        CLOSE_HANDLE,
        "a direct one is not closed until the task that closed what had its place goes on",
        "!self.is_last.get() || self.direct && asked",
        "true",
        SECOND,
    ),
    of(
        CLOSE_HANDLE,
        "a close of a direct one is over once the kernel has it",
        "matches!(waits, Completion | CompletionCancelQueued | Operation)",
        "{ let _ = waits; false }",
        SECOND,
    ),
    of(
        CLOSE_HANDLE,
        "a close by an older handle leaves the row of an ordered file",
        "self.reactor.rows.of(fd, direct)",
        "None",
        OLDER,
    ),
    of(
        "src/executor/ordered.rs",
        "a file that is written in order has a second row",
        "row.is_some_and(|file| self.row(file).is_ok_and(|row| !row.is_idle()))",
        "{ let _ = row; false }",
        OLDER,
    ),
    of(
        "src/executor/operations.rs",
        "a record begins what the kernel lacks",
        "self.known(&sqe)?; (noted(&sqe), None)",
        "(noted(&sqe), None)",
        LACKS,
    ),
    of(
        "src/api/io.rs",
        "a call begins what the kernel lacks",
        "validate::once(sqe).and_then(|()| ex.known(sqe))",
        "validate::once(sqe)",
        LACKS,
    ),
    of(
        "src/io/socket.rs",
        "a connect that is under way is told of as an error",
        "self.goes_on_connecting(&sqe, begun)",
        "{ let _ = begun; Err(Errno(libc::EALREADY)) }",
        CONNECT,
    ),
    of(
        "src/io/socket.rs",
        "of two connects at once the second is told that the socket is connected",
        "return Ok(0)",
        "return Err(Errno(libc::EISCONN))",
        "of_two_connects_at_once_both_succeed",
    ),
    of(
        "src/io/socket.rs",
        "a connect that has waited connects what has the number of the socket it was for",
        "self.goes_on(begun)?; self.poll(libc::POLLOUT)?; self.goes_on(begun)?;",
        "self.goes_on(begun)?; self.poll(libc::POLLOUT)?;",
        CONNECT,
    ),
    of(
        CALL,
        "a call of no bytes succeeds in a task that was cancelled",
        "self.ex.interrupted(self.task)",
        "0",
        "calls_of_nothing_in_a_cancelled_task",
    ),
    of(
        "src/sync/buffer_core.rs",
        "what an earlier run of a task has claimed keeps it stuck",
        "run == ANY || run == task.state().run()",
        "true",
        "who_waits_for_what_an_earlier_run_has_claimed_is_not_stuck",
    ),
    of(
        "src/sync/buffer_set.rs",
        "a set is unregistered while its executor uses a buffer that another has claimed",
        "set.claimed.get() != 0 || set.waiting.get() != 0 || set.fixed().is_used()",
        "set.claimed.get() != 0 || set.waiting.get() != 0",
        "a_set_is_not_unregistered_while_its_executor_uses_a_buffer_that_another_has_claimed",
    ),
];

const SECOND: &str = "a_second_close_of_a_direct_one_is_refused_until_the_first_is_over";
const OLDER: &str = "a_close_by_an_older_handle_is_one_of_the_row";
const LACKS: &str = "what_the_kernel_lacks_is_told_of_where_it_is_begun";
const CONNECT: &str = "a_connect_that_is_under_way_is_waited_for";

const AWAITED: &str = "src/sync/awaited.rs";
const MUTEX: &str = "src/sync/mutex.rs";

/// Found by tests/rust/checked.rs.
#[rustfmt::skip]
pub const CHECKED: &[(Mutant, &str)] = &[
    of(MUTEX, "a cycle is looked for on the caller's executor alone",
        "unsafe { all.put_in(awaits) };",
        "",
        "a_cycle_across_executors_is_refused"),
    of(AWAITED, "who has waited takes the record of another out of the list",
        "ptr::eq(other, record)",
        "true",
        "who_has_waited_leaves_the_others_records"),
    of(AWAITED, "a child of fork has the parent's list",
        "unsafe { ALL.0.get().write(Mutex::new(Last(ptr::null()))) }",
        "",
        "a_child_of_fork_has_a_list_of_its_own"),
    of(MUTEX, "the record of a task of ours that is cancelled counts",
        "task.state().is_attached_to(ex.address())",
        "false",
        "a_wait_that_was_cancelled_closes_no_cycle"),
];

const LINGERS: &str = "what_lingers_is_closed_by_a_thread_of_the_kernels";

const JOIN: &str = "src/executor/join.rs";
const CROSSED: &str = "joins_here_elsewhere_and_in_a_queue_crossed_with_stops";

const RINGS: &str = "of_each_ring_of_joins_the_last_is_refused_on_any_executors";

const GROUP: &str = "src/sync/group.rs";
const IN_A_ROW: &str = "children_that_come_at_once_are_cancelled_by_their_row";

pub const JOINS: &[(Mutant, &str)] = &[
    of(
        JOIN,
        "who joins a chain that leads to another worker does not ask",
        "ask(task, joined)",
        "true",
        RINGS,
    ),
    of(JOIN, "who joins a task here is not seen to", "task.joins().set(joined);", "", RINGS),
    of(
        JOIN,
        "who joins a chain of tasks here does not look where it ends",
        "if next == task { return false; }",
        "",
        RINGS,
    ),
    of(
        "src/executor/cancel.rs",
        "a join that was cancelled counts until its task goes on",
        "task.joins().clear();",
        "",
        RINGS,
    ),
    of(
        JOIN,
        "who has joined a task joins it for ever",
        "self.leave(task); task.joins().clear();",
        "self.leave(task);",
        "who_joined_many_runs_ago_joins_nobody",
    ),
    of(
        "src/executor/join_elsewhere.rs",
        "who joins another worker's task does not ask",
        "!ask(task, record.joined())",
        "false",
        RINGS,
    ),
    of(
        JOIN,
        "who joins one task passes those that are left of many",
        "ptr::eq(home, self.mailbox) && record.is_last()
        && self.woken_joins.is_empty()",
        "ptr::eq(home, self.mailbox) && record.is_last()",
        "a_joiner_of_the_next_exit_is_woken_behind_those_that_are_left_of_many",
    ),
    of(
        "src/executor/join_elsewhere.rs",
        "who joins what left a queue joins what is on a worker when it goes on",
        "meant.is_some_and(|meant| meant != run)",
        "false",
        CROSSED,
    ),
    of(JOIN, "who joins goes on while its record is on its way", "record.owed.get() != 0", "false", CROSSED),
    of(
        JOIN,
        "a worker is asked twice to let who joins go",
        "if record.asked.replace(true) { return; }",
        "",
        CROSSED,
    ),
    of(
        JOIN,
        "a worker does not let go who joins",
        "if self.is_registered(record) { self.unregister(record); answer(record, RawResult::failure(ECANCELED), true); }",
        "",
        CROSSED,
    ),
    of(
        JOIN,
        "a cancel of who joins another worker's task leaves its record there",
        "record.other_here(self.mailbox).is_none()",
        "false",
        CROSSED,
    ),
    of(
        JOIN,
        "who joins a run that is over on another worker joins the next",
        "state.is_run_attached_to(self.address(), run)",
        "state.is_attached_to(self.address())",
        CROSSED,
    ),
    of(
        JOIN,
        "two of an executor wait for each other",
        "other.waits.get() == Waits::Join && !self.may_join(task, other, joined)",
        "false",
        CROSSED,
    ),
    of(JOIN, "a join out of time was cancelled", "record.canceled.get()", "false", CROSSED),
    of(
        GROUP,
        "children that came at once are not cancelled",
        "self.cancel_row(ex);",
        "",
        IN_A_ROW,
    ),
    of(
        GROUP,
        "with children that came at once whoever is in their row is cancelled",
        "ExitHook::of(task) == of",
        "{ let _ = of; true }",
        IN_A_ROW,
    ),
    of(
        GROUP,
        "more children come at once while some are left",
        "if self.count() != 0 { return (0, Err(Errno(libc::EBUSY))); }",
        "",
        IN_A_ROW,
    ),
    of(
        GROUP,
        "one more child comes where all come at once",
        "if self.at_once() { return Err(Errno(libc::EINVAL)); }",
        "",
        IN_A_ROW,
    ),
    of(JOIN, "who joins from elsewhere is not told", "answer(record, result, false)", "()", CROSSED),
];

/// What came before a deadline counts: found by tests/rust/late_scope.rs.
pub const LATE: &[(Mutant, &str)] = &[
    of(
        "src/executor/due.rs",
        "a deadline ends what has come, and the kernel was not asked for",
        "now = self.hear_first(now);",
        "",
        IN_TIME,
    ),
    of(
        "src/executor/due.rs",
        "a deadline takes in what the kernel hands over at once, and leaves the rest",
        "0..TURNS",
        "0..1",
        AS_MANY,
    ),
];

const AS_MANY: &str = "as_many_count_as_came_in_time";
const IN_TIME: &str = "what_came_before_the_deadline_counts_however_late_the_executor_is";

const LOCK: &str = "src/sys/lock.rs";
const SLEEPS: &str =
    "while self.word.swap(AWAITED, Acquire) != OPEN { futex::wait(&self.word, AWAITED, None); }";
const ONE_AT_A_TIME: &str = "one_at_a_time_has_a_lock_and_who_sleeps_is_woken";

pub const MAILBOX: &[(Mutant, &str)] = &[
    of(
        "src/executor/reference.rs",
        "an executor that ends its tasks is launched on by a reference",
        "mailbox.takes_launches()",
        "true",
        "an_executor_that_ends_its_tasks_is_not_launched_on_by_a_reference",
    ),
    of(
        "src/executor/reference.rs",
        "a child of fork wakes its parent's executor by a reference",
        "!self.owner.is_in_this_process()",
        "false",
        "a_child_of_fork_is_refused_by_a_reference_of_its_parents",
    ),
    of(
        "src/executor/mailbox.rs",
        "a wake-up that comes late is the next owner's",
        "self.wake_asked.store(false, Ordering::Relaxed);",
        "",
        "a_wake_that_comes_late_is_not_the_next_owners",
    ),
    of(
        LOCK,
        "a lock is two threads' at a time",
        "self.word.compare_exchange(OPEN, HELD, Acquire, Relaxed).is_ok()",
        "{ self.word.store(HELD, Relaxed); true }",
        ONE_AT_A_TIME,
    ),
    of(
        LOCK,
        "who has slept until a lock is open takes it for its own",
        SLEEPS,
        "if self.word.swap(AWAITED, Acquire) != OPEN { futex::wait(&self.word, AWAITED, None); }",
        ONE_AT_A_TIME,
    ),
    of(
        LOCK,
        "who sleeps until a lock is open is not woken",
        "self.0.wake_one();",
        "",
        ONE_AT_A_TIME,
    ),
    of(
        LOCK,
        "of those who sleep until a lock is open one is woken",
        SLEEPS,
        "while self.word.swap(AWAITED, Acquire) != OPEN { futex::wait(&self.word, AWAITED, None); }
         self.word.store(HELD, Relaxed);",
        ONE_AT_A_TIME,
    ),
];
