//! What the public C headers say of each function: which errors it gives, and what belongs to it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

struct Function {
    header: String,
    name: String,
    /// Its comment, without the stars.
    comment: String,
    /// Whether it returns a `monad_async_result`.
    gives_result: bool,
    /// Whether it takes a task first.
    takes_task: bool,
}

/// All functions that the C headers declare, with the comment before each.
fn functions() -> Vec<Function> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/monad/async");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "h") {
            let header = path.file_name().unwrap().to_string_lossy().into_owned();
            collect(&header, &fs::read_to_string(&path).unwrap(), &mut found);
        }
    }
    found
}

fn collect(header: &str, text: &str, found: &mut Vec<Function>) {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("/**") {
        let (comment, after) = after.split_once("*/").expect("a comment that ends");
        rest = after;
        let declaration = after.trim_start();
        let begins =
            ["MONAD_ASYNC_API ", "static inline "].iter().any(|b| declaration.starts_with(b));
        let until = declaration.find(['(', ';', '{']).unwrap_or(0);
        if !begins || !declaration[until..].starts_with('(') {
            continue;
        }
        let words = &declaration[..until];
        let name = words.split([' ', '\n', '*']).next_back().unwrap().to_owned();
        let gives_result = words.split([' ', '\n']).any(|word| word == "monad_async_result");
        let comment = comment.replace("\n *", "\n");
        let takes = declaration[until + 1..].trim_start();
        let takes_task = takes.starts_with("monad_async_task ");
        found.push(Function { header: header.to_owned(), name, comment, gives_result, takes_task });
    }
}

/// What follows each `word` of a comment, up to the next command.
fn sections<'a>(comment: &'a str, word: &str) -> Vec<&'a str> {
    comment.split('@').filter_map(|part| part.strip_prefix(word)).collect()
}

/// Fails with all of `wrong`, a line each.
fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

// What a caller must be ready for is a list to be read by machines too: `@retval` lines, or the
// name of the function that has them.
#[test]
fn every_function_lists_its_errors() {
    let functions = functions();
    let named = |name: &str| functions.iter().find(|f| f.name == name);
    let listed = |f: &Function| !sections(&f.comment, "retval").is_empty();
    let referred = |f: &Function| {
        let refers =
            sections(&f.comment, "return").into_iter().find_map(|s| s.trim().strip_prefix("as `"));
        refers.and_then(|s| named(s.split('`').next().unwrap())).is_some_and(listed)
    };
    // Which make one, and never fail.
    let makers = ["monad_async_make_success", "monad_async_make_failure"];
    let giving: Vec<_> =
        functions.iter().filter(|f| f.gives_result && !makers.contains(&f.name.as_str())).collect();
    println!(
        "measured: {} functions give a result, {} list their errors themselves",
        giving.len(),
        giving.iter().filter(|f| listed(f)).count()
    );
    assert!(giving.len() > 200, "the headers were not understood: {}", giving.len());
    none(
        giving
            .iter()
            .filter(|f| !listed(f) && !referred(f))
            .map(|f| {
                format!(
                    "{}: {} has no @retval, nor `@return as` a function that has",
                    f.header, f.name
                )
            })
            .collect(),
    );
}

/// Its sentences, whatever the line ends.
fn sentences(comment: &str) -> String {
    comment.split_whitespace().collect::<Vec<_>>().join(" ")
}

// Whose comment does not say it refers to one that does, or its header says it of all that take a
// task. Whether a function suspends, and what it costs, is said by words, and for those without them
// by executor.h.
#[test]
fn every_function_says_who_may_call_it() {
    let functions = functions();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/monad/async");
    let says = |f: &Function| {
        let text = sentences(&f.comment);
        let words = [
            "ANY THREAD",
            "OWNER'S THREAD",
            "he task that runs",
            "of the same executor",
            "executor's thread",
            "thread of the executor",
            "hreads as for `",
        ];
        if words.iter().any(|word| text.contains(word)) {
            return true;
        }
        let header = sentences(&fs::read_to_string(root.join(&f.header)).unwrap());
        let of_all = "Common to all calls that take a task: the task is the one that runs";
        f.takes_task && header.replace("* ", "").contains(of_all)
    };
    let refers = |f: &Function| {
        let text = sentences(&f.comment);
        let begins = text.strip_prefix("As `").map(|rest| rest.split('`').next().unwrap());
        let named: Vec<_> = sections(&f.comment, "return as `")
            .into_iter()
            .map(|s| s.split('`').next().unwrap())
            .chain(begins)
            .collect();
        functions.iter().any(|other| named.contains(&other.name.as_str()) && says(other))
    };
    let is_inside = |f: &Function| f.comment.trim_start().starts_with("@cond");
    let public: Vec<_> = functions.iter().filter(|f| !is_inside(f)).collect();
    assert!(public.len() > 290, "the headers were not understood: {}", public.len());
    let wrong = public.iter().filter(|f| !says(f) && !refers(f));
    none(wrong.map(|f| format!("{}: who may call {}?", f.header, f.name)).collect());
    let words = sentences(&fs::read_to_string(root.join("executor.h")).unwrap());
    assert!(words.contains("A function that does not say SUSPENDS does not suspend"));
}

