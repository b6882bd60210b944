//! Stacks: where they lie, who has them, and the switch between them. The only importer of
//! corosensei.

pub mod asked;
mod backing;
pub mod backtrace;
mod claims;
pub mod headers;
#[cfg(all(target_arch = "x86_64", not(feature = "asan")))]
mod jump;
pub mod layout;
#[cfg(all(target_arch = "x86_64", not(feature = "asan")))]
mod own;
#[cfg(all(target_arch = "x86_64", not(feature = "asan")))]
mod pass_last;
pub mod pool;
#[cfg(not(all(target_arch = "x86_64", not(feature = "asan"))))]
mod routine;
pub mod slab;
pub mod switch;
mod walk;
