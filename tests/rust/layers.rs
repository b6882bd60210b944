//! The floors of src/lib.rs, checked: who imports whom, who may talk to the kernel, how long a file
//! and how wide a line may get. Reads the source as tokens, not as text, so that comments and strings say nothing.

use std::path::{Path, PathBuf};

/// A module may import those of lower floors, and itself.
const FLOORS: &[&[&str]] = &[
    &["error", "ticks", "trace", "prefetch", "atomic", "intrusive"],
    &["sys"],
    &["uring", "stack"],
    &["task"],
    &["sched", "reactor"],
    &["executor"],
    &["io", "sync", "pool", "debug", "observe"],
    &["api"],
    &["capi", "bridge"],
];

/// Who may import whom on the same floor; and `ticks`, which reads the clocks, alone from above.
const PEERS: &[(&str, &str)] = &[
    ("bridge", "capi"),
    ("atomic", "sys"),
    ("intrusive", "atomic"),
    ("intrusive", "prefetch"),
    ("debug", "sync"),
    ("io", "pool"),
    ("observe", "sync"),
    ("ticks", "error"),
    ("ticks", "sys"),
];

/// Functions of the C library that ask the kernel for nothing but memory. What C frees must come
/// from C's allocator.
const NO_SYSTEM_CALLS: &[&str] = &["free", "strndup", "strerror_r"];

