//! Bugs that are planted in the view of a ring's two queues. The named test of tests/rust/queues.rs
//! finds it. (That an ordering is too weak, Miri finds there.)

use crate::list::{found_by as of, Mutant};

const QUEUE: &str = "src/uring/queues.rs";
const KERNEL: &str = "src/uring/kernel.rs";

const ENTRIES: &str = "entries_arrive_whole_and_in_order";
const COMPLETIONS: &str = "completions_arrive_whole_once_and_in_order";
const WORDS: &str = "no_word_of_an_entry_is_lost";

/// One a line: the file, the bug, what is right, what is wrong, and the test.
#[rustfmt::skip]
pub const QUEUES: &[(Mutant, &str)] = &[
    of(QUEUE, "a word of an entry is a stale one",
        "unsafe { self.entry(tail).write(sqe) };",
        "unsafe { let mut sqe = sqe; sqe.0[7] = self.entry(tail).read().0[7]; self.entry(tail).write(sqe) };",
        ENTRIES),
    of(QUEUE, "the kernel is told of an entry before it is written",
        "unsafe { self.entry(tail).write(sqe) };",
        "unsafe { self.at.sq_tail.as_ref().store(tail.wrapping_add(1), Release); self.entry(tail).write(sqe) };",
        ENTRIES),
    of(QUEUE, "the kernel is never told",
        "unsafe { self.at.sq_tail.as_ref() }.store(self.tail.get(), Release);",
        "",
        ENTRIES),
    of(QUEUE, "room is counted up to where indices wrap",
        "tail == self.limit.get()",
        "tail >= self.limit.get()",
        ENTRIES),
    of(QUEUE, "there is room for one more than there are places",
        "self.limit.set(head.wrapping_add(self.at.sq_entries));",
        "self.limit.set(head.wrapping_add(self.at.sq_entries + 1));",
        ENTRIES),
    of(QUEUE, "what the kernel takes makes no room",
        "self.limit.set(head.wrapping_add(self.at.sq_entries));",
        "if self.limit.get() == 0 { self.limit.set(head.wrapping_add(self.at.sq_entries)); }",
        ENTRIES),
    of(QUEUE, "the first pending entry is the next to be pushed",
        "self.limit.get().wrapping_sub(self.at.sq_entries)",
        "self.tail.get()",
        ENTRIES),
    of(QUEUE, "an overflow of the completions is forgotten",
        "unsafe { self.at.sq_flags.as_ref() }.load(Relaxed) & WAITING != 0",
        "unsafe { self.at.sq_flags.as_ref() }.load(Relaxed) & WAITING & !2 != 0",
        "what_waits_inside_the_kernel_is_seen"),
    of(QUEUE, "deferred work is forgotten",
        "unsafe { self.at.sq_flags.as_ref() }.load(Relaxed) & WAITING != 0",
        "unsafe { self.at.sq_flags.as_ref() }.load(Relaxed) & WAITING & !4 != 0",
        "what_waits_inside_the_kernel_is_seen"),
    of(QUEUE, "a drain takes more than it was asked for",
        "self.visible().min(u32::try_from(max).unwrap_or(u32::MAX))",
        "self.visible()",
        COMPLETIONS),
    of(QUEUE, "a drain gives nothing back",
        "self.give_back(end);",
        "self.head.set(end);",
        COMPLETIONS),
    of(QUEUE, "a drain gives back what it has left",
        "self.give_back(end);",
        "self.give_back(self.head.get().wrapping_add(self.visible()));",
        COMPLETIONS),
    of(QUEUE, "a completion is taken twice",
        "self.give_back(head.wrapping_add(1));",
        "self.give_back(head);",
        COMPLETIONS),
    of(KERNEL, "an entry on its way to the kernel loses its last words",
        "pair::put(&mut sqe.0, 6, rest);",
        "",
        WORDS),
    of(KERNEL, "a copy of an entry loses what its maker noted",
        "pair::put(&mut sqe.0, 3, [word(3), word(4)]);",
        "pair::put(&mut sqe.0, 3, [word(3), 0]);",
        WORDS),
    of(KERNEL, "a copy of an entry has words in one another's places",
        "pair::put(&mut sqe.0, 1, [word(1), word(2)]);",
        "pair::put(&mut sqe.0, 1, [word(2), word(1)]);",
        WORDS),
];

const REAP: &str = "src/reactor/reaped.rs";
const OWN: &str = "each_gets_its_own_and_in_order";

/// In completions that are taken many at a time, as `QUEUES`; tests/rust/reaped.rs finds them.
#[rustfmt::skip]
pub const REAPED: &[(Mutant, &str)] = &[
    of(REAP, "a completion of an operation before is one of this",
        "task.op.get() == (cqe.user_data >> 48) as u16",
        "true",
        OWN),
    of(REAP, "a completion for another executor's task is one of ours",
        "task.executor() == executor",
        "true",
        OWN),
    of(REAP, "a completion for a task that is ready is one more",
        "task.waits.get() == Waits::Completion",
        "true",
        OWN),
    of(REAP, "the first of two completions is the last",
        "cqe.flags & (cqe::MORE | cqe::NOTIF) == 0",
        "true",
        OWN),
    of(REAP, "all are of the level of the first",
        "if task.cpu_asked() != level { break; }",
        "",
        OWN),
    of(REAP, "flags of a completion are those of the one before",
        "task.cqe_flags.set(cqe.flags);",
        "",
        OWN),
];
