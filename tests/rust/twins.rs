//! The table of calls on files, sockets, buffers, processes and signals: each has its form in C++,
//! which throws or takes a `std::error_code &`, and an operation that is filled and begun. Read from
//! the headers, so that none is forgotten.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::Handle;
use monad_async::error::{Errno, RawResult};
use monad_async::reactor::operation::Op;
use monad_async::uring::abi::{op, sqe as flag};
use monad_async::uring::kernel::Sqe;
use monad_async::uring::RingOptions;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::mem::zeroed;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use support::rings::ring;
use support::*;

/// The headers of the table.
const CALLS: &[&str] =
    &["file", "path", "socket", "buffer", "buffer_set", "poll", "process", "direct"];

/// What has no operation of its own, and why.
const NO_TWIN: &[(&str, &str)] = &[
    ("monad_async_file_set_ordered", "asks the kernel for nothing that waits"),
    ("monad_async_file_row_error", "tells what the library knows"),
    ("monad_async_file_close", "ends what is in flight on the file first"),
    ("monad_async_socket_close", "ends what is in flight on the socket first"),
    ("monad_async_file_read_all", "several reads"),
    ("monad_async_file_write_all", "several writes"),
    ("monad_async_socket_recv_exact", "several receives"),
    ("monad_async_socket_send_all", "several sends"),
    ("monad_async_socket_local_address", "no operation of the kernel's before 6.19"),
    ("monad_async_socket_peer_address", "no operation of the kernel's before 6.19"),
    ("monad_async_recv_stream_begin", "begins one itself"),
    ("monad_async_buffers_claim", "waits for other tasks, not for the kernel"),
    ("monad_async_buffers_claim_until", "waits for other tasks, not for the kernel"),
    ("monad_async_buffers_try_claim", "does not wait"),
    ("monad_async_signal_wait", "a descriptor is made, polled and read"),
];

/// What has no form of its own in C++, and why.
const NO_CPP: &[(&str, &str)] =
    &[("monad_async_buffers_claim_until", "a scope around `buffer_set::claim`")];

fn headers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include/monad/async")
}

fn read(name: &str) -> String {
    let path = headers().join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Without comments.
fn code(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("/*") {
        out += &rest[..at];
        let end = rest[at..].find("*/").expect("a comment ends") + at + 2;
        rest = &rest[end..];
    }
    out += rest;
    out.lines().map(|line| line.split("//").next().unwrap().to_owned() + "\n").collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// The functions of a C header that take the running task first.
fn calls(header: &str) -> Vec<String> {
    let code = code(&read(&format!("{header}.h")));
    let before_task =
        |open: usize| code[open + 1..].trim_start().starts_with("monad_async_task task");
    let opens = code.match_indices('(').map(|(at, _)| at).filter(|&at| before_task(at));
    opens.map(|at| words(&code[..at]).last().unwrap().to_owned()).collect()
}

/// The name of its operation: without what it is a call on.
fn twin(call: &str) -> String {
    let name = call.strip_prefix("monad_async_").unwrap();
    match name {
        "socket_open" => "monad_async_op_socket".into(), // `open` is that of files.
        "process_wait" | "signal_wait" | "poll" => format!("monad_async_op_{name}"),
        _ => format!("monad_async_op_{}", name.split_once('_').map_or(name, |(_, verb)| verb)),
    }
}

fn all_of(ending: &str) -> String {
    let mut text = String::new();
    for directory in [headers(), headers().join("detail")] {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == ending) {
                text += &code(&fs::read_to_string(path).unwrap());
            }
        }
    }
    text
}

/// `lacking` is just what `exempt` says.
fn compare(what: &str, lacking: BTreeSet<String>, exempt: &[(&str, &str)]) -> Vec<String> {
    let known: BTreeSet<String> = exempt.iter().map(|(name, _)| (*name).into()).collect();
    let forgotten = lacking.difference(&known).map(|name| format!("{name} has no {what}"));
    let stale = known.difference(&lacking).map(|name| format!("{name} has a {what}, or is gone"));
    forgotten.chain(stale).collect()
}

