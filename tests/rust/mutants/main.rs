//! Who tests the simulation? Bugs planted on purpose do: it must find each of them, and every
//! promise it watches must be broken by some.
//!
//! The project is copied, all bugs are planted into the one copy, each behind a number that the
//! environment chooses, and the copy's programs run once for each. The project's own source
//! knows nothing of it. The models of the threads are tested in the same way, by another list.

mod crew;
mod files;
mod list;
mod models;
mod pool;
mod position;
mod promises;
mod queues;
mod refused;
mod rules;
#[path = "../../sim/executor/seeds.rs"]
mod seeds;
mod stacks;
mod together;
mod told;
mod views;

use crew::CREW;
use files::FILES;
use list::{Mutant, LOOP};
use models::WEAKENED;
use position::POSITION;
use promises::PROMISES;
use queues::QUEUES;
use rules::RULES;
use stacks::STACKS;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use together::TOGETHER;
use told::{CLOSE, JOINS, POLL_FD};
use views::VIEWS;

/// Programs to find a bug in, a moment's: of the simulation and of the model of scopes.
const FEW: u64 = 20_000;
/// Of the simulation, and of the other, where those find nothing: seconds.
const MANY: [u64; 2] = [400_000, 100_000];
/// Those that take the random programs longest, each with one that finds it: tried first. Where
/// programs are drawn in another way, it is one like all others.
const FIRST: &[(&str, u64)] = &[
    ("the result of a later run is given to who joined an earlier", 28188),
    ("a join by mail finds a later run of its task", 39968),
    ("a park that was cancelled takes a permit", 43864),
    ("a time-out is told while mail is left over", 81537),
    ("the executor sleeps on mail that it has begun to read", 228993),
];
/// A bug may keep a program from ending, or from coming to a moment that counts: seconds of processor time.
const LIMIT_S: [u64; 2] = [100, 20];

/// What the models try: see docs/architecture.md.
const SHARED: &[&str] = &[
    "src/intrusive/marks.rs",
    "src/intrusive/mpsc.rs",
    "src/intrusive/window.rs",
    "src/task/end.rs",
    "src/task/grant.rs",
    "src/task/joins.rs",
    "src/task/latch.rs",
    "src/task/permit.rs",
    "src/task/queued.rs",
    "src/task/requests.rs",
    "src/task/state.rs",
];

/// The programs of the models.
const LOOM: &[&str] = &[
    "loom_inbox",
    "loom_cancel",
    "loom_join",
    "loom_park",
    "loom_grant",
    "loom_queue",
    "loom_channel",
    "loom_window",
];

/// The programs of tests/rust that find some, each by the test that its list names.
const ALONE: [(&str, &[(Mutant, &str)]); 18] = [
    ("warm", STACKS),
    ("queues", QUEUES),
    ("reaped", queues::REAPED),
    ("poll_fd", POLL_FD),
    ("blocking", told::NAMES),
    ("close", CLOSE),
    ("entries", told::ENTRIES),
    ("joins", JOINS),
    ("late_scope", told::LATE),
    ("checked", told::CHECKED),
    ("position", POSITION),
    ("rows", files::IN_ROWS),
    ("pool_rules", pool::RULES),
    ("thread_pool", pool::WHOLE),
    ("threads", told::MAILBOX),
    ("fallbacks", refused::FALLBACKS),
    ("ring_refused", refused::RING),
    ("ring_wake", refused::WAKE),
];

/// Who waits in vain with a bug in it is ended after so long: with none in it nobody
/// is, however long it takes.
const IN_VAIN_S: u32 = 10;
/// And who asks again and again, instead of waiting, after so many of a processor.
const IN_CIRCLES_S: u64 = 4;
const IN_VAIN_AT_ONCE: usize = 16;

/// What loom can do, and the models do not use.
const UNHURRIED: &[&str] =
    &["regex-automata", "regex-syntax", "matchers", "tracing-subscriber", "nu-ansi-term"];

