//! Where the time goes, as the executor's own time tracking tells it: the steps of a task one at a
//! time, and the hot loops, and a bare ring in the same process.
//!
//! `cargo run --release --example latency` takes some 30 s and prints tables for people;
//! `-- --markdown` prints them for docs/performance.md; `-- --draw DIRECTORY` measures the steps
//! alone, and draws how long they take into `steps.svg` there, by matplotlib. The exit status is 0
//! whatever the figures.
//!
//! Nanoseconds are this machine's at this moment; ratios carry over. Every figure is a median,
//! every ratio the median of ratios of rounds that took turns, and the targets are ratios.

#[path = "../benches/common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::hot::{Launch, Looping};
use common::life::{self, Creations, FirstSuspensions, Runs};
use common::many::{Million, Sleepers};
use common::raw::RawRing;
use common::rounds::{verdict, By, Outcome, Pairs, Work};
use common::steps::{Step, Steps};
use common::table::{Align, Table};
use common::targets::Stamp;
use common::threads::{How, Remote, Wakes};
use common::{targets, OFF, ON};
use monad_async::ticks;

/// What one NOP of the bare ring took where the first version was measured.
const FIRST_RAW_NS: f64 = 72.0;

fn main() {
    let markdown = std::env::args().skip(1).any(|a| a == "--markdown");
    ticks::anchor();
    if let Some(directory) = std::env::args().skip_while(|a| a != "--draw").nth(1) {
        return draw(&PathBuf::from(directory));
    }
    println!("{}\n", common::machine());
    let raw = &mut RawRing::new();
    if raw.plain {
        println!("The kernel refuses the executor's ring flags: the bare ring has none of them.\n");
    }
    let stamp = Stamp::measure(raw, ROUNDS);
    steps(markdown, raw);
    loops(markdown, raw, &stamp);
    lives(markdown, raw);
    wakes(markdown);
    stamps(&stamp);
}

/// With what the first version took.
const STEPS: [(Step, f64); 5] = [
    (Step::AttachToBegin, 630.0),
    (Step::BeginToEnd, 290.0),
    (Step::BeginToSuspended, 440.0),
    (Step::CompletedToResumed, 450.0),
    (Step::ResumedToEnd, 580.0),
];

/// The distribution of each step, as a picture.
fn draw(directory: &Path) {
    let steps = STEPS.map(|(step, _)| {
        let mut s = Steps::new(step);
        let mut all: Vec<f64> = (0..ROUNDS).flat_map(|_| s.round()).collect();
        let at = |per_mille: u32| common::rounds::quantile(&mut all, f64::from(per_mille) / 1000.0);
        let ns: Vec<String> = (0..1000).step_by(5).map(at).map(|ns| format!("{ns:.1}")).collect();
        format!("{{\"step\": \"{}\", \"ns\": [{}]}}", step.name(), ns.join(", "))
    });
    let file = directory.join("steps.json");
    std::fs::write(&file, format!("[{}]\n", steps.join(",\n"))).expect("a directory to write to");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/look/steps.py");
    // The distribution's, where another comes first.
    let drawn = ["python3", "/usr/bin/python3"].iter().any(|python| {
        let run = Command::new(python).arg(script).args([&file, directory]).output();
        run.is_ok_and(|run| run.status.success())
    });
    match drawn {
        true => {
            println!("{}", directory.join("steps.svg").display());
            let _ = std::fs::remove_file(file);
        }
        false => println!("no picture (python3-matplotlib); the figures are in {}", file.display()),
    }
}

/// Medians and 99th percentiles of each step of a task that is alone.
fn steps(markdown: bool, raw: &mut RawRing) {
    let mut t = Table::new(
        "One task at a time",
        &[
            ("step", Align::Left),
            ("median ns", Align::Right),
            ("99% ns", Align::Right),
            ("first version ns", Align::Right),
            ("ratio", Align::Right),
            ("at most", Align::Right),
            ("", Align::Left),
        ],
    );
    for (step, first_ns) in STEPS {
        let mut s = Steps::new(step);
        let (mut all, mut pairs) = (Vec::new(), Pairs::default());
        for _ in 0..ROUNDS {
            let base = By::Wall.per_op(raw.round());
            let mut ns = s.round();
            pairs.add(common::rounds::quantile(&mut ns, 0.5), base);
            all.append(&mut ns);
        }
        let o = pairs.outcome();
        // Half of what the first version takes, carried over to this machine by the bare ring.
        let target = first_ns / 2.0 / FIRST_RAW_NS;
        t.row(&[
            step.name().into(),
            ns(o.own_ns),
            ns(common::rounds::quantile(&mut all, 0.99)),
            ns(first_ns),
            format!("{:.2}", o.ratio),
            format!("{target:.2}"),
            verdict(o.ratio, Some(target)).into(),
        ]);
    }
    t.print(markdown);
    println!(
        "\nRatio: to a NOP on the bare ring, 64 a batch. First version: what this library took \
         when\nit began. At most: half of that.\n"
    );
}

/// Rounds of everything but the wake-ups, if they do not take longer than that.
const ROUNDS: usize = 200;
const ENOUGH: Duration = Duration::from_millis(1500);

