//! Bugs that are planted in receiving by view: one or more for each rule. The random programs of
//! tests/sim/views find each.

use crate::list::{of, Mutant};

const BUFFERS: &str = "src/reactor/buffers.rs";
const HUNGRY: &str = "src/executor/buffers.rs";
const OPERATION: &str = "src/reactor/operation.rs";
const PROVIDE: &str = "src/reactor/provide.rs";
const RECEIVED: &str = "src/reactor/received.rs";
const REACTOR: &str = "src/reactor/mod.rs";
const REAP: &str = "src/reactor/reap.rs";
const RUN: &str = "src/executor/run.rs";
const STREAM: &str = "src/io/recv_stream.rs";
const USERS: &str = "src/reactor/users.rs";

pub const VIEWS: &[Mutant] = &[
    of(
        USERS,
        "entries that are not submitted, or in flight, are not looked for by a close",
        "[NOBODY, task.addr()].contains(&self.of(fd).get())",
        "{ let _ = task; true }",
    ),
    of(USERS, "a record in flight is nobody's", "self.of(fd).set(SEVERAL);", "self.of(fd).set(NOBODY);"),
    of(BUFFERS, "a view is given back twice", "if !self.is_held(number) { return false; }", ""),
    of(BUFFERS, "an older kernel is asked for no bytes", "sqe.set_len(self.bytes);", ""),
    of(BUFFERS, "a view is released twice", "if !matches!(is, Is::Held(..)) { return false; }", ""),
    of(
        BUFFERS,
        "the second completion that waits takes the place of the first",
        "if last != NONE { self.place(last).next.set(number); } true",
        "true",
    ),
    of(
        BUFFERS,
        "a buffer with data is counted as free",
        "place.flags.set(flags); self.free.set(self.free.get() - 1);",
        "place.flags.set(flags);",
    ),
    of(
        BUFFERS,
        "the kernel is not told of a buffer",
        "first.tail.store(self.tail.get(), Release);",
        "",
    ),
    of(
        BUFFERS,
        "a buffer has the number of its place in the ring",
        "entry.number.set(number);",
        "entry.number.set(at as u16);",
    ),
    of(
        BUFFERS,
        "a place in the ring is written over that the kernel has not taken",
        "(self.tail.get() & (self.count - 1)) as usize",
        "(number & (self.count - 1)) as usize",
    ),
    of(
        BUFFERS,
        "of the buffers that wait to be handed over the last one is left",
        "self.unprovided.set([first, number]);",
        "self.unprovided.set([number; 2]);",
    ),
    of(
        BUFFERS,
        "buffers that do not lie behind each other are handed over as if they did",
        "next != NONE && next == first + count",
        "next != NONE",
    ),
    of(
        BUFFERS,
        "a buffer that the kernel took for an error is lost",
        "self.place(number).is.set(Is::New); self.free.set(self.free.get() - 1); self.put(number);",
        "",
    ),
    of(
        REAP,
        "an error is taken for data",
        "cqe.res < 0 || !record.received(cqe.res, cqe.flags, !more)",
        "!record.received(cqe.res, cqe.flags, !more)",
    ),
    of(
        REAP,
        "an old kernel is not given the buffer back that it took for an error",
        "if let Some(buffers) = record.refuses(cqe.flags) { self.provide(buffers); }",
        "let _ = record.refuses(cqe.flags);",
    ),
    of(
        REACTOR,
        "buffers are destroyed while views are out",
        "buffers.streams.get() != 0 || !buffers.is_idle()",
        "buffers.streams.get() != 0",
    ),
    of(
        REACTOR,
        "buffers are destroyed while streams receive into them",
        "buffers.streams.get() != 0 || !buffers.is_idle()",
        "!buffers.is_idle()",
    ),
    of(
        HUNGRY,
        "who waits for a buffer is forgotten when one is free",
        "if self.feeds(hungry) { return; }",
        "return;",
    ),
    of(
        HUNGRY,
        "who waits no more for a buffer is counted",
        "hungry.waits.set(false); dec(&self.hungry);",
        "hungry.waits.set(false);",
    ),
    of(
        HUNGRY,
        "a deadlock is told while a task waits for something else",
        "self.hungry.get() == self.attached() && self.has_no_mail()",
        "true",
    ),
    of(
        HUNGRY,
        "who is told of a deadlock is not told why it goes on",
        "hungry(link).starves.set(true);",
        "",
    ),
    of(HUNGRY, "a close leaves who waits for a buffer waiting", "hungry.from != handle", "true"),
    of(
        HUNGRY,
        "one stream begins again where there are buffers for several",
        "if buffers.has_free() { self.buffer_freed(buffers); }",
        "",
    ),
    of(
        HUNGRY,
        "an old kernel is not given back what was given back",
        "self.reactor.provide(buffers); buffers.has_news.set(true);",
        "buffers.has_news.set(true);",
    ),
    of(RUN, "a deadlock is not told", "self.hungry.get() != 0 && self.tell_hungry(until)", "false"),
    of(
        HUNGRY,
        "a deadlock is told though a deadline will end it",
        "until == u64::MAX && self.timers.next_ns().is_none()",
        "true",
    ),
    of(
        BUFFERS,
        "who has received a view is taken to have it, though others release them",
        "!self.passes.get() && !self.has_free()",
        "!self.has_free()",
    ),
    of(
        BUFFERS,
        "that another task releases a view is not noticed",
        "if !task.is_some_and(taken_by) { self.passes.set(true); }",
        "",
    ),
    of(BUFFERS, "a deadlock is told while who has the views does not wait", "waits(task)", "true"),
    of(PROVIDE, "buffers wait for room twice", "if buffers.waits.get() { return; }", ""),
    of(
        PROVIDE,
        "buffers that wait for room are never handed over",
        "buffers.waits.get() && self.push_provided(buffers)",
        "false",
    ),
    of(
        PROVIDE,
        "buffers that an old kernel withdraws later stay with it",
        "buffers.provide_by_entries(); break;",
        "break;",
    ),
    of(
        STREAM,
        "a stream begins again without a buffer",
        "!buffers.has_free() && !is_closed()",
        "false",
    ),
    of(STREAM, "a stream that may wait does not", "self.flags.get() & NO_WAIT != 0", "true"),
    of(STREAM, "a stream that may not wait does", "self.flags.get() & NO_WAIT != 0", "false"),
    of(
        STREAM,
        "a stream begins again on another's number",
        "ex.is_closed_since(self.fd.get(), is_direct, self.begun.get())",
        "false",
    ),
    of(
        STREAM,
        "a stream whose socket was closed waits for a buffer",
        "!buffers.has_free() && !is_closed()",
        "!buffers.has_free()",
    ),
    of(
        STREAM,
        "a buffer that the kernel took for the end is lost",
        "buffers.give_back(number); ex.buffer_freed(buffers);",
        "",
    ),
    of(
        STREAM,
        "nobody hears of a buffer that the kernel took for the end",
        "buffers.give_back(number); ex.buffer_freed(buffers);",
        "buffers.give_back(number);",
    ),
    of(STREAM, "a kernel without streams ends them", "!self.single.replace(true)", "false"),
    of(
        STREAM,
        "a receive that waits keeps a buffer of an old kernel's",
        "libc::MSG_DONTWAIT as u32",
        "0",
    ),
    of(
        STREAM,
        "a stream that has ended stays in the kernel",
        "ex.end_operation(task, &self.op)?;",
        "",
    ),
    of(
        STREAM,
        "a Unix socket is not asked for its end behind the last that it brought",
        "match flags & cqe::SOCK_NONEMPTY { 0 if since < MANY => TELLS, 0 => DOUBTED, _ => MANY.min(since + 1), }",
        "match flags & cqe::SOCK_NONEMPTY { 0 if since < MANY => TELLS, 0 => TELLS, _ => MANY.min(since + 1), }",
    ),
    of(
        STREAM,
        "a Unix socket is asked for its end if it has brought many",
        "match self.flags.get() & (UNIX | DIRECT) { _ if single => TELLS, 0 => TELLS, UNIX => MANY, _ => 0, }",
        "match self.flags.get() & (UNIX | DIRECT) { _ if single => TELLS, 0 => TELLS, UNIX => 0, _ => 0, }",
    ),
    of(
        STREAM,
        "a direct socket is taken to tell of its end",
        "match self.flags.get() & (UNIX | DIRECT) { _ if single => TELLS, 0 => TELLS, UNIX => MANY, _ => 0, }",
        "match self.flags.get() & (UNIX | DIRECT) { _ if single => TELLS, 0 => TELLS, UNIX => MANY, _ => TELLS, }",
    ),
    of(
        STREAM,
        "what a direct socket has brought is not counted",
        "match flags & cqe::SOCK_NONEMPTY { 0 if since < MANY => TELLS, 0 => DOUBTED, _ => MANY.min(since + 1), }",
        "match flags & cqe::SOCK_NONEMPTY { 0 if since < MANY => TELLS, 0 => DOUBTED, _ => since, }",
    ),
    of(
        STREAM,
        "what was received into a listed record is not counted",
        "if self.since.get() != TELLS { self.counts(flags); }",
        "if self.since.get() != TELLS && self.op.state.get() == crate::reactor::operation::State::Kernel { self.counts(flags); }",
    ),
    of(
        STREAM,
        "a socket that has brought more than was taken is not asked for its end again",
        "!self.op.is_in_flight.get() || self.op.pending.get() != 0",
        "!self.op.is_in_flight.get() || { let waits = self.op.pending.get() != 0; if waits { let _ = self.since.replace(TELLS); } waits }",
    ),
    of(
        STREAM,
        "a socket is asked for its end each time that it has brought the last",
        "self.since.set(TELLS);",
        "",
    ),
    of(
        STREAM,
        "a direct socket is asked for its end",
        "self.is_direct() || ex.kernel().has_ended(self.fd.get())",
        "ex.kernel().has_ended(self.fd.get())",
    ),
    of(
        STREAM,
        "a stream is armed anew without a look for the end",
        "self.is_direct() || ex.kernel().has_ended(self.fd.get())",
        "true",
    ),
    of(
        STREAM,
        "a stream whose end is there is not armed anew",
        "self.anew.set(ex.cancel_operation(&self.op).is_ok());",
        "",
    ),
    of(
        STREAM,
        "a stream that is to be armed anew ends",
        "self.anew.set(ex.cancel_operation(&self.op).is_ok());",
        "let _ = ex.cancel_operation(&self.op);",
    ),
    of(
        STREAM,
        "a stream is doubted before its first data",
        "match self.flags.get() & (UNIX | DIRECT) { _ if single => TELLS, 0 => TELLS, UNIX => MANY, _ => 0, }",
        "match self.flags.get() & (UNIX | DIRECT) { _ if single => TELLS, 0 => TELLS, UNIX => DOUBTED, _ => 0, }",
    ),
    of(
        STREAM,
        "a stream that was stopped is begun again",
        "self.stopped.get() && !is_closed()",
        "false",
    ),
    of(
        STREAM,
        "a stream that was stopped ends with an error",
        "self.anew.get() || self.stopped.get()",
        "self.anew.get()",
    ),
    of(STREAM, "a stream that is stopped goes on", "self.stopped.set(true);", ""),
    of(
        STREAM,
        "a stream that may not know of its end is taken to tell of it",
        "receives && self.since.get() == TELLS && !self.over.get()",
        "receives && !self.over.get()",
    ),
    of(
        RECEIVED,
        "the last data that a stream brings is taken as if it went on",
        "self.state.get() != State::Kernel || number == NONE",
        "number == NONE",
    ),
    of(
        RECEIVED,
        "data that was taken is counted still",
        "self.take_buffer(buffers, task); self.unpend(task); Some((buffers.data(number), bytes as usize))",
        "self.take_buffer(buffers, task); Some((buffers.data(number), bytes as usize))",
    ),
    of(
        RECEIVED,
        "a buffer of a completion that nobody takes is lost",
        "unsafe { buffers.as_ref() }.give_back(number)",
        "false",
    ),
    of(
        RECEIVED,
        "nobody hears of a buffer whose completion nobody took",
        "freed = Some(buffers);",
        "",
    ),
    of(
        OPERATION,
        "a stream that has ended is counted",
        "buffers.streams.set(buffers.streams.get() - 1);",
        "",
    ),
    of(
        RECEIVED,
        "the last that a stream brings is taken as if it went on",
        "self.state.get() != State::Kernel || self.first.get() == NONE",
        "self.first.get() == NONE",
    ),
    of(
        RECEIVED,
        "the list of completions has its first for its last",
        "self.last.set(number);",
        "",
    ),
    of(
        RECEIVED,
        "the list of completions has a last when it is empty",
        "if next == NONE { self.last.set(NONE); }",
        "",
    ),
];
