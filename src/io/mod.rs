//! Daily I/O on the executor's operations: what a program would otherwise write around them.

pub mod call;
pub mod direct;
pub mod file;
mod last;
pub mod ordered;
pub mod path;
mod position;
pub mod process;
pub mod recv_stream;
pub mod socket;
