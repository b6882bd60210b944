//! Each C prototype against its Rust function, by the compiler: every exported function of `src` is
//! declared once more, with the types that its Rust signature has, next to the headers. As C a type
//! that differs is a conflict of two declarations; as C++ a pointer of the wrong type, and what no
//! header declares is unknown.
//!
//! Nothing is listed here. A Rust type has the C name that its doc comment gives first, in
//! backticks: ``/// `struct monad_async_task_attr` ``; an alias without one has that of what it
//! stands for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What Rust says of one function.
struct Function {
    name: String,
    file: PathBuf,
    parameters: Vec<String>,
    returns: String,
}

/// The Rust side: where a type is defined, and every exported function.
struct Source {
    functions: Vec<Function>,
    /// By name: the file, and the C name or, for an alias, the type that it stands for.
    types: BTreeMap<String, Vec<(PathBuf, Meaning)>>,
}

#[derive(Clone, PartialEq)]
enum Meaning {
    C(String),
    Alias(String),
    Unknown,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(dir: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path, extensions));
        } else if path.extension().is_some_and(|e| extensions.iter().any(|x| e == *x)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// At commas that no bracket encloses.
fn split(list: &str) -> Vec<String> {
    let (mut parts, mut depth, mut part) = (Vec::new(), 0, String::new());
    let mut before = ' ';
    for c in list.chars() {
        match c {
            '(' | '<' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '>' if before != '-' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        before = c;
        part.push(c);
    }
    parts.push(part);
    parts.iter().map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect()
}

/// `text` after its opening parenthesis, and what follows the closing one.
fn enclosed(text: &str) -> (&str, &str) {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (&text[..at], &text[at + 1..]);
        }
    }
    panic!("no end of the parameters: {text}");
}