// A name that is no errno would be a promise that nobody keeps.
#[test]
fn errors_have_names_of_the_kernels() {
    let mut known = BTreeSet::from(["ENOTSUP".to_owned(), "EWOULDBLOCK".to_owned()]);
    for file in ["errno-base.h", "errno.h"] {
        let text = fs::read_to_string(Path::new("/usr/include/asm-generic").join(file)).unwrap();
        let names = text.lines().filter_map(|line| line.strip_prefix("#define\t"));
        known.extend(names.map(|name| name.split_whitespace().next().unwrap().to_owned()));
    }
    let mut wrong = Vec::new();
    for f in functions() {
        for section in sections(&f.comment, "retval") {
            let values = section.trim_start().split_inclusive(' ').scan(true, |more, word| {
                let take = *more;
                *more = word.ends_with(", ");
                take.then(|| word.trim_end_matches([' ', ',']).trim())
            });
            for value in values.filter(|v| v.starts_with('E')) {
                if !known.contains(value) {
                    wrong.push(format!("{}: {}: no errno {value}", f.header, f.name));
                }
            }
        }
    }
    none(wrong);
}

// Who reads of one function finds those that go with it. What only fills an operation goes with op.h,
// which its header says once. A few of the newest are let be: each is printed.
#[test]
fn every_function_names_what_goes_with_it() {
    let functions = functions();
    let names: BTreeSet<&str> = functions.iter().map(|f| f.name.as_str()).collect();
    let alone = ["monad_async_version", "monad_async_task_set_priorities"];
    let mut wrong = Vec::new();
    let mut without = 0;
    for f in &functions {
        let see = sections(&f.comment, "see");
        let fills = f.name.starts_with("monad_async_op_") && f.header != "op.h";
        if see.is_empty() && !fills && !alone.contains(&f.name.as_str()) {
            println!("measured: {}: {} has no @see", f.header, f.name);
            without += 1;
        }
        for word in see.iter().flat_map(|s| s.split([' ', ',', '\n'])) {
            // With parentheses, or Doxygen makes no link of it.
            match word.strip_suffix("()") {
                Some(name) if names.contains(name) && name != f.name => {}
                None if !word.starts_with("monad_async_") => {}
                _ => wrong.push(format!("{}: {}: @see {word}", f.header, f.name)),
            }
        }
    }
    none(wrong);
    assert!(without <= 4, "{without} functions have no @see");
}

/// Comments of what stands at the beginning of a line in a C++ header, without what is no API.
fn top_level_comments(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_api = true;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.contains("@cond") || line.contains("@endcond") {
            is_api = line.contains("@endcond");
        } else if line.starts_with("/** ") {
            let mut comment = line.to_owned();
            while !comment.ends_with("*/") {
                comment.push('\n');
                comment
                    .push_str(lines.next().expect("a comment that ends").trim_start_matches(" *"));
            }
            let declaration = lines.next().unwrap_or("");
            let names_another = ["using ", "namespace ", "inline namespace "];
            let is_other = names_another.iter().any(|n| declaration.starts_with(n));
            let is_form = comment.starts_with("/** As the") || comment.starts_with("/** As that");
            if is_api && !is_other && !is_form && !comment.contains("@file") {
                found.push(comment);
            }
        }
    }
    found
}

