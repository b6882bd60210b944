//! Bugs that are planted in what a foreign loop is told, in what becomes of a call whose handle was
//! closed, in whom an exit wakes when, and in mailboxes that are another executor's next. The named
//! test of tests/rust/poll_fd.rs, close.rs, joins.rs or threads.rs finds each.

use crate::list::{found_by as of, Mutant};

const LOOP: &str = "src/executor/poll_fd.rs";
const CALL: &str = "src/io/call.rs";
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

const READ: &str = "a_read_that_waited_by_a_poll_does_not_go_on_by_the_number_of_a_closed_handle";

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
];

pub const JOINS: &[(Mutant, &str)] = &[of(
    "src/executor/join.rs",
    "who joins one task passes those that are left of many",
    "ptr::eq(home, self.mailbox) && record.link.peek_next().is_null()
        && self.woken_joins.is_empty()",
    "ptr::eq(home, self.mailbox) && record.link.peek_next().is_null()",
    "a_joiner_of_the_next_exit_is_woken_behind_those_that_are_left_of_many",
)];

pub const MAILBOX: &[(Mutant, &str)] = &[of(
    "src/executor/mailbox.rs",
    "a wake-up that comes late is the next owner's",
    "self.wake_asked.store(false, Ordering::Relaxed);",
    "",
    "a_wake_that_comes_late_is_not_the_next_owners",
)];