fn loops(markdown: bool, raw: &mut RawRing, stamp: &Stamp) {
    let mut t = Table::new(
        "Hot loops",
        &[
            ("per operation", Align::Left),
            ("ns", Align::Right),
            ("bare ring ns", Align::Right),
            ("ratio", Align::Right),
            ("10% to 90%", Align::Left),
            ("at most", Align::Right),
            ("", Align::Left),
        ],
    );
    let mut add = |name: &str, own: &mut dyn Work, by: By, target: Option<f64>| {
        let mut pairs = Pairs::default();
        let begun = Instant::now();
        for round in 0..ROUNDS {
            if begun.elapsed() > ENOUGH && round >= 5 {
                break;
            }
            let base = by.per_op(raw.round());
            pairs.add(by.per_op(own.round()), base);
        }
        t.row(&comparison(name, pairs.outcome(), target));
    };
    for (track, suffix) in [(ON, ""), (OFF, ", no time tracking")] {
        let name = |what: &str| format!("{what}{suffix}");
        let launch = Some(stamp.launch(track));
        let (yields, nops) = (Some(stamp.yielding(track)), stamp.nop(track));
        add(&name("launch, run, finish"), &mut Launch::new(track), By::Wall, launch);
        add(&name("yield among 64"), &mut Looping::yields(track), By::Wall, yields);
        add(&name("NOP among 64"), &mut Looping::nops(track), By::Wall, nops);
    }
    let target = Some(targets::REMOTE);
    let mut remote = Remote::new(ON);
    add("launch from another thread", &mut remote, By::Wall, target);
    let target = Some(targets::SLEEP);
    add("1 ms sleep among 10,000, CPU", &mut Sleepers::new(ON), By::Cpu, target);
    t.print(markdown);
    println!(
        "\nAt most: the goals, with time tracking above what a stamp costs; docs/performance.md \
         says what holds back those that are missed."
    );
    println!("The first version: launch 60 to 97 ns, NOP 141 ns, where the bare ring takes 72.\n");
}

/// What is not the hottest loop.
fn lives(markdown: bool, raw: &mut RawRing) {
    let mut t = Table::new(
        "Short lives, batches, many tasks",
        &[
            ("per task", Align::Left),
            ("ns", Align::Right),
            ("bare ring ns", Align::Right),
            ("ratio", Align::Right),
            ("10% to 90%", Align::Left),
        ],
    );
    let mut add = |name: &str, own: &mut dyn Work| {
        let mut pairs = Pairs::default();
        let begun = Instant::now();
        for round in 0..ROUNDS {
            if begun.elapsed() > ENOUGH / 3 && round >= 5 {
                break;
            }
            let base = By::Cpu.per_op(raw.round());
            pairs.add(By::Cpu.per_op(own.round()), base);
        }
        t.row(&comparison(name, pairs.outcome(), None)[..5]);
    };
    add("create, one of 10,000, destroy", &mut Creations);
    add("attach to first suspension, of 10,000 new ones", &mut FirstSuspensions(ON));
    for (track, suffix) in [(ON, ""), (OFF, ", no time tracking")] {
        let name = |what: &str| format!("{what}{suffix}");
        add(&name("launch, one yield, finish, 400 at once"), &mut Runs::with_a_yield(track, 400));
        add(&name("two bodies at random, 1.5 yields each"), &mut Runs::of_two_kinds(track));
    }
    for n in [1, 4, 16, 64, 256] {
        add(&format!("launch, {n} at once"), &mut Runs::launches(ON, n));
        add(&format!("launch, one NOP, finish, {n} at once"), &mut Runs::with_a_nop(ON, n));
    }
    let own = &mut Million::new(ON);
    add(&format!("resume the oldest of {}", own.len()), own);
    t.print(markdown);
    let (idle, suspended) = life::resident_bytes_each();
    println!(
        "\nCPU time. Resident bytes of one of 10,000 tasks: {idle:.0} idle, {suspended:.0} \
         suspended.\n"
    );
}

/// From the waker's call to the sleeper's first step.
fn wakes(markdown: bool) {
    let mut t = Table::new(
        "Wake-ups",
        &[
            ("from the call to", Align::Left),
            ("ns", Align::Right),
            ("compared ns", Align::Right),
            ("ratio", Align::Right),
            ("10% to 90%", Align::Left),
            ("at most", Align::Right),
            ("", Align::Left),
        ],
    );
    let mut wakes = Wakes::new(ON);
    let target = Some(targets::WAKE);
    for (name, how, other, target) in [
        ("launched task begins; bare ring's eventfd", How::Attach, How::Eventfd, target),
        ("run returns; bare ring's eventfd", How::Wake, How::Eventfd, target),
        ("launched task begins; futex", How::Attach, How::Futex, None),
    ] {
        let mut pairs = Pairs::default();
        let begun = Instant::now();
        while begun.elapsed() < ENOUGH {
            let base = By::Wall.per_op(wakes.round(other));
            pairs.add(By::Wall.per_op(wakes.round(how)), base);
        }
        t.row(&comparison(name, pairs.outcome(), target));
    }
    t.print(markdown);
    println!();
}

/// What a stamp costs, to tell the tracking from the work.
fn stamps(stamp: &Stamp) {
    let o = stamp.0;
    println!(
        "One stamp: {:.1} ns back to back, ratio {:.3}. A launch takes two, which alone are {:.3}; \
         a yield or a suspension one.\nCounter: {:.1} MHz.",
        o.own_ns,
        o.ratio,
        2.0 * o.ratio,
        ticks::per_second() as f64 / 1e6,
    );
}

fn comparison(name: &str, o: Outcome, target: Option<f64>) -> [String; 7] {
    [
        name.into(),
        ns(o.own_ns),
        ns(o.raw_ns),
        format!("{:.3}", o.ratio),
        format!("{:.3} to {:.3}", o.low, o.high),
        target.map_or(String::new(), |t| format!("{t:.2}")),
        verdict(o.ratio, target).into(),
    ]
}

fn ns(v: f64) -> String {
    if v < 1000.0 {
        format!("{v:.1}")
    } else {
        format!("{v:.0}")
    }
}