/// Threads may pass each other in a way that hides a bug: what nobody noticed is tried so often
/// again, with nothing else running here, before it counts. The log names what needed that.
const AGAIN: usize = 5;

fn mutants() -> impl Iterator<Item = &'static Mutant> {
    LOOP.iter().chain(RULES)
}

/// Those of more random programs.
fn of_programs() -> impl Iterator<Item = &'static Mutant> {
    TOGETHER.iter().chain(CREW).chain(FILES).chain(VIEWS)
}

/// Those of `ALONE`, each with its program and its test.
fn alone() -> impl Iterator<Item = (&'static Mutant, &'static str, &'static str)> {
    ALONE
        .into_iter()
        .flat_map(|(program, list)| list.iter().map(move |(mutant, test)| (mutant, program, *test)))
}

/// All that one copy is planted with, and so compiled once: a bug's number is its place here.
fn planted() -> impl Iterator<Item = &'static Mutant> {
    mutants().chain(of_programs()).chain(alone().map(|(mutant, ..)| mutant))
}

/// A program of that copy, which the first that asks builds.
fn program(name: &str) -> &'static Path {
    static PROGRAMS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let programs = PROGRAMS.get_or_init(|| {
        let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
        copy_project(&copy);
        plant(&copy, planted());
        let needed = |name: &&str| {
            are_all_chosen() || alone().any(|(mutant, of, _)| of == *name && is_chosen(mutant))
        };
        let names = ALONE.map(|(program, _)| program).into_iter().filter(needed);
        let random = ["sim", "scopes", "sync", "files_sim", "views_sim"];
        build(&copy, &random.into_iter().chain(names).collect::<Vec<_>>(), "")
    });
    let name_of = |p: &Path| p.file_name().unwrap().to_str().unwrap().to_owned();
    let is_it = |p: &&PathBuf| name_of(p).rsplit_once('-').unwrap().0 == name;
    programs.iter().find(is_it).expect("a program that was built")
}

/// `MUTANTS` chooses: those with one of these texts, which a | parts, in the name of the file, or in
/// what the bug is called.
fn is_chosen(mutant: &Mutant) -> bool {
    let has = |text: &str| mutant.file.contains(text) || mutant.bug.contains(text);
    std::env::var("MUTANTS").map_or(true, |texts| texts.split('|').any(has))
}

fn are_all_chosen() -> bool {
    std::env::var_os("MUTANTS").is_none()
}

/// `MUTANTS_TIMES` has each bug that a named test finds tried so often: which are found by luck?
fn times() -> usize {
    std::env::var("MUTANTS_TIMES").map_or(1, |times| times.parse().expect("a number"))
}

/// What the programs that have ended took of processors, in seconds: who comes to its end late?
fn used_s() -> f64 {
    // SAFETY: zeros are a usage, to which the children's is written.
    let used = unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut used);
        used
    };
    let seconds = |at: libc::timeval| at.tv_sec as f64 + at.tv_usec as f64 / 1e6;
    seconds(used.ru_utime) + seconds(used.ru_stime)
}

/// The last that is said, a line for each: what shows the end of a log shows them.
fn all_died(of: usize, alive: &[&str]) {
    println!("{} of {of} mutants died", of - alive.len());
    alive.iter().for_each(|bug| println!("not ok {bug}: nobody noticed"));
    assert!(alive.is_empty(), "nobody noticed: {alive:#?}");
}