#[test]
fn each_call_has_an_operation() {
    let text = all_of("h");
    let defined: BTreeSet<&str> =
        words(&text).filter(|w| w.starts_with("monad_async_op_")).collect();
    let all: Vec<String> = CALLS.iter().flat_map(|header| calls(header)).collect();
    assert!(all.len() > 50, "only {} calls were found", all.len());
    let lacking = all.into_iter().filter(|call| !defined.contains(&*twin(call))).collect();
    let wrong = compare("operation", lacking, NO_TWIN);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_call_has_its_form_in_cpp() {
    let text = all_of("hpp");
    let used: BTreeSet<&str> = words(&text).collect();
    let all = CALLS.iter().flat_map(|header| calls(header));
    let lacking = all.filter(|call| !used.contains(&**call)).collect();
    let wrong = compare("form in C++", lacking, NO_CPP);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A name with the types that are between its parenthesis, at `open`, and the one that closes it;
/// without what takes an error.
fn signature(code: &str, open: usize) -> String {
    let (mut depth, mut last) = (0, open + 1);
    let mut types = Vec::new();
    for (at, c) in code.char_indices().skip_while(|&(at, _)| at < open) {
        depth += i32::from("([{<".contains(c)) - i32::from(")]}>".contains(c));
        if depth == 0 || depth == 1 && c == ',' {
            // Without the default and the parameter's name.
            let declared = code[last..at].split(" = ").next().unwrap();
            let end = |c: char| !(c.is_alphanumeric() || c == '_');
            let kind = declared.trim_end_matches(|c| !end(c));
            types.push(kind.split_whitespace().collect::<Vec<_>>().join(" "));
            last = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    types.retain(|kind| !kind.is_empty() && kind != "std::error_code &");
    format!("{}({})", words(&code[..open]).last().unwrap(), types.join(", "))
}

/// The forms of which a comment says that they throw an errno.
fn throwing(text: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::new();
    for (at, _) in text.match_indices("@throws std::system_error") {
        let end = text[at..].find("*/").expect("a comment ends") + at + 2;
        let mut declared = &text[end..];
        if let Some(rest) = declared.trim_start().strip_prefix("template <") {
            declared = &rest[rest.find('>').unwrap() + 1..];
        }
        // An attribute has no parentheses here.
        let open = declared.find('(').expect("a function follows");
        forms.insert(signature(declared, open));
    }
    forms
}

/// Those whose last parameter takes the error.
fn reporting(text: &str) -> BTreeSet<String> {
    let code = code(text);
    let mut forms = BTreeSet::new();
    for (at, _) in code.match_indices("std::error_code &ec)") {
        // The parenthesis that this one closes.
        let mut depth = 0;
        let open = code[..at].char_indices().rev().find(|&(_, c)| {
            depth += i32::from(c == ')') - i32::from(c == '(');
            depth < 0
        });
        let (open, _) = open.expect("a parenthesis opens");
        forms.insert(signature(&code, open));
    }
    forms
}

#[test]
fn each_form_that_throws_has_one_that_does_not() {
    let more = ["socket_handle", "listener", "ordered", "writer", "reader", "stream"];
    let mut wrong = Vec::new();
    let mut seen = 0;
    for header in CALLS.iter().chain(&more) {
        let name = format!("{header}.hpp");
        if !headers().join(&name).exists() {
            continue;
        }
        let text = read(&name);
        let (throwing, reporting) = (throwing(&text), reporting(&text));
        seen += throwing.len();
        wrong.extend(throwing.difference(&reporting).map(|f| format!("{name}: {f}")));
    }
    assert!(seen > 50, "only {seen} were found");
    assert!(wrong.is_empty(), "no form with std::error_code &: {wrong:#?}");
}

/// Each operation that a header fills is named by a test in C or C++.
#[test]
fn each_operation_is_tried() {
    let mut tests = String::new();
    for language in ["c", "cpp"] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(language);
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "cpp") {
                for line in fs::read_to_string(path).unwrap().lines() {
                    tests += line.split("//").next().unwrap();
                    tests.push('\n');
                }
            }
        }
    }
    let tried: BTreeSet<&str> = words(&tests).collect();
    let text = all_of("h");
    let filled: Vec<&str> = filling(&text).map(|at| name_at(&text, at)).filter(is_twin).collect();
    assert!(filled.len() > 25, "only {} were found", filled.len());
    let untried: Vec<_> = filled.into_iter().filter(|name| !tried.contains(name)).collect();
    assert!(untried.is_empty(), "in no test: {untried:#?}");
}

/// Where the functions of a header begin that fill an operation.
fn filling(text: &str) -> impl Iterator<Item = usize> + '_ {
    text.match_indices("static inline void monad_async_op_").map(|(at, _)| at)
}