// A class of the C++ API leads to its C functions, whose pages have the rules, and to its neighbours.
#[test]
fn every_class_names_what_goes_with_it() {
    let functions = functions();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/monad/async");
    let mut wrong = Vec::new();
    let mut looked_at = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "hpp") {
            continue;
        }
        let header = path.file_name().unwrap().to_string_lossy().into_owned();
        for comment in top_level_comments(&fs::read_to_string(&path).unwrap()) {
            looked_at += 1;
            let first = comment.lines().next().unwrap();
            let see = sections(&comment, "see");
            if see.is_empty() {
                wrong.push(format!("{header}: no @see: {first}"));
            }
            for word in see.iter().flat_map(|s| s.split([' ', ',', '\n', '*', '/'])) {
                let is_known = match word.strip_suffix("()") {
                    Some(name) => functions.iter().any(|f| f.name == name),
                    None => word.is_empty() || (word.contains('.') && folder.join(word).exists()),
                };
                if !is_known {
                    wrong.push(format!("{header}: @see {word}: {first}"));
                }
            }
        }
    }
    assert!(looked_at > 80, "the headers were not understood: {looked_at}");
    none(wrong);
}

// The first sentence stands alone next to the name in every list of the site, and in an editor.
#[test]
fn every_comment_begins_with_what_it_is() {
    let words = ["ANY THREAD", "OWNER'S THREAD", "SUSPENDS", "EXPENSIVE", "Does not suspend"];
    let wrong = functions().into_iter().filter(|f| {
        let first = f.comment.trim_start().split(['.', ';']).next().unwrap();
        words.contains(&first)
    });
    none(wrong.map(|f| format!("{}: {}", f.header, f.name)).collect());
}

// Who writes C finds a program that does it. Of the local forms, whose functions are the shared
// ones' twins, each type, and what most use.
#[test]
fn tasks_together_have_examples_in_c() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut words = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "c") {
            let text = fs::read_to_string(&path).unwrap();
            let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            words.extend(text.split(|c| !is_of_word(c)).map(str::to_owned));
        }
    }
    let headers = "barrier blocking channel condition event group mutex pool rw_lock select \
        semaphore wait_group";
    let mut wrong = Vec::new();
    let mut looked_at = 0;
    for function in functions() {
        let stem = function.header.trim_end_matches(".h");
        if !headers.split_whitespace().any(|header| header == stem) {
            continue;
        }
        looked_at += 1;
        let rare = ["_until", "_try_", "_set_relocate", "_count", "_init", "_make_case", "_all"]
            .iter()
            .chain(&["_event_reset", "_event_is_set", "_group_add"])
            .any(|part| function.name.contains(part));
        let twin = function.name.replace("_local_", "_");
        let by_twin = twin != function.name && rare && words.contains(&twin);
        if !words.contains(&function.name) && !by_twin && function.name != "monad_async_make_case" {
            wrong.push(format!("{}: {}", function.header, function.name));
        }
    }
    assert!(looked_at > 100, "{looked_at} functions");
    none(wrong);
}

/// A function of a C++ header, as a caller sees it.
struct Call {
    /// Its class, or "" of one that stands alone, and its name.
    of: String,
    name: String,
    /// The types of what it takes, and how many of those may be left out.
    takes: Vec<String>,
    defaults: usize,
    throws_errno: bool,
}