#[test]
#[ignore = "builds the project once more; tests/run runs it"]
fn every_mutant_dies() {
    let (simulation, scopes) = (program("sim"), program("scopes"));
    if let Some(text) = run(simulation, 0, 1, FEW).or_else(|| run_scopes(scopes, 0, MANY[1])) {
        panic!("the copy breaks a promise with no bug in it: {text}");
    }
    let mut alive = Vec::new();
    let mut said = Vec::new();
    let (mut of_scopes, mut of_simulation) = (Vec::new(), Vec::new());
    for (n, mutant) in mutants().enumerate().filter(|(_, mutant)| is_chosen(mutant)) {
        let before_s = used_s();
        let first = FIRST.iter().find(|(bug, _)| *bug == mutant.bug);
        let by_first = first.and_then(|(_, seed)| run(simulation, n + 1, *seed, 1));
        if first.is_some() && by_first.is_none() {
            println!("its first program does not find this any more: {}", mutant.bug);
        }
        let mut found = [by_first.or_else(|| run(simulation, n + 1, 1, FEW)), None];
        if found[0].is_some() {
            of_simulation.push(n + 1);
        } else {
            found[1] = run_scopes(scopes, n + 1, FEW);
            match found[1] {
                Some(_) => of_scopes.push(n + 1),
                None => found[0] = run(simulation, n + 1, 1, MANY[0]),
            }
        }
        if found == [None, None] {
            found[1] = run_scopes(scopes, n + 1, MANY[1]);
        }
        if found == [None, None] {
            alive.push(mutant.bug);
        }
        println!("{} ({:.1} s)", mutant.bug, used_s() - before_s);
        for text in found.into_iter().flatten() {
            println!("    {text}");
            said.push(text);
        }
    }
    let all = mutants().filter(|mutant| is_chosen(mutant)).count();
    let unbroken = |said: &[String]| -> Vec<&str> {
        let is_said = |texts: &[&str]| said.iter().any(|s| texts.iter().any(|t| s.contains(t)));
        let broken = PROMISES.iter().filter(|(_, texts)| !is_said(texts));
        broken.map(|(promise, _)| *promise).collect()
    };
    if !are_all_chosen() {
        return all_died(all, &alive);
    }
    // What one finds at once may break a promise of the other's, too.
    for n in of_simulation {
        if unbroken(&said).is_empty() {
            break;
        }
        said.extend(run_scopes(scopes, n, FEW));
    }
    for n in of_scopes {
        if unbroken(&said).is_empty() {
            break;
        }
        said.extend(run(simulation, n, 1, MANY[0]));
    }
    let unbroken = unbroken(&said);
    let unfound: Vec<_> = seeds::FOUND
        .iter()
        .filter(|f| {
            let n = mutants().position(|m| m.bug == f.bug).expect("a bug of the list");
            run(simulation, n + 1, f.seed, 1).is_none()
        })
        .map(|f| (f.seed, f.bug))
        .collect();
    unbroken.iter().for_each(|promise| println!("not ok no mutant breaks: {promise}"));
    unfound.iter().for_each(|found| println!("not ok not found by its seed: {found:?}"));
    all_died(all, &alive);
    assert!(unfound.is_empty(), "these seeds do not find their bug any more: {unfound:#?}");
    assert!(unbroken.is_empty(), "no mutant breaks: {unbroken:#?}");
}

/// The source moves on, and the lists with it: told at once, not by the long runs.
#[test]
fn every_bug_has_its_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lost: Vec<_> = planted()
        .chain(WEAKENED.iter().map(|(mutant, _)| mutant))
        .filter_map(|m| {
            let text = fs::read_to_string(root.join(m.file)).unwrap_or_default();
            let whole = [m.right, m.wrong].iter().all(|piece| is_whole(piece));
            let found = find(&text, m.right).map(|_| ());
            let wrong = if whole { found } else { Err("braces without their others".into()) };
            wrong.err().map(|e| format!("{}: {e}: {}", m.file, m.right))
        })
        .collect();
    assert!(lost.is_empty(), "keep the lists of mutants up to date: {lost:#?}");
    let is_there = |bug: &str| mutants().any(|mutant| mutant.bug == bug);
    let lost: Vec<_> = FIRST.iter().filter(|(bug, _)| !is_there(bug)).collect();
    assert!(lost.is_empty(), "no bugs of these names: {lost:?}");
}

