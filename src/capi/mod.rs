//! The C API, thin: check, one call into the floor below, map the result. Declared in
//! `include/monad/async/*.h`.

pub mod barrier;
pub mod blocking;
mod border;
pub mod buffer;
pub mod buffer_set;
pub mod channel;
pub mod condition;
pub mod direct;
pub mod event;
pub mod executor;
pub mod file;
pub mod group;
pub mod inspect;
pub mod metrics;
pub mod mutex;
pub mod op;
pub mod path;
pub mod pool;
pub mod process;
pub mod remote;
pub mod result;
pub mod rw_lock;
pub mod scope;
pub mod select;
pub mod semaphore;
pub mod socket;
mod sync;
pub mod task;
pub mod trace;
pub mod version;
pub mod wait_group;
pub mod watchdog;

use crate::executor::Executor;
use crate::uring::RealKernel;

/// `monad_async_executor`
pub type ExecutorPtr = *mut Executor<RealKernel>;