const LINES_MAX: usize = 500;
const LINES_AIM: usize = 400;
/// Of comments and strings too, which rustfmt leaves as they are.
const COLUMNS_MAX: usize = 100;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Token<'a> {
    Word(&'a str),
    /// `::`
    Path,
    Other(char),
    /// A string or character literal.
    Literal,
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Without comments; each with its line.
fn tokens(source: &str) -> Vec<(Token<'_>, usize)> {
    let mut out = Vec::new();
    let mut at = 0;
    let line_of = |at: usize| source[..at].matches('\n').count() + 1;
    while let Some(c) = source[at..].chars().next() {
        let rest = &source[at..];
        let (token, len) = if rest.starts_with("//") {
            (None, rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            (None, block_comment(rest))
        } else if let Some(len) = string(rest) {
            (Some(Token::Literal), len)
        } else if c == '\'' {
            // A character, or a lifetime: then only the quote is taken.
            let body: Vec<char> = rest.chars().skip(1).take(2).collect();
            match body[..] {
                ['\\', _] => (Some(Token::Literal), 4 + rest[3..].find('\'').unwrap()),
                [c, '\''] => (Some(Token::Literal), 2 + c.len_utf8()),
                _ => (Some(Token::Other(c)), 1),
            }
        } else if is_word(c) {
            let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            (Some(Token::Word(&rest[..len])), len)
        } else if rest.starts_with("::") {
            (Some(Token::Path), 2)
        } else {
            ((!c.is_whitespace()).then_some(Token::Other(c)), c.len_utf8())
        };
        if let Some(token) = token {
            out.push((token, line_of(at)));
        }
        at += len;
    }
    out
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        let next = rest[at..].find(['/', '*']).expect("an open comment") + at;
        at = next + 2;
        match rest.get(next..at) {
            Some("/*") => depth += 1,
            Some("*/") => depth -= 1,
            _ => at = next + 1,
        }
        if depth == 0 {
            return at;
        }
    }
}

/// The length of the string literal that `rest` starts with, prefixes and all.
fn string(rest: &str) -> Option<usize> {
    let quote = rest.find(|c| !matches!(c, 'b' | 'c' | 'r' | '#'))?;
    let (prefix, body) = (&rest[..quote], rest[quote..].strip_prefix('"')?);
    let hashes = prefix.trim_start_matches(['b', 'c', 'r']);
    if prefix.contains('r') {
        return Some(quote + 1 + body.find(&format!("\"{hashes}"))? + 1 + hashes.len());
    }
    if !hashes.is_empty() {
        return None;
    }
    let mut escaped = false;
    let end = body.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    Some(quote + 1 + end.expect("an open string") + 1)
}

/// What is wrong with one file; `name` is its path below src.
fn check(name: &str, source: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    wrong.extend(too_long(name, source));
    wrong.extend(too_wide(name, source));
    let own = name.split('/').next().unwrap().trim_end_matches(".rs");
    if own == "lib" {
        return wrong;
    }
    let tokens = tokens(source);
    let mut complain = |line: usize, what: String| wrong.push(format!("{name}:{line}: {what}"));
    for (module, line) in imports(name, &tokens) {
        if let Err(why) = may_import(own, module) {
            complain(line, why);
        }
    }
    let word = |i: usize| match tokens.get(i) {
        Some((Token::Word(w), _)) => *w,
        _ => "",
    };
    let is = |i: usize, t: Token| tokens.get(i).is_some_and(|(u, _)| *u == t);
    let asks = ["sys", "uring"].contains(&own);
    let mut taken_from_libc = Vec::new();
    for (i, &(token, line)) in tokens.iter().enumerate() {
        match token {
            Token::Word("corosensei") if own != "stack" => {
                complain(line, "only stack may name corosensei".into());
            }
            // (`ticks` has one for Miri, which knows no forks.)
            Token::Word("Once" | "OnceLock" | "LazyLock") if own != "ticks" => {
                complain(line, "a fork in the middle of it hangs the child; see sys::fork".into());
            }
            Token::Word("io_uring")
                if own != "uring"
                    && (is(i + 1, Token::Path) || word(i.wrapping_sub(1)) == "use") =>
            {
                complain(line, "only uring may name io_uring".into());
            }
            // `use libc::name` and `use libc::{..}`: what is called by its bare name below.
            Token::Word("libc") if !asks && word(i.wrapping_sub(1)) == "use" => {
                let end = tokens[i..].iter().position(|(t, _)| *t == Token::Other(';'));
                let tree = &tokens[i + 1..i + end.unwrap_or(tokens.len() - i)];
                if tree.iter().any(|(t, _)| matches!(t, Token::Other('*') | Token::Word("as"))) {
                    complain(line, "libc under another name: cannot be checked".into());
                }
                taken_from_libc.extend(tree.iter().filter_map(|(t, _)| match t {
                    Token::Word(w) if !NO_SYSTEM_CALLS.contains(w) => Some(*w),
                    _ => None,
                }));
            }
            // Types and constants are not called; functions are.
            Token::Word("libc")
                if !asks
                    && is(i + 1, Token::Path)
                    && is(i + 3, Token::Other('('))
                    && !NO_SYSTEM_CALLS.contains(&word(i + 2)) =>
            {
                complain(line, format!("only sys and uring may call libc::{}", word(i + 2)));
            }
            Token::Word(w) if taken_from_libc.contains(&w) && is(i + 1, Token::Other('(')) => {
                complain(line, format!("only sys and uring may call libc::{w}"));
            }
            // The way around all of the above. The bridge declares what it imports from C++.
            Token::Word("extern")
                if !["sys", "bridge"].contains(&own)
                    && is(i + 1, Token::Literal)
                    && is(i + 2, Token::Other('{')) =>
            {
                complain(line, "only sys and bridge may declare foreign functions".into());
            }
            _ => {}
        }
    }
    wrong
}

fn too_wide(name: &str, source: &str) -> Vec<String> {
    let is_wide = |line: &str| line.chars().count() > COLUMNS_MAX;
    let wide = (1..).zip(source.lines()).filter(|(_, line)| is_wide(line));
    wide.map(|(n, _)| format!("{name}:{n}: wider than {COLUMNS_MAX} columns")).collect()
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn may_import(own: &str, other: &str) -> Result<(), String> {
    let known =
        |m| floor(m).ok_or(format!("{m} has no floor: give it one in tests/rust/layers.rs"));
    let (mine, theirs) = (known(own)?, known(other)?);
    if own == other || theirs < mine || PEERS.contains(&(own, other)) {
        return Ok(());
    }
    Err(format!("{own} (floor {mine}) may not import {other} (floor {theirs})"))
}

/// The top modules that a file names: by `crate::`, or by enough `super::`s.
fn imports<'a>(name: &str, tokens: &[(Token<'a>, usize)]) -> Vec<(&'a str, usize)> {
    // How many modules down the file is: error.rs and sys/mod.rs are one, sys/text.rs is two.
    let depth = name.split('/').count() - usize::from(name.ends_with("/mod.rs"));
    let mut found = Vec::new();
    let mut braces = 0;
    let mut inline_modules: Vec<i32> = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let at = |k: usize| tokens.get(i + k).map(|(t, _)| *t);
        match tokens[i].0 {
            Token::Other('{') => {
                braces += 1;
                let named = i >= 2 && matches!(tokens[i - 1].0, Token::Word(_));
                if named && tokens[i - 2].0 == Token::Word("mod") {
                    inline_modules.push(braces);
                }
            }
            Token::Other('}') => {
                if inline_modules.last() == Some(&braces) {
                    inline_modules.pop();
                }
                braces -= 1;
            }
            Token::Word("crate") if at(1) == Some(Token::Path) => {
                roots(&tokens[i + 2..], &mut found)
            }
            Token::Word("super") if at(1) == Some(Token::Path) => {
                let mut up = 0;
                while tokens.get(i).is_some_and(|(t, _)| *t == Token::Word("super")) {
                    up += 1;
                    i += 2;
                }
                if up >= depth + inline_modules.len() {
                    roots(&tokens[i..], &mut found);
                }
                continue;
            }
            _ => {}
        }
        i += 1;
    }
    found
}

