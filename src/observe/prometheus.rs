//! Metrics as text, in the exposition format of Prometheus.

use core::fmt::{self, Write};

use super::names;
use crate::executor::meter::{self, BUCKETS, WORDS};
use crate::task::annex::NAME_BYTES;
use crate::task::header::PRIORITIES;
use crate::ticks;

/// What was read of one executor.
pub struct Read {
    pub name: [u8; NAME_BYTES],
    pub words: [u64; WORDS],
}

const FIRST_OPERATION: usize = 16;
const FIRST_HISTOGRAM: usize = FIRST_OPERATION + 64;
const HISTOGRAM_WORDS: usize = BUCKETS + 2;

/// Gathers what fits, and counts what does not.
pub struct Out<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl<'a> Out<'a> {
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, len: 0 }
    }

    /// Bytes of the whole, whatever fitted.
    pub fn whole(&self) -> usize {
        self.len
    }
}

impl Write for Out<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let fits = s.len().min(room.len());
        room[..fits].copy_from_slice(&s.as_bytes()[..fits]);
        self.len += s.len();
        Ok(())
    }
}

/// The label of an executor: its name, or its number.
struct Label<'a>(usize, &'a Read);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.1.name;
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(NAME_BYTES);
        if end == 0 {
            return write!(f, "{}", self.0 + 1);
        }
        for chunk in name[..end].utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\n' => f.write_str("\\n")?,
                    '"' | '\\' => write!(f, "\\{c}")?,
                    c => f.write_char(c)?,
                }
            }
            if !chunk.invalid().is_empty() {
                f.write_char('\u{fffd}')?;
            }
        }
        Ok(())
    }
}

/// Ticks as seconds.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = ticks::to_ns(self.0);
        write!(f, "{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
    }
}

enum How {
    Count,
    Gauge,
    Time,
}

/// By the order of the words.
const COUNTERS: [(&str, How, &str); 14] = [
    ("launches_total", How::Count, "Runs of tasks that began."),
    ("sleeps_total", How::Count, "Waits of the executor with nothing ready."),
    ("wakeups_total", How::Count, "Wake-ups of the executor by other threads."),
    ("enters_total", How::Count, "Times the kernel was asked for submissions and completions."),
    ("tasks_pending_launch", How::Gauge, "Tasks that were attached and have not begun."),
    ("tasks_running", How::Gauge, "Tasks that run."),
    ("tasks_suspended", How::Gauge, "Tasks that are suspended."),
    ("run_seconds_total", How::Time, "Time in calls of run."),
    ("launch_seconds_total", How::Time, "Time in tasks from their launch to a suspension."),
    ("io_uring_seconds_total", How::Time, "Time with io_uring."),
    ("sleeping_seconds_total", How::Time, "Time asleep."),
    ("completion_seconds_total", How::Time, "Time in tasks after a resumption."),
    ("io_submitted_total", How::Count, "Operations that were begun."),
    ("io_completed_total", How::Count, "Operations that have completed."),
];

/// Upper bounds of the text's buckets, and their ns.
const BOUNDS: [(&str, u64); 22] = [
    ("1e-07", 100),
    ("2e-07", 200),
    ("5e-07", 500),
    ("1e-06", 1_000),
    ("2e-06", 2_000),
    ("5e-06", 5_000),
    ("1e-05", 10_000),
    ("2e-05", 20_000),
    ("5e-05", 50_000),
    ("0.0001", 100_000),
    ("0.0002", 200_000),
    ("0.0005", 500_000),
    ("0.001", 1_000_000),
    ("0.002", 2_000_000),
    ("0.005", 5_000_000),
    ("0.01", 10_000_000),
    ("0.02", 20_000_000),
    ("0.05", 50_000_000),
    ("0.1", 100_000_000),
    ("1.0", 1_000_000_000),
    ("10.0", 10_000_000_000),
    ("100.0", 100_000_000_000),
];

const PRIORITY_NAMES: [&str; PRIORITIES] = ["high", "normal", "low"];

