//! What the benchmarks and `examples/latency.rs` share: the work they time, the bare ring they time
//! it against, and the way two figures taken on a busy machine become a ratio.

#![allow(dead_code)]

pub mod api;
#[cfg(not(no_benchmarks))] // The example has no criterion there.
pub mod compare;
pub mod hot;
pub mod life;
pub mod many;
pub mod pin;
pub mod raw;
pub mod rounds;
pub mod steps;
pub mod table;
pub mod targets;
pub mod threads;
pub mod together;

/// Time tracking: the default, and MONAD_ASYNC_EXECUTOR_NO_TIME_TRACKING.
pub const ON: bool = true;
pub const OFF: bool = false;

/// Processor, kernel and the load from others: without them a figure means nothing.
pub fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("unknown");
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
    format!(
        "{} x {}, Linux {}, load {}",
        cpus,
        model.trim_start_matches([' ', '\t', ':']),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
    )
}