/// The first names of a path or of a braced list of paths.
fn roots<'a>(tokens: &[(Token<'a>, usize)], found: &mut Vec<(&'a str, usize)>) {
    let mut depth = 0;
    let mut first = true;
    for &(token, line) in tokens {
        match token {
            Token::Other('{') => depth += 1,
            Token::Other('}') => depth -= 1,
            Token::Other(',') if depth == 1 => first = true,
            Token::Word(w) if first && depth <= 1 => {
                // An item of the crate's root, such as a macro, has no floor: it is reported.
                found.push((w, line));
                first = false;
            }
            _ => {}
        }
        if depth <= 0 {
            return;
        }
    }
}

/// The files of its own directory that a file imports: by `super::`, once.
fn peers<'a>(tokens: &[(Token<'a>, usize)]) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (i, (token, _)) in tokens.iter().enumerate() {
        let is_super = |i: usize| tokens.get(i).is_some_and(|t| t.0 == Token::Word("super"));
        // An inline module, of tests, means the file itself.
        if *token == Token::Word("super") && !is_super(i + 2) && !(i >= 2 && is_super(i - 2)) {
            roots(&tokens[i + 2..], &mut found);
        }
    }
    found.into_iter().map(|(module, _)| module).collect()
}

/// Files whose imports lead back to them.
fn circle<'a>(imports: &[(&'a str, Vec<&'a str>)]) -> Option<Vec<&'a str>> {
    fn walk<'a>(
        at: &'a str,
        way: &mut Vec<&'a str>,
        imports: &[(&'a str, Vec<&'a str>)],
    ) -> Option<Vec<&'a str>> {
        if let Some(begin) = way.iter().position(|&file| file == at) {
            return Some(way[begin..].to_vec());
        }
        way.push(at);
        let next = imports.iter().find(|(file, _)| *file == at).map(|(_, peers)| peers);
        let found = next.into_iter().flatten().find_map(|&peer| walk(peer, way, imports));
        way.pop();
        found
    }
    imports.iter().find_map(|(file, _)| walk(file, &mut Vec::new(), imports))
}

