//! The promises that the simulation watches, and what it says when one is broken. Each must be said
//! of some mutant.

pub const PROMISES: &[(&str, &[&str])] = &[
    ("each operation ends exactly once", &["ended, and the task was not woken"]),
    ("each task runs once per attach", &["was not launched"]),
    ("nothing sleeps with work ready", &["sleeps (Until", "sleeps (Forever"]),
    ("a wake-up is sent", &["and no wake-up"]),
    ("strict priority, first in first out", &["runs before task"]),
    ("the bound of 64 items", &["waited while more than 64 items"]),
    ("max_items is exact", &["were to run"]),
    ("the counters add up", &["counters say"]),
    ("an operation's memory outlives it", &["while the kernel has its buffer"]),
    ("sleeps are never early", &["is over at"]),
    ("sleepers wake in order", &["is over, and "]),
    ("a cancel has one outcome", &["gets RawResult"]),
    ("all is empty at the end", &["the ring is closed with something"]),
    ("entries go by I/O priority", &["is submitted before"]),
    ("cancel_all leaves nobody out", &["cancel_all leaves out"]),
    ("the parts of a run add up to it", &["are accounted for"]),
    ("an executor that has come to an end can be destroyed", &["not destroyed", "which is idle"]),
    ("deadlines are armed by the first call that suspends", &["are not armed by"]),
    ("whatever way run is left, nothing is unsubmitted", &["run leaves operations"]),
    ("a record tells the outcome with its flags", &["record 0 of task", "record 1 of task"]),
    ("completions are taken in their order", &["is given"]),
    ("one look takes in so many of each, and nothing is left over", &["a crowd"]),
    ("every call in a scope returns what the rules say", &["predicted"]),
];
