//! Reads machine code through objdump: follows calls and jumps from some functions on, and finds
//! the instructions that lock. The program read is this one, which holds the library as release
//! builds make it; MONAD_ASYNC_DISASSEMBLE names another, a shared library say.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::process::Command;

use super::skip::skip;

struct Function {
    name: String,
    /// Address, mnemonic with prefixes, operands.
    code: Vec<(u64, String)>,
}

pub struct Program {
    functions: BTreeMap<u64, Function>,
    by_name: HashMap<String, u64>,
    /// What the loader writes into the table of addresses that calls between objects go through.
    slots: HashMap<u64, u64>,
}

#[derive(Default)]
pub struct Found {
    pub functions: BTreeSet<String>,
    pub instructions: usize,
    /// As text: function, address, instruction.
    pub locked: Vec<String>,
    /// Entries of the list of stops that were met.
    pub stops: BTreeSet<&'static str>,
}

impl Program {
    /// None, said and counted by that, where there is no objdump.
    pub fn read() -> Option<Self> {
        let path = std::env::var_os("MONAD_ASYNC_DISASSEMBLE")
            .map_or_else(|| std::env::current_exe().expect("this program"), Into::into);
        let objdump = |args: &[&str]| {
            let out = Command::new("objdump").args(args).arg(&path).output();
            let out = out.ok().filter(|out| out.status.success())?;
            Some(String::from_utf8_lossy(&out.stdout).into_owned())
        };
        let text = objdump(&["-d", "-C", "--no-show-raw-insn", "-w"]);
        let (Some(text), Some(slots)) = (text, objdump(&["-R"])) else {
            skip("no objdump here (Debian: binutils): locks are not looked for");
            return None;
        };
        Some(Self::parse(&text, &slots))
    }

    fn parse(text: &str, slots: &str) -> Self {
        let mut functions = BTreeMap::new();
        let mut by_name = HashMap::new();
        let mut current: Option<(u64, Function)> = None;
        for line in text.lines() {
            if let Some((at, name)) = header(line) {
                functions.extend(current.take());
                by_name.insert(name.to_owned(), at);
                current = Some((at, Function { name: name.to_owned(), code: Vec::new() }));
            } else if let (Some((at, code)), Some((_, f))) = (instruction(line), &mut current) {
                f.code.push((at, code.to_owned()));
            }
        }
        functions.extend(current);
        Self { functions, by_name, slots: slots.lines().filter_map(slot).collect() }
    }

    /// A function with that in its name.
    pub fn has(&self, name: &str) -> bool {
        self.functions.values().any(|f| f.name.contains(name))
    }