/// The first C type that a doc comment names.
fn named_in(doc: &str) -> Option<String> {
    let of_c = |name: &&str| {
        let name = name.strip_prefix("struct ").unwrap_or(name);
        !name.is_empty()
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    doc.split('`').skip(1).step_by(2).find(of_c).map(str::to_owned)
}

impl Source {
    fn read(files: impl IntoIterator<Item = (PathBuf, String)>) -> Self {
        let mut source = Source { functions: Vec::new(), types: BTreeMap::new() };
        for (file, text) in files {
            source.read_types(&file, &text);
            source.read_functions(&file, &text);
        }
        source
    }

    fn read_types(&mut self, file: &Path, text: &str) {
        let mut doc = String::new();
        for line in text.lines().map(str::trim) {
            if let Some(more) = line.strip_prefix("///") {
                doc += more;
                continue;
            }
            if line.starts_with("#[") {
                continue;
            }
            // With any visibility: `pub`, `pub(super)`.
            let item = match line.strip_prefix("pub") {
                Some(rest) => rest.trim_start_matches(|c| c != ' ').trim_start(),
                None => line,
            };
            // What the bridge only declares is defined elsewhere.
            let declared = item.starts_with("type ") && !item.contains('=');
            let kinds = ["struct ", "type ", "union "];
            let rest = kinds.iter().find_map(|k| item.strip_prefix(k)).filter(|_| !declared);
            if let Some(rest) = rest {
                let name: String =
                    rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let alias = item.strip_prefix("type ").and_then(|rest| {
                    let (_, what) = rest.split_once('=')?;
                    Some(Meaning::Alias(what.trim().trim_end_matches(';').to_owned()))
                });
                let meaning = named_in(&doc).map(Meaning::C).or(alias).unwrap_or(Meaning::Unknown);
                self.types.entry(name).or_default().push((file.to_owned(), meaning));
            }
            doc.clear();
        }
    }

    fn read_functions(&mut self, file: &Path, text: &str) {
        // Without comments, as far as signatures have any.
        let code: Vec<&str> =
            text.lines().map(|line| line.split("// ").next().unwrap_or_default()).collect();
        let code = code.join("\n");
        for marker in ["#[no_mangle]", "#[unsafe(no_mangle)]"] {
            for item in code.split(marker).skip(1) {
                let Some((before, rest)) = item.split_once("extern \"C\" fn ") else { continue };
                if before.contains(['{', ';']) {
                    continue; // A static, and a later function.
                }
                let (name, rest) = rest.split_once('(').unwrap();
                let (parameters, rest) = enclosed(rest);
                let returns = rest.split_once('{').unwrap().0.trim();
                self.functions.push(Function {
                    name: name.trim().to_owned(),
                    file: file.to_owned(),
                    parameters: split(parameters)
                        .iter()
                        .map(|p| p.split_once(':').unwrap().1.trim().to_owned())
                        .collect(),
                    returns: returns.strip_prefix("->").unwrap_or("()").trim().to_owned(),
                });
            }
        }
    }

    /// The C type of a Rust type that stands in `file`. What C has to declare for it beforehand
    /// goes to `typedefs`.
    fn c_type(&self, file: &Path, rust: &str, typedefs: &mut Vec<String>) -> String {
        for (pointer, constant) in [("*const ", " const *"), ("*mut ", " *")] {
            if let Some(to) = rust.strip_prefix(pointer) {
                return self.c_type(file, to, typedefs) + constant;
            }
        }
        let function =
            rust.strip_prefix("Option<").and_then(|t| t.strip_suffix('>')).unwrap_or(rust);
        let function = function.trim_start_matches("unsafe ");
        if let Some(rest) = function.strip_prefix("extern \"C\" fn(") {
            let (parameters, rest) = enclosed(rest);
            let unnamed: Vec<_> = split(parameters)
                .iter()
                .map(|p| match p.split_once(": ") {
                    Some((_, t)) => self.c_type(file, t, typedefs),
                    None => self.c_type(file, p, typedefs),
                })
                .collect();
            let returns = rest.trim().strip_prefix("->").unwrap_or("()").trim();
            let returns = self.c_type(file, returns, typedefs);
            let name = format!("function_{}", typedefs.len());
            let list = if unnamed.is_empty() { "void".into() } else { unnamed.join(", ") };
            typedefs.push(format!("typedef {returns} (*{name})({list});"));
            return name;
        }
        let known = match rust.rsplit("::").next().unwrap() {
            "()" | "!" | "c_void" => "void",
            "bool" => "bool",
            "u8" => "uint8_t",
            "i8" => "int8_t",
            "u16" => "uint16_t",
            "i16" => "int16_t",
            "u32" | "c_uint" => "uint32_t",
            "i32" | "c_int" => "int32_t",
            "u64" => "uint64_t",
            "i64" => "int64_t",
            "usize" => "size_t",
            "isize" => "intptr_t",
            "c_char" => "char",
            _ => "",
        };
        if !known.is_empty() {
            return known.to_owned();
        }
        if let Some(of_libc) = rust.strip_prefix("libc::") {
            let is_typedef = of_libc.ends_with("_t");
            return if is_typedef { of_libc.into() } else { format!("struct {of_libc}") };
        }
        let name = rust.split('<').next().unwrap().rsplit("::").next().unwrap();
        let all = self.types.get(name).map_or(&[][..], |all| all);
        let here: Vec<_> = all.iter().filter(|(at, _)| at == file).collect();
        let candidates = if here.is_empty() { all.iter().collect() } else { here };
        let Some((at, meaning)) = candidates.first() else {
            panic!("{}: no definition of the type {rust}", file.display());
        };
        assert!(
            candidates.iter().all(|(_, other)| other == meaning),
            "{}: several types are named {name}",
            file.display()
        );
        match meaning {
            Meaning::C(name) => name.clone(),
            Meaning::Alias(what) => self.c_type(at, what, typedefs),
            Meaning::Unknown => panic!(
                "{}: which C type is {name}? Begin its doc comment with it: /// `struct ...`",
                at.display()
            ),
        }
    }

    /// The unit for the compiler.
    fn unit(&self, language: &str) -> String {
        let mut text = String::new();
        for header in files_below(&root().join("include"), &["h"]) {
            let header = header.strip_prefix(root().join("include")).unwrap().display();
            text += &format!("#include <{header}>\n");
        }
        for f in &self.functions {
            let mut typedefs = Vec::new();
            let mut parameters: Vec<_> =
                f.parameters.iter().map(|p| self.c_type(&f.file, p, &mut typedefs)).collect();
            if parameters.is_empty() {
                parameters.push("void".to_owned());
            }
            let (name, list) = (&f.name, parameters.join(", "));
            let returns = self.c_type(&f.file, &f.returns, &mut typedefs);
            for typedef in typedefs {
                text += &typedef.replace("function_", &format!("{name}_function_"));
                text += "\n";
            }
            let list = list.replace("function_", &format!("{name}_function_"));
            text += &match language {
                "c" => format!("{returns} {name}({list});\n"),
                // Without the `noexcept`, which is a part of a function's type and no part of
                // Rust's.
                _ => format!("{returns} (*const as_{name})({list}) = &{name};\n"),
            };
        }
        text
    }
}

fn rust_files() -> Vec<(PathBuf, String)> {
    let files = files_below(&root().join("src"), &["rs"]);
    files.into_iter().map(|f| (f.clone(), fs::read_to_string(&f).unwrap())).collect()
}

/// What the compiler says against it; nothing if it takes it.
fn complaints(source: &Source, language: &str, name: &str) -> String {
    let unit = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("prototypes_{name}.{language}"));
    fs::write(&unit, source.unit(language)).unwrap();
    let (variable, usual, standard) =
        if language == "c" { ("CC", "cc", "-std=c11") } else { ("CXX", "c++", "-std=c++17") };
    let compiler = std::env::var(variable).unwrap_or_else(|_| usual.to_owned());
    let mut words = compiler.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .args([standard, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I"])
        .arg(root().join("include"))
        .arg(&unit)
        .output()
        .unwrap_or_else(|e| panic!("{compiler}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    said
}

#[test]
fn every_function_has_the_types_that_its_header_says() {
    let source = Source::read(rust_files());
    assert!(source.functions.len() > 20, "the signatures are written in a way not known here");
    for language in ["c", "cpp"] {
        assert_eq!(complaints(&source, language, "all"), "");
    }
}

/// What is exported is compared above; or it is written in C++, in a file that includes its header,
/// so that the compiler has compared it already.
#[test]
fn every_exported_function_is_compared() {
    let source = Source::read(rust_files());
    let in_rust: BTreeSet<_> = source.functions.iter().map(|f| f.name.as_str()).collect();
    let in_cpp: Vec<_> = files_below(&root().join("cpp"), &["cpp"])
        .iter()
        .map(|f| fs::read_to_string(f).unwrap())
        .filter(|text| text.contains("#include \"monad/async/"))
        .collect();
    let golden = fs::read_to_string(root().join("tests/package/symbols.golden")).unwrap();
    let exported: Vec<_> = golden
        .lines()
        .filter_map(|line| line.strip_suffix(" T"))
        .filter(|name| name.starts_with("monad_async_"))
        .collect();
    assert!(!exported.is_empty());
    for name in exported {
        let named = format!(" {name}(");
        let is_in_cpp = in_cpp
            .iter()
            .flat_map(|text| text.lines())
            .any(|line| line.starts_with("extern \"C\"") && line.contains(&named));
        assert!(in_rust.contains(name) || is_in_cpp, "nothing compares {name} with its prototype");
    }
}

/// `find`, which stands once in the Rust source, made `replace`: each compiler must complain.
fn assert_noticed(find: &str, replace: &str) {
    let mut files = rust_files();
    let times: usize = files.iter().map(|(_, text)| text.matches(find).count()).sum();
    assert_eq!(times, 1, "{find}");
    for (_, text) in &mut files {
        *text = text.replace(find, replace);
    }
    let source = Source::read(files);
    for language in ["c", "cpp"] {
        let said = complaints(&source, language, "planted");
        assert!(said.contains("monad_async_ticks_to_ns"), "{find} -> {replace}: {said}");
    }
}

#[test]
fn a_difference_is_noticed() {
    let right = "fn monad_async_ticks_to_ns(count: u64) -> u64";
    for wrong in [
        "fn monad_async_ticks_to_ns(count: u32) -> u64",
        "fn monad_async_ticks_to_ns(count: i64) -> u64",
        "fn monad_async_ticks_to_ns(count: u64) -> u32",
        "fn monad_async_ticks_to_ns(count: u64)",
        "fn monad_async_ticks_to_ns() -> u64",
        "fn monad_async_ticks_to_ns(count: u64, more: u8) -> u64",
        "fn monad_async_ticks_to_ns(count: *const u64) -> u64",
        "fn monad_async_ticks_to_ns(call: extern \"C\" fn(u64) -> u64) -> u64",
    ] {
        assert_noticed(right, wrong);
    }
}

#[test]
fn signatures_are_read_as_rust_means_them() {
    let text = r#"
/// `monad_async_thing`: what it is for.
pub type ThingPtr = *mut Thing<u8>;
type Other = *const ThingPtr;
/// # Safety
/// Sound.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn monad_async_x(
    other: Other, // why
    call: Option<unsafe extern "C" fn(thing: ThingPtr, n: usize) -> bool>,
    at: *mut *const libc::timespec,
) {
}
"#;
    let source = Source::read([(PathBuf::from("x.rs"), text.to_owned())]);
    let unit = source.unit("c");
    let of_x: Vec<_> = unit.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        of_x,
        [
            "typedef bool (*monad_async_x_function_0)(monad_async_thing, size_t);",
            "void monad_async_x(monad_async_thing const *, monad_async_x_function_0, \
             struct timespec const * *);",
        ]
    );
}
