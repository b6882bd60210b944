//! Bugs that are planted in what becomes of ordered writes, registered buffers and closed handles:
//! one or more for each rule. The random programs of tests/sim/files find each, but for a rare one that has
//! a test in tests/rust/rows.rs.

use crate::list::{found_by, of, Mutant};

const BATCH: &str = "src/reactor/batch.rs";
const HELD: &str = "src/reactor/held.rs";
const CLOSING: &str = "src/reactor/closing.rs";
const ROWS: &str = "src/reactor/rows.rs";

pub const FILES: &[Mutant] = &[
    of(
        ROWS,
        "what is called behind an error is written",
        "!row.failed.get().is_null()",
        "false",
    ),
    of(
        ROWS,
        "what waits behind an error is written",
        "!is_behind && goes_on",
        "true",
    ),
    of(
        ROWS,
        "what is not back when an error is taken is written",
        "row.is_behind.set(row.is_in_kernel());",
        "",
    ),
    of(
        ROWS,
        "what waits when an error is taken is written",
        "while row.is_in_kernel() && row.take_off().is_some() {}",
        "",
    ),
    of(
        ROWS,
        "what the kernel did not take of a row is taken for written",
        "self.row_completed(record, -libc::ECANCELED);",
        "self.row_completed(record, record.sqe.get().len() as i32);",
    ),
    of(
        BATCH,
        "a batch goes on behind a write that was not done as a whole",
        "if u64::try_from(written) != Ok(bytes) { return; }",
        "",
    ),
    of(
        BATCH,
        "a batch goes on behind writes that were not done as a whole",
        "is_whole.then_some(n)",
        "Some(n)",
    ),
    of(
        BATCH,
        "a batch writes again what was written",
        "rest(&record.sqe.get(), record.progress.get())",
        "record.sqe.get()",
    ),
    of(
        BATCH,
        "a row is handed over while its batch is out",
        "row.in_kernel.set(row.in_kernel.get() + batch.count.get());",
        "row.in_kernel.set(batch.count.get());",
    ),
    of(
        BATCH,
        "a batch is performed behind one that was not done as a whole",
        "self.broken.set(!batch.is_whole.get());",
        "",
    ),
    of(
        BATCH,
        "what failed before keeps later batches from being performed",
        "self.batches.broken.set(false);",
        "",
    ),
    of(BATCH, "batches are taken as they arrive", "if !batch.is_back.get() { break; }", ""),
    of(
        BATCH,
        "what was written as one is written whole",
        "left.min(wanted(&self.entry(n)))",
        "wanted(&self.entry(n))",
    ),
    of(
        ROWS,
        "more goes out behind what is broken",
        "!self.breaks.get() && self.elsewhere.as_ref().is_some_and(Elsewhere::takes_more)",
        "self.elsewhere.as_ref().is_some_and(Elsewhere::takes_more)",
    ),
    of(
        BATCH,
        "what has no end in a batch took nothing",
        "self.results[n as usize].set(NOT_BEGUN);",
        "self.results[n as usize].set(0);",
    ),
    of(
        ROWS,
        "what came back goes behind what waits",
        "back.append(row.waiting.take_all());",
        "let waiting = row.waiting.take_all(); row.waiting.append(waiting);
         while let Some(link) = back.pop_front() { let _ = unsafe { row.waiting.push_back(link) }; }",
    ),
    of(
        ROWS,
        "a row is handed over before the last one is back",
        "row.in_kernel.set(n);",
        "row.in_kernel.set(n.min(1));",
    ),
    of(ROWS, "a row is not linked", "u64::from(flag::IO_LINK) << 8", "0"),
    of(
        ROWS,
        "a row ends with a link",
        "is_part || n == room || row.ends_here()",
        "is_part || row.ends_here()",
    ),
    of(
        ROWS,
        "what was written before is forgotten",
        "record.progress.set(record.progress.get() + done);",
        "record.progress.set(done);",
    ),
    of(
        ROWS,
        "what another's error kept from being done is over",
        "if broke_before { return None; }",
        "if broke_before { return Some(record.withdrawn()); }",
    ),
    of(
        ROWS,
        "any write that was taken lets its row go on",
        "ptr::eq(row.failed.get(), record)",
        "true",
    ),
    of(
        ROWS,
        "a device that takes nothing is asked for ever",
        "res == 0 && wanted(&record.sqe.get()) != 0",
        "false",
    ),
    of(
        "src/reactor/ordered.rs",
        "writes are one that do not go on",
        "next.off() == off.wrapping_add(bytes)",
        "{ let _ = off; true }",
    ),
    of(CLOSING, "a row takes more while its file is closed", "row.is_closing.set(true);", ""),
    of(
        ROWS,
        "the first of those that the kernel refuses together is to blame",
        "self.merged.get() == 1 && self.flying.front() == Some(record.link())",
        "true",
    ),
    of(
        BATCH,
        "the first of those that a thread writes at once is to blame",
        "written < 0",
        "false",
    ),
    of(
        "src/reactor/ordered.rs",
        "the rest of a write goes where it began",
        "sqe.off() + u64::from(done)",
        "sqe.off()",
    ),
    of("src/reactor/closing.rs", "a close is not noted", "self.closings.add(closed);", ""),
    of(
        "src/reactor/reap.rs",
        "what was begun before its handle was closed is begun again",
        "is_not_performed(res) && self.is_handle_closed(record)",
        "false",
    ),
    of(
        "src/executor/ordered.rs",
        "a file is closed while the kernel has its row",
        "self.pass_through(task, file.row, &Sqe::new(op::NOP, -1, 0, 0, 0, 0));",
        "break;",
    ),
    of(
        "src/executor/ordered.rs",
        "what was linked to what had just ended outlives a close that cancels by the handle",
        "if !by_one && row.is_in_kernel() { self.cancel_on_handle(task, cancel); }",
        "",
    ),
    of(
        CLOSING,
        "what is linked is asked to end once, before it has begun",
        "record.clear(bit::ASKED);",
        "",
    ),
    of(
        CLOSING,
        "where the kernel does not cancel by handle nothing is",
        "self.cancel_listed(closed);",
        "",
    ),
    of(
        CLOSING,
        "what is in flight on other handles is in no list behind a close",
        "list.append(others);",
        "",
    ),
    of(
        CLOSING,
        "what the kernel has is not noted by its handle",
        "self.kernel.cancels_by_handle() || handle as i32 == -1",
        "true",
    ),
    of(CLOSING, "what is over stays noted by its handle", "record.state.get() == State::Listed", "false"),
    of(
        "src/reactor/cancel.rs",
        "what somebody has asked to end stays noted by its handle",
        "self.unlist(record);",
        "",
    ),
    of(
        "src/executor/ordered.rs",
        "what waits for its row outlives the close",
        "self.reactor.row_closes(row, |record| self.record_completed(record, true, now));",
        "",
    ),
    of(
        "src/reactor/fixed.rs",
        "a buffer that nobody has is written",
        "claimed.then_some(Some((fixed, number)))",
        "Some(Some((fixed, number)))",
    ),
    of(
        "src/reactor/fixed.rs",
        "places of the table stay filled",
        "(0..fixed.memory().slots()).for_each(|n| self.empty_slot(fixed.first + n));",
        "",
    ),
    of(
        "src/executor/operations.rs",
        "a buffer in use is given back",
        "record.uses(fixed.users(number))",
        "{ let _ = (fixed, number); }",
    ),
];