pub fn write(executors: &[Read], stacks_in_use: usize, out: &mut Out<'_>) -> fmt::Result {
    for (word, (name, how, help)) in COUNTERS.iter().enumerate() {
        let kind = if matches!(how, How::Gauge) { "gauge" } else { "counter" };
        head(out, name, kind, help)?;
        for (i, read) in executors.iter().enumerate() {
            write!(out, "monad_async_{name}{{executor=\"{}\"}} ", Label(i, read))?;
            match how {
                How::Time => writeln!(out, "{}", Seconds(read.words[word]))?,
                _ => writeln!(out, "{}", read.words[word])?,
            }
        }
    }
    head(out, "stacks_in_use", "gauge", "Stacks of tasks, of the whole process.")?;
    writeln!(out, "monad_async_stacks_in_use {stacks_in_use}")?;
    head(out, "operations_total", "counter", "Operations that were begun, by their kind.")?;
    for (i, read) in executors.iter().enumerate() {
        let counts = &read.words[FIRST_OPERATION..FIRST_HISTOGRAM];
        for (opcode, &count) in counts.iter().enumerate().filter(|(_, &count)| count != 0) {
            let (label, opcode) = (Label(i, read), names::opcode(opcode as u8));
            write!(out, "monad_async_operations_total{{executor=\"{label}\",")?;
            writeln!(out, "opcode=\"{opcode}\"}} {count}")?;
        }
    }
    head(out, "ready_seconds", "histogram", "Time that a task was ready before it ran.")?;
    for (i, read) in executors.iter().enumerate() {
        let histograms = read.words[FIRST_HISTOGRAM..].chunks_exact(HISTOGRAM_WORDS);
        for (priority, words) in PRIORITY_NAMES.iter().zip(histograms) {
            histogram(out, &Label(i, read), priority, words)?;
        }
    }
    Ok(())
}

fn head(out: &mut Out<'_>, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP monad_async_{name} {help}")?;
    writeln!(out, "# TYPE monad_async_{name} {kind}")
}

fn histogram(out: &mut Out<'_>, label: &Label<'_>, priority: &str, words: &[u64]) -> fmt::Result {
    let (sum, buckets) = (words[0], &words[2..]);
    let labels = |out: &mut Out<'_>, what: &str| {
        write!(out, "monad_async_ready_seconds_{what}{{executor=\"{label}\",")?;
        write!(out, "priority=\"{priority}\"")
    };
    let (mut next, mut count) = (0, 0);
    for (text, ns) in BOUNDS {
        while next < BUCKETS && ticks::to_ns(meter::bound(next) - 1) <= ns {
            count += buckets[next];
            next += 1;
        }
        labels(out, "bucket")?;
        writeln!(out, ",le=\"{text}\"}} {count}")?;
    }
    count += buckets[next..].iter().sum::<u64>();
    labels(out, "bucket")?;
    writeln!(out, ",le=\"+Inf\"}} {count}")?;
    labels(out, "sum")?;
    writeln!(out, "}} {}", Seconds(sum))?;
    labels(out, "count")?;
    writeln!(out, "}} {count}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(executors: &[Read]) -> String {
        let mut bytes = vec![0; 1 << 16];
        let mut out = Out::new(&mut bytes);
        write(executors, 3, &mut out).unwrap();
        let whole = out.whole();
        String::from_utf8(bytes[..whole].to_vec()).unwrap()
    }

    /// Each value is counted by every bound that it does not exceed, to a bucket's sixteenth; those
    /// above all bounds by the last line alone; and the sum is theirs.
    #[test]
    fn a_histogram_is_cumulative() {
        let ticks =
            |ns: u64| (u128::from(ns) * u128::from(ticks::per_second()) / 1_000_000_000) as u64;
        let values_ns = [150, 150, 3_000, 70_000, 15_000_000, 3_000_000_000, 700_000_000_000];
        let mut read = Read { name: [0; NAME_BYTES], words: [0; WORDS] };
        read.name[..3].copy_from_slice(b"a\xff\n");
        let normal = FIRST_HISTOGRAM + HISTOGRAM_WORDS;
        for ns in values_ns {
            read.words[normal + 2 + meter::bucket(ticks(ns))] += 1;
            read.words[normal] += ticks(ns);
        }
        let text = text(&[read]);
        let value = |what: &str, le: &str| {
            let line = format!(
                "ready_seconds_{what}{{executor=\"a\u{fffd}\\n\",priority=\"normal\"{le}}} "
            );
            let after = text.split(&line).nth(1).unwrap_or_else(|| panic!("no {line}in {text}"));
            after.lines().next().unwrap().parse::<f64>().unwrap()
        };
        for (bound, ns) in BOUNDS {
            let below = values_ns.iter().filter(|&&value| value <= ns).count();
            assert_eq!(value("bucket", &format!(",le=\"{bound}\"")), below as f64, "{bound}");
        }
        assert_eq!(value("bucket", ",le=\"+Inf\""), 7.0);
        assert_eq!(value("count", ""), 7.0);
        let sum = values_ns.iter().sum::<u64>() as f64 / 1e9;
        assert!((value("sum", "") / sum - 1.0).abs() < 1e-6, "{text}");
        assert!(text.contains("\nmonad_async_stacks_in_use 3\n"));
    }
}