/// Behind `static inline void`.
fn name_at(text: &str, at: usize) -> &str {
    words(&text[at..]).nth(3).unwrap()
}

/// Not what those share.
fn is_twin(name: &&str) -> bool {
    !name.starts_with("monad_async_op_fill")
}

/// The opcode that is filled in below, by its name or as a number.
fn opcode_at(text: &str, at: usize) -> Option<u8> {
    let body = code(&text[at..]);
    let body = &body[..body.find("\n}").expect("a function ends")];
    let word = |call: &str| {
        let (_, rest) = body.split_once(call)?;
        words(rest.split_once("op, ")?.1).next()
    };
    let word = word("op_fill(").or_else(|| word("op_fill_fixed("))?;
    let named = op::TABLE.iter().find(|(name, _)| *name == word).map(|&(_, n)| n as u8);
    named.or_else(|| word.parse().ok())
}

/// Of each that fills an operation: its opcode, and the comment above it.
fn opcodes() -> BTreeMap<String, (u8, String)> {
    let mut found = BTreeMap::new();
    for header in CALLS {
        let text = read(&format!("{header}.h"));
        for at in filling(&text) {
            let above = &text[text[..at].rfind("/**").unwrap()..at];
            if let Some(opcode) = opcode_at(&text, at) {
                found.insert(name_at(&text, at).to_owned(), (opcode, above.to_owned()));
            }
        }
    }
    found
}

/// By another that fills one, which is looked at.
const BY_ANOTHER: [(&str, &str); 4] = [
    ("monad_async_op_sync_data", "monad_async_op_sync"),
    ("monad_async_op_option_get", "monad_async_op_fill_option"),
    ("monad_async_op_option_set", "monad_async_op_fill_option"),
    ("monad_async_op_fill_fixed", "monad_async_op_fill"), // With the opcode of its caller.
];

/// Linux 5.11, the oldest, has all up to here.
const OLDEST: u8 = op::UNLINKAT;

/// Whose opcode came after the oldest kernel, with its opcode.
fn later() -> Vec<(String, u8)> {
    let (opcodes, text) = (opcodes(), all_of("h"));
    let mut later = Vec::new();
    for at in filling(&text) {
        let name = name_at(&text, at);
        let by = BY_ANOTHER.iter().find(|(it, _)| *it == name).map(|(_, by)| *by);
        if name == "monad_async_op_fill" || name == "monad_async_op_fill_word" {
            continue;
        }
        match opcodes.get(by.unwrap_or(name)) {
            Some(&(opcode, _)) if opcode > OLDEST => later.push((name.to_owned(), opcode)),
            Some(_) => {}
            None => assert!(by == Some("monad_async_op_fill") || name.ends_with("_row"), "{name}"),
        }
    }
    assert!(later.len() > 10, "{later:?}");
    later
}

#[test]
fn what_came_after_the_oldest_kernel_says_when() {
    for header in CALLS {
        let text = read(&format!("{header}.h"));
        for at in filling(&text) {
            let name = name_at(&text, at);
            let above = &text[text[..at].rfind("/**").unwrap()..at];
            let says = above.contains("Linux 5.") || above.contains("Linux 6.");
            assert!(says || !is_twin(&name) || later().iter().all(|(it, _)| it != name), "{name}");
        }
    }
}

