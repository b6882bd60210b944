//! A failing assertion in a task's body is told of, with its line, before the process ends.

#[path = "../support/mod.rs"]
mod support;

use monad_async::error::RawResult;
use support::child::dying;
use support::{destroy, executor, new_task, set_body};

#[test]
fn a_failing_assertion_in_a_task_names_its_line() {
    const LINE: u32 = line!() + 5;
    let outcome = dying("a_failing_assertion_in_a_task_names_its_line", || {
        let ex = executor(8);
        let task = new_task();
        set_body(task, |_| {
            assert_eq!(std::hint::black_box(1), 2, "one is not two");
            RawResult::success(0)
        });
        ex.attach(task).unwrap();
        let _ = ex.run(usize::MAX, None);
        destroy(ex, [task]);
    });
    let Some((signal, said)) = outcome else { return };
    assert_eq!(signal, libc::SIGABRT, "{said}");
    assert!(said.contains("one is not two"), "{said}");
    assert!(said.contains(&format!("in a task: panicked at {}:{LINE}:", file!())), "{said}");
}
