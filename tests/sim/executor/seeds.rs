//! Programs that once failed, and what they found. The bugs are among those that `tests/rust/mutants`
//! plants again: it checks that each program here still finds its own. Who changes the
//! generator changes what a seed stands for, and is told there which of these to look for anew.

pub struct Found {
    pub seed: u64,
    /// As the mutant is called.
    pub bug: &'static str,
    #[allow(dead_code)] // For the reader.
    pub story: &'static str,
}

pub const FOUND: &[Found] = &[
    Found {
        seed: 5,
        bug: "how many items ran is lost in an error",
        story:
            "An enter at the end of a pass, or between two chunks of it, failed with ENOMEM; run \
                returned that, and the caller never learned that items had run.",
    },
    Found {
        seed: 308,
        bug: "the executor naps between two bursts of submissions",
        story:
            "More than 64 operations waited for the entries of a tiny queue, and none completed \
                at once: after each burst of 64 the executor slept up to a millisecond, though the \
                kernel would have taken the next.",
    },
    Found {
        seed: 8,
        bug: "a cancel that overtakes the launch is forgotten",
        story: "A thread had claimed a task and not yet posted it when a cancel came by another \
                way. The executor took the task out of a ready list that it was not in.",
    },
    Found {
        seed: 3205,
        bug: "a cancel by mail looks at newer mail",
        story: "A cancel of a task that had not arrived made the executor read its mailbox while \
                it was reading it: launches that came later were queued before the rest of those \
                that had come earlier.",
    },
    Found {
        seed: 13,
        bug: "run does not return when the last task was cancelled",
        story:
            "A pass that had cancelled the last task's launch went to sleep, and nobody was left \
                to wake it. Found otherwise; the simulation let it pass until it learned to look.",
    },
    Found {
        seed: 400,
        bug: "the operation after one that was cancelled cannot be",
        story:
            "A cancel came too late for an operation, which gave its real result. That the kernel \
                had been asked stayed noted, and so it was not asked to cancel the next one. Found \
                by tests/sim/scopes.",
    },
];