/// As are the tests that find them: a program has no test that stands in another.
#[test]
fn every_bug_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let alone = ALONE.iter().flat_map(|(program, list)| {
        list.iter().map(move |(_, test)| (format!("rust/{program}.rs"), *test))
    });
    let of_models = WEAKENED.iter().map(|(_, model)| {
        let (program, test) = model.split_once(' ').expect("a program and its test");
        (format!("{}.rs", program.replacen('_', "/", 1)), test)
    });
    let lost: Vec<_> = alone
        .chain(of_models)
        .filter(|(file, test)| {
            let text = fs::read_to_string(root.join(file)).unwrap_or_default();
            !text.contains(&format!("#[test]\nfn {test}()"))
        })
        .collect();
    assert!(lost.is_empty(), "tests that are not there: {lost:#?}");
}

/// What one copy is planted with stands side by side.
#[test]
fn no_bug_stands_in_another() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copies: [Vec<&Mutant>; 2] =
        [planted().collect(), WEAKENED.iter().map(|(mutant, _)| mutant).collect()];
    for copy in copies {
        let mut places: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for m in copy {
            let text = fs::read_to_string(root.join(m.file)).unwrap_or_default();
            places.entry(m.file).or_default().extend(find(&text, m.right).ok());
        }
        for (file, mut places) in places {
            places.sort_unstable();
            places.dedup();
            let crossed = places.windows(2).find(|two| two[1].0 < two[0].1);
            assert_eq!(crossed, None, "{file}: two bugs overlap there");
        }
    }
}

/// Whether a piece may stand in a block of its own: a planted one does.
fn is_whole(piece: &str) -> bool {
    let (mut open, mut is_arm, mut before) = (0, false, ' ');
    let never_below = piece.chars().all(|c| {
        open += i32::from(c == '{') - i32::from(c == '}');
        is_arm |= open == 0 && before == '=' && c == '>';
        before = c;
        open >= 0
    });
    let whole =
        piece.contains('{') || !["if ", "match "].iter().any(|word| piece.starts_with(word));
    let whole = whole && !(piece.starts_with("unsafe {") && piece.contains("} &&"));
    // In a block of its own nobody sees it.
    let binds = piece.starts_with("let ") && !piece.starts_with("let _ ");
    let whole = whole && !(binds && piece.find(';') == Some(piece.len() - 1));
    let whole =
        whole && !["&&", "||"].iter().any(|op| piece.starts_with(op) || piece.ends_with(op));
    never_below && open == 0 && whole && !is_arm
}

/// What the threads share is built for loom as it is. Each of its orderings that is more than relaxed
/// is weakened by some bug of the list, and one that is two by two: the models need them all.
#[test]
fn every_ordering_is_weakened() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut strong = Vec::new();
    for file in SHARED {
        let text = fs::read_to_string(root.join(file)).unwrap();
        let places: Vec<_> = WEAKENED
            .iter()
            .filter(|(mutant, _)| mutant.file == *file)
            .filter_map(|(mutant, _)| find(&text, mutant.right).ok())
            .collect();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let begin = at;
            at += line.len();
            let code = line.split("//").next().unwrap_or_default();
            if code.trim_start().starts_with("use ") || code.contains("Ordering::") {
                continue;
            }
            for (name, due) in [("AcqRel", 2), ("Acquire", 1), ("Release", 1), ("SeqCst", 1)] {
                for (n, _) in code.match_indices(name) {
                    let here = begin + n;
                    let is_name = |c: char| c.is_alphanumeric() || c == '_';
                    let end = code[n + name.len()..].chars().next();
                    if code[..n].ends_with(is_name) || end.is_some_and(is_name) {
                        continue;
                    }
                    let bugs = places.iter().filter(|(from, to)| (*from..*to).contains(&here));
                    if bugs.count() < due {
                        strong.push(format!("{file}: {}", code.trim()));
                    }
                }
            }
        }
    }
    assert!(strong.is_empty(), "weaken these, and see which model notices: {strong:#?}");
}

