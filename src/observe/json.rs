//! A trace as text: the trace event format of Chrome, which Perfetto reads. Takes no memory and no
//! lock, and makes no call but `write`: it may run in a handler of a signal, and in a process that
//! crashes.
//!
//! One track an executor (`tid` 0) and one a task. On a task's: `run`, from the stamp of its
//! resumption to that of its suspension; before it `ready`; before that what it waited for. So the
//! `ticks` of all `run` of a track are the task's `total_ticks_executed`; those of the executor's
//! tracks are its `total_ticks_in_run`, `_in_io_uring` and `_sleeping`.

use core::fmt::{self, Write};

use super::names;
use crate::error::{Errno, Res};
use crate::executor::watch::{ended, INSIDE_SHIFT};
use crate::sys::fd;
use crate::task::header::Waits;
use crate::trace::{span, Event, Kind, Ring, NAME_WORDS};

/// Bytes that are gathered before each `write`.
const GATHERED: usize = 8192;

struct Out {
    fd: i32,
    bytes: [u8; GATHERED],
    len: usize,
    error: Option<Errno>,
    first: bool,
}

impl Out {
    fn flush(&mut self) {
        if self.error.is_none() {
            self.error = fd::write_all(self.fd, &self.bytes[..self.len]).err();
        }
        self.len = 0;
    }

    /// Between two events.
    fn next(&mut self) {
        let _ = self.write_str(if self.first { "\n" } else { ",\n" });
        self.first = false;
    }
}

impl Write for Out {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let mut rest = s.as_bytes();
        while !rest.is_empty() {
            let fits = rest.len().min(GATHERED - self.len);
            self.bytes[self.len..self.len + fits].copy_from_slice(&rest[..fits]);
            self.len += fits;
            rest = &rest[fits..];
            if self.len == GATHERED {
                self.flush();
            }
        }
        Ok(())
    }
}

/// Ticks as microseconds with three decimals, from a counter's beginning.
struct Time(u64, u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = u128::from(self.0) * 1_000_000_000 / u128::from(self.1.max(1));
        write!(f, "{}.{:03}", ns / 1000, ns % 1000)
    }
}

/// A name, between quotes.
struct Quoted([u64; NAME_WORDS]);

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.map(u64::to_ne_bytes);
        let bytes = bytes.as_flattened();
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        f.write_char('"')?;
        for chunk in bytes[..end].utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '"' | '\\' => write!(f, "\\{c}")?,
                    c if c.is_control() => write!(f, "\\u{:04x}", c as u32)?,
                    c => f.write_char(c)?,
                }
            }
            if !chunk.invalid().is_empty() {
                f.write_char('\u{fffd}')?;
            }
        }
        f.write_char('"')
    }
}

/// A track's number: headers are 128 bytes apart. Viewers take 32 bits, of which 0 is the
/// executor's.
fn track(task: u64) -> u64 {
    task >> 7 & 0x7fff_ffff
}

/// Writes traces of several executors as one document. What is recorded by then may be missing.
pub fn write(rings: impl Iterator<Item = Ring> + Clone, fd: i32) -> Res<()> {
    let mut out = Out { fd, bytes: [0; GATHERED], len: 0, error: None, first: true };
    let _ = document(rings, &mut out);
    out.flush();
    out.error.map_or(Ok(()), Err)
}

fn document(rings: impl Iterator<Item = Ring> + Clone, out: &mut Out) -> fmt::Result {
    out.write_str("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
    let mut lost = 0;
    for (i, ring) in rings.clone().enumerate() {
        let mut doc = Document { out, pid: i + 1, rate: ring.ticks_per_second(), sequence: 0 };
        doc.names(ring)?;
        lost += ring.for_each(|event| {
            let _ = doc.event(&event);
        });
        doc.still_running(ring)?;
    }
    let ring = rings.clone().next();
    let process = ring.map_or(0, |ring| ring.whose().0);
    write!(out, "\n],\"otherData\":{{\"library\":\"monad_async {}\"", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, ",\"process\":{process},\"overwritten\":{lost}}}}}")
}

struct Document<'a> {
    out: &'a mut Out,
    pid: usize,
    rate: u64,
    sequence: u64,
}

