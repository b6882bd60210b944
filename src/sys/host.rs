//! What the running system says of itself: kernel release, sysctls, limits, and whether a seccomp
//! filter is in force. Only for messages and the config string: no decision hangs on a version
//! number, since distributions carry features back to older ones. Reads `/proc` and `/sys`.

use std::fmt;
use std::fs::File;
use std::io::Read;

use super::text::Text;

/// The running kernel's release, as in `uname -r`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub major: u32,
    pub minor: u32,
    pub text: Text<96>,
}

impl Release {
    pub fn running() -> Self {
        let text = read::<96>("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self::parse(text.trim())
    }

    /// `6.18.44-rc1+` is 6.18; what is no number is 0.
    pub fn parse(text: &str) -> Self {
        let mut numbers = text.split('.').map(|part| {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            part[..digits].parse().unwrap_or(0)
        });
        let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Self { major, minor, text: Text::from_args(format_args!("{text}")) }
    }

    pub(crate) fn at_least(&self, major: u32, minor: u32) -> bool {
        (self.major, self.minor) >= (major, minor)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { "unknown" } else { &self.text })
    }
}

/// `kernel.io_uring_disabled` (6.6): 0 nobody is refused, 1 the unprivileged, 2 everybody.
pub(crate) fn io_uring_disabled() -> Option<i64> {
    number(&read::<32>("/proc/sys/kernel/io_uring_disabled")?)
}

/// `kernel.io_uring_group`: whom 1 lets through all the same; -1 nobody.
pub(crate) fn io_uring_group() -> Option<i64> {
    number(&read::<32>("/proc/sys/kernel/io_uring_group")?)
}

/// The beginning of a file of `/proc`, which one read gives whole. Without the allocator: it is
/// also asked where memory has ended.
fn read<const N: usize>(path: &str) -> Option<Text<N>> {
    let mut bytes = [0; N];
    let len = File::open(path).and_then(|mut file| file.read(&mut bytes)).ok()?;
    std::str::from_utf8(&bytes[..len]).ok().map(|told| Text::from_args(format_args!("{told}")))
}

fn number(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

/// The kernel's clocks are reckoned from the counter that `ticks` reads: it is one for all
/// processors, and goes on in every idle state. (Not of a program for another architecture, which
/// is emulated.)
pub(crate) fn clock_is_counter() -> bool {
    let counter = if cfg!(target_arch = "x86_64") { "tsc" } else { "arch_sys_counter" };
    let source = read::<32>("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    source.is_some_and(|name| name.trim() == counter)
}

/// True if this thread runs under a seccomp filter.
pub(crate) fn seccomp_filtered() -> bool {
    read::<4096>("/proc/thread-self/status").is_some_and(|status| seccomp_mode(&status) == Some(2))
}

fn seccomp_mode(status: &str) -> Option<i64> {
    number(status.lines().find_map(|line| line.strip_prefix("Seccomp:"))?)
}

/// RLIMIT_NOFILE, the soft limit; `None`: unlimited.
pub(crate) fn max_open_files() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: fills in an rlimit of our own.
    let rc = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    (rc == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// RLIMIT_MEMLOCK, the soft limit; `None`: unlimited.
pub(crate) fn max_locked_bytes() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: fills in an rlimit of our own.
    let rc = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    (rc == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_in_the_wild() {
        for (text, major, minor) in [
            ("6.18.44-fc-v769", 6, 18),
            ("5.10.0-28-amd64", 5, 10),
            ("6.1-rc3", 6, 1),
            ("5.14.0-427.el9.x86_64+rt", 5, 14),
            ("6", 6, 0),
            ("", 0, 0),
            ("linux", 0, 0),
        ] {
            let r = Release::parse(text);
            assert_eq!((r.major, r.minor), (major, minor), "{text}");
        }
        assert!(Release::parse("6.2").at_least(5, 11));
        assert!(!Release::parse("5.9.1").at_least(5, 11));
    }

    #[test]
    fn seccomp_is_found_in_a_status_file() {
        assert_eq!(seccomp_mode("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"), Some(2));
        assert_eq!(seccomp_mode("Name:\tx\nSeccomp_filters:\t1\n"), None);
    }

    #[cfg(not(miri))]
    #[test]
    fn the_running_kernel_has_a_release() {
        assert!(Release::running().at_least(3, 0), "{:?}", Release::running());
    }
}
