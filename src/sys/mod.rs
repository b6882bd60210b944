//! What the executor asks of the operating system. With `uring`, the only caller of libc.

pub mod affinity;
pub mod alloc;
pub mod backoff;
pub mod clock;
pub mod coarse;
pub mod cxx_eh;
pub mod eventfd;
pub mod fd;
pub mod file;
pub mod fork;
pub mod futex;
pub mod helper;
pub mod host;
pub mod lock;
#[cfg(feature = "asan")]
pub mod lsan;
pub mod memory;
pub mod names;
pub mod patience;
pub mod process;
pub mod reckoner;
pub mod signal;
mod signal_stack;
pub mod stack_overflow;
pub mod text;
pub mod thread;
pub mod thread_pointer;
pub mod timerfd;
#[cfg(feature = "tsan")]
pub mod tsan;
mod unload;
pub mod unwind;
pub mod valgrind;
mod vdso;