const LOOKS: &str = "an_executor_looks_for_batches_that_come_soon";
const TOGETHER: &str = "who_performs_batches_tells_of_them_together_while_enough_is_out";

/// What random programs come to too rarely, or do without.
pub const IN_ROWS: &[(Mutant, &str)] = &[
    found_by(
        ROWS,
        "a row whose close is under way is another file's",
        "old.is_idle() && !old.is_closing.get()",
        "old.is_idle()",
        "a_number_that_is_another_files_before_the_close_returns",
    ),
    found_by(
        ROWS,
        "a row that has its turn is freed",
        "if let Some(old) = table[index].replace(row) { self.end_turn(&old); }",
        "drop(table[index].replace(row));",
        "a_row_that_has_its_turn_and_is_replaced",
    ),
    found_by(
        ROWS,
        "rows of files that were closed elsewhere are kept",
        "unused(old) && is_gone(old.handle)",
        "{ let _ = old; false }",
        "rows_of_files_that_were_closed_elsewhere_are_used_again",
    ),
    found_by(
        ROWS,
        "rows of files that were closed are kept",
        "self.table.borrow_mut()[number as usize] = None;",
        "",
        "rows_of_files_that_were_closed_are_used_again",
    ),
    found_by(
        "src/reactor/place.rs",
        "what is over and not told of is still the kernel's",
        "record.state.set(State::Done);",
        "",
        "a_cancel_of_a_write_that_is_done_and_not_told_of",
    ),
    found_by(
        BATCH,
        "a row that had its turn when it broke goes out behind what is broken",
        "row.elsewhere.as_ref().filter(|_| row.goes_on_elsewhere())",
        "row.elsewhere.as_ref().filter(|to| to.takes_more())",
        "what_is_called_when_an_error_was_taken_is_not_behind_it",
    ),
    found_by(
        BATCH,
        "what is all there is goes out as one batch",
        "n.div_ceil(2)",
        "n.min(WRITES_MAX)",
        TOGETHER,
    ),
    found_by(
        ROWS,
        "one write alone goes to the ring",
        "if self.goes_elsewhere(row) { return 0; }",
        "if row.waiting.any(|at| Some(at) != row.waiting.front()) && self.goes_elsewhere(row) { return 0; }",
        TOGETHER,
    ),
    found_by(
        "src/reactor/submit.rs",
        "the ring is entered for what a thread performs",
        "pending == 0 && moved == 0 && !self.kernel.needs_enter()",
        "false",
        LOOKS,
    ),
    found_by(
        BATCH,
        "an executor is woken for each batch",
        "writes <= WRITES_MAX",
        "true",
        TOGETHER,
    ),
    found_by(
        BATCH,
        "what is performed is held back from an executor that is awake",
        "!home.sleeps()",
        "false",
        TOGETHER,
    ),
    found_by(
        "src/executor/ordered.rs",
        "an executor sleeps whatever comes soon",
        "self.reactor.rows.are_elsewhere() && self.may_sleep() && self.look_for_batch(boot_ns)",
        "boot_ns == 0 && self.look_for_batch(boot_ns)",
        LOOKS,
    ),
    found_by(
        "src/sys/patience.rs",
        "a look in vain is followed by the next",
        "pays && ns < CROWDED_NS",
        "ns < CROWDED_NS",
        LOOKS,
    ),
    found_by(
        "src/executor/ordered.rs",
        "who waits for batches reckons from its last look",
        "if batches.since_ns.get() == 0 { batches.since_ns.set(since_ns); }",
        "batches.since_ns.set(since_ns);",
        "what_comes_late_is_late_however_often_an_executor_looked_for_it",
    ),
    found_by(
        "src/executor/operations.rs",
        "an operation by another executor's handle begins",
        "home != 0 && home != self.mailbox.home()",
        "false",
        "an_operation_by_another_executors_handle_does_not_begin",
    ),
    found_by(
        "src/executor/mailbox.rs",
        "who is told of several is woken for the first",
        "wakes = true;",
        "self.wake();",
        "who_is_told_of_several_is_woken_when_all_are_there",
    ),
    found_by(
        BATCH,
        "what writes nothing is not done with what is before it",
        "left == 0 && n != begin && !is_whole",
        "left == 0 && n != begin",
        "a_write_of_nothing_behind_another_is_done_with_it",
    ),
    found_by(
        BATCH,
        "an executor is woken when all is performed that was out",
        "writes <= WRITES_MAX",
        "false",
        TOGETHER,
    ),
    found_by(
        HELD,
        "what is performed is held back while a write behind it takes long",
        "if (now_ns > self.until_ns || is_slow) && self.count != 0 { self.post_all(); }",
        "",
        TOGETHER,
    ),
    found_by(
        HELD,
        "what is performed is held back behind a write that took long",
        "now_ns > self.begun_ns.saturating_add(SLOW_NS)",
        "false",
        TOGETHER,
    ),
    found_by(
        HELD,
        "a batch is held back for a time that began with another",
        "self.until_ns = 0;",
        "",
        TOGETHER,
    ),
];