    /// All that is reached from `roots` by direct calls and jumps, without what `stops` names.
    pub fn follow(&self, roots: &[&str], stops: &[&'static str]) -> Found {
        let mut found = Found::default();
        let mut queue: VecDeque<u64> = VecDeque::new();
        for root in roots {
            queue.push_back(*self.by_name.get(*root).unwrap_or_else(|| panic!("no {root}")));
        }
        let mut seen: BTreeSet<u64> = queue.iter().copied().collect();
        while let Some(at) = queue.pop_front() {
            let Some(f) = self.functions.get(&at) else { continue };
            if let Some(stop) = stops.iter().find(|s| f.name.contains(**s)) {
                found.stops.insert(stop);
                continue;
            }
            // Ends the process, by a panic or by plan: not a path of anything.
            if dies(&f.name) {
                continue;
            }
            found.functions.insert(f.name.clone());
            for (at, code) in &f.code {
                found.instructions += 1;
                if locks(code) {
                    found.locked.push(format!("{}: {at:x}: {code}", f.name));
                }
                let to = target(code).or_else(|| self.slots.get(&through(code)?).copied());
                if let Some(to) = to.and_then(|to| self.containing(to)) {
                    if seen.insert(to) {
                        queue.push_back(to);
                    }
                }
            }
        }
        found
    }

    /// The function that an address lies in.
    fn containing(&self, at: u64) -> Option<u64> {
        let (start, f) = self.functions.range(..=at).next_back()?;
        f.code.last().is_some_and(|last| at <= last.0).then_some(*start)
    }
}

/// `0000000000012340 <name>:`
fn header(line: &str) -> Option<(u64, &str)> {
    let (at, rest) = line.split_once(" <")?;
    let name = rest.strip_suffix(">:")?;
    Some((u64::from_str_radix(at, 16).ok()?, name))
}

/// `   12340:\tlock xadd %rax,(%rdi)`
fn instruction(line: &str) -> Option<(u64, &str)> {
    let (at, code) = line.trim_start().split_once(":\t")?;
    Some((u64::from_str_radix(at, 16).ok()?, code.trim()))
}

/// A linker pads with addr32 what it made of a call through a table.
const PREFIXES: &[&str] = &["addr32", "bnd", "cs", "data16", "notrack"];

/// Where a call or jump with a fixed target goes.
fn target(code: &str) -> Option<u64> {
    let mut words = code.split_whitespace().peekable();
    while words.peek().is_some_and(|w| PREFIXES.contains(w)) {
        words.next();
    }
    let mnemonic = words.next()?;
    let x86 = mnemonic == "call" || mnemonic.starts_with('j');
    let arm =
        ["b", "bl", "cbz", "cbnz", "tbz", "tbnz"].contains(&mnemonic) || mnemonic.starts_with("b.");
    if !x86 && !arm {
        return None;
    }
    let operands = code[code.find(mnemonic)? + mnemonic.len()..].split('<').next()?;
    let last = operands.split(',').next_back()?.trim();
    u64::from_str_radix(last.trim_start_matches("0x"), 16).ok()
}

/// The slot that a call or jump goes through: `call *0x6da94(%rip)  # 1088c0 <_DYNAMIC+0xb18>`; or
/// that is kept in a register, for a `call *%rbp` further on: `mov 0x6a3e5(%rip),%rbp  # 117f60`.
fn through(code: &str) -> Option<u64> {
    let (before, slot) = code.split_once('#')?;
    let goes = before.contains("call") || before.contains("jmp");
    let keeps = before.trim_start().starts_with("mov ") && before.contains("(%rip),%r");
    let at = slot.split_whitespace().next()?;
    u64::from_str_radix(at, 16).ok().filter(|_| (goes && before.contains("*0x")) || keeps)
}

/// `00000000001088c0 R_X86_64_RELATIVE  *ABS*+0x00000000000a61e0`
fn slot(line: &str) -> Option<(u64, u64)> {
    let (at, rest) = line.split_once(' ')?;
    let to = rest.split_once("*ABS*+0x")?.1;
    Some((u64::from_str_radix(at, 16).ok()?, u64::from_str_radix(to.trim(), 16).ok()?))
}

/// An atomic read-modify-write, or a fence that costs as much.
fn locks(code: &str) -> bool {
    let mnemonic = code.split_whitespace().next().unwrap_or_default();
    if cfg!(target_arch = "x86_64") {
        // An xchg with memory locks without saying so.
        mnemonic == "lock"
            || mnemonic == "mfence"
            || (mnemonic.starts_with("xchg") && code.contains('('))
            || code.contains(" lock ")
    } else {
        let starts = ["cas", "swp", "ldadd", "ldset", "ldclr", "ldeor", "stadd", "stset"];
        starts.iter().any(|s| mnemonic.starts_with(s))
            || ["ldxr", "ldaxr", "stxr", "stlxr"].iter().any(|s| mnemonic.starts_with(s))
            || code.contains("__aarch64_")
    }
}

fn dies(name: &str) -> bool {
    name.starts_with("core::panicking::")
        || name.contains("panic_fmt")
        || name.contains("_failed")
        || name.contains("@plt")
}

#[test]
fn instructions_are_read_as_they_are_printed() {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let text = "
0000000000001000 <a>:
    1000:\tlock xadd %rax,(%rdi)
    1005:\taddr32 call 2000 <b::c<d>>
    100a:\tcs nopw 0x0(%rax,%rax,1)
    100b:\tjmp    1000 <a>
0000000000002000 <b::c<d>>:
    2000:\txchg   %ax,%ax
    2002:\txchg   %rax,(%rdi)
    2004:\tbnd jmp 3001 <e+0x1>
    2006:\tcall   *0x1234(%rip)        # 9000 <x>
    200c:\tcall   *0x1234(%rip)        # 9008 <x>
0000000000003000 <e>:
    3000:\tret
    3001:\tmfence
0000000000004000 <f>:
    4000:\tlock orl $0x0,(%rsp)
";
    let slots = "
OFFSET           TYPE              VALUE
0000000000009000 R_X86_64_RELATIVE  *ABS*+0x0000000000004000
0000000000009008 R_X86_64_GLOB_DAT  malloc@GLIBC_2.2.5
";
    let program = Program::parse(text, slots);
    let found = program.follow(&["a"], &[]);
    assert_eq!((found.functions.len(), found.instructions, found.locked.len()), (4, 12, 4));
    let found = program.follow(&["a"], &["c<d"]);
    assert_eq!((found.functions.len(), found.locked.len()), (1, 1));
    assert!(found.stops.contains("c<d"));
}
