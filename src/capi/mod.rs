//! The C API, thin: check, one call into the floor below, map the result. Declared in
//! `include/monad/async/*.h`.

pub mod executor;
pub mod op;
pub mod remote;
pub mod result;
pub mod scope;
pub mod task;
pub mod version;

use crate::executor::Executor;
use crate::uring::RealKernel;

/// `monad_async_executor`
pub type ExecutorPtr = *mut Executor<RealKernel>;