impl Document<'_> {
    /// What each event begins with; its arguments and a brace are the caller's to add.
    fn begin(&mut self, phase: char, tid: u64, at: u64) -> fmt::Result {
        self.out.next();
        let (pid, time) = (self.pid, Time(at, self.rate));
        write!(self.out, "{{\"ph\":\"{phase}\",\"pid\":{pid},\"tid\":{tid},\"ts\":{time}")
    }

    fn metadata(&mut self, what: &str, tid: u64) -> fmt::Result {
        self.out.next();
        let pid = self.pid;
        write!(
            self.out,
            "{{\"ph\":\"M\",\"pid\":{pid},\"tid\":{tid},\"name\":\"{what}\",\"args\":{{"
        )
    }

    fn names(&mut self, ring: Ring) -> fmt::Result {
        let (process, thread, executor) = ring.whose();
        self.metadata("process_name", 0)?;
        match ring.name() {
            [0, ..] => write!(self.out, "\"name\":\"executor {}\"", self.pid)?,
            name => write!(self.out, "\"name\":{}", Quoted(name))?,
        }
        write!(self.out, ",\"process\":{process},\"thread\":{thread},")?;
        write!(self.out, "\"executor\":\"{executor:#x}\"}}}}")?;
        self.metadata("process_sort_index", 0)?;
        write!(self.out, "\"sort_index\":{}}}}}", self.pid)?;
        self.metadata("thread_name", 0)?;
        self.out.write_str("\"name\":\"executor\"}}")?;
        ring.for_each_name(|task, name| {
            let _ = self.metadata("thread_name", track(task));
            let _ = write!(self.out, "\"name\":{},\"task\":\"{task:#x}\"}}}}", Quoted(name));
        });
        Ok(())
    }

    /// A span of a track, of which some is left to be said.
    fn slice(&mut self, tid: u64, from: u64, to: u64, category: &str) -> fmt::Result {
        self.begin('X', tid, from)?;
        let ticks = to.wrapping_sub(from);
        let dur = Time(ticks, self.rate);
        write!(self.out, ",\"dur\":{dur},\"cat\":\"{category}\",\"args\":{{\"ticks\":{ticks}")
    }

    fn instant(&mut self, tid: u64, at: u64, name: &str) -> fmt::Result {
        self.begin('i', tid, at)?;
        write!(self.out, ",\"s\":\"t\",\"name\":\"{name}\",\"args\":{{")
    }

    /// An arrow from one task to another, at the same time.
    fn arrow(&mut self, by: u64, to: u64, at: u64, name: &str) -> fmt::Result {
        self.sequence += 1;
        let id = (self.pid as u64) << 40 | self.sequence;
        for (phase, tid) in [('s', by), ('f', to)] {
            self.begin(phase, track(tid), at)?;
            write!(self.out, ",\"cat\":\"cause\",\"name\":\"{name}\",\"id\":{id}")?;
            self.out.write_str(if phase == 'f' { ",\"bp\":\"e\"}" } else { "}" })?;
        }
        Ok(())
    }

    fn operation(&mut self, c: u64) -> fmt::Result {
        let (opcode, fd) = (names::opcode(c as u8), (c >> 32) as u32 as i32);
        write!(self.out, ",\"opcode\":\"{opcode}\",\"fd\":{fd}")
    }

    fn event(&mut self, e: &Event) -> fmt::Result {
        let tid = track(e.task);
        match e.kind {
            Kind::Run => self.run(e, tid),
            Kind::Wake => self.wake(e, tid),
            Kind::Launch => {
                self.instant(tid, e.from, "launch")?;
                let from = if e.what == 1 { "another thread" } else { "here" };
                write!(self.out, "\"from\":\"{from}\",\"priority\":{}}}}}", e.b)?;
                if e.a != 0 && e.a != e.task {
                    self.arrow(e.a, e.task, e.from, "launch")?;
                }
                Ok(())
            }
            Kind::Begin => {
                self.instant(tid, e.from, "begin")?;
                let (opcode, fd) = (names::opcode(e.what), e.b as u32 as i32);
                write!(self.out, "\"opcode\":\"{opcode}\",\"fd\":{fd},\"op\":\"{:#x}\"}}}}", e.a)
            }
            Kind::Complete => {
                self.instant(tid, e.from, "complete")?;
                let (opcode, res) = (names::opcode(e.what), e.b as i64);
                write!(self.out, "\"opcode\":\"{opcode}\",\"result\":{res},\"op\":\"{:#x}\"", e.a)?;
                write!(self.out, ",\"last\":{}}}}}", e.c != 0)
            }
            Kind::Cancel => {
                self.instant(tid, e.from, "cancel")?;
                self.out.write_str("}}")?;
                if e.a != 0 && e.a != e.task {
                    self.arrow(e.a, e.task, e.from, "cancel")?;
                }
                Ok(())
            }
            Kind::Scope => {
                let name = ["scope entered", "scope left", "scope fired"];
                self.instant(tid, e.from, name.get(e.what as usize).unwrap_or(&"scope"))?;
                write!(self.out, "\"scope\":\"{:#x}\"", e.a)?;
                match e.what {
                    0 if e.b == u64::MAX => {}
                    0 => write!(self.out, ",\"timeout_ns\":{}", e.b)?,
                    _ => write!(self.out, ",\"errno\":{}", e.b)?,
                }
                self.out.write_str("}}")
            }
            Kind::Span => {
                let name = match e.what {
                    span::RUN => "run",
                    span::IO_URING => "io_uring",
                    _ => "sleep",
                };
                self.slice(0, e.from, e.to, "executor")?;
                write!(self.out, "}},\"name\":\"{name}\"}}")
            }
        }
    }

    fn run(&mut self, e: &Event, tid: u64) -> fmt::Result {
        if e.a < e.from {
            self.slice(tid, e.a, e.from, "ready")?;
            self.out.write_str("},\"name\":\"ready\"}")?;
        }
        self.slice(tid, e.from, e.to, "task")?;
        write!(self.out, ",\"task\":\"{:#x}\",\"then\":\"{}\"", e.task, names::wait(e.what))?;
        match e.what {
            ended::EXITED => {
                write!(self.out, ",\"result\":{},\"error\":{}", e.b as i64, e.c as u32)?
            }
            ended::YIELDED => {}
            what if is(what, Waits::Deadline) => write!(self.out, ",\"deadline_ns\":{}", e.b)?,
            _ if e.b != 0 => write!(self.out, ",\"of\":\"{:#x}\"", e.b)?,
            _ => {}
        }
        if is_operation(e.what) && (e.b != 0 || !is(e.what, Waits::Operation)) {
            self.operation(e.c)?;
        }
        self.out.write_str("},\"name\":\"run\"}")
    }

    fn wake(&mut self, e: &Event, tid: u64) -> fmt::Result {
        let what = e.what & ((1 << INSIDE_SHIFT) - 1);
        self.slice(tid, e.from, e.to, "wait")?;
        write!(self.out, ",\"outcome\":{},\"cause\":\"{}\"", e.b as i64, cause(e, what))?;
        if e.a != 0 && e.a != e.task {
            write!(self.out, ",\"by\":\"{:#x}\"", e.a)?;
        }
        let is_inline = is_operation(what) && !is(what, Waits::Operation);
        if is_inline {
            self.operation(e.c)?;
        }
        let name = if is_inline { names::opcode(e.c as u8) } else { names::wait(what) };
        write!(self.out, "}},\"name\":\"{name}\"}}")?;
        if e.a != 0 && e.a != e.task {
            self.arrow(e.a, e.task, e.to, "wake")?;
        }
        Ok(())
    }

    /// In a crash, say: the task whose run is not over.
    fn still_running(&mut self, ring: Ring) -> fmt::Result {
        let (task, since) = ring.running();
        if task != 0 {
            self.begin('B', track(task), since)?;
            write!(
                self.out,
                ",\"cat\":\"task\",\"name\":\"run\",\"args\":{{\"task\":\"{task:#x}\"}}}}"
            )?;
        }
        Ok(())
    }
}

fn is(what: u8, waits: Waits) -> bool {
    what == waits as u8
}

fn is_operation(what: u8) -> bool {
    is(what, Waits::Completion)
        || is(what, Waits::CompletionCancelQueued)
        || is(what, Waits::Operation)
}

/// Why a wait for `what` was over.
fn cause(e: &Event, what: u8) -> &'static str {
    const ETIME: i64 = -(libc::ETIME as i64);
    const ECANCELED: i64 = -(libc::ECANCELED as i64);
    match e.b as i64 {
        _ if e.a != 0 && e.a != e.task => "task",
        ETIME => "deadline",
        ECANCELED => "cancel",
        _ if is_operation(what) || is(what, Waits::Closing) => "kernel",
        _ if is(what, Waits::Deadline) => "timer",
        _ if is(what, Waits::Join) => "exit",
        _ if e.what >> INSIDE_SHIFT != 0 => "another thread",
        _ => "outside its tasks",
    }
}
