//! The numbers that this library has of the kernel's, against the machine's own header, and against
//! the one other list of them: the debugger's.

#[path = "../support/mod.rs"]
mod support;

use monad_async::uring::abi;
use std::io::Write;
use std::process::{Command, Stdio};
use support::skip;

/// What the compiler says of `source`.
fn complaints(source: &str) -> Result<Vec<String>, std::io::Error> {
    let mut compiler = Command::new(std::env::var("CC").unwrap_or("cc".into()))
        .args(["-fsyntax-only", "-fmax-errors=0", "-x", "c", "-"])
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    compiler.stdin.take().unwrap().write_all(source.as_bytes())?;
    let out = compiler.wait_with_output()?;
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    Ok(text.lines().filter(|line| line.contains("error")).map(String::from).collect())
}

/// A C program that does not compile where a number is another than the header's.
fn comparison(numbers: &[(&str, u64)]) -> String {
    let mut source = String::from("#include <linux/io_uring.h>\n");
    for (name, value) in numbers {
        // One that the header does not declare is an error of its own, which names it.
        source += &format!("enum {{ is_{name} = {name} }};\n");
        source += &format!("_Static_assert(is_{name} == {value}, \"{name} is not {value}\");\n");
    }
    source
}

#[test]
fn each_number_is_the_headers() {
    let all: Vec<_> = abi::tables().copied().collect();
    let said = match complaints(&comparison(&all)) {
        Ok(said) => said,
        Err(e) => return skip::skip(format!("no C compiler: {e}")),
    };
    if said.iter().any(|line| line.contains("linux/io_uring.h")) {
        return skip::skip(format!("no <linux/io_uring.h>: {said:?}"));
    }
    let is_declared = |name: &str| {
        let quoted = [format!("'{name}' undeclared"), format!("identifier '{name}'")];
        !said.iter().any(|line| quoted.iter().any(|q| line.contains(q)))
    };
    let known: Vec<_> = all.iter().copied().filter(|(name, _)| is_declared(name)).collect();
    println!("measured: {} of {} numbers are in the header", known.len(), all.len());
    assert!(known.iter().any(|(name, _)| *name == "IORING_OP_READ"), "{said:?}");
    let said = complaints(&comparison(&known)).unwrap();
    assert!(said.is_empty(), "{said:#?}");
}

/// That the comparison above can fail.
#[test]
fn a_wrong_number_is_found() {
    let Ok(said) = complaints(&comparison(&[("IORING_OP_READ", 23), ("IORING_OP_WRITE", 23)]))
    else {
        return skip::skip("no C compiler");
    };
    if said.iter().any(|line| line.contains("linux/io_uring.h")) {
        return skip::skip(format!("no <linux/io_uring.h>: {said:?}"));
    }
    assert!(said.len() == 1 && said[0].contains("IORING_OP_READ is not 23"), "{said:?}");
}

#[test]
fn no_two_opcodes_have_one_number() {
    for (at, (name, value)) in abi::op::TABLE.iter().enumerate() {
        assert_eq!(*value, at as u64, "{name}");
    }
    assert_eq!(abi::op::TABLE.len(), usize::from(abi::LAST_OP) + 1);
}

#[test]
fn the_debugger_knows_the_same_opcodes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/gdb/monad-async-gdb.py");
    let script = std::fs::read_to_string(path).unwrap();
    let (_, list) = script.split_once("OPCODES = \"\"\"").expect("its list");
    let (list, _) = list.split_once("\"\"\"").unwrap();
    let names: Vec<_> =
        abi::op::TABLE.iter().map(|(name, _)| name.trim_start_matches("IORING_OP_")).collect();
    assert_eq!(list.split_whitespace().collect::<Vec<_>>(), names);
}
