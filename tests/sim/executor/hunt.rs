//! Many programs in many processes: a broken promise ends a process at once, so each range of seeds
//! has one of its own, and what failed is played again, with less and less in it, in others.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::crowd;
use crate::program::Program;
use crate::rng::{limit_cpu, limit_cpu_s, replay};
use crate::world::World;

/// Exit status of a process in which a promise was broken.
pub const BROKEN: i32 = 86;

fn drops() -> BTreeSet<usize> {
    let text = std::env::var("SIM_DROP").unwrap_or_default();
    let mut drops = BTreeSet::new();
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        drops.extend(from.parse().unwrap()..=to.parse::<usize>().unwrap());
    }
    drops
}

fn drop_text(drops: &BTreeSet<usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &d in drops {
        match ranges.last_mut() {
            Some(last) if last.1 + 1 == d => last.1 = d,
            _ => ranges.push((d, d)),
        }
    }
    let text = |&(from, to): &(usize, usize)| {
        if from == to {
            from.to_string()
        } else {
            format!("{from}-{to}")
        }
    };
    ranges.iter().map(text).collect::<Vec<_>>().join(",")
}

/// In a process of its own: plays the program SIM_SEED, without the pieces SIM_DROP.
pub fn play_one(seed: u64) {
    limit_cpu_s(20);
    if crowd::is_one(seed) {
        return crowd::play(seed);
    }
    let mut program = Program::new(seed);
    for d in drops() {
        program.drop_piece(d);
    }
    let trace = std::env::var_os("SIM_QUIET").is_none();
    if trace {
        program.print();
    }
    World::make().play(program, trace);
    eprintln!("seed {seed} keeps all promises");
}

/// In a process of its own: plays a range of seeds; says in `status` which one it is at.
pub fn play_range(from: u64, count: u64, status: &str) {
    let file = File::options().read(true).write(true).open(status).expect("the parent made it");
    // SAFETY: a fresh shared mapping of a file of eight bytes.
    let at = unsafe {
        let both = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(std::ptr::null_mut(), 8, both, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    assert_ne!(at, libc::MAP_FAILED);
    // SAFETY: mapped for the life of the process, page-aligned.
    let seed_now = unsafe { &*at.cast::<AtomicU64>() };
    limit_cpu("SIM_CPU_S");
    let world = World::make();
    for seed in from..from + count {
        seed_now.store(seed, Ordering::Relaxed);
        match crowd::is_one(seed) {
            true => crowd::play(seed),
            false => world.play(Program::new(seed), false),
        }
    }
}

fn child() -> Command {
    let mut c = Command::new(std::env::current_exe().expect("the test's own path"));
    c.args(["--exact", "programs", "--nocapture", "--test-threads=1"]);
    for name in ["SIM_SEED", "SIM_DROP", "SIM_FROM", "SIM_COUNT", "SIM_WORKER"] {
        c.env_remove(name);
    }
    c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    c
}

/// What the program breaks, without these pieces; None if nothing.
pub fn verdict(seed: u64, drops: &BTreeSet<usize>) -> Option<String> {
    let mut c = child();
    c.env("SIM_SEED", seed.to_string()).env("SIM_DROP", drop_text(drops)).env("SIM_QUIET", "1");
    let out = c.output().expect("a process");
    if out.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&out.stderr);
    let said: Vec<_> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    Some(format!("{}: {}", out.status, said.join("\n")))
}

/// Takes out as much as can be without making the program right.
fn shrink(seed: u64) -> (BTreeSet<usize>, String) {
    let mut drops = BTreeSet::new();
    let Some(mut text) = verdict(seed, &drops) else {
        return (drops, "which it does not when played alone".into());
    };
    let pieces = Program::new(seed).pieces();
    let mut size = pieces.div_ceil(2);
    loop {
        let mut progress = false;
        for from in (0..pieces).step_by(size) {
            let chunk: BTreeSet<_> = (from..(from + size).min(pieces)).collect();
            if chunk.is_subset(&drops) {
                continue;
            }
            let more = drops.union(&chunk).copied().collect();
            if let Some(now) = verdict(seed, &more) {
                (drops, text, progress) = (more, now, true);
            }
        }
        if size > 1 {
            size = size.div_ceil(2);
        } else if !progress {
            return (drops, text);
        }
    }
}

/// All that there is to say about a seed that fails.
pub fn report(seed: u64) -> String {
    let (drops, text) = shrink(seed);
    let settings = format!("SIM_SEED={seed} SIM_DROP={}", drop_text(&drops));
    let again = replay(&settings, "sim programs -- --exact");
    format!("program {seed} breaks a promise: {text}\n{again}")
}

/// Plays `count` programs on all processors; None if all is well, else what failed first.
pub fn hunt(from: u64, count: u64) -> Option<u64> {
    let jobs = std::thread::available_parallelism().map_or(1, |n| n.get() as u64).min(count.max(1));
    let share = count.div_ceil(jobs);
    let workers: Vec<_> = (0..jobs)
        .map(|j| {
            let status = status_file(j);
            let (from, count) = (from + j * share, share.min(count.saturating_sub(j * share)));
            let mut c = child();
            c.env("SIM_WORKER", &status).env("SIM_FROM", from.to_string());
            c.env("SIM_COUNT", count.to_string()).stderr(Stdio::null());
            (c.spawn().expect("a process"), status)
        })
        .collect();
    let mut failed = None;
    for (mut worker, status) in workers {
        let ended = worker.wait().expect("a child of ours");
        let bytes = std::fs::read(&status).expect("made above");
        let _ = std::fs::remove_file(&status);
        if !ended.success() {
            let seed = u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
            failed = failed.or(Some(seed));
        }
    }
    failed
}

fn status_file(job: u64) -> PathBuf {
    let path = std::env::temp_dir().join(format!("sim-{}-{job}", std::process::id()));
    std::fs::write(&path, [0u8; 8]).expect("a temporary file");
    path
}