#[test]
fn no_two_files_of_uring_import_each_other() {
    let mut paths = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/uring"), &mut paths);
    let sources: Vec<_> = paths
        .iter()
        .map(|p| (p.file_stem().unwrap().to_str().unwrap(), std::fs::read_to_string(p).unwrap()))
        .collect();
    let imports: Vec<_> = sources
        .iter()
        .map(|(name, source)| {
            let tokens = tokens(source);
            let of_tests = tokens
                .windows(2)
                .position(|t| t[0].0 == Token::Word("mod") && t[1].0 == Token::Word("tests"));
            (*name, peers(&tokens[..of_tests.unwrap_or(tokens.len())]))
        })
        .collect();
    assert!(imports.iter().any(|(name, peers)| *name == "ring" && peers.contains(&"wakeup")));
    assert_eq!(circle(&imports), None);
}

#[test]
fn a_circle_is_found() {
    let imports = [("a", vec!["b", "x"]), ("b", vec!["c"]), ("c", vec!["x", "b"]), ("x", vec![])];
    assert_eq!(circle(&imports), Some(vec!["b", "c"]));
    assert_eq!(circle(&imports[..2]), None);
}

fn files(below: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn too_long(name: &str, source: &str) -> Option<String> {
    let lines = source.lines().count();
    (lines > LINES_MAX).then(|| format!("{name}: {lines} lines, {LINES_MAX} at most"))
}

#[test]
fn no_header_is_too_long_nor_a_line_of_it_too_wide() {
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/monad");
    let mut wrong = Vec::new();
    for entry in [include.clone(), include.join("async"), include.join("async/detail")] {
        for file in std::fs::read_dir(entry).into_iter().flatten().map(|e| e.unwrap().path()) {
            if file.is_file() {
                let name = file.file_name().unwrap().to_str().unwrap();
                let source = std::fs::read_to_string(&file).unwrap();
                wrong.extend(too_wide(name, &source));
                wrong.extend(too_long(name, &source));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(too_wide("a.h", &format!("\n{}\n", "é".repeat(101))).len(), 1);
    assert!(too_wide("a.h", &"é".repeat(100)).is_empty());
}

/// What others read first.
#[test]
fn no_example_is_too_long_nor_a_line_of_it_too_wide() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for path in std::fs::read_dir(root).into_iter().flatten().map(|file| file.unwrap().path()) {
        let ends = path.extension().and_then(|ends| ends.to_str()).unwrap_or("");
        if ["c", "cpp", "h", "hpp"].contains(&ends) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let source = std::fs::read_to_string(&path).unwrap();
            wrong.extend(too_wide(name, &source));
            wrong.extend(too_long(name, &source));
            seen += 1;
        }
    }
    assert!(seen > 10, "found {seen} examples");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_file_keeps_to_its_floor() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&src, &mut all);
    all.sort();
    assert!(all.len() > 10, "found {} files below {}", all.len(), src.display());
    let mut wrong = Vec::new();
    for path in &all {
        let source = std::fs::read_to_string(path).unwrap();
        let name = path.strip_prefix(&src).unwrap().to_str().unwrap();
        wrong.extend(check(name, &source));
        let lines = source.lines().count();
        if lines > LINES_AIM {
            println!("long: {name}: {lines} lines, aim for {LINES_AIM}");
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[track_caller]
fn red(name: &str, source: &str, why: &str) {
    let wrong = check(name, source);
    assert_eq!(wrong.len(), 1, "{name}: {source}: {wrong:?}");
    assert!(wrong[0].contains(why), "{wrong:?}");
}

#[track_caller]
fn green(name: &str, source: &str) {
    assert_eq!(check(name, source), Vec::<String>::new(), "{name}: {source}");
}

#[test]
fn an_import_from_above_is_seen() {
    red(
        "task/header.rs",
        "use crate::sched::run_queue::Ready;",
        "task (floor 3) may not import sched",
    );
    red("task/header.rs", "\n\nfn f() { crate::executor::run() }", "task/header.rs:3:");
    red("task/header.rs", "use crate::{error::Errno, sched::{run_queue, timers}};", "sched");
    red("task/header.rs", "use crate::{sched, error};", "sched");
    red("task/header.rs", "use super::super::executor::Executor;", "executor");
    red("task/mod.rs", "use super::capi::task;", "capi");
    red("error.rs", "mod tests { fn f() { use super::super::stack; } }", "stack");
    red("task/header.rs", "macro_rules! m { () => { $crate::api::f() } }", "api");
    red("task/header.rs", "use /* why */ crate :: /* not */ sched;", "sched");
    red("task/header.rs", "let s = \"//\"; use crate::sched;", "sched");
    red("task/header.rs", "let s = r#\"\" \"#; let c = '\"'; use crate::sched;", "sched");
    red("task/header.rs", "let c = ['\\'', '\\\\', '\\u{1F600}']; use crate::sched;", "sched");
    red(
        "reactor/reap.rs",
        "use crate::sched::run_queue::Ready;",
        "reactor (floor 4) may not import",
    );
    red("sched/run_queue.rs", "use crate::reactor::reap;", "reactor");
    red("error.rs", "use crate::sys::memory;", "sys (floor 1)");
    red("capi/task.rs", "use crate::bridge::ffi;", "bridge");
    red("task/header.rs", "use crate::novelty::x;", "novelty has no floor");
    red("novelty.rs", "use crate::error;", "novelty has no floor");
}

#[test]
fn what_is_allowed_is_not_seen() {
    green("task/header.rs", "use crate::{error::{Errno, Res}, stack::pool::Slot, task::list};");
    green("task/header.rs", "use super::list; mod tests { use super::*; use super::super::list; }");
    green("task/header.rs", "mod a { mod b { use super::super::super::list; } }");
    green("task/header.rs", "// use crate::sched;\n/* crate::sched /* nested */ crate::sched */");
    green("task/header.rs", "const S: &str = \"crate::sched \\\" crate::sched\";");
    green("task/header.rs", "const S: &str = r##\"crate::sched \"# crate::sched\"##;");
    green("task/header.rs", "fn f<'a>(x: &'a str) -> &'a str { x } // 'crate::sched");
    green("task/header.rs", "pub(crate) fn sched() {} pub(in crate::task) fn io() {}");
    green(
        "uring/ring.rs",
        "use crate::error::Res; use io_uring::IoUring; fn f() { libc::close(3) }",
    );
    green("ticks.rs", "use crate::sys::clock;");
    green("lib.rs", "pub mod error; use crate::capi;");
}

#[test]
fn the_kernel_is_asked_in_sys_and_uring_alone() {
    red(
        "task/create.rs",
        "fn f() { unsafe { libc::getpid() } }",
        "only sys and uring may call libc::getpid",
    );
    red("task/create.rs", "use libc::getpid; fn f() { unsafe { getpid() } }", "libc::getpid");
    red("task/create.rs", "use libc::{c_int, getpid}; fn f() { getpid() }", "libc::getpid");
    red("task/create.rs", "use libc as l;", "under another name");
    red("task/create.rs", "use libc::*;", "under another name");
    red("task/create.rs", "unsafe extern \"C\" { fn getpid() -> i32; }", "foreign functions");
    red("reactor/file.rs", "use io_uring::opcode;", "only uring may name io_uring");
    red(
        "task/create.rs",
        "let c = corosensei::Coroutine::new(f);",
        "only stack may name corosensei",
    );
    green("task/create.rs", "use libc::{c_int, EINVAL}; const E: c_int = libc::EBUSY;");
    green("task/create.rs", "extern \"C\" fn f(t: *const libc::timespec) { g(libc::EINVAL) }");
    green("reactor/file.rs", "let x = head.io_uring.entries; fn io_uring() {}");
    green("capi/executor.rs", "use libc::strndup; fn f() { strndup(s, n); libc::free(p) }");
    green("stack/switch.rs", "use corosensei::Coroutine;");
    red("stack/pool.rs", "use std::sync::Once;", "hangs the child");
    green("bridge.rs", "mod ffi { unsafe extern \"C++\" { fn f(); } }");
}

#[test]
fn a_file_too_long_is_seen() {
    green("task/create.rs", &"\n".repeat(LINES_MAX));
    red("task/create.rs", &"\n".repeat(LINES_MAX + 1), "501 lines");
    red("lib.rs", &"\n".repeat(LINES_MAX + 1), "501 lines");
}