/// `text` at the commas that are in no brackets.
fn at_commas(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in text.chars() {
        depth += i32::from("([{<".contains(c)) - i32::from(")]}>".contains(c));
        if c == ',' && depth == 0 {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push(c);
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// Where the bracket that `text` begins with is closed.
fn closed(text: &str, open: char, close: char) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        depth += i32::from(c == open) - i32::from(c == close);
        if depth == 0 {
            return at;
        }
    }
    panic!("{open} without {close}: {text}");
}

/// Of `std::size_t count = 1` the type.
fn type_of(parameter: &str) -> String {
    let declared = parameter.split(" = ").next().unwrap().trim();
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let before = declared.trim_end_matches(is_name);
    let words: Vec<_> = before.split_whitespace().collect();
    words.join(" ")
}

fn calls_of(text: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let (mut of, mut seen) = (String::new(), 0);
    for (at, _) in text.match_indices("/**") {
        for line in text[seen..at].lines() {
            let is_class = ["class ", "struct "].iter().any(|word| {
                line.starts_with(word)
                    || line.starts_with("template") && line.contains(&format!("> {word}"))
            });
            if is_class && line.ends_with('{') {
                let head = line.trim_end_matches('{').split(" : ").next().unwrap().trim();
                of = head.split_whitespace().next_back().unwrap().to_owned();
            } else if line == "};" {
                of.clear();
            }
        }
        seen = at;
        let (comment, mut rest) = text[at..].split_once("*/").unwrap();
        rest = rest.trim_start();
        while rest.starts_with("template <") || rest.starts_with("[[") {
            let (open, close) = if rest.starts_with('[') { ('[', ']') } else { ('<', '>') };
            let begin = rest.find(open).unwrap();
            rest = rest[begin + closed(&rest[begin..], open, close) + 1..].trim_start();
        }
        let Some(begin) = rest.find(['(', ';', '{', '=']) else { continue };
        if !rest[begin..].starts_with('(') {
            continue;
        }
        let name = rest[..begin].split([' ', '\n', '&', '*']).next_back().unwrap().to_owned();
        let takes = at_commas(&rest[begin + 1..begin + closed(&rest[begin..], '(', ')')]);
        let tells = |section: &&str| {
            ["std::system_error", "_error", "as "].iter().any(|w| section.contains(w))
        };
        calls.push(Call {
            of: of.clone(),
            name,
            defaults: takes.iter().filter(|t| t.contains(" = ")).count(),
            takes: takes.iter().map(|t| type_of(t)).collect(),
            throws_errno: sections(comment, "throws ").iter().any(tells as fn(&&str) -> bool),
        });
    }
    calls
}

// As `<filesystem>` has it: what can fail can be called without a throw, and with what may be left
// out left out. What runs the caller's functions in line is let be, and what makes that which has no
// state for "it failed".
#[test]
fn every_call_has_a_form_with_an_error_code() {
    let alone = [
        // In line.
        ("", "await"),
        ("", "decltype"), // `with_timeout`, whose other form gives a std::optional.
        ("", "select"),
        ("", "when_all"),
        ("", "when_any"),
        ("", "with_stop_token"),
        ("task_local", "emplace"),
        ("task_local", "get"),
        ("thread_pool", "for_each"),
        // Makes, or begins, what lives as long as the object.
        ("", "executor"),
        ("", "run_coroutine"),
        ("channel", "channel"),
        ("executor", "executor"),
        ("io_batch", "begin"),
        ("operation", "operation"),
        ("scope", "scope"),
        ("scoped_lock", "scoped_lock"),
        ("shield", "shield"),
        ("stop_scope", "stop_scope"),
        ("task", "task"),
        ("task_group", "task_group"),
        ("thread_pool", "thread_pool"),
        // Throws what is at hand, or only for a misuse.
        ("", "throw_if_interrupted"),
        ("", "value_or_throw"),
        ("io_completion", "value"),
        ("task", "cpu_priority"),
        ("task", "io_priority"),
        ("task", "priority"),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/monad/async");
    let (mut wrong, mut count) = (Vec::new(), 0);
    let mut is_there = vec![false; alone.len()];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "hpp") {
            continue;
        }
        let header = path.file_name().unwrap().to_string_lossy().into_owned();
        let calls = calls_of(&fs::read_to_string(&path).unwrap());
        let is_code = |t: &String| t == "std::error_code &";
        for call in calls.iter().filter(|c| c.throws_errno && !c.takes.last().is_some_and(is_code))
        {
            if let Some(one) = alone.iter().position(|a| *a == (&call.of, &call.name)) {
                is_there[one] = true;
                continue;
            }
            count += 1;
            for left_out in 0..=call.defaults {
                let takes = &call.takes[..call.takes.len() - left_out];
                let has = calls.iter().any(|c| {
                    (&c.of, &c.name) == (&call.of, &call.name)
                        && c.takes.split_last().is_some_and(|(last, t)| is_code(last) && t == takes)
                });
                if !has {
                    wrong.push(format!(
                        "{header}: {}::{}({})",
                        call.of,
                        call.name,
                        takes.join(", ")
                    ));
                }
            }
        }
    }
    let gone = alone.iter().zip(is_there).filter(|(_, is_there)| !is_there);
    wrong.extend(gone.map(|((of, name), _)| format!("no {of}::{name} that throws an errno")));
    println!("measured: {count} calls throw an errno");
    assert!(count > 100, "the headers were not understood: {count}");
    none(wrong);
}