/// Each bug in what tasks wait for of each other is found by the random programs of tests/sim/sync,
/// each in a pool of several workers and in helpers by those of its `crew`, each in what becomes of
/// files by those of tests/sim/files, each in receiving by view by those of tests/sim/views, and each of
/// `ALONE` by the test that its list names.
#[test]
#[ignore = "builds the project once more; tests/run runs it"]
fn every_mutant_of_sync_dies() {
    let alone: Vec<_> = alone().collect();
    let (sync, files, views) = (program("sync"), program("files_sim"), program("views_sim"));
    let named = |n, at: usize| {
        let (_, name, test) = alone[at];
        // With no bug in it, too: what takes so long of a processor would be noticed with any.
        let limit_s = if n == 0 { 0 } else { IN_VAIN_S };
        run_named(program(name), n, test, limit_s, Some(IN_CIRCLES_S))
    };
    let chosen = |&at: &usize| is_chosen(alone[at].0);
    // A test that finds several bugs passes once.
    let is_first = |&at: &usize| {
        let same = |other: &usize| (alone[*other].1, alone[*other].2) == (alone[at].1, alone[at].2);
        !(0..at).filter(chosen).any(|other| same(&other))
    };
    let unharmed = || (0..alone.len()).filter(chosen).filter(is_first).find_map(|at| named(0, at));
    let of_crew =
        || run_crew(sync, 0).or_else(|| run_files(files, 0)).or_else(|| run_views(views, 0));
    if let Some(text) = run_sync(sync, 0).or_else(of_crew).or_else(unharmed) {
        panic!("the copy goes wrong with no bug in it: {text}");
    }
    let mut alive = Vec::new();
    let mut before_s = used_s();
    let mut note = |mutant: &Mutant, found: Option<String>| {
        let now_s = used_s();
        println!("{} ({:.1} s)", mutant.bug, now_s - before_s);
        before_s = now_s;
        match found {
            Some(text) => println!("    {text}"),
            None => alive.push(mutant.bug),
        }
    };
    let (of_sync, of_crew) = (TOGETHER.len(), TOGETHER.len() + CREW.len());
    let of_files = of_crew + FILES.len();
    let first = mutants().count() + 1;
    let first_alone = first + of_programs().count();
    for (n, mutant) in of_programs().enumerate().filter(|(_, mutant)| is_chosen(mutant)) {
        note(
            mutant,
            match n {
                _ if n < of_sync => run_sync(sync, first + n),
                _ if n < of_crew => run_crew(sync, first + n),
                _ if n < of_files => run_files(files, first + n),
                _ => run_views(views, first + n),
            },
        );
    }
    // Some at a time: those that wait in vain take no processor.
    let ats: Vec<_> = (0..alone.len()).filter(chosen).flat_map(|at| [at].repeat(times())).collect();
    let mut unnoticed = BTreeMap::new();
    for ats in ats.chunks(IN_VAIN_AT_ONCE) {
        std::thread::scope(|scope| {
            let runs = ats.iter().map(|&at| {
                let named = &named;
                (at, scope.spawn(move || named(first_alone + at, at)))
            });
            for (at, run) in runs.collect::<Vec<_>>() {
                match run.join().unwrap() {
                    None => *unnoticed.entry(at).or_insert(0) += 1,
                    found => note(alone[at].0, found),
                }
            }
        });
    }
    for (at, count) in unnoticed {
        let mutant = alone[at].0;
        println!("in {count} of {} runs nobody noticed: {}", times(), mutant.bug);
        let found = (0..AGAIN).find_map(|n| Some((n + 1, named(first_alone + at, at)?)));
        if let Some((n, _)) = &found {
            println!("by chance: alone, it was noticed the {n}. time: {}", mutant.bug);
        }
        note(mutant, found.map(|(_, text)| text));
    }
    let all = of_programs().chain(alone.iter().map(|(mutant, ..)| *mutant));
    all_died(all.filter(|mutant| is_chosen(mutant)).count(), &alive);
}

