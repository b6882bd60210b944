//! What is taken from the protocol between threads, each in place of one piece of the source or of the
//! models, and the model that must notice: its program and its name.

use super::list::Mutant;

const STATE: &str = "src/task/state.rs";
const INBOX: &str = "src/intrusive/mpsc.rs";
const WORLD: &str = "tests/loom_world/mod.rs";
const JOIN: &str = "tests/loom_world/join.rs";

pub const WEAKENED: &[(Mutant, &str)] = &[
    (
        Mutant {
            bug: "an exit does not publish",
            file: STATE,
            right: "self.run_state.store(EXITED, Release);",
            wrong: "self.run_state.store(EXITED, Relaxed);",
        },
        "loom_cancel an_exit_shows_the_result",
    ),
    (
        Mutant {
            bug: "who sees an exit does not acquire",
            file: STATE,
            right: "self.run_state.load(Acquire)",
            wrong: "self.run_state.load(Relaxed)",
        },
        "loom_cancel an_exit_shows_the_result",
    ),
    (
        Mutant {
            bug: "who claims a task does not acquire",
            file: STATE,
            right: "self.run_state.compare_exchange(idle, CLAIMED, Acquire, Relaxed)",
            wrong: "self.run_state.compare_exchange(idle, CLAIMED, Relaxed, Relaxed)",
        },
        "loom_cancel an_exit_hands_the_task_on",
    ),
    (
        Mutant {
            bug: "a claim is a load and a store",
            file: STATE,
            right: "self.run_state.compare_exchange(idle, CLAIMED, Acquire, Relaxed)",
            wrong: "self.run_state.store(CLAIMED, Relaxed); fence(Acquire); Ok::<u8, u8>(idle)",
        },
        "loom_cancel of_two_threads_that_attach_one_wins",
    ),
    (
        Mutant {
            bug: "a task that is taken is claimed",
            file: STATE,
            right: "!is_taken(idle)",
            wrong: "true",
        },
        "loom_cancel of_two_executors_one_gets_the_task",
    ),
    (
        Mutant {
            bug: "an attach does not publish",
            file: STATE,
            right: "self.run_state.store(ATTACHED, Release);",
            wrong: "self.run_state.store(ATTACHED, Relaxed);",
        },
        "loom_cancel a_cancel_overtakes_the_launch",
    ),
    (
        Mutant {
            bug: "runs are not counted",
            file: STATE,
            right: "self.seq.store(self.seq.load(Relaxed) + 1, Release);",
            wrong: "",
        },
        "loom_cancel a_cancel_crosses_the_exit_and_a_relaunch",
    ),
    (
        Mutant {
            bug: "the number of a run does not publish that the last is over",
            file: STATE,
            right: "self.seq.store(self.seq.load(Relaxed) + 1, Release);",
            wrong: "self.seq.store(self.seq.load(Relaxed) + 1, Relaxed);",
        },
        "loom_join a_look_at_the_result_crosses_two_runs",
    ),
    (
        Mutant {
            bug: "the executor of a run does not publish that the task is claimed",
            file: STATE,
            right: "self.executor.store(executor, Release);",
            wrong: "self.executor.store(executor, Relaxed);",
        },
        "loom_cancel an_owner_cancels_what_is_about_to_come",
    ),
    (
        Mutant {
            bug: "an owner does not acquire who has claimed the task",
            file: STATE,
            right: "self.executor.load(Acquire)",
            wrong: "self.executor.load(Relaxed)",
        },
        "loom_cancel an_owner_cancels_what_is_about_to_come",
    ),
    (
        Mutant {
            bug: "an owner looks at the run_state before the executor",
            file: STATE,
            right: "self.is_of(executor) && self.run_state() == ATTACHED",
            wrong: "self.run_state() == ATTACHED && self.is_of(executor)",
        },
        "loom_cancel an_owner_cancels_what_is_about_to_come",
    ),
    (
        Mutant {
            bug: "a task that is attached elsewhere is cancelled",
            file: STATE,
            right: "self.is_of(executor) && self.run_state() == ATTACHED",
            wrong: "self.run_state() == ATTACHED",
        },
        "loom_cancel a_cancel_finds_the_task_gone_elsewhere",
    ),
    (
        Mutant {
            bug: "a task that is claimed, and not filled in, is cancelled",
            file: STATE,
            right: "self.is_of(executor) && self.run_state() == ATTACHED",
            wrong: "self.is_of(executor)",
        },
        "loom_cancel an_owner_cancels_what_is_about_to_come",
    ),
    (
        Mutant {
            bug: "a result does not publish its run",
            file: STATE,
            right: "self.result[0].store(result[0], Release); self.result[1].store(result[1], Release);",
            wrong: "self.result[0].store(result[0], Relaxed); self.result[1].store(result[1], Relaxed);",
        },
        "loom_join a_look_at_the_result_is_of_one_run",
    ),
    (
        Mutant {
            bug: "a look at a result does not acquire its run",
            file: STATE,
            right: "fence(Acquire);",
            wrong: "",
        },
        "loom_join a_look_at_the_result_is_of_one_run",
    ),
    (
        Mutant {
            bug: "a look at a result is not checked",
            file: STATE,
            right: "self.seq() == seq",
            wrong: "true",
        },
        "loom_join a_look_at_the_result_crosses_two_runs",
    ),
    (
        Mutant {
            bug: "a result is looked at before the exit",
            file: STATE,
            right: "!self.has_exited()",
            wrong: "false",
        },
        "loom_join a_look_at_the_result_is_of_one_run",
    ),
    (
        Mutant {
            bug: "a look at a result does not acquire the number",
            file: STATE,
            right: "self.seq.load(Acquire)",
            wrong: "self.seq.load(Relaxed)",
        },
        "loom_join a_look_at_the_result_crosses_two_runs",
    ),
    (
        Mutant {
            bug: "one look at a result is enough",
            file: STATE,
            right: "self.look()? == first",
            wrong: "true",
        },
        "loom_join a_look_at_the_result_is_of_one_run",
    ),
    (
        Mutant {
            bug: "who is refused does not acquire",
            file: INBOX,
            right: "fence(Acquire); return Push::Closed;",
            wrong: "return Push::Closed;",
        },
        "loom_join a_join_meets_the_exit_and_the_end_of_the_executor",
    ),
    (
        Mutant {
            bug: "a cancel finds a later run",
            file: WORLD,
            right: "self.task.state().seq() == self.message.seq.get()",
            wrong: "true",
        },
        "loom_cancel a_cancel_crosses_the_exit_and_a_relaunch",
    ),
    (
        Mutant {
            bug: "a task that has yet to arrive is taken out of the list of ready ones",
            file: WORLD,
            right: "!task.ready.get()",
            wrong: "false",
        },
        "loom_cancel a_cancel_overtakes_the_launch",
    ),
    (
        Mutant {
            bug: "a cancel that overtakes the launch is forgotten",
            file: WORLD,
            right: "self.task.cancel.get()",
            wrong: "false",
        },
        "loom_cancel a_cancel_overtakes_the_launch",
    ),
    (
        Mutant {
            bug: "an executor that closes does not answer",
            file: WORLD,
            right: "self.deal_with(ex, late);",
            wrong: "drop(late);",
        },
        "loom_join a_join_meets_the_exit_and_the_end_of_the_executor",
    ),
    (
        Mutant {
            bug: "an executor that closes does not wait for pins",
            file: WORLD,
            right: "self.inbox(ex).pinned()",
            wrong: "false",
        },
        "loom_join a_join_meets_the_exit_and_the_end_of_the_executor",
    ),
    (
        Mutant {
            bug: "a join finds a later run",
            file: JOIN,
            right: "state.seq() == record.seq.get()",
            wrong: "true",
        },
        "loom_join a_join_finds_a_later_run",
    ),
    (
        Mutant {
            bug: "who does not have the task takes its result as it is",
            file: JOIN,
            right: "self.answer(state.settled_result().unwrap_or(GONE), false);",
            wrong: "self.answer(state.result(), false);",
        },
        "loom_join a_join_finds_the_task_gone_elsewhere",
    ),
    (
        Mutant {
            bug: "UNJOIN is not owed",
            file: JOIN,
            right: "record.owed.set(record.owed.get() + 1);",
            wrong: "",
        },
        "loom_join an_answer_crosses_the_cancel_of_the_join",
    ),
    (
        Mutant {
            bug: "an UNJOIN that was refused is owed",
            file: JOIN,
            right: "record.owed.set(record.owed.get() - 1);",
            wrong: "",
        },
        "loom_join an_answer_crosses_the_cancel_of_the_join",
    ),
    (
        Mutant {
            bug: "a join that was answered is answered again",
            file: JOIN,
            right: "record.registered.replace(false)",
            wrong: "true",
        },
        "loom_join an_answer_crosses_the_cancel_of_the_join",
    ),
    (
        Mutant {
            bug: "a record is touched after its answer",
            file: JOIN,
            right: "self.record.registered.set(false); self.answer(result, false);",
            wrong: "self.answer(result, false); self.record.registered.set(false);",
        },
        "loom_join a_join_meets_the_exit_and_the_end_of_the_executor",
    ),
];
