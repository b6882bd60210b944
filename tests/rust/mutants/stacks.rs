//! Bugs that are planted in which stack a launch runs on, and who has it afterwards: one or more
//! for each rule of `task::warm` and `executor::next`. The named test of tests/rust/warm.rs finds it.

use crate::list::{found_by as of, Mutant};

const WARM: &str = "src/task/warm.rs";
const NEXT: &str = "src/executor/next.rs";

pub const STACKS: &[(Mutant, &str)] = &[
    of(
        WARM,
        "a first suspension does not note the exchange: its stack is the next launch's, too",
        "self.exchange(task);",
        "",
        "who_suspends_keeps_its_stack",
    ),
    of(
        "src/stack/claims.rs",
        "an exchange leaves one stack with two owners",
        "self.base.swap(&other.base); self.meta.swap(&other.meta);",
        "other.base.set(self.base.get()); other.meta.set(self.meta.get());",
        "nobody_finds_its_stack_changed",
    ),
    of(
        WARM,
        "the executor's stack is not taken back at an exit",
        "if size & OWN != 0 && warm.base() != 0 { warm.exchange(&task.stack); }",
        "let _ = warm;",
        "who_suspends_keeps_its_stack",
    ),
    of(
        WARM,
        "a stack is exchanged with a task of another size",
        "&self.of[(task.stack_size.get() & (SIZES as u8 - 1)) as usize]",
        "{ let _ = task; &self.of[0] }",
        "nobody_finds_its_stack_changed",
    ),
    of(
        WARM,
        "an executor that ends keeps its stacks",
        "unsafe { stack.release() };",
        "core::mem::forget(stack);",
        "an_executor_that_ends_gives_its_stacks_back",
    ),
    of(
        "src/executor/end.rs",
        "a task that has returned and waits for its operations leaves its stack to others",
        "self.warm.keep(task);",
        "",
        "the_stack_of_a_task_that_is_closing_is_nobody_elses",
    ),
    of(
        "src/task/create.rs",
        "a task is destroyed while it is on the executor's stack",
        "if task.state().is_taken() { return Err(Errno(libc::EBUSY)); }",
        "",
        "a_task_that_runs_is_not_destroyed",
    ),
    of(
        NEXT,
        "the child of a fork in a launch goes on with the parent's launches",
        "plain && !self.warm.keeps() && self.is_of_this_process()",
        "plain && !self.warm.keeps()",
        "the_child_of_a_fork_launches_nothing",
    ),
    of(
        NEXT,
        "a launch that has kept its stack calls the next one there",
        "!self.warm.launches_there(next, task)",
        "false",
        "a_launch_behind_one_that_has_suspended_runs_elsewhere",
    ),
    of(
        NEXT,
        "who returns with operations in flight is over all the same",
        "marks & mark::ENDS != 0",
        "false",
        "the_stack_of_a_task_that_is_closing_is_nobody_elses",
    ),
    of(
        NEXT,
        "one launch goes on behind the number of items that was asked for",
        "if self.next.last.get() == self.ready.popped() { return None; }",
        "",
        "no_more_is_launched_than_was_asked_for",
    ),
    of(
        WARM,
        "a launch on its task's own stack does not say so: the next one is called there, too",
        "if warm.base() == 0 { is_on_its_own(task); }",
        "",
        "large_stacks_are_launched_on_by_their_tasks",
    ),
    of(
        "src/executor/end.rs",
        "a task that was closing is taken for one that has a stack of its own at its next launch",
        "self.warm.forget(task);",
        "",
        "the_stack_of_a_task_that_is_closing_is_nobody_elses",
    ),
    of(
        WARM,
        "a task that was suspended is taken for such a one at its next launch",
        "task.stack_size.set(size & !OWN);",
        "",
        "who_suspends_keeps_its_stack",
    ),
    of(
        NEXT,
        "who yields first to one that has run leaves its stack to the next launch",
        "WarmStacks::has_kept(task) && self.next.last.get() != self.ready.popped()",
        "self.next.last.get() != self.ready.popped()",
        "who_yields_to_one_that_has_run_keeps_its_stack",
    ),
    of(
        NEXT,
        "yields go on though it is time to look",
        "self.span.get().1 != Flags::COMPLETED || now.wrapping_sub(self.next.begun.get()) >= self.look_ticks",
        "self.span.get().1 != Flags::COMPLETED",
        "a_look_that_is_due_is_taken_between_two_yields",
    ),
    of(
        NEXT,
        "who joins goes on before what is ready at its level",
        "joiner.cpu_level() >= self.ready.level()",
        "joiner.cpu_level() > self.ready.level()",
        "who_joins_a_launch_goes_on_when_that_ends",
    ),
    of(
        NEXT,
        "a joiner that goes on at an exit is counted as suspended",
        "self.ready.count_one(); dec(&self.head.tasks_suspended);",
        "self.ready.count_one();",
        "who_joins_a_launch_goes_on_when_that_ends",
    ),
    of(
        NEXT,
        "who joins gets nothing from a launch that ends before it",
        "record.tell(task.result());",
        "",
        "who_joins_a_launch_goes_on_when_that_ends",
    ),
    of(
        NEXT,
        "the joiner of a launch that forked goes on in the child",
        "let plain = !throws && self.is_of_this_process();",
        "let plain = !throws;",
        "the_child_of_a_fork_wakes_no_joiner",
    ),
    of(
        "src/executor/run.rs",
        "a pass of a loop runs without end",
        "self.run_once(FEW, usize::MAX, timeout_ns)",
        "self.run_once(usize::MAX, usize::MAX, timeout_ns)",
        "a_pass_of_a_loop_runs_what_becomes_ready",
    ),
    of(
        "src/executor/run.rs",
        "a pass of a loop runs what was ready alone",
        "self.run_once(FEW, usize::MAX, timeout_ns)",
        "self.run_once(0, usize::MAX, timeout_ns)",
        "a_pass_of_a_loop_runs_what_becomes_ready",
    ),
];