/// Each bug is found by the model that the list names; none finds anything without one.
#[test]
#[ignore = "builds the project once more, for loom; tests/run runs it"]
fn every_model_can_fail() {
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("weakened");
    copy_project(&copy);
    plant(&copy, WEAKENED.iter().map(|(mutant, _)| mutant));
    let programs = build(&copy, LOOM, "--cfg loom");
    let fails = |n: usize, model: &str| {
        let (program, test) = model.split_once(' ').expect("a program and its test");
        let is_it = |p: &&PathBuf| p.file_name().unwrap().to_str().unwrap().starts_with(program);
        let program = programs.iter().find(is_it).expect("a program that was built");
        run_named(program, n, test, 0, None)
    };
    for program in &programs {
        let out = Command::new(program).env("MUTANT", "0").output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success(), "with no bug in it: {text}");
        println!("{}", text.lines().find(|l| l.starts_with("test result")).unwrap_or_default());
    }
    let mut alive = Vec::new();
    let chosen = WEAKENED.iter().enumerate().filter(|(_, (mutant, _))| is_chosen(mutant));
    for (n, (mutant, model)) in chosen.clone() {
        let before_s = used_s();
        match fails(n + 1, model) {
            Some(text) => {
                println!("{} ({:.1} s)\n    {model}: {text}", mutant.bug, used_s() - before_s);
            }
            None => alive.push(mutant.bug),
        }
    }
    all_died(chosen.count(), &alive);
}

/// What one test of a program says that fails with this bug, or takes so long, or so long of a
/// processor; None: it passes.
fn run_named(
    program: &Path,
    mutant: usize,
    test: &str,
    limit_s: u32,
    limit_cpu_s: Option<u64>,
) -> Option<String> {
    let mut command = Command::new(program);
    // SAFETY: system calls, which may be made there; what they set outlives the exec. 0: none.
    unsafe {
        command.pre_exec(move || {
            libc::alarm(limit_s);
            if let Some(limit_s) = limit_cpu_s {
                let limit = libc::rlimit { rlim_cur: limit_s, rlim_max: limit_s };
                libc::setrlimit(libc::RLIMIT_CPU, &limit);
            }
            Ok(())
        })
    };
    let out = command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("MUTANT", mutant.to_string())
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    let (name, status) = (program.display(), out.status);
    assert!(text.contains("running 1 test"), "{name} has no {test}: {status}: {text}");
    if out.status.success() {
        return None;
    }
    let said: Vec<_> = text.lines().skip_while(|l| !l.contains("panicked")).take(2).collect();
    Some(if said.is_empty() { out.status.to_string() } else { said.join(" ") })
}

fn copy_project(to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["Cargo.lock", "build.rs"] {
        write(&to.join(file), &fs::read(from.join(file)).unwrap());
    }
    let _ = fs::remove_dir_all(to.join("tests"));
    for dir in ["src", "cpp", "include", "gdb", "tests/sim", "tests/support", "tests/loom"] {
        copy_dir(&from.join(dir), &to.join(dir));
    }
    let alone = ALONE.map(|(program, _)| format!("tests/rust/{program}.rs"));
    for program in &alone {
        write(&to.join(program), &fs::read(from.join(program)).unwrap());
    }
    // What only the benchmarks need would take the longest to build.
    let manifest = fs::read_to_string(from.join("Cargo.toml")).unwrap();
    let sections = manifest.split("\n[").filter(|s| {
        let elsewhere = s.starts_with("[test")
            && !alone.iter().any(|program| s.contains(program))
            && !["sim", "loom"].iter().any(|d| s.contains(&format!("\"tests/{d}/")));
        !elsewhere && !s.starts_with("[bench") && !s.contains("dev-dependencies]")
    });
    write(&to.join("Cargo.toml"), sections.collect::<Vec<_>>().join("\n[").as_bytes());
}

fn copy_dir(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            write(&to, &fs::read(entry.path()).unwrap());
        }
    }
}

fn write(to: &Path, bytes: &[u8]) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::write(to, bytes).unwrap();
}

