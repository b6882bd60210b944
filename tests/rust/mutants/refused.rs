//! Bugs that are planted in what becomes of a call where the kernel, or a policy, refuses what it is
//! made of, and where poll tells more than is so. The named test of tests/rust/fallbacks.rs,
//! ring_refused.rs or ring_wake.rs finds each.

use crate::list::{found_by as of, Mutant};

const PAUSES: &str = "who_is_told_of_room_that_there_is_not_pauses";

pub const FALLBACKS: &[(Mutant, &str)] = &[
    of(
        "src/io/socket.rs",
        "who sends by a call where another has no room asks all the time",
        "pause.next(self)?;",
        "",
        PAUSES,
    ),
    of(
        "src/io/call.rs",
        "who sends by the ring where another has no room asks all the time",
        "pause.next(self)?;",
        "let _ = &mut pause;",
        PAUSES,
    ),
    of(
        "src/io/socket.rs",
        "who waits for a queued error is woken by data",
        "flags & libc::MSG_ERRQUEUE != 0",
        "false",
        "a_queued_error_is_waited_for_beside_data",
    ),
    of(
        "src/io/recv_stream.rs",
        "a stream that was stopped goes on receiving",
        "ex.cancel_operation(&self.op)?;",
        "",
        "a_stream_that_is_stopped_leaves_what_comes_on_its_socket",
    ),
];

pub const RING: &[(Mutant, &str)] = &[of(
    "src/uring/real.rs",
    "an eventfd that is refused is told of as a ring",
    "refusal::explain_eventfd(e, options)",
    "refusal::explain(e, options)",
    "a_policy_that_forbids_eventfds_is_named_as_such",
)];

pub const WAKE: &[(Mutant, &str)] = &[of(
    "src/uring/sleeper.rs",
    "a sleep without a ring that a signal ends leaves its errno",
    "with_errno_kept(|| if poll() < 0 { Err(Error::last_os_error()) } else { Ok(()) })",
    "{ if poll() < 0 { Err(Error::last_os_error()) } else { Ok(()) } }",
    "a_sleep_that_a_signal_ends_leaves_errno_alone",
)];