/// Of an opcode that it does not know the kernel says EINVAL, as of much else: see `lacks`. By a
/// record, as the functions of the headers fill it, and by `monad_async_task_io`.
#[test]
fn what_the_kernel_lacks_is_told_apart() {
    let mut each: Vec<u64> = later().iter().map(|(_, opcode)| 1 << opcode).collect();
    each.push(each.iter().fold(0, |all, one| all | one));
    for lacks in each {
        let Some(kernel) = ring(RingOptions { entries: 8, lacks, ..Default::default() }) else {
            return;
        };
        let ex: Handle<Real> = Handle::new(kernel, true).unwrap();
        let (task, ended) = (new_task(), Rc::new(Cell::new(false)));
        let out = ended.clone();
        set_body(task, move |task| {
            for (name, opcode) in later().into_iter().filter(|&(_, it)| lacks >> it & 1 != 0) {
                let mut sqe = Sqe::new(opcode, -1, 0, 0, 0, 0);
                if opcode == op::MSG_RING {
                    // That passes: a descriptor, of which nobody is told there.
                    sqe = Sqe::new(opcode, -1, 0, 1, 0, 1);
                }
                // SAFETY: as a C program makes one: all zeroes; nothing is begun.
                unsafe {
                    let record: Op = zeroed();
                    record.sqe.set(sqe);
                    let begun = Handle::<Real>::begin_operation(task, &record);
                    assert_eq!(begun, Err(Errno(libc::EOPNOTSUPP)), "{name}");
                    assert!(!record.is_in_flight.get());
                    let r = Handle::<Real>::io(task, &sqe);
                    assert_eq!(r.error, libc::EOPNOTSUPP, "{name} by task_io");
                }
            }
            // What is there goes on.
            // SAFETY: refers to no memory.
            unsafe {
                let record: Op = zeroed();
                record.sqe.set(Sqe::new(op::NOP, -1, 0, 0, 0, 0));
                assert_eq!(Handle::<Real>::begin_operation(task, &record), Ok(()));
                assert_eq!(Handle::<Real>::wait_operation(task, &record), RawResult::success(0));
            }
            out.set(true);
            RawResult::success(0)
        });
        ex.attach(task).unwrap();
        while ex.has_work() {
            let _ = ex.run(usize::MAX, None);
        }
        assert!(ended.get());
        destroy(ex, [task]);
    }
}

/// The same of a stream that no function fills.
#[test]
fn a_stream_that_the_kernel_lacks_is_told_apart() {
    let options = RingOptions { entries: 8, lacks: 1 << op::READ_MULTISHOT, ..Default::default() };
    let Some(kernel) = ring(options) else { return };
    let ex = Handle::new(kernel, true).unwrap();
    let task = new_task();
    set_body(task, move |task| {
        let buffers = match ex.executor().add_buffers(2, 64) {
            Err(Errno(libc::EOPNOTSUPP | libc::ENOSYS)) => return RawResult::success(0),
            made => made.unwrap(),
        };
        let mut sqe = Sqe::new(op::READ_MULTISHOT, -1, 0, 0, 0, 0);
        sqe.0[0] |= u64::from(flag::BUFFER_SELECT) << 8;
        // SAFETY: not removed yet; a record of zeroes, of which nothing is begun.
        unsafe {
            sqe.0[5] |= u64::from(buffers.as_ref().group);
            let record: Op = zeroed();
            record.sqe.set(sqe);
            let begun = Handle::<Real>::begin_operation(task, &record);
            assert_eq!(begun, Err(Errno(libc::EOPNOTSUPP)));
            ex.executor().remove_buffers(buffers).map(|()| 0).into()
        }
    });
    succeeds(ex, task);
}

/// That the comparisons above can fail.
#[test]
fn what_is_forgotten_is_seen() {
    let lacking: BTreeSet<String> = ["a".to_owned(), "b".to_owned()].into();
    assert!(compare("form", lacking.clone(), &[("a", ""), ("b", "")]).is_empty());
    assert_eq!(compare("form", lacking.clone(), &[("a", "")]), ["b has no form"]);
    let stale = compare("form", lacking, &[("a", ""), ("b", ""), ("c", "")]);
    assert_eq!(stale, ["c has a form, or is gone"]);
    let text = "/** x\n * @throws std::system_error */\n int f(int a = 0);\n\
                /** @throws std::system_error */ int f(map<a, b> const &a,\n int b);\n\
                /** @throws std::system_error */ template <class T> void g();\n\
                int f(int (*a)(int), std::error_code &ec) noexcept;\n\
                int f(map<a, b> const &other, int b, std::error_code &ec) noexcept;";
    let all = ["f(int)", "f(map<a, b> const &, int)", "g()"];
    assert_eq!(throwing(text), all.map(String::from).into());
    let all = ["f(int (*a)(int))", "f(map<a, b> const &, int)"];
    assert_eq!(reporting(text), all.map(String::from).into());
}