/// Puts every bug into the copy, next to what is right.
fn plant(copy: &Path, mutants: impl Iterator<Item = &'static Mutant>) {
    let mut places: BTreeMap<(&str, &str), Vec<(usize, &Mutant)>> = BTreeMap::new();
    for (n, mutant) in mutants.enumerate() {
        places.entry((mutant.file, mutant.right)).or_default().push((n + 1, mutant));
    }
    for ((file, right), mutants) in places {
        let path = copy.join(file);
        let text = fs::read_to_string(&path).unwrap();
        let (from, to) = find(&text, right).unwrap_or_else(|e| {
            panic!("{file}: {e}: {right}\nkeep the list of mutants up to date")
        });
        let found = &text[from..to];
        let last = found.lines().next_back().unwrap();
        assert!(!last.contains("//"), "{file}: what is put behind would be a comment: {right}");
        let mut planted = String::new();
        let root = if file.starts_with("src/") { "crate" } else { "monad_async" };
        for (n, mutant) in &mutants {
            planted += &format!("if {root}::mutant::is({n}) {{ {} }} else ", mutant.wrong);
        }
        planted += &format!("{{ {found} }}");
        if !found.ends_with([';', '}']) {
            planted = format!("({planted})");
        }
        write(&path, [&text[..from], &planted, &text[to..]].concat().as_bytes());
    }
    let lib = copy.join("src/lib.rs");
    let mut text = fs::read_to_string(&lib).unwrap();
    text += "
        pub mod mutant {
            static NUMBER: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
            pub fn is(n: u32) -> bool {
                let read = || std::env::var(\"MUTANT\").map_or(0, |n| n.parse().unwrap());
                *NUMBER.get_or_init(read) == n
            }
        }";
    write(&lib, text.as_bytes());
}

/// Where `piece` stands in `text`, whatever the spaces and line ends.
fn find(text: &str, piece: &str) -> Result<(usize, usize), String> {
    let dense: Vec<(usize, char)> =
        text.char_indices().filter(|(_, c)| !c.is_whitespace()).collect();
    let piece: Vec<char> = piece.chars().filter(|c| !c.is_whitespace()).collect();
    let is_here = |w: &[(usize, char)]| w.iter().map(|(_, c)| c).eq(&piece);
    let mut places = dense.windows(piece.len()).filter(|w| is_here(w));
    match (places.next(), places.next()) {
        (Some(w), None) => Ok((w[0].0, w[w.len() - 1].0 + 1)),
        (None, _) => Err("not there".into()),
        _ => Err("there more than once".into()),
    }
}

/// The test programs of the copy. Without debug assertions: they would find too much.
/// All copies are built where the project is: what runs while crates are built is there, as it is built
/// in the same way.
fn build(copy: &Path, tests: &[&str], flags: &str) -> Vec<PathBuf> {
    let machine = this_machine();
    // Where cargo builds for a machine that is named to it, the directory has the machine's name.
    let mut target = copy.ancestors().nth(2).unwrap();
    if target.ends_with(&machine) {
        target = target.parent().unwrap();
    }
    let out = Command::new(env!("CARGO"))
        .current_dir(copy)
        .args(["test", "--no-run", "--message-format=json", "--target", &machine])
        .args(tests.iter().flat_map(|test| ["--test", test]))
        .args(UNHURRIED.iter().flat_map(|name| {
            ["--config".to_owned(), format!("profile.test.package.{name}.opt-level=0")]
        }))
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_PROFILE_TEST_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_TEST_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_TEST_DEBUG_ASSERTIONS", "false")
        .env("CARGO_PROFILE_TEST_OVERFLOW_CHECKS", "true")
        .env("CARGO_PROFILE_TEST_DEBUG", "0")
        .env("CARGO_PROFILE_TEST_BUILD_OVERRIDE_DEBUG", "line-tables-only")
        .env("CARGO_PROFILE_TEST_BUILD_OVERRIDE_DEBUG_ASSERTIONS", "true")
        .env("CARGO_PROFILE_TEST_BUILD_OVERRIDE_OVERFLOW_CHECKS", "true")
        .env("CARGO_INCREMENTAL", "0")
        .env("RUSTFLAGS", format!("-Awarnings {flags}"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(out.status.success(), "the copy does not build");
    let text = String::from_utf8(out.stdout).unwrap();
    let after = text.split("\"executable\":\"").skip(1);
    after.map(|path| PathBuf::from(path.split('"').next().unwrap())).collect()
}

/// As rustc calls it. Named to cargo, whose flags then are for this crate's programs alone, and not
/// for what runs while they are built.
fn this_machine() -> String {
    let out = Command::new("rustc").arg("-vV").output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let host = text.lines().find_map(|l| l.strip_prefix("host: "));
    host.expect("rustc's host").to_owned()
}

/// What the simulation says of these programs with this bug in it; None: nothing.
fn run(simulation: &Path, mutant: usize, from: u64, count: u64) -> Option<String> {
    let status = simulation.with_extension("status");
    fs::write(&status, [0u8; 8]).unwrap();
    let out = Command::new(simulation)
        .args(["--exact", "programs", "--nocapture", "--test-threads=1"])
        .env("MUTANT", mutant.to_string())
        .env("SIM_WORKER", &status)
        .env("SIM_FROM", from.to_string())
        .env("SIM_COUNT", count.to_string())
        .env("SIM_CPU_S", LIMIT_S[0].to_string())
        .output()
        .unwrap();
    if out.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&out.stderr);
    let said = text.lines().find(|l| l.contains("broken promise") || l.contains("panicked"));
    Some(said.map_or_else(|| out.status.to_string(), |l| l.chars().take(200).collect()))
}

/// What the model of scopes says with this bug in it.
fn run_scopes(scopes: &Path, mutant: usize, count: u64) -> Option<String> {
    let (count, limit_s) = (count.to_string(), LIMIT_S[1].to_string());
    run_model(scopes, mutant, &[], &[("SCOPES_COUNT", &count), ("SCOPES_CPU_S", &limit_s)])
}

/// What the random programs of tests/sim/sync say with this bug in it.
fn run_sync(program: &Path, mutant: usize) -> Option<String> {
    run_model(program, mutant, &["--skip=crew"], &[("SYNC_COUNT", "60000"), ("SYNC_CPU_S", "20")])
}

/// What those of tests/sim/sync/crew say with this bug in it.
fn run_crew(program: &Path, mutant: usize) -> Option<String> {
    run_model(program, mutant, &["crew"], &[("SYNC_COUNT", "60000"), ("SYNC_CPU_S", "10")])
}

/// What those of tests/sim/files say with this bug in it.
fn run_files(program: &Path, mutant: usize) -> Option<String> {
    let run = |count, cpu_s| {
        run_model(program, mutant, &[], &[("FILES_COUNT", count), ("FILES_CPU_S", cpu_s)])
    };
    // One of them takes some 22,000 programs.
    run("10000", "10").or_else(|| if mutant == 0 { None } else { run("100000", "100") })
}

/// What those of tests/sim/views say with this bug in it.
fn run_views(program: &Path, mutant: usize) -> Option<String> {
    run_model(program, mutant, &[], &[("VIEWS_COUNT", "10000"), ("VIEWS_CPU_S", "10")])
}

fn run_model(
    program: &Path,
    mutant: usize,
    tests: &[&str],
    how_long: &[(&str, &str)],
) -> Option<String> {
    let out = Command::new(program)
        .args(["--nocapture", "--test-threads=1"])
        .args(tests)
        .env("MUTANT", mutant.to_string())
        .envs(how_long.iter().copied())
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    if out.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&out.stderr);
    let said = text.lines().skip_while(|l| !l.contains("panicked")).nth(1);
    Some(said.map_or_else(|| out.status.to_string(), |l| l.chars().take(200).collect()))
}
